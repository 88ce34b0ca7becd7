//! A query as record batches.
//!
//! A declared type is what a column's values are expected to be. A column that has none (an expression) gets one from the first rows.

use std::path::PathBuf;
use std::sync::Arc;

use datafusion::arrow::array::{ArrayRef, BinaryBuilder, Float64Builder, Int64Builder, RecordBatch, StringBuilder};
use datafusion::arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use datafusion::execution::SendableRecordBatchStream;
use datafusion::physical_plan::stream::RecordBatchReceiverStreamBuilder;
use rusqlite::types::ValueRef;
use towpath_operators::database::{Error, Kind, open_sqlite};

use super::super::fit::{Fitted, fit_column};
use super::super::{BATCHES_AHEAD, Input, name, outer};
use super::data_type;

/// So many rows are looked at for the types of expressions.
const LOOK_ROWS: usize = 1_000;

/// Streams `input`; the thread ends soon after the stream is dropped.
pub(in crate::database) async fn read(
    path: PathBuf,
    input: &Input,
    batch_rows: usize,
) -> Result<SendableRecordBatchStream, Error> {
    let select = name::select(Kind::Sqlite, input)?;
    let shown = name::shown(input);
    let opening = {
        let (select, shown) = (select.clone(), shown.clone());
        tokio::task::spawn_blocking(move || open(&path, &select, &shown))
    };
    let opened = opening.await.map_err(|error| Error::passing(format!("SQLite has ended unexpectedly: {error}")))?;
    let (database, columns) = opened?;
    let fields = columns.iter().map(|column| Field::new(&column.name, column.data_type.clone(), true));
    let schema: SchemaRef = Arc::new(Schema::new(fields.collect::<Vec<_>>()));
    let mut stream = RecordBatchReceiverStreamBuilder::new(Arc::clone(&schema), BATCHES_AHEAD);
    let sender = stream.tx();
    stream.spawn_blocking(move || {
        let failed = |error: rusqlite::Error| outer(Error::of_sqlite(&error).at(&shown));
        let mut prepared = database.prepare(&select).map_err(failed)?;
        let mut rows = prepared.query(()).map_err(failed)?;
        let mut builders: Vec<Builder> = columns.iter().map(|column| Builder::new(&column.data_type)).collect();
        let (mut before, mut count) = (0_u64, 0_usize);
        loop {
            let row = rows.next().map_err(failed)?;
            if let Some(row) = row {
                for (at, builder) in builders.iter_mut().enumerate() {
                    let value = row.get_ref(at).map_err(failed)?;
                    builder.push(value).map_err(|kind| {
                        let (name, to, row) = (&columns[at].name, &columns[at].data_type, before + count as u64 + 1);
                        let quoted = Kind::Sqlite.quote(name);
                        outer(Error::lasting(format!(
                            "{shown}, column `{name}`, row {row}: a value of type {kind} where the column has {to}; \
                             write `cast({quoted} as text)` in a query"
                        )))
                    })?;
                }
                count += 1;
            }
            let is_over = row.is_none();
            if count >= batch_rows || (is_over && count > 0) {
                let batch = batch(&schema, &columns, &mut builders, &shown, before)?;
                before += count as u64;
                count = 0;
                if sender.blocking_send(Ok(batch)).is_err() {
                    return Ok(());
                }
            }
            if is_over {
                return Ok(());
            }
        }
    });
    Ok(stream.build())
}

/// A column of the query.
#[derive(Debug)]
struct Column {
    name: String,
    data_type: DataType,
}

fn open(path: &std::path::Path, select: &str, shown: &str) -> Result<(rusqlite::Connection, Vec<Column>), Error> {
    let database = open_sqlite(path, false)?;
    let failed = |error: rusqlite::Error| Error::of_sqlite(&error).at(shown);
    // Both looks at the rows see the same ones.
    database.execute_batch("BEGIN").map_err(failed)?;
    let mut prepared = database.prepare(select).map_err(failed)?;
    let declared: Vec<(String, Option<DataType>)> = prepared
        .columns()
        .iter()
        .map(|column| (column.name().to_owned(), column.decl_type().and_then(data_type)))
        .collect();
    if declared.is_empty() {
        return Err(Error::lasting(format!("{shown} has no columns")));
    }
    for (at, (name, _)) in declared.iter().enumerate() {
        if declared[..at].iter().any(|(other, _)| other == name) {
            return Err(Error::lasting(format!("{shown}: two columns are named `{name}`; give one of them an alias")));
        }
    }
    let mut seen: Vec<Option<DataType>> = vec![None; declared.len()];
    if declared.iter().any(|(_, kind)| kind.is_none()) {
        let mut rows = prepared.query(()).map_err(failed)?;
        for _ in 0..LOOK_ROWS {
            let Some(row) = rows.next().map_err(failed)? else { break };
            for (at, seen) in seen.iter_mut().enumerate().filter(|(at, _)| declared[*at].1.is_none()) {
                *seen = widened(seen.take(), row.get_ref(at).map_err(failed)?);
            }
        }
    }
    let columns = declared.into_iter().zip(seen);
    let columns =
        columns.map(|((name, declared), seen)| Column { name, data_type: declared.or(seen).unwrap_or(DataType::Utf8) });
    let columns = columns.collect();
    drop(prepared);
    Ok((database, columns))
}

