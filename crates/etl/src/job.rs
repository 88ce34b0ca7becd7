//! A task as a job: everything that its process has to know, and what comes of it.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use datafusion::execution::SendableRecordBatchStream;
use datafusion::logical_expr::ident;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::prelude::{DataFrame, SQLOptions, SessionContext};
use indexmap::IndexMap;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use towpath_model::etl::{FileFormat, FileTarget, Input, Manifest, Source, Step, TableTarget, Target};
use towpath_operators::object_storage;

use crate::data_set::{self, REJECTS};
use crate::database::{self, Connections};
use crate::error::{Error, Result};
use crate::instance::Instance;
use crate::measure::{self, Meter};
use crate::remote::Remotes;
use crate::report::Report;
use crate::session::{Joins, Resources};
use crate::source::{self, Reading};
use crate::steps::Kitchen;
use crate::stream::{self, Ordered, has_order, sorts_below};
use crate::target;

/// What DataFusion says of an operator that had not room for its first batch of rows: it cannot put aside what it does not have yet.
const NOT_EVEN_ONE: &str = "with 0.0 B already allocated";
/// Who asks for memory to merge what a sort has in memory, before that goes to disk. With smaller batches it needs less.
const MERGE: &str = "for ExternalSorterMerge";

/// What a process is to do.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Job {
    /// The sources of the inputs by name; those of tasks are data sets by now. Steps start from the first one.
    pub inputs: Vec<(String, Source)>,
    /// A condition on the rows of the first input.
    #[serde(default)]
    pub condition: Option<String>,
    /// Its columns that are kept; empty for all.
    #[serde(default)]
    pub columns: Vec<String>,
    #[serde(default)]
    pub steps: Vec<Step>,
    /// A query over the inputs, instead of steps.
    #[serde(default)]
    pub sql: Option<String>,
    pub output: Output,
    /// Those that sources and target name.
    #[serde(default)]
    pub connections: Connections,
    /// Where relative paths start.
    pub folder: PathBuf,
    /// Where what does not fit into memory goes.
    pub scratch: PathBuf,
    #[serde(default)]
    pub memory_bytes: Option<u64>,
    #[serde(default)]
    pub cores: Option<usize>,
    /// Write the plan to the log, before and after.
    #[serde(default)]
    pub explain: bool,
    /// A data set gets a file for each value of these columns.
    #[serde(default)]
    pub partition_by: Vec<String>,
    /// Where the rows of a data set go as JSON, besides, for tasks that are mapped over them.
    #[serde(default)]
    pub rows_to: Option<PathBuf>,
    /// Which task instance this is; a later try of it ends what this one has begun in an object store.
    #[serde(default)]
    pub owner: String,
    /// The same for loads, whose tries find each other's work; `None` where nobody tries again.
    #[serde(default)]
    pub instance: Option<Instance>,
}

/// Where the rows of a job go.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Output {
    /// A data set for other tasks, in this folder, which does not exist yet.
    DataSet(PathBuf),
    /// The input is a data set already, in the folder `draft`, which has to be described and to be moved.
    Adopted {
        draft: PathBuf,
        location: PathBuf,
    },
    Target(Target),
}

impl Job {
    /// Does it; the result is the task's XCom. `log` gets lines for people.
    ///
    /// # Errors
    /// Whatever could not be read, done or written. Then nothing is left of it.
    pub async fn run(&self, log: &(dyn Fn(&str) + Sync)) -> Result<Value> {
        self.run_measured(log, &Arc::new(Meter::default())).await
    }

