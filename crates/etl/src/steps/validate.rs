//! `validate`: one pass over the rows, with two outputs.
//!
//! Batches are checked in parallel and stay in order. Good rows go on in their new types, rejected ones go to a
//! Parquet file as they came, with the list of the rules that each one broke. Null passes every rule but `required`.

use std::sync::Arc;

use datafusion::arrow::array::{Array, ArrayRef, BooleanArray, RecordBatch};
use datafusion::arrow::compute::{filter_record_batch, nullif};
use datafusion::arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use datafusion::common::DFSchema;
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_plan::PhysicalExpr;
use datafusion::physical_plan::stream::RecordBatchReceiverStream;
use datafusion::prelude::SessionContext;
use futures::{StreamExt as _, TryStreamExt as _};
use towpath_model::etl::{OnError, Validate};

use super::rejects::Rejects;
use super::rule::{Check, Rule, target_of};
use super::unique::{Late, Seen, Uniques};
use crate::error::{Error, Result};
use crate::measure::Measure;
use crate::report::Report;
use crate::types;

/// Broken values that an error shows.
const SHOWN: usize = 5;

/// The pass.
#[derive(Debug)]
pub(crate) struct Pass {
    on_error: OnError,
    /// By column, of those that have rules.
    columns: Vec<ColumnPass>,
    conditions: Vec<(String, Arc<dyn PhysicalExpr>)>,
    input: SchemaRef,
    schema: SchemaRef,
    cores: usize,
}

#[derive(Debug)]
struct ColumnPass {
    index: usize,
    name: String,
    rule: Rule,
    unique: bool,
}

/// A batch that was checked.
struct Checked {
    raw: RecordBatch,
    cast: RecordBatch,
    /// What each broken rule is called, and the rows that broke it.
    broken: Vec<(String, BooleanArray)>,
}

impl Pass {
    /// Compiles the rules for rows of `input`.
    pub(crate) fn new(session: &SessionContext, spec: &Validate, input: &SchemaRef) -> Result<Self> {
        let known = || input.fields().iter().map(|field| field.name().as_str());
        let mut columns = Vec::with_capacity(spec.columns.len());
        let mut fields: Vec<Arc<Field>> = input.fields().iter().cloned().collect();
        for (name, rules) in &spec.columns {
            let index =
                known().position(|known| known == name).ok_or_else(|| crate::source::no_column(name, known()))?;
            let source = input.field(index).data_type();
            let place = format!("column `{name}`");
            let target = target_of(rules, source).map_err(|error| error.within(&place))?;
            let rule = Rule::new(rules, source, target.clone()).map_err(|error| error.within(&place))?;
            fields[index] = Arc::new(Field::new(name, target, true));
            columns.push(ColumnPass { index, name: name.clone(), rule, unique: rules.unique });
        }
        let schema = Arc::new(Schema::new(fields));
        let of_rows = DFSchema::try_from(Arc::clone(&schema))?;
        let mut conditions = Vec::with_capacity(spec.rules.len());
        for rule in spec.rules.iter() {
            let name = rule.name.clone().unwrap_or_else(|| rule.expr.clone());
            let place = format!("rule `{name}`");
            let expr = session
                .parse_sql_expr(&super::expr::text(&rule.expr, &schema), &of_rows)
                .map_err(|error| Error::from(error).within(&place))?;
            let expr =
                session.create_physical_expr(expr, &of_rows).map_err(|error| Error::from(error).within(&place))?;
            let kind = expr.data_type(&schema)?;
            if kind != DataType::Boolean {
                return Err(Error::lasting(format!("{place} gives {}, not true or false", types::name(&kind))));
            }
            conditions.push((name, expr));
        }
        let cores = session.copied_config().target_partitions();
        Ok(Self { on_error: spec.on_error, columns, conditions, input: Arc::clone(input), schema, cores })
    }

    /// What it looks at, for plans.
    pub(crate) fn detail(&self) -> String {
        let columns = self.columns.iter().map(|column| column.name.as_str());
        columns.chain(self.conditions.iter().map(|(name, _)| name.as_str())).collect::<Vec<_>>().join(", ")
    }

