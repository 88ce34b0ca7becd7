//! What the oracle does not hold: errors, words, ends, several crons, odd zones, and properties.

use proptest::prelude::*;

use super::*;

fn utc(text: &str) -> DateTime<Utc> {
    text.parse().unwrap()
}

fn cron(text: &str, zone: &str, kind: Kind) -> Schedule {
    parse(text, zone.parse().unwrap(), kind).unwrap()
}

fn from(start: &str) -> Bounds {
    Bounds { start_date: Some(utc(start)), end_date: None, catchup: true }
}

/// The first runs that a schedule makes up for, as `run_after` or, for intervals, `start/end`.
fn runs(schedule: &Schedule, bounds: &Bounds, count: usize) -> Vec<String> {
    let start = bounds.start_date.unwrap();
    schedule
        .runs_between(bounds, start, DateTime::<Utc>::MAX_UTC)
        .take(count)
        .map(|run| {
            let DataInterval { start, end } = run.data_interval;
            let short = |time: DateTime<Utc>| time.format("%m-%dT%H:%M").to_string();
            if start == end { short(end) } else { format!("{}/{}", short(start), short(end)) }
        })
        .collect()
}

#[track_caller]
fn check_runs(schedule: &Schedule, bounds: &Bounds, expected: &[&str]) {
    assert_eq!(runs(schedule, bounds, expected.len()), expected);
}

#[track_caller]
fn check_error(text: &str, expected: &str) {
    assert_eq!(parse(text, Tz::UTC, Kind::Trigger).unwrap_err().to_string(), expected);
}

#[test]
fn errors_name_the_place_and_the_way_out() {
    check_error("0 25 * * *", "`25` in the hour field of `0 25 * * *`: write 0 to 23");
    check_error("0 0 0 * *", "`0` in the day-of-month field of `0 0 0 * *`: write 1 to 31");
    check_error("0 0 * * MONDAY", "`MONDAY` in the day-of-week field of `0 0 * * MONDAY`: did you mean `MON`?");
    check_error("0 0 * Janu-Mar *", "`Janu-Mar` in the month field of `0 0 * Janu-Mar *`: did you mean `JAN`?");
    check_error("0 0 * * 8", "`8` in the day-of-week field of `0 0 * * 8`: write 0 to 7 or SUN to SAT");
    check_error("0 0 * * 5#6", "`5#6` in the day-of-week field of `0 0 * * 5#6`: write 1 to 5 after `#`");
    check_error(
        "0 0 * * L",
        "`L` in the day-of-week field of `0 0 * * L`: write the weekday after it: `L5` is the last Friday of the month",
    );
    check_error("*/0 * * * *", "`*/0` in the minute field of `*/0 * * * *`: a step is a whole number from 1");
    check_error("1, * * * *", "`` in the minute field of `1, * * * *`: write 0 to 59");
    check_error("H * * * *", "`H` in the minute field of `H * * * *`: write 0 to 59");
    check_error(
        "* * * *",
        "`* * * *` has 4 fields: write five (minute, hour, day of month, month, day of week), or six with seconds last",
    );
    check_error("0 0 30 2 *", "`0 0 30 2 *` never fires: none of its months has such a day");
    check_error(
        "@dayly",
        "`@dayly` is not a preset: write one of @once, @continuous, @hourly, @daily, @midnight, @weekly, @monthly, \
         @quarterly, @yearly, @annually",
    );
    check_error("0s", "an interval of `0s` would never let time pass: write a duration above zero, such as `30m`");
    check_error(
        "often",
        "`often` is not a schedule: write a cron expression (`0 6 * * 1-5`), a preset (`@daily`) or an interval (`30m`)",
    );
}

