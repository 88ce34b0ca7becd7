//! Dates and times in formats of their own.

use std::sync::Arc;

use chrono::{DateTime, NaiveDate, NaiveDateTime, NaiveTime};
use datafusion::arrow::array::{Array, ArrayRef, AsArray, Int64Array, StringArray, new_null_array};
use datafusion::arrow::compute::cast;
use datafusion::arrow::datatypes::{DataType, TimeUnit};

/// Reads a text by a format, as microseconds.
type Parse = fn(&str, &str) -> Option<i64>;

/// Text as `target`, by the first of `formats` (as strftime writes them) that fits; null where none does.
pub(super) fn parse(texts: &ArrayRef, formats: &[String], target: &DataType) -> ArrayRef {
    let nothing = || new_null_array(target, texts.len());
    let Ok(texts) = cast(texts, &DataType::Utf8) else { return nothing() };
    let texts: &StringArray = texts.as_string();
    let (one, via): (Parse, DataType) = match target {
        DataType::Time64(_) | DataType::Time32(_) => (time, DataType::Time64(TimeUnit::Microsecond)),
        _ => (moment, DataType::Timestamp(TimeUnit::Microsecond, None)),
    };
    let micros: Int64Array =
        texts.iter().map(|text| formats.iter().find_map(|format| one(text?.trim(), format))).collect();
    let micros: ArrayRef = Arc::new(micros);
    let via = match target {
        DataType::Timestamp(_, Some(_)) => DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())),
        _ => via,
    };
    cast(&micros, &via).and_then(|times| cast(&times, target)).unwrap_or_else(|_| nothing())
}

fn moment(text: &str, format: &str) -> Option<i64> {
    if let Ok(time) = DateTime::parse_from_str(text, format) {
        return Some(time.timestamp_micros());
    }
    let time = NaiveDateTime::parse_from_str(text, format)
        .or_else(|_| NaiveDate::parse_from_str(text, format).map(|date| date.and_time(NaiveTime::MIN)));
    time.ok().map(|time| time.and_utc().timestamp_micros())
}

fn time(text: &str, format: &str) -> Option<i64> {
    let time = NaiveTime::parse_from_str(text, format).ok()?;
    Some((time - NaiveTime::MIN).num_microseconds().unwrap_or_default())
}
