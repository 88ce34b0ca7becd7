//! Runs that are cancelled, and what is deleted: nothing is left, and nobody stumbles over it.

use towpath_model::state::{RunState, TaskState};
use towpath_store::{Deletion, LogChunk, LogKey, ReportOutcome, Store};

use crate::harness::*;

both!(
    a_queued_run_can_be_cancelled,
    a_run_is_deleted_with_all_that_belongs_to_it,
    a_running_run_is_deleted_by_force_alone,
    a_late_report_of_a_deleted_run_changes_nothing,
    a_dag_is_deleted_and_comes_back_as_new,
    a_pool_keeps_its_description,
);

async fn missing(store: &Store, run_key: i64) -> bool {
    store.run_by_key(run_key).await.expect("runs can be read").is_none()
        && store.task_instances(run_key).await.expect("task instances can be read").is_empty()
}

async fn delete(store: &Store, run_key: i64, force: bool) -> Deletion {
    store.delete_run(run_key, force, time(3)).await.expect("the database answers")
}

async fn a_queued_run_can_be_cancelled(store: Store) {
    sync(&store, wide("d", 2, |spec| spec.max_active_runs = 1)).await;
    let (first, second) = (manual(&store, "d").await, manual(&store, "d").await);
    assert_eq!(second.state, RunState::Queued);
    assert!(store.cancel_run(second.key, "no more", time(1)).await.expect("cancelled"));
    let over = store.run_by_key(second.key).await.expect("read").expect("it exists");
    assert_eq!((over.state, over.start_date, over.end_date), (RunState::Failed, None, Some(time(1))));
    assert_eq!(count(&store, second.key, TaskState::Skipped).await, 2);
    assert_eq!(instance(&store, &key(second.key, "t0000")).await.note.as_deref(), Some("no more"));
    assert!(!store.cancel_run(second.key, "again", time(1)).await.expect("asked"));
    assert_eq!(store.start_queued_runs(time(2)).await.expect("asked"), 0);
    assert_eq!(run_state(&store, first.key).await, RunState::Running);
}

async fn a_run_is_deleted_with_all_that_belongs_to_it(store: Store) {
    sync(&store, wide("d", 1, |spec| spec.tasks[0].retry.retries = 1)).await;
    let (run, other) = (manual(&store, "d").await, manual(&store, "d").await);
    let worker = worker(&store).await;
    let task = claim_one(&store, worker).await;
    assert_eq!(task.key.run_key, run.key);
    fail(&store, &task).await;
    store.wake_due(time(9_999), 9).await.expect("woken");
    let again = claim(&store, worker, 9).await.into_iter().find(|task| task.key.run_key == run.key).expect("retried");
    let log = |seq| LogChunk {
        key: LogKey { task: again.key.clone(), try_number: 2 },
        seq,
        lines: 1,
        text: "{\"event\":\"x\"}\n".into(),
    };
    store.append_logs(&[log(0)], time(2)).await.expect("a log is kept");
    let mut report = ended(&again, ReportOutcome::Success);
    report.xcoms.push(("return_value".into(), 1.into()));
    assert_eq!(send(&store, &[report]).await.accepted, [true]);
    assert_eq!(store.tries(&again.key).await.expect("tries can be read").len(), 2);
    assert_eq!(delete(&store, run.key, false).await, Deletion::Deleted);
    assert!(missing(&store, run.key).await);
    assert!(store.tries(&again.key).await.expect("tries can be read").is_empty());
    assert!(store.task_xcoms(&again.key).await.expect("XComs can be read").is_empty());
    assert_eq!(delete(&store, run.key, false).await, Deletion::Missing);
    // What comes late is not kept.
    store.append_logs(&[log(1)], time(4)).await.expect("a late log is no error");
    assert!(!missing(&store, other.key).await);
}

async fn a_running_run_is_deleted_by_force_alone(store: Store) {
    store.set_pool("p", 1, None, time(0)).await.expect("a pool is set");
    sync(&store, wide("d", 2, |spec| spec.tasks.iter_mut().for_each(|task| task.pool = "p".into()))).await;
    let (run, next) = (manual(&store, "d").await, manual(&store, "d").await);
    assert_eq!(delete(&store, run.key, false).await, Deletion::Running);
    assert_eq!(count(&store, run.key, TaskState::Queued).await, 1, "it goes on");
    assert_eq!(delete(&store, run.key, true).await, Deletion::Deleted);
    assert!(missing(&store, run.key).await);
    assert_eq!(drain(&store, 1, |_| ReportOutcome::Success).await.len(), 2, "its slot is free");
    assert_eq!(run_state(&store, next.key).await, RunState::Success);
}

async fn a_late_report_of_a_deleted_run_changes_nothing(store: Store) {
    sync(&store, wide("d", 1, |_| {})).await;
    let run = manual(&store, "d").await;
    let task = claim_one(&store, worker(&store).await).await;
    assert_eq!(delete(&store, run.key, true).await, Deletion::Deleted);
    assert_eq!(send(&store, &[ended(&task, ReportOutcome::Success)]).await.accepted, [false]);
    assert!(missing(&store, run.key).await);
}

async fn a_dag_is_deleted_and_comes_back_as_new(store: Store) {
    for id in ["d", "other"] {
        sync(&store, wide(id, 1, |_| {})).await;
        sync(&store, wide(id, 2, |spec| spec.max_active_runs = 1)).await;
    }
    let (run, queued, other) = (manual(&store, "d").await, manual(&store, "d").await, manual(&store, "other").await);
    let delete = async || store.delete_dag("d", time(1)).await.expect("the database answers");
    assert_eq!(delete().await, Deletion::Running);
    assert_eq!((run_state(&store, run.key).await, queued.state), (RunState::Running, RunState::Queued));
    assert!(store.cancel_run(run.key, "no more", time(1)).await.expect("cancelled"));
    assert_eq!(delete().await, Deletion::Deleted);
    assert!(store.dag("d").await.expect("DAGs can be read").is_none());
    assert!(store.versions("d").await.expect("versions can be read").is_empty());
    assert!(missing(&store, run.key).await && missing(&store, queued.key).await);
    assert!(!missing(&store, other.key).await);
    assert_eq!(delete().await, Deletion::Missing);
    sync(&store, wide("d", 1, |_| {})).await;
    let back = store.dag("d").await.expect("DAGs can be read").expect("its file brings it back");
    assert_eq!((back.version_number, back.is_active), (1, true));
    let run = manual(&store, "d").await;
    assert_eq!((run.state, count(&store, run.key, TaskState::Queued).await), (RunState::Running, 1));
}

async fn a_pool_keeps_its_description(store: Store) {
    let pool = async || {
        let pools = store.pools().await.expect("pools can be read");
        pools.into_iter().find(|pool| pool.name == "p").map(|pool| (pool.slots, pool.description))
    };
    store.set_pool("p", 1, Some("connections"), time(0)).await.expect("a pool is set");
    store.set_pool("p", 2, None, time(0)).await.expect("a pool is set");
    assert_eq!(pool().await, Some((2, Some("connections".to_owned()))));
    assert!(store.delete_pool("p").await.expect("a pool is deleted"));
    assert_eq!(pool().await, None);
    assert!(!store.delete_pool("p").await.expect("asked"));
}
