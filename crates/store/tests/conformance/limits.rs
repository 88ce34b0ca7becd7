//! `max_active_tasks`, pools and pauses: never exceeded, and nothing is left behind when they open.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{Rng, SeedableRng};
use sqlx::{Connection, PgConnection};
use towpath_model::dag::{Dag, DagSpec, Task};
use towpath_model::state::{RunState, TaskState};
use towpath_store::{PoolRecord, ReportOutcome, Store};

use crate::harness::*;

both!(
    max_active_tasks_is_never_exceeded,
    runs_share_a_pool,
    a_task_with_two_slots_waits_for_two,
    a_pool_freed_by_one_run_starts_another,
    a_slot_reaches_a_run_that_moves_at_the_same_time,
    a_pause_stops_queueing,
    more_slots_take_effect_at_once,
    fewer_slots_take_effect_as_tasks_end,
    hundreds_behind_a_small_pool_all_finish,
);

fn pooled(id: &str, count: usize, pool: &str) -> Dag {
    wide(id, count, |spec| spec.tasks.iter_mut().for_each(|task| task.pool = pool.into()))
}

async fn pool(store: &Store, name: &str) -> PoolRecord {
    let pools = store.pools().await.expect("pools can be read");
    pools.into_iter().find(|pool| pool.name == name).expect("the pool exists")
}

async fn set_pool(store: &Store, name: &str, slots: u32) {
    store.set_pool(name, slots, None, time(0)).await.expect("a pool is set");
}

async fn max_active_tasks_is_never_exceeded(store: Store) {
    sync(&store, wide("d", 100, |_| {})).await;
    let run = manual(&store, "d").await.key;
    assert_eq!((count(&store, run, TaskState::Queued).await, count(&store, run, TaskState::Scheduled).await), (16, 84));
    let worker = worker(&store).await;
    let mut claimed = claim(&store, worker, 100).await;
    assert_eq!(claimed.len(), 16);
    let mut left = 100;
    while let Some(task) = claimed.pop() {
        let reply = store.report(&[ended(&task, ReportOutcome::Success)], &[], &asks(worker, 100), time(2)).await;
        claimed.extend(reply.expect("a report is taken").claimed);
        left -= 1;
        assert_eq!(claimed.len(), left.min(16));
    }
    assert_eq!((left, run_state(&store, run).await), (0, RunState::Success));
}

async fn runs_share_a_pool(store: Store) {
    set_pool(&store, "p", 3).await;
    sync(&store, pooled("d", 2, "p")).await;
    let (one, two) = (manual(&store, "d").await.key, manual(&store, "d").await.key);
    assert_eq!(count(&store, one, TaskState::Queued).await, 2);
    assert_eq!(count(&store, two, TaskState::Queued).await, 1);
    assert_eq!((pool(&store, "p").await.used, pool(&store, "default_pool").await.used), (3, 0));
    assert_eq!(drain(&store, 1, |_| ReportOutcome::Success).await.len(), 4);
    assert_eq!((run_state(&store, one).await, run_state(&store, two).await), (RunState::Success, RunState::Success));
    assert_eq!(pool(&store, "p").await.used, 0);
}

async fn a_task_with_two_slots_waits_for_two(store: Store) {
    set_pool(&store, "p", 3).await;
    let double = |id: &str| {
        wide(id, 2, |spec| {
            spec.tasks.iter_mut().for_each(|task| (task.pool, task.pool_slots) = ("p".into(), 2));
        })
    };
    sync(&store, double("one")).await;
    sync(&store, double("two")).await;
    let (one, two) = (manual(&store, "one").await.key, manual(&store, "two").await.key);
    assert_eq!(pool(&store, "p").await.used, 2);
    let worker = worker(&store).await;
    let mut order = Vec::new();
    for _ in 0..4 {
        let task = claim_one(&store, worker).await;
        assert_eq!(claim(&store, worker, 9).await, []);
        assert_eq!(pool(&store, "p").await.used, 2);
        order.push(task.key.run_key);
        succeed(&store, &task).await;
    }
    assert_eq!(order, [one, one, two, two]);
}

