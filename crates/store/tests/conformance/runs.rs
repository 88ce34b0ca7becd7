//! How runs come to be, wait, start, and are listed.

use chrono::TimeDelta;
use towpath_model::dag::DagSpec;
use towpath_model::run::{RunType, TriggeredBy};
use towpath_model::state::{RunState, TaskState};
use towpath_model::timetable::{DataInterval, DueRun};
use towpath_model::trigger_rule::TriggerRule;
use towpath_store::{Claim, Error, NewRun, ReportOutcome, RunFilter, RunRecord, Store};

use crate::harness::{
    asks, both, claim, claim_one, count, dag, end, instance, key, manual, run_state, states, succeed, sync, time, wide,
    worker,
};

use TaskState::{None as Undecided, Queued, Scheduled, Skipped, Success, UpstreamFailed};

/// A manual run named `run_id` that is due at `after`.
fn named(dag_id: &str, run_id: &str, after: i64) -> NewRun {
    NewRun { run_id: Some(run_id.into()), ..NewRun::manual(dag_id, time(after), TriggeredBy::Cli) }
}

async fn create(store: &Store, new: NewRun) -> RunRecord {
    store.create_run(new, time(0)).await.expect("a run is created").run
}

async fn start(store: &Store, at: i64) -> u32 {
    store.start_queued_runs(time(at)).await.expect("queued runs can be started")
}

fn due(seconds: i64) -> DueRun {
    let at = time(seconds);
    DueRun { run_after: at, logical_date: at, data_interval: DataInterval { start: at, end: at } }
}

async fn states_in_order(store: &Store, run: &RunRecord) -> Vec<TaskState> {
    states(store, run.key).await.into_values().collect()
}

async fn roots_are_queued_within_the_limits(store: Store) {
    let tasks: &[(&str, &str, &[&str])] =
        &[("a", "bash", &[]), ("b", "bash", &[]), ("c", "bash", &[]), ("d", "bash", &["a"]), ("e", "bash", &["d"])];
    sync(
        &store,
        dag("d", tasks, |spec| {
            spec.max_active_tasks = 2;
            spec.tasks[1].priority_weight = 100;
        }),
    )
    .await;
    let run = manual(&store, "d").await;
    assert_eq!((run.state, run.start_date, run.end_date), (RunState::Running, Some(time(0)), None));
    assert_eq!(states_in_order(&store, &run).await, [Queued, Queued, Scheduled, Undecided, Undecided]);
    let tries = |id: &'static str| {
        let (store, run_key) = (store.clone(), run.key);
        async move { instance(&store, &key(run_key, id)).await.try_number }
    };
    assert_eq!((tries("a").await, tries("c").await, tries("d").await), (1, 1, 0));
}

/// Created at once or started later, a run must come out the same.
async fn both_ways(
    store: &Store,
    id: &str,
    tasks: &[(&str, &str, &[&str])],
    change: fn(&mut DagSpec),
) -> (RunState, Vec<TaskState>) {
    sync(store, dag(id, tasks, change)).await;
    let at_once = create(store, named(id, "at once", 0)).await;
    let later = create(store, named(id, "later", 5)).await;
    assert_eq!(later.state, RunState::Queued);
    assert_eq!(start(store, 5).await, 1);
    let found = states_in_order(store, &at_once).await;
    assert_eq!(states_in_order(store, &later).await, found, "{id}");
    let state = run_state(store, later.key).await;
    assert_eq!(run_state(store, at_once.key).await, state, "{id}");
    for run in [at_once, later] {
        let run = store.run_by_key(run.key).await.expect("a run can be read").expect("the run exists");
        assert_eq!(run.end_date.is_some(), state.is_finished(), "{id}");
    }
    (state, found)
}

