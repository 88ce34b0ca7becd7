use std::collections::HashMap;
use std::sync::Arc;

use chrono::{DateTime, TimeDelta, Utc};
use towpath_model::asset::{Asset, Condition};
use towpath_model::dag::{Dag, DagSpec, Task};
use towpath_model::run::{RunType, TriggeredBy};
use towpath_model::state::{RunState, TaskState};
use towpath_model::timetable::{DataInterval, DueRun, Kind, Schedule};
use towpath_model::trigger_rule::{TriggerRule, UpstreamCounts};

use super::facts::{DagRoom, Held};
use super::{AwaitedAsset, DagFacts, Holder, Other, RunFacts, RunningRun};
use crate::engine::setups::Setups;
use crate::records::{
    DagRecord, ImportError, JobRecord, JobState, JobType, NewJob, PoolRecord, RunRecord, TaskInstanceRecord, TaskKey,
};

/// So many seconds after noon.
fn at(seconds: i64) -> DateTime<Utc> {
    DateTime::from_timestamp(1_767_268_800, 0).unwrap() + TimeDelta::seconds(seconds)
}

fn job(id: i64, job_type: JobType, queues: &[&str], lease_s: i64) -> JobRecord {
    let job = NewJob {
        job_type,
        hostname: "alpha".into(),
        pid: 7,
        process_mark: "mark".into(),
        queues: queues.iter().map(ToString::to_string).collect(),
        slots: 4,
    };
    let (started_at, heartbeat_at) = (at(-60), at(-5));
    JobRecord { id, job, state: JobState::Running, started_at, heartbeat_at, lease_until: at(lease_s) }
}

/// `a` and `b`, then `c`, then `d`; `c` by `rule` and in the pool `etl`.
fn dag(rule: TriggerRule) -> Arc<Dag> {
    let mut spec = DagSpec::new("flights");
    for (id, upstream) in [("a", vec![]), ("b", vec![]), ("c", vec!["a", "b"]), ("d", vec!["c"])] {
        let mut task = Task::new(id, "bash");
        task.upstream = upstream.into_iter().map(str::to_owned).collect();
        spec.tasks.push(task);
    }
    spec.tasks[2].trigger_rule = rule;
    spec.tasks[2].pool = "etl".into();
    spec.max_active_tasks = 2;
    Arc::new(Dag::build(spec).unwrap())
}

fn facts(rule: TriggerRule) -> RunFacts {
    let dag = dag(rule);
    let record = DagRecord {
        dag_id: "flights".into(),
        file: "flights.yml".into(),
        is_paused: false,
        is_active: true,
        version_id: 1,
        version_number: 1,
        description: None,
        owners: vec![],
        tags: vec![],
        schedule: String::new(),
        max_active_runs: 1,
        next_run: None,
        last_parsed_at: at(-60),
    };
    let run = RunRecord {
        key: 1,
        dag_id: "flights".into(),
        run_id: "r1".into(),
        run_type: RunType::Manual,
        state: RunState::Running,
        logical_date: None,
        data_interval: None,
        run_after: at(-30),
        queued_at: at(-30),
        start_date: Some(at(-20)),
        end_date: None,
        conf: serde_json::Map::new(),
        note: None,
        triggered_by: TriggeredBy::Cli,
        triggering_user: None,
        version_id: 1,
        version_number: 1,
        queue: None,
    };
    RunFacts {
        of_dag: DagFacts {
            now: at(0),
            record,
            dag: Arc::clone(&dag),
            room: DagRoom { is_planned: true, active: 1, running: 1 },
            runs: vec![RunningRun { run_id: "r0".into(), since: Some(at(-90)) }],
            jobs: vec![job(1, JobType::Scheduler, &[], 60), job(2, JobType::Worker, &["default"], 60)],
            import_error: None,
            awaited: Vec::new(),
        },
        run,
        dag,
        live: 0,
        pools: vec![PoolRecord { name: "etl".into(), slots: 4, description: None, used: 0 }],
        held: HashMap::new(),
        busy: HashMap::from([(2, 3)]),
        failed: vec![],
        setups: Setups::default(),
        unfinished: 4,
    }
}

fn instance(task_id: &str, state: TaskState) -> TaskInstanceRecord {
    TaskInstanceRecord {
        key: TaskKey { run_key: 1, task_id: task_id.into(), map_index: -1 },
        dag_id: "flights".into(),
        run_id: "r1".into(),
        logical_date: None,
        run_after: at(-30),
        version_id: 1,
        version_number: 1,
        state,
        try_number: u32::from(state != TaskState::None),
        max_tries: 3,
        queued_at: Some(at(-9)),
        start_date: Some(at(-8)),
        end_date: Some(at(-4)),
        available_at: None,
        hostname: Some("alpha".into()),
        pid: Some(7),
        pool: if task_id == "c" { "etl" } else { "default_pool" }.into(),
        pool_slots: 1,
        queue: "default".into(),
        priority_weight: 1,
        upstream: UpstreamCounts::default(),
        at_gate: false,
        note: None,
        rendered_map_index: None,
    }
}

