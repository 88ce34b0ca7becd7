//! A query as record batches.

use std::sync::Arc;

use datafusion::arrow::array::{RecordBatch, RecordBatchOptions};
use datafusion::arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use datafusion::execution::SendableRecordBatchStream;
use datafusion::physical_plan::stream::RecordBatchReceiverStreamBuilder;
use futures::TryStreamExt as _;
use sqlx::postgres::types::Oid;
use sqlx::postgres::{PgColumn, PgConnection, PgTypeInfo};
use sqlx::{AssertSqlSafe, Column as _, Executor as _, SqlSafeStr as _, Statement as _};
use towpath_model::connection::Connection;
use towpath_operators::database::{Error, Kind, open_postgres};

use super::super::{BATCHES_AHEAD, Input, name, outer};
use super::decode::{Column, Decoder, data_type};
use super::watch::Watch;

/// A column of the query.
struct Read {
    name: String,
    kind: PgTypeInfo,
    modifier: i32,
    /// `None`: it is cast to text.
    data_type: Option<DataType>,
}

/// Streams `input`. The connection is closed with the stream, which ends the query as well.
pub(in crate::database) async fn read(
    connection: &Connection,
    input: &Input,
    batch_rows: usize,
) -> Result<SendableRecordBatchStream, Error> {
    let shown = name::shown(input);
    let failed = |error: sqlx::Error| Error::of_sqlx(&error).at(&shown);
    let mut database = open_postgres(connection).await?;
    let select = name::select(Kind::Postgres, input)?;
    let columns = columns(&mut database, &select).await.map_err(failed)?;
    if columns.is_empty() {
        return Err(Error::lasting(format!("{shown} has no columns")));
    }
    let copy = copy(&select, &columns).map_err(|error| error.at(&shown))?;
    let fields =
        columns.iter().map(|column| Field::new(&column.name, column.data_type.clone().unwrap_or(DataType::Utf8), true));
    let schema: SchemaRef = Arc::new(Schema::new(fields.collect::<Vec<_>>()));
    let watch = Watch::of(&mut database, connection).await.map_err(failed)?;
    let mut stream = RecordBatchReceiverStreamBuilder::new(Arc::clone(&schema), BATCHES_AHEAD);
    let sender = stream.tx();
    stream.spawn(async move {
        let builders = columns.iter().map(|column| match &column.data_type {
            Some(_) => Column::new(&column.kind, column.modifier),
            None => Column::Text(Default::default()),
        });
        let mut decoder = Decoder::new(builders.collect());
        let failed = |error: sqlx::Error| outer(Error::of_sqlx(&error).at(&shown));
        let lost = |error: Error| outer(error.at(&shown));
        let begun = async { database.copy_out_raw(&copy).await.map_err(failed) };
        let mut chunks = watch.wait(begun, lost).await?;
        let mut before = 0_u64;
        while let Some(chunk) = watch.wait(async { chunks.try_next().await.map_err(failed) }, lost).await? {
            decoder.push(&chunk).map_err(|damaged| {
                let row = before + decoder.rows as u64 + 1;
                let column = &columns[damaged.column].name;
                outer(Error::lasting(format!("{shown}, column `{column}`, row {row}: {}", damaged.reason)))
            })?;
            if decoder.rows >= batch_rows {
                before += decoder.rows as u64;
                if sender.send(Ok(batch(&schema, &mut decoder)?)).await.is_err() {
                    return Ok(());
                }
            }
        }
        if decoder.rows > 0 {
            // Whoever reads may have enough.
            let _ = sender.send(Ok(batch(&schema, &mut decoder)?)).await;
        }
        Ok(())
    });
    Ok(stream.build())
}

fn batch(schema: &SchemaRef, decoder: &mut Decoder) -> Result<RecordBatch, datafusion::error::DataFusionError> {
    let options = RecordBatchOptions::new().with_row_count(Some(std::mem::take(&mut decoder.rows)));
    let columns = decoder.columns.iter_mut().map(Column::finish).collect();
    Ok(RecordBatch::try_new_with_options(Arc::clone(schema), columns, &options)?)
}

async fn columns(database: &mut PgConnection, select: &str) -> Result<Vec<Read>, sqlx::Error> {
    let prepared = (&mut *database).prepare(AssertSqlSafe(select).into_sql_str()).await?;
    let columns: Vec<PgColumn> = prepared.columns().to_vec();
    // The digits of a `numeric` are known for columns that come straight from a table or a view.
    let from: Vec<(Oid, i16)> = columns
        .iter()
        .map(|column| (column.relation_id().unwrap_or(Oid(0)), column.relation_attribute_no().unwrap_or(0)))
        .collect();
    let modifiers: Vec<i32> = sqlx::query_scalar(
        "SELECT coalesce(CASE WHEN t.typtypmod <> -1 THEN t.typtypmod ELSE a.atttypmod END, -1) \
         FROM unnest($1::oid[], $2::smallint[]) WITH ORDINALITY AS c(relation, number, at) \
         LEFT JOIN pg_attribute a ON a.attrelid = c.relation AND a.attnum = c.number \
         LEFT JOIN pg_type t ON t.oid = a.atttypid ORDER BY c.at",
    )
    .bind(from.iter().map(|(relation, _)| *relation).collect::<Vec<_>>())
    .bind(from.iter().map(|(_, number)| *number).collect::<Vec<_>>())
    .fetch_all(&mut *database)
    .await?;
    let columns = columns.into_iter().zip(modifiers).map(|(column, modifier)| {
        let kind = column.type_info().clone();
        Read { name: column.name().to_owned(), data_type: data_type(&kind, modifier), kind, modifier }
    });
    Ok(columns.collect())
}

/// The statement that sends the rows; columns of types that are not known here go as text.
fn copy(select: &str, columns: &[Read]) -> Result<String, Error> {
    let twice =
        columns.iter().enumerate().find(|(at, column)| columns[..*at].iter().any(|other| other.name == column.name));
    if let Some((_, column)) = twice {
        return Err(Error::lasting(format!("two columns are named `{}`; give one of them an alias", column.name)));
    }
    // The query may end with a comment.
    if columns.iter().all(|column| column.data_type.is_some()) {
        return Ok(format!("COPY ({select}\n) TO STDOUT (FORMAT binary)"));
    }
    let names = columns.iter().map(|column| {
        let name = Kind::Postgres.quote(&column.name);
        if column.data_type.is_some() { name } else { format!("{name}::text") }
    });
    let names = names.collect::<Vec<_>>().join(", ");
    Ok(format!("COPY (SELECT {names} FROM ({select}\n) AS q) TO STDOUT (FORMAT binary)"))
}
