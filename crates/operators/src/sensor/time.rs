//! `time_sensor` and `time_delta_sensor`: wait for a time.

use async_trait::async_trait;
use chrono::{DateTime, NaiveDate, NaiveTime, TimeDelta, TimeZone as _, Utc};
use chrono_tz::Tz;
use towpath_model::run::iso_time;

use super::{Error, Poke, Sensor, later, seconds, text};
use crate::attempt::{Attempt, Context};

/// Waits for a time of the day on which the try has started.
#[derive(Debug, Clone, Copy, Default)]
pub struct TimeSensor;

/// Waits until some time after the end of the run's data interval.
#[derive(Debug, Clone, Copy, Default)]
pub struct TimeDeltaSensor;

#[async_trait]
impl Sensor for TimeSensor {
    fn awaits(&self, attempt: &Attempt) -> Result<String, Error> {
        Ok(iso_time(time_of_day(attempt)?))
    }

    async fn poke(&self, attempt: &Attempt) -> Result<Poke, Error> {
        Ok(reached(attempt, time_of_day(attempt)?))
    }
}

#[async_trait]
impl Sensor for TimeDeltaSensor {
    fn awaits(&self, attempt: &Attempt) -> Result<String, Error> {
        Ok(iso_time(after_interval(attempt)?))
    }

    async fn poke(&self, attempt: &Attempt) -> Result<Poke, Error> {
        Ok(reached(attempt, after_interval(attempt)?))
    }
}

fn reached(attempt: &Attempt, target: DateTime<Utc>) -> Poke {
    if attempt.log.clock().now() > target { Poke::Done(None) } else { Poke::NotYet }
}

/// `target_time` on the day of the try's start; a sensor that waits past midnight keeps its day.
fn time_of_day(attempt: &Attempt) -> Result<DateTime<Utc>, Error> {
    let given = text(&attempt.args, "target_time").unwrap_or_default();
    let read = ["%H:%M:%S%.f", "%H:%M"].iter().find_map(|format| NaiveTime::parse_from_str(given, format).ok());
    let time = read.ok_or_else(|| {
        Error::Wrong(format!("`target_time` must be a time such as `06:30` or `06:30:15`, not `{given}`"))
    })?;
    let Context { timezone, start_date, .. } = attempt.context;
    Ok(local(start_date.with_timezone(&timezone).date_naive(), time, timezone))
}

/// A local time as Python has it: the first of two, and one that does not exist past the gap by as much.
fn local(day: NaiveDate, time: NaiveTime, zone: Tz) -> DateTime<Utc> {
    let naive = day.and_time(time);
    if let Some(at) = zone.from_local_datetime(&naive).earliest() {
        return at.to_utc();
    }
    // In a gap what counts is the offset before it. No gap is longer than a day, and no two are so close.
    let before = zone.from_utc_datetime(&(naive - TimeDelta::days(1)));
    let offset = before.naive_local() - before.naive_utc();
    Utc.from_utc_datetime(&(naive - offset))
}

/// `delta` after the end of the data interval, or after `run_after` for a run without one.
fn after_interval(attempt: &Attempt) -> Result<DateTime<Utc>, Error> {
    let context = &attempt.context;
    let base = context.data_interval.map_or(context.run_after, |interval| interval.end);
    let delta = seconds(&attempt.args, "delta").map_err(Error::Wrong)?;
    let delta =
        delta.ok_or_else(|| Error::Wrong("`delta` is missing; write how long to wait, such as `30m`".into()))?;
    Ok(later(base, delta))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn local_times_around_changes_of_the_clock() {
        for (day, time, zone, expected) in [
            ("2026-01-10", "06:30", Tz::UTC, "2026-01-10T06:30:00+00:00"),
            ("2026-01-10", "06:30", Tz::America__New_York, "2026-01-10T11:30:00+00:00"),
            // Twice: the first.
            ("2026-11-01", "01:30", Tz::America__New_York, "2026-11-01T05:30:00+00:00"),
            // Never: past the gap.
            ("2026-03-08", "02:30", Tz::America__New_York, "2026-03-08T07:30:00+00:00"),
            ("2026-03-29", "02:30", Tz::Europe__Berlin, "2026-03-29T01:30:00+00:00"),
        ] {
            let at = local(day.parse().expect("a day"), time.parse().expect("a time"), zone);
            assert_eq!(iso_time(at), expected, "{day} {time} {zone}");
        }
    }
}