    /// The same; `meter` knows at any time how far it is.
    ///
    /// # Errors
    /// Those of [`Job::run`].
    pub async fn run_measured(&self, log: &(dyn Fn(&str) + Sync), meter: &Arc<Meter>) -> Result<Value> {
        let mut result = self.carry_out(Joins::Hash, log, meter).await;
        // A join by hash is faster, and whether its smaller side fits is only known when it has been read. What it costs to find out
        // is to read as many rows as fit into memory.
        let is_too_coarse = |error: &Error| error.message.contains(NOT_EVEN_ONE) || error.message.contains(MERGE);
        if let Err(error) = &result
            && error.is_out_of_memory()
            && (meter.has_hash_join() || is_too_coarse(error))
        {
            log(if meter.has_hash_join() {
                "one side of a join does not fit into memory, so both are sorted on disk; the task begins anew (more `memory` is faster)"
            } else {
                "batches of rows do not fit into memory, so the task begins anew with smaller ones (more `memory` is faster)"
            });
            // The second plan may have all of the memory only when the first one has given back what it had.
            if !meter.start_over().await {
                log("something of the first plan is still at work; both may need more memory together than there is");
            }
            // What the first plan has put aside; where it is still at work, it goes with the scratch folder in the end.
            let _ = std::fs::remove_dir_all(&self.scratch);
            result = self.carry_out(Joins::Sort, log, meter).await;
            let _ = std::fs::remove_dir_all(&self.scratch);
        }
        result = result.map_err(|error| self.placed(error));
        if self.explain && result.is_ok() {
            log(&measure::table(&meter.plan()));
        }
        result
    }

    /// What goes wrong with values while rows flow does not know where it stands; this says which steps it can be.
    fn placed(&self, error: Error) -> Error {
        let has = |text: &str, words: &[&str]| words.iter().any(|word| text.contains(word));
        if error.is_out_of_memory() {
            return self.of_memory(error);
        }
        if error.message.contains("; where a field has values of different types") {
            let is_json = |source: &&Source| matches!(source, Source::File(file) if matches!(file.format, FileFormat::Json | FileFormat::Ndjson));
            let files = self.inputs.iter().map(|(_, source)| source).filter(is_json);
            let paths =
                files.filter_map(|source| if let Source::File(file) = source { Some(&file.paths) } else { None });
            let paths: Vec<&str> = paths.flatten().map(String::as_str).collect();
            return if paths.is_empty() { error } else { error.within(&paths.join(" or ")) };
        }
        let words: &[&str] = match error.message.as_str() {
            text if text.starts_with("a number is divided by zero") => &["/", "%"],
            text if text.contains("; `try_cast` makes null of") => &["cast", "::"],
            _ => return error,
        };
        if let Some(sql) = &self.sql {
            return if has(&sql.to_lowercase(), words) { error.within("`sql`") } else { error };
        }
        let can_be = |step: &Step| {
            let text = serde_json::to_string(step).unwrap_or_default().to_lowercase();
            !matches!(step, Step::Validate(_)) && has(&text, words)
        };
        let steps = self.steps.iter().enumerate().filter(|(_, step)| can_be(step));
        let steps: Vec<String> = steps.map(|(at, step)| format!("step {} ({})", at + 1, step.name())).collect();
        if !steps.is_empty() {
            return error.within(&steps.join(" or "));
        }
        // Files have the types of the first one, and nothing but that is cast.
        let is_typed = |source: &Source| matches!(source, Source::File(file) if file.format == FileFormat::Parquet);
        match self.inputs.iter().find(|(_, source)| words.contains(&"cast") && is_typed(source)) {
            Some((_, Source::File(file))) => {
                let what = error.message.split("; `try_cast`").next().unwrap_or_default();
                Error::lasting(format!(
                    "{}: the files have different types: {what}, which it has in the first one; write them alike, or read them one by one \
                     and `cast` before a `union`",
                    file.paths.join(", ")
                ))
            }
            _ => error,
        }
    }