    /// The columns of the good rows.
    pub(crate) fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    /// Runs it over `input`; rejects and counts go to `report`.
    pub(crate) fn run(
        self: &Arc<Self>,
        input: SendableRecordBatchStream,
        report: &Arc<Report>,
        context: &Arc<TaskContext>,
        measure: &Arc<Measure>,
    ) -> SendableRecordBatchStream {
        let mut output = RecordBatchReceiverStream::builder(self.schema(), 2);
        let (sender, pass, report) = (output.tx(), Arc::clone(self), Arc::clone(report));
        let (context, measure) = (Arc::clone(context), Arc::clone(measure));
        output.spawn(async move {
            let (each, timed) = (Arc::clone(&pass), Arc::clone(&measure));
            let checked = input.map_err(Error::from).map(move |batch| {
                let (pass, measure) = (Arc::clone(&each), Arc::clone(&timed));
                async move {
                    let batch = batch?;
                    let work = tokio::task::spawn_blocking(move || measure.time(|| pass.check(batch))).await;
                    work.unwrap_or_else(|error| Err(Error::passing(format!("a pass has ended: {error}"))))
                }
            });
            let mut checked = std::pin::pin!(checked.buffered(pass.cores));
            let mut sorter = Sorter::new(&pass, &report, &context, &measure);
            'rows: {
                while let Some(next) = checked.next().await {
                    let next = next?;
                    let good = tokio::task::block_in_place(|| measure.time(|| sorter.sort(next)))?;
                    if let Some(good) = good.filter(|good| good.num_rows() > 0)
                        && sender.send(Ok(good)).await.is_err()
                    {
                        break 'rows;
                    }
                }
                // Rows that had to wait until it was known which values come twice.
                let late = tokio::task::block_in_place(|| measure.time(|| sorter.uniques.finish()))?;
                let Some(mut late) = late else { break 'rows };
                while let Some(good) = tokio::task::block_in_place(|| measure.time(|| sorter.late(&mut late)))? {
                    if good.num_rows() > 0 && sender.send(Ok(good)).await.is_err() {
                        break 'rows;
                    }
                }
            }
            tokio::task::block_in_place(|| sorter.finish())?;
            Ok(())
        });
        output.build()
    }

    fn check(&self, raw: RecordBatch) -> Result<Checked> {
        let mut columns: Vec<ArrayRef> = raw.columns().to_vec();
        let mut broken = Vec::new();
        for ColumnPass { index, name, rule, .. } in &self.columns {
            let Check { values, broken: rules } = rule.check(raw.column(*index))?;
            broken.extend(rules.into_iter().map(|(rule, rows)| (format!("{name}: {rule}"), rows)));
            columns[*index] = values;
        }
        // Columns that had no null in the plan may have one now.
        let cast = RecordBatch::try_new(Arc::clone(&self.schema), columns)?;
        for (name, condition) in &self.conditions {
            let result =
                condition.evaluate(&cast).map_err(|error| Error::from(error).within(&format!("rule `{name}`")))?;
            let result = result.into_array(cast.num_rows())?;
            let result = datafusion::arrow::array::AsArray::as_boolean(&result);
            let rows: BooleanArray = result.iter().map(|passes| Some(passes == Some(false))).collect();
            if rows.true_count() > 0 {
                broken.push((name.clone(), rows));
            }
        }
        Ok(Checked { raw, cast, broken })
    }
}

/// Sends checked rows where they belong, one batch after the other.
struct Sorter<'a> {
    pass: &'a Pass,
    report: &'a Report,
    uniques: Uniques,
    rejects: Option<Rejects>,
    rows: u64,
}

impl<'a> Sorter<'a> {
    fn new(pass: &'a Pass, report: &'a Report, context: &Arc<TaskContext>, measure: &Arc<Measure>) -> Self {
        let columns = pass.columns.iter().filter(|column| column.unique).map(|column| column.index).collect();
        let uniques = Uniques::new(columns, &pass.input, context, measure);
        Self { pass, report, uniques, rejects: None, rows: 0 }
    }

    /// The rows of a batch that go on; `None` where that is not known yet.
    fn sort(&mut self, checked: Checked) -> Result<Option<RecordBatch>> {
        match self.uniques.take(&checked.raw, &checked.cast)? {
            Seen::Before(again) => self.part(checked, again).map(Some),
            Seen::Waits => Ok(None),
        }
    }

