//! Text as numbers and times, by short ways for the forms that nearly all values have.
//!
//! What is written in another form goes the way of Arrow's own cast, so that both take the same texts for the same values.

use std::sync::Arc;

use datafusion::arrow::array::{ArrayRef, PrimitiveArray, PrimitiveBuilder};
use datafusion::arrow::compute::kernels::cast_utils::{Parser, string_to_datetime};
use datafusion::arrow::datatypes::{
    ArrowPrimitiveType, DataType, Date32Type, Float64Type, Int64Type, TimeUnit, TimestampMicrosecondType,
};

/// Digits that a 64-bit integer holds whatever they are.
const MOST_DIGITS: usize = 18;
/// Digits that a float holds exactly whatever they are.
const EXACT_DIGITS: usize = 15;
/// Powers of ten that are floats exactly; a quotient of two exact floats is rounded once, and so correctly.
const POWERS: [f64; EXACT_DIGITS + 1] =
    [1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15];

/// The values of texts, null where one does not fit; nothing where there is no short way to this type.
pub(crate) fn parse(texts: &[Option<&str>], kind: &DataType) -> Option<ArrayRef> {
    Some(match kind {
        DataType::Int64 => Arc::new(each::<Int64Type>(texts, integer)),
        DataType::Float64 => Arc::new(each::<Float64Type>(texts, float)),
        DataType::Date32 => Arc::new(each::<Date32Type>(texts, date)),
        DataType::Timestamp(TimeUnit::Microsecond, None) => {
            Arc::new(each::<TimestampMicrosecondType>(texts, timestamp))
        }
        _ => return None,
    })
}

fn each<T: ArrowPrimitiveType>(texts: &[Option<&str>], parse: fn(&str) -> Option<T::Native>) -> PrimitiveArray<T> {
    let mut values = PrimitiveBuilder::<T>::with_capacity(texts.len());
    for text in texts {
        values.append_option(text.and_then(parse));
    }
    values.finish()
}

fn integer(text: &str) -> Option<i64> {
    let bytes = text.as_bytes();
    let (is_negative, digits) = match bytes {
        [b'-', rest @ ..] => (true, rest),
        _ => (false, bytes),
    };
    if digits.len() > MOST_DIGITS {
        return Int64Type::parse(text);
    }
    match number(digits) {
        Some(number) => Some(if is_negative { -number } else { number }),
        None => Int64Type::parse(text),
    }
}

/// Nothing but digits, and at least one.
fn number(digits: &[u8]) -> Option<i64> {
    if digits.is_empty() {
        return None;
    }
    let mut number = 0;
    for byte in digits {
        let digit = byte.wrapping_sub(b'0');
        if digit > 9 {
            return None;
        }
        number = number * 10 + i64::from(digit);
    }
    Some(number)
}

fn float(text: &str) -> Option<f64> {
    plain_float(text.as_bytes()).or_else(|| Float64Type::parse(text))
}

/// Digits, maybe with a point between them.
fn plain_float(bytes: &[u8]) -> Option<f64> {
    let (is_negative, digits) = match bytes {
        [b'-', rest @ ..] => (true, rest),
        _ => (false, bytes),
    };
    if digits.len() > EXACT_DIGITS {
        return None;
    }
    let (mut mantissa, mut decimals, mut point) = (0_i64, 0, false);
    for byte in digits {
        let digit = byte.wrapping_sub(b'0');
        if digit <= 9 {
            mantissa = mantissa * 10 + i64::from(digit);
            decimals += usize::from(point);
        } else if *byte == b'.' && !point {
            point = true;
        } else {
            return None;
        }
    }
    // A point at an end is rare enough to be somebody else's.
    if digits.is_empty() || point && (decimals == 0 || digits[0] == b'.') {
        return None;
    }
    let value = mantissa as f64 / POWERS[decimals];
    Some(if is_negative { -value } else { value })
}

fn date(text: &str) -> Option<i32> {
    let bytes: Option<&[u8; 10]> = text.as_bytes().try_into().ok();
    match bytes.and_then(days) {
        Some(days) => i32::try_from(days).ok(),
        None => Date32Type::parse(text),
    }
}

fn timestamp(text: &str) -> Option<i64> {
    plain_timestamp(text.as_bytes()).or_else(|| {
        let time = string_to_datetime(&chrono::Utc, text).ok()?;
        Some(time.timestamp_micros())
    })
}