async fn empty_tasks_end_at_once(store: Store) {
    let leads: &[(&str, &str, &[&str])] = &[("a", "empty", &[]), ("b", "bash", &["a"]), ("c", "empty", &["b"])];
    assert_eq!(both_ways(&store, "leads", leads, |_| {}).await, (RunState::Running, vec![Success, Queued, Undecided]));
    let only: &[(&str, &str, &[&str])] = &[("a", "empty", &[]), ("b", "empty", &["a"]), ("c", "empty", &["a", "b"])];
    assert_eq!(both_ways(&store, "only", only, |_| {}).await, (RunState::Success, vec![Success; 3]));
    assert_eq!(both_ways(&store, "none", &[], |_| {}).await, (RunState::Success, vec![]));
    let skips = |spec: &mut DagSpec| spec.tasks[1].trigger_rule = TriggerRule::AllFailed;
    assert_eq!(both_ways(&store, "skips", only, skips).await, (RunState::Success, vec![Success, Skipped, Skipped]));
    let fails = |spec: &mut DagSpec| {
        spec.tasks[1].trigger_rule = TriggerRule::AllSkipped;
        spec.tasks[2].trigger_rule = TriggerRule::AllDoneMinOneSuccess;
        spec.tasks[2].upstream = vec!["b".into()];
    };
    assert_eq!(both_ways(&store, "fails", only, fails).await, (RunState::Success, vec![Success, Skipped, Skipped]));
    let eager = |spec: &mut DagSpec| {
        spec.tasks[2].operator = "bash".into();
        spec.tasks[2].trigger_rule = TriggerRule::OneSuccess;
    };
    assert_eq!(both_ways(&store, "eager", only, eager).await, (RunState::Running, vec![Success, Success, Queued]));
}

async fn a_failed_task_fails_what_follows_and_the_run(store: Store) {
    sync(&store, dag("d", &[("a", "bash", &[]), ("b", "empty", &["a"])], |_| {})).await;
    let run = manual(&store, "d").await;
    let worker = worker(&store).await;
    end(&store, &claim_one(&store, worker).await, ReportOutcome::Failed { retry: true }).await;
    assert_eq!(states_in_order(&store, &run).await, [TaskState::Failed, UpstreamFailed]);
    assert_eq!(run_state(&store, run.key).await, RunState::Failed);
}

async fn a_run_exists_once(store: Store) {
    for id in ["d", "other"] {
        sync(&store, wide(id, 1, |_| {})).await;
    }
    let dated = |dag_id: &str, run_id: &str, at| NewRun { logical_date: at, ..named(dag_id, run_id, 0) };
    create(&store, dated("d", "a", Some(time(1)))).await;
    for (run_id, at) in [("a", None), ("b", Some(time(1)))] {
        let refused = store.create_run(dated("d", run_id, at), time(0)).await;
        assert!(matches!(&refused, Err(Error::RunExists { dag_id, .. }) if dag_id == "d"), "{refused:?}");
    }
    create(&store, dated("d", "b", None)).await;
    create(&store, dated("d", "c", None)).await;
    create(&store, dated("other", "a", Some(time(1)))).await;
    let total = store.runs(&RunFilter { limit: 9, ..RunFilter::default() }).await.expect("runs can be read").total;
    assert_eq!(total, 4, "what was refused left nothing");
    let unknown = store.create_run(named("unknown", "a", 0), time(0)).await;
    assert!(matches!(unknown, Err(Error::NotFound { .. })), "{unknown:?}");
}

async fn runs_without_a_name_may_come_at_once(store: Store) {
    sync(&store, wide("d", 1, |_| {})).await;
    let nameless = || NewRun { run_id: None, ..NewRun::manual("d", time(0), TriggeredBy::RestApi) };
    let (first, second) = (create(&store, nameless()).await, create(&store, nameless()).await);
    assert_eq!(first.run_after, time(0));
    assert_eq!(second.run_after, time(0) + TimeDelta::microseconds(1));
    assert_ne!(first.run_id, second.run_id);
    let dated = || NewRun { logical_date: Some(time(5)), ..nameless() };
    assert_eq!(create(&store, dated()).await.run_after, time(0) + TimeDelta::microseconds(2));
    let refused = store.create_run(dated(), time(0)).await;
    assert!(matches!(&refused, Err(Error::RunExists { .. })), "{refused:?}");
}

