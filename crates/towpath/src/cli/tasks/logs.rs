//! `towpath tasks logs`

use std::time::Duration;

use anyhow::bail;
use towpath_store::{LogKey, Store, TaskInstanceRecord, TaskKey, Topic};

use super::find_task;
use crate::cli::log_text;
use crate::exit::Outcome;
use crate::output;
use crate::session::{Session, find_run};

/// Chunks that are read at once.
const CHUNKS: u32 = 64;
/// Longest time between two looks at a log that is followed; a safety net for a wake-up that got lost.
const PATIENCE: Duration = Duration::from_secs(2);

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  towpath tasks logs etl load                  the last try in the newest run
  towpath tasks logs etl load --follow         and what is still to come
  towpath tasks logs etl load --try-number 1 --run-id manual__2026-11-22T06:00:00+00:00")]
pub(crate) struct Args {
    /// The DAG
    dag_id: String,
    /// The task
    task_id: String,
    /// The run [default: the newest of the DAG]
    #[arg(long, value_name = "RUN")]
    run_id: Option<String>,
    /// The try, from 1 [default: the last]
    #[arg(long, value_name = "NUMBER")]
    try_number: Option<u32>,
    /// The map index, for one of the instances of a mapped task
    #[arg(long, value_name = "INDEX", default_value_t = -1, allow_hyphen_values = true)]
    map_index: i32,
    /// Print what is still to come as well, until the task has ended; follows it through its retries
    #[arg(short, long)]
    follow: bool,
    /// Print the lines as JSON objects, one a line
    #[arg(long)]
    json: bool,
}

pub(crate) async fn run(args: &Args, session: &Session) -> anyhow::Result<Outcome> {
    let store = session.store().await?;
    let run = find_run(&store, &args.dag_id, args.run_id.as_deref()).await?;
    let key = TaskKey { run_key: run.key, task_id: args.task_id.clone(), map_index: args.map_index };
    let Some(instance) = store.task_instance(&key).await? else {
        find_task(&*store.dag_of_version(run.version_id).await?, &args.task_id)?;
        bail!("task `{}` of run `{}` has no map index {}", args.task_id, run.run_id, args.map_index);
    };
    match args.try_number {
        Some(number) if number == 0 || number > instance.try_number => {
            bail!(
                "task `{}` of run `{}` has {} tries; there is no try {number}",
                args.task_id,
                run.run_id,
                instance.try_number
            )
        }
        _ if instance.try_number == 0 && !args.follow => {
            output::remark(format!(
                "task `{}` of run `{}` has not started ({}); `towpath explain {} {} {}` says why",
                args.task_id,
                run.run_id,
                crate::cli::runs::show::state_word(instance.state),
                run.dag_id,
                run.run_id,
                args.task_id
            ));
            return Ok(Outcome::Success);
        }
        _ => {}
    }
    Reader { store: &store, key, json: args.json }.print(args, instance.try_number).await?;
    Ok(Outcome::Success)
}

struct Reader<'a> {
    store: &'a Store,
    key: TaskKey,
    json: bool,
}

impl Reader<'_> {
    async fn print(&self, args: &Args, last_try: u32) -> anyhow::Result<()> {
        let mut progress = self.store.wakes().subscribe(Topic::Progress);
        let mut try_number = args.try_number.unwrap_or(last_try).max(1);
        let mut seq = 0;
        loop {
            progress.mark_unchanged();
            // The state before the log: what an ended try has written is there when it has ended.
            let instance = self.store.task_instance(&self.key).await?;
            seq = self.print_from(try_number, seq).await?;
            let Some(instance) = instance else { return Ok(()) };
            if !args.follow {
                return Ok(());
            }
            if is_past(&instance, try_number) {
                let again =
                    args.try_number.is_none() && !(instance.state.is_finished() && instance.try_number == try_number);
                if !again {
                    return Ok(());
                }
                if instance.try_number > try_number {
                    (try_number, seq) = (try_number + 1, 0);
                    continue;
                }
            }
            tokio::select! {
                _ = progress.changed() => {}
                () = tokio::time::sleep(PATIENCE) => {}
            }
        }
    }

    /// Prints what there is from chunk `seq` on; the number of the next one.
    async fn print_from(&self, try_number: u32, mut seq: u32) -> anyhow::Result<u32> {
        let key = LogKey { task: self.key.clone(), try_number };
        loop {
            let chunks = self.store.read_log(&key, seq, CHUNKS).await?;
            let Some(last) = chunks.last() else { return Ok(seq) };
            seq = last.seq + 1;
            for chunk in &chunks {
                if self.json {
                    output::text(&chunk.text)?;
                } else {
                    let lines: String = log_text::parse(&chunk.text).map(|line| log_text::line(&line) + "\n").collect();
                    output::text(&lines)?;
                }
            }
        }
    }
}

/// Whether nothing more is written by this try.
fn is_past(instance: &TaskInstanceRecord, try_number: u32) -> bool {
    use towpath_model::state::TaskState as S;
    if instance.try_number > try_number {
        return true;
    }
    match instance.state {
        S::Success | S::Failed | S::UpstreamFailed | S::Skipped | S::Removed | S::UpForRetry => true,
        S::None | S::Scheduled | S::Queued | S::Running | S::UpForReschedule | S::Restarting | S::Deferred => false,
    }
}
