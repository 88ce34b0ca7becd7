//! Times in requests.

use chrono::{DateTime, NaiveDate, NaiveDateTime, SubsecRound, Utc};

/// Why text is not a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unreadable {
    /// It is no time at all.
    Form(&'static str),
    /// It names no zone.
    Naive,
}

/// A time with a zone, in RFC 3339 or with a space for the `T`, cut to microseconds.
pub(crate) fn aware(text: &str) -> Result<DateTime<Utc>, Unreadable> {
    if let Ok(time) = DateTime::parse_from_rfc3339(text) {
        return Ok(time.to_utc().trunc_subsecs(6));
    }
    if naive(text).is_some() {
        return Err(Unreadable::Naive);
    }
    if text.len() < "2026-02-03".len() {
        return Err(Unreadable::Form("input is too short"));
    }
    Err(Unreadable::Form("expected a form such as 2026-02-03T04:05:06Z"))
}

/// As [`aware`]; a time without a zone is taken as UTC, and a `+` that reached us as a space (a
/// client that did not encode its query) is a `+` again.
pub(crate) fn lenient(text: &str) -> Result<DateTime<Utc>, &'static str> {
    match aware(text) {
        Ok(time) => Ok(time),
        Err(Unreadable::Naive) => naive(text).map(|time| time.and_utc()).ok_or("expected a time"),
        Err(Unreadable::Form(reason)) => match text.rsplit_once(' ') {
            Some((time, offset)) => aware(&format!("{time}+{offset}")).map_err(|_| reason),
            None => Err(reason),
        },
    }
}

fn naive(text: &str) -> Option<NaiveDateTime> {
    ["%Y-%m-%dT%H:%M:%S%.f", "%Y-%m-%d %H:%M:%S%.f", "%Y-%m-%dT%H:%M", "%Y-%m-%d %H:%M"]
        .iter()
        .find_map(|format| NaiveDateTime::parse_from_str(text, format).ok())
        .or_else(|| NaiveDate::parse_from_str(text, "%Y-%m-%d").ok()?.and_hms_opt(0, 0, 0))
        .map(|time| time.trunc_subsecs(6))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, expected: Result<&str, &'static str>) {
        assert_eq!(lenient(text).map(|time| time.to_rfc3339()), expected.map(str::to_owned), "{text}");
    }

    #[test]
    fn reads_what_clients_send() {
        check("2026-02-03T04:05:06Z", Ok("2026-02-03T04:05:06+00:00"));
        check("2026-02-03T04:05:06+02:00", Ok("2026-02-03T02:05:06+00:00"));
        check("2026-02-03T04:05:06 02:00", Ok("2026-02-03T02:05:06+00:00"));
        check("2026-02-03T04:05:06.1234567Z", Ok("2026-02-03T04:05:06.123456+00:00"));
        check("2026-02-03 04:05", Ok("2026-02-03T04:05:00+00:00"));
        check("2026-02-03", Ok("2026-02-03T00:00:00+00:00"));
        check("garbage", Err("input is too short"));
        check("the day before", Err("expected a form such as 2026-02-03T04:05:06Z"));
    }

    #[test]
    fn a_zone_can_be_demanded() {
        assert_eq!(aware("2026-02-03T04:05:06"), Err(Unreadable::Naive));
        assert_eq!(aware("2026-02-03"), Err(Unreadable::Naive));
        assert_eq!(aware("x"), Err(Unreadable::Form("input is too short")));
    }
}
