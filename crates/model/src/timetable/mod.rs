//! Timetables: when a DAG runs, and which interval of data each run stands for.
//!
//! Everything is a pure function of the schedule, the last scheduled run and `now`. The rules are
//! Airflow 3's; `tests/oracle_timetables.rs` holds its answers, week-ends on which clocks are moved
//! included. Not here: assets and manual triggers, which need no timetable, and the limit of
//! one active run of `@continuous`, which the scheduler enforces.
//!
//! | part | knows |
//! |---|---|
//! | `field`, `cron` | cron expressions in naive local time, on the `cron` crate |
//! | `ticks` | the instants at which they fire in a time zone |
//! | `grid` | from points in time to runs and data intervals |
//! | `words` | a schedule in words |
//! | `clock_change` | which runs a moved clock concerns |

mod clock_change;
mod cron;
mod field;
mod grid;
#[cfg(test)]
mod tests;
mod ticks;
mod words;

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use chrono_tz::Tz;
use serde::{Deserialize, Serialize};

pub use self::clock_change::ClockMark;
pub use self::cron::CronExpression;
use self::grid::{Every, Grid};
use self::ticks::Ticks;

/// When a DAG runs.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Schedule {
    /// Only when it is triggered.
    #[default]
    Never,
    /// One time, at the start date or at once.
    Once,
    /// Again as soon as the last run has ended.
    Continuous,
    /// Whenever one of the expressions fires on the clocks of a time zone.
    Cron { expressions: Vec<CronExpression>, timezone: Tz, timetable: Kind },
    /// At a fixed distance, counted from the start date.
    Interval {
        #[serde(with = "crate::duration::micros")]
        every: Duration,
        timetable: Kind,
    },
}

/// What a run at a point in time stands for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// That point: logical date, start and end of the data interval and `run_after` are the same.
    #[default]
    Trigger,
    /// The interval that ends there and begins at the point before, which is the logical date.
    DataInterval,
}

/// A half-open interval of time that a run processes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct DataInterval {
    pub start: DateTime<Utc>,
    pub end: DateTime<Utc>,
}

/// A run that a schedule calls for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct DueRun {
    /// It must not start before.
    pub run_after: DateTime<Utc>,
    pub logical_date: DateTime<Utc>,
    pub data_interval: DataInterval,
}

/// What a DAG allows its schedule.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bounds {
    /// No logical date lies before it.
    pub start_date: Option<DateTime<Utc>>,
    /// No logical date lies after it.
    pub end_date: Option<DateTime<Utc>>,
    /// Whether runs that were missed are made up for.
    pub catchup: bool,
}

/// Text that is not a schedule.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ParseError {
    /// A cron expression with too few or too many fields.
    #[error(
        "`{expression}` has {count} fields: write five (minute, hour, day of month, month, day of week), or six with \
         seconds last"
    )]
    FieldCount { expression: String, count: usize },
    /// A value in a field of a cron expression.
    #[error("`{item}` in the {field} field of `{expression}`: {problem}")]
    Field { expression: String, field: &'static str, item: String, problem: String },
    /// A date that does not exist in any year.
    #[error("`{expression}` never fires: none of its months has such a day")]
    NeverFires { expression: String },
    /// A word with `@` that is no preset.
    #[error("`{preset}` is not a preset: write one of {known}")]
    Preset { preset: String, known: String },
    /// An interval of no length.
    #[error("an interval of `{0}` would never let time pass: write a duration above zero, such as `30m`")]
    ZeroInterval(String),
    /// Neither of the forms.
    #[error(
        "`{0}` is not a schedule: write a cron expression (`0 6 * * 1-5`), a preset (`@daily`) or an interval (`30m`)"
    )]
    Unknown(String),
}

/// Reads a schedule: a preset (`@daily`, `@once`), a cron expression, an interval in any form that
/// [`crate::duration::parse`] knows, or `none`. `timezone` is that of crons.
///
/// # Errors
/// [`ParseError`] says what is wrong and what may be written instead.
pub fn parse(text: &str, timezone: Tz, kind: Kind) -> Result<Schedule, ParseError> {
    let text = text.trim();
    match text.to_ascii_lowercase().as_str() {
        "none" => return Ok(Schedule::Never),
        "@once" => return Ok(Schedule::Once),
        "@continuous" => return Ok(Schedule::Continuous),
        _ => {}
    }
    if let Ok(every) = crate::duration::parse(text) {
        if every.is_zero() {
            return Err(ParseError::ZeroInterval(text.to_owned()));
        }
        return Ok(Schedule::Interval { every, timetable: kind });
    }
    if !text.starts_with('@') && text.split_whitespace().count() < 3 {
        return Err(ParseError::Unknown(text.to_owned()));
    }
    Ok(Schedule::Cron { expressions: vec![CronExpression::parse(text)?], timezone, timetable: kind })
}

impl Schedule {
    /// The next run that the scheduler creates after `last` (the data interval of the last
    /// scheduled run), seen at `now`. `None` when there is none, or none any more.
    ///
    /// Without catchup, what was missed is left out but for the latest. Logical dates grow strictly
    /// from one answer to the next one that is asked with it as `last`. A data-interval timetable
    /// that catches up needs a start date: it has no first interval without one, as in Airflow.
    #[must_use]
    pub fn next_run(&self, last: Option<DataInterval>, bounds: &Bounds, now: DateTime<Utc>) -> Option<DueRun> {
        let run = match self {
            Self::Never => None,
            Self::Once => last.is_none().then(|| DueRun::exact(bounds.start_date.unwrap_or(now))),
            Self::Continuous => continuous(last, bounds, now),
            Self::Cron { expressions, timezone, timetable } => {
                let ticks = Ticks { expressions, zone: *timezone };
                match timetable {
                    Kind::Trigger => grid::trigger(&ticks, last, bounds, now),
                    Kind::DataInterval => grid::data_interval(&ticks, last, bounds, now),
                }
            }
            Self::Interval { every, timetable } => {
                let every = whole(*every)?;
                match timetable {
                    Kind::Trigger => grid::trigger(&every, last, bounds, now),
                    Kind::DataInterval => grid::data_interval(&every, last, bounds, now),
                }
            }
        };
        run.filter(|run| bounds.allow(run))
    }