/// `2013-01-31T23:59:59`.
fn plain_timestamp(bytes: &[u8]) -> Option<i64> {
    let bytes: &[u8; 19] = bytes.try_into().ok()?;
    if !matches!(bytes[10], b'T' | b' ') || bytes[13] != b':' || bytes[16] != b':' {
        return None;
    }
    let days = days(bytes[..10].try_into().expect("ten bytes"))?;
    let (hour, minute, second) = (two(bytes, 11)?, two(bytes, 14)?, two(bytes, 17)?);
    if hour > 23 || minute > 59 || second > 59 {
        return None;
    }
    Some((days * 86_400 + hour * 3_600 + minute * 60 + second) * 1_000_000)
}

fn two(bytes: &[u8], at: usize) -> Option<i64> {
    number(&bytes[at..at + 2])
}

/// Days since 1970 of `2013-01-31`.
fn days(bytes: &[u8; 10]) -> Option<i64> {
    if bytes[4] != b'-' || bytes[7] != b'-' {
        return None;
    }
    let (year, month, day) = (number(&bytes[..4])?, two(bytes, 5)?, two(bytes, 8)?);
    let is_leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let most = match month {
        1 | 3 | 5 | 7 | 8 | 10 | 12 => 31,
        4 | 6 | 9 | 11 => 30,
        2 => 28 + i64::from(is_leap),
        _ => return None,
    };
    if day < 1 || day > most || year < 1 {
        return None;
    }
    // Years that begin in March have the leap day at their end, so that months before it have fixed lengths.
    let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let before = year * 365 + year / 4 - year / 100 + year / 400;
    Some(before + (month * 153 + 2) / 5 + day - 1 - 719_468)
}

#[cfg(test)]
mod tests {
    use datafusion::arrow::array::StringArray;
    use datafusion::arrow::compute::{CastOptions, cast_with_options};
    use proptest::prelude::*;

    use super::*;

    /// What Arrow makes of the same texts.
    fn check(texts: &[&str]) {
        let given: Vec<Option<&str>> = texts.iter().copied().map(Some).chain([None]).collect();
        let array: ArrayRef = Arc::new(StringArray::from(given.clone()));
        let options = CastOptions { safe: true, ..CastOptions::default() };
        let time = DataType::Timestamp(TimeUnit::Microsecond, None);
        for kind in [DataType::Int64, DataType::Float64, DataType::Date32, time] {
            let expected = cast_with_options(&array, &kind, &options).unwrap();
            let found = parse(&given, &kind).unwrap();
            for (row, text) in given.iter().enumerate() {
                assert_eq!(found.slice(row, 1).to_data(), expected.slice(row, 1).to_data(), "{text:?} as {kind}");
            }
        }
    }

    #[test]
    fn texts_are_what_they_are_to_arrow() {
        check(&[
            "0",
            "-0",
            "+7",
            " 7",
            "7 ",
            "-",
            "",
            "007",
            "999999999999999999",
            "9223372036854775807",
            "9223372036854775808",
        ]);
        check(&[
            "1.5",
            "-1.50",
            ".5",
            "5.",
            "-.5",
            ".",
            "1e3",
            "1E-3",
            "nan",
            "inf",
            "1.2.3",
            "123456789012345",
            "1234567890123456.7",
        ]);
        check(&["0.1", "4990.56", "0.000001", "-0.0", "1,5", "1_000", "0x10", "ü", "１"]);
        check(&[
            "2013-01-31",
            "2013-02-29",
            "2012-02-29",
            "1900-02-29",
            "2000-02-29",
            "1970-01-01",
            "0000-01-01",
            "0001-01-01",
        ]);
        check(&[
            "2013-1-31",
            "20130131",
            "2013-13-01",
            "2013-00-10",
            "2013-01-00",
            "2013/01/31",
            "1969-12-31",
            "9999-12-31",
        ]);
        check(&[
            "2013-01-31T23:59:59",
            "2013-01-31 00:00:00",
            "2013-01-31t10:00:00",
            "2013-01-31T24:00:00",
            "2013-01-31T10:00:60",
        ]);
        check(&[
            "2013-01-31T10:00:00Z",
            "2013-01-31T10:00:00.5",
            "2013-01-31T10:00:00+02:00",
            "2013-01-31T10:00",
            "2013-01-31T1o:00:00",
        ]);
    }

    proptest! {
        #[test]
        fn any_text_is_what_it_is_to_arrow(text in "[-+0-9.:T eZ]{0,20}", year in 0..10_000, month in 0..14, day in 0..33, price in -1e9..1e9_f64) {
            check(&[&text, &format!("{year:04}-{month:02}-{day:02}"), &format!("{year:04}-{month:02}-{day:02}T10:11:12"), &format!("{price:.2}"), &price.to_string()]);
        }
    }
}
