//! Test files against the store: what passes, what is told where something differs, what a broken file says.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on should say where")]

use std::fmt::Write as _;
use std::path::Path;
use std::sync::Arc;

use chrono::{DateTime, Utc};
use towpath_dagfile::{Limits, load_file};
use towpath_dagtest::{dag_file_of, load};

const NOW: DateTime<Utc> = DateTime::from_timestamp_secs(1_780_000_000).unwrap();

/// A DAG with a retry, a join by another rule, templates and a limit on tasks.
const ETL: &str = r#"
schedule: "0 6 * * *"
timezone: Europe/Berlin
start_date: 2026-03-27
params: { carrier: { type: string, default: UA } }
default_args: { retries: 1, retry_delay: 5m }
tasks:
  start: { operator: empty }
  extract:
    operator: bash
    bash_command: "extract {{ ds }} {{ params.carrier }} {{ var.value.bucket }}"
    dependencies: [start]
  check:
    operator: bash
    bash_command: "test {{ ti.xcom_pull(task_ids='extract').rows }} -gt 0"
    env: { TRY: "{{ ti.try_number }}" }
    dependencies: [extract]
  load: { operator: bash, bash_command: load, execution_timeout: 1h, dependencies: [check] }
  index: { operator: bash, bash_command: index, retries: 0, dependencies: [check] }
  cleanup: { operator: bash, bash_command: rm, trigger_rule: all_done, dependencies: [load, index] }
"#;

/// The outcome of every case of a test file, as text.
async fn outcome(dag: &str, test: &str) -> String {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("etl.test.yml");
    std::fs::write(folder.path().join("etl.yaml"), dag).unwrap();
    std::fs::write(&path, test).unwrap();
    let dag_file = dag_file_of(&path).unwrap();
    let file = load_file(&dag_file, folder.path(), NOW, &Limits::default());
    assert!(!file.has_errors(), "{:#?}", file.diagnostics);
    let dags: Vec<_> = file.dags.into_iter().map(Arc::new).collect();
    let loaded = load(&path, &dags, NOW, &Limits::default());
    let mut told = String::new();
    for problem in &loaded.diagnostics {
        let problem = problem.to_string().replace(&folder.path().display().to_string(), "");
        writeln!(told, "{problem}").unwrap();
    }
    for case in &loaded.cases {
        let differences = towpath_dagtest::run(case).await.unwrap();
        writeln!(told, "{}: {}", case.name, if differences.is_empty() { "ok" } else { "differs" }).unwrap();
        for difference in differences {
            let note = difference.note.map(|note| format!(" ({note})")).unwrap_or_default();
            let (expected, got) = (difference.expected, difference.got);
            writeln!(told, "  {}: {expected} <> {got}{note}", difference.what).unwrap();
        }
    }
    told
}

/// Every case of a file passes.
#[track_caller]
fn assert_all_pass(told: &str, cases: usize) {
    assert_eq!(told.lines().filter(|line| line.ends_with(": ok")).count(), cases, "{told}");
    assert_eq!(told.lines().count(), cases, "{told}");
}

#[tokio::test]
async fn everything_that_can_be_expected() {
    let told = outcome(
        ETL,
        r"
variables: { bucket: lake }
tasks:
  extract: { return_value: { rows: 3 }, xcom: { file: /tmp/x } }
cases:
  all goes well:
    expect:
      state: success
      states: { start: success, cleanup: success }
      order: [start, extract, check, [load, index], cleanup]
      tries: { extract: 1, start: 1 }
      xcom: { extract: { rows: 3.0 }, load: null }
      xcoms: { extract: { file: /tmp/x } }
      rendered:
        extract: { bash_command: extract 2026-03-27 UA lake }
        check: { bash_command: { contains: test 3 }, env: { TRY: '1' } }
      # Clocks are moved on the 29th.
      next_runs: [2026-03-28T06:00, '2026-03-29T06:00:00+02:00', 2026-03-30T04:00Z]
  a try fails:
    params: { carrier: AA }
    logical_date: 2026-03-30T06:00
    tasks: { check: [failed, success] }
    expect:
      tries: { check: 2, load: 1 }
      rendered:
        extract: { bash_command: extract 2026-03-30 AA lake }
        check: { env: { TRY: '2' } }
  the last try fails:
    tasks: { check: failed }
    expect:
      state: success
      states: { check: failed, load: upstream_failed, index: upstream_failed, cleanup: success }
      tries: { check: 2, load: 0 }
  no other try:
    tasks: { check: { state: failed, retry: false } }
    expect: { states: { check: failed }, tries: { check: 1 } }
  skipped:
    tasks: { check: skipped }
    expect: { states: { load: skipped, cleanup: success } }
  too slow once:
    tasks: { load: [{ duration: 2h }, { duration: 59m }] }
    expect: { tries: { load: 2 }, order: [load, cleanup], states: { load: success } }
  a manual run without a date:
    logical_date: null
    expect: { rendered: { check: { bash_command: test 3 -gt 0 } } }
",
    )
    .await;
    assert_all_pass(&told, 7);
}

