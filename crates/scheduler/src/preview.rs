//! What a schedule will do, without doing it: the answer to `next-runs`, and with [`calendar`],
//! [`simulate`] and [`diff`] that to `schedule preview`.

pub mod calendar;
pub mod diff;
pub mod report;
pub mod simulate;

use chrono::{DateTime, Utc};
use serde::Serialize;
use towpath_model::dag::Dag;
use towpath_model::timetable::{DataInterval, DueRun};

use crate::plan::bounds;

/// One run that a schedule calls for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Fire {
    /// When it is due.
    pub run_after: DateTime<Utc>,
    pub logical_date: DateTime<Utc>,
    pub data_interval_start: DateTime<Utc>,
    pub data_interval_end: DateTime<Utc>,
}

impl From<DueRun> for Fire {
    fn from(run: DueRun) -> Self {
        Self {
            run_after: run.run_after,
            logical_date: run.logical_date,
            data_interval_start: run.data_interval.start,
            data_interval_end: run.data_interval.end,
        }
    }
}

/// Which part of a schedule to show.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Window {
    /// The first `run_after` of interest.
    pub from: DateTime<Utc>,
    /// The first `run_after` that is not of interest; `None`: no end but `count`.
    pub to: Option<DateTime<Utc>>,
    /// At most so many.
    pub count: usize,
}

/// The runs that `dag`'s schedule calls for in `window`, oldest first, as if each was made: bounds
/// are kept, limits and pauses are not looked at. Empty for a DAG without a schedule and for
/// `@continuous`, whose runs depend on when others end.
#[must_use]
pub fn fires(dag: &Dag, window: Window) -> Vec<Fire> {
    let to = window.to.unwrap_or(DateTime::<Utc>::MAX_UTC);
    dag.spec().schedule.runs_between(&bounds(dag), window.from, to).take(window.count).map(Fire::from).collect()
}

/// The runs that the scheduler will create, oldest first, when it looks at `now` and `last` is the
/// data interval of the newest scheduled run: without catchup, what was missed is left out but for
/// the latest, which stands first then.
#[must_use]
pub fn upcoming(dag: &Dag, last: Option<DataInterval>, now: DateTime<Utc>, count: usize) -> Vec<Fire> {
    let bounds = bounds(dag);
    let schedule = &dag.spec().schedule;
    if matches!(schedule, towpath_model::timetable::Schedule::Continuous) {
        return Vec::new();
    }
    let first = schedule.next_run(last, &bounds, now);
    std::iter::successors(first, |run| schedule.next_run(Some(run.data_interval), &bounds, now.max(run.run_after)))
        .take(count)
        .map(Fire::from)
        .collect()
}

/// The run that the scheduler would create first if it planned anew at `now`. For DAGs that are paused from the beginning: they have
/// no plan, and people want to know what unpausing them starts.
#[must_use]
pub fn unplanned(dag: &Dag, now: DateTime<Utc>) -> Option<DueRun> {
    let schedule = &dag.spec().schedule;
    let has_times = !matches!(schedule, towpath_model::timetable::Schedule::Continuous);
    has_times.then(|| schedule.next_run(None, &bounds(dag), now)).flatten()
}

#[cfg(test)]
mod tests {
    use chrono_tz::Tz;
    use towpath_model::dag::DagSpec;
    use towpath_model::timetable::{Kind, parse};

    use super::*;

    fn at(text: &str) -> DateTime<Utc> {
        text.parse().unwrap()
    }

    fn dag(schedule: &str, zone: Tz, kind: Kind) -> Dag {
        let mut spec = DagSpec::new("d");
        spec.schedule = parse(schedule, zone, kind).unwrap();
        spec.start_date = Some(at("2026-01-01T00:00:00Z"));
        spec.end_date = Some(at("2026-12-31T00:00:00Z"));
        Dag::build(spec).unwrap()
    }

    fn check(dag: &Dag, from: &str, to: Option<&str>, count: usize, expected: &[(&str, &str)]) {
        let window = Window { from: at(from), to: to.map(at), count };
        let fires: Vec<(String, String)> = fires(dag, window)
            .iter()
            .map(|fire| {
                assert_eq!(fire.logical_date, fire.data_interval_start);
                let show = |time: DateTime<Utc>| time.format("%F %R").to_string();
                (show(fire.run_after), show(fire.logical_date))
            })
            .collect();
        let fires: Vec<(&str, &str)> = fires.iter().map(|(a, b)| (a.as_str(), b.as_str())).collect();
        assert_eq!(fires, expected);
    }

    #[test]
    fn what_is_paused_from_the_beginning_has_a_first_run() {
        let first = |schedule: &str, now: &str| {
            let run = unplanned(&dag(schedule, Tz::UTC, Kind::Trigger), at(now));
            run.map(|run| run.run_after.format("%F %R").to_string())
        };
        // Without catchup it is the latest that was missed, as after unpausing.
        assert_eq!(first("@daily", "2026-03-05T12:00:00Z").as_deref(), Some("2026-03-05 00:00"));
        assert_eq!(first("@daily", "2025-03-05T12:00:00Z").as_deref(), Some("2026-01-01 00:00"));
        assert_eq!(first("@continuous", "2026-03-05T12:00:00Z"), None);
        assert_eq!(first("none", "2026-03-05T12:00:00Z"), None);
    }

    #[test]
    fn a_window_is_half_open_and_counted() {
        let daily = dag("@daily", Tz::UTC, Kind::DataInterval);
        check(
            &daily,
            "2026-03-05T00:00:00Z",
            Some("2026-03-07T00:00:00Z"),
            9,
            &[("2026-03-05 00:00", "2026-03-04 00:00"), ("2026-03-06 00:00", "2026-03-05 00:00")],
        );
        check(&daily, "2026-03-05T00:00:01Z", None, 1, &[("2026-03-06 00:00", "2026-03-05 00:00")]);
        check(&daily, "2027-03-05T00:00:00Z", None, 9, &[]);
        check(&dag("@continuous", Tz::UTC, Kind::Trigger), "2026-03-05T00:00:00Z", None, 9, &[]);
        check(&dag("none", Tz::UTC, Kind::Trigger), "2026-03-05T00:00:00Z", None, 9, &[]);
    }

    #[test]
    fn clocks_are_moved_for_a_week() {
        // In Berlin 02:30 does not exist on the 29th.
        let berlin = dag("30 2 * * *", Tz::Europe__Berlin, Kind::Trigger);
        check(
            &berlin,
            "2026-03-28T00:00:00Z",
            None,
            3,
            &[
                ("2026-03-28 01:30", "2026-03-28 01:30"),
                ("2026-03-29 01:30", "2026-03-29 01:30"),
                ("2026-03-30 00:30", "2026-03-30 00:30"),
            ],
        );
    }

    #[test]
    fn what_was_missed_counts_once_without_catchup() {
        let hourly = dag("@hourly", Tz::UTC, Kind::Trigger);
        let time = at("2026-03-05T09:00:00Z");
        let last = DataInterval { start: time, end: time };
        let fires = upcoming(&hourly, Some(last), at("2026-03-05T12:30:00Z"), 3);
        let times: Vec<String> = fires.iter().map(|fire| fire.run_after.format("%R").to_string()).collect();
        assert_eq!(times, ["12:00", "13:00", "14:00"]);
    }
}
