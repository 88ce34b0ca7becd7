use std::sync::Arc;

use chrono_tz::Tz;
use proptest::prelude::*;
use towpath_model::dag::{Dag, DagSpec};
use towpath_model::timetable::{self, Kind};
use towpath_store::DagRecord;

use super::*;

fn at(text: &str) -> DateTime<Utc> {
    let text = if text.len() == 10 { format!("{text}T00:00:00Z") } else { format!("{text}:00Z") };
    text.parse().unwrap()
}

/// A DAG that was never scheduled and whose next run has not been computed.
fn dag(schedule: &str, kind: Kind, edit: impl FnOnce(&mut DagSpec)) -> SchedulableDag {
    let mut spec = DagSpec::new("d");
    spec.schedule = timetable::parse(schedule, Tz::UTC, kind).unwrap();
    edit(&mut spec);
    let record = DagRecord {
        dag_id: spec.dag_id.clone(),
        file: "d.yml".into(),
        is_paused: false,
        is_active: true,
        version_id: 7,
        version_number: 1,
        description: None,
        owners: Vec::new(),
        tags: Vec::new(),
        schedule: schedule.into(),
        max_active_runs: spec.max_active_runs,
        next_run: None,
        last_parsed_at: at("2026-01-01"),
    };
    let dag = Arc::new(Dag::build(spec).unwrap());
    SchedulableDag { record, dag, last_interval: None, active_runs: 0, last_run_end: None }
}

fn instant(time: &str) -> DueRun {
    let time = at(time);
    DueRun { run_after: time, logical_date: time, data_interval: DataInterval { start: time, end: time } }
}

/// The actions as `next TIME` and `run LOGICAL_DATE`.
fn told(dag: &SchedulableDag, now: &str) -> Vec<String> {
    plan(std::slice::from_ref(dag), at(now)).iter().map(shown).collect()
}

fn shown(action: &Action) -> String {
    let time = |time: DateTime<Utc>| time.format("%m-%d %H:%M").to_string();
    match action {
        Action::SetNext { next, version_id: 7, .. } => {
            format!("next {}", next.map_or("never".to_owned(), |next| time(next.run_after)))
        }
        Action::Create { due, next, version_id: 7, .. } => {
            let next = next.map_or("never".to_owned(), |next| time(next.run_after));
            format!("run {} then {next}", time(due.logical_date))
        }
        other => panic!("{other:?} names another version"),
    }
}

#[test]
fn a_new_dag_learns_when_it_runs() {
    let daily = dag("@daily", Kind::Trigger, |_| {});
    assert_eq!(told(&daily, "2026-03-05T12:00"), ["next 03-06 00:00"]);
    let never = dag("none", Kind::Trigger, |_| {});
    assert_eq!(told(&never, "2026-03-05T12:00"), ["next never"]);
    let later = dag("@daily", Kind::Trigger, |spec| spec.start_date = Some(at("2026-04-01")));
    assert_eq!(told(&later, "2026-03-05T12:00"), ["next 04-01 00:00"]);
}

#[test]
fn a_due_run_is_created_without_another_record() {
    let mut daily = dag("@daily", Kind::Trigger, |_| {});
    daily.record.next_run = Some(instant("2026-03-06"));
    assert_eq!(told(&daily, "2026-03-06"), ["run 03-06 00:00 then 03-07 00:00"]);
}

#[test]
fn catchup_creates_as_many_as_there_is_room_for() {
    let mut daily = dag("@daily", Kind::DataInterval, |spec| {
        spec.catchup = true;
        spec.start_date = Some(at("2026-01-01"));
        spec.end_date = Some(at("2026-01-31"));
        spec.max_active_runs = 4;
    });
    assert_eq!(
        told(&daily, "2026-03-05T12:00"),
        [
            "next 01-02 00:00",
            "run 01-01 00:00 then 01-03 00:00",
            "run 01-02 00:00 then 01-04 00:00",
            "run 01-03 00:00 then 01-05 00:00",
            "run 01-04 00:00 then 01-06 00:00"
        ]
    );
    // Three of them still run.
    let interval = |start, end| DataInterval { start: at(start), end: at(end) };
    daily.last_interval = Some(interval("2026-01-04", "2026-01-05"));
    daily.record.next_run = Some(DueRun {
        run_after: at("2026-01-06"),
        logical_date: at("2026-01-05"),
        data_interval: interval("2026-01-05", "2026-01-06"),
    });
    daily.active_runs = 3;
    assert_eq!(told(&daily, "2026-03-05T12:00"), ["run 01-05 00:00 then 01-07 00:00"]);
    daily.active_runs = 4;
    assert_eq!(told(&daily, "2026-03-05T12:00"), [""; 0]);
    daily.active_runs = 9;
    assert_eq!(told(&daily, "2026-03-05T12:00"), [""; 0]);
    // The last one that end_date allows.
    daily.active_runs = 0;
    daily.last_interval = Some(interval("2026-01-30", "2026-01-31"));
    daily.record.next_run = Some(DueRun {
        run_after: at("2026-02-01"),
        logical_date: at("2026-01-31"),
        data_interval: interval("2026-01-31", "2026-02-01"),
    });
    assert_eq!(told(&daily, "2026-03-05T12:00"), ["run 01-31 00:00 then never"]);
    daily.last_interval = Some(interval("2026-01-31", "2026-02-01"));
    daily.record.next_run = None;
    assert_eq!(told(&daily, "2026-03-05T12:00"), ["next never"]);
}

