//! `towpath run` and `towpath tasks test`.

use std::io::{BufRead, BufReader};
use std::process::Stdio;

use nix::sys::signal::Signal;

use crate::environment::{BAD, Environment, GOOD};

#[test]
fn a_file_runs_to_its_end() {
    let environment = Environment::new();
    environment.write("good.yaml", GOOD);
    let ended = environment.ok(&["run", "good.yaml", "--param", "name=you", "--logical-date", "2026-03-05"]);
    assert!(ended.stderr.contains("second") && ended.stderr.contains("success"), "{ended:#?}");
    assert!(ended.stdout.contains("third"), "{ended:#?}");
    assert!(ended.stdout.lines().last().unwrap().starts_with("good manual__"), "{ended:#?}");

    let runs = environment.ok(&["runs", "list", "good", "-o", "json"]).json();
    assert_eq!((&runs[0]["state"], &runs[0]["logical_date"]), (&"success".into(), &"2026-03-05T00:00:00Z".into()));
    assert_eq!(runs[0]["conf"], serde_json::json!({"name": "you"}));
    let shown = environment.ok(&["runs", "show", "good", "-o", "json"]).json();
    let states: Vec<&str> =
        shown["task_instances"].as_array().unwrap().iter().map(|task| task["state"].as_str().unwrap()).collect();
    assert_eq!(states, ["success"; 3]);
    assert_eq!(environment.ok(&["xcom", "get", "good", "second"]).stdout, "\"got hello you\"\n");
    let log = environment.ok(&["tasks", "logs", "good", "second"]).stdout;
    assert!(log.contains("got hello you"), "{log}");

    // The same date again is refused, with a way out.
    let again = environment.run(&["run", "good", "--logical-date", "2026-03-05"]);
    assert_eq!(again.code, 2, "{again:#?}");
    assert!(again.stderr.contains("already has a run") && again.stderr.contains("--logical-date"), "{again:#?}");

    // By its id, it runs again.
    environment.ok(&["run", "good", "--quiet"]);
    assert_eq!(environment.ok(&["runs", "list", "good", "-o", "json"]).json().as_array().unwrap().len(), 2);
    // The file lies outside of the DAGs folder, so no server would schedule it.
    let dags = environment.ok(&["dags", "list", "-o", "json"]).json();
    assert_eq!((&dags[0]["dag_id"], &dags[0]["is_paused"]), (&"good".into(), &true.into()));
}

