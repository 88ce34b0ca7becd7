//! A worker and a store: tasks that wait, and tasks that start runs of other DAGs.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;
use towpath_model::clock::{Clock, SystemClock};
use towpath_model::dag::{Dag, DagSpec, Task};
use towpath_model::run::{RunType, TriggeredBy};
use towpath_model::state::{RunState, TaskState};
use towpath_operators::process::{self, Supervisor};
use towpath_operators::registry::{Empty, Registry};
use towpath_store::{
    DagUpsert, JobType, Key, LogKey, NewJob, NewRun, RunFilter, RunRecord, Store, TaskInstanceRecord, TaskKey,
};
use towpath_worker::{Options, Worker};

/// How long anything may take before it counts as stuck.
const LIMIT: Duration = Duration::from_secs(60);

fn now() -> DateTime<Utc> {
    SystemClock.now()
}

/// A DAG of tasks that wait for nothing, each with its operator and arguments.
async fn sync(store: &Store, dag_id: &str, tasks: &[(&str, &str, Value)]) {
    let mut spec = DagSpec::new(dag_id);
    for (task_id, operator, args) in tasks {
        let mut task = Task::new(*task_id, *operator);
        task.args = args.as_object().cloned().expect("arguments are an object");
        spec.tasks.push(task);
    }
    let dag = Arc::new(Dag::build(spec).expect("a graph"));
    let upsert = DagUpsert { dag, file: "made_up.yml".into(), source: "made up".into() };
    store.sync_dags(&[upsert], false, now()).await.expect("a DAG is taken");
}

async fn create(store: &Store, dag_id: &str, logical_date: Option<DateTime<Utc>>) -> RunRecord {
    let new = NewRun { logical_date, ..NewRun::manual(dag_id, now(), TriggeredBy::Cli) };
    store.create_run(new, now()).await.expect("a run is created").run
}

fn options(store: &Store, folder: &Path) -> Options {
    // None of these tasks starts a process, so whatever reads its input will do as the watchdog.
    let watchdog =
        process::Options { program: Some(PathBuf::from("cat")), arg: "-".into(), ..process::Options::default() };
    Options {
        store: store.clone(),
        clock: Arc::new(SystemClock),
        job: NewJob {
            job_type: JobType::Worker,
            hostname: "host".into(),
            pid: std::process::id(),
            process_mark: "mark".into(),
            queues: vec!["default".into()],
            slots: 4,
        },
        lease: Duration::from_secs(60),
        registry: Arc::new(Registry::standard(Arc::new(Empty))),
        supervisor: Arc::new(Supervisor::new(watchdog).expect("the watchdog starts")),
        project_folder: folder.to_owned(),
        dags_folder: folder.to_owned(),
        scratch_folder: folder.join("scratch"),
        xcom_max_bytes: 1_000_000,
        log_limits: towpath_operators::log::Limits::default(),
    }
}

/// Does what a scheduler does for tasks that wait, until `done`.
async fn until(store: &Store, what: &str, mut done: impl AsyncFnMut() -> bool) {
    let work = async {
        while !done().await {
            store.start_queued_runs(now()).await.expect("runs can be started");
            store.wake_due(now(), 100).await.expect("timers can be looked at");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(LIMIT, work).await.unwrap_or_else(|_| panic!("it never comes: {what}"));
}

async fn task(store: &Store, run: &RunRecord, task_id: &str) -> TaskInstanceRecord {
    let key = TaskKey { run_key: run.key, task_id: task_id.into(), map_index: -1 };
    store.task_instance(&key).await.expect("it can be read").expect("the task instance exists")
}

async fn state(store: &Store, run: &RunRecord) -> RunState {
    store.run_by_key(run.key).await.expect("it can be read").expect("the run exists").state
}

async fn log(store: &Store, of: &TaskInstanceRecord) -> String {
    let key = LogKey { task: of.key.clone(), try_number: of.try_number };
    let chunks = store.read_log(&key, 0, 100).await.expect("it can be read");
    chunks.into_iter().map(|chunk| chunk.text).collect()
}

/// `child` waits for a file, `parent` starts it and waits for it, `beside` waits for it as a whole and for its group.
async fn sync_all(store: &Store) {
    let wait = |mut args: Value| {
        args["poke_interval"] = json!(0.1);
        args["mode"] = "reschedule".into();
        args
    };
    sync(store, "child", &[("g.wait", "file_sensor", wait(json!({"filepath": "go"})))]).await;
    let trigger = json!({
        "trigger_dag_id": "child", "logical_date": "2026-01-01", "conf": {"a": 1}, "wait_for_completion": true,
        "poke_interval": 0.1,
    });
    sync(store, "parent", &[("start", "trigger_dag", trigger)]).await;
    let whole = wait(json!({"external_dag_id": "child"}));
    let group = wait(json!({"external_dag_id": "child", "external_task_group_id": "g", "check_existence": true}));
    sync(store, "beside", &[("whole", "external_task_sensor", whole), ("group", "external_task_sensor", group)]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dag_starts_another_and_waits_for_it() {
    for db in towpath_testkit::databases().await {
        let url = db.url.clone();
        let store = towpath_store::Options { url, key: Key::random(), max_connections: 4 };
        let store = Store::connect(store).await.expect("the test database answers");
        store.migrate().await.expect("an empty database migrates");
        let folder = tempfile::tempdir().expect("a folder");
        let date: DateTime<Utc> = "2026-01-01T00:00:00Z".parse().expect("a time");
        sync_all(&store).await;

        let (soft, hard) = (CancellationToken::new(), CancellationToken::new());
        let worker = tokio::spawn(Worker::new(options(&store, folder.path())).run(soft.clone(), hard));
        let beside = create(&store, "beside", Some(date)).await;
        let parent = create(&store, "parent", None).await;
        // Between its calls the parent waits for a time; two different ones mean that it was called twice.
        let mut times = std::collections::BTreeSet::new();
        until(&store, "the third call of the parent", async || {
            times.extend(task(&store, &parent, "start").await.available_at);
            times.len() > 2
        })
        .await;
        assert_eq!(state(&store, &beside).await, RunState::Running);

        std::fs::write(folder.path().join("go"), "x").expect("written");
        until(&store, "the end of the runs", async || {
            state(&store, &parent).await == RunState::Success && state(&store, &beside).await == RunState::Success
        })
        .await;
        let filter = RunFilter { dag_id: Some("child".into()), limit: 10, ..RunFilter::default() };
        let runs = store.runs(&filter).await.expect("they can be read").items;
        let [child] = &runs[..] else { panic!("one run: {runs:?}") };
        assert_eq!((child.run_type, child.triggered_by), (RunType::OperatorTriggered, TriggeredBy::Operator));
        assert_eq!((child.logical_date, Value::Object(child.conf.clone())), (Some(date), json!({"a": 1})));
        let xcoms = store.xcoms(parent.key, "start", "trigger_run_id", Some(-1)).await.expect("they can be read");
        assert_eq!(xcoms[0].value, json!(child.run_id));

        // One try, one start, and one log of it, however often it was called.
        let waited = task(&store, child, "g.wait").await;
        assert_eq!((waited.state, waited.try_number), (TaskState::Success, 1));
        let text = log(&store, &waited).await;
        let of = |what: &str| text.matches(what).count();
        assert_eq!((of("Waiting for a file at `go`"), of("Found `"), of("The wait is over")), (1, 1, 1), "{text}");
        soft.cancel();
        worker.await.expect("the worker does not panic").expect("it ends well");
        store.close().await;
    }
}
