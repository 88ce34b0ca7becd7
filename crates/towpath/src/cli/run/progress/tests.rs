//! What is printed about a run on its way.

use chrono::TimeDelta;
use towpath_model::dag::{DagSpec, Task};
use towpath_model::run::{RunType, TriggeredBy};
use towpath_model::state::RunState;
use towpath_model::trigger_rule::UpstreamCounts;

use super::*;

fn ms(ms: i64) -> DateTime<Utc> {
    DateTime::from_timestamp_millis(1_795_327_200_000 + ms).unwrap()
}

fn run() -> RunRecord {
    RunRecord {
        key: 1,
        dag_id: "etl".into(),
        run_id: "manual__x".into(),
        run_type: RunType::Manual,
        state: RunState::Running,
        logical_date: Some(ms(0)),
        data_interval: None,
        run_after: ms(0),
        queued_at: ms(0),
        start_date: Some(ms(0)),
        end_date: None,
        conf: serde_json::Map::new(),
        note: None,
        triggered_by: TriggeredBy::Cli,
        triggering_user: None,
        version_id: 1,
        version_number: 1,
        queue: None,
    }
}

fn instance(task_id: &str, state: TaskState, try_number: u32, took_ms: Option<i64>) -> TaskInstanceRecord {
    TaskInstanceRecord {
        key: TaskKey { run_key: 1, task_id: task_id.into(), map_index: -1 },
        dag_id: "etl".into(),
        run_id: "manual__x".into(),
        logical_date: Some(ms(0)),
        run_after: ms(0),
        version_id: 1,
        version_number: 1,
        state,
        try_number,
        max_tries: 2,
        queued_at: Some(ms(0)),
        start_date: Some(ms(100)),
        end_date: took_ms.map(|took| ms(100 + took)),
        available_at: (state == TaskState::UpForRetry).then(|| ms(60_000)),
        hostname: None,
        pid: None,
        pool: "default_pool".into(),
        pool_slots: 1,
        queue: "default".into(),
        priority_weight: 1,
        upstream: UpstreamCounts::default(),
        at_gate: false,
        note: (state == TaskState::UpForRetry).then(|| "exit code 1\nand more".into()),
        rendered_map_index: None,
    }
}

fn dag() -> Dag {
    let mut spec = DagSpec::new("etl");
    spec.tasks = vec![Task::new("extract", "bash"), Task::new("transform_all", "bash")];
    Dag::build(spec).unwrap()
}

#[test]
fn each_change_is_a_line() {
    let progress = Progress::new(&dag(), true, false);
    let lines: Vec<String> = [
        instance("extract", TaskState::Running, 1, None),
        instance("extract", TaskState::UpForRetry, 1, Some(1_500)),
        instance("transform_all", TaskState::Success, 3, Some(340)),
    ]
    .iter()
    .map(|instance| progress.line(instance, ms(2_000)))
    .collect();
    insta::assert_snapshot!(lines.join("\n"));
}

#[test]
fn a_change_is_seen_once() {
    let mut progress = Progress::new(&dag(), true, false);
    let running = [instance("extract", TaskState::Running, 1, None)];
    progress.look(&run(), &running, ms(0));
    assert_eq!(progress.seen.len(), 1);
    progress.look(&run(), &[instance("extract", TaskState::Success, 1, Some(5))], ms(10));
    assert_eq!(progress.seen[&running[0].key], (TaskState::Success, 1));
}

#[test]
fn the_status_fits_the_terminal() {
    let instances = [
        instance("extract", TaskState::Running, 1, None),
        instance("transform_all", TaskState::UpForRetry, 1, Some(10)),
        instance("load", TaskState::Success, 1, Some(10)),
    ];
    let now = ms(0) + TimeDelta::seconds(72);
    assert_eq!(status(&run(), &instances, now, 80), "1/3 done, 1 to be tried again, 1m 12s, running: extract");
    let cut = status(&run(), &instances, now, 20);
    assert_eq!((cut.chars().count(), cut.as_str()), (19, "1/3 done, 1 to be …"));
}
