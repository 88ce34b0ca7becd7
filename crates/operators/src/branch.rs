//! Tasks that decide what runs behind them: `branch`, `short_circuit` and `latest_only`.

use std::sync::Arc;

use async_trait::async_trait;
use serde_json::{Map, Value};
use towpath_model::branch::Skips;
use towpath_model::run::RunType;

use crate::attempt::{Attempt, Operator, Outcome};

/// The operator `branch`: goes on with the tasks that a function or an expression names.
#[derive(Debug)]
pub struct Branch(pub Arc<dyn Operator>);

/// The operator `short_circuit`: goes on where a function or an expression is true.
#[derive(Debug)]
pub struct ShortCircuit(pub Arc<dyn Operator>);

/// The operator `latest_only`: goes on in the newest run of a schedule alone.
#[derive(Debug, Clone, Copy, Default)]
pub struct LatestOnly;

/// The value that decides: an argument, or else what the Python function returns.
async fn decision(attempt: &Attempt, argument: &str, python: &Arc<dyn Operator>) -> Result<Value, Outcome> {
    if let Some(value) = attempt.args.get(argument) {
        return Ok(value.clone());
    }
    match python.execute(attempt).await {
        Outcome::Success { value } => Ok(value.unwrap_or(Value::Null)),
        other => Err(other),
    }
}

#[async_trait]
impl Operator for Branch {
    async fn execute(&self, attempt: &Attempt) -> Outcome {
        let value = match decision(attempt, "follow", &self.0).await {
            Ok(value) => value,
            Err(outcome) => return outcome,
        };
        match chosen(&value) {
            Some(names) if names.is_empty() => {
                attempt.log.info("The branch follows nothing");
                Outcome::Branch { value: Some(value), skips: Skips::AllExcept(names) }
            }
            Some(names) => {
                attempt.log.info(&format!("The branch follows {}", names.join(", ")));
                Outcome::Branch { value: Some(value), skips: Skips::AllExcept(names) }
            }
            None => {
                let error =
                    format!("the branch chose {value}; it has to name a task, a list of tasks, or nothing (null)");
                Outcome::Failed { error, retry: false }
            }
        }
    }
}

/// What a task of a branching `operator` rules out when it has decided for `value`; nothing where
/// it lets everything go on, or does not branch.
#[must_use]
pub fn skips(operator: &str, args: &Map<String, Value>, value: &Value) -> Option<Skips> {
    match operator {
        "branch" | "sql_branch" => chosen(value).map(Skips::AllExcept),
        "short_circuit" if !is_true(value) => {
            let all = args.get("ignore_downstream_trigger_rules").and_then(Value::as_bool).unwrap_or(true);
            Some(if all { Skips::All } else { Skips::Direct })
        }
        _ => None,
    }
}

/// The tasks or groups that a value names.
fn chosen(value: &Value) -> Option<Vec<String>> {
    match value {
        Value::Null => Some(Vec::new()),
        Value::String(name) if name.trim().is_empty() => Some(Vec::new()),
        Value::String(name) => Some(vec![name.trim().to_owned()]),
        Value::Array(names) => names.iter().map(|name| name.as_str().map(|name| name.trim().to_owned())).collect(),
        Value::Bool(_) | Value::Number(_) | Value::Object(_) => None,
    }
}

#[async_trait]
impl Operator for ShortCircuit {
    async fn execute(&self, attempt: &Attempt) -> Outcome {
        let value = match decision(attempt, "condition", &self.0).await {
            Ok(value) => value,
            Err(outcome) => return outcome,
        };
        if is_true(&value) {
            attempt.log.info("The condition is true: the run goes on");
            return Outcome::Success { value: Some(value) };
        }
        attempt.log.info("The condition is false: what is downstream is skipped");
        let skips = skips("short_circuit", &attempt.args, &value).unwrap_or(Skips::All);
        Outcome::Branch { value: Some(value), skips }
    }
}

/// What Python calls true; text is read as a template writes a value.
fn is_true(value: &Value) -> bool {
    match value {
        Value::Null => false,
        Value::Bool(value) => *value,
        Value::Number(number) => number.as_f64() != Some(0.0),
        Value::String(text) => !matches!(text.trim().to_lowercase().as_str(), "" | "false" | "none" | "null" | "0"),
        Value::Array(list) => !list.is_empty(),
        Value::Object(map) => !map.is_empty(),
    }
}

#[async_trait]
impl Operator for LatestOnly {
    async fn execute(&self, attempt: &Attempt) -> Outcome {
        let context = &attempt.context;
        if context.run_type == RunType::Manual {
            attempt.log.info("A manual run is always the latest: the run goes on");
            return Outcome::Success { value: None };
        }
        match context.next_run_after {
            Some(next) if next <= context.start_date => {
                attempt.log.info(&format!("The next run was due at {next}: what is downstream is skipped"));
                Outcome::Branch { value: None, skips: Skips::Direct }
            }
            _ => {
                attempt.log.info("This is the latest run: it goes on");
                Outcome::Success { value: None }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_branch_names_tasks() {
        let check = |value: Value, expected: Option<&[&str]>| {
            let expected = expected.map(|names| names.iter().map(ToString::to_string).collect::<Vec<_>>());
            assert_eq!(chosen(&value), expected, "{value}");
        };
        check(json!("a"), Some(&["a"]));
        check(json!(" a "), Some(&["a"]));
        check(json!(["a", "b"]), Some(&["a", "b"]));
        check(json!(null), Some(&[]));
        check(json!(""), Some(&[]));
        check(json!(1), None);
        check(json!([1]), None);
        check(json!({"a": 1}), None);
    }

    #[test]
    fn truth_is_pythons() {
        for value in [json!(true), json!(1), json!("x"), json!("True"), json!([0]), json!({"a": 0}), json!(-0.5)] {
            assert!(is_true(&value), "{value}");
        }
        for value in
            [json!(false), json!(0), json!(""), json!("False"), json!("None"), json!([]), json!({}), json!(null)]
        {
            assert!(!is_true(&value), "{value}");
        }
    }
}
