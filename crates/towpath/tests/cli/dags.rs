//! DAGs in files and in the store.

use crate::environment::{BAD, Environment, GOOD};

#[test]
fn files_are_validated() {
    let environment = Environment::new();
    environment.write("dags/good.yaml", GOOD);
    let ended = environment.ok(&["dags", "validate"]);
    assert_eq!((ended.stdout.as_str(), ended.stderr.as_str()), ("1 file, 1 DAG: no problems\n", ""));

    environment
        .write("dags/sub/broken.yml", "dag_id: broken\ntasks:\n  a:\n    operator: bsh\n    bash_command: 'true'\n");
    environment.write(
        "dags/cycle.yaml",
        "tasks:\n  a: { operator: empty, dependencies: [b] }\n  b: { operator: empty, dependencies: [a] }\n",
    );
    let ended = environment.run(&["dags", "validate"]);
    assert_eq!(ended.code, 1);
    insta::assert_snapshot!(format!("{}{}", ended.stdout, ended.stderr));
    // What is named is checked, and nothing else.
    assert_eq!(environment.run(&["dags", "validate", "dags/good.yaml"]).code, 0);
    assert_eq!(environment.run(&["dags", "validate", "dags/sub"]).code, 1);
    let ended = environment.run(&["dags", "validate", "nowhere"]);
    assert_eq!((ended.code, ended.stderr.as_str()), (2, "error: there is no file or folder `nowhere`\n"));
    assert!(!environment.path().join(".towpath").exists(), "validation needs no database");
}

#[test]
fn diagnostics_for_programs() {
    let environment = Environment::new();
    environment.write("dags/broken.yml", "dag_id: broken\ntasks:\n  a:\n    operator: bsh\n");
    let ended = environment.run(&["dags", "validate", "-o", "json"]);
    assert_eq!(ended.code, 1);
    let problem = &ended.json()["diagnostics"][0];
    assert_eq!((&problem["file"], &problem["line"]), (&"dags/broken.yml".into(), &4.into()), "{problem}");
}

#[test]
fn next_runs_of_a_file() {
    let environment = Environment::new();
    environment.write("good.yaml", GOOD);
    let ended = environment.ok(&["dags", "next-runs", "good.yaml", "--now", "2026-03-05T12:00", "--count", "3"]);
    insta::assert_snapshot!(ended.stdout);
    let range = ["dags", "next-runs", "good.yaml", "--from", "2026-02-01", "--to", "2026-02-03", "-o", "json"];
    let dates: Vec<String> = environment
        .ok(&range)
        .json()
        .as_array()
        .unwrap()
        .iter()
        .map(|run| run["logical_date"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(dates, ["2026-02-01T00:00:00Z", "2026-02-02T00:00:00Z"]);
    assert!(!environment.path().join(".towpath").exists(), "a file needs no database");
}

#[test]
fn next_runs_of_an_id_that_no_server_has_read() {
    let environment = Environment::new();
    environment.write("dags/daily.yaml", "schedule: '@daily'\ntasks: {a: {operator: empty}}\n");
    let ended = environment.ok(&["dags", "next-runs", "daily", "--from", "2026-03-05", "-n", "1", "-o", "json"]);
    assert_eq!(ended.json()[0]["run_after"], "2026-03-05T00:00:00Z");
    let ended = environment.run(&["dags", "next-runs", "dayly"]);
    assert!(ended.code == 2 && ended.stderr.contains("DAG `dayly` does not exist"), "{ended:#?}");
}

#[test]
fn templates_are_checked_before_they_run() {
    let environment = Environment::new();
    environment.write(
        "dags/typos.yaml",
        "tasks:\n  a: {operator: bash, bash_command: \"echo {{ dss }}\"}\n  b:\n    operator: bash\n    bash_command: echo {{ ds\n",
    );
    let ended = environment.run(&["dags", "validate"]);
    assert_eq!(ended.code, 1, "{ended:#?}");
    insta::assert_snapshot!(ended.stdout);
}

#[test]
fn a_dag_without_a_schedule_has_no_next_run() {
    let environment = Environment::new();
    environment.write("bad.yaml", BAD);
    let ended = environment.ok(&["dags", "next-runs", "bad.yaml"]);
    assert_eq!(ended.stderr, "no runs to show: DAG `bad` runs only when triggered\n");
}

#[test]
fn a_file_is_shown_without_a_database() {
    let environment = Environment::new();
    environment.write("good.yaml", GOOD);
    insta::assert_snapshot!(environment.ok(&["dags", "show", "good.yaml"]).stdout);
    insta::assert_snapshot!(environment.ok(&["tasks", "list", "good.yaml"]).stdout);
}

#[test]
fn the_schema_is_json() {
    let schema = Environment::new().ok(&["dags", "schema"]).json();
    assert!(schema["$schema"].as_str().unwrap().contains("json-schema.org"));
}

#[test]
fn an_empty_store_says_what_to_do() {
    let environment = Environment::new();
    let ended = environment.ok(&["dags", "list"]);
    assert!(ended.stderr.contains("towpath up"), "{ended:?}");
    assert_eq!(environment.ok(&["dags", "list", "-o", "json"]).json(), serde_json::json!([]));
    let ended = environment.run(&["dags", "trigger", "etl"]);
    assert_eq!(ended.code, 2);
    assert!(ended.stderr.starts_with("error: DAG `etl` does not exist"), "{ended:?}");
}
