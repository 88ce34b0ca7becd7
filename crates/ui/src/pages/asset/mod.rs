//! Assets: all of them as a list, with the DAGs that update and read them as a graph.

pub(crate) mod one;
mod picture;

use std::collections::BTreeMap;

use askama::Template;
use axum::extract::{self, Query};
use axum::response::Html;
use chrono::{DateTime, Utc};
use serde::Deserialize;
use towpath_store::{AssetFilter, AssetRecord, AssetReference, AssetRole, QueueFilter, QueuedEvents};

use self::picture::Picture;
use super::html;
use crate::frame::{Crumb, Frame};
use crate::view::moment::Moment;
use crate::view::text::{plural, shown};
use crate::{Result, State, links};

/// Assets on one page; the graph is of these.
const PAGE: u32 = 100;

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Params {
    /// Part of the name.
    q: String,
    page: Option<u32>,
}

#[derive(Template)]
#[template(path = "assets.html")]
struct Page {
    frame: Frame,
    now: DateTime<Utc>,
    q: String,
    summary: String,
    rows: Vec<Row>,
    picture: Option<Picture>,
    earlier: Option<String>,
    later: Option<String>,
}

struct Row {
    name: String,
    href: String,
    uri: String,
    group: String,
    last: Option<Moment>,
    producers: Vec<(String, String)>,
    consumers: Vec<(String, String)>,
    waiting: String,
}

pub(crate) fn href(id: i64) -> String {
    format!("/asset/{id}")
}

/// The DAGs with one of the roles, each once, with their pages.
fn dags(references: &[&AssetReference], roles: &[AssetRole]) -> Vec<(String, String)> {
    let found: BTreeMap<&str, ()> = references
        .iter()
        .filter(|reference| roles.contains(&reference.role))
        .map(|reference| (reference.dag_id.as_str(), ()))
        .collect();
    found.into_keys().map(|dag_id| (shown(dag_id), links::dag(dag_id))).collect()
}

pub(crate) async fn get(
    extract::State(state): extract::State<State>,
    Query(params): Query<Params>,
) -> Result<Html<String>> {
    let now = state.clock.now();
    let number = params.page.unwrap_or(1).clamp(1, 100_000);
    let filter = AssetFilter {
        name_contains: Some(params.q.trim().to_owned()).filter(|q| !q.is_empty()),
        limit: PAGE,
        offset: (number - 1) * PAGE,
        ..AssetFilter::default()
    };
    let found = state.store.assets(&filter).await?;
    let ids: Vec<i64> = found.items.iter().map(|record| record.id).collect();
    let references = state.store.asset_references(&ids).await?;
    let queued = state.store.queued_asset_events(&QueueFilter::default()).await?;
    let at = |page: u32| {
        let page = if page > 1 { page.to_string() } else { String::new() };
        links::query("/assets", &[("q", &params.q), ("page", &page)])
    };
    let last = u32::try_from(found.total.div_ceil(u64::from(PAGE))).unwrap_or(u32::MAX);
    html(&Page {
        frame: Frame::new(&state, now, vec![Crumb::here("Assets")], false).await,
        now,
        q: shown(&params.q),
        summary: plural(found.total, "asset", "assets"),
        rows: found.items.iter().map(|record| row(record, &references, &queued, now)).collect(),
        picture: Picture::of(&found.items, &references),
        earlier: (number > 1).then(|| at(number - 1)),
        later: (number < last).then(|| at(number + 1)),
    })
}

fn row(record: &AssetRecord, references: &[AssetReference], queued: &[QueuedEvents], now: DateTime<Utc>) -> Row {
    let of: Vec<&AssetReference> = references.iter().filter(|reference| reference.asset_id == record.id).collect();
    let waiting: u64 = queued.iter().filter(|queued| queued.asset_id == record.id).map(|queued| queued.count).sum();
    Row {
        name: shown(&record.asset.name),
        href: href(record.id),
        uri: if record.asset.uri == record.asset.name { String::new() } else { shown(&record.asset.uri) },
        group: shown(&record.asset.group),
        last: record.last_event.map(|(_, at)| Moment::new(at, now)),
        producers: dags(&of, &[AssetRole::Outlet]),
        consumers: dags(&of, &[AssetRole::Schedule, AssetRole::Inlet]),
        waiting: if waiting > 0 { plural(waiting, "event", "events") } else { String::new() },
    }
}