    /// All runs whose `run_after` lies in `[from, to)`, as if catching up, in order. Empty for
    /// `@continuous`, whose runs depend on when others end.
    pub fn runs_between(
        &self,
        bounds: &Bounds,
        from: DateTime<Utc>,
        to: DateTime<Utc>,
    ) -> impl Iterator<Item = DueRun> + '_ {
        self.runs_from(bounds, from)
            .skip_while(move |run| run.run_after < from)
            .take_while(move |run| run.run_after < to)
    }

    /// All runs whose logical date lies in `[from, to]`, as if catching up, in order: those of a
    /// backfill.
    pub fn runs_of_dates(
        &self,
        bounds: &Bounds,
        from: DateTime<Utc>,
        to: DateTime<Utc>,
    ) -> impl Iterator<Item = DueRun> + '_ {
        self.runs_from(bounds, from)
            .skip_while(move |run| run.logical_date < from)
            .take_while(move |run| run.logical_date <= to)
    }

    /// The data interval of a run that is triggered by hand at `run_after`: that instant, or with a
    /// data-interval timetable the last interval that is complete by then.
    #[must_use]
    pub fn manual_interval(&self, run_after: DateTime<Utc>) -> DataInterval {
        let complete = match self {
            Self::Cron { expressions, timezone, timetable: Kind::DataInterval } => {
                let ticks = Ticks { expressions, zone: *timezone };
                ticks.floor(run_after).and_then(|end| Some(DataInterval { start: ticks.prev(end)?, end }))
            }
            Self::Interval { every, timetable: Kind::DataInterval } => whole(*every)
                .and_then(|every| every.prev(run_after))
                .map(|start| DataInterval { start, end: run_after }),
            Self::Never | Self::Once | Self::Continuous | Self::Cron { .. } | Self::Interval { .. } => None,
        };
        complete.unwrap_or(DataInterval { start: run_after, end: run_after })
    }

    /// Whether it ever creates runs by itself.
    #[must_use]
    pub fn is_scheduled(&self) -> bool {
        !matches!(self, Self::Never)
    }

    /// The runs from the first whose `run_after` is not before `from`.
    fn runs_from(&self, bounds: &Bounds, from: DateTime<Utc>) -> impl Iterator<Item = DueRun> + '_ {
        let bounds = Bounds { catchup: true, ..*bounds };
        let first = match self {
            Self::Never | Self::Continuous => None,
            Self::Once => Some(DueRun::exact(bounds.start_date.unwrap_or(from))),
            Self::Cron { expressions, timezone, timetable } => {
                let ticks = Ticks { expressions, zone: *timezone };
                match timetable {
                    Kind::Trigger => grid::trigger_from(&ticks, &bounds, from),
                    Kind::DataInterval => grid::data_interval_from(&ticks, &bounds, from),
                }
            }
            Self::Interval { every, timetable } => whole(*every).and_then(|every| match timetable {
                Kind::Trigger => grid::trigger_from(&every, &bounds, from),
                Kind::DataInterval => grid::data_interval_from(&every, &bounds, from),
            }),
        };
        std::iter::successors(first.filter(|run| bounds.allow(run)), move |run| {
            self.next_run(Some(run.data_interval), &bounds, run.run_after)
        })
    }
}

impl DueRun {
    /// A run that stands for one instant.
    fn exact(at: DateTime<Utc>) -> Self {
        Self { run_after: at, logical_date: at, data_interval: DataInterval { start: at, end: at } }
    }
}

impl Bounds {
    fn allow(&self, run: &DueRun) -> bool {
        self.end_date.is_none_or(|end| run.logical_date <= end)
    }
}

impl ParseError {
    fn field(expression: &str, field: &'static str, item: &str, problem: String) -> Self {
        Self::Field { expression: expression.to_owned(), field, item: item.to_owned(), problem }
    }

    fn unknown_preset(preset: &str) -> Self {
        let names = ["@once", "@continuous"].into_iter().chain(self::cron::PRESETS.iter().map(|(name, _)| *name));
        Self::Preset { preset: preset.to_owned(), known: names.collect::<Vec<_>>().join(", ") }
    }
}

/// From the end of the last run to now.
fn continuous(last: Option<DataInterval>, bounds: &Bounds, now: DateTime<Utc>) -> Option<DueRun> {
    let start = match last {
        // An interval of no length would give its logical date to the next run too.
        Some(last) if last.end <= last.start => last.start.checked_add_signed(TimeDelta::microseconds(1))?,
        Some(last) => last.end,
        None => bounds.start_date.unwrap_or(now),
    };
    let start = bounds.start_date.map_or(start, |earliest| start.max(earliest));
    let end = start.max(now);
    Some(DueRun { run_after: end, logical_date: start, data_interval: DataInterval { start, end } })
}

/// A usable interval: longer than nothing and not longer than time itself.
fn whole(every: Duration) -> Option<Every> {
    TimeDelta::from_std(every).ok().filter(|every| *every >= TimeDelta::microseconds(1)).map(Every)
}
