//! What cleans the staging area is told: how runs stand, which were deleted, and when nothing can begin in one.

use serde_json::{Value, json};
use towpath_model::state::RunState;
use towpath_store::{Deletion, ReportOutcome, RunEnd, Store};

use crate::harness::*;

both!(
    large_xcoms_are_files,
    ends_are_told_by_run,
    deleted_runs_are_remembered_until_their_data_is_gone,
    work_is_done_in_runs_that_are_over
);

/// A run of a DAG with one task, which has ended so.
async fn over(store: &Store, worker: i64, outcome: ReportOutcome) -> towpath_store::RunRecord {
    let run = manual(store, "d").await;
    let task = claim_one(store, worker).await;
    assert_eq!(task.key.run_key, run.key);
    assert_eq!(send(store, &[ended(&task, outcome)]).await.accepted, [true]);
    run
}

async fn large_xcoms_are_files(store: Store) {
    let folder = tempfile::tempdir().expect("a folder");
    store.keep_large_values_in(folder.path().to_owned());
    let over = json!({"product": {"x": {"output": {"task_id": "a"}}}});
    let expand = serde_json::from_value(over).expect("it can be expanded over");
    sync(&store, dag("d", &[("a", "bash", &[]), ("m", "bash", &["a"])], |spec| spec.tasks[1].expand = Some(expand)))
        .await;
    let worker = worker(&store).await;
    let run = manual(&store, "d").await;
    let task = claim_one(&store, worker).await;
    let value = json!(["x".repeat(600_000), "ü".repeat(300_000)]);
    let mut report = ended(&task, ReportOutcome::Success);
    report.xcoms = vec![("return_value".into(), value.clone()), ("small".into(), json!("@small"))];
    assert_eq!(send(&store, &[report]).await.accepted, [true]);
    let found = store.xcoms(run.key, "a", "return_value", None).await.expect("read").pop().expect("it is there");
    assert!(found.value == value);
    let path = folder.path().join(found.file.expect("it is in a file"));
    assert_eq!(path.parent(), Some(&*folder.path().join("d").join(&run.run_id).join("a")));
    let all = store.task_xcoms(&key(run.key, "a")).await.expect("read");
    let all: Vec<_> = all.into_iter().map(|xcom| (xcom.key, xcom.value, xcom.file.is_some())).collect();
    assert_eq!(all, [("return_value".into(), Value::Null, true), ("small".into(), json!("@small"), false)]);
    // What is mapped over it gets its elements.
    assert_eq!(claim(&store, worker, 9).await.len(), 2);
    std::fs::remove_file(path).expect("removed");
    let error = store.xcoms(run.key, "a", "return_value", None).await.expect_err("it is gone").to_string();
    assert!(error.contains("a large XCom is not there any more") && error.contains("clear the task"), "{error}");
}

async fn ends_are_told_by_run(store: Store) {
    sync(&store, wide("d", 1, |_| {})).await;
    let worker = worker(&store).await;
    assert_eq!(store.latest_success("d").await.expect("asked"), None);
    let good = over(&store, worker, ReportOutcome::Success).await;
    let better = over(&store, worker, ReportOutcome::Success).await;
    let bad = over(&store, worker, ReportOutcome::Failed { retry: false }).await;
    let open = manual(&store, "d").await;
    let ids: Vec<String> =
        [&good, &bad, &open].iter().map(|run| run.run_id.clone()).chain(["no such".to_owned()]).collect();
    let ends = store.run_ends("d", &ids).await.expect("asked");
    assert_eq!(ends.len(), 3);
    assert_eq!(ends[&good.run_id], RunEnd { key: good.key, state: RunState::Success, end_date: Some(time(2)) });
    assert_eq!(ends[&bad.run_id].state, RunState::Failed);
    assert_eq!(ends[&open.run_id], RunEnd { key: open.key, state: RunState::Running, end_date: None });
    assert!(store.run_ends("other", &ids).await.expect("asked").is_empty());
    assert_eq!(store.latest_success("d").await.expect("asked"), Some(better.run_id));
}

async fn deleted_runs_are_remembered_until_their_data_is_gone(store: Store) {
    sync(&store, wide("d", 1, |_| {})).await;
    let worker = worker(&store).await;
    let one = over(&store, worker, ReportOutcome::Success).await;
    let two = over(&store, worker, ReportOutcome::Success).await;
    let open = manual(&store, "d").await;
    let removals = async |limit| store.staging_removals(limit).await.expect("asked");
    assert_eq!(store.delete_run(open.key, false, time(3)).await.expect("asked"), Deletion::Running);
    assert_eq!(removals(9).await, []);
    assert_eq!(store.delete_run(one.key, false, time(3)).await.expect("asked"), Deletion::Deleted);
    let first = ("d".to_owned(), one.run_id.clone());
    assert_eq!(removals(9).await, std::slice::from_ref(&first));
    assert!(store.cancel_run(open.key, "enough", time(4)).await.expect("cancelled"));
    // Its task is told to stop before the run can go.
    let claimed = store.task_instances(open.key).await.expect("read");
    assert_eq!(claimed.len(), 1);
    assert_eq!(store.delete_dag("d", time(5)).await.expect("asked"), Deletion::Deleted);
    let all = removals(9).await;
    assert_eq!(all.len(), 3);
    assert!(all.contains(&("d".to_owned(), two.run_id)) && all.contains(&("d".to_owned(), open.run_id)));
    assert_eq!(removals(2).await.len(), 2);
    store.staging_removed("d", &first.1, time(6)).await.expect("forgotten");
    store.staging_removed("d", &first.1, time(6)).await.expect("forgotten twice");
    assert!(!removals(9).await.contains(&first));
}

async fn work_is_done_in_runs_that_are_over(store: Store) {
    sync(&store, wide("d", 1, |_| {})).await;
    let worker = worker(&store).await;
    let done = over(&store, worker, ReportOutcome::Success).await;
    let open = manual(&store, "d").await;
    assert_eq!(store.while_over(done.key, time(3), || 7).await.expect("asked"), Some(7));
    assert_eq!(store.while_over(open.key, time(3), || 7).await.expect("asked"), None);
    assert_eq!(store.while_over(-1, time(3), || 7).await.expect("asked"), None);
}
