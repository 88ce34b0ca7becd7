//! `towpath assets ...`

mod clear_queue;
mod events;
mod list;
mod queued;
mod show;
mod trigger;

use serde::Serialize;
use towpath_store::{AssetEventRecord, AssetFilter, AssetRecord, Store};

use crate::exit::{Outcome, usage};
use crate::names;
use crate::output::{self, Row};
use crate::session::Session;

/// An asset is data that tasks update (`outlets`) and that DAGs wait for (`schedule`).
#[derive(Debug, clap::Subcommand)]
pub(crate) enum Command {
    /// List the assets that DAGs name
    List(list::Args),
    /// Show an asset: who updates it, who reads it, who waits for it
    Show(show::Args),
    /// List updates, newest first
    Events(events::Args),
    /// Tell that an asset has been updated, so that what waits for it runs
    Trigger(trigger::Args),
    /// List the updates that wait for DAGs
    Queued(queued::Args),
    /// Forget updates that wait for a DAG
    ClearQueue(clear_queue::Args),
}

pub(crate) async fn run(command: Command, session: &Session) -> anyhow::Result<Outcome> {
    match command {
        Command::List(args) => list::run(&args, session).await,
        Command::Show(args) => show::run(&args, session).await,
        Command::Events(args) => events::run(&args, session).await,
        Command::Trigger(args) => trigger::run(&args, session).await,
        Command::Queued(args) => queued::run(&args, session).await,
        Command::ClearQueue(args) => clear_queue::run(&args, session).await,
    }
}

/// The asset of that name or URI.
///
/// # Errors
/// When there is none; the message names the nearest.
async fn find(store: &Store, text: &str) -> anyhow::Result<AssetRecord> {
    if let Some(found) = store.asset_named(text).await? {
        return Ok(found);
    }
    let filter = AssetFilter { include_inactive: true, limit: 1_000, ..AssetFilter::default() };
    let known = store.assets(&filter).await?.items;
    let hint = names::hint(text, known.iter().flat_map(|k| [k.asset.name.as_str(), k.asset.uri.as_str()]));
    Err(usage(format!("asset `{text}` does not exist{hint}")))
}

/// An update as it is shown.
#[derive(Debug, Serialize)]
struct Event {
    id: i64,
    asset: String,
    at: String,
    dag_id: Option<String>,
    run_id: Option<String>,
    task_id: Option<String>,
    map_index: Option<i32>,
    extra: serde_json::Map<String, serde_json::Value>,
    #[serde(skip)]
    shown_at: String,
}

impl From<AssetEventRecord> for Event {
    fn from(event: AssetEventRecord) -> Self {
        let source = event.source;
        Self {
            id: event.id,
            asset: event.name,
            at: output::rfc3339(event.at),
            shown_at: output::time(event.at),
            dag_id: source.as_ref().map(|source| source.dag_id.clone()),
            run_id: source.as_ref().map(|source| source.run_id.clone()),
            task_id: source.as_ref().map(|source| source.task_id.clone()),
            map_index: source.map(|source| source.map_index).filter(|index| *index >= 0),
            extra: event.extra,
        }
    }
}

impl Row for Event {
    const HEADINGS: &'static [&'static str] = &["id", "asset", "at", "by", "run", "extra"];

    fn cells(&self) -> Vec<String> {
        let index = self.map_index.map(|index| format!("[{index}]")).unwrap_or_default();
        let by = match (&self.dag_id, &self.task_id) {
            (Some(dag_id), Some(task_id)) => format!("{dag_id}.{task_id}{index}"),
            _ => "by hand".to_owned(),
        };
        let extra = if self.extra.is_empty() {
            String::new()
        } else {
            serde_json::Value::Object(self.extra.clone()).to_string()
        };
        let run_id = self.run_id.clone().unwrap_or_default();
        vec![self.id.to_string(), self.asset.clone(), self.shown_at.clone(), by, run_id, extra]
    }
}
