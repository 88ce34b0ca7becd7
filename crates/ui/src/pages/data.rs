//! What a task instance has left as data: the first rows, what the columns are like, what was rejected, and how it was made.
//!
//! Bars are pictures: the policy of the pages allows no inline style.

use std::sync::Arc;

use serde_json::Value;
use towpath_model::etl::look::{Bounds, Column, Counted, Owner, ProfiledColumn, Reader, Rows, Trouble, profile, rules};
use towpath_model::etl::{Manifest, MeasuredPlan};
use towpath_store::{RunRecord, TaskInstanceRecord};

use crate::view::text::{count, cut, plural, shown, size};
use crate::{Error, Result, State};

/// The operators whose tasks leave data sets, or read them.
pub(super) const OPERATORS_OF_DATA: [&str; 3] = ["extract", "transform", "load"];
/// What is shown of rows.
const PREVIEW: Bounds = Bounds { rows: 50, bytes: 32 * 1024, cell_chars: 100, columns: 40 };
const REJECTS: Bounds = Bounds { rows: 20, bytes: 12 * 1024, cell_chars: 100, columns: 40 };
/// Bytes that rows, rejects and the profile may take as HTML, where `<` is five: the page stays below 200 kB, whatever is in them.
const PREVIEW_HTML: usize = 48 * 1024;
const REJECTS_HTML: usize = 20 * 1024;
const PROFILE_HTML: usize = 40 * 1024;
/// What a cell, and a column of the profile, take besides their text.
const CELL_HTML: usize = 30;
const COLUMN_HTML: usize = 500;
/// Columns in the profile.
const COLUMNS: usize = 50;
/// Rules that are counted.
const RULES: usize = 50;
/// Operators of a plan.
const OPERATORS: usize = 60;
/// Bytes of the detail of an operator, and of a frequent value.
const DETAIL_BYTES: usize = 200;
const VALUE_BYTES: usize = 40;

/// What there is to show; nothing for most tasks.
#[derive(Default)]
pub(super) struct Data {
    pub(super) set: Option<DataSet>,
    /// Why there is no data set, or none of its rows.
    pub(super) trouble: Option<String>,
    pub(super) plan: Option<Plan>,
}

pub(super) struct DataSet {
    pub(super) summary: String,
    pub(super) location: String,
    pub(super) preview: Option<Table>,
    pub(super) columns: Vec<ColumnRow>,
    pub(super) columns_left: Option<String>,
    pub(super) rejects: Option<Rejects>,
}

pub(super) struct Table {
    pub(super) headings: Vec<Heading>,
    pub(super) rows: Vec<Vec<Cell>>,
    pub(super) about: String,
}

pub(super) struct Heading {
    pub(super) name: String,
    pub(super) kind: String,
    pub(super) is_number: bool,
}

pub(super) struct Cell {
    /// [`None`] for null.
    pub(super) text: Option<String>,
    pub(super) is_number: bool,
}

/// Something with its share, out of 100.
pub(super) struct Bar {
    pub(super) label: String,
    pub(super) count: String,
    pub(super) share: u32,
}

pub(super) struct ColumnRow {
    pub(super) name: String,
    pub(super) kind: String,
    pub(super) nulls: Bar,
    pub(super) distinct: String,
    pub(super) min: String,
    pub(super) max: String,
    pub(super) mean: String,
    pub(super) top: Vec<Bar>,
}

pub(super) struct Rejects {
    pub(super) summary: String,
    pub(super) rules: Vec<Bar>,
    pub(super) table: Option<Table>,
}

pub(super) struct Plan {
    pub(super) summary: String,
    pub(super) operators: Vec<OperatorRow>,
    pub(super) left_out: Option<String>,
}

pub(super) struct OperatorRow {
    /// As wide as it stands deep.
    pub(super) indent: String,
    pub(super) name: String,
    pub(super) detail: String,
    pub(super) rows: String,
    pub(super) took: String,
    pub(super) share: u32,
    pub(super) memory: String,
    pub(super) spilled: String,
}

