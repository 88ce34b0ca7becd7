//! Rows parted by the hash of their key, in memory as far as they fit, in files of the attempt otherwise.

use std::fs::File;
use std::io::{BufReader, BufWriter};
use std::sync::{Arc, Mutex, PoisonError};

use datafusion::arrow::array::{Array as _, ArrayRef, AsArray as _, RecordBatch};
use datafusion::arrow::compute::{concat_batches, interleave_record_batch};
use datafusion::arrow::datatypes::{DataType, SchemaRef};
use datafusion::arrow::ipc::CompressionType;
use datafusion::arrow::ipc::reader::StreamReader;
use datafusion::arrow::ipc::writer::{IpcWriteOptions, StreamWriter};
use datafusion::common::hash_utils::create_hashes;
use datafusion::common::internal_datafusion_err;
use datafusion::error::{DataFusionError, Result};
use datafusion::execution::memory_pool::{MemoryConsumer, MemoryLimit, MemoryReservation};
use datafusion::execution::{SendableRecordBatchStream, SpillFile, TaskContext};
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_plan::metrics::{Count, Gauge, Time};
use datafusion::physical_plan::repartition::REPARTITION_RANDOM_STATE;
use futures::{StreamExt as _, TryStreamExt as _};

/// What consumers of memory are called here.
pub(super) const CONSUMER: &str = "rows in buckets";
/// Rows that are parted at a time: a bucket gets some hundreds of them as one batch.
const ROUND_ROWS: usize = 64 * 1024;
/// And their size, bytes.
const ROUND_BYTES: usize = 8 * 1024 * 1024;

/// Memory above which rows of one group are put together before all rows are there, bytes; a quarter of the pool where that is less.
const REDUCE_ABOVE_BYTES: usize = 96 * 1024 * 1024;

/// Small buckets are put together, and a table has a size even where there is little in it, bytes.
const SMALL_TABLE_BYTES: usize = 1024 * 1024;

/// A file that batches are written to; it is there as long as its handle.
type Writing = (Arc<dyn SpillFile>, StreamWriter<BufWriter<File>>);

/// The rows of one bucket.
#[derive(Default)]
pub(super) struct Bucket {
    batches: Vec<RecordBatch>,
    held_bytes: usize,
    /// Rows in memory and in the file.
    rows: usize,
    held_rows: usize,
    /// What the rows in the file have held in memory.
    spilled_bytes: usize,
    /// Rows that were left when its groups were put together for the last time.
    reduced_rows: usize,
    file: Option<Writing>,
    /// The memory of its batches, once all rows are there.
    reservation: Option<MemoryReservation>,
}

impl Bucket {
    /// One of these rows, in memory.
    pub(super) fn of(batches: Vec<RecordBatch>) -> Self {
        Self { rows: batches.iter().map(RecordBatch::num_rows).sum(), batches, ..Self::default() }
    }

    pub(super) fn held_bytes(&self) -> usize {
        self.held_bytes
    }

    pub(super) fn rows(&self) -> usize {
        self.rows
    }

    fn put(&mut self, batch: RecordBatch, bytes: usize) {
        self.rows += batch.num_rows();
        self.held_rows += batch.num_rows();
        self.held_bytes += bytes;
        self.batches.push(batch);
    }

    /// Whether some of its rows are on disk.
    pub(super) fn has_file(&self) -> bool {
        self.file.is_some()
    }

    /// Its rows, first those in memory.
    pub(super) fn read(self) -> Result<impl Iterator<Item = Result<RecordBatch>> + Send> {
        let Self { batches, file, reservation, .. } = self;
        let file = match file {
            None => None,
            Some((handle, mut writer)) => {
                writer.finish()?;
                drop(writer);
                let reader = StreamReader::try_new(BufReader::new(open(&handle, File::options().read(true))?), None)?;
                Some((reader, handle))
            }
        };
        let from_memory = batches.into_iter().map(move |batch| {
            if let Some(reservation) = &reservation {
                reservation.shrink(size(&batch).min(reservation.size()));
            }
            Ok(batch)
        });
        // The file is there as long as its handle is held.
        let from_file = file.into_iter().flat_map(|(reader, handle)| {
            reader.map(move |batch| {
                let _ = &handle;
                Ok(batch?)
            })
        });
        Ok(from_memory.chain(from_file))
    }
}

