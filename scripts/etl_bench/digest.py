"""What a result holds, in one line, to tell whether two tools agree; sums of floats are rounded, as their order differs."""

import sqlite3
import sys
from pathlib import Path

import duckdb

ORDERS = """count(*), sum(order_id), sum(coalesce(quantity, 0)), round(sum(price)), count(price), sum(order_id * coalesce(quantity, 7)),
    count(distinct customer), count(distinct product), {low}, {high}"""
SQL = {
    "dedupe": ORDERS,
    "convert": ORDERS,
    "validate": ORDERS,
    "aggregate": "count(*), sum(orders), sum(units), round(sum(revenue) / 1000), round(sum(mean_price)), count(distinct country)",
    "groups": "count(*), sum(orders), sum(order_id), round(sum(total))",
    "flights": "count(*), sum(flights), round(sum(mean_delay), 3), sum(miles)",
}


def parquet(out, name):
    if (out / f"{name}.parquet").exists():
        return f"read_parquet('{out}/{name}.parquet')"
    return f"read_parquet('{out}/{name}/**/*.parquet', hive_partitioning = true)"


def main(case, out, url):
    low, high = "cast(min(ordered_at) as timestamp)", "cast(max(ordered_at) as timestamp)"
    if case in ("sqlite", "postgres"):
        query = "select " + ORDERS.format(low="count(ordered_at)", high="count(status)") + " from orders"
        if case == "sqlite":
            rows = sqlite3.connect(out / "result.db").execute(query).fetchall()
        else:
            import psycopg

            query = query.replace("round(sum(price))", "round(sum(price)::numeric)")
            rows = psycopg.connect(url).execute(query).fetchall()
        return [float(value) for value in rows[0]]
    if case == "validate":
        rejects = parquet(out, "rejects")
        if (out / "result" / "_rejects").exists():
            rejects = f"read_parquet('{out}/result/_rejects/*.parquet')"
            good = f"read_parquet('{out}/result/*.parquet')"
        else:
            good = parquet(out, "result")
        query = "select " + SQL[case].format(low=low, high=high)
        bad = "select count(*), sum(cast(order_id as bigint)), count(distinct product)"
        return [*duckdb.sql(f"{query} from {good}").fetchall()[0], *duckdb.sql(f"{bad} from {rejects}").fetchall()[0]]
    found = duckdb.sql("set timezone = 'UTC'; select " + SQL[case].format(low=low, high=high) + f" from {parquet(out, 'result')}")
    return list(found.fetchall()[0])


if __name__ == "__main__":
    print(*main(sys.argv[1], Path(sys.argv[2]), sys.argv[3]))
