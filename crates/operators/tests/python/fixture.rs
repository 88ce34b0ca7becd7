//! What the tests share: an operator, attempts for it, and services that live in memory.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use serde_json::{Map, Value, json};
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;
use towpath_model::clock::SystemClock;
use towpath_model::connection::Connection;
use towpath_model::state::TaskState;
use towpath_operators::assets::AssetEvent;
use towpath_operators::log::{Limits, Memory, Secrets, TaskLog};
use towpath_operators::process::{self, Supervisor};
use towpath_operators::python::{Options, PythonOperator};
use towpath_operators::runs::{DagStatus, RunOrder, RunRef, RunStatus, Tasks, Triggered};
use towpath_operators::{Attempt, Operator, Outcome, ServiceError, Services, XComQuery};

/// Services that keep everything in memory.
#[derive(Debug, Default)]
pub(crate) struct MemoryServices {
    pub(crate) xcoms: Mutex<BTreeMap<(String, String), Vec<Value>>>,
    pub(crate) variables: Mutex<BTreeMap<String, String>>,
    pub(crate) queries: Mutex<Vec<XComQuery>>,
    pub(crate) asset_events: Mutex<Vec<AssetEvent>>,
}

#[async_trait]
impl Services for MemoryServices {
    async fn xcoms(&self, query: &XComQuery) -> Result<Vec<Value>, ServiceError> {
        self.queries.lock().expect("no panic").push(query.clone());
        let xcoms = self.xcoms.lock().expect("no panic");
        let all = xcoms.get(&(query.task_id.clone(), query.key.clone())).cloned().unwrap_or_default();
        Ok(match query.map_index {
            None => all,
            Some(-1) => all.into_iter().take(1).collect(),
            Some(index) => all.into_iter().skip(usize::try_from(index).expect("not negative")).take(1).collect(),
        })
    }

    async fn variable(&self, key: &str) -> Result<Option<String>, ServiceError> {
        if key == "broken" {
            return Err(ServiceError("the store does not answer".to_owned()));
        }
        Ok(self.variables.lock().expect("no panic").get(key).cloned())
    }

    async fn set_variable(&self, key: &str, value: Option<&str>) -> Result<(), ServiceError> {
        let mut variables = self.variables.lock().expect("no panic");
        match value {
            Some(value) => variables.insert(key.to_owned(), value.to_owned()),
            None => variables.remove(key),
        };
        Ok(())
    }

    async fn connection(&self, conn_id: &str) -> Result<Option<Connection>, ServiceError> {
        let uri = r#"postgresql://ann:pa%2Fss-word@db.example.com:5432/sales?sslmode=require&api_key=k-98765"#;
        Ok((conn_id == "warehouse").then(|| Connection::from_uri(conn_id, uri).expect("a good URI")))
    }

    async fn dag(&self, _: &str) -> Result<Option<DagStatus>, ServiceError> {
        Ok(None)
    }

    async fn run(&self, _: &str, _: &RunRef) -> Result<Option<RunStatus>, ServiceError> {
        Ok(None)
    }

    async fn task_states(&self, _: &RunStatus, _: &Tasks) -> Result<Vec<(String, TaskState)>, ServiceError> {
        Ok(Vec::new())
    }

    async fn trigger_run(&self, _: &RunOrder) -> Result<Triggered, ServiceError> {
        Err(ServiceError("there are no DAGs here".into()))
    }

    async fn reset_run(&self, _: &RunStatus, _: &str) -> Result<(), ServiceError> {
        Err(ServiceError("there are no runs here".into()))
    }

    async fn past_tries(&self) -> Result<Vec<(u32, TaskState)>, ServiceError> {
        Ok(Vec::new())
    }

    async fn triggering_asset_events(&self) -> Result<Vec<AssetEvent>, ServiceError> {
        Ok(self.asset_events.lock().expect("no panic").clone())
    }

    async fn asset_events(&self, asset: &str) -> Result<Vec<AssetEvent>, ServiceError> {
        assert_eq!(asset, "leads");
        Ok(self.asset_events.lock().expect("no panic").clone())
    }
}

pub(crate) struct Fixture {
    pub(crate) operator: PythonOperator,
    pub(crate) supervisor: Arc<Supervisor>,
    pub(crate) services: Arc<MemoryServices>,
    pub(crate) folder: TempDir,
    attempts: AtomicUsize,
}

/// An attempt with what it will have logged.
pub(crate) struct Prepared {
    pub(crate) attempt: Attempt,
    pub(crate) sink: Arc<Memory>,
}

impl Prepared {
    /// The log as text, without the name of the test's folder.
    pub(crate) fn log(&self) -> String {
        let folder = self.attempt.project_folder.display().to_string();
        self.sink.text().replace(&folder, "FOLDER")
    }
}

impl Fixture {
    pub(crate) fn new() -> Self {
        Self::with(Options::default())
    }

    pub(crate) fn with(options: Options) -> Self {
        let supervisor = process::Options {
            program: Some(PathBuf::from(env!("CARGO_BIN_EXE_towpath-watchdog"))),
            grace: Duration::from_millis(500),
            ..process::Options::default()
        };
        Self {
            operator: PythonOperator::new(options),
            supervisor: Arc::new(Supervisor::new(supervisor).expect("the watchdog starts")),
            services: Arc::default(),
            folder: tempfile::tempdir().expect("a folder"),
            attempts: AtomicUsize::new(0),
        }
    }

