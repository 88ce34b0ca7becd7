//! Cuts CSV into pieces that end at the end of a record, so that they can be parsed in parallel.
//!
//! A line break inside of quotes ends no record. A quote opens a field only where the field begins, as
//! parsers have it; elsewhere it is a character like any other.

use std::io::Read;

use crate::error::{Error, Result};

/// About how much one piece has, bytes.
const PIECE_BYTES: usize = 1024 * 1024;
/// A longer record is taken for a quote that is never closed.
const LONGEST_RECORD_BYTES: usize = 256 * 1024 * 1024;

/// How fields are written.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Dialect {
    pub(crate) delimiter: u8,
    pub(crate) quote: u8,
    pub(crate) escape: Option<u8>,
}

/// Whole records.
#[derive(Debug)]
pub(crate) struct Piece {
    pub(crate) bytes: Vec<u8>,
    /// The line that the first one begins in, from 1.
    pub(crate) first_line: u64,
}

/// Reads pieces one after the other.
pub(crate) struct Pieces<R> {
    reader: R,
    dialect: Dialect,
    /// What follows the last whole record.
    rest: Vec<u8>,
    line: u64,
    ended: bool,
}

impl<R: Read> Pieces<R> {
    pub(crate) fn new(reader: R, dialect: Dialect) -> Self {
        Self { reader, dialect, rest: Vec::new(), line: 1, ended: false }
    }

    /// The next piece; of `least` bytes at least unless the file ends.
    pub(crate) fn next_piece(&mut self) -> Result<Option<Piece>> {
        let mut bytes = std::mem::take(&mut self.rest);
        let mut scan = Scan::default();
        loop {
            if !self.ended {
                let from = bytes.len();
                bytes.reserve(PIECE_BYTES);
                let read = self.reader.by_ref().take(PIECE_BYTES as u64).read_to_end(&mut bytes);
                let line = || format!("line {}", self.line);
                read.map_err(|error| match crate::remote::carried(&error) {
                    Some(error) => error,
                    None => broken(&error)
                        .map_or_else(|| Error::passing(format!("{}: {error}", line())), |error| error.within(&line())),
                })?;
                self.ended = bytes.len() - from < PIECE_BYTES;
            }
            if self.ended {
                if bytes.is_empty() {
                    return Ok(None);
                }
                return Ok(Some(self.piece(bytes)));
            }
            scan.run(&bytes, self.dialect);
            if let Some(end) = scan.last_end {
                self.rest = bytes.split_off(end);
                return Ok(Some(self.piece(bytes)));
            }
            if bytes.len() > LONGEST_RECORD_BYTES {
                return Err(Error::lasting(format!(
                    "line {}: this record has more than {} MB; a quote may be open, or `quote` or `delimiter` wrong",
                    self.line,
                    LONGEST_RECORD_BYTES / 1024 / 1024
                )));
            }
        }
    }

    fn piece(&mut self, bytes: Vec<u8>) -> Piece {
        let first_line = self.line;
        self.line += memchr::memchr_iter(b'\n', &bytes).count() as u64;
        Piece { bytes, first_line }
    }
}

/// A file that is not whole: the error that it came with, or one that says that it cannot be unpacked.
pub(crate) fn broken(error: &std::io::Error) -> Option<Error> {
    use std::io::ErrorKind;
    crate::remote::carried(error).or_else(|| {
        let cannot = matches!(error.kind(), ErrorKind::UnexpectedEof | ErrorKind::InvalidInput | ErrorKind::InvalidData);
        cannot.then(|| {
            Error::passing(format!(
                "it cannot be unpacked: {error}; it is damaged, ends too early or is not packed as its name says (`compression`)"
            ))
        })
    })
}

/// Where records end.
#[derive(Debug, Default)]
struct Scan {
    at: usize,
    quoted: bool,
    /// Just behind the last line break outside of quotes.
    last_end: Option<usize>,
}

