//! `towpath assets show`

use serde::Serialize;
use serde_json::{Map, Value};
use towpath_store::{AssetEventFilter, AssetRole};

use super::Event;
use crate::exit::Outcome;
use crate::output::{self, Detail, Format, OutputArgs};
use crate::session::Session;

/// Updates that are shown with it.
const EVENTS: u32 = 5;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Its name or URI
    asset: String,
    #[command(flatten)]
    output: OutputArgs,
}

#[derive(Debug, Serialize)]
struct Shown {
    id: i64,
    name: String,
    uri: String,
    group: String,
    extra: Map<String, Value>,
    is_active: bool,
    updated_by: Vec<String>,
    read_by: Vec<String>,
    waited_for_by: Vec<String>,
    events: Vec<Event>,
}

impl Detail for Shown {
    fn fields(&self) -> Vec<(&'static str, String)> {
        let extra = if self.extra.is_empty() { String::new() } else { Value::Object(self.extra.clone()).to_string() };
        vec![
            ("name", if self.is_active { self.name.clone() } else { format!("{} (no DAG names it)", self.name) }),
            ("uri", self.uri.clone()),
            ("group", self.group.clone()),
            ("extra", extra),
            ("updated_by", self.updated_by.join(", ")),
            ("read_by", self.read_by.join(", ")),
            ("waited_for_by", self.waited_for_by.join(", ")),
        ]
    }
}

pub(crate) async fn run(args: &Args, session: &Session) -> anyhow::Result<Outcome> {
    let store = session.store().await?;
    let record = super::find(&store, &args.asset).await?;
    let references = store.asset_references(&[record.id]).await?;
    let of = |role: AssetRole| {
        let mine = references.iter().filter(|reference| reference.role == role);
        mine.map(|reference| match &reference.task_id {
            Some(task_id) => format!("{}.{task_id}", reference.dag_id),
            None => reference.dag_id.clone(),
        })
        .collect()
    };
    let filter = AssetEventFilter {
        asset_id: Some(record.id),
        newest_first: true,
        limit: EVENTS,
        ..AssetEventFilter::default()
    };
    let shown = Shown {
        id: record.id,
        updated_by: of(AssetRole::Outlet),
        read_by: of(AssetRole::Inlet),
        waited_for_by: of(AssetRole::Schedule),
        events: store.asset_events(&filter).await?.items.into_iter().map(Event::from).collect(),
        is_active: record.is_active,
        name: record.asset.name,
        uri: record.asset.uri,
        group: record.asset.group,
        extra: record.asset.extra,
    };
    let format = args.output.output;
    output::detail(format, &shown)?;
    if format == Format::Table && !shown.events.is_empty() {
        output::line("")?;
        output::list(format, &shown.events)?;
    }
    Ok(Outcome::Success)
}
