"""`airflow.utils.timezone`: the helpers that tasks use."""

import datetime as _datetime

from _towpath import times

utc = _datetime.timezone.utc
TIMEZONE = utc


def is_localized(value):
    return value.utcoffset() is not None


def is_naive(value):
    return not is_localized(value)


def utcnow():
    return times.utcnow()


def utc_epoch():
    return times.make(1970, 1, 1)


def make_aware(value, timezone=None):
    if value is None:
        return None
    if is_localized(value):
        raise ValueError(f"make_aware expects a naive datetime, got {value}")
    return times.of(value.replace(tzinfo=times.zone(timezone or utc)))


def make_naive(value, timezone=None):
    if is_naive(value):
        raise ValueError("make_naive() cannot be applied to a naive datetime")
    return value.astimezone(times.zone(timezone or utc)).replace(tzinfo=None)


def convert_to_utc(value):
    if value is None:
        return None
    if not is_localized(value):
        return make_aware(value)
    return times.of(value.astimezone(utc))


def datetime(*args, **kwargs):
    kwargs.setdefault("tzinfo", utc)
    return times.make(*args, **kwargs)


def parse(string, timezone=None, strict=False):
    """A time of ISO 8601 text; without a zone it is `timezone`, or UTC."""
    text = string.strip()
    value = _datetime.datetime.fromisoformat(text[:-1] + "+00:00" if text.endswith(("Z", "z")) else text)
    if not is_localized(value):
        value = value.replace(tzinfo=times.zone(timezone or utc))
    return times.of(value)


def coerce_datetime(value, tz=None):
    if value is None:
        return None
    return times.of(value) if is_localized(value) else make_aware(value, tz)


def from_timestamp(timestamp, tz=utc):
    return times.of(_datetime.datetime.fromtimestamp(timestamp, times.zone(tz)))
