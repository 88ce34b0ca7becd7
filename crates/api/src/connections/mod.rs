//! Connections. Passwords and what is secret among the extras never leave the server.

use axum::Json;
use axum::extract::{self, Path};
use axum::http::StatusCode;
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::Value;
use towpath_model::connection::{Connection, Secret, is_secret_name};

use crate::body::Body;
use crate::bulk::{self, BulkReply, Entity};
use crate::query::Query;
use crate::{Error, Problem, Result, State, filter};

const MASK: &str = "***";

/// `ConnectionResponse`.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct ConnectionReply {
    connection_id: String,
    conn_type: String,
    description: Option<String>,
    host: Option<String>,
    login: Option<String>,
    schema: Option<String>,
    port: Option<u16>,
    password: Option<&'static str>,
    extra: Option<String>,
    team_name: Option<String>,
}

/// `ConnectionCollectionResponse`.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct ConnectionList {
    connections: Vec<ConnectionReply>,
    total_entries: u64,
}

impl From<Connection> for ConnectionReply {
    fn from(connection: Connection) -> Self {
        Self {
            connection_id: connection.conn_id,
            conn_type: connection.conn_type,
            description: connection.description,
            host: connection.host,
            login: connection.login,
            schema: connection.schema,
            port: connection.port,
            password: connection.password.map(|_| MASK),
            extra: connection.extra.map(masked),
            team_name: None,
        }
    }
}

/// Extras without what their names call secret. Text that is no JSON might hold anything.
fn masked(extra: String) -> String {
    fn mask(value: &mut Value) -> bool {
        match value {
            Value::Object(fields) => fields.iter_mut().fold(false, |any, (name, value)| {
                if is_secret_name(name) && !value.is_null() {
                    *value = MASK.into();
                    return true;
                }
                mask(value) || any
            }),
            Value::Array(items) => {
                let mut any = false;
                for item in items {
                    any |= mask(item);
                }
                any
            }
            _ => false,
        }
    }
    match serde_json::from_str::<Value>(&extra) {
        Ok(mut value) => {
            if mask(&mut value) {
                value.to_string()
            } else {
                extra
            }
        }
        Err(_) if extra.is_empty() => extra,
        Err(_) => MASK.to_owned(),
    }
}

/// `ConnectionBody`.
#[derive(Debug)]
pub(crate) struct Given(Connection);

impl Entity for Given {
    type Place = ();

    fn read(mut body: Body) -> Result<Self> {
        let conn_id = body.required_text("connection_id");
        if let Some(conn_id) = &conn_id {
            let fits = |c: char| c.is_alphanumeric() || "_.-".contains(c);
            if conn_id.is_empty() || !conn_id.chars().all(fits) {
                let msg = "String should match pattern '^[\\w.-]+$'";
                body.problem(Problem::new(
                    "string_pattern_mismatch",
                    "body",
                    "connection_id",
                    msg,
                    conn_id.clone().into(),
                ));
            } else if conn_id.chars().count() > 200 || conn_id.len() > 250 {
                let msg = "String should have at most 200 characters";
                body.problem(Problem::new("string_too_long", "body", "connection_id", msg, conn_id.clone().into()));
            }
        }
        let given = body.whole("port", i64::MIN);
        let port = given.and_then(|port| u16::try_from(port).ok());
        if let Some(wrong) = given.filter(|_| port.is_none()) {
            let msg = "Input should be a port, 0 to 65535";
            body.problem(Problem::new("value_error", "body", "port", msg, wrong.into()));
        }
        let connection = Connection {
            conn_id: conn_id.unwrap_or_default(),
            conn_type: body.required_text("conn_type").unwrap_or_default(),
            description: body.text("description"),
            host: body.text("host"),
            login: body.text("login"),
            password: body.text("password").map(Secret::new),
            schema: body.text("schema"),
            port,
            extra: body.text("extra"),
        };
        if let Some(extra) = connection.extra.as_deref().filter(|extra| !extra.is_empty())
            && !serde_json::from_str::<Value>(extra).is_ok_and(|value| value.is_object())
        {
            let msg = "Value error, the `extra` field must be a JSON object written as a text";
            body.problem(Problem::new("value_error", "body", "extra", msg, Value::Null));
        }
        body.short_text("team_name", 50);
        body.finish()?;
        Ok(Self(connection))
    }

