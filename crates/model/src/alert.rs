//! Alerts: who is told of which end, and how. Sending them is not this crate's business.

use serde::{Deserialize, Serialize};
use strum::{Display, EnumString};

use crate::dag::{DagSpec, Task};
use crate::state::{RunState, TaskState};

/// What somebody is told of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, Display, EnumString)]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
pub enum Event {
    Failure,
    /// A try has failed and another one follows. Runs are not retried.
    Retry,
    Success,
    /// A run has not succeeded by its deadline.
    Deadline,
}

/// Where an alert goes.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Target {
    /// A mail to all of these addresses.
    Email(Vec<String>),
    /// A POST of JSON to an address, or to that of a connection.
    Webhook(String),
    /// The same in the form of Slack's incoming webhooks.
    Slack(String),
    /// The same in the form of the workflows of Microsoft Teams.
    Teams(String),
    /// A command for the shell that reads JSON from stdin.
    Command(String),
}

/// One entry of `alerts`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Alert {
    pub on: Vec<Event>,
    pub target: Target,
}

impl Event {
    /// What the end of an attempt in this state is.
    #[must_use]
    pub fn of_task(state: TaskState) -> Option<Self> {
        match state {
            TaskState::Success => Some(Self::Success),
            TaskState::Failed => Some(Self::Failure),
            TaskState::UpForRetry => Some(Self::Retry),
            TaskState::None
            | TaskState::Scheduled
            | TaskState::Queued
            | TaskState::Running
            | TaskState::UpForReschedule
            | TaskState::UpstreamFailed
            | TaskState::Skipped
            | TaskState::Removed
            | TaskState::Restarting
            | TaskState::Deferred => None,
        }
    }

    /// What a run that is in this state has met.
    #[must_use]
    pub fn of_run(state: RunState) -> Option<Self> {
        match state {
            RunState::Success => Some(Self::Success),
            RunState::Failed => Some(Self::Failure),
            RunState::Queued | RunState::Running => None,
        }
    }
}

impl Target {
    /// Why nothing can be sent there, seen from the text alone.
    #[must_use]
    pub fn problem(&self) -> Option<String> {
        match self {
            Self::Email(addresses) => addresses
                .iter()
                .find(|address| !is_mail_address(address))
                .map(|address| format!("`{address}` is not a mail address")),
            Self::Webhook(to) | Self::Slack(to) | Self::Teams(to) => {
                let is_address = url::Url::parse(to).is_ok_and(|url| matches!(url.scheme(), "http" | "https"));
                let is_id = |c: char| c.is_alphanumeric() || "_-.".contains(c);
                let fits = is_address || (!to.is_empty() && to.chars().all(is_id));
                (!fits).then(|| format!("`{to}` is neither an http(s) address nor the id of a connection"))
            }
            Self::Command(command) => command.trim().is_empty().then(|| "the command is empty".to_owned()),
        }
    }
}

/// Whether mail may be sent there: something, `@`, something, and nothing that would end a header's line.
fn is_mail_address(text: &str) -> bool {
    let bare = text.rsplit_once('<').map_or(text, |(_, rest)| rest.trim_end_matches('>'));
    let halves = bare.rsplit_once('@').is_some_and(|(local, domain)| !local.is_empty() && !domain.is_empty());
    halves && !bare.contains(char::is_whitespace) && !text.contains(char::is_control)
}

impl Task {
    /// Who is told of `event`, each target once.
    #[must_use]
    pub fn alert_targets(&self, event: Event) -> Vec<Target> {
        let by_mail = match event {
            Event::Failure => self.email_on_failure,
            Event::Retry => self.email_on_retry,
            Event::Success => self.email_on_success,
            Event::Deadline => false,
        };
        let mut targets = Vec::new();
        if by_mail && !self.email.is_empty() {
            targets.push(Target::Email(self.email.clone()));
        }
        add_targets(&mut targets, &self.alerts, event);
        targets
    }
}

impl DagSpec {
    /// Who is told of `event` of a run, each target once.
    #[must_use]
    pub fn alert_targets(&self, event: Event) -> Vec<Target> {
        let mut targets = Vec::new();
        add_targets(&mut targets, &self.alerts, event);
        targets
    }
}

fn add_targets(targets: &mut Vec<Target>, alerts: &[Alert], event: Event) {
    for alert in alerts.iter().filter(|alert| alert.on.contains(&event)) {
        if !targets.contains(&alert.target) {
            targets.push(alert.target.clone());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_is_told_of_what() {
        let mut task = Task::new("t", "empty");
        assert!(task.alert_targets(Event::Failure).is_empty() && task.ends_without_worker());
        task.email = vec!["a@example.org".to_owned()];
        task.email_on_retry = false;
        let mail = Target::Email(task.email.clone());
        let hook = Target::Webhook("https://example.org/x".to_owned());
        let on = |on: &[Event], target: &Target| Alert { on: on.to_vec(), target: target.clone() };
        task.alerts = vec![
            on(&[Event::Failure, Event::Retry], &hook),
            on(&[Event::Failure], &hook),
            on(&[Event::Failure], &mail),
        ];
        assert_eq!(task.alert_targets(Event::Failure), [mail.clone(), hook.clone()]);
        assert_eq!(task.alert_targets(Event::Retry), [hook]);
        assert_eq!(task.alert_targets(Event::Success), []);
        assert!(task.ends_without_worker(), "nobody is told of its success");
        task.email_on_success = true;
        assert_eq!(task.alert_targets(Event::Success), [mail]);
        assert!(!task.ends_without_worker());
    }

    #[test]
    fn targets_that_cannot_be_reached() {
        let mail = |text: &str| Target::Email(vec![text.to_owned()]);
        for (target, fits) in [
            (mail("a@example.org"), true),
            (mail("Data Team <data@example.org>"), true),
            (mail("nobody"), false),
            (mail("a b@example.org"), false),
            (mail("x\r\nBcc: <a@b>"), false),
            (Target::Slack("https://hooks.slack.com/services/T/B/X".to_owned()), true),
            (Target::Teams("teams_alerts".to_owned()), true),
            (Target::Webhook("ftp://example.org".to_owned()), false),
            (Target::Webhook(String::new()), false),
            (Target::Command("  ".to_owned()), false),
            (Target::Command("logger -t towpath".to_owned()), true),
        ] {
            assert_eq!(target.problem().is_none(), fits, "{target:?}: {:?}", target.problem());
        }
    }
}
