//! `deadline`: until when a run has to have succeeded.

use chrono::{DateTime, Utc};
use chrono_tz::Tz;
use towpath_model::deadline::{DEFAULT_MAX_RUNS, Deadline, Reference};

use crate::alerts::{self, TARGETS};
use crate::date;
use crate::diagnostic::Reporter;
use crate::fields::{duration_of, integer_of, wrong};
use crate::node::{Kind, Node};

/// What a deadline may count from, besides a date.
pub(crate) const REFERENCES: &[&str] = &["logical_date", "queued_at", "average_runtime"];
/// Keys of a deadline that are none of an alert.
pub(crate) const KEYS: &[&str] = &["name", "reference", "interval", "max_runs", "min_runs"];
const EXAMPLE: &str = "for example `deadline: {reference: queued_at, interval: 30m, email: ops@example.org}`";

/// Reads a list of deadlines, or one. Dates are those of `zone` where they name none, relative ones count from `now`.
pub(crate) fn read(node: Option<&Node>, zone: Tz, now: DateTime<Utc>, report: &mut Reporter) -> Vec<Deadline> {
    let Some(node) = node else { return Vec::new() };
    let entries = match &node.kind {
        Kind::List(items) => items.as_slice(),
        _ => std::slice::from_ref(node),
    };
    entries.iter().filter_map(|entry| one(entry, zone, now, report)).collect()
}

fn one(node: &Node, zone: Tz, now: DateTime<Utc>, report: &mut Reporter) -> Option<Deadline> {
    let Some(entries) = node.as_map() else {
        report.error(node.span, format!("a deadline has to be a mapping, not {}", node.describe())).help(EXAMPLE);
        return None;
    };
    let before = report.errors();
    let (mut name, mut interval_us, mut reference, mut targets) = (None, 0, None, Vec::new());
    for (key, value) in entries {
        match key.text.as_str() {
            "name" => name = value.scalar_text(),
            "reference" => reference = reference_of(value, zone, now, report),
            "interval" => interval_us = signed(value, report).unwrap_or(0),
            "max_runs" | "min_runs" => {}
            text if TARGETS.contains(&text) => targets.extend(alerts::target(key, value, report)),
            text => {
                let known = KEYS.iter().chain(TARGETS).copied();
                report.error(key.span, format!("a deadline has no `{text}`")).suggest_or(text, known, || {
                    Some(format!("it has {}, and targets as alerts have: {}", KEYS.join(", "), TARGETS.join(", ")))
                });
            }
        }
    }
    if node.get("reference").is_none() {
        report
            .error(node.span, "a deadline needs a `reference`: logical_date, queued_at, average_runtime or a date")
            .help(EXAMPLE);
    }
    runs(node, &mut reference, report);
    (report.errors() == before).then_some(())?;
    Some(Deadline { name, reference: reference?, interval_us, targets })
}

/// How many runs an average is made of; said of any other reference it is a mistake.
fn runs(node: &Node, reference: &mut Option<Reference>, report: &mut Reporter) {
    let mut read = |name: &str| {
        let value = node.get(name).filter(|value| !value.is_null())?;
        if !matches!(reference, Some(Reference::AverageRuntime { .. }) | None) {
            report.error(value.span, format!("`{name}` goes with `reference: average_runtime` only"));
            return None;
        }
        let number =
            integer_of(value).and_then(|number| u32::try_from(number).ok()).filter(|n| (1..=1_000).contains(n));
        if number.is_none() {
            wrong(report, value, name, "a whole number from 1 to 1000");
        }
        Some((number?, value.span))
    };
    let (most, least) = (read("max_runs"), read("min_runs"));
    let Some(Reference::AverageRuntime { max_runs, min_runs }) = reference else { return };
    *max_runs = most.map_or(DEFAULT_MAX_RUNS, |(number, _)| number);
    *min_runs = least.map_or(*max_runs, |(number, _)| number);
    if let Some((_, span)) = least
        && *min_runs > *max_runs
    {
        report.error(span, format!("`min_runs` is {min_runs}, more than the {max_runs} runs that are looked at"));
    }
}

fn reference_of(node: &Node, zone: Tz, now: DateTime<Utc>, report: &mut Reporter) -> Option<Reference> {
    match node.as_text().map(str::trim) {
        Some("logical_date") => return Some(Reference::LogicalDate),
        Some("queued_at") => return Some(Reference::QueuedAt),
        Some("average_runtime") => {
            return Some(Reference::AverageRuntime { max_runs: DEFAULT_MAX_RUNS, min_runs: DEFAULT_MAX_RUNS });
        }
        Some(text) if text.starts_with(|c: char| c.is_ascii_alphabetic()) => {
            let message = format!("`reference` has to be one of {} or a date, not `{text}`", REFERENCES.join(", "));
            report.error(node.span, message).suggest(text, REFERENCES.iter().copied());
            return None;
        }
        _ => {}
    }
    date::read(node, "reference", zone, now, report).map(Reference::At)
}

/// A duration, before the reference where it is negative; in microseconds.
fn signed(node: &Node, report: &mut Reporter) -> Option<i64> {
    let (sign, bare) = match &node.kind {
        Kind::Text(text) => match text.trim().strip_prefix('-') {
            Some(rest) => (-1, Some(Kind::Text(rest.trim().to_owned()))),
            None => (1, None),
        },
        Kind::Int(value) if *value < 0 => (-1, Some(Kind::Int(-value))),
        Kind::Float(value) if *value < 0.0 => (-1, Some(Kind::Float(-value))),
        _ => (1, None),
    };
    let bare = bare.map(|kind| Node { kind, ..node.clone() });
    let duration = duration_of(bare.as_ref().unwrap_or(node), "interval", report)?;
    i64::try_from(duration.as_micros()).ok().map(|us| sign * us)
}
