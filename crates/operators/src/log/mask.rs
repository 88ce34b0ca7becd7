//! Secrets, and where they stand in a text.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::ops::Range;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use aho_corasick::{AhoCorasick, MatchKind};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::Value;
use towpath_model::connection::is_secret_name;

/// Shorter secrets are not masked, in characters: they would blot out ordinary words. Airflow's default.
pub const MIN_SECRET_CHARS: usize = 5;
/// Shorter lines of a secret of several lines are not masked by themselves, in characters.
pub const MIN_SECRET_LINE_CHARS: usize = 4;
/// What stands in a secret's place.
pub const MASK: &str = "***";

const URL_ENCODED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// Text that must not be seen, shared by everything that writes a log.
#[derive(Debug, Default)]
pub struct Secrets {
    /// False while there is nothing to mask, so that this costs no lock.
    any: AtomicBool,
    known: RwLock<Known>,
}

#[derive(Default)]
struct Known {
    patterns: BTreeSet<String>,
    /// Built from `patterns` by the first text that is looked at after a change.
    matcher: Option<Arc<Matcher>>,
}

/// Secrets must not reach a debug print either.
impl std::fmt::Debug for Known {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} patterns", self.patterns.len())
    }
}

struct Matcher {
    automaton: AhoCorasick,
    longest: usize,
}

impl Secrets {
    /// No secrets yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Masks `text` from now on: as it is, each of its lines, and as it looks inside of JSON and of URLs.
    /// Texts below [`MIN_SECRET_CHARS`] are left alone.
    pub fn add(&self, text: &str) {
        let text = text.trim();
        if text.chars().take(MIN_SECRET_CHARS).count() < MIN_SECRET_CHARS {
            return;
        }
        let mut patterns = Vec::new();
        add_forms(text, &mut patterns);
        if text.contains('\n') {
            for line in text.lines().map(str::trim) {
                if line.chars().take(MIN_SECRET_LINE_CHARS).count() == MIN_SECRET_LINE_CHARS {
                    add_forms(line, &mut patterns);
                }
            }
        }
        let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
        let before = known.patterns.len();
        known.patterns.extend(patterns);
        if known.patterns.len() > before {
            known.matcher = None;
            self.any.store(true, Ordering::Release);
        }
    }

    /// Masks a variable whose name says that it is secret, and what stands under such names in one that is JSON.
    pub(crate) fn add_variable(&self, key: &str, text: &str) {
        let secret = is_secret_name(key);
        if secret {
            self.add(text);
        }
        if let Ok(value @ (Value::Object(_) | Value::Array(_))) = serde_json::from_str(text) {
            self.add_below(secret, &value);
        }
    }

    /// Masks the texts below `value`: all where it is `secret`, else those under secret names.
    fn add_below(&self, secret: bool, value: &Value) {
        match value {
            Value::String(text) if secret => self.add(text),
            Value::Array(items) => items.iter().for_each(|item| self.add_below(secret, item)),
            Value::Object(map) => {
                map.iter().for_each(|(name, item)| self.add_below(secret || is_secret_name(name), item));
            }
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
        }
    }

    /// Whether nothing is masked.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        !self.any.load(Ordering::Acquire)
    }

    /// `text` with `***` in the place of every secret.
    #[must_use]
    pub fn mask<'a>(&self, text: &'a str) -> Cow<'a, str> {
        match self.mask_bytes(text.as_bytes()) {
            Cow::Borrowed(_) => Cow::Borrowed(text),
            Cow::Owned(masked) => Cow::Owned(String::from_utf8_lossy(&masked).into_owned()),
        }
    }

    fn mask_bytes<'a>(&self, text: &'a [u8]) -> Cow<'a, [u8]> {
        let covered = self.covered(text);
        if covered.is_empty() { Cow::Borrowed(text) } else { Cow::Owned(replace(text, &covered)) }
    }

    /// The parts of `text` that belong to a secret: in order, apart from each other, also where secrets overlap.
    pub(super) fn covered(&self, text: &[u8]) -> Vec<Range<usize>> {
        let mut covered: Vec<Range<usize>> = Vec::new();
        let Some(matcher) = self.matcher() else { return covered };
        for found in matcher.automaton.find_overlapping_iter(text) {
            // Matches come in the order of their ends, so one may reach back over several others.
            let mut range = found.range();
            while let Some(last) = covered.last().filter(|last| last.end >= range.start) {
                range.start = range.start.min(last.start);
                covered.pop();
            }
            covered.push(range);
        }
        covered
    }

    /// Length of the longest pattern, in bytes: a secret that is cut off at the end of a text begins in its
    /// last `longest - 1` bytes.
    pub(super) fn longest(&self) -> usize {
        self.matcher().map_or(0, |matcher| matcher.longest)
    }

    fn matcher(&self) -> Option<Arc<Matcher>> {
        if self.is_empty() {
            return None;
        }
        if let Some(matcher) = &self.known.read().unwrap_or_else(PoisonError::into_inner).matcher {
            return Some(Arc::clone(matcher));
        }
        let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
        if known.matcher.is_none() {
            let automaton = AhoCorasick::builder()
                .match_kind(MatchKind::Standard)
                .build(&known.patterns)
                .expect("secrets are far from the automaton's limit of 2^31 states");
            let longest = known.patterns.iter().map(String::len).max().unwrap_or_default();
            known.matcher = Some(Arc::new(Matcher { automaton, longest }));
        }
        known.matcher.clone()
    }
}