    /// Writes a file below the folder of the DAG file.
    pub(crate) fn write(&self, file: &str, text: &str) {
        let file = self.folder.path().join("dags").join(file);
        std::fs::create_dir_all(file.parent().expect("a parent")).expect("created");
        std::fs::write(file, text).expect("written");
    }

    pub(crate) fn attempt(&self, args: Value) -> Prepared {
        self.attempt_of(args, &json!({}), &json!({}))
    }

    /// An attempt whose context and task differ from the usual ones in what is given.
    pub(crate) fn attempt_of(&self, args: Value, context: &Value, task: &Value) -> Prepared {
        let interval = json!({"start": "2024-02-29T06:00:00Z", "end": "2024-03-01T06:00:00Z"});
        let mut whole_context = json!({
            "dag_id": "flights", "dag_description": "All of them", "dag_tags": ["etl"], "run_id": "manual__1",
            "run_type": "manual", "run_after": "2024-03-01T06:00:00Z", "run_start_date": "2024-03-01T06:00:01.250Z",
            "logical_date": "2024-02-29T06:00:00Z", "data_interval": interval, "conf": {"full": true},
            "params": {"carrier": "UA"}, "task_id": "load", "map_index": -1, "try_number": 2, "max_tries": 3,
            "start_date": "2024-03-01T06:00:02.000125Z", "owner": "data", "operator": "python", "queue": "default",
            "pool": "default_pool", "priority_weight": 1, "hostname": "box", "prev_data_interval_success": null,
            "prev_start_date_success": null, "native_templates": false,
        });
        let mut whole_task = json!({
            "task_id": "load", "operator": "python", "pool": "default_pool", "pool_slots": 1, "queue": "default",
            "priority_weight": 1, "owner": "data",
        });
        for (whole, part) in [(&mut whole_context, context), (&mut whole_task, task)] {
            for (name, value) in part.as_object().expect("an object") {
                whole[name] = value.clone();
            }
        }
        let Value::Object(args) = args else { panic!("args are an object") };
        let sink = Arc::new(Memory::default());
        let log = TaskLog::new(sink.clone(), Arc::new(SystemClock), Arc::new(Secrets::new()), Limits::default());
        let root = self.folder.path();
        std::fs::create_dir_all(root.join("dags")).expect("created");
        let attempt = Attempt::new(
            serde_json::from_value(whole_context).expect("a context"),
            serde_json::from_value(whole_task).expect("a task"),
            args,
            self.services.clone(),
            log,
            self.supervisor.clone(),
            CancellationToken::new(),
            root.join("dags"),
            root.to_owned(),
            root.join(format!("scratch-{}", self.attempts.fetch_add(1, Ordering::Relaxed))),
        );
        Prepared { attempt, sink }
    }

    /// Runs a task; its outcome, its log, and what it has pushed.
    pub(crate) async fn run(&self, args: Value) -> (Outcome, String, Map<String, Value>) {
        let prepared = self.attempt(args);
        let outcome = self.execute(&prepared).await;
        (outcome, prepared.log(), prepared.attempt.take_xcoms())
    }

    pub(crate) async fn execute(&self, prepared: &Prepared) -> Outcome {
        let limit = Duration::from_secs(30);
        let outcome = tokio::time::timeout(limit, self.operator.execute(&prepared.attempt));
        outcome.await.unwrap_or_else(|_| panic!("it does not end; its log:\n{}", prepared.log()))
    }

    /// Runs inline code that must succeed; its value.
    pub(crate) async fn value(&self, code: &str) -> Value {
        let (outcome, log, _) = self.run(json!({ "code": code })).await;
        match outcome {
            Outcome::Success { value } => value.unwrap_or_default(),
            other => panic!("{other:?}\n{log}"),
        }
    }

    /// Runs inline code that must fail; its error.
    pub(crate) async fn error(&self, code: &str) -> String {
        error_of(self.run(json!({ "code": code })).await.0)
    }
}

pub(crate) fn error_of(outcome: Outcome) -> String {
    match outcome {
        Outcome::Failed { error, .. } => error,
        other => panic!("it has not failed: {other:?}"),
    }
}

/// Waits for `condition` with a limit.
pub(crate) async fn until(what: &str, mut condition: impl FnMut() -> bool) {
    let start = Instant::now();
    while !condition() {
        assert!(start.elapsed() < Duration::from_secs(20), "{what} has not happened");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

/// Whether a process runs; a zombie does not.
pub(crate) fn is_alive(pid: i32) -> bool {
    match std::fs::read_to_string(format!("/proc/{pid}/stat")) {
        Ok(stat) => !stat.rsplit(')').next().is_some_and(|rest| rest.trim_start().starts_with('Z')),
        Err(_) => false,
    }
}

/// The number that a task has printed after `word`.
pub(crate) fn logged(sink: &Memory, word: &str) -> Option<i32> {
    sink.lines().iter().find_map(|line| line.event.strip_prefix(word)?.trim().parse().ok())
}