#[test]
fn schedules_read_and_print() {
    let table = [
        ("none", "None", "only when triggered"),
        ("@once", "@once", "once, as soon as possible"),
        ("@continuous", "@continuous", "again as soon as the last run has ended"),
        ("@daily", "@daily", "every day at 00:00 Europe/Berlin"),
        ("0  6 * * 1-5", "0 6 * * 1-5", "every weekday at 06:00 Europe/Berlin"),
        ("* * * * *", "* * * * *", "every minute Europe/Berlin"),
        ("*/15 * * * *", "*/15 * * * *", "every 15 minutes Europe/Berlin"),
        ("*/7 * * * *", "*/7 * * * *", "*/7 * * * * Europe/Berlin"),
        ("5 * * * *", "5 * * * *", "every hour at minute 5 Europe/Berlin"),
        ("0 */2 * * *", "0 */2 * * *", "every 2 hours Europe/Berlin"),
        ("@weekly", "@weekly", "every Sunday at 00:00 Europe/Berlin"),
        ("30 9 * * mon", "30 9 * * mon", "every Monday at 09:30 Europe/Berlin"),
        ("@monthly", "@monthly", "on day 1 of every month at 00:00 Europe/Berlin"),
        ("0 0 L * *", "0 0 L * *", "on the last day of every month at 00:00 Europe/Berlin"),
        ("@quarterly", "@quarterly", "on day 1 of every third month at 00:00 Europe/Berlin"),
        ("@yearly", "@yearly", "every year on 1 January at 00:00 Europe/Berlin"),
        ("0 0 1,15 * 5", "0 0 1,15 * 5", "0 0 1,15 * 5 Europe/Berlin"),
        ("90m", "1h 30m", "every 1h 30m"),
        ("PT1.5S", "1s 500ms", "every 1s 500ms"),
    ];
    for (text, summary, words) in table {
        let schedule = cron(text, "Europe/Berlin", Kind::Trigger);
        assert_eq!((schedule.summary().as_str(), schedule.describe().as_str()), (summary, words), "{text}");
        let json = serde_json::to_string(&schedule).unwrap();
        assert_eq!(serde_json::from_str::<Schedule>(&json).unwrap(), schedule, "{json}");
    }
}

#[test]
fn a_schedule_is_stored_as_its_text() {
    let json = serde_json::to_value(cron("@daily", "Asia/Tokyo", Kind::DataInterval)).unwrap();
    let expected = serde_json::json!({
        "cron": { "expressions": ["@daily"], "timezone": "Asia/Tokyo", "timetable": "data_interval" }
    });
    assert_eq!(json, expected);
    assert!(serde_json::from_str::<CronExpression>("\"0 0 30 2 *\"").is_err());
}

#[test]
fn either_day_field_will_do() {
    // 13th, or Friday, of a month that begins on a Friday.
    check_runs(
        &cron("0 0 13 * 5", "UTC", Kind::Trigger),
        &from("2026-05-01T00:00:00Z"),
        &["05-01T00:00", "05-08T00:00", "05-13T00:00", "05-15T00:00"],
    );
    check_runs(
        &cron("0 0 1 * FRI#2", "UTC", Kind::Trigger),
        &from("2026-05-01T00:00:00Z"),
        &["05-01T00:00", "05-08T00:00", "06-01T00:00", "06-12T00:00"],
    );
}

#[test]
fn several_crons_are_one_schedule() {
    let expressions = ["0 6 * * *", "30 18 * * 1", "0 6 1 * *"].map(|text| text.parse().unwrap()).to_vec();
    let mut schedule = Schedule::Cron { expressions, timezone: Tz::UTC, timetable: Kind::Trigger };
    let bounds = from("2026-06-01T00:00:00Z");
    check_runs(&schedule, &bounds, &["06-01T06:00", "06-01T18:30", "06-02T06:00"]);
    // Without catchup it is the latest of all, and then the earliest of all.
    let bounds = Bounds { catchup: false, ..bounds };
    let now = utc("2026-06-09T00:00:00Z");
    let run = schedule.next_run(None, &bounds, now).unwrap();
    assert_eq!(run.run_after, utc("2026-06-08T18:30:00Z"));
    let run = schedule.next_run(Some(run.data_interval), &bounds, now).unwrap();
    assert_eq!(run.run_after, utc("2026-06-09T06:00:00Z"));
    if let Schedule::Cron { timetable, .. } = &mut schedule {
        *timetable = Kind::DataInterval;
    }
    check_runs(&schedule, &from("2026-06-01T00:00:00Z"), &["06-01T06:00/06-01T18:30", "06-01T18:30/06-02T06:00"]);
}

