//! Runs that other systems start: `POST /hooks/{dag_id}` with a signature, and `/dags/{dag_id}/webhook`, where its
//! secret is made, replaced and revoked.
//!
//! What happens to a request: the secret of the DAG is looked up, the signature is checked ([`signature`]), and the run
//! gets an id that is made of what was signed, so that the same delivery gives the same run however often it comes.
//! Who does not know a secret cannot tell a DAG without a webhook from one that is not there.

mod call;
mod signature;

use axum::extract::{self, Path};
use axum::http::StatusCode;
use axum::{Extension, Json};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use chrono::{DateTime, TimeDelta, Utc};
use schemars::JsonSchema;
use serde::Serialize;
use towpath_auth::Principal;
use towpath_store::WebhookRecord;

pub(crate) use self::call::call;
use crate::body::MaybeBody;
use crate::query::Query;
use crate::{Error, Result, State, dags};

/// What secrets begin with.
const PREFIX: &str = "whsec_";
/// The secret before may stay good for so long.
const LONGEST_OVERLAP: TimeDelta = TimeDelta::days(30);

/// What is known of a webhook.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct WebhookReply {
    dag_id: String,
    /// Where requests go.
    path: String,
    /// Whether the body is the whole conf of the run.
    body_is_conf: bool,
    created_at: DateTime<Utc>,
    created_by: Option<String>,
    last_used_at: Option<DateTime<Utc>>,
    /// Until when the secret before this one is good as well.
    previous_until: Option<DateTime<Utc>>,
    /// The secret, in the reply that makes it and never again.
    #[serde(skip_serializing_if = "Option::is_none")]
    secret: Option<String>,
}

impl WebhookReply {
    fn new(record: WebhookRecord, secret: Option<String>) -> Self {
        let WebhookRecord { dag_id, is_conf, created_at, created_by, last_used_at, previous_until } = record;
        Self {
            path: format!("/api/towpath/v1/hooks/{dag_id}"),
            body_is_conf: is_conf,
            dag_id,
            created_at,
            created_by,
            last_used_at,
            previous_until,
            secret,
        }
    }
}

/// A new secret, in the form of Standard Webhooks.
#[must_use]
pub fn new_secret() -> String {
    let bytes: [u8; 32] = rand::random();
    format!("{PREFIX}{}", BASE64_STANDARD.encode(bytes))
}

/// `GET /dags/{dag_id}/webhook`.
pub(crate) async fn get(
    extract::State(state): extract::State<State>,
    Path(dag_id): Path<String>,
    query: Query,
) -> Result<Json<WebhookReply>> {
    query.finish()?;
    dags::find(&state, &dag_id).await?;
    Ok(Json(WebhookReply::new(find(&state, &dag_id).await?, None)))
}

/// `PUT /dags/{dag_id}/webhook`: makes a secret, or another one.
pub(crate) async fn put(
    extract::State(state): extract::State<State>,
    Path(dag_id): Path<String>,
    caller: Option<Extension<Principal>>,
    query: Query,
    MaybeBody(mut body): MaybeBody,
) -> Result<(StatusCode, Json<WebhookReply>)> {
    query.finish()?;
    let body_is_conf = body.flag_or("body_is_conf", false);
    let overlap = body.whole("previous_seconds", 0).unwrap_or(0);
    body.finish()?;
    let now = state.clock.now();
    let overlap = TimeDelta::try_seconds(overlap).filter(|overlap| *overlap <= LONGEST_OVERLAP).ok_or_else(|| {
        Error::BadRequest(format!(
            "`previous_seconds` is at most {}: after 30 days the secret before is good no more",
            LONGEST_OVERLAP.num_seconds()
        ))
    })?;
    dags::find(&state, &dag_id).await?;
    let secret = new_secret();
    let by = caller.map(|Extension(caller)| caller.owner());
    let until = (overlap > TimeDelta::zero()).then(|| now + overlap);
    state.store.set_webhook(&dag_id, &secret, body_is_conf, by.as_deref(), until, now).await?;
    let record = find(&state, &dag_id).await?;
    Ok((StatusCode::CREATED, Json(WebhookReply::new(record, Some(secret)))))
}

/// `DELETE /dags/{dag_id}/webhook`.
pub(crate) async fn delete(
    extract::State(state): extract::State<State>,
    Path(dag_id): Path<String>,
    query: Query,
) -> Result<StatusCode> {
    query.finish()?;
    dags::find(&state, &dag_id).await?;
    if state.store.delete_webhook(&dag_id).await? { Ok(StatusCode::NO_CONTENT) } else { Err(none(&dag_id)) }
}

async fn find(state: &State, dag_id: &str) -> Result<WebhookRecord> {
    let found = state.store.webhook(dag_id, state.clock.now()).await?;
    found.map(|found| found.record).ok_or_else(|| none(dag_id))
}

fn none(dag_id: &str) -> Error {
    Error::NotFound(format!("DAG `{dag_id}` has no webhook; PUT to this address makes one"))
}
