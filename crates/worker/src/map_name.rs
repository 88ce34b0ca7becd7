//! The name of an instance of a mapped task (`map_index_template`).

use serde_json::{Map, Value};
use towpath_operators::attempt::{Attempt, Outcome};
use towpath_operators::template::{Limits, Renderer};
use towpath_store::TaskKey;

/// Longest name that is kept, in characters; Airflow's column has as many.
const LONGEST: usize = 250;

/// Renders the template once the instance has ended, however it did, as Airflow does: `task` has the instance's own
/// arguments and `result` what it returned. A template that is wrong costs the name and nothing else; the log says so.
pub(crate) async fn render(outcome: &Outcome, attempt: &Attempt, key: &TaskKey) -> Option<String> {
    let template = attempt.task.map_index_template.as_ref().filter(|_| key.map_index >= 0)?;
    let result = match outcome {
        Outcome::Success { value } | Outcome::Branch { value, .. } => value.clone().unwrap_or_default(),
        _ => Value::Null,
    };
    let mut task = attempt.args.clone();
    task.insert("task_id".to_owned(), key.task_id.clone().into());
    let known = Map::from_iter([("task".to_owned(), Value::Object(task)), ("result".to_owned(), result)]);
    let renderer = Renderer::new(attempt, Limits::default());
    match renderer.render_with("map_index_template", &Value::from(template.as_str()), known).await {
        Ok(value) => {
            let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
            // PostgreSQL's text cannot hold a zero byte.
            let name: String = attempt.log.secrets().mask(&text).chars().filter(|c| *c != '\0').take(LONGEST).collect();
            (!name.is_empty()).then_some(name)
        }
        Err(error) => {
            attempt.log.warning(&format!("This instance has no name: {error}"));
            None
        }
    }
}