/// The memory of a batch whose columns are its own.
fn size(batch: &RecordBatch) -> usize {
    batch.get_array_memory_size()
}

fn open(handle: &Arc<dyn SpillFile>, options: &std::fs::OpenOptions) -> Result<File> {
    let path = handle.path().ok_or_else(|| internal_datafusion_err!("the folder for spilled rows is gone"))?;
    Ok(options.open(path)?)
}

/// Puts the rows of each group together, as rows of the same kind.
type Reduce = dyn Fn(Bucket) -> Result<SendableRecordBatchStream> + Send + Sync;

struct Filled {
    buckets: Vec<Bucket>,
    reservation: MemoryReservation,
    /// Groups are put together when more is held than this, bytes.
    reduce_above: usize,
}

/// All buckets while they are filled.
pub(super) struct Buckets {
    schema: SchemaRef,
    context: Arc<TaskContext>,
    filled: Mutex<Filled>,
    partitions: usize,
    reduce: Box<Reduce>,
    /// Three quarters of it are for rows, the rest for the tables of those who read them.
    pool_bytes: usize,
    pub(super) spilled_bytes: Count,
    pub(super) held_bytes: Gauge,
}

impl Buckets {
    pub(super) fn new(
        schema: SchemaRef,
        context: Arc<TaskContext>,
        partitions: usize,
        buckets: usize,
        reduce: Box<Reduce>,
        spilled_bytes: Count,
        held_bytes: Gauge,
    ) -> Self {
        let reservation = MemoryConsumer::new(CONSUMER).register(context.memory_pool());
        let pool_bytes = match context.memory_pool().memory_limit() {
            MemoryLimit::Finite(bytes) => bytes,
            MemoryLimit::Infinite | MemoryLimit::Unknown => usize::MAX,
        };
        let buckets = (0..partitions * buckets).map(|_| Bucket::default()).collect();
        let filled = Mutex::new(Filled { buckets, reservation, reduce_above: REDUCE_ABOVE_BYTES.min(pool_bytes / 4) });
        Self { schema, context, filled, partitions, reduce, pool_bytes, spilled_bytes, held_bytes }
    }

    /// Parts all rows of a stream.
    pub(super) async fn fill(
        &self,
        rows: SendableRecordBatchStream,
        keys: &[Arc<dyn PhysicalExpr>],
        time: &Time,
    ) -> Result<()> {
        let mut rows = rows;
        let count = self.lock().buckets.len();
        let mut round = Round::new(keys, count);
        let waiting = MemoryConsumer::new(CONSUMER).register(self.context.memory_pool());
        while let Some(batch) = rows.next().await {
            let _timer = time.timer();
            let batch = compact(&batch?)?;
            let bytes = size(&batch);
            if waiting.try_grow(bytes).is_err() {
                self.end_round(&mut round, &waiting)?;
                waiting.grow(bytes);
            }
            round.push(batch)?;
            if round.rows >= ROUND_ROWS || waiting.size() >= ROUND_BYTES {
                self.end_round(&mut round, &waiting)?;
                while let Some((index, bucket)) = self.next_to_reduce() {
                    self.reduce(index, bucket).await?;
                }
            }
        }
        let _timer = time.timer();
        self.end_round(&mut round, &waiting)
    }

    fn end_round(&self, round: &mut Round<'_>, waiting: &MemoryReservation) -> Result<()> {
        let parts = round.parts()?;
        waiting.free();
        self.put(parts)
    }