/// The texts about the instance `task_id` of `all`, joined.
fn told(facts: &RunFacts, task_id: &str, all: &[TaskInstanceRecord]) -> String {
    let others: Vec<Other> = all.iter().map(Other::of).collect();
    let mut by_task: HashMap<&str, Vec<&Other>> = HashMap::new();
    for other in &others {
        by_task.entry(&other.task_id).or_default().push(other);
    }
    let texts: Vec<String> = facts
        .task_among(all.iter().find(|it| it.key.task_id == task_id).unwrap(), &by_task)
        .iter()
        .map(|reason| reason.text(at(0)))
        .collect();
    texts.join(" | ")
}

#[track_caller]
fn check(facts: &RunFacts, instance: TaskInstanceRecord, expected: &str) {
    let task_id = instance.key.task_id.clone();
    assert_eq!(told(facts, &task_id, &[instance]), expected);
}

#[test]
fn upstream_is_named() {
    let facts = facts(TriggerRule::AllSuccess);
    let mut c = instance("c", TaskState::None);
    c.upstream = UpstreamCounts { total: 2, ..UpstreamCounts::default() };
    let mut a = instance("a", TaskState::Running);
    a.try_number = 3;
    let mut b = instance("b", TaskState::UpForRetry);
    b.available_at = Some(at(450));
    let mut d = instance("d", TaskState::None);
    d.upstream.total = 1;
    let all = [a, b, c, d];
    assert_eq!(
        told(&facts, "c", &all),
        "waits for upstream `a` (running, 3rd try), `b` (up for retry until 12:07:30Z, 1st try)"
    );
    assert_eq!(
        told(&facts, "d", &all),
        "waits for upstream `c` (waits itself) | in the end it waits for `a` (running, 3rd try)"
    );
    let [_, _, mut c, _] = all;
    c.upstream.success = 2;
    check(&facts, c, "its trigger rule is satisfied; the next step of its run moves it on");
}

#[test]
fn rules_say_what_settled_them() {
    let mut c = instance("c", TaskState::UpstreamFailed);
    (c.try_number, c.end_date) = (0, None);
    c.upstream = UpstreamCounts { total: 2, success: 1, failed: 1, ..UpstreamCounts::default() };
    let (a, b) = (instance("a", TaskState::Success), instance("b", TaskState::Failed));
    assert_eq!(
        told(&facts(TriggerRule::AllSuccess), "c", &[a.clone(), b, c.clone()]),
        "trigger rule all_success: upstream `b` failed, so it is upstream_failed"
    );
    c.state = TaskState::Skipped;
    c.upstream = UpstreamCounts { total: 2, success: 2, ..UpstreamCounts::default() };
    let all = [a, instance("b", TaskState::Success), c];
    assert_eq!(
        told(&facts(TriggerRule::OneFailed), "c", &all),
        "trigger rule one_failed: no upstream failed or could not run (upstream_failed), so it is skipped"
    );
    // Skipped by something else than its rule: then that has left a note.
    let [_, _, mut c] = all;
    c.note = Some("dagrun_timeout has passed".into());
    check(&facts(TriggerRule::AllSuccess), c, "skipped: dagrun_timeout has passed");
}

#[test]
fn limits_are_told_as_the_engine_asks_them() {
    let mut facts = facts(TriggerRule::AllSuccess);
    let c = || instance("c", TaskState::Scheduled);
    check(&facts, c(), "there is room for it now; the next step that frees slots queues it");
    facts.live = 2;
    check(&facts, c(), "max_active_tasks: 2 of 2 tasks of this run are queued or running");
    facts.pools[0].used = 4;
    let holder = Holder {
        dag_id: "dag".into(),
        run_id: "X".into(),
        task_id: "task".into(),
        map_index: 2,
        slots: 1,
        since: Some(at(-86_400)),
    };
    facts.held = HashMap::from([("etl".to_owned(), Held { holders: vec![holder], count: 3 })]);
    let pool = "pool `etl` 4/4, held by dag.task[2] (run X) since 2025-12-31 12:00:00Z and 2 others";
    check(&facts, c(), &format!("max_active_tasks: 2 of 2 tasks of this run are queued or running | {pool}"));
    facts.live = 1;
    check(&facts, c(), pool);
    facts.of_dag.record.is_paused = true;
    let paused = "DAG `flights` is paused: what runs goes on, nothing else starts";
    check(&facts, c(), &format!("{paused} | {pool}"));
    facts.run.queue = Some("mine".into());
    check(&facts, c(), pool);
    check(&facts, TaskInstanceRecord { pool_slots: 9, ..c() }, "it needs 9 slots of pool `etl`, which has 4");
    facts.pools[0].slots = 0;
    check(&facts, c(), "pool `etl` is closed: it has 0 slots");
    facts.pools.clear();
    check(&facts, c(), "pool `etl` does not exist");
}

