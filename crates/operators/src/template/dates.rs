//! Dates in templates: what people use of pendulum's `DateTime` and `Date`.

use std::cmp::Ordering;
use std::fmt;
use std::sync::Arc;

use chrono::{
    DateTime, Datelike, Days, Months, NaiveDate, NaiveDateTime, NaiveTime, Offset, TimeDelta, TimeZone, Timelike, Utc,
    Weekday,
};
use chrono_tz::Tz;
use minijinja::value::{DynObject, Kwargs, Object, ObjectRepr, from_args};
use minijinja::{Error, ErrorKind, State, Value};

use super::date_format;
use super::delta::{Delta, clock_micros};

/// A point in time, with a zone unless it is `naive`.
#[derive(Clone, Copy)]
pub(super) struct Moment {
    at: DateTime<Tz>,
    /// It has no zone; `at` then counts in UTC.
    naive: bool,
}

/// A calendar day.
#[derive(Clone, Copy)]
pub(super) struct Day(pub(super) NaiveDate);

pub(super) fn invalid(message: impl Into<String>) -> Error {
    Error::new(ErrorKind::InvalidOperation, message.into())
}

pub(super) fn out_of_range() -> Error {
    invalid("the date is out of range")
}

/// A local time in a zone: the first of two, and past a gap by its length, as pendulum has it.
fn resolve(local: NaiveDateTime, zone: Tz) -> Result<DateTime<Tz>, Error> {
    let shifted =
        || local.checked_add_signed(TimeDelta::hours(1)).and_then(|local| zone.from_local_datetime(&local).earliest());
    zone.from_local_datetime(&local).earliest().or_else(shifted).ok_or_else(out_of_range)
}

impl Moment {
    pub(super) fn utc(at: DateTime<Utc>) -> Self {
        Self { at: at.with_timezone(&Tz::UTC), naive: false }
    }

    pub(super) fn naive(local: NaiveDateTime) -> Self {
        Self { at: Tz::UTC.from_utc_datetime(&local), naive: true }
    }

    pub(super) fn at(&self) -> DateTime<Tz> {
        self.at
    }

    pub(super) fn is_naive(&self) -> bool {
        self.naive
    }

    fn local(&self) -> NaiveDateTime {
        self.at.naive_local()
    }

    pub(super) fn plus(&self, delta: Delta) -> Result<Self, Error> {
        let at = self.at.checked_add_signed(TimeDelta::microseconds(delta.0)).ok_or_else(out_of_range)?;
        Ok(Self { at, ..*self })
    }

    pub(super) fn since(&self, other: &Self) -> Delta {
        Delta((self.at - other.at).num_microseconds().unwrap_or(i64::MAX))
    }

    /// The same zone at another local time.
    fn at_local(&self, local: NaiveDateTime) -> Result<Self, Error> {
        Ok(Self { at: resolve(local, self.at.timezone())?, ..*self })
    }

    pub(super) fn isoformat(&self, separator: char) -> String {
        let local = self.local();
        let fraction = if local.nanosecond() == 0 { "" } else { "%.6f" };
        let mut text = local.format(&format!("%Y-%m-%d{separator}%H:%M:%S{fraction}")).to_string();
        if !self.naive {
            text.push_str(&self.offset(":"));
        }
        text
    }

    /// The offset from UTC as `+01:00`, with `separator` between hours and minutes.
    pub(super) fn offset(&self, separator: &str) -> String {
        let seconds = self.at.offset().fix().local_minus_utc();
        let sign = if seconds < 0 { '-' } else { '+' };
        format!("{sign}{:02}{separator}{:02}", seconds.abs() / 3600, seconds.abs() / 60 % 60)
    }

    /// `add` and `subtract`: years to days go by the calendar, the rest by the clock.
    fn shifted(&self, args: &[Value], sign: i64) -> Result<Self, Error> {
        let (delta, kwargs): (Option<&Delta>, Kwargs) = from_args_delta(args)?;
        let amount = |name: &str| Ok::<_, Error>(kwargs.get::<Option<i64>>(name)?.unwrap_or(0) * sign);
        let months = amount("years")? * 12 + amount("months")?;
        let days = amount("weeks")? * 7 + amount("days")?;
        let micros = clock_micros(&kwargs)? * sign;
        kwargs.assert_all_used()?;
        let mut local = self.local();
        if (months, days) != (0, 0) {
            local = shift_days(shift_months(local.date(), months)?, days)?.and_time(local.time());
        }
        let moved = if local == self.local() { *self } else { self.at_local(local)? };
        moved.plus(Delta(micros + delta.map_or(0, |delta| delta.0 * sign)))
    }