    /// Too little memory: the steps that may have asked for it, and what else helps.
    fn of_memory(&self, error: Error) -> Error {
        let asked = |consumers: &[&str]| consumers.iter().any(|consumer| error.message.contains(consumer));
        let groups = asked(&["Aggregate"]);
        let can_be = |step: &Step| match step {
            Step::Aggregate(_) | Step::Pivot(_) => groups,
            Step::Join(_) => asked(&["Join", "SMJ", "Sort"]),
            Step::Sort(_) => asked(&["Sort"]),
            Step::Window(_) => asked(&["Window", "Sort"]),
            _ => false,
        };
        let mut steps: Vec<String> = Vec::new();
        for (at, step) in self.steps.iter().enumerate().filter(|(_, step)| can_be(step)) {
            steps.push(format!("step {} ({})", at + 1, step.name()));
        }
        if self.sql.is_some() {
            steps.push("`sql`".to_owned());
        }
        let mut error = error;
        if groups {
            error.message.push_str(
                ", or aggregate in several steps: what collects the values of a group (`array_agg`, `median`, `string_agg`, and \
                 `count(distinct)` beside one of them) holds them in memory",
            );
        }
        if steps.is_empty() { error } else { error.within(&steps.join(" or ")) }
    }

    async fn carry_out(&self, joins: Joins, log: &(dyn Fn(&str) + Sync), meter: &Arc<Meter>) -> Result<Value> {
        let resources = Resources::new(self.memory_bytes, self.cores, self.scratch.clone(), joins);
        // What it has fetched is there until the job is done.
        let remotes = Arc::new(Remotes::new(&self.connections, self.scratch.clone()));
        std::fs::create_dir_all(&self.scratch)
            .map_err(|error| Error::io("create the folder", &self.scratch, &error))?;
        match &self.output {
            Output::DataSet(location) => {
                let aside = Unpublished::create(location)?;
                let report = Arc::new(Report::new(&aside.0.join(REJECTS)));
                let rows = self.rows(&resources, &report, log, meter, &remotes).await?;
                let measure = meter.writing();
                let manifest =
                    data_set::publish(rows, &aside.0, location, &report, &self.partition_by, &measure).await?;
                self.expand_rows(&manifest, log).await?;
                for (rule, count) in &manifest.rules {
                    log(&format!("{count} rows broke {rule}"));
                }
                if let Some(rejects) = &manifest.rejects {
                    log(&format!("{} rows were rejected, see {}", rejects.rows, rejects.location));
                }
                log(&format!(
                    "{} rows, {} bytes, {:.3} s, in {}",
                    manifest.rows, manifest.bytes, manifest.seconds, manifest.location
                ));
                Ok(serde_json::to_value(manifest).expect("a manifest is JSON"))
            }
            Output::Adopted { draft, location } => {
                let report = Arc::new(Report::new(&self.scratch.join(REJECTS)));
                let rows = self.rows(&resources, &report, log, meter, &remotes).await?;
                let manifest = data_set::adopt(rows, draft, location).await?;
                self.expand_rows(&manifest, log).await?;
                log(&format!("{} rows, {} bytes, in {}", manifest.rows, manifest.bytes, manifest.location));
                Ok(serde_json::to_value(manifest).expect("a manifest is JSON"))
            }
            Output::Target(Target::Table(table)) => {
                let report = Arc::new(Report::new(&self.scratch.join(REJECTS)));
                let rows = self.rows(&resources, &report, log, meter, &remotes).await?;
                let rows = stream::counted(rows, &meter.writing());
                let start = Instant::now();
                let loaded = self.load_table(table, rows, log).await;
                meter.writing().add_time(start.elapsed());
                loaded
            }
            Output::Target(Target::File(file)) => {
                let report = Arc::new(Report::new(&self.scratch.join(REJECTS)));
                let rows = self.rows(&resources, &report, log, meter, &remotes).await?;
                let mut loaded = match self.bucket(file)? {
                    Some(bucket) => bucket.load(file, rows, &meter.writing()).await?,
                    None => target::load(file, &self.folder, self.instance.as_ref(), rows, &meter.writing()).await?,
                };
                let is_url = file.path.contains("://");
                let path = if is_url { file.path.clone().into() } else { self.folder.join(&file.path) };
                loaded.location = Some(path.display().to_string());
                loaded.format = Some(file.format);
                if loaded.ignored {
                    log(&format!("`{}` is there already, so nothing was written (mode ignore)", file.path));
                } else {
                    log(&format!(
                        "{} rows, {} bytes, {} files, {:.3} s, in {}",
                        loaded.rows, loaded.bytes, loaded.files, loaded.seconds, file.path
                    ));
                }
                Ok(serde_json::to_value(loaded).expect("what was loaded is JSON"))
            }
        }
    }

