//! `alerts`: who is told of which end.

use towpath_model::alert::{Alert, Event, Target};

use crate::diagnostic::Reporter;
use crate::fields::wrong;
use crate::node::{Key, Kind, Node};

/// Keys of an entry that say where to.
pub(crate) const TARGETS: &[&str] = &["email", "webhook", "slack", "teams", "command"];
/// Words of `on`.
pub(crate) const EVENTS: &[&str] = &["failure", "retry", "success", "deadline"];
const EXAMPLE: &str = "for example `- {on: failure, email: ops@example.org}`";

/// Whose ends an entry speaks of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Of {
    Task,
    Run,
}

/// Reads a list of entries, or one entry. An entry with several targets is one for each.
pub(crate) fn read(node: Option<&Node>, of: Of, report: &mut Reporter) -> Vec<Alert> {
    let Some(node) = node else { return Vec::new() };
    let entries = match &node.kind {
        Kind::List(items) => items.as_slice(),
        _ => std::slice::from_ref(node),
    };
    entries.iter().flat_map(|entry| one(entry, of, report)).collect()
}

fn one(node: &Node, of: Of, report: &mut Reporter) -> Vec<Alert> {
    let Some(entries) = node.as_map() else {
        report.error(node.span, format!("an alert has to be a mapping, not {}", node.describe())).help(EXAMPLE);
        return Vec::new();
    };
    let mut on = vec![Event::Failure];
    let mut targets = Vec::new();
    let mut named = false;
    for (key, value) in entries {
        match key.text.as_str() {
            "on" => on = events(value, of, report),
            name if TARGETS.contains(&name) => {
                named = true;
                targets.extend(target(key, value, report));
            }
            name => {
                let known = TARGETS.iter().copied().chain(["on"]);
                report
                    .error(key.span, format!("an alert has no `{name}`"))
                    .suggest_or(name, known, || Some(format!("it has `on` and one of {}", TARGETS.join(", "))));
            }
        }
    }
    if !named {
        report.error(node.span, format!("an alert needs one of {}", TARGETS.join(", "))).help(EXAMPLE);
    }
    targets.into_iter().map(|target| Alert { on: on.clone(), target }).collect()
}

fn events(node: &Node, of: Of, report: &mut Reporter) -> Vec<Event> {
    let items = match &node.kind {
        Kind::List(items) => items.as_slice(),
        _ => std::slice::from_ref(node),
    };
    let mut events: Vec<Event> = Vec::new();
    for item in items {
        let word = item.as_text().unwrap_or_default();
        match word.parse() {
            Ok(Event::Retry) if of == Of::Run => {
                report
                    .error(item.span, "a run is not retried, only its tasks are")
                    .help("alerts of all tasks stand in `default_args`");
            }
            Ok(Event::Deadline) if of == Of::Task => {
                report
                    .error(item.span, "a task has no deadline, only runs have")
                    .help("such an alert stands in `alerts` of the DAG, or in its `deadline`");
            }
            Ok(event) if events.contains(&event) => {}
            Ok(event) => events.push(event),
            Err(_) => {
                let message = format!("`on` has to be one of {}, not {}", EVENTS.join(", "), item.describe());
                report.error(item.span, message).suggest(word, EVENTS.iter().copied());
            }
        }
    }
    if items.is_empty() {
        wrong(report, node, "on", "at least one of failure, retry, success");
    }
    events.sort_unstable();
    events
}

pub(crate) fn target(key: &Key, node: &Node, report: &mut Reporter) -> Option<Target> {
    let text = || node.as_text().map(str::to_owned);
    let target = match key.text.as_str() {
        "email" => addresses(node).map(Target::Email),
        "webhook" => text().map(Target::Webhook),
        "slack" => text().map(Target::Slack),
        "teams" => text().map(Target::Teams),
        _ => text().map(Target::Command),
    };
    let Some(target) = target else {
        let expected = if key.text == "email" { "an address or a list of them" } else { "text" };
        wrong(report, node, &key.text, expected);
        return None;
    };
    if let Some(problem) = target.problem() {
        report.error(node.span, format!("`{}`: {problem}", key.text));
        return None;
    }
    Some(target)
}

/// Addresses as the key `email` of tasks takes them: a list, or text with commas or semicolons.
fn addresses(node: &Node) -> Option<Vec<String>> {
    let texts: Vec<&str> = match &node.kind {
        Kind::List(items) => items.iter().map(Node::as_text).collect::<Option<_>>()?,
        _ => vec![node.as_text()?],
    };
    let addresses = texts.iter().flat_map(|text| text.split([',', ';'])).map(str::trim).filter(|text| !text.is_empty());
    Some(addresses.map(str::to_owned).collect()).filter(|addresses: &Vec<String>| !addresses.is_empty())
}
