//! Assets: events with the success that caused them, and one run for what a condition waits for.

#![expect(clippy::unwrap_used, reason = "a test may end in a panic")]

use std::collections::BTreeSet;

use serde_json::{Map, json};
use towpath_model::asset::{Asset, Condition, Outlet};
use towpath_model::dag::{Dag, DagSpec};
use towpath_model::run::{RunType, TriggeredBy};
use towpath_model::state::{RunState, TaskState};
use towpath_store::{
    AssetEventFilter, AssetFilter, AssetRecord, AssetRole, Error, Mark, QueueFilter, Report, ReportOutcome, RunFilter,
    RunRecord, Selection, Store,
};

use crate::harness::{
    asks, both, claim, claim_one, dag, end, ended, manual, run_state, send, skip, states, succeed, sync, time, worker,
};

both!(
    updates_are_recorded_with_the_success,
    what_does_not_succeed_updates_nothing,
    conditions_are_kept,
    a_paused_dag_keeps_its_queue,
    max_active_runs_is_kept,
    racing_schedulers_start_one_run,
    racing_reports_lose_nothing,
    names_and_places_meet,
    a_new_version_looks_again,
    by_hand,
    what_is_deleted_is_gone,
);

fn leaf(name: &str) -> Condition {
    Condition::Asset(Asset::named(name))
}

/// A DAG with one task that updates assets.
fn producer(id: &str, outlets: &[&str]) -> Dag {
    dag(id, &[("update", "bash", &[])], |spec| {
        spec.tasks[0].outlets = outlets.iter().map(|name| Outlet::of(Asset::named(*name))).collect();
    })
}

/// A DAG that waits.
fn consumer(id: &str, condition: Condition) -> Dag {
    consumer_with(id, condition, |_| {})
}

fn consumer_with(id: &str, condition: Condition, change: impl FnOnce(&mut DagSpec)) -> Dag {
    dag(id, &[("use", "bash", &[])], |spec| {
        spec.asset_schedule = Some(condition);
        change(spec);
    })
}

/// A scheduler's pass.
async fn pass(store: &Store, seconds: i64) -> u32 {
    let mut started = 0;
    for dag_id in store.asset_runs_due(100).await.expect("a pass is answered") {
        started += u32::from(store.start_asset_run(&dag_id, time(seconds)).await.expect("a decision is made"));
    }
    started
}

async fn runs(store: &Store, dag_id: &str) -> Vec<RunRecord> {
    let filter = RunFilter { dag_id: Some(dag_id.into()), limit: 1_000, ..RunFilter::default() };
    store.runs(&filter).await.expect("runs can be read").items
}

async fn asset(store: &Store, name: &str) -> AssetRecord {
    store.asset_named(name).await.expect("assets can be read").expect(name)
}

/// Tells of an update by hand.
async fn update(store: &Store, name: &str, seconds: i64) -> i64 {
    let asset = asset(store, name).await;
    store.create_asset_event(asset.id, &Map::new(), time(seconds)).await.expect("an event is taken").id
}

async fn queued(store: &Store, dag_id: &str) -> Vec<(String, u64)> {
    let filter = QueueFilter { dag_id: Some(dag_id.into()), ..QueueFilter::default() };
    let found = store.queued_asset_events(&filter).await.expect("queues can be read");
    found.into_iter().map(|queued| (queued.asset_name, queued.count)).collect()
}

async fn events(store: &Store) -> u64 {
    store.asset_events(&AssetEventFilter { limit: 1, ..AssetEventFilter::default() }).await.expect("events").total
}

