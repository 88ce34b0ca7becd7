//! `towpath dags list`

use std::collections::HashMap;

use serde::Serialize;
use towpath_scheduler::preview;
use towpath_store::{DagFilter, DagRecord, RunRecord};

use crate::cli::empty_list;
use crate::exit::Outcome;
use crate::output::{self, OutputArgs, Row};
use crate::session::Session;

/// DAGs read at once.
const PAGE: u32 = 1_000;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Only DAGs with this in their id
    contains: Option<String>,
    /// Only paused ones
    #[arg(long, conflicts_with = "unpaused")]
    paused: bool,
    /// Only those that are not paused
    #[arg(long)]
    unpaused: bool,
    /// Also those whose file is gone
    #[arg(long)]
    all: bool,
    #[command(flatten)]
    output: OutputArgs,
}

/// A DAG as it is shown.
#[derive(Debug, Serialize)]
pub(crate) struct Item {
    dag_id: String,
    description: Option<String>,
    file: String,
    schedule: String,
    is_paused: bool,
    is_active: bool,
    owners: Vec<String>,
    tags: Vec<String>,
    max_active_runs: u32,
    version: i32,
    next_run_after: Option<String>,
    next_logical_date: Option<String>,
    last_run_id: Option<String>,
    last_run_state: Option<String>,
    #[serde(skip)]
    next: String,
}

impl Item {
    pub(crate) fn new(dag: DagRecord, last: Option<&RunRecord>) -> Self {
        let next = dag.next_run.filter(|_| dag.is_active);
        Self {
            dag_id: dag.dag_id,
            description: dag.description,
            file: dag.file,
            schedule: dag.schedule,
            is_paused: dag.is_paused,
            is_active: dag.is_active,
            owners: dag.owners,
            tags: dag.tags,
            max_active_runs: dag.max_active_runs,
            version: dag.version_number,
            next_run_after: next.map(|next| output::rfc3339(next.run_after)),
            next_logical_date: next.map(|next| output::rfc3339(next.logical_date)),
            last_run_id: last.map(|run| run.run_id.clone()),
            last_run_state: last.map(|run| run.state.to_string()),
            next: output::time_or_none(next.map(|next| next.run_after)),
        }
    }

    fn status(&self) -> &'static str {
        match (self.is_active, self.is_paused) {
            (false, _) => "file gone",
            (true, true) => "paused",
            (true, false) => "active",
        }
    }
}

impl Row for Item {
    const HEADINGS: &'static [&'static str] =
        &["dag_id", "schedule", "status", "next_run", "last_run", "owner", "file"];

    fn cells(&self) -> Vec<String> {
        vec![
            self.dag_id.clone(),
            self.schedule.clone(),
            self.status().to_owned(),
            self.next.clone(),
            self.last_run_state.clone().unwrap_or_default(),
            self.owners.join(", "),
            self.file.clone(),
        ]
    }
}

pub(crate) async fn run(args: &Args, session: &Session) -> anyhow::Result<Outcome> {
    let store = session.store().await?;
    let mut filter = DagFilter {
        id_contains: args.contains.clone(),
        paused: if args.paused { Some(true) } else { args.unpaused.then_some(false) },
        include_stale: args.all,
        among: None,
        limit: PAGE,
        offset: 0,
    };
    let mut items = Vec::new();
    loop {
        let page = store.dags(&filter).await?;
        let ids: Vec<String> = page.items.iter().map(|dag| dag.dag_id.clone()).collect();
        let newest: HashMap<String, Vec<RunRecord>> = store.run_stats(&ids, 1).await?;
        filter.offset += page.items.len() as u32;
        let is_last = page.items.is_empty() || u64::from(filter.offset) >= page.total;
        for mut dag in page.items {
            if dag.is_paused && dag.is_active && dag.next_run.is_none() {
                dag.next_run = preview::unplanned(&*store.dag_of_version(dag.version_id).await?, session.now());
            }
            let last = newest.get(&dag.dag_id).and_then(|runs| runs.first());
            items.push(Item::new(dag, last));
        }
        if is_last {
            break;
        }
    }
    if items.is_empty() {
        empty_list(
            args.output.output,
            "no DAGs; `towpath up` reads the DAGs folder, `towpath dags validate` checks it",
        );
    }
    output::list(args.output.output, &items)?;
    for error in store.import_errors().await? {
        empty_list(args.output.output, &format!("cannot read `{}`: {}", error.file, error.message));
    }
    Ok(Outcome::Success)
}