/// Looks at what an instance has left. `is_data_task`: it should have left something.
pub(super) async fn of(
    state: &State,
    run: &RunRecord,
    instance: &TaskInstanceRecord,
    is_data_task: bool,
) -> Result<Data> {
    let key = &instance.key;
    let plan = match state.store.measured_plan(run, &key.task_id, Some(key.map_index)).await {
        Ok(plan) => plan.ok().map(|(_, plan)| Plan::of(&plan)),
        Err(towpath_store::Error::Invalid(_)) => None,
        Err(error) => return Err(error.into()),
    };
    let found = match state.store.data_set(run, &key.task_id, Some(key.map_index)).await {
        Ok(found) => found.map_err(|trouble| is_worth_a_word(&trouble, is_data_task).then(|| trouble.to_string())),
        // Its manifest was too large for a row, and is gone with the rest.
        Err(towpath_store::Error::Invalid(reason)) => Err(Some(reason)),
        Err(error) => return Err(error.into()),
    };
    let (set, trouble) = match found {
        Ok((_, manifest)) => DataSet::read(state, run, &key.task_id, manifest).await?,
        Err(trouble) => (None, trouble),
    };
    Ok(Data { set, trouble: trouble.as_deref().map(shown), plan })
}

fn is_worth_a_word(trouble: &Trouble, is_data_task: bool) -> bool {
    matches!(trouble, Trouble::Load { .. }) || is_data_task && !matches!(trouble, Trouble::NotYet { .. })
}

impl Data {
    pub(super) fn is_empty(&self) -> bool {
        self.set.is_none() && self.trouble.is_none() && self.plan.is_none()
    }
}

impl DataSet {
    async fn read(
        state: &State,
        run: &RunRecord,
        task_id: &str,
        manifest: Manifest,
    ) -> Result<(Option<Self>, Option<String>)> {
        let manifest = Arc::new(manifest);
        let found = match &state.data {
            Some(reader) => read(reader, run, task_id, &manifest).await?,
            None => Err("this server reads no data sets".to_owned()),
        };
        let (tables, trouble) = match found {
            Ok(tables) => (tables, None),
            Err(trouble) => ((None, None), Some(trouble)),
        };
        Ok((Some(Self::of(&manifest, tables)), trouble))
    }

    fn of(manifest: &Manifest, (preview, rejected): (Option<Table>, Option<Table>)) -> Self {
        let columns = profile(manifest);
        let made = columns.iter().take(COLUMNS).map(|column| ColumnRow::of(column, manifest.rows));
        let shown_columns = within(made, PROFILE_HTML, ColumnRow::html);
        let left = columns.len() - shown_columns.len();
        let most = |counted: &[Counted]| counted.iter().map(|it| it.count).max().unwrap_or_default();
        let rules = rules(manifest);
        let most_broken = most(&rules);
        let bars = rules.iter().take(RULES).map(|rule| Bar::new(&rule.value, DETAIL_BYTES, rule.count, most_broken));
        let rejects = manifest.rejects.as_ref().map_or(0, |rejects| rejects.rows);
        Self {
            summary: format!(
                "{}, {}, {} in {}",
                plural(manifest.rows, "row", "rows"),
                plural(columns.len() as u64, "column", "columns"),
                size(usize::try_from(manifest.bytes).unwrap_or(usize::MAX)),
                plural(manifest.files, "file", "files"),
            ),
            location: shown(&manifest.location),
            preview,
            columns: shown_columns,
            columns_left: (left > 0).then(|| plural(left as u64, "more column", "more columns")),
            rejects: (rejects > 0 || !rules.is_empty()).then(|| Rejects {
                summary: format!("{} put aside", plural(rejects, "row", "rows")),
                rules: bars.collect(),
                table: rejected,
            }),
        }
    }
}

impl ColumnRow {
    fn of(column: &ProfiledColumn, rows: u64) -> Self {
        Self {
            name: shown(cut(&column.name, DETAIL_BYTES)),
            kind: shown(cut(&column.kind, DETAIL_BYTES)),
            nulls: Bar::new("", 0, column.nulls, rows),
            distinct: count(column.distinct),
            min: column.min.as_ref().map(extreme).unwrap_or_default(),
            max: column.max.as_ref().map(extreme).unwrap_or_default(),
            mean: column.mean.map(short).unwrap_or_default(),
            top: column.top.iter().map(|top| Bar::new(&top.value, VALUE_BYTES, top.count, rows)).collect(),
        }
    }