    async fn load_table(
        &self,
        table: &TableTarget,
        rows: SendableRecordBatchStream,
        log: &(dyn Fn(&str) + Sync),
    ) -> Result<Value> {
        database::task::load(&self.connections, table, &self.folder, self.instance.as_ref(), rows, log).await
    }

    /// The object store that a target names, if it is in one.
    fn bucket(&self, file: &FileTarget) -> Result<Option<target::Bucket>> {
        target::Bucket::of(file, &self.connections, &self.scratch, &self.owner, self.instance.as_ref())
    }

    /// Writes the rows of a data set for tasks that are mapped over them, if there are.
    async fn expand_rows(&self, manifest: &Manifest, log: &(dyn Fn(&str) + Sync)) -> Result<()> {
        let Some(path) = &self.rows_to else { return Ok(()) };
        if let Some(why_not) = data_set::rows_as_json(manifest, path).await? {
            log(&why_not);
        }
        Ok(())
    }

    /// The rows of the result.
    async fn rows(
        &self,
        resources: &Resources,
        report: &Arc<Report>,
        log: &(dyn Fn(&str) + Sync),
        meter: &Arc<Meter>,
        remotes: &Arc<Remotes>,
    ) -> Result<datafusion::execution::SendableRecordBatchStream> {
        let session = resources.session(meter)?;
        self.connections.attach(&session);
        remotes.attach(&session);
        let data = self.data(&session, report).await?;
        let task = session.task_ctx();
        if has_order(data.logical_plan()) || sorts_below(data.logical_plan()) {
            let ordered = Ordered::new(data).await?;
            self.planned(ordered.plan(), meter, log);
            return ordered.stream(task);
        }
        let plan = data.create_physical_plan().await?;
        self.planned(&plan, meter, log);
        Ok(datafusion::physical_plan::execute_stream(plan, task)?)
    }

    /// Its rows as a table that nobody reads yet.
    pub(crate) async fn data(&self, session: &SessionContext, report: &Arc<Report>) -> Result<DataFrame> {
        let as_text = self.left_as_text();
        let mut inputs: IndexMap<String, DataFrame> = IndexMap::with_capacity(self.inputs.len());
        for (index, (name, source)) in self.inputs.iter().enumerate() {
            let reading = Reading { folder: &self.folder, as_text: if index == 0 { &as_text } else { &[] } };
            let data = source::open(session, source, reading).await?;
            session
                .register_table(datafusion::common::TableReference::bare(name.as_str()), data.clone().into_view())?;
            inputs.insert(name.clone(), data);
        }
        let first = inputs.values().next().cloned().ok_or_else(|| Error::lasting("the task has no input"))?;
        match &self.sql {
            Some(sql) => {
                let only_queries =
                    SQLOptions::new().with_allow_ddl(false).with_allow_dml(false).with_allow_statements(false);
                session.sql_with_options(sql, only_queries).await.map_err(|error| Error::from(error).within("`sql`"))
            }
            None => {
                let first = self.narrowed(first)?;
                let kitchen = Kitchen::new(session, Arc::clone(report), inputs, &self.folder);
                kitchen.run(first, &self.steps).await
            }
        }
    }

