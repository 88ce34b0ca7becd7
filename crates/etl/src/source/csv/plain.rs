//! Pieces of CSV without quotes: fields are cut out where they stand, and only those that are wanted become columns.
//!
//! Not for: quotes, escapes, carriage returns, lines that are empty or have another number of fields. A piece with
//! any of these goes through the parser, which knows all of them and says what is wrong.

use std::ops::Range;
use std::sync::Arc;

use datafusion::arrow::array::{Array, ArrayRef, StringBuilder};

use super::super::records::Dialect;
use super::{Column, misfit_row, typed};
use crate::parse;

/// A piece whose fields are known.
pub(super) struct Plain<'a> {
    text: &'a str,
    columns: usize,
    /// Where each field ends, row by row; the next one begins one byte behind.
    ends: Vec<u32>,
}

impl<'a> Plain<'a> {
    /// The fields of `bytes`; nothing where the parser has to look.
    pub(super) fn cut(bytes: &'a [u8], columns: usize, dialect: Dialect) -> Option<Self> {
        let has = |byte| memchr::memchr(byte, bytes).is_some();
        if u32::try_from(bytes.len()).is_err() || has(dialect.quote) || has(b'\r') || dialect.escape.is_some_and(has) {
            return None;
        }
        let text = std::str::from_utf8(bytes).ok()?;
        let mut ends = Vec::with_capacity(bytes.len() / 6);
        let (mut column, mut line) = (0, 0);
        for at in memchr::memchr2_iter(dialect.delimiter, b'\n', bytes) {
            ends.push(at as u32);
            column += 1;
            if bytes[at] == b'\n' {
                if column != columns || at == line {
                    return None;
                }
                (column, line) = (0, at + 1);
            }
        }
        if line < bytes.len() {
            ends.push(bytes.len() as u32);
            if column + 1 != columns {
                return None;
            }
        }
        Some(Self { text, columns, ends })
    }

    pub(super) fn rows(&self) -> usize {
        self.ends.len() / self.columns
    }

    /// The values of the column at `index` of the file in its type; where one does not fit, its row in the range and the value.
    pub(super) fn column(
        &self,
        index: usize,
        rows: Range<usize>,
        null_values: &[String],
        column: &Column,
    ) -> Result<ArrayRef, (usize, String)> {
        let is_null = |text: &str| text.is_empty() || null_values.iter().any(|null| null == text);
        let texts: Vec<Option<&str>> = rows
            .map(|row| {
                let field = row * self.columns + index;
                let start = field.checked_sub(1).map_or(0, |before| self.ends[before] as usize + 1);
                let text = &self.text[start..self.ends[field] as usize];
                (!is_null(text)).then_some(text)
            })
            .collect();
        let Some(values) = parse::parse(&texts, &column.kind) else {
            let bytes = texts.iter().flatten().map(|text| text.len()).sum();
            let mut builder = StringBuilder::with_capacity(texts.len(), bytes);
            texts.iter().for_each(|text| builder.append_option(*text));
            let array: ArrayRef = Arc::new(builder.finish());
            return typed(&array, column);
        };
        let nulls = texts.iter().filter(|text| text.is_none()).count();
        if values.null_count() == nulls {
            return Ok(values);
        }
        let row = misfit_row(texts.len(), |row| texts[row].is_some(), &values);
        Err((row, texts[row].unwrap_or_default().to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use datafusion::arrow::array::AsArray;
    use datafusion::arrow::datatypes::DataType;

    use super::*;

    const DIALECT: Dialect = Dialect { delimiter: b',', quote: b'"', escape: None };

    fn check(text: &str, columns: usize, expected: Option<&[&str]>) {
        let found = Plain::cut(text.as_bytes(), columns, DIALECT).map(|plain| {
            let last = Column { name: "x".to_owned(), kind: DataType::Utf8, inferred: false, of_folder: false };
            let values = plain.column(columns - 1, 0..plain.rows(), &["n/a".to_owned()], &last).unwrap();
            values.as_string::<i32>().iter().map(|text| text.unwrap_or("NULL").to_owned()).collect::<Vec<_>>()
        });
        let expected = expected.map(|texts| texts.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>());
        assert_eq!(found, expected, "{text:?}");
    }

    #[test]
    fn only_what_is_plain_is_cut() {
        check("1,a\n2,ü\n", 2, Some(&["a", "ü"]));
        check("1,\n2,n/a\n3,x", 2, Some(&["NULL", "NULL", "x"]));
        check("a\nb", 1, Some(&["a", "b"]));
        check("", 2, Some(&[]));
        for text in ["1,a\n\n2,b\n", "1,\"a\"\n", "1,a\r\n", "1\n", "1,a,b\n", "1,a\n2"] {
            check(text, 2, None);
        }
        check("a\n\nb\n", 1, None);
        assert!(Plain::cut(b"1,\xff\n", 2, DIALECT).is_none());
    }
}
