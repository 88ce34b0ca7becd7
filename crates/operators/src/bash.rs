//! The operator `bash`: runs a command; the last line that it prints is its XCom.

use std::ffi::OsString;
use std::io::Write;
use std::path::{Path, PathBuf};

use async_trait::async_trait;
use nix::sys::signal::Signal;
use serde_json::{Map, Value};

use crate::attempt::{Attempt, Failure, Operator, Outcome};
use crate::process::{self, Command, Exit, WorkFolder, base_environment, context_environment};
use crate::template::{Limits, Renderer};

/// The exit code that skips the task where it does not name its own. Airflow's default.
const SKIP_EXIT_CODE: i64 = 99;
/// Linux takes no single argument of 128 KiB or more; a longer command goes through a file.
const LONGEST_ARGUMENT_BYTES: usize = 128 * 1024 - 1;

/// Runs `bash -c`.
#[derive(Debug, Clone, Copy, Default)]
pub struct Bash;

#[async_trait]
impl Operator for Bash {
    async fn execute(&self, attempt: &Attempt) -> Outcome {
        run(attempt).await.unwrap_or_else(Outcome::from)
    }
}

async fn run(attempt: &Attempt) -> Result<Outcome, Failure> {
    let skip_codes = skip_codes(&attempt.args)?;
    let exit = launch(attempt).await?;
    Ok(outcome(attempt, exit, &skip_codes))
}

fn memory_bytes(attempt: &Attempt) -> Option<u64> {
    attempt.args.get("memory").and_then(Value::as_u64)
}

/// Runs the command to its end, with its output in the log.
pub(crate) async fn launch(attempt: &Attempt) -> Result<Exit, Failure> {
    let args = &attempt.args;
    let script = script(attempt).await?;
    let memory_bytes = memory_bytes(attempt);
    let (cwd, _folder) = working_folder(attempt)?;
    let mut env = base_environment(args.get("append_env").and_then(Value::as_bool).unwrap_or(false));
    env.extend(context_environment(&attempt.context));
    env.extend(task_environment(args)?);
    attempt.log.info(&format!("Running command: {script}"));
    let (file, arguments) = arguments(script)?;
    let command = Command { program: "bash".into(), args: arguments, env, cwd, memory_bytes, stdin: None };
    let exit = attempt.supervisor.run(&command, &attempt.log, &attempt.stop).await;
    drop(file);
    let exit = exit.map_err(|error| Failure { error: error.to_string(), retry: may_pass(&error) })?;
    attempt.spent(exit.usage);
    Ok(exit)
}

/// The command, or what the script file that it names holds: as in Airflow, a single word that ends in `.sh` or `.bash` is a template
/// beside the DAG file. Where there is no such file it is a command like any other.
async fn script(attempt: &Attempt) -> Result<String, Failure> {
    let text = attempt.args.get("bash_command").and_then(Value::as_str).unwrap_or_default();
    let word = text.trim();
    if word.is_empty() {
        return Err(Failure::lasting("`bash_command` is empty; write the command to run"));
    }
    let is_file = (word.ends_with(".sh") || word.ends_with(".bash")) && !word.contains(char::is_whitespace);
    if !is_file {
        return Ok(text.to_owned());
    }
    let path = attempt.dag_folder.join(word);
    if !path.is_file() {
        return Ok(text.to_owned());
    }
    let source = std::fs::read_to_string(&path).map_err(|error| Failure {
        error: format!("cannot read the script `{}`: {error}", path.display()),
        retry: true,
    })?;
    let rendered = Renderer::new(attempt, Limits::default()).render(word, &Value::String(source)).await;
    match rendered.map_err(|error| Failure { error: error.to_string(), retry: true })? {
        Value::String(script) => Ok(script),
        other => Ok(other.to_string()),
    }
}

fn skip_codes(args: &Map<String, Value>) -> Result<Vec<i64>, Failure> {
    let wrong = || Failure::lasting("`skip_on_exit_code` must be an exit code or a list of them");
    match args.get("skip_on_exit_code") {
        None => Ok(vec![SKIP_EXIT_CODE]),
        Some(Value::Null) => Ok(Vec::new()),
        Some(Value::Array(codes)) => codes.iter().map(|code| code.as_i64().ok_or_else(wrong)).collect(),
        Some(code) => code.as_i64().map(|code| vec![code]).ok_or_else(wrong),
    }
}

