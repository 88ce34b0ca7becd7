//! `towpath schedule preview`

mod changes;
mod text;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::Duration;

use chrono::{DateTime, SecondsFormat, TimeDelta, Utc};
use chrono_tz::Tz;
use serde::Serialize;
use towpath_dagfile::{Severity, is_dag_file};
use towpath_model::dag::{DEFAULT_POOL, Dag};
use towpath_model::duration;
use towpath_model::timetable::ClockMark;
use towpath_scheduler::preview::calendar::{Calendar, Making, MarkedFire, Span, calendar};
use towpath_scheduler::preview::simulate::{Assumptions, Collision, DEFAULT_POOL_SLOTS, Load, critical_path, simulate};

use crate::cli::{arguments, dag_files, target};
use crate::exit::{Outcome, usage};
use crate::output::{self, Format, OutputArgs};
use crate::session::Session;

/// Longest span.
const MOST_DAYS: i64 = 3_660;
/// Length of the span where nobody says its end.
const WEEK: TimeDelta = TimeDelta::days(7);

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Shows every run that the schedules of the files call for within the span: when it is due, in UTC and on the clocks of \
the DAG's zone, and for which date and interval. It marks runs that a change of clocks moves or doubles, and names the \
times that are left out. With --now: which runs a scheduler makes at once that sees the DAGs for the first time then, \
and which it never makes. Runs and tasks are played through to find where max_active_runs or a pool is too small; what \
is assumed for that is printed below. With --diff: what has changed since another version of the files. \
Needs no database.

Examples:
  towpath schedule preview dags --from 2026-03-28 --to 2026-03-30
  towpath schedule preview dags/report.yaml --now 2026-11-22T12:00 --task-duration 10m --pools warehouse=4
  towpath schedule preview dags --diff ../released/dags -o json")]
pub(crate) struct Args {
    /// DAG files and folders [default: the DAGs folder]
    #[arg(value_name = "FILE_OR_FOLDER")]
    paths: Vec<PathBuf>,
    /// Begin of the span [default: --now, or the time it is]
    #[arg(long, value_name = "TIME", value_parser = arguments::time)]
    from: Option<DateTime<Utc>>,
    /// End of the span; a run that is due then is not shown [default: a week after --from]
    #[arg(long, value_name = "TIME", value_parser = arguments::time)]
    to: Option<DateTime<Utc>>,
    /// When the DAGs are deployed for the first time
    #[arg(long, value_name = "TIME", value_parser = arguments::time)]
    now: Option<DateTime<Utc>>,
    /// Slots of pools, separated by commas; others have room for everything, default_pool has 128
    #[arg(long, value_name = "NAME=SLOTS", value_delimiter = ',', value_parser = pool)]
    pools: Vec<(String, u32)>,
    /// How long each task is assumed to take
    #[arg(long, value_name = "DURATION", default_value = "1m", value_parser = task_duration)]
    task_duration: Duration,
    /// An older version of the files, to compare with
    #[arg(long, value_name = "FILE_OR_FOLDER")]
    diff: Option<PathBuf>,
    #[command(flatten)]
    output: OutputArgs,
}

fn pool(text: &str) -> Result<(String, u32), String> {
    let (name, slots) = arguments::key_value(text)?;
    let slots = slots.trim().parse().map_err(|_| format!("`{slots}` is not a number of slots"))?;
    Ok((name, slots))
}

fn task_duration(text: &str) -> Result<Duration, String> {
    let duration = duration::parse(text).map_err(|error| error.to_string())?;
    if duration < Duration::from_secs(1) { Err("a task takes at least 1s".to_owned()) } else { Ok(duration) }
}

/// A DAG of a file.
struct Found {
    dag: Dag,
    file: String,
}

#[derive(Debug, Serialize)]
struct Preview {
    from: String,
    to: String,
    now: Option<String>,
    dags: Vec<DagPreview>,
    /// Where there is not enough room; null where that could not be told.
    collisions: Option<Vec<Collision>>,
    /// Why it could not.
    collisions_unknown: Option<String>,
    assumptions: Vec<String>,
    /// What differs from the other version.
    changes: Option<Vec<changes::DagChanges>>,
}

#[derive(Debug, Serialize)]
struct DagPreview {
    dag_id: String,
    file: String,
    schedule: String,
    timezone: String,
    catchup: bool,
    max_active_runs: u32,
    /// The longest chain of its tasks.
    run_takes_at_least_s: i64,
    fires: Vec<FirePreview>,
    /// Local times that have no run, since the clock skips them.
    left_out: Vec<String>,
    catch_up: Option<CatchUpPreview>,
    /// There are more runs than were looked at.
    is_cut: bool,
    remark: Option<&'static str>,
}

#[derive(Debug, Serialize)]
struct FirePreview {
    run_after: String,
    /// The same on the clocks of the DAG's zone.
    local: String,
    logical_date: String,
    data_interval_start: String,
    data_interval_end: String,
    clock: Option<ClockMark>,
    making: Making,
    #[serde(skip)]
    at: DateTime<Utc>,
}

#[derive(Debug, Serialize)]
struct CatchUpPreview {
    runs: usize,
    first_logical_date: String,
    last_logical_date: String,
    is_cut: bool,
}

