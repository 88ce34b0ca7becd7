"""The functions of flights_daily.yaml.

Whatever is killed on the way: a file appears whole or not at all, and a day's rows are replaced in
one transaction.
"""

import csv
import os
import sqlite3
from contextlib import closing
from pathlib import Path

FOLDER = Path(__file__).resolve().parent
SOURCE = FOLDER / "data" / "nycflights13" / "flights-2013-01.csv"
WAREHOUSE = FOLDER.parent / "warehouse"


def extract(day):
    """Writes the flights of `day` (2013-01-05) to a file of their own."""
    year, month, day_of_month = (int(part) for part in day.split("-"))
    staged = WAREHOUSE / "staged"
    staged.mkdir(parents=True, exist_ok=True)
    target = staged / f"flights-{day}.csv"
    aside = target.with_suffix(f".{os.getpid()}.part")
    rows = 0
    with SOURCE.open(newline="") as source, aside.open("w", newline="") as out:
        reader = csv.reader(source)
        writer = csv.writer(out)
        writer.writerow(next(reader))
        for row in reader:
            if (int(row[0]), int(row[1]), int(row[2])) == (year, month, day_of_month):
                writer.writerow(row)
                rows += 1
    os.replace(aside, target)
    print(f"{rows} flights left on {day}")
    return {"file": str(target), "rows": rows}


def load_flights(day, file):
    """Replaces the flights of `day`; how many there are."""
    with open(file, newline="") as source:
        rows = [
            (day, row["carrier"], int(row["flight"]), row["origin"], row["dest"], row["sched_dep_time"], _number(row["dep_delay"]))
            for row in csv.DictReader(source)
        ]
    with closing(_connect()) as database, database:
        database.execute("BEGIN IMMEDIATE")
        database.execute("DELETE FROM flights WHERE day = ?", (day,))
        database.executemany("INSERT INTO flights VALUES (?, ?, ?, ?, ?, ?, ?)", rows)
    return len(rows)


def load_delays(day, file):
    """Replaces the mean departure delays of `day`; how many carriers there are."""
    delays = {}
    with open(file, newline="") as source:
        for row in csv.DictReader(source):
            seen = delays.setdefault(row["carrier"], [0, 0, 0.0])
            seen[0] += 1
            delay = _number(row["dep_delay"])
            if delay is not None:
                seen[1] += 1
                seen[2] += delay
    rows = [(day, carrier, flights, total / known if known else None) for carrier, (flights, known, total) in delays.items()]
    with closing(_connect()) as database, database:
        database.execute("BEGIN IMMEDIATE")
        database.execute("DELETE FROM delays WHERE day = ?", (day,))
        database.executemany("INSERT INTO delays VALUES (?, ?, ?, ?)", rows)
    return len(rows)


def _number(text):
    return None if text in ("", "NA") else float(text)


def _connect():
    WAREHOUSE.mkdir(parents=True, exist_ok=True)
    database = sqlite3.connect(WAREHOUSE / "flights.db", timeout=60, isolation_level=None)
    database.execute(
        "CREATE TABLE IF NOT EXISTS flights (day TEXT, carrier TEXT, flight INTEGER, origin TEXT, dest TEXT,"
        " sched_dep_time TEXT, dep_delay REAL)"
    )
    database.execute(
        "CREATE TABLE IF NOT EXISTS delays (day TEXT, carrier TEXT, flights INTEGER, mean_delay REAL, PRIMARY KEY (day, carrier))"
    )
    return database
