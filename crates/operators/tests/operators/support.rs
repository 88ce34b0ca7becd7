//! An attempt with services that answer from memory.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use chrono::{DateTime, TimeZone, Utc};
use serde_json::{Map, Value, json};
use tokio_util::sync::CancellationToken;
use towpath_model::clock::{Clock, ManualClock, SharedClock};
use towpath_model::connection::Connection;
use towpath_model::dag::Task;
use towpath_model::run::RunType;
use towpath_model::state::{RunState, TaskState};
use towpath_model::timetable::DataInterval;
use towpath_operators::assets::AssetEvent;
use towpath_operators::log::{Limits, Memory, Secrets, TaskLog};
use towpath_operators::process::{Options, Supervisor};
use towpath_operators::runs::{DagStatus, RunOrder, RunRef, RunStatus, Tasks, Triggered};
use towpath_operators::{Attempt, Context, ServiceError, Services, XComQuery};

/// Everything by name; XComs by `task_id/key`.
#[derive(Debug, Default)]
pub(crate) struct Answers {
    pub(crate) variables: HashMap<String, String>,
    pub(crate) connections: HashMap<String, Connection>,
    pub(crate) xcoms: HashMap<String, Vec<Value>>,
    pub(crate) asked: Mutex<Vec<String>>,
    pub(crate) dags: HashMap<String, DagStatus>,
    pub(crate) runs: Mutex<Vec<Run>>,
    /// Earlier tries of the attempt's task instance.
    pub(crate) tries: Vec<(u32, TaskState)>,
    pub(crate) asset_events: Vec<AssetEvent>,
}

/// A run of any DAG.
#[derive(Debug, Clone)]
pub(crate) struct Run {
    pub(crate) dag_id: String,
    pub(crate) logical_date: Option<DateTime<Utc>>,
    pub(crate) conf: Map<String, Value>,
    pub(crate) status: RunStatus,
    pub(crate) tasks: Vec<(String, TaskState)>,
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

    async fn dag(&self, dag_id: &str) -> Result<Option<DagStatus>, ServiceError> {
        Ok(self.dags.get(dag_id).cloned())
    }

    async fn run(&self, dag_id: &str, which: &RunRef) -> Result<Option<RunStatus>, ServiceError> {
        if dag_id == "unreachable" {
            return Err(ServiceError("the store is down".into()));
        }
        let runs = self.runs.lock().expect("no panic");
        let fits = |run: &&Run| match which {
            RunRef::Id(run_id) => run.status.run_id == *run_id,
            RunRef::LogicalDate(date) => run.logical_date == Some(*date),
        };
        Ok(runs.iter().filter(|run| run.dag_id == dag_id).find(fits).map(|run| run.status.clone()))
    }

    async fn task_states(&self, run: &RunStatus, tasks: &Tasks) -> Result<Vec<(String, TaskState)>, ServiceError> {
        let runs = self.runs.lock().expect("no panic");
        let of = runs.iter().find(|known| known.status.key == run.key).expect("it was found before");
        let fits = |(id, _): &&(String, TaskState)| match tasks {
            Tasks::Ids(ids) => ids.contains(id),
            Tasks::Group(group) => id.starts_with(&format!("{group}.")),
        };
        Ok(of.tasks.iter().filter(fits).cloned().collect())
    }

    async fn trigger_run(&self, order: &RunOrder) -> Result<Triggered, ServiceError> {
        if !self.dags.contains_key(&order.dag_id) {
            return Ok(Triggered::Refused(format!("DAG `{}` does not exist", order.dag_id)));
        }
        let mut runs = self.runs.lock().expect("no panic");
        let same = |run: &Run| {
            let same_date = order.logical_date.is_some() && run.logical_date == order.logical_date;
            run.dag_id == order.dag_id && (run.status.run_id == order.run_id || same_date)
        };
        if runs.iter().any(same) {
            return Ok(Triggered::Exists);
        }
        let key = runs.len() as i64;
        runs.push(Run {
            dag_id: order.dag_id.clone(),
            logical_date: order.logical_date,
            conf: order.conf.clone(),
            status: RunStatus {
                key,
                version_id: 1,
                run_id: order.run_id.clone(),
                state: RunState::Queued,
                triggering_user: Some(order.origin.clone()),
            },
            tasks: Vec::new(),
        });
        Ok(Triggered::Created)
    }

    async fn reset_run(&self, run: &RunStatus, origin: &str) -> Result<(), ServiceError> {
        let mut runs = self.runs.lock().expect("no panic");
        let found = runs.iter_mut().find(|it| it.status.key == run.key).expect("the run is there");
        found.status.state = RunState::Queued;
        found.status.triggering_user = Some(origin.to_owned());
        Ok(())
    }

    async fn triggering_asset_events(&self) -> Result<Vec<AssetEvent>, ServiceError> {
        Ok(self.asset_events.clone())
    }

    async fn asset_events(&self, asset: &str) -> Result<Vec<AssetEvent>, ServiceError> {
        Ok(self.asset_events.iter().filter(|event| event.asset.name == asset).cloned().collect())
    }

    async fn past_tries(&self) -> Result<Vec<(u32, TaskState)>, ServiceError> {
        Ok(self.tries.clone())
    }
}

/// A clock that goes with tokio's, which tests may pause.
#[derive(Debug)]
pub(crate) struct TokioClock {
    start: DateTime<Utc>,
    since: tokio::time::Instant,
}

impl TokioClock {
    pub(crate) fn new(start: DateTime<Utc>) -> Self {
        Self { start, since: tokio::time::Instant::now() }
    }
}

impl Clock for TokioClock {
    fn now(&self) -> DateTime<Utc> {
        self.start + self.since.elapsed()
    }
}

/// What an attempt is made of.
pub(crate) struct Fixture {
    /// Shared, so that a test sees what attempts leave and lets another attempt find it.
    pub(crate) answers: Arc<Answers>,
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
        Self::with_clock(Arc::new(ManualClock::new(at("2024-03-06T12:00:00Z"))))
    }

    pub(crate) fn with_clock(clock: SharedClock) -> Self {
        let sink = Arc::new(Memory::default());
        let log = TaskLog::new(sink.clone(), clock, Arc::new(Secrets::new()), Limits::default());
        Self {
            answers: Arc::default(),
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
        self.answers().connections.insert(conn_id.to_owned(), connection);
        self
    }

    /// What the services answer, before they are asked.
    pub(crate) fn answers(&mut self) -> &mut Answers {
        Arc::get_mut(&mut self.answers).expect("there is no attempt yet")
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
            self.answers,
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
        inlets: Vec::new(),
        outlets: Vec::new(),
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
        group: None,
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
        is_resumed: false,
        timezone: chrono_tz::Tz::UTC,
    }
}