async fn one_of_ten_creators_wins(store: Store) {
    sync(&store, wide("d", 3, |_| {})).await;
    let mut tasks = tokio::task::JoinSet::new();
    for i in 0..10 {
        let new = NewRun { logical_date: Some(time(1)), ..named("d", &format!("run {i}"), 0) };
        let store = store.clone();
        tasks.spawn(async move { store.create_run(new, time(0)).await });
    }
    let mut won = Vec::new();
    while let Some(done) = tasks.join_next().await {
        match done.expect("nothing panics") {
            Ok(created) => won.push(created.run),
            Err(error) => assert!(matches!(error, Error::RunExists { .. }), "{error:?}"),
        }
    }
    assert_eq!(won.len(), 1);
    assert_eq!(count(&store, won[0].key, Queued).await, 3);
    assert_eq!(store.state_counts().await.expect("states can be counted")[&Queued], 3, "losers left nothing");
}

/// Runs that are asked for at the same time go together, and each is told its own outcome.
async fn creators_at_the_same_time(store: Store) {
    sync(&store, wide("d", 2, |spec| spec.max_active_runs = 10)).await;
    let mut tasks = tokio::task::JoinSet::new();
    for i in 0..60 {
        // Every id is asked for twice, and every fifth for a version that there is not.
        let id = format!("run {:02}", i / 2);
        let version_id = (i / 2 % 5 == 0).then_some(-1);
        let new = NewRun { version_id, ..named("d", &id, 0) };
        let store = store.clone();
        tasks.spawn(async move { (id, store.create_run(new, time(0)).await) });
    }
    let mut created = Vec::new();
    let (mut exist, mut unknown) = (0, 0);
    for (id, outcome) in tasks.join_all().await {
        match outcome {
            Ok(done) => {
                assert_eq!(done.run.run_id, id);
                created.push(id);
            }
            Err(Error::RunExists { what, .. }) if what.contains(&id) => exist += 1,
            Err(error) => {
                assert!(matches!(error, Error::NotFound { .. }), "{error:?}");
                unknown += 1;
            }
        }
    }
    created.sort();
    created.dedup();
    assert_eq!((created.len(), exist, unknown), (24, 24, 12));
    let running = store.runs(&RunFilter { limit: 100, ..RunFilter::default() }).await.expect("runs are listed").items;
    let count = |state| running.iter().filter(|run| run.state == state).count();
    assert_eq!((count(RunState::Running), count(RunState::Queued)), (10, 14), "`max_active_runs` holds");
}

/// Whoever asks just when the one before has been served is served as well.
async fn creators_one_after_the_other(store: Store) {
    sync(&store, wide("d", 1, |_| {})).await;
    let mut tasks = tokio::task::JoinSet::new();
    for creator in 0..4 {
        let store = store.clone();
        tasks.spawn(async move {
            for i in 0..50 {
                create(&store, named("d", &format!("run {creator} {i}"), 0)).await;
            }
        });
    }
    tasks.join_all().await;
    let total = store.runs(&RunFilter { limit: 1, ..RunFilter::default() }).await.expect("runs can be read").total;
    assert_eq!(total, 200);
}

/// Who asked may go away; who waits behind is served.
async fn a_creator_that_goes_away(store: Store) {
    sync(&store, wide("d", 1, |_| {})).await;
    for i in 0..20 {
        let gone = store.create_run(named("d", &format!("gone {i}"), 0), time(0));
        let stays = store.create_run(named("d", &format!("stays {i}"), 0), time(0));
        let gone = tokio::time::timeout(std::time::Duration::from_micros(50 * i), gone);
        let (_, stays) = tokio::join!(gone, stays);
        assert_eq!(stays.expect("created").run.run_id, format!("stays {i}"));
    }
}

