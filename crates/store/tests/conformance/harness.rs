//! What the cases share: a store of each dialect, and short names for what they do to it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use towpath_model::dag::{Dag, DagSpec, Task};
use towpath_model::run::TriggeredBy;
use towpath_model::state::{RunState, TaskState};
use towpath_store::{
    Claim, ClaimedTask, DagUpsert, JobType, Key, NewJob, NewRun, Options, Reply, Report, ReportOutcome, RunRecord,
    Store, TaskInstanceRecord, TaskKey,
};
use towpath_testkit::TestDb;

/// The lease of workers.
pub(crate) const LEASE: Duration = Duration::from_secs(60);
/// How long anything may take before it counts as stuck.
pub(crate) const LIMIT: Duration = Duration::from_secs(120);

/// Stamps cases, each an `async fn name(store: Store)`, out for both dialects.
macro_rules! both {
    ($($name:ident),+ $(,)?) => {$(
        mod $name {
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn sqlite() {
                let db = towpath_testkit::sqlite();
                super::$name(crate::harness::open(&db).await).await;
            }

            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn postgres() {
                let db = towpath_testkit::postgres().await;
                super::$name(crate::harness::open(&db).await).await;
            }
        }
    )+};
}
pub(crate) use both;

/// A migrated store on `db`, which must outlive it.
pub(crate) async fn open(db: &TestDb) -> Store {
    let options = Options { url: db.url.clone(), key: Key::random(), max_connections: 8 };
    let store = Store::connect(options).await.expect("the test database answers");
    store.migrate().await.expect("an empty database migrates");
    store
}

/// A made-up time, `seconds` after the start of 2026.
pub(crate) fn time(seconds: i64) -> DateTime<Utc> {
    DateTime::from_timestamp(1_767_225_600, 0).expect("2026 has begun") + TimeDelta::seconds(seconds)
}

/// A DAG of tasks, each with its operator and what is upstream of it; `change` has the last word.
pub(crate) fn dag(id: &str, tasks: &[(&str, &str, &[&str])], change: impl FnOnce(&mut DagSpec)) -> Dag {
    let mut spec = DagSpec::new(id);
    for (task_id, operator, upstream) in tasks {
        let mut task = Task::new(*task_id, *operator);
        task.upstream = upstream.iter().map(ToString::to_string).collect();
        spec.tasks.push(task);
    }
    change(&mut spec);
    Dag::build(spec).expect("the tasks form a graph")
}

/// A DAG of `count` tasks `t0000`, `t0001`, ... that wait for nothing.
pub(crate) fn wide(id: &str, count: usize, change: impl FnOnce(&mut DagSpec)) -> Dag {
    dag(id, &[], |spec| {
        spec.tasks.extend((0..count).map(|i| Task::new(format!("t{i:04}"), "bash")));
        change(spec);
    })
}

/// Stores a DAG, not paused.
pub(crate) async fn sync(store: &Store, dag: Dag) {
    let upsert = DagUpsert { dag: Arc::new(dag), file: "made_up.yml".into(), source: "made up".into() };
    store.sync_dags(&[upsert], false, time(0)).await.expect("a DAG is taken");
}

/// Creates a manual run at `time(0)` with a `run_id` of its own.
pub(crate) async fn manual(store: &Store, dag_id: &str) -> RunRecord {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let run_id = format!("manual_{}", NEXT.fetch_add(1, Ordering::Relaxed));
    let new = NewRun { run_id: Some(run_id), ..NewRun::manual(dag_id, time(0), TriggeredBy::Cli) };
    store.create_run(new, time(0)).await.expect("a run is created").run
}

/// Registers a worker; its id.
pub(crate) async fn worker(store: &Store) -> i64 {
    let job = NewJob {
        job_type: JobType::Worker,
        hostname: "host".into(),
        pid: 7,
        process_mark: "mark".into(),
        queues: vec!["default".into()],
        slots: 16,
    };
    store.register_job(job, LEASE, time(0)).await.expect("a worker is registered")
}

/// A claim of up to `slots` from the default queue.
pub(crate) fn asks(worker: i64, slots: u32) -> Claim {
    Claim { worker, slots, queues: vec!["default".into()], hostname: "host".into(), pid: 7 }
}

/// Claims up to `n` from the default queue.
pub(crate) async fn claim(store: &Store, worker: i64, n: u32) -> Vec<ClaimedTask> {
    store.report(&[], &[], &asks(worker, n), time(1)).await.expect("a claim is answered").claimed
}

