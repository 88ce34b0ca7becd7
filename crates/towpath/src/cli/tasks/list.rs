//! `towpath tasks list`

use serde::Serialize;
use towpath_model::dag::Dag;

use crate::cli::target;
use crate::exit::Outcome;
use crate::output::{self, OutputArgs, Row};
use crate::session::Session;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    target: target::Args,
    #[command(flatten)]
    output: OutputArgs,
}

/// A task as it is shown.
#[derive(Debug, Serialize)]
pub(crate) struct Item {
    task_id: String,
    operator: String,
    upstream: Vec<String>,
    downstream: Vec<String>,
    trigger_rule: String,
    retries: u32,
    pool: String,
    queue: String,
    owner: String,
    priority_weight: i64,
}

impl Row for Item {
    const HEADINGS: &'static [&'static str] = &["task_id", "operator", "after", "trigger_rule", "retries"];

    fn cells(&self) -> Vec<String> {
        vec![
            self.task_id.clone(),
            self.operator.clone(),
            self.upstream.join(", "),
            self.trigger_rule.clone(),
            self.retries.to_string(),
        ]
    }
}

/// The tasks of a DAG, each after those that it waits for.
pub(crate) fn items(dag: &Dag) -> Vec<Item> {
    let ids = |positions: &mut dyn Iterator<Item = usize>| {
        let mut ids: Vec<String> = positions.map(|index| dag.tasks()[index].task_id.clone()).collect();
        ids.sort();
        ids
    };
    dag.topological()
        .iter()
        .map(|&index| {
            let task = &dag.tasks()[index];
            Item {
                task_id: task.task_id.clone(),
                operator: task.operator.clone(),
                upstream: ids(&mut dag.upstream(index)),
                downstream: ids(&mut dag.downstream(index)),
                trigger_rule: task.trigger_rule.to_string(),
                retries: task.retry.retries,
                pool: task.pool.clone(),
                queue: task.queue.clone(),
                owner: task.owner.clone(),
                priority_weight: dag.weight(index),
            }
        })
        .collect()
}

pub(crate) async fn run(args: &Args, session: &Session) -> anyhow::Result<Outcome> {
    let dag = args.target.dag(session).await?;
    output::list(args.output.output, &items(&dag))?;
    Ok(Outcome::Success)
}
