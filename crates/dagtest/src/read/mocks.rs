//! How tasks end, as a test file says it.

use std::collections::BTreeMap;

use towpath_dagfile::tree::{Part, Place};
use towpath_model::dag::{Dag, Task};
use towpath_operators::attempt::RETURN_VALUE;

use super::Reader;
use crate::suite::{Ending, Mock};

const ENDINGS: &[&str] = &["success", "failed", "skipped"];
const KEYS: &[&str] = &["state", "return_value", "xcom", "duration", "message", "retry"];

impl Reader<'_> {
    /// Adds the mocks of a mapping by task; one that is there already gives way.
    pub(super) fn mocks(&mut self, part: Part<'_>, dag: &Dag, mocks: &mut BTreeMap<String, Vec<Mock>>) {
        for (name, part) in self.by_task(part, "tasks", dag) {
            if dag.task(name.text).is_some_and(Task::ends_without_worker) {
                let message = format!("task `{}` is `empty`: it ends by itself and always well", name.text);
                self.problems.error_with_help(name.place, message, "leave it out");
                continue;
            }
            let list = match part.items() {
                Some(items) if items.is_empty() => {
                    self.problems.error(part.place(), format!("`{}` has an empty list of outcomes", name.text));
                    continue;
                }
                Some(items) => items.into_iter().filter_map(|item| self.mock(item)).collect(),
                None => self.mock(part).into_iter().collect(),
            };
            mocks.insert(name.text.to_owned(), list);
        }
    }

    /// The outcome of one attempt: a word, or a mapping.
    fn mock(&mut self, part: Part<'_>) -> Option<Mock> {
        if part.is_null() {
            return Some(Mock::default());
        }
        if let Some(word) = part.text() {
            return Some(Mock { ending: self.ending(part.place(), word)?, ..Mock::default() });
        }
        let Some(entries) = part.entries() else {
            self.problems.wrong(part, "an outcome", "success, failed, skipped, or a mapping with `state`");
            return None;
        };
        let mut mock = Mock::default();
        let mut retry = None;
        for (name, part) in entries {
            match name.text {
                "state" => {
                    let word = self.text(part, "state")?;
                    mock.ending = self.ending(part.place(), &word)?;
                }
                "return_value" => mock.xcoms.push((RETURN_VALUE.to_owned(), part.json())),
                "xcom" => match part.entries() {
                    Some(entries) => {
                        mock.xcoms.extend(entries.into_iter().map(|(key, part)| (key.text.to_owned(), part.json())));
                    }
                    None => {
                        let message = format!("`xcom` has to be a mapping of keys to values, not {}", part.describe());
                        self.problems.error_with_help(part.place(), message, "what a task returns is `return_value`");
                    }
                },
                "duration" => mock.duration = part.duration("duration", &mut self.problems).unwrap_or_default(),
                "message" => mock.message = self.text(part, "message"),
                "retry" => retry = self.bool(part, "retry").map(|retry| (name.place, retry)),
                key => {
                    self.problems.unknown(
                        name.place,
                        format!("an outcome has no key `{key}`"),
                        key,
                        KEYS.iter().copied(),
                    );
                }
            }
        }
        match (&mut mock.ending, retry) {
            (Ending::Failed { retry }, Some((_, wanted))) => *retry = wanted,
            (Ending::Success | Ending::Skipped, Some((place, _))) => {
                self.problems.error_with_help(place, "`retry` is for attempts that fail", "write `state: failed`");
            }
            (_, None) => {}
        }
        Some(mock)
    }

    fn ending(&mut self, place: Place, word: &str) -> Option<Ending> {
        match word {
            "success" => Some(Ending::Success),
            "failed" => Some(Ending::Failed { retry: true }),
            "skipped" => Some(Ending::Skipped),
            _ => {
                let message = format!("an attempt does not end as `{word}`");
                self.problems.unknown(place, message, word, ENDINGS.iter().copied());
                None
            }
        }
    }
}
