"""The functions of sales_orders.yaml and sales_report.yaml."""

import csv
import os
from collections import defaultdict
from datetime import date
from pathlib import Path

FOLDER = Path(__file__).resolve().parent.parent / "warehouse" / "sales"
CUSTOMERS = ["Ada", "Grace", "Edsger", "Barbara"]


def write(name, header, rows):
    """Writes a file that appears whole or not at all; its path."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    target = FOLDER / name
    aside = target.with_suffix(f".{os.getpid()}.part")
    with aside.open("w", newline="") as out:
        writer = csv.writer(out)
        writer.writerow(header)
        writer.writerows(rows)
    os.replace(aside, target)
    return target


def export(day):
    """Writes the orders of `day`; the same day always has the same ones."""
    number = date.fromisoformat(day).toordinal()
    rows = [(day, CUSTOMERS[(number + i) % 4], 10 * (i + 1) + number % 7) for i in range(3 + number % 3)]
    target = write(f"orders-{day}.csv", ["day", "customer", "amount"], rows)
    return {"file": str(target), "rows": len(rows)}


def sum_up(triggering_asset_events, outlet_events):
    """Sums up the files of the updates that the run was started for; the number of customers."""
    files = {event.extra.get("file") for event in triggering_asset_events.get("orders", [])}
    totals = defaultdict(int)
    for file in sorted(filter(None, files)):
        with open(file, newline="") as source:
            for row in csv.DictReader(source):
                totals[row["customer"]] += int(row["amount"])
    target = write("by_customer.csv", ["customer", "amount"], sorted(totals.items()))
    outlet_events["sales_by_customer"].extra = {"file": str(target), "total": sum(totals.values())}
    return len(totals)
