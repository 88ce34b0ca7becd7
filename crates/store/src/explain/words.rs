//! Reasons in words: the sentence of each, and the way out.

use std::fmt;

use chrono::{DateTime, NaiveDate, Utc};
use towpath_model::state::{RunState, TaskState};
use towpath_model::trigger_rule::{Because, TriggerRule};

use super::reason::{AwaitedAsset, Holder, Other, Reason, RunningRun};

impl Reason {
    /// The sentence, without a full stop. Times of the day of `now` are told without their date.
    #[must_use]
    pub fn text(&self, now: DateTime<Utc>) -> String {
        self.sentence(Some(now.date_naive()))
    }

    fn sentence(&self, today: Option<NaiveDate>) -> String {
        let at = |at: &DateTime<Utc>| time(*at, today);
        let since =
            |when: &Option<DateTime<Utc>>| when.map(|at| format!(" since {}", time(at, today))).unwrap_or_default();
        match self {
            Self::DagPaused { dag_id } => {
                format!("DAG `{dag_id}` is paused: what runs goes on, nothing else starts")
            }
            Self::FileGone { file } => format!("the DAG's file `{file}` is gone or does not define it any more"),
            Self::ImportError { file, error, at: when } => {
                format!("the DAG's file `{file}` has had an import error since {}: {error}", at(when))
            }
            Self::OnlyTriggered { .. } => "it has no schedule: it runs only when triggered".to_owned(),
            Self::Assets { condition, come, missing } => assets(condition, come, missing, today),
            Self::NextRun { at: when, .. } => format!("next run at {}", at(when)),
            Self::RunDue { at: when } => format!("its next run has been due since {}", at(when)),
            Self::NotPlanned {} => "the scheduler has not planned its next run yet".to_owned(),
            Self::NoMoreRuns { end_date: Some(end) } => format!("its end_date {} has passed", at(end)),
            Self::NoMoreRuns { end_date: None } => "its schedule has no further run".to_owned(),
            Self::MaxActiveRuns { limit, active, runs, .. } => max_active_runs(*limit, *active, runs, today),
            Self::NoScheduler { last_seen: None } => "no scheduler is alive".to_owned(),
            Self::NoScheduler { last_seen: Some(when) } => format!("no scheduler has been alive since {}", at(when)),
            Self::RunAfter { at: when } => format!("the run starts at its run_after, {}", at(when)),
            Self::Gate { settings } => {
                format!("it waits for other runs or instances of its own task: {}", settings.join(", "))
            }
            Self::StartsNow {} => "nothing holds it: it starts with the scheduler's next look".to_owned(),
            Self::RunQueued { run_id } => format!("run `{run_id}` has not started"),
            Self::RunRunning { since: when, unfinished } => {
                format!("it has been running{}; {} to finish", since(when), plural(*unfinished, "task", "tasks"))
            }
            Self::RunEnded { state, at: when, failed } => run_ended(*state, *when, failed, today),
            Self::Deadline { deadline, at: when, missed_at: None } => {
                format!("it has to succeed by {} ({deadline})", at(when))
            }
            Self::Deadline { deadline, at: when, missed_at: Some(_) } => {
                format!("it has missed its deadline {} ({deadline})", at(when))
            }
            Self::Upstream { rule, open, total, waits_for } => upstream(*rule, *open, *total, waits_for, today),
            Self::Behind { task } => format!("in the end it waits for {}", other(task, today)),
            Self::Rule { rule, state, because, upstream } => {
                format!("trigger rule {rule}: {}, so it is {state}", settled(*because, upstream))
            }
            Self::Undecided {} => "its trigger rule is satisfied; the next step of its run moves it on".to_owned(),
            Self::MaxActiveTasks { limit, live } => {
                format!("max_active_tasks: {live} of {limit} tasks of this run are queued or running")
            }
            Self::PoolFull { pool, slots, used, needs, holders, others } => {
                pool_full((pool, *slots, *used, *needs), holders, *others, today)
            }
            Self::NoPool { pool } => format!("pool `{pool}` does not exist"),
            Self::PoolTooSmall { pool, slots, needs } => {
                format!("it needs {needs} slots of pool `{pool}`, which has {slots}")
            }
            Self::RoomNow {} => "there is room for it now; the next step that frees slots queues it".to_owned(),
            Self::NoWorker { queue, served, since: when } => no_worker(queue, served, &since(when)),
            Self::Queued { queue, since: when, workers, busy, slots } => {
                let workers = plural(u64::from(*workers), "live worker", "live workers");
                format!("queued{}; {busy} of {slots} slots are busy on {workers} of queue `{queue}`", since(when))
            }
            Self::Running { hostname, pid, since: when, try_number, tries } => {
                let pid = pid.map(|pid| format!(" (worker process {pid})")).unwrap_or_default();
                format!("running on {hostname}{pid}{}, try {try_number} of {tries}", since(when))
            }
            Self::WorkerSilent { hostname, last_seen } => {
                let seen = last_seen.map(|at| format!(" since {}", time(at, today))).unwrap_or_default();
                format!("its worker on {hostname} has not renewed its lease{seen}: the scheduler ends this try")
            }
            Self::Retry { at: when, is_due, next_try, tries, error } => {
                let when = if *is_due { "is due".to_owned() } else { format!("at {}", at(when)) };
                let error = error.as_ref().map(|error| format!("; try {} failed: {error}", next_try - 1));
                format!("next try {when} (try {next_try} of {tries}){}", error.unwrap_or_default())
            }
            Self::Reschedule { is_due: true, .. } => "it looks again now".to_owned(),
            Self::Reschedule { at: when, .. } => format!("it looks again at {}", at(when)),
            Self::Restarting {} => {
                "it was cleared while it ran, and starts again when its attempt has ended".to_owned()
            }
            Self::Deferred {} => "it waits for an event outside of the workers".to_owned(),
            Self::Ended { state, at: when, try_number, tries, note } => {
                let when = when.map(|at| format!(" at {}", time(at, today))).unwrap_or_default();
                let tried = if *try_number == 0 { String::new() } else { format!(", try {try_number} of {tries}") };
                let note = note.as_ref().map(|note| format!(": {note}")).unwrap_or_default();
                format!("{state}{when}{tried}{note}")
            }
        }
    }

