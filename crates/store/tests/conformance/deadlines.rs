//! Deadlines: made with a run, dropped by a success in time, missed once.

use std::time::Duration;

use towpath_model::alert::{Alert, Event, Target};
use towpath_model::dag::DagSpec;
use towpath_model::deadline::{Deadline, Reference};
use towpath_model::run::TriggeredBy;
use towpath_model::state::RunState;
use towpath_store::{DeadlineRecord, EventFilter, NewRun, ReportOutcome, RunRecord, Selection, Store, TaskKey};

use crate::harness::*;

both!(
    a_missed_deadline_is_told_of_once,
    a_success_in_time_drops_it,
    a_failed_run_keeps_it,
    a_step_that_is_broken_off_misses_nothing,
    what_counts_from_what,
    a_run_that_is_queued_again_has_more_time,
    what_changes_in_the_file_is_for_later_runs,
    marked_runs_drop_it,
);

fn deadline(reference: Reference, seconds: i64) -> Deadline {
    let targets = vec![Target::Webhook("https://example.org/late".into())];
    Deadline { name: Some("report".into()), reference, interval_us: seconds * 1_000_000, targets }
}

/// A DAG with one task and these deadlines.
async fn with(store: &Store, deadlines: Vec<Deadline>) -> i64 {
    let change = |spec: &mut DagSpec| {
        spec.deadlines = deadlines;
        spec.alerts = vec![
            Alert { on: vec![Event::Deadline], target: Target::Slack("slack_alerts".into()) },
            Alert { on: vec![Event::Deadline], target: Target::Webhook("https://example.org/late".into()) },
        ];
    };
    sync(store, dag("d", &[("a", "bash", &[])], change)).await;
    worker(store).await
}

async fn of(store: &Store, run: &RunRecord) -> Vec<DeadlineRecord> {
    store.deadlines_of_run(run.key).await.expect("deadlines can be read")
}

async fn times(store: &Store, run: &RunRecord) -> Vec<i64> {
    of(store, run).await.iter().map(|it| (it.deadline_time - time(0)).num_seconds()).collect()
}

async fn miss(store: &Store, at: i64) -> u32 {
    store.miss_deadlines(time(at)).await.expect("deadlines can be looked at")
}

async fn told(store: &Store, run: &RunRecord) -> Vec<(Event, Option<String>)> {
    let alerts = store.alerts_of_run(run.key).await.expect("the outbox can be read");
    alerts.into_iter().map(|alert| (alert.event, alert.note)).collect()
}

async fn a_missed_deadline_is_told_of_once(store: Store) {
    let worker = with(&store, vec![deadline(Reference::QueuedAt, 60)]).await;
    let run = manual(&store, "d").await;
    assert_eq!(times(&store, &run).await, [60]);
    assert_eq!(miss(&store, 59).await, 0);
    // Any number of schedulers look.
    let (one, other) = tokio::join!(miss(&store, 61), miss(&store, 61));
    assert!(one + other >= 1);
    assert_eq!(miss(&store, 62).await, 0);
    let [missed] = &of(&store, &run).await[..] else { panic!("one") };
    assert_eq!((missed.missed_at, missed.words()), (Some(time(61)), "report: queued_at + 1m 0s".into()));
    let note = "it was to succeed by 2026-01-01 00:01:00 UTC (report: queued_at + 1m 0s)".to_owned();
    // Each target once, although the DAG's alerts name one of them again.
    assert_eq!(told(&store, &run).await, [(Event::Deadline, Some(note.clone())), (Event::Deadline, Some(note))]);
    assert_eq!(run_state(&store, run.key).await, RunState::Running);
    let events = store.some_events(&EventFilter { limit: 10, ..EventFilter::default() }).await.expect("asked");
    let events: Vec<_> = events.iter().map(|it| (it.what.event.as_str(), it.what.run_id.as_deref())).collect();
    assert_eq!(events, [("missed_deadline", Some(run.run_id.as_str()))]);
    let why = store.explain_run(&run, time(70)).await.expect("explained");
    assert!(why.reasons.iter().any(|it| it.text == "it has missed its deadline 00:01:00Z (report: queued_at + 1m 0s)"));
    // A success that comes later does not undo it, and neither does another try of the run.
    succeed(&store, &claim_one(&store, worker).await).await;
    assert_eq!(of(&store, &run).await.len(), 1);
    store.clear(run.key, &Selection::default(), false, time(90)).await.expect("a run can be cleared");
    assert_eq!((miss(&store, 900).await, told(&store, &run).await.len()), (0, 2));
}

