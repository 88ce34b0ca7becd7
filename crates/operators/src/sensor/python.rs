//! `python_sensor`: waits until a Python function returns something true.

use std::sync::Arc;

use async_trait::async_trait;
use serde_json::Value;

use super::{Error, Poke, Sensor, text};
use crate::attempt::{Attempt, Operator, Outcome};

/// Calls the function as the operator `python` does, a process per look. The runner sees that it is a sensor
/// and tells whether the returned value is true (`verdict` in `runner/child.py`).
#[derive(Debug, Clone)]
pub struct PythonSensor {
    python: Arc<dyn Operator>,
}

impl PythonSensor {
    /// A sensor whose functions `python` calls.
    #[must_use]
    pub fn new(python: Arc<dyn Operator>) -> Self {
        Self { python }
    }
}

#[async_trait]
impl Sensor for PythonSensor {
    fn awaits(&self, attempt: &Attempt) -> Result<String, Error> {
        let name = text(&attempt.args, "python_callable").or(text(&attempt.args, "python_callable_name"));
        Ok(name.map_or_else(|| "its code to set `result`".to_owned(), |name| format!("`{name}` to return true")))
    }

    async fn poke(&self, attempt: &Attempt) -> Result<Poke, Error> {
        match self.python.execute(attempt).await {
            Outcome::Success { value: Some(Value::Object(mut verdict)) } => {
                let done = verdict.get("done").and_then(Value::as_bool).unwrap_or(false);
                let value = verdict.remove("value").filter(|value| !value.is_null());
                Ok(if done { Poke::Done(value) } else { Poke::NotYet })
            }
            Outcome::Success { value } | Outcome::Branch { value, .. } => {
                Err(Error::Passing(format!("the Python runner has sent no verdict but {value:?}")))
            }
            Outcome::Skipped { reason } => Ok(Poke::Skip(reason)),
            Outcome::Reschedule { at } => Ok(Poke::Again(at)),
            Outcome::Failed { error, retry: true } => Err(Error::Passing(error)),
            Outcome::Failed { error, retry: false } => Err(Error::Hopeless(error)),
        }
    }
}
