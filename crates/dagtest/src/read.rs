//! Test files: YAML in, cases and diagnostics out.
//!
//! A file has `cases`, a list or a mapping by name. What stands beside `cases` holds for all of them; a case
//! that says the same key says it anew, and `tasks` are taken together task by task.

mod expect;
mod given;
mod mocks;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use chrono::{DateTime, Utc};
use towpath_dagfile::tree::{self, Name, Part, Place, Problems};
use towpath_dagfile::{Diagnostic, Limits};
use towpath_model::dag::Dag;

use crate::suite::{Case, Expect, Mock};

/// Keys that hold for all cases when they stand beside `cases`.
const SHARED_KEYS: &[&str] =
    &["dag", "logical_date", "now", "conf", "params", "variables", "connections", "pools", "render_templates", "tasks"];

/// What a test file held.
#[derive(Debug)]
pub struct Loaded {
    /// None where there are errors.
    pub cases: Vec<Case>,
    /// Everything that is wrong, in the order of the file.
    pub diagnostics: Vec<Diagnostic>,
}

/// Reads a test file about `dags`, those of the file that it stands beside. `now` is what relative dates are
/// relative to.
#[must_use]
pub fn load(path: &Path, dags: &[Arc<Dag>], now: DateTime<Utc>, limits: &Limits) -> Loaded {
    let (tree, problems) = tree::read(path, limits);
    let mut reader = Reader { dags, now, problems };
    let mut cases = Vec::new();
    if let Some(tree) = &tree {
        reader.document(tree.root(), &mut cases);
    }
    if reader.problems.errors() > 0 {
        cases.clear();
    }
    Loaded { cases, diagnostics: reader.problems.finish() }
}

/// The entries of a mapping by key.
type Fields<'t> = BTreeMap<&'t str, (Name<'t>, Part<'t>)>;

struct Reader<'a> {
    dags: &'a [Arc<Dag>],
    now: DateTime<Utc>,
    problems: Problems,
}