async fn a_pool_freed_by_one_run_starts_another(store: Store) {
    set_pool(&store, "p", 1).await;
    sync(&store, pooled("one", 1, "p")).await;
    sync(&store, dag("two", &[("a", "bash", &[]), ("b", "bash", &["a"])], |spec| spec.tasks[1].pool = "p".into()))
        .await;
    let one = manual(&store, "one").await.key;
    let two = manual(&store, "two").await.key;
    let worker = worker(&store).await;
    let claimed = claim(&store, worker, 9).await;
    let (first, second) = claimed.iter().partition::<Vec<_>, _>(|task| task.key.run_key == one);
    succeed(&store, second[0]).await;
    assert_eq!(states(&store, two).await["b"], TaskState::Scheduled);
    // A failed attempt that waits for its retry holds no slot either.
    end(&store, first[0], ReportOutcome::Rescheduled { at: time(60) }).await;
    assert_eq!(states(&store, two).await["b"], TaskState::Queued);
    store.wake_due(time(60), 9).await.expect("woken");
    assert_eq!(states(&store, one).await["t0000"], TaskState::Scheduled);
    assert_eq!(drain(&store, 1, |_| ReportOutcome::Success).await.len(), 2);
    assert_eq!((run_state(&store, one).await, run_state(&store, two).await), (RunState::Success, RunState::Success));
}

/// Whoever frees a slot leaves out runs that somebody else holds; then that one has to use it.
async fn a_slot_reaches_a_run_that_moves_at_the_same_time(store: Store) {
    set_pool(&store, "p", 1).await;
    sync(&store, pooled("one", 1, "p")).await;
    let change = |spec: &mut DagSpec| spec.tasks[1].pool = "p".into();
    sync(&store, dag("two", &[("a", "bash", &[]), ("b", "bash", &[]), ("c", "bash", &["a"])], change)).await;
    for round in 0..40 {
        let one = manual(&store, "one").await.key;
        let two = manual(&store, "two").await.key;
        let claimed = claim(&store, worker(&store).await, 9).await;
        let find = |run, id: &str| claimed.iter().find(|t| t.key.run_key == run && t.key.task_id == id);
        let holder = find(one, "t0000").expect("it has the slot");
        let other = find(two, "a").expect("it needs no slot of that pool");
        assert_eq!(states(&store, two).await["b"], TaskState::Scheduled);
        tokio::join!(succeed(&store, holder), succeed(&store, other));
        assert_eq!(states(&store, two).await["b"], TaskState::Queued, "round {round}");
        assert_eq!(drain(&store, 1, |_| ReportOutcome::Success).await.len(), 2);
    }
}

async fn a_pause_stops_queueing(store: Store) {
    sync(&store, dag("d", &[("a", "bash", &[]), ("b", "bash", &["a"])], |_| {})).await;
    sync(&store, wide("other", 1, |_| {})).await;
    let run = manual(&store, "d").await.key;
    let worker = worker(&store).await;
    let a = claim_one(&store, worker).await;
    assert!(store.set_paused("d", true, time(1)).await.expect("paused"));
    succeed(&store, &a).await;
    assert_eq!(states(&store, run).await["b"], TaskState::Scheduled);
    assert_eq!(store.sweep(time(2)).await.expect("swept"), 0);
    // Another DAG's slots that become free in the same pool change nothing.
    manual(&store, "other").await;
    succeed(&store, &claim_one(&store, worker).await).await;
    assert_eq!(claim(&store, worker, 9).await, []);
    assert_eq!(manual(&store, "d").await.state, RunState::Queued);
    assert!(store.set_paused("d", false, time(3)).await.expect("unpaused"));
    assert_eq!(states(&store, run).await["b"], TaskState::Queued);
    assert_eq!(store.start_queued_runs(time(3)).await.expect("started"), 1);
    assert_eq!(drain(&store, 2, |_| ReportOutcome::Success).await.len(), 3);
    assert!(!store.set_paused("none", true, time(3)).await.expect("asked"));
}

async fn more_slots_take_effect_at_once(store: Store) {
    set_pool(&store, "p", 0).await;
    sync(&store, pooled("d", 10, "p")).await;
    let run = manual(&store, "d").await.key;
    for (slots, queued) in [(2, 2), (7, 7), (7, 7), (50, 10)] {
        set_pool(&store, "p", slots).await;
        assert_eq!(count(&store, run, TaskState::Queued).await, queued);
    }
}

async fn fewer_slots_take_effect_as_tasks_end(store: Store) {
    set_pool(&store, "p", 4).await;
    sync(&store, pooled("d", 10, "p")).await;
    manual(&store, "d").await;
    set_pool(&store, "p", 1).await;
    let worker = worker(&store).await;
    let claimed = claim(&store, worker, 9).await;
    assert_eq!(claimed.len(), 4);
    for (task, used) in claimed.iter().zip([3, 2, 1, 1]) {
        succeed(&store, task).await;
        assert_eq!(pool(&store, "p").await.used, used);
    }
}

