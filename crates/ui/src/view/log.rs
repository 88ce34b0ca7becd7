//! Lines of a log.

use std::collections::VecDeque;

use askama::Template;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use towpath_store::{LogKey, Result, Store};

use super::ansi::{Segment, segments};
use super::text::{count, cut, shown, size};

/// Lines shown from the start of a log, when it is too long to be shown whole.
const HEAD: usize = 200;
/// Lines shown from its end, where the error is.
const TAIL: usize = 1_000;
/// Most of one line that is shown.
const LINE_BYTES: usize = 8 * 1024;
/// Found lines that are named.
const HITS: usize = 2_000;
/// Chunks read at a time.
const BATCH: u32 = 64;

/// A line as it is stored.
#[derive(Debug, Deserialize)]
struct Stored {
    timestamp: Option<DateTime<Utc>>,
    level: Option<String>,
    logger: Option<String>,
    event: String,
}

/// A line as it is shown.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Line {
    /// From 1.
    pub(crate) number: u64,
    pub(crate) time: String,
    /// `debug`, `info`, `warning`, `error` or `critical`.
    pub(crate) level: &'static str,
    /// Who speaks, unless it is the task itself.
    pub(crate) logger: Option<String>,
    pub(crate) segments: Vec<Segment>,
    /// Says how long the line is, if it was cut.
    pub(crate) cut: Option<String>,
}

/// Lines as list items.
#[derive(Debug, Template)]
#[template(path = "parts/lines.html")]
pub(crate) struct Lines {
    pub(crate) lines: Vec<Line>,
}

impl askama::filters::HtmlSafe for Lines {}

/// A log, or what follows a part of it.
#[derive(Debug)]
pub(crate) struct Log {
    pub(crate) head: Lines,
    /// Says how many lines lie between head and tail, if there are such.
    pub(crate) gap: Option<String>,
    pub(crate) tail: Lines,
    /// Where what is left out begins: its chunk, and the last line before it.
    pub(crate) gap_at: Option<(Place, u64)>,
    /// The number of the first line that tells of an error.
    pub(crate) first_error: Option<u64>,
    /// Where reading goes on: the next chunk and the number of its first line.
    pub(crate) next: Place,
}

/// Where a text was found.
#[derive(Debug, Serialize)]
pub(crate) struct Hits {
    /// Lines in all.
    pub(crate) total: u64,
    /// The first of them: its number, its chunk, and the first line of that.
    pub(crate) lines: Vec<(u64, u32, u64)>,
}

/// A place in a log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) seq: u32,
    pub(crate) line: u64,
}

impl Place {
    pub(crate) const START: Self = Self { seq: 0, line: 1 };
}

impl Log {
    pub(crate) fn is_empty(&self) -> bool {
        self.head.lines.is_empty()
    }

    /// Up to `most` lines after line `after`, from the chunk at `place` on, and where the next begin.
    pub(crate) async fn window(
        store: &Store,
        key: &LogKey,
        mut place: Place,
        after: u64,
        until: u64,
        most: usize,
    ) -> Result<(Lines, Place)> {
        let mut lines = Vec::new();
        loop {
            let chunks = store.read_log(key, place.seq, 8).await?;
            if chunks.is_empty() {
                return Ok((Lines { lines }, place));
            }
            for chunk in chunks {
                for (offset, line) in chunk.text.lines().enumerate() {
                    let number = place.line + offset as u64;
                    if number >= until || lines.len() == most {
                        return Ok((Lines { lines }, place));
                    }
                    if number > after {
                        lines.push(read(number, line));
                    }
                }
                place = Place { seq: chunk.seq + 1, line: place.line + chunk.text.lines().count() as u64 };
            }
        }
    }

