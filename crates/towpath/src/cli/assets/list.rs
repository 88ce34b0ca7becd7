//! `towpath assets list`

use serde::Serialize;
use towpath_store::{AssetFilter, AssetRole};

use crate::cli::empty_list;
use crate::exit::Outcome;
use crate::output::{self, OutputArgs, Row};
use crate::session::Session;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Only those with this text in their name
    #[arg(long, value_name = "TEXT")]
    name: Option<String>,
    /// Only those that this DAG names
    #[arg(long, value_name = "DAG_ID")]
    dag: Option<String>,
    /// Also those that no DAG names any more
    #[arg(long)]
    all: bool,
    #[command(flatten)]
    output: OutputArgs,
}

#[derive(Debug, Serialize)]
struct Item {
    name: String,
    uri: String,
    group: String,
    /// `dag.task`.
    producers: Vec<String>,
    waiting_dags: Vec<String>,
    last_update: Option<String>,
    is_active: bool,
    #[serde(skip)]
    shown_update: String,
}

impl Row for Item {
    const HEADINGS: &'static [&'static str] = &["name", "uri", "updated by", "waited for by", "last update"];

    fn cells(&self) -> Vec<String> {
        let uri = if self.uri == self.name { String::new() } else { self.uri.clone() };
        vec![self.name.clone(), uri, self.producers.join(", "), self.waiting_dags.join(", "), self.shown_update.clone()]
    }
}

pub(crate) async fn run(args: &Args, session: &Session) -> anyhow::Result<Outcome> {
    let store = session.store().await?;
    let mut items = Vec::new();
    loop {
        let filter = AssetFilter {
            name_contains: args.name.clone(),
            dag_ids: args.dag.iter().cloned().collect(),
            include_inactive: args.all,
            limit: 500,
            offset: items.len() as u32,
            ..AssetFilter::default()
        };
        let page = store.assets(&filter).await?.items;
        if page.is_empty() {
            break;
        }
        let references = store.asset_references(&page.iter().map(|record| record.id).collect::<Vec<_>>()).await?;
        items.extend(page.into_iter().map(|record| {
            let of = |role| {
                let mine = references.iter().filter(move |r| r.asset_id == record.id && r.role == role);
                mine.map(|r| match &r.task_id {
                    Some(task_id) => format!("{}.{task_id}", r.dag_id),
                    None => r.dag_id.clone(),
                })
                .collect()
            };
            Item {
                producers: of(AssetRole::Outlet),
                waiting_dags: of(AssetRole::Schedule),
                last_update: record.last_event.map(|(_, at)| output::rfc3339(at)),
                shown_update: output::time_or_none(record.last_event.map(|(_, at)| at)),
                is_active: record.is_active,
                name: record.asset.name,
                uri: record.asset.uri,
                group: record.asset.group,
            }
        }));
    }
    if items.is_empty() {
        empty_list(args.output.output, "no assets: tasks name them as `outlets` and `inlets`, DAGs in `schedule`");
    }
    output::list(args.output.output, &items)?;
    Ok(Outcome::Success)
}
