//! The preview of some DAGs as programs read it: for the command line and for the API.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, SecondsFormat, TimeDelta, Utc};
use chrono_tz::Tz;
use schemars::JsonSchema;
use serde::Serialize;
use towpath_model::dag::{DEFAULT_POOL, Dag};
use towpath_model::duration::humanize;
use towpath_model::timetable::ClockMark;

use super::calendar::{Calendar, Making, MarkedFire, Span, calendar};
use super::simulate::{Assumptions, Collision, DEFAULT_POOL_SLOTS, Load, critical_path, simulate};

/// Longest span: ten years.
pub const LONGEST_SPAN: TimeDelta = TimeDelta::days(3_660);
/// Length of the span where nobody says its end.
pub const USUAL_SPAN: TimeDelta = TimeDelta::days(7);

/// A DAG and the file that defines it.
#[derive(Debug, Clone, Copy)]
pub struct Named<'d> {
    pub dag: &'d Dag,
    pub file: &'d str,
}

/// What the schedules of DAGs will do.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Preview {
    pub from: String,
    pub to: String,
    /// When the DAGs are deployed for the first time.
    pub now: Option<String>,
    pub dags: Vec<DagPreview>,
    /// Where there is not enough room; null where that could not be told.
    pub collisions: Option<Vec<Collision>>,
    /// Why it could not.
    pub collisions_unknown: Option<String>,
    pub assumptions: Vec<String>,
}

/// What the schedule of a DAG will do.
#[derive(Debug, Serialize, JsonSchema)]
pub struct DagPreview {
    pub dag_id: String,
    pub file: String,
    pub schedule: String,
    pub timezone: String,
    pub catchup: bool,
    pub max_active_runs: u32,
    /// The longest chain of its tasks.
    pub run_takes_at_least_s: i64,
    pub fires: Vec<FirePreview>,
    /// Local times that have no run, since the clock skips them.
    pub left_out: Vec<String>,
    pub catch_up: Option<CatchUpPreview>,
    /// There are more runs than were looked at.
    pub is_cut: bool,
    pub remark: Option<&'static str>,
}

/// A run that a schedule calls for.
#[derive(Debug, Serialize, JsonSchema)]
pub struct FirePreview {
    pub run_after: String,
    /// The same on the clocks of the DAG's zone.
    pub local: String,
    pub logical_date: String,
    pub data_interval_start: String,
    pub data_interval_end: String,
    pub clock: Option<ClockMark>,
    pub making: Making,
    /// `run_after` as a time.
    #[serde(skip)]
    pub at: DateTime<Utc>,
}

/// The runs that are made at once at a first deployment.
#[derive(Debug, Serialize, JsonSchema)]
pub struct CatchUpPreview {
    pub runs: usize,
    pub first_logical_date: String,
    pub last_logical_date: String,
    pub is_cut: bool,
}

impl Preview {
    /// The preview of `dags`; with `now`, as if they were deployed for the first time then.
    #[must_use]
    pub fn new(dags: &[Named<'_>], span: Span, now: Option<DateTime<Utc>>, assumptions: &Assumptions) -> Self {
        let calendars: Vec<Calendar> = dags.iter().map(|named| calendar(named.dag, span, now)).collect();
        let loads: Vec<Load<'_>> = dags.iter().zip(&calendars).map(|(named, seen)| load(named, seen, now)).collect();
        let (collisions, collisions_unknown) = match simulate(&loads, assumptions) {
            Ok(collisions) => (Some(collisions), None),
            Err(error) => (None, Some(error.to_string())),
        };
        Self {
            from: rfc3339(span.from),
            to: rfc3339(span.to),
            now: now.map(rfc3339),
            dags: dags.iter().zip(calendars).map(|(named, seen)| DagPreview::new(named, seen, assumptions)).collect(),
            collisions,
            collisions_unknown,
            assumptions: assumed(dags, assumptions),
        }
    }
}

/// When the runs of a DAG are made: those that are made up for at once, the others when they are due.
fn load<'d>(named: &Named<'d>, seen: &Calendar, now: Option<DateTime<Utc>>) -> Load<'d> {
    let at_once = seen.catch_up.iter().flat_map(|catch_up| &catch_up.fires);
    let at_once = at_once.filter_map(|fire| Some((now?, fire.logical_date)));
    let on_time = seen.fires.iter().filter(|fire| fire.making == Making::OnTime);
    let arrivals = at_once.chain(on_time.map(|fire| (fire.fire.run_after, fire.fire.logical_date))).collect();
    Load { dag: named.dag, arrivals }
}

