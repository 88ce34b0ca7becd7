"""The cases in DuckDB. Its extensions for other databases have to be downloaded, so rows leave it as Arrow, by ADBC."""

import sys
from pathlib import Path

import duckdb

from orders import COLUMNS, COUNTRIES

TYPES = "{'order_id': 'BIGINT', 'quantity': 'BIGINT', 'price': 'DOUBLE', 'ordered_at': 'TIMESTAMP'}"


def orders(path):
    return f"read_csv('{path}', nullstr=['n/a', ''], types={TYPES})"


def copy(connection, query, path, more=""):
    connection.sql(f"COPY ({query}) TO '{path}' (FORMAT parquet, COMPRESSION snappy{more})")


def dedupe(data, out, _):
    connection = duckdb.connect(out / "scratch.db")
    connection.sql(f"CREATE TABLE o AS SELECT * FROM {orders(data / 'orders.csv')}")
    copy(connection, "SELECT o.* FROM o WHERE rowid IN (SELECT max(rowid) FROM o GROUP BY order_id)", out / "result.parquet")


def convert(data, out, _):
    copy(duckdb.connect(), f"FROM {orders(data / 'orders.csv')}", out / "result.parquet")


def validate(data, out, _):
    texts = "{" + ", ".join(f"'{name}': 'VARCHAR'" for name in COLUMNS) + "}"
    countries = ", ".join(f"'{name}'" for name in COUNTRIES)
    rules = {
        "order_id": "id IS NULL",
        "quantity: type": "n IS NULL",
        "quantity: between": "NOT n BETWEEN 1 AND 100",
        "price: type": "p IS NULL",
        "price: ge": "p < 0",
        "country": f"country NOT IN ({countries})",
        "product": "NOT regexp_matches(product, '^P\\d{5}$')",
        "ordered_at": "t IS NULL",
    }
    broken = ", ".join(f"CASE WHEN {test} THEN '{name}' END" for name, test in rules.items())
    connection = duckdb.connect(out / "scratch.db")
    connection.sql(f"""
        CREATE TABLE checked AS
        SELECT *, list_filter([{broken}], lambda rule: rule IS NOT NULL) AS _rejected_by
        FROM (SELECT *, try_cast(order_id AS BIGINT) AS id, try_cast(quantity AS BIGINT) AS n,
                  try_cast(price AS DOUBLE) AS p, try_cast(ordered_at AS TIMESTAMP) AS t
              FROM read_csv('{data / "orders.csv"}', types={texts}))""")
    good = "id AS order_id, customer, product, n AS quantity, p AS price, country, status, channel, t AS ordered_at"
    copy(connection, f"SELECT {good} FROM checked WHERE len(_rejected_by) = 0", out / "result.parquet")
    names = ", ".join(COLUMNS)
    copy(connection, f"SELECT {names}, _rejected_by FROM checked WHERE len(_rejected_by) > 0", out / "rejects.parquet")


def aggregate(data, out, _):
    copy(duckdb.connect(), f"""
        SELECT country, product, count(*) AS orders, sum(quantity)::BIGINT AS units, sum(quantity * price) AS revenue,
            avg(price) AS mean_price
        FROM {orders(data / 'orders.csv')} GROUP BY ALL""", out / "result", ", PARTITION_BY (country)")


def groups(data, out, _):
    connection = duckdb.connect(config={"memory_limit": "256MB", "temp_directory": str(out / "spill")})
    connection.sql("SET preserve_insertion_order = false")
    copy(connection, f"""SELECT order_id, count(*) AS orders, coalesce(sum(price), 0) AS total
        FROM {orders(data / 'orders.csv')} GROUP BY order_id""", out / "result.parquet")


def flights(data, out, _):
    copy(duckdb.connect(), f"""SELECT carrier, month, count(*) AS flights, avg(dep_delay) AS mean_delay, sum(distance)::BIGINT AS miles
        FROM read_csv('{data / 'flights.csv'}', nullstr=['NA', '']) GROUP BY ALL""", out / "result.parquet")


def database(data, driver, url):
    reader = duckdb.connect().sql(f"FROM {orders(data / 'million.csv')}").to_arrow_reader(100_000)
    with driver.connect(url) as connection, connection.cursor() as cursor:
        cursor.adbc_ingest("orders", reader, mode="replace")
        connection.commit()


def sqlite(data, out, _):
    from adbc_driver_sqlite import dbapi

    database(data, dbapi, f"{out}/result.db")


def postgres(data, _, url):
    from adbc_driver_postgresql import dbapi

    database(data, dbapi, url.replace("postgres://", "postgresql://"))


if __name__ == "__main__":
    globals()[sys.argv[1]](Path(sys.argv[2]), Path(sys.argv[3]), sys.argv[4])
