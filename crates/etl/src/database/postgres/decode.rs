//! The rows of `COPY ... TO STDOUT (FORMAT binary)` as columns of Arrow.
//!
//! The format is in PostgreSQL's documentation of `COPY`, "Binary Format": a header, then for each row the number of its
//! values, and for each value its length (-1 for null) and its bytes in network order.

use std::sync::Arc;

use datafusion::arrow::array::{
    ArrayBuilder, ArrayRef, BinaryBuilder, BooleanBuilder, Date32Builder, Decimal128Builder, Float32Builder,
    Float64Builder, Int16Builder, Int32Builder, Int64Builder, ListArray, StringBuilder, Time64MicrosecondBuilder,
    TimestampMicrosecondBuilder, UInt32Builder,
};
use datafusion::arrow::buffer::{NullBuffer, OffsetBuffer};
use datafusion::arrow::datatypes::{DataType, Field, TimeUnit};
use sqlx::TypeInfo as _;
use sqlx::postgres::{PgTypeInfo, PgTypeKind};
use towpath_operators::database::postgres::{EPOCH_DAYS, EPOCH_MICROS, numeric_text};

/// The zone of times that have one: PostgreSQL keeps them in UTC.
pub(super) const UTC: &str = "UTC";
const SIGNATURE: &[u8] = b"PGCOPY\n\xff\r\n\0";

/// How a type of PostgreSQL is read; `None` where it has to be cast to text first. `modifier` is -1 where there is none.
pub(super) fn data_type(kind: &PgTypeInfo, modifier: i32) -> Option<DataType> {
    match kind.kind() {
        PgTypeKind::Array(element) => {
            let element = data_type(element, modifier)?;
            return (!element.is_nested()).then(|| DataType::List(Arc::new(Field::new_list_field(element, true))));
        }
        PgTypeKind::Domain(base) => return data_type(base, modifier),
        PgTypeKind::Enum(_) => return Some(DataType::Utf8),
        _ => {}
    }
    Some(match kind.name() {
        "BOOL" => DataType::Boolean,
        "INT2" => DataType::Int16,
        "INT4" => DataType::Int32,
        "INT8" => DataType::Int64,
        "OID" => DataType::UInt32,
        "FLOAT4" => DataType::Float32,
        "FLOAT8" => DataType::Float64,
        "NUMERIC" => numeric_type(modifier),
        "TEXT" | "VARCHAR" | "CHAR" | "NAME" | "UNKNOWN" | "XML" | "citext" | "CITEXT" | "JSON" | "JSONB" | "UUID" => {
            DataType::Utf8
        }
        "BYTEA" => DataType::Binary,
        "DATE" => DataType::Date32,
        "TIME" => DataType::Time64(TimeUnit::Microsecond),
        "TIMESTAMP" => DataType::Timestamp(TimeUnit::Microsecond, None),
        "TIMESTAMPTZ" => DataType::Timestamp(TimeUnit::Microsecond, Some(UTC.into())),
        _ => return None,
    })
}

/// Decimals of known digits; text where there are no bounds or they are wider than Arrow's.
fn numeric_type(modifier: i32) -> DataType {
    let Some(packed) = modifier.checked_sub(4).filter(|packed| *packed >= 0) else { return DataType::Utf8 };
    let precision = packed >> 16;
    // Eleven bits with a sign.
    let scale = ((packed & 0x7ff) ^ 0x400) - 0x400;
    match (u8::try_from(precision), i8::try_from(scale)) {
        (Ok(precision @ 1..=38), Ok(scale)) if (0..=precision.cast_signed()).contains(&scale) => {
            DataType::Decimal128(precision, scale)
        }
        _ => DataType::Utf8,
    }
}

/// Builds a column.
#[derive(Debug)]
pub(super) enum Column {
    Bool(BooleanBuilder),
    Int2(Int16Builder),
    Int4(Int32Builder),
    Int8(Int64Builder),
    Oid(UInt32Builder),
    Float4(Float32Builder),
    Float8(Float64Builder),
    Decimal(Decimal128Builder, u8, i8),
    NumericText(StringBuilder),
    Text(StringBuilder),
    Jsonb(StringBuilder),
    Uuid(StringBuilder),
    Bytes(BinaryBuilder),
    Date(Date32Builder),
    Time(Time64MicrosecondBuilder),
    Timestamp(TimestampMicrosecondBuilder),
    TimestampTz(TimestampMicrosecondBuilder),
    List { values: Box<Column>, offsets: Vec<i32>, valid: Vec<bool> },
}

