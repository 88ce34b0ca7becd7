//! One attempt, from claim to report.

use std::path::PathBuf;
use std::sync::Arc;

use futures::FutureExt as _;
use serde_json::{Map, Value};
use tokio_util::sync::CancellationToken;
use towpath_model::dag::{Dag, Task};
use towpath_model::operator::ArgKind;
use towpath_model::timetable::Bounds;
use towpath_model::{branch, expand, operator, params};
use towpath_operators::attempt::{Attempt, Context, Outcome, StopReason};
use towpath_operators::log::{Secrets, TaskLog};
use towpath_operators::template;
use towpath_store::{ClaimedTask, Evidence, LogKey, Report, ReportOutcome, RunRecord};

use crate::Options;
use crate::evidence;
use crate::log_buffer::LogBuffer;
use crate::map_name;
use crate::outlets;
use crate::services::StoreServices;

/// What stops an attempt, and why it was used.
#[derive(Debug, Clone)]
pub(crate) struct Stop {
    pub(crate) token: CancellationToken,
    reason: Arc<std::sync::OnceLock<StopReason>>,
}

impl Stop {
    pub(crate) fn new() -> Self {
        Self { token: CancellationToken::new(), reason: Arc::default() }
    }

    /// Tells the attempt to end; the first reason stays.
    pub(crate) fn stop(&self, reason: StopReason) {
        // A second reason changes nothing.
        let _ = self.reason.set(reason);
        self.token.cancel();
    }

    fn reason(&self) -> Option<StopReason> {
        self.reason.get().copied()
    }
}

/// Everything that running an attempt takes.
pub(crate) struct Job {
    pub(crate) options: Arc<Options>,
    pub(crate) claimed: ClaimedTask,
    pub(crate) stop: Stop,
    pub(crate) logs: Arc<LogBuffer>,
}

impl Job {
    /// Runs the attempt to its end. Never panics, whatever the operator does.
    pub(crate) async fn run(self) -> Report {
        let clock = Arc::clone(&self.options.clock);
        let secrets = Arc::new(Secrets::default());
        let key = LogKey { task: self.claimed.key.clone(), try_number: self.claimed.try_number };
        let log = TaskLog::new(
            self.logs.sink(key, self.claimed.log_seq),
            Arc::clone(&clock),
            Arc::clone(&secrets),
            self.options.log_limits,
        );
        let mut xcoms = Vec::new();
        let mut asset_extra = Map::new();
        let mut evidence = Evidence::default();
        let run = self.execute(&log, secrets, &mut xcoms, &mut asset_extra, &mut evidence);
        let outcome = match std::panic::AssertUnwindSafe(run).catch_unwind().await {
            Ok(outcome) => outcome,
            Err(panic) => {
                Outcome::Failed { error: format!("the operator panicked: {}", text_of(&*panic)), retry: true }
            }
        };
        let (outcome, note) = self.judge(outcome, &log);
        log.finish();
        Report {
            key: self.claimed.key.clone(),
            attempt: self.claimed.attempt,
            outcome,
            note,
            xcoms,
            asset_extra,
            evidence,
            ended_at: clock.now(),
        }
    }

    async fn execute(
        &self,
        log: &TaskLog,
        secrets: Arc<Secrets>,
        xcoms: &mut Vec<(String, Value)>,
        asset_extra: &mut Map<String, Value>,
        evidence: &mut Evidence,
    ) -> Outcome {
        let dag = match self.options.store.dag_of_version(self.claimed.run.version_id).await {
            Ok(dag) => dag,
            Err(error) => return Outcome::Failed { error: error.to_string(), retry: true },
        };
        let Some(task) = dag.task(&self.claimed.key.task_id) else {
            let error = format!(
                "task `{}` is not in version {} of the DAG",
                self.claimed.key.task_id, self.claimed.run.version_number
            );
            return Outcome::Failed { error, retry: false };
        };
        let dag_folder = self.dag_folder();
        let services = Arc::new(StoreServices {
            store: self.options.store.clone(),
            clock: Arc::clone(&self.options.clock),
            run: Arc::clone(&self.claimed.run),
            task: self.claimed.key.clone(),
            secrets,
        });
        let context = match self.context(&dag, task).await {
            Ok(context) => context,
            Err(error) => return Outcome::Failed { error: error.to_string(), retry: true },
        };
        let args = match mapped_args(task, self.claimed.element.as_ref()) {
            Ok(args) => args,
            Err(error) => return Outcome::Failed { error, retry: false },
        };
        let mut attempt = Attempt::new(
            context,
            task.clone(),
            args,
            services,
            log.clone(),
            Arc::clone(&self.options.supervisor),
            self.stop.token.clone(),
            dag_folder,
            self.options.project_folder.clone(),
            self.options.scratch_folder.join(self.scratch_name()),
        );
        let outcome = run_operator(&self.options, &mut attempt, &self.stop).await;
        *evidence = evidence::of(&attempt, task);
        evidence.map_name = map_name::render(&outcome, &attempt, &self.claimed.key).await;
        let outcome = check_branch(outcome, &dag, &task.task_id);
        let outcome = match outlets::event_extra(&outcome, &attempt).await {
            Ok(extra) => {
                *asset_extra = extra;
                outcome
            }
            Err(error) => Outcome::Failed { error, retry: true },
        };
        for (key, value) in attempt.take_xcoms() {
            xcoms.push((key, value));
        }
        let limit = self.options.xcom_max_bytes;
        match push_return_value(outcome, task, xcoms, limit) {
            Ok(outcome) => outcome,
            Err(error) => {
                xcoms.clear();
                Outcome::Failed { error, retry: false }
            }
        }
    }

