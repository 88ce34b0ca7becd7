//! The end of a foreground run: what its tasks did, and why those failed that did.

use std::collections::VecDeque;

use towpath_model::dag::Dag;
use towpath_model::state::{RunState, TaskState};
use towpath_operators::log::LogLine;
use towpath_store::{LogKey, RunRecord, Store, TaskInstanceRecord};

use crate::cli::log_text;
use crate::cli::runs::show::Instance;
use crate::exit::Outcome;
use crate::output::{self, Format};
use crate::session::Session;

/// Lines of the log of each failed task.
const LINES: usize = 20;
/// Failed tasks whose logs are shown.
const MOST_LOGS: usize = 10;
/// Chunks that are read at once.
const CHUNKS: u32 = 256;

/// Prints it; what the exit code is to say.
pub(super) async fn print(store: &Store, session: &Session, dag: &Dag, run: &RunRecord) -> anyhow::Result<Outcome> {
    let mut instances = store.task_instances(run.key).await?;
    // How many tasks stand before each on its longest way; those at one depth come by their ids.
    let mut depths = vec![0_usize; dag.tasks().len()];
    for &index in dag.topological() {
        depths[index] = dag.upstream(index).map(|before| depths[before] + 1).max().unwrap_or(0);
    }
    let place = |instance: &TaskInstanceRecord| dag.index_of(&instance.key.task_id).map(|index| (depths[index], index));
    // As they depend on each other, which is the order in which somebody reads for a cause.
    instances.sort_by_cached_key(|instance| (place(instance), instance.key.map_index));
    let failed: Vec<&TaskInstanceRecord> =
        instances.iter().filter(|instance| instance.state == TaskState::Failed).collect();
    for instance in failed.iter().take(MOST_LOGS) {
        let lines = last_lines(store, instance).await?;
        output::line(format!("--- last lines of `{}` (try {}) ---", instance.key.task_id, instance.try_number))?;
        for line in &lines {
            output::line(log_text::line(line))?;
        }
        output::line("")?;
    }
    if failed.len() > MOST_LOGS {
        output::line(format!(
            "and {} more tasks failed; `towpath tasks logs` shows their logs",
            failed.len() - MOST_LOGS
        ))?;
    }
    let now = session.now();
    let shown: Vec<Instance> = instances.into_iter().map(|instance| Instance::new(instance, now)).collect();
    output::list(Format::Table, &shown)?;
    let took = output::humanize(output::span(run.start_date, run.end_date, now));
    output::line("")?;
    output::line(format!("{} {}: {} in {took}", run.dag_id, run.run_id, run.state))?;
    Ok(if run.state == RunState::Success { Outcome::Success } else { Outcome::Failure })
}

/// The end of the log of the last try.
async fn last_lines(store: &Store, instance: &TaskInstanceRecord) -> anyhow::Result<VecDeque<LogLine>> {
    let key = LogKey { task: instance.key.clone(), try_number: instance.try_number };
    let mut lines = VecDeque::with_capacity(LINES);
    let mut seq = 0;
    loop {
        let chunks = store.read_log(&key, seq, CHUNKS).await?;
        let Some(last) = chunks.last() else { return Ok(lines) };
        seq = last.seq + 1;
        for line in chunks.iter().flat_map(|chunk| log_text::parse(&chunk.text)) {
            if lines.len() == LINES {
                lines.pop_front();
            }
            lines.push_back(line);
        }
    }
}