    fn replaced(&self, args: &[Value]) -> Result<Self, Error> {
        let (kwargs,): (Kwargs,) = from_args(args)?;
        let local = self.local();
        let part = |name: &str, now: u32| Ok::<_, Error>(kwargs.get::<Option<u32>>(name)?.unwrap_or(now));
        let date = NaiveDate::from_ymd_opt(
            kwargs.get::<Option<i32>>("year")?.unwrap_or(local.year()),
            part("month", local.month())?,
            part("day", local.day())?,
        );
        let time = NaiveTime::from_hms_micro_opt(
            part("hour", local.hour())?,
            part("minute", local.minute())?,
            part("second", local.second())?,
            part("microsecond", local.nanosecond() / 1_000)?,
        );
        let zone = match kwargs.get::<Option<Value>>("tzinfo")?.or(kwargs.get::<Option<Value>>("tz")?) {
            Some(value) => Self { at: self.at.with_timezone(&zone(&value)?), naive: false },
            None => *self,
        };
        kwargs.assert_all_used()?;
        match (date, time) {
            (Some(date), Some(time)) => zone.at_local(date.and_time(time)),
            _ => Err(invalid("there is no such date or time")),
        }
    }

    fn in_zone(&self, args: &[Value]) -> Result<Self, Error> {
        let (name,): (&Value,) = from_args(args)?;
        Ok(Self { at: self.at.with_timezone(&zone(name)?), naive: false })
    }

    /// The first instant of the `unit` that this is in, and that of the next one.
    fn bounds(&self, unit: &str) -> Result<(Self, Self), Error> {
        let local = self.local();
        let day = local.date();
        let month_first = |date: NaiveDate| date.with_day(1).ok_or_else(out_of_range);
        let (first, next) = match unit {
            "second" | "minute" | "hour" => {
                let seconds = match unit {
                    "second" => 1,
                    "minute" => 60,
                    _ => 3600,
                };
                let whole = local.num_seconds_from_midnight() / seconds * seconds;
                let first = day.and_time(NaiveTime::MIN) + TimeDelta::seconds(i64::from(whole));
                let first = self.at_local(first)?;
                return Ok((first, first.plus(Delta(i64::from(seconds) * 1_000_000))?));
            }
            "day" => (day, shift_days(day, 1)?),
            "week" => {
                let first = shift_days(day, -i64::from(day.weekday().num_days_from_monday()))?;
                (first, shift_days(first, 7)?)
            }
            "month" | "quarter" | "year" | "decade" => {
                let (months, into) = match unit {
                    "month" => (1, 0),
                    "quarter" => (3, i64::from(day.month0() % 3)),
                    "year" => (12, i64::from(day.month0())),
                    _ => (120, i64::from(day.year().rem_euclid(10)) * 12 + i64::from(day.month0())),
                };
                let first = shift_months(month_first(day)?, -into)?;
                (first, shift_months(first, months)?)
            }
            _ => {
                return Err(invalid(format!(
                    "`{unit}` is not a unit of time: use second, minute, hour, day, week, month, quarter, year or decade"
                )));
            }
        };
        Ok((self.at_local(first.and_time(NaiveTime::MIN))?, self.at_local(next.and_time(NaiveTime::MIN))?))
    }

    fn attribute(&self, name: &str) -> Option<Value> {
        let local = self.local();
        Some(match name {
            "hour" => local.hour().into(),
            "minute" => local.minute().into(),
            "second" => local.second().into(),
            "microsecond" => (local.nanosecond() / 1_000).into(),
            "int_timestamp" => self.at.timestamp().into(),
            "float_timestamp" => self.float_timestamp().into(),
            "timezone_name" | "tz" | "tzinfo" | "timezone" if self.naive => Value::from(()),
            "timezone_name" | "tz" | "tzinfo" | "timezone" => self.at.timezone().name().into(),
            "offset" => self.at.offset().fix().local_minus_utc().into(),
            _ => return day_attribute(local.date(), name),
        })
    }

    fn float_timestamp(&self) -> f64 {
        self.at.timestamp_micros() as f64 / 1e6
    }
}

impl Day {
    pub(super) fn plus(&self, delta: Delta) -> Result<Self, Error> {
        // As in Python, only whole days count.
        Ok(Self(shift_days(self.0, delta.0.div_euclid(Delta::DAY))?))
    }

    pub(super) fn since(&self, other: &Self) -> Delta {
        Delta((self.0 - other.0).num_days() * Delta::DAY)
    }

