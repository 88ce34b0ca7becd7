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
        separators(bytes, dialect.delimiter, &mut ends);
        let mut rows = memchr::memchr_iter(b'\n', bytes).count();
        if bytes.last().is_some_and(|last| *last != b'\n') {
            ends.push(bytes.len() as u32);
            rows += 1;
        }
        // As many separators as rows have, and a line break, or the end, where each row ends: so every other one is a delimiter.
        if ends.len() != rows * columns {
            return None;
        }
        let ends_row = |end: &u32| bytes.get(*end as usize).is_none_or(|byte| *byte == b'\n');
        if !ends.iter().skip(columns - 1).step_by(columns).all(ends_row) {
            return None;
        }
        // A line without anything is no record, and looks like one where there is but one column.
        if columns == 1 && (bytes.first() == Some(&b'\n') || ends.windows(2).any(|pair| pair[0] + 1 == pair[1])) {
            return None;
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
            // No more memory than the values need: whoever holds them counts it.
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

/// Where delimiters and line breaks stand. They come every few bytes, so 64 bytes at a time become a word with a bit for each,
/// without a branch, instead of a search for the next one.
fn separators(bytes: &[u8], delimiter: u8, ends: &mut Vec<u32>) {
    let (delimiters, breaks) = (u64::from_ne_bytes([delimiter; 8]), u64::from_ne_bytes([b'\n'; 8]));
    let mut add = |from: usize, found: u64| {
        let mut left = found;
        while left != 0 {
            ends.push((from + left.trailing_zeros() as usize) as u32);
            left &= left - 1;
        }
    };
    let mut blocks = bytes.chunks_exact(64);
    let mut from = 0;
    for block in blocks.by_ref() {
        let mut found = 0;
        for (at, eight) in block.chunks_exact(8).enumerate() {
            let eight = u64::from_le_bytes(eight.try_into().expect("eight bytes"));
            found |= packed(zero_bytes(eight ^ delimiters) | zero_bytes(eight ^ breaks)) << (at * 8);
        }
        add(from, found);
        from += 64;
    }
    for (at, byte) in blocks.remainder().iter().enumerate() {
        add(from + at, u64::from(*byte == delimiter || *byte == b'\n'));
    }
}

/// The highest bit of each byte that is zero, and no other.
fn zero_bytes(word: u64) -> u64 {
    const LOW: u64 = u64::from_ne_bytes([0x7f; 8]);
    !(((word & LOW) + LOW) | word | LOW)
}

/// The highest bits of eight bytes as eight bits.
fn packed(word: u64) -> u64 {
    (word >> 7).wrapping_mul(0x0102_0408_1020_4080) >> 56
}

#[cfg(test)]
mod tests {
    use datafusion::arrow::array::AsArray;
    use datafusion::arrow::datatypes::DataType;
    use proptest::prelude::*;

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
        for text in ["a\n\nb\n", "\na\n", "a\n\n", "\n"] {
            check(text, 1, None);
        }
        // As many separators as two rows have, in other places.
        check("1,a,b\n2\n", 2, None);
        assert!(Plain::cut(b"1,\xff\n", 2, DIALECT).is_none());
    }

    proptest! {
        #[test]
        fn separators_are_those_of_a_search(text in "[,\n+\\-.a\u{ac}\u{8a}]{0,300}", delimiter in prop::sample::select(&b",;\t|\x01"[..])) {
            let mut found = Vec::new();
            separators(text.as_bytes(), delimiter, &mut found);
            let expected: Vec<u32> = memchr::memchr2_iter(delimiter, b'\n', text.as_bytes()).map(|at| at as u32).collect();
            prop_assert_eq!(found, expected);
        }
    }
}
