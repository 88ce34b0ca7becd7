//! The `python` operator: a function, or a few lines of code, in a process of its own.
//!
//! Starting a Python interpreter takes longer than most tasks, so for each interpreter there is a *zygote*: a
//! process that has started it, with the runner (`runner/*.py`) loaded, and that forks a child per attempt. A child
//! leads a process group of its own and imports the task's module anew, so edited code is picked up.
//!
//! ```text
//! worker --- socket: run (with 3 descriptors), signal / started, ended --- zygote
//!   |                                                                        | fork
//!   +------- socket: job, replies / output, log records, questions, result - child
//!   +------- pipes: what subprocesses and C code print to 1 and 2 ---------- child
//! ```
//!
//! Invariants:
//! - The job is sent when the child's group is known to the watchdog; a child without a job ends by itself. So no code of a
//!   task runs unwatched, and a zygote that dies before it has forked can be replaced without running a task twice.
//! - When the worker is gone the zygote sees the end of its socket, kills what it has forked and ends.
//! - When a zygote is gone its children are killed and their attempts fail, to be tried again; the next attempt starts
//!   another one.
//! - Signals go through the zygote, which reaps, so that none reaches a group that has got the number of one that is gone.
//!
//! What tasks can import (`airflow...`, `towpath`) is listed in `runner/shim.py`, which values can be XComs in
//! `runner/xcom.py`.

mod conversation;
mod interpreter;
mod protocol;
mod services;
mod zygote;

use std::collections::{BTreeMap, HashMap};
use std::ffi::OsStr;
use std::io;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use chrono::Utc;
use nix::errno::Errno;
use nix::sys::signal::Signal;
use serde_json::Value;
use tokio::net::UnixStream;
use tokio::net::unix::pipe;

use crate::attempt::{Attempt, Operator, Outcome};
use crate::data_sets::{DataSets, Draft, Left};
use crate::process::{WorkFolder, base_environment, context_environment};
use conversation::{Conversation, End, Finished, Stopping};
use protocol::{Job, Report, XCOM_LIMIT_BYTES};
use zygote::Zygote;

/// The interpreter of tasks that name none, unless this environment variable of the worker names another.
pub const INTERPRETER_VARIABLE: &str = "TOWPATH_PYTHON";
/// How often an attempt may meet a zygote that has just died.
const MAX_STARTS: usize = 3;

/// Why there is no process for a task.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error(
        "there is no Python interpreter `{name}`; looked in {looked}. `python` is an interpreter's path or name, or the folder of a virtual environment"
    )]
    NoInterpreter { name: String, looked: String },
    #[error("the Python interpreter `{}` cannot be used: {reason}", path.display())]
    Start { path: PathBuf, reason: String },
    #[error("the Python interpreter `{}` keeps dying before it can start a task", path.display())]
    KeepsDying { path: PathBuf },
    #[error("cannot open a channel to a Python process: {0}")]
    Channel(#[from] io::Error),
    #[error("cannot start a Python process: {0}; the limit of processes or of memory is reached")]
    Fork(Errno),
    #[error("cannot create the working directory `{}`: {source}", folder.display())]
    Scratch { folder: PathBuf, source: io::Error },
    #[error("`env.{name}` cannot be an environment variable: it holds `=` or a NUL, or has no name")]
    Environment { name: String },
    #[error("the task's arguments cannot be sent to its process: {0}")]
    Job(String),
}

impl Error {
    /// Whether another try may go better.
    fn may_pass(&self) -> bool {
        match self {
            Self::NoInterpreter { .. } | Self::Environment { .. } | Self::Job(_) => false,
            Self::Start { .. } | Self::KeepsDying { .. } | Self::Channel(_) | Self::Fork(_) | Self::Scratch { .. } => {
                true
            }
        }
    }
}

/// How a [`PythonOperator`] works.
#[derive(Debug, Clone)]
pub struct Options {
    /// The interpreter of tasks that name none: a path, a command, or the folder of a virtual environment.
    pub interpreter: String,
    /// How long an interpreter may take to start.
    pub start_limit: Duration,
    /// An interpreter without work for so long is ended; the next task that wants it starts it again.
    pub idle: Duration,
    /// Who publishes the frames and files that tasks return; without it they are values like any other.
    pub data_sets: Option<Arc<dyn DataSets>>,
}

impl Default for Options {
    fn default() -> Self {
        let interpreter = std::env::var(INTERPRETER_VARIABLE).ok().filter(|name| !name.is_empty());
        Self {
            interpreter: interpreter.unwrap_or_else(|| "python3".to_owned()),
            start_limit: Duration::from_secs(30),
            idle: Duration::from_secs(600),
            data_sets: None,
        }
    }
}

/// The place of a zygote. Locked while one is started, so that attempts wait for it and do not start more.
type Slot = Arc<tokio::sync::Mutex<Option<Arc<Zygote>>>>;

