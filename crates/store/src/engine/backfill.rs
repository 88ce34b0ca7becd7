//! Backfills: the runs of a span of time, made up for.

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use towpath_model::run::{RunType, TriggeredBy, run_id};
use towpath_model::state::RunState;
use towpath_model::timetable::{Bounds, DueRun};

use super::Step;
use super::clear::Selection;
use crate::engine::create_run::NewRun;
use crate::wake::Topic;
use crate::{Error, Result, Store};

/// Most runs of one backfill.
pub const MAX_BACKFILL_RUNS: usize = 10_000;

/// Which runs that exist already run again (Airflow's `ReprocessBehavior`). One that is queued or
/// running is never touched.
#[derive(
    Debug,
    Clone,
    Copy,
    Default,
    PartialEq,
    Eq,
    Serialize,
    Deserialize,
    strum::Display,
    strum::EnumString,
    strum::AsRefStr,
    schemars::JsonSchema,
)]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
pub enum Reprocess {
    /// None: only what is missing is made.
    #[default]
    None,
    /// Those that failed.
    Failed,
    /// All that are over.
    Completed,
}

/// A backfill to be made.
#[derive(Debug, Clone, PartialEq)]
pub struct NewBackfill {
    pub dag_id: String,
    /// First logical date, inclusive.
    pub from: DateTime<Utc>,
    /// Last logical date, inclusive.
    pub to: DateTime<Utc>,
    pub reprocess: Reprocess,
    /// Runs of it at a time, whatever the DAG's own limit.
    pub max_active_runs: u32,
    /// The newest first.
    pub backwards: bool,
    pub conf: Map<String, Value>,
    pub triggering_user: Option<String>,
}

/// A backfill.
#[derive(Debug, Clone, PartialEq)]
pub struct BackfillRecord {
    pub id: i64,
    pub backfill: NewBackfill,
    pub is_paused: bool,
    /// What had not started was given up.
    pub is_cancelled: bool,
    pub created_at: DateTime<Utc>,
    /// When the last of its runs ended; [`None`] while some are open.
    pub completed_at: Option<DateTime<Utc>>,
    /// Its runs, by state.
    pub runs: u64,
    pub queued: u64,
    pub running: u64,
    pub success: u64,
    pub failed: u64,
}

/// What a backfill makes of one date.
#[derive(Debug, Clone, Copy, PartialEq, Eq, strum::Display)]
#[strum(serialize_all = "snake_case")]
pub enum BackfillAction {
    /// A new run.
    Create,
    /// The run of that date runs again.
    Reprocess,
    /// The run of that date is queued or running.
    InFlight,
    /// The run of that date is over and stays as it is.
    AlreadyExists,
}

/// One date of a backfill.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BackfillDate {
    pub logical_date: DateTime<Utc>,
    pub action: BackfillAction,
}

#[async_trait]
pub(crate) trait BackfillRows {
    async fn backfills(&self, dag_id: Option<&str>, id: Option<i64>) -> Result<Vec<BackfillRecord>>;
}

impl Store {
    /// Makes the runs of a backfill, in one step; its id and what becomes of each date, in the order
    /// in which they will run. With `dry_run` nothing is made and there is no id.
    ///
    /// # Errors
    /// [`Error::NotFound`] for an unknown DAG; [`Error::Invalid`] for one without a schedule, a span
    /// without a date in it, and one with more than [`MAX_BACKFILL_RUNS`].
    pub async fn create_backfill(
        &self,
        new: &NewBackfill,
        dry_run: bool,
        now: DateTime<Utc>,
    ) -> Result<(Option<i64>, Vec<BackfillDate>)> {
        let mut step = Step::begin(self, now).await?;
        let unknown = || Error::NotFound { thing: "DAG", id: new.dag_id.clone() };
        let dag = step.tx.lock_dag(&new.dag_id).await?.ok_or_else(unknown)?;
        let version_id = dag.version_id.ok_or_else(unknown)?;
        let compiled = self.dag_within(step.tx.as_mut(), version_id).await?;
        let mut due = dates(compiled.spec(), new)?;
        if new.backwards {
            due.reverse();
        }
        let mut planned = Vec::with_capacity(due.len());
        for run in due {
            let existing = step.tx.run_of_date(&new.dag_id, run.logical_date).await?;
            planned.push((run, existing.map(|(key, _)| key), action(existing.map(|(_, state)| state), new.reprocess)));
        }
        let told =
            planned.iter().map(|(run, _, action)| BackfillDate { logical_date: run.logical_date, action: *action });
        let told: Vec<BackfillDate> = told.collect();
        if dry_run {
            return Ok((None, told));
        }
        let id = step.tx.insert_backfill(new, now).await?;
        for (order, (run, existing, action)) in (0..).zip(planned) {
            let key = match (action, existing) {
                (BackfillAction::Create, _) => step.insert_backfill_run(new, run, version_id).await?,
                (BackfillAction::Reprocess, Some(key)) => {
                    step.start_over(key).await?;
                    Some(key)
                }
                _ => None,
            };
            if let Some(key) = key {
                step.tx.join_backfill(key, id, order).await?;
            }
        }
        step.topics.extend([Topic::Schedule, Topic::Progress]);
        step.commit().await?;
        Ok((Some(id), told))
    }