    /// What to do about it, where something can be done; often a command.
    #[must_use]
    pub fn advice(&self) -> Option<String> {
        Some(match self {
            Self::DagPaused { dag_id } => format!("towpath dags unpause {dag_id}"),
            Self::FileGone { file } => format!("put `{file}` back into the DAGs folder, or delete the DAG"),
            Self::ImportError { .. } => "towpath dags validate".to_owned(),
            Self::OnlyTriggered { dag_id } => format!("towpath dags trigger {dag_id}"),
            Self::Assets { missing, .. } => match missing.first() {
                Some(asset) => {
                    format!("towpath assets show {0}, or tell of an update: towpath assets trigger {0}", asset.name)
                }
                None => return None,
            },
            Self::MaxActiveRuns { dag_id, runs, .. } => match runs.first() {
                Some(run) => format!("raise max_active_runs, or end one: towpath runs cancel {dag_id} {}", run.run_id),
                None => "raise max_active_runs in the DAG's file".to_owned(),
            },
            Self::NoScheduler { .. } => "towpath up, or towpath scheduler".to_owned(),
            Self::Gate { .. } => "see to the run before, or wait: towpath runs list shows how it ended".to_owned(),
            Self::MaxActiveTasks { .. } => "raise max_active_tasks in the DAG's file, or wait".to_owned(),
            Self::PoolFull { pool, slots, .. } => {
                format!("wait, or give it more: towpath pools set {pool} {}", slots + 1)
            }
            Self::NoPool { pool } => format!("towpath pools set {pool} SLOTS"),
            Self::PoolTooSmall { pool, needs, .. } => format!("towpath pools set {pool} {needs}"),
            Self::NoWorker { queue, .. } if is_of_foreground(queue) => {
                "the `towpath run` that it belongs to has gone: end it with towpath runs cancel, and start it anew"
                    .to_owned()
            }
            Self::NoWorker { queue, .. } => format!("towpath worker --queues {queue}"),
            Self::Queued { busy, slots, .. } if busy >= slots => {
                "wait, start another worker, or raise worker_slots".to_owned()
            }
            Self::NextRun { .. }
            | Self::RunDue { .. }
            | Self::NotPlanned {}
            | Self::NoMoreRuns { .. }
            | Self::RunAfter { .. }
            | Self::StartsNow {}
            | Self::RunQueued { .. }
            | Self::RunRunning { .. }
            | Self::RunEnded { .. }
            | Self::Deadline { .. }
            | Self::Upstream { .. }
            | Self::Behind { .. }
            | Self::Rule { .. }
            | Self::Undecided {}
            | Self::RoomNow {}
            | Self::Queued { .. }
            | Self::Running { .. }
            | Self::WorkerSilent { .. }
            | Self::Retry { .. }
            | Self::Reschedule { .. }
            | Self::Restarting {}
            | Self::Deferred {}
            | Self::Ended { .. } => return None,
        })
    }
}

