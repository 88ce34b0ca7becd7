//! Other YAML files beside DAG files, read with the same limits and complained about in the same way.
//!
//! A [`Tree`] is the document, a [`Part`] is a place in it, and [`Problems`] collects what is wrong with it
//! as [`Diagnostic`]s with file, line, column and a way out. Not here: what such a file means; that is the
//! business of whoever reads it (tests of DAGs, for example).

use std::path::Path;
use std::time::Duration;

use chrono::{DateTime, Utc};
use chrono_tz::Tz;
use serde_json::Value;

use crate::Limits;
use crate::diagnostic::{Diagnostic, Reporter};
use crate::fields;
use crate::node::{Kind, Node, Span};

/// A document that has been read.
#[derive(Debug)]
pub struct Tree(Node);

/// A part of a document: a value, a list or a mapping.
#[derive(Debug, Clone, Copy)]
pub struct Part<'t>(&'t Node);

/// A key of a mapping.
#[derive(Debug, Clone, Copy)]
pub struct Name<'t> {
    pub text: &'t str,
    pub place: Place,
}

/// Where something stands in its file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place(Span);

/// What is wrong with one file.
#[derive(Debug, Default)]
pub struct Problems(Reporter);

/// Reads a file. `None` for the tree when there is none; the problems say why. Keys that a mapping has twice
/// are problems.
#[must_use]
pub fn read(path: &Path, limits: &Limits) -> (Option<Tree>, Problems) {
    match crate::file::read(path, limits) {
        Ok(text) => parse(path, &text, limits),
        Err(diagnostic) => {
            let mut report = Reporter::default();
            let source = report.add_source(path, String::new());
            let span = Span { source, line: diagnostic.line, column: diagnostic.column };
            let reported = report.error(span, &diagnostic.message);
            if let Some(help) = &diagnostic.help {
                reported.help(help);
            }
            (None, Problems(report))
        }
    }
}

/// As [`read`], of a text; `path` is how diagnostics name it.
#[must_use]
pub fn parse(path: &Path, text: &str, limits: &Limits) -> (Option<Tree>, Problems) {
    let mut report = Reporter::default();
    let source = report.add_source(path, text.to_owned());
    let tree = match Node::parse(text.strip_prefix('\u{feff}').unwrap_or(text), source, limits) {
        Ok(node) => {
            node.double_keys(&mut |first, second| fields::given_twice(first, second, &mut report));
            Some(Tree(node))
        }
        Err(error) => {
            let span = Span { source, line: error.line, column: error.column };
            let reported = report.error(span, error.message);
            if let Some(help) = error.help {
                reported.help(help);
            }
            None
        }
    };
    (tree, Problems(report))
}

impl Tree {
    /// The whole document.
    #[must_use]
    pub fn root(&self) -> Part<'_> {
        Part(&self.0)
    }
}

impl Place {
    /// From 1.
    #[must_use]
    pub fn line(self) -> u32 {
        self.0.line
    }
}

impl<'t> Part<'t> {
    /// Where it begins.
    #[must_use]
    pub fn place(self) -> Place {
        Place(self.0.span)
    }

    /// What it is, for messages: `the text "x"`, `a list`.
    #[must_use]
    pub fn describe(self) -> String {
        self.0.describe()
    }

    #[must_use]
    pub fn is_null(self) -> bool {
        self.0.is_null()
    }

    /// The entries of a mapping, in the order of the file.
    #[must_use]
    pub fn entries(self) -> Option<Vec<(Name<'t>, Part<'t>)>> {
        let entries = self.0.as_map()?.iter();
        Some(entries.map(|(key, node)| (Name { text: &key.text, place: Place(key.span) }, Part(node))).collect())
    }

