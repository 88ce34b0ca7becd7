//! What a Python task costs: a chain of 40 that compute `fibonacci(10)`, and many at once.
//!
//! `cargo run --release -p towpath-operators --example python_cost -- 400 4`: 400 attempts, four at a time, after the
//! chain. Beside it, what starting the interpreter for each would cost.

#![expect(clippy::print_stdout, reason = "it prints what it has measured")]

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;
use towpath_model::clock::SystemClock;
use towpath_model::connection::Connection;
use towpath_model::state::TaskState;
use towpath_operators::log::{Limits, Memory, Secrets, TaskLog};
use towpath_operators::process::{self, Supervisor};
use towpath_operators::python::{Options, PythonOperator};
use towpath_operators::runs::{DagStatus, RunOrder, RunRef, RunStatus, Tasks, Triggered};
use towpath_operators::{Attempt, Operator, Outcome, ServiceError, Services, XComQuery};

/// There is nothing to ask for.
#[derive(Debug)]
struct NoServices;

#[async_trait]
impl Services for NoServices {
    async fn xcoms(&self, _: &XComQuery) -> Result<Vec<Value>, ServiceError> {
        Ok(Vec::new())
    }
    async fn variable(&self, _: &str) -> Result<Option<String>, ServiceError> {
        Ok(None)
    }
    async fn set_variable(&self, _: &str, _: Option<&str>) -> Result<(), ServiceError> {
        Ok(())
    }
    async fn connection(&self, _: &str) -> Result<Option<Connection>, ServiceError> {
        Ok(None)
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
}

fn attempt(folder: &Path, supervisor: &Arc<Supervisor>, number: usize) -> Attempt {
    let sink = Arc::new(Memory::default());
    let context = json!({
        "dag_id": "cost", "dag_description": null, "dag_tags": [], "run_id": "manual__1", "run_type": "manual",
        "run_after": "2024-01-01T00:00:00Z", "run_start_date": null, "logical_date": "2024-01-01T00:00:00Z",
        "data_interval": null, "conf": {}, "params": {}, "task_id": "fib", "map_index": -1, "try_number": 1, "max_tries": 1,
        "start_date": "2024-01-01T00:00:00Z", "owner": "me", "operator": "python", "queue": "default",
        "pool": "default_pool", "priority_weight": 1, "hostname": "here", "prev_data_interval_success": null,
        "prev_start_date_success": null, "native_templates": false,
    });
    let task = json!({
        "task_id": "fib", "operator": "python", "pool": "default_pool", "pool_slots": 1, "queue": "default",
        "priority_weight": 1, "owner": "me",
    });
    let Value::Object(args) = json!({"python_callable": "cost_fib.run", "op_args": [10]}) else { unreachable!() };
    Attempt::new(
        serde_json::from_value(context).expect("a context"),
        serde_json::from_value(task).expect("a task"),
        args,
        Arc::new(NoServices),
        TaskLog::new(sink, Arc::new(SystemClock), Arc::new(Secrets::new()), Limits::default()),
        Arc::clone(supervisor),
        CancellationToken::new(),
        folder.to_owned(),
        folder.to_owned(),
        folder.join(format!("scratch-{number}")),
    )
}

fn main() {
    let mut args = std::env::args().skip(1).map(|arg| arg.parse::<usize>().expect("a number"));
    let (count, parallel) = (args.next().unwrap_or(400), args.next().unwrap_or(4));
    let folder = tempfile::tempdir().expect("a folder");
    let source = "def fib(n):\n    return n if n < 2 else fib(n - 1) + fib(n - 2)\n\ndef run(n):\n    return fib(n)\n";
    std::fs::write(folder.path().join("cost_fib.py"), source).expect("written");
    let watchdog = std::env::current_exe().expect("a path").with_file_name("../towpath-watchdog");
    let options = process::Options { program: Some(watchdog), ..process::Options::default() };
    let supervisor = Arc::new(Supervisor::new(options).expect("build the binary towpath-watchdog first"));
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    runtime.expect("a runtime").block_on(async {
        let operator = Arc::new(PythonOperator::new(Options::default()));
        let start = Instant::now();
        operator.prewarm(None).await.expect("there is a python3");
        println!("interpreter  {:>8.1} ms to start", start.elapsed().as_secs_f64() * 1e3);
        let start = Instant::now();
        for number in 0..40 {
            let outcome = operator.execute(&attempt(folder.path(), &supervisor, number)).await;
            assert_eq!(outcome, Outcome::Success { value: Some(json!(55)) });
        }
        each("chain of 40", start.elapsed(), 40);
        let (start, next) = (Instant::now(), Arc::new(AtomicUsize::new(0)));
        let mut tasks = tokio::task::JoinSet::new();
        for _ in 0..parallel {
            let (operator, supervisor, next) = (Arc::clone(&operator), Arc::clone(&supervisor), Arc::clone(&next));
            let folder = folder.path().to_owned();
            tasks.spawn(async move {
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    if number >= count {
                        return;
                    }
                    let outcome = operator.execute(&attempt(&folder, &supervisor, number)).await;
                    assert_eq!(outcome, Outcome::Success { value: Some(json!(55)) });
                }
            });
        }
        while let Some(done) = tasks.join_next().await {
            done.expect("no panic");
        }
        each(&format!("{parallel} at a time"), start.elapsed(), count);
        operator.shutdown().await;
    });
}

fn each(name: &str, time: Duration, count: usize) {
    println!("{name:<12} {:>8.2} ms each, {:.3} s in all", time.as_secs_f64() * 1e3 / count as f64, time.as_secs_f64());
}
