//! One pass: everything that is due, once.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::Instant;
use towpath_model::timetable::DueRun;
use towpath_store::{Error, JobType, Result, Store};

use super::Options;
use super::neighbours::Neighbours;
use crate::plan::{Action, plan};

/// DAGs that are planned together.
const PAGE: u32 = 256;
/// As many DAGs may be held back by limits before others are seen late.
const LARGEST_PAGE: u32 = 65_536;
/// Pages in one pass: a heartbeat must not wait for the rest.
const PAGES: usize = 32;
/// DAGs whose runs are created at the same time.
const CREATORS: usize = 8;
/// Timers that go off in one step.
const TIMERS: u32 = 500;
/// How often the store's safety net is drawn.
const SWEEP: Duration = Duration::from_secs(10);
/// Sleep where something is overdue that did not move.
const OVERDUE: Duration = Duration::from_secs(1);
/// How often the same refusal is logged.
const REPEAT: Duration = Duration::from_secs(60);

/// What outlives a pass: when to do what again. All of it can be lost.
#[derive(Debug)]
pub(super) struct Pass {
    options: Options,
    heartbeat: Duration,
    job_id: Option<i64>,
    next_heartbeat: Instant,
    next_sweep: Instant,
    /// Until then no lease is ended: who could not reach the database could not renew it either.
    spare_leases_until: Instant,
    /// Nothing that waits for the clock is due before.
    next_due: DateTime<Utc>,
    /// The last pass has left something for the next one.
    has_more: bool,
    neighbours: Neighbours,
    refusals: Refusals,
}

/// What has been logged, by step.
#[derive(Debug, Default)]
struct Refusals(HashMap<String, (String, Instant)>);

impl Pass {
    pub(super) fn new(options: Options, heartbeat: Duration) -> Self {
        let now = Instant::now();
        Self {
            options,
            heartbeat,
            job_id: None,
            next_heartbeat: now,
            next_sweep: now,
            spare_leases_until: now,
            next_due: DateTime::<Utc>::MIN_UTC,
            has_more: false,
            neighbours: Neighbours::default(),
            refusals: Refusals::default(),
        }
    }

    /// Does what is due; until when to sleep unless woken.
    ///
    /// # Errors
    /// A transient one: the database is away.
    pub(super) async fn run(&mut self, may_create: bool) -> Result<Instant> {
        let store = self.options.store.clone();
        let now = self.options.clock.now();
        let mut moved = 0;
        let mut is_clock_due = self.next_due <= now;
        if self.next_heartbeat <= Instant::now() {
            is_clock_due = true;
            let beat = self.beat(now).await;
            self.pass_over("say that it is alive", beat)?;
        }
        let lost = self.neighbours.look(&self.options.identity, &store, now).await;
        moved += self.pass_over("report dead processes", lost)?;
        if is_clock_due {
            if self.spare_leases_until <= Instant::now() {
                let expired = store.expire_jobs(now).await;
                moved += self.pass_over("end leases", expired)?;
            }
            let timed_out = store.expire_runs(now).await;
            moved += self.pass_over("end runs that take too long", timed_out)?;
            let missed = store.miss_deadlines(now).await;
            moved += self.pass_over("record missed deadlines", missed)?;
            let woken = store.wake_due(now, TIMERS).await;
            moved += self.pass_over("wake waiting tasks", woken)?;
        }
        if self.next_sweep <= Instant::now() {
            let ended = store.end_orphans(now).await;
            moved += self.pass_over("end attempts without a worker", ended)?;
            let swept = store.sweep(now).await;
            self.pass_over("sweep", swept)?;
            self.next_sweep = Instant::now() + SWEEP;
        }
        let started = store.start_queued_runs(now).await;
        moved += self.pass_over("start queued runs", started)?;
        if may_create {
            let created = self.create_due_runs(&store, now).await;
            moved += self.pass_over("create due runs", created)?;
            moved += self.start_asset_runs(&store, now).await?;
        }
        let next_due = store.next_due_at(now).await;
        let next_due = self.pass_over("look ahead", next_due.map(Some))?.flatten();
        self.next_due = next_due.unwrap_or(DateTime::<Utc>::MAX_UTC);
        Ok(self.sleep_until(moved > 0))
    }

    /// The database was away: everybody gets a whole lease to come back.
    pub(super) fn database_was_away(&mut self) {
        self.spare_leases_until = Instant::now() + self.options.lease;
    }

    /// Says goodbye.
    pub(super) async fn end(&mut self) {
        let Some(job_id) = self.job_id.take() else { return };
        if let Err(error) = self.options.store.end_job(job_id, self.options.clock.now()).await {
            tracing::warn!("the scheduler could not say goodbye: {error}");
        }
    }

    fn sleep_until(&self, has_moved: bool) -> Instant {
        if self.has_more {
            return Instant::now();
        }
        let mut until = self.next_heartbeat;
        if let Some(look) = self.neighbours.next_look() {
            until = until.min(look);
        }
        let ahead = self.next_due - self.options.clock.now();
        let ahead = match ahead.to_std() {
            Ok(ahead) if !ahead.is_zero() => ahead,
            // More of the same is waiting, or what is due cannot move now.
            Ok(_) | Err(_) if has_moved => Duration::ZERO,
            Ok(_) | Err(_) => OVERDUE,
        };
        // Too far ahead for the clock is after the heartbeat anyway.
        Instant::now().checked_add(ahead).map_or(until, |due| until.min(due))
    }