    fn named(conn_id: String) -> Self {
        Self(Connection { conn_id, ..Connection::default() })
    }

    fn key(&self, (): &()) -> String {
        self.0.conn_id.clone()
    }

    async fn exists(&self, state: &State, (): &()) -> Result<bool> {
        Ok(find(state, &self.0.conn_id).await?.is_some())
    }

    async fn write(&self, state: &State, (): &(), mask: &[String]) -> Result<()> {
        let named = |name: &str| mask.is_empty() || mask.iter().any(|field| field == name);
        let mut new = self.0.clone();
        if let Some(old) = find(state, &new.conn_id).await? {
            // A client that sends back what it was shown does not mean the mask.
            if !named("password") || new.password.as_ref().is_some_and(|secret| secret.expose() == MASK) {
                new.password = old.password;
            }
            let restored = new.extra.as_deref().and_then(|extra| restored(extra, old.extra.as_deref()));
            new.extra = if named("extra") { restored.or(new.extra) } else { old.extra };
            for (name, field, before) in [
                ("description", &mut new.description, old.description),
                ("host", &mut new.host, old.host),
                ("login", &mut new.login, old.login),
                ("schema", &mut new.schema, old.schema),
            ] {
                if !named(name) {
                    *field = before;
                }
            }
            if !named("port") {
                new.port = old.port;
            }
            if !named("conn_type") {
                new.conn_type = old.conn_type;
            }
        }
        Ok(state.store.set_connection(&new, state.clock.now()).await?)
    }

    async fn delete(&self, state: &State, (): &()) -> Result<()> {
        let deleted = state.store.delete_connection(&self.0.conn_id).await?;
        if deleted { Ok(()) } else { Err(missing(&self.0.conn_id)) }
    }
}

/// Extras in which masks stand for what was there before.
fn restored(new: &str, old: Option<&str>) -> Option<String> {
    fn restore(new: &mut Value, old: &Value) {
        if *new == MASK {
            *new = old.clone();
        } else if let (Value::Object(new), Value::Object(old)) = (new, old) {
            for (name, value) in new {
                if let Some(before) = old.get(name) {
                    restore(value, before);
                }
            }
        }
    }
    if !new.contains(MASK) {
        return None;
    }
    let mut value: Value = serde_json::from_str(new).ok()?;
    restore(&mut value, &serde_json::from_str(old?).ok()?);
    Some(value.to_string())
}

pub(crate) async fn list(
    extract::State(state): extract::State<State>,
    mut query: Query,
) -> Result<Json<ConnectionList>> {
    let window = query.window();
    let order =
        query.order(&["id", "connection_id", "conn_id", "conn_type", "description", "host", "port", "team_name"])?;
    let patterns = filter::patterns(&mut query, "connection_id");
    query.finish()?;
    let mut found = state.store.connections().await?;
    found.retain(|connection| patterns.iter().all(|pattern| pattern.fits(&connection.conn_id)));
    if let Some((name, descends)) = order.first() {
        match *name {
            "conn_type" => found.sort_by(|a, b| a.conn_type.cmp(&b.conn_type)),
            "description" => found.sort_by(|a, b| a.description.cmp(&b.description)),
            "host" => found.sort_by(|a, b| a.host.cmp(&b.host)),
            "port" => found.sort_by_key(|connection| connection.port),
            _ => {}
        }
        if *descends {
            found.reverse();
        }
    }
    let total_entries = found.len() as u64;
    Ok(Json(ConnectionList { connections: window.of(found).into_iter().map(Into::into).collect(), total_entries }))
}

pub(crate) async fn get(
    extract::State(state): extract::State<State>,
    Path(conn_id): Path<String>,
    query: Query,
) -> Result<Json<ConnectionReply>> {
    query.finish()?;
    Ok(Json(find(&state, &conn_id).await?.ok_or_else(|| missing(&conn_id))?.into()))
}

