//! A store, a worker, and an operator that ends as its command says.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use chrono::{DateTime, TimeDelta, Utc};
use tokio_util::sync::CancellationToken;
use towpath_dagfile::{Limits, Origin, compile};
use towpath_model::clock::{Clock as _, SystemClock};
use towpath_model::dag::Dag;
use towpath_model::run::TriggeredBy;
use towpath_model::state::{RunState, TaskState};
use towpath_operators::attempt::{Attempt, Operator, Outcome};
use towpath_operators::process::{self, Supervisor};
use towpath_operators::registry::{Empty, Registry};
use towpath_store::{DagUpsert, JobType, Key, NewJob, NewRun, Store};
use towpath_worker::{Options, Worker};

/// How long anything may take before it counts as stuck.
pub(crate) const LIMIT: Duration = Duration::from_secs(60);

pub(crate) fn now() -> DateTime<Utc> {
    SystemClock.now()
}

/// Stands for `bash`: the command is how it ends.
#[derive(Debug)]
struct Scripted;

#[async_trait]
impl Operator for Scripted {
    async fn execute(&self, attempt: &Attempt) -> Outcome {
        match attempt.args.get("bash_command").and_then(|value| value.as_str()) {
            Some("success") => Outcome::Success { value: None },
            Some("skipped") => Outcome::Skipped { reason: "it was told to".into() },
            Some("hold") => Outcome::Reschedule { at: now() + TimeDelta::hours(1) },
            _ => Outcome::Failed { error: "it was told to".into(), retry: false },
        }
    }
}

/// Runs `play` with a store of that dialect and a worker beside it.
pub(crate) async fn with_worker(database: towpath_testkit::TestDb, play: impl AsyncFnOnce(&Store)) {
    let options = towpath_store::Options { url: database.url.clone(), key: Key::random(), max_connections: 8 };
    let store = Store::connect(options).await.expect("the test database answers");
    store.migrate().await.expect("an empty database migrates");
    let folder = tempfile::tempdir().expect("a folder can be made");
    let (soft, hard) = (CancellationToken::new(), CancellationToken::new());
    let worker = Worker::new(worker_options(&store, folder.path())).run(soft.clone(), hard);
    let worker = tokio::spawn(worker);
    play(&store).await;
    soft.cancel();
    let ended = tokio::time::timeout(LIMIT, worker).await.expect("the worker ends");
    ended.expect("the worker does not panic").expect("the worker works");
    store.close().await;
}

fn worker_options(store: &Store, folder: &Path) -> Options {
    // Nothing starts a process, so whatever reads its input will do as the watchdog.
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
            slots: 16,
        },
        lease: Duration::from_secs(60),
        registry: Arc::new(Registry::standard(Arc::new(Empty)).with("bash", Arc::new(Scripted))),
        supervisor: Arc::new(Supervisor::new(watchdog).expect("the watchdog starts")),
        project_folder: folder.to_owned(),
        dags_folder: folder.to_owned(),
        scratch_folder: folder.join("scratch"),
        xcom_max_bytes: 1_000_000,
        log_limits: towpath_operators::log::Limits::default(),
    }
}

/// Reads a DAG file, stores its DAG and starts a run of it.
pub(crate) async fn start(store: &Store, text: &str) -> (Dag, i64) {
    let origin = Origin { path: Path::new("random.yaml"), folder: Path::new("."), defaults: &[], now: now() };
    let mut file = compile(text, &origin, &Limits::default());
    let told: Vec<String> = file.diagnostics.iter().map(ToString::to_string).collect();
    assert!(!file.has_errors(), "{}\n{text}", told.join("\n"));
    let dag = file.dags.remove(0);
    let upsert = DagUpsert { dag: Arc::new(dag.clone()), file: "random.yaml".into(), source: text.into() };
    store.sync_dags(&[upsert], false, now()).await.expect("a DAG is taken");
    let new = NewRun::manual(dag.id(), now(), TriggeredBy::Cli);
    let run = store.create_run(new, now()).await.expect("a run is created").run;
    (dag, run.key)
}

/// The states of all task instances, and how often each was tried.
pub(crate) async fn ends(store: &Store, run_key: i64) -> BTreeMap<(String, i32), (TaskState, u32)> {
    let instances = store.task_instances(run_key).await.expect("a run can be read");
    instances.into_iter().map(|ti| ((ti.key.task_id, ti.key.map_index), (ti.state, ti.try_number))).collect()
}

/// The run's state once it is over.
pub(crate) async fn over(store: &Store, run_key: i64, text: &str) -> RunState {
    let wait = async {
        loop {
            let run = store.run_by_key(run_key).await.expect("a run can be read").expect("the run exists");
            if run.state.is_finished() {
                return run.state;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    match tokio::time::timeout(LIMIT, wait).await {
        Ok(state) => state,
        Err(_) => panic!("the run does not end: {:?}\n{text}", ends(store, run_key).await),
    }
}
