//! What is kept of an attempt beside its outcome: the arguments as its operator got them, and what it used.

use serde_json::{Map, Value};
use towpath_model::dag::Task;
use towpath_model::operator;
use towpath_operators::attempt::Attempt;
use towpath_operators::log::{MASK, Secrets};
use towpath_store::{Evidence, Usage};

/// What stands under a name like these is masked, whatever it is; as Airflow does.
const SECRET_WORDS: [&str; 8] =
    ["password", "passwd", "passphrase", "secret", "token", "api_key", "apikey", "private_key"];

/// The evidence of an attempt that has ended.
pub(crate) fn of(attempt: &Attempt, task: &Task) -> Evidence {
    let usage = attempt.usage().map(|usage| Usage {
        cpu_ms: u64::try_from(usage.cpu.as_millis()).unwrap_or(u64::MAX),
        peak_bytes: usage.peak_bytes,
    });
    Evidence { rendered: rendered(&attempt.args, task, attempt.log.secrets()), usage, map_name: None }
}

/// The arguments that may hold templates, unless all of them are as the DAG file has them.
fn rendered(args: &Map<String, Value>, task: &Task, secrets: &Secrets) -> Option<Map<String, Value>> {
    let spec = operator::find(&task.operator)?;
    let templated: Vec<(&String, &Value)> =
        args.iter().filter(|(name, _)| spec.arg(name).is_some_and(|arg| arg.templated)).collect();
    if templated.iter().all(|(name, value)| task.args.get(*name) == Some(value)) {
        return None;
    }
    Some(templated.into_iter().map(|(name, value)| (name.clone(), masked(name, value, secrets))).collect())
}

fn masked(name: &str, value: &Value, secrets: &Secrets) -> Value {
    let name = name.to_lowercase();
    if !value.is_null() && SECRET_WORDS.iter().any(|word| name.contains(word)) {
        return Value::from(MASK);
    }
    match value {
        Value::String(text) => Value::from(secrets.mask(text).into_owned()),
        Value::Array(items) => items.iter().map(|item| masked("", item, secrets)).collect(),
        Value::Object(map) => {
            let entries = map.iter().map(|(key, item)| (key.clone(), masked(key, item, secrets)));
            Value::Object(entries.collect())
        }
        Value::Number(_) | Value::Bool(_) => match secrets.mask(&value.to_string()) {
            std::borrow::Cow::Borrowed(_) => value.clone(),
            std::borrow::Cow::Owned(text) => Value::from(text),
        },
        Value::Null => Value::Null,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn rendered_arguments_are_kept_without_secrets() {
        let mut task = Task::new("t", "bash");
        task.args = json!({"bash_command": "echo {{ x }}", "memory": 5}).as_object().unwrap().clone();
        let secrets = Secrets::new();
        secrets.add("hunter2-and-more");
        let check = |args: Value, expected: Option<Value>| {
            let kept = rendered(args.as_object().unwrap(), &task, &secrets);
            assert_eq!(kept.map(Value::Object), expected, "{args}");
        };
        check(json!({"bash_command": "echo {{ x }}", "memory": 5}), None);
        check(json!({}), None);
        check(json!({"bash_command": "echo 1", "memory": 5}), Some(json!({"bash_command": "echo 1"})));
        check(
            json!({"bash_command": "echo hunter2-and-more", "env": {"DB_PASSWORD": "x", "DAY": "1"}}),
            Some(json!({"bash_command": "echo ***", "env": {"DB_PASSWORD": "***", "DAY": "1"}})),
        );
    }
}
