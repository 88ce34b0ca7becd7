//! The process of an attempt: reads its job from stdin, does it, writes the result to a file.
//!
//! What it prints is the log of the task. The result goes to a file in the scratch folder, since a manifest is no line for people.

use std::io::{Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::error::{Error, Result};
use crate::job::Job;
use crate::measure::{self, Meter};

/// The argument that makes the binary such a process.
pub const ARG: &str = "etl-attempt";

/// What stands on stdin.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Order {
    pub(crate) job: Job,
    /// Where the result goes.
    pub(crate) result: PathBuf,
}

/// How it went.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Ended {
    Success(Value),
    Failed { error: String, retry: bool },
}

/// What the process tells.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Told {
    pub(crate) ended: Ended,
    /// What its steps have done.
    pub(crate) plan: Option<Value>,
}

impl Told {
    pub(crate) fn read(path: &Path) -> Option<Self> {
        serde_json::from_slice(&std::fs::read(path).ok()?).ok()
    }
}

/// Runs the process to its end.
#[must_use]
pub fn main() -> ExitCode {
    let mut text = String::new();
    let order = std::io::stdin().read_to_string(&mut text).map_err(|error| error.to_string());
    let order: Order = match order.and_then(|_| serde_json::from_str(&text).map_err(|error| error.to_string())) {
        Ok(order) => order,
        Err(error) => {
            say(&format!("this process belongs to a worker, which tells it on stdin what to do: {error}"));
            return ExitCode::FAILURE;
        }
    };
    let meter = Arc::new(Meter::default());
    let (ended, code) = match measure::watch(&meter, &say, || run(&order.job, &meter)) {
        Ok(value) => (Ended::Success(value), ExitCode::SUCCESS),
        Err(Error { message, retry }) => (Ended::Failed { error: message, retry }, ExitCode::FAILURE),
    };
    let plan = serde_json::to_value(meter.plan()).expect("a plan is JSON");
    let bytes = serde_json::to_vec(&Told { ended, plan: Some(plan) }).expect("a result is JSON");
    if let Err(error) = std::fs::write(&order.result, bytes) {
        say(&Error::io("write the result to", &order.result, &error).message);
        return ExitCode::FAILURE;
    }
    code
}

fn run(job: &Job, meter: &Arc<Meter>) -> Result<Value> {
    let cores = job.cores.unwrap_or_else(|| std::thread::available_parallelism().map_or(1, std::num::NonZero::get));
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(cores.clamp(1, 64))
        // Reads of what was put aside come in bursts, and each thread's stack counts as memory of the process while the thread waits.
        .thread_keep_alive(Duration::from_millis(100))
        .enable_all()
        .build()
        .map_err(|error| Error::passing(format!("cannot start threads: {error}")))?;
    // What encodes columns side by side keeps to the same number of cores.
    let threads = rayon::ThreadPoolBuilder::new().num_threads(cores.clamp(1, 64)).build_global();
    threads.map_err(|error| Error::passing(format!("cannot start threads: {error}")))?;
    let result = runtime.block_on(job.run_measured(&say, meter));
    // What has failed is held by the meter, which still has to tell what it has done: its readers wait for room, and need not end before
    // the process does.
    runtime.shutdown_background();
    result
}

/// A line of the log.
fn say(text: &str) {
    // Who reads it may be gone, which is no reason to fail.
    let _ = writeln!(std::io::stdout().lock(), "{text}");
}