    fn html(&self) -> usize {
        let texts = [&self.name, &self.kind, &self.min, &self.max].into_iter().map(|text| escaped(text));
        let top = self.top.iter().map(|top| escaped(&top.label) + COLUMN_HTML / 2);
        COLUMN_HTML + texts.sum::<usize>() + top.sum::<usize>()
    }
}

impl Cell {
    fn html(&self) -> usize {
        CELL_HTML + self.text.as_deref().map_or(0, escaped)
    }
}

/// Bytes of a text in a page.
fn escaped(text: &str) -> usize {
    text.len() + 4 * text.bytes().filter(|byte| matches!(byte, b'<' | b'>' | b'&' | b'"' | b'\'')).count()
}

/// The first of `things`, as many as `most` bytes have room for; at least one.
fn within<T>(things: impl Iterator<Item = T>, most: usize, size: impl Fn(&T) -> usize) -> Vec<T> {
    let mut kept = Vec::new();
    let mut used = 0;
    for thing in things {
        used += size(&thing);
        if used > most && !kept.is_empty() {
            break;
        }
        kept.push(thing);
    }
    kept
}

/// The first rows, and the first that were rejected; or why they cannot be read.
async fn read(
    reader: &Arc<dyn Reader>,
    run: &RunRecord,
    task_id: &str,
    manifest: &Arc<Manifest>,
) -> Result<Result<(Option<Table>, Option<Table>), String>> {
    let (reader, manifest) = (Arc::clone(reader), Arc::clone(manifest));
    let (dag_id, task_id) = (run.dag_id.clone(), task_id.to_owned());
    let done = tokio::task::spawn_blocking(move || {
        let owner = Owner { dag_id: &dag_id, task_id: &task_id };
        let head = reader.head(owner, &manifest, &PREVIEW)?;
        let rejects = reader.rejects(owner, &manifest, &REJECTS)?;
        let rejects = (!rejects.rows.is_empty()).then(|| Table::of(&rejects, REJECTS_HTML));
        Ok((Some(Table::of(&head, PREVIEW_HTML)), rejects))
    });
    let done: Result<_, Trouble> = done.await.map_err(|error| Error::Panic(error.to_string()))?;
    Ok(done.map_err(|trouble| trouble.to_string()))
}

impl Table {
    /// The first of the rows, as many as `most_html` bytes have room for.
    fn of(found: &Rows, most_html: usize) -> Self {
        let is_number: Vec<bool> = found.columns.iter().map(is_number).collect();
        let cell = |(value, is_number): (&Value, &bool)| Cell { text: text(value), is_number: *is_number };
        let made = found.rows.iter().map(|row| row.iter().zip(&is_number).map(cell).collect::<Vec<_>>());
        let rows = within(made, most_html, |row| row.iter().map(Cell::html).sum());
        let shown_rows = rows.len() as u64;
        let mut about = if shown_rows == found.total_rows {
            plural(found.total_rows, "row", "rows")
        } else {
            format!("the first {} of {}", count(shown_rows), plural(found.total_rows, "row", "rows"))
        };
        if found.columns_left > 0 {
            about.push_str(&format!(", without {}", plural(found.columns_left as u64, "column", "columns")));
        }
        if found.values_cut > 0 {
            about.push_str(&format!(", {} cut", plural(found.values_cut, "long value", "long values")));
        }
        Self {
            headings: found
                .columns
                .iter()
                .zip(&is_number)
                .map(|(column, is_number)| Heading {
                    name: shown(cut(&column.name, DETAIL_BYTES)),
                    kind: shown(cut(&column.kind, DETAIL_BYTES)),
                    is_number: *is_number,
                })
                .collect(),
            rows,
            about,
        }
    }
}

fn is_number(column: &Column) -> bool {
    ["int", "uint", "float", "decimal"].iter().any(|kind| column.kind.starts_with(kind))
}