/// Runs tasks in children of warm interpreters.
#[derive(Debug, Default)]
pub struct PythonOperator {
    options: Options,
    slots: Mutex<HashMap<PathBuf, Slot>>,
}

impl PythonOperator {
    /// No interpreter is started until a task needs one.
    #[must_use]
    pub fn new(options: Options) -> Self {
        Self { options, slots: Mutex::default() }
    }

    /// Starts an interpreter (`None`: the default one) before a task needs it. Relative paths are looked
    /// for in the current folder.
    ///
    /// # Errors
    /// [`Error::NoInterpreter`] and [`Error::Start`].
    pub async fn prewarm(&self, interpreter: Option<&str>) -> Result<(), Error> {
        let here = std::env::current_dir()?;
        let path = self.interpreter(interpreter, &[&here])?;
        self.zygote(&path).await.map(drop)
    }

    /// The processes of the interpreters that are running.
    pub async fn zygotes(&self) -> Vec<i32> {
        let mut pids = Vec::new();
        for slot in self.all_slots() {
            pids.extend(slot.lock().await.as_ref().filter(|zygote| zygote.is_open()).map(|zygote| zygote.pid()));
        }
        pids
    }

    /// Ends all interpreters and the attempts that are still running in them. A later attempt starts one again.
    pub async fn shutdown(&self) {
        for slot in self.all_slots() {
            let zygote = slot.lock().await.take();
            if let Some(zygote) = zygote {
                zygote.close().await;
            }
        }
    }

    fn all_slots(&self) -> Vec<Slot> {
        self.slots.lock().unwrap_or_else(PoisonError::into_inner).values().cloned().collect()
    }

    fn interpreter(&self, name: Option<&str>, folders: &[&Path]) -> Result<PathBuf, Error> {
        let name = name.filter(|name| !name.is_empty()).unwrap_or(&self.options.interpreter);
        interpreter::resolve(name, std::env::var_os("PATH").as_deref(), folders)
    }

    async fn zygote(&self, path: &Path) -> Result<Arc<Zygote>, Error> {
        let slot = {
            let mut slots = self.slots.lock().unwrap_or_else(PoisonError::into_inner);
            Arc::clone(slots.entry(path.to_owned()).or_default())
        };
        let mut slot = slot.lock().await;
        if let Some(zygote) = slot.as_ref().filter(|zygote| zygote.is_open()) {
            return Ok(Arc::clone(zygote));
        }
        let zygote = Arc::new(Zygote::start(path, self.options.start_limit, self.options.idle).await?);
        *slot = Some(Arc::clone(&zygote));
        Ok(zygote)
    }

    async fn run(&self, attempt: &Attempt, draft: Option<&Draft>) -> Result<(Finished, Option<WorkFolder>), Error> {
        let folders = [attempt.dag_folder.as_path(), attempt.project_folder.as_path()];
        let path = self.interpreter(attempt.args.get("python").and_then(Value::as_str), &folders)?;
        let (cwd, folder) = working_folder(attempt)?;
        let mut job = protocol::message(&Job {
            context: &attempt.context,
            task: &attempt.task,
            args: &attempt.args,
            env: environment(attempt)?,
            cwd: &cwd,
            dag_folder: &attempt.dag_folder,
            project_folder: &attempt.project_folder,
            xcom_limit_bytes: XCOM_LIMIT_BYTES,
            draft: draft.map(|draft| draft.folder.as_path()),
        })
        .map_err(Error::Job)?;
        for _ in 0..MAX_STARTS {
            let zygote = self.zygote(&path).await?;
            let (control, their_control) = std::os::unix::net::UnixStream::pair()?;
            control.set_nonblocking(true)?;
            let (stdout, their_stdout) = io::pipe()?;
            let (stderr, their_stderr) = io::pipe()?;
            let theirs = [their_control.into(), their_stdout.into(), their_stderr.into()];
            let Some((handle, events)) = zygote.fork(Arc::clone(&attempt.supervisor), theirs).await else { continue };
            let control = UnixStream::from_std(control)?;
            let stdout = pipe::Receiver::from_owned_fd(stdout.into())?;
            let stderr = pipe::Receiver::from_owned_fd(stderr.into())?;
            let finished;
            (finished, job) = Conversation::new(attempt, handle, control, stdout, stderr, job).run(events).await;
            match finished.end {
                End::NotStarted if finished.stopping == Stopping::No => {}
                End::Refused { errno } => return Err(Error::Fork(Errno::from_raw(errno))),
                End::NotStarted | End::Exited(_) | End::Orphaned { .. } => return Ok((finished, folder)),
            }
        }
        Err(Error::KeepsDying { path })
    }
}

