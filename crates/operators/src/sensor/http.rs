//! `http_sensor`: waits until an endpoint answers well.

use async_trait::async_trait;
use serde_json::{Map, Value};

use super::{Error, Poke, Sensor, text, texts};
use crate::attempt::Attempt;
use crate::http::{Http, is_true};
use crate::template::{Limits, Renderer};

/// The status that means: not yet, where the task does not name others. Airflow's default.
const NOT_YET: &str = "404";

/// Waits for an endpoint. Async code in the worker: no process, no thread.
#[derive(Debug, Default)]
pub struct HttpSensor {
    http: Http,
}

#[async_trait]
impl Sensor for HttpSensor {
    fn awaits(&self, attempt: &Attempt) -> Result<String, Error> {
        // The URL may hold a password; each look logs it without.
        let check = if text(&attempt.args, "response_check").is_some() { " that passes `response_check`" } else { "" };
        Ok(format!("a good answer{check}"))
    }

    async fn poke(&self, attempt: &Attempt) -> Result<Poke, Error> {
        tokio::select! {
            biased;
            () = attempt.stop.cancelled() => Ok(Poke::NotYet),
            found = self.look(attempt) => found,
        }
    }
}

impl HttpSensor {
    async fn look(&self, attempt: &Attempt) -> Result<Poke, Error> {
        let fetched = self.http.fetch(attempt, &request(&attempt.args)).await?;
        if let Some(failure) = fetched.refusal() {
            let mut not_yet = texts(&attempt.args, "response_error_codes_allowlist");
            if !attempt.args.contains_key("response_error_codes_allowlist") {
                not_yet.push(NOT_YET.to_owned());
            }
            let status = fetched.response.status;
            if not_yet.iter().any(|code| code.trim() == status.as_str()) {
                return Ok(Poke::NotYet);
            }
            return Err(failure.into());
        }
        let Some(check) = text(&attempt.args, "response_check") else { return Ok(Poke::Done(None)) };
        let names = Map::from_iter([("response".to_owned(), fetched.response.names(&fetched.text))]);
        let renderer = Renderer::new(attempt, Limits::default());
        let value = renderer.evaluate("response_check", check, names).await;
        let value = value.map_err(|error| Error::Passing(error.to_string()))?;
        Ok(if is_true(&value) { Poke::Done(None) } else { Poke::NotYet })
    }
}

/// The sensor's arguments as those of the operator `http`, whose `timeout` is that of one exchange.
fn request(args: &Map<String, Value>) -> Map<String, Value> {
    let mut request = args.clone();
    request.remove("timeout");
    if let Some(params) = request.remove("request_params") {
        request.insert("data".to_owned(), params);
    }
    request
}
