//! The rows that `validate` puts aside.

use std::fs::File;
use std::io::BufWriter;
use std::sync::Arc;

use datafusion::arrow::array::{BooleanArray, ListBuilder, RecordBatch, StringBuilder};
use datafusion::arrow::compute::filter_record_batch;
use datafusion::arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use datafusion::parquet::arrow::ArrowWriter;

use crate::error::{Error, Result};
use crate::report::Report;
use crate::target::parquet_properties;

/// The column with the rules that a row broke.
const RULES: &str = "_rejected_by";

/// A file of rejected rows.
pub(super) struct Rejects {
    writer: ArrowWriter<BufWriter<File>>,
    schema: SchemaRef,
    rows: u64,
}

impl Rejects {
    pub(super) fn create(report: &Report, input: &SchemaRef) -> Result<Self> {
        let path = report.next_rejects()?;
        let file = File::create(&path).map_err(|error| Error::io("create", &path, &error))?;
        let items = Arc::new(Field::new_list_field(DataType::Utf8, true));
        let rules = Arc::new(Field::new(RULES, DataType::List(items), true));
        let own = input.fields().iter().filter(|field| field.name() != RULES).cloned();
        let schema = Arc::new(Schema::new(own.chain([rules]).collect::<Vec<_>>()));
        let writer =
            ArrowWriter::try_new(BufWriter::new(file), Arc::clone(&schema), Some(parquet_properties(None, None)))?;
        Ok(Self { writer, schema, rows: 0 })
    }

    /// Writes the rows of `mask`, as they came.
    pub(super) fn write(
        &mut self,
        raw: &RecordBatch,
        mask: &BooleanArray,
        broken: &[(String, BooleanArray)],
    ) -> Result<()> {
        let mut rules = ListBuilder::new(StringBuilder::new());
        for row in mask.values().set_indices() {
            for (rule, _) in broken.iter().filter(|(_, rows)| rows.value(row)) {
                rules.values().append_value(rule);
            }
            rules.append(true);
        }
        let bad = filter_record_batch(raw, mask)?;
        self.rows += bad.num_rows() as u64;
        let own = bad
            .schema()
            .fields()
            .iter()
            .zip(bad.columns())
            .filter(|(field, _)| field.name() != RULES)
            .map(|(_, column)| Arc::clone(column))
            .collect::<Vec<_>>();
        let columns = own.into_iter().chain([Arc::new(rules.finish()) as _]).collect();
        self.writer.write(&RecordBatch::try_new(Arc::clone(&self.schema), columns)?)?;
        Ok(())
    }

    pub(super) fn finish(self, report: &Report) -> Result<()> {
        self.writer.close()?;
        report.rejected(self.rows);
        Ok(())
    }
}
