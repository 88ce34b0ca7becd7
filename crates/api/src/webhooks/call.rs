//! `POST /hooks/{dag_id}`: starts a run. Whoever has the secret may.

use axum::Json;
use axum::body::Bytes;
use axum::extract::{self, Path};
use axum::http::{HeaderMap, StatusCode, header};
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::{Map, Value, json};
use towpath_auth::guard::Peer;
use towpath_model::run::{RunType, TriggeredBy};
use towpath_model::state::RunState;
use towpath_store::{NewEvent, NewRun, RunRecord};
use uuid::Uuid;

use super::signature::Signed;
use crate::query::Query;
use crate::{Error, Result, State};

/// Longest body.
const BODY_BYTES: usize = 1024 * 1024;
/// Where the body stands in the conf of the run, unless it is all of it.
const KEY: &str = "webhook";

/// The run of a delivery.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct Delivered {
    dag_id: String,
    dag_run_id: String,
    state: RunState,
    /// Whether the delivery had come before: then nothing was started.
    is_repeated: bool,
}

pub(crate) async fn call(
    extract::State(state): extract::State<State>,
    Path(dag_id): Path<String>,
    Peer(peer): Peer,
    headers: HeaderMap,
    query: Query,
    body: Bytes,
) -> Result<(StatusCode, Json<Delivered>)> {
    query.finish()?;
    if body.len() > BODY_BYTES {
        return Err(Error::TooLarge { limit_bytes: BODY_BYTES });
    }
    let now = state.clock.now();
    let found = state.store.webhook(&dag_id, now).await?;
    let secrets = found.as_ref().map(|found| found.secrets.as_slice()).unwrap_or_default();
    let signed = Signed::new(&headers, &body).delivery(secrets, now);
    let delivery = signed.map_err(|unfit| Error::Unauthorized(unfit.to_string()))?;
    // From here on we know who asks.
    let hook = found.expect("a signature fits a secret").record;
    let conf = conf(&headers, &body, &delivery, hook.is_conf)?;
    let (run, is_repeated) = start(&state, &dag_id, &delivery, conf).await?;
    state.store.webhook_used(&dag_id, now).await?;
    let address = peer.map(|address| address.to_string());
    state
        .auth
        .record(NewEvent {
            event: "trigger_dag_run".to_owned(),
            owner: Some("webhook".to_owned()),
            dag_id: Some(dag_id),
            run_id: Some(run.run_id.clone()),
            extra: Some(
                json!({"via": "webhook", "delivery": delivery, "address": address, "repeated": is_repeated})
                    .to_string(),
            ),
            ..NewEvent::default()
        })
        .await;
    let status = if is_repeated { StatusCode::OK } else { StatusCode::CREATED };
    let reply = Delivered { dag_id: run.dag_id, dag_run_id: run.run_id, state: run.state, is_repeated };
    Ok((status, Json(reply)))
}

/// The conf of the run.
fn conf(headers: &HeaderMap, body: &[u8], delivery: &str, is_conf: bool) -> Result<Map<String, Value>> {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    let form =
        text(header::CONTENT_TYPE.as_str()).and_then(|form| form.split(';').next()).unwrap_or("application/json");
    let form = form.trim().to_ascii_lowercase();
    if form != "application/json" && !(form.starts_with("application/") && form.ends_with("+json")) {
        return Err(Error::UnsupportedMedia(format!(
            "the body is sent as `{}`; send it as `application/json` (GitHub: Content type application/json)",
            form.escape_debug()
        )));
    }
    let value: Value = if body.is_empty() {
        Value::Object(Map::new())
    } else {
        serde_json::from_slice(body).map_err(|error| Error::BadRequest(format!("the body is no JSON: {error}")))?
    };
    if has_zero(&value) {
        return Err(Error::BadRequest("a text in the body holds the character 0, which no database takes".to_owned()));
    }
    match value {
        Value::Object(conf) if is_conf => Ok(conf),
        other if is_conf => Err(Error::BadRequest(format!(
            "the body becomes the conf of the run, which is a JSON object; this is {}",
            kind(&other)
        ))),
        body => {
            let event = text("x-github-event");
            let told = json!({"body": body, "delivery": delivery, "event": event});
            Ok([(KEY.to_owned(), told)].into_iter().collect())
        }
    }
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a truth value",
        Value::Number(_) => "a number",
        Value::String(_) => "a text",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}

fn has_zero(value: &Value) -> bool {
    match value {
        Value::String(text) => text.contains('\0'),
        Value::Array(items) => items.iter().any(has_zero),
        Value::Object(fields) => fields.iter().any(|(name, value)| name.contains('\0') || has_zero(value)),
        Value::Null | Value::Bool(_) | Value::Number(_) => false,
    }
}

/// Starts the run of a delivery, or finds the one that it has started; whether it did that before.
async fn start(state: &State, dag_id: &str, delivery: &str, conf: Map<String, Value>) -> Result<(RunRecord, bool)> {
    let name = format!("webhook/{dag_id}/{delivery}");
    let run_id = format!("manual__hook_{}", Uuid::new_v5(&Uuid::NAMESPACE_OID, name.as_bytes()));
    if let Some(run) = state.store.run(dag_id, &run_id).await? {
        return Ok((run, true));
    }
    let record = state.store.dag(dag_id).await?.filter(|record| record.is_active);
    let record = record.ok_or_else(|| Error::NotFound(format!("Dag with dag_id: '{dag_id}' not found")))?;
    let dag = state.store.dag_of_version(record.version_id).await?;
    if let Err(errors) = dag.check_params(&conf) {
        return Err(Error::Store(towpath_store::Error::Params { dag_id: dag_id.to_owned(), errors }));
    }
    let now = state.clock.now();
    let new = NewRun {
        version_id: Some(record.version_id),
        run_id: Some(run_id.clone()),
        run_type: RunType::Manual,
        conf,
        triggering_user: Some("webhook".to_owned()),
        ..NewRun::manual(dag_id, now, TriggeredBy::RestApi)
    };
    match state.store.create_run(new, now).await {
        Ok(created) => Ok((created.run, false)),
        // The same delivery, at the same moment.
        Err(error @ towpath_store::Error::RunExists { .. }) => match state.store.run(dag_id, &run_id).await? {
            Some(run) => Ok((run, true)),
            None => Err(error.into()),
        },
        Err(error) => Err(error.into()),
    }
}
