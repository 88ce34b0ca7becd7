//! DAG runs: their types, ids and outcome.

use chrono::{DateTime, SecondsFormat, Utc};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use strum::{AsRefStr, Display, EnumIter, EnumString, IntoStaticStr};

use crate::state::{RunState, TaskState};

/// What made a run.
#[derive(
    Debug,
    Clone,
    Copy,
    PartialEq,
    Eq,
    Hash,
    Serialize,
    Deserialize,
    Display,
    EnumString,
    EnumIter,
    AsRefStr,
    JsonSchema,
    IntoStaticStr,
)]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
pub enum RunType {
    Scheduled,
    Manual,
    Backfill,
    AssetTriggered,
    OperatorTriggered,
}

/// Who asked for a run, in Airflow's words.
#[derive(
    Debug,
    Clone,
    Copy,
    PartialEq,
    Eq,
    Serialize,
    Deserialize,
    Display,
    EnumString,
    EnumIter,
    AsRefStr,
    IntoStaticStr,
    JsonSchema,
)]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
pub enum TriggeredBy {
    Timetable,
    RestApi,
    Ui,
    Cli,
    Operator,
    Asset,
    Backfill,
    Test,
}

/// `{type}__{run_after}` with the time as Python's `isoformat` prints it: microseconds only where
/// there are some. A manual run without a logical date may meet another of the same microsecond;
/// the store then gives it the next.
#[must_use]
pub fn run_id(run_type: RunType, run_after: DateTime<Utc>) -> String {
    format!("{run_type}__{}", iso_time(run_after))
}

/// Longest id of a run, in characters, as in Airflow.
pub const LONGEST_RUN_ID: usize = 250;

/// Whether a run can have this id: ids go into paths and file names.
#[must_use]
pub fn is_run_id(text: &str) -> bool {
    let fits = |c: char| c.is_ascii_alphanumeric() || "_.~:+-".contains(c);
    !text.is_empty() && text.len() <= LONGEST_RUN_ID && text != "~" && text.chars().all(fits)
}

/// A UTC time as Python's `datetime.isoformat` prints it.
#[must_use]
pub fn iso_time(time: DateTime<Utc>) -> String {
    let format = if time.timestamp_subsec_micros() == 0 { SecondsFormat::Secs } else { SecondsFormat::Micros };
    time.to_rfc3339_opts(format, false)
}

/// How a run ends whose leaves are in `leaves`, once nothing in it is unfinished.
#[must_use]
pub fn outcome(leaves: impl IntoIterator<Item = TaskState>) -> RunState {
    let failed = leaves.into_iter().any(|state| match state {
        TaskState::Failed | TaskState::UpstreamFailed => true,
        TaskState::None
        | TaskState::Scheduled
        | TaskState::Queued
        | TaskState::Running
        | TaskState::Success
        | TaskState::UpForRetry
        | TaskState::UpForReschedule
        | TaskState::Skipped
        | TaskState::Removed
        | TaskState::Restarting
        | TaskState::Deferred => false,
    });
    if failed { RunState::Failed } else { RunState::Success }
}

#[cfg(test)]
mod tests {
    use super::*;
    use chrono::{TimeDelta, TimeZone};

    #[test]
    fn run_ids_read_as_airflows() {
        let time = Utc.with_ymd_and_hms(2026, 11, 22, 23, 55, 56).unwrap();
        assert_eq!(run_id(RunType::Scheduled, time), "scheduled__2026-11-22T23:55:56+00:00");
        let time = time + TimeDelta::microseconds(750_221);
        assert_eq!(run_id(RunType::Manual, time), "manual__2026-11-22T23:55:56.750221+00:00");
    }

    #[test]
    fn run_ids_fit_into_paths() {
        let longest = "x".repeat(LONGEST_RUN_ID);
        for id in ["my-run", "manual__2026-11-22T23:55:56.628311+00:00", longest.as_str()] {
            assert!(is_run_id(id), "{id}");
        }
        let longer = format!("{longest}x");
        for id in ["", "~", "a/b", "a b", "\u{fc}", longer.as_str()] {
            assert!(!is_run_id(id), "{id}");
        }
    }

    #[test]
    fn leaves_decide() {
        use TaskState::{Failed, Skipped, Success, UpstreamFailed};
        for (leaves, expected) in [
            (vec![Success, Skipped], RunState::Success),
            (vec![Success, Failed], RunState::Failed),
            (vec![UpstreamFailed], RunState::Failed),
            (vec![Skipped], RunState::Success),
            (vec![], RunState::Success),
        ] {
            assert_eq!(outcome(leaves.clone()), expected, "{leaves:?}");
        }
    }
}
