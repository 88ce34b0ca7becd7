//! What is wrong with a file, and where.

use std::collections::HashSet;
use std::fmt;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::{Path, PathBuf};

use crate::node::Span;

/// Most characters of a line that a snippet shows.
const SNIPPET_CHARS: usize = 120;
/// A longer line is not shown: finding the place in it costs more than it tells.
const SNIPPET_LINE_BYTES: usize = 256 * 1024;
/// Most characters of a message; what is cut is a name that nobody reads to its end.
const MESSAGE_CHARS: usize = 500;
/// Most errors of one file that are told; a file with more is wrong as a whole.
const MOST_ERRORS: usize = 100;
/// Most warnings, counted apart: they must never take the place of an error.
const MOST_WARNINGS: usize = 50;
/// Work for suggestions in one file, in cells of the table that compares two names. It is about a tenth of a second,
/// and enough for a hundred typing errors among ten thousand tasks.
const SUGGESTION_CELLS: usize = 40_000_000;
/// Nobody mistypes a longer name.
const NAME_CHARS: usize = 250;
/// Distance between the lines whose beginnings are remembered.
const LINE_STEP: usize = 1_024;

/// How bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Severity {
    /// The DAG cannot be used.
    Error,
    /// Something has no effect.
    Warning,
}

/// One problem of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Diagnostic {
    pub severity: Severity,
    /// What is wrong, without a full stop.
    pub message: String,
    pub file: Option<PathBuf>,
    /// From 1.
    pub line: u32,
    /// From 1, in characters.
    pub column: u32,
    /// The line, with a caret below the place.
    pub snippet: String,
    /// The way out.
    pub help: Option<String>,
}

impl Diagnostic {
    /// A problem that somebody else has found in `text`, the text of `file`; line and column count from 1.
    #[must_use]
    pub fn in_text(severity: Severity, message: &str, file: &Path, text: &str, line: u32, column: u32) -> Self {
        let span = Span { source: 0, line, column };
        let (message, snippet) = (clean(message), snippet(text, span));
        Self { severity, message, file: Some(file.to_owned()), line, column, snippet, help: None }
    }
}

impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(file) = &self.file {
            write!(f, "{}:", file.display())?;
        }
        let severity = match self.severity {
            Severity::Error => "error",
            Severity::Warning => "warning",
        };
        write!(f, "{}:{}: {severity}: {}", self.line, self.column, self.message)?;
        for line in self.snippet.lines() {
            write!(f, "\n  {line}")?;
        }
        if let Some(help) = &self.help {
            write!(f, "\n  help: {help}")?;
        }
        Ok(())
    }
}

/// Collects the problems of a file and of the defaults that it uses.
#[derive(Debug, Default)]
pub(crate) struct Reporter {
    sources: Vec<Source>,
    diagnostics: Vec<Diagnostic>,
    /// Hashes of what has been reported: defaults are read once for each DAG that uses them.
    seen: HashSet<u64>,
    errors: usize,
    shown: Counts,
    hidden: Counts,
    suggestion_cells: usize,
}

#[derive(Debug, Default, Clone, Copy)]
struct Counts {
    errors: usize,
    warnings: usize,
}

#[derive(Debug)]
struct Source {
    path: PathBuf,
    text: String,
    /// Where every [`LINE_STEP`]th line begins; empty until a line is asked for.
    marks: Vec<usize>,
}

/// Completes a diagnostic that has just been reported.
pub(crate) struct Reported<'r>(Option<(&'r mut Diagnostic, &'r mut usize)>);

impl Reported<'_> {
    pub(crate) fn help(self, help: impl AsRef<str>) {
        if let Some((diagnostic, _)) = self.0 {
            diagnostic.help = Some(clean(help.as_ref()));
        }
    }

    /// "did you mean", where something near is known.
    pub(crate) fn suggest<'a>(self, wrong: &str, known: impl IntoIterator<Item = &'a str>) {
        self.suggest_or(wrong, known, || None);
    }

    /// "did you mean", or another way out where nothing near is known.
    pub(crate) fn suggest_or<'a>(
        self,
        wrong: &str,
        known: impl IntoIterator<Item = &'a str>,
        otherwise: impl FnOnce() -> Option<String>,
    ) {
        // A problem that is not shown needs no suggestion, which is what makes a hundred thousand of them cheap.
        let Some((diagnostic, cells)) = self.0 else { return };
        let near = nearest_within(wrong, known, cells).map(|near| format!("did you mean `{near}`?"));
        diagnostic.help = near.or_else(otherwise).map(|help| clean(&help));
    }
}

