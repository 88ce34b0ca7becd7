//! Runs that go on with the current version of their DAG.

use towpath_model::dag::DagSpec;
use towpath_model::expand::Expand;
use towpath_model::state::{RunState, TaskState};
use towpath_store::{Error, ReportOutcome, Selection, Store};

use crate::harness::*;

both!(
    a_mended_dag_takes_over_a_failed_run,
    a_running_run_takes_what_is_new,
    a_task_may_become_mapped_and_plain_again,
    what_runs_and_has_no_place_is_in_the_way,
    asking_changes_nothing,
);

const BEFORE: [(&str, &str, &[&str]); 4] =
    [("a", "bash", &[]), ("old", "bash", &[]), ("b", "bash", &["a", "old"]), ("c", "bash", &["b"])];
/// `old` is gone, `new` and `last` have come.
const AFTER: [(&str, &str, &[&str]); 5] = [
    ("a", "bash", &[]),
    ("new", "bash", &["a"]),
    ("b", "bash", &["a", "new"]),
    ("c", "bash", &["b"]),
    ("last", "bash", &["c"]),
];

fn failed() -> Selection {
    Selection { only_failed: true, ..Selection::default() }
}

/// A run of `BEFORE` in which `a` and `old` succeeded and `b` failed; its key.
async fn failed_run(store: &Store, worker: i64) -> i64 {
    sync(store, dag("d", &BEFORE, |_| {})).await;
    let run = manual(store, "d").await.key;
    for task in claim(store, worker, 2).await {
        succeed(store, &task).await;
    }
    end(store, &claim_one(store, worker).await, ReportOutcome::Failed { retry: false }).await;
    assert_eq!(run_state(store, run).await, RunState::Failed);
    run
}

async fn a_mended_dag_takes_over_a_failed_run(store: Store) {
    let worker = worker(&store).await;
    let run = failed_run(&store, worker).await;
    let mend = |spec: &mut DagSpec| {
        spec.max_active_tasks = 1;
        spec.tasks[2].queue = "other".into();
        spec.tasks[2].retry.retries = 3;
    };
    sync(&store, dag("d", &AFTER, mend)).await;
    let touched = store.clear_on_latest(run, &failed(), false, time(3)).await.expect("failures are cleared");
    assert_eq!(touched.iter().map(|t| t.key.task_id.as_str()).collect::<Vec<_>>(), ["b", "c"]);
    let record = store.run_by_key(run).await.expect("runs can be read").expect("it is there");
    let current = store.dag("d").await.expect("DAGs can be read").expect("it is there").version_id;
    assert_eq!((record.version_id, record.version_number, record.state), (current, 2, RunState::Queued));
    assert_eq!(store.start_queued_runs(time(4)).await.expect("runs start"), 1);
    let new = claim_one(&store, worker).await;
    assert_eq!((new.key.task_id.as_str(), new.run.version_id), ("new", current));
    succeed(&store, &new).await;
    let b = instance(&store, &key(run, "b")).await;
    assert_eq!((b.state, b.queue.as_str(), b.max_tries), (TaskState::Queued, "other", 4), "as the new version says");
    let again = claim(&store, worker, 8).await;
    assert!(again.is_empty(), "the queue is another worker's");
    let all = states(&store, run).await;
    assert_eq!((all["old"], all["a"], all["last"]), (TaskState::Removed, TaskState::Success, TaskState::None));
}

async fn a_running_run_takes_what_is_new(store: Store) {
    let worker = worker(&store).await;
    sync(&store, dag("d", &BEFORE, |_| {})).await;
    let run = manual(&store, "d").await.key;
    let first = claim(&store, worker, 2).await;
    let (a, old): (Vec<_>, Vec<_>) = first.into_iter().partition(|task| task.key.task_id == "a");
    succeed(&store, &old[0]).await;
    sync(&store, dag("d", &AFTER, |_| {})).await;
    let none = Selection { only_failed: true, ..Selection::default() };
    assert_eq!(store.clear_on_latest(run, &none, false, time(3)).await.expect("it moves"), []);
    succeed(&store, &a[0]).await;
    let order: Vec<_> = drain(&store, 1, |_| ReportOutcome::Success).await;
    assert_eq!(order.iter().map(|t| t.key.task_id.as_str()).collect::<Vec<_>>(), ["new", "b", "c", "last"]);
    assert_eq!(run_state(&store, run).await, RunState::Success);
}

async fn a_task_may_become_mapped_and_plain_again(store: Store) {
    let worker = worker(&store).await;
    let plain = [("a", "bash", &[] as &[&str]), ("b", "bash", &["a"])];
    let mapped = |spec: &mut DagSpec| {
        let over = serde_json::json!({"product": {"x": {"values": [1, 2, 3]}}});
        spec.tasks[0].expand = Some(serde_json::from_value::<Expand>(over).expect("it can be expanded over"));
    };
    sync(&store, dag("d", &plain, |_| {})).await;
    let run = manual(&store, "d").await.key;
    end(&store, &claim_one(&store, worker).await, ReportOutcome::Failed { retry: false }).await;
    sync(&store, dag("d", &plain, mapped)).await;
    store.clear_on_latest(run, &failed(), false, time(3)).await.expect("it becomes mapped");
    store.start_queued_runs(time(4)).await.expect("runs start");
    let elements = claim(&store, worker, 8).await;
    assert_eq!(elements.iter().map(|t| t.key.map_index).collect::<Vec<_>>(), [0, 1, 2]);
    for task in &elements {
        end(&store, task, ReportOutcome::Failed { retry: false }).await;
    }
    sync(&store, dag("d", &plain, |_| {})).await;
    store.clear_on_latest(run, &failed(), false, time(5)).await.expect("it becomes plain");
    store.start_queued_runs(time(6)).await.expect("runs start");
    let order: Vec<_> = drain(&store, 1, |_| ReportOutcome::Success).await;
    let order: Vec<_> = order.iter().map(|t| (t.key.task_id.as_str(), t.key.map_index)).collect();
    assert_eq!(order, [("a", -1), ("b", -1)]);
    assert_eq!(run_state(&store, run).await, RunState::Success);
}

async fn what_runs_and_has_no_place_is_in_the_way(store: Store) {
    let worker = worker(&store).await;
    sync(&store, dag("d", &BEFORE, |_| {})).await;
    let run = manual(&store, "d").await.key;
    claim(&store, worker, 2).await;
    sync(&store, dag("d", &AFTER, |_| {})).await;
    let refused = store.clear_on_latest(run, &Selection::default(), false, time(3)).await;
    let Err(Error::Invalid(reason)) = refused else { panic!("{refused:?}") };
    assert!(reason.contains("task `old`") && reason.contains("cancel it"), "{reason}");
    assert_eq!(store.run_by_key(run).await.expect("runs can be read").expect("it is there").version_number, 1);
}

async fn asking_changes_nothing(store: Store) {
    let worker = worker(&store).await;
    let run = failed_run(&store, worker).await;
    let before = states(&store, run).await;
    sync(&store, dag("d", &AFTER, |_| {})).await;
    let touched = store.clear_on_latest(run, &failed(), true, time(3)).await.expect("it can be asked");
    assert_eq!(touched.len(), 2);
    assert_eq!(states(&store, run).await, before);
    assert_eq!(store.run_by_key(run).await.expect("runs can be read").expect("it is there").version_number, 1);
}
