//! Mapping, branching, and the commands that let tasks run again or decide how they ended.

use crate::environment::Environment;

/// A task id with its map index and state, of every task instance of the newest run.
fn states(environment: &Environment, dag_id: &str) -> Vec<(String, i64, String)> {
    let shown = environment.ok(&["runs", "show", dag_id, "-o", "json"]).json();
    let text = |value: &serde_json::Value| value.as_str().unwrap().to_owned();
    shown["task_instances"]
        .as_array()
        .unwrap()
        .iter()
        .map(|task| (text(&task["task_id"]), task["map_index"].as_i64().unwrap(), text(&task["state"])))
        .collect()
}

#[test]
fn the_example_maps_and_branches() {
    let environment = Environment::new();
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/../../dags/carrier_delays.yaml");
    environment.ok(&["run", file]);
    let found = states(&environment, "carrier_delays");
    let of = |id: &str| found.iter().filter(|(task, ..)| task == id).map(|(_, _, state)| state.as_str()).collect();
    let delays: Vec<&str> = of("delay");
    assert_eq!(delays, ["success"; 16], "January 2013 has sixteen carriers");
    let shown = environment.ok(&["runs", "list", "carrier_delays", "--output", "json"]).json();
    let run_id = shown[0]["run_id"].as_str().unwrap();
    let shown = environment.ok(&["runs", "show", "carrier_delays", run_id]).stdout;
    let named = |text: &str| shown.lines().any(|line| line.trim().starts_with(text));
    assert!(named("delay[0: 9E]") && named("delay[15: YV]"), "`map_index_template` names them: {shown}");
    let (late, punctual): (Vec<&str>, Vec<&str>) = (of("late"), of("punctual"));
    assert_eq!((late, punctual), (vec!["success"], vec!["skipped"]));
    let named = environment.ok(&["xcom", "get", "carrier_delays", "late"]).json();
    assert_eq!(named, serde_json::json!(["9E", "EV", "HA", "OO", "YV"]), "as awk finds in the same file");
}

#[test]
fn the_example_makes_a_folder_and_takes_it_away() {
    let environment = Environment::new();
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/../../dags/carrier_files.yaml");
    environment.ok(&["run", file]);
    let found = states(&environment, "carrier_files");
    assert_eq!(found.len(), 9, "three carriers, each with two tasks of the group: {found:?}");
    assert!(found.iter().all(|(.., state)| state == "success"), "{found:?}");
    let total = environment.ok(&["xcom", "get", "carrier_files", "total"]).json();
    assert_eq!(total, "13235", "as awk counts in the same file");
    let folder = environment.ok(&["xcom", "get", "carrier_files", "make_folder"]).json();
    assert!(!std::path::Path::new(folder.as_str().unwrap()).exists(), "{folder}");
}

#[test]
fn tasks_are_cleared_marked_and_retried() {
    let environment = Environment::new();
    environment.write(
        "work.yaml",
        "dag_id: work\ntasks:\n  a: {operator: bash, bash_command: 'test -e ready', cwd: .}\n  \
         b: {operator: bash, bash_command: 'echo {{ params.x }}', expand: {params: []}, dependencies: [a]}\n",
    );
    // `params` is no argument of bash: the file is refused.
    assert_eq!(environment.run(&["run", "work.yaml"]).code, 2);
    environment.write(
        "work.yaml",
        "dag_id: work\ntasks:\n  a: {operator: bash, bash_command: 'test -e ready', cwd: .}\n  \
         b: {operator: bash, expand: {bash_command: [echo 1, echo 2]}, dependencies: [a]}\n",
    );
    assert_eq!(environment.run(&["run", "work.yaml"]).code, 1);
    assert_eq!(
        states(&environment, "work"),
        [("a".into(), -1, "failed".into()), ("b".into(), -1, "upstream_failed".into())]
    );

    let told = environment.ok(&["runs", "rerun", "work", "--dry-run"]).stdout;
    assert!(told.contains("2 task instances of 1 runs would be cleared"), "{told}");
    let wrong = environment.run(&["tasks", "clear", "work", "aa"]);
    assert!(wrong.code == 2 && wrong.stderr.contains("did you mean `a`"), "{wrong:#?}");
    let wrong = environment.run(&["tasks", "retry", "work", "a"]);
    assert!(wrong.code == 1 && wrong.stderr.contains("towpath tasks clear"), "{wrong:#?}");

    // What failed behind a task that counts as done gets its chance.
    environment.ok(&["tasks", "mark", "success", "work", "a"]);
    assert_eq!(states(&environment, "work"), [("a".into(), -1, "success".into()), ("b".into(), -1, "none".into())]);
    let run = environment.ok(&["runs", "show", "work", "-o", "json"]).json();
    assert_eq!(run["state"], "queued");
    environment.ok(&["runs", "mark", "success", "work"]);
    let run = environment.ok(&["runs", "show", "work", "-o", "json"]).json();
    assert_eq!(run["state"], "success");
}
