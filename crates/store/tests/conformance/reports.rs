//! Claims, reports, and what follows from them within one run.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::json;
use towpath_model::retry::RetryPolicy;
use towpath_model::state::{RunState, TaskState};
use towpath_store::{Claim, ClaimedTask, LogChunk, LogKey, Report, ReportOutcome, Store};

use crate::harness::*;

both!(
    claims_go_by_priority_then_run_then_id,
    claims_see_their_queues_only,
    concurrent_claims_hand_out_each_task_once,
    a_chain_that_succeeds_ends_its_run,
    a_failed_try_is_followed_by_another,
    no_retry_where_none_is_wanted,
    skips_cascade,
    a_released_attempt_keeps_its_try,
    a_rescheduled_attempt_keeps_its_try,
    a_try_that_goes_on_keeps_its_start,
    the_log_of_a_try_that_goes_on_goes_on,
    xcoms_of_a_try_that_goes_on_stay,
    late_reports_change_nothing,
    of_two_reports_in_a_batch_the_first_counts,
    any_text_is_taken,
    of_two_values_of_an_xcom_the_last_counts,
    logs_come_back_in_order_and_once,
);

async fn claims_go_by_priority_then_run_then_id(store: Store) {
    let tasks: [(&str, &str, &[&str]); 3] = [("b", "bash", &[]), ("a", "bash", &[]), ("urgent", "bash", &[])];
    sync(&store, dag("d", &tasks, |spec| spec.tasks[2].priority_weight = 9)).await;
    let (first, second) = (manual(&store, "d").await.key, manual(&store, "d").await.key);
    let worker = worker(&store).await;
    let claimed = claim(&store, worker, 4).await.into_iter().chain(claim(&store, worker, 4).await);
    let order: Vec<_> = claimed.map(|task| (task.key.run_key, task.key.task_id)).collect();
    let expected = [(first, "urgent"), (second, "urgent"), (first, "a"), (first, "b"), (second, "a"), (second, "b")];
    assert_eq!(order, expected.map(|(run, id)| (run, id.to_owned())));
}

async fn claims_see_their_queues_only(store: Store) {
    let tasks: [(&str, &str, &[&str]); 3] = [("a", "bash", &[]), ("b", "bash", &[]), ("c", "bash", &[])];
    let change = |spec: &mut towpath_model::dag::DagSpec| {
        spec.tasks[1].queue = "gpu".into();
        spec.tasks[2].queue = "big".into();
    };
    sync(&store, dag("d", &tasks, change)).await;
    manual(&store, "d").await;
    let worker = worker(&store).await;
    let of = async |queues: &[&str], slots: u32| -> Vec<String> {
        let queues = queues.iter().map(ToString::to_string).collect();
        let claim = Claim { queues, ..asks(worker, slots) };
        let reply = store.report(&[], &[], &claim, time(1)).await.expect("a claim is answered");
        reply.claimed.into_iter().map(|task| task.key.task_id).collect()
    };
    assert_eq!(of(&["default", "gpu", "big"], 0).await, [""; 0]);
    assert_eq!(of(&[], 9).await, [""; 0]);
    assert_eq!(of(&["other"], 9).await, [""; 0]);
    assert_eq!(of(&["gpu", "big"], 9).await, ["b", "c"]);
    assert_eq!(of(&["default", "gpu", "big"], 9).await, ["a"]);
}

async fn concurrent_claims_hand_out_each_task_once(store: Store) {
    sync(&store, wide("d", 200, |spec| spec.max_active_tasks = 200)).await;
    manual(&store, "d").await;
    store.set_pool("default_pool", 200, None, time(0)).await.expect("a pool is set");
    store.sweep(time(0)).await.expect("limits are looked at");
    let mut claimers = tokio::task::JoinSet::new();
    for _ in 0..8 {
        let (store, worker) = (store.clone(), worker(&store).await);
        claimers.spawn(async move {
            let mut mine = Vec::new();
            loop {
                let claimed = claim(&store, worker, 3).await;
                // Rows that another claimer holds are left out, so an empty answer may only mean that.
                let queued = store.state_counts().await.expect("states can be counted");
                if claimed.is_empty() && !queued.contains_key(&TaskState::Queued) {
                    return mine;
                }
                assert!(claimed.len() <= 3);
                mine.extend(claimed.into_iter().map(|task| task.key.task_id));
            }
        });
    }
    let all: Vec<String> = claimers.join_all().await.into_iter().flatten().collect();
    assert_eq!((all.len(), all.iter().collect::<BTreeSet<_>>().len()), (200, 200));
}

