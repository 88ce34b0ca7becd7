//! Deadlines of runs: made with the run, dropped by a success in time, else recorded as missed once, with the alerts of it.

use std::time::Duration;

use async_trait::async_trait;
use chrono::{DateTime, SubsecRound as _, Utc};
use serde::Serialize;
use serde_json::json;
use towpath_model::alert::{Event, Target};
use towpath_model::dag::Dag;
use towpath_model::deadline::{self, Birth, Reference};

use crate::audit::EventRow;
use crate::batch;
use crate::engine::Step;
use crate::engine::create_run::NewRun;
use crate::{NewEvent, Result, Store};

/// Deadlines that one call records; the next call goes on.
const MISSES: i64 = 100;
/// What a missed deadline is called in the audit log.
const EVENT: &str = "missed_deadline";

/// A deadline of a run.
#[derive(Debug, Clone, PartialEq)]
pub struct DeadlineRecord {
    pub id: i64,
    pub run_key: i64,
    /// Its place among the deadlines of the DAG, from 0.
    pub number: i32,
    pub name: Option<String>,
    /// What it counts from: `logical_date`, `queued_at`, `average_runtime` or `fixed`.
    pub reference: String,
    /// Microseconds after the reference.
    pub interval_us: i64,
    pub deadline_time: DateTime<Utc>,
    pub targets: Vec<Target>,
    /// When it was found that the run had not succeeded in time; [`None`] while it may.
    pub missed_at: Option<DateTime<Utc>>,
    pub created_at: DateTime<Utc>,
}

impl DeadlineRecord {
    /// `publish: queued_at + 30m 0s`
    #[must_use]
    pub fn words(&self) -> String {
        let words = deadline::words(&self.reference, self.interval_us);
        self.name.as_ref().map_or(words.clone(), |name| format!("{name}: {words}"))
    }
}

/// A deadline to insert. Times are microseconds since 1970.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct DeadlineRow {
    pub(crate) run_key: i64,
    pub(crate) number: i32,
    pub(crate) name: Option<String>,
    pub(crate) reference: &'static str,
    pub(crate) interval_us: i64,
    pub(crate) deadline_time: i64,
    pub(crate) targets: String,
}

#[async_trait]
pub(crate) trait DeadlineStatements {
    async fn insert_deadlines(&mut self, rows: &[DeadlineRow], now: DateTime<Utc>) -> Result<()>;
    /// How long the newest runs of a DAG that are over took.
    async fn runtimes(&mut self, dag_id: &str, limit: u32) -> Result<Vec<Duration>>;
    /// A run has succeeded: forgets what it has not missed.
    async fn drop_deadlines(&mut self, run_key: i64, now: DateTime<Utc>) -> Result<()>;
    /// A run is queued again: moves what counts from then.
    async fn move_deadlines(&mut self, run_key: i64, now: DateTime<Utc>) -> Result<()>;
    /// Runs with deadlines that have come.
    async fn due_deadlines(&mut self, now: DateTime<Utc>, limit: i64) -> Result<Vec<i64>>;
    /// Records those of locked runs as missed.
    async fn miss_deadlines(&mut self, run_keys: &[i64], now: DateTime<Utc>) -> Result<Vec<DeadlineRecord>>;
    /// Writes entries of the audit log within the step.
    async fn write_events(&mut self, rows: &[EventRow<'_>]) -> Result<()>;
}

#[async_trait]
pub(crate) trait DeadlineRows {
    async fn deadlines_of_run(&self, run_key: i64) -> Result<Vec<DeadlineRecord>>;
}

impl Store {
    /// The deadlines of a run that it has missed or may miss yet, by their times.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn deadlines_of_run(&self, run_key: i64) -> Result<Vec<DeadlineRecord>> {
        self.inner.backend.deadlines_of_run(run_key).await
    }

    /// Records what has been missed by `now`: an entry of the audit log for each deadline, and its alerts. How many.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn miss_deadlines(&self, now: DateTime<Utc>) -> Result<u32> {
        let mut step = Step::begin(self, now).await?;
        let keys = step.tx.due_deadlines(now, MISSES).await?;
        if keys.is_empty() {
            return Ok(0);
        }
        step.lock_runs(keys.iter().copied()).await?;
        let missed = step.tx.miss_deadlines(&keys, now).await?;
        let mut events = Vec::with_capacity(missed.len());
        for deadline in &missed {
            let Some(run) = step.runs.get(&deadline.run_key) else { continue };
            let at = deadline.deadline_time.trunc_subsecs(0).format("%Y-%m-%d %H:%M:%S UTC");
            events.push(NewEvent {
                event: EVENT.to_owned(),
                owner: None,
                dag_id: Some(run.lock.dag_id.clone()),
                task_id: None,
                run_id: Some(run.lock.run_id.clone()),
                map_index: None,
                try_number: None,
                logical_date: run.lock.logical_date,
                extra: Some(json!({"deadline_time": deadline.deadline_time, "deadline": deadline.words()}).to_string()),
            });
            tracing::warn!("run {} of {} has missed its deadline {at}", run.lock.run_id, run.lock.dag_id);
            let note = format!("it was to succeed by {at} ({})", deadline.words());
            step.alert_deadline(deadline.run_key, deadline.number, &note, &deadline.targets);
        }
        let rows: Vec<EventRow<'_>> =
            events.iter().map(|event| EventRow { at: now.timestamp_micros(), event }).collect();
        step.tx.write_events(&rows).await?;
        step.topics.insert(crate::Topic::Progress);
        step.commit().await?;
        Ok(keys.len() as u32)
    }
}

impl Step<'_> {
    /// Gives a new run its deadlines; what it had to miss by succeeding at once, it does not get.
    pub(crate) async fn set_deadlines(&mut self, dag: &Dag, run_key: i64, new: &NewRun, is_done: bool) -> Result<()> {
        let looked_at = dag.spec().deadlines.iter().filter_map(|deadline| match deadline.reference {
            Reference::AverageRuntime { max_runs, .. } => Some(max_runs),
            Reference::LogicalDate | Reference::QueuedAt | Reference::At(_) => None,
        });
        let runtimes = match looked_at.max() {
            Some(most) => self.tx.runtimes(dag.id(), most).await?,
            None => Vec::new(),
        };
        let birth = Birth { logical_date: new.logical_date, now: self.now, runtimes: &runtimes };
        let also = dag.spec().alert_targets(Event::Deadline);
        let mut rows = Vec::new();
        for (number, deadline) in dag.spec().deadlines.iter().enumerate() {
            let time = deadline.time(&birth).filter(|time| !is_done || *time < self.now);
            let Some(time) = time else { continue };
            let mut targets = deadline.targets.clone();
            targets.extend(also.iter().filter(|target| !deadline.targets.contains(target)).cloned());
            rows.push(DeadlineRow {
                run_key,
                number: number as i32,
                name: deadline.name.clone(),
                reference: deadline.reference.word(),
                interval_us: deadline.interval_us,
                deadline_time: time.timestamp_micros(),
                targets: batch::json(&targets),
            });
        }
        if rows.is_empty() { Ok(()) } else { self.tx.insert_deadlines(&rows, self.now).await }
    }

    /// A locked run has succeeded: its deadlines that have not come are met.
    pub(crate) async fn drop_deadlines(&mut self, run_key: i64) -> Result<()> {
        let has_some = self.runs.get(&run_key).is_some_and(|run| !run.dag.spec().deadlines.is_empty());
        if has_some { self.tx.drop_deadlines(run_key, self.now).await } else { Ok(()) }
    }
}
