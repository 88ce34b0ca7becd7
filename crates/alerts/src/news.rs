//! What is told: the facts of an end, in words and as JSON.

use chrono::{DateTime, SubsecRound, TimeDelta, Utc};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::{Value, json};
use towpath_model::alert::{Event, Target};
use towpath_store::{AlertRecord, LogKey, Result, RunRecord, Store};

/// Lines of the log that are told.
const LOG_LINES: u32 = 20;
/// Most characters of one of them.
const LINE_CHARS: usize = 500;
const PART: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~');

/// What an alert is about.
#[derive(Debug)]
pub(crate) struct News {
    alert: AlertRecord,
    run: Option<RunRecord>,
    /// Of a run that has failed, the tasks that have, with their reasons.
    failed: Vec<(String, Option<String>)>,
    log: Vec<String>,
    url: Option<String>,
}

impl News {
    /// Collects what is known about the end that `alert` is about.
    ///
    /// # Errors
    /// When the database does not answer.
    pub(crate) async fn gather(store: &Store, base_url: Option<&str>, alert: &AlertRecord) -> Result<Self> {
        let run = store.run_by_key(alert.run_key).await?;
        let (mut log, mut failed) = (Vec::new(), Vec::new());
        match alert.task() {
            Some(task) => {
                let key = LogKey { task, try_number: alert.try_number };
                let lines = store.log_tail(&key, LOG_LINES).await?;
                log.extend(lines.iter().map(|line| log_line(line)));
            }
            None if alert.event == Event::Failure => {
                let instances = store.task_instances(alert.run_key).await?;
                let has_failed = instances.into_iter().filter(|i| i.state == towpath_model::state::TaskState::Failed);
                failed.extend(has_failed.take(LOG_LINES as usize).map(|i| (i.key.task_id, i.note)));
            }
            None => {}
        }
        let url = base_url.map(|base| format!("{}{}", base.trim_end_matches('/'), path_of(alert)));
        Ok(Self { alert: alert.clone(), run, failed, log, url })
    }

    pub(crate) fn event(&self) -> Event {
        self.alert.event
    }

    pub(crate) fn created_at(&self) -> DateTime<Utc> {
        self.alert.created_at
    }

    pub(crate) fn url(&self) -> Option<&str> {
        self.url.as_deref()
    }

    pub(crate) fn log(&self) -> &[String] {
        &self.log
    }

    /// The same for every attempt to send this alert, and of no other one anywhere.
    pub(crate) fn identity(&self) -> String {
        let AlertRecord { dag_id, run_id, dedup, created_at, .. } = &self.alert;
        format!("{dag_id}/{run_id}/{dedup}/{}", created_at.timestamp_micros())
    }

    /// `failed: dag.task (run manual__...)`
    pub(crate) fn title(&self) -> String {
        let word = match self.alert.event {
            Event::Failure => "failed",
            Event::Retry => "up for retry",
            Event::Success => "succeeded",
            Event::Deadline => "deadline missed",
        };
        format!("{word}: {} (run {})", self.name(), self.alert.run_id)
    }

    pub(crate) fn subject(&self) -> String {
        // A header is one line.
        let title: String = self.title().chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
        format!("[Towpath] {title}")
    }

    /// The DAG, and of a task its id with the index of a mapped one.
    fn name(&self) -> String {
        thing(&self.alert)
    }

    /// The facts with their names, in the order of a reader's interest.
    pub(crate) fn facts(&self) -> Vec<(&'static str, String)> {
        let alert = &self.alert;
        let mut facts = vec![("State", self.state().to_owned())];
        if alert.task_id.is_some() {
            facts.push(("Try", format!("{} of {}", alert.try_number, self.tries())));
        }
        if let Some(note) = &alert.note {
            facts.push(("Reason", note.clone()));
        }
        for (task_id, note) in &self.failed {
            let note = note.as_deref().map(|note| format!(": {note}")).unwrap_or_default();
            facts.push(("Failed task", format!("{task_id}{note}")));
        }
        if let Some(date) = self.run.as_ref().and_then(|run| run.logical_date) {
            facts.push(("Logical date", time(date)));
        }
        facts.extend(alert.start_date.map(|start| ("Started", time(start))));
        facts.extend(alert.end_date.map(|end| ("Ended", time(end))));
        facts.extend(self.duration().map(|duration| ("Duration", format!("{:.1} s", seconds(duration)))));
        facts
    }

    /// The text of a mail.
    pub(crate) fn text(&self) -> String {
        let mut text = format!("{}\n\n", self.title());
        for (name, value) in self.facts() {
            text.push_str(&format!("{:<14}{}\n", format!("{name}:"), value.replace('\n', "\n              ")));
        }
        if !self.log.is_empty() {
            text.push_str(&format!("\nThe last lines of the log:\n\n{}\n", self.log.join("\n")));
        }
        if let Some(url) = &self.url {
            text.push_str(&format!("\n{url}\n"));
        }
        text
    }