    /// Backfills, newest first; of one DAG if asked.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn backfills(&self, dag_id: Option<&str>) -> Result<Vec<BackfillRecord>> {
        self.inner.backend.backfills(dag_id, None).await
    }

    /// One backfill.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn backfill(&self, id: i64) -> Result<Option<BackfillRecord>> {
        Ok(self.inner.backend.backfills(None, Some(id)).await?.pop())
    }

    /// Pauses or unpauses a backfill: a paused one starts no more runs. False where there is none.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn pause_backfill(&self, id: i64, paused: bool) -> Result<bool> {
        let mut tx = self.inner.backend.begin().await?;
        let found = tx.set_backfill(id, Some(paused), false).await?;
        tx.commit(&[Topic::Schedule]).await?;
        Ok(found)
    }

    /// Gives up the runs of a backfill that have not started: they fail. What runs goes on to its
    /// end, as in Airflow. How many were given up; [`None`] where there is no such backfill.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn cancel_backfill(&self, id: i64, now: DateTime<Utc>) -> Result<Option<u32>> {
        let mut step = Step::begin(self, now).await?;
        if !step.tx.set_backfill(id, None, true).await? {
            return Ok(None);
        }
        let keys = step.tx.queued_of_backfill(id).await?;
        step.lock_runs(keys.iter().copied()).await?;
        let mut given_up = 0;
        for key in keys {
            if step.runs.get(&key).is_some_and(|run| run.lock.state == RunState::Queued) {
                step.give_up(key, "its backfill was cancelled").await?;
                given_up += 1;
            }
        }
        step.topics.extend([Topic::Schedule, Topic::Progress]);
        step.commit().await?;
        Ok(Some(given_up))
    }
}

impl Step<'_> {
    async fn insert_backfill_run(&mut self, new: &NewBackfill, due: DueRun, version_id: i64) -> Result<Option<i64>> {
        let run = NewRun {
            run_type: RunType::Backfill,
            logical_date: Some(due.logical_date),
            data_interval: Some(due.data_interval),
            conf: new.conf.clone(),
            triggering_user: new.triggering_user.clone(),
            ..NewRun::manual(&new.dag_id, due.run_after, TriggeredBy::Backfill)
        };
        self.insert_run(&run, &run_id(RunType::Backfill, due.run_after), version_id, false).await
    }

    /// Clears a run that is over, as a whole.
    async fn start_over(&mut self, key: i64) -> Result<()> {
        let all = self.select(key, &Selection::default()).await?;
        self.clear(key, &all).await?;
        self.go_on(key).await
    }
}

/// The dates of a backfill, oldest first.
fn dates(spec: &towpath_model::dag::DagSpec, new: &NewBackfill) -> Result<Vec<DueRun>> {
    if !spec.schedule.is_scheduled() {
        return Err(Error::Invalid(format!(
            "DAG `{}` has no schedule, so there are no dates to make up for; trigger it with a logical date instead",
            spec.dag_id
        )));
    }
    let bounds = Bounds { start_date: Some(new.from), end_date: Some(new.to), catchup: true };
    let due: Vec<DueRun> = spec.schedule.runs_of_dates(&bounds, new.from, new.to).take(MAX_BACKFILL_RUNS + 1).collect();
    if due.is_empty() {
        return Err(Error::Invalid(format!(
            "the schedule `{}` of DAG `{}` has no date from {} to {}",
            spec.schedule.summary(),
            spec.dag_id,
            towpath_model::run::iso_time(new.from),
            towpath_model::run::iso_time(new.to)
        )));
    }
    if due.len() > MAX_BACKFILL_RUNS {
        return Err(Error::Invalid(format!(
            "there are more than {MAX_BACKFILL_RUNS} dates in that span; make several backfills of it"
        )));
    }
    Ok(due)
}

/// What becomes of a date with a run in that state.
fn action(existing: Option<RunState>, reprocess: Reprocess) -> BackfillAction {
    match (existing, reprocess) {
        (None, _) => BackfillAction::Create,
        (Some(RunState::Queued | RunState::Running), _) => BackfillAction::InFlight,
        (Some(RunState::Failed), Reprocess::Failed | Reprocess::Completed)
        | (Some(RunState::Success), Reprocess::Completed) => BackfillAction::Reprocess,
        (Some(RunState::Failed), Reprocess::None) | (Some(RunState::Success), Reprocess::None | Reprocess::Failed) => {
            BackfillAction::AlreadyExists
        }
    }
}