#[test]
fn workers_are_asked_for_their_queues() {
    let mut facts = facts(TriggerRule::AllSuccess);
    let queued = || instance("a", TaskState::Queued);
    check(&facts, queued(), "queued since 11:59:51Z; 3 of 4 slots are busy on 1 live worker of queue `default`");
    check(
        &facts,
        TaskInstanceRecord { queue: "gpu".into(), ..queued() },
        "queued since 11:59:51Z: no live worker takes queue `gpu`; live workers take: default",
    );
    let running = || instance("a", TaskState::Running);
    let runs = "running on alpha (worker process 7) since 11:59:52Z, try 1 of 4";
    check(&facts, running(), runs);
    facts.of_dag.jobs[1].lease_until = at(0);
    check(&facts, queued(), "queued since 11:59:51Z: no live worker takes queue `default`; no worker is alive");
    let silent = "its worker on alpha has not renewed its lease since 11:59:55Z: the scheduler ends this try";
    check(&facts, running(), &format!("{runs} | {silent}"));
    facts.of_dag.jobs[0].state = JobState::Ended;
    let nobody = "no scheduler has been alive since 11:59:55Z";
    check(&facts, running(), &format!("{runs} | {silent} | {nobody}"));
}

#[test]
fn times_are_told() {
    let mut facts = facts(TriggerRule::AllSuccess);
    let mut retry = instance("a", TaskState::UpForRetry);
    (retry.available_at, retry.note) = (Some(at(450)), Some("exit code 1".into()));
    check(&facts, retry.clone(), "next try at 12:07:30Z (try 2 of 4); try 1 failed: exit code 1");
    retry.available_at = Some(at(-1));
    (retry.note, facts.of_dag.jobs) = (None, vec![]);
    check(&facts, retry, "next try is due (try 2 of 4) | no scheduler is alive");
    let mut sensor = instance("a", TaskState::UpForReschedule);
    sensor.available_at = Some(at(60));
    check(&facts, sensor, "it looks again at 12:01:00Z");
    check(&facts, instance("a", TaskState::Success), "success at 11:59:56Z, try 1 of 4");
    let failed = TaskInstanceRecord { note: Some("exit code 3".into()), ..instance("a", TaskState::Failed) };
    check(&facts, failed, "failed at 11:59:56Z, try 1 of 4: exit code 3");
}

#[test]
fn runs_wait_for_what_holds_them() {
    let mut facts = facts(TriggerRule::AllSuccess);
    let run =
        |facts: &RunFacts| facts.reasons().iter().map(|reason| reason.text(at(0))).collect::<Vec<_>>().join(" | ");
    assert_eq!(run(&facts), "it has been running since 11:59:40Z; 4 tasks to finish");
    facts.run.state = RunState::Queued;
    let full = "max_active_runs 1 is reached by run `r0` (running since 11:58:30Z)";
    assert_eq!(run(&facts), full);
    check(&facts, instance("a", TaskState::None), &format!("run `r1` has not started | {full}"));
    facts.of_dag.room.running = 0;
    assert_eq!(run(&facts), "nothing holds it: it starts with the scheduler's next look");
    facts.run.run_after = at(3_600);
    facts.of_dag.record.is_paused = true;
    facts.of_dag.jobs.clear();
    assert_eq!(
        run(&facts),
        "the run starts at its run_after, 13:00:00Z \
         | DAG `flights` is paused: what runs goes on, nothing else starts | no scheduler is alive"
    );
    facts.run.state = RunState::Failed;
    facts.run.end_date = Some(at(-1));
    facts.failed = vec![super::Other::of(&instance("a", TaskState::Failed))];
    assert_eq!(run(&facts), "the run is over: failed at 11:59:59Z; failed: `a`");
}

