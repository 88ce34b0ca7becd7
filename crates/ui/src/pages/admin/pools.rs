//! Pools: slots that tasks share.

use askama::Template;
use axum::Form;
use axum::extract::{self, Path};
use axum::http::StatusCode;
use axum::response::{Html, IntoResponse, Redirect, Response};
use chrono::{DateTime, Utc};
use serde::Deserialize;
use towpath_model::dag::DEFAULT_POOL;

use super::super::html;
use super::{Tab, crumbs, filled, tabs};
use crate::frame::Frame;
use crate::view::text::shown;
use crate::{Error, Result, State, links};

#[derive(Debug, Default, Clone, Deserialize)]
#[serde(default)]
pub(crate) struct Fields {
    name: String,
    slots: String,
    description: String,
}

#[derive(Template)]
#[template(path = "admin/pools.html")]
struct Page {
    frame: Frame,
    now: DateTime<Utc>,
    tabs: Vec<Tab>,
    rows: Vec<Row>,
    fields: Fields,
    mistake: Option<String>,
}

struct Row {
    name: String,
    used: u32,
    slots: u32,
    is_full: bool,
    is_default: bool,
    description: String,
    href: String,
}

pub(crate) async fn get(extract::State(state): extract::State<State>) -> Result<Html<String>> {
    page(&state, Fields::default(), None).await
}

async fn page(state: &State, fields: Fields, mistake: Option<String>) -> Result<Html<String>> {
    let now = state.clock.now();
    let pools = state.store.pools().await?;
    html(&Page {
        frame: Frame::new(state, now, crumbs("Pools"), false).await,
        now,
        tabs: tabs("Pools"),
        rows: pools
            .iter()
            .map(|pool| Row {
                name: shown(&pool.name),
                used: pool.used,
                slots: pool.slots,
                is_full: pool.used >= pool.slots,
                is_default: pool.name == DEFAULT_POOL,
                description: pool.description.as_deref().map(shown).unwrap_or_default(),
                href: format!("{}/pools/{}", links::ADMIN, links::part(&pool.name)),
            })
            .collect(),
        fields,
        mistake,
    })
}

/// Creates a pool, or changes the one of that name.
pub(crate) async fn post(extract::State(state): extract::State<State>, Form(fields): Form<Fields>) -> Result<Response> {
    let mistake = match (filled(&fields.name), fields.slots.trim().parse::<u32>()) {
        (None, _) => "name: a pool needs one, such as warehouse",
        (_, Err(_)) => "slots: write a number from 0 on; 0 closes the pool",
        (Some(name), Ok(slots)) => {
            let description = filled(&fields.description);
            state.store.set_pool(&name, slots, description.as_deref(), state.clock.now()).await?;
            return Ok(Redirect::to(&format!("{}/pools", links::ADMIN)).into_response());
        }
    };
    let page = page(&state, fields, Some(mistake.to_owned())).await?;
    Ok((StatusCode::UNPROCESSABLE_ENTITY, page).into_response())
}

pub(crate) async fn delete(extract::State(state): extract::State<State>, Path(name): Path<String>) -> Result<Redirect> {
    if !state.store.delete_pool(&name).await? {
        return Err(Error::no_such("pool", &name));
    }
    Ok(Redirect::to(&format!("{}/pools", links::ADMIN)))
}
