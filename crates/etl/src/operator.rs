//! The operators `extract`, `transform` and `load`, as workers run them.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use async_trait::async_trait;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};
use towpath_model::etl::{FileFormat, FileSource};
use towpath_model::etl::{Input, Inputs, Manifest, OnError, PLAN, RowsSource, Source, Step, Target, WriteMode};
use towpath_model::staging;
use towpath_operators::attempt::{Attempt, Operator, Outcome, RETURN_VALUE, XComQuery};
use towpath_operators::object_storage;
use towpath_operators::process::{Command, WorkFolder, base_environment};
use towpath_operators::registry::Registry;

use crate::attempt::{ARG, Ended, Order, Told};
use crate::database::Connections;
use crate::error::{Error, Result};
use crate::instance::Instance;
use crate::job::{Job, Output};

/// What the operators have to know of the worker.
#[derive(Debug, Clone)]
pub struct Options {
    /// Where data sets between tasks are kept; all workers and readers see it under this path.
    pub staging: PathBuf,
    /// The program that runs attempts; `None` is the binary that is running.
    pub program: Option<PathBuf>,
}

/// Adds the operators of this crate to those that a worker has.
#[must_use]
pub fn register(registry: Registry, options: &Options) -> Registry {
    let operator = |kind| Arc::new(Etl { kind, options: options.clone() });
    registry
        .with("extract", operator(Kind::Extract))
        .with("transform", operator(Kind::Transform))
        .with("load", operator(Kind::Load))
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Extract,
    Transform,
    Load,
}

#[derive(Debug)]
struct Etl {
    kind: Kind,
    options: Options,
}

#[async_trait]
impl Operator for Etl {
    async fn execute(&self, attempt: &Attempt) -> Outcome {
        match self.run(attempt).await {
            Ok(outcome) => outcome,
            Err(Error { message, retry }) => Outcome::Failed { error: message, retry },
        }
    }
}

impl Etl {
    async fn run(&self, attempt: &Attempt) -> Result<Outcome> {
        let path = attempt.next_scratch();
        let folder =
            WorkFolder::create(&path).map_err(|error| Error::io("create the working folder", &path, &error))?;
        let memory_bytes = attempt.args.get("memory").and_then(Value::as_u64);
        let job = self.job(attempt, folder.path().join("spill"), memory_bytes).await?;
        run_process(&self.options, attempt, &folder, job).await
    }

    async fn job(&self, attempt: &Attempt, scratch: PathBuf, memory_bytes: Option<u64>) -> Result<Job> {
        let args = &attempt.args;
        let steps: Vec<Step> = read(args, "steps")?.unwrap_or_default();
        let mut inputs = Vec::new();
        if self.kind == Kind::Extract {
            let source: Source = read(args, "source")?.ok_or_else(|| Error::lasting("`source` is missing"))?;
            inputs.push(("source".to_owned(), source));
        } else {
            let given: Inputs = read(args, "input")?.ok_or_else(|| Error::lasting("`input` is missing"))?;
            for (name, input) in given.0 {
                inputs.push((name, source_of(input, attempt).await?));
            }
        }
        // What steps read besides the inputs of the task.
        for task in tasks_of_steps(&steps) {
            if !inputs.iter().any(|(name, _)| *name == task) {
                let source = source_of(Input::Task(task.clone()), attempt).await?;
                inputs.push((task, source));
            }
        }
        let output = match self.kind {
            Kind::Load => {
                let target: Target = read(args, "target")?.ok_or_else(|| Error::lasting("`target` is missing"))?;
                check_steps_of_load(&steps)?;
                Output::Target(target)
            }
            Kind::Extract | Kind::Transform => Output::DataSet(location(&self.options, attempt)),
        };
        let target = if let Output::Target(target) = &output { Some(target) } else { None };
        // Other modes write the same again, whoever did so before.
        let counts = |mode| matches!(mode, WriteMode::Append | WriteMode::Error | WriteMode::Ignore);
        let mode = target.map(|target| match target {
            Target::File(file) => file.mode,
            Target::Table(table) => table.mode,
        });
        let instance = if mode.is_some_and(counts) { Instance::of(attempt, owner(attempt)).await? } else { None };
        let connections = Connections::of(attempt, &inputs, &steps, target).await?;
        Ok(Job {
            inputs,
            connections,
            condition: read(args, "where")?,
            columns: read(args, "columns")?.unwrap_or_default(),
            steps,
            sql: read(args, "sql")?,
            output,
            folder: attempt.project_folder.clone(),
            scratch,
            memory_bytes,
            cores: args.get("cores").and_then(Value::as_u64).map(|cores| cores as usize),
            explain: args.get("explain").and_then(Value::as_bool).unwrap_or(false),
            partition_by: read(args, "partition_by")?.unwrap_or_default(),
            rows_to: None,
            owner: owner(attempt),
            instance,
        })
    }
}