impl Column {
    /// For a type that [`data_type`] knows; text for all others.
    pub(super) fn new(kind: &PgTypeInfo, modifier: i32) -> Self {
        match kind.kind() {
            PgTypeKind::Array(element) => {
                let values = Box::new(Self::new(element, modifier));
                return Self::List { values, offsets: vec![0], valid: Vec::new() };
            }
            PgTypeKind::Domain(base) => return Self::new(base, modifier),
            _ => {}
        }
        match kind.name() {
            "BOOL" => Self::Bool(BooleanBuilder::new()),
            "INT2" => Self::Int2(Int16Builder::new()),
            "INT4" => Self::Int4(Int32Builder::new()),
            "INT8" => Self::Int8(Int64Builder::new()),
            "OID" => Self::Oid(UInt32Builder::new()),
            "FLOAT4" => Self::Float4(Float32Builder::new()),
            "FLOAT8" => Self::Float8(Float64Builder::new()),
            "NUMERIC" => match numeric_type(modifier) {
                DataType::Decimal128(precision, scale) => {
                    let builder = Decimal128Builder::new().with_data_type(DataType::Decimal128(precision, scale));
                    Self::Decimal(builder, precision, scale)
                }
                _ => Self::NumericText(StringBuilder::new()),
            },
            "JSONB" => Self::Jsonb(StringBuilder::new()),
            "UUID" => Self::Uuid(StringBuilder::new()),
            "BYTEA" => Self::Bytes(BinaryBuilder::new()),
            "DATE" => Self::Date(Date32Builder::new()),
            "TIME" => Self::Time(Time64MicrosecondBuilder::new()),
            "TIMESTAMP" => Self::Timestamp(TimestampMicrosecondBuilder::new()),
            "TIMESTAMPTZ" => Self::TimestampTz(TimestampMicrosecondBuilder::new().with_timezone(UTC)),
            _ => Self::Text(StringBuilder::new()),
        }
    }

    fn push_null(&mut self) {
        match self {
            Self::Bool(builder) => builder.append_null(),
            Self::Int2(builder) => builder.append_null(),
            Self::Int4(builder) => builder.append_null(),
            Self::Int8(builder) => builder.append_null(),
            Self::Oid(builder) => builder.append_null(),
            Self::Float4(builder) => builder.append_null(),
            Self::Float8(builder) => builder.append_null(),
            Self::Decimal(builder, ..) => builder.append_null(),
            Self::NumericText(builder) | Self::Text(builder) | Self::Jsonb(builder) | Self::Uuid(builder) => {
                builder.append_null();
            }
            Self::Bytes(builder) => builder.append_null(),
            Self::Date(builder) => builder.append_null(),
            Self::Time(builder) => builder.append_null(),
            Self::Timestamp(builder) | Self::TimestampTz(builder) => builder.append_null(),
            Self::List { offsets, valid, .. } => {
                offsets.push(*offsets.last().expect("it begins with 0"));
                valid.push(false);
            }
        }
    }

    /// Adds a value from its binary form.
    fn push(&mut self, bytes: &[u8]) -> Result<(), String> {
        match self {
            Self::Bool(builder) => builder.append_value(bytes.first().is_some_and(|byte| *byte != 0)),
            Self::Int2(builder) => builder.append_value(i16::from_be_bytes(sized(bytes)?)),
            Self::Int4(builder) => builder.append_value(i32::from_be_bytes(sized(bytes)?)),
            Self::Int8(builder) => builder.append_value(i64::from_be_bytes(sized(bytes)?)),
            Self::Oid(builder) => builder.append_value(u32::from_be_bytes(sized(bytes)?)),
            Self::Float4(builder) => builder.append_value(f32::from_be_bytes(sized(bytes)?)),
            Self::Float8(builder) => builder.append_value(f64::from_be_bytes(sized(bytes)?)),
            Self::Decimal(builder, precision, scale) => builder.append_value(decimal(bytes, *precision, *scale)?),
            Self::NumericText(builder) => builder.append_value(numeric_text(bytes).ok_or("a damaged number")?),
            Self::Text(builder) => builder.append_value(utf8(bytes)?),
            Self::Jsonb(builder) => builder.append_value(utf8(bytes.get(1..).unwrap_or_default())?),
            Self::Uuid(builder) => builder.append_value(
                uuid::Uuid::from_bytes(sized(bytes)?).hyphenated().encode_lower(&mut uuid::Uuid::encode_buffer()),
            ),
            Self::Bytes(builder) => builder.append_value(bytes),
            Self::Date(builder) => match i32::from_be_bytes(sized(bytes)?) {
                i32::MAX | i32::MIN => return Err(infinite()),
                days => builder.append_value(days + EPOCH_DAYS),
            },
            Self::Time(builder) => builder.append_value(i64::from_be_bytes(sized(bytes)?)),
            Self::Timestamp(builder) | Self::TimestampTz(builder) => match i64::from_be_bytes(sized(bytes)?) {
                i64::MAX | i64::MIN => return Err(infinite()),
                micros => builder.append_value(micros + EPOCH_MICROS),
            },
            Self::List { values, offsets, valid } => {
                push_items(values, bytes)?;
                offsets.push(i32::try_from(values.len()).map_err(|_| "too many items for one batch")?);
                valid.push(true);
            }
        }
        Ok(())
    }

