//! Workers that stop renewing their leases, and runs that last too long.

use std::time::Duration;

use towpath_model::state::{RunState, TaskState};
use towpath_store::{JobState, ReportOutcome, StopOrder, Store};

use crate::harness::*;

both!(
    a_heartbeat_renews_the_lease,
    a_lost_worker_loses_its_attempts,
    a_lost_worker_claims_nothing,
    an_ended_worker_leaves_nothing_behind,
    stop_orders_name_what_was_taken_away,
    a_retry_follows_the_loss_of_a_worker,
    a_worker_that_is_there_has_no_orphans,
    a_run_past_its_time_limit_fails,
    a_cancelled_run_ends_now,
);

async fn job_state(store: &Store, id: i64) -> JobState {
    store.jobs().await.expect("read").into_iter().find(|job| job.id == id).expect("the job is listed").state
}

async fn a_heartbeat_renews_the_lease(store: Store) {
    let worker = worker(&store).await;
    // The lease that began at 0 lasts 60 seconds.
    let beat = store.heartbeat(worker, LEASE, &[], time(59)).await.expect("answered");
    assert!(beat.alive && beat.stop.is_empty());
    assert_eq!(store.expire_jobs(time(60)).await.expect("looked"), 0);
    let job = store.jobs().await.expect("read").remove(0);
    assert_eq!((job.state, job.heartbeat_at, job.lease_until), (JobState::Running, time(59), time(119)));
    store.expire_jobs(time(118)).await.expect("looked");
    assert_eq!(job_state(&store, worker).await, JobState::Running);
    store.expire_jobs(time(119)).await.expect("looked");
    assert_eq!(job_state(&store, worker).await, JobState::Lost);
    assert!(!store.heartbeat(worker, LEASE, &[], time(120)).await.expect("answered").alive);
    assert_eq!(job_state(&store, worker).await, JobState::Lost);
    assert!(!store.heartbeat(worker + 1, LEASE, &[], time(120)).await.expect("answered").alive);
}

async fn a_lost_worker_loses_its_attempts(store: Store) {
    sync(&store, wide("d", 3, |_| {})).await;
    let run = manual(&store, "d").await.key;
    let (gone, other) = (worker(&store).await, worker(&store).await);
    let taken = claim(&store, gone, 2).await;
    let kept = claim_one(&store, other).await;
    store.heartbeat(other, LEASE, &[], time(50)).await.expect("answered");
    assert_eq!(store.expire_jobs(time(70)).await.expect("looked"), 2);
    assert_eq!(store.expire_jobs(time(70)).await.expect("looked"), 0);
    let failed = instance(&store, &taken[0].key).await;
    assert_eq!((failed.state, failed.end_date), (TaskState::Failed, Some(time(70))));
    assert_eq!(failed.note.as_deref(), Some("its worker on host has stopped renewing its lease"));
    assert_eq!(states(&store, run).await[&kept.key.task_id], TaskState::Running);

    // It comes back and says that all went well: too late.
    let late: Vec<_> = taken.iter().map(|task| ended(task, ReportOutcome::Success)).collect();
    assert_eq!(send(&store, &late).await.accepted, [false, false]);
    assert_eq!(instance(&store, &taken[0].key).await, failed);
    succeed(&store, &kept).await;
    assert_eq!(run_state(&store, run).await, RunState::Failed);
}

async fn a_lost_worker_claims_nothing(store: Store) {
    sync(&store, wide("d", 1, |_| {})).await;
    let run = manual(&store, "d").await.key;
    let (lost, other) = (worker(&store).await, worker(&store).await);
    assert_eq!(store.lose_job(lost, "made up", time(1)).await.expect("lost"), 0);
    assert_eq!(claim(&store, lost, 1).await, []);
    assert_eq!(claim(&store, other + 1, 1).await, []);
    assert_eq!(states(&store, run).await["t0000"], TaskState::Queued);
    assert_eq!(claim(&store, other, 1).await.len(), 1);
}

async fn an_ended_worker_leaves_nothing_behind(store: Store) {
    sync(&store, wide("d", 1, |_| {})).await;
    let run = manual(&store, "d").await.key;
    let worker = worker(&store).await;
    let task = claim_one(&store, worker).await;
    store.end_job(worker, time(5)).await.expect("ended");
    assert_eq!(job_state(&store, worker).await, JobState::Ended);
    assert_eq!(instance(&store, &task.key).await.note.as_deref(), Some("its worker has ended"));
    assert_eq!(run_state(&store, run).await, RunState::Failed);
    assert_eq!(store.lose_job(worker, "made up", time(6)).await.expect("asked"), 0);
    assert_eq!(job_state(&store, worker).await, JobState::Ended);
}

async fn stop_orders_name_what_was_taken_away(store: Store) {
    sync(&store, wide("one", 1, |_| {})).await;
    sync(&store, wide("two", 1, |_| {})).await;
    let (one, _) = (manual(&store, "one").await.key, manual(&store, "two").await.key);
    let worker = worker(&store).await;
    let running: Vec<_> = claim(&store, worker, 9).await.into_iter().map(|task| (task.key, task.attempt)).collect();
    let beat = store.heartbeat(worker, LEASE, &running, time(5)).await.expect("answered");
    assert!(beat.alive && beat.stop.is_empty());
    assert!(store.cancel_run(one, "made up", time(6)).await.expect("cancelled"));
    let beat = store.heartbeat(worker, LEASE, &running, time(7)).await.expect("answered");
    let (key, attempt) = running.into_iter().find(|(key, _)| key.run_key == one).expect("both were claimed");
    assert_eq!((beat.alive, beat.stop), (true, vec![StopOrder { key: key.clone(), attempt }]));
    // An attempt that never was is one to end, too.
    let beat = store.heartbeat(worker, LEASE, &[(key, attempt ^ 1)], time(8)).await.expect("answered");
    assert_eq!(beat.stop.len(), 1);
}

