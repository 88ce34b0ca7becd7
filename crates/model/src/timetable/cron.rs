//! Cron expressions as crontab, croniter and Airflow read them, on top of the `cron` crate.
//!
//! The crate counts Sunday as 1, wants seconds, and lets a day fire only if both day fields allow
//! it. An expression is therefore lowered to one schedule of plain numbers for each way in which a
//! day can qualify, and the expression fires when any of them does. Everything here is naive local
//! time; [`super::ticks`] turns it into instants.

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use chrono::{DateTime, Datelike, Days, NaiveDate, NaiveDateTime, NaiveTime, TimeDelta, Utc};
use serde::{Deserialize, Serialize};

use super::ParseError;
use super::field::{DAY, Field, HOUR, MINUTE, MONTH, SECOND, WEEKDAY};

/// 2101-01-01T00:00:00Z, where the years of the `cron` crate end.
const END_OF_CRATE_YEARS: DateTime<Utc> = DateTime::from_timestamp_secs(4_133_980_800).expect("within chrono's range");

/// Presets that stand for a cron expression.
pub(super) const PRESETS: &[(&str, &str)] = &[
    ("@hourly", "0 * * * *"),
    ("@daily", "0 0 * * *"),
    ("@midnight", "0 0 * * *"),
    ("@weekly", "0 0 * * 0"),
    ("@monthly", "0 0 1 * *"),
    ("@quarterly", "0 0 1 */3 *"),
    ("@yearly", "0 0 1 1 *"),
    ("@annually", "0 0 1 1 *"),
];

/// A cron expression that is known to be valid and to fire at some time. It keeps its source text,
/// which is what is compared, printed and serialized; clones share the compiled form.
#[derive(Clone, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct CronExpression {
    source: String,
    compiled: Arc<Compiled>,
}

struct Compiled {
    parts: Vec<Part>,
    hourly: bool,
}

/// One way for a day to qualify.
struct Part {
    schedule: cron::Schedule,
    /// Only this many days at the end of each month count.
    tail: Option<u32>,
}

/// A day-of-month field.
struct MonthDays {
    days: BTreeSet<u32>,
    last: bool,
}

/// A day-of-week field. Days are 0 (Sunday) to 6.
#[derive(Default)]
struct Weekdays {
    days: BTreeSet<u32>,
    /// `FRI#2`: by the n-th of the month, from 1.
    nth: [BTreeSet<u32>; 5],
    /// `L5`: the last Friday of the month.
    last: BTreeSet<u32>,
}

impl CronExpression {
    /// Reads five fields (minute, hour, day of month, month, day of week), six (seconds last, as
    /// croniter has them), or a preset such as `@daily`.
    ///
    /// # Errors
    /// [`ParseError`] names the field, the item and what may be written there; an expression that
    /// can never fire (`0 0 30 2 *`) is an error too.
    pub fn parse(text: &str) -> Result<Self, ParseError> {
        let source = text.split_whitespace().collect::<Vec<_>>().join(" ");
        let lower = source.to_ascii_lowercase();
        let expression = match PRESETS.iter().find(|(name, _)| *name == lower) {
            Some((_, expression)) => expression,
            None if lower.starts_with('@') => return Err(ParseError::unknown_preset(&source)),
            None => source.as_str(),
        };
        let compiled = Arc::new(compile(expression)?);
        Ok(Self { source, compiled })
    }

    /// The text that it was read from, with single spaces.
    #[must_use]
    pub fn source(&self) -> &str {
        &self.source
    }

    /// The expression in fields: the source, or what a preset stands for.
    #[must_use]
    pub fn fields(&self) -> &str {
        let lower = self.source.to_ascii_lowercase();
        PRESETS.iter().find(|(name, _)| *name == lower).map_or(&self.source, |(_, fields)| fields)
    }

    /// Whether the hour field allows every hour: such a schedule keeps its pace when the clock is
    /// moved.
    pub(super) fn is_hourly(&self) -> bool {
        self.compiled.hourly
    }

    /// The first local time after `time` at which it fires. `None` after the year 2100.
    pub(super) fn after(&self, time: NaiveDateTime) -> Option<NaiveDateTime> {
        self.compiled.parts.iter().filter_map(|part| part.after(time)).min()
    }