/// Nobody has to ask why nothing happens; and a DAG is found by its id before any server has read it.
#[test]
fn a_run_that_cannot_start_says_why() {
    let environment = Environment::new();
    environment
        .write("dags/pools.yaml", "dag_id: waits\ntasks: {a: {operator: bash, bash_command: echo, pool: narrow}}\n");
    let mut running = environment.command(&["run", "waits"]).stderr(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(running.stderr.take().unwrap()).lines();
    let why = lines.find(|line| line.as_ref().unwrap().starts_with("a: pool `narrow` does not exist")).unwrap();
    assert!(why.unwrap().ends_with("-> towpath pools set narrow SLOTS"));
    environment.ok(&["pools", "set", "narrow", "1"]);
    lines.for_each(drop);
    assert!(running.wait().unwrap().success());
}

#[test]
fn a_failed_run_shows_why() {
    let environment = Environment::new();
    environment.write("bad.yaml", BAD);
    let ended = environment.run(&["run", "bad.yaml"]);
    assert_eq!(ended.code, 1, "{ended:#?}");
    for expected in ["the last words", "upstream_failed", ": failed in"] {
        assert!(ended.stdout.contains(expected), "{expected}: {ended:#?}");
    }
    assert!(!ended.stdout.contains("never"), "{ended:#?}");
}

/// Those of a DAG are refused before there is a run; those of a task are its own affair.
#[test]
fn params_of_a_task_are_checked_when_it_runs() {
    let environment = Environment::new();
    environment.write(
        "typed.yaml",
        "tasks:\n  a:\n    operator: bash\n    bash_command: echo {{ params.n + 1 }}\n    params: {n: {default: 1, type: integer}}\n",
    );
    let wrong = ["--conf", "{\"n\": \"x\"}"];
    let ended = environment.run(&[&["run", "typed.yaml"], &wrong[..]].concat());
    assert_eq!(ended.code, 1, "{ended:#?}");
    assert!(ended.stdout.contains("param `n`: \"x\" is not of type integer"), "{ended:#?}");
    let ended = environment.run(&[&["tasks", "test", "typed.yaml", "a"], &wrong[..]].concat());
    assert_eq!((ended.code, ended.stdout.as_str()), (1, "failed: param `n`: \"x\" is not of type integer\n"));
    let ended = environment.ok(&["run", "typed.yaml", "--conf", "{\"n\": 4}"]);
    assert!(environment.ok(&["tasks", "logs", "typed", "a"]).stdout.contains('5'), "{ended:#?}");
}

#[test]
fn retries_are_waited_for() {
    let environment = Environment::new();
    environment.write(
        "flaky.yaml",
        "dag_id: flaky\ntasks:\n  once:\n    operator: bash\n    bash_command: 'test -e marker || { touch marker; exit 1; }'\n    \
         cwd: .\n    retries: 1\n    retry_delay: 100ms\n",
    );
    let ended = environment.ok(&["run", "flaky.yaml"]);
    assert!(ended.stderr.contains("up_for_retry"), "{ended:#?}");
    let shown = environment.ok(&["runs", "show", "flaky", "-o", "json"]).json();
    assert_eq!(shown["task_instances"][0]["try_number"], 2);
}

#[test]
fn what_cannot_run_is_refused() {
    let environment = Environment::new();
    environment.write("good.yaml", GOOD);
    environment.write(
        "typed.yaml",
        "params: {day: {default: 2026-01-01, type: string, format: date}, rows: {type: integer}}\ntasks: {a: {operator: empty}}\n",
    );
    environment.write("broken.yaml", "tasks:\n  a: { operator: bsh }\n");
    for (arguments, expected) in [
        (vec!["run", "nowhere.yaml"], "nowhere.yaml"),
        (vec!["run", "broken.yaml"], "bsh"),
        (vec!["run", "good.yaml", "--param", "nam=x"], "did you mean `name`?"),
        (vec!["run", "good.yaml", "--conf", "[1]"], "a JSON object"),
        (
            vec!["run", "typed.yaml", "--conf", "{\"day\": \"soon\"}"],
            "DAG `typed`: param `day`: \"soon\" is not a date; param `rows`: a value has to be given; give values with",
        ),
        (vec!["run", "good.yaml", "--logical-date", "soon"], "`soon` is not a time"),
        (vec!["run", "goood"], "`goood`"),
    ] {
        let ended = environment.run(&arguments);
        assert_eq!(ended.code, 2, "{arguments:?}: {ended:#?}");
        assert!(ended.stderr.contains(expected), "{arguments:?}: {ended:#?}");
    }
}

#[test]
fn an_interrupted_run_ends_its_tasks() {
    use std::io::{BufRead, BufReader};
    let environment = Environment::new();
    environment.write(
        "slow.yaml",
        "dag_id: slow\ntasks:\n  sleeps:\n    operator: bash\n    bash_command: sleep 600\n    retries: 3\n  after:\n    operator: bash\n    \
         bash_command: 'true'\n    dependencies: [sleeps]\n",
    );
    let mut child = environment
        .command(&["run", "slow.yaml"])
        .stdout(std::process::Stdio::null())
        .stderr(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let mut stderr = BufReader::new(child.stderr.take().unwrap());
    let mut seen = String::new();
    while !seen.contains("running\n") {
        assert_ne!(stderr.read_line(&mut seen).unwrap(), 0, "{seen}");
    }
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(child.id() as i32), Signal::SIGINT).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(130), "{seen}");
    let shown = environment.ok(&["runs", "show", "slow", "-o", "json"]).json();
    let running = shown["task_instances"].as_array().unwrap().iter().filter(|task| task["state"] == "running").count();
    assert_eq!(running, 0, "{shown}");
    assert_eq!(shown["state"], "failed", "{shown}");
}

#[test]
fn a_task_is_tested_without_a_trace() {
    let environment = Environment::new();
    environment.write("good.yaml", GOOD);
    environment.write("bad.yaml", BAD);
    let ended = environment.ok(&["tasks", "test", "good.yaml", "first", "2026-03-05", "--param", "name=you"]);
    assert!(ended.stdout.contains("hello you") && ended.stdout.ends_with("success\n"), "{ended:#?}");
    let ended = environment.run(&["tasks", "test", "bad.yaml", "fails"]);
    assert_eq!(ended.code, 1, "{ended:#?}");
    assert!(ended.stdout.contains("the last words"), "{ended:#?}");
    let ended = environment.run(&["tasks", "test", "bad.yaml", "fials"]);
    assert_eq!(ended.code, 2);
    assert_eq!(ended.stderr, "error: DAG `bad` has no task `fials`; did you mean `fails`?\n");
    assert!(!environment.path().join(".towpath").exists());
}

/// Attempts that are claimed together do not get into each other's way: each has a folder of its own.
#[test]
fn tasks_side_by_side_need_one_try_each() {
    let environment = Environment::new();
    let tasks: String = (0..120)
        .map(|i| format!("  t{i:03}: {{operator: bash, bash_command: 'test -z \"$(ls)\" && touch mine && test \"$(ls)\" = mine'}}\n"))
        .collect();
    environment.write("wide.yaml", &format!("dag_id: wide\ntasks:\n{tasks}"));
    environment.ok(&["run", "wide.yaml"]);
    let shown = environment.ok(&["runs", "show", "wide", "-o", "json"]).json();
    let tries: Vec<_> =
        shown["task_instances"].as_array().unwrap().iter().map(|task| task["try_number"].clone()).collect();
    assert_eq!(tries, vec![serde_json::json!(1); 120], "{shown}");
}
