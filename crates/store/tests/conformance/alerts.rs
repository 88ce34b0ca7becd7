//! The outbox: an end that somebody is to be told of is written once, and sent by one at a time.

use std::collections::BTreeSet;
use std::task::Poll;
use std::time::Duration;

use chrono::TimeDelta;
use towpath_model::alert::{Alert, Event, Target};
use towpath_model::dag::DagSpec;
use towpath_model::state::{RunState, TaskState};
use towpath_store::{AlertEnd, AlertRecord, LogChunk, LogKey, NewRun, Report, ReportOutcome, Store, Topic};

use crate::harness::*;

both!(
    ends_of_tries_are_written_with_them,
    ends_of_runs_are_written_with_them,
    nobody_is_told_of_what_nobody_asked_for,
    empty_tasks_tell_of_their_success,
    a_step_that_is_broken_off_tells_nobody,
    an_alert_is_with_one_sender_at_a_time,
    a_sender_that_dies_is_followed_by_another,
    what_is_given_up_or_sent_is_done_with,
    the_end_of_a_log,
);

const SENDING: Duration = Duration::from_secs(60);

fn hook(name: &str) -> Target {
    Target::Webhook(format!("https://example.org/{name}"))
}

fn on(event: Event, name: &str) -> Alert {
    Alert { on: vec![event], target: hook(name) }
}

/// `first` with a retry, which tells of everything, then `second`, which tells nobody; the run tells of both ends.
fn told(spec: &mut DagSpec) {
    let first = spec.tasks.iter_mut().find(|task| task.task_id == "first").expect("it is there");
    first.retry.retries = 1;
    first.retry.delay = Duration::from_secs(5);
    first.email = vec!["a@example.org".into(), "b@example.org".into()];
    first.email_on_retry = false;
    first.alerts = vec![on(Event::Failure, "failure"), on(Event::Retry, "retry"), on(Event::Success, "success")];
    spec.alerts = vec![on(Event::Failure, "run_failure"), on(Event::Success, "run_success")];
}

async fn with_dag(store: &Store) -> i64 {
    sync(store, dag("d", &[("first", "bash", &[]), ("second", "bash", &["first"])], told)).await;
    worker(store).await
}

async fn alerts(store: &Store, run_key: i64) -> Vec<AlertRecord> {
    store.alerts_of_run(run_key).await.expect("the outbox can be read")
}

fn names(alerts: &[AlertRecord]) -> Vec<&str> {
    alerts
        .iter()
        .map(|alert| match &alert.target {
            Target::Webhook(to) => to.rsplit('/').next().expect("an address has parts"),
            Target::Email(_) => "mail",
            other => panic!("{other:?}"),
        })
        .collect()
}

async fn ends_of_tries_are_written_with_them(store: Store) {
    let worker = with_dag(&store).await;
    let mut wakes = store.wakes().subscribe(Topic::Alert);
    wakes.mark_unchanged();
    let run = manual(&store, "d").await;
    let task = claim_one(&store, worker).await;
    assert!(alerts(&store, run.key).await.is_empty() && !wakes.has_changed().expect("the store lives"));
    let why = Report { note: Some("exit code 1".into()), ..ended(&task, ReportOutcome::Failed { retry: true }) };
    assert_eq!(send(&store, &[why.clone(), why.clone()]).await.accepted, [true, false]);
    // The answer was lost and the worker asks again.
    assert_eq!(send(&store, &[why]).await.accepted, [false]);
    assert!(wakes.has_changed().expect("the store lives"));
    let [retry] = &alerts(&store, run.key).await[..] else { panic!("one alert") };
    assert_eq!((retry.event, &retry.target), (Event::Retry, &hook("retry")));
    assert_eq!(
        (retry.dag_id.as_str(), retry.run_id.as_str(), retry.task()),
        ("d", run.run_id.as_str(), Some(task.key))
    );
    assert_eq!((retry.try_number, retry.max_tries, retry.note.as_deref()), (1, 1, Some("exit code 1")));
    assert_eq!((retry.start_date, retry.end_date), (Some(time(1)), Some(time(2))));
    assert_eq!((retry.created_at, retry.next_at, retry.attempts), (time(2), Some(time(2)), 0));

    assert_eq!(store.wake_due(time(10), 9).await.expect("timers can be asked"), 1);
    fail(&store, &claim_one(&store, worker).await).await;
    let all = alerts(&store, run.key).await;
    assert_eq!(names(&all), ["retry", "mail", "failure", "run_failure"]);
    assert_eq!((all[1].event, all[1].try_number), (Event::Failure, 2));
    assert_eq!(all[1].target, Target::Email(vec!["a@example.org".into(), "b@example.org".into()]));
    assert_eq!((&all[3].task_id, all[3].try_number, all[3].event), (&None, 0, Event::Failure));
    let different: BTreeSet<&str> = all.iter().map(|alert| alert.dedup.as_str()).collect();
    assert_eq!(different.len(), 4);
}

