use std::sync::Arc;

use serde_json::{Map, Value, json};
use towpath_model::clock::{Clock, ManualClock};
use towpath_model::dag::{Dag, DagSpec};
use towpath_model::state::{RunState, TaskState};
use towpath_operators::runs::{DagStatus, RunStatus};
use towpath_operators::trigger_dag::TriggerDag;
use towpath_operators::{Operator, Outcome};

use crate::support::{Answers, Fixture, Run, at};

const SUCCESS: Outcome = Outcome::Success { value: None };

/// A world in which there are DAGs to start, and tries that start them.
struct World {
    answers: Arc<Answers>,
    clock: Arc<ManualClock>,
}

impl World {
    fn new(tries: &[(u32, TaskState)]) -> Self {
        let mut answers = Answers::default();
        for (id, is_paused) in [("down", false), ("resting", true)] {
            let dag = Arc::new(Dag::build(DagSpec::new(id)).expect("a graph"));
            answers.dags.insert(id.to_owned(), DagStatus { is_paused, dag });
        }
        answers.tries = tries.to_vec();
        Self { answers: Arc::new(answers), clock: Arc::new(ManualClock::new(at("2024-03-06T12:00:00Z"))) }
    }

    /// One call of try number `try_number`: how it ended, and what it pushed.
    async fn call(&self, try_number: u32, is_resumed: bool, args: Value) -> (Outcome, Map<String, Value>) {
        let mut fixture = Fixture::with_clock(Arc::clone(&self.clock) as Arc<dyn Clock>);
        fixture.answers = Arc::clone(&self.answers);
        fixture.context.try_number = try_number;
        fixture.context.is_resumed = is_resumed;
        let attempt = fixture.attempt("trigger_dag", args);
        let outcome = TriggerDag.execute(&attempt).await;
        (outcome, attempt.take_xcoms())
    }

    async fn first(&self, args: Value) -> Outcome {
        self.call(1, false, args).await.0
    }

    fn runs(&self) -> Vec<Run> {
        self.answers.runs.lock().expect("no panic").clone()
    }

    fn end_run(&self, index: usize, state: RunState) {
        self.answers.runs.lock().expect("no panic")[index].status.state = state;
    }
}

fn failed(error: &str, retry: bool) -> Outcome {
    Outcome::Failed { error: error.to_owned(), retry }
}

fn down() -> Value {
    json!({"trigger_dag_id": "down"})
}

fn waiting() -> Value {
    json!({"trigger_dag_id": "down", "wait_for_completion": true, "poke_interval": 30})
}

fn in_half_a_minute() -> Outcome {
    Outcome::Reschedule { at: at("2024-03-06T12:00:30Z") }
}

#[tokio::test]
async fn a_run_is_started_as_asked() {
    let world = World::new(&[]);
    let (outcome, xcoms) = world.call(1, false, down()).await;
    assert_eq!(outcome, SUCCESS);
    let run = world.runs().remove(0);
    assert!(run.status.run_id.starts_with("operator_triggered__2024-03-05T07:08:09+00:00__"), "{}", run.status.run_id);
    assert_eq!(json!(xcoms), json!({"trigger_run_id": run.status.run_id, "trigger_dag_id": "down"}));
    assert_eq!((run.logical_date, run.conf.len()), (Some(at("2024-03-06T12:00:00Z")), 0));
    let origin = "task load of sales, scheduled__2024-03-05T07:08:09+00:00, try 1";
    assert_eq!(run.status.triggering_user.as_deref(), Some(origin));

    let args = json!({
        "trigger_dag_id": "down", "trigger_run_id": "mine", "logical_date": "2026-01-01", "conf": {"a": [1]},
    });
    assert_eq!(world.first(args).await, SUCCESS);
    let run = world.runs().remove(1);
    assert_eq!((run.status.run_id.as_str(), run.logical_date), ("mine", Some(at("2026-01-01T00:00:00Z"))));
    assert_eq!(Value::Object(run.conf), json!({"a": [1]}));

    assert_eq!(
        world.first(json!({"trigger_dag_id": "down", "trigger_run_id": "x", "logical_date": "None"})).await,
        SUCCESS
    );
    assert_eq!(world.runs()[2].logical_date, None);
}

