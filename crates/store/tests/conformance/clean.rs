//! Cleaning: what is over and old goes with all that belongs to it; what others build on stays.

use std::collections::BTreeSet;

use serde_json::Map;
use towpath_model::asset::{Asset, Condition};
use towpath_model::run::{RunType, TriggeredBy};
use towpath_model::state::RunState;
use towpath_store::{
    AssetEventFilter, AssetFilter, Cleanable, EventFilter, NewBackfill, NewEvent, NewRun, ReportOutcome, Reprocess,
    RunFilter, RunRecord, Selection, Store,
};

use crate::harness::*;

both!(
    old_runs_go_with_what_belongs_to_them,
    what_depends_on_past_needs_stays,
    the_schedule_goes_on_from_what_is_left,
    rows_of_other_tables,
    events_that_somebody_needs_stay,
);

const BAD: ReportOutcome = ReportOutcome::Failed { retry: false };

async fn over(store: &Store, worker: i64, new: NewRun, outcome: ReportOutcome) -> RunRecord {
    let run = store.create_run(new, time(0)).await.expect("a run is created").run;
    let task = claim_one(store, worker).await;
    assert_eq!(task.key.run_key, run.key);
    end(store, &task, outcome).await;
    run
}

fn dated(run_type: RunType, at: i64) -> NewRun {
    NewRun { run_type, logical_date: Some(time(at)), ..NewRun::manual("d", time(at - 1_000), TriggeredBy::Cli) }
}

/// What is left of the DAG when everything that ended before `before` is cleaned.
async fn left(store: &Store, before: i64) -> BTreeSet<i64> {
    let all = || async { store.runs(&RunFilter { limit: 99, ..RunFilter::default() }).await.expect("read").items };
    let counted = store.count_old_runs("d", time(before)).await.expect("counted") as usize;
    let there = all().await.len();
    while store.clean_runs("d", time(before), 2, time(before)).await.expect("cleaned") > 0 {}
    let left = all().await;
    assert_eq!(there - left.len(), counted);
    left.iter().map(|run| run.key).collect()
}

async fn old_runs_go_with_what_belongs_to_them(store: Store) {
    sync(&store, wide("d", 1, |_| {})).await;
    let worker = worker(&store).await;
    let mut keys = Vec::new();
    let mut ids = BTreeSet::new();
    for outcome in [ReportOutcome::Success, BAD, ReportOutcome::Success, BAD] {
        let run = manual(&store, "d").await;
        let mut report = ended(&claim_one(&store, worker).await, outcome);
        report.xcoms = vec![("k".into(), serde_json::json!(1))];
        assert_eq!(send(&store, &[report]).await.accepted, [true]);
        keys.push(run.key);
        ids.insert(run.run_id);
    }
    let open = manual(&store, "d").await;
    assert_eq!(left(&store, 2).await.len(), 5, "nothing had ended by then");
    assert_eq!(left(&store, 100).await, BTreeSet::from([keys[2], open.key]));
    assert!(store.task_instances(keys[0]).await.expect("read").is_empty());
    assert!(store.task_xcoms(&key(keys[0], "t0000")).await.expect("read").is_empty());
    assert_eq!(store.task_instances(keys[2]).await.expect("read").len(), 1);
    // Their data is noted for who cleans staging.
    let removed: BTreeSet<String> = store.staging_removals(9).await.expect("read").into_iter().map(|it| it.1).collect();
    assert_eq!(removed.len(), 3);
    assert!(removed.is_subset(&ids));
    assert_eq!(run_state(&store, open.key).await, RunState::Running);
}

async fn what_depends_on_past_needs_stays(store: Store) {
    sync(&store, wide("d", 1, |_| {})).await;
    let worker = worker(&store).await;
    let mut runs = Vec::new();
    for at in [10, 20, 30, 40, 50] {
        runs.push(over(&store, worker, dated(RunType::Scheduled, at), BAD).await.key);
    }
    store.clear(runs[3], &Selection::default(), false, time(60)).await.expect("a run can be cleared");
    assert_eq!(left(&store, 100).await, BTreeSet::from([runs[2], runs[3], runs[4]]));
}

async fn the_schedule_goes_on_from_what_is_left(store: Store) {
    sync(&store, wide("d", 1, |_| {})).await;
    let worker = worker(&store).await;
    let good = ReportOutcome::Success;
    let old = over(&store, worker, dated(RunType::Scheduled, 10), good.clone()).await.key;
    let last = over(&store, worker, dated(RunType::Scheduled, 20), BAD).await.key;
    over(&store, worker, dated(RunType::Manual, 30), BAD).await;
    let newest = over(&store, worker, dated(RunType::Manual, 40), BAD).await.key;
    assert_eq!(left(&store, 100).await, BTreeSet::from([old, last, newest]));
    // A later success takes the place of the old one.
    let success = over(&store, worker, dated(RunType::Manual, 50), good).await.key;
    assert_eq!(left(&store, 100).await, BTreeSet::from([last, success]));
}