impl Scan {
    /// Goes on to the end of `bytes`, which may have grown. The last byte is left for the next time: what it means
    /// may depend on the one behind it.
    fn run(&mut self, bytes: &[u8], dialect: Dialect) {
        let Dialect { delimiter, quote, escape } = dialect;
        while self.at + 1 < bytes.len() {
            let rest = &bytes[self.at..bytes.len() - 1];
            if self.quoted {
                let found = match escape {
                    Some(escape) => memchr::memchr2(quote, escape, rest),
                    None => memchr::memchr(quote, rest),
                };
                let Some(found) = found else {
                    self.at = bytes.len() - 1;
                    return;
                };
                let here = self.at + found;
                let is_escape = escape.is_some_and(|escape| bytes[here] == escape && escape != quote);
                if is_escape || bytes[here + 1] == quote {
                    self.at = here + 2;
                } else {
                    self.quoted = false;
                    self.at = here + 1;
                }
                continue;
            }
            let found = memchr::memchr(quote, rest);
            let end = self.at + found.unwrap_or(rest.len());
            if let Some(line) = memchr::memrchr(b'\n', &bytes[self.at..end]) {
                self.last_end = Some(self.at + line + 1);
            }
            self.at = end;
            if found.is_some() {
                let before = end.checked_sub(1).map(|at| bytes[at]);
                self.quoted = before.is_none_or(|byte| byte == delimiter || byte == b'\n' || byte == b'\r');
                self.at += 1;
            }
        }
    }
}

/// The line in which record `index` of a piece begins; empty lines are no records.
pub(crate) fn line_of(piece: &[u8], first_line: u64, index: usize, dialect: Dialect) -> u64 {
    let (mut at, mut line, mut record) = (0, first_line, 0);
    while at < piece.len() {
        if piece[at] == b'\n' || piece[at] == b'\r' {
            line += u64::from(piece[at] == b'\n');
            at += 1;
            continue;
        }
        if record == index {
            return line;
        }
        let end = end_of_record(&piece[at..], dialect);
        line += memchr::memchr_iter(b'\n', &piece[at..at + end]).count() as u64;
        at += end;
        record += 1;
    }
    line
}

/// The length of the first record, with its line break.
pub(crate) fn end_of_record(bytes: &[u8], dialect: Dialect) -> usize {
    let (mut quoted, mut at) = (false, 0);
    while at < bytes.len() {
        let byte = bytes[at];
        if quoted {
            if dialect.escape == Some(byte) && byte != dialect.quote {
                at += 1;
            } else if byte == dialect.quote {
                if bytes.get(at + 1) == Some(&dialect.quote) {
                    at += 1;
                } else {
                    quoted = false;
                }
            }
        } else if byte == b'\n' {
            return at + 1;
        } else if byte == dialect.quote {
            quoted = at == 0 || bytes[at - 1] == dialect.delimiter;
        }
        at += 1;
    }
    bytes.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    const DIALECT: Dialect = Dialect { delimiter: b',', quote: b'"', escape: None };

    #[test]
    fn a_piece_ends_with_a_record() {
        // Text that is larger than a piece, with line breaks and doubled quotes inside of quotes.
        let record = format!("1,\"a\n\"\"b\"\",\n{}\",x\"y\n", "z".repeat(1_000));
        let text = record.repeat(3_000);
        let mut pieces = Pieces::new(text.as_bytes(), DIALECT);
        let (mut whole, mut count) = (Vec::new(), 0);
        while let Some(piece) = pieces.next_piece().unwrap() {
            assert_eq!(piece.bytes.len() % record.len(), 0, "cut inside of a record");
            assert_eq!(piece.first_line, (whole.len() / record.len()) as u64 * 3 + 1);
            whole.extend(piece.bytes);
            count += 1;
        }
        assert!(count > 2, "{count}");
        assert_eq!(whole, text.as_bytes());
    }

    #[test]
    fn lines_of_records_are_found() {
        let text = b"a,b\n\n1,\"x\ny\"\r\n2,z\n";
        assert_eq!([0, 1, 2].map(|index| line_of(text, 10, index, DIALECT)), [10, 12, 14]);
    }
}