    /// Renews the lease, or registers, and sees who else runs here.
    async fn beat(&mut self, now: DateTime<Utc>) -> Result<()> {
        let store = &self.options.store;
        let lease = self.options.lease;
        if let Some(job_id) = self.job_id
            && !store.heartbeat(job_id, lease, &[], now).await?.alive
        {
            tracing::warn!(job = job_id, "this scheduler was taken for dead; it registers anew");
            self.job_id = None;
        }
        if self.job_id.is_none() {
            let job = self.options.identity.job(JobType::Scheduler, Vec::new(), 0);
            let job_id = store.register_job(job, lease, now).await?;
            tracing::info!(job = job_id, "the scheduler runs");
            self.job_id = Some(job_id);
        }
        self.next_heartbeat = Instant::now() + self.heartbeat;
        let jobs = store.jobs().await?;
        self.neighbours.meet(&self.options.identity, jobs);
        Ok(())
    }

    /// Creates what is due and computes what comes next; how many DAGs and runs that has moved.
    async fn create_due_runs(&mut self, store: &Store, now: DateTime<Utc>) -> Result<u32> {
        let mut limit = PAGE;
        let mut moved = 0;
        self.has_more = false;
        for _ in 0..PAGES {
            let dags = store.schedulable_dags(now, limit).await?;
            let is_full = dags.len() >= limit as usize;
            let moved_now = self.carry_out(store, plan(&dags, now), now).await?;
            moved += moved_now;
            if !is_full || (moved_now == 0 && limit >= LARGEST_PAGE) {
                return Ok(moved);
            }
            if moved_now == 0 {
                // All of them are held back: look behind them.
                limit *= 4;
            }
        }
        self.has_more = true;
        Ok(moved)
    }

    /// Starts the runs that updates of assets call for; how many.
    async fn start_asset_runs(&mut self, store: &Store, now: DateTime<Utc>) -> Result<u32> {
        let due = store.asset_runs_due(PAGE).await;
        let mut started = 0;
        for dag_id in self.pass_over("look at the updates of assets", due)? {
            let run = store.start_asset_run(&dag_id, now).await;
            started += u32::from(self.pass_over(&format!("start a run of DAG `{dag_id}` for assets"), run)?);
        }
        Ok(started)
    }

    async fn carry_out(&mut self, store: &Store, actions: Vec<Action>, now: DateTime<Utc>) -> Result<u32> {
        let mut next_runs = Vec::new();
        let mut chains: HashMap<String, Vec<Create>> = HashMap::new();
        for action in actions {
            match action {
                Action::SetNext { dag_id, version_id, next } => next_runs.push((dag_id, version_id, next)),
                Action::Create { dag_id, version_id, due, next } => {
                    chains.entry(dag_id).or_default().push(Create { version_id, due, next });
                }
            }
        }
        let mut moved = store.set_next_runs(&next_runs, now).await? as u32;
        let creators = Arc::new(Semaphore::new(CREATORS));
        let mut creating = JoinSet::new();
        for (dag_id, chain) in chains {
            let (store, creators) = (store.clone(), Arc::clone(&creators));
            creating.spawn(async move {
                let _turn = creators.acquire_owned().await.expect("the semaphore is never closed");
                let created = create_all(&store, &dag_id, &chain, now).await;
                (dag_id, created)
            });
        }
        while let Some(joined) = creating.join_next().await {
            match joined {
                Ok((dag_id, created)) => moved += self.pass_over(&format!("create runs of DAG `{dag_id}`"), created)?,
                Err(error) => tracing::error!("runs could not be created: {error}"),
            }
        }
        Ok(moved)
    }

    /// A transient error ends the pass; another one is logged, and the other steps go on.
    fn pass_over<T: Default>(&mut self, step: &str, answer: Result<T>) -> Result<T> {
        match answer {
            Ok(answer) => Ok(answer),
            Err(error) if error.is_transient() => Err(error),
            Err(error) => {
                self.refusals.log(step, &error);
                Ok(T::default())
            }
        }
    }
}

impl Refusals {
    fn log(&mut self, step: &str, error: &Error) {
        let message = error.to_string();
        let now = Instant::now();
        self.0.retain(|_, (_, at)| now - *at < REPEAT);
        if self.0.get(step).is_none_or(|(known, _)| *known != message) {
            tracing::error!("the scheduler could not {step}: {message}");
            self.0.insert(step.to_owned(), (message, now));
        }
    }
}

/// One run to create, in its DAG's order.
#[derive(Debug)]
struct Create {
    version_id: i64,
    due: DueRun,
    next: Option<DueRun>,
}

async fn create_all(store: &Store, dag_id: &str, chain: &[Create], now: DateTime<Utc>) -> Result<u32> {
    let mut created = 0;
    for Create { version_id, due, next } in chain {
        let mut run = store.create_scheduled_run(dag_id, *due, *next, now).await?;
        if run.is_none() && is_for_another_version(store, dag_id, *version_id, *due).await? {
            match store.set_next_run(dag_id, *version_id, Some(*due), now).await {
                Ok(()) => run = store.create_scheduled_run(dag_id, *due, *next, now).await?,
                // It has changed again: the next pass sees how.
                Err(Error::Stale(_)) => {}
                Err(error) => return Err(error),
            }
        }
        if let Some(run) = run {
            tracing::debug!(dag_id, run_id = run.run_id, "a run has been created");
            created += 1;
        }
    }
    Ok(created)
}

/// Why a run was refused: not because another scheduler was faster, but because the time that is
/// recorded, right as it is, was computed for another version of the DAG or before a pause.
async fn is_for_another_version(store: &Store, dag_id: &str, version_id: i64, due: DueRun) -> Result<bool> {
    let dag = store.dag(dag_id).await?;
    Ok(dag.is_some_and(|dag| {
        dag.version_id == version_id && dag.next_run == Some(due) && dag.is_active && !dag.is_paused
    }))
}