async fn ends_of_runs_are_written_with_them(store: Store) {
    let worker = with_dag(&store).await;
    let good = manual(&store, "d").await.key;
    for _ in 0..2 {
        succeed(&store, &claim_one(&store, worker).await).await;
    }
    assert_eq!(names(&alerts(&store, good).await), ["success", "run_success"]);
    // Stopped by somebody: its task was skipped, of which nobody is told.
    let stopped = manual(&store, "d").await.key;
    claim_one(&store, worker).await;
    store.cancel_run(stopped, "enough", time(3)).await.expect("a run can be cancelled");
    assert_eq!(names(&alerts(&store, stopped).await), ["run_failure"]);
    // Over as soon as it begins: nothing to do, and no tasks at all.
    for (dag_id, tasks) in [("idle", vec![("a", "empty", &[][..])]), ("none", vec![])] {
        sync(&store, dag(dag_id, &tasks, |spec| spec.alerts = vec![on(Event::Success, "idle")])).await;
        let run = manual(&store, dag_id).await;
        store.start_queued_runs(time(1)).await.expect("runs can be started");
        assert_eq!(run_state(&store, run.key).await, RunState::Success);
        assert_eq!(names(&alerts(&store, run.key).await), ["idle"], "{dag_id}");
    }
    // A queued run that starts later ends once.
    sync(&store, dag("later", &[], |spec| spec.alerts = vec![on(Event::Success, "later")])).await;
    store.set_paused("later", true, time(0)).await.expect("a DAG can be paused");
    let run = manual(&store, "later").await.key;
    assert!(alerts(&store, run).await.is_empty());
    store.set_paused("later", false, time(0)).await.expect("a DAG can be unpaused");
    store.start_queued_runs(time(1)).await.expect("runs can be started");
    assert_eq!(names(&alerts(&store, run).await), ["later"]);
}

async fn nobody_is_told_of_what_nobody_asked_for(store: Store) {
    let worker = with_dag(&store).await;
    sync(&store, dag("quiet", &[("a", "bash", &[]), ("b", "bash", &["a"])], |_| {})).await;
    let run = manual(&store, "quiet").await.key;
    fail(&store, &claim_one(&store, worker).await).await;
    assert_eq!((run_state(&store, run).await, alerts(&store, run).await), (RunState::Failed, vec![]));
    // In the foreground, somebody is watching.
    let watched =
        NewRun { queue: Some("mine".into()), ..NewRun::manual("d", time(0), towpath_model::run::TriggeredBy::Cli) };
    let run = store.create_run(watched, time(0)).await.expect("a run is created").run.key;
    store.cancel_run(run, "enough", time(3)).await.expect("a run can be cancelled");
    assert_eq!((run_state(&store, run).await, alerts(&store, run).await), (RunState::Failed, vec![]));
    assert_eq!(store.next_alert_at().await.expect("the outbox can be read"), None);
}

async fn empty_tasks_tell_of_their_success(store: Store) {
    let change = |spec: &mut DagSpec| spec.tasks[0].alerts = vec![on(Event::Success, "success")];
    sync(&store, dag("d", &[("a", "empty", &[]), ("b", "empty", &["a"])], change)).await;
    let worker = worker(&store).await;
    let run = manual(&store, "d").await.key;
    succeed(&store, &claim_one(&store, worker).await).await;
    assert_eq!(run_state(&store, run).await, RunState::Success);
    assert_eq!(names(&alerts(&store, run).await), ["success"]);
}

/// Wherever a step is broken off, the end and whom it tells are there together or not at all.
async fn a_step_that_is_broken_off_tells_nobody(store: Store) {
    let worker = with_dag(&store).await;
    let run = manual(&store, "d").await.key;
    let task = claim_one(&store, worker).await;
    let report = [ended(&task, ReportOutcome::Failed { retry: false })];
    let nobody = asks(0, 0);
    let mut broken_off = 0;
    for polls in 1.. {
        let reply = up_to(polls, store.report(&report, &[], &nobody, time(2))).await;
        let state = instance(&store, &task.key).await.state;
        let all = alerts(&store, run).await;
        if state == TaskState::Failed {
            assert_eq!(names(&all), ["mail", "failure", "run_failure"]);
            break;
        }
        assert!(reply.is_none(), "{reply:?}");
        assert_eq!((state, names(&all)), (TaskState::Running, vec![]));
        broken_off += 1;
    }
    assert!(broken_off > 3, "{broken_off}");
    assert_eq!(send(&store, &report).await.accepted, [false]);
    assert_eq!(alerts(&store, run).await.len(), 3);
}

/// The result of `work`, which is dropped when it has been polled so often.
async fn up_to<T>(polls: usize, work: impl Future<Output = T>) -> Option<T> {
    let mut work = std::pin::pin!(work);
    let mut left = polls;
    std::future::poll_fn(|context| {
        if left == 0 {
            return Poll::Ready(None);
        }
        left -= 1;
        work.as_mut().poll(context).map(Some)
    })
    .await
}

