//! Settings and their sources.

use serde_json::Value;

use crate::environment::Environment;

fn setting(environment: &Environment, arguments: &[&str], key: &str) -> (Value, String) {
    let mut all = vec!["config", "show", "-o", "json"];
    all.extend(arguments);
    let shown = environment.ok(&all).json();
    let found = shown.as_array().unwrap().iter().find(|shown| shown["key"] == key);
    let found = found.unwrap_or_else(|| panic!("no {key} in {shown}"));
    (found["value"].clone(), found["source"].as_str().unwrap().to_owned())
}

#[test]
fn flags_over_environment_over_file_over_default() {
    let mut environment = Environment::new();
    let expect = |environment: &Environment, arguments: &[&str], folder: &str, source: &str| {
        let (value, from) = setting(environment, arguments, "dags_dir");
        assert_eq!((value, from.as_str()), (Value::from(format!("[DIR]/{folder}")), source));
    };
    expect(&environment, &[], "dags", "default");
    environment.write("towpath.toml", "# comment\ndags_dir = \"from_file\"\n");
    expect(&environment, &[], "from_file", "towpath.toml:2");
    environment.set("TOWPATH_DAGS_DIR", "from_environment");
    expect(&environment, &[], "from_environment", "TOWPATH_DAGS_DIR");
    expect(&environment, &["--dags", "from_flag"], "from_flag", "--dags");
}

#[test]
fn a_file_may_be_named() {
    let environment = Environment::new();
    environment.write("etc/other.toml", "data_dir = \"data\"\n");
    let (value, source) = setting(&environment, &["--config", "etc/other.toml"], "data_dir");
    assert_eq!((value, source.as_str()), (Value::from("[DIR]/etc/data"), "etc/other.toml:1"));
    let ended = environment.run(&["config", "show", "--config", "nowhere.toml"]);
    assert_eq!(ended.code, 2);
    assert!(ended.stderr.starts_with("error: cannot read the configuration file `[DIR]/nowhere.toml`"), "{ended:?}");
}

#[test]
fn every_setting_in_a_table() {
    let mut environment = Environment::new();
    environment.set("TOWPATH_DATABASE_URL", "postgres://towpath:hunter2@db.example.com/towpath");
    environment.set("TOWPATH_WORKER_SLOTS", "4");
    environment.set("TOWPATH_LISTN", "x");
    let ended = environment.ok(&["config", "show"]);
    // How wide the columns are depends on where the temporary folder lies.
    let columns =
        |line: &str| line.split("  ").map(str::trim).filter(|cell| !cell.is_empty()).collect::<Vec<_>>().join(" | ");
    insta::assert_snapshot!(ended.stdout.lines().map(columns).collect::<Vec<_>>().join("\n"));
    assert_eq!(ended.stderr, "warning: the variable TOWPATH_LISTN is not a setting; did you mean TOWPATH_LISTEN?\n");
}

#[test]
fn a_broken_file_is_explained() {
    let environment = Environment::new();
    environment.write("towpath.toml", "lisetn = \"127.0.0.1:1\"\nworker_slots = { a = 1 }\n");
    let ended = environment.run(&["dags", "list"]);
    assert_eq!((ended.code, ended.stdout.as_str()), (2, ""));
    insta::assert_snapshot!(ended.stderr);
}
