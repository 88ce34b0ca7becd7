//! What is told with the updates of a task's outlets.

use serde_json::{Map, Value};
use towpath_operators::attempt::{Attempt, Outcome};
use towpath_operators::template::{Limits, Renderer};

/// Renders `event_extra` of the outlets once the task has succeeded, with its result as `result`; what the task's code
/// says itself goes first. By the name of the asset.
///
/// # Errors
/// Text for the first template that is wrong or reads what is not there.
pub(crate) async fn event_extra(outcome: &Outcome, attempt: &Attempt) -> Result<Map<String, Value>, String> {
    let (Outcome::Success { value } | Outcome::Branch { value, .. }) = outcome else { return Ok(Map::new()) };
    let mut said = attempt.take_event_extra();
    for outlet in attempt.task.outlets.iter().filter(|outlet| !outlet.event_extra.is_empty()) {
        let name = &outlet.asset.name;
        let known = Map::from_iter([("result".to_owned(), value.clone().unwrap_or_default())]);
        let renderer = Renderer::new(attempt, Limits::default());
        let place = format!("outlets.{name}.event_extra");
        let rendered = renderer.render_with(&place, &Value::Object(outlet.event_extra.clone()), known).await;
        let mut extra = rendered.map_err(|error| error.to_string())?;
        if let (Some(extra), Some(Value::Object(own))) = (extra.as_object_mut(), said.get(name)) {
            extra.extend(own.clone());
        }
        said.insert(name.clone(), extra);
    }
    Ok(said)
}