pub(crate) fn run(args: &Args, session: &Session) -> anyhow::Result<Outcome> {
    let span = span(args, session)?;
    let (found, mut broken) = read(&args.paths, session)?;
    let calendars: Vec<Calendar> = found.iter().map(|found| calendar(&found.dag, span, args.now)).collect();
    let assumptions = Assumptions {
        task_duration: TimeDelta::from_std(args.task_duration)?,
        pools: args.pools.iter().cloned().collect(),
    };
    let loads: Vec<Load<'_>> = found.iter().zip(&calendars).map(|(found, seen)| load(found, seen, args.now)).collect();
    let (collisions, collisions_unknown) = match simulate(&loads, &assumptions) {
        Ok(collisions) => (Some(collisions), None),
        Err(error) => (None, Some(error.to_string())),
    };
    let changes = match &args.diff {
        Some(path) => {
            let (old, old_broken) = read(std::slice::from_ref(path), session)?;
            broken |= old_broken;
            Some(changes::between(&old, &found, span))
        }
        None => None,
    };
    let dags = found.iter().zip(calendars).map(|(found, seen)| DagPreview::new(found, seen, &assumptions)).collect();
    let preview = Preview {
        from: output::rfc3339(span.from),
        to: output::rfc3339(span.to),
        now: args.now.map(output::rfc3339),
        dags,
        collisions,
        collisions_unknown,
        assumptions: assumed(&found, &assumptions),
        changes,
    };
    match args.output.output {
        Format::Table => output::text(&text::render(&preview))?,
        format => output::data(format, &preview)?,
    }
    Ok(if broken { Outcome::Failure } else { Outcome::Success })
}

fn span(args: &Args, session: &Session) -> anyhow::Result<Span> {
    let from = args.from.or(args.now).unwrap_or_else(|| session.now());
    let to = args.to.unwrap_or(from + WEEK);
    if to <= from {
        return Err(usage(format!("the span ends ({}) before it begins ({})", output::time(to), output::time(from))));
    }
    if to - from > TimeDelta::days(MOST_DAYS) {
        return Err(usage("the span is longer than ten years; choose a --to that is nearer to --from"));
    }
    Ok(Span { from, to })
}

/// The DAGs of files and folders, and whether some could not be read, which is told.
fn read(paths: &[PathBuf], session: &Session) -> anyhow::Result<(Vec<Found>, bool)> {
    let mut found = Vec::new();
    let mut broken = false;
    for file in dag_files::find(paths, is_dag_file, session)? {
        let read = target::read(&std::path::absolute(session.project_folder.join(&file))?, session);
        for problem in read.diagnostics.iter().filter(|problem| problem.severity == Severity::Error) {
            output::remark(problem.to_string());
        }
        broken |= read.has_errors();
        let name = |file: &Path| file.display().to_string();
        found.extend(read.dags.into_iter().map(|dag| Found { dag, file: name(&file) }));
    }
    Ok((found, broken))
}

/// When the runs of a DAG are made: those that are made up for at once, the others when they are due.
fn load<'d>(found: &'d Found, seen: &Calendar, now: Option<DateTime<Utc>>) -> Load<'d> {
    let at_once = seen.catch_up.iter().flat_map(|catch_up| &catch_up.fires);
    let at_once = at_once.filter_map(|fire| Some((now?, fire.logical_date)));
    let on_time = seen.fires.iter().filter(|fire| fire.making == Making::OnTime);
    let arrivals = at_once.chain(on_time.map(|fire| (fire.fire.run_after, fire.fire.logical_date))).collect();
    Load { dag: &found.dag, arrivals }
}

fn assumed(found: &[Found], assumptions: &Assumptions) -> Vec<String> {
    let takes = text::length(assumptions.task_duration);
    let mut lines = vec![
        format!("each task takes {takes} and ends well at its first try; `empty` tasks take no time"),
        "nothing else runs when the span begins, and workers take at once whatever is queued".to_owned(),
    ];
    let pools: BTreeSet<&str> = found.iter().flat_map(|found| found.dag.pools()).collect();
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
fn zone(dag: &Dag) -> Tz {
    dag.spec().schedule.clock_zone().unwrap_or(dag.spec().timezone)
}

impl DagPreview {
    fn new(found: &Found, seen: Calendar, assumptions: &Assumptions) -> Self {
        let dag = &found.dag;
        let zone = zone(dag);
        let catch_up = seen.catch_up.and_then(|catch_up| {
            let (first, last) = (catch_up.fires.first()?, catch_up.fires.last()?);
            Some(CatchUpPreview {
                runs: catch_up.fires.len(),
                first_logical_date: output::rfc3339(first.logical_date),
                last_logical_date: output::rfc3339(last.logical_date),
                is_cut: catch_up.is_cut,
            })
        });
        Self {
            dag_id: dag.id().to_owned(),
            file: found.file.clone(),
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
            run_after: output::rfc3339(fire.run_after),
            local: fire.run_after.with_timezone(&zone).to_rfc3339_opts(SecondsFormat::AutoSi, true),
            logical_date: output::rfc3339(fire.logical_date),
            data_interval_start: output::rfc3339(fire.data_interval_start),
            data_interval_end: output::rfc3339(fire.data_interval_end),
            clock: *mark,
            making: *making,
            at: fire.run_after,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_are_checked() {
        assert_eq!(pool("db = 4"), Ok(("db".to_owned(), 4)));
        assert!(pool("db").is_err() && pool("db=many").is_err() && pool("db=-1").is_err());
        assert_eq!(task_duration("90"), Ok(Duration::from_secs(90)));
        assert!(task_duration("0").is_err() && task_duration("long").is_err());
    }
}
