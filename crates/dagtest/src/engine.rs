//! Runs a case: the scheduler's and the worker's calls to the store, with made-up answers and a made-up time.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::Value;
use towpath_model::clock::{Clock as _, ManualClock};
use towpath_model::dag::{DEFAULT_POOL, Dag, Task};
use towpath_model::run::{RunType, TriggeredBy};
use towpath_model::state::{RunState, TaskState};
use towpath_model::timetable::Bounds;
use towpath_operators::attempt::RETURN_VALUE;
use towpath_operators::branch;
use towpath_store::{
    Claim, ClaimedTask, DagUpsert, JobType, Key, NewJob, NewRun, Options, Report, ReportOutcome, RunRecord, Store,
    TaskKey,
};

use crate::compare::{self, Difference};
use crate::rendering::{Rendered, Renderings};
use crate::suite::{Case, Ending, LogicalDate, Mock};

/// Most attempts of a case: a task may have any number of retries.
const MOST_ATTEMPTS: usize = 100_000;
/// Slots of the made-up worker, which takes all that is queued.
const SLOTS: u32 = 200_000;
/// Its lease, which outlasts every retry; a clock with nothing else to jump to is at its end.
const LEASE_DAYS: i64 = 36_500;
/// Slots of a pool of which the test does not say how many it has.
const POOL_SLOTS: u32 = 128;
/// When the run of a DAG without a schedule takes place.
const SOME_DAY: DateTime<Utc> = DateTime::from_timestamp_secs(1_767_225_600).expect("2026-01-01 is within range");

/// The host name that templates see.
pub(crate) const HOSTNAME: &str = "test";

/// Why a case could not be run to its end.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error(transparent)]
    Store(#[from] towpath_store::Error),
    #[error("the run has made {MOST_ATTEMPTS} attempts and is not over: let a task that fails have fewer retries")]
    TooManyAttempts,
}

/// What came of a run.
#[derive(Debug)]
pub(crate) struct Observed {
    pub(crate) run: RunRecord,
    pub(crate) tasks: HashMap<String, SeenTask>,
    pub(crate) rendered: HashMap<String, Rendered>,
    pub(crate) xcoms: HashMap<(String, String), Value>,
}

/// What came of a task.
#[derive(Debug, Default)]
pub(crate) struct SeenTask {
    pub(crate) state: Option<TaskState>,
    pub(crate) tries: u32,
    /// The round trip in which it first started; `None` for one that never did.
    pub(crate) started: Option<usize>,
    pub(crate) note: Option<String>,
}

/// Runs a case; what is not as expected, nothing for a case that passes.
///
/// # Errors
/// [`Error`], when it could not be run to its end.
pub async fn run(case: &Case) -> Result<Vec<Difference>, Error> {
    let options = Options { url: "sqlite::memory:".to_owned(), key: Key::random(), max_connections: 1 };
    let store = Store::connect(options).await?;
    store.migrate().await?;
    let observed = World::create(case, &store).await?.run().await;
    store.close().await;
    Ok(compare::compare(case, &observed?))
}

/// An attempt that ends at `until`.
struct Attempt {
    until: DateTime<Utc>,
    report: Report,
}

struct World<'c> {
    case: &'c Case,
    store: &'c Store,
    clock: Arc<ManualClock>,
    run: RunRecord,
    claim: Claim,
    attempts: Vec<Attempt>,
    /// How often each task was started.
    starts: HashMap<String, usize>,
    started: HashMap<String, usize>,
    rendered: HashMap<String, Rendered>,
    /// Tasks without a worker whose start is of interest and has not been seen.
    unseen: BTreeSet<String>,
    /// When the time ends.
    end: DateTime<Utc>,
}

impl<'c> World<'c> {
    async fn create(case: &'c Case, store: &'c Store) -> Result<Self, Error> {
        let dag = &case.dag;
        let new = new_run(case);
        let start = case.given.now.unwrap_or(new.run_after);
        let upsert = DagUpsert { dag: Arc::clone(dag), file: format!("{}.yaml", dag.id()), source: "".into() };
        store.sync_dags(&[upsert], false, start).await?;
        // A DAG that is created paused is tested as it will be when somebody lets it run.
        store.set_paused(dag.id(), false, start).await?;
        for name in dag.pools() {
            let slots = case.given.pools.get(name).copied().unwrap_or(POOL_SLOTS);
            if name != DEFAULT_POOL || slots != POOL_SLOTS {
                store.set_pool(name, slots, None, start).await?;
            }
        }
        for (key, value) in &case.given.variables {
            store.set_variable(key, value, None, start).await?;
        }
        for connection in &case.given.connections {
            store.set_connection(connection, start).await?;
        }
        let queues: BTreeSet<String> = dag.tasks().iter().map(|task| task.queue.clone()).collect();
        let queues: Vec<String> = queues.into_iter().collect();
        let lease = TimeDelta::days(LEASE_DAYS);
        let job = NewJob {
            job_type: JobType::Worker,
            hostname: HOSTNAME.to_owned(),
            pid: 1,
            process_mark: HOSTNAME.to_owned(),
            queues: queues.clone(),
            slots: SLOTS,
        };
        let worker = store.register_job(job, lease.to_std().unwrap_or(Duration::MAX), start).await?;
        let run = store.create_run(new, start).await?.run;
        let named = case.expect.order.iter().flatten();
        let unseen = named.filter(|id| dag.task(id).is_some_and(Task::ends_without_worker)).cloned().collect();
        Ok(Self {
            case,
            store,
            clock: Arc::new(ManualClock::new(start)),
            run,
            claim: Claim { worker, slots: SLOTS, queues, hostname: HOSTNAME.to_owned(), pid: 1 },
            attempts: Vec::new(),
            starts: HashMap::new(),
            started: HashMap::new(),
            rendered: HashMap::new(),
            unseen,
            end: start + lease,
        })
    }

