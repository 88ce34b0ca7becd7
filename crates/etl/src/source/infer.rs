//! Which type the texts of a column are.

use std::sync::LazyLock;

use datafusion::arrow::array::{Array, StringArray};
use datafusion::arrow::datatypes::{DataType, TimeUnit};

/// A type that text may stand for, and how to tell.
type Candidate = (fn() -> DataType, fn(&str) -> bool);

/// From narrow to wide. Text that fits none of them stays text.
static CANDIDATES: LazyLock<Vec<Candidate>> = LazyLock::new(|| {
    vec![
        (|| DataType::Int64, is_integer),
        (|| DataType::Float64, is_number),
        (|| DataType::Boolean, is_bool),
        (|| DataType::Date32, is_date),
        (|| DataType::Timestamp(TimeUnit::Microsecond, None), |text| is_timestamp(text, false)),
        (|| DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())), |text| is_timestamp(text, true)),
    ]
});

/// The narrowest type that all of the first `most` values have; text where all are null.
pub(crate) fn infer(values: &StringArray, most: usize) -> DataType {
    let values = values.slice(0, values.len().min(most));
    if values.null_count() == values.len() {
        return DataType::Utf8;
    }
    let fits = |is: fn(&str) -> bool| values.iter().flatten().all(is);
    CANDIDATES.iter().find(|(_, is)| fits(*is)).map_or(DataType::Utf8, |(kind, _)| kind())
}

/// A whole number. With zeros in front it is a code, such as a postal one, and would lose them.
fn is_integer(text: &str) -> bool {
    let digits = text.strip_prefix('-').unwrap_or(text);
    digits.bytes().all(|b| b.is_ascii_digit())
        && (digits.len() == 1 || !digits.starts_with('0'))
        && text.parse::<i64>().is_ok()
}

fn is_number(text: &str) -> bool {
    let digits = text.strip_prefix(['-', '+']).unwrap_or(text);
    let leading_zero = digits.starts_with('0') && digits[1..].starts_with(|c: char| c.is_ascii_digit());
    // More digits than a float has would be rounded in silence.
    let long = digits.bytes().all(|b| b.is_ascii_digit()) && digits.len() > 15;
    let words = digits.starts_with(|c: char| c.is_alphabetic()) && !digits.eq_ignore_ascii_case("nan");
    !leading_zero && !long && !words && text.parse::<f64>().is_ok()
}

fn is_bool(text: &str) -> bool {
    text.eq_ignore_ascii_case("true") || text.eq_ignore_ascii_case("false")
}

fn is_date(text: &str) -> bool {
    let bytes = text.as_bytes();
    bytes.len() == 10
        && bytes.iter().enumerate().all(|(at, b)| if at == 4 || at == 7 { *b == b'-' } else { b.is_ascii_digit() })
        && (1..=12).contains(&text[5..7].parse().unwrap_or(0))
        && (1..=31).contains(&text[8..].parse().unwrap_or(0))
}

/// ISO 8601 with a time; with `zone` also with an offset.
fn is_timestamp(text: &str, zone: bool) -> bool {
    let Some((date, time)) = text.split_at_checked(10) else { return false };
    if !is_date(date) || !time.starts_with(['T', ' ']) || time.len() < 9 {
        return false;
    }
    let (clock, rest) = time[1..].split_at_checked(8).unwrap_or((&time[1..], ""));
    let is_clock =
        clock.bytes().enumerate().all(|(at, b)| if at == 2 || at == 5 { b == b':' } else { b.is_ascii_digit() });
    let fraction = rest.strip_prefix('.').map_or(rest, |rest| rest.trim_start_matches(|c: char| c.is_ascii_digit()));
    is_clock
        && if zone {
            fraction.is_empty() || fraction == "Z" || fraction.starts_with(['+', '-'])
        } else {
            fraction.is_empty()
        }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_are_told_from_text() {
        for (texts, expected) in [
            (&["1", "-2", "0"][..], "int64"),
            (&["1", "2.5", "-1e3"], "float64"),
            (&["1", ".5"], "float64"),
            (&["01", "2"], "string"),
            (&["12345678901234567890"], "string"),
            (&["true", "FALSE"], "bool"),
            (&["1", "true"], "string"),
            (&["2013-01-31"], "date"),
            (&["2013-13-31"], "string"),
            (&["2013-01-01T10:00:00", "2013-01-01 10:00:00.5"], "timestamp"),
            (&["2013-01-01T10:00:00Z", "2013-01-01T10:00:00+02:00"], "timestamptz"),
            (&["inf"], "string"),
            (&["ä"], "string"),
            (&["2013-01-ä"], "string"),
        ] {
            let values = StringArray::from(texts.to_vec());
            assert_eq!(crate::types::name(&infer(&values, 100)), expected, "{texts:?}");
        }
        let nothing = StringArray::from(vec![None::<&str>]);
        assert_eq!(infer(&nothing, 100), DataType::Utf8);
    }
}
