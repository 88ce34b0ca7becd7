//! How far data tasks are: what they say of it in their logs, also on stderr.

use std::collections::HashMap;
use std::time::Duration;

use towpath_model::dag::Dag;
use towpath_model::state::TaskState;
use towpath_store::{LogKey, Store, TaskKey};

use crate::output;

/// Between two looks; data tasks speak every five seconds.
const EVERY: Duration = Duration::from_millis(2_500);
/// How their lines begin.
const MARK: &str = "progress: ";
/// Lines of a log that are looked at.
const LINES: u32 = 20;

/// Says so until it is dropped.
pub(super) async fn watch(store: &Store, run_key: i64, dag: &Dag, enabled: bool, terminal: bool) {
    // On a terminal the last line is one that is kept up to date.
    let clear = if terminal { "\r\x1b[K" } else { "" };
    let is_data = |id: &str| {
        let operator = dag.task(id).map(|task| task.operator.as_str());
        operator.is_some_and(|name| matches!(name, "extract" | "transform" | "load"))
    };
    let mut said: HashMap<TaskKey, String> = HashMap::new();
    if !enabled || !dag.tasks().iter().any(|task| is_data(&task.task_id)) {
        return std::future::pending().await;
    }
    loop {
        tokio::time::sleep(EVERY).await;
        // A database that is away is waited for elsewhere.
        let Ok(instances) = store.task_instances(run_key).await else { continue };
        for instance in instances {
            if instance.state != TaskState::Running || !is_data(&instance.key.task_id) {
                continue;
            }
            let key = LogKey { task: instance.key.clone(), try_number: instance.try_number };
            let Ok(lines) = store.log_tail(&key, LINES).await else { continue };
            let Some(line) = lines.iter().rev().find_map(|line| progress(line)) else { continue };
            if said.get(&instance.key) != Some(&line) {
                let name = match instance.key.map_index {
                    ..0 => instance.key.task_id.clone(),
                    index => format!("{}[{index}]", instance.key.task_id),
                };
                output::remark(format!("{clear}{name}: {line}"));
                said.insert(instance.key, line);
            }
        }
    }
}

/// What a line of a log, a JSON object, says of progress.
fn progress(line: &str) -> Option<String> {
    let line: serde_json::Value = serde_json::from_str(line).ok()?;
    let text = line.get("event").or_else(|| line.get("message"))?.as_str()?;
    text.strip_prefix(MARK).map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_progress_are_found() {
        for (line, expected) in [
            (r#"{"event": "progress: 50%, 12 rows read"}"#, Some("50%, 12 rows read")),
            (r#"{"event": "no progress: at all"}"#, None),
            ("no JSON", None),
        ] {
            assert_eq!(progress(line).as_deref(), expected, "{line}");
        }
    }
}
