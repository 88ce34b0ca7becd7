use std::sync::Arc;

use serde_json::{Value, json};
use towpath_model::dag::{Dag, DagSpec, Task};
use towpath_model::state::{RunState, TaskState};
use towpath_operators::runs::{DagStatus, RunStatus};
use towpath_operators::sensor::{ExternalTaskSensor, Sensing};
use towpath_operators::{Operator, Outcome};

use crate::support::{Fixture, Run, at};

/// The logical date of the fixture's run.
const DATE: &str = "2024-03-05T07:08:09Z";
const SUCCESS: Outcome = Outcome::Success { value: None };

fn later() -> Outcome {
    Outcome::Reschedule { at: at("2024-03-06T12:01:00Z") }
}

fn skipped(reason: &str) -> Outcome {
    Outcome::Skipped { reason: reason.to_owned() }
}

fn failed(error: &str, retry: bool) -> Outcome {
    Outcome::Failed { error: error.to_owned(), retry }
}

/// A run of `up` on `date`, with its tasks.
fn run(date: &str, state: RunState, tasks: &[(&str, TaskState)]) -> Run {
    Run {
        dag_id: "up".to_owned(),
        logical_date: Some(at(date)),
        conf: serde_json::Map::new(),
        status: RunStatus {
            key: at(date).timestamp(),
            version_id: 1,
            run_id: date.to_owned(),
            state,
            triggering_user: None,
        },
        tasks: tasks.iter().map(|(id, state)| ((*id).to_owned(), *state)).collect(),
    }
}

async fn look(runs: Vec<Run>, mut args: Value) -> Outcome {
    let mut fixture = Fixture::new();
    let mut spec = DagSpec::new("up");
    spec.tasks.extend(["a", "g.b", "g.c"].map(|id| Task::new(id, "bash")));
    let dag = Arc::new(Dag::build(spec).expect("a graph"));
    fixture.answers().dags.insert("up".to_owned(), DagStatus { is_paused: false, dag });
    *fixture.answers().runs.get_mut().expect("no panic") = runs;
    args["mode"] = "reschedule".into();
    if args.get("external_dag_id").is_none() {
        args["external_dag_id"] = "up".into();
    }
    Sensing(ExternalTaskSensor).execute(&fixture.attempt("external_task_sensor", args)).await
}

#[tokio::test]
async fn a_run_is_waited_for() {
    use RunState::{Failed, Queued, Running, Success};
    let what = "the run of DAG `up` with the logical date 2024-03-05T07:08:09+00:00";
    for (state, args, expected) in [
        (Queued, json!({}), later()),
        (Running, json!({}), later()),
        (Success, json!({}), SUCCESS),
        (Failed, json!({}), later()),
        (Failed, json!({"failed_states": ["failed"]}), failed(&format!("{what}: failed"), true)),
        (
            Failed,
            json!({"failed_states": ["failed"], "soft_fail": true}),
            skipped(&format!("{what}: failed (soft_fail)")),
        ),
        (Failed, json!({"skipped_states": ["failed"]}), skipped(&format!("{what}: failed"))),
        (Failed, json!({"allowed_states": ["success", "failed"]}), SUCCESS),
    ] {
        assert_eq!(look(vec![run(DATE, state, &[])], args.clone()).await, expected, "{state} {args}");
    }
    assert_eq!(look(Vec::new(), json!({})).await, later(), "there is no run");
}

#[tokio::test]
async fn tasks_and_groups_are_waited_for() {
    use TaskState::{Failed, Running, Success};
    let tasks = [("a", Success), ("g.b", Success), ("g.c", Running), ("x", Failed)];
    let both = json!(["a", "g.b"]);
    for (args, expected) in [
        (json!({"external_task_id": "a"}), SUCCESS),
        (json!({"external_task_id": "g.c"}), later()),
        (json!({"external_task_id": "none"}), later()),
        (json!({"external_task_ids": both}), SUCCESS),
        (json!({"external_task_ids": ["a", "none"]}), later()),
        (json!({"external_task_group_id": "g"}), later()),
        (json!({"external_task_group_id": "g", "allowed_states": ["success", "running"]}), SUCCESS),
        (
            json!({"external_task_ids": ["a", "x"], "failed_states": ["failed"]}),
            failed("tasks `a`, `x` of DAG `up` with the logical date 2024-03-05T07:08:09+00:00: failed", true),
        ),
    ] {
        let runs = vec![run(DATE, RunState::Running, &tasks)];
        assert_eq!(look(runs, args.clone()).await, expected, "{args}");
    }
}

#[tokio::test]
async fn the_delta_goes_back_in_time() {
    let runs = || vec![run("2024-03-04T07:08:09Z", RunState::Success, &[]), run(DATE, RunState::Running, &[])];
    assert_eq!(look(runs(), json!({"execution_delta": 86_400.0})).await, SUCCESS);
    assert_eq!(look(runs(), json!({"execution_delta": 0.0})).await, later());
    assert_eq!(look(runs(), json!({"execution_delta": 3_600.0})).await, later());
}

#[tokio::test]
async fn what_does_not_exist_is_told_where_it_is_asked_for() {
    for (args, expected) in [
        (json!({"external_dag_id": "no"}), "DAG `no` does not exist (check_existence)"),
        (json!({"external_task_ids": ["a", "z"]}), "DAG `up` has no task `z` (check_existence)"),
        (json!({"external_task_group_id": "h"}), "DAG `up` has no tasks `h....` of a group `h` (check_existence)"),
    ] {
        let mut checked = args.clone();
        checked["check_existence"] = true.into();
        assert_eq!(look(Vec::new(), checked).await, failed(expected, true), "{args}");
        assert_eq!(look(Vec::new(), args.clone()).await, later(), "{args}");
    }
    for args in [json!({"external_task_id": "g.c"}), json!({"external_task_group_id": "g"}), json!({})] {
        let mut checked = args.clone();
        checked["check_existence"] = true.into();
        assert_eq!(look(Vec::new(), checked).await, later(), "{args}");
    }
}

#[tokio::test]
async fn wrong_arguments_are_told() {
    for (args, expected) in [
        (
            json!({"external_task_id": "a", "external_task_group_id": "g"}),
            "only one of `external_task_id`, `external_task_ids` and `external_task_group_id` can be given",
        ),
        (json!({"external_task_ids": ["a", "a"]}), "`external_task_ids` names a task twice"),
        (
            json!({"allowed_states": ["skipped"]}),
            "`allowed_states`: there is no state `skipped` of what is waited for; states are queued, running, success, failed",
        ),
        (
            json!({"external_task_id": "a", "failed_states": ["failed", "failed"]}),
            "`failed` stands twice in `allowed_states` (success by default), `failed_states` and `skipped_states`",
        ),
    ] {
        assert_eq!(look(Vec::new(), args.clone()).await, failed(expected, false), "{args}");
    }
    let unreachable = look(Vec::new(), json!({"external_dag_id": "unreachable"})).await;
    assert_eq!(unreachable, failed("the store is down", true));
}
