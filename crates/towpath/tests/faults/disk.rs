//! A disk without space.

use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

use crate::harness::{LIMIT, Process, Project};

/// The library that fills the disk, compiled for this test run.
pub(crate) fn library(project: &Project) -> PathBuf {
    let source = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/faults/full_disk.c");
    let library = project.path("full_disk.so");
    let compiler = Command::new("cc").args(["-shared", "-fPIC", "-o"]).arg(&library).args([source, "-ldl"]).status();
    assert!(compiler.unwrap().success(), "cc must compile {source}");
    library
}

async fn state_of(daemon: &Process, dag_id: &str, run_id: &str) -> String {
    let runs = daemon.runs(dag_id).await;
    let run = runs.iter().find(|run| run["dag_run_id"] == run_id);
    run.and_then(|run| run["state"].as_str()).unwrap_or_default().to_owned()
}

/// Six seconds without space in the middle of a run: it is said, nothing is lost, nothing runs twice.
#[tokio::test]
async fn a_full_disk_holds_runs_up_and_loses_nothing() {
    let project = Project::new("sqlite").await;
    let done = project.path("done").display().to_string();
    let tasks: String = (0..30)
        .map(|i| {
            let after = if i == 0 { String::new() } else { format!(", dependencies: [t{:02}]", i - 1) };
            format!("  t{i:02}: {{operator: bash, bash_command: 'echo {i} >> {done}; sleep 0.1'{after}}}\n")
        })
        .collect();
    project.write_dag("chain.yaml", &format!("tasks:\n{tasks}"));
    let flag = project.path("full");
    let environment =
        [("LD_PRELOAD", library(&project)), ("FULL_DISK_ROOT", project.path("data")), ("FULL_DISK_FLAG", flag.clone())];
    let daemon = project.start_with(&["up", "--listen", "127.0.0.1:0", "--no-auth"], &environment);
    let run_id = daemon.trigger("chain").await;
    tokio::time::sleep(Duration::from_millis(1_200)).await;

    std::fs::write(&flag, "").unwrap();
    tokio::time::sleep(Duration::from_secs(3)).await;
    let before = std::fs::read_to_string(&done).unwrap();
    tokio::time::sleep(Duration::from_secs(3)).await;
    let after = std::fs::read_to_string(&done).unwrap();
    assert!(before.lines().count() < 30, "the disk was full too late");
    assert_eq!(before, after, "no task starts that could not be recorded");
    assert_eq!(state_of(&daemon, "chain", &run_id).await, "running", "reading goes on");
    let log = project.log();
    assert!(log.contains("disk is full"), "{log}");
    assert!(log.lines().count() < 20, "it is said once, not all the time\n{log}");

    std::fs::remove_file(&flag).unwrap();
    let start = Instant::now();
    while state_of(&daemon, "chain", &run_id).await != "success" {
        assert!(start.elapsed() < LIMIT, "{}", project.log());
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let expected: String = (0..30).map(|i| format!("{i}\n")).collect();
    assert_eq!(std::fs::read_to_string(&done).unwrap(), expected);
    project.assert_no_panic();
    assert_eq!(daemon.terminate(), Some(0));
}

/// A disk that is full from the start: one clear error.
#[tokio::test]
async fn a_disk_that_is_full_at_start_is_named() {
    let project = Project::new("sqlite").await;
    let flag = project.path("full");
    std::fs::write(&flag, "").unwrap();
    let mut command = project.command(&["up", "--listen", "127.0.0.1:0", "--no-auth"]);
    command.env("LD_PRELOAD", library(&project)).env("FULL_DISK_ROOT", project.path("data"));
    let output = command.env("FULL_DISK_FLAG", &flag).output().unwrap();
    let text = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{text}");
    assert!(text.contains("No space left on device") || text.contains("disk is full"), "{text}");
    assert!(!text.contains("panicked") && text.lines().count() <= 4, "{text}");
}

/// Without a place for its working folder a task fails with the reason, and the next try succeeds
/// when the place is there again.
#[tokio::test]
async fn a_scratch_folder_that_cannot_be_written_fails_the_try_and_says_so() {
    let project = Project::new("sqlite").await;
    project.write_dag(
        "one.yaml",
        "default_args: {retries: 1, retry_delay: 2s}\ntasks:\n  a: {operator: bash, bash_command: 'true'}\n",
    );
    project.write_dag("warm.yaml", "tasks:\n  a: {operator: bash, bash_command: 'true'}\n");
    let daemon = Process::up(&project);
    let start = Instant::now();
    // A worker that has run a task has all the folders that it needs.
    let warm = daemon.trigger("warm").await;
    while state_of(&daemon, "warm", &warm).await != "success" {
        assert!(start.elapsed() < LIMIT, "{}", project.log());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    // A file where the folder should be: root cannot write there either.
    let scratch = project.path("data/scratch");
    while std::fs::remove_dir_all(&scratch).is_err() {
        assert!(start.elapsed() < LIMIT, "the worker has no folder\n{}", project.log());
    }
    std::fs::write(&scratch, "in the way").unwrap();
    let run_id = daemon.trigger("one").await;
    let path = format!("/api/v2/dags/one/dagRuns/{run_id}/taskInstances/a");
    while daemon.get(&path).await.unwrap()["state"] != "up_for_retry" {
        assert!(start.elapsed() < LIMIT, "{}", project.log());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let log = daemon.get(&format!("{path}/logs/1")).await.unwrap().to_string();
    assert!(log.contains("cannot create the working folder") && log.contains("scratch"), "{log}");
    std::fs::remove_file(&scratch).unwrap();
    while state_of(&daemon, "one", &run_id).await != "success" {
        assert!(start.elapsed() < LIMIT, "{}", project.log());
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    project.assert_no_panic();
    assert_eq!(daemon.terminate(), Some(0));
}
