//! Columns of Arrow as the rows of `COPY ... FROM STDIN (FORMAT binary)`.

use std::sync::Arc;

use datafusion::arrow::array::{
    Array, ArrayRef, AsArray, BinaryArray, BooleanArray, Decimal128Array, FixedSizeBinaryArray, ListArray,
    PrimitiveArray, StringArray,
};
use datafusion::arrow::datatypes::{
    ArrowPrimitiveType, DataType, Date32Type, Field, Float32Type, Float64Type, Int16Type, Int32Type, Int64Type,
    Time64MicrosecondType, TimeUnit, TimestampMicrosecondType,
};
use towpath_operators::database::postgres::{EPOCH_DAYS, EPOCH_MICROS};

use super::decode::UTC;

/// What comes before the first row: the signature, no flags, no extension.
pub(super) const HEADER: &[u8] = b"PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0";
/// What comes behind the last row.
pub(super) const TRAILER: &[u8] = &[0xff, 0xff];

/// The binary form of a type of PostgreSQL.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Form {
    Bool,
    Int2,
    Int4,
    Int8,
    Float4,
    Float8,
    Numeric,
    Text,
    Jsonb,
    Uuid,
    Bytes,
    Date,
    Time,
    Timestamp,
    TimestampTz,
    /// Of items in a form, whose type has this number.
    List(Box<Form>, u32),
}

impl Form {
    /// The form of a base type by its name in `pg_type`.
    pub(super) fn of(name: &str) -> Option<Self> {
        Some(match name {
            "bool" => Self::Bool,
            "int2" => Self::Int2,
            "int4" => Self::Int4,
            "int8" => Self::Int8,
            "float4" => Self::Float4,
            "float8" => Self::Float8,
            "numeric" => Self::Numeric,
            "text" | "varchar" | "bpchar" | "name" | "citext" | "json" | "xml" => Self::Text,
            "jsonb" => Self::Jsonb,
            "uuid" => Self::Uuid,
            "bytea" => Self::Bytes,
            "date" => Self::Date,
            "time" => Self::Time,
            "timestamp" => Self::Timestamp,
            "timestamptz" => Self::TimestampTz,
            _ => return None,
        })
    }

    /// What data of type `from` is cast to before it is written in this form; `None` where it is not taken.
    pub(super) fn data_type(&self, from: &DataType) -> Option<DataType> {
        if let Self::List(form, _) = self {
            let (DataType::List(item) | DataType::LargeList(item)) = from else { return None };
            let item = form.data_type(item.data_type())?;
            return Some(DataType::List(Arc::new(Field::new_list_field(item, true))));
        }
        if from.is_nested() && !matches!(from, DataType::FixedSizeBinary(_)) {
            return None;
        }
        Some(match self {
            Self::Bool => DataType::Boolean,
            Self::Int2 => DataType::Int16,
            Self::Int4 => DataType::Int32,
            Self::Int8 => DataType::Int64,
            Self::Float4 => DataType::Float32,
            Self::Float8 => DataType::Float64,
            Self::Numeric => match from {
                DataType::Decimal128(precision, scale) if *scale >= 0 => DataType::Decimal128(*precision, *scale),
                from if from.is_integer() => DataType::Decimal128(20, 0),
                // Text is taken digit by digit, and so is the shortest text of a float.
                _ => DataType::Utf8,
            },
            Self::Uuid if *from == DataType::FixedSizeBinary(16) => from.clone(),
            Self::Text | Self::Jsonb | Self::Uuid => match from {
                DataType::Binary | DataType::LargeBinary | DataType::BinaryView | DataType::FixedSizeBinary(_) => {
                    return None;
                }
                _ => DataType::Utf8,
            },
            Self::Bytes => DataType::Binary,
            Self::Date => DataType::Date32,
            Self::Time => DataType::Time64(TimeUnit::Microsecond),
            Self::Timestamp => DataType::Timestamp(TimeUnit::Microsecond, None),
            Self::TimestampTz => DataType::Timestamp(TimeUnit::Microsecond, Some(UTC.into())),
            Self::List(..) => return None,
        })
    }
}

