//! Where the bytes of a file go: to the disk, packed on the way where that is wanted.

use std::fs::File;
use std::io::{BufWriter, Result, Write};

use bzip2::write::BzEncoder;
use flate2::write::GzEncoder;

/// Bytes that wait to be written.
const BUFFER_BYTES: usize = 256 * 1024;
/// Level of zstd and gzip: text shrinks well at low ones, and the pack is what takes the time.
const ZSTD_LEVEL: i32 = 3;
const GZIP_LEVEL: u32 = 6;

/// How a file of text is packed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Packing {
    None,
    Gzip,
    Zstd,
    Bzip2,
}

/// How names tell it.
const NAMES: &[(&str, Packing)] = &[
    (".gz", Packing::Gzip),
    (".gzip", Packing::Gzip),
    (".zst", Packing::Zstd),
    (".zstd", Packing::Zstd),
    (".bz2", Packing::Bzip2),
];

impl Packing {
    /// As a target says, or its name.
    pub(super) fn of(given: Option<&str>, path: &str) -> Self {
        match given {
            Some("gzip") => Self::Gzip,
            Some("zstd") => Self::Zstd,
            Some("bzip2") => Self::Bzip2,
            Some(_) => Self::None,
            None => Self::of_name(path).map_or(Self::None, |(_, packing)| packing),
        }
    }

    fn of_name(path: &str) -> Option<(usize, Self)> {
        let lower = path.to_ascii_lowercase();
        NAMES.iter().find(|(end, _)| lower.ends_with(end)).map(|(end, packing)| (path.len() - end.len(), *packing))
    }

    /// The name without the part that tells the packing.
    pub(super) fn strip(path: &str) -> &str {
        Self::of_name(path).map_or(path, |(end, _)| &path[..end])
    }

    pub(super) fn extension(self) -> &'static str {
        match self {
            Self::None => "",
            Self::Gzip => ".gz",
            Self::Zstd => ".zst",
            Self::Bzip2 => ".bz2",
        }
    }
}

type Plain = BufWriter<File>;

/// A file that is being written.
pub(super) enum Sink {
    Plain(Plain),
    Gzip(GzEncoder<Plain>),
    Zstd(zstd::Encoder<'static, Plain>),
    Bzip2(BzEncoder<Plain>),
}

impl Sink {
    pub(super) fn new(file: File, packing: Packing) -> Result<Self> {
        let plain = BufWriter::with_capacity(BUFFER_BYTES, file);
        Ok(match packing {
            Packing::None => Self::Plain(plain),
            Packing::Gzip => Self::Gzip(GzEncoder::new(plain, flate2::Compression::new(GZIP_LEVEL))),
            Packing::Zstd => Self::Zstd(zstd::Encoder::new(plain, ZSTD_LEVEL)?),
            Packing::Bzip2 => Self::Bzip2(BzEncoder::new(plain, bzip2::Compression::default())),
        })
    }

    /// Ends the pack; all bytes are with the system then.
    pub(super) fn finish(self) -> Result<File> {
        let plain = match self {
            Self::Plain(plain) => plain,
            Self::Gzip(packed) => packed.finish()?,
            Self::Zstd(packed) => packed.finish()?,
            Self::Bzip2(packed) => packed.finish()?,
        };
        plain.into_inner().map_err(std::io::IntoInnerError::into_error)
    }

    fn inner(&mut self) -> &mut dyn Write {
        match self {
            Self::Plain(plain) => plain,
            Self::Gzip(packed) => packed,
            Self::Zstd(packed) => packed,
            Self::Bzip2(packed) => packed,
        }
    }
}

impl Write for Sink {
    fn write(&mut self, bytes: &[u8]) -> Result<usize> {
        self.inner().write(bytes)
    }

    fn flush(&mut self) -> Result<()> {
        self.inner().flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_tell_the_packing() {
        for (given, path, expected, rest) in [
            (None, "a.csv", Packing::None, "a.csv"),
            (None, "a.csv.GZ", Packing::Gzip, "a.csv"),
            (None, "a.ndjson.zst", Packing::Zstd, "a.ndjson"),
            (Some("bzip2"), "folder", Packing::Bzip2, "folder"),
            (Some("none"), "a.csv.gz", Packing::None, "a.csv"),
        ] {
            assert_eq!((Packing::of(given, path), Packing::strip(path)), (expected, rest), "{path}");
        }
    }
}
