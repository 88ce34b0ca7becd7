//! The settings of this server, with where each comes from. Passwords are masked before they get here.

use askama::Template;
use axum::extract;
use axum::response::Html;
use chrono::{DateTime, Utc};

use super::super::html;
use super::{Tab, crumbs, tabs};
use crate::frame::Frame;
use crate::view::text::shown;
use crate::{Result, State};

#[derive(Template)]
#[template(path = "admin/config.html")]
struct Page {
    frame: Frame,
    now: DateTime<Utc>,
    tabs: Vec<Tab>,
    rows: Vec<(String, String, String, String)>,
}

pub(crate) async fn get(extract::State(state): extract::State<State>) -> Result<Html<String>> {
    let now = state.clock.now();
    html(&Page {
        frame: Frame::new(&state, now, crumbs("Configuration"), false).await.still(),
        now,
        tabs: tabs("Configuration"),
        rows: state
            .settings
            .iter()
            .map(|it| (shown(&it.name), shown(&it.value), shown(&it.source), shown(&it.description)))
            .collect(),
    })
}