async fn a_chain_that_succeeds_ends_its_run(store: Store) {
    sync(&store, dag("d", &[("a", "bash", &[]), ("b", "empty", &["a"]), ("c", "bash", &["b"])], |_| {})).await;
    let run = manual(&store, "d").await;
    assert_eq!(run.state, RunState::Running);
    let worker = worker(&store).await;
    let a = claim_one(&store, worker).await;
    assert_eq!((a.key.task_id.as_str(), a.try_number, a.run.run_id.as_str()), ("a", 1, run.run_id.as_str()));
    // What follows is handed out in the same step.
    let reply =
        store.report(&[ended(&a, ReportOutcome::Success)], &[], &asks(worker, 4), time(2)).await.expect("taken");
    assert_eq!(reply.accepted, [true]);
    assert_eq!(reply.claimed.len(), 1);
    assert_eq!(states(&store, run.key).await["b"], TaskState::Success);
    assert_eq!(run_state(&store, run.key).await, RunState::Running);
    succeed(&store, &reply.claimed[0]).await;
    let over = store.run_by_key(run.key).await.expect("read").expect("there");
    assert_eq!((over.state, over.end_date), (RunState::Success, Some(time(2))));
    let c = instance(&store, &key(run.key, "c")).await;
    assert_eq!((c.start_date, c.end_date, c.upstream.success), (Some(time(2)), Some(time(2)), 1));
    assert!(store.state_counts().await.expect("counted").is_empty());
}

async fn a_failed_try_is_followed_by_another(store: Store) {
    let retry = RetryPolicy { retries: 1, delay: Duration::from_secs(30), exponential_backoff: 2.0, max_delay: None };
    let wait = TimeDelta::from_std(retry.wait("d", "a", None, 1)).expect("a short wait");
    let tasks: [(&str, &str, &[&str]); 3] = [("a", "bash", &[]), ("b", "bash", &["a"]), ("c", "bash", &["b"])];
    sync(&store, dag("d", &tasks, |spec| spec.tasks[0].retry = retry)).await;
    let run = manual(&store, "d").await;
    let worker = worker(&store).await;
    let first = claim_one(&store, worker).await;
    let report = Report {
        note: Some("exit code 1".into()),
        xcoms: vec![("k".into(), json!(1))],
        ..ended(&first, ReportOutcome::Failed { retry: true })
    };
    assert_eq!(send(&store, &[report]).await.accepted, [true]);

    let waiting = instance(&store, &first.key).await;
    assert_eq!((waiting.state, waiting.try_number), (TaskState::UpForRetry, 1));
    let due = time(2) + wait;
    assert_eq!(waiting.available_at, Some(due));
    assert_eq!(store.task_xcoms(&first.key).await.expect("read"), []);
    let tries = store.tries(&first.key).await.expect("read");
    assert_eq!(tries.len(), 1);
    assert_eq!((tries[0].state, tries[0].note.as_deref()), (TaskState::Failed, Some("exit code 1")));
    assert_eq!((tries[0].start_date, tries[0].end_date), (Some(time(1)), Some(time(2))));

    assert_eq!(store.wake_due(due - TimeDelta::microseconds(1), 10).await.expect("woken"), 0);
    assert_eq!(claim(&store, worker, 1).await, []);
    assert_eq!(store.wake_due(due, 10).await.expect("woken"), 1);
    assert_eq!(store.wake_due(due, 10).await.expect("woken"), 0);
    let second = claim_one(&store, worker).await;
    assert_eq!((second.key.task_id.as_str(), second.try_number, second.max_tries), ("a", 2, 1));
    assert_ne!(second.attempt, first.attempt);
    assert_eq!(instance(&store, &second.key).await.note, None);

    fail(&store, &second).await;
    let expected = [("a", TaskState::Failed), ("b", TaskState::UpstreamFailed), ("c", TaskState::UpstreamFailed)];
    assert_eq!(states(&store, run.key).await, expected.map(|(id, state)| (id.to_owned(), state)).into());
    assert_eq!(run_state(&store, run.key).await, RunState::Failed);
    let tries = store.tries(&first.key).await.expect("read");
    assert_eq!(
        tries.iter().map(|t| (t.try_number, t.state)).collect::<Vec<_>>(),
        [(1, TaskState::Failed), (2, TaskState::Failed)]
    );
}

async fn no_retry_where_none_is_wanted(store: Store) {
    sync(&store, dag("d", &[("a", "bash", &[])], |spec| spec.tasks[0].retry.retries = 5)).await;
    let run = manual(&store, "d").await;
    let task = claim_one(&store, worker(&store).await).await;
    end(&store, &task, ReportOutcome::Failed { retry: false }).await;
    assert_eq!(states(&store, run.key).await["a"], TaskState::Failed);
    assert_eq!(run_state(&store, run.key).await, RunState::Failed);
}