/// The type that holds what was seen before and this value.
fn widened(seen: Option<DataType>, value: ValueRef<'_>) -> Option<DataType> {
    let own = match value {
        ValueRef::Null => return seen,
        ValueRef::Integer(_) => DataType::Int64,
        ValueRef::Real(_) => DataType::Float64,
        ValueRef::Text(_) => DataType::Utf8,
        ValueRef::Blob(_) => DataType::Binary,
    };
    Some(match (seen, own) {
        (None, own) => own,
        (Some(seen), own) if seen == own => own,
        (Some(DataType::Int64 | DataType::Float64), DataType::Int64 | DataType::Float64) => DataType::Float64,
        _ => DataType::Utf8,
    })
}

fn batch(
    schema: &SchemaRef,
    columns: &[Column],
    builders: &mut [Builder],
    shown: &str,
    before: u64,
) -> Result<RecordBatch, datafusion::error::DataFusionError> {
    let arrays: Result<Vec<ArrayRef>, Error> = builders
        .iter_mut()
        .zip(columns)
        .map(|(builder, column)| {
            let fitted = Fitted {
                name: column.name.clone(),
                data_type: column.data_type.clone(),
                sql_type: column.data_type.to_string(),
                nullable: true,
            };
            fit_column(shown, &fitted, &builder.finish(), before)
        })
        .collect();
    Ok(RecordBatch::try_new(Arc::clone(schema), arrays.map_err(outer)?)?)
}

/// Builds a column.
#[derive(Debug)]
enum Builder {
    Integer(Int64Builder),
    Real(Float64Builder),
    /// As it is, or to be cast when the batch is full.
    Text(StringBuilder),
    Bytes(BinaryBuilder),
}

impl Builder {
    fn new(kind: &DataType) -> Self {
        match kind {
            DataType::Int64 | DataType::Boolean => Self::Integer(Int64Builder::new()),
            DataType::Float64 => Self::Real(Float64Builder::new()),
            DataType::Binary => Self::Bytes(BinaryBuilder::new()),
            _ => Self::Text(StringBuilder::new()),
        }
    }

    /// Adds a value; the error is what kind of value it is.
    fn push(&mut self, value: ValueRef<'_>) -> Result<(), String> {
        match (self, value) {
            (Self::Integer(builder), ValueRef::Null) => builder.append_null(),
            (Self::Real(builder), ValueRef::Null) => builder.append_null(),
            (Self::Text(builder), ValueRef::Null) => builder.append_null(),
            (Self::Bytes(builder), ValueRef::Null) => builder.append_null(),
            (Self::Integer(builder), ValueRef::Integer(number)) => builder.append_value(number),
            (Self::Real(builder), ValueRef::Integer(number)) => builder.append_value(number as f64),
            (Self::Real(builder), ValueRef::Real(number)) => builder.append_value(number),
            (Self::Text(builder), ValueRef::Integer(number)) => builder.append_value(number.to_string()),
            (Self::Text(builder), ValueRef::Real(number)) => builder.append_value(number.to_string()),
            (Self::Text(builder), ValueRef::Text(text)) => {
                builder.append_value(std::str::from_utf8(text).map_err(|_| "text that is not UTF-8".to_owned())?);
            }
            (Self::Bytes(builder), ValueRef::Blob(bytes) | ValueRef::Text(bytes)) => builder.append_value(bytes),
            (_, value) => return Err(value.data_type().to_string().to_lowercase()),
        }
        Ok(())
    }

    fn finish(&mut self) -> ArrayRef {
        match self {
            Self::Integer(builder) => Arc::new(builder.finish()),
            Self::Real(builder) => Arc::new(builder.finish()),
            Self::Text(builder) => Arc::new(builder.finish()),
            Self::Bytes(builder) => Arc::new(builder.finish()),
        }
    }
}
