//! The file that a DAG came from, in any of its versions, and what changed between two.

use askama::Template;
use axum::extract::{self, Path, Query};
use axum::response::Html;
use chrono::{DateTime, Utc};
use serde::Deserialize;
use similar::{ChangeTag, TextDiff};
use towpath_store::VersionRecord;

use super::super::html;
use super::{Head, load};
use crate::frame::Frame;
use crate::view::moment::Moment;
use crate::view::text::{cut, shown, size};
use crate::view::yaml::{Piece, pieces};
use crate::{Error, Result, State};

/// Most of the file that is shown.
const SOURCE_BYTES: usize = 256 * 1024;
/// Lines around a change.
const AROUND: usize = 4;
/// Longest time that a comparison may take; past it, it is coarser.
const PATIENCE: std::time::Duration = std::time::Duration::from_millis(200);

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Params {
    version: Option<i32>,
    /// The version to compare with.
    diff: Option<String>,
}

#[derive(Template)]
#[template(path = "dag/code.html")]
struct Page {
    frame: Frame,
    now: DateTime<Utc>,
    head: Head,
    number: i32,
    file: String,
    created: Moment,
    versions: Vec<(i32, bool)>,
    other: Option<i32>,
    lines: Vec<Line>,
    /// The file cannot be compared with itself.
    is_same: bool,
    cut: Option<String>,
    source: String,
}

/// A line of the file, or of a comparison.
struct Line {
    /// `add`, `del`, `gap`, or empty.
    class: &'static str,
    before: String,
    number: String,
    pieces: Vec<Piece>,
}

pub(crate) async fn get(
    extract::State(state): extract::State<State>,
    Path(dag_id): Path<String>,
    Query(params): Query<Params>,
) -> Result<Html<String>> {
    let now = state.clock.now();
    let loaded = load(&state, &dag_id, "Code", now).await?;
    let versions = state.store.versions(&dag_id).await?;
    let find = |number: i32| {
        let found = versions.iter().find(|version| version.number == number);
        found.ok_or_else(|| Error::no_such("version", &number.to_string()))
    };
    let version = find(params.version.unwrap_or(loaded.record.version_number))?;
    let other = match params.diff.as_deref().map(str::trim).filter(|text| !text.is_empty()) {
        Some(text) => {
            Some(find(text.parse().map_err(|_| Error::BadRequest(format!("`{text}` is no version of a DAG")))?)?)
        }
        None => None,
    };
    let source = cut(&version.source, SOURCE_BYTES);
    let lines = match other {
        Some(other) => compared(other, source),
        None => plain(source),
    };
    html(&Page {
        frame: loaded.frame.still(),
        now,
        head: loaded.head,
        number: version.number,
        file: shown(&version.file),
        created: Moment::new(version.created_at, now),
        versions: versions.iter().map(|it| (it.number, it.number == version.number)).collect(),
        is_same: other.is_some() && lines.is_empty(),
        other: other.map(|other| other.number),
        cut: (source.len() < version.source.len()).then(|| size(version.source.len()).into_owned()),
        source: shown(source),
        lines,
    })
}

fn plain(source: &str) -> Vec<Line> {
    let line = |(number, text): (usize, &str)| Line {
        class: "",
        before: String::new(),
        number: (number + 1).to_string(),
        pieces: pieces(text),
    };
    source.lines().enumerate().map(line).collect()
}

fn compared(older: &VersionRecord, newer: &str) -> Vec<Line> {
    let older = cut(&older.source, SOURCE_BYTES);
    let diff = TextDiff::configure().timeout(PATIENCE).diff_lines(older, newer);
    let number = |index: Option<usize>| index.map(|index| (index + 1).to_string()).unwrap_or_default();
    let mut lines = Vec::new();
    for (position, group) in diff.grouped_ops(AROUND).iter().enumerate() {
        if position > 0 {
            lines.push(Line { class: "gap", before: String::new(), number: String::new(), pieces: pieces("…") });
        }
        for change in group.iter().flat_map(|op| diff.iter_changes(op)) {
            lines.push(Line {
                class: match change.tag() {
                    ChangeTag::Delete => "del",
                    ChangeTag::Insert => "add",
                    ChangeTag::Equal => "",
                },
                before: number(change.old_index()),
                number: number(change.new_index()),
                pieces: pieces(change.value().trim_end_matches(['\n', '\r'])),
            });
        }
    }
    lines
}

impl Line {
    /// What a reader who does not see colours is told.
    fn sign(&self) -> &'static str {
        match self.class {
            "add" => "+",
            "del" => "-",
            _ => " ",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comparisons() {
        let older = VersionRecord {
            id: 1,
            dag_id: "d".to_owned(),
            number: 1,
            hash: String::new(),
            file: String::new(),
            source: "a: 1\nb: 2\n".to_owned(),
            created_at: DateTime::UNIX_EPOCH,
        };
        let text = |line: &Line| {
            let text: String = line.pieces.iter().map(|piece| piece.text.as_str()).collect();
            format!("{}|{}|{}{text}", line.before, line.number, line.sign())
        };
        let lines: Vec<String> = compared(&older, "a: 1\nb: 3\n").iter().map(text).collect();
        assert_eq!(lines, ["1|1| a: 1", "2||-b: 2", "|2|+b: 3"]);
        assert!(compared(&older, "a: 1\nb: 2\n").is_empty());
    }
}