    /// All buckets, each with the memory that it holds.
    pub(super) fn finish(&self) -> Result<Vec<Bucket>> {
        let mut filled = self.lock();
        let Filled { buckets, reservation, .. } = &mut *filled;
        let mut buckets = std::mem::take(buckets);
        // A table of a bucket has about three times the size of its rows, also of those on disk, and each partition makes one.
        let tables = buckets.iter().map(|bucket| bucket.held_bytes + bucket.spilled_bytes).max().unwrap_or_default();
        let tables = tables.saturating_add(SMALL_TABLE_BYTES).saturating_mul(3 * self.partitions);
        while reservation.size().saturating_add(tables) > self.pool_bytes {
            let Some(largest) = largest(&buckets) else { break };
            self.spill(&mut buckets[largest], reservation)?;
        }
        for bucket in &mut buckets {
            bucket.reservation = Some(reservation.split(bucket.held_bytes));
        }
        Ok(buckets)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Filled> {
        self.filled.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn put(&self, parts: Vec<(usize, RecordBatch)>) -> Result<()> {
        let mut filled = self.lock();
        let Filled { buckets, reservation, .. } = &mut *filled;
        for (index, batch) in parts {
            let bytes = size(&batch);
            // All that is reserved counts, since the rows may come from another grouping that still makes its tables.
            let most = self.pool_bytes / 4 * 3;
            let reserved = || self.context.memory_pool().reserved();
            while reserved().saturating_add(bytes) > most || reservation.try_grow(bytes).is_err() {
                let Some(largest) = largest(buckets) else {
                    // There is nothing to put aside: this batch is all.
                    reservation.grow(bytes);
                    break;
                };
                self.spill(&mut buckets[largest], reservation)?;
            }
            buckets[index].put(batch, bytes);
        }
        self.held_bytes.set_max(reservation.size());
        Ok(())
    }

    /// The largest bucket, taken out, when so much is held that it is worth to put its groups together.
    fn next_to_reduce(&self) -> Option<(usize, Bucket)> {
        let mut filled = self.lock();
        if filled.reservation.size() < filled.reduce_above {
            return None;
        }
        // What was put together already is not looked at again before there is as much beside it.
        let worth = |bucket: &Bucket| bucket.held_rows >= 2 * bucket.reduced_rows.max(1);
        let buckets = filled.buckets.iter().enumerate().filter(|(_, bucket)| worth(bucket));
        let Some((largest, _)) = buckets.max_by_key(|(_, bucket)| bucket.held_bytes) else {
            filled.reduce_above = filled.reservation.size() / 2 * 3;
            return None;
        };
        let bucket = &mut filled.buckets[largest];
        let batches = std::mem::take(&mut bucket.batches);
        let taken = Bucket { held_bytes: bucket.held_bytes, held_rows: bucket.held_rows, ..Bucket::of(batches) };
        bucket.rows -= taken.rows;
        (bucket.held_bytes, bucket.held_rows) = (0, 0);
        Some((largest, taken))
    }

    /// Puts the groups of a bucket together and the bucket back.
    async fn reduce(&self, index: usize, bucket: Bucket) -> Result<()> {
        let (before, batches) = (bucket.held_bytes, bucket.batches.clone());
        let reduced = match (self.reduce)(bucket) {
            Ok(rows) => rows.try_collect::<Vec<_>>().await,
            Err(error) => Err(error),
        };
        let batch = match reduced {
            Ok(reduced) => compact(&concat_batches(&self.schema, &reduced)?)?,
            // Where memory does not even suffice for this, the rows stay as they are, and go to disk as they are.
            Err(error) if matches!(error.find_root(), DataFusionError::ResourcesExhausted(_)) => {
                concat_batches(&self.schema, &batches)?
            }
            Err(error) => return Err(error),
        };
        drop(batches);
        let after = size(&batch);
        let mut filled = self.lock();
        let Filled { buckets, reservation, reduce_above } = &mut *filled;
        if after > before / 4 * 3 {
            // Most keys are there once, here and so elsewhere.
            *reduce_above = reservation.size().saturating_mul(2);
        }
        reservation.shrink(before);
        reservation.grow(after);
        buckets[index].reduced_rows = batch.num_rows();
        buckets[index].put(batch, after);
        Ok(())
    }

    /// Writes what a bucket holds in memory to its file.
    fn spill(&self, bucket: &mut Bucket, reservation: &MemoryReservation) -> Result<()> {
        let (handle, writer) = match &mut bucket.file {
            Some(file) => file,
            None => {
                let handle = self.context.runtime_env().disk_manager.create_tmp_file(CONSUMER)?;
                let file = open(&handle, File::options().write(true).create(true).truncate(true))?;
                let options = IpcWriteOptions::default().try_with_compression(Some(CompressionType::LZ4_FRAME))?;
                let writer = StreamWriter::try_new_with_options(BufWriter::new(file), &self.schema, options)?;
                bucket.file.insert((handle, writer))
            }
        };
        let before = handle.path().and_then(|path| path.metadata().ok()).map_or(0, |data| data.len());
        for batch in bucket.batches.drain(..) {
            writer.write(&batch)?;
        }
        writer.flush()?;
        let after = handle.path().and_then(|path| path.metadata().ok()).map_or(0, |data| data.len());
        self.spilled_bytes.add(usize::try_from(after.saturating_sub(before)).unwrap_or(usize::MAX));
        reservation.shrink(bucket.held_bytes);
        bucket.spilled_bytes += bucket.held_bytes;
        (bucket.held_bytes, bucket.held_rows, bucket.reduced_rows) = (0, 0, 0);
        Ok(())
    }
}

/// The bucket that holds most in memory, if any does.
fn largest(buckets: &[Bucket]) -> Option<usize> {
    (0..buckets.len()).max_by_key(|at| buckets[*at].held_bytes).filter(|at| buckets[*at].held_bytes > 0)
}

/// Batches that are parted together.
struct Round<'a> {
    keys: &'a [Arc<dyn PhysicalExpr>],
    batches: Vec<RecordBatch>,
    rows: usize,
    hashes: Vec<u64>,
    /// For each bucket its rows: which batch, and where in it.
    places: Vec<Vec<(usize, usize)>>,
}

impl<'a> Round<'a> {
    fn new(keys: &'a [Arc<dyn PhysicalExpr>], buckets: usize) -> Self {
        Self { keys, batches: Vec::new(), rows: 0, hashes: Vec::new(), places: vec![Vec::new(); buckets] }
    }

