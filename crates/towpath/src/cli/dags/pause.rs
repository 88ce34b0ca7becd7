//! `towpath dags pause` and `towpath dags unpause`

use crate::exit::Outcome;
use crate::output;
use crate::session::{Session, find_dag};

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The DAGs
    #[arg(required = true)]
    dag_ids: Vec<String>,
}

pub(crate) async fn run(args: &Args, paused: bool, session: &Session) -> anyhow::Result<Outcome> {
    let store = session.store().await?;
    let mut dags = Vec::new();
    // All are looked up before the first is changed.
    for dag_id in &args.dag_ids {
        dags.push(find_dag(&store, dag_id).await?);
    }
    let word = if paused { "paused" } else { "active" };
    for dag in dags {
        if dag.is_paused == paused {
            output::line(format!("DAG `{}` is {word} already", dag.dag_id))?;
        } else {
            store.set_paused(&dag.dag_id, paused, session.now()).await?;
            output::line(format!("DAG `{}` is {word}", dag.dag_id))?;
        }
    }
    Ok(Outcome::Success)
}
