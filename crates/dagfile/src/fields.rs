//! Typed access to the entries of a mapping, with a complaint for each that does not fit.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::diagnostic::Reporter;
use crate::keys::{self, KeySpec};
use crate::node::{Key, Kind, Node};

/// The entries of a mapping by the canonical names of their keys. Ordered, so that a file is always
/// complained about in the same order.
#[derive(Debug, Default)]
pub(crate) struct Fields<'n> {
    entries: BTreeMap<&'static str, (&'n Key, &'n Node)>,
}

impl<'n> Fields<'n> {
    /// Sorts the entries of `node` by the keys of `table`; what has no place there is returned.
    pub(crate) fn sort(
        node: &'n Node,
        table: &'static [KeySpec],
        report: &mut Reporter,
    ) -> (Self, Vec<(&'n Key, &'n Node)>) {
        let mut entries: BTreeMap<&'static str, (&'n Key, &'n Node)> = BTreeMap::new();
        let mut rest = Vec::new();
        for (key, value) in node.as_map().unwrap_or_default() {
            let Some(spec) = keys::find(table, &key.text) else {
                rest.push((key, value));
                continue;
            };
            if let Some((first, _)) = entries.get(spec.name) {
                given_twice(first, key, report);
                continue;
            }
            entries.insert(spec.name, (key, value));
        }
        (Self { entries }, rest)
    }

    /// Takes over entries of `defaults` whose keys are not there.
    pub(crate) fn inherit(&mut self, defaults: &Fields<'n>) {
        for (name, entry) in &defaults.entries {
            self.entries.entry(name).or_insert(*entry);
        }
    }

    pub(crate) fn entry(&self, name: &str) -> Option<(&'n Key, &'n Node)> {
        self.entries.get(name).copied()
    }

    /// The value of a key; one that is null counts as not given.
    pub(crate) fn get(&self, name: &str) -> Option<&'n Node> {
        self.entries.get(name).map(|(_, node)| *node).filter(|node| !node.is_null())
    }

    pub(crate) fn names(&self) -> impl Iterator<Item = &'static str> + '_ {
        self.entries.keys().copied()
    }

    pub(crate) fn text(&self, name: &str, report: &mut Reporter) -> Option<String> {
        let node = self.get(name)?;
        let text = node.scalar_text();
        if text.is_none() {
            wrong(report, node, name, "text");
        }
        text
    }

    pub(crate) fn bool(&self, name: &str, report: &mut Reporter) -> Option<bool> {
        let node = self.get(name)?;
        let value = bool_of(node);
        if value.is_none() {
            wrong(report, node, name, "true or false");
        }
        value
    }

    /// A whole number from `least` on.
    pub(crate) fn integer(&self, name: &str, least: i64, report: &mut Reporter) -> Option<i64> {
        let node = self.get(name)?;
        match integer_of(node) {
            Some(value) if value >= least && value <= i64::from(i32::MAX) => Some(value),
            Some(_) => {
                wrong(report, node, name, &format!("a whole number from {least} to {}", i32::MAX));
                None
            }
            None => {
                wrong(report, node, name, "a whole number");
                None
            }
        }
    }

    pub(crate) fn duration(&self, name: &str, report: &mut Reporter) -> Option<Duration> {
        duration_of(self.get(name)?, name, report)
    }

    /// Text items of a list, or one text.
    pub(crate) fn list(&self, name: &str, report: &mut Reporter) -> Vec<(String, &'n Node)> {
        let Some(node) = self.get(name) else { return Vec::new() };
        let items = match &node.kind {
            Kind::List(items) => items.iter().collect(),
            Kind::Text(_) | Kind::Int(_) | Kind::Float(_) | Kind::Bool(_) => vec![node],
            Kind::Null | Kind::Map(_) => {
                wrong(report, node, name, "a list of texts");
                return Vec::new();
            }
        };
        let mut list = Vec::with_capacity(items.len());
        for item in items {
            match item.scalar_text() {
                Some(text) => list.push((text, item)),
                None => wrong(report, item, name, "text"),
            }
        }
        list
    }

    /// One of a few words.
    pub(crate) fn choice<T: std::str::FromStr>(
        &self,
        name: &str,
        known: &'static [&'static str],
        report: &mut Reporter,
    ) -> Option<T> {
        let node = self.get(name)?;
        let text = node.scalar_text().unwrap_or_default();
        let parsed = text.parse().ok();
        if parsed.is_none() {
            report
                .error(node.span, format!("`{name}` has to be one of {}, not {}", known.join(", "), node.describe()))
                .suggest(&text, known.iter().copied());
        }
        parsed
    }
}

/// Complains about a key that a mapping has twice, maybe under two names.
pub(crate) fn given_twice(first: &Key, second: &Key, report: &mut Reporter) {
    let same = if first.text == second.text { String::new() } else { format!(", `{}`,", first.text) };
    report
        .error(second.span, format!("`{}` is given twice", second.text))
        .help(format!("the first{same} is in line {}; keep one of them", first.span.line));
}

