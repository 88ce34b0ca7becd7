//! Airflow's own clients against the real binary, on both databases: what they were recorded to
//! send, with every reply held against the contract, the Python client as a script uses it, and
//! `airflowctl` as a person does.
//!
//! `TOWPATH_TEST_AIRFLOW` names a folder with a Python environment (`venv`) that has
//! `apache-airflow-client` and `apache-airflow-ctl`, and the wheel of `apache-airflow-core`; `scripts/test` makes it.

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::json;

use crate::access::set_password;
use crate::environment::Environment;

const DAGS: &str = "\
compat:
  tags: [x]
  default_args: {retries: 1, retry_delay: 3s}
  tasks:
    push: {operator: bash, bash_command: echo 42}
    pull: {operator: bash, bash_command: echo pulled, dependencies: [push]}
    sq:
      operator: bash
      expand: {bash_command: [echo 1, echo 2, echo 3]}
      dependencies: [pull]
daily:
  schedule: '@daily'
  start_date: 2026-01-01
  is_paused_upon_creation: true
  tasks:
    nothing: {operator: empty}
slow:
  schedule: '@daily'
  start_date: 2026-01-01
  is_paused_upon_creation: true
  tasks:
    wait: {operator: bash, bash_command: sleep 3}
makes:
  tasks:
    push: {operator: empty, outlets: ['s3://bucket/ctl']}
";

fn airflow() -> PathBuf {
    std::env::var_os("TOWPATH_TEST_AIRFLOW").map(PathBuf::from).expect(
        "TOWPATH_TEST_AIRFLOW names the folder with Airflow's clients: run the tests by scripts/test, which makes it",
    )
}

fn wheel(folder: &Path) -> PathBuf {
    let mut files = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let is_core = |path: &PathBuf| {
        path.extension().is_some_and(|it| it == "whl") && path.to_string_lossy().contains("apache_airflow_core-")
    };
    files.find(is_core).unwrap_or_else(|| panic!("{} has no wheel of apache-airflow-core", folder.display()))
}

/// Runs one of the scripts in `tests/clients`; what it prints says what was wrong.
fn script(name: &str, arguments: &[&str]) {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/clients").join(name);
    let ended = Command::new(airflow().join("venv/bin/python")).arg(file).args(arguments).output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    assert!(ended.status.success(), "{name}:\n{}{}", text(&ended.stdout), text(&ended.stderr));
}

fn check(environment: &Environment) {
    environment.write("dags/compat.yaml", DAGS);
    let daemon = environment.up(&[]);
    daemon.until("/api/v2/dags/compat", |status, _| status == 200);
    let run = json!({"logical_date": "2026-02-03T04:05:06Z", "dag_run_id": "first"});
    assert_eq!(daemon.post("/api/v2/dags/compat/dagRuns", &run).0, 200);
    daemon.until("/api/v2/dags/compat/dagRuns/first", |_, run| run["state"] == "success");
    let url = format!("http://{}", daemon.address);
    script("contract.py", &[&url, &wheel(&airflow()).to_string_lossy()]);
    script("client.py", &[&url]);
}

/// `airflowctl` logs in with name and password, so this daemon asks for them.
fn check_command_line(environment: &mut Environment) {
    environment.asks_for_login = true;
    environment.write("dags/compat.yaml", DAGS);
    environment.ok(&["users", "create", "ada", "--role", "admin"]);
    set_password(environment, "ada", "correct horse\n");
    let daemon = environment.up(&[]);
    daemon.until("/health", |_, health| health["status"] == "healthy");
    script("command_line.py", &[&format!("http://{}", daemon.address), "ada", "correct horse"]);
}

#[test]
fn airflows_clients_are_served_on_sqlite() {
    check(&Environment::new());
}

#[test]
fn airflows_command_line_is_served_on_sqlite() {
    check_command_line(&mut Environment::new());
}

#[tokio::test]
async fn airflows_command_line_is_served_on_postgres() {
    let db = towpath_testkit::postgres().await;
    let mut environment = Environment::new();
    environment.set("TOWPATH_DATABASE_URL", &db.url);
    tokio::task::spawn_blocking(move || check_command_line(&mut environment)).await.unwrap();
}

#[tokio::test]
async fn airflows_clients_are_served_on_postgres() {
    let db = towpath_testkit::postgres().await;
    let mut environment = Environment::new();
    environment.set("TOWPATH_DATABASE_URL", &db.url);
    tokio::task::spawn_blocking(move || check(&environment)).await.unwrap();
}
