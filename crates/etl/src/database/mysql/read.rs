//! A query as record batches.

use std::sync::Arc;

use chrono::{DateTime, NaiveDate, NaiveDateTime, Utc};
use datafusion::arrow::array::{
    ArrayRef, BinaryBuilder, BooleanBuilder, Date32Builder, Decimal128Builder, Float32Builder, Float64Builder,
    Int8Builder, Int16Builder, Int32Builder, Int64Builder, RecordBatch, StringBuilder, Time64MicrosecondBuilder,
    TimestampMicrosecondBuilder, UInt8Builder, UInt16Builder, UInt32Builder, UInt64Builder,
};
use datafusion::arrow::compute::kernels::cast_utils::parse_decimal;
use datafusion::arrow::datatypes::{DataType, Decimal128Type, Field, Schema, SchemaRef, TimeUnit};
use datafusion::execution::SendableRecordBatchStream;
use datafusion::physical_plan::stream::RecordBatchReceiverStreamBuilder;
use futures::TryStreamExt as _;
use sqlx::mysql::types::MySqlTime;
use sqlx::mysql::{MySqlConnection, MySqlRow, MySqlTypeInfo};
use sqlx::{AssertSqlSafe, Column as _, Executor as _, Row as _, SqlSafeStr as _, Statement as _, TypeInfo as _};
use towpath_model::connection::Connection;
use towpath_operators::database::{Error, Kind, open_mysql};

use super::super::{BATCHES_AHEAD, Input, name, outer};

/// The zone of `TIMESTAMP`: the connection's, which is UTC.
const UTC: &str = "UTC";
/// Microseconds of a day.
const DAY_MICROS: i64 = 86_400_000_000;

/// Streams `input`. The connection is closed with the stream, which ends the query as well.
pub(in crate::database) async fn read(
    connection: &Connection,
    input: &Input,
    batch_rows: usize,
) -> Result<SendableRecordBatchStream, Error> {
    let shown = name::shown(input);
    let failed = |error: sqlx::Error| Error::of_sqlx(&error).at(&shown);
    let mut database = open_mysql(connection).await?;
    let select = name::select(Kind::MySql, input)?;
    let columns = columns(&mut database, &select).await.map_err(failed)?;
    if columns.is_empty() {
        return Err(Error::lasting(format!("{shown} has no columns")));
    }
    for (at, (name, _)) in columns.iter().enumerate() {
        if columns[..at].iter().any(|(other, _)| other == name) {
            return Err(Error::lasting(format!("{shown}: two columns are named `{name}`; give one of them an alias")));
        }
    }
    let fields = columns.iter().map(|(name, kind)| Field::new(name, kind.clone(), true));
    let schema: SchemaRef = Arc::new(Schema::new(fields.collect::<Vec<_>>()));
    let mut stream = RecordBatchReceiverStreamBuilder::new(Arc::clone(&schema), BATCHES_AHEAD);
    let sender = stream.tx();
    stream.spawn(async move {
        let failed = |error: sqlx::Error| outer(Error::of_sqlx(&error).at(&shown));
        let mut builders: Vec<Builder> = columns.iter().map(|(_, kind)| Builder::new(kind)).collect();
        let (mut before, mut count) = (0_u64, 0_usize);
        let mut rows = sqlx::query(AssertSqlSafe(select)).persistent(false).fetch(&mut database);
        while let Some(row) = rows.try_next().await.map_err(failed)? {
            for (at, builder) in builders.iter_mut().enumerate() {
                builder.push(&row, at).map_err(|reason| {
                    let (name, row) = (&columns[at].0, before + count as u64 + 1);
                    outer(Error::lasting(format!("{shown}, column `{name}`, row {row}: {reason}")))
                })?;
            }
            count += 1;
            if count >= batch_rows {
                before += count as u64;
                count = 0;
                let arrays = builders.iter_mut().map(Builder::finish).collect();
                let batch = RecordBatch::try_new(Arc::clone(&schema), arrays)?;
                if sender.send(Ok(batch)).await.is_err() {
                    return Ok(());
                }
            }
        }
        if count > 0 {
            let arrays = builders.iter_mut().map(Builder::finish).collect();
            // Whoever reads may have enough.
            let _ = sender.send(Ok(RecordBatch::try_new(Arc::clone(&schema), arrays)?)).await;
        }
        Ok(())
    });
    Ok(stream.build())
}

/// Names and types of the columns.
async fn columns(database: &mut MySqlConnection, select: &str) -> Result<Vec<(String, DataType)>, sqlx::Error> {
    let prepared = (&mut *database).prepare(AssertSqlSafe(select).into_sql_str()).await?;
    let mut columns = Vec::new();
    for column in prepared.columns() {
        let mut kind = data_type(column.type_info());
        // The digits of a decimal are known for columns that come straight from a table.
        if let (DataType::Decimal128(..), origin) = (&kind, column.origin()) {
            kind = match origin.table_column() {
                Some(from) => digits(database, &from.table, &from.name).await?,
                None => DataType::Utf8,
            };
        }
        columns.push((column.name().to_owned(), kind));
    }
    Ok(columns)
}

