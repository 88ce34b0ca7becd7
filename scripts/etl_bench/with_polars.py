"""The cases in polars, lazy and streaming where it can."""

import sys
from pathlib import Path

import polars as pl

from orders import COLUMNS, COUNTRIES

TYPES = {"order_id": pl.Int64, "quantity": pl.Int64, "price": pl.Float64, "ordered_at": pl.Datetime("us")}


def scan(path):
    return pl.scan_csv(path, schema_overrides=TYPES, null_values=["n/a"])


def dedupe(data, out, _):
    frame = scan(data / "orders.csv").unique("order_id", keep="last", maintain_order=True)
    frame.sink_parquet(out / "result.parquet", compression="snappy")


def convert(data, out, _):
    scan(data / "orders.csv").sink_parquet(out / "result.parquet", compression="snappy")


def validate(data, out, _):
    raw = pl.scan_csv(data / "orders.csv", schema={name: pl.String for name in COLUMNS})
    typed = [
        pl.col("order_id").cast(pl.Int64, strict=False),
        pl.col("quantity").cast(pl.Int64, strict=False),
        pl.col("price").cast(pl.Float64, strict=False),
        pl.col("ordered_at").str.to_datetime("%Y-%m-%dT%H:%M:%S", strict=False),
    ]
    values = {expr.meta.output_name(): expr for expr in typed}
    broken = {
        "order_id": values["order_id"].is_null(),
        "quantity: type": values["quantity"].is_null(),
        "quantity: between": ~values["quantity"].is_between(1, 100).fill_null(True),
        "price: type": values["price"].is_null(),
        "price: ge": (values["price"] < 0).fill_null(False),
        "country": ~pl.col("country").is_in(COUNTRIES),
        "product": ~pl.col("product").str.contains(r"^P\d{5}$"),
        "ordered_at": values["ordered_at"].is_null(),
    }
    bad = pl.any_horizontal(broken.values())
    rules = pl.concat_list(pl.when(rows).then(pl.lit(name)) for name, rows in broken.items()).list.drop_nulls()
    good = raw.filter(~bad).with_columns(typed).sink_parquet(out / "result.parquet", compression="snappy", lazy=True)
    rejects = raw.filter(bad).with_columns(_rejected_by=rules)
    rejects = rejects.sink_parquet(out / "rejects.parquet", compression="snappy", lazy=True)
    pl.collect_all([good, rejects], engine="streaming")


def aggregate(data, out, _):
    found = scan(data / "orders.csv").group_by("country", "product").agg(
        orders=pl.len(), units=pl.sum("quantity"), revenue=(pl.col("quantity") * pl.col("price")).sum(),
        mean_price=pl.mean("price"))
    found = found.collect(engine="streaming")
    found.write_parquet(out / "result", partition_by=["country"], compression="snappy")


def groups(data, out, _):
    found = scan(data / "orders.csv").group_by("order_id").agg(orders=pl.len(), total=pl.sum("price"))
    found.sink_parquet(out / "result.parquet", compression="snappy")


def flights(data, out, _):
    frame = pl.scan_csv(data / "flights.csv", null_values=["NA"])
    found = frame.group_by("carrier", "month").agg(
        flights=pl.len(), mean_delay=pl.mean("dep_delay"), miles=pl.sum("distance"))
    found.collect(engine="streaming").write_parquet(out / "result.parquet", compression="snappy")


def database(data, url):
    frame = scan(data / "million.csv").collect(engine="streaming")
    frame.write_database("orders", url, if_table_exists="replace", engine="adbc")


def sqlite(data, out, _):
    database(data, f"sqlite:///{out}/result.db")


def postgres(data, _, url):
    database(data, url.replace("postgres://", "postgresql://"))


if __name__ == "__main__":
    globals()[sys.argv[1]](Path(sys.argv[2]), Path(sys.argv[3]), sys.argv[4])
