//! From lines to chunks: what attempts have logged and the store has not taken yet.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;
use towpath_operators::log::{LogLine, Sink};
use towpath_store::{LogChunk, LogKey};

/// A chunk is closed when it has grown to this many bytes.
const CHUNK_BYTES: usize = 64 * 1024;

/// The unsent logs of a worker.
#[derive(Debug, Default)]
pub(crate) struct LogBuffer {
    logs: Mutex<HashMap<LogKey, Pending>>,
    /// Told when something is written to a buffer in which nothing waited.
    pub(crate) dirty: Notify,
}

#[derive(Debug, Default)]
struct Pending {
    next_seq: u32,
    closed: Vec<LogChunk>,
    text: String,
    lines: u32,
}

impl Pending {
    fn close(&mut self, key: &LogKey) {
        if self.text.is_empty() {
            return;
        }
        self.closed.push(LogChunk {
            key: key.clone(),
            seq: self.next_seq,
            lines: self.lines,
            text: std::mem::take(&mut self.text),
        });
        self.next_seq += 1;
        self.lines = 0;
    }
}

impl LogBuffer {
    fn lock(&self) -> MutexGuard<'_, HashMap<LogKey, Pending>> {
        self.logs.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Where one try writes. Its chunks are numbered from `first_seq` on, behind those of its earlier calls.
    pub(crate) fn sink(self: &Arc<Self>, key: LogKey, first_seq: u32) -> Arc<dyn Sink> {
        if first_seq > 0 {
            self.lock().entry(key.clone()).or_default().next_seq = first_seq;
        }
        Arc::new(TrySink { buffer: Arc::clone(self), key })
    }

    /// Everything that has been written and not been taken.
    pub(crate) fn take(&self) -> Vec<LogChunk> {
        let mut chunks = Vec::new();
        for (key, pending) in self.lock().iter_mut() {
            pending.close(key);
            chunks.append(&mut pending.closed);
        }
        chunks
    }

    /// The rest of a log whose try is over.
    pub(crate) fn finish(&self, key: &LogKey) -> Vec<LogChunk> {
        let Some(mut pending) = self.lock().remove(key) else { return Vec::new() };
        pending.close(key);
        pending.closed
    }
}

#[derive(Debug)]
struct TrySink {
    buffer: Arc<LogBuffer>,
    key: LogKey,
}

impl Sink for TrySink {
    fn write(&self, line: LogLine) {
        let mut logs = self.buffer.lock();
        let pending = logs.entry(self.key.clone()).or_default();
        let was_clean = pending.text.is_empty() && pending.closed.is_empty();
        pending.text.push_str(&serde_json::to_string(&line).expect("a log line is plain text and a time"));
        pending.text.push('\n');
        pending.lines += 1;
        if pending.text.len() >= CHUNK_BYTES {
            pending.close(&self.key);
        }
        drop(logs);
        if was_clean {
            self.buffer.dirty.notify_one();
        }
    }
}