/// A column that is being written.
#[derive(Debug)]
pub(super) enum Cells {
    Bool(BooleanArray),
    Int2(PrimitiveArray<Int16Type>),
    Int4(PrimitiveArray<Int32Type>),
    Int8(PrimitiveArray<Int64Type>),
    Float4(PrimitiveArray<Float32Type>),
    Float8(PrimitiveArray<Float64Type>),
    Decimal(Decimal128Array),
    NumericText(StringArray),
    Text(StringArray),
    Jsonb(StringArray),
    Uuid(StringArray),
    UuidBytes(FixedSizeBinaryArray),
    Bytes(BinaryArray),
    Date(PrimitiveArray<Date32Type>),
    Time(PrimitiveArray<Time64MicrosecondType>),
    Timestamp(PrimitiveArray<TimestampMicrosecondType>),
    List(ListArray, Box<Cells>, u32),
}

impl Cells {
    /// An array that has been cast to the form's [`Form::data_type`].
    pub(super) fn new(form: &Form, array: &ArrayRef) -> Self {
        fn numbers<T: ArrowPrimitiveType>(array: &ArrayRef) -> PrimitiveArray<T> {
            array.as_primitive::<T>().clone()
        }
        let text = || array.as_string::<i32>().clone();
        match form {
            Form::Bool => Self::Bool(array.as_boolean().clone()),
            Form::Int2 => Self::Int2(numbers(array)),
            Form::Int4 => Self::Int4(numbers(array)),
            Form::Int8 => Self::Int8(numbers(array)),
            Form::Float4 => Self::Float4(numbers(array)),
            Form::Float8 => Self::Float8(numbers(array)),
            Form::Numeric if matches!(array.data_type(), DataType::Decimal128(..)) => Self::Decimal(numbers(array)),
            Form::Numeric => Self::NumericText(text()),
            Form::Text => Self::Text(text()),
            Form::Jsonb => Self::Jsonb(text()),
            Form::Uuid if matches!(array.data_type(), DataType::FixedSizeBinary(_)) => {
                Self::UuidBytes(array.as_fixed_size_binary().clone())
            }
            Form::Uuid => Self::Uuid(text()),
            Form::Bytes => Self::Bytes(array.as_binary::<i32>().clone()),
            Form::Date => Self::Date(numbers(array)),
            Form::Time => Self::Time(numbers(array)),
            Form::Timestamp | Form::TimestampTz => Self::Timestamp(numbers(array)),
            Form::List(form, oid) => {
                let list = array.as_list::<i32>().clone();
                let values = Box::new(Self::new(form, list.values()));
                Self::List(list, values, *oid)
            }
        }
    }

    fn is_null(&self, row: usize) -> bool {
        match self {
            Self::Bool(array) => array.is_null(row),
            Self::Int2(array) => array.is_null(row),
            Self::Int4(array) => array.is_null(row),
            Self::Int8(array) => array.is_null(row),
            Self::Float4(array) => array.is_null(row),
            Self::Float8(array) => array.is_null(row),
            Self::Decimal(array) => array.is_null(row),
            Self::NumericText(array) | Self::Text(array) | Self::Jsonb(array) | Self::Uuid(array) => array.is_null(row),
            Self::UuidBytes(array) => array.is_null(row),
            Self::Bytes(array) => array.is_null(row),
            Self::Date(array) => array.is_null(row),
            Self::Time(array) => array.is_null(row),
            Self::Timestamp(array) => array.is_null(row),
            Self::List(array, ..) => array.is_null(row),
        }
    }

