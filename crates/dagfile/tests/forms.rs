//! The forms in which a DAG may be written, and the JSON Schema that describes them.

#[path = "support/mod.rs"]
mod support;

use std::path::Path;
use std::time::Duration;

use towpath_dagfile::{Limits, is_dag_file, load_file, schema};
use towpath_model::dag::Dag;
use towpath_model::timetable::Schedule;

const FACTORY: &str = include_str!("fixtures/good/dag_factory.yaml");

fn one(text: &str) -> Dag {
    let mut file = support::read(text, &Limits::default());
    assert!(!file.has_errors(), "{}", support::told(&file));
    file.dags.remove(0)
}

#[test]
fn dag_factory() {
    let file = support::read(FACTORY, &Limits::default());
    assert!(!file.has_errors(), "{}", support::told(&file));
    let [first, second] = &file.dags[..] else { panic!("two DAGs") };
    assert_eq!(first.spec().schedule.summary(), "6h");
    assert_eq!(first.spec().max_active_runs, 1);
    assert_eq!(first.spec().start_date.unwrap().to_rfc3339(), "2026-05-15T00:00:00+00:00");
    let upstream = |id: &str| first.task(id).unwrap_or_else(|| panic!("{id}")).upstream.clone();
    assert_eq!(upstream("first.task_2"), ["first.task_1"]);
    assert_eq!(upstream("second.task_3"), ["first.task_2"]);
    assert_eq!(upstream("task_4"), ["second.task_3"]);
    let task = first.task("task_4").unwrap();
    assert_eq!((task.operator.as_str(), task.retry.retries, task.owner.as_str()), ("python", 0, "custom_owner"));
    assert_eq!(task.execution_timeout, Some(Duration::from_secs(300)));
    assert_eq!(first.task("first.task_1").unwrap().retry.delay, Duration::from_secs(300));
    let Schedule::Cron { expressions, .. } = &second.spec().schedule else { panic!("crons") };
    assert_eq!(expressions.len(), 2);
    assert_eq!(second.tasks()[0].email, ["a@example.com", "b@example.com"]);
}

#[test]
fn order_comments_and_spelling_make_no_new_version() {
    let one = one(
        "schedule: '@daily'\ncatchup: false\ntasks:\n  a: {operator: bash, bash_command: x, env: {A: 1, B: 2}}\n  b: {operator: empty, dependencies: a}\n",
    );
    let other = self::one(
        "# a comment\ntasks:\n- task_id: b\n  dependencies: [a]\n  operator: airflow.operators.empty.EmptyOperator\n- env: {B: 2, A: '1'}\n  task_id: a\n  bash_command: x\n  operator: bash\ncatchup: no\nschedule_interval: \"@daily\"\n",
    );
    assert_eq!(one.hash(), other.hash());
    let changed = self::one(
        "schedule: '@daily'\ntasks:\n  a: {operator: bash, bash_command: y, env: {A: 1, B: 2}}\n  b: {operator: empty, dependencies: a}\n",
    );
    assert_ne!(one.hash(), changed.hash());
}

#[test]
fn input_implies_the_dependency() {
    let dag = one("tasks:\n  a: {operator: empty}\n  b: {operator: empty, input: a}\n");
    assert_eq!(dag.task("b").unwrap().upstream, ["a"]);
}

#[test]
fn params_are_values_or_declarations() {
    let dag = one(
        "params:\n  n: 3\n  who: {type: string, default: x, enum: [x, y], description: whom}\n  must: {type: integer}\ntasks:\n  a: {operator: empty}\n",
    );
    let params = &dag.spec().params;
    assert_eq!(params["n"].default, Some(3.into()));
    assert_eq!(params["who"].schema["enum"], serde_json::json!(["x", "y"]));
    assert_eq!(params["must"].default, None);
}

#[test]
fn folders_have_defaults() {
    let folder = tempfile::tempdir().unwrap();
    let deep = folder.path().join("team/etl");
    std::fs::create_dir_all(&deep).unwrap();
    std::fs::write(folder.path().join("defaults.yml"), "default_args: {owner: root, retries: 5}\ntags: [all]\n")
        .unwrap();
    std::fs::write(deep.join("defaults.yaml"), "default_args: {owner: etl}\n").unwrap();
    let path = deep.join("daily.yaml");
    std::fs::write(&path, "tasks:\n  a: {operator: empty}\n  b: {operator: empty, owner: me}\n").unwrap();
    let file = load_file(&path, folder.path(), support::now(), &Limits::default());
    let dag = &file.dags[0];
    assert_eq!((dag.id(), &dag.spec().tags[..]), ("daily", &["all".to_owned()][..]));
    let task = |id| dag.task(id).unwrap();
    assert_eq!((task("a").owner.as_str(), task("a").retry.retries), ("etl", 5));
    assert_eq!(task("b").owner, "me");
    assert!(!is_dag_file(&deep.join("defaults.yaml")) && is_dag_file(&path) && !is_dag_file(&deep.join(".x.yaml")));
}

