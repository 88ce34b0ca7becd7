//! One task, once, without a trace in the store: `towpath tasks test`.

use std::path::PathBuf;
use std::sync::Arc;

use chrono::{DateTime, Utc};
use serde_json::{Map, Value};
use tokio_util::sync::CancellationToken;
use towpath_model::dag::Dag;
use towpath_model::run::{RunType, TriggeredBy, run_id};
use towpath_model::state::RunState;
use towpath_operators::attempt::{Attempt, Outcome, StopReason};
use towpath_operators::log::{Secrets, Sink, TaskLog};
use towpath_store::{RunRecord, TaskKey};

use crate::attempt::{Stop, context, run_operator};
use crate::services::StoreServices;
use crate::{Error, Options};

/// A task to run once.
#[derive(Debug)]
pub struct Once {
    /// The store is only read: XComs, variables and connections come from there.
    pub options: Options,
    pub dag: Arc<Dag>,
    pub task_id: String,
    pub logical_date: DateTime<Utc>,
    pub conf: Map<String, Value>,
    /// The folder of the DAG's file.
    pub dag_folder: PathBuf,
    pub sink: Arc<dyn Sink>,
}

/// Runs one attempt of a task, whatever its upstream did. How it ended and what it pushed; `None`
/// for a task that the DAG does not have.
///
/// # Errors
/// [`Error::Scratch`] when there is no room for scratch files.
pub async fn run_once(once: Once, stop: CancellationToken) -> Result<Option<(Outcome, Map<String, Value>)>, Error> {
    let Some(task) = once.dag.task(&once.task_id).cloned() else { return Ok(None) };
    let options = once.options;
    let folder = &options.scratch_folder;
    std::fs::create_dir_all(folder).map_err(|source| Error::Scratch { folder: folder.clone(), source })?;
    let now = options.clock.now();
    let run = Arc::new(RunRecord {
        key: 0,
        dag_id: once.dag.id().to_owned(),
        run_id: run_id(RunType::Manual, once.logical_date),
        run_type: RunType::Manual,
        state: RunState::Running,
        logical_date: Some(once.logical_date),
        data_interval: Some(once.dag.spec().schedule.manual_interval(once.logical_date)),
        run_after: once.logical_date,
        queued_at: now,
        start_date: Some(now),
        end_date: None,
        conf: once.conf,
        note: None,
        triggered_by: TriggeredBy::Test,
        triggering_user: None,
        version_id: 0,
        version_number: 0,
        queue: None,
    });
    let secrets = Arc::new(Secrets::default());
    let log = TaskLog::new(once.sink, Arc::clone(&options.clock), Arc::clone(&secrets), options.log_limits);
    let services = StoreServices {
        store: options.store.clone(),
        clock: Arc::clone(&options.clock),
        run: Arc::clone(&run),
        task: TaskKey { run_key: run.key, task_id: task.task_id.clone(), map_index: -1 },
        secrets,
    };
    let guard = Stop::new();
    let mut context = context(&once.dag, &task, &run);
    context.hostname.clone_from(&options.job.hostname);
    let mut attempt = Attempt::new(
        context,
        task.clone(),
        task.args.clone(),
        Arc::new(services),
        log.clone(),
        Arc::clone(&options.supervisor),
        guard.token.clone(),
        once.dag_folder,
        options.project_folder.clone(),
        folder.join(format!("test-{}", std::process::id())),
    );
    let outcome = {
        let work = run_operator(&options, &mut attempt, &guard);
        tokio::pin!(work);
        tokio::select! {
            outcome = &mut work => outcome,
            () = stop.cancelled() => {
                guard.stop(StopReason::Cancelled);
                work.await
            }
        }
    };
    log.finish();
    Ok(Some((outcome, attempt.take_xcoms())))
}
