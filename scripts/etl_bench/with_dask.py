"""The cases in Dask, on its scheduler of threads."""

import sys
from pathlib import Path

import dask.dataframe as dd

from orders import COUNTRIES
from with_pandas import TYPES


def read(path, columns=None):
    dates = ["ordered_at"] if columns is None else []
    types = {name: kind for name, kind in TYPES.items() if columns is None or name in columns}
    return dd.read_csv(path, usecols=columns, dtype=types, parse_dates=dates, na_values=["n/a"])


def dedupe(data, out, _):
    read(data / "orders.csv").drop_duplicates("order_id", keep="last").to_parquet(out / "result", write_index=False)


def convert(data, out, _):
    read(data / "orders.csv").to_parquet(out / "result", write_index=False)


def validate(data, out, _):
    raw = dd.read_csv(data / "orders.csv", dtype=str, keep_default_na=False)
    quantity = dd.to_numeric(raw["quantity"], errors="coerce")
    price = dd.to_numeric(raw["price"], errors="coerce")
    ordered_at = dd.to_datetime(raw["ordered_at"], errors="coerce", format="ISO8601")
    rules = {
        "quantity: type": quantity.isna(),
        "quantity: between": quantity.notna() & ~quantity.between(1, 100),
        "price: type": price.isna(),
        "price: ge": price < 0,
        "country": ~raw["country"].isin(COUNTRIES),
        "product": ~raw["product"].str.match(r"^P\d{5}$"),
        "ordered_at": ordered_at.isna(),
    }
    bad, names = None, ""
    for name, rows in rules.items():
        bad = rows if bad is None else bad | rows
        names = rows.map({True: f"{name};", False: ""}, meta=("rules", "str")) + names
    good = raw.assign(order_id=raw["order_id"].astype("int64"), quantity=quantity, price=price, ordered_at=ordered_at)
    good = good[~bad].astype({"quantity": "int64"})
    dd.compute(
        good.to_parquet(out / "result", write_index=False, compute=False),
        raw.assign(_rejected_by=names)[bad].to_parquet(out / "rejects", write_index=False, compute=False))


def aggregate(data, out, _):
    frame = read(data / "orders.csv", ["product", "quantity", "price", "country", "status"])
    frame = frame.assign(revenue=frame["quantity"] * frame["price"])
    found = frame.groupby(["country", "product"]).agg(
        orders=("status", "count"), units=("quantity", "sum"), revenue=("revenue", "sum"), mean_price=("price", "mean"))
    found.reset_index().to_parquet(out / "result", partition_on=["country"], write_index=False)


def groups(data, out, _):
    frame = read(data / "orders.csv", ["order_id", "price"])
    found = frame.assign(one=1).groupby("order_id").agg(orders=("one", "sum"), total=("price", "sum"), split_out=8)
    found.reset_index().to_parquet(out / "result", write_index=False)


def flights(data, out, _):
    frame = dd.read_csv(data / "flights.csv", usecols=["month", "carrier", "dep_delay", "distance"])
    found = frame.groupby(["carrier", "month"]).agg(
        flights=("distance", "count"), mean_delay=("dep_delay", "mean"), miles=("distance", "sum"))
    found.reset_index().to_parquet(out / "result", write_index=False)


if __name__ == "__main__":
    globals()[sys.argv[1]](Path(sys.argv[2]), Path(sys.argv[3]), sys.argv[4])