    fn len(&self) -> usize {
        match self {
            Self::Bool(builder) => builder.len(),
            Self::Int2(builder) => builder.len(),
            Self::Int4(builder) => builder.len(),
            Self::Int8(builder) => builder.len(),
            Self::Oid(builder) => builder.len(),
            Self::Float4(builder) => builder.len(),
            Self::Float8(builder) => builder.len(),
            Self::Decimal(builder, ..) => builder.len(),
            Self::NumericText(builder) | Self::Text(builder) | Self::Jsonb(builder) | Self::Uuid(builder) => {
                builder.len()
            }
            Self::Bytes(builder) => builder.len(),
            Self::Date(builder) => builder.len(),
            Self::Time(builder) => builder.len(),
            Self::Timestamp(builder) | Self::TimestampTz(builder) => builder.len(),
            Self::List { valid, .. } => valid.len(),
        }
    }

    /// What has been added since the last call.
    pub(super) fn finish(&mut self) -> ArrayRef {
        match self {
            Self::Bool(builder) => Arc::new(builder.finish()),
            Self::Int2(builder) => Arc::new(builder.finish()),
            Self::Int4(builder) => Arc::new(builder.finish()),
            Self::Int8(builder) => Arc::new(builder.finish()),
            Self::Oid(builder) => Arc::new(builder.finish()),
            Self::Float4(builder) => Arc::new(builder.finish()),
            Self::Float8(builder) => Arc::new(builder.finish()),
            Self::Decimal(builder, ..) => Arc::new(builder.finish()),
            Self::NumericText(builder) | Self::Text(builder) | Self::Jsonb(builder) | Self::Uuid(builder) => {
                Arc::new(builder.finish())
            }
            Self::Bytes(builder) => Arc::new(builder.finish()),
            Self::Date(builder) => Arc::new(builder.finish()),
            Self::Time(builder) => Arc::new(builder.finish()),
            Self::Timestamp(builder) | Self::TimestampTz(builder) => Arc::new(builder.finish()),
            Self::List { values, offsets, valid } => {
                let values = values.finish();
                let field = Arc::new(Field::new_list_field(values.data_type().clone(), true));
                let offsets = OffsetBuffer::new(std::mem::replace(offsets, vec![0]).into());
                let valid = NullBuffer::from(std::mem::take(valid));
                Arc::new(ListArray::new(field, offsets, values, Some(valid)))
            }
        }
    }
}

fn sized<const N: usize>(bytes: &[u8]) -> Result<[u8; N], String> {
    bytes.try_into().map_err(|_| format!("{} bytes instead of {N}", bytes.len()))
}

fn utf8(bytes: &[u8]) -> Result<&str, String> {
    std::str::from_utf8(bytes).map_err(|_| "the text is not UTF-8".to_owned())
}

fn infinite() -> String {
    "the time is infinite, which Arrow has no value for; use `nullif(column, 'infinity')` in a query".to_owned()
}

/// A `numeric` as a whole number of its last place.
fn decimal(bytes: &[u8], precision: u8, scale: i8) -> Result<i128, String> {
    let word = |at: usize| bytes.get(at * 2..at * 2 + 2).map(|pair| u16::from_be_bytes([pair[0], pair[1]]));
    let header = (word(0), word(1), word(2));
    let (Some(count), Some(weight), Some(sign)) = header else { return Err("a damaged number".to_owned()) };
    if sign & 0xC000 == 0xC000 {
        let value = numeric_text(bytes).unwrap_or_default();
        return Err(format!("{value} is no decimal number; use `nullif` or a cast to float in a query"));
    }
    let too_wide = || format!("the number has more digits than decimal({precision}, {scale}) holds");
    // Each digit counts for a power of 10,000; `weight` is that of the first.
    let mut value: i128 = 0;
    for position in 0..usize::from(count) {
        let digit = i128::from(word(4 + position).ok_or("a damaged number")?);
        value = value.checked_mul(10_000).and_then(|value| value.checked_add(digit)).ok_or_else(too_wide)?;
    }
    let last = i32::from(weight.cast_signed()) + 1 - i32::from(count);
    let exponent = last * 4 + i32::from(scale);
    let power = 10_i128.checked_pow(exponent.unsigned_abs()).ok_or_else(too_wide)?;
    let value = if exponent >= 0 { value.checked_mul(power).ok_or_else(too_wide)? } else { value / power };
    if value >= 10_i128.pow(precision.into()) {
        return Err(too_wide());
    }
    Ok(if sign == 0x4000 { -value } else { value })
}