    async fn run(mut self) -> Result<Observed, Error> {
        let mut total = 0;
        for round in 0.. {
            let now = self.clock.now();
            let (ended, going): (Vec<_>, Vec<_>) =
                std::mem::take(&mut self.attempts).into_iter().partition(|attempt| attempt.until <= now);
            self.attempts = going;
            let reports: Vec<Report> = ended.into_iter().map(|attempt| attempt.report).collect();
            let claimed = self.store.report(&reports, &[], &self.claim, now).await?.claimed;
            let moved = !claimed.is_empty() || !reports.is_empty();
            total += claimed.len();
            if total > MOST_ATTEMPTS {
                return Err(Error::TooManyAttempts);
            }
            for task in claimed {
                self.start(&task, round, now).await?;
            }
            self.look_for_unseen(round).await?;
            if !moved && !self.let_time_work(now).await? && !self.jump(now).await? {
                break;
            }
        }
        self.observe().await
    }

    /// Starts an attempt, which is to decide how it ends.
    async fn start(&mut self, claimed: &ClaimedTask, round: usize, now: DateTime<Utc>) -> Result<(), Error> {
        let task_id = claimed.key.task_id.as_str();
        let Some(task) = self.case.dag.task(task_id) else { return Ok(()) };
        self.started.entry(task_id.to_owned()).or_insert(round);
        let starts = self.starts.entry(task_id.to_owned()).or_default();
        let mocks = self.case.mocks.get(task_id).map(Vec::as_slice).unwrap_or_default();
        let mut mock = mocks.get(*starts).or(mocks.last()).cloned().unwrap_or_default();
        *starts += 1;
        let renderings = Renderings { case: self.case, store: self.store, clock: Arc::clone(&self.clock) };
        if let Some(rendered) = renderings.render(claimed, task).await? {
            if let (Err(error), true) = (&rendered, self.case.given.render_templates) {
                mock = Mock { ending: Ending::Failed { retry: true }, message: Some(error.clone()), ..Mock::default() };
            }
            self.rendered.insert(task_id.to_owned(), rendered);
        }
        self.attempts.push(attempt(claimed, task, mock, now));
        Ok(())
    }

    /// Does what a scheduler does when a time has come; whether anything was to do.
    async fn let_time_work(&self, now: DateTime<Utc>) -> Result<bool, Error> {
        let expired = self.store.expire_runs(now).await? + self.store.miss_deadlines(now).await?;
        let woken = self.store.wake_due(now, SLOTS).await?;
        let started = self.store.start_queued_runs(now).await?;
        Ok(expired + woken + started > 0)
    }

    /// Moves the clock to when something is due; false where nothing is.
    async fn jump(&self, now: DateTime<Utc>) -> Result<bool, Error> {
        let due = self.store.next_due_at(now).await?.filter(|due| *due < self.end);
        let next = self.attempts.iter().map(|attempt| attempt.until).chain(due).min();
        let is_over = self.store.run_by_key(self.run.key).await?.is_none_or(|run| run.state.is_finished());
        match next {
            Some(next) if next > now && !is_over => {
                self.clock.set(next);
                Ok(true)
            }
            Some(_) | None => Ok(false),
        }
    }

    /// Notices tasks that have ended without a worker.
    async fn look_for_unseen(&mut self, round: usize) -> Result<(), Error> {
        let mut seen = Vec::new();
        for task_id in &self.unseen {
            let key = TaskKey { run_key: self.run.key, task_id: task_id.clone(), map_index: -1 };
            if self.store.task_instance(&key).await?.is_some_and(|task| task.state == TaskState::Success) {
                seen.push(task_id.clone());
            }
        }
        for task_id in seen {
            self.unseen.remove(&task_id);
            self.started.insert(task_id, round);
        }
        Ok(())
    }

