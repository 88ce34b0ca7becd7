//! Deadlines of runs: until when a run has to have succeeded, and who is told when it has not.
//!
//! Airflow's meaning (`DeadlineAlert`): a deadline is a reference and an interval that is added to it; it is computed when
//! the run is made. A run that ends well in time drops it; a run that fails does not, since what was wanted is not there.

use std::fmt;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use serde::{Deserialize, Serialize};

use crate::alert::Target;

/// Runs that [`Reference::AverageRuntime`] looks at where the file does not say.
pub const DEFAULT_MAX_RUNS: u32 = 10;

/// One deadline of a DAG's runs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Deadline {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    pub reference: Reference,
    /// Microseconds after the reference; before it where negative.
    pub interval_us: i64,
    /// Who is told that it was missed, besides those whom the DAG's alerts name.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub targets: Vec<Target>,
}

/// What a deadline counts from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reference {
    /// Runs without a logical date have no such deadline.
    LogicalDate,
    /// When the run was queued; it moves when the run is cleared and queued again.
    QueuedAt,
    /// When the run is made, and how long the last runs took on average.
    AverageRuntime {
        /// As many of the newest runs that are over.
        max_runs: u32,
        /// With fewer there is no deadline.
        min_runs: u32,
    },
    At(DateTime<Utc>),
}

/// What is known of a run that has just been made.
#[derive(Debug, Clone, Copy)]
pub struct Birth<'a> {
    pub logical_date: Option<DateTime<Utc>>,
    pub now: DateTime<Utc>,
    /// How long the newest runs that are over took, newest first; read only for [`Reference::AverageRuntime`].
    pub runtimes: &'a [Duration],
}

impl Reference {
    /// Its name in DAG files and in the store.
    #[must_use]
    pub fn word(&self) -> &'static str {
        match self {
            Self::LogicalDate => "logical_date",
            Self::QueuedAt => "queued_at",
            Self::AverageRuntime { .. } => "average_runtime",
            Self::At(_) => "fixed",
        }
    }
}

impl Deadline {
    /// When a run has to have succeeded; `None` where its reference has no time for this run.
    #[must_use]
    pub fn time(&self, birth: &Birth<'_>) -> Option<DateTime<Utc>> {
        let from = match self.reference {
            Reference::LogicalDate => birth.logical_date?,
            Reference::QueuedAt => birth.now,
            Reference::AverageRuntime { max_runs, min_runs } => {
                birth.now + average(birth.runtimes, max_runs, min_runs)?
            }
            Reference::At(at) => at,
        };
        from.checked_add_signed(TimeDelta::microseconds(self.interval_us))
    }
}

/// `queued_at + 30m 0s`
impl fmt::Display for Deadline {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&words(self.reference.word(), self.interval_us))
    }
}

/// A reference and an interval as people read them.
#[must_use]
pub fn words(reference: &str, interval_us: i64) -> String {
    if interval_us == 0 {
        return reference.to_owned();
    }
    let sign = if interval_us < 0 { '-' } else { '+' };
    let length = crate::duration::humanize(Duration::from_micros(interval_us.unsigned_abs()));
    format!("{reference} {sign} {length}")
}

fn average(runtimes: &[Duration], max_runs: u32, min_runs: u32) -> Option<TimeDelta> {
    let newest = &runtimes[..runtimes.len().min(max_runs as usize)];
    if newest.is_empty() || newest.len() < min_runs as usize {
        return None;
    }
    let sum: Duration = newest.iter().sum();
    TimeDelta::from_std(sum / u32::try_from(newest.len()).ok()?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> DateTime<Utc> {
        text.parse().unwrap()
    }

    #[track_caller]
    fn check(reference: Reference, interval_s: i64, logical: Option<&str>, runtimes_s: &[u64], expected: Option<&str>) {
        let deadline = Deadline { name: None, reference, interval_us: interval_s * 1_000_000, targets: Vec::new() };
        let runtimes: Vec<Duration> = runtimes_s.iter().copied().map(Duration::from_secs).collect();
        let birth = Birth { logical_date: logical.map(at), now: at("2026-01-01T12:00:00Z"), runtimes: &runtimes };
        assert_eq!(deadline.time(&birth), expected.map(at), "{reference:?}");
    }

    #[test]
    fn times_of_deadlines() {
        let average = |max_runs, min_runs| Reference::AverageRuntime { max_runs, min_runs };
        let fixed = Reference::At(at("2026-02-01T00:00:00Z"));
        check(Reference::LogicalDate, 60, Some("2026-01-01T00:00:00Z"), &[], Some("2026-01-01T00:01:00Z"));
        check(Reference::LogicalDate, 60, None, &[], None);
        check(Reference::QueuedAt, 1_800, None, &[], Some("2026-01-01T12:30:00Z"));
        check(Reference::QueuedAt, -60, None, &[], Some("2026-01-01T11:59:00Z"));
        check(fixed, -3_600, None, &[], Some("2026-01-31T23:00:00Z"));
        check(average(10, 2), 10, None, &[], None);
        check(average(10, 2), 10, None, &[60], None);
        check(average(10, 2), 10, None, &[60, 120], Some("2026-01-01T12:01:40Z"));
        // Older ones than the newest two do not count.
        check(average(2, 1), 0, None, &[60, 120, 6_000], Some("2026-01-01T12:01:30Z"));
    }

    #[test]
    fn what_people_read() {
        for (reference, interval_us, expected) in [
            ("queued_at", 1_800_000_000, "queued_at + 30m 0s"),
            ("fixed", -90_000_000, "fixed - 1m 30s"),
            ("logical_date", 0, "logical_date"),
        ] {
            assert_eq!(words(reference, interval_us), expected);
        }
    }
}