/// Claims one, which must be there.
pub(crate) async fn claim_one(store: &Store, worker: i64) -> ClaimedTask {
    claim(store, worker, 1).await.pop().expect("something is queued")
}

/// The end of the attempt of `task` at `time(2)`.
pub(crate) fn ended(task: &ClaimedTask, outcome: ReportOutcome) -> Report {
    Report {
        key: task.key.clone(),
        attempt: task.attempt,
        outcome,
        note: None,
        xcoms: Vec::new(),
        asset_extra: serde_json::Map::new(),
        evidence: Default::default(),
        ended_at: time(2),
    }
}

/// Reports without claiming.
pub(crate) async fn send(store: &Store, reports: &[Report]) -> Reply {
    store.report(reports, &[], &asks(0, 0), time(2)).await.expect("a report is taken")
}

/// Reports one outcome, which must be accepted.
pub(crate) async fn end(store: &Store, task: &ClaimedTask, outcome: ReportOutcome) {
    assert_eq!(send(store, &[ended(task, outcome)]).await.accepted, [true]);
}

/// `task` has succeeded.
pub(crate) async fn succeed(store: &Store, task: &ClaimedTask) {
    end(store, task, ReportOutcome::Success).await;
}

/// `task` has failed and may be retried.
pub(crate) async fn fail(store: &Store, task: &ClaimedTask) {
    end(store, task, ReportOutcome::Failed { retry: true }).await;
}

/// `task` has skipped itself.
pub(crate) async fn skip(store: &Store, task: &ClaimedTask) {
    end(store, task, ReportOutcome::Skipped).await;
}

/// The states of a run's tasks, none of which is mapped.
pub(crate) async fn states(store: &Store, run_key: i64) -> BTreeMap<String, TaskState> {
    let instances = store.task_instances(run_key).await.expect("a run can be read");
    instances.into_iter().map(|ti| (ti.key.task_id, ti.state)).collect()
}

/// How many task instances of a run are in `state`.
pub(crate) async fn count(store: &Store, run_key: i64, state: TaskState) -> usize {
    states(store, run_key).await.values().filter(|s| **s == state).count()
}

/// The state of a run.
pub(crate) async fn run_state(store: &Store, run_key: i64) -> RunState {
    store.run_by_key(run_key).await.expect("a run can be read").expect("the run exists").state
}

/// The task instance, which must exist.
pub(crate) async fn instance(store: &Store, key: &TaskKey) -> TaskInstanceRecord {
    store.task_instance(key).await.expect("a task instance can be read").expect("the task instance exists")
}

/// Key of a task that is not mapped.
pub(crate) fn key(run_key: i64, task_id: &str) -> TaskKey {
    TaskKey { run_key, task_id: task_id.into(), map_index: -1 }
}

/// Lets `workers` workers at once run whatever is queued, in batches of different sizes, until
/// nothing is queued or running. All that they ran, in no order.
pub(crate) async fn drain<F>(store: &Store, workers: u32, outcome: F) -> Vec<ClaimedTask>
where
    F: Fn(&ClaimedTask) -> ReportOutcome + Clone + Send + 'static,
{
    let mut all = Vec::new();
    let mut tasks = tokio::task::JoinSet::new();
    for i in 0..workers {
        tasks.spawn(serve(store.clone(), worker(store).await, i % 4 + 1, outcome.clone()));
    }
    let work = async {
        while let Some(done) = tasks.join_next().await {
            all.extend(done.expect("a worker does not panic"));
        }
    };
    tokio::time::timeout(LIMIT, work).await.expect("the work comes to an end");
    all
}

async fn serve<F>(store: Store, worker: i64, batch: u32, outcome: F) -> Vec<ClaimedTask>
where
    F: Fn(&ClaimedTask) -> ReportOutcome + Send,
{
    let mut all = Vec::new();
    let mut reports: Vec<Report> = Vec::new();
    loop {
        let reply = store.report(&reports, &[], &asks(worker, batch), time(2)).await.expect("a report is taken");
        assert!(reply.accepted.iter().all(|accepted| *accepted), "nobody else ended these attempts");
        reports = reply.claimed.iter().map(|task| ended(task, outcome(task))).collect();
        if reports.is_empty() {
            let counts = store.state_counts().await.expect("states can be counted");
            if !counts.contains_key(&TaskState::Queued) && !counts.contains_key(&TaskState::Running) {
                return all;
            }
            tokio::task::yield_now().await;
        }
        all.extend(reply.claimed);
    }
}
