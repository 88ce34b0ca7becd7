//! `towpath run`: one DAG to its end, in the foreground.
//!
//! The run is a row in the store as any other, but its tasks go to a queue that only this process
//! serves. So a server that is up on the same database shows the run and leaves it alone, and this
//! process runs nothing else. What time does (retries, timeouts) is seen to in [`timers`].

mod data;
mod progress;
mod summary;
mod timers;
mod waiting;

use std::io::IsTerminal;
use std::sync::Arc;

use anyhow::{Context, bail};
use towpath_model::dag::Dag;
use towpath_store::{NewRun, RunRecord, Store};

use super::order::{self, OrderArgs};
use super::{follow, target};
use crate::daemon;
use crate::exit::{Outcome, usage};
use crate::lifecycle::Stop;
use crate::output;
use crate::session::Session;

#[derive(Debug, clap::Args)]
#[command(after_help = "\
The run is recorded: `towpath runs show DAG` and the web UI show it afterwards. Retries are waited for. The DAG's \
schedule, its pause and max_active_runs do not matter. Progress goes to stderr, the summary to stdout.

Examples:
  towpath run dags/etl_pipeline.yaml
  towpath run flights_daily --logical-date 2013-01-15
  towpath run dags/report.yaml --param carrier=UA --conf '{\"dry_run\": true}'

Exit codes: 0 the run succeeded, 1 it failed, 2 the file or the arguments are wrong, 130 interrupted by Ctrl-C, which \
ends the running tasks.")]
pub(crate) struct Args {
    #[command(flatten)]
    target: target::Args,
    #[command(flatten)]
    order: OrderArgs,
    /// Tasks to run at once [default: 8 per core, at least 16]
    #[arg(long, value_name = "COUNT")]
    pub(crate) slots: Option<String>,
    /// Print nothing but the summary
    #[arg(short, long)]
    quiet: bool,
}

pub(crate) async fn run(args: &Args, session: &Session) -> anyhow::Result<Outcome> {
    let target = args.target.load(session)?;
    if let target::Target::File(file) = &target {
        // Before anything is stored: what is wrong with the arguments can be seen from the file.
        args.order.conf(&file.dag)?;
    }
    let stop = Stop::on_signals(std::time::Duration::ZERO)?;
    let store = session.store().await?;
    let (dag, version_id) = resolve(&store, target, session).await?;
    let now = session.now();
    // The time tells this process from an earlier one with the same pid, on this machine or another.
    let queue = format!("run-{}-{:x}", std::process::id(), now.timestamp_micros());
    let new = NewRun { queue: Some(queue.clone()), ..args.order.new_run(&dag, version_id, now)? };
    let run = order::create(&store, new, now).await?;
    let mut progress = progress::Progress::new(&dag, !args.quiet, std::io::stderr().is_terminal());
    progress.begin(&run);
    let ended = tokio::select! {
        ended = carry_out(session, &store, &run, queue, &stop, &mut progress) => ended?,
        () = waiting::watch(&store, run.key, &session.clock, !args.quiet) => bail!("what says why it waits was not to end first"),
        () = data::watch(&store, run.key, &dag, !args.quiet, std::io::stderr().is_terminal()) => bail!("what data tasks say was not to end first"),
    };
    if ended == Ended::Interrupted {
        // The second time ends teardowns as well: with this process goes the only worker of the run.
        for _ in 0..2 {
            store.cancel_run(run.key, "`towpath run` was interrupted", session.now()).await?;
        }
    }
    let run = store.run_by_key(run.key).await?.context("the run has gone")?;
    let outcome = summary::print(&store, session, &dag, &run).await?;
    store.close().await;
    Ok(if ended == Ended::Interrupted { Outcome::Interrupted } else { outcome })
}

/// The version to run: that of the store, or that of the file, which is put there.
async fn resolve(store: &Store, target: target::Target, session: &Session) -> anyhow::Result<(Arc<Dag>, i64)> {
    let file = match target {
        target::Target::Id(dag_id) => match target::unknown_to(store, &dag_id, session).await? {
            Some(file) => file,
            None => {
                let (record, dag) = target::stored(store, &dag_id).await?;
                return Ok((dag, record.version_id));
            }
        },
        target::Target::File(file) => file,
    };
    let known = store.dag(file.dag.id()).await?;
    if let Some(known) = known.filter(|known| known.is_active && known.file != file.stored_name) {
        return Err(usage(format!(
            "DAG `{}` is defined by `{}` in this store; run it by its id, change the id in `{}`, or give this run a store \
             of its own with --data-dir",
            known.dag_id,
            known.file,
            file.path.display()
        )));
    }
    let dag_id = file.dag.id().to_owned();
    // A file that lies elsewhere is not to be scheduled by a server on the same store.
    let paused = !file.is_in_dags_folder || session.config.dags_are_paused_at_creation.value;
    store.sync_dags(&[file.upsert()], paused, session.now()).await?;
    let (record, dag) = target::stored(store, &dag_id).await?;
    Ok((dag, record.version_id))
}

/// Why a run is no longer carried out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ended {
    /// It is over.
    Over,
    /// Somebody does not want to wait for it.
    Interrupted,
}

/// Runs the worker and the timers until the run is over or somebody interrupts it.
async fn carry_out(
    session: &Session,
    store: &Store,
    run: &RunRecord,
    queue: String,
    stop: &Stop,
    progress: &mut progress::Progress,
) -> anyhow::Result<Ended> {
    let done = Stop::default();
    let worker = daemon::worker(session, store, vec![queue])?;
    let mut worker = tokio::spawn(worker.run(done.soft.clone(), done.hard.clone()));
    let timers = tokio::spawn(timers::run(store.clone(), Arc::clone(&session.clock), done.soft.clone()));
    let look = |run: &RunRecord, instances: &[_]| progress.look(run, instances, session.now());
    let ended = tokio::select! {
        over = follow::until_over(store, run.key, look) => over.map(|_| Ended::Over),
        () = stop.soft.cancelled() => Ok(Ended::Interrupted),
        early = &mut worker => {
            early.context("the worker has crashed")??;
            bail!("the worker has ended although nobody told it to");
        }
    };
    progress.end();
    done.soft.cancel();
    if !matches!(ended, Ok(Ended::Over)) {
        output::remark("ending the tasks that run");
        done.hard.cancel();
    }
    worker.await.context("the worker has crashed")??;
    timers.await.context("the timers have crashed")?;
    ended
}
