//! Why a run does not go on, on stderr: what `towpath explain` says of a run in which nothing runs for a while.

use std::collections::HashSet;
use std::time::Duration;

use towpath_model::clock::SharedClock;
use towpath_model::state::TaskState;
use towpath_store::{Store, TaskInstanceRecord};

use crate::output;

/// Between two looks. Nothing is said before the second one that finds the same.
const EVERY: Duration = Duration::from_secs(1);

/// Says so, each reason once, until it is dropped.
pub(super) async fn watch(store: &Store, run_key: i64, clock: &SharedClock, enabled: bool) {
    if !enabled {
        return std::future::pending().await;
    }
    let mut said: HashSet<String> = HashSet::new();
    let mut stuck_before = false;
    loop {
        tokio::time::sleep(EVERY).await;
        // A database that is away is waited for elsewhere.
        let Ok(instances) = store.task_instances(run_key).await else { continue };
        let stuck = is_stuck(&instances);
        if stuck && stuck_before {
            for line in reasons(store, run_key, clock).await.unwrap_or_default() {
                if said.insert(line.clone()) {
                    output::remark(line);
                }
            }
        }
        stuck_before = stuck;
    }
}

/// Whether something waits for room, and nothing is under way or comes back by itself.
fn is_stuck(instances: &[TaskInstanceRecord]) -> bool {
    let mut waits = false;
    for instance in instances {
        match instance.state {
            TaskState::Scheduled => waits = true,
            TaskState::Queued
            | TaskState::Running
            | TaskState::Restarting
            | TaskState::Deferred
            | TaskState::UpForRetry
            | TaskState::UpForReschedule => return false,
            TaskState::None
            | TaskState::Success
            | TaskState::Failed
            | TaskState::UpstreamFailed
            | TaskState::Skipped
            | TaskState::Removed => {}
        }
    }
    waits
}

async fn reasons(store: &Store, run_key: i64, clock: &SharedClock) -> Option<Vec<String>> {
    let run = store.run_by_key(run_key).await.ok()??;
    let told = store.explain_run(&run, clock.now()).await.ok()?;
    let waiting = told.waiting.iter().filter(|group| group.state == TaskState::Scheduled);
    let line = |tasks: &str, text: &str, advice: Option<&str>| {
        format!("{tasks}: {text}{}", advice.map(|advice| format!(" -> {advice}")).unwrap_or_default())
    };
    Some(
        waiting
            .flat_map(|group| {
                let tasks = group.tasks.join(", ");
                group.reasons.iter().map(move |one| line(&tasks, &one.text, one.advice.as_deref()))
            })
            .collect(),
    )
}