    /// Appends the value of a row, with its length before it.
    pub(super) fn put(&self, row: usize, to: &mut Vec<u8>) -> Result<(), String> {
        fn fixed<const N: usize>(to: &mut Vec<u8>, bytes: [u8; N]) {
            to.extend_from_slice(&(N as i32).to_be_bytes());
            to.extend_from_slice(&bytes);
        }
        if self.is_null(row) {
            to.extend_from_slice(&(-1_i32).to_be_bytes());
            return Ok(());
        }
        match self {
            Self::Bool(array) => fixed(to, [u8::from(array.value(row))]),
            Self::Int2(array) => fixed(to, array.value(row).to_be_bytes()),
            Self::Int4(array) => fixed(to, array.value(row).to_be_bytes()),
            Self::Int8(array) => fixed(to, array.value(row).to_be_bytes()),
            Self::Float4(array) => fixed(to, array.value(row).to_be_bytes()),
            Self::Float8(array) => fixed(to, array.value(row).to_be_bytes()),
            Self::Decimal(array) => sized(to, |to| {
                let value = array.value(row);
                let scale = usize::from(array.scale().unsigned_abs());
                put_decimal(&value.unsigned_abs().to_string(), scale, value < 0, to);
                Ok(())
            })?,
            Self::NumericText(array) => sized(to, |to| put_number(array.value(row), to))?,
            Self::Text(array) => sized(to, |to| {
                to.extend_from_slice(text(array.value(row))?);
                Ok(())
            })?,
            Self::Jsonb(array) => sized(to, |to| {
                // The version of the format.
                to.push(1);
                to.extend_from_slice(text(array.value(row))?);
                Ok(())
            })?,
            Self::Uuid(array) => {
                let value = array.value(row);
                fixed(to, *uuid::Uuid::parse_str(value).map_err(|_| format!("`{value}` is no UUID"))?.as_bytes());
            }
            Self::UuidBytes(array) => sized(to, |to| {
                to.extend_from_slice(array.value(row));
                Ok(())
            })?,
            Self::Bytes(array) => sized(to, |to| {
                to.extend_from_slice(array.value(row));
                Ok(())
            })?,
            Self::Date(array) => fixed(to, array.value(row).saturating_sub(EPOCH_DAYS).to_be_bytes()),
            Self::Time(array) => fixed(to, array.value(row).to_be_bytes()),
            Self::Timestamp(array) => fixed(to, array.value(row).saturating_sub(EPOCH_MICROS).to_be_bytes()),
            Self::List(array, values, oid) => sized(to, |to| put_list(array, values, *oid, row, to))?,
        }
        Ok(())
    }
}

/// Text that PostgreSQL takes: it has no character of the number 0.
fn text(value: &str) -> Result<&[u8], String> {
    if memchr::memchr(0, value.as_bytes()).is_some() {
        return Err("the text holds a NUL character, which PostgreSQL cannot store".to_owned());
    }
    Ok(value.as_bytes())
}

/// What `put` writes, with its length before it.
fn sized(to: &mut Vec<u8>, put: impl FnOnce(&mut Vec<u8>) -> Result<(), String>) -> Result<(), String> {
    let start = to.len();
    to.extend_from_slice(&[0; 4]);
    put(to)?;
    let length = i32::try_from(to.len() - start - 4).map_err(|_| "the value is larger than 2 GB".to_owned())?;
    to[start..start + 4].copy_from_slice(&length.to_be_bytes());
    Ok(())
}

fn put_list(array: &ListArray, values: &Cells, oid: u32, row: usize, to: &mut Vec<u8>) -> Result<(), String> {
    let offsets = array.value_offsets();
    let range = offsets[row] as usize..offsets[row + 1] as usize;
    let has_null = range.clone().any(|item| values.is_null(item));
    let dimensions: i32 = if range.is_empty() { 0 } else { 1 };
    to.extend_from_slice(&dimensions.to_be_bytes());
    to.extend_from_slice(&i32::from(has_null).to_be_bytes());
    to.extend_from_slice(&oid.to_be_bytes());
    if !range.is_empty() {
        let length = i32::try_from(range.len()).map_err(|_| "the list is too long".to_owned())?;
        to.extend_from_slice(&length.to_be_bytes());
        to.extend_from_slice(&1_i32.to_be_bytes());
    }
    range.into_iter().try_for_each(|item| values.put(item, to))
}