#[async_trait]
impl Operator for PythonOperator {
    async fn execute(&self, attempt: &Attempt) -> Outcome {
        if attempt.stop.is_cancelled() {
            return failed("the task was stopped before it had started");
        }
        // Branches and sensors call functions, too, whose values decide and are no data.
        let data_sets = self.options.data_sets.as_ref();
        let data_sets = data_sets.filter(|_| attempt.task.operator == "python" && attempt.task.do_xcom_push);
        let draft = data_sets.map(|data_sets| data_sets.draft(attempt));
        // What the task has left may lie in its working folder, so that stays until it is published.
        let outcome = match self.run(attempt, draft.as_ref()).await {
            Ok((finished, _folder)) => match (data_sets, &draft, left(&finished)) {
                (Some(data_sets), Some(draft), Some(left)) => data_sets.publish(attempt, draft, left).await,
                _ => outcome(finished, attempt),
            },
            Err(error) => Outcome::Failed { error: error.to_string(), retry: error.may_pass() },
        };
        if let Some(draft) = draft {
            draft.discard().await;
        }
        outcome
    }
}

/// The folder that a task works in: its own, or a fresh one that is removed when it has ended.
fn working_folder(attempt: &Attempt) -> Result<(PathBuf, Option<WorkFolder>), Error> {
    if let Some(given) = attempt.args.get("cwd").and_then(Value::as_str).filter(|cwd| !cwd.is_empty()) {
        return Ok((attempt.dag_folder.join(given), None));
    }
    let path = attempt.next_scratch();
    let folder = WorkFolder::create(&path).map_err(|source| Error::Scratch { folder: path, source })?;
    Ok((folder.path().to_owned(), Some(folder)))
}

/// The task's whole environment. Values of `env` that are no text are written as JSON writes them.
fn environment(attempt: &Attempt) -> Result<BTreeMap<String, String>, Error> {
    let append = attempt.args.get("append_env").and_then(Value::as_bool).unwrap_or(false);
    let mut env = base_environment(append);
    env.extend(context_environment(&attempt.context));
    for (name, value) in attempt.args.get("env").and_then(Value::as_object).into_iter().flatten() {
        let value = match value {
            Value::Null => continue,
            Value::String(text) => text.clone(),
            Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_) => value.to_string(),
        };
        if name.is_empty() || name.contains(['=', '\0']) || value.contains('\0') {
            return Err(Error::Environment { name: name.clone() });
        }
        env.insert(name.into(), value.into());
    }
    let text = |text: &OsStr| text.to_string_lossy().into_owned();
    Ok(env.iter().map(|(name, value)| (text(name), text(value))).collect())
}

/// The data set that a process has left, if it has ended well.
fn left(finished: &Finished) -> Option<Left> {
    match &finished.report {
        Some(Report::DataSet { paths, format }) if finished.problem.is_none() => Some(match format {
            Some(format) => Left::Files { paths: paths.clone(), format: format.clone() },
            None => Left::Draft,
        }),
        _ => None,
    }
}

fn outcome(finished: Finished, attempt: &Attempt) -> Outcome {
    if let Some(problem) = finished.problem {
        return failed(format!("the Python process was killed because it has sent {problem}"));
    }
    let stopped = match finished.stopping {
        Stopping::No => None,
        Stopping::Asked => Some("the task was stopped".to_owned()),
        Stopping::Killed | Stopping::ZygoteKilled => Some(format!(
            "the task was stopped; it had to be killed because it did not end within {} s after SIGTERM",
            attempt.supervisor.grace().as_secs_f64()
        )),
    };
    match (finished.report, finished.end) {
        (Some(Report::Success { value }), _) => Outcome::Success { value },
        (Some(Report::DataSet { .. }), _) => failed("the task has returned a data set, which nobody here can publish"),
        (Some(Report::Skipped { reason }), _) => {
            Outcome::Skipped { reason: attempt.log.secrets().mask(&reason).into_owned() }
        }
        (Some(Report::Reschedule { at }), _) => Outcome::Reschedule { at: at.with_timezone(&Utc) },
        (Some(Report::Failed { error, retry }), _) => match stopped {
            Some(error) => failed(error),
            None => Outcome::Failed { error: attempt.log.secrets().mask(&error).into_owned(), retry },
        },
        (None, end) => failed(stopped.unwrap_or_else(|| unreported(&end))),
    }
}

/// Why a process has ended without a word.
fn unreported(end: &End) -> String {
    match end {
        End::Exited(status) => match (status.code(), status.signal()) {
            (Some(code), _) => {
                format!("the Python process ended with exit code {code} before the task's code had returned, as os._exit does")
            }
            (None, Some(libc::SIGKILL)) => {
                "the Python process was killed by SIGKILL; the machine may have run out of memory (`memory` limits a task)"
                    .to_owned()
            }
            (None, signal) => {
                let name = signal.and_then(|signal| Signal::try_from(signal).ok()).map_or("a signal", Signal::as_str);
                format!("the Python process was ended by {name} before the task's code had returned")
            }
        },
        End::Orphaned { epitaph } => {
            format!("the interpreter that had started the task's process has died, and the process was ended ({epitaph})")
        }
        End::Refused { .. } | End::NotStarted => "the Python process was not started".to_owned(),
    }
}

fn failed(error: impl Into<String>) -> Outcome {
    Outcome::Failed { error: error.into(), retry: true }
}
