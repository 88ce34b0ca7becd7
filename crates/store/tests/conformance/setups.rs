//! Setups, teardowns and `fail_fast`.

use std::collections::BTreeMap;

use towpath_model::dag::DagSpec;
use towpath_model::state::{RunState, TaskState};
use towpath_model::teardown::Role;
use towpath_model::trigger_rule::TriggerRule;
use towpath_store::{ReportOutcome, Selection, Store};

use crate::harness::*;

both!(
    a_teardown_runs_after_a_failure,
    a_teardown_follows_its_setup,
    a_teardown_does_not_decide_unless_told_to,
    work_needs_its_setup_whatever_its_rule_says,
    work_waits_for_a_setup_that_it_is_not_behind,
    clearing_takes_setup_and_teardown_along,
    a_cancelled_run_tears_down,
    a_run_marked_as_failed_tears_down,
    a_run_without_started_setup_ends_at_once,
    fail_fast_ends_what_is_left,
    what_waits_for_a_setup_says_so,
);

/// Roles by the first letter of the id: setups, teardowns, teardowns that fail the run (`f`), and work.
fn roles(spec: &mut DagSpec) {
    for task in &mut spec.tasks {
        task.role = match task.task_id.as_bytes()[0] {
            b's' => Role::Setup,
            b't' => Role::Teardown { on_failure_fail_dagrun: false },
            b'f' => Role::Teardown { on_failure_fail_dagrun: true },
            _ => Role::Work,
        };
        if task.role.is_teardown() {
            task.trigger_rule = TriggerRule::AllDoneSetupSuccess;
        }
    }
}

type Shape<'a> = &'a [(&'a str, &'a str, &'a [&'a str])];

const SCOPE: Shape<'_> =
    &[("s", "bash", &[]), ("a", "bash", &["s"]), ("b", "bash", &["a"]), ("t", "bash", &["b", "s"])];

/// Runs a DAG; what is named in `bad` fails or is skipped.
async fn played(store: &Store, id: &str, shape: Shape<'_>, bad: &[(&str, ReportOutcome)]) -> (RunState, Vec<String>) {
    sync(store, dag(id, shape, roles)).await;
    let run = manual(store, id).await.key;
    let bad: Vec<(String, ReportOutcome)> = bad.iter().map(|(id, end)| ((*id).to_owned(), end.clone())).collect();
    drain(store, 1, move |task| {
        let found = bad.iter().find(|(id, _)| *id == task.key.task_id);
        found.map_or(ReportOutcome::Success, |(_, end)| end.clone())
    })
    .await;
    let states = states(store, run).await;
    let told = states.iter().map(|(id, state)| format!("{id} {state}")).collect();
    (run_state(store, run).await, told)
}

const FAILS: ReportOutcome = ReportOutcome::Failed { retry: false };

async fn a_teardown_runs_after_a_failure(store: Store) {
    let found = played(&store, "d", SCOPE, &[("a", FAILS)]).await;
    assert_eq!(found.1, ["a failed", "b upstream_failed", "s success", "t success"]);
    assert_eq!(found.0, RunState::Failed, "the work decides");
}

async fn a_teardown_follows_its_setup(store: Store) {
    let found = played(&store, "d", SCOPE, &[("s", FAILS)]).await;
    assert_eq!(found.1, ["a upstream_failed", "b upstream_failed", "s failed", "t upstream_failed"]);
    let found = played(&store, "e", SCOPE, &[("s", ReportOutcome::Skipped)]).await;
    assert_eq!(found.1, ["a skipped", "b skipped", "s skipped", "t skipped"]);
    assert_eq!(found.0, RunState::Success);
    let two: Shape<'_> = &[("s1", "bash", &[]), ("s2", "bash", &[]), ("t", "bash", &["s1", "s2"])];
    let found = played(&store, "f", two, &[("s1", FAILS)]).await;
    assert_eq!(found.1, ["s1 failed", "s2 success", "t success"], "one setup has made something");
}