/// `cwd`, relative to the DAG file's folder, or a fresh one that is removed afterwards.
fn working_folder(attempt: &Attempt) -> Result<(PathBuf, Option<WorkFolder>), Failure> {
    match attempt.args.get("cwd").and_then(Value::as_str).filter(|path| !path.is_empty()) {
        Some(path) => {
            let path = attempt.dag_folder.join(path);
            if path.is_dir() {
                return Ok((path, None));
            }
            let what = if path.exists() { "is not a folder" } else { "does not exist" };
            Err(Failure { error: format!("`cwd`: the folder `{}` {what}", path.display()), retry: true })
        }
        None => {
            let path = attempt.next_scratch();
            let folder = WorkFolder::create(&path).map_err(|error| Failure {
                error: format!("cannot create the working folder `{}`: {error}", path.display()),
                retry: true,
            })?;
            Ok((folder.path().to_owned(), Some(folder)))
        }
    }
}

/// The task's own variables. Numbers and the like are written as JSON writes them.
fn task_environment(args: &Map<String, Value>) -> Result<Vec<(OsString, OsString)>, Failure> {
    let mut found = Vec::new();
    for (name, value) in args.get("env").and_then(Value::as_object).into_iter().flatten() {
        let text = match value {
            Value::Null => continue,
            Value::String(text) => text.clone(),
            Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_) => value.to_string(),
        };
        if name.is_empty() || name.contains(['=', '\0']) || text.contains('\0') {
            return Err(Failure::lasting(format!(
                "`env.{name}` cannot be an environment variable: it holds `=` or a NUL"
            )));
        }
        found.push((OsString::from(name), OsString::from(text)));
    }
    Ok(found)
}

/// The arguments of bash, and the file that a very long script is put into.
fn arguments(script: String) -> Result<(Option<tempfile::TempPath>, Vec<OsString>), Failure> {
    if script.contains('\0') {
        return Err(Failure::lasting("`bash_command` holds a NUL character, which no command can"));
    }
    if script.len() < LONGEST_ARGUMENT_BYTES {
        return Ok((None, vec!["-c".into(), script.into()]));
    }
    let write = || {
        let mut file = tempfile::NamedTempFile::new()?;
        file.write_all(script.as_bytes())?;
        Ok::<_, std::io::Error>(file.into_temp_path())
    };
    let path = write()
        .map_err(|error| Failure { error: format!("cannot write the long command to a file: {error}"), retry: true })?;
    let argument = Path::as_os_str(&path).to_owned();
    Ok((Some(path), vec![argument]))
}

/// Whether what kept a process from starting may be over at the next try.
fn may_pass(error: &process::Error) -> bool {
    match error {
        process::Error::NotFound { .. } => false,
        process::Error::Start { .. }
        | process::Error::Folder { .. }
        | process::Error::Lost { .. }
        | process::Error::Watchdog { .. } => true,
    }
}

fn outcome(attempt: &Attempt, exit: Exit, skip_codes: &[i64]) -> Outcome {
    let memory_bytes = memory_bytes(attempt);
    if exit.stopped {
        let how = exit.code.map_or_else(|| "a signal".to_owned(), |code| format!("code {code}"));
        return Outcome::Failed { error: format!("bash was told to stop and ended with {how}"), retry: true };
    }
    if let Some(signal) = exit.signal {
        let name = Signal::try_from(signal).map_or_else(|_| format!("signal {signal}"), |signal| signal.to_string());
        let error = format!("bash was ended by {name}{}", memory_hint(signal, memory_bytes));
        return Outcome::Failed { error, retry: true };
    }
    let code = exit.code.unwrap_or_default();
    attempt.log.info(&format!("Command exited with return code {code}"));
    if skip_codes.contains(&i64::from(code)) {
        return Outcome::Skipped { reason: format!("bash exited with code {code}") };
    }
    if code != 0 {
        // A shell adds 128 to the signal that ended its last command.
        let hint = memory_hint(code - 128, memory_bytes);
        return Outcome::Failed { error: format!("bash exited with code {code}{hint}"), retry: true };
    }
    if !attempt.task.do_xcom_push {
        return Outcome::Success { value: None };
    }
    if exit.last_line_cut {
        let error = "the last line of the output, which is the task's XCom, is longer than 16 MiB; \
            write it to a file and print the path, or set do_xcom_push to false";
        return Outcome::Failed { error: error.to_owned(), retry: false };
    }
    Outcome::Success { value: exit.last_line.filter(|line| !line.is_empty()).map(Value::String) }
}

/// What memory may have to do with it.
fn memory_hint(signal: i32, memory_bytes: Option<u64>) -> String {
    let out_of_memory =
        [Signal::SIGKILL, Signal::SIGSEGV, Signal::SIGABRT, Signal::SIGBUS].iter().any(|s| *s as i32 == signal);
    match memory_bytes {
        Some(limit) if out_of_memory || signal <= 0 => {
            format!("; each of its processes may have {limit} bytes of data memory (`memory`), which may be too little")
        }
        None if signal == Signal::SIGKILL as i32 => "; the machine may have run out of memory".to_owned(),
        _ => String::new(),
    }
}