    async fn observe(mut self) -> Result<Observed, Error> {
        let run = self.store.run_by_key(self.run.key).await?.unwrap_or(self.run);
        let mut tasks = HashMap::new();
        for task in self.store.task_instances(run.key).await? {
            let started = self.started.remove(&task.key.task_id);
            let seen = SeenTask { state: Some(task.state), tries: task.try_number, started, note: task.note };
            // Of a mapped task, the instance that went worst speaks for all.
            let is_bad = matches!(task.state, TaskState::Failed | TaskState::UpstreamFailed);
            if is_bad || !tasks.contains_key(&task.key.task_id) {
                tasks.insert(task.key.task_id, seen);
            }
        }
        let mut xcoms = HashMap::new();
        let asked: BTreeSet<&String> = self.case.expect.xcoms.keys().map(|(task_id, _)| task_id).collect();
        for task_id in asked {
            let key = TaskKey { run_key: run.key, task_id: task_id.clone(), map_index: -1 };
            for xcom in self.store.task_xcoms(&key).await? {
                xcoms.insert((task_id.clone(), xcom.key), xcom.value);
            }
        }
        Ok(Observed { run, tasks, rendered: self.rendered, xcoms })
    }
}

/// The attempt that a mock stands for, as a worker would report it.
fn attempt(claimed: &ClaimedTask, task: &Task, mock: Mock, now: DateTime<Utc>) -> Attempt {
    let mut mock = mock;
    if let Some(limit) = task.execution_timeout.filter(|limit| *limit < mock.duration) {
        let message = Some("execution_timeout has passed".to_owned());
        mock = Mock { ending: Ending::Failed { retry: true }, duration: limit, message, xcoms: mock.xcoms };
    }
    let until = TimeDelta::from_std(mock.duration).ok().and_then(|span| now.checked_add_signed(span)).unwrap_or(now);
    let outcome = match mock.ending {
        Ending::Success => {
            let value = mock.xcoms.iter().find(|(key, _)| key.as_str() == RETURN_VALUE).map(|(_, value)| value);
            // A branch for which the case has no value lets everything go on.
            match value.and_then(|value| branch::skips(&task.operator, &task.args, value)) {
                Some(skips) => ReportOutcome::Branched { skips },
                None => ReportOutcome::Success,
            }
        }
        Ending::Failed { retry } => ReportOutcome::Failed { retry },
        Ending::Skipped => ReportOutcome::Skipped,
    };
    let pushes = |key: &str, value: &Value| key != RETURN_VALUE || (task.do_xcom_push && !value.is_null());
    let xcoms = mock.xcoms.into_iter().filter(|(key, value)| pushes(key, value)).collect();
    let report = Report {
        key: claimed.key.clone(),
        attempt: claimed.attempt,
        outcome,
        note: mock.message,
        xcoms,
        asset_extra: serde_json::Map::new(),
        evidence: Default::default(),
        ended_at: until,
    };
    Attempt { until, report }
}

/// The run that a case asks for.
fn new_run(case: &Case) -> NewRun {
    let dag = &case.dag;
    let conf = case.given.conf.clone();
    let scheduled = match case.given.logical_date {
        LogicalDate::First => first_run(dag),
        LogicalDate::At(date) => dag.spec().schedule.runs_of_dates(&bounds(dag), date, date).next(),
        LogicalDate::None => None,
    };
    if let Some(due) = scheduled {
        return NewRun {
            run_type: RunType::Scheduled,
            logical_date: Some(due.logical_date),
            data_interval: Some(due.data_interval),
            conf,
            ..NewRun::manual(dag.id(), due.run_after, TriggeredBy::Timetable)
        };
    }
    let date = match case.given.logical_date {
        LogicalDate::At(date) => Some(date),
        LogicalDate::First => Some(dag.spec().start_date.unwrap_or(SOME_DAY)),
        LogicalDate::None => None,
    };
    let run_after = date.or(case.given.now).unwrap_or(SOME_DAY);
    NewRun {
        logical_date: date,
        data_interval: date.map(|date| dag.spec().schedule.manual_interval(date)),
        conf,
        ..NewRun::manual(dag.id(), run_after, TriggeredBy::Test)
    }
}

fn first_run(dag: &Dag) -> Option<towpath_model::timetable::DueRun> {
    let from = dag.spec().start_date.unwrap_or(SOME_DAY);
    dag.spec().schedule.runs_between(&bounds(dag), from, DateTime::<Utc>::MAX_UTC).next()
}

/// The bounds that the DAG sets its schedule, every run being made up for.
pub(crate) fn bounds(dag: &Dag) -> Bounds {
    Bounds { start_date: dag.spec().start_date, end_date: dag.spec().end_date, catchup: true }
}

impl Observed {
    pub(crate) fn is_over(&self) -> bool {
        matches!(self.run.state, RunState::Success | RunState::Failed)
    }
}
