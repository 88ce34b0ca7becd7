//! `towpath.toml`.

use std::path::Path;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::{Given, Layer, Source, keys};
use crate::names;

/// The settings in `text`.
///
/// # Errors
/// Every problem, each with file, line and column.
pub(super) fn read(path: &Path, text: &str) -> Result<Layer, Vec<String>> {
    let place = |offset: usize| {
        let (line, column) = position(text, offset);
        format!("{}:{line}:{column}", path.display())
    };
    let table = DeTable::parse(text).map_err(|error| {
        let offset = error.span().map_or(0, |span| span.start);
        vec![format!("{}: {}", place(offset), error.message().replace('\n', ", "))]
    })?;
    let mut layer = Layer::new();
    let mut problems = Vec::new();
    for (offset, name, value) in flat(table.get_ref()) {
        let Some(spec) = keys::find(&name) else {
            problems.push((offset, format!("unknown key `{name}`{}", names::hint(&name, keys::names()))));
            continue;
        };
        let start = value.span().start;
        match as_text(value) {
            Ok(text_value) => {
                let source = Source::File { path: path.to_owned(), line: position(text, start).0 };
                layer.insert(spec.name, Given { text: text_value, source });
            }
            Err(kind) => problems.push((start, format!("`{name}` cannot be {kind}"))),
        }
    }
    if problems.is_empty() {
        return Ok(layer);
    }
    problems.sort();
    Err(problems.into_iter().map(|(offset, problem)| format!("{}: {problem}", place(offset))).collect())
}

/// All keys, where they stand and their values. A table is the first word of its keys: `[data]` with `keep` is `data_keep`.
fn flat<'t>(table: &'t DeTable<'t>) -> Vec<(usize, String, &'t Spanned<DeValue<'t>>)> {
    let mut found = Vec::new();
    for (key, value) in table {
        let name: &str = key.get_ref();
        match value.get_ref() {
            DeValue::Table(inner) if keys::names().any(|known| known.starts_with(&format!("{name}_"))) => {
                found.extend(
                    inner.iter().map(|(key, value)| (key.span().start, format!("{name}_{}", key.get_ref()), value)),
                );
            }
            _ => found.push((key.span().start, name.to_owned(), value)),
        }
    }
    found
}

/// A value in the text form that the environment and flags use too.
fn as_text(value: &Spanned<DeValue<'_>>) -> Result<String, &'static str> {
    match value.get_ref() {
        DeValue::String(text) => Ok(text.to_string()),
        DeValue::Integer(number) if number.radix() == 10 => Ok(number.as_str().to_owned()),
        DeValue::Integer(_) => Err("a number that is not decimal"),
        DeValue::Float(number) => Ok(number.as_str().to_owned()),
        DeValue::Boolean(switch) => Ok(switch.to_string()),
        DeValue::Datetime(_) => Err("a date"),
        DeValue::Array(items) => {
            let texts: Result<Vec<String>, _> = items.iter().map(as_text).collect();
            Ok(texts?.join(","))
        }
        DeValue::Table(_) => Err("a table"),
    }
}

/// Line and column (in characters), both from 1.
fn position(text: &str, offset: usize) -> (usize, usize) {
    let before = &text[..text.floor_char_boundary(offset)];
    let line_start = before.rfind('\n').map_or(0, |at| at + 1);
    (before.matches('\n').count() + 1, before[line_start..].chars().count() + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn problems(text: &str) -> String {
        read(Path::new("towpath.toml"), text).expect_err("it is wrong").join("\n")
    }

    #[test]
    fn every_form_of_a_value() {
        let text = "worker_slots = 1_0\nworker_queues = [\"a\", \"b\"]\nstop_grace = 2.5\ndags_are_paused_at_creation = true\n";
        let layer = read(Path::new("t.toml"), text).unwrap();
        let texts: Vec<_> = ["worker_slots", "worker_queues", "stop_grace", "dags_are_paused_at_creation"]
            .map(|key| (layer[key].text.as_str(), layer[key].source.to_string()))
            .into();
        insta::assert_debug_snapshot!(texts);
    }

    #[test]
    fn a_table_is_the_first_word_of_its_keys() {
        let layer =
            read(Path::new("t.toml"), "[data]\nkeep = \"1 day\"\nstaging = \"s\"\n[worker]\nslots = 4\n").unwrap();
        assert_eq!(
            ["data_keep", "data_staging", "worker_slots"].map(|key| layer[key].text.as_str()),
            ["1 day", "s", "4"]
        );
        assert_eq!(layer["data_staging"].source.to_string(), "t.toml:3");
    }

    #[test]
    fn problems_have_a_place() {
        insta::assert_snapshot!(problems(
            "listen = \"127.0.0.1:1\"\n\nlisetn = 1\n[wroker]\nslots = 4\n[data]\nkep = 1\n"
        ));
        insta::assert_snapshot!(problems("data_dir = { a = 1 }\nlog_level = 2020-01-01\n"));
        insta::assert_snapshot!(problems("data_dir = \n"));
    }
}
