//! The plan of a data task that has not run: as `explain: true` writes it into the log, without an attempt.
//!
//! Sources are opened as far as it takes to know their columns. What other tasks have left comes from whoever asks; of data that is
//! not there its columns are enough.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use datafusion::arrow::datatypes::SchemaRef;
use serde_json::{Map, Value};
use towpath_model::connection::Connection;
use towpath_model::etl::{
    ColumnType, Field, FileFormat, FileSource, Input, Inputs, Operator, RowsSource, Source, Step, Target,
};

use crate::data_set::{REJECTS, fields};
use crate::database::Connections;
use crate::error::{Error, Result};
use crate::job::{Job, Output};
use crate::measure::Meter;
use crate::operator::{read, tasks_of_steps};
use crate::remote::Remotes;
use crate::report::Report;
use crate::session::{Joins, Resources};

/// A data task as its DAG file has it.
#[derive(Debug, Clone)]
pub struct Draft {
    /// `extract`, `transform` or `load`.
    pub operator: String,
    pub args: Map<String, Value>,
    /// Where relative paths start.
    pub folder: PathBuf,
    /// A folder for what has to be fetched.
    pub scratch: PathBuf,
}

/// What there is of the data of another task.
#[derive(Debug, Clone, PartialEq)]
pub enum Given {
    /// Its files.
    Files(String),
    /// They are not there, but its columns are known.
    Columns(Vec<Field>),
}

/// A plan before it is run.
#[derive(Debug, Clone, PartialEq)]
pub struct Planned {
    /// From the writer down to the sources; nothing is measured.
    pub operators: Vec<Operator>,
    /// The columns of the result.
    pub columns: Vec<Field>,
}

/// What a task reads, as its arguments say.
struct Reads {
    inputs: Vec<(String, Input)>,
    steps: Vec<Step>,
    target: Option<Target>,
}

impl Draft {
    fn reads(&self) -> Result<Reads> {
        let missing = |name: &str| Error::lasting(format!("`{name}` is missing"));
        let steps: Vec<Step> = read(&self.args, "steps")?.unwrap_or_default();
        let mut inputs = match self.operator.as_str() {
            "extract" => {
                let source: Source = read(&self.args, "source")?.ok_or_else(|| missing("source"))?;
                vec![("source".to_owned(), Input::Source(Box::new(source)))]
            }
            "transform" | "load" => read::<Inputs>(&self.args, "input")?.ok_or_else(|| missing("input"))?.0,
            other => {
                return Err(Error::lasting(format!("operator `{other}` has no plan: extract, transform and load do")));
            }
        };
        for task in tasks_of_steps(&steps) {
            if !inputs.iter().any(|(name, _)| *name == task) {
                inputs.push((task.clone(), Input::Task(task)));
            }
        }
        let is_load = self.operator == "load";
        let target = if is_load { Some(read(&self.args, "target")?.ok_or_else(|| missing("target"))?) } else { None };
        Ok(Reads { inputs, steps, target })
    }

    /// The tasks whose data it reads.
    ///
    /// # Errors
    /// When its arguments cannot be read.
    pub fn tasks(&self) -> Result<Vec<String>> {
        let reads = self.reads()?;
        let tasks = reads.inputs.into_iter().filter_map(|(_, input)| match input {
            Input::Task(task) => Some(task),
            Input::Source(_) => None,
        });
        Ok(tasks.collect())
    }

    /// The connections that it names.
    ///
    /// # Errors
    /// When its arguments cannot be read.
    pub fn connections(&self) -> Result<Vec<String>> {
        let Reads { inputs, steps, target } = self.reads()?;
        let sources: Vec<(String, Source)> = inputs
            .into_iter()
            .filter_map(|(name, input)| match input {
                Input::Source(source) => Some((name, *source)),
                Input::Task(_) => None,
            })
            .collect();
        Ok(Connections::ids(&sources, &steps, target.as_ref()).into_iter().map(str::to_owned).collect())
    }

