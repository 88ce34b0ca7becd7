//! An attempt with services that answer from memory.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use chrono::{DateTime, TimeZone, Utc};
use serde_json::{Map, Value, json};
use tokio_util::sync::CancellationToken;
use towpath_model::clock::ManualClock;
use towpath_model::connection::Connection;
use towpath_model::dag::Task;
use towpath_model::run::RunType;
use towpath_model::timetable::DataInterval;
use towpath_operators::log::{Limits, Memory, Secrets, TaskLog};
use towpath_operators::process::{Options, Supervisor};
use towpath_operators::{Attempt, Context, ServiceError, Services, XComQuery};

/// Everything by name; XComs by `task_id/key`.
#[derive(Debug, Default)]
pub(crate) struct Answers {
    pub(crate) variables: HashMap<String, String>,
    pub(crate) connections: HashMap<String, Connection>,
    pub(crate) xcoms: HashMap<String, Vec<Value>>,
    pub(crate) asked: Mutex<Vec<String>>,
}

#[async_trait]
impl Services for Answers {
    async fn xcoms(&self, query: &XComQuery) -> Result<Vec<Value>, ServiceError> {
        self.asked.lock().expect("no panic").push(serde_json::to_string(query).expect("plain data"));
        if query.task_id == "unreachable" {
            return Err(ServiceError("the store is down".into()));
        }
        let found = self.xcoms.get(&format!("{}/{}", query.task_id, query.key)).cloned().unwrap_or_default();
        Ok(match query.map_index.and_then(|index| usize::try_from(index).ok()) {
            Some(index) => found.into_iter().skip(index).take(1).collect(),
            None => found,
        })
    }

    async fn variable(&self, key: &str) -> Result<Option<String>, ServiceError> {
        self.asked.lock().expect("no panic").push(format!("variable {key}"));
        // As a database would, it takes a moment.
        tokio::task::yield_now().await;
        Ok(self.variables.get(key).cloned())
    }

    async fn set_variable(&self, _: &str, _: Option<&str>) -> Result<(), ServiceError> {
        Err(ServiceError("not here".into()))
    }

    async fn connection(&self, conn_id: &str) -> Result<Option<Connection>, ServiceError> {
        Ok(self.connections.get(conn_id).cloned())
    }
}

/// What an attempt is made of.
pub(crate) struct Fixture {
    pub(crate) answers: Answers,
    pub(crate) context: Context,
    pub(crate) sink: Arc<Memory>,
    pub(crate) log: TaskLog,
    pub(crate) stop: CancellationToken,
    pub(crate) folder: tempfile::TempDir,
    pub(crate) do_xcom_push: bool,
}

pub(crate) fn at(text: &str) -> DateTime<Utc> {
    DateTime::parse_from_rfc3339(text).expect("a time").to_utc()
}

impl Fixture {
    pub(crate) fn new() -> Self {
        let sink = Arc::new(Memory::default());
        let clock = Arc::new(ManualClock::new(at("2024-03-06T12:00:00Z")));
        let log = TaskLog::new(sink.clone(), clock, Arc::new(Secrets::new()), Limits::default());
        Self {
            answers: Answers::default(),
            context: context(),
            sink,
            log,
            stop: CancellationToken::new(),
            folder: tempfile::tempdir().expect("a folder"),
            do_xcom_push: true,
        }
    }

    pub(crate) fn connection(mut self, conn_id: &str, uri: &str) -> Self {
        let connection = Connection::from_uri(conn_id, uri).expect("a connection");
        self.answers.connections.insert(conn_id.to_owned(), connection);
        self
    }

    /// An attempt of `operator` with `args`.
    pub(crate) fn attempt(self, operator: &str, args: Value) -> Ready {
        let task = json!({
            "task_id": "load", "operator": operator, "pool": "default_pool", "pool_slots": 1, "queue": "default",
            "priority_weight": 1, "owner": "ann", "do_xcom_push": self.do_xcom_push,
        });
        let task: Task = serde_json::from_value(task).expect("a task");
        let options = Options {
            program: Some(PathBuf::from(env!("CARGO_BIN_EXE_towpath-watchdog"))),
            grace: Duration::from_millis(300),
            ..Options::default()
        };
        let Value::Object(args) = args else { panic!("arguments are an object") };
        let folder = self.folder.path().to_owned();
        let attempt = Attempt::new(
            self.context,
            task,
            args,
            Arc::new(self.answers),
            self.log,
            Arc::new(Supervisor::new(options).expect("the watchdog starts")),
            self.stop,
            folder.clone(),
            folder.clone(),
            folder.join("scratch"),
        );
        Ready { attempt, _folder: self.folder }
    }
}

/// An attempt whose folders go with it.
pub(crate) struct Ready {
    attempt: Attempt,
    _folder: tempfile::TempDir,
}

impl std::ops::Deref for Ready {
    type Target = Attempt;

    fn deref(&self) -> &Attempt {
        &self.attempt
    }
}

pub(crate) fn context() -> Context {
    let logical_date = Utc.with_ymd_and_hms(2024, 3, 5, 7, 8, 9).single().expect("a time");
    let interval = DataInterval { start: logical_date, end: at("2024-03-06T07:08:09Z") };
    let object = |value: Value| value.as_object().cloned().unwrap_or_else(Map::new);
    Context {
        dag_id: "sales".into(),
        dag_description: Some("Sales of a day".into()),
        dag_tags: vec!["etl".into()],
        run_id: "scheduled__2024-03-05T07:08:09+00:00".into(),
        run_type: RunType::Scheduled,
        run_after: logical_date,
        run_start_date: Some(at("2024-03-06T11:00:00Z")),
        logical_date: Some(logical_date),
        data_interval: Some(interval),
        conf: object(json!({"region": "eu", "n": 3})),
        params: object(json!({"carrier": "AA", "flag": true, "none": null, "ids": [1, 2], "deep": {"x": "it's"}})),
        task_id: "load".into(),
        map_index: -1,
        try_number: 1,
        max_tries: 2,
        start_date: at("2024-03-06T11:30:00Z"),
        owner: "ann".into(),
        operator: "bash".into(),
        queue: "default".into(),
        pool: "default_pool".into(),
        priority_weight: 1,
        hostname: "box".into(),
        prev_data_interval_success: None,
        prev_start_date_success: None,
        next_run_after: None,
        native_templates: false,
    }
}
