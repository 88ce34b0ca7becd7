//! Broken files, and what is said of them.

#[path = "support/mod.rs"]
mod support;

use towpath_dagfile::Limits;

#[test]
fn broken_files() {
    let cases: &[(&str, &str)] = &[
        ("unknown key", "shedule: '@daily'\ntasks:\n  a: {operator: empty}\n"),
        ("unknown operator", "tasks:\n  a: {operator: bsh, bash_command: x}\n"),
        ("unknown class path", "tasks:\n  a: {operator: airflow.operators.bash.BashOperater, bash_command: x}\n"),
        ("no operator", "tasks:\n  a: {bash_command: echo}\n"),
        ("unknown argument", "tasks:\n  a: {operator: bash, bash_comand: echo}\n"),
        ("missing argument", "tasks:\n  a: {operator: bash}\n"),
        ("none of a choice", "tasks:\n  a: {operator: python}\n"),
        ("two of a choice", "tasks:\n  a: {operator: python, code: x, python_callable: a.b}\n"),
        (
            "unknown dependency",
            "tasks:\n  extract: {operator: empty}\n  load: {operator: empty, dependencies: [extarct]}\n",
        ),
        (
            "cycle",
            "tasks:\n  a: {operator: empty, dependencies: [c]}\n  b: {operator: empty, dependencies: [a]}\n  c: {operator: empty, dependencies: [b]}\n",
        ),
        ("depends on itself", "tasks:\n  a: {operator: empty, dependencies: [a]}\n"),
        (
            "expanded over what is no data set",
            "tasks:\n  a: {operator: bash, bash_command: x}\n  b: {operator: transform, expand: {input: a.partitions}, steps: [limit: 1]}\n  \
             c: {operator: load, input: b, target: {csv: x.csv}}\n  d: {operator: bash, bash_command: x, expand: {env: c.rows}}\n  \
             e: {operator: transform, steps: [limit: 1]}\n",
        ),
        ("double key", "schedule: '@daily'\nschedule: '@hourly'\ntasks:\n  a: {operator: empty}\n"),
        ("double task", "tasks:\n  - {task_id: a, operator: empty}\n  - {task_id: a, operator: empty}\n"),
        ("task without id", "tasks:\n  - {operator: empty}\n"),
        ("bad cron", "schedule: '0 25 * * *'\ntasks:\n  a: {operator: empty}\n"),
        ("bad preset", "schedule: '@dayly'\ntasks:\n  a: {operator: empty}\n"),
        ("bad zone", "timezone: Europe/Berln\ntasks:\n  a: {operator: empty}\n"),
        ("bad date", "start_date: yesterday\ntasks:\n  a: {operator: empty}\n"),
        ("dates in the wrong order", "start_date: 2026-02-01\nend_date: 2026-01-01\ntasks:\n  a: {operator: empty}\n"),
        ("bad duration", "tasks:\n  a: {operator: empty, retry_delay: 5 parsecs}\n"),
        (
            "wrong types",
            "catchup: maybe\nmax_active_runs: many\ntags: {a: b}\ntasks:\n  a: {operator: empty, retries: -1, trigger_rule: all_sucess}\n",
        ),
        ("bad id", "dag_id: my dag\ntasks:\n  a b: {operator: empty}\n"),
        ("not yet supported", "tasks:\n  a: {operator: bash, bash_command: x, run_as_user: a}\n"),
        ("expand over text", "tasks:\n  a: {operator: bash, expand: {bash_command: other}}\n"),
        ("expand over what is not there", "tasks:\n  a: {operator: bash, expand: {bash_command: other.output}}\n"),
        ("expand an unknown argument", "tasks:\n  a: {operator: bash, bash_command: x, expand: {evn: [{}]}}\n"),
        ("expand and give", "tasks:\n  a: {operator: bash, bash_command: x, expand: {bash_command: [a]}}\n"),
        ("two ways to expand", "tasks:\n  a: {operator: bash, expand: {bash_command: [a]}, expand_kwargs: []}\n"),
        ("unknown class", "tasks:\n  a: {operator: empty, retry_delay: {__type__: my.Delay, minutes: 5}}\n"),
        ("unknown group", "task_groups:\n  load: {}\ntasks:\n  a: {operator: empty, task_group_name: lod}\n"),
        (
            "group inside of itself",
            "task_groups:\n  a: {parent_group_name: b}\n  b: {parent_group_name: a}\ntasks:\n  t: {operator: empty}\n",
        ),
        ("setup and teardown", "tasks:\n  a: {operator: empty, setup: true, teardown: true}\n"),
        (
            "setups of no teardown",
            "tasks:\n  s: {operator: empty}\n  a: {operator: empty, teardown: false, setups: [s]}\n",
        ),
        ("on_failure_fail_dagrun of work", "tasks:\n  a: {operator: empty, on_failure_fail_dagrun: true}\n"),
        (
            "rule of a teardown",
            "tasks:\n  s: {operator: empty}\n  t: {operator: empty, setups: [s], trigger_rule: all_done}\n",
        ),
        (
            "rule behind a setup",
            "tasks:\n  s: {operator: empty, setup: true}\n  a: {operator: empty, dependencies: [s], trigger_rule: all_done}\n",
        ),
        (
            "teardown as setup, group as setup",
            "task_groups:\n  g: {}\ntasks:\n  x: {operator: empty, task_group_name: g}\n  t: {operator: empty, teardown: true}\n  u: {operator: empty, setups: [t, g]}\n",
        ),
        ("rule of a fail_fast DAG", "fail_fast: true\ntasks:\n  a: {operator: empty, trigger_rule: all_done}\n"),
        (
            "mapped inside of a mapped group",
            "task_groups:\n  g: {expand: {x: [1]}}\n  h: {parent_group_name: g, expand: {y: [1]}}\ntasks:\n  a: {operator: bash, task_group_name: g, expand: {bash_command: [a]}}\n",
        ),
        (
            "group expanded over what is no list",
            "task_groups:\n  g: {expand: {x: 5}}\n  h: {expand: [1]}\n  i: {expand: {x: nothing.output}}\ntasks:\n  a: {operator: empty, task_group_name: g}\n  b: {operator: empty, task_group_name: i}\n",
        ),
        ("not a mapping", "- a\n- b\n"),
        ("empty", "# nothing\n"),
        ("syntax", "tasks:\n  a: {operator: empty\n  b: x\n"),
        ("tab", "tasks:\n\ta: {operator: empty}\n"),
        ("two documents", "tasks:\n  a: {operator: empty}\n---\ntasks: {}\n"),
        ("default_args that nobody takes", "default_args: {retrys: 3}\ntasks:\n  a: {operator: empty}\n"),
        (
            "several at once",
            "shedule: x\ntags: [1]\ntasks:\n  a: {operator: bash, retries: x, dependencies: [b]}\n  c: {operator: empt}\n",
        ),
        ("control character", "tasks:\n  a: {operator: bash, bash_command: \"a\u{1}b\"}\n"),
        ("escape sequence in a name", "\"\\e[31mred\": 1\ntasks:\n  a: {operator: empty}\n"),
        ("not a number", "tasks:\n  a: {operator: empty, retry_exponential_backoff: .nan}\n"),
        ("setting of tasks in a DAG", "retries: 3\ntasks:\n  a: {operator: empty}\n"),
        ("argument of another operator", "tasks:\n  a: {operator: bash, bash_command: x, endpoint: y}\n"),
        ("task that is nothing", "tasks:\n  a:\n  b: 5\n"),
        ("id in default_args", "default_args: {dependencies: [a]}\ntasks:\n  a: {operator: empty}\n"),
        (
            "params",
            "schedule: '@daily'\nparams:\n  a: {type: int}\n  b: {default: x, type: integer}\n  c: {type: string}\n  d: {default: null, type: string, title: D}\n  e: {default: null, type: ['null', string]}\n  f: {default: 2026-02-30, type: string, format: date}\n  g: {default: [1, x], type: array, items: {type: integer}}\n  h: {default: 1, schema: {minimum: low}}\n  i: {default: a, enum: [b, c], values_display: {b: B}}\ntasks:\n  t: {operator: empty, params: {p: {default: 1, pattern: '('}, q: {default: 5, maximum: 3}}}\n",
        ),
        (
            "alerts",
            "alerts: [{on: retry, email: a@example.org}, {on: failed, command: ''}, nobody]\ntasks:\n  t:\n    operator: empty\n    alerts:\n    - {on: [], webhook: 'ftp://x'}\n    - {slak: https://example.org}\n    - {on: success}\n    - {email: [nobody, a@example.org]}\n    - {email: {a: b}}\n",
        ),
        (
            "deadlines",
            "deadline:\n- {reference: queued, interval: 30m}\n- {interval: 30m}\n- {reference: logical_date, interval: soon, max_runs: 3}\n- {reference: average_runtime, max_runs: 2, min_runs: 5}\n- {reference: queued_at, emial: a@example.org}\n- {reference: 2026-13-01}\n- tomorrow\ntasks:\n  t: {operator: empty, alerts: {on: deadline, command: x}}\n",
        ),
        (
            "expand over files",
            "task_groups:\n  g: {expand: {x: {files: '*.csv'}}}\ntasks:\n  a: {operator: bash, expand: {bash_command: {files: 1}}}\n  b: {operator: bash, expand: {bash_command: {files: '*'}}, trigger_rule: all_done}\n  c: {operator: empty, task_group_name: g}\n",
        ),
        ("no tasks", "schedule: '@daily'\n"),
        ("without effect", "orientation: LR\ntasks:\n  a: {operator: empty}\n"),
    ];
    let mut all = String::new();
    for (name, text) in cases {
        let file = support::read(text, &Limits::default());
        all.push_str(&format!("== {name}\n"));
        all.push_str(&support::told(&file));
        assert!(!file.diagnostics.is_empty(), "{name}: nothing was said");
        assert_eq!(file.dags.is_empty(), file.has_errors(), "{name}");
    }
    insta::assert_snapshot!(all);
}

#[test]
fn a_broken_dag_does_not_take_its_neighbours_down() {
    let file = support::read(
        "good:\n  tasks:\n    a: {operator: empty}\nbad:\n  tasks:\n    a: {operator: nothing}\n",
        &Limits::default(),
    );
    assert_eq!(file.dags.len(), 1);
    assert_eq!(file.dags[0].id(), "good");
    assert!(file.has_errors());
}
