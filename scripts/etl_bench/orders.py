"""The data of the benchmark: orders with a fixed seed, the same bytes on every machine."""

import random
import sys
from datetime import datetime, timedelta
from pathlib import Path

ROWS = 5_000_000
CHUNK = 100_000
COLUMNS = ["order_id", "customer", "product", "quantity", "price", "country", "status", "channel", "ordered_at"]
COUNTRIES = ["AT", "BE", "CH", "CZ", "DE", "DK", "ES", "FI", "FR", "GB", "HU", "IE", "IT", "NL", "NO", "PL", "PT", "SE", "SK", "US"]
STATUSES = ["new", "paid", "shipped", "delivered", "returned", "cancelled"]
CHANNELS = ["web", "phone", "store", "partner", "app-ios", "app-android"]


def write(path: Path, rows: int) -> None:
    """A fifth of the rows repeats the id of an earlier one; one row in a hundred has a value that is wrong."""
    draw = random.Random(20_130_101)
    start = datetime(2024, 1, 1)
    minutes = [(start + timedelta(minutes=n)).isoformat() for n in range(366 * 24 * 60)]
    fresh = 0
    part = path.with_suffix(".part")
    with part.open("w", encoding="utf-8", newline="\n") as file:
        file.write(",".join(COLUMNS) + "\n")
        for first in range(0, rows, CHUNK):
            count = min(CHUNK, rows - first)
            repeats = set(draw.sample(range(count), count // 5))
            products = draw.choices(range(20_000), k=count)
            quantities = draw.choices(range(1, 51), k=count)
            countries, statuses = draw.choices(COUNTRIES, k=count), draw.choices(STATUSES, k=count)
            channels, times = draw.choices(CHANNELS, k=count), draw.choices(minutes, k=count)
            lines = []
            for at in range(count):
                if at in repeats and fresh:
                    number = draw.randrange(fresh)
                else:
                    number, fresh = fresh, fresh + 1
                # A multiplier without a common factor with 10^7 makes ids that are not sorted, each once.
                order_id = number * 7_654_321 % 10_000_000
                quantity, price, country = str(quantities[at]), f"{draw.randrange(100, 500_000) / 100:.2f}", countries[at]
                bad = draw.randrange(400)
                if bad == 0:
                    quantity = "n/a"
                elif bad == 1:
                    quantity = f"-{quantity}"
                elif bad == 2:
                    price = "n/a"
                elif bad == 3:
                    country = "XX"
                lines.append(
                    f"{order_id},C{number * 31 % 1_000_000:07},P{products[at]:05},{quantity},{price},{country},"
                    f"{statuses[at]},{channels[at]},{times[at]}\n"
                )
            file.writelines(lines)
    part.rename(path)


if __name__ == "__main__":
    write(Path(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else ROWS)
