"""`macros` of the context and `airflow.macros`."""

import datetime as _datetime
import importlib

datetime = _datetime.datetime
timedelta = _datetime.timedelta


def ds_add(ds, days):
    """The day `days` after `ds`, both as YYYY-MM-DD."""
    if not days:
        return str(ds)
    return (datetime.strptime(str(ds), "%Y-%m-%d") + timedelta(days=days)).strftime("%Y-%m-%d")


def ds_format(ds, input_format, output_format):
    """The day `ds` from one format of strftime to another."""
    return datetime.strptime(str(ds), input_format).strftime(output_format)


def random():
    """A number from 0 to below 1."""
    return importlib.import_module("random").random()


def __getattr__(name):
    # Modules that few tasks ask for and every child would have to load.
    if name in ("json", "time", "uuid", "dateutil"):
        return importlib.import_module(name)
    raise AttributeError(f"there is no macro `{name}`")