async fn hundreds_behind_a_small_pool_all_finish(store: Store) {
    set_pool(&store, "p", 3).await;
    let all_at_once = |spec: &mut DagSpec| {
        spec.max_active_tasks = 1_000;
        spec.tasks.iter_mut().for_each(|task| task.pool = "p".into());
    };
    sync(&store, wide("d", 500, all_at_once)).await;
    let run = manual(&store, "d").await.key;
    assert_eq!(count(&store, run, TaskState::Scheduled).await, 497);
    let ran = drain(&store, 4, |_| ReportOutcome::Success).await;
    let ids: BTreeSet<_> = ran.iter().map(|task| &task.key.task_id).collect();
    assert_eq!((ran.len(), ids.len()), (500, 500));
    assert_eq!(run_state(&store, run).await, RunState::Success);
}

const SEED: u64 = 20_260_101;

/// Runs of DAGs whose tasks sit in pools and wait for each other at random, by several workers at
/// once, while somebody else counts. Nothing sweeps: each step must start what it made room for.
async fn limits_hold_under_concurrency(store: &Store) {
    let mut random = StdRng::seed_from_u64(SEED);
    let mut runs = Vec::new();
    for (name, slots) in [("p1", 2), ("p2", 3), ("p3", 5)] {
        set_pool(store, name, slots).await;
    }
    for i in 0..4 {
        let id = format!("d{i}");
        sync(store, random_dag(&id, &mut random)).await;
        for _ in 0..3 {
            runs.push(manual(store, &id).await.key);
        }
    }
    let over = Arc::new(AtomicBool::new(false));
    let checker = tokio::spawn(check_limits(store.clone(), runs.clone(), Arc::clone(&over)));
    let ran = drain(store, 6, |task| match task.attempt.rem_euclid(16) {
        0 => ReportOutcome::Failed { retry: false },
        1 => ReportOutcome::Skipped,
        _ => ReportOutcome::Success,
    })
    .await;
    over.store(true, Ordering::Relaxed);
    assert!(checker.await.expect("the limits hold") > 0, "somebody looked (seed {SEED})");
    let once: BTreeSet<_> = ran.iter().map(|task| &task.key).collect();
    assert_eq!(once.len(), ran.len(), "seed {SEED}");
    for run in runs {
        let now = states(store, run).await;
        assert!(now.values().all(|state| state.is_finished()), "seed {SEED}, run {run}: {now:?}");
        assert!(run_state(store, run).await.is_finished(), "seed {SEED}");
    }
}

fn random_dag(id: &str, random: &mut StdRng) -> Dag {
    dag(id, &[], |spec| {
        spec.max_active_tasks = random.random_range(2..=6);
        for i in 0..40_usize {
            let mut task = Task::new(format!("t{i:02}"), "bash");
            task.pool = (*["p1", "p2", "p3", "default_pool"].choose(random).expect("there are some")).into();
            task.pool_slots = random.random_range(1..=2);
            task.priority_weight = random.random_range(1..=5);
            if i > 0 && random.random_bool(0.7) {
                task.upstream.push(format!("t{:02}", random.random_range(i.saturating_sub(9)..i)));
            }
            spec.tasks.push(task);
        }
    })
}

/// Looks at the limits until it is `over`; how often it looked.
async fn check_limits(store: Store, runs: Vec<i64>, over: Arc<AtomicBool>) -> u32 {
    let mut looks = 0;
    while !over.load(Ordering::Relaxed) {
        for pool in store.pools().await.expect("pools can be read") {
            assert!(pool.used <= pool.slots, "seed {SEED}: {pool:?}");
        }
        for &run in &runs {
            let version = store.run_by_key(run).await.expect("read").expect("there").version_id;
            let most = store.dag_of_version(version).await.expect("read").spec().max_active_tasks;
            let now = states(&store, run).await;
            let live = now.values().filter(|state| matches!(state, TaskState::Queued | TaskState::Running)).count();
            assert!(live <= most as usize, "seed {SEED}, run {run}: {live} of {most}");
        }
        looks += 1;
    }
    looks
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn limits_hold_under_concurrency_on_sqlite() {
    let db = towpath_testkit::sqlite();
    limits_hold_under_concurrency(&open(&db).await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn limits_hold_under_concurrency_without_deadlocks_on_postgres() {
    let db = towpath_testkit::postgres().await;
    let store = open(&db).await;
    limits_hold_under_concurrency(&store).await;
    // A server process tells what it has counted when it ends at the latest.
    store.close().await;
    let mut connection = PgConnection::connect(&db.url).await.expect("the test database answers");
    let query = "SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()";
    let deadlocks: i64 = sqlx::query_scalar(query).fetch_one(&mut connection).await.expect("statistics can be read");
    assert_eq!(deadlocks, 0);
}
