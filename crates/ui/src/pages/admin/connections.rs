//! Connections: how tasks reach other systems. Passwords are written, never read back.

use askama::Template;
use axum::Form;
use axum::extract::{self, Path, Query};
use axum::http::StatusCode;
use axum::response::{Html, IntoResponse, Redirect, Response};
use chrono::{DateTime, Utc};
use serde::Deserialize;
use serde_json::{Map, Value};
use towpath_model::connection::{Connection, Secret};

use super::super::html;
use super::{Tab, crumbs, filled, tabs};
use crate::frame::Frame;
use crate::view::text::shown;
use crate::{Error, Result, State, links};

#[derive(Debug, Default, Clone, Deserialize)]
#[serde(default)]
pub(crate) struct Fields {
    conn_id: String,
    conn_type: String,
    description: String,
    host: String,
    login: String,
    password: String,
    schema: String,
    port: String,
    extra: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Params {
    /// The connection to fill the form with.
    edit: String,
}

#[derive(Template)]
#[template(path = "admin/connections.html")]
struct Page {
    frame: Frame,
    now: DateTime<Utc>,
    tabs: Vec<Tab>,
    rows: Vec<Row>,
    fields: Fields,
    is_edit: bool,
    has_password: bool,
    can_test: bool,
    mistake: Option<String>,
    /// Of a test: the connection, whether it works, and the answer.
    tested: Option<(String, bool, String)>,
}

struct Row {
    conn_id: String,
    conn_type: String,
    place: String,
    login: String,
    has_password: bool,
    description: String,
    href: String,
    edit: String,
}

fn here() -> String {
    format!("{}/connections", links::ADMIN)
}

pub(crate) async fn get(
    extract::State(state): extract::State<State>,
    Query(params): Query<Params>,
) -> Result<Html<String>> {
    if params.edit.is_empty() {
        return page(&state, Fields::default(), None, None, None).await;
    }
    let known = find(&state, &params.edit).await?;
    let text = |value: &Option<String>| value.clone().unwrap_or_default();
    let fields = Fields {
        conn_id: known.conn_id.clone(),
        conn_type: known.conn_type.clone(),
        description: text(&known.description),
        host: text(&known.host),
        login: text(&known.login),
        password: String::new(),
        schema: text(&known.schema),
        port: known.port.map(|port| port.to_string()).unwrap_or_default(),
        // Extras hold keys and tokens as often as not.
        extra: String::new(),
    };
    page(&state, fields, Some(&known), None, None).await
}

async fn find(state: &State, conn_id: &str) -> Result<Connection> {
    let found = state.store.connections().await?.into_iter().find(|connection| connection.conn_id == conn_id);
    found.ok_or_else(|| Error::no_such("connection", conn_id))
}

async fn page(
    state: &State,
    fields: Fields,
    known: Option<&Connection>,
    mistake: Option<String>,
    tested: Option<(String, bool, String)>,
) -> Result<Html<String>> {
    let now = state.clock.now();
    let connections = state.store.connections().await?;
    html(&Page {
        frame: Frame::new(state, now, crumbs("Connections"), false).await.still(),
        now,
        tabs: tabs("Connections"),
        rows: connections.iter().map(Row::new).collect(),
        is_edit: known.is_some(),
        has_password: known.is_some_and(|known| known.password.is_some() || known.extra.is_some()),
        fields,
        can_test: state.test_connection.is_some(),
        mistake,
        tested,
    })
}

impl Row {
    fn new(connection: &Connection) -> Self {
        let mut place = connection.host.clone().unwrap_or_default();
        if let Some(port) = connection.port {
            place.push_str(&format!(":{port}"));
        }
        if let Some(schema) = &connection.schema {
            place.push_str(&format!("/{schema}"));
        }
        Self {
            conn_id: shown(&connection.conn_id),
            conn_type: shown(&connection.conn_type),
            place: shown(&place),
            login: connection.login.as_deref().map(shown).unwrap_or_default(),
            has_password: connection.password.is_some(),
            description: connection.description.as_deref().map(shown).unwrap_or_default(),
            href: format!("{}/{}", here(), links::part(&connection.conn_id)),
            edit: links::query(&here(), &[("edit", &connection.conn_id)]),
        }
    }
}

/// Creates a connection, or changes the one with that id; it keeps the password and the extras that are not
/// written anew.
pub(crate) async fn post(extract::State(state): extract::State<State>, Form(fields): Form<Fields>) -> Result<Response> {
    let known = find(&state, fields.conn_id.trim()).await.ok();
    let refused = async |fields: Fields, mistake: String| -> Result<Response> {
        let page = page(&state, fields, known.as_ref(), Some(shown(&mistake)), None).await?;
        Ok((StatusCode::UNPROCESSABLE_ENTITY, page).into_response())
    };
    match read(&fields, known.as_ref()) {
        Ok(connection) => match state.store.set_connection(&connection, state.clock.now()).await {
            Ok(()) => Ok(Redirect::to(&here()).into_response()),
            Err(towpath_store::Error::Invalid(why)) => refused(fields, why).await,
            Err(error) => Err(error.into()),
        },
        Err(mistake) => refused(fields, mistake).await,
    }
}

fn read(fields: &Fields, known: Option<&Connection>) -> std::result::Result<Connection, String> {
    let port = match fields.port.trim() {
        "" => None,
        text => Some(text.parse().map_err(|_| format!("port: `{text}` is not a number from 0 to 65535"))?),
    };
    let extra = filled(&fields.extra);
    if let Some(text) = &extra {
        serde_json::from_str::<Map<String, Value>>(text)
            .map_err(|error| format!("extra: this is no JSON object: {error}"))?;
    }
    Ok(Connection {
        conn_id: fields.conn_id.trim().to_owned(),
        conn_type: filled(&fields.conn_type).ok_or("type: a connection needs one, such as postgres or http")?,
        description: filled(&fields.description),
        host: filled(&fields.host),
        login: filled(&fields.login),
        password: Some(fields.password.clone())
            .filter(|password| !password.is_empty())
            .map(Secret::new)
            .or_else(|| known.and_then(|known| known.password.clone())),
        schema: filled(&fields.schema),
        port,
        extra: extra.or_else(|| known.and_then(|known| known.extra.clone())),
    })
}

pub(crate) async fn delete(
    extract::State(state): extract::State<State>,
    Path(conn_id): Path<String>,
) -> Result<Redirect> {
    if !state.store.delete_connection(&conn_id).await? {
        return Err(Error::no_such("connection", &conn_id));
    }
    Ok(Redirect::to(&here()))
}

/// Tries it from this machine.
pub(crate) async fn test(
    extract::State(state): extract::State<State>,
    Path(conn_id): Path<String>,
) -> Result<Html<String>> {
    let connection = find(&state, &conn_id).await?;
    let test = state.test_connection.ok_or_else(|| Error::BadRequest("this server tests no connections".to_owned()))?;
    let (works, answer) = match test(connection).await {
        Ok(answer) => (true, answer),
        Err(why) => (false, why),
    };
    page(&state, Fields::default(), None, None, Some((shown(&conn_id), works, shown(&answer)))).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forms() {
        let fields =
            Fields { conn_id: "db".into(), conn_type: "postgres".into(), port: "5432".into(), ..Fields::default() };
        let known =
            Connection { password: Some(Secret::new("kept")), extra: Some("{}".to_owned()), ..Connection::default() };
        let read_with = |change: fn(&mut Fields)| {
            let mut fields = fields.clone();
            change(&mut fields);
            read(&fields, Some(&known))
        };
        let same = read_with(|_| {}).unwrap();
        assert_eq!(
            (same.password.unwrap().expose(), same.extra.as_deref(), same.port),
            ("kept", Some("{}"), Some(5432))
        );
        assert_eq!(read_with(|f| f.password = "new".into()).unwrap().password.unwrap().expose(), "new");
        assert!(read_with(|f| f.port = "70000".into()).unwrap_err().starts_with("port: `70000`"));
        assert!(read_with(|f| f.extra = "[]".into()).unwrap_err().starts_with("extra: this is no JSON object"));
        assert!(read_with(|f| f.conn_type = " ".into()).unwrap_err().starts_with("type: "));
    }
}
