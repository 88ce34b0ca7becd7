//! What is told about why something does not run, held against what the engine does.

use towpath_model::dag::DagSpec;
use towpath_model::run::TriggeredBy;
use towpath_model::state::{RunState, TaskState};
use towpath_model::trigger_rule::TriggerRule;
use towpath_store::{
    DagUpsert, Error, Explanation, JobType, NewJob, NewRun, Reason, ReportOutcome, RunRecord, Store, Told,
};

use crate::harness::*;

both!(
    a_task_waits_for_its_upstream,
    a_task_waits_for_a_full_pool,
    a_task_waits_for_its_run,
    a_task_waits_for_its_time_or_a_worker,
    a_queued_run_waits_for_another,
    a_run_tells_what_waits_in_it,
    a_dag_tells_when_it_runs_next,
    what_waits_elsewhere_costs_nothing,
    whatever_moves_was_told,
);

fn texts(told: &[Told]) -> Vec<&str> {
    told.iter().map(|told| told.text.as_str()).collect()
}

async fn task(store: &Store, run: &RunRecord, task_id: &str, now: i64) -> Explanation {
    store.explain_task(run, task_id, -1, time(now)).await.expect("it is explained")
}

#[track_caller]
fn check(told: &Explanation, state: TaskState, expected: &[&str]) {
    assert_eq!((told.state.as_str(), texts(&told.reasons)), (state.as_ref(), expected.to_vec()), "{told:?}");
}

async fn scheduler(store: &Store) -> i64 {
    let job = NewJob {
        job_type: JobType::Scheduler,
        hostname: "host".into(),
        pid: 8,
        process_mark: "mark".into(),
        queues: vec![],
        slots: 0,
    };
    store.register_job(job, LEASE, time(0)).await.expect("a scheduler is registered")
}

async fn reread(store: &Store, run: &RunRecord) -> RunRecord {
    store.run_by_key(run.key).await.expect("a run can be read").expect("the run exists")
}

async fn a_task_waits_for_its_upstream(store: Store) {
    let tasks: &[(&str, &str, &[&str])] =
        &[("a", "bash", &[]), ("b", "bash", &[]), ("c", "bash", &["a", "b"]), ("d", "bash", &["c"])];
    sync(&store, dag("d", tasks, |_| {})).await;
    let run = manual(&store, "d").await;
    let queued = "waits for upstream `a` (queued, 1st try), `b` (queued, 1st try)";
    check(&task(&store, &run, "c", 1).await, TaskState::None, &[queued]);
    let chain = ["waits for upstream `c` (waits itself)", "in the end it waits for `a` (queued, 1st try)"];
    check(&task(&store, &run, "d", 1).await, TaskState::None, &chain);
    let worker = worker(&store).await;
    let claimed = claim(&store, worker, 9).await;
    succeed(&store, &claimed[0]).await;
    let running = "waits for upstream `b` (running, 1st try)";
    check(&task(&store, &run, "c", 1).await, TaskState::None, &[running]);
    end(&store, &claimed[1], ReportOutcome::Failed { retry: false }).await;
    let rule = "trigger rule all_success: upstream `b` failed, so it is upstream_failed";
    check(&task(&store, &run, "c", 1).await, TaskState::UpstreamFailed, &[rule]);
    let rule = "trigger rule all_success: upstream `c` could not run (upstream_failed), so it is upstream_failed";
    check(&task(&store, &run, "d", 1).await, TaskState::UpstreamFailed, &[rule]);
    let run = reread(&store, &run).await;
    let told = store.explain_run(&run, time(9)).await.expect("it is explained");
    assert_eq!(texts(&told.reasons), ["the run is over: failed at 00:00:02Z; failed: `b`"]);
    let unknown = store.explain_task(&run, "e", -1, time(1)).await;
    assert!(matches!(unknown, Err(Error::NotFound { .. })), "{unknown:?}");
}