    /// The items of a list.
    #[must_use]
    pub fn items(self) -> Option<Vec<Part<'t>>> {
        Some(self.0.as_list()?.iter().map(Part).collect())
    }

    /// A text; no other scalar.
    #[must_use]
    pub fn text(self) -> Option<&'t str> {
        self.0.as_text()
    }

    /// A scalar as the text that stands for it.
    #[must_use]
    pub fn scalar(self) -> Option<String> {
        self.0.scalar_text()
    }

    /// A boolean, as YAML 1.1 writes it.
    #[must_use]
    pub fn bool(self) -> Option<bool> {
        fields::bool_of(self.0)
    }

    /// A whole number.
    #[must_use]
    pub fn integer(self) -> Option<i64> {
        match &self.0.kind {
            Kind::Int(value) => Some(*value),
            Kind::Null | Kind::Bool(_) | Kind::Float(_) | Kind::Text(_) | Kind::List(_) | Kind::Map(_) => None,
        }
    }

    /// The same as JSON.
    #[must_use]
    pub fn json(self) -> Value {
        self.0.to_json()
    }

    /// A duration, as DAG files write it; a problem where it is none. `name` is that of its key.
    pub fn duration(self, name: &str, problems: &mut Problems) -> Option<Duration> {
        fields::duration_of(self.0, name, &mut problems.0)
    }

    /// A date, as DAG files write it, in `zone` unless it names its own; a problem where it is none.
    pub fn date(self, name: &str, zone: Tz, now: DateTime<Utc>, problems: &mut Problems) -> Option<DateTime<Utc>> {
        crate::date::read(self.0, name, zone, now, &mut problems.0)
    }
}

impl Problems {
    /// Something is wrong.
    pub fn error(&mut self, place: Place, message: impl AsRef<str>) {
        self.0.error(place.0, message);
    }

    /// Something is wrong, and this is the way out.
    pub fn error_with_help(&mut self, place: Place, message: impl AsRef<str>, help: impl AsRef<str>) {
        self.0.error(place.0, message).help(help);
    }

    /// A name is wrong; the nearest of the `known` ones is suggested, or else all are named.
    pub fn unknown<'a>(
        &mut self,
        place: Place,
        message: impl AsRef<str>,
        wrong: &str,
        known: impl IntoIterator<Item = &'a str> + Clone,
    ) {
        const MOST_NAMES: usize = 12;
        let names = known.clone();
        self.0.error(place.0, message).suggest_or(wrong, known, || {
            let mut names: Vec<&str> = names.into_iter().take(MOST_NAMES + 1).collect();
            let more = names.len() > MOST_NAMES;
            names.truncate(MOST_NAMES);
            (!names.is_empty()).then(|| format!("known are {}{}", names.join(", "), if more { ", ..." } else { "" }))
        });
    }

    /// A value has another type; `expected` says what it has to be.
    pub fn wrong(&mut self, part: Part<'_>, name: &str, expected: &str) {
        fields::wrong(&mut self.0, part.0, name, expected);
    }

    /// How many errors there are.
    #[must_use]
    pub fn errors(&self) -> usize {
        self.0.errors()
    }

    /// Everything that is wrong, in the order of the file.
    #[must_use]
    pub fn finish(self) -> Vec<Diagnostic> {
        self.0.finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn problems_say_where() {
        let text = "a: 1\nbc:\n  - x\n  - y\na: 2\n";
        let (tree, mut problems) = parse(Path::new("f.yaml"), text, &Limits::default());
        let tree = tree.unwrap();
        let entries = tree.root().entries().unwrap();
        let (name, list) = entries[1];
        problems.unknown(name.place, "`bc` is unknown", name.text, ["bd", "other"]);
        problems.wrong(list.items().unwrap()[1], "bc", "a number");
        let told: Vec<String> = problems.finish().iter().map(ToString::to_string).collect();
        assert_eq!(told.len(), 3, "{told:#?}");
        assert!(told[0].starts_with("f.yaml:2:1: error: `bc` is unknown") && told[0].ends_with("did you mean `bd`?"));
        assert!(told[1].starts_with("f.yaml:4:5: error: `bc` has to be a number, not the text \"y\""), "{told:#?}");
        assert!(told[2].contains("`a` is given twice"), "{told:#?}");
    }

    #[test]
    fn a_file_that_is_not_there_is_a_problem() {
        let (tree, problems) = read(Path::new("/nowhere/at/all.yaml"), &Limits::default());
        assert!(tree.is_none());
        let told = problems.finish();
        assert!(told[0].to_string().starts_with("/nowhere/at/all.yaml:1:1: error: the file cannot be read"));
    }
}
