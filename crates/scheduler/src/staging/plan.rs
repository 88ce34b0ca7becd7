//! What may go: pure functions of what is known of a folder and the time.

use std::path::{Path, PathBuf};
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use serde::Serialize;
use towpath_model::state::RunState;
use towpath_store::RunEnd;

use super::folders::Folder;

/// What a killed attempt has left, or an earlier try, is not looked at before its run is over for so long.
const LEFTOVERS_AFTER: TimeDelta = TimeDelta::hours(1);
/// A folder whose run is in no database of ours may be a test's that still works, or another installation's.
const STRANGERS_AT_LEAST: TimeDelta = TimeDelta::days(1);

/// Why something goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, strum::Display)]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
pub enum Why {
    /// Its run has ended long ago.
    Old,
    /// Its run was deleted.
    Deleted,
    /// No run of it is known.
    Unknown,
    /// An attempt was killed, or another try has taken its place.
    Leftover,
}

/// Why the folder of a run may go; `None`: it stays. `end` is `None` for a run that does not exist, and `changed` is when
/// something was put into the folder.
#[must_use]
pub fn run(
    end: Option<RunEnd>,
    is_latest_success: bool,
    changed: Option<DateTime<Utc>>,
    keep: Option<Duration>,
    now: DateTime<Utc>,
) -> Option<Why> {
    let keep = TimeDelta::from_std(keep?).unwrap_or(TimeDelta::MAX);
    let is_over = |since: DateTime<Utc>, keep: TimeDelta| now.signed_duration_since(since) >= keep;
    match end {
        Some(RunEnd { state: RunState::Success | RunState::Failed, end_date: Some(end), .. }) => {
            (!is_latest_success && is_over(end, keep)).then_some(Why::Old)
        }
        Some(_) => None,
        None => changed.filter(|changed| is_over(*changed, keep.max(STRANGERS_AT_LEAST))).map(|_| Why::Unknown),
    }
}

/// Whether what other tries have left may go.
#[must_use]
pub fn may_have_leftovers(end: RunEnd, now: DateTime<Utc>) -> bool {
    end.end_date.is_some_and(|end| now.signed_duration_since(end) >= LEFTOVERS_AFTER)
}

/// The entries of a task's folder that are no data set of its XComs, which are `named`, and no large XCom.
pub(crate) fn leftovers<'f>(folder: &'f Folder, named: &[PathBuf]) -> Vec<&'f Path> {
    let is_named = |path: &Path| named.iter().any(|one| one.file_name() == path.file_name());
    let is_xcom = |path: &Path| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("xcom-"));
    folder.iter().map(PathBuf::as_path).filter(|path| !is_named(path) && !is_xcom(path)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(hours: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(1_767_225_600, 0).unwrap() + TimeDelta::hours(hours)
    }

    #[test]
    fn data_stays_as_long_as_it_is_promised() {
        let end = |state, hours: Option<i64>| Some(RunEnd { key: 1, state, end_date: hours.map(at) });
        let week = Some(Duration::from_secs(7 * 86_400));
        let zero = Some(Duration::ZERO);
        let cases = [
            (end(RunState::Success, Some(0)), false, week, 167, None),
            (end(RunState::Success, Some(0)), false, week, 168, Some(Why::Old)),
            (end(RunState::Failed, Some(0)), false, week, 168, Some(Why::Old)),
            (end(RunState::Success, Some(0)), true, week, 100_000, None),
            (end(RunState::Success, Some(0)), true, zero, 1, None),
            (end(RunState::Failed, Some(0)), false, zero, 0, Some(Why::Old)),
            (end(RunState::Running, None), false, zero, 100_000, None),
            // Cleared: it has been over and is not any more.
            (end(RunState::Queued, Some(0)), false, zero, 100_000, None),
            (end(RunState::Success, Some(0)), false, None, 100_000, None),
            (None, false, week, 167, None),
            (None, false, week, 168, Some(Why::Unknown)),
            // A run that this database does not know may be at work in another one.
            (None, false, zero, 23, None),
            (None, false, zero, 24, Some(Why::Unknown)),
            (None, false, None, 100_000, None),
        ];
        for (end, is_latest, keep, hours, expected) in cases {
            assert_eq!(run(end, is_latest, Some(at(0)), keep, at(hours)), expected, "{end:?} {keep:?} {hours}");
        }
        assert_eq!(run(None, false, None, zero, at(100_000)), None);
    }

    #[test]
    fn other_tries_are_leftovers() {
        let folder: Folder =
            ["/s/t/.try-1-a.part", "/s/t/try-1-b", "/s/t/try-2-c", "/s/t/xcom-9.json"].map(PathBuf::from).into();
        let found = leftovers(&folder, &[PathBuf::from("/elsewhere/try-2-c")]);
        assert_eq!(found, [Path::new("/s/t/.try-1-a.part"), Path::new("/s/t/try-1-b")]);
        let end = |hours| RunEnd { key: 1, state: RunState::Success, end_date: Some(at(hours)) };
        assert!(!may_have_leftovers(end(1), at(1)));
        assert!(may_have_leftovers(end(0), at(1)));
    }
}
