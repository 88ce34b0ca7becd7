//! Runs the steps of a task: each makes a table of a table.
//!
//! What SQL can say becomes a plan of DataFusion, which optimises across steps. What needs the order of rows, or two
//! outputs, is a pass of this crate, which closes the plan before it (see [`crate::stream`]).

mod dedupe;
mod expr;
mod formats;
mod keys;
mod nested;
mod rejects;
mod reshape;
mod rule;
mod spool;
mod sql;
mod unique;
mod validate;
mod waiting;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use datafusion::arrow::datatypes::Schema;
use datafusion::logical_expr::{Expr, LogicalPlan, cast, ident};
use datafusion::prelude::{DataFrame, SessionContext};
use indexmap::IndexMap;
use towpath_model::etl::{ColumnType, Dedupe, Input, Inputs, OneOrMany, Step, Validate};

use crate::error::{Error, Result};
use crate::report::Report;
use crate::source::no_column;
use crate::stream::{Ordered, Stage, has_order, table};
use crate::types;

pub(crate) use keys::Through;

/// What steps work with.
pub(crate) struct Kitchen<'a> {
    pub(crate) session: &'a SessionContext,
    pub(crate) report: Arc<Report>,
    /// The inputs of the task by name.
    pub(crate) inputs: IndexMap<String, DataFrame>,
    /// Where relative paths of sources start.
    pub(crate) folder: &'a std::path::Path,
    names: AtomicUsize,
}

impl<'a> Kitchen<'a> {
    pub(crate) fn new(
        session: &'a SessionContext,
        report: Arc<Report>,
        inputs: IndexMap<String, DataFrame>,
        folder: &'a std::path::Path,
    ) -> Self {
        Self { session, report, inputs, folder, names: AtomicUsize::new(0) }
    }

    /// Runs all steps. An error says which of them has failed.
    pub(crate) async fn run(&self, data: DataFrame, steps: &[Step]) -> Result<DataFrame> {
        let mut data = data;
        for (index, step) in steps.iter().enumerate() {
            let place = format!("step {} ({})", index + 1, step.name());
            data = Box::pin(self.step(data, step)).await.map_err(|error| error.within(&place))?;
        }
        Ok(data)
    }

    async fn step(&self, data: DataFrame, step: &Step) -> Result<DataFrame> {
        let schema = Arc::clone(data.schema().inner());
        match step {
            Step::Validate(spec) => self.validate(data, spec).await,
            Step::Dedupe(spec) => self.dedupe(data, spec).await,
            Step::Filter(condition) => {
                let condition = data.parse_sql_expr(&expr::text(condition, &schema))?;
                Ok(data.filter(condition)?)
            }
            Step::Select(columns) => {
                let exprs = columns.iter().map(|column| {
                    let parsed = data.parse_sql_expr(&expr::text(&column.expr, &schema))?;
                    Ok(match &column.name {
                        Some(name) => parsed.alias(name),
                        None => parsed,
                    })
                });
                let exprs = exprs.collect::<Result<Vec<Expr>>>()?;
                Ok(data.select(exprs)?)
            }
            Step::Derive(columns) => derive(data, columns),
            Step::Rename(names) => rename(data, names),
            Step::Drop(names) => drop_columns(data, names),
            Step::FillNull(values) => self.fill_null(data, values).await,
            Step::Cast(kinds) => cast_columns(data, kinds),
            Step::Aggregate(spec) => self.aggregate(data, spec).await,
            Step::Join(spec) => self.join(data, spec).await,
            Step::Union(spec) => self.union(data, spec).await,
            Step::Sort(sort_by) => self.sort(data, sort_by).await,
            Step::Limit(limit) => {
                let (rows, offset) = (limit.rows as usize, limit.offset as usize);
                // Behind a sort the order is the sort's; else it is that of the input.
                if has_order(data.logical_plan()) && !matches!(data.logical_plan(), LogicalPlan::Limit(_)) {
                    let input = Ordered::new(data.limit(offset, Some(rows))?).await?;
                    let stage = Stage::pass("limit", format!("{rows} rows, offset {offset}"), &input);
                    let input = input.clone();
                    return table(self.session, input.schema(), stage, move |context, _| input.stream(context));
                }
                Ok(data.limit(offset, Some(rows))?)
            }
            Step::Window(spec) => self.window(data, spec).await,
            Step::Pivot(spec) => self.pivot(data, spec).await,
            Step::Unpivot(spec) => reshape::unpivot(self.session, data, spec).await,
            Step::Sample(spec) => reshape::sample(self.session, data, spec).await,
        }
    }

    async fn validate(&self, data: DataFrame, spec: &Validate) -> Result<DataFrame> {
        let input = Ordered::new(data).await?;
        let pass = Arc::new(validate::Pass::new(self.session, spec, &input.schema())?);
        let report = Arc::clone(&self.report);
        let stage = Stage::pass("validate", pass.detail(), &input);
        let input = input.clone();
        table(self.session, pass.schema(), stage, move |context, measure| {
            Ok(pass.run(input.stream(Arc::clone(&context))?, &report, &context, measure))
        })
    }