#[test]
fn one_pass_does_not_create_runs_without_end() {
    let minutely = dag("* * * * *", Kind::Trigger, |spec| {
        spec.catchup = true;
        spec.start_date = Some(at("2026-01-01"));
        spec.max_active_runs = 1_000_000;
    });
    let creates = plan(&[minutely], at("2026-03-05"));
    assert_eq!(creates.len(), 1 + MAX_CREATES as usize);
}

#[test]
fn without_catchup_only_the_latest_missed_run_is_created() {
    let mut hourly = dag("@hourly", Kind::Trigger, |spec| spec.max_active_runs = 4);
    hourly.last_interval = Some(instant("2026-03-05T09:00").data_interval);
    hourly.record.next_run = Some(instant("2026-03-05T10:00"));
    assert_eq!(told(&hourly, "2026-03-05T15:30"), ["next 03-05 15:00", "run 03-05 15:00 then 03-05 16:00"]);
    // Seen a moment late, it is not missed.
    assert_eq!(told(&hourly, "2026-03-05T10:01"), ["run 03-05 10:00 then 03-05 11:00"]);
    // Held back by a limit it is left alone, however much time goes by.
    hourly.active_runs = 4;
    assert_eq!(told(&hourly, "2026-03-05T15:30"), [""; 0]);
}

#[test]
fn an_interval_without_start_date_does_fire() {
    let mut every = dag("30m", Kind::Trigger, |_| {});
    assert_eq!(
        told(&every, "2026-03-05T12:00"),
        ["next 03-05 12:00", "run 03-05 12:00 then 03-05 12:30"],
        "the first run is now"
    );
    every.record.next_run = Some(instant("2026-03-05T12:00"));
    assert_eq!(told(&every, "2026-03-05T12:10"), ["run 03-05 12:00 then 03-05 12:30"]);
}

#[test]
fn a_run_of_an_older_version_is_computed_again() {
    // Was hourly, is daily now.
    let mut daily = dag("@daily", Kind::Trigger, |_| {});
    daily.last_interval = Some(instant("2026-03-05T09:00").data_interval);
    daily.record.next_run = Some(instant("2026-03-05T10:00"));
    assert_eq!(told(&daily, "2026-03-05T10:01"), ["next 03-06 00:00"]);
    assert_eq!(told(&daily, "2026-03-05T09:30"), ["next 03-06 00:00"]);
    // The same in both versions is recorded for the new one.
    daily.record.next_run = Some(instant("2026-03-06"));
    assert_eq!(told(&daily, "2026-03-05T10:01"), ["next 03-06 00:00"]);
    // The schedule is gone.
    let mut never = dag("none", Kind::Trigger, |_| {});
    never.record.next_run = Some(instant("2026-03-05T10:00"));
    assert_eq!(told(&never, "2026-03-05T10:01"), ["next never"]);
}

#[test]
fn once_is_once() {
    let mut once = dag("@once", Kind::Trigger, |_| {});
    assert_eq!(told(&once, "2026-03-05T12:00"), ["next 03-05 12:00", "run 03-05 12:00 then never"]);
    once.last_interval = Some(instant("2026-03-05T12:00").data_interval);
    assert_eq!(told(&once, "2026-03-05T12:01"), ["next never"]);
    let later = dag("@once", Kind::Trigger, |spec| spec.start_date = Some(at("2026-04-01")));
    assert_eq!(told(&later, "2026-03-05T12:00"), ["next 04-01 00:00"]);
}