impl Reader<'_> {
    fn document(&mut self, root: Part<'_>, cases: &mut Vec<Case>) {
        let Some(entries) = root.entries() else {
            self.problems.error(root.place(), format!("a test file is a mapping, not {}", root.describe()));
            return;
        };
        let Some((_, list)) = entries.iter().find(|(name, _)| name.text == "cases") else {
            self.problems.error_with_help(
                root.place(),
                "the file has no `cases`",
                "a file whose name ends in `.test.yaml` or `_test.yaml` holds tests of a DAG; give a DAG file another name",
            );
            return;
        };
        let mut shared = Fields::new();
        for (name, part) in &entries {
            match name.text {
                "cases" => {}
                key if SHARED_KEYS.contains(&key) => {
                    shared.insert(key, (*name, *part));
                }
                key => {
                    let known = SHARED_KEYS.iter().copied().chain(["cases"]);
                    self.problems.unknown(name.place, format!("a test file has no key `{key}`"), key, known);
                }
            }
        }
        let mut names: BTreeMap<String, u32> = BTreeMap::new();
        for (number, (name, part)) in self.list(*list).into_iter().enumerate() {
            let Some(case) = self.case(number + 1, name, part, &shared) else { continue };
            if let Some(line) = names.insert(case.name.clone(), case.line) {
                let message = format!("there are two cases with the name `{}`", case.name);
                self.problems.error_with_help(part.place(), message, format!("the first is in line {line}"));
            }
            cases.push(case);
        }
    }

    /// The cases, with their names where they are a mapping.
    fn list<'t>(&mut self, part: Part<'t>) -> Vec<(Option<Name<'t>>, Part<'t>)> {
        let cases: Vec<_> = match (part.entries(), part.items()) {
            (Some(entries), _) => entries.into_iter().map(|(name, part)| (Some(name), part)).collect(),
            (None, Some(items)) => items.into_iter().map(|part| (None, part)).collect(),
            (None, None) => {
                self.problems.wrong(part, "cases", "a list or a mapping of cases");
                return Vec::new();
            }
        };
        if cases.is_empty() {
            self.problems.error(part.place(), "`cases` is empty");
        }
        cases
    }

    fn case(&mut self, number: usize, name: Option<Name<'_>>, part: Part<'_>, shared: &Fields<'_>) -> Option<Case> {
        let place = name.map_or(part.place(), |name| name.place);
        let mut own = Fields::new();
        if !part.is_null() {
            for (key, value) in self.mapping(part, "a case")? {
                let is_known = SHARED_KEYS.contains(&key.text) || matches!(key.text, "name" | "expect");
                if is_known {
                    own.insert(key.text, (key, value));
                } else {
                    let known = SHARED_KEYS.iter().copied().chain(["name", "expect"]);
                    self.problems.unknown(key.place, format!("a case has no key `{}`", key.text), key.text, known);
                }
            }
        }
        let fields: Fields<'_> = shared.iter().chain(&own).map(|(key, field)| (*key, *field)).collect();
        let name = match (name, fields.get("name")) {
            (Some(name), _) => name.text.to_owned(),
            (None, Some((_, name))) => self.text(*name, "name")?,
            (None, None) => format!("case {number}"),
        };
        let dag = self.dag(place, fields.get("dag").map(|(_, part)| *part))?;
        let given = self.given(place, &dag, &fields);
        let mut mocks: BTreeMap<String, Vec<Mock>> = BTreeMap::new();
        for (_, tasks) in [shared.get("tasks"), own.get("tasks")].into_iter().flatten() {
            self.mocks(*tasks, &dag, &mut mocks);
        }
        let expect = match fields.get("expect") {
            Some((_, part)) => self.expect(*part, &dag),
            None => Expect::default(),
        };
        Some(Case { name, line: place.line(), dag, given, mocks, expect })
    }

    /// The DAG of a case: the one it names, or the only one.
    fn dag(&mut self, place: Place, named: Option<Part<'_>>) -> Option<Arc<Dag>> {
        let ids = self.dags.iter().map(|dag| dag.id());
        let Some(part) = named else {
            return match self.dags {
                [dag] => Some(Arc::clone(dag)),
                [] => {
                    self.problems.error(place, "the DAG file defines no DAG");
                    None
                }
                _ => {
                    let ids: Vec<&str> = ids.collect();
                    let help = format!("write `dag` with one of {}", ids.join(", "));
                    self.problems.error_with_help(place, "the DAG file defines more than one DAG", help);
                    None
                }
            };
        };
        let id = self.text(part, "dag")?;
        let found = self.dags.iter().find(|dag| dag.id() == id);
        if found.is_none() {
            self.problems.unknown(part.place(), format!("the DAG file defines no DAG `{id}`"), &id, ids);
        }
        found.cloned()
    }

    /// The entries of what has to be a mapping.
    fn mapping<'t>(&mut self, part: Part<'t>, name: &str) -> Option<Vec<(Name<'t>, Part<'t>)>> {
        let entries = part.entries();
        if entries.is_none() {
            self.problems.wrong(part, name, "a mapping");
        }
        entries
    }

    /// The entries of a mapping by task, those of unknown tasks left out.
    fn by_task<'t>(&mut self, part: Part<'t>, name: &str, dag: &Dag) -> Vec<(Name<'t>, Part<'t>)> {
        let mut entries = self.mapping(part, name).unwrap_or_default();
        entries.retain(|(task, _)| self.is_task(task.place, task.text, dag));
        entries
    }

    fn is_task(&mut self, place: Place, task_id: &str, dag: &Dag) -> bool {
        let known = dag.task(task_id).is_some();
        if !known {
            let ids = dag.tasks().iter().map(|task| task.task_id.as_str());
            self.problems.unknown(place, format!("DAG `{}` has no task `{task_id}`", dag.id()), task_id, ids);
        }
        known
    }

    fn text(&mut self, part: Part<'_>, name: &str) -> Option<String> {
        let text = part.scalar();
        if text.is_none() {
            self.problems.wrong(part, name, "text");
        }
        text
    }

    fn bool(&mut self, part: Part<'_>, name: &str) -> Option<bool> {
        let value = part.bool();
        if value.is_none() {
            self.problems.wrong(part, name, "true or false");
        }
        value
    }

    fn count(&mut self, part: Part<'_>, name: &str) -> Option<u32> {
        let value = part.integer().and_then(|value| u32::try_from(value).ok());
        if value.is_none() {
            self.problems.wrong(part, name, "a whole number from 0 on");
        }
        value
    }

    fn date(&mut self, part: Part<'_>, name: &str, dag: &Dag) -> Option<DateTime<Utc>> {
        part.date(name, dag.spec().timezone, self.now, &mut self.problems)
    }
}