    /// Plans it. `given` has what other tasks have left, by the names under which this one reads them.
    ///
    /// # Errors
    /// Those of a job before it runs: sources that are not there, columns that are not known, SQL that is wrong.
    pub async fn plan(
        &self,
        given: &BTreeMap<String, Given>,
        connections: BTreeMap<String, Connection>,
    ) -> Result<Planned> {
        let Reads { inputs, steps, target } = self.reads()?;
        let source = |(name, input): (String, Input)| match input {
            Input::Source(source) => Ok((name, *source)),
            Input::Task(task) => match given.get(&task) {
                Some(given) => Ok((name, given.source())),
                None => Err(Error::lasting(format!("nothing is known of the data of task `{task}`"))),
            },
        };
        let job = Job {
            inputs: inputs.into_iter().map(source).collect::<Result<_>>()?,
            condition: read(&self.args, "where")?,
            columns: read(&self.args, "columns")?.unwrap_or_default(),
            steps,
            sql: read(&self.args, "sql")?,
            output: target.map_or_else(|| Output::DataSet(self.scratch.join("data")), Output::Target),
            connections: Connections::given(connections),
            folder: self.folder.clone(),
            scratch: self.scratch.clone(),
            memory_bytes: self.args.get("memory").and_then(Value::as_u64),
            cores: self.args.get("cores").and_then(Value::as_u64).map(|cores| cores as usize),
            explain: false,
            partition_by: read(&self.args, "partition_by")?.unwrap_or_default(),
            rows_to: None,
            owner: String::new(),
            instance: None,
        };
        let (operators, schema) = planned(&job).await?;
        Ok(Planned { operators, columns: fields(&schema) })
    }
}

async fn planned(job: &Job) -> Result<(Vec<Operator>, SchemaRef)> {
    std::fs::create_dir_all(&job.scratch).map_err(|error| Error::io("create the folder", &job.scratch, &error))?;
    let (meter, report) = (Arc::new(Meter::default()), Arc::new(Report::new(&job.scratch.join(REJECTS))));
    let session = Resources::new(job.memory_bytes, job.cores, job.scratch.clone(), Joins::Hash).session(&meter)?;
    job.connections.attach(&session);
    Arc::new(Remotes::new(&job.connections, job.scratch.clone())).attach(&session);
    let data = job.data(&session, &report).await?;
    let schema = Arc::clone(data.schema().inner());
    let plan = crate::job::physical(data).await?;
    job.planned(&plan, &meter, &|_| ());
    Ok((meter.plan().operators, schema))
}

impl Given {
    fn source(&self) -> Source {
        match self {
            Self::Files(path) => Source::File(FileSource::of(FileFormat::Parquet, vec![path.clone()])),
            Self::Columns(fields) => {
                let kind = |field: &Field| (field.name.clone(), field.kind.parse().unwrap_or(ColumnType::String));
                Source::Rows(RowsSource { rows: Vec::new(), columns: fields.iter().map(kind).collect() })
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn draft(folder: &std::path::Path, operator: &str, args: Value) -> Draft {
        let Value::Object(args) = args else { panic!("arguments are a mapping") };
        Draft { operator: operator.to_owned(), args, folder: folder.to_owned(), scratch: folder.join("scratch") }
    }

    /// Nothing of the data is needed but the columns, and nothing is left behind.
    #[tokio::test]
    async fn a_plan_needs_no_rows() {
        let folder = tempfile::tempdir().unwrap();
        let args = json!({
            "input": "orders",
            "steps": [{"filter": "n > 1"}, {"dedupe": {"subset": "n"}}, {"derive": {"twice": "n * 2"}}],
        });
        let draft = draft(folder.path(), "transform", args);
        assert_eq!(draft.tasks().unwrap(), ["orders"]);
        let columns = vec![Field { name: "n".to_owned(), kind: "int64".to_owned() }];
        let given = [("orders".to_owned(), Given::Columns(columns))].into_iter().collect();
        let planned = draft.plan(&given, BTreeMap::new()).await.unwrap();
        let names: Vec<&str> = planned.operators.iter().map(|it| it.name.as_str()).collect();
        assert_eq!((names[0], names.contains(&"dedupe"), *names.last().unwrap()), ("Write", true, "rows"), "{names:?}");
        let found: Vec<&str> = planned.columns.iter().map(|field| field.name.as_str()).collect();
        assert_eq!(found, ["n", "twice"]);
        let unknown = draft.plan(&BTreeMap::new(), BTreeMap::new()).await.unwrap_err();
        assert_eq!(unknown.message, "nothing is known of the data of task `orders`");
    }

    #[tokio::test]
    async fn what_is_wrong_is_told_as_the_task_would() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("x.csv"), "a\n1\n").unwrap();
        for (operator, args, expected) in [
            ("extract", json!({"source": {"csv": "y.csv"}}), "there is no file or folder `y.csv`"),
            ("extract", json!({"source": {"csv": "x.csv"}, "columns": ["b"]}), "`b`"),
            ("transform", json!({"input": {"csv": "x.csv"}, "steps": [{"filter": "b > 1"}]}), "step 1 (filter)"),
            ("extract", json!({}), "`source` is missing"),
            ("bash", json!({}), "operator `bash` has no plan"),
        ] {
            let error = draft(folder.path(), operator, args).plan(&BTreeMap::new(), BTreeMap::new()).await.unwrap_err();
            assert!(error.message.contains(expected), "{}", error.message);
        }
    }
}
