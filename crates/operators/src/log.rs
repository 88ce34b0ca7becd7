//! The log of one try: where operators write what happens.
//!
//! Lines go in as text and come out as [`LogLine`]s, masked, in the order in which they were
//! written. Who takes them (the worker sends them to the store, `tasks test` prints them) is the
//! business of the [`Sink`].
//!
//! Masking looks at whole lines, so it does not matter how a process cut its output into writes. A
//! line past [`Limits::line_bytes`] is passed on in pieces; the cut is made so that a secret across it,
//! also one whose end has not been written yet, is still covered.

mod mask;

use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use towpath_model::clock::SharedClock;

pub use mask::{MASK, MIN_SECRET_CHARS, MIN_SECRET_LINE_CHARS, Secrets};

/// The logger of Towpath's own lines.
pub const LOGGER: &str = "towpath";
/// Towpath's own warnings and errors may exceed [`Limits::try_bytes`] by this much, so that the reason why a
/// try failed is not among what was dropped.
const RESERVE_BYTES: u64 = 64 * 1024;

/// Severity of a line.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, strum::Display, strum::EnumString,
)]
#[serde(rename_all = "lowercase")]
#[strum(serialize_all = "lowercase", ascii_case_insensitive)]
pub enum Level {
    Debug,
    Info,
    Warning,
    Error,
    Critical,
}

/// One line, in the shape in which Airflow's API returns it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogLine {
    pub timestamp: DateTime<Utc>,
    pub level: Level,
    /// Who speaks: `task.stdout`, `task.stderr`, `towpath`, or the name of a Python logger.
    pub logger: String,
    /// The text, without a line end; that of a Python logger may hold several lines.
    pub event: String,
}

/// Takes the lines of one try.
pub trait Sink: Send + Sync + std::fmt::Debug {
    /// Takes one line; must not block.
    fn write(&self, line: LogLine);
}

/// A sink that keeps the lines: for tests and previews.
#[derive(Debug, Default)]
pub struct Memory(Mutex<Vec<LogLine>>);

impl Memory {
    /// The lines so far.
    #[must_use]
    pub fn lines(&self) -> Vec<LogLine> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The lines so far as `logger level: event`, one a line.
    #[must_use]
    pub fn text(&self) -> String {
        self.lines().iter().map(|line| format!("{} {}: {}\n", line.logger, line.level, line.event)).collect()
    }
}

impl Sink for Memory {
    fn write(&self, line: LogLine) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(line);
    }
}

/// How much a try may log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Longer lines are cut into pieces; bytes.
    pub line_bytes: usize,
    /// What is written after this many bytes of text is dropped.
    pub try_bytes: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self { line_bytes: 1024 * 1024, try_bytes: 100 * 1024 * 1024 }
    }
}

/// An output stream of a process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stream {
    Stdout,
    Stderr,
}

impl Stream {
    /// The logger under which its lines appear.
    #[must_use]
    pub fn logger(self) -> &'static str {
        match self {
            Self::Stdout => "task.stdout",
            Self::Stderr => "task.stderr",
        }
    }
}

/// The log of one try. Clones write to the same log.
#[derive(Debug, Clone)]
pub struct TaskLog(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    sink: Arc<dyn Sink>,
    clock: SharedClock,
    secrets: Arc<Secrets>,
    limits: Limits,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    stdout: Partial,
    stderr: Partial,
    written_bytes: u64,
    dropping: bool,
}

/// The beginning of a line whose end has not been written yet.
#[derive(Debug, Default)]
struct Partial {
    text: Vec<u8>,
    /// So many bytes at the start of `text` belong to a secret whose beginning has been passed on already.
    covered: usize,
}

impl TaskLog {
    /// A log that goes to `sink`, without what `secrets` knows.
    #[must_use]
    pub fn new(sink: Arc<dyn Sink>, clock: SharedClock, secrets: Arc<Secrets>, limits: Limits) -> Self {
        Self(Arc::new(Inner { sink, clock, secrets, limits, state: Mutex::default() }))
    }

    /// What this log masks; more may be added at any time.
    #[must_use]
    pub fn secrets(&self) -> &Arc<Secrets> {
        &self.0.secrets
    }

    /// The clock that stamps its lines.
    #[must_use]
    pub fn clock(&self) -> &SharedClock {
        &self.0.clock
    }

    /// Towpath says something.
    pub fn info(&self, text: &str) {
        self.line(Level::Info, LOGGER, text);
    }

    /// Towpath warns of something.
    pub fn warning(&self, text: &str) {
        self.line(Level::Warning, LOGGER, text);
    }

    /// Towpath reports an error.
    pub fn error(&self, text: &str) {
        self.line(Level::Error, LOGGER, text);
    }

    /// One record of `logger`. Line ends inside of `text` stay, one at its end goes.
    pub fn line(&self, level: Level, logger: &str, text: &str) {
        let text = text.trim_end_matches(['\r', '\n']);
        let mut writer = self.writer(level, logger);
        let mut whole = Partial { text: Vec::new(), covered: 0 };
        if text.len() > self.0.limits.line_bytes {
            whole.text.extend_from_slice(text.as_bytes());
            writer.pass_on_pieces(&mut whole);
            writer.emit(&whole.text, whole.covered);
        } else {
            writer.emit(text.as_bytes(), 0);
        }
    }