#[test]
fn continuous_is_one_at_a_time() {
    let mut again = dag("@continuous", Kind::Trigger, |_| {});
    assert_eq!(told(&again, "2026-03-05T12:00"), ["next 03-05 12:00", "run 03-05 12:00 then never"]);
    again.last_interval = Some(instant("2026-03-05T12:00").data_interval);
    again.active_runs = 1;
    assert_eq!(told(&again, "2026-03-05T12:30"), [""; 0]);
    // It has ended: the next one is due now and covers the time since.
    again.active_runs = 0;
    let actions = plan(&[again.clone()], at("2026-03-05T12:30"));
    let Some(Action::Create { due, next: None, .. }) = actions.last() else { panic!("{actions:?}") };
    assert_eq!(due.run_after, at("2026-03-05T12:30"));
    assert_eq!(due.data_interval.end, at("2026-03-05T12:30"));
    assert!(due.logical_date > at("2026-03-05T12:00"));
    // One that ends as soon as it starts leaves a second between them.
    let actions = plan(&[again.clone()], at("2026-03-05T12:00"));
    let [Action::SetNext { next: Some(next), .. }] = actions.as_slice() else { panic!("{actions:?}") };
    assert_eq!(next.run_after, at("2026-03-05T12:00") + CONTINUOUS_PAUSE);
    // Its time is over: told once, not at every look.
    let mut over = dag("@continuous", Kind::Trigger, |spec| spec.end_date = Some(at("2026-01-01")));
    assert_eq!(told(&over, "2026-03-05T12:00"), [""; 0]);
    over.record.next_run = Some(instant("2026-01-02"));
    assert_eq!(told(&over, "2026-03-05T12:00"), ["next never"]);
}

#[test]
fn paused_and_stale_dags_are_left_alone() {
    let mut daily = dag("@daily", Kind::Trigger, |_| {});
    daily.record.next_run = Some(instant("2026-03-05"));
    assert_eq!(told(&daily, "2026-03-05").len(), 1);
    daily.record.is_paused = true;
    assert_eq!(told(&daily, "2026-03-05"), [""; 0]);
    daily.record.is_paused = false;
    daily.record.is_active = false;
    assert_eq!(told(&daily, "2026-03-05"), [""; 0]);
}

#[test]
fn no_time_is_lost_when_clocks_are_moved() {
    // Berlin, 2026-03-29: 02:00 becomes 03:00; 2026-10-25: 03:00 becomes 02:00.
    for (start, expected) in [
        ("2026-03-28", ["03-28 01:30", "03-29 01:30", "03-30 00:30", "03-31 00:30"]),
        ("2026-10-24", ["10-24 00:30", "10-25 01:30", "10-26 01:30", "10-27 01:30"]),
    ] {
        let mut dag = dag("@daily", Kind::Trigger, |spec| {
            spec.schedule = timetable::parse("30 2 * * *", Tz::Europe__Berlin, Kind::Trigger).unwrap();
            spec.catchup = true;
            spec.start_date = Some(at(start));
        });
        dag.record.max_active_runs = 4;
        let now = at(start) + TimeDelta::days(10);
        let runs: Vec<String> = plan(&[dag], now)
            .iter()
            .filter_map(|action| match action {
                Action::Create { due, .. } => Some(due.run_after.format("%m-%d %H:%M").to_string()),
                Action::SetNext { .. } => None,
            })
            .collect();
        assert_eq!(runs, expected);
    }
}

proptest! {
    /// What was recorded is not recorded again: a plan that was carried out, but for lack of room
    /// without runs, leaves nothing to do. Else a full DAG would cost a write at every look.
    #[test]
    fn a_record_is_stable(
        schedule in prop::sample::select(vec![
            "@daily", "@hourly", "30 2 * * *", "*/7 * * * *", "5,35 1-3 * * *", "0 0 31 * *", "0 6 * * 1-5", "30m", "25h", "@once",
        ]),
        zone in prop::sample::select(vec![Tz::UTC, Tz::Europe__Berlin, Tz::America__New_York, Tz::Australia__Lord_Howe]),
        kind in prop::sample::select(vec![Kind::Trigger, Kind::DataInterval]),
        catchup: bool,
        start in prop::option::of(0_i64..40_000),
        last in prop::option::of(0_i64..20_000),
        now in 0_i64..40_000,
        later in 0_i64..3_000,
    ) {
        let time = |minutes: i64| at("2026-03-15") + TimeDelta::minutes(minutes);
        let mut full = dag("@daily", kind, |spec| {
            spec.schedule = timetable::parse(schedule, zone, kind).unwrap();
            spec.catchup = catchup;
            spec.start_date = start.map(time);
        });
        full.active_runs = full.record.max_active_runs;
        full.last_interval = last.and_then(|last| {
            next_after(&full, None, time(last)).filter(|run| run.run_after <= time(now)).map(|run| run.data_interval)
        });
        for action in plan(std::slice::from_ref(&full), time(now)) {
            match action {
                Action::SetNext { next, .. } => full.record.next_run = next,
                Action::Create { .. } => panic!("there is no room"),
            }
        }
        let due = full.record.next_run.filter(|next| next.run_after <= time(now + later));
        if due.is_some() {
            prop_assert_eq!(plan(&[full], time(now + later)), []);
        }
    }
}