async fn a_success_in_time_drops_it(store: Store) {
    let worker = with(&store, vec![deadline(Reference::QueuedAt, 60), deadline(Reference::QueuedAt, 1)]).await;
    let run = manual(&store, "d").await;
    assert_eq!(times(&store, &run).await, [1, 60]);
    succeed(&store, &claim_one(&store, worker).await).await;
    assert_eq!(run_state(&store, run.key).await, RunState::Success);
    // It took two seconds: the short one is missed, though nobody has looked yet.
    assert_eq!(times(&store, &run).await, [1]);
    assert_eq!((miss(&store, 3).await, told(&store, &run).await.len()), (1, 2));
    // Over at once.
    sync(&store, dag("e", &[("a", "empty", &[])], |spec| spec.deadlines = vec![deadline(Reference::QueuedAt, 60)]))
        .await;
    let run = manual(&store, "e").await;
    assert_eq!((run_state(&store, run.key).await, times(&store, &run).await), (RunState::Success, vec![]));
}

async fn a_failed_run_keeps_it(store: Store) {
    let worker = with(&store, vec![deadline(Reference::QueuedAt, 60)]).await;
    let run = manual(&store, "d").await;
    fail(&store, &claim_one(&store, worker).await).await;
    assert_eq!((times(&store, &run).await, miss(&store, 61).await), (vec![60], 1));
    assert_eq!(told(&store, &run).await.len(), 2);
}

/// Wherever the step is broken off, the miss and its alerts are there together or not at all.
async fn a_step_that_is_broken_off_misses_nothing(store: Store) {
    with(&store, vec![deadline(Reference::QueuedAt, 60)]).await;
    let run = manual(&store, "d").await;
    for limit_us in (0..).step_by(50) {
        let _ = tokio::time::timeout(Duration::from_micros(limit_us), store.miss_deadlines(time(61))).await;
        let missed = of(&store, &run).await[0].missed_at.is_some();
        assert_eq!(told(&store, &run).await.len(), if missed { 2 } else { 0 });
        if missed {
            break;
        }
    }
    assert_eq!((miss(&store, 62).await, told(&store, &run).await.len()), (0, 2));
}

async fn what_counts_from_what(store: Store) {
    let average = |min_runs| Reference::AverageRuntime { max_runs: 3, min_runs };
    let all = vec![
        deadline(Reference::LogicalDate, 10),
        deadline(Reference::At(time(500)), -100),
        deadline(average(1), 5),
        deadline(average(2), 5),
    ];
    let worker = with(&store, all).await;
    let run = manual(&store, "d").await;
    // No logical date, no runs before.
    assert_eq!(times(&store, &run).await, [400]);
    let task = claim_one(&store, worker).await;
    end(&store, &task, ReportOutcome::Success).await;
    let took = store.run_by_key(run.key).await.expect("asked").expect("it is there");
    let took = (took.end_date.expect("over") - took.start_date.expect("started")).num_seconds();
    let new = NewRun { logical_date: Some(time(30)), ..NewRun::manual("d", time(31), TriggeredBy::Cli) };
    let run = store.create_run(new, time(100)).await.expect("a run is created").run;
    assert_eq!(times(&store, &run).await, [40, 105 + took, 400]);
}

async fn a_run_that_is_queued_again_has_more_time(store: Store) {
    let worker = with(&store, vec![deadline(Reference::QueuedAt, 40), deadline(Reference::At(time(300)), 0)]).await;
    let run = manual(&store, "d").await;
    assert_eq!(store.next_due_at(time(1)).await.expect("asked"), Some(time(40)));
    let task = claim_one(&store, worker).await;
    fail(&store, &task).await;
    store.clear(run.key, &Selection::default(), false, time(30)).await.expect("a run can be cleared");
    assert_eq!(times(&store, &run).await, [70, 300]);
}

async fn what_changes_in_the_file_is_for_later_runs(store: Store) {
    with(&store, vec![deadline(Reference::QueuedAt, 60)]).await;
    let old = manual(&store, "d").await;
    with(&store, vec![deadline(Reference::QueuedAt, 90)]).await;
    let new = manual(&store, "d").await;
    assert_eq!((times(&store, &old).await, times(&store, &new).await), (vec![60], vec![90]));
    with(&store, vec![]).await;
    let newest = manual(&store, "d").await;
    assert_eq!(times(&store, &newest).await, [] as [i64; 0]);
    assert_eq!(miss(&store, 60).await, 1);
    assert_eq!(miss(&store, 90).await, 1);
}

async fn marked_runs_drop_it(store: Store) {
    with(&store, vec![deadline(Reference::QueuedAt, 60)]).await;
    let run = manual(&store, "d").await;
    store.mark_run(run.key, true, time(5)).await.expect("a run can be marked");
    assert_eq!(times(&store, &run).await, [] as [i64; 0]);
    let key = TaskKey { run_key: run.key, task_id: "a".into(), map_index: -1 };
    assert!(instance(&store, &key).await.state.is_finished());
    assert_eq!(miss(&store, 61).await, 0);
}
