//! `external_task_sensor`: waits for a run of another DAG, or for tasks of it.

use std::collections::BTreeSet;
use std::str::FromStr;

use async_trait::async_trait;
use chrono::{DateTime, TimeDelta, Utc};
use serde_json::{Map, Value};
use strum::IntoEnumIterator;
use towpath_model::run::iso_time;
use towpath_model::state::{RunState, TaskState};

use super::{Error, Poke, Sensor, flag, seconds, text, texts};
use crate::attempt::Attempt;
use crate::runs::{RunRef, Tasks};

/// Waits for what other DAGs do, as the store knows it.
#[derive(Debug, Clone, Copy, Default)]
pub struct ExternalTaskSensor;

/// What is waited for.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Target {
    dag_id: String,
    /// `None`: the run as a whole.
    tasks: Option<Tasks>,
    logical_date: DateTime<Utc>,
}

/// What the states that are found mean.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Meaning<S> {
    allowed: Vec<S>,
    failed: Vec<S>,
    skipped: Vec<S>,
}

/// What the states say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verdict<S> {
    /// All are there, each in an allowed state.
    Allowed,
    Failed(S),
    Skipped(S),
    NotYet,
}

#[async_trait]
impl Sensor for ExternalTaskSensor {
    fn awaits(&self, attempt: &Attempt) -> Result<String, Error> {
        Ok(Target::read(attempt)?.to_string())
    }

    async fn poke(&self, attempt: &Attempt) -> Result<Poke, Error> {
        let args = &attempt.args;
        let target = Target::read(attempt)?;
        if flag(args, "check_existence") && !attempt.context.is_resumed {
            check_existence(attempt, &target).await?;
        }
        let run = attempt.services.run(&target.dag_id, &RunRef::LogicalDate(target.logical_date)).await?;
        let Some(tasks) = &target.tasks else {
            let meaning = Meaning::<RunState>::read(args, RunState::Success)?;
            let states: Vec<RunState> = run.iter().map(|run| run.state).collect();
            return answer(args, &target, meaning.judge(&states, states.len() == 1));
        };
        let meaning = Meaning::<TaskState>::read(args, TaskState::Success)?;
        let found = match &run {
            Some(run) => attempt.services.task_states(run, tasks).await?,
            None => Vec::new(),
        };
        let complete = match tasks {
            Tasks::Ids(ids) => ids.iter().all(|id| found.iter().any(|(task_id, _)| task_id == id)),
            Tasks::Group(_) => !found.is_empty(),
        };
        let states: Vec<TaskState> = found.into_iter().map(|(_, state)| state).collect();
        answer(args, &target, meaning.judge(&states, complete))
    }
}

impl Target {
    fn read(attempt: &Attempt) -> Result<Self, Error> {
        let args = &attempt.args;
        let dag_id = text(args, "external_dag_id")
            .ok_or_else(|| Error::Wrong("`external_dag_id` is empty; name the DAG to wait for".to_owned()))?;
        let (one, many) = (text(args, "external_task_id"), texts(args, "external_task_ids"));
        let group = text(args, "external_task_group_id");
        let tasks = match (one, many.is_empty(), group) {
            (None, true, None) => None,
            (Some(id), true, None) => Some(Tasks::Ids(vec![id.to_owned()])),
            (None, false, None) => {
                if many.iter().collect::<BTreeSet<_>>().len() < many.len() {
                    return Err(Error::Wrong("`external_task_ids` names a task twice".to_owned()));
                }
                Some(Tasks::Ids(many))
            }
            (None, true, Some(group)) => Some(Tasks::Group(group.to_owned())),
            _ => {
                return Err(Error::Wrong(
                    "only one of `external_task_id`, `external_task_ids` and `external_task_group_id` can be given"
                        .to_owned(),
                ));
            }
        };
        let context = &attempt.context;
        // As in Airflow, a run without a logical date looks from its `run_after`.
        let date = context.logical_date.unwrap_or(context.run_after);
        let delta = seconds(args, "execution_delta").map_err(Error::Wrong)?.unwrap_or_default();
        let delta = TimeDelta::from_std(delta).map_err(|_| Error::Wrong("`execution_delta` is too long".to_owned()))?;
        let logical_date = date.checked_sub_signed(delta);
        let logical_date = logical_date.ok_or_else(|| Error::Wrong("`execution_delta` is too long".to_owned()))?;
        Ok(Self { dag_id: dag_id.to_owned(), tasks, logical_date })
    }
}

impl std::fmt::Display for Target {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.tasks {
            None => write!(f, "the run of DAG `{}`", self.dag_id)?,
            Some(Tasks::Ids(ids)) if ids.len() == 1 => write!(f, "task `{}` of DAG `{}`", ids[0], self.dag_id)?,
            Some(Tasks::Ids(ids)) => write!(f, "tasks `{}` of DAG `{}`", ids.join("`, `"), self.dag_id)?,
            Some(Tasks::Group(group)) => write!(f, "task group `{group}` of DAG `{}`", self.dag_id)?,
        }
        write!(f, " with the logical date {}", iso_time(self.logical_date))
    }
}

