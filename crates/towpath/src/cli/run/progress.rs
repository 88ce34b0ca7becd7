//! Live progress of a foreground run, on stderr: a line for each change of state, and on a terminal
//! a last line that is kept up to date.

use std::collections::HashMap;
use std::io::Write;

use chrono::{DateTime, Utc};
use towpath_model::dag::Dag;
use towpath_model::state::TaskState;
use towpath_store::{RunRecord, TaskInstanceRecord, TaskKey};

use crate::output;

/// Width where the terminal does not tell its own.
const WIDTH: u16 = 80;
/// DAGs with more tasks than this show ends alone: nobody reads every change of thousands.
const MOST_WITH_STARTS: usize = 50;

/// What has been shown so far.
#[derive(Debug)]
pub(super) struct Progress {
    enabled: bool,
    terminal: bool,
    with_starts: bool,
    id_width: usize,
    seen: HashMap<TaskKey, (TaskState, u32)>,
}

impl Progress {
    pub(super) fn new(dag: &Dag, enabled: bool, terminal: bool) -> Self {
        let id_width = dag.tasks().iter().map(|task| task.task_id.chars().count()).max().unwrap_or(0).min(60);
        Self { enabled, terminal, with_starts: dag.tasks().len() <= MOST_WITH_STARTS, id_width, seen: HashMap::new() }
    }

    /// Says what is about to run.
    pub(super) fn begin(&self, run: &RunRecord) {
        if self.enabled {
            let date = run.logical_date.map(|date| format!(" for {}", output::time(date))).unwrap_or_default();
            output::remark(format!("running {}{date} as {}", run.dag_id, run.run_id));
        }
    }

    /// Shows what has changed.
    pub(super) fn look(&mut self, run: &RunRecord, instances: &[TaskInstanceRecord], now: DateTime<Utc>) {
        if !self.enabled {
            return;
        }
        let mut changed: Vec<&TaskInstanceRecord> = Vec::new();
        for instance in instances {
            let current = (instance.state, instance.try_number);
            if self.seen.get(&instance.key) != Some(&current) {
                self.seen.insert(instance.key.clone(), current);
                if self.is_shown(instance.state) {
                    changed.push(instance);
                }
            }
        }
        changed.sort_by_key(|instance| at(instance).unwrap_or(now));
        let mut text: String = changed.into_iter().map(|instance| self.line(instance, now) + "\n").collect();
        if self.terminal {
            text = format!("\r\x1b[K{text}{}", status(run, instances, now, width()));
        }
        self.write(&text);
    }

    /// Takes the last line away.
    pub(super) fn end(&self) {
        if self.enabled && self.terminal {
            self.write("\r\x1b[K");
        }
    }

    fn is_shown(&self, state: TaskState) -> bool {
        match state {
            TaskState::Running => self.with_starts,
            TaskState::None | TaskState::Scheduled | TaskState::Queued => false,
            TaskState::Success
            | TaskState::Failed
            | TaskState::UpForRetry
            | TaskState::UpForReschedule
            | TaskState::UpstreamFailed
            | TaskState::Skipped
            | TaskState::Removed
            | TaskState::Restarting
            | TaskState::Deferred => true,
        }
    }

    fn line(&self, instance: &TaskInstanceRecord, now: DateTime<Utc>) -> String {
        let name = match instance.key.map_index {
            ..0 => instance.key.task_id.clone(),
            index => format!("{}[{index}]", instance.key.task_id),
        };
        let mut line = format!(
            "{}  {:width$}  {}",
            at(instance).unwrap_or(now).format("%H:%M:%S%.3f"),
            name,
            instance.state,
            width = self.id_width
        );
        if instance.state != TaskState::Running && instance.try_number > 0 {
            let span = output::span(instance.start_date, instance.end_date, now);
            line.push_str(&format!(" after {}", output::humanize(span)));
        }
        if instance.try_number > 1 || (instance.max_tries > 0 && instance.state == TaskState::UpForRetry) {
            line.push_str(&format!(", try {} of {}", instance.try_number, instance.max_tries + 1));
        }
        if let Some(at) = instance.available_at.filter(|_| instance.state == TaskState::UpForRetry) {
            line.push_str(&format!(", again in {}", output::humanize(output::span(Some(now), Some(at), now))));
        }
        if let Some(note) = instance.note.as_deref().filter(|_| instance.state != TaskState::Running) {
            line.push_str(&format!(": {}", note.lines().next().unwrap_or_default()));
        }
        line
    }

    fn write(&self, text: &str) {
        let mut stderr = std::io::stderr().lock();
        // Progress that nobody can see is no reason to stop a run.
        let _ = stderr.write_all(text.as_bytes()).and_then(|()| stderr.flush());
    }
}

/// When it came into its state.
fn at(instance: &TaskInstanceRecord) -> Option<DateTime<Utc>> {
    if instance.state == TaskState::Running { instance.start_date } else { instance.end_date }
}

/// The line that is kept up to date, no longer than `width`.
fn status(run: &RunRecord, instances: &[TaskInstanceRecord], now: DateTime<Utc>, width: usize) -> String {
    let ended = instances.iter().filter(|instance| instance.state.is_finished()).count();
    let running: Vec<&str> = instances
        .iter()
        .filter(|instance| instance.state == TaskState::Running)
        .map(|instance| instance.key.task_id.as_str())
        .collect();
    let waiting = instances.iter().filter(|instance| instance.state == TaskState::UpForRetry).count();
    let mut text = format!("{ended}/{} done", instances.len());
    if waiting > 0 {
        text.push_str(&format!(", {waiting} to be tried again"));
    }
    text.push_str(&format!(", {}", output::humanize(output::span(run.start_date, run.end_date, now))));
    if !running.is_empty() {
        text.push_str(&format!(", running: {}", running.join(", ")));
    }
    // One less than the width: a full line would wrap on some terminals, and could not be taken back.
    match text.char_indices().nth(width.saturating_sub(2)) {
        Some((cut, _)) => format!("{}…", &text[..cut]),
        None => text,
    }
}

fn width() -> usize {
    comfy_table::Table::new().width().unwrap_or(WIDTH).into()
}

#[cfg(test)]
mod tests;