impl Reporter {
    /// Adds a file that spans may point into.
    pub(crate) fn add_source(&mut self, path: &Path, text: String) -> u16 {
        self.sources.push(Source { path: path.to_owned(), text, marks: Vec::new() });
        (self.sources.len() - 1) as u16
    }

    pub(crate) fn error(&mut self, span: Span, message: impl AsRef<str>) -> Reported<'_> {
        self.errors += 1;
        self.report(Severity::Error, span, message.as_ref())
    }

    pub(crate) fn warning(&mut self, span: Span, message: impl AsRef<str>) -> Reported<'_> {
        self.report(Severity::Warning, span, message.as_ref())
    }

    /// How often an error has been met, those included that had been reported before.
    pub(crate) fn errors(&self) -> usize {
        self.errors
    }

    fn report(&mut self, severity: Severity, span: Span, message: &str) -> Reported<'_> {
        let mut hasher = DefaultHasher::new();
        (severity, span, message).hash(&mut hasher);
        if !self.seen.insert(hasher.finish()) {
            return Reported(None);
        }
        let (shown, hidden, most) = match severity {
            Severity::Error => (&mut self.shown.errors, &mut self.hidden.errors, MOST_ERRORS),
            Severity::Warning => (&mut self.shown.warnings, &mut self.hidden.warnings, MOST_WARNINGS),
        };
        if *shown >= most {
            *hidden += 1;
            return Reported(None);
        }
        *shown += 1;
        let (file, snippet) = match self.sources.get_mut(usize::from(span.source)) {
            Some(source) => {
                let snippet = source.line(span.line).map(|line| line_snippet(line, span)).unwrap_or_default();
                (Some(source.path.clone()), snippet)
            }
            None => (None, String::new()),
        };
        let diagnostic = Diagnostic {
            severity,
            message: clean(message),
            file,
            line: span.line,
            column: span.column,
            snippet,
            help: None,
        };
        self.diagnostics.push(diagnostic);
        self.diagnostics.last_mut().map_or(Reported(None), |last| Reported(Some((last, &mut self.suggestion_cells))))
    }

    /// Everything that was reported, in the order of the file, each problem once.
    pub(crate) fn finish(mut self) -> Vec<Diagnostic> {
        self.diagnostics
            .sort_by(|a, b| (&a.file, a.line, a.column, &a.message).cmp(&(&b.file, b.line, b.column, &b.message)));
        for (severity, hidden, thing) in
            [(Severity::Error, self.hidden.errors, "error"), (Severity::Warning, self.hidden.warnings, "warning")]
        {
            let Some(last) = self.diagnostics.iter().rfind(|d| d.severity == severity).filter(|_| hidden > 0) else {
                continue;
            };
            let plural = if hidden == 1 { "" } else { "s" };
            let message = format!("{hidden} more {thing}{plural} of this file are not shown");
            let rest = Diagnostic { message, snippet: String::new(), help: None, ..last.clone() };
            self.diagnostics.push(rest);
        }
        self.diagnostics
    }
}

impl Source {
    fn line(&mut self, number: u32) -> Option<&str> {
        if self.marks.is_empty() {
            let later = self.text.match_indices('\n').map(|(at, _)| at + 1).skip(LINE_STEP - 1).step_by(LINE_STEP);
            self.marks = std::iter::once(0).chain(later).collect();
        }
        let index = (number as usize).saturating_sub(1);
        let from = *self.marks.get(index / LINE_STEP)?;
        self.text[from..].lines().nth(index % LINE_STEP)
    }
}

/// The line of `span` in `text` with a caret.
pub(crate) fn snippet(text: &str, span: Span) -> String {
    text.lines().nth(span.line.saturating_sub(1) as usize).map(|line| line_snippet(line, span)).unwrap_or_default()
}

/// A line with a caret; of a long one, the part around the place.
fn line_snippet(line: &str, span: Span) -> String {
    if line.len() > SNIPPET_LINE_BYTES {
        return String::new();
    }
    let line = line.strip_prefix('\u{feff}').unwrap_or(line);
    let length = line.chars().count();
    let at = (span.column as usize).saturating_sub(1).min(length);
    let from = if length <= SNIPPET_CHARS { 0 } else { at.saturating_sub(SNIPPET_CHARS / 2) };
    let shown = line.chars().skip(from).take(SNIPPET_CHARS);
    let shown: String = shown.map(|c| if c.is_control() { ' ' } else { c }).collect();
    let number = span.line.to_string();
    let pad = " ".repeat(number.len());
    format!("{number} | {}\n{pad} | {}^", shown.trim_end(), " ".repeat(at - from))
}