/// The sentence with full times.
impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.sentence(None))
    }
}

/// A task with its map index, if it has one.
pub(super) fn label(task_id: &str, map_index: i32) -> String {
    if map_index < 0 { task_id.to_owned() } else { format!("{task_id}[{map_index}]") }
}

fn time(at: DateTime<Utc>, today: Option<NaiveDate>) -> String {
    at.format(if today == Some(at.date_naive()) { "%H:%M:%SZ" } else { "%Y-%m-%d %H:%M:%SZ" }).to_string()
}

fn plural(number: u64, one: &str, many: &str) -> String {
    format!("{number} {}", if number == 1 { one } else { many })
}

fn ordinal(number: u32) -> String {
    let suffix = match (number % 10, number % 100) {
        (1, n) if n != 11 => "st",
        (2, n) if n != 12 => "nd",
        (3, n) if n != 13 => "rd",
        _ => "th",
    };
    format!("{number}{suffix}")
}

/// `load` (running, 3rd try).
fn other(task: &Other, today: Option<NaiveDate>) -> String {
    let mut state = match task.state {
        TaskState::None => "waits itself".to_owned(),
        state => state.to_string().replace('_', " "),
    };
    if let Some(at) = task.available_at {
        state.push_str(&format!(" until {}", time(at, today)));
    }
    if task.try_number > 0 && !task.state.is_finished() {
        state.push_str(&format!(", {} try", ordinal(task.try_number)));
    }
    format!("`{}` ({state})", label(&task.task_id, task.map_index))
}

fn assets(condition: &str, come: &[AwaitedAsset], missing: &[AwaitedAsset], today: Option<NaiveDate>) -> String {
    let when = |at: Option<DateTime<Utc>>| at.map_or_else(|| "never".to_owned(), |at| time(at, today));
    let list = |all: &[AwaitedAsset], tell: &dyn Fn(&AwaitedAsset) -> String| {
        let mut told: Vec<String> =
            all.iter().take(10).map(|asset| format!("`{}` ({})", asset.name, tell(asset))).collect();
        if all.len() > told.len() {
            told.push(format!("{} more", all.len() - told.len()));
        }
        if told.is_empty() { "none".to_owned() } else { told.join(", ") }
    };
    let come = list(come, &|asset| match asset.queued {
        1 => when(asset.since),
        times => format!("{times} times since {}", when(asset.since)),
    });
    let missing = list(missing, &|asset| match asset.last_update {
        Some(at) => format!("last at {}", time(at, today)),
        None => "never updated".to_owned(),
    });
    format!("waits for updates of {condition}; come: {come}; missing: {missing}")
}

fn max_active_runs(limit: u32, active: u32, runs: &[RunningRun], today: Option<NaiveDate>) -> String {
    let named: Vec<String> = runs
        .iter()
        .map(|run| {
            let since = run.since.map(|at| format!(" (running since {})", time(at, today))).unwrap_or_default();
            format!("`{}`{since}", run.run_id)
        })
        .collect();
    let rest = (active as usize).saturating_sub(runs.len());
    let more = if rest > 0 && !runs.is_empty() { format!(" and {rest} more") } else { String::new() };
    match named.is_empty() {
        true => format!("max_active_runs {limit} is reached: {active} are active"),
        false => format!("max_active_runs {limit} is reached by run {}{more}", named.join(", ")),
    }
}

fn run_ended(state: RunState, at: Option<DateTime<Utc>>, failed: &[Other], today: Option<NaiveDate>) -> String {
    let at = at.map(|at| format!(" at {}", time(at, today))).unwrap_or_default();
    let failed: Vec<String> = failed.iter().map(|task| format!("`{}`", label(&task.task_id, task.map_index))).collect();
    let failed = if failed.is_empty() { String::new() } else { format!("; failed: {}", failed.join(", ")) };
    format!("the run is over: {state}{at}{failed}")
}