    /// A name that no other attempt has: those that were claimed together share their token.
    fn scratch_name(&self) -> String {
        static NEXT: std::sync::atomic::AtomicU64 = std::sync::atomic::AtomicU64::new(0);
        let number = NEXT.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        format!("{:016x}-{number}", self.claimed.attempt)
    }

    /// How the attempt counts, and the text that explains it.
    fn judge(&self, outcome: Outcome, log: &TaskLog) -> (ReportOutcome, Option<String>) {
        let stopped = self.stop.reason();
        match (outcome, stopped) {
            (Outcome::Success { .. }, _) => (ReportOutcome::Success, None),
            (Outcome::Branch { skips, .. }, _) => (ReportOutcome::Branched { skips }, None),
            (Outcome::Skipped { reason }, _) => {
                log.info(&format!("Skipped: {reason}"));
                (ReportOutcome::Skipped, Some(reason))
            }
            (Outcome::Reschedule { at }, _) => (ReportOutcome::Rescheduled { at }, None),
            (Outcome::Failed { .. }, Some(reason)) => {
                let why = match reason {
                    StopReason::Timeout => "execution_timeout has passed".to_owned(),
                    StopReason::Cancelled => "it was cancelled".to_owned(),
                    StopReason::Shutdown => "its worker shut down".to_owned(),
                    StopReason::Lost => "its worker has lost its lease".to_owned(),
                };
                log.error(&format!("Task failed: {why}"));
                (ReportOutcome::Failed { retry: true }, Some(why))
            }
            (Outcome::Failed { error, retry }, None) => {
                log.error(&format!("Task failed: {error}"));
                (ReportOutcome::Failed { retry }, Some(error))
            }
        }
    }

    /// The folder of the file that the DAG version came from.
    fn dag_folder(&self) -> PathBuf {
        let path = self.options.dags_folder.join(&*self.claimed.file);
        path.parent().map_or_else(|| self.options.dags_folder.clone(), std::path::Path::to_path_buf)
    }

    async fn context(&self, dag: &Dag, task: &Task) -> Result<Context, towpath_store::Error> {
        let options = &self.options;
        claimed_context(&options.store, &options.job.hostname, &self.claimed, dag, task).await
    }
}

/// The context of a claimed attempt.
pub(crate) async fn claimed_context(
    store: &towpath_store::Store,
    hostname: &str,
    claimed: &ClaimedTask,
    dag: &Dag,
    task: &Task,
) -> Result<Context, towpath_store::Error> {
    let run = &claimed.run;
    let previous = if asks_for_previous(task) { store.previous_success(run).await? } else { None };
    Ok(Context {
        map_index: claimed.key.map_index,
        try_number: claimed.try_number,
        max_tries: claimed.max_tries,
        start_date: claimed.start_date,
        is_resumed: claimed.is_resumed,
        hostname: hostname.to_owned(),
        prev_data_interval_success: previous.as_ref().and_then(|run| run.data_interval),
        prev_start_date_success: previous.as_ref().and_then(|run| run.start_date),
        group: claimed.element.clone().filter(|_| task.map_group.is_some()),
        ..context(dag, task, run)
    })
}