async fn updates_are_recorded_with_the_success(store: Store) {
    sync(&store, producer("p", &["a", "b"])).await;
    sync(&store, consumer("c", Condition::All(vec![leaf("a"), leaf("b")]))).await;
    let worker = worker(&store).await;
    let run = manual(&store, "p").await;
    let task = claim_one(&store, worker).await;
    assert_eq!((pass(&store, 1).await, events(&store).await), (0, 0));
    let asset_extra = json!({"a": {"rows": 3}, "unknown": {"x": 1}}).as_object().cloned().unwrap();
    let report = Report { asset_extra, ..ended(&task, ReportOutcome::Success) };
    assert_eq!(send(&store, &[report]).await.accepted, [true]);
    let all = store.asset_events(&AssetEventFilter { limit: 10, ..AssetEventFilter::default() }).await.unwrap().items;
    let told: Vec<_> = all.iter().map(|event| (event.name.as_str(), json!(event.extra), event.at)).collect();
    assert_eq!(told, [("a", json!({"rows": 3}), time(2)), ("b", json!({}), time(2))]);
    let source = all[0].source.clone().unwrap();
    assert_eq!((source.dag_id.as_str(), source.run_id, source.map_index), ("p", run.run_id, -1));
    assert_eq!(queued(&store, "c").await, [("a".to_owned(), 1), ("b".to_owned(), 1)]);
    assert_eq!(pass(&store, 9).await, 1);
    let [run] = runs(&store, "c").await.try_into().unwrap();
    assert_eq!((run.run_type, run.triggered_by, run.logical_date), (RunType::AssetTriggered, TriggeredBy::Asset, None));
    assert_eq!((run.state, run.run_after), (RunState::Running, time(2)));
    let interval = run.data_interval.unwrap();
    assert_eq!((interval.start, interval.end), (time(2), time(2)));
    assert_eq!(run.run_id, "asset_triggered__2026-01-01T00:00:02+00:00");
    let linked = store.upstream_asset_events(run.key).await.unwrap();
    assert_eq!(linked, all);
    let of_events = store.runs_of_asset_events(&[all[0].id, all[1].id]).await.unwrap();
    let told: Vec<_> = of_events.iter().map(|(id, run, last)| (*id, run.dag_id.as_str(), *last)).collect();
    assert_eq!(told, [(all[0].id, "c", false), (all[1].id, "c", true)]);
    assert_eq!((queued(&store, "c").await.len(), pass(&store, 10).await), (0, 0));
    assert_eq!(asset(&store, "b").await.last_event, Some((all[1].id, time(2))));
}

async fn what_does_not_succeed_updates_nothing(store: Store) {
    sync(
        &store,
        dag("p", &[("update", "bash", &[]), ("empty", "empty", &["update"])], |spec| {
            for task in &mut spec.tasks {
                task.outlets = vec![Outlet::of(Asset::named("a"))];
            }
            spec.tasks.iter_mut().find(|task| task.task_id == "update").unwrap().retry.retries = 1;
        }),
    )
    .await;
    let worker = worker(&store).await;
    let run = manual(&store, "p").await;
    let task = claim_one(&store, worker).await;
    end(&store, &task, ReportOutcome::Failed { retry: true }).await;
    store.retry_now(&task.key, time(3)).await.unwrap();
    let second = claim_one(&store, worker).await;
    // The report of the first try comes late, and says that all went well.
    assert_eq!(send(&store, &[ended(&task, ReportOutcome::Success)]).await.accepted, [false]);
    assert_eq!(events(&store).await, 0);
    // Twice in one batch counts once.
    let twice = [ended(&second, ReportOutcome::Success), ended(&second, ReportOutcome::Success)];
    assert_eq!(send(&store, &twice).await.accepted, [true, false]);
    assert_eq!(events(&store).await, 1);
    // An empty task with outlets goes to a worker, so that somebody makes its event.
    let empty = claim_one(&store, worker).await;
    assert_eq!(empty.key.task_id, "empty");
    skip(&store, &empty).await;
    assert_eq!((events(&store).await, run_state(&store, run.key).await), (1, RunState::Success));
    // As in Airflow, marking is no update.
    let selection = Selection { tasks: vec![("empty".into(), None)], ..Selection::default() };
    store.mark(run.key, &selection, Mark::Success, false, time(5)).await.unwrap();
    assert_eq!((states(&store, run.key).await["empty"], events(&store).await), (TaskState::Success, 1));
    // Running again is one more.
    store.clear(run.key, &Selection::default(), false, time(6)).await.unwrap();
    store.start_queued_runs(time(6)).await.unwrap();
    succeed(&store, &claim_one(&store, worker).await).await;
    assert_eq!(events(&store).await, 2);
}

