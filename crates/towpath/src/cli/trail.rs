//! The audit log of the command line: every command that has changed something leaves an entry, as those of Airflow
//! do. What was given is told by its name, and by its value only where it is an id.

use clap::ArgMatches;
use clap::parser::ValueSource;
use nix::unistd::{Uid, User};
use serde_json::{Map, Value, json};
use towpath_store::NewEvent;

use crate::session::Session;
use crate::{lifecycle, output};

/// What changes something: noun and verbs.
const CHANGES: &[(&str, &[&str])] = &[
    ("dags", &["trigger", "pause", "unpause", "delete"]),
    ("runs", &["rerun", "cancel", "delete", "mark"]),
    ("backfills", &["create", "pause", "unpause", "cancel"]),
    ("tasks", &["clear", "mark", "retry"]),
    ("variables", &["set", "delete", "import"]),
    ("connections", &["add", "delete"]),
    ("pools", &["set", "delete"]),
    ("data", &["clean"]),
    ("users", &["create", "set-password", "set-role", "grant", "revoke", "delete", "link", "login-link"]),
    ("tokens", &["create", "revoke"]),
    ("webhooks", &["create", "revoke"]),
    ("assets", &["trigger", "clear-queue"]),
];

/// Arguments whose values may be told.
const IDS: [&str; 16] = [
    "dag_id", "dag_ids", "task_ids", "run_id", "task_id", "name", "user", "key", "conn_id", "role", "dag", "tag",
    "slots", "id", "state", "edit",
];

/// Who is at the keyboard, by the operating system: `cli:ada`.
pub(crate) fn operator() -> String {
    let uid = Uid::current();
    let user = User::from_uid(uid).ok().flatten();
    user.map_or_else(|| format!("cli:{uid}"), |user| format!("cli:{}", user.name))
}

/// Writes an entry for a command that has succeeded, if it is one that changes something. It is too late to fail: a log
/// that cannot be written is told and nothing else.
pub(super) fn leave(matches: &ArgMatches, session: &Session) {
    let Some(event) = event(matches) else { return };
    let write = async || -> anyhow::Result<()> {
        session.store().await?.record_events(&[(session.now(), event)]).await?;
        Ok(())
    };
    if let Err(error) = lifecycle::small_runtime().and_then(|runtime| runtime.block_on(write())) {
        output::remark(format!("warning: the audit log cannot be written: {error:#}"));
    }
}

fn event(matches: &ArgMatches) -> Option<NewEvent> {
    let (noun, within) = matches.subcommand()?;
    let (verb, given) = within.subcommand()?;
    let (_, verbs) = CHANGES.iter().find(|(known, _)| *known == noun)?;
    if !verbs.contains(&verb) || is_set(given, "dry_run") {
        return None;
    }
    let mut told = Map::new();
    for id in given.ids().map(clap::Id::as_str) {
        if given.value_source(id) != Some(ValueSource::CommandLine) {
            continue;
        }
        let value = if IDS.contains(&id) { values(given, id) } else { Value::from("***") };
        told.insert(id.to_owned(), value);
    }
    let text = |id: &str| told.get(id).and_then(Value::as_str).map(str::to_owned);
    let host = towpath_scheduler::ProcessIdentity::current().hostname;
    Some(NewEvent {
        event: format!("cli_{noun}_{}", verb.replace('-', "_")),
        owner: Some(operator()),
        dag_id: text("dag_id").or_else(|| text("dag_ids")),
        run_id: text("run_id"),
        task_id: text("task_id"),
        extra: Some(
            json!({"host_name": host, "command": format!("towpath {noun} {verb}"), "arguments": told}).to_string(),
        ),
        ..NewEvent::default()
    })
}

fn is_set(given: &ArgMatches, id: &str) -> bool {
    given.try_contains_id(id).unwrap_or(false) && given.value_source(id) == Some(ValueSource::CommandLine)
}

fn values(given: &ArgMatches, id: &str) -> Value {
    let raw = given.try_get_raw(id).ok().flatten();
    let mut values: Vec<Value> = raw.into_iter().flatten().map(|text| text.to_string_lossy().into()).collect();
    if values.len() == 1 { values.remove(0) } else { values.into() }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    fn told(line: &str) -> Option<NewEvent> {
        let command = crate::cli::Cli::command();
        event(&command.try_get_matches_from(line.split(' ')).unwrap())
    }

    #[test]
    fn what_changes_something_leaves_an_entry_without_secrets() {
        let trigger = told("towpath dags trigger etl --run-id r1 --conf {\"password\":\"hunter2\"}").unwrap();
        assert_eq!((trigger.event.as_str(), trigger.dag_id.as_deref()), ("cli_dags_trigger", Some("etl")));
        assert_eq!(trigger.run_id.as_deref(), Some("r1"));
        let extra = trigger.extra.unwrap();
        assert!(extra.contains("\"conf\":\"***\"") && !extra.contains("hunter2"), "{extra}");
        let set = told("towpath variables set key hunter2").unwrap();
        assert!(set.extra.as_ref().is_some_and(|extra| extra.contains("key") && !extra.contains("hunter2")), "{set:?}");
        assert_eq!(told("towpath users login-link ada").unwrap().event, "cli_users_login_link");
        assert_eq!(told("towpath dags list"), None);
        assert_eq!(told("towpath tasks clear etl --dry-run"), None);
    }

    /// A verb that is misspelt here would leave no trace.
    #[test]
    fn every_change_is_a_command() {
        let command = crate::cli::Cli::command();
        for (noun, verbs) in CHANGES {
            let noun = command.find_subcommand(noun).unwrap_or_else(|| panic!("{noun}"));
            for verb in *verbs {
                assert!(noun.find_subcommand(verb).is_some(), "{} {verb}", noun.get_name());
            }
        }
    }
}