/// The context of a task's first try, without what only a worker knows.
pub(crate) fn context(dag: &Dag, task: &Task, run: &RunRecord) -> Context {
    let mut resolved = params::resolve(&dag.spec().params, &run.conf);
    resolved.extend(params::resolve(&task.params, &run.conf));
    Context {
        dag_id: run.dag_id.clone(),
        dag_description: dag.spec().description.clone(),
        dag_tags: dag.spec().tags.clone(),
        run_id: run.run_id.clone(),
        run_type: run.run_type,
        run_after: run.run_after,
        run_start_date: run.start_date,
        logical_date: run.logical_date,
        data_interval: run.data_interval,
        conf: run.conf.clone(),
        params: resolved,
        group: None,
        task_id: task.task_id.clone(),
        map_index: -1,
        try_number: 1,
        max_tries: task.retry.retries,
        start_date: run.start_date.unwrap_or(run.queued_at),
        is_resumed: false,
        timezone: dag.spec().timezone,
        owner: task.owner.clone(),
        operator: task.operator.clone(),
        queue: run.queue.clone().unwrap_or_else(|| task.queue.clone()),
        pool: task.pool.clone(),
        priority_weight: task.priority_weight,
        hostname: String::new(),
        prev_data_interval_success: None,
        prev_start_date_success: None,
        next_run_after: (task.operator == "latest_only").then(|| next_run_after(dag, run)).flatten(),
        inlets: task.inlets.clone(),
        outlets: task.outlets.iter().map(|outlet| outlet.asset.clone()).collect(),
        native_templates: dag.spec().render_template_as_native_obj,
    }
}

/// When the schedule's next run after `run` is due.
fn next_run_after(dag: &Dag, run: &RunRecord) -> Option<chrono::DateTime<chrono::Utc>> {
    let spec = dag.spec();
    let bounds = Bounds { start_date: spec.start_date, end_date: spec.end_date, catchup: true };
    let last = run.data_interval?;
    spec.schedule.next_run(Some(last), &bounds, run.run_after).map(|next| next.run_after)
}

/// The arguments of a task, with its element where it is mapped.
fn mapped_args(task: &Task, element: Option<&Map<String, Value>>) -> Result<Map<String, Value>, String> {
    match (element, operator::find(&task.operator)) {
        (Some(element), Some(spec)) if task.map_group.is_some() => {
            let mut args = task.args.clone();
            for (name, value) in &mut args {
                if spec.arg(name).is_some_and(|arg| matches!(arg.kind, ArgKind::Map | ArgKind::List | ArgKind::Any)) {
                    fill_in(value, element);
                }
            }
            Ok(args)
        }
        (Some(element), Some(spec)) => expand::apply(spec, &task.args, element),
        _ => Ok(task.args.clone()),
    }
}