    /// What webhooks and commands get.
    pub(crate) fn json(&self) -> Value {
        let alert = &self.alert;
        let is_task = alert.task_id.is_some();
        let run = self.run.as_ref();
        json!({
            "id": self.identity(),
            "event": alert.event,
            "title": self.title(),
            "dag_id": alert.dag_id,
            "run_id": alert.run_id,
            "run_type": run.map(|run| run.run_type),
            "logical_date": run.and_then(|run| run.logical_date),
            "conf": run.map(|run| &run.conf),
            "task_id": alert.task_id,
            "map_index": is_task.then_some(alert.map_index),
            "try_number": is_task.then_some(alert.try_number),
            "tries": is_task.then(|| self.tries()),
            "state": self.state(),
            "reason": alert.note,
            "failed_tasks": self.failed.iter().map(|(task_id, note)| json!({"task_id": task_id, "reason": note})).collect::<Vec<_>>(),
            "start_date": alert.start_date,
            "end_date": alert.end_date,
            "duration_s": self.duration().map(seconds),
            "log": self.log,
            "url": self.url,
        })
    }

    fn state(&self) -> &'static str {
        match self.alert.event {
            Event::Failure => "failed",
            Event::Retry => "up_for_retry",
            Event::Success => "success",
            // What the run does by now.
            Event::Deadline => self.run.as_ref().map_or("gone", |run| run.state.into()),
        }
    }

    fn tries(&self) -> u32 {
        self.alert.max_tries.saturating_add(1).max(self.alert.try_number)
    }

    fn duration(&self) -> Option<TimeDelta> {
        Some(self.alert.end_date? - self.alert.start_date?)
    }
}

/// What has ended, by its ids.
pub(crate) fn thing(alert: &AlertRecord) -> String {
    match &alert.task_id {
        Some(task_id) if alert.map_index >= 0 => format!("{}.{task_id}[{}]", alert.dag_id, alert.map_index),
        Some(task_id) => format!("{}.{task_id}", alert.dag_id),
        None => alert.dag_id.clone(),
    }
}

/// Where an alert goes, without what only those may know who wrote it.
pub(crate) fn shown_target(target: &Target) -> String {
    let host = |to: &str| url::Url::parse(to).ok().and_then(|url| url.host_str().map(str::to_owned));
    match target {
        Target::Email(to) => to.join(", "),
        Target::Webhook(to) | Target::Slack(to) | Target::Teams(to) => host(to).unwrap_or_else(|| to.clone()),
        Target::Command(_) => "a command".to_owned(),
    }
}

pub(crate) fn time(time: DateTime<Utc>) -> String {
    time.trunc_subsecs(0).format("%Y-%m-%d %H:%M:%S UTC").to_string()
}

fn seconds(duration: TimeDelta) -> f64 {
    duration.num_milliseconds() as f64 / 1_000.0
}

/// The page of a run or a task in the web UI.
fn path_of(alert: &AlertRecord) -> String {
    let part = |text: &str| utf8_percent_encode(text, PART).to_string();
    let run = format!("/dags/{}/runs/{}", part(&alert.dag_id), part(&alert.run_id));
    match &alert.task_id {
        Some(task_id) if alert.map_index >= 0 => {
            format!("{run}/tasks/{}?map_index={}", part(task_id), alert.map_index)
        }
        Some(task_id) => format!("{run}/tasks/{}", part(task_id)),
        None => run,
    }
}

/// A stored line of a log as people read it.
fn log_line(line: &str) -> String {
    let parsed: Option<Value> = serde_json::from_str(line).ok();
    let event = parsed.as_ref().and_then(|line| line.get("event")).and_then(Value::as_str).unwrap_or(line);
    let text = without_escapes(event);
    match text.char_indices().nth(LINE_CHARS) {
        Some((end, _)) => format!("{}...", &text[..end]),
        None => text,
    }
}

/// Colours and the like are for terminals.
fn without_escapes(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        if c == '\u{1b}' {
            if chars.next() == Some('[') {
                // A sequence ends with a byte from `@` to `~` (ECMA-48).
                let _ = chars.find(|c| ('@'..='~').contains(c));
            }
        } else if !c.is_control() || c == '\t' {
            shown.push(c);
        }
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_a_log() {
        let line = |event: &str| json!({"timestamp": "x", "event": event}).to_string();
        for (stored, expected) in [
            (line("plain"), "plain".to_owned()),
            (line("\u{1b}[1;31mred\u{1b}[0m\tand \u{7}rest"), "red\tand rest".to_owned()),
            (line("\u{1b}[31"), String::new()),
            ("not JSON".to_owned(), "not JSON".to_owned()),
            (line(&"ü".repeat(600)), format!("{}...", "ü".repeat(500))),
        ] {
            assert_eq!(log_line(&stored), expected);
        }
    }

    #[test]
    fn addresses_are_not_shown() {
        let hook = Target::Slack("https://hooks.slack.com/services/T/B/hunter2".to_owned());
        assert_eq!(shown_target(&hook), "hooks.slack.com");
        assert_eq!(shown_target(&Target::Teams("teams_alerts".to_owned())), "teams_alerts");
    }
}