/// The items of an array of one dimension.
fn push_items(values: &mut Column, bytes: &[u8]) -> Result<(), String> {
    let word = |at: usize| -> Result<i32, String> {
        Ok(i32::from_be_bytes(sized(bytes.get(at..at + 4).ok_or("a damaged array")?)?))
    };
    let count = match word(0)? {
        0 => return Ok(()),
        1 => word(12)?,
        dimensions => return Err(format!("an array of {dimensions} dimensions; cast it to text in a query")),
    };
    let mut at = 20;
    for _ in 0..count {
        let length = word(at)?;
        at += 4;
        match usize::try_from(length) {
            Err(_) => values.push_null(),
            Ok(length) => {
                values.push(bytes.get(at..at + length).ok_or("a damaged array")?)?;
                at += length;
            }
        }
    }
    Ok(())
}

/// Takes the bytes of a `COPY` in any pieces.
#[derive(Debug)]
pub(super) struct Decoder {
    pub(super) columns: Vec<Column>,
    /// Bytes that no row has been made of yet.
    rest: Vec<u8>,
    has_header: bool,
    /// Rows since the last batch.
    pub(super) rows: usize,
}

/// A value that cannot be read: the position of its column, and why.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Damaged {
    pub(super) column: usize,
    pub(super) reason: String,
}

impl Decoder {
    pub(super) fn new(columns: Vec<Column>) -> Self {
        Self { columns, rest: Vec::new(), has_header: false, rows: 0 }
    }

    /// Adds the rows that `bytes` complete.
    pub(super) fn push(&mut self, bytes: &[u8]) -> Result<(), Damaged> {
        if self.rest.is_empty() {
            // Nearly always: the server sends rows whole.
            let used = self.decode(bytes)?;
            self.rest.extend_from_slice(&bytes[used..]);
            return Ok(());
        }
        let mut rest = std::mem::take(&mut self.rest);
        rest.extend_from_slice(bytes);
        let used = self.decode(&rest)?;
        rest.drain(..used);
        self.rest = rest;
        Ok(())
    }

    /// The number of bytes that whole rows were made of.
    fn decode(&mut self, bytes: &[u8]) -> Result<usize, Damaged> {
        let mut at = 0;
        if !self.has_header {
            let Some(extension) = bytes.get(SIGNATURE.len() + 4..SIGNATURE.len() + 8) else { return Ok(0) };
            let extension = u32::from_be_bytes(extension.try_into().expect("four bytes")) as usize;
            let damaged =
                || Damaged { column: 0, reason: "the server does not answer in COPY's binary format".to_owned() };
            if !bytes.starts_with(SIGNATURE) || extension > bytes.len() {
                return Err(damaged());
            }
            at = SIGNATURE.len() + 8 + extension;
            self.has_header = true;
        }
        while let Some(end) = end_of_row(bytes, at) {
            let Some(end) = end else { return Ok(bytes.len()) };
            let mut position = at + 2;
            for (index, column) in self.columns.iter_mut().enumerate() {
                let length = i32::from_be_bytes(bytes[position..position + 4].try_into().expect("four bytes"));
                position += 4;
                let Ok(length) = usize::try_from(length) else {
                    column.push_null();
                    continue;
                };
                let value = &bytes[position..position + length];
                column.push(value).map_err(|reason| Damaged { column: index, reason })?;
                position += length;
            }
            self.rows += 1;
            at = end;
        }
        Ok(at)
    }
}

/// Where the row at `at` ends: `None` where its end is not there yet, `Some(None)` for the mark behind the last row.
fn end_of_row(bytes: &[u8], at: usize) -> Option<Option<usize>> {
    let count = i16::from_be_bytes(bytes.get(at..at + 2)?.try_into().ok()?);
    if count < 0 {
        return Some(None);
    }
    let mut position = at + 2;
    for _ in 0..count {
        let length = i32::from_be_bytes(bytes.get(position..position + 4)?.try_into().ok()?);
        position += 4 + usize::try_from(length).unwrap_or(0);
    }
    (position <= bytes.len()).then_some(Some(position))
}
