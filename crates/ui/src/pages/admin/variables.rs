//! Variables. Those whose names tell of secrets are masked in the list.

use askama::Template;
use axum::Form;
use axum::extract::{self, Path, Query};
use axum::http::StatusCode;
use axum::response::{Html, IntoResponse, Redirect, Response};
use chrono::{DateTime, Utc};
use serde::Deserialize;
use towpath_model::connection::is_secret_name;

use super::super::html;
use super::{Tab, crumbs, filled, tabs};
use crate::frame::Frame;
use crate::view::text::{cut, shown};
use crate::{Error, Result, State, links};

/// Most of a value that the list shows.
const VALUE_BYTES: usize = 200;
/// Stands for a value that is not shown.
const MASK: &str = "•••";

#[derive(Debug, Default, Clone, Deserialize)]
#[serde(default)]
pub(crate) struct Fields {
    key: String,
    value: String,
    description: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Params {
    /// The variable to fill the form with.
    edit: String,
}

#[derive(Template)]
#[template(path = "admin/variables.html")]
struct Page {
    frame: Frame,
    now: DateTime<Utc>,
    tabs: Vec<Tab>,
    rows: Vec<Row>,
    fields: Fields,
    is_edit: bool,
    mistake: Option<String>,
}

struct Row {
    key: String,
    value: String,
    description: String,
    href: String,
    edit: String,
}

pub(crate) async fn get(
    extract::State(state): extract::State<State>,
    Query(params): Query<Params>,
) -> Result<Html<String>> {
    if params.edit.is_empty() {
        return page(&state, Fields::default(), false, None).await;
    }
    let found = state.store.variables().await?.into_iter().find(|variable| variable.key == params.edit);
    let variable = found.ok_or_else(|| Error::no_such("variable", &params.edit))?;
    // A secret is written anew, not read.
    let value = if is_secret_name(&variable.key) { String::new() } else { variable.value };
    let fields = Fields { key: variable.key, value, description: variable.description.unwrap_or_default() };
    page(&state, fields, true, None).await
}

async fn page(state: &State, fields: Fields, is_edit: bool, mistake: Option<String>) -> Result<Html<String>> {
    let now = state.clock.now();
    let here = format!("{}/variables", links::ADMIN);
    let variables = state.store.variables().await?;
    html(&Page {
        frame: Frame::new(state, now, crumbs("Variables"), false).await.still(),
        now,
        tabs: tabs("Variables"),
        rows: variables
            .iter()
            .map(|variable| {
                let part = cut(&variable.value, VALUE_BYTES);
                let more = if part.len() < variable.value.len() { "…" } else { "" };
                Row {
                    value: if is_secret_name(&variable.key) {
                        MASK.to_owned()
                    } else {
                        format!("{}{more}", shown(part))
                    },
                    description: variable.description.as_deref().map(shown).unwrap_or_default(),
                    href: format!("{here}/{}", links::part(&variable.key)),
                    edit: links::query(&here, &[("edit", &variable.key)]),
                    key: shown(&variable.key),
                }
            })
            .collect(),
        fields,
        is_edit,
        mistake,
    })
}

/// Creates a variable, or changes the one with that key.
pub(crate) async fn post(extract::State(state): extract::State<State>, Form(fields): Form<Fields>) -> Result<Response> {
    let description = filled(&fields.description);
    match state.store.set_variable(fields.key.trim(), &fields.value, description.as_deref(), state.clock.now()).await {
        Ok(()) => Ok(Redirect::to(&format!("{}/variables", links::ADMIN)).into_response()),
        Err(towpath_store::Error::Invalid(why)) => {
            let page = page(&state, fields, false, Some(shown(&why))).await?;
            Ok((StatusCode::UNPROCESSABLE_ENTITY, page).into_response())
        }
        Err(error) => Err(error.into()),
    }
}

pub(crate) async fn delete(extract::State(state): extract::State<State>, Path(key): Path<String>) -> Result<Redirect> {
    if !state.store.delete_variable(&key).await? {
        return Err(Error::no_such("variable", &key));
    }
    Ok(Redirect::to(&format!("{}/variables", links::ADMIN)))
}
