//! What moving the clock does to a schedule, for people who want to see it before it happens.
//!
//! The rules stand in [`super::ticks`]; this module only tells which runs they concern.

use std::collections::BTreeSet;

use chrono::{DateTime, LocalResult, NaiveDateTime, Offset, TimeDelta, TimeZone, Utc};
use chrono_tz::Tz;
use schemars::JsonSchema;
use serde::Serialize;

use super::Schedule;
use super::cron::CronExpression;
use super::ticks::{HORIZON, resolve, to_local};

/// No clock is moved twice within this.
const STEP: TimeDelta = TimeDelta::hours(6);
/// Most local times that are told; a schedule with more fires every few seconds.
const MOST_LEFT_OUT: usize = 100;

/// How a run is concerned by a clock that is moved.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case", tag = "kind")]
pub enum ClockMark {
    /// The local time that was asked for does not exist that day; the run is as much later.
    Skipped { asked_for: NaiveDateTime },
    /// The local time occurs twice that day, and this is the first.
    DoubledFirst,
    /// The local time occurs twice that day, and this is the second.
    DoubledSecond,
}

impl Schedule {
    /// The zone on whose clocks it runs; `None` for one that looks at no clock.
    #[must_use]
    pub fn clock_zone(&self) -> Option<Tz> {
        match self {
            Self::Cron { timezone, .. } => Some(*timezone),
            Self::Never | Self::Once | Self::Continuous | Self::Interval { .. } => None,
        }
    }

    /// How the run that is due at `at` is concerned by a clock that is moved; `None` nearly always.
    #[must_use]
    pub fn clock_mark(&self, at: DateTime<Utc>) -> Option<ClockMark> {
        let Self::Cron { expressions, timezone: zone, .. } = self else { return None };
        mark(expressions, *zone, at)
    }

    /// The local times in `[from, to)` that the expressions name, that do not exist because the clock skips
    /// them, and that have no run of their own: another run stands in the place to which they would be moved.
    /// At most a hundred.
    #[must_use]
    pub fn left_out(&self, from: DateTime<Utc>, to: DateTime<Utc>) -> Vec<NaiveDateTime> {
        let Self::Cron { expressions, timezone: zone, .. } = self else { return Vec::new() };
        let mut found = BTreeSet::new();
        for (start, end) in gaps(*zone, from, to) {
            for cron in expressions {
                let mut cursor = start - TimeDelta::nanoseconds(1);
                while let Some(time) = cron.after(cursor).filter(|time| *time < end) {
                    cursor = time;
                    let own = resolve(*zone, time).and_then(|(at, _)| mark(expressions, *zone, at));
                    if own != Some(ClockMark::Skipped { asked_for: time }) {
                        found.insert(time);
                    }
                    if found.len() >= MOST_LEFT_OUT {
                        return found.into_iter().collect();
                    }
                }
            }
        }
        found.into_iter().collect()
    }
}

fn mark(expressions: &[CronExpression], zone: Tz, at: DateTime<Utc>) -> Option<ClockMark> {
    let local = to_local(zone, at);
    if let LocalResult::Ambiguous(a, b) = zone.from_local_datetime(&local) {
        let first = a.min(b).to_utc();
        return Some(if at == first { ClockMark::DoubledFirst } else { ClockMark::DoubledSecond });
    }
    // What the clock would show if it had not been moved.
    let before = zone.offset_from_utc_datetime(&(at - HORIZON).naive_utc()).fix();
    let asked_for = at.naive_utc() + TimeDelta::seconds(i64::from(before.local_minus_utc()));
    let is_moved = asked_for != local
        && resolve(zone, asked_for) == Some((at, true))
        && expressions.iter().any(|cron| cron.fires_at(asked_for))
        && !expressions.iter().any(|cron| cron.fires_at(local));
    is_moved.then_some(ClockMark::Skipped { asked_for })
}

