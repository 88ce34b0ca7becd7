//! Which data set is meant, and the forms in which it is shown.

use std::sync::Arc;

use anyhow::anyhow;
use clap::ValueEnum;
use serde::Serialize;
use serde_json::Value;
use towpath_etl::inspect::Inspector;
use towpath_model::dag::Dag;
use towpath_model::etl::Manifest;
use towpath_model::etl::look::{Owner, Trouble};
use towpath_store::{RunRecord, Store};

use crate::cli::tasks::find_task;
use crate::exit::usage;
use crate::output;
use crate::session::{Session, find_run};

/// The arguments.
#[derive(Debug, clap::Args)]
#[group(skip)]
pub(super) struct Args {
    /// The DAG
    pub(super) dag_id: String,
    /// The task
    pub(super) task_id: String,
    /// The run [default: the newest with data of that task]
    pub(super) run_id: Option<String>,
    /// Which one of a mapped task [default: the first one that has data]
    #[arg(long, value_name = "INDEX")]
    pub(super) map_index: Option<i32>,
    /// Form of the result
    #[arg(short, long, value_enum, default_value_t, value_name = "FORM")]
    pub(super) output: Form,
}

/// The form of a result; besides those of all lists CSV, which is data's own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub(super) enum Form {
    #[default]
    Table,
    Json,
    Yaml,
    Csv,
}

/// A run with its store.
pub(super) struct Found {
    pub(super) store: Store,
    pub(super) run: RunRecord,
    pub(super) dag: Arc<Dag>,
}

/// A data set.
pub(super) struct Set {
    pub(super) manifest: Manifest,
    pub(super) map_index: i32,
    pub(super) run_id: String,
    pub(super) inspector: Inspector,
}

impl Args {
    pub(super) async fn run(&self, session: &Session) -> anyhow::Result<Found> {
        let store = session.store().await?;
        let run = match &self.run_id {
            Some(run_id) => find_run(&store, &self.dag_id, Some(run_id)).await?,
            None => match store.newest_run_with_data(&self.dag_id, &self.task_id, self.map_index).await? {
                Some(run) => run,
                // It says what is missing.
                None => find_run(&store, &self.dag_id, None).await?,
            },
        };
        let dag = store.dag_of_version(run.version_id).await?;
        find_task(&dag, &self.task_id)?;
        Ok(Found { store, run, dag })
    }

    pub(super) async fn set(&self, session: &Session) -> anyhow::Result<Set> {
        let Found { store, run, dag } = self.run(session).await?;
        let (map_index, manifest) = match store.data_set(&run, &self.task_id, self.map_index).await? {
            Ok(found) => found,
            Err(trouble) => return Err(self.told(trouble, &dag)),
        };
        let inspector = Inspector { staging: session.config.data_staging.value.clone() };
        Ok(Set { manifest, map_index, run_id: run.run_id, inspector })
    }

    pub(super) fn owner(&self) -> Owner<'_> {
        Owner { dag_id: &self.dag_id, task_id: &self.task_id }
    }

    /// The trouble with the commands that help.
    pub(super) fn told(&self, trouble: Trouble, dag: &Dag) -> anyhow::Error {
        let (dag_id, task_id) = (&self.dag_id, &self.task_id);
        match trouble {
            Trouble::NoDataSet { .. } => usage(trouble.to_string()),
            Trouble::Load { .. } => {
                let place = dag.index_of(task_id);
                let before = place.and_then(|at| dag.upstream(at).next()).map(|at| dag.tasks()[at].task_id.clone());
                match before {
                    Some(before) => anyhow!("{trouble}: `towpath data head {dag_id} {before}`"),
                    None => trouble.into(),
                }
            }
            Trouble::NotYet { .. } => anyhow!("{trouble}; `towpath explain` tells why"),
            Trouble::Ended { .. }
            | Trouble::NoPlan { .. }
            | Trouble::Cleaned { .. }
            | Trouble::Elsewhere { .. }
            | Trouble::Unreadable { .. } => trouble.into(),
        }
    }

    /// Says which one it is, beside a table.
    pub(super) fn remark(&self, set: &Set, what: &str) {
        if self.output == Form::Table {
            let index = if set.map_index < 0 { String::new() } else { format!("[{}]", set.map_index) };
            output::remark(format!("{what} of `{}{index}` in run `{}`", self.task_id, set.run_id));
        }
    }
}

/// Prints a table of `cells`, or `data` in a form for programs; CSV has the cells as well, null as an empty field.
pub(super) fn print(
    form: Form,
    headings: &[&str],
    cells: impl Iterator<Item = Vec<Value>>,
    data: &impl Serialize,
) -> anyhow::Result<()> {
    match form {
        Form::Table => Ok(output::text(&output::table(headings, cells.map(|row| row.iter().map(readable).collect())))?),
        Form::Csv => {
            let line = |fields: Vec<String>| fields.join(",") + "\n";
            let mut text = line(headings.iter().map(|heading| quoted(heading)).collect());
            for row in cells {
                text.push_str(&line(row.iter().map(field).collect()));
            }
            Ok(output::text(&text)?)
        }
        Form::Json => output::data(output::Format::Json, data),
        Form::Yaml => output::data(output::Format::Yaml, data),
    }
}

/// A value for people, who may sit at a terminal that takes control characters as orders.
fn readable(value: &Value) -> String {
    let text = match value {
        Value::Null => return "null".to_owned(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    harmless(&text)
}

/// Text with control characters, and those that turn the direction of writing, made visible.
pub(super) fn harmless(text: &str) -> String {
    let one = |c: char| match c {
        '\u{0}'..='\u{1f}' => char::from_u32(0x2400 + c as u32).unwrap_or('\u{fffd}'),
        '\u{7f}' => '\u{2421}',
        '\u{80}'..='\u{9f}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => '\u{fffd}',
        _ => c,
    };
    text.chars().map(one).collect()
}

/// A value as a field of CSV.
fn field(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        // Told apart from null.
        Value::String(text) if text.is_empty() => "\"\"".to_owned(),
        Value::String(text) => quoted(text),
        other => quoted(&other.to_string()),
    }
}

fn quoted(text: &str) -> String {
    if text.contains([',', '"', '\n', '\r']) { format!("\"{}\"", text.replace('"', "\"\"")) } else { text.to_owned() }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn fields_of_csv() {
        for (value, expected) in [
            (json!(null), ""),
            (json!(""), "\"\""),
            (json!("a"), "a"),
            (json!("a,\"b\""), "\"a,\"\"b\"\"\""),
            (json!([1, 2]), "\"[1,2]\""),
            (json!(1.5), "1.5"),
        ] {
            assert_eq!(field(&value), expected, "{value}");
        }
    }

    #[test]
    fn terminals_get_no_orders() {
        assert_eq!(harmless("\u{1b}[31mü\n\u{202e}x"), "␛[31mü␊\u{fffd}x");
    }
}
