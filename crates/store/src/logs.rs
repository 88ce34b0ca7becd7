//! Logs: chunks of lines, one try a stream.

use chrono::{DateTime, Utc};
use serde::Serialize;

use crate::records::TaskKey;
use crate::{Error, Result, Store};

/// Chunks up to this size go uncompressed, many in one statement; larger ones are worth a round trip.
const PLAIN_BYTES: usize = 2_048;

/// The log of which try.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct LogKey {
    pub task: TaskKey,
    pub try_number: u32,
}

/// A piece of a log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogChunk {
    pub key: LogKey,
    /// Its place in the log, from 0. Sending a chunk twice stores it once.
    pub seq: u32,
    pub lines: u32,
    /// One JSON object a line, each line with its end.
    pub text: String,
}

/// A chunk that goes compressed.
pub(crate) struct Packed<'a> {
    pub(crate) key: &'a LogKey,
    pub(crate) seq: u32,
    pub(crate) lines: u32,
    pub(crate) data: Vec<u8>,
}

/// A chunk that goes as it is.
#[derive(Serialize)]
pub(crate) struct Plain<'a> {
    run_key: i64,
    task_id: &'a str,
    map_index: i32,
    try_number: u32,
    seq: u32,
    lines: u32,
    text: &'a str,
}

impl<'a> Packed<'a> {
    /// Chunks by how they are sent.
    pub(crate) fn sort(chunks: &'a [LogChunk]) -> Result<(Vec<Plain<'a>>, Vec<Self>)> {
        let mut plain = Vec::new();
        let mut packed = Vec::new();
        for chunk in chunks {
            // PostgreSQL's JSON cannot hold a zero byte; bytes can.
            if chunk.text.len() <= PLAIN_BYTES && !chunk.text.contains('\0') {
                plain.push(Plain {
                    run_key: chunk.key.task.run_key,
                    task_id: &chunk.key.task.task_id,
                    map_index: chunk.key.task.map_index,
                    try_number: chunk.key.try_number,
                    seq: chunk.seq,
                    lines: chunk.lines,
                    text: &chunk.text,
                });
            } else {
                let data = zstd::bulk::compress(chunk.text.as_bytes(), 1)
                    .map_err(|error| Error::Invalid(format!("a log chunk cannot be compressed: {error}")))?;
                packed.push(Self { key: &chunk.key, seq: chunk.seq, lines: chunk.lines, data });
            }
        }
        Ok((plain, packed))
    }
}

/// The text of a stored chunk.
pub(crate) fn unpack(encoding: &str, data: &[u8]) -> Result<String> {
    let corrupt = |reason: String| Error::Corrupt(format!("a log chunk: {reason}"));
    let bytes = match encoding {
        "zstd" => zstd::stream::decode_all(data).map_err(|error| corrupt(error.to_string()))?,
        _ => data.to_vec(),
    };
    String::from_utf8(bytes).map_err(|error| corrupt(error.to_string()))
}

impl Store {
    /// Adds to logs.
    ///
    /// # Errors
    /// When the database does not take them; nothing is stored then.
    pub async fn append_logs(&self, chunks: &[LogChunk], _now: DateTime<Utc>) -> Result<()> {
        let mut tx = self.inner.backend.begin().await?;
        tx.insert_logs(chunks).await?;
        tx.commit(&[crate::Topic::Progress]).await
    }

    /// Up to `limit_chunks` chunks of a log, from the one with number `from_seq` on.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn read_log(&self, key: &LogKey, from_seq: u32, limit_chunks: u32) -> Result<Vec<LogChunk>> {
        self.inner.backend.log_chunks(key, from_seq, limit_chunks).await
    }
}
