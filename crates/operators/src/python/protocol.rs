//! What the worker, a zygote and a task's process say to each other.
//!
//! Between worker and zygote go [`Record`]s of 16 bytes; the descriptors of an attempt travel with the record that
//! asks for it. Between worker and task's process go messages: from the worker JSON after its length, to the
//! worker frames after a header of [`HEADER_BYTES`]. All numbers are little-endian. The other half
//! of this file is `runner/zygote.py` and `runner/channel.py`.

use std::collections::BTreeMap;
use std::path::Path;

use chrono::{DateTime, FixedOffset};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use towpath_model::dag::Task;

use crate::attempt::{Context, XComQuery};

/// Length of a record.
pub(super) const RECORD_BYTES: usize = 16;
/// Length of what stands before a frame's payload.
pub(super) const HEADER_BYTES: usize = 21;
/// A longer frame is refused. Above [`XCOM_LIMIT_BYTES`], so that the child can say what is too long.
pub(super) const FRAME_LIMIT_BYTES: usize = 64 * 1024 * 1024;
/// A longer XCom is refused by the child.
pub(super) const XCOM_LIMIT_BYTES: usize = 48 * 1024 * 1024;

/// A message between worker and zygote.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Record {
    pub(super) kind: u32,
    pub(super) value: i32,
    /// The attempt, as the worker numbers them.
    pub(super) number: u64,
}

impl Record {
    /// To the zygote: fork a child for attempt `number`, with the descriptors that come along.
    pub(super) const RUN: u32 = 1;
    /// To the zygote: send signal `value` to the group of attempt `number`.
    pub(super) const SIGNAL: u32 = 2;
    /// From the zygote: it waits for work; `value` is Python's version, `number` its process.
    pub(super) const READY: u32 = 11;
    /// From the zygote: the child is process `value`.
    pub(super) const STARTED: u32 = 12;
    /// From the zygote: there is no child, for the reason `value` (an errno).
    pub(super) const REFUSED: u32 = 13;
    /// From the zygote: the child has ended with wait status `value`, and its group is empty.
    pub(super) const ENDED: u32 = 14;
    /// As [`Record::ENDED`], but the group, which has got SIGKILL, is still there.
    pub(super) const ENDED_WITH_REST: u32 = 15;
    /// From the zygote, before the end: the child has used `value` milliseconds of processor time.
    pub(super) const CPU_MS: u32 = 16;
    /// From the zygote, before the end: the child had `value` KiB of memory at most.
    pub(super) const PEAK_KIB: u32 = 17;

    pub(super) fn encode(self) -> [u8; RECORD_BYTES] {
        let mut bytes = [0; RECORD_BYTES];
        bytes[..4].copy_from_slice(&self.kind.to_le_bytes());
        bytes[4..8].copy_from_slice(&self.value.to_le_bytes());
        bytes[8..].copy_from_slice(&self.number.to_le_bytes());
        bytes
    }

    pub(super) fn decode(bytes: &[u8; RECORD_BYTES]) -> Self {
        let (head, number) = bytes.split_at(8);
        let (kind, value) = head.split_at(4);
        Self {
            kind: u32::from_le_bytes(kind.try_into().expect("four bytes")),
            value: i32::from_le_bytes(value.try_into().expect("four bytes")),
            number: u64::from_le_bytes(number.try_into().expect("eight bytes")),
        }
    }
}

/// What a frame holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum FrameKind {
    Stdout,
    Stderr,
    /// A [`LogRecord`].
    Log,
    /// A [`Query`], which gets a reply.
    Query,
    /// A [`Push`].
    Push,
    /// Text that is to be masked from now on.
    Mask,
    /// The [`Report`], the last frame.
    Result,
    /// An [`OutletExtra`].
    Outlet,
}

/// What stands before a frame's payload.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Header {
    pub(super) length: usize,
    pub(super) kind: FrameKind,
    /// Bytes that were in the stdout pipe when the frame was made.
    pub(super) waiting_stdout: usize,
    /// The same of the stderr pipe.
    pub(super) waiting_stderr: usize,
    /// When that was: nanoseconds of the system's monotonic clock.
    pub(super) at_ns: u64,
}

impl Header {
    /// Reads a header; the text says what is wrong with it.
    pub(super) fn decode(bytes: &[u8; HEADER_BYTES]) -> Result<Self, String> {
        let number = |at: usize| {
            let number = u32::from_le_bytes(bytes[at..at + 4].try_into().expect("four bytes"));
            usize::try_from(number).expect("addresses have 32 bits at least")
        };
        let length = number(0);
        if length > FRAME_LIMIT_BYTES {
            return Err(format!("a frame of {length} bytes, the limit is {FRAME_LIMIT_BYTES}"));
        }
        let kind = match bytes[4] {
            1 => FrameKind::Stdout,
            2 => FrameKind::Stderr,
            3 => FrameKind::Log,
            4 => FrameKind::Query,
            5 => FrameKind::Push,
            6 => FrameKind::Mask,
            7 => FrameKind::Result,
            8 => FrameKind::Outlet,
            other => return Err(format!("a frame of the unknown kind {other}")),
        };
        let at_ns = u64::from_le_bytes(bytes[13..].try_into().expect("eight bytes"));
        Ok(Self { length, kind, waiting_stdout: number(5), waiting_stderr: number(9), at_ns })
    }
}

