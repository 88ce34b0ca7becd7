//! Dates as DAG files write them.

use chrono::{DateTime, NaiveDate, NaiveDateTime, NaiveTime, TimeDelta, TimeZone as _, Utc};
use chrono_tz::Tz;

use crate::diagnostic::Reporter;
use crate::node::{Kind, Node};

/// A date: ISO 8601 with or without time and zone, or relative (`2 days`: that long before the
/// beginning of today, as dag-factory reads it).
pub(crate) fn read(
    node: &Node,
    name: &str,
    zone: Tz,
    now: DateTime<Utc>,
    report: &mut Reporter,
) -> Option<DateTime<Utc>> {
    let text = match &node.kind {
        Kind::Text(text) => text.trim().to_owned(),
        Kind::Map(_) => return object(node, name, zone, report),
        Kind::Null | Kind::Bool(_) | Kind::Int(_) | Kind::Float(_) | Kind::List(_) => {
            crate::fields::wrong(report, node, name, "a date such as 2026-01-31");
            return None;
        }
    };
    let parsed = absolute(&text, zone).or_else(|| relative(&text, zone, now));
    if parsed.is_none() {
        report
            .error(node.span, format!("`{name}`: `{text}` is not a date"))
            .help("write 2026-01-31, 2026-01-31T06:00, 2026-01-31T06:00+01:00, or `2 days` for two days before today");
    }
    parsed
}

fn absolute(text: &str, zone: Tz) -> Option<DateTime<Utc>> {
    let joined = text.replacen(' ', "T", 1);
    let zoned = DateTime::parse_from_rfc3339(&joined).ok();
    if let Some(time) =
        zoned.or_else(|| DateTime::parse_from_str(&joined.replace('Z', "+00:00"), "%Y-%m-%dT%H:%M%:z").ok())
    {
        return Some(time.to_utc());
    }
    if let Ok(date) = NaiveDate::parse_from_str(text, "%Y-%m-%d") {
        return local(date.and_time(NaiveTime::MIN), zone);
    }
    const FORMS: &[&str] = &["%Y-%m-%dT%H:%M:%S%.f", "%Y-%m-%d %H:%M:%S%.f", "%Y-%m-%dT%H:%M", "%Y-%m-%d %H:%M"];
    FORMS.iter().find_map(|form| NaiveDateTime::parse_from_str(text, form).ok()).and_then(|time| local(time, zone))
}

/// The instant of a local time; one that a change of clocks skips is moved forward by the gap.
fn local(time: NaiveDateTime, zone: Tz) -> Option<DateTime<Utc>> {
    let found = zone.from_local_datetime(&time).earliest();
    let found = found.or_else(|| zone.from_local_datetime(&(time + TimeDelta::hours(1))).earliest());
    found.map(|time| time.to_utc())
}

fn relative(text: &str, zone: Tz, now: DateTime<Utc>) -> Option<DateTime<Utc>> {
    let text = text.strip_suffix("ago").unwrap_or(text).trim();
    if text.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let back = towpath_model::duration::parse(text).ok()?;
    let midnight = local(now.with_timezone(&zone).date_naive().and_time(NaiveTime::MIN), zone)?;
    midnight.checked_sub_signed(TimeDelta::from_std(back).ok()?)
}

/// dag-factory's `{__type__: datetime.datetime, year: 2026, month: 1, day: 31}`.
fn object(node: &Node, name: &str, zone: Tz, report: &mut Reporter) -> Option<DateTime<Utc>> {
    match node.get("__type__").and_then(Node::as_text) {
        Some("datetime.datetime" | "pendulum.datetime" | "datetime") => {}
        Some(class) => {
            report
                .error(node.span, format!("`{name}` cannot be made from `{class}`"))
                .help("write a date such as 2026-01-31");
            return None;
        }
        None => {
            crate::fields::wrong(report, node, name, "a date such as 2026-01-31");
            return None;
        }
    }
    let mut zone = zone;
    let mut parts: [Option<u32>; 6] = [None; 6];
    for (key, value) in node.as_map().unwrap_or_default() {
        let items = match key.text.as_str() {
            "__type__" => continue,
            "tz" | "tzinfo" | "timezone" => {
                zone = crate::schedule::zone_of(value, &key.text, report)?;
                continue;
            }
            "__args__" => value.as_list().unwrap_or_default().iter().enumerate().collect(),
            text => match PARTS.iter().position(|part| *part == text) {
                Some(index) => vec![(index, value)],
                None => {
                    report.error(key.span, format!("a date has no `{text}`")).suggest(text, PARTS);
                    return None;
                }
            },
        };
        for (index, item) in items {
            let number = crate::fields::integer_of(item).and_then(|number| u32::try_from(number).ok());
            let (Some(part), Some(number)) = (parts.get_mut(index), number) else {
                crate::fields::wrong(report, item, PARTS.get(index).unwrap_or(&"__args__"), "a whole number");
                return None;
            };
            *part = Some(number);
        }
    }
    let part = |index: usize| parts[index].unwrap_or(u32::from(matches!(index, 1 | 2)));
    let year = parts[0].and_then(|year| i32::try_from(year).ok());
    let date = year.and_then(|year| NaiveDate::from_ymd_opt(year, part(1), part(2)));
    let time = NaiveTime::from_hms_opt(part(3), part(4), part(5));
    let found = date.zip(time).and_then(|(date, time)| local(date.and_time(time), zone));
    if found.is_none() {
        report.error(node.span, format!("`{name}` is no date that exists")).help("write a date such as 2026-01-31");
    }
    found
}

/// The parts of a date, in the order of `datetime`'s positional arguments.
const PARTS: [&str; 6] = ["year", "month", "day", "hour", "minute", "second"];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_dates_in_their_zone() {
        let now = Utc.with_ymd_and_hms(2026, 5, 17, 10, 0, 0).unwrap();
        for (text, zone, expected) in [
            ("2026-01-31", Tz::UTC, "2026-01-31T00:00:00Z"),
            ("2026-01-31", Tz::Europe__Berlin, "2026-01-30T23:00:00Z"),
            ("2026-01-31 06:30", Tz::UTC, "2026-01-31T06:30:00Z"),
            ("2026-01-31T06:30:15+02:00", Tz::UTC, "2026-01-31T04:30:15Z"),
            ("2026-01-31T06:00+01:00", Tz::UTC, "2026-01-31T05:00:00Z"),
            ("2026-01-31 06:00Z", Tz::Europe__Berlin, "2026-01-31T06:00:00Z"),
            ("2026-03-29T02:30", Tz::Europe__Berlin, "2026-03-29T01:30:00Z"),
            ("2 days", Tz::UTC, "2026-05-15T00:00:00Z"),
            ("2 days ago", Tz::Europe__Berlin, "2026-05-14T22:00:00Z"),
        ] {
            let read = absolute(text, zone).or_else(|| relative(text, zone, now)).unwrap();
            assert_eq!(read.to_rfc3339_opts(chrono::SecondsFormat::Secs, true), expected, "{text}");
        }
        for text in ["yesterday", "2026-13-01", "20260131", ""] {
            assert!(absolute(text, Tz::UTC).or_else(|| relative(text, Tz::UTC, now)).is_none(), "{text}");
        }
    }
}