#[test]
fn an_end_date_ends_it() {
    let bounds = Bounds { end_date: Some(utc("2026-01-02T00:00:00Z")), ..from("2026-01-01T00:00:00Z") };
    assert_eq!(runs(&cron("@daily", "UTC", Kind::Trigger), &bounds, 9), ["01-01T00:00", "01-02T00:00"]);
    assert_eq!(
        runs(&cron("@daily", "UTC", Kind::DataInterval), &bounds, 9),
        ["01-01T00:00/01-02T00:00", "01-02T00:00/01-03T00:00"]
    );
    let once = Schedule::Once;
    assert_eq!(once.next_run(None, &bounds, bounds.start_date.unwrap()).map(|r| r.run_after), bounds.start_date);
    let early = Bounds { end_date: Some(utc("2025-01-01T00:00:00Z")), ..bounds };
    assert_eq!(once.next_run(None, &early, utc("2026-06-01T00:00:00Z")), None);
}

#[test]
fn once_runs_once() {
    let now = utc("2026-06-01T12:00:00Z");
    let run = Schedule::Once.next_run(None, &Bounds::default(), now).unwrap();
    assert_eq!((run.run_after, run.logical_date), (now, now));
    assert_eq!(Schedule::Once.next_run(Some(run.data_interval), &Bounds::default(), now), None);
}

#[test]
fn continuous_follows_the_last_run() {
    let start = utc("2026-06-01T00:00:00Z");
    let bounds = Bounds { start_date: Some(start), ..Bounds::default() };
    let now = utc("2026-06-01T12:00:00Z");
    let first = Schedule::Continuous.next_run(None, &bounds, now).unwrap();
    assert_eq!((first.logical_date, first.run_after), (start, now));
    let later = utc("2026-06-01T12:10:00Z");
    let second = Schedule::Continuous.next_run(Some(first.data_interval), &bounds, later).unwrap();
    assert_eq!((second.logical_date, second.run_after), (now, later));
    // Not even an empty first interval gives two runs the same logical date.
    let first = Schedule::Continuous.next_run(None, &Bounds::default(), now).unwrap();
    let second = Schedule::Continuous.next_run(Some(first.data_interval), &Bounds::default(), later).unwrap();
    assert!(second.logical_date > first.logical_date);
}

#[test]
fn without_a_start_date_only_a_fresh_tick_is_made_up_for() {
    let hourly = cron("@hourly", "UTC", Kind::Trigger);
    // A tenth of an hour is six minutes.
    for (now, first) in [("12:00", "12:00"), ("12:06", "12:00"), ("12:07", "13:00")] {
        let day = |time: &str| utc(&format!("2026-06-01T{time}:00Z"));
        let run = hourly.next_run(None, &Bounds { catchup: true, ..Bounds::default() }, day(now)).unwrap();
        assert_eq!(run.run_after, day(first), "at {now}");
    }
}

#[test]
fn no_catchup_keeps_the_latest() {
    let bounds = Bounds { catchup: false, ..from("2020-01-01T00:00:00Z") };
    let now = utc("2026-06-01T12:10:00Z");
    let next = |text: &str, kind| cron(text, "UTC", kind).next_run(None, &bounds, now).unwrap();
    assert_eq!(next("@daily", Kind::Trigger).run_after, utc("2026-06-01T00:00:00Z"));
    let daily = next("@daily", Kind::DataInterval);
    assert_eq!((daily.logical_date, daily.run_after), (utc("2026-05-31T00:00:00Z"), utc("2026-06-01T00:00:00Z")));
    assert_eq!(next("30m", Kind::Trigger).run_after, now);
    let half_hour = next("30m", Kind::DataInterval);
    assert_eq!(half_hour.run_after, utc("2026-06-01T12:00:00Z"));
}

