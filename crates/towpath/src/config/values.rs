//! Types of values that only the configuration knows.

use std::fmt;

use serde::Serialize;

/// Text that does not print: a database address with its password.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Secret(String);

impl Secret {
    pub(crate) fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The text itself.
    pub(crate) fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&if self.0.contains("://") { towpath_store::redact(&self.0) } else { "***".to_owned() })
    }
}

/// How Towpath itself logs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// One object a line, for collectors.
    Json,
}

impl LogFormat {
    pub(super) fn read(text: &str) -> Result<Self, String> {
        match text {
            "text" => Ok(Self::Text),
            "json" => Ok(Self::Json),
            _ => Err(format!("is `{text}`; write text or json")),
        }
    }
}

/// A number of bytes: `1048576`, `500KB`, `1MiB`.
pub(super) fn bytes(text: &str) -> Result<u64, String> {
    const UNITS: &[(&str, u64)] = &[
        ("", 1),
        ("b", 1),
        ("kb", 1_000),
        ("mb", 1_000_000),
        ("gb", 1_000_000_000),
        ("kib", 1 << 10),
        ("mib", 1 << 20),
        ("gib", 1 << 30),
    ];
    let expected = || format!("is `{text}`; write a number of bytes, such as 1048576, 500KB or 1MiB");
    let split = text.find(|c: char| !c.is_ascii_digit() && c != '_').unwrap_or(text.len());
    let (number, unit) = text.split_at(split);
    let unit = unit.trim().to_ascii_lowercase();
    let factor = UNITS.iter().find(|(name, _)| *name == unit).ok_or_else(expected)?.1;
    number.replace('_', "").parse::<u64>().ok().and_then(|number| number.checked_mul(factor)).ok_or_else(expected)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_of_bytes() {
        for (text, expected) in [
            ("0", Some(0)),
            ("1_024", Some(1024)),
            ("48KB", Some(48_000)),
            ("1 MiB", Some(1 << 20)),
            ("2gib", Some(2 << 30)),
            ("99999999999999999999", None),
            ("1.5MB", None),
            ("1 parsec", None),
            ("", None),
        ] {
            assert_eq!(bytes(text).ok(), expected, "{text}");
        }
    }

    #[test]
    fn a_password_does_not_print() {
        let text = format!("{:?}", Secret::new("postgres://towpath:hunter2@db/towpath"));
        assert!(text.contains("postgres://towpath:") && !text.contains("hunter2"), "{text}");
    }
}
