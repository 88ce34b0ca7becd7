//! Formats of dates: Python's `strftime` and `strptime`, pendulum's `format`, and free text.

use std::fmt::Write;

use chrono::format::{Item, Parsed, StrftimeItems};
use chrono::{DateTime, Datelike, NaiveDate, NaiveDateTime, NaiveTime, TimeDelta, Timelike};
use minijinja::Error;

use super::dates::{Moment, invalid};

/// Pendulum's tokens, the longer of a kind first.
#[rustfmt::skip]
const TOKENS: &[&str] = &[
    "YYYY", "YY", "Y", "MMMM", "MMM", "MM", "Mo", "M", "DDDD", "DDD", "DD", "Do", "D", "dddd", "ddd", "dd", "d", "E",
    "HH", "H", "hh", "h", "mm", "m", "ss", "s", "SSSSSS", "SSSSS", "SSSS", "SSS", "SS", "S", "A", "ZZ", "Z", "zz", "z",
    "X", "x", "Qo", "Q",
];

/// Python's `strftime`.
///
/// # Errors
/// When `format` has an unknown directive.
pub(super) fn strftime(moment: &Moment, format: &str) -> Result<String, Error> {
    let format = chrono_format(format);
    // chrono panics when it prints a directive that it does not know.
    if StrftimeItems::new(&format).any(|item| item == Item::Error) {
        return Err(invalid(format!("`{format}` is not a date format: see Python's strftime for the directives")));
    }
    let mut text = String::new();
    let written = if moment.is_naive() {
        // A time without a zone has no `%z`; Python leaves it out.
        write!(text, "{}", moment.at().naive_local().format(&format.replace("%z", "").replace("%Z", "")))
    } else {
        write!(text, "{}", moment.at().format(&format))
    };
    written.map(|()| text).map_err(|_| invalid(format!("`{format}` does not fit this date")))
}

/// Python's `strptime`; missing parts are those of 1900-01-01T00:00:00.
///
/// # Errors
/// When `text` does not have the form of `format`.
pub(super) fn strptime(text: &str, format: &str) -> Result<Moment, Error> {
    read(text, format).ok_or_else(|| invalid(format!("`{text}` does not have the form `{format}`")))
}

fn read(text: &str, format: &str) -> Option<Moment> {
    let mut parsed = Parsed::new();
    chrono::format::parse(&mut parsed, text, StrftimeItems::new(&chrono_format(format))).ok()?;
    if let Ok(at) = parsed.to_naive_datetime_with_offset(0).map(|local| local.and_utc())
        && parsed.timestamp().is_some()
    {
        return Some(Moment::utc(at));
    }
    let has_week = parsed.isoweek().is_some() || parsed.week_from_mon().is_some() || parsed.week_from_sun().is_some();
    if parsed.to_naive_date().is_err() && !has_week && parsed.ordinal().is_none() {
        let two_digits = parsed.year_mod_100().is_some();
        if parsed.year().is_none() && !two_digits {
            parsed.set_year(1900).ok()?;
        }
        if parsed.month().is_none() {
            parsed.set_month(1).ok()?;
        }
        if parsed.day().is_none() {
            parsed.set_day(1).ok()?;
        }
    }
    if parsed.hour_div_12().is_none() && parsed.hour_mod_12().is_none() {
        parsed.set_hour(0).ok()?;
    }
    if parsed.minute().is_none() {
        parsed.set_minute(0).ok()?;
    }
    let local = parsed.to_naive_date().ok()?.and_time(parsed.to_naive_time().ok()?);
    match parsed.offset() {
        Some(seconds) => Some(Moment::utc((local - TimeDelta::seconds(i64::from(seconds))).and_utc())),
        None => Some(Moment::naive(local)),
    }
}

/// What people and machines write: ISO 8601 in its forms, with space or `T`, with or without time and zone.
///
/// # Errors
/// When `text` is nothing of that.
pub(super) fn parse(text: &str) -> Result<Moment, Error> {
    let trimmed = text.trim();
    if let Ok(aware) = DateTime::parse_from_rfc3339(trimmed).or_else(|_| DateTime::parse_from_rfc2822(trimmed)) {
        return Ok(Moment::utc(aware.to_utc()));
    }
    for format in ["%Y-%m-%d %H:%M:%S%.f%#z", "%Y-%m-%dT%H:%M:%S%.f%#z", "%Y%m%dT%H%M%S%#z"] {
        if let Ok(aware) = DateTime::parse_from_str(trimmed, format) {
            return Ok(Moment::utc(aware.to_utc()));
        }
    }
    for format in ["%Y-%m-%dT%H:%M:%S%.f", "%Y-%m-%d %H:%M:%S%.f", "%Y-%m-%dT%H:%M", "%Y-%m-%d %H:%M", "%Y%m%dT%H%M%S"]
    {
        if let Ok(naive) = NaiveDateTime::parse_from_str(trimmed, format) {
            return Ok(Moment::naive(naive));
        }
    }
    for format in ["%Y-%m-%d", "%Y%m%d", "%Y/%m/%d", "%m/%d/%Y", "%d %B %Y", "%B %d, %Y"] {
        if let Ok(date) = NaiveDate::parse_from_str(trimmed, format) {
            return Ok(Moment::naive(date.and_time(NaiveTime::MIN)));
        }
    }
    Err(invalid(format!("`{text}` is not a date: write it as `2024-01-31` or `2024-01-31T12:00:00+00:00`")))
}

