//! `towpath data explain`

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use anyhow::anyhow;
use serde_json::{Value, json};
use towpath_etl::inspect::explain::{Draft, Given, Planned};
use towpath_model::dag::{Dag, Task};
use towpath_model::etl::look::Trouble;
use towpath_store::{Store, TaskKey};

use super::which::{self, Form, harmless};
use crate::cli::target::{self, Target};
use crate::cli::tasks::find_task;
use crate::exit::{Outcome, usage};
use crate::output;
use crate::session::Session;

/// Operators that have a plan.
const WITH_PLAN: [&str; 3] = ["extract", "transform", "load"];

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Opens the sources, as far as it takes to know their columns, and runs nothing. What other tasks leave is taken from the newest run \
that has it, or else from the plan of those tasks. Of a DAG in the store, templates are as its newest run has filled them in.

Examples:
  towpath data explain flights_etl checked
  towpath data explain dags/flights_etl.yaml checked")]
pub(crate) struct Args {
    /// A DAG file, or the id of a DAG in the store
    #[arg(value_name = "FILE_OR_DAG")]
    target: String,
    /// The task
    task_id: String,
    /// Which DAG, for a file that defines more than one
    #[arg(long, value_name = "DAG_ID")]
    dag_id: Option<String>,
    /// Form of the result
    #[arg(short, long, value_enum, default_value_t, value_name = "FORM")]
    output: Form,
}

/// Plans tasks of a DAG.
struct Planner<'a> {
    session: &'a Session,
    dag: Arc<Dag>,
    /// [`None`] for a file.
    store: Option<Store>,
    scratch: &'a Path,
}

pub(crate) async fn run(args: &Args, session: &Session) -> anyhow::Result<Outcome> {
    let scratch = tempfile::tempdir()?;
    let (dag, store) = match target::load(&args.target, args.dag_id.as_deref(), session)? {
        Target::File(file) => (file.dag, None),
        Target::Id(dag_id) => {
            let store = session.store().await?;
            (target::stored(&store, &dag_id).await?.1, Some(store))
        }
    };
    let planner = Planner { session, dag: Arc::clone(&dag), store, scratch: scratch.path() };
    let task = find_task(&dag, &args.task_id)?;
    if !WITH_PLAN.contains(&task.operator.as_str()) {
        return Err(usage(format!(
            "task `{}` is a {} task, which has no plan: extract, transform and load have one",
            args.task_id, task.operator
        )));
    }
    print(args.output, &planner.plan(task, 0).await?)?;
    Ok(Outcome::Success)
}

fn print(form: Form, planned: &Planned) -> anyhow::Result<()> {
    let Planned { operators, columns } = planned;
    if form == Form::Table {
        let mut text = String::new();
        for operator in operators {
            let joint = if operator.detail.is_empty() { "" } else { ": " };
            let line = format!("{}{}{joint}{}", "  ".repeat(operator.depth), operator.name, operator.detail);
            text.push_str(harmless(&line).trim_end());
            text.push('\n');
        }
        output::text(&text)?;
        let columns: Vec<String> = columns.iter().map(|field| format!("{} {}", field.name, field.kind)).collect();
        output::remark(format!("columns: {}", harmless(&columns.join(", "))));
        return Ok(());
    }
    let told: Vec<Value> =
        operators.iter().map(|it| json!({"depth": it.depth, "name": it.name, "detail": it.detail})).collect();
    let cells = operators.iter().map(|it| vec![json!(it.depth), json!(it.name), json!(it.detail)]);
    which::print(form, &["depth", "name", "detail"], cells, &json!({"operators": told, "columns": columns}))
}