async fn rows_of_other_tables(store: Store) {
    sync(
        &store,
        wide("d", 1, |spec| {
            spec.schedule =
                towpath_model::timetable::parse("@daily", chrono_tz::Tz::UTC, towpath_model::timetable::Kind::Trigger)
                    .expect("a schedule");
        }),
    )
    .await;
    let event = |name: &str| NewEvent {
        event: name.into(),
        owner: None,
        dag_id: None,
        task_id: None,
        run_id: None,
        map_index: None,
        try_number: None,
        logical_date: None,
        extra: None,
    };
    let events: Vec<_> = [1, 5, 50].map(|at| (time(at), event(&at.to_string()))).into();
    store.record_events(&events).await.expect("recorded");
    let (gone, alive) = (worker(&store).await, worker(&store).await);
    store.end_job(gone, time(5)).await.expect("a job can end");
    let backfill = NewBackfill {
        dag_id: "d".into(),
        from: time(0),
        to: time(0),
        reprocess: Reprocess::None,
        max_active_runs: 1,
        backwards: false,
        conf: Map::new(),
        triggering_user: None,
    };
    let (id, _) = store.create_backfill(&backfill, false, time(1)).await.expect("a backfill is made");
    for (what, before, expected) in [
        (Cleanable::Log, 1, 0),
        (Cleanable::Log, 10, 2),
        (Cleanable::Job, 5, 0),
        (Cleanable::Job, 900, 1),
        // It still has a run.
        (Cleanable::Backfill, 900, 0),
    ] {
        let counted = store.count_old(what, time(before)).await.expect("counted");
        let cleaned = store.clean(what, time(before), 100).await.expect("cleaned");
        assert_eq!((counted, cleaned), (expected, expected), "{what} before {before}");
    }
    let events = store.some_events(&EventFilter { limit: 9, ..EventFilter::default() }).await.expect("read");
    assert_eq!(events.iter().map(|it| it.what.event.as_str()).collect::<Vec<_>>(), ["50"]);
    assert_eq!(store.jobs().await.expect("read").iter().map(|job| job.id).collect::<Vec<_>>(), [alive]);
    let run = store.runs(&RunFilter { limit: 9, ..RunFilter::default() }).await.expect("read").items[0].key;
    store.delete_run(run, true, time(2)).await.expect("a run can be deleted");
    assert_eq!(store.clean(Cleanable::Backfill, time(900), 100).await.expect("cleaned"), 1);
    assert_eq!(store.backfill(id.expect("it has an id")).await.expect("read"), None);
}

async fn events_that_somebody_needs_stay(store: Store) {
    sync(
        &store,
        dag("d", &[("use", "bash", &[])], |spec| {
            spec.asset_schedule = Some(Condition::Asset(Asset::named("a")));
        }),
    )
    .await;
    let asset = store.assets(&AssetFilter { limit: 1, ..AssetFilter::default() }).await.expect("read").items[0].id;
    let add = |at: i64| {
        let store = store.clone();
        async move { store.create_asset_event(asset, &Map::new(), time(at)).await.expect("an event is made") }
    };
    add(1).await;
    add(2).await;
    store.asset_runs_due(9).await.expect("asked");
    assert_eq!(store.clean(Cleanable::AssetEvent, time(900), 100).await.expect("cleaned"), 0, "they wait for a run");
    assert!(store.start_asset_run("d", time(3)).await.expect("started"));
    assert_eq!(store.clean(Cleanable::AssetEvent, time(900), 100).await.expect("cleaned"), 0, "a run tells of them");
    let run = store.runs(&RunFilter { limit: 9, ..RunFilter::default() }).await.expect("read").items[0].key;
    store.delete_run(run, true, time(4)).await.expect("a run can be deleted");
    assert_eq!(store.count_old(Cleanable::AssetEvent, time(900)).await.expect("counted"), 1);
    assert_eq!(store.clean(Cleanable::AssetEvent, time(900), 100).await.expect("cleaned"), 1, "the last one stays");
    let left = store.asset_events(&AssetEventFilter { limit: 9, ..AssetEventFilter::default() }).await.expect("read");
    assert_eq!(left.items.len(), 1);
}
