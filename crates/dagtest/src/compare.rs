//! What was expected and what has come.

use std::collections::BTreeSet;

use chrono::{DateTime, SecondsFormat, Utc};
use petgraph::algo::has_path_connecting;
use petgraph::graph::NodeIndex;
use serde_json::Value;
use towpath_model::state::TaskState;

use crate::engine::{Observed, bounds};
use crate::suite::Case;

/// Something that is not as a case says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference {
    /// What differs: `run`, `load: state`, `load: bash_command`.
    pub what: String,
    pub expected: String,
    pub got: String,
    /// Why, where the run has said so.
    pub note: Option<String>,
}

/// Everything that differs, the run first, then its tasks by name.
pub(crate) fn compare(case: &Case, seen: &Observed) -> Vec<Difference> {
    let mut found = Vec::new();
    run_state(case, seen, &mut found);
    for (task_id, expected) in &case.expect.states {
        let task = seen.tasks.get(task_id);
        let got = task.and_then(|task| task.state);
        if got != Some(*expected) {
            let got = got.map_or_else(|| "no such task instance".to_owned(), |state| state.to_string());
            let note = task.and_then(|task| task.note.clone());
            found.push(Difference { note, ..difference(format!("{task_id}: state"), expected, got) });
        }
    }
    for (task_id, expected) in &case.expect.tries {
        let got = seen.tasks.get(task_id).map_or(0, |task| task.tries);
        if got != *expected {
            found.push(difference(format!("{task_id}: tries"), expected, got));
        }
    }
    order(case, seen, &mut found);
    for ((task_id, key), expected) in &case.expect.xcoms {
        let got = seen.xcoms.get(&(task_id.clone(), key.clone()));
        if !same(expected, got.unwrap_or(&Value::Null)) {
            let got = got.map_or_else(|| "none".to_owned(), Value::to_string);
            let expected = if expected.is_null() { "none".to_owned() } else { expected.to_string() };
            found.push(difference(format!("{task_id}: XCom {key}"), expected, got));
        }
    }
    rendered(case, seen, &mut found);
    next_runs(case, seen, &mut found);
    found
}

#[expect(clippy::needless_pass_by_value, reason = "callers have words, numbers and texts in hand")]
fn difference(what: String, expected: impl ToString, got: impl ToString) -> Difference {
    Difference { what, expected: expected.to_string(), got: got.to_string(), note: None }
}

fn run_state(case: &Case, seen: &Observed, found: &mut Vec<Difference>) {
    if seen.run.state == case.expect.state {
        return;
    }
    let mut told: Vec<String> = Vec::new();
    for task in case.dag.tasks() {
        let Some(instance) = seen.tasks.get(&task.task_id) else { continue };
        let Some(state) = instance.state else { continue };
        let is_telling = if seen.is_over() { state == TaskState::Failed } else { !state.is_finished() };
        if is_telling {
            let note = instance.note.as_ref().map(|note| format!(" ({note})")).unwrap_or_default();
            told.push(format!("{} is {state}{note}", task.task_id));
        }
    }
    let note = match (told.is_empty(), seen.is_over()) {
        (true, _) => None,
        (false, true) => Some(told.join(", ")),
        (false, false) => Some(format!("nothing is left that could move: {}", told.join(", "))),
    };
    found.push(Difference { note, ..difference("run".to_owned(), case.expect.state, seen.run.state) });
}

/// Tasks that start in the same moment are in order only where one waits for the other.
fn order(case: &Case, seen: &Observed, found: &mut Vec<Difference>) {
    let started = |task_id: &String| seen.tasks.get(task_id).and_then(|task| task.started);
    let mut missing = BTreeSet::new();
    for task_id in case.expect.order.iter().flatten() {
        if started(task_id).is_none() && missing.insert(task_id) {
            found.push(difference(format!("{task_id}: order"), "it starts", "it never starts"));
        }
    }
    for pair in case.expect.order.windows(2) {
        for (first, second) in pair[0].iter().flat_map(|first| pair[1].iter().map(move |second| (first, second))) {
            let (Some(at), Some(next)) = (started(first), started(second)) else { continue };
            let what = || format!("{second}: order");
            if next < at {
                found.push(difference(what(), format!("after {first}"), format!("before {first}")));
            } else if next == at && !waits(case, first, second) {
                let got = format!("at the same time as {first}: nothing makes it wait");
                found.push(difference(what(), format!("after {first}"), got));
            }
        }
    }
}