async fn skips_cascade(store: Store) {
    let tasks: [(&str, &str, &[&str]); 4] =
        [("a", "bash", &[]), ("b", "bash", &["a"]), ("c", "bash", &["b"]), ("d", "bash", &["a"])];
    let change = |spec: &mut towpath_model::dag::DagSpec| {
        spec.tasks[3].trigger_rule = towpath_model::trigger_rule::TriggerRule::AllDone;
    };
    sync(&store, dag("d", &tasks, change)).await;
    let run = manual(&store, "d").await;
    let worker = worker(&store).await;
    skip(&store, &claim_one(&store, worker).await).await;
    let now = states(&store, run.key).await;
    assert_eq!([now["a"], now["b"], now["c"]], [TaskState::Skipped; 3]);
    let last = claim_one(&store, worker).await;
    assert_eq!(last.key.task_id, "d");
    succeed(&store, &last).await;
    assert_eq!(run_state(&store, run.key).await, RunState::Success);
}

async fn a_released_attempt_keeps_its_try(store: Store) {
    sync(&store, dag("d", &[("a", "bash", &[])], |_| {})).await;
    let run = manual(&store, "d").await;
    let worker = worker(&store).await;
    let first = claim_one(&store, worker).await;
    end(&store, &first, ReportOutcome::Released).await;
    assert_eq!(states(&store, run.key).await["a"], TaskState::Queued);
    let second = claim_one(&store, worker).await;
    assert_eq!(second.try_number, 1);
    assert_ne!(second.attempt, first.attempt);
    assert_eq!(store.tries(&second.key).await.expect("read").len(), 1);
    succeed(&store, &second).await;
    assert_eq!(run_state(&store, run.key).await, RunState::Success);
}

async fn a_rescheduled_attempt_keeps_its_try(store: Store) {
    sync(&store, dag("d", &[("a", "bash", &[])], |_| {})).await;
    let run = manual(&store, "d").await;
    let worker = worker(&store).await;
    let first = claim_one(&store, worker).await;
    end(&store, &first, ReportOutcome::Rescheduled { at: time(60) }).await;
    let waiting = instance(&store, &first.key).await;
    assert_eq!((waiting.state, waiting.available_at), (TaskState::UpForReschedule, Some(time(60))));
    assert_eq!(store.wake_due(time(59), 10).await.expect("woken"), 0);
    assert_eq!(store.wake_due(time(60), 10).await.expect("woken"), 1);
    let second = claim_one(&store, worker).await;
    assert_eq!(second.try_number, 1);
    succeed(&store, &second).await;
    assert_eq!(run_state(&store, run.key).await, RunState::Success);
}

/// Claims one at `at`, which must be there.
async fn claim_at(store: &Store, worker: i64, at: DateTime<Utc>) -> ClaimedTask {
    let reply = store.report(&[], &[], &asks(worker, 1), at).await.expect("a claim is answered");
    reply.claimed.into_iter().next().expect("something is queued")
}

async fn a_try_that_goes_on_keeps_its_start(store: Store) {
    let retry = RetryPolicy { retries: 1, delay: Duration::from_secs(30), ..RetryPolicy::default() };
    sync(&store, dag("d", &[("a", "bash", &[])], |spec| spec.tasks[0].retry = retry)).await;
    manual(&store, "d").await;
    let worker = worker(&store).await;
    let first = claim_at(&store, worker, time(1)).await;
    assert_eq!((first.start_date, first.is_resumed), (time(1), false));
    end(&store, &first, ReportOutcome::Rescheduled { at: time(60) }).await;
    assert_eq!(store.wake_due(time(60), 10).await.expect("woken"), 1);

    let second = claim_at(&store, worker, time(61)).await;
    assert_eq!((second.start_date, second.is_resumed, second.try_number), (time(1), true, 1));
    let running = instance(&store, &second.key).await;
    assert_eq!((running.start_date, running.end_date), (Some(time(1)), None));
    end(&store, &second, ReportOutcome::Released).await;

    let third = claim_at(&store, worker, time(70)).await;
    assert_eq!((third.start_date, third.is_resumed, third.try_number), (time(1), true, 1));
    fail(&store, &third).await;
    assert_eq!(store.wake_due(time(100), 10).await.expect("woken"), 1);

    let next_try = claim_at(&store, worker, time(101)).await;
    assert_eq!((next_try.start_date, next_try.is_resumed, next_try.try_number), (time(101), false, 2));
    let starts = store.tries(&next_try.key).await.expect("read").into_iter().map(|one| one.start_date);
    assert_eq!(starts.collect::<Vec<_>>(), [Some(time(1)), Some(time(101))]);
}

