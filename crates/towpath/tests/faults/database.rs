//! A database that is away, for a while or from the start, and places that cannot be written.

use std::time::{Duration, Instant};

use crate::harness::{LIMIT, Process, Project};

#[test]
fn a_database_that_is_not_there_at_start_is_named() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let project = runtime.block_on(Project::new("sqlite"));
    let output =
        project.command(&["db", "check", "--database", "postgres://nobody@127.0.0.1:1/none"]).output().unwrap();
    let text = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{text}");
    assert!(text.contains("127.0.0.1:1") && text.lines().count() <= 3, "{text}");
    assert!(!text.contains("panicked"), "{text}");
}

#[test]
fn a_data_folder_that_cannot_be_made_is_named() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let project = runtime.block_on(Project::new("sqlite"));
    // A file where a folder should be: root cannot write there either.
    std::fs::write(project.path("data"), "in the way").unwrap();
    let output = project.command(&["up", "--listen", "127.0.0.1:0"]).output().unwrap();
    let text = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{text}");
    assert!(text.contains(&project.path("data").display().to_string()), "{text}");
    assert!(!text.contains("panicked") && text.lines().count() <= 3, "{text}");
}

/// Ten seconds without connections in the middle of a run: nothing is lost, nothing runs twice.
#[tokio::test]
async fn a_database_that_goes_away_for_ten_seconds() {
    let project = Project::new("postgres").await;
    let tasks: String = (0..40)
        .map(|i| {
            let after = if i == 0 { String::new() } else { format!(", dependencies: [t{:02}]", i - 1) };
            format!("  t{i:02}: {{operator: bash, bash_command: 'echo {i} >> ../../../done; sleep 0.1'{after}}}\n")
        })
        .collect();
    project.write_dag(
        "chain.yaml",
        &format!("tasks:\n{}", tasks.replace("../../../done", &project.path("done").display().to_string())),
    );
    let daemon = Process::up(&project);
    let run_id = daemon.trigger("chain").await;
    tokio::time::sleep(Duration::from_millis(800)).await;
    outage(&project, Duration::from_secs(10)).await;
    let start = Instant::now();
    loop {
        let runs = daemon.runs("chain").await;
        let state = runs.iter().find(|run| run["dag_run_id"] == run_id.as_str()).map(|run| run["state"].clone());
        match state.as_ref().and_then(|s| s.as_str()) {
            Some("success") => break,
            Some("failed") => panic!("{}", project.log()),
            _ => {}
        }
        assert!(start.elapsed() < LIMIT, "{state:?}\n{}", project.log());
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let done = std::fs::read_to_string(project.path("done")).unwrap();
    let expected: String = (0..40).map(|i| format!("{i}\n")).collect();
    assert_eq!(done, expected);
    project.assert_no_panic();
    assert_eq!(daemon.terminate(), Some(0));
}

/// Ends all connections to the project's database and lets none in for a while.
async fn outage(project: &Project, span: Duration) {
    use sqlx::{Connection as _, Executor as _};
    let server = std::env::var(towpath_testkit::POSTGRES).unwrap();
    let name = project.database_url().unwrap().rsplit('/').next().unwrap().split('?').next().unwrap().to_owned();
    let mut admin = sqlx::PgConnection::connect(&server).await.unwrap();
    let mut run = async |sql: String| {
        admin.execute(sqlx::AssertSqlSafe(sql)).await.unwrap();
    };
    run(format!("ALTER DATABASE {name} ALLOW_CONNECTIONS false")).await;
    run(format!("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{name}'")).await;
    tokio::time::sleep(span).await;
    run(format!("ALTER DATABASE {name} ALLOW_CONNECTIONS true")).await;
}