async fn runs_wait_for_max_active_runs(store: Store) {
    sync(&store, wide("d", 1, |spec| spec.max_active_runs = 1)).await;
    let first = manual(&store, "d").await;
    let third = create(&store, named("d", "third", -10)).await;
    let second = create(&store, named("d", "second", -20)).await;
    assert_eq!((first.state, second.state, third.state), (RunState::Running, RunState::Queued, RunState::Queued));
    assert_eq!(states_in_order(&store, &second).await, [Undecided]);
    assert_eq!(start(&store, 1).await, 0, "the first is still there");
    let worker = worker(&store).await;
    for run in [&first, &second, &third] {
        let task = claim_one(&store, worker).await;
        assert_eq!(task.key.run_key, run.key, "by `run_after`, whichever came first");
        assert_eq!(claim(&store, worker, 9).await, []);
        succeed(&store, &task).await;
        assert_eq!(run_state(&store, run.key).await, RunState::Success);
        assert_eq!(start(&store, 3).await, u32::from(run.key != third.key));
    }
}

async fn a_paused_dag_keeps_its_runs_queued(store: Store) {
    sync(&store, wide("d", 1, |_| {})).await;
    store.set_paused("d", true, time(0)).await.expect("a DAG is paused");
    let run = manual(&store, "d").await;
    assert_eq!((run.state, start(&store, 9).await), (RunState::Queued, 0));
    store.set_paused("d", false, time(9)).await.expect("a DAG is unpaused");
    assert_eq!(start(&store, 9).await, 1);
    assert_eq!(states_in_order(&store, &run).await, [Queued]);
    let run = store.run_by_key(run.key).await.expect("a run can be read").expect("the run exists");
    assert_eq!((run.state, run.start_date), (RunState::Running, Some(time(9))));
}

async fn a_foreground_run_starts_anyway(store: Store) {
    let tasks: &[(&str, &str, &[&str])] = &[("a", "bash", &[]), ("b", "bash", &["a"])];
    sync(&store, dag("d", tasks, |spec| spec.max_active_runs = 1)).await;
    manual(&store, "d").await;
    store.set_paused("d", true, time(0)).await.expect("a DAG is paused");
    let run = create(&store, NewRun { queue: Some("mine".into()), ..named("d", "foreground", 0) }).await;
    assert_eq!((run.state, run.queue.as_deref()), (RunState::Running, Some("mine")));
    let worker = worker(&store).await;
    assert!(
        claim(&store, worker, 9).await.iter().all(|task| task.key.run_key != run.key),
        "it is not in the default queue"
    );
    let mine = Claim { queues: vec!["mine".into()], ..asks(worker, 9) };
    for task_id in ["a", "b"] {
        let mut reply = store.report(&[], &[], &mine, time(1)).await.expect("a claim is answered");
        let task = reply.claimed.pop().expect("it is queued although the DAG is paused");
        assert_eq!((task.key.run_key, task.key.task_id.as_str(), reply.claimed.len()), (run.key, task_id, 0));
        succeed(&store, &task).await;
    }
    assert_eq!(run_state(&store, run.key).await, RunState::Success);
}

async fn a_run_waits_for_its_time(store: Store) {
    sync(&store, wide("d", 1, |_| {})).await;
    let run = create(&store, named("d", "later", 60)).await;
    assert_eq!((run.state, run.start_date), (RunState::Queued, None));
    assert_eq!(store.next_due_at(time(0)).await.expect("times can be read"), Some(time(60)));
    assert_eq!((start(&store, 59).await, start(&store, 60).await, start(&store, 61).await), (0, 1, 0));
    assert_eq!(states_in_order(&store, &run).await, [Queued]);
}