#[tokio::test]
async fn a_call_that_is_repeated_starts_nothing_twice() {
    // The worker was killed after it had started the run and before it could say so.
    for args in [down(), json!({"trigger_dag_id": "down", "trigger_run_id": "mine"})] {
        let world = World::new(&[(1, TaskState::Failed)]);
        for (try_number, is_resumed) in [(1, false), (1, true), (2, false)] {
            world.clock.advance(chrono::TimeDelta::seconds(1));
            let (outcome, xcoms) = world.call(try_number, is_resumed, args.clone()).await;
            assert_eq!(outcome, SUCCESS, "{try_number} {args}");
            assert_eq!(xcoms["trigger_run_id"], json!(world.runs()[0].status.run_id));
        }
        assert_eq!(world.runs().len(), 1, "{args}");
    }
}

#[tokio::test]
async fn a_task_that_was_cleared_starts_another_run() {
    let world = World::new(&[(1, TaskState::Success)]);
    for try_number in [1, 2] {
        world.clock.advance(chrono::TimeDelta::seconds(1));
        assert_eq!(world.call(try_number, false, down()).await.0, SUCCESS);
    }
    let runs = world.runs();
    assert_eq!(runs.len(), 2);
    assert_ne!(runs[0].status.run_id, runs[1].status.run_id);
    // With an id of its own the run of the first try stands in the way, as in Airflow.
    let world = World::new(&[(1, TaskState::Success)]);
    let args = json!({"trigger_dag_id": "down", "trigger_run_id": "mine", "logical_date": "none"});
    assert_eq!(world.first(args.clone()).await, SUCCESS);
    let text = "DAG `down` already has a run with the id `mine`; clear that run, or give another `trigger_run_id` and `logical_date`";
    assert_eq!(world.call(2, false, args).await.0, failed(text, false));
}

#[tokio::test]
async fn waiting_goes_from_call_to_call() {
    let mut world = World::new(&[]);
    let (outcome, xcoms) = world.call(1, false, waiting()).await;
    assert_eq!(outcome, in_half_a_minute());
    let run_id = world.runs()[0].status.run_id.clone();
    assert_eq!(xcoms["trigger_run_id"], json!(run_id));
    // The worker has reported it.
    let answers = Arc::get_mut(&mut world.answers).expect("no attempt is left");
    answers.xcoms.insert("load/trigger_run_id".to_owned(), vec![json!(run_id)]);
    assert_eq!(world.call(1, true, waiting()).await, (in_half_a_minute(), Map::new()));
    world.end_run(0, RunState::Running);
    assert_eq!(world.call(1, true, waiting()).await.0, in_half_a_minute());
    world.end_run(0, RunState::Success);
    assert_eq!(world.call(1, true, waiting()).await.0, SUCCESS);
    world.end_run(0, RunState::Failed);
    let text = format!("run `{run_id}` of DAG `down`: failed");
    assert_eq!(world.call(1, true, waiting()).await.0, failed(&text, true));
    let mut args = waiting();
    args["allowed_states"] = json!(["success", "failed"]);
    args["failed_states"] = json!([]);
    assert_eq!(world.call(1, true, args).await.0, SUCCESS);
    assert_eq!(world.runs().len(), 1);
}

#[tokio::test]
async fn a_template_that_gives_another_id_each_time_is_asked_once() {
    let mut world = World::new(&[]);
    let args = |id: &str| {
        let mut args = waiting();
        args["trigger_run_id"] = id.into();
        args
    };
    assert_eq!(world.first(args("random-1")).await, in_half_a_minute());
    let answers = Arc::get_mut(&mut world.answers).expect("no attempt is left");
    answers.xcoms.insert("load/trigger_run_id".to_owned(), vec![json!("random-1")]);
    assert_eq!(world.call(1, true, args("random-2")).await.0, in_half_a_minute());
    assert_eq!(world.runs().len(), 1);
}

#[tokio::test]
async fn a_retry_goes_on_with_a_run_that_lives_and_replaces_one_that_failed() {
    let world = World::new(&[(1, TaskState::Failed), (2, TaskState::Failed)]);
    assert_eq!(world.first(waiting()).await, in_half_a_minute());
    world.end_run(0, RunState::Running);
    assert_eq!(world.call(2, false, waiting()).await.0, in_half_a_minute());
    assert_eq!(world.runs().len(), 1, "its worker was killed while it waited");
    world.end_run(0, RunState::Failed);
    world.clock.advance(chrono::TimeDelta::seconds(1));
    assert!(matches!(world.call(3, false, waiting()).await.0, Outcome::Reschedule { .. }));
    assert_eq!(world.runs().len(), 2, "the run itself had failed");
}