async fn the_log_of_a_try_that_goes_on_goes_on(store: Store) {
    sync(&store, dag("d", &[("a", "bash", &[])], |_| {})).await;
    manual(&store, "d").await;
    let worker = worker(&store).await;
    let mut log = None;
    for (look, at) in [(0, 1), (1, 61), (2, 121)] {
        let task = claim_at(&store, worker, time(at)).await;
        assert_eq!(task.log_seq, look * 2, "look {look}");
        let key = LogKey { task: task.key.clone(), try_number: task.try_number };
        // One chunk while it runs, one with its end.
        let chunk = |seq| LogChunk { key: key.clone(), seq, lines: 1, text: format!("look {look}, {seq}\n") };
        store.append_logs(&[chunk(task.log_seq)], time(at)).await.expect("logs are taken");
        let report = ended(&task, ReportOutcome::Rescheduled { at: time(at + 50) });
        let chunks = [chunk(task.log_seq + 1)];
        store.report(&[report], &chunks, &asks(worker, 0), time(at + 1)).await.expect("a report is taken");
        assert_eq!(store.wake_due(time(at + 50), 10).await.expect("woken"), 1);
        log = Some(key);
    }
    let chunks = store.read_log(&log.expect("it was claimed"), 0, 10).await.expect("read");
    let text: String = chunks.into_iter().map(|chunk| chunk.text).collect();
    assert_eq!(text, "look 0, 0\nlook 0, 1\nlook 1, 2\nlook 1, 3\nlook 2, 4\nlook 2, 5\n");
}

async fn xcoms_of_a_try_that_goes_on_stay(store: Store) {
    sync(&store, dag("d", &[("a", "bash", &[])], |_| {})).await;
    let run = manual(&store, "d").await;
    let worker = worker(&store).await;
    let first = claim_one(&store, worker).await;
    let report = Report {
        xcoms: vec![("trigger_run_id".into(), json!("r1"))],
        ..ended(&first, ReportOutcome::Rescheduled { at: time(60) })
    };
    assert_eq!(send(&store, &[report]).await.accepted, [true]);
    assert_eq!(store.wake_due(time(60), 10).await.expect("woken"), 1);
    let second = claim_one(&store, worker).await;
    let found = store.xcoms(run.key, "a", "trigger_run_id", Some(-1)).await.expect("read");
    assert_eq!(found.into_iter().map(|xcom| xcom.value).collect::<Vec<_>>(), [json!("r1")]);
    succeed(&store, &second).await;
    assert_eq!(store.task_xcoms(&second.key).await.expect("read").len(), 1);
}

async fn late_reports_change_nothing(store: Store) {
    sync(&store, dag("d", &[("a", "bash", &[]), ("b", "bash", &["a"])], |_| {})).await;
    let run = manual(&store, "d").await;
    let worker = worker(&store).await;
    let first = claim_one(&store, worker).await;
    end(&store, &first, ReportOutcome::Released).await;
    let second = claim_one(&store, worker).await;
    let before = store.task_instances(run.key).await.expect("read");
    let late = Report {
        note: Some("late".into()),
        xcoms: vec![("k".into(), json!("late"))],
        ..ended(&first, ReportOutcome::Failed { retry: false })
    };
    assert_eq!(send(&store, &[late]).await.accepted, [false]);
    assert_eq!(store.task_instances(run.key).await.expect("read"), before);
    assert_eq!(store.task_xcoms(&first.key).await.expect("read"), []);
    succeed(&store, &second).await;
    assert_eq!(send(&store, &[ended(&second, ReportOutcome::Success)]).await.accepted, [false]);
    assert_eq!(instance(&store, &key(run.key, "b")).await.upstream.success, 1);
}

async fn of_two_reports_in_a_batch_the_first_counts(store: Store) {
    sync(&store, dag("d", &[("a", "bash", &[]), ("b", "bash", &["a"])], |_| {})).await;
    let run = manual(&store, "d").await;
    let task = claim_one(&store, worker(&store).await).await;
    let twice = [ended(&task, ReportOutcome::Success), ended(&task, ReportOutcome::Failed { retry: true })];
    assert_eq!(send(&store, &twice).await.accepted, [true, false]);
    let now = states(&store, run.key).await;
    let expected = [("a".to_owned(), TaskState::Success), ("b".to_owned(), TaskState::Queued)];
    assert_eq!(now, BTreeMap::from(expected));
    assert_eq!(instance(&store, &key(run.key, "b")).await.upstream.success, 1);
}