async fn two_schedulers_create_a_run_once(store: Store) {
    sync(&store, wide("d", 1, |_| {})).await;
    let version = store.dag("d").await.expect("a DAG can be read").expect("it exists").version_id;
    store.set_next_run("d", version, Some(due(10)), time(0)).await.expect("it is the current version");
    for at in [10, 20, 30] {
        let fire =
            |store: Store| async move { store.create_scheduled_run("d", due(at), Some(due(at + 10)), time(at)).await };
        let (one, two) = tokio::join!(tokio::spawn(fire(store.clone())), tokio::spawn(fire(store.clone())));
        let made: Vec<_> =
            [one, two].into_iter().filter_map(|r| r.expect("nothing panics").expect("the database answers")).collect();
        assert_eq!(made.len(), 1);
        assert_eq!(
            (made[0].run_type, made[0].logical_date, made[0].state),
            (RunType::Scheduled, Some(time(at)), RunState::Running)
        );
        assert_eq!(made[0].data_interval, Some(due(at).data_interval));
        let next = store.dag("d").await.expect("a DAG can be read").expect("it exists").next_run;
        assert_eq!(next, Some(due(at + 10)));
    }
    let fire = async || store.create_scheduled_run("d", due(40), None, time(40)).await.expect("the database answers");
    store.set_paused("d", true, time(35)).await.expect("a DAG is paused");
    assert_eq!(fire().await, None, "it is paused");
    store.set_paused("d", false, time(35)).await.expect("a DAG is unpaused");
    assert_eq!(fire().await, None, "a pause forgets the plan");
    store.set_next_run("d", version, Some(due(40)), time(35)).await.expect("it is the current version");
    sync(&store, wide("d", 2, |_| {})).await;
    assert_eq!(fire().await, None, "it was planned for another version");
    let version = store.dag("d").await.expect("a DAG can be read").expect("it exists").version_id;
    store.set_next_run("d", version, Some(due(40)), time(35)).await.expect("it is the current version");
    create(&store, NewRun { logical_date: Some(time(40)), ..named("d", "by hand", 0) }).await;
    assert_eq!(fire().await, None, "somebody has made it by hand");
    assert_eq!(store.dag("d").await.expect("a DAG can be read").expect("it exists").next_run, None, "the fire is done");
}

async fn runs_are_filtered_paged_and_in_order(store: Store) {
    for id in ["a", "b"] {
        sync(&store, wide(id, 1, |spec| spec.max_active_runs = 2)).await;
        for i in 0..4 {
            let run_type = if i == 3 { RunType::Backfill } else { RunType::Manual };
            let new = NewRun { run_type, logical_date: Some(time(i)), ..named(id, &format!("{id}{i}"), -i) };
            create(&store, new).await;
        }
    }
    let all = || RunFilter { limit: 100, ..RunFilter::default() };
    let of_a = || RunFilter { dag_id: Some("a".into()), ..all() };
    let dates = RunFilter { logical_date_gte: Some(time(1)), logical_date_lte: Some(time(2)), ..all() };
    let cases: [(RunFilter, &str, u64); 9] = [
        (all(), "a3 b3 a2 b2 a1 b1 a0 b0", 8),
        (RunFilter { newest_first: true, ..all() }, "b0 a0 b1 a1 b2 a2 b3 a3", 8),
        (of_a(), "a3 a2 a1 a0", 4),
        (RunFilter { limit: 2, offset: 1, ..of_a() }, "a2 a1", 4),
        (RunFilter { limit: 2, offset: 9, ..of_a() }, "", 4),
        (RunFilter { states: vec![RunState::Queued], ..of_a() }, "a3 a2", 2),
        (
            RunFilter { states: vec![RunState::Queued, RunState::Running], newest_first: true, ..of_a() },
            "a0 a1 a2 a3",
            4,
        ),
        (RunFilter { run_type: Some(RunType::Backfill), ..all() }, "a3 b3", 2),
        (dates, "a2 b2 a1 b1", 4),
    ];
    for (filter, ids, total) in cases {
        let page = store.runs(&filter).await.expect("runs can be read");
        let found: Vec<_> = page.items.iter().map(|run| run.run_id.as_str()).collect();
        assert_eq!((found.join(" ").as_str(), page.total), (ids, total), "{filter:?}");
    }
}