/// The type of a decimal column; text where it is wider than Arrow's.
async fn digits(database: &mut MySqlConnection, table: &str, column: &str) -> Result<DataType, sqlx::Error> {
    let found: Option<(u64, u64)> = sqlx::query_as(
        "SELECT CAST(numeric_precision AS UNSIGNED), CAST(numeric_scale AS UNSIGNED) FROM information_schema.columns \
         WHERE concat(table_schema, '.', table_name) = ? AND column_name = ?",
    )
    .bind(table)
    .bind(column)
    .fetch_optional(database)
    .await?;
    let known = found.and_then(|(precision, scale)| Some((u8::try_from(precision).ok()?, i8::try_from(scale).ok()?)));
    Ok(match known {
        Some((precision @ 1..=38, scale)) => DataType::Decimal128(precision, scale),
        _ => DataType::Utf8,
    })
}

/// The type of Arrow for one of MySQL; digits of decimals are still to be found out.
fn data_type(kind: &MySqlTypeInfo) -> DataType {
    // Text that is compared byte by byte has the name of a binary type.
    if <str as sqlx::Type<sqlx::MySql>>::compatible(kind) {
        return DataType::Utf8;
    }
    match kind.name() {
        "BOOLEAN" => DataType::Boolean,
        "TINYINT" => DataType::Int8,
        "SMALLINT" => DataType::Int16,
        "MEDIUMINT" | "INT" => DataType::Int32,
        "BIGINT" => DataType::Int64,
        "TINYINT UNSIGNED" => DataType::UInt8,
        "SMALLINT UNSIGNED" | "YEAR" => DataType::UInt16,
        "MEDIUMINT UNSIGNED" | "INT UNSIGNED" => DataType::UInt32,
        "BIGINT UNSIGNED" | "BIT" => DataType::UInt64,
        "FLOAT" => DataType::Float32,
        "DOUBLE" => DataType::Float64,
        "DECIMAL" => DataType::Decimal128(38, 0),
        "DATE" => DataType::Date32,
        "TIME" => DataType::Time64(TimeUnit::Microsecond),
        "DATETIME" => DataType::Timestamp(TimeUnit::Microsecond, None),
        "TIMESTAMP" => DataType::Timestamp(TimeUnit::Microsecond, Some(UTC.into())),
        "BINARY" | "VARBINARY" | "TINYBLOB" | "BLOB" | "MEDIUMBLOB" | "LONGBLOB" | "GEOMETRY" => DataType::Binary,
        _ => DataType::Utf8,
    }
}

/// Builds a column.
enum Builder {
    Bool(BooleanBuilder),
    I8(Int8Builder),
    I16(Int16Builder),
    I32(Int32Builder),
    I64(Int64Builder),
    U8(UInt8Builder),
    U16(UInt16Builder),
    U32(UInt32Builder),
    U64(UInt64Builder),
    F32(Float32Builder),
    F64(Float64Builder),
    Decimal(Decimal128Builder, u8, i8),
    Date(Date32Builder),
    Time(Time64MicrosecondBuilder),
    DateTime(TimestampMicrosecondBuilder),
    Timestamp(TimestampMicrosecondBuilder),
    Bytes(BinaryBuilder),
    Text(StringBuilder),
}

impl Builder {
    fn new(kind: &DataType) -> Self {
        match kind {
            DataType::Boolean => Self::Bool(BooleanBuilder::new()),
            DataType::Int8 => Self::I8(Int8Builder::new()),
            DataType::Int16 => Self::I16(Int16Builder::new()),
            DataType::Int32 => Self::I32(Int32Builder::new()),
            DataType::Int64 => Self::I64(Int64Builder::new()),
            DataType::UInt8 => Self::U8(UInt8Builder::new()),
            DataType::UInt16 => Self::U16(UInt16Builder::new()),
            DataType::UInt32 => Self::U32(UInt32Builder::new()),
            DataType::UInt64 => Self::U64(UInt64Builder::new()),
            DataType::Float32 => Self::F32(Float32Builder::new()),
            DataType::Float64 => Self::F64(Float64Builder::new()),
            DataType::Decimal128(precision, scale) => {
                Self::Decimal(Decimal128Builder::new().with_data_type(kind.clone()), *precision, *scale)
            }
            DataType::Date32 => Self::Date(Date32Builder::new()),
            DataType::Time64(_) => Self::Time(Time64MicrosecondBuilder::new()),
            DataType::Timestamp(_, None) => Self::DateTime(TimestampMicrosecondBuilder::new()),
            DataType::Timestamp(_, Some(_)) => Self::Timestamp(TimestampMicrosecondBuilder::new().with_timezone(UTC)),
            DataType::Binary => Self::Bytes(BinaryBuilder::new()),
            _ => Self::Text(StringBuilder::new()),
        }
    }

