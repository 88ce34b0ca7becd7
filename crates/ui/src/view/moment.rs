//! Times and durations.

use std::time::Duration;

use askama::Template;
use chrono::{DateTime, SecondsFormat, TimeDelta, Utc};
use towpath_model::duration::humanize;

/// A time, relative to now, with the time itself on hover.
#[derive(Debug, Clone, PartialEq, Eq, Template)]
#[template(path = "parts/moment.html")]
pub(crate) struct Moment {
    machine: String,
    absolute: String,
    words: String,
}

impl askama::filters::HtmlSafe for Moment {}

impl Moment {
    pub(crate) fn new(at: DateTime<Utc>, now: DateTime<Utc>) -> Self {
        Self { words: relative(at, now), ..Self::exact(at) }
    }

    /// For times that name something, such as logical dates: told as they are.
    pub(crate) fn exact(at: DateTime<Utc>) -> Self {
        let absolute = absolute(at);
        Self { machine: at.to_rfc3339_opts(SecondsFormat::Millis, true), words: absolute.clone(), absolute }
    }
}

/// `2026-02-03 04:05:06 UTC`; a time of no seconds leaves them out.
pub(crate) fn absolute(at: DateTime<Utc>) -> String {
    let is_whole = at.timestamp() % 60 == 0 && at.timestamp_subsec_micros() == 0;
    at.format(if is_whole { "%Y-%m-%d %H:%M UTC" } else { "%Y-%m-%d %H:%M:%S UTC" }).to_string()
}

/// `3m ago`, `in 1h 5m`; the date for what is more than a month away.
fn relative(at: DateTime<Utc>, now: DateTime<Utc>) -> String {
    let away = (at - now).abs();
    if away > TimeDelta::days(31) {
        return at.format("%Y-%m-%d").to_string();
    }
    if away < TimeDelta::seconds(1) {
        return "now".to_owned();
    }
    let whole = Duration::from_secs(away.num_seconds().unsigned_abs());
    if at < now {
        return format!("{} ago", one_unit(whole));
    }
    // Under ten seconds `humanize` adds a tenth, which means nothing here.
    format!("in {}", if whole.as_secs() < 10 { one_unit(whole) } else { humanize(whole) })
}

fn one_unit(duration: Duration) -> String {
    match duration.as_secs() {
        s @ 0..60 => format!("{s}s"),
        s @ 60..3_600 => format!("{}m", s / 60),
        s @ 3_600..86_400 => format!("{}h", s / 3_600),
        s => format!("{}d", s / 86_400),
    }
}

/// How long something took, or has been taking: `1m 12s`.
pub(crate) fn took(start: Option<DateTime<Utc>>, end: Option<DateTime<Utc>>, now: DateTime<Utc>) -> Option<String> {
    span(start, end, now).map(humanize)
}

/// How long something took, or has been taking.
pub(crate) fn span(start: Option<DateTime<Utc>>, end: Option<DateTime<Utc>>, now: DateTime<Utc>) -> Option<Duration> {
    // Clocks of two machines may disagree by a little.
    Some((end.unwrap_or(now) - start?).to_std().unwrap_or(Duration::ZERO))
}

#[cfg(test)]
mod tests {
    use super::*;
    use chrono::TimeZone;

    fn now() -> DateTime<Utc> {
        Utc.with_ymd_and_hms(2026, 2, 3, 4, 5, 6).unwrap()
    }

    #[test]
    fn times_are_relative() {
        for (seconds, expected) in [
            (0, "now"),
            (-1, "1s ago"),
            (-59, "59s ago"),
            (-125, "2m ago"),
            (-7_300, "2h ago"),
            (-200_000, "2d ago"),
            (-40 * 86_400, "2025-12-25"),
            (3, "in 3s"),
            (28, "in 28s"),
            (3_900, "in 1h 5m"),
            (40 * 86_400, "2026-03-15"),
        ] {
            assert_eq!(relative(now() + TimeDelta::seconds(seconds), now()), expected, "{seconds}");
        }
        assert_eq!(relative(now() + TimeDelta::milliseconds(999), now()), "now");
    }

    #[test]
    fn times_are_absolute() {
        assert_eq!(absolute(now()), "2026-02-03 04:05:06 UTC");
        assert_eq!(absolute(now() - TimeDelta::seconds(6)), "2026-02-03 04:05 UTC");
    }

    #[test]
    fn durations() {
        let start = now() - TimeDelta::seconds(72);
        assert_eq!(took(Some(start), Some(now()), now() + TimeDelta::days(1)).as_deref(), Some("1m 12s"));
        assert_eq!(took(Some(start), None, now()).as_deref(), Some("1m 12s"));
        assert_eq!(took(None, None, now()), None);
        assert_eq!(took(Some(now()), Some(start), now()).as_deref(), Some("0ms"));
    }

    #[test]
    fn a_moment_in_html() {
        assert_eq!(
            Moment::new(now(), now() + TimeDelta::minutes(3)).to_string(),
            "<time datetime=\"2026-02-03T04:05:06.000Z\" title=\"2026-02-03 04:05:06 UTC\">3m ago</time>"
        );
    }
}
