//! What time does to a foreground run: retries that are due, runs that take too long, workers
//! that were lost. A scheduler does the same and more; it would make runs of other DAGs as well.

use std::time::Duration;

use tokio_util::sync::CancellationToken;
use towpath_model::clock::SharedClock;
use towpath_store::{Error, Store, Topic};

/// Longest time between two looks; a safety net for a wake-up that got lost.
const PATIENCE: Duration = Duration::from_secs(5);
/// How often a database that is away is asked again.
const RETRY: Duration = Duration::from_millis(500);
/// Task instances that are woken in one step.
const BATCH: u32 = 1_000;

/// Runs until `stop` is cancelled.
pub(crate) async fn run(store: Store, clock: SharedClock, stop: CancellationToken) {
    let mut schedule = store.wakes().subscribe(Topic::Schedule);
    loop {
        schedule.mark_unchanged();
        let pause = match pass(&store, &clock).await {
            Ok(pause) => pause,
            Err(error) => {
                tracing::warn!("{error}");
                RETRY
            }
        };
        tokio::select! {
            () = stop.cancelled() => return,
            _ = schedule.changed() => {}
            () = tokio::time::sleep(pause) => {}
        }
    }
}

/// Does what is due; how long until something else is.
async fn pass(store: &Store, clock: &SharedClock) -> Result<Duration, Error> {
    while store.wake_due(clock.now(), BATCH).await? == BATCH {}
    store.expire_runs(clock.now()).await?;
    store.miss_deadlines(clock.now()).await?;
    store.expire_jobs(clock.now()).await?;
    let now = clock.now();
    let next = store.next_due_at(now).await?;
    Ok(next.and_then(|at| (at - now).to_std().ok()).map_or(PATIENCE, |pause| pause.min(PATIENCE)))
}
