//! The instants at which cron expressions fire in a time zone.
//!
//! Where the clock is moved, Airflow's rules hold:
//! - An expression for every hour keeps its pace: steps of up to an hour are added in absolute
//!   time, so an hour that occurs twice runs twice and one that is left out does not run.
//! - Every other expression runs once per local time: at the second of two occurrences, and, where
//!   the local time does not exist, as much later as the clock was moved.

use chrono::{DateTime, LocalResult, NaiveDateTime, Offset, TimeDelta, TimeZone, Utc};
use chrono_tz::Tz;

use super::cron::CronExpression;
use super::grid::Grid;

/// A longest step that is added in absolute time.
const HOUR: TimeDelta = TimeDelta::hours(1);
/// A DAG without a start date makes up for a tick that is no older than this, or than a tenth of the
/// step if that is longer.
const FIRST_RUN_GRACE: TimeDelta = TimeDelta::minutes(5);
/// Beyond the largest move of any clock (Samoa left out a day).
pub(super) const HORIZON: TimeDelta = TimeDelta::hours(25);

/// The merged firings of some expressions in one zone.
#[derive(Debug, Clone, Copy)]
pub(super) struct Ticks<'a> {
    pub(super) expressions: &'a [CronExpression],
    pub(super) zone: Tz,
}

impl Grid for Ticks<'_> {
    fn next(&self, time: DateTime<Utc>) -> Option<DateTime<Utc>> {
        let time = clamp(time);
        self.expressions.iter().filter_map(|cron| next(cron, self.zone, time)).min()
    }

    fn prev(&self, time: DateTime<Utc>) -> Option<DateTime<Utc>> {
        let time = clamp(time);
        self.expressions.iter().filter_map(|cron| prev(cron, self.zone, time)).max()
    }

    fn ceil(&self, time: DateTime<Utc>) -> Option<DateTime<Utc>> {
        if self.is_tick(time) { Some(time) } else { self.next(time) }
    }

    fn floor(&self, time: DateTime<Utc>) -> Option<DateTime<Utc>> {
        if self.is_tick(time) { Some(time) } else { self.prev(time) }
    }

    fn at_or_after(&self, anchor: Option<DateTime<Utc>>, time: DateTime<Utc>) -> Option<DateTime<Utc>> {
        self.ceil(anchor.map_or(time, |anchor| anchor.max(time)))
    }

    /// Airflow asks which tick the clock shows before `end`. Where the clock leaves that one out, it
    /// is moved past `end`, and the next interval starts there: `5,35 1-3 * * *` has no interval
    /// from 03:05 to 03:35 on the day on which 02:00 becomes 03:00. Kept, so that both agree on every
    /// logical date.
    fn resume(&self, end: DateTime<Utc>) -> Option<DateTime<Utc>> {
        let local = to_local(self.zone, clamp(end));
        let moved = self.expressions.iter().filter(|cron| !cron.is_hourly()).filter_map(|cron| {
            let (at, moved) = resolve(self.zone, cron.before(local)?)?;
            (moved && at > end).then_some(at)
        });
        moved.max().or_else(|| self.floor(end))
    }

    fn first_without_start(&self, now: DateTime<Utc>) -> Option<DateTime<Utc>> {
        let (Some(past), Some(next)) = (self.floor(now), self.ceil(now)) else { return self.ceil(now) };
        let grace = ((next - past) / 10).max(FIRST_RUN_GRACE);
        Some(if now - past <= grace { past } else { next })
    }

    fn latest_start(&self, now: DateTime<Utc>) -> Option<DateTime<Utc>> {
        self.prev(self.floor(now)?)
    }
}

impl Ticks<'_> {
    fn is_tick(&self, time: DateTime<Utc>) -> bool {
        time == clamp(time) && self.expressions.iter().any(|cron| is_tick(cron, self.zone, time))
    }
}