/// Python's directives in chrono's spelling: `%f` is microseconds in the one and nanoseconds in the other.
fn chrono_format(format: &str) -> String {
    let mut converted = String::with_capacity(format.len());
    let mut characters = format.chars();
    while let Some(character) = characters.next() {
        converted.push(character);
        if character == '%' {
            match characters.next() {
                Some('f') => converted.push_str("6f"),
                Some(next) => converted.push(next),
                None => {}
            }
        }
    }
    converted
}

/// Pendulum's `format`: tokens such as `YYYY-MM-DD`, `[text]` as it is.
///
/// # Errors
/// None at present; it is fallible as its siblings are.
pub(super) fn pendulum(moment: &Moment, format: &str) -> Result<String, Error> {
    let mut text = String::new();
    let mut rest = format;
    while let Some(character) = rest.chars().next() {
        if let Some((literal, after)) = rest.strip_prefix('[').and_then(|inner| inner.split_once(']')) {
            text.push_str(literal);
            rest = after;
        } else if let Some(token) = TOKENS.iter().find(|token| rest.starts_with(**token)) {
            push_token(&mut text, moment, token);
            rest = &rest[token.len()..];
        } else {
            text.push(character);
            rest = &rest[character.len_utf8()..];
        }
    }
    Ok(text)
}

fn push_token(text: &mut String, moment: &Moment, token: &str) {
    let at = moment.at();
    let twelve = at.hour12().1;
    let weekday = at.weekday();
    let micros = at.nanosecond() / 1_000;
    let quarter = at.month0() / 3 + 1;
    let part = match token {
        "YYYY" => format!("{:04}", at.year()),
        "YY" => format!("{:02}", at.year().rem_euclid(100)),
        "Y" => at.year().to_string(),
        "MMMM" => at.format("%B").to_string(),
        "MMM" => at.format("%b").to_string(),
        "MM" => format!("{:02}", at.month()),
        "Mo" => ordinal(at.month()),
        "M" => at.month().to_string(),
        "DDDD" => format!("{:03}", at.ordinal()),
        "DDD" => at.ordinal().to_string(),
        "DD" => format!("{:02}", at.day()),
        "Do" => ordinal(at.day()),
        "D" => at.day().to_string(),
        "dddd" => at.format("%A").to_string(),
        "ddd" => at.format("%a").to_string(),
        "dd" => at.format("%a").to_string()[..2].to_owned(),
        "d" | "E" => weekday.number_from_monday().to_string(),
        "HH" => format!("{:02}", at.hour()),
        "H" => at.hour().to_string(),
        "hh" => format!("{twelve:02}"),
        "h" => twelve.to_string(),
        "mm" => format!("{:02}", at.minute()),
        "m" => at.minute().to_string(),
        "ss" => format!("{:02}", at.second()),
        "s" => at.second().to_string(),
        "A" => if at.hour() < 12 { "AM" } else { "PM" }.to_owned(),
        "ZZ" => moment.offset(""),
        "Z" => moment.offset(":"),
        "zz" => at.format("%Z").to_string(),
        "z" => at.timezone().name().to_owned(),
        "X" => at.timestamp().to_string(),
        "x" => at.timestamp_millis().to_string(),
        "Qo" => ordinal(quarter),
        "Q" => quarter.to_string(),
        // Fractions of a second: as many digits as there are letters.
        fraction => format!("{micros:06}")[..fraction.len()].to_owned(),
    };
    text.push_str(&part);
}

fn ordinal(number: u32) -> String {
    let suffix = match (number % 10, number % 100) {
        (1, 11) | (2, 12) | (3, 13) => "th",
        (1, _) => "st",
        (2, _) => "nd",
        (3, _) => "rd",
        _ => "th",
    };
    format!("{number}{suffix}")
}
