"""Points in time as tasks get them: pendulum's where it is installed, else a `datetime` with its most used methods."""

import calendar
import re
from datetime import datetime, timedelta, timezone

try:
    # Here and not in the children, who would have to wait for it.
    import pendulum
except Exception:
    pendulum = None

_TOKENS = {
    "YYYY": "%Y", "YY": "%y", "MMMM": "%B", "MMM": "%b", "MM": "%m", "DDDD": "%j", "DD": "%d", "dddd": "%A",
    "ddd": "%a", "HH": "%H", "hh": "%I", "mm": "%M", "ss": "%S", "SSSSSS": "%f", "A": "%p", "ZZ": "%z", "z": "%Z",
}
_TOKEN = re.compile(r"\[([^\]]*)\]|" + "|".join(sorted(_TOKENS, key=len, reverse=True)))
_UNITS = ("year", "month", "day", "hour", "minute", "second")


class DateTime(datetime):
    """A time with zone, and a few of pendulum's methods."""

    def add(self, years=0, months=0, weeks=0, days=0, hours=0, minutes=0, seconds=0, microseconds=0):
        month = self.month - 1 + months
        year = self.year + years + month // 12
        month = month % 12 + 1
        day = min(self.day, calendar.monthrange(year, month)[1])
        step = timedelta(weeks=weeks, days=days, hours=hours, minutes=minutes, seconds=seconds)
        return self.replace(year=year, month=month, day=day) + step + timedelta(microseconds=microseconds)

    def subtract(self, **units):
        return self.add(**{unit: -count for unit, count in units.items()})

    def start_of(self, unit):
        if unit == "week":
            return self.subtract(days=self.weekday()).start_of("day")
        keep = _UNITS.index(unit) + 1
        zero = {"month": 1, "day": 1, "hour": 0, "minute": 0, "second": 0}
        return self.replace(microsecond=0, **{name: zero[name] for name in _UNITS[keep:]})

    def end_of(self, unit):
        return self.start_of(unit).add(**{unit + "s": 1}) - timedelta(microseconds=1)

    def in_timezone(self, tz):
        return self.astimezone(zone(tz))

    in_tz = in_timezone

    def to_date_string(self):
        return self.strftime("%Y-%m-%d")

    def to_time_string(self):
        return self.strftime("%H:%M:%S")

    def to_datetime_string(self):
        return self.strftime("%Y-%m-%d %H:%M:%S")

    def to_iso8601_string(self):
        text = self.isoformat()
        return text[:-6] + "Z" if text.endswith("+00:00") else text

    def format(self, fmt):
        """Pendulum's tokens that have a counterpart in strftime; text in brackets stays as it is."""
        return _TOKEN.sub(lambda m: m[1] if m[1] is not None else self.strftime(_TOKENS[m[0]]), fmt)

    def naive(self):
        return self.replace(tzinfo=None)

    @property
    def int_timestamp(self):
        return int(self.timestamp())

    @property
    def float_timestamp(self):
        return self.timestamp()

    @property
    def timezone_name(self):
        return getattr(self.tzinfo, "key", None) or self.tzname()


def zone(tz):
    """The time zone of a name."""
    if not isinstance(tz, str):
        return tz
    if tz.upper() == "UTC":
        return timezone.utc
    try:
        from zoneinfo import ZoneInfo
    except ImportError:
        try:
            from backports.zoneinfo import ZoneInfo
        except ImportError:
            raise ValueError(
                f"time zone `{tz}` cannot be read by this Python: use 3.9 or newer, or install backports.zoneinfo"
            ) from None
    return ZoneInfo(tz)


def make(year, month, day, hour=0, minute=0, second=0, microsecond=0, tzinfo=timezone.utc):
    if pendulum is not None:
        tz = "UTC" if tzinfo is timezone.utc else tzinfo
        return pendulum.datetime(year, month, day, hour, minute, second, microsecond, tz=tz)
    return DateTime(year, month, day, hour, minute, second, microsecond, tzinfo=tzinfo)


def of(value):
    """`value`, a datetime, as tasks get it."""
    if pendulum is not None:
        return pendulum.instance(value)
    return DateTime(
        value.year, value.month, value.day, value.hour, value.minute, value.second, value.microsecond,
        tzinfo=value.tzinfo or timezone.utc, fold=value.fold,
    )


def parse(text):
    """The UTC time that the worker wrote as RFC 3339; None stays None."""
    if text is None:
        return None
    text, _, fraction = text.rstrip("Z").partition(".")
    day, _, time = text.partition("T")
    return make(*map(int, day.split("-")), *map(int, time.split(":")), int(fraction[:6].ljust(6, "0") or 0))


def utcnow():
    return of(datetime.now(timezone.utc))