/// A record of Python's `logging`.
#[derive(Debug, Deserialize)]
pub(super) struct LogRecord {
    pub(super) level: crate::log::Level,
    pub(super) logger: String,
    pub(super) text: String,
}

/// What a task asks for while it runs.
#[derive(Debug, PartialEq, Eq, Deserialize)]
#[serde(tag = "method", rename_all = "snake_case")]
pub(super) enum Query {
    Xcoms(XComQuery),
    Variable { key: String },
    SetVariable { key: String, value: Option<String> },
    Connection { conn_id: String },
    TriggeringAssetEvents,
    AssetEvents { asset: String },
}

/// The reply to a [`Query`].
#[derive(Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Reply {
    Ok(Value),
    Error(String),
}

/// An XCom.
#[derive(Debug, Deserialize)]
pub(super) struct Push {
    pub(super) key: String,
    pub(super) value: Value,
}

/// What is told with the update of an asset.
#[derive(Debug, Deserialize)]
pub(super) struct OutletExtra {
    pub(super) name: String,
    pub(super) extra: Map<String, Value>,
}

/// How the task's code ended.
#[derive(Debug, Deserialize)]
#[serde(tag = "state", rename_all = "snake_case")]
pub(super) enum Report {
    Success {
        #[serde(default)]
        value: Option<Value>,
    },
    Skipped {
        reason: String,
    },
    Failed {
        error: String,
        retry: bool,
    },
    Reschedule {
        at: DateTime<FixedOffset>,
    },
}

/// What a child is told: all it knows of its attempt.
#[derive(Debug, Serialize)]
pub(super) struct Job<'a> {
    pub(super) context: &'a Context,
    pub(super) task: &'a Task,
    pub(super) args: &'a Map<String, Value>,
    pub(super) env: BTreeMap<String, String>,
    pub(super) cwd: &'a Path,
    pub(super) dag_folder: &'a Path,
    pub(super) project_folder: &'a Path,
    pub(super) xcom_limit_bytes: usize,
}

/// JSON after its length.
///
/// # Errors
/// Text that says why there is no such message.
pub(super) fn message(value: &impl Serialize) -> Result<Vec<u8>, String> {
    let mut bytes = vec![0; 4];
    serde_json::to_writer(&mut bytes, value).map_err(|error| error.to_string())?;
    let length =
        u32::try_from(bytes.len() - 4).map_err(|_| format!("it has {} bytes, more than 4 GiB", bytes.len() - 4))?;
    bytes[..4].copy_from_slice(&length.to_le_bytes());
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_are_read_as_they_are_written() {
        for record in [
            Record { kind: Record::RUN, value: 0, number: 1 },
            Record { kind: Record::SIGNAL, value: 15, number: u64::MAX },
            Record { kind: Record::ENDED, value: -7, number: 1 << 40 },
        ] {
            assert_eq!(Record::decode(&record.encode()), record);
        }
    }

    #[test]
    fn headers_are_checked() {
        let bytes = |length: u32, kind: u8| {
            let mut bytes = [0; HEADER_BYTES];
            bytes[..4].copy_from_slice(&length.to_le_bytes());
            bytes[4] = kind;
            bytes[5] = 3;
            bytes[10] = 1;
            bytes[13] = 9;
            bytes
        };
        let header = Header { length: 5, kind: FrameKind::Log, waiting_stdout: 3, waiting_stderr: 256, at_ns: 9 };
        for (bytes, expected) in [
            (bytes(5, 3), Ok(header)),
            (bytes(5, 0), Err("a frame of the unknown kind 0".to_owned())),
            (bytes(u32::MAX, 1), Err("a frame of 4294967295 bytes, the limit is 67108864".to_owned())),
        ] {
            assert_eq!(Header::decode(&bytes), expected);
        }
    }

    #[test]
    fn queries_are_read() {
        let xcoms = |map_index| {
            Query::Xcoms(XComQuery {
                dag_id: None,
                run_id: Some("r".into()),
                task_id: "t".into(),
                key: "k".into(),
                map_index,
            })
        };
        for (text, expected) in [
            (r#"{"task_id":"t","map_index":null,"dag_id":null,"run_id":"r","key":"k","method":"xcoms"}"#, xcoms(None)),
            (r#"{"task_id":"t","map_index":2,"run_id":"r","key":"k","method":"xcoms"}"#, xcoms(Some(2))),
            (r#"{"key":"k","method":"variable"}"#, Query::Variable { key: "k".into() }),
            (
                r#"{"key":"k","value":null,"method":"set_variable"}"#,
                Query::SetVariable { key: "k".into(), value: None },
            ),
            (r#"{"conn_id":"c","method":"connection"}"#, Query::Connection { conn_id: "c".into() }),
        ] {
            assert_eq!(serde_json::from_str::<Query>(text).expect(text), expected);
        }
    }
}