async fn conditions_are_kept(store: Store) {
    for name in ["a", "b", "c"] {
        sync(&store, producer(&format!("p_{name}"), &[name])).await;
    }
    sync(&store, consumer("both", Condition::All(vec![leaf("a"), leaf("b")]))).await;
    sync(&store, consumer("one", Condition::Any(vec![leaf("a"), leaf("b")]))).await;
    let nested = Condition::Any(vec![leaf("c"), Condition::All(vec![leaf("a"), leaf("b")])]);
    sync(&store, consumer("nested", nested)).await;
    for (step, (name, expected)) in [
        ("a", (0, 1, 0)),
        // The same again changes nothing for those that wait for another.
        ("a", (0, 2, 0)),
        ("c", (0, 2, 1)),
        ("b", (1, 3, 1)),
        ("a", (2, 4, 2)),
    ]
    .into_iter()
    .enumerate()
    {
        if step == 4 {
            // `nested` has taken what it had when `c` came.
            update(&store, "b", 10 * step as i64 + 1).await;
        }
        update(&store, name, 10 * step as i64 + 2).await;
        // A pass that comes again and again starts no more.
        pass(&store, 10 * step as i64 + 3).await;
        pass(&store, 10 * step as i64 + 3).await;
        let mut counts = Vec::new();
        for id in ["both", "one", "nested"] {
            counts.push(runs(&store, id).await.len());
        }
        assert_eq!((counts[0], counts[1], counts[2]), expected, "step {step}");
    }
    let run = &runs(&store, "both").await[0];
    let names: Vec<_> =
        store.upstream_asset_events(run.key).await.unwrap().into_iter().map(|e| (e.name, e.at)).collect();
    let pair = |name: &str, at| (name.to_owned(), time(at));
    assert_eq!(names, [pair("a", 2), pair("a", 12), pair("b", 32)]);
    let interval = run.data_interval.unwrap();
    assert_eq!((interval.start, interval.end, run.run_after), (time(2), time(32), time(32)));
}

async fn a_paused_dag_keeps_its_queue(store: Store) {
    sync(&store, producer("p", &["a", "b"])).await;
    sync(&store, consumer("c", Condition::All(vec![leaf("a"), leaf("b")]))).await;
    update(&store, "a", 1).await;
    store.set_paused("c", true, time(2)).await.unwrap();
    update(&store, "b", 3).await;
    assert_eq!(pass(&store, 4).await, 0);
    // As in Airflow, what comes while it is paused starts nothing later.
    assert_eq!(queued(&store, "c").await, [("a".to_owned(), 1)]);
    store.set_paused("c", false, time(5)).await.unwrap();
    assert_eq!(pass(&store, 6).await, 0);
    update(&store, "b", 7).await;
    assert_eq!(pass(&store, 8).await, 1);
    // But the run hears of it.
    let run = &runs(&store, "c").await[0];
    let heard: Vec<_> = store.upstream_asset_events(run.key).await.unwrap().into_iter().map(|e| e.at).collect();
    assert_eq!(heard, [time(1), time(3), time(7)]);
    // One that was complete before the pause starts after it.
    update(&store, "a", 9).await;
    update(&store, "b", 9).await;
    store.set_paused("c", true, time(9)).await.unwrap();
    assert_eq!(pass(&store, 10).await, 0);
    store.set_paused("c", false, time(11)).await.unwrap();
    assert_eq!(pass(&store, 12).await, 1);
}

async fn max_active_runs_is_kept(store: Store) {
    sync(&store, producer("p", &["a"])).await;
    sync(&store, consumer_with("c", leaf("a"), |spec| spec.max_active_runs = 1)).await;
    let worker = worker(&store).await;
    update(&store, "a", 1).await;
    assert_eq!(pass(&store, 2).await, 1);
    update(&store, "a", 3).await;
    update(&store, "a", 4).await;
    assert_eq!((pass(&store, 5).await, runs(&store, "c").await.len()), (0, 1));
    assert_eq!(queued(&store, "c").await, [("a".to_owned(), 2)]);
    // Also for somebody who has seen room that is gone.
    assert!(!store.start_asset_run("c", time(5)).await.unwrap());
    succeed(&store, &claim_one(&store, worker).await).await;
    // What has piled up is for one run.
    assert_eq!((pass(&store, 6).await, pass(&store, 7).await), (1, 0));
    let run = runs(&store, "c").await.pop().unwrap();
    assert_eq!(store.upstream_asset_events(run.key).await.unwrap().len(), 2);
}

async fn racing_schedulers_start_one_run(store: Store) {
    sync(&store, producer("p", &["a"])).await;
    sync(&store, consumer_with("c", leaf("a"), |spec| spec.max_active_runs = 1_000)).await;
    for round in 0..10 {
        update(&store, "a", round).await;
        let mut racers = tokio::task::JoinSet::new();
        for _ in 0..8 {
            let store = store.clone();
            racers.spawn(async move { store.start_asset_run("c", time(round)).await.unwrap() });
        }
        let started = racers.join_all().await.into_iter().filter(|started| *started).count();
        assert_eq!((started, runs(&store, "c").await.len()), (1, round as usize + 1));
    }
}