async fn any_text_is_taken(store: Store) {
    sync(&store, dag("d", &[("a", "bash", &[])], |_| {})).await;
    manual(&store, "d").await;
    let task = claim_one(&store, worker(&store).await).await;
    let value = json!({"\0": "a\0b", "emoji": "\u{1f6a2}", "quote": "\\u0000 \" '", "big": 1e300});
    let report = Report {
        note: Some("\u{1f6a2}\0!".into()),
        xcoms: vec![("k\0".into(), value.clone()), ("\u{1f6a2}".into(), json!(null))],
        ..ended(&task, ReportOutcome::Success)
    };
    let log = LogKey { task: task.key.clone(), try_number: 1 };
    let texts =
        ["\u{1f6a2} {\"event\":\"a\\u0000b\"}\n".to_owned(), "a\0b\n".to_owned(), "\0\u{1f6a2}\n".repeat(1_000)];
    let chunks: Vec<_> = (0..).zip(&texts).map(|(seq, text)| chunk(&log, seq, text)).collect();
    let reply = store.report(&[report], &chunks, &asks(0, 0), time(2)).await.expect("any text is taken");
    assert_eq!(reply.accepted, [true]);
    assert_eq!(instance(&store, &task.key).await.note.as_deref(), Some("\u{1f6a2}\u{fffd}!"));
    let xcoms = store.task_xcoms(&task.key).await.expect("read");
    let xcoms: BTreeMap<_, _> = xcoms.into_iter().map(|xcom| (xcom.key, xcom.value)).collect();
    assert_eq!(xcoms, BTreeMap::from([("k\u{fffd}".into(), value), ("\u{1f6a2}".into(), json!(null))]));
    let read: Vec<_> = store.read_log(&log, 0, 9).await.expect("read").into_iter().map(|c| c.text).collect();
    assert_eq!(read, texts);
}

async fn of_two_values_of_an_xcom_the_last_counts(store: Store) {
    sync(&store, dag("d", &[("a", "bash", &[])], |_| {})).await;
    manual(&store, "d").await;
    let task = claim_one(&store, worker(&store).await).await;
    let xcoms = [1, 2, 3].map(|value| ("k".into(), json!(value))).into();
    assert_eq!(send(&store, &[Report { xcoms, ..ended(&task, ReportOutcome::Success) }]).await.accepted, [true]);
    let stored = store.task_xcoms(&task.key).await.expect("read");
    assert_eq!(stored.iter().map(|xcom| (xcom.key.as_str(), &xcom.value)).collect::<Vec<_>>(), [("k", &json!(3))]);
}

fn chunk(key: &LogKey, seq: u32, text: &str) -> LogChunk {
    LogChunk { key: key.clone(), seq, lines: 1, text: text.to_owned() }
}

async fn logs_come_back_in_order_and_once(store: Store) {
    sync(&store, dag("d", &[("a", "bash", &[])], |_| {})).await;
    let run = manual(&store, "d").await;
    let log = LogKey { task: key(run.key, "a"), try_number: 1 };
    let other = LogKey { task: key(run.key, "a"), try_number: 2 };
    let (small, large) = ("small\n".to_owned(), "large and so packed\n".repeat(5_000));
    let chunks: Vec<_> = (0..12).map(|seq| chunk(&log, seq, if seq % 3 == 1 { &large } else { &small })).collect();
    let shuffled: Vec<_> = [7, 0, 11, 3, 1, 10, 2, 5, 4, 9, 6, 8].map(|i: usize| chunks[i].clone()).into();
    store.append_logs(&shuffled[..6], time(1)).await.expect("taken");
    store.append_logs(&[chunk(&other, 0, "the next try\n")], time(1)).await.expect("taken");
    store.append_logs(&shuffled, time(1)).await.expect("taken");
    // The first to arrive stays.
    store.append_logs(&[chunk(&log, 0, "else\n"), chunk(&log, 1, &large.repeat(2))], time(1)).await.expect("taken");
    assert_eq!(store.read_log(&log, 0, 99).await.expect("read"), chunks);
    assert_eq!(store.read_log(&log, 5, 3).await.expect("read"), chunks[5..8]);
    assert_eq!(store.read_log(&log, 12, 3).await.expect("read"), []);
    assert_eq!(store.read_log(&other, 0, 9).await.expect("read").len(), 1);
}
