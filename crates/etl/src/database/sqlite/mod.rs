//! SQLite, on a thread that may block.

mod read;
mod write;

pub(super) use read::read;
pub(super) use write::write;

use datafusion::arrow::datatypes::{DataType, TimeUnit};

/// What a declared type of a column says of its values; `None` where only they say it. The order of the rules is SQLite's for
/// affinities, with the names that people use for times before it.
fn data_type(declared: &str) -> Option<DataType> {
    let declared = declared.to_ascii_uppercase();
    let (name, digits) = declared.split_once('(').map_or((declared.as_str(), None), |(name, rest)| (name, Some(rest)));
    let has = |parts: &[&str]| parts.iter().any(|part| name.contains(part));
    if has(&["BOOL"]) {
        Some(DataType::Boolean)
    } else if has(&["TIMESTAMP WITH TIME", "TIMESTAMPTZ"]) {
        Some(DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())))
    } else if has(&["DATETIME", "TIMESTAMP"]) {
        Some(DataType::Timestamp(TimeUnit::Microsecond, None))
    } else if name.trim() == "DATE" {
        Some(DataType::Date32)
    } else if name.trim() == "TIME" {
        Some(DataType::Time64(TimeUnit::Microsecond))
    } else if has(&["INT"]) {
        Some(DataType::Int64)
    } else if has(&["CHAR", "CLOB", "TEXT", "JSON", "UUID"]) {
        Some(DataType::Utf8)
    } else if has(&["BLOB"]) {
        Some(DataType::Binary)
    } else if has(&["REAL", "FLOA", "DOUB"]) {
        Some(DataType::Float64)
    } else if has(&["DEC", "NUMERIC"]) {
        let (precision, scale) = digits?.trim_end_matches(')').split_once(',')?;
        let (precision, scale): (u8, i8) = (precision.trim().parse().ok()?, scale.trim().parse().ok()?);
        ((1..=38).contains(&precision) && (0..=precision.cast_signed()).contains(&scale))
            .then_some(DataType::Decimal128(precision, scale))
    } else {
        None
    }
}