/// Complains that a value has another type.
pub(crate) fn wrong(report: &mut Reporter, node: &Node, name: &str, expected: &str) {
    report.error(node.span, format!("`{name}` has to be {expected}, not {}", node.describe()));
}

/// A boolean, as YAML 1.1 and Airflow's users write it.
pub(crate) fn bool_of(node: &Node) -> Option<bool> {
    match &node.kind {
        Kind::Bool(value) => Some(*value),
        Kind::Text(text) => match text.trim().to_ascii_lowercase().as_str() {
            "yes" | "on" | "true" => Some(true),
            "no" | "off" | "false" => Some(false),
            _ => None,
        },
        Kind::Null | Kind::Int(_) | Kind::Float(_) | Kind::List(_) | Kind::Map(_) => None,
    }
}

pub(crate) fn integer_of(node: &Node) -> Option<i64> {
    match &node.kind {
        Kind::Int(value) => Some(*value),
        Kind::Float(value) if value.fract() == 0.0 && value.abs() < 1e15 => Some(*value as i64),
        Kind::Text(text) => text.trim().parse().ok(),
        Kind::Null | Kind::Bool(_) | Kind::Float(_) | Kind::List(_) | Kind::Map(_) => None,
    }
}

/// A duration: seconds, text, or `{__type__: datetime.timedelta, ...}`.
pub(crate) fn duration_of(node: &Node, name: &str, report: &mut Reporter) -> Option<Duration> {
    let parsed = match &node.kind {
        Kind::Int(value) => towpath_model::duration::from_seconds(*value as f64),
        Kind::Float(value) => towpath_model::duration::from_seconds(*value),
        Kind::Text(text) => match towpath_model::duration::parse(text) {
            Ok(duration) => return Some(duration),
            Err(error) => {
                report.error(node.span, format!("`{name}`: {error}"));
                return None;
            }
        },
        Kind::Map(_) => return timedelta(node, name, report),
        Kind::Null | Kind::Bool(_) | Kind::List(_) => None,
    };
    if parsed.is_none() {
        wrong(report, node, name, "a duration (`30s`, `5m`, `1h30m`, or seconds)");
    }
    parsed
}

/// dag-factory's `{__type__: datetime.timedelta, hours: 1}`.
fn timedelta(node: &Node, name: &str, report: &mut Reporter) -> Option<Duration> {
    const UNITS: &[(&str, f64)] = &[
        ("weeks", 604_800.0),
        ("days", 86_400.0),
        ("hours", 3_600.0),
        ("minutes", 60.0),
        ("seconds", 1.0),
        ("milliseconds", 0.001),
        ("microseconds", 0.000_001),
    ];
    /// What timedelta's positional arguments are.
    const POSITIONS: [&str; 7] = ["days", "seconds", "microseconds", "milliseconds", "minutes", "hours", "weeks"];
    match node.get("__type__").and_then(Node::as_text) {
        Some("datetime.timedelta" | "timedelta" | "pendulum.duration") => {}
        Some(class) => {
            report
                .error(node.span, format!("`{name}` cannot be made from `{class}`"))
                .help("write a duration such as `5m`, or use `__type__: datetime.timedelta`");
            return None;
        }
        None => {
            wrong(report, node, name, "a duration (`30s`, `5m`, `1h30m`, or seconds)");
            return None;
        }
    }
    let mut seconds = 0.0;
    let mut add = |unit: &str, value: &Node, report: &mut Reporter| {
        let length = UNITS.iter().find(|(known, _)| *known == unit).map(|(_, seconds)| *seconds)?;
        let Some(number) = number_of(value) else {
            wrong(report, value, unit, "a number");
            return None;
        };
        seconds += number * length;
        Some(())
    };
    for (key, value) in node.as_map().unwrap_or_default() {
        match (key.text.as_str(), &value.kind) {
            ("__type__", _) => {}
            ("__args__", Kind::List(items)) if items.len() <= POSITIONS.len() => {
                for (item, unit) in items.iter().zip(POSITIONS) {
                    add(unit, item, report)?;
                }
            }
            ("__args__", _) => {
                wrong(report, value, "__args__", "a list of at most 7 numbers");
                return None;
            }
            (unit, _) if UNITS.iter().any(|(known, _)| *known == unit) => add(unit, value, report)?,
            (unit, _) => {
                report
                    .error(key.span, format!("a timedelta has no `{unit}`"))
                    .suggest(unit, UNITS.iter().map(|(unit, _)| *unit));
                return None;
            }
        }
    }
    let duration = towpath_model::duration::from_seconds(seconds);
    if duration.is_none() {
        report.error(node.span, format!("`{name}`: a duration lies between nothing and a thousand years"));
    }
    duration
}

fn number_of(node: &Node) -> Option<f64> {
    match &node.kind {
        Kind::Int(value) => Some(*value as f64),
        Kind::Float(value) => Some(*value),
        Kind::Text(text) => text.trim().parse().ok().filter(|number: &f64| number.is_finite()),
        Kind::Null | Kind::Bool(_) | Kind::List(_) | Kind::Map(_) => None,
    }
}