#[test]
fn a_changed_schedule_neither_overlaps_nor_repeats() {
    let last = DataInterval { start: utc("2026-06-01T05:00:00Z"), end: utc("2026-06-01T06:00:00Z") };
    let daily = cron("@daily", "UTC", Kind::DataInterval);
    let run = daily.next_run(Some(last), &from("2026-01-01T00:00:00Z"), last.end).unwrap();
    assert_eq!(run.data_interval, DataInterval { start: last.end, end: utc("2026-06-02T00:00:00Z") });
    // A later start date holds for trigger timetables too.
    let run = cron("@daily", "UTC", Kind::Trigger).next_run(Some(last), &from("2026-07-01T00:00:00Z"), last.end);
    assert_eq!(run.unwrap().logical_date, utc("2026-07-01T00:00:00Z"));
}

#[test]
fn backfills_go_by_logical_date() {
    let (from_date, to_date) = (utc("2026-01-03T00:00:00Z"), utc("2026-01-05T00:00:00Z"));
    for text in ["@daily", "24h"] {
        let schedule = cron(text, "UTC", Kind::DataInterval);
        let dates: Vec<_> = schedule
            .runs_of_dates(&from("2026-01-01T00:00:00Z"), from_date, to_date)
            .map(|run| run.logical_date.format("%d").to_string())
            .collect();
        assert_eq!(dates, ["03", "04", "05"], "{text}");
    }
}

/// An interval that began long ago is not walked from its beginning.
#[test]
fn previews_of_intervals_keep_the_phase_of_the_start_date() {
    let schedule = cron("7s", "UTC", Kind::DataInterval);
    let from_date = utc("2026-01-01T00:00:00Z");
    let run = schedule.runs_between(&from("1980-01-01T00:00:03Z"), from_date, DateTime::<Utc>::MAX_UTC).next().unwrap();
    assert_eq!((run.logical_date - utc("1980-01-01T00:00:03Z")).num_seconds() % 7, 0);
    assert!(run.run_after >= from_date && run.logical_date < from_date);
}

#[test]
fn clocks_that_are_moved_in_odd_ways() {
    // Samoa had no 30 December 2011: its run and that of the 31st are one.
    check_runs(
        &cron("@daily", "Pacific/Apia", Kind::Trigger),
        &from("2011-12-29T00:00:00Z"),
        &["12-29T10:00", "12-30T10:00", "12-31T10:00"],
    );
    // Half an hour is repeated on Lord Howe Island.
    check_runs(
        &cron("@hourly", "Australia/Lord_Howe", Kind::DataInterval),
        &from("2026-04-04T14:00:00Z"),
        &["04-04T14:00/04-04T15:00", "04-04T15:00/04-04T15:30", "04-04T15:30/04-04T16:30"],
    );
    // Hourly on weekdays: the week-end is no step, so Monday begins at midnight after the change.
    check_runs(
        &cron("0 * * * 1-5", "Europe/Berlin", Kind::Trigger),
        &from("2026-03-27T21:30:00Z"),
        &["03-27T22:00", "03-29T22:00", "03-29T23:00"],
    );
}

fn field(min: u32, max: u32) -> impl Strategy<Value = String> {
    let item = prop_oneof![
        3 => (min..=max).prop_map(|value| value.to_string()),
        2 => (min..=max, min..=max).prop_map(|(a, b)| format!("{a}-{b}")),
        1 => (min..=max, min..=max, 1..=max).prop_map(|(a, b, step)| format!("{a}-{b}/{step}")),
        1 => (1..=max).prop_map(|step| format!("*/{step}")),
        1 => (min..=max, 1..=max).prop_map(|(from, step)| format!("{from}/{step}")),
    ];
    prop_oneof![Just("*".to_owned()), prop::collection::vec(item, 1..3).prop_map(|items| items.join(","))]
}

fn any_cron() -> impl Strategy<Value = CronExpression> {
    let day = prop_oneof![3 => field(1, 31), 1 => Just("L".to_owned()), 1 => Just("L,13".to_owned())];
    let weekday = prop_oneof![
        3 => field(0, 7),
        1 => (0..=7_u32, 1..=5_u32).prop_map(|(day, nth)| format!("{day}#{nth}")),
        1 => (0..=6_u32).prop_map(|day| format!("L{day}")),
    ];
    (field(0, 59), field(0, 23), day, field(1, 12), weekday)
        .prop_filter_map("never fires", |(a, b, c, d, e)| CronExpression::parse(&format!("{a} {b} {c} {d} {e}")).ok())
}

