//! `dedupe`: one of equal rows, in the order of the input, as `drop_duplicates` and `duplicated` of pandas have it.
//!
//! One pass over the input keeps for each key the number of a row, and a bit for each row that says whether it stays. With
//! `keep: first` a row's bit is known at once and the row goes on; otherwise rows wait, in memory or on disk, and go
//! on when the last one has been seen. Where the keys do not fit into memory they go to disk as well, in parts by their
//! hash, and the parts are decided one after the other ([`Parts`]).

use std::sync::Arc;

use datafusion::arrow::array::{BooleanArray, RecordBatch};
use datafusion::arrow::compute::filter_record_batch;
use datafusion::arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use datafusion::execution::memory_pool::{MemoryConsumer, MemoryLimit, MemoryReservation};
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_plan::stream::RecordBatchReceiverStream;
use futures::{StreamExt as _, TryStreamExt as _};
use towpath_model::etl::Keep;

use super::keys::{Key, KeyMap, keys};
use super::waiting::{Parts, Waiting};
use crate::error::{Error, Result};
use crate::measure::Measure;

/// What a key and its row number take in a map, with the room that maps leave free.
const ENTRY_BYTES: usize = 25 * 2;
/// Rows that wait in memory, bytes. What goes to disk is compressed, and as a rule still in the kernel's memory when it is read.
const MOST_WAITING_BYTES: usize = 128 * 1024 * 1024;
/// Marks the number of a row whose key has come again.
const AGAIN: u64 = 1 << 63;

/// The pass.
#[derive(Debug, Clone)]
pub(crate) struct Pass {
    /// Columns that are compared.
    pub(crate) columns: Vec<usize>,
    pub(crate) keep: Keep,
    /// Keep all rows and tell, in a column more, which would have been dropped.
    pub(crate) flag: Option<String>,
    pub(crate) cores: usize,
}

impl Pass {
    /// The columns of the result.
    pub(crate) fn schema(&self, input: &SchemaRef) -> SchemaRef {
        match &self.flag {
            None => Arc::clone(input),
            Some(flag) => {
                let field = Arc::new(Field::new(flag, DataType::Boolean, false));
                Arc::new(Schema::new(input.fields().iter().cloned().chain([field]).collect::<Vec<_>>()))
            }
        }
    }

    /// Runs it over `input`.
    pub(crate) fn run(
        &self,
        input: SendableRecordBatchStream,
        context: &Arc<TaskContext>,
        measure: &Arc<Measure>,
    ) -> SendableRecordBatchStream {
        let schema = self.schema(&input.schema());
        let mut output = RecordBatchReceiverStream::builder(Arc::clone(&schema), 2);
        let (sender, pass, context) = (output.tx(), self.clone(), Arc::clone(context));
        let measure = Arc::clone(measure);
        output.spawn(async move {
            let mut rows = Rows::new(pass, schema, input.schema(), &context, &measure);
            let columns = Arc::new(rows.pass.columns.clone());
            let hashed = input.map_err(Error::from).map(|batch| {
                let (columns, measure) = (Arc::clone(&columns), Arc::clone(&measure));
                async move {
                    let batch = batch?;
                    let work = tokio::task::spawn_blocking(move || {
                        measure.time(|| keys(&batch, &columns)).map(|keys| (batch, keys))
                    });
                    work.await.unwrap_or_else(|error| Err(Error::passing(format!("a pass has ended: {error}"))))
                }
            });
            let mut hashed = std::pin::pin!(hashed.buffered(rows.pass.cores));
            while let Some(next) = hashed.next().await {
                let (batch, keys) = next?;
                if let Some(done) = tokio::task::block_in_place(|| measure.time(|| rows.push(batch, &keys)))?
                    && sender.send(Ok(done)).await.is_err()
                {
                    return Ok(());
                }
            }
            let mut rest = tokio::task::block_in_place(|| measure.time(|| rows.finish()))?;
            while let Some(batch) = tokio::task::block_in_place(|| measure.time(|| rest.next()))? {
                if sender.send(Ok(batch)).await.is_err() {
                    return Ok(());
                }
            }
            Ok(())
        });
        output.build()
    }
}

/// A bit for each row that has to wait.
#[derive(Debug, Default)]
pub(super) struct Bits {
    words: Vec<u64>,
    count: u64,
}

impl Bits {
    pub(super) fn push(&mut self, bit: bool) {
        let (word, at) = ((self.count / 64) as usize, self.count % 64);
        if word == self.words.len() {
            self.words.push(0);
        }
        self.words[word] |= u64::from(bit) << at;
        self.count += 1;
    }

    fn clear(&mut self, index: u64) {
        self.words[(index / 64) as usize] &= !(1 << (index % 64));
    }

    pub(super) fn set(&mut self, index: u64) {
        self.words[(index / 64) as usize] |= 1 << (index % 64);
    }

    pub(super) fn get(&self, index: u64) -> bool {
        self.words[(index / 64) as usize] >> (index % 64) & 1 == 1
    }
}

struct Rows {
    pass: Pass,
    schema: SchemaRef,
    seen: KeyMap<u64>,
    /// The keys that did not fit into memory, in parts; then `seen` is empty.
    parts: Option<Parts>,
    /// The number of the first row whose key went to disk at once.
    switched_at: u64,
    reservation: MemoryReservation,
    /// Rows that were decided at once, with `keep: first`.
    decided: u64,
    /// Whether each of the waiting rows stays; the number of the first one is `decided`.
    stays: Bits,
    waiting: Waiting,
    context: Arc<TaskContext>,
    measure: Arc<Measure>,
}