/// The local times that are skipped between two instants, as half-open ranges.
fn gaps(zone: Tz, from: DateTime<Utc>, to: DateTime<Utc>) -> Vec<(NaiveDateTime, NaiveDateTime)> {
    let offset = |at: DateTime<Utc>| i64::from(zone.offset_from_utc_datetime(&at.naive_utc()).fix().local_minus_utc());
    let mut gaps = Vec::new();
    let mut start = from;
    while start < to {
        let Some(end) = start.checked_add_signed(STEP).map(|end| end.min(to)) else { break };
        let (before, after) = (offset(start), offset(end));
        if after > before {
            // The first second at which the clock has been moved.
            let (mut low, mut high) = (start.timestamp(), end.timestamp());
            while high - low > 1 {
                let middle = low + (high - low) / 2;
                let moved = DateTime::from_timestamp(middle, 0).is_some_and(|at| offset(at) == after);
                if moved { high = middle } else { low = middle }
            }
            if let Some(at) = DateTime::from_timestamp(high, 0) {
                let local = |seconds| at.naive_utc() + TimeDelta::seconds(seconds);
                gaps.push((local(before), local(after)));
            }
        }
        start = end;
    }
    gaps
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::timetable::{Bounds, Kind, parse};

    /// The local times and marks of a day's runs, and what is left out of it.
    #[track_caller]
    fn check(schedule: &str, zone: Tz, day: &str, expected: &[&str], left_out: &[&str]) {
        let schedule = parse(schedule, zone, Kind::Trigger).unwrap();
        let midnight =
            |day: chrono::NaiveDate| zone.from_local_datetime(&day.and_time(chrono::NaiveTime::MIN)).unwrap().to_utc();
        let day: chrono::NaiveDate = day.parse().unwrap();
        let (from, to) = (midnight(day), midnight(day.succ_opt().unwrap()));
        let runs = schedule.runs_between(&Bounds::default(), from, to);
        let told: Vec<String> = runs
            .filter_map(|run| {
                let mark = match schedule.clock_mark(run.run_after)? {
                    ClockMark::Skipped { asked_for } => format!("for {}", asked_for.format("%R")),
                    ClockMark::DoubledFirst => "first".to_owned(),
                    ClockMark::DoubledSecond => "second".to_owned(),
                };
                Some(format!("{} {mark}", run.run_after.with_timezone(&zone).format("%R")))
            })
            .collect();
        assert_eq!(told, expected, "{schedule:?}");
        let times: Vec<String> = schedule.left_out(from, to).iter().map(|time| time.format("%R").to_string()).collect();
        assert_eq!(times, left_out, "{schedule:?}");
    }

    #[test]
    fn spring() {
        let (berlin, york) = (Tz::Europe__Berlin, Tz::America__New_York);
        check("30 2 * * *", berlin, "2026-03-29", &["03:30 for 02:30"], &[]);
        check("30 2 * * *", berlin, "2026-03-28", &[], &[]);
        check("30 2 * * *", york, "2026-03-08", &["03:30 for 02:30"], &[]);
        check("30 2 * * *", Tz::UTC, "2026-03-29", &[], &[]);
        check("0 * * * *", berlin, "2026-03-29", &[], &["02:00"]);
        check("*/20 * * * *", york, "2026-03-08", &[], &["02:00", "02:20", "02:40"]);
        // The run for 02:00 would come when that for 03:00 does.
        check("0 2,3 * * *", berlin, "2026-03-29", &[], &["02:00"]);
        check("15,45 1-2 * * *", berlin, "2026-03-29", &["03:15 for 02:15", "03:45 for 02:45"], &[]);
        check("0 3 * * *", berlin, "2026-03-29", &[], &[]);
    }

    #[test]
    fn autumn() {
        let (berlin, york) = (Tz::Europe__Berlin, Tz::America__New_York);
        check("30 2 * * *", berlin, "2026-10-25", &["02:30 second"], &[]);
        check("30 1 * * *", york, "2026-11-01", &["01:30 second"], &[]);
        check("0 * * * *", berlin, "2026-10-25", &["02:00 first", "02:00 second"], &[]);
        check("30 3 * * *", berlin, "2026-10-25", &[], &[]);
        check("30m", berlin, "2026-10-25", &[], &[]);
    }
}
