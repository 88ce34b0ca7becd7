//! What a task asks of other runs and of its other instances.

use towpath_model::dag::{DagSpec, Gates};
use towpath_model::run::TriggeredBy;
use towpath_model::state::{RunState, TaskState};
use towpath_store::{Mark, NewRun, ReportOutcome, Selection, Store};

use crate::harness::*;

both!(
    a_task_waits_for_itself_in_the_run_before,
    a_failure_in_the_run_before_holds_until_it_is_mended,
    downstream_of_the_run_before_counts_if_asked,
    the_first_run_waits_for_nothing,
    instances_of_a_task_are_limited_over_all_runs,
    instances_of_a_task_are_limited_within_a_run,
    gates_and_pools_together_let_everything_pass,
);

const CHAIN: [(&str, &str, &[&str]); 2] = [("a", "bash", &[]), ("b", "bash", &["a"])];

fn gated(gates: Gates) -> impl FnOnce(&mut DagSpec) {
    move |spec| spec.tasks[0].gates = gates
}

/// Creates the run of a logical date.
async fn run_of(store: &Store, seconds: i64) -> i64 {
    let new = NewRun { logical_date: Some(time(seconds)), ..NewRun::manual("d", time(seconds), TriggeredBy::Cli) };
    store.create_run(new, time(seconds)).await.expect("a run is created").run.key
}

async fn a_task_waits_for_itself_in_the_run_before(store: Store) {
    let past = Gates { depends_on_past: true, ..Gates::default() };
    sync(&store, dag("d", &CHAIN, gated(past))).await;
    let (first, second, third) = (run_of(&store, 1).await, run_of(&store, 2).await, run_of(&store, 3).await);
    let worker = worker(&store).await;
    for run in [first, second, third] {
        let claimed = claim(&store, worker, 9).await;
        let claimed: Vec<_> = claimed.iter().filter(|task| task.key.task_id == "a").collect();
        assert_eq!(claimed.iter().map(|task| task.key.run_key).collect::<Vec<_>>(), [run], "one run after the other");
        succeed(&store, claimed[0]).await;
    }
    assert_eq!(states(&store, second).await["a"], TaskState::Success);
}

async fn a_failure_in_the_run_before_holds_until_it_is_mended(store: Store) {
    let past = Gates { depends_on_past: true, ..Gates::default() };
    sync(&store, dag("d", &CHAIN, gated(past))).await;
    let (first, second) = (run_of(&store, 1).await, run_of(&store, 2).await);
    let worker = worker(&store).await;
    end(&store, &claim_one(&store, worker).await, ReportOutcome::Failed { retry: false }).await;
    assert_eq!(run_state(&store, first).await, RunState::Failed);
    assert!(claim(&store, worker, 9).await.is_empty(), "the second run waits");
    assert_eq!(states(&store, second).await["a"], TaskState::Scheduled);
    let a = Selection { tasks: vec![("a".into(), None)], ..Selection::default() };
    store.mark(first, &a, Mark::Success, false, time(5)).await.expect("it is marked");
    let claimed = claim_one(&store, worker).await;
    assert_eq!((claimed.key.run_key, claimed.key.task_id.as_str()), (second, "a"));
}

async fn downstream_of_the_run_before_counts_if_asked(store: Store) {
    let all = Gates { depends_on_past: true, wait_for_downstream: true, ..Gates::default() };
    sync(&store, dag("d", &CHAIN, gated(all))).await;
    let (first, second) = (run_of(&store, 1).await, run_of(&store, 2).await);
    let worker = worker(&store).await;
    succeed(&store, &claim_one(&store, worker).await).await;
    let b = claim_one(&store, worker).await;
    assert_eq!((b.key.run_key, b.key.task_id.as_str()), (first, "b"));
    assert!(claim(&store, worker, 9).await.is_empty(), "`b` of the first run has not ended");
    skip(&store, &b).await;
    assert_eq!(claim_one(&store, worker).await.key.run_key, second);
}

async fn the_first_run_waits_for_nothing(store: Store) {
    let past = Gates { depends_on_past: true, wait_for_downstream: true, ..Gates::default() };
    sync(&store, dag("d", &CHAIN, gated(past))).await;
    let dateless = manual(&store, "d").await.key;
    assert_eq!(states(&store, dateless).await["a"], TaskState::Queued);
    let first = run_of(&store, 1).await;
    assert_eq!(states(&store, first).await["a"], TaskState::Queued);
}

async fn instances_of_a_task_are_limited_over_all_runs(store: Store) {
    let few = Gates { max_active_tis_per_dag: Some(2), ..Gates::default() };
    sync(&store, dag("d", &[("a", "bash", &[])], gated(few))).await;
    for seconds in 0..5 {
        run_of(&store, seconds).await;
    }
    let worker = worker(&store).await;
    let mut done = 0;
    loop {
        let claimed = claim(&store, worker, 9).await;
        if claimed.is_empty() {
            break;
        }
        assert!(claimed.len() <= 2, "{} at a time", claimed.len());
        for task in &claimed {
            succeed(&store, task).await;
        }
        done += claimed.len();
    }
    assert_eq!(done, 5);
}

async fn instances_of_a_task_are_limited_within_a_run(store: Store) {
    let few = Gates { max_active_tis_per_dagrun: Some(3), ..Gates::default() };
    let over = serde_json::json!({"product": {"bash_command": {"values": [1, 2, 3, 4, 5, 6, 7, 8]}}});
    let change = |spec: &mut DagSpec| {
        spec.tasks[0].gates = few;
        spec.tasks[0].expand = Some(serde_json::from_value(over).expect("it can be expanded over"));
    };
    sync(&store, dag("d", &[("a", "bash", &[]), ("z", "bash", &[])], change)).await;
    let run = manual(&store, "d").await.key;
    let worker = worker(&store).await;
    let claimed = claim(&store, worker, 9).await;
    assert_eq!(claimed.iter().filter(|task| task.key.task_id == "a").count(), 3);
    for task in &claimed {
        succeed(&store, task).await;
    }
    drain(&store, 3, |_| ReportOutcome::Success).await;
    assert_eq!(run_state(&store, run).await, RunState::Success);
}

/// Many runs behind a gate and a small pool, with several workers: nothing is forgotten.
async fn gates_and_pools_together_let_everything_pass(store: Store) {
    let both = Gates { depends_on_past: true, max_active_tis_per_dag: Some(2), ..Gates::default() };
    let change = |spec: &mut DagSpec| {
        spec.max_active_runs = 100;
        spec.max_active_tasks = 1;
        spec.tasks[0].gates = both;
        spec.tasks[1].gates = Gates { max_active_tis_per_dag: Some(1), ..Gates::default() };
    };
    sync(&store, dag("d", &CHAIN, change)).await;
    let mut runs = Vec::new();
    for seconds in 0..30 {
        runs.push(run_of(&store, seconds).await);
    }
    drain(&store, 4, |_| ReportOutcome::Success).await;
    for run in runs {
        assert_eq!(run_state(&store, run).await, RunState::Success);
    }
}
