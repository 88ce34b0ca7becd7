//! `towpath schedule preview`

mod changes;
mod text;

use std::path::{Path, PathBuf};
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use serde::Serialize;
use towpath_dagfile::{Severity, is_dag_file};
use towpath_model::dag::Dag;
use towpath_model::duration;
use towpath_scheduler::preview::calendar::Span;
use towpath_scheduler::preview::report::{LONGEST_SPAN, Named, Preview, USUAL_SPAN};
use towpath_scheduler::preview::simulate::Assumptions;

use crate::cli::{arguments, dag_files, target};
use crate::exit::{Outcome, usage};
use crate::output::{self, Format, OutputArgs};
use crate::session::Session;

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
struct Shown {
    #[serde(flatten)]
    preview: Preview,
    /// What differs from the other version.
    changes: Option<Vec<changes::DagChanges>>,
}

pub(crate) fn run(args: &Args, session: &Session) -> anyhow::Result<Outcome> {
    let span = span(args, session)?;
    let (found, mut broken) = read(&args.paths, session)?;
    let assumptions = Assumptions {
        task_duration: TimeDelta::from_std(args.task_duration)?,
        pools: args.pools.iter().cloned().collect(),
    };
    let named: Vec<Named<'_>> = found.iter().map(|it| Named { dag: &it.dag, file: &it.file }).collect();
    let preview = Preview::new(&named, span, args.now, &assumptions);
    let changes = match &args.diff {
        Some(path) => {
            let (old, old_broken) = read(std::slice::from_ref(path), session)?;
            broken |= old_broken;
            Some(changes::between(&old, &found, span))
        }
        None => None,
    };
    let shown = Shown { preview, changes };
    match args.output.output {
        Format::Table => output::text(&text::render(&shown.preview, shown.changes.as_deref()))?,
        format => output::data(format, &shown)?,
    }
    Ok(if broken { Outcome::Failure } else { Outcome::Success })
}

fn span(args: &Args, session: &Session) -> anyhow::Result<Span> {
    let from = args.from.or(args.now).unwrap_or_else(|| session.now());
    let to = args.to.unwrap_or(from + USUAL_SPAN);
    if to <= from {
        return Err(usage(format!("the span ends ({}) before it begins ({})", output::time(to), output::time(from))));
    }
    if to - from > LONGEST_SPAN {
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
