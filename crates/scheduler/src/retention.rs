//! Deletes what is over and old: the command `db clean`, and the settings `retention_*` of a scheduler.
//!
//! What may go is the store's to say (`towpath_store::Cleanable`). Here it goes in small steps with a pause behind each, so
//! that who schedules and reports meanwhile never waits for more than one of them.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use serde::Serialize;
use tokio_util::sync::CancellationToken;
use towpath_model::clock::SharedClock;
use towpath_store::{Cleanable, Result, Store};

/// How long a cleaned database is left alone.
const REST: Duration = Duration::from_secs(600);
/// A pause between steps.
const BREATH: Duration = Duration::from_millis(20);
/// Runs that go in one step: each may have thousands of task instances.
const RUNS: u32 = 20;
/// Rows of other tables that go in one step.
const ROWS: u32 = 1_000;

/// What of old may go.
#[derive(Debug, Clone)]
pub struct Options {
    pub store: Store,
    pub clock: SharedClock,
    /// How long runs and what belongs to them, asset events, jobs and backfills are kept; `None` for ever.
    pub runs: Option<Duration>,
    /// How long the audit log is kept; `None` for ever.
    pub log: Option<Duration>,
}

/// How much of a table went, or would.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Cleaned {
    pub table: &'static str,
    /// Of runs: whose.
    pub dag_id: Option<String>,
    pub rows: u64,
}

/// Cleans now and then, until `stop` is cancelled. What goes wrong is said and tried again.
pub async fn run(options: Options, stop: CancellationToken) {
    if options.runs.is_none() && options.log.is_none() {
        return;
    }
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            passed = pass(&options) => match passed {
                Ok(0) => {}
                Ok(rows) => tracing::info!(rows, "what is older than retention_runs and retention_log has been deleted"),
                Err(error) => tracing::warn!("old rows could not be deleted: {error}"),
            },
        }
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(REST) => {}
        }
    }
}

async fn pass(options: &Options) -> Result<u64> {
    const WITH_RUNS: [Cleanable; 4] = [Cleanable::DagRun, Cleanable::AssetEvent, Cleanable::Job, Cleanable::Backfill];
    let now = options.clock.now();
    let before = |keep: Duration| now.checked_sub_signed(TimeDelta::from_std(keep).ok()?);
    let mut rows = 0;
    if let Some(before) = options.runs.and_then(before) {
        rows += clean(&options.store, &WITH_RUNS, before, now).await?.iter().map(|it| it.rows).sum::<u64>();
    }
    if let Some(before) = options.log.and_then(before) {
        rows += clean(&options.store, &[Cleanable::Log], before, now).await?.iter().map(|it| it.rows).sum::<u64>();
    }
    Ok(rows)
}

/// Deletes what is older than `before`; what that was.
///
/// # Errors
/// When the database does not answer; what has gone until then is gone.
pub async fn clean(
    store: &Store,
    tables: &[Cleanable],
    before: DateTime<Utc>,
    now: DateTime<Utc>,
) -> Result<Vec<Cleaned>> {
    let mut all = Vec::new();
    for table in tables {
        if *table == Cleanable::DagRun {
            for dag_id in store.all_dags().await? {
                let mut rows = 0;
                loop {
                    let some = store.clean_runs(&dag_id, before, RUNS, now).await?;
                    if some == 0 {
                        break;
                    }
                    rows += u64::from(some);
                    tokio::time::sleep(BREATH).await;
                }
                add(&mut all, *table, Some(dag_id), rows);
            }
            continue;
        }
        let mut rows = 0;
        loop {
            let some = store.clean(*table, before, ROWS).await?;
            rows += some;
            if some < u64::from(ROWS) {
                break;
            }
            tokio::time::sleep(BREATH).await;
        }
        add(&mut all, *table, None, rows);
    }
    Ok(all)
}

/// What [`clean`] would delete now. Asset events and backfills that only old runs keep are not counted.
///
/// # Errors
/// When the database does not answer.
pub async fn rehearse(store: &Store, tables: &[Cleanable], before: DateTime<Utc>) -> Result<Vec<Cleaned>> {
    let mut all = Vec::new();
    for table in tables {
        if *table == Cleanable::DagRun {
            for dag_id in store.all_dags().await? {
                let rows = store.count_old_runs(&dag_id, before).await?;
                add(&mut all, *table, Some(dag_id), rows);
            }
            continue;
        }
        let rows = store.count_old(*table, before).await?;
        add(&mut all, *table, None, rows);
    }
    Ok(all)
}

fn add(all: &mut Vec<Cleaned>, table: Cleanable, dag_id: Option<String>, rows: u64) {
    if rows > 0 {
        all.push(Cleaned { table: table.into(), dag_id, rows });
    }
}