async fn what_came_before(store: Store) {
    for id in ["d", "other"] {
        sync(&store, wide(id, 1, |_| {})).await;
    }
    let worker = worker(&store).await;
    let mut runs = Vec::new();
    for (dag_id, at, succeeds) in [("d", 1, true), ("d", 2, true), ("d", 3, false), ("other", 3, true), ("d", 4, true)]
    {
        let run =
            create(&store, NewRun { logical_date: Some(time(at)), ..named(dag_id, &format!("run {at}"), at - 10) })
                .await;
        let outcome = if succeeds { ReportOutcome::Success } else { ReportOutcome::Failed { retry: false } };
        end(&store, &claim_one(&store, worker).await, outcome).await;
        runs.push(run);
    }
    let before = async |run: &RunRecord| {
        store.previous_success(run).await.expect("runs can be read").map(|run| (run.dag_id, run.run_id))
    };
    let expected = [None, Some("run 1"), Some("run 2"), None, Some("run 2")];
    for (run, expected) in runs.iter().zip(expected) {
        assert_eq!(before(run).await, expected.map(|id| ("d".to_owned(), id.to_owned())), "{}", run.run_id);
    }
    let stats = store.run_stats(&["d".into(), "other".into(), "unknown".into()], 2).await.expect("runs can be read");
    let ids =
        |dag_id: &str| stats.get(dag_id).map(|runs| runs.iter().map(|run| run.run_id.as_str()).collect::<Vec<_>>());
    assert_eq!((ids("d"), ids("other"), ids("unknown")), (Some(vec!["run 4", "run 3"]), Some(vec!["run 3"]), None));
}

both!(
    roots_are_queued_within_the_limits,
    empty_tasks_end_at_once,
    a_failed_task_fails_what_follows_and_the_run,
    a_run_exists_once,
    runs_without_a_name_may_come_at_once,
    one_of_ten_creators_wins,
    creators_at_the_same_time,
    creators_one_after_the_other,
    a_creator_that_goes_away,
    runs_wait_for_max_active_runs,
    a_paused_dag_keeps_its_runs_queued,
    a_foreground_run_starts_anyway,
    a_run_waits_for_its_time,
    two_schedulers_create_a_run_once,
    runs_are_filtered_paged_and_in_order,
    what_came_before,
    runs_are_found_by_their_logical_date,
    states_of_some_tasks,
);

async fn runs_are_found_by_their_logical_date(store: Store) {
    for id in ["d", "other"] {
        sync(&store, dag(id, &[("a", "bash", &[])], |_| {})).await;
    }
    let dated = |at| NewRun { logical_date: Some(time(at)), ..named("d", &format!("r{at}"), at) };
    let first = create(&store, dated(1)).await;
    create(&store, dated(2)).await;
    create(&store, named("d", "undated", 3)).await;
    assert_eq!(store.run_at("d", time(1)).await.expect("read"), Some(first));
    assert_eq!(store.run_at("d", time(3)).await.expect("read"), None);
    assert_eq!(store.run_at("other", time(1)).await.expect("read"), None);
}

async fn states_of_some_tasks(store: Store) {
    let tasks: [(&str, &str, &[&str]); 3] = [("a", "empty", &[]), ("b", "bash", &["a"]), ("c", "bash", &["b"])];
    sync(&store, dag("d", &tasks, |_| {})).await;
    let run = manual(&store, "d").await;
    let of = async |ids: &[&str]| {
        let ids: Vec<String> = ids.iter().map(ToString::to_string).collect();
        store.task_states(run.key, &ids).await.expect("read")
    };
    assert_eq!(of(&["c", "a", "x"]).await, [("a".to_owned(), Success), ("c".to_owned(), Undecided)]);
    assert_eq!(of(&["b"]).await, [("b".to_owned(), Queued)]);
    assert_eq!(of(&[]).await, []);
}