/// Reports of two DAGs that update the two assets of one condition, while schedulers look: every event is in exactly
/// one run or still queued, and no complete pair is left lying.
async fn racing_reports_lose_nothing(store: Store) {
    const ROUNDS: usize = 12;
    for name in ["a", "b"] {
        sync(&store, producer(&format!("p_{name}"), &[name])).await;
    }
    sync(&store, consumer_with("c", Condition::All(vec![leaf("a"), leaf("b")]), |spec| spec.max_active_runs = 1_000))
        .await;
    let worker = worker(&store).await;
    for _ in 0..ROUNDS {
        manual(&store, "p_a").await;
        manual(&store, "p_b").await;
    }
    let mut tasks = Vec::new();
    loop {
        let more = claim(&store, worker, 64).await;
        if more.is_empty() {
            break;
        }
        tasks.extend(more);
    }
    assert_eq!(tasks.len(), 2 * ROUNDS);
    let mut racers = tokio::task::JoinSet::new();
    for task in tasks {
        let store = store.clone();
        racers.spawn(async move {
            let reply = store.report(&[ended(&task, ReportOutcome::Success)], &[], &asks(0, 0), time(2)).await.unwrap();
            assert_eq!(reply.accepted, [true]);
            store.start_asset_run("c", time(3)).await.unwrap();
        });
    }
    racers.join_all().await;
    while pass(&store, 4).await > 0 {}
    let mut seen = BTreeSet::new();
    for run in runs(&store, "c").await {
        let events = store.upstream_asset_events(run.key).await.unwrap();
        let names: BTreeSet<_> = events.iter().map(|event| event.name.clone()).collect();
        assert_eq!(names.len(), 2, "a run of half a condition");
        for event in events {
            assert!(seen.insert(event.id), "event {} is in two runs", event.id);
        }
    }
    let left = queued(&store, "c").await;
    assert!(left.len() < 2, "a complete pair was left lying: {left:?}");
    let left: u64 = left.iter().map(|(_, count)| count).sum();
    assert_eq!((seen.len() as u64 + left, events(&store).await), (2 * ROUNDS as u64, 2 * ROUNDS as u64));
}

async fn names_and_places_meet(store: Store) {
    // Two DAGs speak of one asset before a third says that they do.
    sync(&store, consumer("by_name", leaf("orders"))).await;
    sync(&store, consumer("by_place", leaf("s3://orders"))).await;
    update(&store, "s3://orders", 1).await;
    let full = Asset { uri: "s3://orders".into(), group: "shop".into(), ..Asset::named("orders") };
    let full = dag("p", &[("update", "bash", &[])], |spec| spec.tasks[0].outlets = vec![Outlet::of(full)]);
    sync(&store, full).await;
    let all = store.assets(&AssetFilter { limit: 10, ..AssetFilter::default() }).await.unwrap();
    assert_eq!((all.total, all.items[0].asset.uri.as_str()), (1, "s3://orders"));
    let record = asset(&store, "s3://orders").await;
    assert_eq!((record.asset.name.as_str(), record.asset.group.as_str(), record.is_active), ("orders", "shop", true));
    let references = store.asset_references(&[record.id]).await.unwrap();
    let told: Vec<_> = references.iter().map(|r| (r.dag_id.as_str(), r.role, r.task_id.as_deref())).collect();
    assert_eq!(
        told,
        [
            ("by_name", AssetRole::Schedule, None),
            ("by_place", AssetRole::Schedule, None),
            ("p", AssetRole::Outlet, Some("update")),
        ]
    );
    assert_eq!(store.producer_of(&record).await.unwrap(), "p");
    assert_eq!(pass(&store, 2).await, 1);
    manual(&store, "p").await;
    let worker = worker(&store).await;
    let task = claim(&store, worker, 9).await.into_iter().find(|task| task.key.task_id == "update").unwrap();
    succeed(&store, &task).await;
    assert_eq!(pass(&store, 3).await, 2);
    assert_eq!((runs(&store, "by_name").await.len(), runs(&store, "by_place").await.len()), (1, 2));
}