async fn a_retry_follows_the_loss_of_a_worker(store: Store) {
    let retry = |spec: &mut towpath_model::dag::DagSpec| {
        spec.tasks[0].retry.retries = 1;
        spec.tasks[0].retry.delay = Duration::from_secs(10);
    };
    sync(&store, wide("d", 1, retry)).await;
    let run = manual(&store, "d").await.key;
    let (gone, other) = (worker(&store).await, worker(&store).await);
    let first = claim_one(&store, gone).await;
    assert_eq!(store.lose_job(gone, "made up", time(20)).await.expect("lost"), 1);
    let waiting = instance(&store, &first.key).await;
    assert_eq!((waiting.state, waiting.available_at), (TaskState::UpForRetry, Some(time(30))));
    assert_eq!(store.wake_due(time(30), 9).await.expect("woken"), 1);
    let second = claim_one(&store, other).await;
    assert_eq!(second.try_number, 2);
    assert_eq!(send(&store, &[ended(&first, ReportOutcome::Success)]).await.accepted, [false]);
    succeed(&store, &second).await;
    assert_eq!(run_state(&store, run).await, RunState::Success);
    let tries = store.tries(&first.key).await.expect("read");
    assert_eq!(tries.iter().map(|t| t.note.as_deref()).collect::<Vec<_>>(), [Some("made up"), None]);
}

/// What a scheduler leaves that dies after it has closed a job and before it has ended its attempts.
#[tokio::test]
async fn orphans_of_a_scheduler_that_died_end_on_sqlite() {
    let db = towpath_testkit::sqlite();
    let store = open(&db).await;
    let mut connection = <sqlx::SqliteConnection as sqlx::Connection>::connect(&db.url).await.expect("it opens");
    let close = "UPDATE job SET state = 'lost'";
    orphan(&store, async || {
        sqlx::query(close).execute(&mut connection).await.expect("the job is closed");
    })
    .await;
}

/// As on SQLite.
#[tokio::test]
async fn orphans_of_a_scheduler_that_died_end_on_postgres() {
    let db = towpath_testkit::postgres().await;
    let store = open(&db).await;
    let mut connection = <sqlx::PgConnection as sqlx::Connection>::connect(&db.url).await.expect("it answers");
    let close = "UPDATE job SET state = 'lost'";
    orphan(&store, async || {
        sqlx::query(close).execute(&mut connection).await.expect("the job is closed");
    })
    .await;
}

async fn orphan(store: &Store, close_jobs: impl AsyncFnOnce()) {
    sync(store, wide("d", 2, |_| {})).await;
    let run = manual(store, "d").await.key;
    claim(store, worker(store).await, 2).await;
    close_jobs().await;
    assert_eq!(store.expire_jobs(time(999)).await.expect("looked"), 0);
    assert_eq!(count(store, run, TaskState::Running).await, 2);
    assert_eq!(store.end_orphans(time(5)).await.expect("looked"), 2);
    assert_eq!(store.end_orphans(time(5)).await.expect("looked"), 0);
    assert_eq!(run_state(store, run).await, RunState::Failed);
}

async fn a_worker_that_is_there_has_no_orphans(store: Store) {
    sync(&store, wide("d", 1, |_| {})).await;
    let run = manual(&store, "d").await.key;
    let worker = worker(&store).await;
    let task = claim_one(&store, worker).await;
    assert_eq!(store.end_orphans(time(5)).await.expect("looked"), 0);
    succeed(&store, &task).await;
    assert_eq!(run_state(&store, run).await, RunState::Success);
}

async fn a_run_past_its_time_limit_fails(store: Store) {
    let tasks: [(&str, &str, &[&str]); 3] = [("a", "bash", &[]), ("b", "bash", &[]), ("c", "bash", &["a"])];
    sync(&store, dag("d", &tasks, |spec| spec.dagrun_timeout = Some(Duration::from_secs(30)))).await;
    let run = manual(&store, "d").await.key;
    let worker = worker(&store).await;
    let task = claim_one(&store, worker).await;
    assert_eq!(store.expire_runs(time(29)).await.expect("looked"), 0);
    assert_eq!(store.expire_runs(time(30)).await.expect("looked"), 1);
    assert_eq!(store.expire_runs(time(31)).await.expect("looked"), 0);
    let over = store.run_by_key(run).await.expect("read").expect("there");
    assert_eq!((over.state, over.end_date), (RunState::Failed, Some(time(30))));
    for ti in store.task_instances(run).await.expect("read") {
        assert_eq!((ti.state, ti.note.as_deref()), (TaskState::Skipped, Some("dagrun_timeout has passed")));
    }
    assert_eq!(send(&store, &[ended(&task, ReportOutcome::Success)]).await.accepted, [false]);
    let beat = store.heartbeat(worker, LEASE, &[(task.key, task.attempt)], time(31)).await.expect("answered");
    assert_eq!(beat.stop.len(), 1);
    assert_eq!(claim(&store, worker, 9).await, []);
}

async fn a_cancelled_run_ends_now(store: Store) {
    sync(&store, wide("d", 20, |_| {})).await;
    let run = manual(&store, "d").await.key;
    let worker = worker(&store).await;
    claim(&store, worker, 3).await;
    assert!(store.cancel_run(run, "made up", time(5)).await.expect("cancelled"));
    assert!(!store.cancel_run(run, "made up", time(6)).await.expect("asked"));
    assert_eq!(count(&store, run, TaskState::Skipped).await, 20);
    assert_eq!(run_state(&store, run).await, RunState::Failed);
    assert!(store.state_counts().await.expect("counted").is_empty());
}
