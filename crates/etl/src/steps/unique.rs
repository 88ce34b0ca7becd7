//! `unique` of `validate`: which values have come before.
//!
//! As long as the keys of all values fit into memory a batch is decided at once. When they do not any more, keys go to disk, in parts by
//! their hash, and the rows wait there as well; when the input has ended the parts are decided one after the other.

use std::sync::Arc;

use datafusion::arrow::array::{Array, BooleanArray, RecordBatch};
use datafusion::arrow::datatypes::SchemaRef;
use datafusion::execution::TaskContext;
use datafusion::execution::memory_pool::{MemoryConsumer, MemoryReservation};

use super::dedupe::Bits;
use super::keys::{Key, KeyMap, keys};
use super::waiting::{Parts, Replay, Waiting};
use crate::error::Result;
use crate::measure::Measure;

/// What a key takes in a map, with the room that maps leave free.
const ENTRY_BYTES: usize = 17 * 2;

/// The values of some columns.
pub(super) struct Uniques {
    /// Where they stand.
    columns: Vec<usize>,
    /// What has come, by column; empty once keys go to disk.
    seen: Vec<KeyMap<()>>,
    spilled: Option<Spilled>,
    reservation: MemoryReservation,
    /// Rows that have come.
    rows: u64,
    input: SchemaRef,
    context: Arc<TaskContext>,
    measure: Arc<Measure>,
}

/// What did not fit into memory.
struct Spilled {
    parts: Vec<Parts>,
    /// The rows as they came, from number `from` on.
    waiting: Waiting,
    from: u64,
}

/// What is known of a batch: for each column which of its values have come before, or nothing yet.
pub(super) enum Seen {
    Before(Vec<BooleanArray>),
    Waits,
}

impl Uniques {
    /// For these columns of rows that come as `input`.
    pub(super) fn new(
        columns: Vec<usize>,
        input: &SchemaRef,
        context: &Arc<TaskContext>,
        measure: &Arc<Measure>,
    ) -> Self {
        Self {
            seen: columns.iter().map(|_| KeyMap::default()).collect(),
            columns,
            spilled: None,
            reservation: MemoryConsumer::new("validate").register(context.memory_pool()),
            rows: 0,
            input: Arc::clone(input),
            context: Arc::clone(context),
            measure: Arc::clone(measure),
        }
    }

    /// Takes a batch, as it came and as it is judged.
    pub(super) fn take(&mut self, raw: &RecordBatch, cast: &RecordBatch) -> Result<Seen> {
        if self.columns.is_empty() {
            return Ok(Seen::Before(Vec::new()));
        }
        self.make_room(raw.num_rows())?;
        let first = self.rows;
        self.rows += raw.num_rows() as u64;
        let mut found = Vec::with_capacity(self.columns.len());
        for (at, column) in self.columns.iter().enumerate() {
            let values = cast.column(*column);
            let keys = keys(cast, &[*column])?;
            // Null is no value, so it does not come twice.
            match &mut self.spilled {
                None => {
                    let seen = &mut self.seen[at];
                    let is_again = |(row, key): (usize, &Key)| values.is_valid(row) && seen.insert(*key, ()).is_some();
                    found.push(keys.iter().enumerate().map(is_again).map(Some).collect());
                }
                Some(spilled) => {
                    for (row, key) in keys.iter().enumerate().filter(|(row, _)| values.is_valid(*row)) {
                        spilled.parts[at].push(*key, first + row as u64)?;
                    }
                }
            }
        }
        match &mut self.spilled {
            None => Ok(Seen::Before(found)),
            Some(spilled) => {
                spilled.waiting.push(raw.clone())?;
                Ok(Seen::Waits)
            }
        }
    }

    /// Room for the keys of a batch; all of them go to disk where there is none.
    fn make_room(&mut self, rows: usize) -> Result<()> {
        let is_full = |seen: &KeyMap<()>| seen.len() + rows > seen.capacity();
        if self.spilled.is_some() || !self.seen.iter().any(is_full) {
            return Ok(());
        }
        let size = |seen: &KeyMap<()>| {
            let capacity = if is_full(seen) { (seen.capacity() * 2).max(seen.len() + rows) } else { seen.capacity() };
            (capacity + 1_024) * ENTRY_BYTES
        };
        let wanted: usize = self.seen.iter().map(size).sum();
        // While a map grows, both the old and the new one are there.
        if self.reservation.try_resize(wanted + wanted / 2).is_ok() {
            self.seen.iter_mut().for_each(|seen| seen.reserve(rows));
            self.measure.holds(self.reservation.size());
            return Ok(());
        }
        let mut parts = Vec::with_capacity(self.columns.len());
        for seen in &mut self.seen {
            let mut of_column = Parts::new(&self.context, &self.measure)?;
            for (key, ()) in seen.drain() {
                // Which row it was does not matter: it is decided.
                of_column.push(key, 0)?;
            }
            *seen = KeyMap::default();
            parts.push(of_column);
        }
        self.reservation.free();
        let waiting = Waiting::new(Arc::clone(&self.input), 0, &self.context, &self.measure);
        self.spilled = Some(Spilled { parts, waiting, from: self.rows });
        Ok(())
    }

    /// The input has ended: the batches that have waited, if any have.
    pub(super) fn finish(&mut self) -> Result<Option<Late>> {
        let Some(Spilled { parts, mut waiting, from }) = self.spilled.take() else { return Ok(None) };
        let mut again = Vec::with_capacity(parts.len());
        for of_column in parts {
            let mut bits = Bits::default();
            (from..self.rows).for_each(|_| bits.push(false));
            for part in of_column.finish()? {
                let mut seen: KeyMap<()> = KeyMap::default();
                self.reservation.try_resize(part.rows() * ENTRY_BYTES)?;
                self.measure.holds(self.reservation.size());
                // Keys stand in a part in the order of their rows, those that were decided before first.
                part.each(|key, row| {
                    if seen.insert(key, ()).is_some() && row >= from {
                        bits.set(row - from);
                    }
                })?;
            }
            again.push(bits);
        }
        self.reservation.free();
        Ok(Some(Late { waiting: waiting.replay()?, again, next: 0 }))
    }
}

/// Batches that have waited.
pub(super) struct Late {
    waiting: Replay,
    again: Vec<Bits>,
    next: u64,
}

impl Late {
    /// The next one as it came, with what is known of its values.
    pub(super) fn next(&mut self) -> Result<Option<(RecordBatch, Vec<BooleanArray>)>> {
        let Some(raw) = self.waiting.next()? else { return Ok(None) };
        let from = self.next;
        self.next += raw.num_rows() as u64;
        let again = self.again.iter().map(|bits| (from..self.next).map(|row| Some(bits.get(row))).collect());
        Ok(Some((raw, again.collect())))
    }
}