fn upstream(rule: TriggerRule, open: u32, total: u32, waits_for: &[Other], today: Option<NaiveDate>) -> String {
    let named: Vec<String> = waits_for.iter().map(|task| other(task, today)).collect();
    let by = if rule == TriggerRule::AllSuccess { String::new() } else { format!(", by trigger rule {rule}") };
    if named.is_empty() {
        return format!("waits for {open} of {total} upstream{by}");
    }
    let rest = (open as usize).saturating_sub(named.len());
    let more = if rest > 0 { format!(" and {rest} more") } else { String::new() };
    format!("waits for upstream {}{more}{by}", named.join(", "))
}

fn settled(because: Because, upstream: &[Other]) -> String {
    let words = |states: &[TaskState], joint: &str| {
        let words: Vec<String> = states.iter().map(|state| word(*state).to_owned()).collect();
        words.join(joint)
    };
    match because {
        Because::Free => "it waits for nothing".to_owned(),
        Because::Open => "it waits for its upstream".to_owned(),
        Because::Fulfilled => "all upstream have ended as it asks".to_owned(),
        Because::OneOf(states) => match upstream.split_first() {
            Some((first, rest)) => {
                let rest: String = rest
                    .iter()
                    .map(|task| format!(", `{}` {}", label(&task.task_id, task.map_index), word(task.state)))
                    .collect();
                format!("upstream `{}` {}{rest}", label(&first.task_id, first.map_index), word(first.state))
            }
            None => format!("an upstream {}", words(states, " or ")),
        },
        Because::NoneOf(states) => format!("no upstream {}", words(states, " or ")),
        Because::All(state) => format!("every upstream {}", word(state)),
    }
}

fn word(state: TaskState) -> &'static str {
    match state {
        TaskState::Success => "succeeded",
        TaskState::Failed => "failed",
        TaskState::Skipped => "was skipped",
        TaskState::UpstreamFailed => "could not run (upstream_failed)",
        TaskState::Removed => "was removed",
        TaskState::None
        | TaskState::Scheduled
        | TaskState::Queued
        | TaskState::Running
        | TaskState::UpForRetry
        | TaskState::UpForReschedule
        | TaskState::Restarting
        | TaskState::Deferred => "has not ended",
    }
}

fn pool_full(
    (pool, slots, used, needs): (&str, u32, u32, u32),
    holders: &[Holder],
    others: u64,
    today: Option<NaiveDate>,
) -> String {
    if slots == 0 {
        return format!("pool `{pool}` is closed: it has 0 slots");
    }
    let held: Vec<String> = holders
        .iter()
        .map(|holder| {
            let task = label(&holder.task_id, holder.map_index);
            let since = holder.since.map(|at| format!(" since {}", time(at, today))).unwrap_or_default();
            format!("{}.{task} (run {}){since}", holder.dag_id, holder.run_id)
        })
        .collect();
    let needs = if needs > 1 { format!(", and it needs {needs} slots") } else { String::new() };
    let held = if held.is_empty() { String::new() } else { format!(", held by {}", held.join(", ")) };
    let others = if others > 0 { format!(" and {}", plural(others, "other", "others")) } else { String::new() };
    format!("pool `{pool}` {used}/{slots}{held}{others}{needs}")
}

/// Whether it is a queue that only one `towpath run` serves, called by its process and start: `run-4711-65f0c2`.
fn is_of_foreground(queue: &str) -> bool {
    let parts = queue.strip_prefix("run-").and_then(|rest| rest.split_once('-'));
    parts.is_some_and(|(pid, start)| {
        !pid.is_empty() && pid.bytes().all(|b| b.is_ascii_digit()) && start.bytes().all(|b| b.is_ascii_hexdigit())
    })
}

fn no_worker(queue: &str, served: &[String], since: &str) -> String {
    let served = match served {
        [] => "no worker is alive".to_owned(),
        queues => format!("live workers take: {}", queues.join(", ")),
    };
    format!("queued{since}: no live worker takes queue `{queue}`; {served}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn queues_of_foreground_runs_are_known() {
        for (queue, expected) in [
            ("run-4711-65f0c2a1", true),
            ("run-x-65f0", false),
            ("run-4711-zz", false),
            ("run-fast", false),
            ("default", false),
        ] {
            assert_eq!(is_of_foreground(queue), expected, "{queue}");
        }
    }
}