fn assumed(dags: &[Named<'_>], assumptions: &Assumptions) -> Vec<String> {
    let takes = length(assumptions.task_duration);
    let mut lines = vec![
        format!("each task takes {takes} and ends well at its first try; `empty` tasks take no time"),
        "nothing else runs when the span begins, and workers take at once whatever is queued".to_owned(),
    ];
    let pools: BTreeSet<&str> = dags.iter().flat_map(|named| named.dag.pools()).collect();
    let (known, unknown): (Vec<&str>, Vec<&str>) =
        pools.into_iter().partition(|pool| *pool == DEFAULT_POOL || assumptions.pools.contains_key(*pool));
    let slots: BTreeMap<&str, u32> = known
        .into_iter()
        .map(|pool| (pool, assumptions.pools.get(pool).copied().unwrap_or(DEFAULT_POOL_SLOTS)))
        .collect();
    lines.extend(slots.iter().map(|(pool, slots)| format!("pool `{pool}` has {slots} slots")));
    lines.extend(unknown.iter().map(|pool| format!("pool `{pool}` has room for everything; --pools says otherwise")));
    lines
}

/// The zone whose clocks a DAG's people look at.
#[must_use]
pub fn zone(dag: &Dag) -> Tz {
    dag.spec().schedule.clock_zone().unwrap_or(dag.spec().timezone)
}

/// A length of time without a second unit that is zero: `1h`, not `1h 0m`.
#[must_use]
pub fn length(span: TimeDelta) -> String {
    let text = span.to_std().map(humanize).unwrap_or_default();
    match text.rsplit_once(' ') {
        Some((whole, rest)) if rest.starts_with('0') => whole.to_owned(),
        _ => text,
    }
}

fn rfc3339(time: DateTime<Utc>) -> String {
    time.to_rfc3339_opts(SecondsFormat::AutoSi, true)
}

impl DagPreview {
    fn new(named: &Named<'_>, seen: Calendar, assumptions: &Assumptions) -> Self {
        let dag = named.dag;
        let zone = zone(dag);
        let catch_up = seen.catch_up.and_then(|catch_up| {
            let (first, last) = (catch_up.fires.first()?, catch_up.fires.last()?);
            Some(CatchUpPreview {
                runs: catch_up.fires.len(),
                first_logical_date: rfc3339(first.logical_date),
                last_logical_date: rfc3339(last.logical_date),
                is_cut: catch_up.is_cut,
            })
        });
        Self {
            dag_id: dag.id().to_owned(),
            file: named.file.to_owned(),
            schedule: dag.spec().schedule_words(),
            timezone: zone.to_string(),
            catchup: dag.spec().catchup,
            max_active_runs: dag.spec().max_active_runs,
            run_takes_at_least_s: critical_path(dag, assumptions.task_duration).num_seconds(),
            fires: seen.fires.iter().map(|fire| FirePreview::new(fire, zone)).collect(),
            left_out: seen.left_out.iter().map(|time| time.format("%Y-%m-%dT%H:%M:%S").to_string()).collect(),
            catch_up,
            is_cut: seen.is_cut,
            remark: seen.remark,
        }
    }
}

impl FirePreview {
    fn new(marked: &MarkedFire, zone: Tz) -> Self {
        let MarkedFire { fire, mark, making } = marked;
        Self {
            run_after: rfc3339(fire.run_after),
            local: fire.run_after.with_timezone(&zone).to_rfc3339_opts(SecondsFormat::AutoSi, true),
            logical_date: rfc3339(fire.logical_date),
            data_interval_start: rfc3339(fire.data_interval_start),
            data_interval_end: rfc3339(fire.data_interval_end),
            clock: *mark,
            making: *making,
            at: fire.run_after,
        }
    }
}