    /// The last local time before `time` at which it fires. `None` before the year 1970.
    pub(super) fn before(&self, time: NaiveDateTime) -> Option<NaiveDateTime> {
        self.compiled.parts.iter().filter_map(|part| part.before(time)).max()
    }

    /// Whether it fires at the local time `time`.
    pub(super) fn fires_at(&self, time: NaiveDateTime) -> bool {
        self.after(time - TimeDelta::nanoseconds(1)) == Some(time)
    }
}

impl FromStr for CronExpression {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        Self::parse(text)
    }
}

impl TryFrom<String> for CronExpression {
    type Error = ParseError;

    fn try_from(text: String) -> Result<Self, ParseError> {
        Self::parse(&text)
    }
}

impl From<CronExpression> for String {
    fn from(expression: CronExpression) -> Self {
        expression.source
    }
}

impl fmt::Display for CronExpression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.source)
    }
}

impl fmt::Debug for CronExpression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("CronExpression").field(&self.source).finish()
    }
}

impl PartialEq for CronExpression {
    fn eq(&self, other: &Self) -> bool {
        self.source == other.source
    }
}

impl Eq for CronExpression {}

impl Part {
    fn after(&self, time: NaiveDateTime) -> Option<NaiveDateTime> {
        let mut cursor = time.and_utc();
        loop {
            let next = self.schedule.after(&cursor).next()?;
            if self.admits(next.date_naive()) {
                return Some(next.naive_utc());
            }
            cursor = start_of_day(next.date_naive().checked_add_days(Days::new(1))?) - TimeDelta::seconds(1);
        }
    }

    fn before(&self, time: NaiveDateTime) -> Option<NaiveDateTime> {
        // Going back from a year that it does not know, the crate takes that year's month and day
        // for the end of the year before.
        let mut cursor = time.and_utc().min(END_OF_CRATE_YEARS);
        loop {
            let previous = self.schedule.after(&cursor).next_back()?;
            if self.admits(previous.date_naive()) {
                return Some(previous.naive_utc());
            }
            cursor = start_of_day(previous.date_naive());
        }
    }

    fn admits(&self, date: NaiveDate) -> bool {
        self.tail.is_none_or(|tail| date.day() + tail > u32::from(date.num_days_in_month()))
    }
}

fn start_of_day(date: NaiveDate) -> DateTime<Utc> {
    date.and_time(NaiveTime::MIN).and_utc()
}

fn compile(expression: &str) -> Result<Compiled, ParseError> {
    let fields: Vec<&str> = expression.split(' ').collect();
    let (Some(&[minute, hour, day, month, weekday]), second) = (match fields.as_slice() {
        [five @ .., second] if five.len() == 5 => (<&[&str; 5]>::try_from(five).ok(), *second),
        five => (<&[&str; 5]>::try_from(five).ok(), "0"),
    }) else {
        return Err(ParseError::FieldCount { expression: expression.to_owned(), count: fields.len() });
    };
    let list = |field: &Field, text: &str| {
        field.list(text).map_err(|(item, problem)| ParseError::field(expression, field.name, &item, problem))
    };
    let hours = list(&HOUR, hour)?;
    let times = format!(
        "{} {} {}",
        numbers(&SECOND, &list(&SECOND, second)?, 0),
        numbers(&MINUTE, &list(&MINUTE, minute)?, 0),
        numbers(&HOUR, &hours, 0)
    );
    let months = numbers(&MONTH, &list(&MONTH, month)?, 0);
    let day_field = MonthDays::parse(expression, day)?;
    let weekday_field = Weekdays::parse(expression, weekday)?;

    // Two restricted day fields are alternatives. A field that allows everything is a restriction
    // only where it was spelled out next to another restriction (`0 0 1-31 * 5`), as in croniter.
    let unrestricted = |text: &str, all: bool, other: &str| matches!(text, "*" | "?") || (all && other.contains('*'));
    let any_day = unrestricted(day, DAY.is_all(&day_field.days), weekday);
    let any_weekday = unrestricted(weekday, WEEKDAY.is_all(&weekday_field.days), day);
    let mut days = Vec::new();
    match (any_day, any_weekday) {
        (true, true) => days.push((DAY.all(), WEEKDAY.all(), None)),
        (false, true) => day_field.alternatives(&mut days),
        (true, false) => weekday_field.alternatives(&mut days),
        (false, false) => {
            day_field.alternatives(&mut days);
            weekday_field.alternatives(&mut days);
        }
    }
    let mut parts = Vec::with_capacity(days.len());
    for (days, weekdays, tail) in days {
        // The crate counts from Sunday = 1.
        let text = format!("{times} {} {months} {}", numbers(&DAY, &days, 0), numbers(&WEEKDAY, &weekdays, 1));
        let schedule = cron::Schedule::from_str(&text).expect("plain numbers within the bounds of their fields");
        parts.push(Part { schedule, tail });
    }
    let epoch = start_of_day(NaiveDate::default()).naive_utc();
    parts.retain(|part| part.after(epoch).is_some());
    if parts.is_empty() {
        return Err(ParseError::NeverFires { expression: expression.to_owned() });
    }
    Ok(Compiled { parts, hourly: HOUR.is_all(&hours) })
}