impl Rows {
    fn new(
        pass: Pass,
        schema: SchemaRef,
        input: SchemaRef,
        context: &Arc<TaskContext>,
        measure: &Arc<Measure>,
    ) -> Self {
        let pool = context.memory_pool();
        let third = match pool.memory_limit() {
            MemoryLimit::Finite(bytes) => bytes / 3,
            MemoryLimit::Infinite | MemoryLimit::Unknown => usize::MAX,
        };
        Self {
            pass,
            schema,
            seen: KeyMap::default(),
            parts: None,
            switched_at: 0,
            reservation: MemoryConsumer::new("dedupe").register(pool),
            decided: 0,
            stays: Bits::default(),
            waiting: Waiting::new(input, third.min(MOST_WAITING_BYTES), context, measure),
            context: Arc::clone(context),
            measure: Arc::clone(measure),
        }
    }

    /// Takes a batch; gives back what can go on already.
    fn push(&mut self, batch: RecordBatch, keys: &[Key]) -> Result<Option<RecordBatch>> {
        self.make_room(keys.len())?;
        if self.pass.keep == Keep::First && self.parts.is_none() {
            let stays: BooleanArray = keys.iter().map(|key| Some(self.seen.insert(*key, 0).is_none())).collect();
            self.decided += keys.len() as u64;
            return self.decide(&batch, &stays).map(Some);
        }
        for key in keys {
            let row = self.decided + self.stays.count;
            // With parts the bit is set when theirs is decided.
            let stays = self.parts.is_none()
                && decide(self.pass.keep, &mut self.seen, *key, row, &mut self.stays, self.decided);
            self.stays.push(stays);
            if let Some(parts) = &mut self.parts {
                parts.push(*key, row)?;
            }
        }
        self.waiting.push(batch)?;
        Ok(None)
    }

    /// Room for the keys of a batch; they go to disk where there is none.
    fn make_room(&mut self, rows: usize) -> Result<()> {
        if self.parts.is_some() || self.seen.len() + rows <= self.seen.capacity() {
            return Ok(());
        }
        let wanted = ((self.seen.capacity() * 2).max(self.seen.len() + rows) + 1_024) * ENTRY_BYTES;
        // While a map grows, both the old and the new one are there.
        if self.reservation.try_resize(wanted + wanted / 2).is_ok() {
            self.seen.reserve(rows);
            self.measure.holds(self.reservation.size() + self.waiting.held_bytes());
            return Ok(());
        }
        let mut parts = Parts::new(&self.context, &self.measure)?;
        self.switched_at = self.decided + self.stays.count;
        for (key, row) in self.seen.drain() {
            parts.push(key, row)?;
        }
        self.seen = KeyMap::default();
        self.reservation.free();
        self.parts = Some(parts);
        Ok(())
    }

    /// The rows that stay, or all of them with their flag.
    fn decide(&self, batch: &RecordBatch, stays: &BooleanArray) -> Result<RecordBatch> {
        if self.pass.flag.is_none() {
            return Ok(filter_record_batch(batch, stays)?);
        }
        let flags = datafusion::arrow::compute::not(stays)?;
        let columns = batch.columns().iter().cloned().chain([Arc::new(flags) as _]);
        Ok(RecordBatch::try_new(Arc::clone(&self.schema), columns.collect())?)
    }

    /// The input has ended: decides what is open, and gives the rows that have waited.
    fn finish(mut self) -> Result<Rest> {
        if let Some(parts) = self.parts.take() {
            let (first, switched_at) = (self.decided, self.switched_at);
            for part in parts.finish()? {
                let mut seen: KeyMap<u64> = KeyMap::default();
                self.reservation.try_resize(part.rows() * ENTRY_BYTES)?;
                part.each(|key, row| {
                    // What was decided before the keys went to disk: rows that have gone on already, and the state of keys.
                    // For a key of `keep: last` or `none` it is that of a waiting row, whose bit is right as it is.
                    if row < switched_at || row & AGAIN != 0 {
                        seen.insert(key, row);
                    } else if decide(self.pass.keep, &mut seen, key, row, &mut self.stays, first) {
                        self.stays.set(row - first);
                    }
                })?;
            }
        }
        self.seen = KeyMap::default();
        self.reservation.free();
        let waiting = self.waiting.replay()?;
        self.waiting = Waiting::new(Arc::clone(&self.schema), 0, &self.context, &self.measure);
        Ok(Rest { rows: self, waiting, next: 0 })
    }
}

/// Whether the row stays as far as is known; an earlier one that has to go is cleared in `stays`, whose first bit is
/// that of row `first`.
fn decide(keep: Keep, seen: &mut KeyMap<u64>, key: Key, row: u64, stays: &mut Bits, first: u64) -> bool {
    let before = match seen.entry(key) {
        std::collections::hash_map::Entry::Vacant(place) => {
            place.insert(row);
            return true;
        }
        std::collections::hash_map::Entry::Occupied(place) => place.into_mut(),
    };
    match keep {
        Keep::First => false,
        Keep::Last => {
            stays.clear(*before - first);
            *before = row;
            true
        }
        Keep::None => {
            if *before & AGAIN == 0 {
                stays.clear(*before - first);
                *before |= AGAIN;
            }
            false
        }
    }
}

/// The rows that have waited.
struct Rest {
    rows: Rows,
    waiting: super::waiting::Replay,
    next: u64,
}

impl Rest {
    fn next(&mut self) -> Result<Option<RecordBatch>> {
        let Some(batch) = self.waiting.next()? else { return Ok(None) };
        let from = self.next;
        self.next += batch.num_rows() as u64;
        let stays: BooleanArray = (from..self.next).map(|row| Some(self.rows.stays.get(row))).collect();
        self.rows.decide(&batch, &stays).map(Some)
    }
}