    /// What a process wrote to `stream`. Whole lines are passed on at once; the rest waits for its end or
    /// for [`TaskLog::finish`]. Bytes that are not UTF-8 appear as `U+FFFD`.
    pub fn bytes(&self, stream: Stream, chunk: &[u8]) {
        let mut writer = self.writer(Level::Info, stream.logger());
        let mut partial = std::mem::take(writer.state.partial(stream));
        let mut start = 0;
        for end in memchr::memchr_iter(b'\n', chunk) {
            let line = &chunk[start..end];
            start = end + 1;
            if partial.text.is_empty() && line.len() <= self.0.limits.line_bytes {
                writer.emit(without_return(line), 0);
            } else {
                partial.text.extend_from_slice(line);
                writer.pass_on_pieces(&mut partial);
                writer.emit(without_return(&partial.text), partial.covered);
                partial.text.clear();
                partial.covered = 0;
            }
        }
        partial.text.extend_from_slice(&chunk[start..]);
        writer.pass_on_pieces(&mut partial);
        *writer.state.partial(stream) = partial;
    }

    /// Passes on what has been written without a line end.
    pub fn finish(&self) {
        for stream in [Stream::Stdout, Stream::Stderr] {
            let mut writer = self.writer(Level::Info, stream.logger());
            let partial = std::mem::take(writer.state.partial(stream));
            if !partial.text.is_empty() {
                writer.emit(without_return(&partial.text), partial.covered);
            }
        }
    }

    /// Holds the lock, so that lines reach the sink in the order in which they are written.
    fn writer<'a>(&'a self, level: Level, logger: &'a str) -> Writer<'a> {
        let state = self.0.state.lock().unwrap_or_else(PoisonError::into_inner);
        Writer { inner: &self.0, state, timestamp: self.0.clock.now(), level, logger }
    }
}

impl State {
    fn partial(&mut self, stream: Stream) -> &mut Partial {
        match stream {
            Stream::Stdout => &mut self.stdout,
            Stream::Stderr => &mut self.stderr,
        }
    }
}

struct Writer<'a> {
    inner: &'a Inner,
    state: MutexGuard<'a, State>,
    timestamp: DateTime<Utc>,
    level: Level,
    logger: &'a str,
}

impl Writer<'_> {
    /// Passes on the start of a line that is too long, and leaves in `partial` what is certain to fit.
    fn pass_on_pieces(&mut self, partial: &mut Partial) {
        let limit = self.inner.limits.line_bytes;
        // A secret whose end is missing begins in these last bytes, and they are never passed on.
        let held_back = self.inner.secrets.longest();
        if partial.text.len() <= limit + held_back {
            return;
        }
        let covered = self.covered(&partial.text, partial.covered);
        let (mut start, mut range) = (0, 0);
        while partial.text.len() - start > limit + held_back {
            let end = char_boundary(&partial.text, start + limit);
            let mut piece = Vec::with_capacity(limit);
            let mut done = start;
            while let Some(next) = covered.get(range).filter(|next| next.start < end) {
                piece.extend_from_slice(&partial.text[done..next.start.max(done)]);
                piece.extend_from_slice(MASK.as_bytes());
                done = next.end.min(end);
                if next.end > end {
                    break;
                }
                range += 1;
            }
            piece.extend_from_slice(&partial.text[done..end]);
            self.send(format!("{} [line of more than {limit} bytes, it goes on]", String::from_utf8_lossy(&piece)));
            start = end;
        }
        partial.covered = covered.iter().find(|range| range.contains(&start)).map_or(0, |range| range.end - start);
        partial.text.drain(..start);
    }

    /// Passes on one line.
    fn emit(&mut self, line: &[u8], covered: usize) {
        let covered = self.covered(line, covered);
        let event = if covered.is_empty() {
            String::from_utf8_lossy(line).into_owned()
        } else {
            String::from_utf8_lossy(&mask::replace(line, &covered)).into_owned()
        };
        self.send(event);
    }

    /// What is secret in `text`, of which the first `prefix` bytes are known to be.
    fn covered(&self, text: &[u8], prefix: usize) -> Vec<Range<usize>> {
        let mut covered = self.inner.secrets.covered(text);
        if prefix > 0 {
            let mut first = 0..prefix.min(text.len());
            covered.retain(|range| {
                let joined = range.start <= first.end;
                if joined {
                    first.end = first.end.max(range.end);
                }
                !joined
            });
            covered.insert(0, first);
        }
        covered
    }

    fn send(&mut self, event: String) {
        if self.state.dropping {
            let reserved = self.logger == LOGGER && self.level >= Level::Warning;
            let room = self.state.written_bytes < self.inner.limits.try_bytes.saturating_add(RESERVE_BYTES);
            if !(reserved && room) {
                return;
            }
        }
        self.state.written_bytes += event.len() as u64;
        let logger = self.logger.to_owned();
        self.inner.sink.write(LogLine { timestamp: self.timestamp, level: self.level, logger, event });
        if !self.state.dropping && self.state.written_bytes >= self.inner.limits.try_bytes {
            self.state.dropping = true;
            let event = format!(
                "the log of this try has reached its limit of {} bytes; what follows is dropped",
                self.inner.limits.try_bytes
            );
            let logger = LOGGER.to_owned();
            self.inner.sink.write(LogLine { timestamp: self.timestamp, level: Level::Warning, logger, event });
        }
    }
}

fn without_return(line: &[u8]) -> &[u8] {
    line.strip_suffix(b"\r").unwrap_or(line)
}

/// `at`, or the start of the character that it would cut.
fn char_boundary(text: &[u8], at: usize) -> usize {
    (at.saturating_sub(3)..=at).rev().find(|&i| text.get(i).is_none_or(|byte| byte & 0xC0 != 0x80)).unwrap_or(at)
}

#[cfg(test)]
mod tests;
