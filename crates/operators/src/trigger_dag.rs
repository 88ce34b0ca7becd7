//! The operator `trigger_dag`: starts a run of another DAG and, if asked to, waits for its end.
//!
//! A worker may die at any instruction, and the task must not start two runs for that. So the id of the run is made from the task
//! instance and its try, and the run keeps the try that asked for it ([`RunOrder::origin`]). What is found under that id
//! and from that try, or from an earlier try that did not end well, is this task's own run. A retry after the
//! run itself has failed starts another one, as does a task that was cleared after it had succeeded.
//!
//! Waiting holds neither a process nor a slot: the task is rescheduled, with the id of the run in its XCom `trigger_run_id`.

use async_trait::async_trait;
use chrono::{DateTime, NaiveDate, NaiveDateTime, TimeDelta, Utc};
use serde_json::{Map, Value};
use std::time::Duration;
use towpath_model::run::{LONGEST_RUN_ID, RunType, is_run_id, iso_time};
use towpath_model::sensor::{DEFAULT_INTERVAL, SHORTEST_WAIT};
use towpath_model::state::{RunState, TaskState};
use uuid::Uuid;

use crate::attempt::{Attempt, Context, Operator, Outcome, ServiceError, XComQuery};
use crate::runs::{RunOrder, RunRef, RunStatus, Triggered};
use crate::sensor::{flag, seconds, text, texts};

/// The XComs under which Airflow keeps what was triggered.
const XCOM_RUN_ID: &str = "trigger_run_id";
const XCOM_DAG_ID: &str = "trigger_dag_id";
/// How often a date that somebody else has taken in the same microsecond is moved on.
const MOST_DATES: usize = 5;

/// Starts runs.
#[derive(Debug, Clone, Copy, Default)]
pub struct TriggerDag;

/// Why the task ends without its run.
enum End {
    Failed { error: String, retry: bool },
    Skipped(String),
}

impl End {
    fn lasting(error: impl Into<String>) -> Self {
        Self::Failed { error: error.into(), retry: false }
    }

    fn passing(error: impl Into<String>) -> Self {
        Self::Failed { error: error.into(), retry: true }
    }
}

impl From<ServiceError> for End {
    fn from(error: ServiceError) -> Self {
        Self::passing(error.to_string())
    }
}

/// The arguments.
struct Settings<'a> {
    dag_id: &'a str,
    run_id: Option<&'a str>,
    conf: Map<String, Value>,
    logical_date: LogicalDate,
    /// `None`: the task does not wait.
    wait: Option<Wait>,
    skip_when_already_exists: bool,
    fail_when_dag_is_paused: bool,
    reset_dag_run: bool,
}