    fn push(&mut self, row: &MySqlRow, at: usize) -> Result<(), String> {
        let wrong = |error: sqlx::Error| error.to_string();
        match self {
            Self::Bool(builder) => match row.try_get_unchecked::<Option<i8>, _>(at).map_err(wrong)? {
                Some(number @ (0 | 1)) => builder.append_value(number == 1),
                Some(number) => {
                    return Err(format!(
                        "{number} is neither 0 nor 1, as a tinyint(1) should be; write `column + 0` in a query"
                    ));
                }
                None => builder.append_null(),
            },
            Self::I8(builder) => builder.append_option(row.try_get_unchecked(at).map_err(wrong)?),
            Self::I16(builder) => builder.append_option(row.try_get_unchecked(at).map_err(wrong)?),
            Self::I32(builder) => builder.append_option(row.try_get_unchecked(at).map_err(wrong)?),
            Self::I64(builder) => builder.append_option(row.try_get_unchecked(at).map_err(wrong)?),
            Self::U8(builder) => builder.append_option(row.try_get_unchecked(at).map_err(wrong)?),
            Self::U16(builder) => builder.append_option(row.try_get_unchecked(at).map_err(wrong)?),
            Self::U32(builder) => builder.append_option(row.try_get_unchecked(at).map_err(wrong)?),
            Self::U64(builder) => builder.append_option(row.try_get_unchecked(at).map_err(wrong)?),
            Self::F32(builder) => builder.append_option(row.try_get_unchecked(at).map_err(wrong)?),
            Self::F64(builder) => builder.append_option(row.try_get_unchecked(at).map_err(wrong)?),
            Self::Decimal(builder, precision, scale) => {
                let text: Option<&str> = row.try_get_unchecked(at).map_err(wrong)?;
                let value = text.map(|text| parse_decimal::<Decimal128Type>(text, *precision, *scale));
                builder.append_option(value.transpose().map_err(|error| error.to_string())?);
            }
            Self::Date(builder) => {
                let date: Option<NaiveDate> = row.try_get_unchecked(at).map_err(wrong)?;
                builder.append_option(date.map(datafusion::arrow::datatypes::Date32Type::from_naive_date));
            }
            Self::Time(builder) => {
                let time: Option<MySqlTime> = row.try_get_unchecked(at).map_err(wrong)?;
                builder.append_option(time.as_ref().map(micros).transpose()?);
            }
            Self::DateTime(builder) => {
                let time: Option<NaiveDateTime> = row.try_get_unchecked(at).map_err(wrong)?;
                builder.append_option(time.map(|time| time.and_utc().timestamp_micros()));
            }
            Self::Timestamp(builder) => {
                let time: Option<DateTime<Utc>> = row.try_get_unchecked(at).map_err(wrong)?;
                builder.append_option(time.map(|time| time.timestamp_micros()));
            }
            Self::Bytes(builder) => {
                builder.append_option(row.try_get_unchecked::<Option<&[u8]>, _>(at).map_err(wrong)?);
            }
            Self::Text(builder) => builder.append_option(row.try_get_unchecked::<Option<&str>, _>(at).map_err(wrong)?),
        }
        Ok(())
    }

    fn finish(&mut self) -> ArrayRef {
        match self {
            Self::Bool(builder) => Arc::new(builder.finish()),
            Self::I8(builder) => Arc::new(builder.finish()),
            Self::I16(builder) => Arc::new(builder.finish()),
            Self::I32(builder) => Arc::new(builder.finish()),
            Self::I64(builder) => Arc::new(builder.finish()),
            Self::U8(builder) => Arc::new(builder.finish()),
            Self::U16(builder) => Arc::new(builder.finish()),
            Self::U32(builder) => Arc::new(builder.finish()),
            Self::U64(builder) => Arc::new(builder.finish()),
            Self::F32(builder) => Arc::new(builder.finish()),
            Self::F64(builder) => Arc::new(builder.finish()),
            Self::Decimal(builder, ..) => Arc::new(builder.finish()),
            Self::Date(builder) => Arc::new(builder.finish()),
            Self::Time(builder) => Arc::new(builder.finish()),
            Self::DateTime(builder) | Self::Timestamp(builder) => Arc::new(builder.finish()),
            Self::Bytes(builder) => Arc::new(builder.finish()),
            Self::Text(builder) => Arc::new(builder.finish()),
        }
    }
}

/// A time of day; MySQL's times may be longer, or before the day.
fn micros(time: &MySqlTime) -> Result<i64, String> {
    let seconds = i64::from(time.hours()) * 3_600 + i64::from(time.minutes()) * 60 + i64::from(time.seconds());
    let micros = seconds * 1_000_000 + i64::from(time.microseconds());
    if time.sign().is_negative() || micros >= DAY_MICROS {
        return Err(format!("the time {time} is no time of a day; write `cast(column as char)` in a query"));
    }
    Ok(micros)
}