    fn shifted(&self, args: &[Value], sign: i64) -> Result<Self, Error> {
        let (delta, kwargs): (Option<&Delta>, Kwargs) = from_args_delta(args)?;
        let amount = |name: &str| Ok::<_, Error>(kwargs.get::<Option<i64>>(name)?.unwrap_or(0) * sign);
        let months = amount("years")? * 12 + amount("months")?;
        let days = amount("weeks")? * 7 + amount("days")?;
        kwargs.assert_all_used()?;
        let moved = Self(shift_days(shift_months(self.0, months)?, days)?);
        delta.map_or(Ok(moved), |delta| moved.plus(Delta(delta.0 * sign)))
    }
}

/// An optional time span, then keyword arguments.
fn from_args_delta(args: &[Value]) -> Result<(Option<&Delta>, Kwargs), Error> {
    let (positional, kwargs): (Option<&Value>, Kwargs) = from_args(args)?;
    match positional {
        None => Ok((None, kwargs)),
        Some(value) => match value.downcast_object_ref::<Delta>() {
            Some(delta) => Ok((Some(delta), kwargs)),
            None => Err(invalid("expected a timedelta, or keywords such as days=1")),
        },
    }
}

fn shift_months(date: NaiveDate, months: i64) -> Result<NaiveDate, Error> {
    let by = u32::try_from(months.unsigned_abs()).map(Months::new).map_err(|_| out_of_range())?;
    if months < 0 { date.checked_sub_months(by) } else { date.checked_add_months(by) }.ok_or_else(out_of_range)
}

fn shift_days(date: NaiveDate, days: i64) -> Result<NaiveDate, Error> {
    let by = Days::new(days.unsigned_abs());
    if days < 0 { date.checked_sub_days(by) } else { date.checked_add_days(by) }.ok_or_else(out_of_range)
}

fn zone(value: &Value) -> Result<Tz, Error> {
    let name = value.to_string();
    name.parse().map_err(|_| invalid(format!("`{name}` is not a time zone: use a name such as `Europe/Berlin`")))
}

fn day_attribute(day: NaiveDate, name: &str) -> Option<Value> {
    Some(match name {
        "year" => day.year().into(),
        "month" => day.month().into(),
        "day" => day.day().into(),
        // Pendulum counts from Monday, which is 0.
        "day_of_week" => day.weekday().num_days_from_monday().into(),
        "day_of_year" => day.ordinal().into(),
        "week_of_year" => day.iso_week().week().into(),
        "week_of_month" => {
            let first = day.with_day(1)?.weekday().num_days_from_monday();
            ((day.day() + first - 1) / 7 + 1).into()
        }
        "days_in_month" => (day.checked_add_months(Months::new(1))?.with_day(1)?.pred_opt()?.day()).into(),
        "quarter" => (day.month0() / 3 + 1).into(),
        _ => return None,
    })
}

/// Methods that a day and a moment share; `None` for others.
fn day_method(day: NaiveDate, method: &str, args: &[Value]) -> Option<Result<Value, Error>> {
    let value = match method {
        "weekday" => day.weekday().num_days_from_monday().into(),
        "isoweekday" => day.weekday().number_from_monday().into(),
        "isocalendar" => {
            let week = day.iso_week();
            vec![i64::from(week.year()), i64::from(week.week()), i64::from(day.weekday().number_from_monday())].into()
        }
        "to_date_string" => day.to_string().into(),
        "toordinal" => day.num_days_from_ce().into(),
        "is_leap_year" => day.leap_year().into(),
        "is_weekend" => matches!(day.weekday(), Weekday::Sat | Weekday::Sun).into(),
        _ => return None,
    };
    Some(from_args::<()>(args).map(|()| value))
}

pub(super) fn compare<T: Object + 'static>(
    one: &T,
    other: &DynObject,
    by: impl Fn(&T, &T) -> Ordering,
) -> Option<Ordering> {
    other.downcast_ref::<T>().map(|other| by(one, other))
}

impl Object for Moment {
    fn repr(self: &Arc<Self>) -> ObjectRepr {
        ObjectRepr::Plain
    }

    fn is_true(self: &Arc<Self>) -> bool {
        true
    }

    fn get_value(self: &Arc<Self>, key: &Value) -> Option<Value> {
        self.attribute(key.as_str()?)
    }

    fn custom_cmp(self: &Arc<Self>, other: &DynObject) -> Option<Ordering> {
        compare(&**self, other, |a, b| a.at.cmp(&b.at))
    }

