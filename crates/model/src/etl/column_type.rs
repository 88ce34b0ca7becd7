//! The types of columns, in the words of SQL and Arrow.

use std::fmt;
use std::str::FromStr;

use serde::de::{self, Deserialize, Deserializer};
use serde::{Serialize, Serializer};

/// The type of a column.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ColumnType {
    Bool,
    Int8,
    Int16,
    Int32,
    Int64,
    UInt8,
    UInt16,
    UInt32,
    UInt64,
    Float32,
    Float64,
    String,
    Binary,
    Date,
    Time,
    /// Microseconds, without a time zone.
    Timestamp,
    /// Microseconds in UTC.
    TimestampTz,
    Decimal {
        precision: u8,
        scale: i8,
    },
    List(Box<Self>),
    Struct(Vec<(String, Self)>),
}

/// Every simple type by the names that it goes under; the first is the one that it is printed with.
const NAMES: &[(ColumnType, &[&str])] = &[
    (ColumnType::Bool, &["bool", "boolean"]),
    (ColumnType::Int8, &["int8", "tinyint"]),
    (ColumnType::Int16, &["int16", "smallint"]),
    (ColumnType::Int32, &["int32", "int", "integer"]),
    (ColumnType::Int64, &["int64", "bigint"]),
    (ColumnType::UInt8, &["uint8"]),
    (ColumnType::UInt16, &["uint16"]),
    (ColumnType::UInt32, &["uint32"]),
    (ColumnType::UInt64, &["uint64"]),
    (ColumnType::Float32, &["float32", "real", "float"]),
    (ColumnType::Float64, &["float64", "double", "double precision"]),
    (ColumnType::String, &["string", "text", "utf8", "varchar", "str"]),
    (ColumnType::Binary, &["binary", "bytes", "bytea", "blob"]),
    (ColumnType::Date, &["date", "date32"]),
    (ColumnType::Time, &["time"]),
    (ColumnType::Timestamp, &["timestamp", "datetime"]),
    (ColumnType::TimestampTz, &["timestamptz", "timestamp with time zone"]),
];

impl ColumnType {
    /// The names that files may use, for messages.
    pub fn names() -> impl Iterator<Item = &'static str> {
        NAMES.iter().flat_map(|(_, names)| names.iter().copied()).chain(["decimal(10, 2)", "list<int64>"])
    }
}

impl FromStr for ColumnType {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let text = text.trim();
        let lower = text.to_ascii_lowercase();
        if let Some((found, _)) = NAMES.iter().find(|(_, names)| names.contains(&lower.as_str())) {
            return Ok(found.clone());
        }
        let unknown = || {
            format!(
                "there is no type `{text}`; types are {}, decimal(10, 2), list<int64>, struct<a: int64, b: string>",
                NAMES.iter().map(|(_, names)| names[0]).collect::<Vec<_>>().join(", ")
            )
        };
        let inner = |open: &str, close: char| {
            let body = lower.strip_prefix(open)?;
            body.ends_with(close).then(|| text[open.len()..text.len() - 1].trim())
        };
        if let Some(numbers) = inner("decimal(", ')').or_else(|| inner("numeric(", ')')) {
            let (precision, scale) = numbers.split_once(',').unwrap_or((numbers, "0"));
            let precision = precision.trim().parse::<u8>().ok().filter(|p| (1..=38).contains(p));
            let scale = scale.trim().parse::<i8>().ok().filter(|s| *s >= 0);
            return match (precision, scale) {
                (Some(precision), Some(scale)) if scale as u8 <= precision => Ok(Self::Decimal { precision, scale }),
                _ => Err(format!("`{text}` needs a precision of 1 to 38 and a scale that is no larger")),
            };
        }
        if let Some(item) = inner("list<", '>') {
            return Ok(Self::List(Box::new(item.parse()?)));
        }
        if let Some(fields) = inner("struct<", '>') {
            let fields = split_top(fields).into_iter().map(|field| {
                let (name, kind) = field.split_once(':').ok_or_else(unknown)?;
                Ok((name.trim().to_owned(), kind.parse()?))
            });
            return fields.collect::<Result<_, String>>().map(Self::Struct);
        }
        Err(unknown())
    }
}

/// Splits at the commas that stand in no brackets.
fn split_top(text: &str) -> Vec<&str> {
    let (mut parts, mut depth, mut from) = (Vec::new(), 0_i32, 0);
    for (at, c) in text.char_indices() {
        match c {
            '<' | '(' => depth += 1,
            '>' | ')' => depth -= 1,
            ',' if depth == 0 => {
                parts.push(&text[from..at]);
                from = at + 1;
            }
            _ => {}
        }
    }
    parts.push(&text[from..]);
    parts
}

impl fmt::Display for ColumnType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Decimal { precision, scale } => write!(f, "decimal({precision}, {scale})"),
            Self::List(item) => write!(f, "list<{item}>"),
            Self::Struct(fields) => {
                let fields: Vec<String> = fields.iter().map(|(name, kind)| format!("{name}: {kind}")).collect();
                write!(f, "struct<{}>", fields.join(", "))
            }
            simple => {
                let found = NAMES.iter().find(|(kind, _)| kind == simple);
                f.write_str(found.map_or("unknown", |(_, names)| names[0]))
            }
        }
    }
}

impl Serialize for ColumnType {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for ColumnType {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_are_read_and_printed() {
        for (text, expected) in [
            ("int64", "int64"),
            ("BIGINT", "int64"),
            (" text ", "string"),
            ("datetime", "timestamp"),
            ("Decimal(10, 2)", "decimal(10, 2)"),
            ("numeric(5)", "decimal(5, 0)"),
            ("list<list<int>>", "list<list<int32>>"),
            (
                "struct<a: int64, b: list<text>, Größe: decimal(4,1)>",
                "struct<a: int64, b: list<string>, Größe: decimal(4, 1)>",
            ),
        ] {
            assert_eq!(text.parse::<ColumnType>().map(|t| t.to_string()), Ok(expected.to_owned()), "{text}");
        }
    }

    #[test]
    fn what_is_no_type_is_told() {
        assert!("int46".parse::<ColumnType>().unwrap_err().starts_with("there is no type `int46`; types are bool"));
        assert!("decimal(40, 2)".parse::<ColumnType>().unwrap_err().contains("1 to 38"));
        assert!("list<>".parse::<ColumnType>().is_err());
        assert!("struct<a>".parse::<ColumnType>().is_err());
    }
}