/// A folder that no other try has: what a cleared task has left before may still be read.
pub(crate) fn location(options: &Options, attempt: &Attempt) -> PathBuf {
    let context = &attempt.context;
    let id = uuid::Uuid::new_v4().simple().to_string();
    staging::task_folder(&options.staging, &context.dag_id, &context.run_id, &context.task_id, context.map_index)
        .join(format!("try-{}-{}", context.try_number, &id[..8]))
}

/// Runs a job in a process of its own, whose folder is `folder`.
pub(crate) async fn run_process(
    options: &Options,
    attempt: &Attempt,
    folder: &WorkFolder,
    mut job: Job,
) -> Result<Outcome> {
    let memory_bytes = job.memory_bytes;
    // Tasks that are mapped over the rows get them by an XCom: who makes instances reads no files.
    job.rows_to = attempt.rows_are_expanded.then(|| folder.path().join("rows.json"));
    let order = Order { job, result: folder.path().join("result.json") };
    let program = match &options.program {
        Some(program) => program.clone(),
        None => {
            std::env::current_exe().map_err(|error| Error::passing(format!("cannot find this program: {error}")))?
        }
    };
    let command = Command {
        program: program.into(),
        args: vec![ARG.into()],
        env: environment(&order.job),
        cwd: folder.path().to_owned(),
        memory_bytes,
        stdin: Some(serde_json::to_vec(&order).expect("an order is JSON")),
    };
    let exit = attempt.supervisor.run(&command, &attempt.log, &attempt.stop).await;
    let exit = exit.map_err(|error| Error::passing(error.to_string()))?;
    let (ended, plan) = match Told::read(&order.result) {
        Some(Told { ended, plan }) => (Some(ended), plan),
        None => (None, None),
    };
    if let Some(plan) = plan {
        attempt.push_xcom(PLAN, plan);
    }
    match ended {
        Some(Ended::Success(value)) if exit.code == Some(0) => {
            if let Some(path) = order.job.rows_to.filter(|path| path.exists()) {
                let rows = std::fs::read(&path).map_err(|error| Error::io("read", &path, &error))?;
                let rows = serde_json::from_slice(&rows);
                let rows = rows.map_err(|error| Error::passing(format!("the rows cannot be read back: {error}")))?;
                attempt.push_xcom(towpath_model::expand::ROWS, rows);
            }
            Ok(Outcome::Success { value: Some(value) })
        }
        Some(Ended::Failed { error, retry }) => Err(Error { message: error, retry }),
        _ if exit.stopped => Err(Error::passing("the task was told to stop")),
        _ => {
            let how = exit
                .signal
                .map_or_else(|| format!("code {}", exit.code.unwrap_or_default()), |signal| format!("signal {signal}"));
            let hint = match memory_bytes {
                Some(limit) => format!("; it may have {limit} bytes of memory (`memory`), which may be too little"),
                None => "; the machine may have run out of memory, set `memory` to make it use the disk".to_owned(),
            };
            Err(Error::passing(format!("the process of the task ended with {how}{hint}")))
        }
    }
}

/// Which task instance it is, for those who come after it.
pub(crate) fn owner(attempt: &Attempt) -> String {
    let context = &attempt.context;
    format!("{}/{}/{}[{}]", context.dag_id, context.run_id, context.task_id, context.map_index)
}

/// What the process sees of the worker's environment: the credentials of object stores where it needs them.
fn environment(job: &Job) -> BTreeMap<OsString, OsString> {
    let mut found = base_environment(false);
    if job.uses_objects_of_environment() {
        let of_stores = std::env::vars_os().filter(|(name, _)| {
            let name = name.to_string_lossy();
            object_storage::ENVIRONMENT.iter().any(|prefix| name.starts_with(prefix))
        });
        found.extend(of_stores);
    }
    found
}