struct Wait {
    interval: Duration,
    allowed: Vec<RunState>,
    failed: Vec<RunState>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum LogicalDate {
    Now,
    None,
    At(DateTime<Utc>),
}

#[async_trait]
impl Operator for TriggerDag {
    async fn execute(&self, attempt: &Attempt) -> Outcome {
        match run(attempt).await {
            Ok(outcome) => outcome,
            Err(End::Failed { error, retry }) => Outcome::Failed { error, retry },
            Err(End::Skipped(reason)) => Outcome::Skipped { reason },
        }
    }
}

async fn run(attempt: &Attempt) -> Result<Outcome, End> {
    let settings = Settings::read(&attempt.args)?;
    let dag_id = settings.dag_id;
    let waiting_for = match (&settings.wait, attempt.context.is_resumed) {
        (Some(_), true) => own_run_id(attempt).await?,
        _ => None,
    };
    let (run_id, known) = match waiting_for {
        Some(run_id) => {
            let known = attempt.services.run(dag_id, &RunRef::Id(run_id.clone())).await?;
            let known = known.ok_or_else(|| End::passing(format!("run `{run_id}` of DAG `{dag_id}` is gone")))?;
            (run_id, Some(known))
        }
        None => started(attempt, &settings).await?,
    };
    let Some(wait) = &settings.wait else { return Ok(Outcome::Success { value: None }) };
    match known.map(|run| run.state) {
        Some(state) if wait.failed.contains(&state) => {
            Err(End::passing(format!("run `{run_id}` of DAG `{dag_id}`: {state}")))
        }
        Some(state) if wait.allowed.contains(&state) => {
            attempt.log.info(&format!("Run {run_id} of DAG {dag_id}: {state}"));
            Ok(Outcome::Success { value: None })
        }
        _ => {
            let interval = TimeDelta::from_std(wait.interval).unwrap_or(TimeDelta::MAX);
            let at = attempt.log.clock().now().checked_add_signed(interval).unwrap_or(DateTime::<Utc>::MAX_UTC);
            Ok(Outcome::Reschedule { at })
        }
    }
}

/// Starts the run, or finds the one that this task has started: its id, and how it stands where it was found.
async fn started(attempt: &Attempt, settings: &Settings<'_>) -> Result<(String, Option<RunStatus>), End> {
    let dag_id = settings.dag_id;
    if settings.fail_when_dag_is_paused && attempt.services.dag(dag_id).await?.is_some_and(|dag| dag.is_paused) {
        return Err(End::passing(format!("DAG `{dag_id}` is paused (fail_when_dag_is_paused)")));
    }
    let context = &attempt.context;
    let (run_id, known) = match own_run(attempt, settings).await? {
        Some(run) => {
            attempt.log.info(&format!("Run {} of DAG {dag_id} was started by this task before", run.run_id));
            (run.run_id.clone(), Some(run))
        }
        None => {
            let run_id = settings.run_id.map_or_else(|| run_id_of(context, context.try_number), str::to_owned);
            match start(attempt, settings, &run_id).await? {
                None => attempt.log.info(&format!("Started run {run_id} of DAG {dag_id}")),
                Some(there) => {
                    let run_id = reset(attempt, settings, there).await?;
                    attempt.log.info(&format!("Run {run_id} of DAG {dag_id} runs again (reset_dag_run)"));
                    attempt.push_xcom(XCOM_RUN_ID, run_id.clone().into());
                    attempt.push_xcom(XCOM_DAG_ID, dag_id.into());
                    return Ok((run_id, None));
                }
            }
            (run_id, None)
        }
    };
    attempt.push_xcom(XCOM_RUN_ID, run_id.clone().into());
    attempt.push_xcom(XCOM_DAG_ID, dag_id.into());
    if let Some(wait) = &settings.wait {
        let states = wait.allowed.iter().map(ToString::to_string).collect::<Vec<_>>().join(" or ");
        attempt.log.info(&format!("Waiting for it to be {states}"));
    }
    Ok((run_id, known))
}

/// The run that this try, or an earlier one that did not live to say so, has started.
async fn own_run(attempt: &Attempt, settings: &Settings<'_>) -> Result<Option<RunStatus>, End> {
    let context = &attempt.context;
    let mut tries = vec![context.try_number];
    if context.try_number > 1 {
        let past = attempt.services.past_tries().await?;
        let failed =
            past.into_iter().filter(|(number, state)| *number < context.try_number && *state == TaskState::Failed);
        tries.extend(failed.map(|(number, _)| number));
        // The newest first.
        tries.sort_unstable_by(|a, b| b.cmp(a));
    }
    let origins: Vec<String> = tries.iter().map(|number| origin(context, *number)).collect();
    let mut ids: Vec<RunRef> = match settings.run_id {
        Some(run_id) => vec![RunRef::Id(run_id.to_owned())],
        None => tries.iter().map(|number| RunRef::Id(run_id_of(context, *number))).collect(),
    };
    // One that was made to run again is found by what had made it exist.
    ids.extend(settings.date().filter(|_| settings.reset_dag_run).map(RunRef::LogicalDate));
    for which in ids {
        let Some(run) = attempt.services.run(settings.dag_id, &which).await? else { continue };
        let at = origins.iter().position(|origin| run.triggering_user.as_ref() == Some(origin));
        let failed = settings.wait.as_ref().is_some_and(|wait| wait.failed.contains(&run.state));
        match at {
            // A run of this very try counts, whatever became of it.
            Some(0) => return Ok(Some(run)),
            Some(_) if !failed => return Ok(Some(run)),
            _ => {}
        }
    }
    Ok(None)
}

/// Makes a run that somebody else has started run again; its id.
async fn reset(attempt: &Attempt, settings: &Settings<'_>, run: RunStatus) -> Result<String, End> {
    let context = &attempt.context;
    if settings.dag_id == context.dag_id && run.run_id == context.run_id {
        return Err(End::lasting(format!("run `{}` is that of this task, which cannot reset itself", run.run_id)));
    }
    attempt.services.reset_run(&run, &origin(context, context.try_number)).await?;
    Ok(run.run_id)
}

/// Starts the run; the one that is there already where that is to run again.
async fn start(attempt: &Attempt, settings: &Settings<'_>, run_id: &str) -> Result<Option<RunStatus>, End> {
    let dag_id = settings.dag_id;
    let now = attempt.log.clock().now();
    let mut order = RunOrder {
        dag_id: dag_id.to_owned(),
        run_id: run_id.to_owned(),
        logical_date: match settings.logical_date {
            LogicalDate::Now => Some(now),
            LogicalDate::None => None,
            LogicalDate::At(date) => Some(date),
        },
        conf: settings.conf.clone(),
        origin: origin(&attempt.context, attempt.context.try_number),
    };
    for _ in 0..MOST_DATES {
        match attempt.services.trigger_run(&order).await? {
            Triggered::Created => return Ok(None),
            Triggered::Refused(reason) => return Err(End::passing(reason)),
            Triggered::Exists => {}
        }
        // Where nobody has asked for a date, one that somebody else has taken is no reason to fail.
        let is_taken = attempt.services.run(dag_id, &RunRef::Id(run_id.to_owned())).await?.is_some();
        if is_taken || settings.logical_date != LogicalDate::Now {
            break;
        }
        order.logical_date = order.logical_date.map(|date| date + TimeDelta::microseconds(1));
    }
    if settings.reset_dag_run {
        let mut there = attempt.services.run(dag_id, &RunRef::Id(run_id.to_owned())).await?;
        if let (None, Some(date)) = (&there, settings.date()) {
            there = attempt.services.run(dag_id, &RunRef::LogicalDate(date)).await?;
        }
        // It may have been deleted just now.
        let gone = || End::passing(format!("the run of DAG `{dag_id}` that was to run again is gone"));
        return there.map(Some).ok_or_else(gone);
    }
    let date = order.logical_date.map_or_else(String::new, |date| format!(" or the logical date {}", iso_time(date)));
    let what = format!("DAG `{dag_id}` already has a run with the id `{run_id}`{date}");
    if settings.skip_when_already_exists {
        return Err(End::Skipped(format!("{what} (skip_when_already_exists)")));
    }
    Err(End::lasting(format!("{what}; clear that run, or give another `trigger_run_id` and `logical_date`")))
}

/// The run that this try waits for.
async fn own_run_id(attempt: &Attempt) -> Result<Option<String>, End> {
    let query = XComQuery {
        dag_id: None,
        run_id: None,
        task_id: attempt.context.task_id.clone(),
        key: XCOM_RUN_ID.to_owned(),
        map_index: Some(attempt.context.map_index),
    };
    let found = attempt.services.xcoms(&query).await?;
    Ok(found.first().and_then(Value::as_str).map(str::to_owned))
}

/// Who asks, for people and for [`own_run`].
fn origin(context: &Context, try_number: u32) -> String {
    let index = if context.map_index < 0 { String::new() } else { format!("[{}]", context.map_index) };
    format!("task {}{index} of {}, {}, try {try_number}", context.task_id, context.dag_id, context.run_id)
}

/// The id of the run that a try starts: readable, and the same whenever it is made.
fn run_id_of(context: &Context, try_number: u32) -> String {
    let hash = Uuid::new_v5(&Uuid::NAMESPACE_OID, origin(context, try_number).as_bytes()).simple().to_string();
    format!("{}__{}__{}", RunType::OperatorTriggered, iso_time(context.run_after), &hash[..12])
}

impl<'a> Settings<'a> {
    /// The logical date that is asked for by name.
    fn date(&self) -> Option<DateTime<Utc>> {
        match self.logical_date {
            LogicalDate::At(date) => Some(date),
            LogicalDate::Now | LogicalDate::None => None,
        }
    }

