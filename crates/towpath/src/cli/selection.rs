//! Which task instances a command means, and what it tells of them.

use std::collections::BTreeMap;

use serde::Serialize;
use towpath_store::{RunFilter, RunRecord, Selection, Store, Touched};

use crate::cli::tasks::find_task;
use crate::exit::{Outcome, usage};
use crate::output::{self, Format, Row};
use crate::session::find_run;

/// Most runs of one command with `--past` or `--future`.
const MOST_RUNS: u32 = 10_000;

#[derive(Debug, clap::Args)]
#[group(skip)]
pub(crate) struct Args {
    /// The DAG
    dag_id: String,
    /// The tasks, `task[3]` for one instance of a mapped one [default: all]
    task_ids: Vec<String>,
    /// The run [default: the newest of the DAG]
    #[arg(long, value_name = "RUN")]
    run_id: Option<String>,
    /// Also everything upstream of the tasks
    #[arg(long)]
    upstream: bool,
    /// Also everything downstream of the tasks
    #[arg(long)]
    downstream: bool,
    /// Also in all earlier runs, by logical date
    #[arg(long)]
    past: bool,
    /// Also in all later runs, by logical date
    #[arg(long)]
    future: bool,
    /// Only tell what would change
    #[arg(long)]
    dry_run: bool,
}

/// A task instance that was, or would be, changed.
#[derive(Debug, Serialize)]
pub(crate) struct Shown {
    run_id: String,
    task_id: String,
    map_index: i32,
    /// The state before.
    state: String,
}

impl Row for Shown {
    const HEADINGS: &'static [&'static str] = &["run_id", "task_id", "state"];

    fn cells(&self) -> Vec<String> {
        let task_id = match self.map_index {
            ..0 => self.task_id.clone(),
            index => format!("{}[{index}]", self.task_id),
        };
        vec![self.run_id.clone(), task_id, self.state.clone()]
    }
}

impl Args {
    pub(crate) fn is_dry_run(&self) -> bool {
        self.dry_run
    }

    /// Whether tasks are named.
    pub(crate) fn names_tasks(&self) -> bool {
        !self.task_ids.is_empty()
    }

    /// What is meant in each run.
    pub(crate) fn selection(&self) -> anyhow::Result<Selection> {
        let tasks = self.task_ids.iter().map(|text| task_of(text)).collect::<anyhow::Result<_>>()?;
        Ok(Selection { tasks, upstream: self.upstream, downstream: self.downstream, ..Selection::default() })
    }

    /// The runs that are meant, with the tasks checked against each of them, or against the current version
    /// of the DAG where they are to go on with the `latest` one.
    ///
    /// # Errors
    /// For a DAG, run or task that does not exist, with the nearest name.
    pub(crate) async fn runs(&self, store: &Store, latest: bool) -> anyhow::Result<Vec<RunRecord>> {
        let run = find_run(store, &self.dag_id, self.run_id.as_deref()).await?;
        let current = if latest { store.dag(&self.dag_id).await?.map(|dag| dag.version_id) } else { None };
        let dag = store.dag_of_version(current.unwrap_or(run.version_id)).await?;
        let selection = self.selection()?;
        for (task_id, _) in &selection.tasks {
            find_task(&dag, task_id)?;
        }
        if !self.past && !self.future {
            return Ok(vec![run]);
        }
        let Some(date) = run.logical_date else {
            return Err(usage(format!("run `{}` has no logical date, so it has no past and no future", run.run_id)));
        };
        let filter = RunFilter {
            dag_id: Some(self.dag_id.clone()),
            logical_date_gte: (!self.past).then_some(date),
            logical_date_lte: (!self.future).then_some(date),
            limit: MOST_RUNS,
            ..RunFilter::default()
        };
        let mut runs = Vec::new();
        for other in store.runs(&filter).await?.items.into_iter().filter(|run| run.logical_date.is_some()) {
            let dag = store.dag_of_version(current.unwrap_or(other.version_id)).await?;
            // Another version of the DAG may lack a task.
            if other.key == run.key || selection.tasks.iter().all(|(id, _)| dag.task(id).is_some()) {
                runs.push(other);
            }
        }
        Ok(runs)
    }
}

/// `task` or `task[3]`.
fn task_of(text: &str) -> anyhow::Result<(String, Option<i32>)> {
    let Some((task_id, rest)) = text.split_once('[') else { return Ok((text.to_owned(), None)) };
    let index = rest.strip_suffix(']').and_then(|index| index.parse().ok());
    let index =
        index.ok_or_else(|| usage(format!("`{text}` is no task: write `task`, or `task[3]` for an instance")))?;
    Ok((task_id.to_owned(), Some(index)))
}

/// Prints what was, or would be, changed: `done` is the word for it.
pub(crate) fn print(
    format: Format,
    touched: Vec<(RunRecord, Vec<Touched>)>,
    dry_run: bool,
    done: &str,
) -> anyhow::Result<Outcome> {
    let mut runs = BTreeMap::new();
    let mut rows = Vec::new();
    for (run, touched) in touched {
        *runs.entry(run.run_id.clone()).or_insert(0) += touched.len();
        rows.extend(touched.into_iter().map(|touched| Shown {
            run_id: run.run_id.clone(),
            task_id: touched.key.task_id,
            map_index: touched.key.map_index,
            state: touched.state.to_string(),
        }));
    }
    if matches!(format, Format::Table) {
        let would = if dry_run { "would be " } else { "" };
        let (count, runs) = (rows.len(), runs.values().filter(|count| **count > 0).count());
        if count == 0 {
            output::line(format!("no task instance {}{done}", if dry_run { would } else { "was " }))?;
            return Ok(Outcome::Success);
        }
        output::list(format, &rows)?;
        output::line("")?;
        output::line(format!("{count} task instances of {runs} runs {would}{done}"))?;
        return Ok(Outcome::Success);
    }
    output::list(format, &rows)?;
    Ok(Outcome::Success)
}

/// Says so where a run goes on with a version of its DAG that is not the current one: whoever has just
/// mended the file would wonder.
pub(crate) async fn tell_version(format: Format, store: &Store, run: &RunRecord) -> anyhow::Result<()> {
    if !matches!(format, Format::Table) {
        return Ok(());
    }
    let current = store.dag(&run.dag_id).await?.map_or(run.version_id, |dag| dag.version_id);
    if current != run.version_id {
        let text = "the DAG has changed since this run began; --latest-version runs it as it is now";
        output::line(format!("version {}: {text}", run.version_number))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tasks_and_instances() {
        assert_eq!(task_of("a.b").unwrap(), ("a.b".to_owned(), None));
        assert_eq!(task_of("a[3]").unwrap(), ("a".to_owned(), Some(3)));
        for wrong in ["a[", "a[x]", "a[3"] {
            assert!(task_of(wrong).is_err(), "{wrong}");
        }
    }
}