pub(crate) async fn post(
    extract::State(state): extract::State<State>,
    query: Query,
    body: Body,
) -> Result<(StatusCode, Json<ConnectionReply>)> {
    query.finish()?;
    let given = Given::read(body)?;
    if given.exists(&state, &()).await? {
        return Err(Error::Conflict(format!(
            "The Connection with connection_id: `{}` already exists",
            given.0.conn_id
        )));
    }
    given.write(&state, &(), &[]).await?;
    Ok((StatusCode::CREATED, Json(given.0.into())))
}

pub(crate) async fn patch(
    extract::State(state): extract::State<State>,
    Path(conn_id): Path<String>,
    mut query: Query,
    body: Body,
) -> Result<Json<ConnectionReply>> {
    let mask = query.texts("update_mask");
    query.finish()?;
    let given = Given::read(body)?;
    if given.0.conn_id != conn_id {
        return Err(Error::BadRequest(
            "The connection_id in the request body does not match the URL parameter".to_owned(),
        ));
    }
    if !given.exists(&state, &()).await? {
        return Err(missing(&conn_id));
    }
    given.write(&state, &(), &mask).await?;
    Ok(Json(find(&state, &conn_id).await?.ok_or_else(|| missing(&conn_id))?.into()))
}

pub(crate) async fn delete(
    extract::State(state): extract::State<State>,
    Path(conn_id): Path<String>,
    query: Query,
) -> Result<StatusCode> {
    query.finish()?;
    Given::named(conn_id).delete(&state, &()).await?;
    Ok(StatusCode::NO_CONTENT)
}

pub(crate) async fn bulk(
    extract::State(state): extract::State<State>,
    query: Query,
    body: Body,
) -> Result<Json<BulkReply>> {
    query.finish()?;
    Ok(Json(bulk::carry_out::<Given>(&state, &(), body).await?))
}

/// `get_connection_test`: none was ever begun.
pub(crate) async fn test_of() -> Error {
    Error::NotFound("No connection test matches the token".to_owned())
}

/// `enqueue_connection_test`; as [`test`].
pub(crate) async fn enqueue_test() -> Error {
    Error::Forbidden("Testing connections is disabled in the API; use `towpath connections test`".to_owned())
}

/// Airflow has tests by its API switched off unless it is configured: whoever may write a
/// connection could make the server talk to anything. Here the command line does it.
pub(crate) async fn test(extract::State(_): extract::State<State>, query: Query, body: Body) -> Result<Json<Value>> {
    query.finish()?;
    let given = Given::read(body)?;
    Err(Error::Forbidden(format!(
        "Testing connections is disabled in the API; use `towpath connections test {}`",
        given.0.conn_id
    )))
}

/// Airflow's examples of connections; there are none here.
pub(crate) async fn defaults(query: Query) -> Result<StatusCode> {
    query.finish()?;
    Ok(StatusCode::NO_CONTENT)
}

async fn find(state: &State, conn_id: &str) -> Result<Option<Connection>> {
    Ok(state.store.connections().await?.into_iter().find(|connection| connection.conn_id == conn_id))
}

fn missing(conn_id: &str) -> Error {
    Error::NotFound(format!("The Connection with connection_id: `{conn_id}` was not found"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn extras() {
        let check = |extra: &str, shown: &str| assert_eq!(masked(extra.to_owned()), shown);
        check("{\"a\": 1}", "{\"a\": 1}");
        check("{\"a\": 1, \"api_key\": \"k\"}", "{\"a\":1,\"api_key\":\"***\"}");
        check("{\"a\": {\"token\": [1]}}", "{\"a\":{\"token\":\"***\"}}");
        check("not json", "***");
        check("", "");
    }

    #[test]
    fn a_mask_that_comes_back_keeps_what_was_there() {
        let old = json!({"a": 1, "api_key": "k"}).to_string();
        let new = json!({"a": 2, "api_key": "***"}).to_string();
        assert_eq!(restored(&new, Some(&old)), Some(json!({"a": 2, "api_key": "k"}).to_string()));
        assert_eq!(restored("{\"a\":2}", Some(&old)), None);
    }
}