fn waits(case: &Case, first: &str, second: &str) -> bool {
    match (case.dag.index_of(first), case.dag.index_of(second)) {
        (Some(first), Some(second)) if first != second => {
            has_path_connecting(case.dag.graph(), NodeIndex::new(first), NodeIndex::new(second), None)
        }
        _ => false,
    }
}

fn rendered(case: &Case, seen: &Observed, found: &mut Vec<Difference>) {
    for (task_id, expected) in &case.expect.rendered {
        let args = match seen.rendered.get(task_id) {
            Some(Ok(args)) => args,
            Some(Err(error)) => {
                found.push(difference(format!("{task_id}: templates"), "rendered", format!("an error: {error}")));
                continue;
            }
            None => {
                let state = seen.tasks.get(task_id).and_then(|task| task.state);
                let state = state.map(|state| format!(" ({state})")).unwrap_or_default();
                found.push(difference(format!("{task_id}: templates"), "rendered", format!("it never ran{state}")));
                continue;
            }
        };
        for (name, expected) in expected {
            let got = args.get(name).unwrap_or(&Value::Null);
            if !fits(expected, got) {
                let expected = part_of(expected, got)
                    .map_or_else(|| show(expected), |part| format!("a text that contains `{part}`"));
                found.push(difference(format!("{task_id}: {name}"), expected, show(got)));
            }
        }
    }
}

/// Whether an argument is as expected; a text may also be expected to contain something.
fn fits(expected: &Value, got: &Value) -> bool {
    match part_of(expected, got) {
        Some(part) => got.as_str().is_some_and(|text| text.contains(part)),
        None => same(expected, got),
    }
}

/// What a text is expected to contain: `{ contains: ... }` where the argument is a text.
fn part_of<'v>(expected: &'v Value, got: &Value) -> Option<&'v str> {
    let map = expected.as_object().filter(|map| map.len() == 1 && got.is_string())?;
    map.get("contains").and_then(Value::as_str)
}

fn next_runs(case: &Case, seen: &Observed, found: &mut Vec<Difference>) {
    let Some(expected) = &case.expect.next_runs else { return };
    let (schedule, bounds) = (&case.dag.spec().schedule, bounds(&case.dag));
    let first = schedule.next_run(seen.run.data_interval, &bounds, seen.run.run_after);
    let runs = std::iter::successors(first, |run| schedule.next_run(Some(run.data_interval), &bounds, run.run_after));
    let got: Vec<DateTime<Utc>> = runs.take(expected.len().max(1)).map(|run| run.run_after).collect();
    if got != *expected {
        let times = |times: &[DateTime<Utc>]| match times {
            [] => "none".to_owned(),
            times => {
                times.iter().map(|at| at.to_rfc3339_opts(SecondsFormat::AutoSi, true)).collect::<Vec<_>>().join(", ")
            }
        };
        found.push(difference("next runs".to_owned(), times(expected), times(&got)));
    }
}

/// Whether two values are the same, whole numbers being the same as the fractions that equal them.
fn same(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::Number(a), Value::Number(b)) => a == b || a.as_f64() == b.as_f64(),
        (Value::Array(a), Value::Array(b)) => a.len() == b.len() && a.iter().zip(b).all(|(a, b)| same(a, b)),
        (Value::Object(a), Value::Object(b)) => {
            a.len() == b.len() && a.iter().all(|(key, a)| b.get(key).is_some_and(|b| same(a, b)))
        }
        _ => a == b,
    }
}

/// A value as it is best compared by eye: text as it is.
fn show(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Null => "nothing".to_owned(),
        Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_) => value.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn values_are_compared_by_what_they_mean() {
        for (expected, got, fit) in [
            (json!(1), json!(1.0), true),
            (json!({"a": [1, 2]}), json!({"a": [1.0, 2]}), true),
            (json!({"a": 1}), json!({"a": 1, "b": 2}), false),
            (json!("1"), json!(1), false),
            (json!({"contains": "b"}), json!("abc"), true),
            (json!({"contains": "x"}), json!("abc"), false),
            (json!({"contains": "b"}), json!({"contains": "b"}), true),
        ] {
            assert_eq!(fits(&expected, &got), fit, "{expected} {got}");
        }
    }
}
