//! A year of outcomes, a square for each day.

use std::collections::BTreeMap;
use std::ops::Range;

use askama::Template;
use axum::extract::{self, Path, Query};
use axum::response::Html;
use chrono::{DateTime, Datelike, Days, NaiveDate, NaiveTime, Offset as _, TimeDelta, TimeZone, Utc};
use chrono_tz::Tz;
use serde::Deserialize;
use towpath_model::state::RunState;
use towpath_store::ZoneOffset;

use super::super::html;
use super::{Head, load, newest_runs};
use crate::frame::Frame;
use crate::view::state::Badge;
use crate::view::text::plural;
use crate::{Result, State, links};

/// Runs of one year that are read.
const RUNS: u32 = 50_000;
/// The side of a square with the gap after it, in pixels.
const STEP: u32 = 16;
const SIDE: u32 = 13;
/// Room for the names of months and of days.
const TOP: u32 = 18;
const LEFT: u32 = 30;

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Params {
    year: Option<i32>,
}

#[derive(Template)]
#[template(path = "dag/calendar.html")]
struct Page {
    frame: Frame,
    now: DateTime<Utc>,
    head: Head,
    year: i32,
    earlier: String,
    later: Option<String>,
    zone: String,
    months: Vec<(u32, &'static str)>,
    days: Vec<Day>,
    counts: Vec<(Badge, String)>,
    is_cut: bool,
}

struct Day {
    x: u32,
    y: u32,
    about: String,
    /// The runs of this day; none for a day without.
    href: Option<String>,
    /// State, place from the top and height of each part.
    parts: Vec<(Badge, u32, u32)>,
}

const MONTHS: [&str; 12] = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

pub(crate) async fn get(
    extract::State(state): extract::State<State>,
    Path(dag_id): Path<String>,
    Query(params): Query<Params>,
) -> Result<Html<String>> {
    let now = state.clock.now();
    let loaded = load(&state, &dag_id, "Calendar", now).await?;
    let zone = loaded.dag.spec().timezone;
    let newest = newest_runs(&state, &dag_id, 1).await?;
    let newest = newest.first().map_or(now, |run| run.logical_date.unwrap_or(run.run_after));
    let this_year = now.with_timezone(&zone).year();
    let year = params.year.unwrap_or_else(|| newest.with_timezone(&zone).year()).clamp(1970, 9_000);
    let begin = midnight(zone, first_day(year));
    let offsets = offsets(zone, begin..midnight(zone, first_day(year + 1)));
    // A run is due after its logical date, at the latest a year later for what runs once a year.
    let runs = state.store.run_counts(&dag_id, begin..begin + TimeDelta::days(2 * 366), &offsets, RUNS).await?;
    let mut by_day: BTreeMap<NaiveDate, Vec<(RunState, u32)>> = BTreeMap::new();
    for run in &runs {
        let Some(day) = run.day else { continue };
        let counts = by_day.entry(day).or_default();
        match counts.iter_mut().find(|(state, _)| *state == run.state) {
            Some((_, count)) => *count += run.count,
            None => counts.push((run.state, run.count)),
        }
    }
    let href = &loaded.head.href;
    let at = |year: i32| format!("{href}/calendar?year={year}");
    html(&Page {
        year,
        earlier: at(year - 1),
        later: (year < this_year).then(|| at(year + 1)),
        zone: zone.name().to_owned(),
        months: months(year),
        counts: counts(&by_day),
        days: days(year, &mut by_day, href),
        is_cut: runs.iter().map(|run| run.count).sum::<u32>() >= RUNS,
        frame: loaded.frame,
        now,
        head: loaded.head,
    })
}

/// When a day begins.
fn midnight(zone: Tz, day: NaiveDate) -> DateTime<Utc> {
    // Where clocks are put forward at midnight, the day begins an hour later.
    let hours = (0..24).filter_map(|hour| day.and_hms_opt(hour, 0, 0));
    let begin = hours.filter_map(|time| zone.from_local_datetime(&time).earliest()).next();
    begin.map_or_else(|| day.and_time(NaiveTime::MIN).and_utc(), |time| time.to_utc())
}

/// How far the clocks of the zone are from UTC, from change to change. Changes are at whole quarters of an hour.
fn offsets(zone: Tz, times: Range<DateTime<Utc>>) -> Vec<ZoneOffset> {
    let offset = |time: DateTime<Utc>| time.with_timezone(&zone).offset().fix().local_minus_utc();
    let mut out: Vec<ZoneOffset> = Vec::new();
    let mut from = times.start;
    while from < times.end {
        let shift = offset(from);
        // A day at a time to where it differs, then a quarter at a time.
        let step = |from: DateTime<Utc>, step: TimeDelta| {
            let mut until = from;
            while until < times.end && offset(until) == shift {
                until += step;
            }
            until
        };
        let day = step(from, TimeDelta::days(1));
        let until = step((day - TimeDelta::days(1)).max(from), TimeDelta::minutes(15)).min(times.end);
        out.push(ZoneOffset { from, until, offset: shift });
        from = until;
    }
    out
}

fn first_day(year: i32) -> NaiveDate {
    NaiveDate::from_ymd_opt(year, 1, 1).expect("every year has a first day")
}

/// The column of a day: weeks begin on Monday.
fn week(day: NaiveDate) -> u32 {
    (day.ordinal0() + first_day(day.year()).weekday().num_days_from_monday()) / 7
}

fn months(year: i32) -> Vec<(u32, &'static str)> {
    let first = |month: u32| NaiveDate::from_ymd_opt(year, month, 1).expect("every month has a first day");
    (1..=12).zip(MONTHS).map(|(month, name)| (LEFT + week(first(month)) * STEP, name)).collect()
}

fn counts(by_day: &BTreeMap<NaiveDate, Vec<(RunState, u32)>>) -> Vec<(Badge, String)> {
    [RunState::Success, RunState::Failed, RunState::Running, RunState::Queued]
        .into_iter()
        .filter_map(|state| {
            let of_state = by_day.values().flatten().filter(|(other, _)| *other == state);
            let count: u64 = of_state.map(|(_, count)| u64::from(*count)).sum();
            (count > 0).then(|| (state.into(), crate::view::text::count(count)))
        })
        .collect()
}

fn days(year: i32, by_day: &mut BTreeMap<NaiveDate, Vec<(RunState, u32)>>, href: &str) -> Vec<Day> {
    let first = first_day(year);
    (0..366)
        .map_while(|offset| first.checked_add_days(Days::new(offset)).filter(|day| day.year() == year))
        .map(|day| {
            let mut counts = by_day.remove(&day).unwrap_or_default();
            // Failed at the top, where it is seen.
            counts.sort_unstable_by_key(|(state, _)| match state {
                RunState::Failed => 0,
                RunState::Running => 1,
                RunState::Queued => 2,
                RunState::Success => 3,
            });
            let words: Vec<String> =
                counts.iter().map(|(state, count)| format!("{count} {}", Badge::from(*state).word())).collect();
            Day {
                x: LEFT + week(day) * STEP,
                y: TOP + day.weekday().num_days_from_monday() * STEP,
                about: if words.is_empty() { format!("{day}: no run") } else { format!("{day}: {}", words.join(", ")) },
                href: (!counts.is_empty()).then(|| links::query(&format!("{href}/runs"), &[("day", &day.to_string())])),
                parts: parts(&counts),
            }
        })
        .collect()
}

fn parts(counts: &[(RunState, u32)]) -> Vec<(Badge, u32, u32)> {
    let total: u32 = counts.iter().map(|(_, count)| count).sum();
    let mut y = 0;
    let mut out = Vec::new();
    for (position, (state, count)) in counts.iter().enumerate() {
        let others = (counts.len() - position - 1) as u32;
        let left = SIDE - y;
        let height = if others == 0 { left } else { (count * SIDE / total).clamp(2, left - 2 * others) };
        out.push((Badge::from(*state), y, height));
        y += height;
    }
    out
}

impl Page {
    /// Runs that are told of, in words.
    fn total(&self) -> String {
        let days = self.days.iter().filter(|day| day.href.is_some()).count();
        plural(days as u64, "day with runs", "days with runs")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clocks_change() {
        let of = |zone: &str, year: i32| {
            let zone: Tz = zone.parse().unwrap();
            let year = midnight(zone, first_day(year))..midnight(zone, first_day(year + 1));
            offsets(zone, year.clone())
                .windows(2)
                .map(|pair| {
                    assert_eq!(pair[0].until, pair[1].from);
                    format!("{} {}", pair[1].from.format("%m-%d %H:%M"), pair[1].offset / 60)
                })
                .collect::<Vec<_>>()
        };
        assert_eq!(of("UTC", 2026), Vec::<String>::new());
        assert_eq!(of("Europe/Berlin", 2026), ["03-29 01:00 120", "10-25 01:00 60"]);
        assert_eq!(of("Australia/Lord_Howe", 2026), ["04-04 15:00 630", "10-03 15:30 660"]);
        // The day began at 01:00.
        assert_eq!(of("America/Sao_Paulo", 2018), ["02-18 02:00 -180", "11-04 03:00 -120"]);
        let day = NaiveDate::from_ymd_opt(2018, 11, 4).unwrap();
        assert_eq!(midnight(chrono_tz::America::Sao_Paulo, day).format("%H:%M").to_string(), "03:00");
    }

    #[test]
    fn days_have_their_places() {
        // 2024 begins on a Monday and is a leap year, 2026 begins on a Thursday.
        for (day, expected) in [((2024, 1, 1), 0), ((2024, 12, 31), 52), ((2026, 1, 4), 0), ((2026, 1, 5), 1)] {
            let day = NaiveDate::from_ymd_opt(day.0, day.1, day.2).unwrap();
            assert_eq!(week(day), expected, "{day}");
        }
        let mut runs = BTreeMap::new();
        runs.insert(
            NaiveDate::from_ymd_opt(2026, 1, 1).unwrap(),
            vec![(RunState::Success, 999), (RunState::Failed, 1)],
        );
        let days = days(2026, &mut runs, "/dags/d");
        assert_eq!(days.len(), 365);
        assert_eq!((days[0].x, days[0].y), (LEFT, TOP + 3 * STEP));
        assert_eq!(days[0].about, "2026-01-01: 1 failed, 999 success");
        assert_eq!(days[0].href.as_deref(), Some("/dags/d/runs?day=2026-01-01"));
        assert_eq!(days[0].parts.iter().map(|(_, y, height)| (*y, *height)).collect::<Vec<_>>(), [(0, 2), (2, 11)]);
    }
}