    /// The last `most` lines, how many come before them, and the first of them that tells of an error.
    pub(crate) async fn tail(store: &Store, key: &LogKey, most: usize) -> Result<(Lines, u64, Option<u64>)> {
        let (chunks, before) = store.log_end(key, most as u64).await?;
        let stored: Vec<&str> = chunks.iter().flat_map(|chunk| chunk.text.lines()).collect();
        let left_out = stored.len().saturating_sub(most);
        let skipped = before + left_out as u64;
        let numbered = || (skipped + 1..).zip(&stored[left_out..]);
        let first_error = numbered().find(|(_, line)| tells_of_error(line)).map(|(number, _)| number);
        let lines = numbered().map(|(number, line)| read(number, line)).collect();
        Ok((Lines { lines }, skipped, first_error))
    }

    /// The lines that hold `text`, in upper or lower case.
    pub(crate) async fn find(store: &Store, key: &LogKey, text: &str) -> Result<Hits> {
        let mut hits = Hits { total: 0, lines: Vec::new() };
        let wanted = text.to_lowercase();
        // What JSON writes as it is can be looked for in the stored line, without reading it.
        let is_plain = wanted.chars().all(|c| c.is_ascii_alphanumeric() || " _-.,;:=()[]/+*#%!?@&|".contains(c));
        let mut place = Place::START;
        loop {
            let chunks = store.read_log(key, place.seq, BATCH).await?;
            let is_end = chunks.len() < BATCH as usize;
            for chunk in chunks {
                let begin = Place { seq: chunk.seq, line: place.line };
                for line in chunk.text.lines() {
                    let number = place.line;
                    place.line += 1;
                    if (is_plain && !line.to_lowercase().contains(&wanted)) || !event_holds(line, &wanted) {
                        continue;
                    }
                    hits.total += 1;
                    if hits.lines.len() < HITS {
                        hits.lines.push((number, begin.seq, begin.line));
                    }
                }
                place.seq = chunk.seq + 1;
            }
            if is_end {
                return Ok(hits);
            }
        }
    }

    /// Reads from `place` to the end.
    pub(crate) async fn read(store: &Store, key: &LogKey, place: Place) -> Result<Self> {
        let mut collect = Collect::new(place);
        loop {
            let chunks = store.read_log(key, collect.next.seq, BATCH).await?;
            let is_end = chunks.len() < BATCH as usize;
            for chunk in chunks {
                collect.take(chunk.seq, &chunk.text);
            }
            if is_end {
                return Ok(collect.finish());
            }
        }
    }
}

/// Keeps the start and the end of what is read.
#[derive(Debug)]
struct Collect {
    head: Vec<Line>,
    /// Stored lines with their numbers.
    tail: VecDeque<(u64, String)>,
    left_out: u64,
    next: Place,
    gap_at: Option<(Place, u64)>,
    first_error: Option<u64>,
}

impl Collect {
    fn new(next: Place) -> Self {
        Self { head: Vec::new(), tail: VecDeque::new(), left_out: 0, next, gap_at: None, first_error: None }
    }

    fn take(&mut self, seq: u32, text: &str) {
        let chunk = Place { seq, line: self.next.line };
        for line in text.lines() {
            let number = self.next.line;
            self.next.line += 1;
            if self.first_error.is_none() && tells_of_error(line) {
                self.first_error = Some(number);
            }
            if self.head.len() == HEAD && self.gap_at.is_none() {
                self.gap_at = Some((chunk, number - 1));
            }
            if self.head.len() < HEAD {
                self.head.push(read(number, line));
                continue;
            }
            if self.tail.len() == TAIL {
                self.tail.pop_front();
                self.left_out += 1;
            }
            self.tail.push_back((number, line.to_owned()));
        }
        self.next.seq = seq + 1;
    }

    fn finish(self) -> Log {
        Log {
            head: Lines { lines: self.head },
            gap: (self.left_out > 0).then(|| format!("{} lines are not shown here", count(self.left_out))),
            tail: Lines { lines: self.tail.into_iter().map(|(number, line)| read(number, &line)).collect() },
            gap_at: self.gap_at.filter(|_| self.left_out > 0),
            first_error: self.first_error,
            next: self.next,
        }
    }
}