    async fn dedupe(&self, data: DataFrame, spec: &Dedupe) -> Result<DataFrame> {
        let input = Ordered::new(data).await?;
        let schema = input.schema();
        let columns = if spec.subset.is_empty() {
            (0..schema.fields().len()).collect()
        } else {
            spec.subset.iter().map(|name| index_of(name, &schema)).collect::<Result<_>>()?
        };
        if let Some(flag) = &spec.flag
            && schema.column_with_name(flag).is_some()
        {
            return Err(Error::lasting(format!("`flag: {flag}`: there is a column of that name already")));
        }
        let cores = self.session.copied_config().target_partitions();
        let pass = dedupe::Pass { columns, keep: spec.keep, flag: spec.flag.clone(), cores };
        let names: Vec<&str> = pass.columns.iter().map(|at| schema.field(*at).name().as_str()).collect();
        let keep = format!("{:?}", pass.keep).to_lowercase();
        let stage = Stage::pass("dedupe", format!("{}, keep {keep}", names.join(", ")), &input);
        let input = input.clone();
        table(self.session, pass.schema(&schema), stage, move |context, measure| {
            Ok(pass.run(input.stream(Arc::clone(&context))?, &context, measure))
        })
    }

    /// Another table that a step reads: an input of the task by name, or a source.
    async fn other(&self, input: &Input) -> Result<DataFrame> {
        match input {
            Input::Task(name) => self.inputs.get(name).cloned().ok_or_else(|| {
                let known = self.inputs.keys().map(String::as_str);
                Error::lasting(format!("there is no input `{name}`{}", crate::source::did_you_mean(name, known)))
            }),
            Input::Source(source) => {
                let reading = crate::source::Reading { folder: self.folder, as_text: &[] };
                Box::pin(crate::source::open(self.session, source, reading)).await
            }
        }
    }

    async fn others(&self, inputs: &Inputs) -> Result<Vec<DataFrame>> {
        let mut tables = Vec::with_capacity(inputs.0.len());
        for (_, input) in &inputs.0 {
            tables.push(self.other(input).await?);
        }
        Ok(tables)
    }

    /// Makes a table known to SQL under a name of its own, which is given back quoted.
    fn register(&self, data: &DataFrame) -> Result<String> {
        let name = format!("__step_{}", self.names.fetch_add(1, Ordering::Relaxed));
        self.session.register_table(name.as_str(), data.clone().into_view())?;
        Ok(expr::quote(&name))
    }

    async fn query(&self, sql: &str) -> Result<DataFrame> {
        Ok(self.session.sql(sql).await?)
    }
}

/// The place of a column.
fn index_of(name: &str, schema: &Schema) -> Result<usize> {
    let known = schema.fields().iter().map(|field| field.name().as_str());
    schema.index_of(name).map_err(|_| no_column(name, known))
}

/// Fails for the first name that is no column.
fn check_columns<'n>(names: impl Iterator<Item = &'n String>, schema: &Schema) -> Result<()> {
    let mut names = names;
    names.try_for_each(|name| index_of(name, schema).map(drop))
}

fn derive(data: DataFrame, columns: &IndexMap<String, String>) -> Result<DataFrame> {
    let mut data = data;
    for (name, text) in columns {
        let schema = Arc::clone(data.schema().inner());
        let place = format!("`{name}`");
        let parsed =
            data.parse_sql_expr(&expr::text(text, &schema)).map_err(|error| Error::from(error).within(&place))?;
        let mut exprs: Vec<Expr> = Vec::with_capacity(schema.fields().len() + 1);
        for field in schema.fields() {
            exprs.push(if field.name() == name { parsed.clone().alias(name) } else { ident(field.name()) });
        }
        if schema.column_with_name(name).is_none() {
            exprs.push(parsed.alias(name));
        }
        data = data.select(exprs).map_err(|error| Error::from(error).within(&place))?;
    }
    Ok(data)
}

fn rename(data: DataFrame, names: &IndexMap<String, String>) -> Result<DataFrame> {
    let schema = Arc::clone(data.schema().inner());
    check_columns(names.keys(), &schema)?;
    let exprs = schema.fields().iter().map(|field| match names.get(field.name()) {
        Some(name) => ident(field.name()).alias(name),
        None => ident(field.name()),
    });
    Ok(data.select(exprs.collect::<Vec<_>>())?)
}

fn drop_columns(data: DataFrame, names: &OneOrMany<String>) -> Result<DataFrame> {
    let schema = Arc::clone(data.schema().inner());
    check_columns(names.iter(), &schema)?;
    let kept: Vec<Expr> =
        schema.fields().iter().filter(|field| !names.contains(field.name())).map(|field| ident(field.name())).collect();
    if kept.is_empty() {
        return Err(Error::lasting("no column would be left"));
    }
    Ok(data.select(kept)?)
}

fn cast_columns(data: DataFrame, kinds: &IndexMap<String, ColumnType>) -> Result<DataFrame> {
    let schema = Arc::clone(data.schema().inner());
    check_columns(kinds.keys(), &schema)?;
    let exprs = schema.fields().iter().map(|field| match kinds.get(field.name()) {
        Some(kind) => cast(ident(field.name()), types::arrow(kind)).alias(field.name()),
        None => ident(field.name()),
    });
    Ok(data.select(exprs.collect::<Vec<_>>())?)
}