/// A message that a terminal shows as it is: what a file holds must not move its cursor or fill it.
fn clean(message: &str) -> String {
    let mut text = String::with_capacity(message.len().min(4 * MESSAGE_CHARS));
    for (index, c) in message.chars().enumerate() {
        if index == MESSAGE_CHARS {
            text.push_str("...");
            break;
        }
        if c.is_control() { text.extend(c.escape_unicode()) } else { text.push(c) }
    }
    text
}

/// The known name that `wrong` is probably meant to be.
#[must_use]
pub fn nearest<'a>(wrong: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    nearest_within(wrong, known, &mut 0)
}

/// [`nearest`] that adds its work to `cells` and gives up when they are [`SUGGESTION_CELLS`].
fn nearest_within<'a>(wrong: &str, known: impl IntoIterator<Item = &'a str>, cells: &mut usize) -> Option<&'a str> {
    if wrong.len() > NAME_CHARS * 4 {
        return None;
    }
    let length = wrong.chars().count();
    let most = (length / 3).clamp(1, 4);
    let lower = wrong.to_lowercase();
    let mut best: Option<(usize, &str)> = None;
    for name in known {
        *cells += 1;
        if name.len() > 4 * (length + most) {
            continue;
        }
        let other = name.chars().count();
        if other.abs_diff(length) > most {
            continue;
        }
        *cells += length * other;
        if *cells > SUGGESTION_CELLS {
            break;
        }
        let distance = strsim::damerau_levenshtein(&lower, &name.to_lowercase());
        if distance <= most && distance < length && best.is_none_or(|(least, _)| distance < least) {
            best = Some((distance, name));
        }
    }
    best.map(|(_, name)| name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(line: u32, column: u32) -> Span {
        Span { source: 0, line, column }
    }

    #[test]
    fn suggests_what_is_near_and_nothing_else() {
        let known = ["schedule", "start_date", "tags"];
        assert_eq!(nearest("shedule", known), Some("schedule"));
        assert_eq!(nearest("Start_Date", known), Some("start_date"));
        assert_eq!(nearest("banana", known), None);
    }

    #[test]
    fn a_long_line_is_cut_around_the_place() {
        let text = format!("{}X{}", "a".repeat(500), "b".repeat(500));
        let snippet = snippet(&text, at(1, 501));
        let (line, caret) = snippet.split_once('\n').unwrap();
        assert_eq!(line.chars().nth(caret.chars().count() - 1), Some('X'), "{snippet}");
        assert!(line.len() < 140);
    }

    #[test]
    fn every_line_is_found() {
        let text: String = (1..=5_000).map(|n| format!("line {n}\r\n")).collect();
        let mut source = Source { path: PathBuf::new(), text, marks: Vec::new() };
        for number in [1, 2, 1_023, 1_024, 1_025, 2_048, 2_049, 5_000] {
            assert_eq!(source.line(number), Some(format!("line {number}").as_str()));
        }
        assert_eq!(source.line(5_001), None);
    }

    #[test]
    fn warnings_never_take_the_place_of_an_error() {
        let mut report = Reporter::default();
        for line in 1..=80 {
            report.warning(at(line, 1), "has no effect");
        }
        report.error(at(81, 1), "is wrong");
        report.error(at(81, 1), "is wrong");
        assert_eq!(report.errors(), 2);
        let told = report.finish();
        assert_eq!(told.iter().filter(|d| d.severity == Severity::Error).count(), 1);
        assert_eq!(told.last().map(|d| d.message.as_str()), Some("30 more warnings of this file are not shown"));
    }

    #[test]
    fn suggestions_have_an_end() {
        let known: Vec<String> = (0..100_000).map(|n| format!("{}{n:06}", "a".repeat(240))).collect();
        let wrong = format!("{}x", "b".repeat(245));
        let mut cells = 0;
        assert_eq!(nearest_within(&wrong, known.iter().map(String::as_str), &mut cells), None);
        assert!(cells <= SUGGESTION_CELLS + 300 * 300, "{cells}");
    }

    #[test]
    fn a_message_cannot_steer_a_terminal() {
        assert_eq!(clean("a \u{1b}[31m"), "a \\u{1b}[31m");
        assert!(clean(&"k".repeat(5_000_000)).len() < 600);
    }
}