impl Planner<'_> {
    /// `depth`: how many tasks are between it and the one that was asked for.
    async fn plan(&self, task: &Task, depth: usize) -> anyhow::Result<Planned> {
        let draft = Draft {
            operator: task.operator.clone(),
            args: self.arguments(task).await?,
            folder: self.session.project_folder.clone(),
            scratch: self.scratch.join(depth.to_string()).join(towpath_model::staging::name(&task.task_id)),
        };
        let mut given = BTreeMap::new();
        for name in draft.tasks().map_err(|error| self.told(task, &error.message))? {
            let upstream = self.named(task, &name)?;
            let left = match self.left(upstream).await? {
                Some(left) => left,
                None if WITH_PLAN.contains(&upstream.operator.as_str()) => {
                    Given::Columns(Box::pin(self.plan(upstream, depth + 1)).await?.columns)
                }
                None => {
                    let (dag_id, id) = (self.dag.id(), &upstream.task_id);
                    let way = if self.store.is_none() {
                        format!("; name the DAG, `{dag_id}`, once it has run")
                    } else {
                        String::new()
                    };
                    return Err(anyhow!(
                        "what task `{}` reads is not known: the columns of `{id}`, a {} task, show when it has run{way}",
                        task.task_id,
                        upstream.operator
                    ));
                }
            };
            given.insert(name, left);
        }
        let ids = draft.connections().map_err(|error| self.told(task, &error.message))?;
        let mut connections = BTreeMap::new();
        for id in ids {
            let store = match &self.store {
                Some(store) => store.clone(),
                None => self.session.store().await?,
            };
            let connection = store.connection(&id).await?;
            let missing = || usage(format!("there is no connection `{id}`; `towpath connections add` makes one"));
            connections.insert(id.clone(), connection.ok_or_else(missing)?);
        }
        draft.plan(&given, connections).await.map_err(|error| self.told(task, &error.message))
    }

    /// The arguments, as the newest run has them where there is one.
    async fn arguments(&self, task: &Task) -> anyhow::Result<serde_json::Map<String, Value>> {
        let mut args = task.args.clone();
        if let Some(store) = &self.store
            && let Some(run) = store.newest_run_with_data(self.dag.id(), &task.task_id, None).await?
        {
            let key = TaskKey { run_key: run.key, task_id: task.task_id.clone(), map_index: -1 };
            if let Some(kept) = store.rendered(std::slice::from_ref(&key)).await?.remove(&key) {
                args.extend(kept.fields.into_iter().filter(|(name, _)| task.args.contains_key(name)));
            }
        }
        Ok(args.into_iter().collect())
    }

    /// What a task has left in the newest run that has it.
    async fn left(&self, task: &Task) -> anyhow::Result<Option<Given>> {
        let Some(store) = &self.store else { return Ok(None) };
        let Some(run) = store.newest_run_with_data(self.dag.id(), &task.task_id, None).await? else { return Ok(None) };
        Ok(match store.data_set(&run, &task.task_id, None).await? {
            Ok((_, manifest)) if Path::new(&manifest.location).exists() => Some(Given::Files(manifest.location)),
            Ok((_, manifest)) => Some(Given::Columns(manifest.schema)),
            Err(Trouble::Load { place, .. }) => {
                return Err(anyhow!(
                    "task `{}` is a load, whose rows are in `{place}`: read that instead",
                    task.task_id
                ));
            }
            Err(_) => None,
        })
    }

    /// The task that is called so by another: in a group without the names of its groups.
    fn named(&self, by: &Task, name: &str) -> anyhow::Result<&Task> {
        let suffix = format!(".{name}");
        let full = by.upstream.iter().find(|id| *id == name || id.ends_with(&suffix));
        find_task(&self.dag, full.map_or(name, String::as_str))
    }

    fn told(&self, task: &Task, message: &str) -> anyhow::Error {
        let is_template = |value: &Value| value.to_string().contains("{{");
        let hint = if self.store.is_none() && task.args.values().any(is_template) {
            format!("; its templates are filled in by runs: name the DAG, `{}`, once it has run", self.dag.id())
        } else {
            String::new()
        };
        anyhow!("task `{}` cannot be planned: {message}{hint}", task.task_id)
    }
}
