"""The functions of carrier_delays.yaml."""

import csv
import json
from pathlib import Path

SOURCE = Path(__file__).resolve().parent / "data" / "nycflights13" / "flights-2013-01.csv"


def rows():
    with SOURCE.open(newline="") as source:
        yield from csv.DictReader(source)


def carriers():
    """Every carrier of the month, once."""
    return sorted({row["carrier"] for row in rows()})


def mean_delay(carrier):
    """The mean departure delay of one carrier, in minutes; cancelled flights have none."""
    delays = [float(row["dep_delay"]) for row in rows() if row["carrier"] == carrier and row["dep_delay"] != "NA"]
    minutes = round(sum(delays) / len(delays), 2) if delays else 0.0
    print(f"{carrier}: {len(delays)} departures, {minutes} minutes late on average")
    return {"carrier": carrier, "flights": len(delays), "minutes": minutes}


def late(delays, minutes):
    """Names the carriers that were late on average."""
    found = [one for one in json.loads(delays) if one["minutes"] >= float(minutes)]
    for one in sorted(found, key=lambda one: -one["minutes"]):
        print(f"{one['carrier']}: {one['minutes']} minutes over {one['flights']} departures")
    return [one["carrier"] for one in found]