async fn a_task_waits_for_a_full_pool(store: Store) {
    store.set_pool("p", 1, None, time(0)).await.expect("a pool is set");
    let change = |spec: &mut DagSpec| spec.tasks.iter_mut().for_each(|task| task.pool = "p".into());
    sync(&store, wide("one", 1, change)).await;
    sync(&store, wide("two", 2, change)).await;
    let (one, two) = (manual(&store, "one").await, manual(&store, "two").await);
    let told = task(&store, &two, "t0000", 1).await;
    let held = format!("pool `p` 1/1, held by one.t0000 (run {}) since 00:00:00Z", one.run_id);
    check(&told, TaskState::Scheduled, &[&held]);
    assert_eq!(told.reasons[0].advice.as_deref(), Some("wait, or give it more: towpath pools set p 2"));
    assert!(matches!(&told.reasons[0].reason, Reason::PoolFull { slots: 1, used: 1, needs: 1, .. }));
    // What is told to help does help.
    store.set_pool("p", 2, None, time(2)).await.expect("a pool is set");
    assert_eq!(instance(&store, &key(two.key, "t0000")).await.state, TaskState::Queued);
    assert!(store.delete_pool("p").await.expect("a pool is deleted"));
    check(&task(&store, &two, "t0001", 1).await, TaskState::Scheduled, &["pool `p` does not exist"]);
}

async fn a_task_waits_for_its_run(store: Store) {
    sync(&store, wide("d", 20, |spec| spec.max_active_tasks = 2)).await;
    let run = manual(&store, "d").await;
    let full = "max_active_tasks: 2 of 2 tasks of this run are queued or running";
    check(&task(&store, &run, "t0005", 1).await, TaskState::Scheduled, &[full]);
    store.set_paused("d", true, time(1)).await.expect("paused");
    let paused = "DAG `d` is paused: what runs goes on, nothing else starts";
    check(&task(&store, &run, "t0005", 1).await, TaskState::Scheduled, &[paused]);
}

async fn a_task_waits_for_its_time_or_a_worker(store: Store) {
    let change = |spec: &mut DagSpec| {
        spec.tasks[0].retry.retries = 3;
        spec.tasks[0].retry.delay = std::time::Duration::from_secs(60);
        spec.tasks[1].queue = "gpu".into();
    };
    sync(&store, wide("d", 2, change)).await;
    let run = manual(&store, "d").await;
    let none = "queued since 00:00:00Z: no live worker takes queue `default`; no worker is alive";
    check(&task(&store, &run, "t0000", 1).await, TaskState::Queued, &[none]);
    let worker = worker(&store).await;
    let idle = "queued since 00:00:00Z; 0 of 16 slots are busy on 1 live worker of queue `default`";
    check(&task(&store, &run, "t0000", 1).await, TaskState::Queued, &[idle]);
    let other = "queued since 00:00:00Z: no live worker takes queue `gpu`; live workers take: default";
    check(&task(&store, &run, "t0001", 1).await, TaskState::Queued, &[other]);
    let claimed = claim_one(&store, worker).await;
    let runs = "running on host (worker process 7) since 00:00:01Z, try 1 of 4";
    check(&task(&store, &run, "t0000", 1).await, TaskState::Running, &[runs]);
    let silent = "its worker on host has not renewed its lease since 00:00:00Z: the scheduler ends this try";
    check(&task(&store, &run, "t0000", 61).await, TaskState::Running, &[runs, silent, "no scheduler is alive"]);
    fail(&store, &claimed).await;
    let at = instance(&store, &claimed.key).await.available_at.expect("it waits");
    let wait = format!("next try at {} (try 2 of 4)", at.format("%H:%M:%SZ"));
    check(&task(&store, &run, "t0000", 2).await, TaskState::UpForRetry, &[&wait]);
    scheduler(&store).await;
    let due = "next try is due (try 2 of 4)";
    let late = store.explain_task(&run, "t0000", -1, at).await.expect("it is explained");
    check(&late, TaskState::UpForRetry, &[due, "no scheduler has been alive since 00:00:00Z"]);
    store.wake_due(at, 9).await.expect("woken");
    assert_eq!(instance(&store, &claimed.key).await.state, TaskState::Queued);
}