/// Puts values of the element of a mapped group in place of texts that are nothing but their names, so that
/// they keep their types. What is itself a template is left to be rendered as text, and once only.
fn fill_in(value: &mut Value, element: &Map<String, Value>) {
    match value {
        Value::String(text) => {
            let inner = text.trim().strip_prefix("{{").and_then(|text| text.strip_suffix("}}"));
            let name = inner.and_then(|name| name.trim().strip_prefix("group."));
            if let Some(found) = name.and_then(|name| element.get(name)).filter(|found| !template::has_template(found))
            {
                *value = found.clone();
            }
        }
        Value::Array(items) => items.iter_mut().for_each(|item| fill_in(item, element)),
        Value::Object(map) => map.values_mut().for_each(|item| fill_in(item, element)),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

/// A branch that names what the DAG does not have has failed.
fn check_branch(outcome: Outcome, dag: &Dag, task_id: &str) -> Outcome {
    if let Outcome::Branch { skips, .. } = &outcome
        && let Some(index) = dag.index_of(task_id)
        && let Err(error) = branch::skipped(dag, index, skips)
    {
        return Outcome::Failed { error: error.to_string(), retry: false };
    }
    outcome
}

/// Renders the arguments and lets the operator work, no longer than `execution_timeout`.
pub(crate) async fn run_operator(options: &Options, attempt: &mut Attempt, stop: &Stop) -> Outcome {
    // Those of the DAG were checked when the run was made.
    if let Err(errors) = params::check(&attempt.task.params, &attempt.context.conf) {
        return Outcome::Failed { error: params::listed(&errors), retry: false };
    }
    let Some(operator) = options.registry.get(&attempt.task.operator) else {
        let error = format!("this worker has no operator `{}`", attempt.task.operator);
        return Outcome::Failed { error, retry: true };
    };
    let Some(spec) = towpath_model::operator::find(&attempt.task.operator) else {
        let error = format!("there is no operator `{}`", attempt.task.operator);
        return Outcome::Failed { error, retry: false };
    };
    let args = std::mem::take(&mut attempt.args);
    let limits = template::Limits::default();
    match template::render_args(&attempt.context, &attempt.services, &attempt.log, limits, spec, args).await {
        Ok(args) => attempt.args = args,
        Err(error) => return Outcome::Failed { error: error.to_string(), retry: true },
    }
    let work = operator.execute(attempt);
    let Some(timeout) = attempt.task.execution_timeout else { return work.await };
    tokio::pin!(work);
    tokio::select! {
        outcome = &mut work => outcome,
        () = tokio::time::sleep(timeout) => {
            attempt.log.error(&format!("execution_timeout of {} has passed", towpath_model::duration::humanize(timeout)));
            stop.stop(StopReason::Timeout);
            match work.await {
                // It ended well in the very moment.
                outcome @ (Outcome::Success { .. } | Outcome::Branch { .. }) => outcome,
                _ => Outcome::Failed { error: "execution_timeout has passed".into(), retry: true },
            }
        }
    }
}

/// Turns the returned value into an XCom, and checks what has been pushed against the limit.
fn push_return_value(
    outcome: Outcome,
    task: &Task,
    xcoms: &mut Vec<(String, Value)>,
    limit: usize,
) -> Result<Outcome, String> {
    let mut outcome = outcome;
    if let Outcome::Success { value } | Outcome::Branch { value, .. } = &mut outcome
        && let Some(value) = value.take()
        && task.do_xcom_push
        && !value.is_null()
    {
        xcoms.push((towpath_operators::attempt::RETURN_VALUE.to_owned(), value));
    }
    for (key, value) in xcoms.iter() {
        let bytes = json_bytes(value);
        if bytes > limit {
            return Err(format!(
                "XCom `{key}` has {bytes} bytes of JSON; at most {limit} are allowed (`xcom_max_bytes`): \
                 write the data to a file or table and push its place"
            ));
        }
    }
    Ok(outcome)
}

/// The length of a value's JSON, without making it.
fn json_bytes(value: &Value) -> usize {
    struct Count(usize);
    impl std::io::Write for Count {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0 += bytes.len();
            Ok(bytes.len())
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }
    let mut count = Count(0);
    serde_json::to_writer(&mut count, value).expect("a JSON value is JSON, and counting cannot fail");
    count.0
}

/// Whether the task may look at the run before it: the question costs a query.
fn asks_for_previous(task: &Task) -> bool {
    matches!(task.operator.as_str(), "python" | "python_sensor" | "branch" | "short_circuit")
        || Value::Object(task.args.clone()).to_string().contains("prev_")
}

fn text_of(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_else(|| "no message".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_over_the_limit_is_named() {
        let task = Task::new("t", "bash");
        let ok = Outcome::Success { value: Some(Value::from("x".repeat(8))) };
        let mut xcoms = Vec::new();
        assert!(push_return_value(ok.clone(), &task, &mut xcoms, 10).is_ok());
        assert_eq!(xcoms[0].0, "return_value");
        let error = push_return_value(ok, &task, &mut Vec::new(), 9).unwrap_err();
        assert!(error.contains("`return_value` has 10 bytes"), "{error}");
    }

    #[test]
    fn values_of_a_group_keep_their_types() {
        let element = serde_json::json!({"n": 3, "rows": [1, 2], "odd": "{{ var.value.x }}"});
        let element = element.as_object().unwrap();
        let mut value = serde_json::json!({"a": "{{ group.n }}", "b": ["{{group.rows}}", "n is {{ group.n }}"], "c": "{{ group.odd }}", "d": "{{ group.no }}"});
        fill_in(&mut value, element);
        let expected = serde_json::json!({"a": 3, "b": [[1, 2], "n is {{ group.n }}"], "c": "{{ group.odd }}", "d": "{{ group.no }}"});
        assert_eq!(value, expected);
    }

    #[test]
    fn the_first_reason_to_stop_stays() {
        let stop = Stop::new();
        assert_eq!(stop.reason(), None);
        stop.stop(StopReason::Timeout);
        stop.stop(StopReason::Shutdown);
        assert_eq!(stop.reason(), Some(StopReason::Timeout));
    }
}
