//! Results go to stdout, and this is the only module that writes there.
//!
//! What lists has three forms: a table for people, JSON and YAML for programs. The last two have
//! the same field names and hold everything that the table shows, in full.

use std::io::{self, IsTerminal, Write};

use chrono::{DateTime, SecondsFormat, TimeDelta, Utc};
use clap::{Args, ValueEnum};
use comfy_table::{ContentArrangement, Table, presets};
use serde::Serialize;

/// The form of a result.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub(crate) enum Format {
    #[default]
    Table,
    Json,
    Yaml,
}

/// `--output`, for commands that list or show.
#[derive(Debug, Clone, Copy, Args)]
pub(crate) struct OutputArgs {
    /// Form of the result
    #[arg(short, long, value_enum, default_value_t, value_name = "FORM")]
    pub(crate) output: Format,
}

/// A line of a list.
pub(crate) trait Row: Serialize {
    /// Headings of the columns.
    const HEADINGS: &'static [&'static str];
    /// Its cells, as many as there are headings.
    fn cells(&self) -> Vec<String>;
}

/// Something that is shown by itself.
pub(crate) trait Detail: Serialize {
    /// Names and values, one a line in the form for people.
    fn fields(&self) -> Vec<(&'static str, String)>;
}

/// Prints a list.
///
/// # Errors
/// When stdout cannot be written to.
pub(crate) fn list<T: Row>(format: Format, rows: &[T]) -> anyhow::Result<()> {
    match format {
        Format::Table => Ok(text(&table(T::HEADINGS, rows.iter().map(Row::cells)))?),
        Format::Json | Format::Yaml => data(format, &rows),
    }
}

/// Prints one thing.
///
/// # Errors
/// When stdout cannot be written to.
pub(crate) fn detail<T: Detail>(format: Format, thing: &T) -> anyhow::Result<()> {
    match format {
        Format::Table => Ok(text(&fields(&thing.fields()))?),
        Format::Json | Format::Yaml => data(format, thing),
    }
}

/// Prints data as YAML, or else as JSON.
///
/// # Errors
/// When stdout cannot be written to.
pub(crate) fn data(format: Format, value: &impl Serialize) -> anyhow::Result<()> {
    let mut rendered = match format {
        Format::Yaml => serde_yaml::to_string(value)?,
        Format::Table | Format::Json => serde_json::to_string_pretty(value)?,
    };
    if !rendered.ends_with('\n') {
        rendered.push('\n');
    }
    Ok(text(&rendered)?)
}

/// Prints one line.
///
/// # Errors
/// When stdout cannot be written to.
pub(crate) fn line(line: impl AsRef<str>) -> io::Result<()> {
    write(&[line.as_ref(), "\n"])
}

/// Prints text as it is.
///
/// # Errors
/// When stdout cannot be written to.
pub(crate) fn text(text: &str) -> io::Result<()> {
    write(&[text])
}

/// Whoever has read our output has seen enough, as with `towpath runs list | head`.
#[derive(Debug)]
pub(crate) struct ReaderGone;

impl std::fmt::Display for ReaderGone {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("nobody reads the output any more")
    }
}

impl std::error::Error for ReaderGone {}

fn write(texts: &[&str]) -> io::Result<()> {
    let mut stdout = io::stdout().lock();
    let written = texts.iter().try_for_each(|text| stdout.write_all(text.as_bytes())).and_then(|()| stdout.flush());
    written.map_err(|error| match error.kind() {
        // Told apart from every other pipe that may break.
        io::ErrorKind::BrokenPipe => io::Error::new(io::ErrorKind::BrokenPipe, ReaderGone),
        _ => error,
    })
}

/// Says something on the side, to stderr: it is no part of the result.
pub(crate) fn remark(text: impl AsRef<str>) {
    // Nothing depends on it, so it does not matter when nobody can read it.
    let _ = writeln!(io::stderr(), "{}", text.as_ref());
}

/// Whether people read along.
pub(crate) fn is_terminal() -> bool {
    io::stdout().is_terminal()
}

/// A table, a line a row, each with its end. On a terminal it is made to fit; elsewhere nothing is cut or folded.
pub(crate) fn table(headings: &[&str], rows: impl IntoIterator<Item = Vec<String>>) -> String {
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_header(headings.iter().map(|heading| heading.to_uppercase()));
    table.set_content_arrangement(if is_terminal() {
        ContentArrangement::Dynamic
    } else {
        ContentArrangement::Disabled
    });
    for row in rows {
        table.add_row(row.into_iter().map(|cell| if cell.is_empty() { "-".to_owned() } else { cell }));
    }
    for column in table.column_iter_mut() {
        column.set_padding((0, 2));
    }
    let mut rendered = String::new();
    for line in table.lines() {
        rendered.push_str(line.trim_end());
        rendered.push('\n');
    }
    rendered
}

/// Names and values below each other, the values in one column.
pub(crate) fn fields(fields: &[(&'static str, String)]) -> String {
    let width = fields.iter().map(|(name, _)| name.chars().count()).max().unwrap_or(0) + 2;
    let mut rendered = String::new();
    for (name, value) in fields {
        let value = if value.is_empty() { "-" } else { value };
        let value = value.trim_end().replace('\n', &format!("\n{:width$}", ""));
        rendered.push_str(&format!("{name:width$}{value}\n"));
    }
    rendered
}

/// A time for people: `2026-11-22 23:55:56Z`, to the second.
pub(crate) fn time(time: DateTime<Utc>) -> String {
    time.format("%Y-%m-%d %H:%M:%SZ").to_string()
}

/// [`time`], or nothing.
pub(crate) fn time_or_none(at: Option<DateTime<Utc>>) -> String {
    at.map(time).unwrap_or_default()
}

/// A time for programs, in RFC 3339.
pub(crate) fn rfc3339(time: DateTime<Utc>) -> String {
    time.to_rfc3339_opts(SecondsFormat::AutoSi, true)
}

/// How long something has taken, or has been taking until `now`; nothing before it starts.
pub(crate) fn span(start: Option<DateTime<Utc>>, end: Option<DateTime<Utc>>, now: DateTime<Utc>) -> Option<TimeDelta> {
    start.map(|start| (end.unwrap_or(now) - start).max(TimeDelta::zero()))
}

/// A length of time for people: `1m 12s`.
pub(crate) fn humanize(span: Option<TimeDelta>) -> String {
    span.and_then(|span| span.to_std().ok()).map(towpath_model::duration::humanize).unwrap_or_default()
}

/// A length of time for programs, in seconds.
pub(crate) fn seconds(span: Option<TimeDelta>) -> Option<f64> {
    span.and_then(|span| span.num_microseconds()).map(|micros| micros as f64 / 1e6)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_are_columns_without_lines() {
        let rows =
            [vec!["etl_pipeline".to_owned(), String::new()], vec!["a".to_owned(), "every day, at six".to_owned()]];
        insta::assert_snapshot!(table(&["dag_id", "schedule"], rows));
    }

    #[test]
    fn fields_stand_below_each_other() {
        let shown = [("dag_id", "etl".to_owned()), ("doc", "one\ntwo\n".to_owned()), ("end", String::new())];
        insta::assert_snapshot!(fields(&shown));
    }

    #[test]
    fn spans_never_run_backwards() {
        let at = |s| DateTime::from_timestamp(s, 0);
        let now = at(100).unwrap();
        assert_eq!(span(at(90), None, now), Some(TimeDelta::seconds(10)));
        assert_eq!(span(at(90), at(80), now), Some(TimeDelta::zero()));
        assert_eq!(span(None, at(80), now), None);
    }
}