fn files(folder: &str) -> Vec<(String, String)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder);
    let mut files: Vec<_> = std::fs::read_dir(folder)
        .expect("the fixtures can be read")
        .map(|entry| entry.expect("the fixtures can be read").path())
        .filter(|path| is_dag_file(path))
        .map(|path| (path.display().to_string(), std::fs::read_to_string(&path).expect("the fixtures can be read")))
        .collect();
    files.sort();
    files
}

fn good() -> Vec<(String, String)> {
    let mut good = files("tests/fixtures/good");
    assert!(good.len() >= 5, "the fixtures have gone");
    good.extend(files("../../dags"));
    good
}

#[test]
fn the_examples_have_nothing_to_complain_about() {
    for (name, text) in good() {
        let file = support::read(&text, &Limits::default());
        assert!(file.diagnostics.is_empty() && !file.dags.is_empty(), "{name}: {}", support::told(&file));
    }
}

#[test]
fn the_schema_is_committed() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("dag.schema.json");
    let current = format!("{:#}\n", schema::json_schema());
    if std::env::var_os("UPDATE_SCHEMA").is_some() {
        std::fs::write(&path, &current).unwrap();
    }
    let committed = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(committed == current, "dag.schema.json is out of date: run the test once with UPDATE_SCHEMA=1");
}

/// A text as an editor hands it to the schema.
fn as_json(text: &str) -> serde_json::Value {
    // The parser's own defaults refuse an anchor that more than a hundred tasks share.
    let budget = serde_yaml::budget! { enforce_alias_anchor_ratio: false };
    serde_yaml::from_str_with_options(text, serde_yaml::options! { budget: budget }).expect("a fixture is YAML")
}

#[test]
fn the_schema_and_the_reader_agree() {
    let validator = jsonschema::validator_for(&schema::json_schema()).unwrap();
    for (name, text) in good() {
        let value = as_json(&text);
        let errors: Vec<String> =
            validator.iter_errors(&value).map(|e| format!("{}: {e}", e.instance_path())).collect();
        assert!(errors.is_empty(), "{name}: {errors:?}");
    }
    let bad = files("tests/fixtures/bad");
    assert!(bad.len() >= 10, "the fixtures have gone");
    for (name, text) in bad {
        let value = as_json(&text);
        assert!(!validator.is_valid(&value), "{name} is valid to the schema");
        assert!(support::read(&text, &Limits::default()).has_errors(), "{name} is valid to the reader");
    }
}

#[test]
fn sensors_are_read_under_airflows_names() {
    let dag = one(
        "default_args: {poke_interval: 5m, mode: reschedule}
tasks:
  f: {operator: airflow.providers.standard.sensors.filesystem.FileSensor, filepath: /data/x.csv, timeout: 1d}
  e:
    operator: airflow.sensors.external_task.ExternalTaskSensor
    external_dag_id: other
    external_task_ids: [a, b]
    execution_delta: {__type__: datetime.timedelta, hours: 2}
  p: {decorator: airflow.decorators.task.sensor, python_callable: jobs.ready, mode: poke}
  t: {operator: airflow.operators.trigger_dagrun.TriggerDagRunOperator, trigger_dag_id: other, wait_for_completion: true}
",
    );
    for (id, operator, args) in [
        (
            "f",
            "file_sensor",
            r#"{"filepath":"/data/x.csv","timeout":86400.0,"poke_interval":300.0,"mode":"reschedule"}"#,
        ),
        (
            "e",
            "external_task_sensor",
            r#"{"external_dag_id":"other","external_task_ids":["a","b"],"execution_delta":7200.0,"poke_interval":300.0,"mode":"reschedule"}"#,
        ),
        ("p", "python_sensor", r#"{"python_callable":"jobs.ready","mode":"poke","poke_interval":300.0}"#),
        ("t", "trigger_dag", r#"{"trigger_dag_id":"other","wait_for_completion":true,"poke_interval":300.0}"#),
    ] {
        let task = dag.task(id).unwrap();
        assert_eq!((task.operator.as_str(), serde_json::to_string(&task.args).unwrap().as_str()), (operator, args));
    }
}