async fn an_alert_is_with_one_sender_at_a_time(store: Store) {
    let worker = with_dag(&store).await;
    let run = manual(&store, "d").await.key;
    end(&store, &claim_one(&store, worker).await, ReportOutcome::Failed { retry: false }).await;
    let mut senders = tokio::task::JoinSet::new();
    for _ in 0..8 {
        let store = store.clone();
        senders.spawn(async move { store.claim_alerts(1, SENDING, time(2)).await.expect("the outbox answers") });
    }
    let mut claimed: Vec<i64> = senders.join_all().await.into_iter().flatten().map(|alert| alert.id).collect();
    claimed.extend(store.claim_alerts(9, SENDING, time(2)).await.expect("the outbox answers").iter().map(|a| a.id));
    claimed.sort_unstable();
    assert_eq!(claimed, alerts(&store, run).await.iter().map(|alert| alert.id).collect::<Vec<_>>());
    let lease = time(2) + TimeDelta::seconds(60);
    assert_eq!(store.next_alert_at().await.expect("the outbox can be read"), Some(lease));
    assert_eq!(store.claim_alerts(9, SENDING, time(61)).await.expect("the outbox answers"), []);
}

async fn a_sender_that_dies_is_followed_by_another(store: Store) {
    let worker = with_dag(&store).await;
    manual(&store, "d").await;
    fail(&store, &claim_one(&store, worker).await).await;
    let [dead] = &store.claim_alerts(9, SENDING, time(2)).await.expect("the outbox answers")[..] else { panic!("one") };
    let [heir] = &store.claim_alerts(9, SENDING, time(62)).await.expect("the outbox answers")[..] else {
        panic!("one")
    };
    assert_eq!((dead.dedup.as_str(), dead.attempts, heir.attempts), (heir.dedup.as_str(), 1, 2));
    // It was only slow: the other one has it now.
    assert!(!store.end_alert(dead, &AlertEnd::Sent, time(63)).await.expect("the outbox answers"));
    let again = AlertEnd::Again { at: time(100), error: "busy\0".into() };
    assert!(store.end_alert(heir, &again, time(64)).await.expect("the outbox answers"));
    assert_eq!(store.claim_alerts(9, SENDING, time(99)).await.expect("the outbox answers"), []);
    let [last] = &store.claim_alerts(9, SENDING, time(100)).await.expect("the outbox answers")[..] else {
        panic!("one")
    };
    assert_eq!((last.attempts, last.error.as_deref()), (3, Some("busy\u{fffd}")));
}

async fn what_is_given_up_or_sent_is_done_with(store: Store) {
    let worker = with_dag(&store).await;
    let run = manual(&store, "d").await.key;
    end(&store, &claim_one(&store, worker).await, ReportOutcome::Failed { retry: false }).await;
    let claimed = store.claim_alerts(2, SENDING, time(2)).await.expect("the outbox answers");
    assert!(store.end_alert(&claimed[0], &AlertEnd::Sent, time(3)).await.expect("the outbox answers"));
    assert!(!store.end_alert(&claimed[0], &AlertEnd::Sent, time(3)).await.expect("the outbox answers"));
    let given_up = AlertEnd::GivenUp { error: "no such address".into() };
    assert!(store.end_alert(&claimed[1], &given_up, time(3)).await.expect("the outbox answers"));
    let all = alerts(&store, run).await;
    let how = |alert: &AlertRecord| (alert.sent_at, alert.next_at, alert.error.clone());
    assert_eq!(how(&all[0]), (Some(time(3)), None, None));
    assert_eq!(how(&all[1]), (None, None, Some("no such address".into())));
    let rest = store.claim_alerts(9, SENDING, time(999)).await.expect("the outbox answers");
    assert_eq!(rest.iter().map(|alert| alert.id).collect::<Vec<_>>(), [all[2].id]);
}

async fn the_end_of_a_log(store: Store) {
    let worker = with_dag(&store).await;
    manual(&store, "d").await;
    let task = claim_one(&store, worker).await;
    let key = LogKey { task: task.key.clone(), try_number: 1 };
    assert_eq!(store.log_tail(&key, 3).await.expect("a log can be read"), [""; 0]);
    let chunk = |seq: u32, lines: &[&str]| LogChunk {
        key: key.clone(),
        seq,
        lines: lines.len() as u32,
        text: lines.iter().map(|line| format!("{line}\n")).collect(),
    };
    let chunks = [chunk(0, &["1", "2", "3", "4"]), chunk(1, &["5"]), chunk(2, &["6", "7"])];
    store.append_logs(&chunks, time(2)).await.expect("a log is taken");
    assert_eq!(store.log_tail(&key, 3).await.expect("a log can be read"), ["5", "6", "7"]);
    assert_eq!(store.log_tail(&key, 6).await.expect("a log can be read"), ["2", "3", "4", "5", "6", "7"]);
    assert_eq!(store.log_tail(&key, 99).await.expect("a log can be read").len(), 7);
}