/// A value of a row, in one line.
fn text(value: &Value) -> Option<String> {
    match value {
        Value::Null => None,
        Value::String(text) => Some(shown(text).replace(['\n', '\t'], " ")),
        other => Some(shown(&other.to_string())),
    }
}

/// The least or largest value of a column.
fn extreme(value: &Value) -> String {
    match value {
        Value::Number(number) if number.is_f64() => number.as_f64().map(short).unwrap_or_default(),
        other => text(other).map(|text| cut(&text, VALUE_BYTES).to_owned()).unwrap_or_default(),
    }
}

/// A number with as many digits as people look at.
fn short(number: f64) -> String {
    let rounded: f64 = format!("{number:.5e}").parse().unwrap_or(number);
    rounded.to_string()
}

impl Bar {
    fn new(label: &str, most_bytes: usize, number: u64, whole: u64) -> Self {
        let part = cut(label, most_bytes);
        let label = if part.len() < label.len() { format!("{}…", shown(part)) } else { shown(part) };
        Self { label, count: count(number), share: share(number as f64, whole as f64) }
    }
}

/// A part of a whole, out of 100; what is there at all can be seen.
fn share(part: f64, whole: f64) -> u32 {
    if part <= 0.0 || whole <= 0.0 { 0 } else { ((part / whole * 100.0).round() as u32).clamp(1, 100) }
}

impl Plan {
    fn of(plan: &MeasuredPlan) -> Self {
        let bytes = |count: u64| size(usize::try_from(count).unwrap_or(usize::MAX)).into_owned();
        let some = |count: u64| if count == 0 { String::new() } else { bytes(count) };
        let longest = plan.operators.iter().map(|it| it.elapsed_ms).fold(0.0, f64::max);
        let left = plan.operators.len().saturating_sub(OPERATORS);
        Self {
            summary: format!(
                "{} and {} in, {:.2} s, at most {} in memory",
                plural(plan.rows_in, "row", "rows"),
                bytes(plan.bytes_in),
                plan.seconds,
                bytes(plan.peak_memory_bytes),
            ),
            operators: plan
                .operators
                .iter()
                .take(OPERATORS)
                .map(|it| OperatorRow {
                    indent: "\u{a0}\u{a0}".repeat(it.depth.min(20)),
                    name: shown(cut(&it.name, DETAIL_BYTES)),
                    detail: shown(cut(&it.detail, DETAIL_BYTES)),
                    rows: count(it.rows_out),
                    took: format!("{:.1} ms", it.elapsed_ms),
                    share: share(it.elapsed_ms, longest),
                    memory: some(it.memory_bytes),
                    spilled: some(it.spilled_bytes),
                })
                .collect(),
            left_out: (left > 0).then(|| plural(left as u64, "more operator", "more operators")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares() {
        for (part, whole, expected) in
            [(0.0, 9.0, 0), (1.0, 1e9, 1), (5.0, 10.0, 50), (9.0, 9.0, 100), (1.0, 0.0, 0), (20.0, 10.0, 100)]
        {
            assert_eq!(share(part, whole), expected, "{part} of {whole}");
        }
    }

    #[test]
    fn numbers_are_short() {
        for (number, expected) in [
            (2.0, "2"),
            (1.0 / 3.0, "0.333333"),
            (1_039.912_603_8, "1039.91"),
            (-0.5, "-0.5"),
            (1e20, "100000000000000000000"),
        ] {
            assert_eq!(short(number), expected);
        }
    }

    #[test]
    fn pages_have_room_for_the_first() {
        assert_eq!(escaped("a<b>&'\""), 7 + 20);
        for (sizes, most, expected) in [(&[5, 5, 5][..], 10, 2), (&[50], 10, 1), (&[], 10, 0), (&[1, 50, 1], 10, 1)] {
            assert_eq!(within(sizes.iter(), most, |size| **size).len(), expected, "{sizes:?}");
        }
    }

    #[test]
    fn hostile_values_are_one_line() {
        let value = Value::String("a\n\u{1b}[31m\u{202e}b".to_owned());
        assert_eq!(text(&value).as_deref(), Some("a ␛[31m⟨U+202E⟩b"));
        assert_eq!(text(&Value::Null), None);
    }
}
