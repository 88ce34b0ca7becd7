//! Timetables against Airflow's own answers, and crons against croniter's, row by row.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use chrono_tz::Tz;
use serde::Deserialize;
use towpath_model::timetable::{Bounds, DataInterval, Kind, Schedule, parse};

#[derive(Deserialize)]
struct Oracle {
    cases: Vec<Case>,
}

#[derive(Debug, Deserialize)]
struct Case {
    timetable: String,
    expr: Option<String>,
    delta_seconds: Option<f64>,
    tz: Tz,
    start_date: DateTime<Utc>,
    now: DateTime<Utc>,
    catchup: bool,
    /// `run_after`, start and end of the data interval.
    runs: Vec<[DateTime<Utc>; 3]>,
    manual_interval_at_now: [DateTime<Utc>; 2],
}

impl Case {
    fn schedule(&self) -> Schedule {
        let kind = match self.timetable.as_str() {
            "CronTriggerTimetable" | "DeltaTriggerTimetable" => Kind::Trigger,
            "CronDataIntervalTimetable" | "DeltaDataIntervalTimetable" => Kind::DataInterval,
            other => panic!("unknown timetable {other}"),
        };
        match (&self.expr, self.delta_seconds) {
            (Some(expr), None) => parse(expr, self.tz, kind).expect("every expression of the oracle is valid"),
            (None, Some(seconds)) => Schedule::Interval { every: Duration::from_secs_f64(seconds), timetable: kind },
            other => panic!("a case has an expression or a delta, not {other:?}"),
        }
    }

    fn bounds(&self) -> Bounds {
        Bounds { start_date: Some(self.start_date), end_date: None, catchup: self.catchup }
    }
}

fn oracle() -> Oracle {
    serde_json::from_str(include_str!("data/timetables.json")).expect("the file has this shape")
}

#[test]
fn every_row_agrees() {
    let oracle = oracle();
    assert_eq!(oracle.cases.len(), 309);
    let mut wrong = Vec::new();
    for case in &oracle.cases {
        let schedule = case.schedule();
        let mut last = None;
        let mut runs = Vec::new();
        for _ in &case.runs {
            let run = schedule.next_run(last, &case.bounds(), case.now).expect("these schedules do not end");
            last = Some(run.data_interval);
            assert_eq!(run.logical_date, run.data_interval.start);
            runs.push([run.run_after, run.data_interval.start, run.data_interval.end]);
        }
        if runs != case.runs {
            wrong.push(format!("{case:?}\ngave {runs:?}\n"));
        }
        let [start, end] = case.manual_interval_at_now;
        let manual = schedule.manual_interval(case.now);
        if manual != (DataInterval { start, end }) {
            wrong.push(format!("{case:?}\ngave the manual interval {manual:?}\n"));
        }
    }
    assert!(wrong.is_empty(), "{} rows differ:\n{}", wrong.len(), wrong.join("\n"));
}

/// The preview of a schedule is what the scheduler then does.
#[test]
fn previews_agree_with_the_scheduler() {
    for case in oracle().cases.iter().filter(|case| case.catchup) {
        let schedule = case.schedule();
        let to = case.runs.last().expect("every case has runs")[0];
        let runs: Vec<_> = schedule
            .runs_between(&case.bounds(), case.start_date, to)
            .map(|run| [run.run_after, run.data_interval.start, run.data_interval.end])
            .collect();
        assert_eq!(runs, case.runs[..case.runs.len() - 1], "{case:?}");
    }
}

#[derive(Deserialize)]
struct Croniter {
    cases: Vec<CroniterCase>,
}

#[derive(Deserialize)]
struct CroniterCase {
    expr: String,
    start: DateTime<Utc>,
    /// The first times after `start`.
    next: Vec<DateTime<Utc>>,
    /// The last times before `start`, going back.
    prev: Vec<DateTime<Utc>>,
}

/// Expressions of every form, in UTC, against the library that Airflow reads them with.
#[test]
fn crons_fire_as_in_croniter() {
    let oracle: Croniter = serde_json::from_str(include_str!("data/croniter.json")).unwrap();
    assert_eq!(oracle.cases.len(), 200);
    let mut wrong = Vec::new();
    for case in &oracle.cases {
        let trigger = parse(&case.expr, Tz::UTC, Kind::Trigger).unwrap();
        let next: Vec<_> = trigger
            .runs_between(&Bounds::default(), case.start + TimeDelta::nanoseconds(1), DateTime::<Utc>::MAX_UTC)
            .map(|run| run.run_after)
            .take(case.next.len())
            .collect();
        if next != case.next {
            wrong.push(format!("{} after {}: {next:?}, not {:?}", case.expr, case.start, case.next));
        }
        let intervals = parse(&case.expr, Tz::UTC, Kind::DataInterval).unwrap();
        let back = |time: &DateTime<Utc>| Some(intervals.manual_interval(*time - TimeDelta::nanoseconds(1)).end);
        let prev: Vec<_> = std::iter::successors(back(&case.start), back).take(case.prev.len()).collect();
        if prev != case.prev {
            wrong.push(format!("{} before {}: {prev:?}, not {:?}", case.expr, case.start, case.prev));
        }
    }
    assert!(wrong.is_empty(), "{} differ:\n{}", wrong.len(), wrong.join("\n"));
}