/// An argument in its type, as it is after rendering.
pub(crate) fn read<T: DeserializeOwned>(args: &Map<String, Value>, name: &str) -> Result<Option<T>> {
    match args.get(name) {
        None | Some(Value::Null) => Ok(None),
        Some(value) => {
            let read = serde_json::from_value(value.clone());
            read.map(Some).map_err(|error| Error::lasting(format!("`{name}`: {error}")))
        }
    }
}

/// A data set that was there.
fn gone(task: &str, location: &str) -> Error {
    Error::lasting(format!(
        "the data set of task `{task}` is not there any more (`{location}`): staging is cleaned some time after the end of a \
         run (`data_keep`); clear task `{task}`, so that it runs again"
    ))
}

/// The tasks that steps name with `with`.
pub(crate) fn tasks_of_steps(steps: &[Step]) -> Vec<String> {
    let mut tasks = Vec::new();
    for step in steps {
        match step {
            Step::Join(join) => {
                if let Input::Task(task) = &join.with {
                    tasks.push(task.clone());
                }
            }
            Step::Union(union) => tasks.extend(union.with.tasks().map(str::to_owned)),
            _ => {}
        }
    }
    tasks
}

/// Rows that are put aside belong to a data set, and a load leaves none.
fn check_steps_of_load(steps: &[Step]) -> Result<()> {
    let rejects = |step: &&Step| matches!(step, Step::Validate(spec) if spec.on_error != OnError::Fail);
    match steps.iter().find(rejects) {
        None => Ok(()),
        Some(_) => Err(Error::lasting(
            "a load has no place for rejected rows: `validate` with `on_error: reject` or `null` belongs into a transform before it",
        )),
    }
}

/// What an input is read from: the data set that a task has left, or the rows that it has returned.
async fn source_of(input: Input, attempt: &Attempt) -> Result<Source> {
    let task = match input {
        Input::Source(source) => return Ok(*source),
        Input::Task(task) => task,
    };
    let upstream = &attempt.task.upstream;
    // In a group the id of a task may be written without the names of its groups.
    let full = upstream.iter().find(|id| **id == task).or_else(|| {
        let suffix = format!(".{task}");
        upstream
            .iter()
            .filter(|id| id.ends_with(&suffix))
            .max_by_key(|id| attempt.context.task_id.chars().zip(id.chars()).take_while(|(a, b)| a == b).count())
    });
    let task_id = full.cloned().unwrap_or_else(|| task.clone());
    let query = XComQuery { dag_id: None, run_id: None, task_id, key: RETURN_VALUE.to_owned(), map_index: None };
    let values = attempt.pull_xcoms(&query).await.map_err(|error| Error::passing(error.to_string()))?;
    if values.is_empty() {
        return Err(Error::lasting(format!(
            "task `{task}` has left no data set in this run; it has to be an extract or a transform, or return rows, and must have run"
        )));
    }
    let mut paths = Vec::with_capacity(values.len());
    let mut format = FileFormat::Parquet;
    let mut rows_of_all: Option<Vec<Map<String, Value>>> = None;
    for value in values {
        if let Ok(manifest) = serde_json::from_value::<Manifest>(value.clone()) {
            if !Path::new(&manifest.location).exists() {
                return Err(gone(&task, &manifest.location));
            }
            paths.push(manifest.location);
            continue;
        }
        // What a load has written.
        if let (Some(Value::String(location)), Some(written)) = (value.get("location"), value.get("format")) {
            format = serde_json::from_value(written.clone()).map_err(|error| Error::lasting(error.to_string()))?;
            paths.push(location.clone());
            continue;
        }
        let rows = match value {
            Value::Array(rows) => {
                rows.into_iter().map(|row| if let Value::Object(row) = row { Some(row) } else { None }).collect()
            }
            _ => None,
        };
        let rows: Option<Vec<_>> = rows;
        rows_of_all.get_or_insert_default().extend(rows.ok_or_else(|| {
            Error::lasting(format!("what task `{task}` has returned is neither a data set nor a list of rows"))
        })?);
    }
    if let Some(rows) = rows_of_all {
        if !paths.is_empty() {
            return Err(Error::lasting(format!("some instances of task `{task}` have left rows, others data sets")));
        }
        return Ok(Source::Rows(RowsSource { rows, columns: Default::default() }));
    }
    Ok(Source::File(FileSource::of(format, paths)))
}