    fn push(&mut self, batch: RecordBatch) -> Result<()> {
        let rows = batch.num_rows();
        if rows == 0 {
            return Ok(());
        }
        let arrays = self.keys.iter().map(|key| key.evaluate(&batch)?.into_array(rows)).collect::<Result<Vec<_>>>()?;
        self.hashes.clear();
        self.hashes.resize(rows, 0);
        // The remainder of this hash is the partition of DataFusion's exchange as well, so whoever relies on that finds it.
        create_hashes(&arrays, REPARTITION_RANDOM_STATE.random_state(), &mut self.hashes)?;
        let (count, at) = (self.places.len() as u64, self.batches.len());
        for (row, hash) in self.hashes.iter().enumerate() {
            self.places[(hash % count) as usize].push((at, row));
        }
        self.rows += rows;
        self.batches.push(batch);
        Ok(())
    }

    /// The rows of each bucket that has some.
    fn parts(&mut self) -> Result<Vec<(usize, RecordBatch)>> {
        let batches: Vec<&RecordBatch> = self.batches.iter().collect();
        let mut parts = Vec::new();
        for (index, places) in self.places.iter_mut().enumerate() {
            if !places.is_empty() {
                parts.push((index, compact(&interleave_record_batch(&batches, places)?)?));
                places.clear();
            }
        }
        self.batches.clear();
        self.rows = 0;
        Ok(parts)
    }
}

/// The same rows, without holding the buffers that they were taken from.
fn compact(batch: &RecordBatch) -> Result<RecordBatch> {
    let own = |column: &ArrayRef| -> ArrayRef {
        match column.data_type() {
            DataType::Utf8View if !column.as_string_view().data_buffers().is_empty() => {
                Arc::new(column.as_string_view().gc())
            }
            DataType::BinaryView if !column.as_binary_view().data_buffers().is_empty() => {
                Arc::new(column.as_binary_view().gc())
            }
            _ => Arc::clone(column),
        }
    };
    Ok(RecordBatch::try_new(batch.schema(), batch.columns().iter().map(own).collect())?)
}
