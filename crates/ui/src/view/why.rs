//! Why a task instance is where it is.

use chrono::{DateTime, Utc};
use towpath_model::duration::humanize;
use towpath_model::state::{RunState, TaskState};
use towpath_model::trigger_rule::UpstreamCounts;
use towpath_store::TaskInstanceRecord;

use super::text::shown;

/// One sentence, or nothing where the state says it all.
pub(crate) fn why(instance: &TaskInstanceRecord, run: RunState, now: DateTime<Utc>) -> Option<String> {
    let note = instance.note.as_deref().map(shown);
    let wait = || instance.available_at.and_then(|at| (at - now).to_std().ok()).map(humanize);
    match instance.state {
        TaskState::None if run == RunState::Queued => note.or_else(|| Some("the run has not started".to_owned())),
        TaskState::None => note.or_else(|| upstream(instance.upstream)),
        TaskState::Scheduled => note.or_else(|| Some("waits for room in a limit".to_owned())),
        TaskState::Queued => note.or_else(|| Some(format!("waits for a worker of queue {}", shown(&instance.queue)))),
        TaskState::UpForRetry => timer("next try", wait(), note),
        TaskState::UpForReschedule => timer("next look", wait(), note),
        TaskState::UpstreamFailed => note.or_else(|| Some("something upstream failed".to_owned())),
        TaskState::Restarting => {
            note.or_else(|| Some("was cleared; starts again when its attempt has ended".to_owned()))
        }
        TaskState::Running
        | TaskState::Success
        | TaskState::Failed
        | TaskState::Skipped
        | TaskState::Removed
        | TaskState::Deferred => note,
    }
}

fn timer(what: &str, wait: Option<String>, note: Option<String>) -> Option<String> {
    let when = wait.map_or_else(|| format!("{what} is due"), |wait| format!("{what} in {wait}"));
    Some(match note {
        Some(note) => format!("{when}; {note}"),
        None => when,
    })
}

fn upstream(counts: UpstreamCounts) -> Option<String> {
    let done = counts.success + counts.failed + counts.skipped + counts.upstream_failed + counts.removed;
    let open = counts.total.checked_sub(done).filter(|open| *open > 0)?;
    Some(format!("waits for {open} of {} upstream", counts.total))
}

#[cfg(test)]
mod tests {
    use super::*;
    use chrono::TimeDelta;
    use towpath_store::TaskKey;

    fn instance(state: TaskState) -> TaskInstanceRecord {
        TaskInstanceRecord {
            key: TaskKey { run_key: 1, task_id: "t".into(), map_index: -1 },
            dag_id: "d".into(),
            run_id: "r".into(),
            logical_date: None,
            run_after: DateTime::UNIX_EPOCH,
            version_id: 1,
            version_number: 1,
            state,
            try_number: 1,
            max_tries: 1,
            queued_at: None,
            start_date: None,
            end_date: None,
            available_at: Some(DateTime::UNIX_EPOCH + TimeDelta::seconds(28)),
            hostname: None,
            pid: None,
            pool: "p".into(),
            pool_slots: 1,
            queue: "default".into(),
            priority_weight: 1,
            upstream: UpstreamCounts { total: 3, success: 1, ..UpstreamCounts::default() },
            note: None,
        }
    }

    #[track_caller]
    fn check(state: TaskState, run: RunState, note: Option<&str>, expected: Option<&str>) {
        let instance = TaskInstanceRecord { note: note.map(str::to_owned), ..instance(state) };
        assert_eq!(why(&instance, run, DateTime::UNIX_EPOCH).as_deref(), expected, "{state}");
    }

    #[test]
    fn reasons() {
        use RunState::{Queued, Running};
        check(TaskState::None, Queued, None, Some("the run has not started"));
        check(TaskState::None, Running, None, Some("waits for 2 of 3 upstream"));
        check(TaskState::Scheduled, Running, None, Some("waits for room in a limit"));
        check(TaskState::Scheduled, Running, Some("pool `p` is full"), Some("pool `p` is full"));
        check(TaskState::Queued, Running, None, Some("waits for a worker of queue default"));
        check(TaskState::UpForRetry, Running, Some("exit code 1"), Some("next try in 28s; exit code 1"));
        check(TaskState::Failed, Running, Some("exit code 1"), Some("exit code 1"));
        check(TaskState::Success, Running, None, None);
    }
}