async fn a_queued_run_waits_for_another(store: Store) {
    sync(&store, wide("d", 1, |spec| spec.max_active_runs = 1)).await;
    scheduler(&store).await;
    let (first, second) = (manual(&store, "d").await, manual(&store, "d").await);
    let explain = async |run: &RunRecord, now: i64| {
        let told = store.explain_run(run, time(now)).await.expect("it is explained");
        texts(&told.reasons).into_iter().map(str::to_owned).collect::<Vec<_>>()
    };
    let full = format!("max_active_runs 1 is reached by run `{}` (running since 00:00:00Z)", first.run_id);
    assert_eq!(explain(&second, 1).await.join(" | "), full);
    let told = task(&store, &second, "t0000", 1).await;
    check(&told, TaskState::None, &[&format!("run `{}` has not started", second.run_id), &full]);
    assert!(store.cancel_run(first.key, "no more", time(1)).await.expect("cancelled"));
    assert_eq!(explain(&second, 1).await, ["nothing holds it: it starts with the scheduler's next look"]);
    assert_eq!(store.start_queued_runs(time(1)).await.expect("started"), 1);
    let new = NewRun { run_id: Some("later".into()), ..NewRun::manual("d", time(90), TriggeredBy::Cli) };
    let later = store.create_run(new, time(1)).await.expect("created").run;
    store.set_paused("d", true, time(1)).await.expect("paused");
    let held = explain(&later, 61).await;
    assert_eq!(
        held,
        [
            "the run starts at its run_after, 00:01:30Z".to_owned(),
            "DAG `d` is paused: what runs goes on, nothing else starts".to_owned(),
            format!("max_active_runs 1 is reached by run `{}` (running since 00:00:01Z)", second.run_id),
            "no scheduler has been alive since 00:00:00Z".to_owned(),
        ]
    );
}

async fn a_run_tells_what_waits_in_it(store: Store) {
    let tasks: &[(&str, &str, &[&str])] = &[
        ("a", "bash", &[]),
        ("b", "bash", &["a"]),
        ("c", "bash", &["a"]),
        ("d", "bash", &["b"]),
        ("e", "bash", &["d"]),
        ("f", "bash", &["a"]),
    ];
    sync(&store, dag("d", tasks, |spec| spec.tasks[5].trigger_rule = TriggerRule::AllDone)).await;
    let run = manual(&store, "d").await;
    let worker = worker(&store).await;
    let a = claim_one(&store, worker).await;
    let told = store.explain_run(&run, time(2)).await.expect("it is explained");
    assert_eq!(texts(&told.reasons), ["it has been running since 00:00:00Z; 6 tasks to finish"]);
    let groups: Vec<_> = told
        .waiting
        .iter()
        .map(|group| (group.state, group.count, group.tasks.join(" "), texts(&group.reasons).join(" | ")))
        .collect();
    let group = |state, count, tasks: &str, text: &str| (state, count, tasks.to_owned(), text.to_owned());
    assert_eq!(
        groups,
        [
            group(TaskState::Running, 1, "a", "running on host (worker process 7) since 00:00:01Z, try 1 of 1"),
            group(TaskState::None, 2, "b c", "waits for upstream `a` (running, 1st try)"),
            group(TaskState::None, 2, "d e", "in the end it waits for `a` (running, 1st try)"),
            group(TaskState::None, 1, "f", "waits for upstream `a` (running, 1st try), by trigger rule all_done"),
        ]
    );
    assert_eq!(told.left_out, 0);
    succeed(&store, &a).await;
    // However many wait for one thing, it is one group.
    sync(&store, wide("wide", 1_200, |_| {})).await;
    let told = store.explain_run(&manual(&store, "wide").await, time(2)).await.expect("it is explained");
    let counts: Vec<_> = told.waiting.iter().map(|group| (group.state, group.count)).collect();
    assert_eq!(counts, [(TaskState::Queued, 16), (TaskState::Scheduled, 1_184)]);
}