/// A number from text, as SQL and floats write it: `-12.50`, `1e-7`, `NaN`.
fn put_number(value: &str, to: &mut Vec<u8>) -> Result<(), String> {
    let wrong = || format!("`{value}` is no number");
    let trimmed = value.trim();
    let special: Option<u16> = match trimmed.to_ascii_lowercase().as_str() {
        "nan" => Some(0xC000),
        "inf" | "infinity" | "+inf" | "+infinity" => Some(0xD000),
        "-inf" | "-infinity" => Some(0xF000),
        _ => None,
    };
    if let Some(sign) = special {
        for word in [0, 0, sign, 0] {
            to.extend_from_slice(&word.to_be_bytes());
        }
        return Ok(());
    }
    let (mantissa, exponent) = match trimmed.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, exponent.parse::<i32>().map_err(|_| wrong())?),
        None => (trimmed, 0),
    };
    let negative = mantissa.starts_with('-');
    let digits = mantissa.strip_prefix(['-', '+']).unwrap_or(mantissa);
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    let is_number = !(whole.is_empty() && fraction.is_empty())
        && (whole.bytes().chain(fraction.bytes())).all(|b| b.is_ascii_digit());
    if !is_number || exponent.unsigned_abs() > 1_000 {
        return Err(wrong());
    }
    let mut all = format!("{whole}{fraction}");
    let scale = i32::try_from(fraction.len()).map_err(|_| wrong())? - exponent;
    let zeros = usize::try_from(-scale).unwrap_or(0);
    all.extend(std::iter::repeat_n('0', zeros));
    put_decimal(&all, usize::try_from(scale).unwrap_or(0), negative, to);
    Ok(())
}

/// A `numeric` whose digits are `digits`, the last `scale` of them behind the point.
fn put_decimal(digits: &str, scale: usize, negative: bool, to: &mut Vec<u8>) {
    // Groups of four digits on both sides of the point.
    let bytes = digits.as_bytes();
    let whole = bytes.len().saturating_sub(scale);
    let leading = scale.saturating_sub(bytes.len());
    let digit = |position: isize| -> u16 {
        // The position counts from the point: 0 is the first behind it.
        let index = position + whole as isize - leading as isize;
        usize::try_from(index).ok().and_then(|index| bytes.get(index)).map_or(0, |byte| u16::from(byte - b'0'))
    };
    let first = -(whole.div_ceil(4) as isize);
    let last = scale.div_ceil(4) as isize;
    let group = |group: isize| (0..4).fold(0, |value, place| value * 10 + digit(group * 4 + place));
    let mut range = first..last;
    while range.start < range.end && group(range.start) == 0 {
        range.start += 1;
    }
    while range.end > range.start && group(range.end - 1) == 0 {
        range.end -= 1;
    }
    let count = range.len() as u16;
    let weight = if count == 0 { 0 } else { -range.start as i16 - 1 };
    let sign: u16 = if negative && count > 0 { 0x4000 } else { 0 };
    to.extend_from_slice(&count.to_be_bytes());
    to.extend_from_slice(&weight.to_be_bytes());
    to.extend_from_slice(&sign.to_be_bytes());
    to.extend_from_slice(&(scale as u16).to_be_bytes());
    for position in range {
        to.extend_from_slice(&group(position).to_be_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use towpath_operators::database::postgres::numeric_text;

    #[test]
    fn numbers_come_back() {
        let check = |given: &str, expected: &str| {
            let mut bytes = Vec::new();
            put_number(given, &mut bytes).unwrap();
            assert_eq!(numeric_text(&bytes).as_deref(), Some(expected), "{given}");
        };
        for same in [
            "0",
            "1",
            "-1",
            "12345",
            "10000",
            "0.00",
            "0.0001",
            "-0.00012",
            "99999999.99999999",
            "123456789012345678901234567890.5",
        ] {
            check(same, same);
        }
        check("1e3", "1000");
        check("1.5E-7", "0.00000015");
        check("+.5", "0.5");
        check("-0.0", "0.0");
        check("1.7976931348623157e308", &format!("17976931348623157{}", "0".repeat(292)));
        check("inf", "Infinity");
        for wrong in ["", "x", "1,5", "1.2.3", "--1", "e5", "0x10", "."] {
            assert!(put_number(wrong, &mut Vec::new()).is_err(), "{wrong}");
        }
    }
}
