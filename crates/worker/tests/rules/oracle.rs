//! Airflow's answers, row by row, as a run of one DAG: each row is a task behind others that end as it says.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::Duration;

use serde::Deserialize;
use towpath_model::state::TaskState;
use towpath_store::Store;

use crate::stage::{LIMIT, ends, start, with_worker};

#[derive(Debug, Deserialize)]
struct Oracle {
    rows: Vec<Row>,
}

/// Upstream that is null has not ended.
#[derive(Debug, Deserialize)]
struct Row {
    rule: String,
    upstream: Vec<Option<String>>,
    /// Absent where no upstream is a setup.
    #[serde(default)]
    is_setup: Vec<bool>,
    verdict: String,
}

fn rows() -> Vec<Row> {
    let oracle: Oracle =
        serde_json::from_str(include_str!("../../../model/tests/data/trigger-rules.json")).expect("the oracle is JSON");
    // Nothing that has run only once is `removed`, and a file gives what follows a setup two rules only.
    let can_be_written = |row: &Row| !row.is_setup.contains(&true) || row.rule == "all_done_setup_success";
    let plays = |row: &Row| can_be_written(row) && !row.upstream.iter().flatten().any(|state| state == "removed");
    oracle.rows.into_iter().filter(plays).collect()
}

/// The rows as a DAG: `r7` is the task of row 7, `r7_0` its first upstream.
fn yaml(rows: &[Row]) -> String {
    let mut text = String::from("dag_id: oracle\nschedule: null\nmax_active_tasks: 64\ntasks:\n");
    text.push_str("  bad: {operator: bash, bash_command: failed}\n");
    for (i, row) in rows.iter().enumerate() {
        let names: Vec<String> = (0..row.upstream.len()).map(|k| format!("r{i}_{k}")).collect();
        for (k, (name, state)) in names.iter().zip(&row.upstream).enumerate() {
            let is_setup = row.is_setup.get(k).copied().unwrap_or_default();
            let command = state.as_deref().unwrap_or("hold");
            let after = if command == "upstream_failed" { "bad" } else { "" };
            let _ = writeln!(
                text,
                "  {name}: {{operator: bash, bash_command: {command}, dependencies: [{after}], setup: {is_setup}}}"
            );
        }
        let (rule, names) = (&row.rule, names.join(", "));
        // The rule over setups is that of teardowns.
        let is_teardown = row.is_setup.contains(&true);
        let _ = writeln!(
            text,
            "  r{i}: {{operator: bash, bash_command: success, trigger_rule: {rule}, dependencies: [{names}], teardown: {is_teardown}}}"
        );
    }
    text
}

fn expected(row: &Row) -> TaskState {
    match row.verdict.as_str() {
        "run" => TaskState::Success,
        "wait" => TaskState::None,
        set => set.trim_start_matches("set:").parse().unwrap_or_else(|_| panic!("{row:?}")),
    }
}

async fn play(store: &Store) {
    let rows = rows();
    assert!(rows.len() > 200, "the oracle has {} rows", rows.len());
    let (_, run) = start(store, &yaml(&rows)).await;
    let begin = std::time::Instant::now();
    loop {
        let found: BTreeMap<_, _> = ends(store, run).await;
        let of = |id: String| found[&(id, -1)].0;
        let is_still = |state| state == TaskState::UpForReschedule || TaskState::is_finished(state);
        let calm =
            rows.iter().enumerate().all(|(i, row)| (0..row.upstream.len()).all(|k| is_still(of(format!("r{i}_{k}")))));
        let wrong: Vec<String> = rows
            .iter()
            .enumerate()
            .filter(|(i, row)| of(format!("r{i}")) != expected(row))
            .map(|(i, row)| format!("{row:?} is {}", of(format!("r{i}"))))
            .collect();
        if calm && wrong.is_empty() {
            return;
        }
        assert!(begin.elapsed() < LIMIT, "{} rows of {}:\n{}", wrong.len(), rows.len(), wrong.join("\n"));
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_row_comes_true_on_sqlite() {
    with_worker(towpath_testkit::sqlite(), play).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_row_comes_true_on_postgres() {
    with_worker(towpath_testkit::postgres().await, play).await;
}
