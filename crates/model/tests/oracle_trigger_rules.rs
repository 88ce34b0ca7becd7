//! Trigger rules against Airflow's own verdicts, row by row.

use serde::Deserialize;
use towpath_model::state::TaskState;
use towpath_model::trigger_rule::{TriggerRule, UpstreamCounts, Verdict};

#[derive(Deserialize)]
struct Oracle {
    rows: Vec<Row>,
}

#[derive(Deserialize)]
struct Row {
    rule: TriggerRule,
    /// `None` has not ended.
    upstream: Vec<Option<TaskState>>,
    /// Absent where no upstream is a setup task.
    #[serde(default)]
    is_setup: Vec<bool>,
    verdict: String,
}

#[test]
fn every_row_agrees() {
    let oracle: Oracle = serde_json::from_str(include_str!("data/trigger-rules.json")).unwrap();
    assert_eq!(oracle.rows.len(), 1365);
    let mut wrong = Vec::new();
    for row in &oracle.rows {
        let mut up = UpstreamCounts { total: row.upstream.len() as u32, ..UpstreamCounts::default() };
        for (i, state) in row.upstream.iter().enumerate() {
            let is_setup = row.is_setup.get(i).copied().unwrap_or_default();
            up.setups += u32::from(is_setup);
            if let Some(state) = state {
                up.record(*state, is_setup);
            }
        }
        let verdict = match row.rule.evaluate(up) {
            Verdict::Run => "run",
            Verdict::Wait => "wait",
            Verdict::Skip => "set:skipped",
            Verdict::FailUpstream => "set:upstream_failed",
            Verdict::Remove => "set:removed",
        };
        if verdict != row.verdict {
            wrong.push(format!(
                "{} on {:?} (setup {:?}): {verdict}, not {}",
                row.rule, row.upstream, row.is_setup, row.verdict
            ));
        }
    }
    assert!(wrong.is_empty(), "{} rows differ:\n{}", wrong.len(), wrong.join("\n"));
}