#[tokio::test]
async fn what_exists_already() {
    let theirs = |world: &World, run_id: &str, date: &str| {
        let status = RunStatus {
            key: 0,
            version_id: 1,
            run_id: run_id.to_owned(),
            state: RunState::Success,
            triggering_user: Some("ann".to_owned()),
        };
        let run = Run {
            dag_id: "down".to_owned(),
            logical_date: Some(at(date)),
            conf: Map::new(),
            status,
            tasks: Vec::new(),
        };
        world.answers.runs.lock().expect("no panic").push(run);
    };
    let world = World::new(&[]);
    theirs(&world, "mine", "2026-01-01T00:00:00Z");
    for args in [
        json!({"trigger_dag_id": "down", "trigger_run_id": "mine"}),
        json!({"trigger_dag_id": "down", "logical_date": "2026-01-01"}),
    ] {
        let Outcome::Failed { error, retry: false } = world.first(args.clone()).await else { panic!("{args}") };
        assert!(error.starts_with("DAG `down` already has a run with the id `"), "{error}");
        let mut skips = args;
        skips["skip_when_already_exists"] = true.into();
        assert!(matches!(world.first(skips).await, Outcome::Skipped { .. }));
    }
    // A date that nobody has asked for is moved on.
    theirs(&world, "theirs", "2024-03-06T12:00:00Z");
    assert_eq!(world.first(down()).await, SUCCESS);
    assert_eq!(world.runs()[2].logical_date, Some(at("2024-03-06T12:00:00.000001Z")));
}

#[tokio::test]
async fn a_run_that_exists_runs_again() {
    for args in [
        json!({"trigger_dag_id": "down", "trigger_run_id": "mine", "reset_dag_run": true}),
        json!({"trigger_dag_id": "down", "logical_date": "2026-01-01", "reset_dag_run": true, "skip_when_already_exists": true}),
    ] {
        let world = World::new(&[(1, TaskState::Failed)]);
        let first = json!({"trigger_dag_id": "down", "trigger_run_id": "mine", "logical_date": "2026-01-01"});
        assert_eq!(world.call(7, false, first).await.0, SUCCESS);
        world.end_run(0, RunState::Success);
        let (outcome, xcoms) = world.call(1, false, args.clone()).await;
        assert_eq!((outcome, &xcoms["trigger_run_id"]), (SUCCESS, &json!("mine")), "{args}");
        assert_eq!(world.runs()[0].status.state, RunState::Queued);
        // The worker was killed before it could say so: the run is known as that of the try before, and left alone.
        world.end_run(0, RunState::Running);
        assert_eq!(world.call(2, false, args.clone()).await.0, SUCCESS, "{args}");
        assert_eq!(world.runs()[0].status.state, RunState::Running, "{args}");
        // It failed, and the task that waited for it is tried again.
        world.end_run(0, RunState::Failed);
        let mut waits = args.clone();
        waits["wait_for_completion"] = true.into();
        assert!(matches!(world.call(2, false, waits).await.0, Outcome::Reschedule { .. }), "{args}");
        assert_eq!(world.runs()[0].status.state, RunState::Queued, "{args}");
        assert_eq!(world.runs().len(), 1);
    }
    // What does not exist is started.
    let world = World::new(&[]);
    assert_eq!(world.first(json!({"trigger_dag_id": "down", "reset_dag_run": true})).await, SUCCESS);
    assert_eq!(world.runs().len(), 1);
}

#[tokio::test]
async fn what_cannot_be_started_says_why() {
    let world = World::new(&[]);
    for (args, expected, retry) in [
        (json!({"trigger_dag_id": "no"}), "DAG `no` does not exist", true),
        (
            json!({"trigger_dag_id": "resting", "fail_when_dag_is_paused": true}),
            "DAG `resting` is paused (fail_when_dag_is_paused)",
            true,
        ),
        (
            json!({"trigger_dag_id": "down", "trigger_run_id": "a b"}),
            "`trigger_run_id` has 1 to 250 characters out of A-Z a-z 0-9 _ . ~ : + -, unlike `a b`",
            false,
        ),
        (
            json!({"trigger_dag_id": "down", "wait_for_completion": true, "allowed_states": ["skipped"]}),
            "`allowed_states`: a run is never `skipped`; states are queued, running, success, failed",
            false,
        ),
        (
            json!({"trigger_dag_id": "down", "logical_date": "soon"}),
            "`logical_date` must be a date such as `2026-01-31T06:00:00+00:00`, or `none`, not `soon`",
            false,
        ),
    ] {
        assert_eq!(world.first(args.clone()).await, failed(expected, retry), "{args}");
    }
    assert_eq!(world.first(json!({"trigger_dag_id": "resting"})).await, SUCCESS);
    assert_eq!(world.runs().len(), 1);
}