async fn a_new_version_looks_again(store: Store) {
    sync(&store, producer("p", &["a", "b", "c"])).await;
    sync(&store, consumer("c", Condition::All(vec![leaf("a"), leaf("b"), leaf("c")]))).await;
    update(&store, "a", 1).await;
    update(&store, "c", 1).await;
    assert_eq!(pass(&store, 2).await, 0);
    // Now it waits for less, and that is there.
    sync(&store, consumer("c", Condition::Any(vec![leaf("a"), leaf("b")]))).await;
    assert_eq!(queued(&store, "c").await, [("a".to_owned(), 1)]);
    assert_eq!(pass(&store, 3).await, 1);
    // A DAG that waits no more is told no more.
    sync(&store, dag("c", &[("use", "bash", &[])], |_| {})).await;
    update(&store, "a", 4).await;
    assert_eq!((pass(&store, 5).await, queued(&store, "c").await.len()), (0, 0));
    // One whose file is gone neither.
    sync(&store, consumer("c", leaf("a"))).await;
    store.deactivate_dags(&["c".to_owned()], time(6)).await.unwrap();
    update(&store, "a", 7).await;
    assert_eq!((pass(&store, 8).await, queued(&store, "c").await.len()), (0, 0));
}

async fn by_hand(store: Store) {
    sync(&store, consumer("c", Condition::All(vec![leaf("a"), leaf("b")]))).await;
    sync(&store, consumer("d", Condition::All(vec![leaf("a"), leaf("c")]))).await;
    let extra = json!({"by": "hand"}).as_object().cloned().unwrap();
    let a = asset(&store, "a").await;
    let event = store.create_asset_event(a.id, &extra, time(1)).await.unwrap();
    assert_eq!((event.source, event.extra), (None, extra));
    assert!(matches!(store.create_asset_event(999, &Map::new(), time(1)).await, Err(Error::NotFound { .. })));
    assert!(matches!(store.producer_of(&a).await, Err(Error::NotFound { .. })));
    update(&store, "a", 5).await;
    assert_eq!(queued(&store, "c").await, [("a".to_owned(), 2)]);
    let awaited = store.awaited_assets("c").await.unwrap();
    let told: Vec<_> = awaited.iter().map(|a| (a.name.as_str(), a.has_come)).collect();
    assert_eq!(told, [("a", true), ("b", false)]);
    let filter = QueueFilter { dag_id: Some("c".into()), asset_id: Some(a.id), before: Some(time(3)) };
    assert_eq!(store.clear_asset_queue(&filter, time(6)).await.unwrap(), 1);
    assert_eq!((queued(&store, "c").await, queued(&store, "d").await.len()), (vec![("a".to_owned(), 1)], 1));
    let filter = QueueFilter { asset_id: Some(a.id), ..QueueFilter::default() };
    assert_eq!(store.clear_asset_queue(&filter, time(6)).await.unwrap(), 3);
    update(&store, "b", 7).await;
    assert_eq!(pass(&store, 8).await, 0);
    let filter = AssetEventFilter { at_gt: Some(time(1)), newest_first: true, limit: 1, ..AssetEventFilter::default() };
    let page = store.asset_events(&filter).await.unwrap();
    assert_eq!((page.total, page.items[0].name.as_str()), (2, "b"));
    let filter = AssetFilter { name_contains: Some("A".into()), limit: 5, ..AssetFilter::default() };
    assert_eq!(store.assets(&filter).await.unwrap().total, 1);
    let filter = AssetFilter { dag_ids: vec!["c".into()], limit: 5, descending: true, ..AssetFilter::default() };
    let names: Vec<_> = store.assets(&filter).await.unwrap().items.into_iter().map(|a| a.asset.name).collect();
    assert_eq!(names, ["b", "a"]);
}

async fn what_is_deleted_is_gone(store: Store) {
    sync(&store, producer("p", &["a"])).await;
    sync(&store, consumer("c", Condition::Any(vec![leaf("a")]))).await;
    update(&store, "a", 1).await;
    assert_eq!(pass(&store, 2).await, 1);
    update(&store, "a", 3).await;
    let run = runs(&store, "c").await.pop().unwrap();
    store.delete_run(run.key, true, time(4)).await.unwrap();
    let first = asset(&store, "a").await.last_event.unwrap().0 - 1;
    assert_eq!(store.runs_of_asset_events(&[first]).await.unwrap(), []);
    store.delete_dag("c", time(5)).await.unwrap();
    assert_eq!(queued(&store, "c").await.len(), 0);
    store.delete_dag("p", time(5)).await.unwrap();
    // The events stay, as a record of what happened to the asset.
    assert_eq!((asset(&store, "a").await.is_active, events(&store).await), (false, 2));
}
