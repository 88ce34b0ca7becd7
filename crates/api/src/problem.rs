//! One mistake in a request, in the form in which FastAPI (and so Airflow) tells it.

use serde::Serialize;
use serde_json::{Value, json};

/// One entry of the `detail` list of a reply with status 422.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Problem {
    /// pydantic's name of the kind of mistake.
    #[serde(rename = "type")]
    pub kind: &'static str,
    /// `["body", "conf"]`, `["query", "limit"]`.
    pub loc: Vec<String>,
    pub msg: String,
    /// What was given.
    pub input: Value,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ctx: Option<Value>,
}

impl Problem {
    /// A mistake of `kind` at `place` (`body`, `query`, `path`) in the field `name`.
    pub(crate) fn new(kind: &'static str, place: &str, name: &str, msg: impl Into<String>, input: Value) -> Self {
        let loc = [place, name].into_iter().filter(|part| !part.is_empty()).map(str::to_owned).collect();
        Self { kind, loc, msg: msg.into(), input, ctx: None }
    }

    pub(crate) fn with(mut self, ctx: Value) -> Self {
        self.ctx = Some(ctx);
        self
    }

    pub(crate) fn missing(place: &str, name: &str, input: Value) -> Self {
        Self::new("missing", place, name, "Field required", input)
    }

    pub(crate) fn unknown(name: &str, input: Value) -> Self {
        Self::new("extra_forbidden", "body", name, "Extra inputs are not permitted", input)
    }

    /// A time that cannot be read, with the reason.
    pub(crate) fn time(place: &str, name: &str, reason: &str, input: Value) -> Self {
        let msg = format!("Input should be a valid datetime or date, {reason}");
        Self::new("datetime_from_date_parsing", place, name, msg, input).with(json!({"error": reason}))
    }

    /// A word that is not among `expected`.
    pub(crate) fn word(place: &str, name: &str, expected: &[&str], input: Value) -> Self {
        let quoted: Vec<String> = expected.iter().map(|word| format!("'{word}'")).collect();
        let listed = match quoted.split_last() {
            Some((last, [])) => last.clone(),
            Some((last, rest)) => format!("{} or {last}", rest.join(", ")),
            None => String::new(),
        };
        Self::new("enum", place, name, format!("Input should be {listed}"), input).with(json!({"expected": listed}))
    }
}
