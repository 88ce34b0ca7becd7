//! Rows that stand in the DAG file, or that a task has returned.

use std::sync::Arc;

use datafusion::arrow::datatypes::{DataType, Field, Schema};
use datafusion::arrow::json::ReaderBuilder;
use datafusion::arrow::json::reader::infer_json_schema_from_iterator;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::prelude::{DataFrame, SessionContext};
use serde_json::Value;
use towpath_model::etl::RowsSource;

use crate::error::{Error, Result};
use crate::{stream, types};

/// The rows as a table.
pub(super) async fn open(session: &SessionContext, source: &RowsSource) -> Result<DataFrame> {
    let rows: Vec<Value> = source.rows.iter().map(|row| Value::Object(row.clone())).collect();
    let inferred = infer_json_schema_from_iterator(rows.iter().map(Ok::<_, datafusion::arrow::error::ArrowError>))
        .map_err(|error| Error::lasting(format!("`rows`: {error}")))?;
    // The order of the first row, which inference sorts away, and then what later ones add.
    let mut names: Vec<&String> = Vec::new();
    for name in source.rows.iter().flat_map(|row| row.keys()).chain(source.columns.keys()) {
        if !names.contains(&name) {
            names.push(name);
        }
    }
    let fields = names.into_iter().map(|name| {
        let declared = source.columns.get(name).map(types::arrow);
        let kind = declared.or_else(|| inferred.field_with_name(name).ok().map(|field| field.data_type().clone()));
        let kind = kind.filter(|kind| *kind != DataType::Null).unwrap_or(DataType::Utf8);
        Field::new(name, kind, true)
    });
    let schema = Arc::new(Schema::new(fields.collect::<Vec<_>>()));
    let mut decoder = ReaderBuilder::new(Arc::clone(&schema)).with_batch_size(rows.len().max(1)).build_decoder()?;
    decoder.serialize(&rows).map_err(|error| Error::lasting(format!("`rows`: {error}")))?;
    let batch = decoder.flush().map_err(|error| Error::lasting(format!("`rows`: {error}")))?;
    let batch = batch.unwrap_or_else(|| datafusion::arrow::array::RecordBatch::new_empty(schema));
    let stage = stream::Stage::source("rows", format!("{} in place", rows.len()));
    stream::table(session, batch.schema(), stage, move |_, _| {
        let rows = futures::stream::iter([Ok(batch.clone())]);
        Ok(Box::pin(RecordBatchStreamAdapter::new(batch.schema(), rows)))
    })
}
