//! Schedules as text: as they were written, and in words.

use std::time::Duration;

use chrono_tz::Tz;

use super::field::{MONTH, WEEKDAY};
use super::{CronExpression, Schedule};

const WEEKDAYS: [&str; 7] = ["Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday"];
const MONTHS: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];

impl Schedule {
    /// The schedule as it was written: `0 6 * * 1-5`, `@daily`, `30m`, `None`.
    #[must_use]
    pub fn summary(&self) -> String {
        match self {
            Self::Never => "None".to_owned(),
            Self::Once => "@once".to_owned(),
            Self::Continuous => "@continuous".to_owned(),
            Self::Cron { expressions, .. } => joined(expressions, |cron| cron.source().to_owned()),
            Self::Interval { every, .. } => units(*every),
        }
    }

    /// The schedule in words: `every day at 06:00 Europe/Berlin`. Crons that are not among the
    /// usual ones stay as they are.
    #[must_use]
    pub fn describe(&self) -> String {
        match self {
            Self::Never => "only when triggered".to_owned(),
            Self::Once => "once, as soon as possible".to_owned(),
            Self::Continuous => "again as soon as the last run has ended".to_owned(),
            Self::Cron { expressions, timezone, .. } => {
                let words =
                    joined(expressions, |cron| cron_words(cron.fields()).unwrap_or_else(|| cron.fields().to_owned()));
                if *timezone == Tz::UTC { words } else { format!("{words} {timezone}") }
            }
            Self::Interval { every, .. } => format!("every {}", units(*every)),
        }
    }
}

fn joined(expressions: &[CronExpression], text: impl Fn(&CronExpression) -> String) -> String {
    expressions.iter().map(text).collect::<Vec<_>>().join(", ")
}

/// All units that are not zero: `1h 30m`.
fn units(duration: Duration) -> String {
    let seconds = duration.as_secs();
    let parts = [
        (seconds / 86_400, "d"),
        (seconds / 3_600 % 24, "h"),
        (seconds / 60 % 60, "m"),
        (seconds % 60, "s"),
        (u64::from(duration.subsec_millis()), "ms"),
    ];
    let parts: Vec<String> = parts.iter().filter(|(n, _)| *n > 0).map(|(n, unit)| format!("{n}{unit}")).collect();
    if parts.is_empty() { format!("{}us", duration.as_micros()) } else { parts.join(" ") }
}

fn cron_words(fields: &str) -> Option<String> {
    let fields: Vec<&str> = fields.split(' ').collect();
    let &[minute, hour, day, month, weekday] = fields.as_slice() else { return None };
    if [day, month, weekday] == ["*"; 3] && hour == "*" {
        return match (minute, step(minute, 60), minute.parse::<u32>()) {
            ("*", ..) => Some("every minute".to_owned()),
            (_, Some(n), _) => Some(format!("every {n} minutes")),
            (_, _, Ok(0)) => Some("every hour".to_owned()),
            (_, _, Ok(minute)) => Some(format!("every hour at minute {minute}")),
            _ => None,
        };
    }
    let minute: u32 = minute.parse().ok()?;
    let days = days_words(day, month, weekday)?;
    if let Some(n) = step(hour, 24) {
        return (minute == 0 && days == "every day").then(|| format!("every {n} hours"));
    }
    let hour: u32 = hour.parse().ok()?;
    Some(format!("{days} at {hour:02}:{minute:02}"))
}

/// `n` of `*/n` where it divides `cycle` evenly, so that "every n" is the whole truth.
fn step(field: &str, cycle: u32) -> Option<u32> {
    field.strip_prefix("*/")?.parse().ok().filter(|n| *n > 1 && cycle.is_multiple_of(*n))
}

fn days_words(day: &str, month: &str, weekday: &str) -> Option<String> {
    match (day, month, weekday) {
        ("*", "*", "*") => Some("every day".to_owned()),
        ("*", "*", "1-5") => Some("every weekday".to_owned()),
        ("*", "*", weekday) if weekday.eq_ignore_ascii_case("MON-FRI") => Some("every weekday".to_owned()),
        ("*", "*", weekday) => Some(format!("every {}", WEEKDAYS[WEEKDAY.value(weekday).ok()? as usize])),
        ("L" | "l", "*", "*") => Some("on the last day of every month".to_owned()),
        (day, "*", "*") => Some(format!("on day {} of every month", day.parse::<u32>().ok()?)),
        (day, "*/3", "*") => Some(format!("on day {} of every third month", day.parse::<u32>().ok()?)),
        (day, month, "*") => {
            let month = MONTHS[MONTH.value(month).ok()? as usize - 1];
            Some(format!("every year on {} {month}", day.parse::<u32>().ok()?))
        }
        _ => None,
    }
}
