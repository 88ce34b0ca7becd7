//! What is wrong with a file, and where.

use std::fmt;
use std::path::{Path, PathBuf};

use crate::node::Span;

/// Most characters of a line that a snippet shows.
const SNIPPET_CHARS: usize = 120;
/// Most problems of one file that are told; a file with more is wrong as a whole.
const MOST: usize = 100;

/// How bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
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
    sources: Vec<(PathBuf, String)>,
    diagnostics: Vec<Diagnostic>,
    errors: usize,
}

/// Completes a diagnostic that has just been reported.
pub(crate) struct Reported<'r>(Option<&'r mut Diagnostic>);

impl Reported<'_> {
    pub(crate) fn help(self, help: impl Into<String>) {
        if let Some(diagnostic) = self.0 {
            diagnostic.help = Some(help.into());
        }
    }

    /// "did you mean", where something near is known.
    pub(crate) fn suggest<'a>(self, wrong: &str, known: impl IntoIterator<Item = &'a str>) {
        if let Some(near) = nearest(wrong, known) {
            self.help(format!("did you mean `{near}`?"));
        }
    }
}

impl Reporter {
    /// Adds a file that spans may point into.
    pub(crate) fn add_source(&mut self, path: &Path, text: String) -> u16 {
        self.sources.push((path.to_owned(), text));
        (self.sources.len() - 1) as u16
    }

    pub(crate) fn error(&mut self, span: Span, message: impl Into<String>) -> Reported<'_> {
        self.errors += 1;
        self.report(Severity::Error, span, message.into())
    }

    pub(crate) fn warning(&mut self, span: Span, message: impl Into<String>) -> Reported<'_> {
        self.report(Severity::Warning, span, message.into())
    }

    /// How many errors there have been.
    pub(crate) fn errors(&self) -> usize {
        self.errors
    }

    fn report(&mut self, severity: Severity, span: Span, message: String) -> Reported<'_> {
        if self.diagnostics.len() >= MOST {
            return Reported(None);
        }
        let (file, snippet) = match self.sources.get(usize::from(span.source)) {
            Some((path, text)) => (Some(path.clone()), snippet(text, span)),
            None => (None, String::new()),
        };
        self.diagnostics.push(Diagnostic {
            severity,
            message,
            file,
            line: span.line,
            column: span.column,
            snippet,
            help: None,
        });
        Reported(self.diagnostics.last_mut())
    }

    /// Everything that was reported, in the order of the file, each problem once.
    pub(crate) fn finish(mut self) -> Vec<Diagnostic> {
        self.diagnostics.sort_by(|a, b| (&a.file, a.line, a.column).cmp(&(&b.file, b.line, b.column)));
        self.diagnostics.dedup();
        self.diagnostics
    }
}

/// The line of `span` with a caret; of a long line, the part around it.
pub(crate) fn snippet(text: &str, span: Span) -> String {
    let Some(line) = text.lines().nth(span.line.saturating_sub(1) as usize) else { return String::new() };
    let clean: Vec<char> = line.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    let at = (span.column as usize).saturating_sub(1).min(clean.len());
    let from = if clean.len() <= SNIPPET_CHARS { 0 } else { at.saturating_sub(SNIPPET_CHARS / 2) };
    let to = (from + SNIPPET_CHARS).min(clean.len());
    let shown: String = clean[from..to].iter().collect();
    let number = span.line.to_string();
    let pad = " ".repeat(number.len());
    format!("{number} | {}\n{pad} | {}^", shown.trim_end(), " ".repeat(at - from))
}

/// The known name that `wrong` is probably meant to be.
#[must_use]
pub fn nearest<'a>(wrong: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let lower = wrong.to_lowercase();
    let most = (wrong.chars().count() / 3).clamp(1, 4);
    known
        .into_iter()
        .map(|name| (strsim::damerau_levenshtein(&lower, &name.to_lowercase()), name))
        .filter(|(distance, _)| *distance <= most && *distance < wrong.chars().count())
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, name)| name)
}

#[cfg(test)]
mod tests {
    use super::*;

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
        let snippet = snippet(&text, Span { source: 0, line: 1, column: 501 });
        let (line, caret) = snippet.split_once('\n').unwrap();
        assert_eq!(line.chars().nth(caret.chars().count() - 1), Some('X'), "{snippet}");
        assert!(line.len() < 140);
    }
}