    /// The plan is known from here on.
    pub(crate) fn planned(&self, plan: &Arc<dyn ExecutionPlan>, meter: &Meter, log: &(dyn Fn(&str) + Sync)) {
        let target = match &self.output {
            Output::DataSet(_) | Output::Adopted { .. } => "data set".to_owned(),
            Output::Target(Target::Table(table)) => format!("table {}, connection {}", table.table, table.connection),
            Output::Target(Target::File(file)) => file.path.clone(),
        };
        meter.set_root(Arc::clone(plan), target);
        if self.explain {
            log(&measure::outline(&meter.plan()));
        }
    }

    /// Whether some URL of an object store is opened with the credentials of the environment.
    pub(crate) fn uses_objects_of_environment(&self) -> bool {
        let is_bare = |paths: &[String], connection: &Option<String>| {
            connection.is_none() && paths.iter().any(|path| object_storage::is_url(path))
        };
        let of_source = |source: &Source| match source {
            Source::File(file) => is_bare(&file.paths, &file.connection),
            Source::Rows(_) | Source::Table(_) | Source::Query(_) => false,
        };
        let of_input = |input: &Input| matches!(input, Input::Source(source) if of_source(source));
        let of_step = |step: &Step| match step {
            Step::Join(join) => of_input(&join.with),
            Step::Union(union) => union.with.0.iter().any(|(_, input)| of_input(input)),
            _ => false,
        };
        let of_target = match &self.output {
            Output::Target(Target::File(file)) => is_bare(std::slice::from_ref(&file.path), &file.connection),
            Output::Target(Target::Table(_)) | Output::DataSet(_) | Output::Adopted { .. } => false,
        };
        of_target || self.inputs.iter().any(|(_, source)| of_source(source)) || self.steps.iter().any(of_step)
    }

    /// The first input with `where` and `columns`.
    fn narrowed(&self, data: DataFrame) -> Result<DataFrame> {
        let mut data = data;
        if let Some(condition) = self.condition.as_ref().filter(|text| !text.trim().is_empty()) {
            let condition = data.parse_sql_expr(condition).map_err(|error| Error::from(error).within("`where`"))?;
            data = data.filter(condition).map_err(|error| Error::from(error).within("`where`"))?;
        }
        if !self.columns.is_empty() {
            let schema = Arc::clone(data.schema().inner());
            let known = || schema.fields().iter().map(|field| field.name().as_str());
            if let Some(unknown) = self.columns.iter().find(|name| !known().any(|known| known == *name)) {
                return Err(source::no_column(unknown, known()).within("`columns`"));
            }
            data = data.select(self.columns.iter().map(ident).collect::<Vec<_>>())?;
        }
        Ok(data)
    }

    /// Columns whose type the first step judges, so that the source leaves them as text.
    fn left_as_text(&self) -> Vec<String> {
        match self.steps.first() {
            Some(Step::Validate(spec)) if self.sql.is_none() => {
                let typed = spec.columns.iter().filter(|(_, rules)| rules.kind.is_some());
                typed.map(|(name, _)| name.clone()).collect()
            }
            _ => Vec::new(),
        }
    }
}

/// The plan of rows that nobody reads yet.
pub(crate) async fn physical(data: DataFrame) -> Result<Arc<dyn ExecutionPlan>> {
    if has_order(data.logical_plan()) || sorts_below(data.logical_plan()) {
        return Ok(Arc::clone(Ordered::new(data).await?.plan()));
    }
    Ok(data.create_physical_plan().await?)
}

/// A data set that is being made; what is left of it when this is dropped is removed.
struct Unpublished(PathBuf);

impl Unpublished {
    fn create(location: &Path) -> Result<Self> {
        let name = location.file_name().unwrap_or_default().to_string_lossy();
        let path = location.with_file_name(format!(".{name}.part"));
        std::fs::create_dir_all(&path).map_err(|error| Error::io("create the folder", &path, &error))?;
        Ok(Self(path))
    }
}

impl Drop for Unpublished {
    fn drop(&mut self) {
        // Published, it is not there any more.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