    /// The rows of the next batch that has waited and go on.
    fn late(&mut self, late: &mut Late) -> Result<Option<RecordBatch>> {
        let Some((raw, again)) = late.next()? else { return Ok(None) };
        let checked = self.pass.check(raw)?;
        self.part(checked, again).map(Some)
    }

    /// The rows of a batch that go on, where it is known which values have come before.
    fn part(&mut self, mut checked: Checked, again: Vec<BooleanArray>) -> Result<RecordBatch> {
        let unique = self.pass.columns.iter().filter(|column| column.unique);
        for (column, again) in unique.zip(again).filter(|(_, again)| again.true_count() > 0) {
            checked.broken.push((format!("{}: unique", column.name), again));
        }
        let from = self.rows;
        self.rows += checked.raw.num_rows() as u64;
        if checked.broken.is_empty() {
            return Ok(checked.cast);
        }
        for (rule, rows) in &checked.broken {
            self.report.broke(rule, rows.true_count() as u64);
        }
        match self.pass.on_error {
            OnError::Fail => Err(self.failure(&checked, from)),
            OnError::Reject => self.reject(&checked, checked.cast.clone(), |_| true),
            OnError::Null => {
                let mut columns = checked.cast.columns().to_vec();
                for ColumnPass { index, name, .. } in &self.pass.columns {
                    for (rule, rows) in &checked.broken {
                        if rule.starts_with(&format!("{name}: ")) {
                            columns[*index] = nullif(&columns[*index], rows)?;
                        }
                    }
                }
                let nulled = RecordBatch::try_new(self.pass.schema(), columns)?;
                let is_lasting = |rule: &str| {
                    rule.ends_with(": required") || self.pass.conditions.iter().any(|(name, _)| name == rule)
                };
                self.reject(&checked, nulled, is_lasting)
            }
        }
    }

    /// Puts the rows that broke one of these rules aside.
    fn reject(&mut self, checked: &Checked, good: RecordBatch, counts: impl Fn(&str) -> bool) -> Result<RecordBatch> {
        let mut bad = vec![false; good.num_rows()];
        for (_, rows) in checked.broken.iter().filter(|(rule, _)| counts(rule)) {
            rows.values().set_indices().for_each(|row| bad[row] = true);
        }
        let mask = BooleanArray::from(bad);
        if mask.true_count() == 0 {
            return Ok(good);
        }
        if self.rejects.is_none() {
            self.rejects = Some(Rejects::create(self.report, &self.pass.input)?);
        }
        if let Some(rejects) = &mut self.rejects {
            rejects.write(&checked.raw, &mask, &checked.broken)?;
        }
        Ok(filter_record_batch(&good, &datafusion::arrow::compute::not(&mask)?)?)
    }

    fn failure(&self, checked: &Checked, from: u64) -> Error {
        let total: usize = checked.broken.iter().map(|(_, rows)| rows.true_count()).sum();
        let mut found: Vec<(usize, String)> = Vec::new();
        for (rule, rows) in &checked.broken {
            let column = self.pass.columns.iter().find(|column| rule.starts_with(&format!("{}: ", column.name)));
            for row in rows.values().set_indices().take(SHOWN) {
                let value = column.map_or_else(String::new, |column| {
                    let array = checked.raw.column(column.index);
                    let text = datafusion::arrow::util::display::array_value_to_string(array, row);
                    let text: String = text.unwrap_or_default().chars().take(60).collect();
                    if array.is_null(row) { " by null".to_owned() } else { format!(" by `{text}`") }
                });
                found.push((row, format!("row {} breaks `{rule}`{value}", from + row as u64 + 1)));
            }
        }
        found.sort();
        let shown: Vec<String> = found.into_iter().take(SHOWN).map(|(_, text)| text).collect();
        let rest =
            if total > shown.len() { format!(", and {} more near it", total - shown.len()) } else { String::new() };
        Error::lasting(format!(
            "validate: {}{rest}; `on_error: reject` puts such rows aside, `null` takes the values away",
            shown.join(", ")
        ))
    }

    fn finish(&mut self) -> Result<()> {
        match self.rejects.take() {
            Some(rejects) => rejects.finish(self.report),
            None => Ok(()),
        }
    }
}
