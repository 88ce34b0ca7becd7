//! From points in time to runs: what trigger and data-interval timetables make of them, for crons
//! and for fixed intervals alike.

use chrono::{DateTime, TimeDelta, Utc};

use super::{Bounds, DataInterval, DueRun};

/// Points in time that a schedule is made of. `None` means that there is no such point within the
/// years that can be represented.
pub(super) trait Grid {
    /// The first point after `time`.
    fn next(&self, time: DateTime<Utc>) -> Option<DateTime<Utc>>;
    /// The last point before `time`.
    fn prev(&self, time: DateTime<Utc>) -> Option<DateTime<Utc>>;
    /// The first point at or after `time`.
    fn ceil(&self, time: DateTime<Utc>) -> Option<DateTime<Utc>>;
    /// The last point at or before `time`.
    fn floor(&self, time: DateTime<Utc>) -> Option<DateTime<Utc>>;
    /// The first point at or after `time` of a grid that starts at `anchor`.
    fn at_or_after(&self, anchor: Option<DateTime<Utc>>, time: DateTime<Utc>) -> Option<DateTime<Utc>>;
    /// Where the interval starts that follows one that ended at `end`: there, if that is a point.
    fn resume(&self, end: DateTime<Utc>) -> Option<DateTime<Utc>> {
        self.floor(end)
    }
    /// Where a trigger timetable starts that has neither run nor a start date.
    fn first_without_start(&self, now: DateTime<Utc>) -> Option<DateTime<Utc>>;
    /// Start of the last data interval that is complete at `now`.
    fn latest_start(&self, now: DateTime<Utc>) -> Option<DateTime<Utc>>;
}

/// Every so many microseconds. It has no points of its own: it counts from wherever it is asked
/// from, a start date or the run before.
#[derive(Debug, Clone, Copy)]
pub(super) struct Every(pub(super) TimeDelta);

impl Grid for Every {
    fn next(&self, time: DateTime<Utc>) -> Option<DateTime<Utc>> {
        time.checked_add_signed(self.0)
    }

    fn prev(&self, time: DateTime<Utc>) -> Option<DateTime<Utc>> {
        time.checked_sub_signed(self.0)
    }

    fn ceil(&self, time: DateTime<Utc>) -> Option<DateTime<Utc>> {
        Some(time)
    }

    fn floor(&self, time: DateTime<Utc>) -> Option<DateTime<Utc>> {
        Some(time)
    }

    fn at_or_after(&self, anchor: Option<DateTime<Utc>>, time: DateTime<Utc>) -> Option<DateTime<Utc>> {
        let Some(anchor) = anchor.filter(|anchor| *anchor < time) else { return Some(anchor.unwrap_or(time)) };
        let past = since_last_point(anchor, time, self.0)?;
        if past.is_zero() { Some(time) } else { time.checked_add_signed(self.0 - past) }
    }

    fn first_without_start(&self, now: DateTime<Utc>) -> Option<DateTime<Utc>> {
        Some(now)
    }

    fn latest_start(&self, now: DateTime<Utc>) -> Option<DateTime<Utc>> {
        let past = since_last_point(DateTime::UNIX_EPOCH, now, self.0)?;
        self.prev(now.checked_sub_signed(past)?)
    }
}

/// How far `time` lies behind the last multiple of `every` since `anchor`.
fn since_last_point(anchor: DateTime<Utc>, time: DateTime<Utc>, every: TimeDelta) -> Option<TimeDelta> {
    let every = every.num_microseconds().filter(|every| *every > 0)?;
    Some(TimeDelta::microseconds((time - anchor).num_microseconds()?.rem_euclid(every)))
}

/// The next run at a point of the grid.
pub(super) fn trigger(
    grid: &impl Grid,
    last: Option<DataInterval>,
    bounds: &Bounds,
    now: DateTime<Utc>,
) -> Option<DueRun> {
    let mut at = match (last, bounds.start_date) {
        (Some(last), _) => grid.next(last.end)?,
        (None, Some(start)) => grid.ceil(start)?,
        (None, None) => grid.first_without_start(now)?,
    };
    if let Some(start) = bounds.start_date {
        at = at.max(grid.ceil(start)?);
    }
    if !bounds.catchup
        && let Some(latest) = grid.floor(now)
    {
        at = at.max(latest);
    }
    Some(DueRun::exact(at))
}

/// The next run at the end of an interval between two points of the grid.
pub(super) fn data_interval(
    grid: &impl Grid,
    last: Option<DataInterval>,
    bounds: &Bounds,
    now: DateTime<Utc>,
) -> Option<DueRun> {
    let mut earliest = match bounds.start_date {
        Some(start) => Some(grid.ceil(start)?),
        None => None,
    };
    if !bounds.catchup {
        earliest = earliest.max(grid.latest_start(now));
    }
    let Some(last) = last else { return interval_from(grid, earliest?) };
    // The points may have changed since the last run, so its end need not be one of them.
    let aligned = grid.resume(last.end);
    let run = interval_from(grid, aligned.max(earliest)?)?;
    if run.logical_date > last.start && run.run_after > last.end {
        return Some(run);
    }
    // The points have become sparser, or a moved clock has put one into the last interval: go on
    // where that ended, so that no time is covered twice and no logical date comes again.
    interval_from(grid, last.end)
}

/// The first run of a grid whose `run_after` is not before `from`, as if catching up.
pub(super) fn trigger_from(grid: &impl Grid, bounds: &Bounds, from: DateTime<Utc>) -> Option<DueRun> {
    grid.at_or_after(bounds.start_date, from).map(DueRun::exact)
}

/// [`trigger_from`] for data intervals.
pub(super) fn data_interval_from(grid: &impl Grid, bounds: &Bounds, from: DateTime<Utc>) -> Option<DueRun> {
    let end = grid.at_or_after(bounds.start_date, from)?;
    let start = match bounds.start_date {
        Some(start) => grid.prev(end).max(grid.ceil(start)),
        None => grid.prev(end),
    };
    interval_from(grid, start?)
}

fn interval_from(grid: &impl Grid, start: DateTime<Utc>) -> Option<DueRun> {
    let end = grid.next(start)?;
    Some(DueRun { run_after: end, logical_date: start, data_interval: DataInterval { start, end } })
}
