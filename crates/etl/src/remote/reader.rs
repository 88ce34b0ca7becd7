//! Bytes that come on their own, for readers that ask for them.

use std::io::{Error as IoError, Read};

use bytes::{Buf as _, Bytes};
use futures::StreamExt as _;
use futures::stream::BoxStream;
use tokio::sync::mpsc;

use crate::error::{Error, Result};

/// Chunks that may wait for a reader.
const CHUNKS_AHEAD: usize = 16;

/// A stream of bytes as a reader, for threads that may block.
#[derive(Debug)]
pub(crate) struct Pulled {
    chunks: mpsc::Receiver<Result<Bytes>>,
    current: Bytes,
}

impl Pulled {
    /// What `start` gives; it runs beside the reader, until that is dropped. Needs a runtime around it.
    pub(crate) fn of(start: impl Future<Output = Result<BoxStream<'static, Result<Bytes>>>> + Send + 'static) -> Self {
        let (sender, chunks) = mpsc::channel(CHUNKS_AHEAD);
        tokio::spawn(async move {
            let mut stream = match start.await {
                Ok(stream) => stream,
                Err(error) => return drop(sender.send(Err(error)).await),
            };
            while let Some(chunk) = stream.next().await {
                if sender.send(chunk).await.is_err() {
                    return;
                }
            }
        });
        Self { chunks, current: Bytes::new() }
    }
}

impl Read for Pulled {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        while self.current.is_empty() {
            match self.chunks.blocking_recv() {
                None => return Ok(0),
                Some(chunk) => self.current = chunk.map_err(IoError::other)?,
            }
        }
        let length = self.current.len().min(buffer.len());
        self.current.copy_to_slice(&mut buffer[..length]);
        Ok(length)
    }
}

/// The error of this crate that a reader has carried, or what it says itself.
pub(crate) fn carried(error: &IoError) -> Option<Error> {
    error.get_ref()?.downcast_ref::<Error>().cloned()
}