async fn a_dag_tells_when_it_runs_next(store: Store) {
    sync(&store, wide("d", 1, |_| {})).await;
    scheduler(&store).await;
    let explain = async || {
        let told = store.explain_dag("d", time(1)).await.expect("it is explained");
        (told.state.clone(), texts(&told.reasons).join(" | "))
    };
    let triggered = "it has no schedule: it runs only when triggered";
    assert_eq!(explain().await, ("active".to_owned(), triggered.to_owned()));
    let error = ("made_up.yml".to_owned(), Some("made_up.yml:3:1: unknown key\nmore".to_owned()));
    store.replace_import_errors(&[error], time(0)).await.expect("an error is kept");
    store.set_paused("d", true, time(0)).await.expect("paused");
    let broken = "the DAG's file `made_up.yml` has had an import error since 00:00:00Z: made_up.yml:3:1: unknown key";
    let paused = "DAG `d` is paused: what runs goes on, nothing else starts";
    assert_eq!(explain().await, ("paused".to_owned(), format!("{broken} | {paused}")));
    store.replace_import_errors(&[("made_up.yml".to_owned(), None)], time(0)).await.expect("it is cleared");
    store.deactivate_dags(&["d".to_owned()], time(0)).await.expect("deactivated");
    let gone = "the DAG's file `made_up.yml` is gone or does not define it any more";
    assert_eq!(explain().await, ("stale".to_owned(), format!("{gone} | {paused}")));
    let unknown = store.explain_dag("unknown", time(1)).await;
    assert!(matches!(unknown, Err(Error::NotFound { .. })), "{unknown:?}");
    // A schedule that nobody has looked at yet.
    let spec = |spec: &mut DagSpec| {
        let kind = towpath_model::timetable::Kind::Trigger;
        spec.schedule = towpath_model::timetable::parse("@daily", spec.timezone, kind).expect("a preset");
    };
    let upsert = DagUpsert { dag: wide("s", 1, spec).into(), file: "s.yml".into(), source: "s".into() };
    store.sync_dags(&[upsert], false, time(0)).await.expect("a DAG is taken");
    let told = store.explain_dag("s", time(1)).await.expect("it is explained");
    assert_eq!(texts(&told.reasons), ["the scheduler has not planned its next run yet"]);
}

/// Thousands wait for the same pool in other runs; an explanation reads what is live alone.
async fn what_waits_elsewhere_costs_nothing(store: Store) {
    store.set_pool("p", 2, None, time(0)).await.expect("a pool is set");
    let change = |spec: &mut DagSpec| spec.tasks.iter_mut().for_each(|task| task.pool = "p".into());
    sync(&store, wide("many", 5_000, change)).await;
    sync(&store, wide("one", 1, change)).await;
    let many = manual(&store, "many").await;
    let one = manual(&store, "one").await;
    let held = format!(
        "pool `p` 2/2, held by many.t0000 (run {0}) since 00:00:00Z, many.t0001 (run {0}) since 00:00:00Z",
        many.run_id
    );
    check(&task(&store, &one, "t0000", 1).await, TaskState::Scheduled, &[&held]);
    let told = store.explain_run(&many, time(1)).await.expect("it is explained");
    let counts: Vec<_> = told.waiting.iter().map(|group| (group.state, group.count)).collect();
    assert_eq!(counts, [(TaskState::Queued, 2), (TaskState::Scheduled, 4_998)]);
}

/// While a run goes its way, every explanation of something unfinished names a reason, and none
/// says that there is room for what the engine has not queued.
async fn whatever_moves_was_told(store: Store) {
    store.set_pool("p", 1, None, time(0)).await.expect("a pool is set");
    let tasks: &[(&str, &str, &[&str])] = &[
        ("a", "bash", &[]),
        ("b", "bash", &[]),
        ("c", "bash", &["a"]),
        ("d", "empty", &["a", "b"]),
        ("e", "bash", &["d"]),
        ("f", "bash", &["e"]),
    ];
    let change = |spec: &mut DagSpec| {
        spec.max_active_tasks = 2;
        spec.tasks.iter_mut().for_each(|task| task.pool = "p".into());
        spec.tasks[3].trigger_rule = TriggerRule::AllDone;
        spec.tasks[5].trigger_rule = TriggerRule::AllFailed;
    };
    sync(&store, dag("d", tasks, change)).await;
    let run = manual(&store, "d").await;
    let worker = worker(&store).await;
    for step in 0.. {
        for (task_id, state) in states(&store, run.key).await {
            let told = task(&store, &reread(&store, &run).await, &task_id, 1).await;
            let idle = told
                .reasons
                .iter()
                .any(|told| matches!(told.reason, Reason::RoomNow {} | Reason::Undecided {} | Reason::StartsNow {}));
            assert!(!told.reasons.is_empty() && !idle, "step {step}, {task_id} is {state}: {told:?}");
            assert_eq!(told.state, state.to_string());
        }
        let Some(claimed) = claim(&store, worker, 1).await.pop() else { break };
        let outcome = if step == 1 { ReportOutcome::Failed { retry: false } } else { ReportOutcome::Success };
        end(&store, &claimed, outcome).await;
    }
    assert!(run_state(&store, run.key).await.is_finished());
    assert_ne!(run_state(&store, run.key).await, RunState::Queued);
}
