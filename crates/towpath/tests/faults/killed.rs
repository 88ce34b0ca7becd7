//! kill -9, twenty times: the all-in-one process, a scheduler, a worker, a running task.

use std::path::Path;
use std::time::{Duration, Instant};

use sqlx::Connection as _;

use crate::harness::{Dice, LIMIT, Process, Project};

const KILLS: usize = 20;
const FLIGHTS: &[&str] = &["flights_daily.yaml", "flights.py", "data/nycflights13/flights-2013-01.csv"];

/// A lost attempt is a failed one, so twenty kills need more tries than a good day does.
fn more_tries(text: &str) -> String {
    text.replace("retries: 3", "retries: 60")
        .replace("retries: 2", "retries: 60")
        .replace("retry_delay: 2s", "retry_delay: 0.1s")
        .replace("retry_delay: 1s", "retry_delay: 0.1s")
}

fn is_over(runs: &[serde_json::Value], count: usize) -> bool {
    runs.len() == count && runs.iter().all(|run| run["state"] == "success" || run["state"] == "failed")
}

/// Waits for the end of all runs and checks what they have left.
async fn check_flights(daemon: &Process, project: &Project) {
    let start = Instant::now();
    loop {
        let runs = daemon.runs("flights_daily").await;
        if is_over(&runs, 31) {
            assert!(runs.iter().all(|run| run["state"] == "success"), "{runs:#?}");
            break;
        }
        assert!(
            start.elapsed() < LIMIT,
            "{} runs: {:?}\n{}",
            runs.len(),
            runs.iter().map(|r| r["state"].clone()).collect::<Vec<_>>(),
            project.log()
        );
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let (flights, distinct, delays, days) = warehouse(&project.path("warehouse/flights.db")).await;
    assert_eq!((flights, days), (27_004, 31));
    // Some flights share all the columns that are kept; what must hold is that a day's rows are
    // there once, which the total says.
    assert!(distinct <= flights);
    assert!(delays >= 31 * 10, "{delays} rows of delays");
    check_tries(daemon, "flights_daily").await;
    project.assert_no_panic();
}

async fn warehouse(path: &Path) -> (i64, i64, i64, i64) {
    let mut database = sqlx::SqliteConnection::connect(&format!("sqlite://{}", path.display())).await.unwrap();
    let mut ask = async |sql: &'static str| -> i64 { sqlx::query_scalar(sql).fetch_one(&mut database).await.unwrap() };
    (
        ask("SELECT count(*) FROM flights").await,
        ask("SELECT count(*) FROM (SELECT DISTINCT * FROM flights)").await,
        ask("SELECT count(*) FROM delays").await,
        ask("SELECT count(DISTINCT day) FROM flights").await,
    )
}

/// No try is recorded twice, none is missing, and only the last one succeeded.
async fn check_tries(daemon: &Process, dag_id: &str) {
    for run in daemon.runs(dag_id).await {
        let run_id = run["dag_run_id"].as_str().unwrap().replace('+', "%2B");
        let base = format!("/api/v2/dags/{dag_id}/dagRuns/{run_id}/taskInstances");
        let tasks = daemon.get(&format!("{base}?limit=300")).await.unwrap();
        for task in tasks["task_instances"].as_array().unwrap() {
            assert_eq!(task["state"], "success", "{task}");
            if task["try_number"] == 1 {
                continue;
            }
            let tries = daemon.get(&format!("{base}/{}/tries", task["task_id"].as_str().unwrap())).await.unwrap();
            let tries = tries["task_instances"].as_array().unwrap();
            let numbers: Vec<u64> = tries.iter().map(|t| t["try_number"].as_u64().unwrap()).collect();
            let expected: Vec<u64> = (1..=task["try_number"].as_u64().unwrap()).collect();
            assert_eq!(numbers, expected, "{task}");
            let successes = tries.iter().filter(|t| t["state"] == "success").count();
            assert_eq!(successes, 1, "{tries:#?}");
        }
    }
}

async fn flights_with_all_in_one(dialect: &str) {
    let mut dice = Dice::new(&format!("flights, all in one, {dialect}"));
    let project = Project::new(dialect).await;
    project.copy_example(FLIGHTS, more_tries);
    for _ in 0..KILLS {
        let daemon = Process::up(&project);
        tokio::time::sleep(Duration::from_millis(dice.between(50, 900))).await;
        daemon.kill();
    }
    let daemon = Process::up(&project);
    check_flights(&daemon, &project).await;
    assert_eq!(daemon.terminate(), Some(0));
}

async fn fan_out_with_all_in_one(dialect: &str) {
    let mut dice = Dice::new(&format!("fan_out, all in one, {dialect}"));
    let project = Project::new(dialect).await;
    // Slow enough that every kill meets running tasks.
    project.copy_example(&["fan_out.yaml"], |text| more_tries(text).replace("\"echo ", "\"sleep 0.2; echo "));
    let daemon = Process::up(&project);
    let run_id = daemon.trigger("fan_out").await;
    daemon.kill();
    for _ in 0..KILLS {
        let daemon = Process::up(&project);
        tokio::time::sleep(Duration::from_millis(dice.between(50, 700))).await;
        daemon.kill();
    }
    let daemon = Process::up(&project);
    wait_for(&daemon, &project, "fan_out", &run_id).await;
    check_tries(&daemon, "fan_out").await;
    project.assert_no_panic();
}

async fn wait_for(daemon: &Process, project: &Project, dag_id: &str, run_id: &str) {
    let start = Instant::now();
    loop {
        let runs = daemon.runs(dag_id).await;
        let run = runs.iter().find(|run| run["dag_run_id"] == run_id);
        match run.and_then(|run| run["state"].as_str()) {
            Some("success") => return,
            Some("failed") => panic!("the run failed\n{}", project.log()),
            _ => {}
        }
        assert!(start.elapsed() < LIMIT, "{run:?}\n{}", project.log());
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

#[tokio::test]
async fn flights_all_in_one_sqlite() {
    flights_with_all_in_one("sqlite").await;
}

#[tokio::test]
async fn flights_all_in_one_postgres() {
    flights_with_all_in_one("postgres").await;
}

#[tokio::test]
async fn fan_out_all_in_one_sqlite() {
    fan_out_with_all_in_one("sqlite").await;
}

#[tokio::test]
async fn fan_out_all_in_one_postgres() {
    fan_out_with_all_in_one("postgres").await;
}

/// Scheduler and workers as processes of their own; each kill hits one of them, or a task.
#[tokio::test]
async fn flights_with_separate_processes_postgres() {
    let mut dice = Dice::new("flights, separate processes");
    let project = Project::new("postgres").await;
    project.copy_example(FLIGHTS, more_tries);
    let scheduler = || project.start(&["scheduler", "--listen", "127.0.0.1:0", "--no-auth"]);
    let worker = || project.start(&["worker"]);
    let mut schedulers = scheduler();
    let mut workers = [worker(), worker()];
    for _ in 0..KILLS {
        tokio::time::sleep(Duration::from_millis(dice.between(100, 700))).await;
        match dice.between(0, 4) {
            0 => {
                std::mem::replace(&mut schedulers, scheduler()).kill();
            }
            1 | 2 => {
                let which = dice.between(0, 2) as usize;
                std::mem::replace(&mut workers[which], worker()).kill();
            }
            _ => kill_a_task(workers[dice.between(0, 2) as usize].pid()),
        }
    }
    check_flights(&schedulers, &project).await;
}

/// Kills a process that works for the worker `pid`, if there is one just now.
fn kill_a_task(pid: u32) {
    let children =
        std::process::Command::new("ps").args(["-o", "pid=,args=", "--ppid", &pid.to_string()]).output().unwrap();
    let text = String::from_utf8_lossy(&children.stdout).into_owned();
    let bash = text.lines().find(|line| line.contains("bash"));
    if let Some(child) = bash.and_then(|line| line.split_whitespace().next()) {
        std::process::Command::new("kill").args(["-9", child]).status().unwrap();
    }
}

#[tokio::test]
async fn a_killed_worker_leaves_no_process_behind() {
    let project = Project::new("sqlite").await;
    let mark = format!("{:016x}", rand_mark());
    project.write_dag(
        "long.yaml",
        &format!("tasks:\n  a: {{operator: bash, bash_command: 'sleep 600 & sleep 600; : {mark}'}}\n"),
    );
    let daemon = Process::up(&project);
    daemon.trigger("long").await;
    let running = || {
        let all = std::process::Command::new("ps").args(["-eo", "args="]).output().unwrap();
        String::from_utf8_lossy(&all.stdout).contains(&mark)
    };
    wait_until(&running, "the task to start");
    daemon.kill();
    wait_until(&|| !running(), "the task to end");
}

fn wait_until(condition: &dyn Fn() -> bool, what: &str) {
    let start = Instant::now();
    while !condition() {
        assert!(start.elapsed() < Duration::from_secs(30), "waited for {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn rand_mark() -> u64 {
    use std::hash::{BuildHasher as _, Hasher as _};
    std::hash::RandomState::new().build_hasher().finish()
}
