//! Durations as people write them: `30s`, `5m`, `1h30m`, `PT1H`, `1:30:00`, or seconds.

use std::time::Duration;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Text that is not a duration.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a duration: write seconds (`90`), units (`30s`, `5m`, `1h30m`, `2d`) or ISO 8601 (`PT5M`)")]
pub struct ParseError(pub String);

/// Units of the short form and of phrases such as `2 days`, in seconds.
const UNITS: &[(&[&str], f64)] = &[
    (&["ms", "millisecond", "milliseconds"], 0.001),
    (&["s", "sec", "secs", "second", "seconds"], 1.0),
    (&["m", "min", "mins", "minute", "minutes"], 60.0),
    (&["h", "hr", "hrs", "hour", "hours"], 3_600.0),
    (&["d", "day", "days"], 86_400.0),
    (&["w", "week", "weeks"], 604_800.0),
];

/// Reads a duration.
///
/// # Errors
/// [`ParseError`] when `text` has none of the forms, is negative, or exceeds a thousand years.
pub fn parse(text: &str) -> Result<Duration, ParseError> {
    let error = || ParseError(text.to_owned());
    let trimmed = text.trim();
    let seconds = if let Ok(seconds) = trimmed.parse::<f64>() {
        seconds
    } else if let Some(iso) = trimmed.strip_prefix(['P', 'p']) {
        iso_seconds(iso).ok_or_else(error)?
    } else if trimmed.contains(':') {
        clock_seconds(trimmed).ok_or_else(error)?
    } else {
        unit_seconds(trimmed).ok_or_else(error)?
    };
    from_seconds(seconds).ok_or_else(error)
}

/// A duration of `seconds`, or `None` when that is negative, not finite or longer than a thousand years.
#[must_use]
pub fn from_seconds(seconds: f64) -> Option<Duration> {
    const THOUSAND_YEARS: f64 = 31_557_600_000.0;
    (seconds.is_finite() && (0.0..=THOUSAND_YEARS).contains(&seconds))
        .then(|| Duration::from_micros((seconds * 1e6).round() as u64))
}

/// A duration as `1h 30m`, `12s`, `340ms`: at most two units, the way the UI and CLI show it.
#[must_use]
pub fn humanize(duration: Duration) -> String {
    let ms = duration.as_millis();
    let (s, m, h, d) = (ms / 1_000, ms / 60_000, ms / 3_600_000, ms / 86_400_000);
    match () {
        () if d > 0 => format!("{d}d {}h", h % 24),
        () if h > 0 => format!("{h}h {}m", m % 60),
        () if m > 0 => format!("{m}m {}s", s % 60),
        () if s >= 10 => format!("{s}s"),
        () if s > 0 => format!("{}.{}s", s, (ms % 1_000) / 100),
        () => format!("{ms}ms"),
    }
}

fn unit_seconds(text: &str) -> Option<f64> {
    let mut rest = text;
    let mut total = 0.0;
    while !rest.is_empty() {
        let split = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let number: f64 = rest[..split].parse().ok()?;
        let tail = rest[split..].trim_start();
        let end = tail.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(tail.len());
        let unit = tail[..end].to_ascii_lowercase();
        let (_, seconds) = UNITS.iter().find(|(names, _)| names.contains(&unit.as_str()))?;
        total += number * seconds;
        rest = tail[end..].trim_start_matches([' ', ',']);
    }
    (!text.is_empty()).then_some(total)
}

fn clock_seconds(text: &str) -> Option<f64> {
    let parts: Vec<f64> = text.split(':').map(|p| p.parse().ok()).collect::<Option<_>>()?;
    match parts.as_slice() {
        [h, m, s] => Some(h * 3_600.0 + m * 60.0 + s),
        [m, s] => Some(m * 60.0 + s),
        _ => None,
    }
}

/// ISO 8601 after the `P`; years and months have no fixed length and are refused.
fn iso_seconds(text: &str) -> Option<f64> {
    let upper = text.to_ascii_uppercase();
    let (date, time) = upper.split_once('T').unwrap_or((&upper, ""));
    let mut total = 0.0;
    let mut seen = false;
    for (part, units) in
        [(date, &[('W', 604_800.0), ('D', 86_400.0)][..]), (time, &[('H', 3_600.0), ('M', 60.0), ('S', 1.0)][..])]
    {
        let mut rest = part;
        while !rest.is_empty() {
            let split = rest.find(|c: char| c.is_ascii_alphabetic())?;
            let number: f64 = rest[..split].parse().ok()?;
            let unit = rest[split..].chars().next()?;
            total += number * units.iter().find(|(name, _)| *name == unit)?.1;
            seen = true;
            rest = &rest[split + 1..];
        }
    }
    seen.then_some(total)
}

/// Serde form: whole microseconds as an integer, so that equal durations hash equally.
pub mod micros {
    use super::{Deserialize, Deserializer, Duration, Serialize, Serializer};

    /// Writes microseconds.
    ///
    /// # Errors
    /// Those of the serializer.
    pub fn serialize<S: Serializer>(value: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
        (value.as_micros() as u64).serialize(serializer)
    }

    /// Reads microseconds.
    ///
    /// # Errors
    /// Those of the deserializer.
    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
        u64::deserialize(deserializer).map(Duration::from_micros)
    }
}

/// [`micros`] for optional durations.
pub mod micros_opt {
    use super::{Deserialize, Deserializer, Duration, Serialize, Serializer};

    /// Writes microseconds or null.
    ///
    /// # Errors
    /// Those of the serializer.
    pub fn serialize<S: Serializer>(value: &Option<Duration>, serializer: S) -> Result<S::Ok, S::Error> {
        value.map(|d| d.as_micros() as u64).serialize(serializer)
    }

    /// Reads microseconds or null.
    ///
    /// # Errors
    /// Those of the deserializer.
    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Duration>, D::Error> {
        Ok(Option::<u64>::deserialize(deserializer)?.map(Duration::from_micros))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, seconds: f64) {
        assert_eq!(parse(text).map(|d| d.as_secs_f64()), Ok(seconds), "{text}");
    }

    #[test]
    fn reads_every_form() {
        check("90", 90.0);
        check("0.5", 0.5);
        check("30s", 30.0);
        check("5m", 300.0);
        check("1h30m", 5_400.0);
        check("1h 30m", 5_400.0);
        check("2 days", 172_800.0);
        check("1 day, 2 hours", 93_600.0);
        check("250ms", 0.25);
        check("PT5M", 300.0);
        check("P1DT12H", 129_600.0);
        check("PT0.5S", 0.5);
        check("01:30:00", 5_400.0);
    }

    #[test]
    fn refuses_the_rest() {
        for text in ["", "abc", "5 parsecs", "-5", "-5m", "P1Y", "P", "PT", "1h30", "inf", "1e300", "5m m"] {
            assert!(parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn humanizes_to_two_units() {
        for (ms, text) in [
            (0, "0ms"),
            (340, "340ms"),
            (1_540, "1.5s"),
            (12_000, "12s"),
            (72_000, "1m 12s"),
            (5_400_000, "1h 30m"),
            (90_000_000, "1d 1h"),
        ] {
            assert_eq!(humanize(Duration::from_millis(ms)), text);
        }
    }
}
