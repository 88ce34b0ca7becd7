//! The runs of a DAG within a span: which of them a moved clock concerns, and which a scheduler that sees
//! the DAG for the first time would make.

use std::collections::HashSet;

use chrono::{DateTime, NaiveDateTime, Utc};
use schemars::JsonSchema;
use serde::Serialize;
use towpath_model::dag::Dag;
use towpath_model::timetable::{ClockMark, Schedule};

use super::{Fire, Window, fires, upcoming};

/// Most runs of one DAG that are looked at.
pub const MOST_FIRES: usize = 10_000;

/// A half-open span of time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Span {
    pub from: DateTime<Utc>,
    pub to: DateTime<Utc>,
}

/// What a schedule does within a span.
#[derive(Debug, Clone, PartialEq)]
pub struct Calendar {
    pub fires: Vec<MarkedFire>,
    /// Local times without a run of their own, since the clock skips them.
    pub left_out: Vec<NaiveDateTime>,
    /// What is made up for at the first look; `None` where nobody asked, or nothing is.
    pub catch_up: Option<CatchUp>,
    /// There are more than [`MOST_FIRES`].
    pub is_cut: bool,
    /// Why there are no runs, where the schedule itself is the reason.
    pub remark: Option<&'static str>,
}

/// A run, and what is special about it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MarkedFire {
    pub fire: Fire,
    pub mark: Option<ClockMark>,
    pub making: Making,
}

/// Whether a scheduler that starts at some time makes a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Making {
    /// When it is due.
    OnTime,
    /// At once, since it was due before.
    CatchUp,
    /// Never: it was due before, and the DAG does not make up for it.
    Missed,
}

/// The runs that were due before the first look and are made at it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CatchUp {
    /// Oldest first.
    pub fires: Vec<Fire>,
    /// There are more than [`MOST_FIRES`].
    pub is_cut: bool,
}

/// The calendar of `dag`. With `now`, as if it were deployed for the first time then.
#[must_use]
pub fn calendar(dag: &Dag, span: Span, now: Option<DateTime<Utc>>) -> Calendar {
    let schedule = &dag.spec().schedule;
    let mut found = fires(dag, Window { from: span.from, to: Some(span.to), count: MOST_FIRES + 1 });
    let is_cut = found.len() > MOST_FIRES;
    found.truncate(MOST_FIRES);
    let catch_up = now.map(|now| catch_up(dag, now));
    let made: HashSet<DateTime<Utc>> =
        catch_up.iter().flat_map(|catch_up| &catch_up.fires).map(|fire| fire.logical_date).collect();
    let making = |fire: &Fire| match now {
        Some(now) if fire.run_after <= now => {
            if made.contains(&fire.logical_date) {
                Making::CatchUp
            } else {
                Making::Missed
            }
        }
        Some(_) | None => Making::OnTime,
    };
    let marked = |fire: Fire| MarkedFire { fire, mark: schedule.clock_mark(fire.run_after), making: making(&fire) };
    Calendar {
        fires: found.into_iter().map(marked).collect(),
        left_out: schedule.left_out(span.from, span.to),
        catch_up: catch_up.filter(|catch_up| !catch_up.fires.is_empty()),
        is_cut,
        remark: match schedule {
            _ if dag.spec().asset_schedule.is_some() => {
                Some("also runs when assets are updated, which is not foreseen here")
                    .filter(|_| schedule.is_scheduled())
                    .or(Some("runs when assets are updated, which is not foreseen here"))
            }
            Schedule::Never => Some("runs only when triggered"),
            Schedule::Continuous => Some("runs again whenever a run has ended, which is not foreseen here"),
            Schedule::Once | Schedule::Cron { .. } | Schedule::Interval { .. } => None,
        },
    }
}

/// What a scheduler makes at once that sees the DAG at `now` for the first time.
fn catch_up(dag: &Dag, now: DateTime<Utc>) -> CatchUp {
    let mut fires = upcoming(dag, None, now, MOST_FIRES + 1);
    fires.retain(|fire| fire.run_after <= now);
    let is_cut = fires.len() > MOST_FIRES;
    fires.truncate(MOST_FIRES);
    CatchUp { fires, is_cut }
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

    /// How the runs of 1 to 3 March are made by a scheduler that starts on the 3rd at noon.
    #[track_caller]
    fn check(schedule: &str, catchup: bool, expected: &[Making], caught_up: usize) {
        let mut spec = DagSpec::new("d");
        spec.schedule = parse(schedule, Tz::UTC, Kind::Trigger).unwrap();
        spec.start_date = Some(at("2026-02-01T00:00:00Z"));
        spec.catchup = catchup;
        let span = Span { from: at("2026-03-01T00:00:00Z"), to: at("2026-03-05T00:00:00Z") };
        let calendar = calendar(&Dag::build(spec).unwrap(), span, Some(at("2026-03-03T12:00:00Z")));
        let making: Vec<Making> = calendar.fires.iter().map(|fire| fire.making).collect();
        assert_eq!((making.as_slice(), calendar.is_cut), (expected, false), "{schedule}");
        assert_eq!(calendar.catch_up.map_or(0, |catch_up| catch_up.fires.len()), caught_up, "{schedule}");
    }

    #[test]
    fn a_first_deployment_makes_up_for_what_the_dag_says() {
        use Making::{CatchUp, Missed, OnTime};
        check("@daily", true, &[CatchUp, CatchUp, CatchUp, OnTime], 31);
        check("@daily", false, &[Missed, Missed, CatchUp, OnTime], 1);
        check("none", true, &[], 0);
        check("@continuous", true, &[], 0);
    }
}