    fn read(args: &'a Map<String, Value>) -> Result<Self, End> {
        let dag_id = text(args, "trigger_dag_id")
            .ok_or_else(|| End::lasting("`trigger_dag_id` is empty; name the DAG to start a run of"))?;
        let run_id = text(args, "trigger_run_id");
        if let Some(run_id) = run_id.filter(|run_id| !is_run_id(run_id)) {
            return Err(End::lasting(format!(
                "`trigger_run_id` has 1 to {LONGEST_RUN_ID} characters out of A-Z a-z 0-9 _ . ~ : + -, unlike `{run_id}`"
            )));
        }
        let wait = if flag(args, "wait_for_completion") {
            let interval = seconds(args, "poke_interval").map_err(End::lasting)?;
            Some(Wait {
                interval: interval.unwrap_or(DEFAULT_INTERVAL).max(SHORTEST_WAIT),
                allowed: states(args, "allowed_states", RunState::Success)?,
                failed: states(args, "failed_states", RunState::Failed)?,
            })
        } else {
            None
        };
        Ok(Self {
            dag_id,
            run_id,
            conf: args.get("conf").and_then(Value::as_object).cloned().unwrap_or_default(),
            logical_date: logical_date(text(args, "logical_date"))?,
            wait,
            skip_when_already_exists: flag(args, "skip_when_already_exists"),
            fail_when_dag_is_paused: flag(args, "fail_when_dag_is_paused"),
            reset_dag_run: flag(args, "reset_dag_run"),
        })
    }
}

/// The states of a list; `usual` where it is not given. As in Airflow, `failed_states: []` lets no state fail the task,
/// and an empty `allowed_states` is not given.
fn states(args: &Map<String, Value>, name: &str, usual: RunState) -> Result<Vec<RunState>, End> {
    let given = texts(args, name);
    if given.is_empty() && !(name == "failed_states" && args.get(name).is_some_and(Value::is_array)) {
        return Ok(vec![usual]);
    }
    let parse = |text: String| {
        let state = text.trim().parse::<RunState>();
        state.map_err(|_| {
            End::lasting(format!("`{name}`: a run is never `{text}`; states are queued, running, success, failed"))
        })
    };
    given.into_iter().map(parse).collect()
}

fn logical_date(given: Option<&str>) -> Result<LogicalDate, End> {
    let Some(text) = given else { return Ok(LogicalDate::Now) };
    if text.eq_ignore_ascii_case("none") {
        return Ok(LogicalDate::None);
    }
    let zoned = DateTime::parse_from_rfc3339(text).ok().map(|date| date.to_utc());
    let naive = || {
        let formats = ["%Y-%m-%dT%H:%M:%S%.f", "%Y-%m-%d %H:%M:%S%.f"];
        formats.iter().find_map(|format| NaiveDateTime::parse_from_str(text, format).ok()).map(|date| date.and_utc())
    };
    let day = || text.parse::<NaiveDate>().ok().map(|day| day.and_time(chrono::NaiveTime::MIN).and_utc());
    zoned.or_else(naive).or_else(day).map(LogicalDate::At).ok_or_else(|| {
        End::lasting(format!(
            "`logical_date` must be a date such as `2026-01-31T06:00:00+00:00`, or `none`, not `{text}`"
        ))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn logical_dates() {
        let at = |text: &str| LogicalDate::At(DateTime::parse_from_rfc3339(text).expect("a date").to_utc());
        for (given, expected) in [
            (None, LogicalDate::Now),
            (Some("None"), LogicalDate::None),
            (Some("2026-01-31T06:00:00+01:00"), at("2026-01-31T05:00:00Z")),
            (Some("2026-01-31T06:00:00.5"), at("2026-01-31T06:00:00.5Z")),
            (Some("2026-01-31 06:00:00"), at("2026-01-31T06:00:00Z")),
            (Some("2026-01-31"), at("2026-01-31T00:00:00Z")),
        ] {
            assert_eq!(logical_date(given).ok(), Some(expected), "{given:?}");
        }
        assert!(logical_date(Some("tomorrow")).is_err());
    }
}