#[tokio::test]
async fn differences_are_told() {
    let told = outcome(
        ETL,
        r"
cases:
  - tasks: { cleanup: { state: failed, message: the disk is full } }
  - name: nothing fits
    tasks: { extract: { return_value: { rows: 3 } } }
    expect:
      state: failed
      states: { load: failed }
      order: [index, load, extract]
      tries: { load: 2 }
      xcom: { extract: 5, load: 1 }
      rendered:
        extract: { bash_command: x }
        check: { bash_command: { contains: nothing } }
      next_runs: [2026-03-28T07:00]
  - name: skipped tasks render nothing
    tasks: { extract: skipped }
    expect: { rendered: { load: { bash_command: load } }, order: [extract, load] }
",
    )
    .await;
    insta::assert_snapshot!(told);
}

#[tokio::test]
async fn templates_fail_attempts_where_asked() {
    let told = outcome(
        ETL,
        r"
render_templates: true
cases:
  a variable is missing:
    expect: { state: success, states: { extract: failed, check: upstream_failed }, tries: { extract: 2 } }
  an XCom is missing:
    variables: { bucket: lake }
    expect: { states: { extract: success, check: failed } }
",
    )
    .await;
    assert_all_pass(&told, 2);
}

#[tokio::test]
async fn limits_of_the_dag_hold() {
    let dag = "
max_active_tasks: 2
dagrun_timeout: 1h
tasks:
  a: { operator: bash, bash_command: a, priority_weight: 1 }
  b: { operator: bash, bash_command: b, priority_weight: 3 }
  c: { operator: bash, bash_command: c, priority_weight: 2, pool: small }
  d: { operator: bash, bash_command: d, priority_weight: 9, pool: small }
";
    let told = outcome(
        dag,
        r"
pools: { small: 1 }
cases:
  by priority and pool:
    expect: { order: [[d, b], c] }
  the run takes too long:
    tasks: { d: { duration: 2h } }
    expect: { state: failed, states: { d: skipped, c: skipped, b: success } }
  a pool without slots:
    pools: { small: 0 }
    expect: { state: failed, states: { d: skipped, b: success } }
",
    )
    .await;
    assert_all_pass(&told, 3);
}

#[tokio::test]
async fn a_run_that_is_stuck_ends() {
    let dag = "tasks: { a: { operator: bash, bash_command: a, pool: none }, b: { operator: bash, bash_command: b } }";
    let told = outcome(dag, "cases: [{ pools: { none: 0 } }]").await;
    insta::assert_snapshot!(told);
}

#[tokio::test]
async fn the_dag_of_a_case_is_chosen() {
    let dag = "
one: { tasks: { a: { operator: bash, bash_command: a } } }
two: { tasks: { b: { operator: bash, bash_command: b } } }
";
    let told =
        outcome(dag, "cases: { x: { dag: one, tasks: { a: success } }, y: { dag: two, tasks: { b: skipped } } }");
    assert_all_pass(&told.await, 2);
    let told = outcome(dag, "cases: { x: {}, y: { dag: tow } }").await;
    insta::assert_snapshot!(told);
}

#[tokio::test]
async fn problems_of_a_file_have_a_place() {
    let told = outcome(
        ETL.replace("default: UA", "description: which").replace("schedule: \"0 6 * * *\"\n", "").as_str(),
        r"
case_defaults: {}
variables: [a]
cases:
  - name: one
    tasks:
      extrct: failed
      start: failed
      load: faild
      index: []
      check: { state: success, retry: false, xcom: 5 }
    expect:
      state: sucess
      tries: { laod: 2, load: many }
      order: load
      rendered: { load: { bash_comand: load } }
  - name: one
    params: { carier: UA }
    logical_date: yesterday
    expectations: {}
",
    )
    .await;
    insta::assert_snapshot!(told);
}

#[tokio::test]
async fn files_without_cases() {
    for (text, expected) in [
        ("tasks: {}\n", "etl.test.yml:1:1: error: the file has no `cases`"),
        ("cases: {}\n", "`cases` is empty"),
        ("cases: 5\n", "`cases` has to be a list or a mapping of cases"),
        ("[1]\n", "a test file is a mapping, not a list"),
        ("cases: [\n", "error: "),
    ] {
        let told = outcome(ETL, text).await;
        assert!(told.contains(expected), "{told}");
    }
    assert_eq!(dag_file_of(Path::new("/nowhere/etl.test.yaml")), None);
}
