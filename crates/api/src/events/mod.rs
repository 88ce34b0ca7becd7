//! `GET /events`: what becomes of runs and task instances, as server-sent events.
//!
//! One task of the process ([`hub`]) looks for what has changed while somebody follows, and tells all; a follower costs
//! a place in line and no read of the database. Who reads slowly misses events and is told how many; nobody waits.
//!
//! Events carry an id. Who comes back with `Last-Event-ID` gets what was missed, or a `reset` where that is forgotten:
//! then the lists have to be read again. States that last shorter than a look are left out.

mod follow;
mod hub;

use std::convert::Infallible;
use std::time::Duration;

use axum::extract;
use axum::http::{HeaderMap, HeaderValue};
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use tokio_stream::Stream;
use towpath_auth::Visible;

pub(crate) use self::hub::Hub;
use self::hub::Wanted;
use crate::query::Query;
use crate::{Error, Result, State, dags};

/// How often an idle stream shows that it lives.
const HEARTBEAT: Duration = Duration::from_secs(15);

/// `GET /events`.
pub(crate) async fn stream(
    extract::State(state): extract::State<State>,
    visible: Visible,
    headers: HeaderMap,
    mut query: Query,
) -> Result<Response> {
    let (dag_id, run_id) = (query.text("dag_id"), query.text("run_id"));
    // What an `EventSource` sends by itself when it comes back; others may put it into the address.
    let last = query.text("last_event_id");
    query.finish()?;
    if let Some(dag_id) = &dag_id {
        let is_hidden = visible.among.as_ref().is_some_and(|among| !among.contains(dag_id));
        if is_hidden {
            return Err(Error::NotFound(format!("The Dag with ID: `{dag_id}` was not found")));
        }
        dags::find(&state, dag_id).await?;
    }
    let last = last.or_else(|| Some(headers.get("last-event-id")?.to_str().ok()?.to_owned()));
    let wanted = Wanted { dag_id, run_id, among: visible.among };
    match follow::Follower::new(&state, wanted, last.as_deref()) {
        Some(follower) => {
            state.hub.ready().await;
            Ok(reply(follower))
        }
        None => Err(Error::Busy("too many follow already; come back later".to_owned())),
    }
}

/// A reply of events that go on while something happens.
pub(crate) fn reply(events: impl Stream<Item = Result<Event, Infallible>> + Send + 'static) -> Response {
    let mut response = Sse::new(events).keep_alive(KeepAlive::new().interval(HEARTBEAT)).into_response();
    // Proxies that collect what they pass on are asked not to.
    response.headers_mut().insert("x-accel-buffering", HeaderValue::from_static("no"));
    response
}