/// `text` with each of `covered` replaced by the mask.
pub(super) fn replace(text: &[u8], covered: &[Range<usize>]) -> Vec<u8> {
    let mut masked = Vec::with_capacity(text.len());
    let mut done = 0;
    for range in covered {
        masked.extend_from_slice(&text[done..range.start]);
        masked.extend_from_slice(MASK.as_bytes());
        done = range.end;
    }
    masked.extend_from_slice(&text[done..]);
    masked
}

/// The forms in which `text` may turn up in a log.
fn add_forms(text: &str, patterns: &mut Vec<String>) {
    let json = serde_json::Value::from(text).to_string();
    let json = &json[1..json.len() - 1];
    if json != text {
        patterns.push(json.to_owned());
    }
    let url = utf8_percent_encode(text, URL_ENCODED).to_string();
    if url != text {
        // Forms write a space as `+`.
        if text.contains(' ') {
            patterns.push(url.replace("%20", "+"));
        }
        patterns.push(url);
    }
    patterns.push(text.to_owned());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_masked() {
        let secrets = Secrets::new();
        assert!(secrets.is_empty());
        assert!(matches!(secrets.mask("password"), Cow::Borrowed("password")));
        for secret in ["abcd", "hunter2", "abcdef", "defghi", "pa/ss \"wörd\"", "-----BEGIN\nMIIEv\nxy\n-----END\n"] {
            secrets.add(secret);
        }
        for (text, expected) in [
            ("nothing here", "nothing here"),
            ("abcd is too short", "abcd is too short"),
            ("say hunter2!", "say ***!"),
            ("hunter2hunter2", "***"),
            ("overlap abcdefghi end", "overlap *** end"),
            ("json pa/ss \\\"wörd\\\" end", "json *** end"),
            ("url pa%2Fss%20%22w%C3%B6rd%22 form pa%2Fss+%22w%C3%B6rd%22", "url *** form ***"),
            ("key MIIEv and xy", "key *** and xy"),
            ("json key -----BEGIN\\nMIIEv\\nxy\\n-----END", "json key ***"),
            ("", ""),
        ] {
            assert_eq!(secrets.mask(text), expected, "{text}");
        }
    }

    #[test]
    fn a_long_match_swallows_the_ones_inside_of_it() {
        let secrets = Secrets::new();
        for secret in ["12345", "78901", "x12345-78901x"] {
            secrets.add(secret);
        }
        assert_eq!(secrets.mask("<x12345-78901x>"), "<***>");
        assert_eq!(secrets.mask("<12345-78901x>"), "<***-***x>");
    }

    #[test]
    fn the_secrets_do_not_print() {
        let secrets = Secrets::new();
        secrets.add("hunter2");
        let printed = format!("{secrets:?}");
        assert!(!printed.contains("hunter2"), "{printed}");
    }

    #[test]
    fn secret_variables_are_masked() {
        for (key, text, printed, expected) in [
            ("color", "green-ish", "green-ish", "green-ish"),
            ("api_key", "k-12345", "it is k-12345", "it is ***"),
            ("settings", r#"{"user": "ann-bee", "password": "hunter2"}"#, "ann-bee hunter2", "ann-bee ***"),
            ("secret_list", r#"["first-one", {"x": "second-one"}]"#, "first-one second-one", "*** ***"),
        ] {
            let secrets = Secrets::new();
            secrets.add_variable(key, text);
            assert_eq!(secrets.mask(printed), expected, "{key}");
        }
    }
}