/// Without reading all of the line: there may be a million of them.
fn tells_of_error(line: &str) -> bool {
    line.contains(r#""level":"error""#) || line.contains(r#""level":"critical""#)
}

/// Whether the text of a stored line holds `wanted`, which is in lower case.
fn event_holds(line: &str, wanted: &str) -> bool {
    match serde_json::from_str::<Stored>(line) {
        Ok(stored) => stored.event.to_lowercase().contains(wanted),
        Err(_) => line.to_lowercase().contains(wanted),
    }
}

fn read(number: u64, line: &str) -> Line {
    // A line that is not as it should be is shown as it is.
    let stored = serde_json::from_str(line).unwrap_or_else(|_| Stored {
        timestamp: None,
        level: None,
        logger: None,
        event: line.to_owned(),
    });
    let text = cut(&stored.event, LINE_BYTES);
    Line {
        number,
        time: stored.timestamp.map(|time| time.format("%H:%M:%S%.3f").to_string()).unwrap_or_default(),
        level: level(stored.level.as_deref()),
        logger: stored.logger.filter(|logger| !logger.starts_with("task.std")).map(|logger| shown(cut(&logger, 100))),
        segments: segments(text),
        cut: (text.len() < stored.event.len()).then(|| format!("{} in all", size(stored.event.len()))),
    }
}

fn level(name: Option<&str>) -> &'static str {
    match name {
        Some("debug") => "debug",
        Some("warning") => "warning",
        Some("error") => "error",
        Some("critical") => "critical",
        _ => "info",
    }
}

/// A stored line as plain text, for those who want the whole log.
pub(crate) fn plain(line: &str) -> String {
    match serde_json::from_str::<Stored>(line) {
        Ok(stored) => {
            let time =
                stored.timestamp.map(|time| time.format("%Y-%m-%dT%H:%M:%S%.3fZ ").to_string()).unwrap_or_default();
            format!("{time}{:<8} {}\n", level(stored.level.as_deref()), stored.event)
        }
        Err(_) => format!("{line}\n"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stored(event: &str) -> String {
        let line = serde_json::json!({"timestamp": "2026-02-03T04:05:06.123456Z", "level": "error", "logger": "task.stdout", "event": event});
        format!("{line}\n")
    }

    #[test]
    fn a_line() {
        let line = read(7, stored("\u{1b}[31m<b>boom</b>").trim_end());
        assert_eq!((line.number, line.time.as_str(), line.level, line.logger), (7, "04:05:06.123", "error", None));
        assert_eq!(line.segments, [Segment { class: "c1".into(), text: "<b>boom</b>".into() }]);
        let line = read(1, "not json");
        assert_eq!((line.level, line.segments[0].text.as_str()), ("info", "not json"));
    }

    #[test]
    fn a_long_line_is_cut() {
        let line = read(1, stored(&"x".repeat(10_000_000)).trim_end());
        assert_eq!(line.cut.as_deref(), Some("10.0 MB in all"));
        assert_eq!(line.segments[0].text.len(), LINE_BYTES);
    }

    #[test]
    fn a_long_log_keeps_its_ends() {
        let mut collect = Collect::new(Place::START);
        for seq in 0..30 {
            let text: String = (0..100).map(|i| stored(&format!("{}", seq * 100 + i))).collect();
            collect.take(seq, &text);
        }
        let log = collect.finish();
        assert_eq!((log.head.lines.len(), log.tail.lines.len()), (HEAD, TAIL));
        assert_eq!(log.gap.as_deref(), Some("1\u{202f}800 lines are not shown here"));
        assert_eq!((log.tail.lines[0].number, log.tail.lines[0].segments[0].text.as_str()), (2_001, "2000"));
        assert_eq!(log.next, Place { seq: 30, line: 3_001 });
    }

    #[test]
    fn lines_in_html() {
        let lines = vec![
            read(1, stored("<script>alert(1)</script>").trim_end()),
            read(2, stored(&"x".repeat(LINE_BYTES + 1)).trim_end()),
        ];
        let html = Lines { lines }.to_string().replace(&"x".repeat(LINE_BYTES), "xxx");
        insta::assert_snapshot!(html);
    }

    #[test]
    fn plain_text() {
        assert_eq!(plain(stored("a").trim_end()), "2026-02-03T04:05:06.123Z error    a\n");
    }
}