    fn render(self: &Arc<Self>, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.isoformat(' '))
    }

    fn call_method(self: &Arc<Self>, _: &mut State<'_, '_>, method: &str, args: &[Value]) -> Result<Value, Error> {
        let none = || from_args::<()>(args);
        let local = self.local();
        Ok(match method {
            "strftime" => date_format::strftime(self, from_args::<(&str,)>(args)?.0)?.into(),
            "format" => date_format::pendulum(self, from_args::<(&str,)>(args)?.0)?.into(),
            "isoformat" => {
                let (separator,) = from_args::<(Option<&str>,)>(args)?;
                self.isoformat(separator.and_then(|text| text.chars().next()).unwrap_or('T')).into()
            }
            "to_iso8601_string" => none().map(|()| self.isoformat('T').replace("+00:00", "Z"))?.into(),
            "to_datetime_string" => none().map(|()| local.format("%Y-%m-%d %H:%M:%S").to_string())?.into(),
            "to_time_string" => none().map(|()| local.format("%H:%M:%S").to_string())?.into(),
            "add" => Value::from_object(self.shifted(args, 1)?),
            "subtract" => Value::from_object(self.shifted(args, -1)?),
            "replace" | "set" => Value::from_object(self.replaced(args)?),
            "in_timezone" | "in_tz" | "astimezone" => Value::from_object(self.in_zone(args)?),
            "start_of" => Value::from_object(self.bounds(from_args::<(&str,)>(args)?.0)?.0),
            "end_of" => Value::from_object(self.bounds(from_args::<(&str,)>(args)?.0)?.1.plus(Delta(-1))?),
            "date" => none().map(|()| Value::from_object(Day(local.date())))?,
            "time" => none().map(|()| {
                Value::from(local.format(if local.nanosecond() == 0 { "%H:%M:%S" } else { "%H:%M:%S%.6f" }).to_string())
            })?,
            "naive" => none().map(|()| Value::from_object(Self::naive(local)))?,
            "timestamp" => none().map(|()| self.float_timestamp())?.into(),
            "diff" => {
                let (other,) = from_args::<(&Value,)>(args)?;
                let other = other.downcast_object_ref::<Self>().ok_or_else(|| invalid("expected a date and time"))?;
                Value::from_object(Delta(other.since(self).0.abs()))
            }
            "diff_for_humans" => {
                let (other,) = from_args::<(&Value,)>(args)?;
                let other = other.downcast_object_ref::<Self>().ok_or_else(|| invalid("expected a date and time"))?;
                let word = if self.at < other.at { "before" } else { "after" };
                format!("{} {word}", self.since(other).words()).into()
            }
            _ => return day_method(local.date(), method, args).unwrap_or_else(|| Err(ErrorKind::UnknownMethod.into())),
        })
    }
}

impl Object for Day {
    fn repr(self: &Arc<Self>) -> ObjectRepr {
        ObjectRepr::Plain
    }

    fn is_true(self: &Arc<Self>) -> bool {
        true
    }

    fn get_value(self: &Arc<Self>, key: &Value) -> Option<Value> {
        day_attribute(self.0, key.as_str()?)
    }

    fn custom_cmp(self: &Arc<Self>, other: &DynObject) -> Option<Ordering> {
        compare(&**self, other, |a, b| a.0.cmp(&b.0))
    }

    fn render(self: &Arc<Self>, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }

    fn call_method(self: &Arc<Self>, _: &mut State<'_, '_>, method: &str, args: &[Value]) -> Result<Value, Error> {
        let moment = Moment::naive(self.0.and_time(NaiveTime::MIN));
        Ok(match method {
            "strftime" => date_format::strftime(&moment, from_args::<(&str,)>(args)?.0)?.into(),
            "format" => date_format::pendulum(&moment, from_args::<(&str,)>(args)?.0)?.into(),
            "isoformat" => from_args::<()>(args).map(|()| self.0.to_string())?.into(),
            "add" => Value::from_object(self.shifted(args, 1)?),
            "subtract" => Value::from_object(self.shifted(args, -1)?),
            "replace" | "set" => Value::from_object(Self(moment.replaced(args)?.local().date())),
            "start_of" => Value::from_object(Self(moment.bounds(from_args::<(&str,)>(args)?.0)?.0.local().date())),
            "end_of" => {
                let (_, next) = moment.bounds(from_args::<(&str,)>(args)?.0)?;
                Value::from_object(Self(shift_days(next.local().date(), -1)?))
            }
            _ => return day_method(self.0, method, args).unwrap_or_else(|| Err(ErrorKind::UnknownMethod.into())),
        })
    }
}

impl fmt::Debug for Moment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.isoformat(' '))
    }
}

impl fmt::Debug for Day {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}
