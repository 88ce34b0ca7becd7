//! Time spans in templates: what people use of Python's `timedelta` and pendulum's `Duration`.

use std::cmp::Ordering;
use std::fmt;
use std::sync::Arc;

use minijinja::value::{DynObject, Kwargs, Object, ObjectRepr, from_args};
use minijinja::{Error, ErrorKind, State, Value};

use super::dates::{compare, out_of_range};

/// A span of time, in microseconds.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Delta(pub(super) i64);

impl Delta {
    pub(super) const DAY: i64 = 86_400_000_000;

    /// Python's `timedelta(days, seconds, microseconds, milliseconds, minutes, hours, weeks)`.
    pub(super) fn from_arguments(days: Option<f64>, kwargs: &Kwargs) -> Result<Self, Error> {
        let amount = |name: &str| Ok::<_, Error>(kwargs.get::<Option<f64>>(name)?.unwrap_or(0.0));
        let days = days.unwrap_or(0.0) + amount("days")? + amount("weeks")? * 7.0;
        let micros = clock_micros(kwargs)? + (amount("milliseconds")? * 1e3).round() as i64;
        kwargs.assert_all_used()?;
        Ok(Self((days * Self::DAY as f64).round() as i64 + micros))
    }

    pub(super) fn negated(self) -> Self {
        Self(self.0.saturating_neg())
    }

    pub(super) fn plus(self, other: Self) -> Result<Self, Error> {
        self.0.checked_add(other.0).map(Self).ok_or_else(out_of_range)
    }

    /// Days, and the seconds and microseconds beside them, which are never negative.
    fn parts(self) -> (i64, i64, i64) {
        let rest = self.0.rem_euclid(Self::DAY);
        (self.0.div_euclid(Self::DAY), rest / 1_000_000, rest % 1_000_000)
    }

    fn total_seconds(self) -> f64 {
        self.0 as f64 / 1e6
    }

    /// `3 days ago`, `in 2 hours`, `a few seconds`: the size in its largest unit, as pendulum words it.
    pub(super) fn words(self) -> String {
        let seconds = self.0.unsigned_abs() / 1_000_000;
        let (minutes, hours, days) = (seconds / 60, seconds / 3_600, seconds / 86_400);
        let (count, unit) = match () {
            () if days >= 365 => (days / 365, "year"),
            () if days >= 30 => (days / 30, "month"),
            () if days >= 7 => (days / 7, "week"),
            () if days > 0 => (days, "day"),
            () if hours > 0 => (hours, "hour"),
            () if minutes > 0 => (minutes, "minute"),
            () if seconds >= 10 => (seconds, "second"),
            () => return "a few seconds".to_owned(),
        };
        format!("{count} {unit}{}", if count == 1 { "" } else { "s" })
    }
}

impl Object for Delta {
    fn repr(self: &Arc<Self>) -> ObjectRepr {
        ObjectRepr::Plain
    }

    fn is_true(self: &Arc<Self>) -> bool {
        self.0 != 0
    }

    fn get_value(self: &Arc<Self>, key: &Value) -> Option<Value> {
        let (days, seconds, micros) = self.parts();
        Some(match key.as_str()? {
            "days" => days.into(),
            "seconds" => seconds.into(),
            "microseconds" => micros.into(),
            _ => return None,
        })
    }

    fn custom_cmp(self: &Arc<Self>, other: &DynObject) -> Option<Ordering> {
        compare(&**self, other, Ord::cmp)
    }

    fn render(self: &Arc<Self>, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (days, seconds, micros) = self.parts();
        if days != 0 {
            write!(f, "{days} day{}, ", if days.abs() == 1 { "" } else { "s" })?;
        }
        write!(f, "{}:{:02}:{:02}", seconds / 3600, seconds / 60 % 60, seconds % 60)?;
        if micros != 0 { write!(f, ".{micros:06}") } else { Ok(()) }
    }

    fn call_method(self: &Arc<Self>, _: &mut State<'_, '_>, method: &str, args: &[Value]) -> Result<Value, Error> {
        from_args::<()>(args)?;
        let whole = |unit: i64| Value::from(self.0 / (unit * 1_000_000));
        Ok(match method {
            "total_seconds" => self.total_seconds().into(),
            "total_minutes" => (self.total_seconds() / 60.0).into(),
            "total_hours" => (self.total_seconds() / 3_600.0).into(),
            "total_days" => (self.total_seconds() / 86_400.0).into(),
            "in_seconds" => whole(1),
            "in_minutes" => whole(60),
            "in_hours" => whole(3_600),
            "in_days" => whole(86_400),
            "in_weeks" => whole(604_800),
            "in_words" => self.words().into(),
            _ => return Err(ErrorKind::UnknownMethod.into()),
        })
    }
}

impl fmt::Debug for Delta {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "timedelta of {} microseconds", self.0)
    }
}

/// What the keywords that speak of a clock add up to.
pub(super) fn clock_micros(kwargs: &Kwargs) -> Result<i64, Error> {
    let mut total = 0.0;
    for (name, micros) in [("hours", 3.6e9), ("minutes", 6e7), ("seconds", 1e6), ("microseconds", 1.0)] {
        total += kwargs.get::<Option<f64>>(name)?.unwrap_or(0.0) * micros;
    }
    Ok(total.round() as i64)
}