/// Days, weekdays and the tail of a [`Part`].
type DaySet = (BTreeSet<u32>, BTreeSet<u32>, Option<u32>);

impl MonthDays {
    fn parse(expression: &str, text: &str) -> Result<Self, ParseError> {
        let mut parsed = Self { days: BTreeSet::new(), last: false };
        if text == "?" {
            parsed.days = DAY.all();
            return Ok(parsed);
        }
        for item in text.split(',') {
            if item.eq_ignore_ascii_case("L") {
                parsed.last = true;
            } else {
                let days = DAY.item(item).map_err(|problem| ParseError::field(expression, DAY.name, item, problem))?;
                parsed.days.extend(days);
            }
        }
        Ok(parsed)
    }

    fn alternatives(self, out: &mut Vec<DaySet>) {
        if self.last {
            out.push(((28..=31).collect(), WEEKDAY.all(), Some(1)));
        }
        if !self.days.is_empty() {
            out.push((self.days, WEEKDAY.all(), None));
        }
    }
}

impl Weekdays {
    fn parse(expression: &str, text: &str) -> Result<Self, ParseError> {
        let mut parsed = Self::default();
        if text == "?" {
            parsed.days = WEEKDAY.all();
            return Ok(parsed);
        }
        for item in text.split(',') {
            parsed.add(item).map_err(|problem| ParseError::field(expression, WEEKDAY.name, item, problem))?;
        }
        Ok(parsed)
    }

    fn add(&mut self, item: &str) -> Result<(), String> {
        if let Some((day, nth)) = item.split_once('#') {
            let nth = match nth.parse() {
                Ok(nth @ 1..=5) => nth,
                _ => return Err("write 1 to 5 after `#`".to_owned()),
            };
            let nth: usize = nth;
            self.nth[nth - 1].insert(WEEKDAY.value(day)?);
        } else if let Some(day) = item.strip_prefix(['L', 'l']) {
            if day.is_empty() {
                return Err("write the weekday after it: `L5` is the last Friday of the month".to_owned());
            }
            self.last.insert(WEEKDAY.value(day)?);
        } else {
            self.days.extend(WEEKDAY.item(item)?);
        }
        Ok(())
    }

    fn alternatives(self, out: &mut Vec<DaySet>) {
        if !self.days.is_empty() {
            out.push((DAY.all(), self.days, None));
        }
        for (week, weekdays) in (0..).zip(self.nth) {
            if !weekdays.is_empty() {
                out.push(((7 * week + 1..=(7 * week + 7).min(DAY.max)).collect(), weekdays, None));
            }
        }
        if !self.last.is_empty() {
            out.push(((22..=31).collect(), self.last, Some(7)));
        }
    }
}

/// Values in the crate's notation, each moved by `offset`.
fn numbers(field: &Field, values: &BTreeSet<u32>, offset: u32) -> String {
    if field.is_all(values) {
        return "*".to_owned();
    }
    values.iter().map(|value| (value + offset).to_string()).collect::<Vec<_>>().join(",")
}