async fn a_teardown_does_not_decide_unless_told_to(store: Store) {
    let found = played(&store, "d", SCOPE, &[("t", FAILS)]).await;
    assert_eq!((found.0, found.1[3].as_str()), (RunState::Success, "t failed"));
    let shape: Shape<'_> = &[("s", "bash", &[]), ("a", "bash", &["s"]), ("f", "bash", &["a", "s"])];
    let found = played(&store, "e", shape, &[("f", FAILS)]).await;
    assert_eq!((found.0, found.1[1].as_str()), (RunState::Failed, "f failed"));
}

async fn work_needs_its_setup_whatever_its_rule_says(store: Store) {
    let change = |spec: &mut DagSpec| {
        roles(spec);
        spec.tasks[2].trigger_rule = TriggerRule::AllDone;
    };
    for (id, end, expected) in [("d", FAILS, "upstream_failed"), ("e", ReportOutcome::Skipped, "skipped")] {
        sync(&store, dag(id, SCOPE, change)).await;
        let run = manual(&store, id).await.key;
        let worker = worker(&store).await;
        end_one(&store, worker, end).await;
        assert_eq!(states(&store, run).await["b"].to_string(), expected, "all_done alone would have run it");
        drain(&store, 1, |_| ReportOutcome::Success).await;
    }
}

async fn end_one(store: &Store, worker: i64, outcome: ReportOutcome) {
    end(store, &claim_one(store, worker).await, outcome).await;
}

async fn work_waits_for_a_setup_that_it_is_not_behind(store: Store) {
    let change = |spec: &mut DagSpec| {
        roles(spec);
        spec.tasks[2].trigger_rule = TriggerRule::Always;
    };
    sync(&store, dag("d", SCOPE, change)).await;
    let run = manual(&store, "d").await.key;
    let worker = worker(&store).await;
    let setup = claim(&store, worker, 9).await;
    assert_eq!(setup.len(), 1, "`always` waits for nothing but its setup");
    assert_eq!(setup[0].key.task_id, "s");
    succeed(&store, &setup[0]).await;
    assert_eq!(states(&store, run).await["b"], TaskState::Queued);
    let mut next = claim(&store, worker, 9).await;
    next.sort_by(|a, b| a.key.cmp(&b.key));
    assert_eq!(next.iter().map(|task| task.key.task_id.as_str()).collect::<Vec<_>>(), ["a", "b"]);
}

async fn clearing_takes_setup_and_teardown_along(store: Store) {
    sync(&store, dag("d", SCOPE, roles)).await;
    let run = manual(&store, "d").await.key;
    drain(&store, 1, |task| if task.key.task_id == "b" { FAILS } else { ReportOutcome::Success }).await;
    let only = Selection { tasks: vec![("b".into(), None)], ..Selection::default() };
    let touched = store.clear(run, &only, false, time(9)).await.expect("a task is cleared");
    let mut ids: Vec<&str> = touched.iter().map(|touched| touched.key.task_id.as_str()).collect();
    ids.sort_unstable();
    assert_eq!(ids, ["b", "s", "t"]);
    store.start_queued_runs(time(10)).await.expect("runs start");
    let ran = drain(&store, 1, |_| ReportOutcome::Success).await;
    let ran: Vec<&str> = ran.iter().map(|task| task.key.task_id.as_str()).collect();
    assert_eq!(ran, ["s", "b", "t"]);
    assert_eq!(run_state(&store, run).await, RunState::Success);
}

