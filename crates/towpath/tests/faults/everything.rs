//! kill -9 in the middle of mapping, groups, branches, sensors, pools, setups, assets and runs that start others.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::harness::{Dice, LIMIT, Process, Project};

const KILLS: usize = 20;
/// Beside what it skips.
const SUCCESSES: usize = 25;
const SKIPPED: [&str; 3] = ["not_taken", "stop", "stopped"];

/// The task instances of a run: id and map index, state, try.
async fn instances(daemon: &Process, dag_id: &str, run_id: &str) -> BTreeMap<(String, i64), (String, u64)> {
    let run_id = run_id.replace('+', "%2B");
    let page = daemon.get(&format!("/api/v2/dags/{dag_id}/dagRuns/{run_id}/taskInstances?limit=100")).await.unwrap();
    let all = page["task_instances"].as_array().unwrap();
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    all.iter()
        .map(|it| {
            let key = (text(&it["task_id"]), it["map_index"].as_i64().unwrap());
            (key, (text(&it["state"]), it["try_number"].as_u64().unwrap()))
        })
        .collect()
}

async fn ended(daemon: &Process, project: &Project, dag_id: &str, count: usize) -> Vec<Value> {
    let start = Instant::now();
    loop {
        let runs = daemon.runs(dag_id).await;
        if runs.len() == count && runs.iter().all(|run| run["state"] == "success") {
            return runs;
        }
        let failed = runs.iter().any(|run| run["state"] == "failed");
        assert!(!failed && start.elapsed() < LIMIT, "{dag_id}: {runs:#?}\n{}", project.log());
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// What the run of everything has left, whatever was killed on its way.
async fn check(daemon: &Process, project: &Project, run_id: &str) {
    ended(daemon, project, "everything", 1).await;
    let found = instances(daemon, "everything", run_id).await;
    let (skipped, rest): (Vec<_>, Vec<_>) = found.iter().partition(|(_, (state, _))| state == "skipped");
    let skipped: Vec<&str> = skipped.iter().map(|((task_id, _), _)| task_id.as_str()).collect();
    assert_eq!(skipped, SKIPPED);
    assert!(rest.len() == SUCCESSES && rest.iter().all(|(_, (state, _))| state == "success"), "{rest:#?}");
    // Nothing is recorded twice and no try is missing.
    let base = format!("/api/v2/dags/everything/dagRuns/{}/taskInstances", run_id.replace('+', "%2B"));
    for ((task_id, map_index), (_, tried)) in rest.iter().filter(|(_, (_, tried))| *tried > 1) {
        let index = if *map_index < 0 { String::new() } else { format!("/{map_index}") };
        let tries = daemon.get(&format!("{base}/{task_id}{index}/tries")).await.unwrap();
        let tries = tries["task_instances"].as_array().unwrap();
        let numbers: Vec<u64> = tries.iter().map(|it| it["try_number"].as_u64().unwrap()).collect();
        assert_eq!(numbers, (1..=*tried).collect::<Vec<_>>(), "{task_id}[{map_index}]");
        assert_eq!(tries.iter().filter(|it| it["state"] == "success").count(), 1, "{tries:#?}");
    }
    let sum = daemon.get(&format!("{base}/sum/xcomEntries/return_value")).await.unwrap();
    assert_eq!(sum["value"], "91", "each of six squares once");
    // One success, one event of the asset, one run that follows; and one run that was called.
    let events = daemon.get("/api/v2/assets/events").await.unwrap();
    assert_eq!(events["total_entries"], 1, "{events:#}");
    ended(daemon, project, "follows", 1).await;
    ended(daemon, project, "called", 1).await;
    project.assert_no_panic();
}

async fn prepared(dialect: &str) -> Project {
    let project = Project::new(dialect).await;
    project.write_dag("everything.yaml", include_str!("everything.yaml"));
    let made = project.command(&["db", "migrate"]).output().unwrap();
    assert!(made.status.success(), "{made:?}");
    let made = project.command(&["pools", "set", "narrow", "2"]).output().unwrap();
    assert!(made.status.success(), "{made:?}");
    project
}

async fn all_in_one(dialect: &str) {
    let mut dice = Dice::new(&format!("everything, all in one, {dialect}"));
    let project = prepared(dialect).await;
    let daemon = Process::up(&project);
    let run_id = daemon.trigger("everything").await;
    tokio::time::sleep(Duration::from_millis(dice.between(0, 300))).await;
    daemon.kill();
    for _ in 1..KILLS {
        let daemon = Process::up(&project);
        tokio::time::sleep(Duration::from_millis(dice.between(50, 700))).await;
        daemon.kill();
    }
    let daemon = Process::up(&project);
    check(&daemon, &project, &run_id).await;
    assert_eq!(daemon.terminate(), Some(0));
}

#[tokio::test]
async fn everything_all_in_one_sqlite() {
    all_in_one("sqlite").await;
}

#[tokio::test]
async fn everything_all_in_one_postgres() {
    all_in_one("postgres").await;
}

/// A scheduler and two workers; each kill hits one of them.
#[tokio::test]
async fn everything_with_separate_processes_postgres() {
    let mut dice = Dice::new("everything, separate processes");
    let project = prepared("postgres").await;
    let scheduler = || project.start(&["scheduler", "--listen", "127.0.0.1:0", "--no-auth"]);
    let worker = || project.start(&["worker"]);
    let mut schedulers = scheduler();
    let mut workers = [worker(), worker()];
    let run_id = schedulers.trigger("everything").await;
    for _ in 0..KILLS {
        tokio::time::sleep(Duration::from_millis(dice.between(50, 400))).await;
        match dice.between(0, 3) {
            0 => std::mem::replace(&mut schedulers, scheduler()).kill(),
            which => std::mem::replace(&mut workers[which as usize - 1], worker()).kill(),
        }
    }
    check(&schedulers, &project, &run_id).await;
}
