"""The cases in PySpark, in local mode with all cores."""

import sys
from pathlib import Path

from pyspark.sql import SparkSession, Window
from pyspark.sql import functions as f

from orders import COLUMNS, COUNTRIES

TYPES = {"order_id": "bigint", "quantity": "bigint", "price": "double", "ordered_at": "timestamp"}


def session():
    builder = SparkSession.builder.master("local[*]").config("spark.driver.memory", "2g")
    builder = builder.config("spark.ui.enabled", "false").config("spark.sql.shuffle.partitions", "8")
    spark = builder.config("spark.sql.session.timeZone", "UTC").getOrCreate()
    spark.sparkContext.setLogLevel("ERROR")
    return spark


def read(path):
    schema = ", ".join(f"{name} {TYPES.get(name, 'string')}" for name in COLUMNS)
    return session().read.csv(str(path), schema=schema, header=True, nullValue="n/a")


def dedupe(data, out, _):
    frame = read(data / "orders.csv").withColumn("_row", f.monotonically_increasing_id())
    last = Window.partitionBy("order_id").orderBy(f.desc("_row"))
    frame = frame.withColumn("_n", f.row_number().over(last)).where("_n = 1").drop("_n", "_row")
    frame.write.parquet(str(out / "result"))


def convert(data, out, _):
    read(data / "orders.csv").write.parquet(str(out / "result"))


def validate(data, out, _):
    raw = session().read.csv(str(data / "orders.csv"), schema=", ".join(f"{name} string" for name in COLUMNS), header=True)
    countries = ", ".join(f"'{name}'" for name in COUNTRIES)
    rules = {
        "order_id": "id IS NULL",
        "quantity: type": "n IS NULL",
        "quantity: between": "NOT n BETWEEN 1 AND 100",
        "price: type": "p IS NULL",
        "price: ge": "p < 0",
        "country": f"country NOT IN ({countries})",
        "product": "NOT product RLIKE '^P[0-9]{5}$'",
        "ordered_at": "t IS NULL",
    }
    broken = ", ".join(f"CASE WHEN {test} THEN '{name}' END" for name, test in rules.items())
    checked = raw.selectExpr("*", "try_cast(order_id AS bigint) AS id", "try_cast(quantity AS bigint) AS n",
                             "try_cast(price AS double) AS p", "try_cast(ordered_at AS timestamp) AS t")
    checked = checked.withColumn("_rejected_by", f.expr(f"array_compact(array({broken}))"))
    checked.where("size(_rejected_by) = 0").selectExpr(
        "id AS order_id", "customer", "product", "n AS quantity", "p AS price", "country", "status", "channel",
        "t AS ordered_at").write.parquet(str(out / "result"))
    checked.where("size(_rejected_by) > 0").select(*COLUMNS, "_rejected_by").write.parquet(str(out / "rejects"))


def aggregate(data, out, _):
    found = read(data / "orders.csv").groupBy("country", "product").agg(
        f.count("*").alias("orders"), f.sum("quantity").alias("units"),
        f.expr("sum(quantity * price)").alias("revenue"), f.avg("price").alias("mean_price"))
    found.repartition("country").write.partitionBy("country").parquet(str(out / "result"))


def groups(data, out, _):
    found = read(data / "orders.csv").groupBy("order_id").agg(
        f.count("*").alias("orders"), f.coalesce(f.sum("price"), f.lit(0.0)).alias("total"))
    found.write.parquet(str(out / "result"))


def flights(data, out, _):
    frame = session().read.csv(str(data / "flights.csv"), header=True, inferSchema=True, nullValue="NA")
    found = frame.groupBy("carrier", "month").agg(
        f.count("*").alias("flights"), f.avg("dep_delay").alias("mean_delay"), f.sum("distance").alias("miles"))
    found.coalesce(1).write.parquet(str(out / "result"))


if __name__ == "__main__":
    globals()[sys.argv[1]](Path(sys.argv[2]), Path(sys.argv[3]), sys.argv[4])