/// Brings a time near the years that the `cron` crate knows (1970 to 2100), outside of which
/// nothing fires, so that no arithmetic below can overflow.
fn clamp(time: DateTime<Utc>) -> DateTime<Utc> {
    const FIRST: DateTime<Utc> = DateTime::from_timestamp_secs(-10 * 86_400).expect("within chrono's range");
    // 2101-02-01T00:00:00Z
    const LAST: DateTime<Utc> = DateTime::from_timestamp_secs(4_136_659_200).expect("within chrono's range");
    time.clamp(FIRST, LAST)
}

fn is_tick(cron: &CronExpression, zone: Tz, time: DateTime<Utc>) -> bool {
    let local = to_local(zone, time);
    if cron.is_hourly() {
        cron.fires_at(local)
    } else {
        // Not `fires_at`: the first of two occurrences is no tick, and a moved one is.
        next(cron, zone, time - TimeDelta::nanoseconds(1)) == Some(time)
    }
}

fn next(cron: &CronExpression, zone: Tz, time: DateTime<Utc>) -> Option<DateTime<Utc>> {
    let local = to_local(zone, time);
    if cron.is_hourly() {
        let step = cron.after(local)? - local;
        if step <= HOUR {
            return Some(time + step);
        }
    }
    // Local times that have passed may still lie ahead where the clock was just moved, or is about
    // to be.
    let mut cursor = local - clock_move_near(zone, time) - TimeDelta::nanoseconds(1);
    let mut best: Option<DateTime<Utc>> = None;
    while let Some(candidate) = cron.after(cursor) {
        if best.is_some_and(|best| candidate >= to_local(zone, best)) {
            break;
        }
        let (at, moved) = resolve(zone, candidate)?;
        if at > time {
            best = Some(best.map_or(at, |best| best.min(at)));
            // A moved tick can be overtaken by one that is not moved.
            if !moved {
                break;
            }
        }
        cursor = candidate;
    }
    best
}

fn prev(cron: &CronExpression, zone: Tz, time: DateTime<Utc>) -> Option<DateTime<Utc>> {
    let local = to_local(zone, time);
    if cron.is_hourly() {
        let step = local - cron.before(local)?;
        if step <= HOUR {
            return Some(time - step);
        }
    }
    let mut cursor = local;
    let mut best: Option<(DateTime<Utc>, NaiveDateTime)> = None;
    while let Some(candidate) = cron.before(cursor) {
        if best.is_some_and(|(_, reach)| candidate < reach) {
            break;
        }
        let (at, _) = resolve(zone, candidate)?;
        if at < time && best.is_none_or(|(best, _)| at > best) {
            // An earlier local time is later only if it was moved, and by how much is known.
            best = Some((at, to_local(zone, at) - clock_move_near(zone, at)));
        }
        cursor = candidate;
    }
    best.map(|(at, _)| at)
}

/// The instant of a local time, and whether it had to be moved because it does not exist.
pub(super) fn resolve(zone: Tz, local: NaiveDateTime) -> Option<(DateTime<Utc>, bool)> {
    match zone.from_local_datetime(&local) {
        LocalResult::Single(at) => Some((at.to_utc(), false)),
        LocalResult::Ambiguous(a, b) => Some((a.max(b).to_utc(), false)),
        LocalResult::None => {
            // With the offset from before the gap, the instant lies as far behind the gap's start
            // as the local time does.
            let quarter = TimeDelta::minutes(15);
            let before = std::iter::successors(Some(local - quarter), |time| Some(*time - quarter))
                .take_while(|time| local - *time <= HORIZON)
                .find_map(|time| zone.from_local_datetime(&time).latest())?;
            Some(((local - before.offset().fix()).and_utc(), true))
        }
    }
}

pub(super) fn to_local(zone: Tz, time: DateTime<Utc>) -> NaiveDateTime {
    time.with_timezone(&zone).naive_local()
}

/// By how much the clock is moved around `time`; zero almost always.
fn clock_move_near(zone: Tz, time: DateTime<Utc>) -> TimeDelta {
    let seconds = [time - HORIZON, time, time + HORIZON]
        .map(|time| zone.offset_from_utc_datetime(&time.naive_utc()).fix().local_minus_utc());
    let [a, b, c] = seconds;
    TimeDelta::seconds(i64::from(a.max(b).max(c) - a.min(b).min(c)))
}
