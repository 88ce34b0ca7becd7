//! Following a run until it is over.

use std::time::Duration;

use towpath_store::{Error, RunRecord, Store, TaskInstanceRecord, Topic};

/// Shortest time between two looks at a run that keeps changing.
const PACE: Duration = Duration::from_millis(50);
/// Longest time between two looks; a safety net for a wake-up that got lost.
const PATIENCE: Duration = Duration::from_secs(2);
/// How often a database that is away is asked again.
const RETRY: Duration = Duration::from_millis(500);

/// Calls `look` with the run and its task instances whenever something may have changed, until the run is
/// over; returns it as it ended. A database that is away is waited for.
///
/// # Errors
/// When the run has gone, or the database refuses.
pub(crate) async fn until_over(
    store: &Store,
    run_key: i64,
    mut look: impl FnMut(&RunRecord, &[TaskInstanceRecord]),
) -> anyhow::Result<RunRecord> {
    let mut progress = store.wakes().subscribe(Topic::Progress);
    let mut work = store.wakes().subscribe(Topic::Work);
    loop {
        progress.mark_unchanged();
        work.mark_unchanged();
        match snapshot(store, run_key).await {
            Ok((run, instances)) => {
                look(&run, &instances);
                if run.state.is_finished() {
                    return Ok(run);
                }
            }
            Err(error) if error.is_transient() => {
                tracing::warn!("{error}");
                tokio::time::sleep(RETRY).await;
                continue;
            }
            Err(error) => return Err(error.into()),
        }
        tokio::time::sleep(PACE).await;
        tokio::select! {
            _ = progress.changed() => {}
            _ = work.changed() => {}
            () = tokio::time::sleep(PATIENCE) => {}
        }
    }
}

async fn snapshot(store: &Store, run_key: i64) -> Result<(RunRecord, Vec<TaskInstanceRecord>), Error> {
    // The run first: when it is over, its task instances are as they will stay.
    let run = store.run_by_key(run_key).await?;
    let run = run.ok_or_else(|| Error::NotFound { thing: "run", id: run_key.to_string() })?;
    let instances = store.task_instances(run_key).await?;
    Ok((run, instances))
}