impl<S> Meaning<S>
where
    S: FromStr + PartialEq + Copy + IntoEnumIterator + std::fmt::Display,
{
    fn read(args: &Map<String, Value>, success: S) -> Result<Self, Error> {
        let states = |name: &str| -> Result<Vec<S>, Error> {
            let parse = |text: String| {
                text.trim().parse::<S>().map_err(|_| {
                    let known = S::iter().map(|state| state.to_string()).collect::<Vec<_>>().join(", ");
                    Error::Wrong(format!(
                        "`{name}`: there is no state `{text}` of what is waited for; states are {known}"
                    ))
                })
            };
            texts(args, name).into_iter().map(parse).collect()
        };
        let mut allowed = states("allowed_states")?;
        if allowed.is_empty() {
            allowed.push(success);
        }
        let meaning = Self { allowed, failed: states("failed_states")?, skipped: states("skipped_states")? };
        let all: Vec<S> =
            [&meaning.allowed, &meaning.failed, &meaning.skipped].into_iter().flatten().copied().collect();
        match all.iter().enumerate().find(|(i, state)| all[..*i].contains(state)) {
            Some((_, state)) => Err(Error::Wrong(format!(
                "`{state}` stands twice in `allowed_states` (success by default), `failed_states` and `skipped_states`"
            ))),
            None => Ok(meaning),
        }
    }

    /// One that failed decides, then one that was skipped. `complete`: nothing that is waited for is missing.
    fn judge(&self, states: &[S], complete: bool) -> Verdict<S> {
        let first_in = |known: &[S]| states.iter().find(|state| known.contains(state)).copied();
        if let Some(state) = first_in(&self.failed) {
            return Verdict::Failed(state);
        }
        if let Some(state) = first_in(&self.skipped) {
            return Verdict::Skipped(state);
        }
        if complete && states.iter().all(|state| self.allowed.contains(state)) {
            return Verdict::Allowed;
        }
        Verdict::NotYet
    }
}

fn answer<S: std::fmt::Display>(
    args: &Map<String, Value>,
    target: &Target,
    verdict: Verdict<S>,
) -> Result<Poke, Error> {
    match verdict {
        Verdict::Allowed => Ok(Poke::Done(None)),
        Verdict::NotYet => Ok(Poke::NotYet),
        Verdict::Skipped(state) => Ok(Poke::Skip(format!("{target}: {state}"))),
        Verdict::Failed(state) if flag(args, "soft_fail") => Ok(Poke::Skip(format!("{target}: {state} (soft_fail)"))),
        Verdict::Failed(state) => Err(Error::Passing(format!("{target}: {state}"))),
    }
}

async fn check_existence(attempt: &Attempt, target: &Target) -> Result<(), Error> {
    let dag_id = &target.dag_id;
    let Some(found) = attempt.services.dag(dag_id).await? else {
        return Err(Error::Passing(format!("DAG `{dag_id}` does not exist (check_existence)")));
    };
    let missing = match &target.tasks {
        None => None,
        Some(Tasks::Ids(ids)) => ids.iter().find(|id| found.dag.task(id).is_none()).map(|id| format!("no task `{id}`")),
        Some(Tasks::Group(group)) => {
            let prefix = format!("{group}.");
            let any = found.dag.tasks().iter().any(|task| task.task_id.starts_with(&prefix));
            (!any).then(|| format!("no tasks `{prefix}...` of a group `{group}`"))
        }
    };
    missing.map_or(Ok(()), |what| Err(Error::Passing(format!("DAG `{dag_id}` has {what} (check_existence)"))))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use TaskState::{Failed, Running, Skipped, Success};

    fn read(args: Value) -> Result<Meaning<TaskState>, Error> {
        let Value::Object(args) = args else { panic!("an object") };
        Meaning::read(&args, Success)
    }

    #[test]
    fn states_decide() {
        let usual = read(json!({})).expect("no argument is wrong");
        let strict = read(json!({"failed_states": ["failed"], "skipped_states": ["skipped"]})).expect("right");
        let either = read(json!({"allowed_states": ["success", "skipped"]})).expect("right");
        for (meaning, states, complete, expected) in [
            (&usual, vec![], false, Verdict::NotYet),
            (&usual, vec![Success], true, Verdict::Allowed),
            (&usual, vec![Success], false, Verdict::NotYet),
            (&usual, vec![Success, Failed], true, Verdict::NotYet),
            (&usual, vec![Success, Skipped], true, Verdict::NotYet),
            (&either, vec![Success, Skipped], true, Verdict::Allowed),
            (&strict, vec![Running, Failed], false, Verdict::Failed(Failed)),
            (&strict, vec![Skipped, Failed], true, Verdict::Failed(Failed)),
            (&strict, vec![Skipped, Running], true, Verdict::Skipped(Skipped)),
        ] {
            assert_eq!(meaning.judge(&states, complete), expected, "{meaning:?} {states:?} {complete}");
        }
    }

    #[test]
    fn wrong_states_are_named() {
        for (args, expected) in [
            (json!({"failed_states": ["success"]}), "`success` stands twice in `allowed_states` (success by default)"),
            (json!({"allowed_states": ["done"]}), "`allowed_states`: there is no state `done` of what is waited for"),
        ] {
            match read(args) {
                Err(Error::Wrong(text)) => assert!(text.starts_with(expected), "{text}"),
                other => panic!("{other:?}"),
            }
        }
    }
}
