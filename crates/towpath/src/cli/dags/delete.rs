//! `towpath dags delete`

use anyhow::bail;
use towpath_model::state::RunState;
use towpath_store::{Deletion, RunFilter};

use crate::exit::Outcome;
use crate::output;
use crate::session::{Session, find_dag};

#[derive(Debug, clap::Args)]
#[command(after_help = "\
The DAG's file is not touched. While it is in the DAGs folder it brings the DAG back, as a new one without history, \
when a scheduler starts or the file changes. To be rid of a DAG, remove its file first.")]
pub(crate) struct Args {
    /// The DAG
    dag_id: String,
}

pub(crate) async fn run(args: &Args, session: &Session) -> anyhow::Result<Outcome> {
    let store = session.store().await?;
    let dag = find_dag(&store, &args.dag_id).await?;
    let dag_id = &dag.dag_id;
    match store.delete_dag(dag_id, session.now()).await? {
        Deletion::Deleted => {
            output::line(format!("DAG `{dag_id}` is deleted with its runs"))?;
            if dag.is_active {
                output::remark(format!(
                    "its file `{}` is still there: it brings the DAG back, without history, when a scheduler starts or \
                     the file changes",
                    dag.file
                ));
            }
        }
        Deletion::Missing => output::line(format!("DAG `{dag_id}` was deleted by somebody else"))?,
        Deletion::Running => {
            let filter = RunFilter {
                dag_id: Some(dag_id.clone()),
                states: vec![RunState::Running],
                limit: 3,
                ..RunFilter::default()
            };
            let page = store.runs(&filter).await?;
            let named: Vec<String> = page.items.iter().map(|run| format!("`{}`", run.run_id)).collect();
            let more = page.total.saturating_sub(named.len() as u64);
            let more = if more > 0 { format!(" and {more} more") } else { String::new() };
            bail!(
                "DAG `{dag_id}` has running runs: {}{more}; wait for them, or end each with `towpath runs cancel {dag_id} RUN`",
                named.join(", ")
            );
        }
    }
    Ok(Outcome::Success)
}
