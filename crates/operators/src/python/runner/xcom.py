"""Values as JSON.

Times, dates, decimals, UUIDs and paths become text, tuples become lists, and numpy's scalars become
numbers: nothing of their value is lost. What has no such form is an error that says where it stands.
"""

import datetime
import decimal
import json
import math
import os
import uuid

# The worker's parser stops at 128 levels, and there are a few around the value.
MAX_DEPTH = 100
# Integers beyond these would silently become floating-point numbers.
MIN_INT, MAX_INT = -(2**63), 2**64 - 1

# By the first part of the module and the name of the class.
HINTS = {
    "builtins.bytes": "`.decode()` or base64 makes text of it",
    "builtins.bytearray": "`.decode()` or base64 makes text of it",
    "builtins.set": "`sorted(...)` makes a list of it",
    "builtins.frozenset": "`sorted(...)` makes a list of it",
    "builtins.complex": "return its parts",
    "datetime.timedelta": "`.total_seconds()` makes a number of it",
    "numpy.ndarray": "`.tolist()` makes a list of it; write large ones to a file and return its path",
    "pandas.DataFrame": "a python task that returns it alone leaves a data set; `.to_dict('records')` makes a list of it",
    "pandas.Series": "`.tolist()` makes a list of it",
    "polars.DataFrame": "a python task that returns it alone leaves a data set; `.to_dicts()` makes a list of it",
    "polars.Series": "`.to_list()` makes a list of it",
    "pyspark.DataFrame": "write it to a table or a file and return its name",
}


class XComError(Exception):
    """A value that cannot be an XCom."""


def encode(value, key, task_id, limit_bytes):
    """The value as JSON text."""
    name = f"XCom `{key}` of task `{task_id}`"
    try:
        text = json.dumps(_plain(value, (), 0), ensure_ascii=False, separators=(",", ":"), allow_nan=False)
        data = text.encode("utf-8")
    except _Unfit as unfit:
        place = "".join(f"[{step!r}]" for step in unfit.path)
        raise XComError(f"{name}: {'value at ' + place if place else 'the value'} is {unfit.reason}") from None
    if len(data) > limit_bytes:
        raise XComError(
            f"{name}: the value takes {len(data)} bytes as JSON, more than the limit of {limit_bytes}; write it to a "
            "file or a table and return the name"
        )
    return data


class _Unfit(Exception):
    def __init__(self, path, reason):
        super().__init__(reason)
        self.path = path
        self.reason = reason


def _plain(value, path, depth):
    """`value` made of what JSON has."""
    if value is None or value is True or value is False:
        return value
    if isinstance(value, str):
        return _text(value, path)
    if isinstance(value, int):
        if MIN_INT <= value <= MAX_INT:
            return int(value)
        reason = f"the integer {_short(value)}, which is too large for JSON as other programs read it; return str(...)"
        raise _Unfit(path, reason)
    if isinstance(value, float):
        return _number(value, path)
    if depth >= MAX_DEPTH:
        raise _Unfit((), f"nested more than {MAX_DEPTH} levels deep, or contains itself")
    if isinstance(value, (list, tuple)):
        return [_plain(item, (*path, index), depth + 1) for index, item in enumerate(value)]
    if isinstance(value, dict):
        return _mapping(value, path, depth)
    return _special(value, path, depth)


def _text(value, path):
    if not value.isascii():
        try:
            value.encode("utf-8")
        except UnicodeEncodeError as error:
            bad = value[error.start]
            raise _Unfit(path, f"text with the lone surrogate {bad!a}, which UTF-8 cannot hold") from None
    return str.__str__(value)


def _number(value, path):
    if math.isfinite(value):
        return float(value)
    raise _Unfit(path, f"{float(value)}, which JSON cannot hold; return None or text in its place")


def _mapping(value, path, depth):
    plain = {}
    for key, item in value.items():
        name = _key(key, path)
        if name in plain:
            raise _Unfit(path, f"a mapping with two keys that read `{name}` as text, which JSON cannot hold")
        plain[name] = _plain(item, (*path, key), depth + 1)
    return plain


def _key(key, path):
    if isinstance(key, str):
        return _text(key, path)
    if isinstance(key, (datetime.date, datetime.datetime)):
        return key.isoformat()
    if isinstance(key, (bool, int)) or key is None:
        return json.dumps(key)
    if isinstance(key, (decimal.Decimal, uuid.UUID)):
        return str(key)
    if isinstance(key, float):
        return json.dumps(_number(key, path))
    if _is_numpy_scalar(key):
        return _key(key.item(), path)
    raise _Unfit(path, f"a mapping with a key of type `{_type_name(key)}`, which cannot be JSON; use text")


def _special(value, path, depth):
    if isinstance(value, datetime.datetime):
        if value != value:
            raise _Unfit(path, "NaT, which JSON cannot hold; return None in its place")
        return value.isoformat()
    if isinstance(value, (datetime.date, datetime.time)):
        return value.isoformat()
    if isinstance(value, decimal.Decimal):
        if value.is_finite():
            return str(value)
        raise _Unfit(path, f"the decimal {value}, which JSON cannot hold; return None in its place")
    if isinstance(value, uuid.UUID):
        return str(value)
    if isinstance(value, os.PathLike):
        return _plain(os.fspath(value), path, depth)
    if _is_numpy_scalar(value):
        if value.dtype.kind == "M" and value == value:
            # `.item()` makes a bare number of one that counts nanoseconds.
            return str(value)
        item = value.item()
        if type(item) is not type(value):
            return _plain(item, path, depth)
    raise _Unfit(path, f"a `{_type_name(value)}`, which cannot be JSON; {_hint(value)}")


def _is_numpy_scalar(value):
    return type(value).__module__ == "numpy" and getattr(value, "shape", None) == () and hasattr(value, "item")


def _hint(value):
    for cls in type(value).__mro__:
        hint = HINTS.get(f"{cls.__module__.split('.')[0]}.{cls.__name__}")
        if hint is not None:
            return hint
    if hasattr(value, "model_dump"):
        return "`.model_dump(mode='json')` makes a mapping of it"
    if hasattr(value, "__dataclass_fields__"):
        return "`dataclasses.asdict(...)` makes a mapping of it"
    if hasattr(value, "__iter__"):
        return "`list(...)` makes a list of it"
    return "return text, numbers, lists or mappings"


def _type_name(value):
    cls = type(value)
    return cls.__qualname__ if cls.__module__ == "builtins" else f"{cls.__module__}.{cls.__qualname__}"


def _short(value):
    # Long integers may not be printed in full: Python refuses past 4,300 digits.
    return str(value) if value.bit_length() < 256 else f"of {value.bit_length()} bits"