#[test]
fn dags_say_when_they_run_next() {
    let mut dag = facts(TriggerRule::AllSuccess).of_dag;
    let text = |dag: &DagFacts| dag.reasons().iter().map(|reason| reason.text(at(0))).collect::<Vec<_>>().join(" | ");
    assert_eq!(text(&dag), "it has no schedule: it runs only when triggered");
    let mut spec = DagSpec::new("flights");
    spec.schedule = towpath_model::timetable::parse("0 * * * *", spec.timezone, Kind::Trigger).unwrap();
    spec.end_date = Some(at(-60));
    dag.dag = Arc::new(Dag::build(spec).unwrap());
    assert!(dag.dag.spec().schedule != Schedule::Never);
    let due = |seconds| {
        let interval = DataInterval { start: at(seconds), end: at(seconds) };
        Some(DueRun { run_after: at(seconds), logical_date: at(seconds), data_interval: interval })
    };
    for (next, active, planned, expected) in [
        (due(3_600), 0, true, "next run at 13:00:00Z"),
        (due(-3_600), 1, true, "max_active_runs 1 is reached by run `r0` (running since 11:58:30Z)"),
        (due(-3_600), 3, true, "max_active_runs 1 is reached by run `r0` (running since 11:58:30Z) and 2 more"),
        (due(-3_600), 0, true, "its next run has been due since 11:00:00Z"),
        (None, 0, false, "the scheduler has not planned its next run yet"),
        (None, 0, true, "its end_date 11:59:00Z has passed"),
    ] {
        (dag.record.next_run, dag.room.active, dag.room.is_planned) = (next, active, planned);
        assert_eq!(text(&dag), expected);
    }
    dag.record.is_paused = true;
    let message = "flights.yml:3:1: unknown key `taks`\nand more".to_owned();
    dag.import_error = Some(ImportError { file: "flights.yml".into(), message, at: at(-7) });
    assert_eq!(
        text(&dag),
        "the DAG's file `flights.yml` has had an import error since 11:59:53Z: flights.yml:3:1: unknown key `taks` \
         | DAG `flights` is paused: what runs goes on, nothing else starts"
    );
    (dag.record.is_active, dag.import_error) = (false, None);
    assert_eq!(dag.state(), "stale");
    assert!(text(&dag).starts_with("the DAG's file `flights.yml` is gone or does not define it any more | "));
}

#[test]
fn dags_say_which_assets_have_come() {
    let mut dag = facts(TriggerRule::AllSuccess).of_dag;
    dag.room.active = 0;
    let text = |dag: &DagFacts| dag.reasons().iter().map(|reason| reason.text(at(0))).collect::<Vec<_>>().join(" | ");
    let leaf = |name: &str| Condition::Asset(Asset::named(name));
    let mut spec = DagSpec::new("flights");
    spec.asset_schedule = Some(Condition::All(vec![leaf("a"), Condition::Any(vec![leaf("b"), leaf("c")])]));
    dag.dag = Arc::new(Dag::build(spec.clone()).unwrap());
    let asset = |name: &str, queued, last: Option<i64>| {
        let since = (queued > 0).then(|| at(-60));
        AwaitedAsset { name: name.into(), uri: name.into(), queued, since, last_update: last.map(at) }
    };
    for (awaited, active, expected) in [
        (
            vec![asset("a", 2, Some(-30)), asset("b", 0, Some(-90)), asset("c", 0, None)],
            0,
            "waits for updates of a and (b or c); come: `a` (2 times since 11:59:00Z); \
             missing: `b` (last at 11:58:30Z), `c` (never updated)",
        ),
        (
            vec![asset("a", 0, None), asset("b", 1, Some(-60)), asset("c", 0, None)],
            0,
            "waits for updates of a and (b or c); come: `b` (11:59:00Z); missing: `a` (never updated), `c` (never updated)",
        ),
        (
            vec![asset("a", 1, None), asset("b", 1, None), asset("c", 0, None)],
            0,
            "nothing holds it: it starts with the scheduler's next look",
        ),
        (
            vec![asset("a", 1, None), asset("b", 1, None), asset("c", 0, None)],
            1,
            "max_active_runs 1 is reached by run `r0` (running since 11:58:30Z)",
        ),
    ] {
        (dag.awaited, dag.room.active) = (awaited, active);
        assert_eq!(text(&dag), expected);
    }
    let advice = "towpath assets show b, or tell of an update: towpath assets trigger b";
    dag.awaited = vec![asset("a", 1, None), asset("b", 0, None)];
    assert_eq!(dag.reasons()[0].advice().as_deref(), Some(advice));
    // With a time as well, both are told.
    spec.schedule = towpath_model::timetable::parse("0 * * * *", spec.timezone, Kind::Trigger).unwrap();
    dag.dag = Arc::new(Dag::build(spec).unwrap());
    assert_eq!(dag.reasons().len(), 2);
}

/// Everything that can be told is told as data as well, under a name of its kind.
#[test]
fn reasons_are_data() {
    let mut facts = facts(TriggerRule::AllSuccess);
    facts.live = 2;
    let reason = facts.task(&instance("a", TaskState::Scheduled), vec![]).remove(0);
    let told = super::Told::new(reason, at(0));
    assert_eq!(
        serde_json::to_value(&told).unwrap(),
        serde_json::json!({
            "kind": "max_active_tasks", "limit": 2, "live": 2,
            "text": "max_active_tasks: 2 of 2 tasks of this run are queued or running",
            "advice": "raise max_active_tasks in the DAG's file, or wait",
        })
    );
    assert_eq!(told.reason.to_string(), told.text);
}
