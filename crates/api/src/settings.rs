//! `GET /config` and `GET /config/section/{section}/option/{option}`: what the server runs with.
//! The binary hands the options over with secrets already masked.

use std::sync::Arc;

use axum::Json;
use axum::extract::{self, Path};
use axum::http::{HeaderMap, header};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

use crate::media::{self, Media};
use crate::query::Query;
use crate::{Error, Result, State};

/// A group of options.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Section {
    pub name: String,
    /// Keys and values; a secret is shown as `< hidden >`.
    pub options: Vec<(String, String)>,
}

/// All of them.
pub(crate) type Settings = Arc<[Section]>;

pub(crate) async fn all(
    extract::State(state): extract::State<State>,
    headers: HeaderMap,
    mut query: Query,
) -> Result<Response> {
    let section = query.text("section");
    query.finish()?;
    let media = media::accepted(&headers)?;
    let chosen: Vec<Section> =
        state.settings.iter().filter(|it| section.as_ref().is_none_or(|name| *name == it.name)).cloned().collect();
    if let Some(name) = section.filter(|_| chosen.is_empty()) {
        return Err(Error::NotFound(format!("Section {name} not found.")));
    }
    Ok(reply(&chosen, media))
}

pub(crate) async fn one(
    extract::State(state): extract::State<State>,
    Path((section, option)): Path<(String, String)>,
    headers: HeaderMap,
    query: Query,
) -> Result<Response> {
    query.finish()?;
    let media = media::accepted(&headers)?;
    let found = state.settings.iter().find(|it| it.name == section).and_then(|it| {
        let options: Vec<_> = it.options.iter().filter(|(key, _)| *key == option).cloned().collect();
        (!options.is_empty()).then(|| Section { name: section.clone(), options })
    });
    let found = found.ok_or_else(|| Error::NotFound(format!("Option [{section}/{option}] not found.")))?;
    Ok(reply(&[found], media))
}

/// `Config`.
fn reply(sections: &[Section], media: Media) -> Response {
    if media == Media::Json {
        let option = |(key, value): &(String, String)| json!({"key": key, "value": value});
        let sections: Vec<Value> = sections
            .iter()
            .map(|it| json!({"name": it.name, "options": it.options.iter().map(option).collect::<Vec<_>>()}))
            .collect();
        return Json(json!({"sections": sections})).into_response();
    }
    let mut text = String::new();
    for section in sections {
        text.push_str(&format!("[{}]\n", section.name));
        for (key, value) in &section.options {
            text.push_str(&format!("{key} = {value}\n"));
        }
        text.push('\n');
    }
    ([(header::CONTENT_TYPE, "text/plain; charset=utf-8")], text).into_response()
}