async fn a_cancelled_run_tears_down(store: Store) {
    sync(&store, dag("d", SCOPE, roles)).await;
    let run = manual(&store, "d").await.key;
    let worker = worker(&store).await;
    end_one(&store, worker, ReportOutcome::Success).await;
    let a = claim_one(&store, worker).await;
    assert!(store.cancel_run(run, "no more", time(5)).await.expect("a run is cancelled"));
    let late = send(&store, &[ended(&a, ReportOutcome::Success)]).await;
    assert_eq!(late.accepted, [false], "it was stopped");
    use TaskState::{Queued, Skipped, Success};
    let expected = [("a", Skipped), ("b", Skipped), ("s", Success), ("t", Queued)];
    let expected: BTreeMap<String, TaskState> = expected.iter().map(|(id, s)| ((*id).to_owned(), *s)).collect();
    assert_eq!(states(&store, run).await, expected);
    assert_eq!(run_state(&store, run).await, RunState::Running);
    let teardown = claim_one(&store, worker).await;
    succeed(&store, &teardown).await;
    assert_eq!(run_state(&store, run).await, RunState::Failed, "no leaf has failed, but the run was given up");

    // A second time ends the teardown as well.
    let run = manual(&store, "d").await.key;
    end_one(&store, worker, ReportOutcome::Success).await;
    assert!(store.cancel_run(run, "no more", time(6)).await.expect("a run is cancelled"));
    assert_eq!(states(&store, run).await["t"], Queued);
    assert!(store.cancel_run(run, "really", time(7)).await.expect("a run is cancelled"));
    assert_eq!((run_state(&store, run).await, states(&store, run).await["t"]), (RunState::Failed, Skipped));
}

async fn a_run_marked_as_failed_tears_down(store: Store) {
    sync(&store, dag("d", SCOPE, roles)).await;
    let run = manual(&store, "d").await.key;
    let worker = worker(&store).await;
    end_one(&store, worker, ReportOutcome::Success).await;
    let _a = claim_one(&store, worker).await;
    let touched = store.mark_run(run, false, time(5)).await.expect("a run is marked");
    assert_eq!(touched.len(), 2, "{touched:?}");
    let found = states(&store, run).await;
    assert_eq!((found["a"], found["b"], found["t"]), (TaskState::Failed, TaskState::Skipped, TaskState::Queued));
    end_one(&store, worker, ReportOutcome::Success).await;
    assert_eq!(run_state(&store, run).await, RunState::Failed);
}

async fn a_run_without_started_setup_ends_at_once(store: Store) {
    sync(&store, dag("d", SCOPE, roles)).await;
    let run = manual(&store, "d").await.key;
    assert!(store.cancel_run(run, "no more", time(5)).await.expect("a run is cancelled"));
    assert_eq!(run_state(&store, run).await, RunState::Failed);
    let found = states(&store, run).await;
    assert!(found.values().all(|state| *state == TaskState::Skipped), "{found:?}");
}

async fn fail_fast_ends_what_is_left(store: Store) {
    let shape: Shape<'_> = &[
        ("s", "bash", &[]),
        ("a", "bash", &["s"]),
        ("b", "bash", &["s"]),
        ("c", "bash", &["a", "b"]),
        ("t", "bash", &["c", "s"]),
    ];
    let change = |spec: &mut DagSpec| {
        roles(spec);
        spec.fail_fast = true;
    };
    sync(&store, dag("d", shape, change)).await;
    let run = manual(&store, "d").await.key;
    let worker = worker(&store).await;
    end_one(&store, worker, ReportOutcome::Success).await;
    let both = claim(&store, worker, 9).await;
    assert_eq!(both.len(), 2);
    let first = both[0].key.task_id.clone();
    end(&store, &both[0], FAILS).await;
    let found = states(&store, run).await;
    assert_eq!((found["a"], found["b"]), (TaskState::Failed, TaskState::Failed));
    assert_eq!((found["c"], found["t"]), (TaskState::Skipped, TaskState::Queued));
    let stopped = instance(&store, &both[1].key).await;
    assert_eq!(stopped.note, Some(format!("fail_fast: task `{first}` has failed")));
    end_one(&store, worker, ReportOutcome::Success).await;
    assert_eq!(run_state(&store, run).await, RunState::Failed);
}

async fn what_waits_for_a_setup_says_so(store: Store) {
    let change = |spec: &mut DagSpec| {
        roles(spec);
        spec.tasks[2].trigger_rule = TriggerRule::Always;
    };
    sync(&store, dag("d", SCOPE, change)).await;
    let run = manual(&store, "d").await;
    let told = store.explain_task(&run, "b", -1, time(3)).await.expect("it can be explained");
    let told = serde_json::to_string(&told).expect("an explanation is data");
    assert!(told.contains("waits for upstream `s`"), "{told}");
}