fn any_zone() -> impl Strategy<Value = Tz> {
    prop::sample::select(chrono_tz::TZ_VARIANTS.to_vec())
}

/// 1970 to 2100, or anything at all.
fn any_time() -> impl Strategy<Value = DateTime<Utc>> {
    const YEAR_2101: i64 = 4_133_980_800;
    prop_oneof![
        9 => (0..YEAR_2101, 0..1_000_000_u32).prop_map(|(s, us)| DateTime::from_timestamp(s, us * 1_000).unwrap()),
        1 => Just(DateTime::<Utc>::MIN_UTC),
        1 => Just(DateTime::<Utc>::MAX_UTC),
    ]
}

fn any_schedule() -> impl Strategy<Value = Schedule> {
    let kind = || prop::sample::select(vec![Kind::Trigger, Kind::DataInterval]);
    prop_oneof![
        8 => (prop::collection::vec(any_cron(), 1..3), any_zone(), kind())
            .prop_map(|(expressions, timezone, timetable)| Schedule::Cron { expressions, timezone, timetable }),
        2 => (1..10_000_000_000_000_u64, kind())
            .prop_map(|(us, timetable)| Schedule::Interval { every: Duration::from_micros(us), timetable }),
        1 => Just(Schedule::Once),
        1 => Just(Schedule::Continuous),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn runs_follow_each_other(
        schedule in any_schedule(),
        start_date in prop::option::of(any_time()),
        end_date in prop::option::of(any_time()),
        catchup in any::<bool>(),
        now in any_time(),
    ) {
        let bounds = Bounds { start_date, end_date, catchup };
        let mut last: Option<DueRun> = None;
        for _ in 0..20 {
            let Some(run) = schedule.next_run(last.map(|last| last.data_interval), &bounds, now) else { break };
            if let Some(last) = last {
                prop_assert!(run.logical_date > last.logical_date, "{last:?} then {run:?}");
                prop_assert!(run.run_after >= last.run_after, "{last:?} then {run:?}");
            }
            prop_assert!(run.logical_date <= run.run_after);
            prop_assert_eq!(run.logical_date, run.data_interval.start);
            prop_assert!(start_date.is_none_or(|start| run.logical_date >= start));
            prop_assert!(end_date.is_none_or(|end| run.logical_date <= end));
            last = Some(run);
        }
        let manual = schedule.manual_interval(now);
        prop_assert!(manual.start <= manual.end && manual.end <= now);
    }

    #[test]
    fn previews_stay_within_their_window(schedule in any_schedule(), start in any_time(), days in 0..40_i64) {
        let to = start.checked_add_signed(TimeDelta::days(days)).unwrap_or(start);
        let bounds = Bounds { start_date: Some(start), end_date: None, catchup: false };
        for run in schedule.runs_between(&bounds, start, to).take(50) {
            prop_assert!(run.run_after >= start && run.run_after < to);
        }
    }

    /// No tick lies between neighbours, whichever way they are looked up.
    #[test]
    fn next_and_prev_agree(
        cron in any_cron().prop_filter("its steps depend on where they start", |cron| !cron.is_hourly()),
        zone in any_zone(),
        time in any_time(),
    ) {
        let expressions = [cron];
        let ticks = Ticks { expressions: &expressions, zone };
        if let Some(next) = ticks.next(time) {
            prop_assert!(next > time);
            prop_assert_eq!(ticks.ceil(next), Some(next));
            prop_assert!(ticks.prev(next).is_none_or(|prev| prev <= time));
        }
        if let Some(prev) = ticks.prev(time) {
            prop_assert!(prev < time);
            prop_assert_eq!(ticks.floor(prev), Some(prev));
            prop_assert!(ticks.next(prev).is_none_or(|next| next >= time));
        }
    }

    #[test]
    fn no_text_makes_the_parser_panic(text in "[-*/,#?LlW0-9A-Za-z@ .:]{0,24}") {
        if let Ok(schedule) = parse(&text, Tz::UTC, Kind::Trigger) {
            prop_assert!(!schedule.summary().is_empty() && !schedule.describe().is_empty());
        }
    }
}
