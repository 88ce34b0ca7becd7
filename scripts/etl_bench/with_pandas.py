"""The cases in pandas, as one would write them with a look at speed."""

import sys
from pathlib import Path

import pandas as pd

from orders import COUNTRIES

TYPES = {"order_id": "int64", "customer": "str", "product": "str", "quantity": "Int64", "price": "float64",
         "country": "str", "status": "str", "channel": "str"}


def read(path, columns=None):
    dates = ["ordered_at"] if columns is None else []
    types = {name: kind for name, kind in TYPES.items() if columns is None or name in columns}
    return pd.read_csv(path, usecols=columns, dtype=types, parse_dates=dates, na_values=["n/a"])


def dedupe(data, out, _):
    read(data / "orders.csv").drop_duplicates("order_id", keep="last").to_parquet(out / "result.parquet", index=False)


def convert(data, out, _):
    read(data / "orders.csv").to_parquet(out / "result.parquet", index=False)


def validate(data, out, _):
    raw = pd.read_csv(data / "orders.csv", dtype=str, keep_default_na=False)
    good = raw.copy()
    good["order_id"] = pd.to_numeric(raw["order_id"], errors="coerce").astype("Int64")
    good["quantity"] = pd.to_numeric(raw["quantity"], errors="coerce").astype("Int64")
    good["price"] = pd.to_numeric(raw["price"], errors="coerce")
    good["ordered_at"] = pd.to_datetime(raw["ordered_at"], errors="coerce", format="ISO8601")
    broken = {
        "order_id": good["order_id"].isna(),
        "quantity: type": good["quantity"].isna(),
        "quantity: between": good["quantity"].notna() & ~good["quantity"].between(1, 100).fillna(False),
        "price: type": good["price"].isna(),
        "price: ge": good["price"] < 0,
        "country": ~raw["country"].isin(COUNTRIES),
        "product": ~raw["product"].str.match(r"^P\d{5}$"),
        "ordered_at": good["ordered_at"].isna(),
    }
    bad = pd.concat(broken.values(), axis=1).any(axis=1)
    rejected = raw[bad].copy()
    flags = pd.DataFrame({name: rows[bad] for name, rows in broken.items()})
    rejected["_rejected_by"] = [[name for name, is_broken in zip(flags, row) if is_broken] for row in flags.to_numpy()]
    good[~bad].to_parquet(out / "result.parquet", index=False)
    rejected.to_parquet(out / "rejects.parquet", index=False)


def aggregate(data, out, _):
    frame = read(data / "orders.csv", ["product", "quantity", "price", "country", "status"])
    frame["revenue"] = frame["quantity"] * frame["price"]
    groups = frame.groupby(["country", "product"]).agg(
        orders=("status", "size"), units=("quantity", "sum"), revenue=("revenue", "sum"), mean_price=("price", "mean"))
    groups.reset_index().to_parquet(out / "result", partition_cols=["country"], index=False)


def groups(data, out, _):
    frame = read(data / "orders.csv", ["order_id", "price"])
    found = frame.groupby("order_id").agg(orders=("price", "size"), total=("price", "sum")).reset_index()
    found.to_parquet(out / "result.parquet", index=False)


def flights(data, out, _):
    frame = pd.read_csv(data / "flights.csv", usecols=["month", "carrier", "dep_delay", "distance"])
    found = frame.groupby(["carrier", "month"]).agg(
        flights=("distance", "size"), mean_delay=("dep_delay", "mean"), miles=("distance", "sum")).reset_index()
    found.to_parquet(out / "result.parquet", index=False)


def database(data, url):
    from sqlalchemy import create_engine

    frame = read(data / "million.csv")
    with create_engine(url).begin() as connection:
        frame.to_sql("orders", connection, if_exists="replace", index=False, chunksize=10_000)


def sqlite(data, out, _):
    database(data, f"sqlite:///{out}/result.db")


def postgres(data, _, url):
    database(data, url.replace("postgres://", "postgresql+psycopg://"))


if __name__ == "__main__":
    globals()[sys.argv[1]](Path(sys.argv[2]), Path(sys.argv[3]), sys.argv[4])
