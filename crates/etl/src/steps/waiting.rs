//! Rows and keys that wait for the end of the input, in memory or in files of the attempt.

use std::fs::File;
use std::io::{BufReader, BufWriter, Read, Seek as _, Write};
use std::path::Path;
use std::sync::Arc;

use datafusion::arrow::array::RecordBatch;
use datafusion::arrow::datatypes::SchemaRef;
use datafusion::arrow::ipc::CompressionType;
use datafusion::arrow::ipc::reader::StreamReader;
use datafusion::arrow::ipc::writer::{IpcWriteOptions, StreamWriter};
use datafusion::execution::SpillFile;
use datafusion::execution::TaskContext;
use datafusion::execution::memory_pool::{MemoryConsumer, MemoryReservation};

use super::keys::Key;
use crate::error::{Error, Result};
use crate::measure::Measure;

/// Files that keys are put into by their hash.
const PARTS: usize = 64;
/// A key and its row, bytes.
const RECORD_BYTES: usize = 24;

/// A file that batches are written to; it is there as long as its handle.
type Writing = (Arc<dyn SpillFile>, StreamWriter<BufWriter<File>>);
type Reading = (StreamReader<BufReader<File>>, Arc<dyn SpillFile>);

/// Batches, in order.
pub(super) struct Waiting {
    schema: SchemaRef,
    most_bytes: usize,
    batches: Vec<RecordBatch>,
    reservation: MemoryReservation,
    file: Option<Writing>,
    context: Arc<TaskContext>,
    measure: Arc<Measure>,
}

impl Waiting {
    /// At most about `most_bytes` stay in memory.
    pub(super) fn new(
        schema: SchemaRef,
        most_bytes: usize,
        context: &Arc<TaskContext>,
        measure: &Arc<Measure>,
    ) -> Self {
        let reservation = MemoryConsumer::new("rows that wait").register(context.memory_pool());
        let (context, measure) = (Arc::clone(context), Arc::clone(measure));
        Self { schema, most_bytes, batches: Vec::new(), reservation, file: None, context, measure }
    }

    /// What waits in memory.
    pub(super) fn held_bytes(&self) -> usize {
        self.reservation.size()
    }

    pub(super) fn push(&mut self, batch: RecordBatch) -> Result<()> {
        if let Some((_, writer)) = &mut self.file {
            return Ok(writer.write(&batch)?);
        }
        let bytes = batch.get_array_memory_size();
        let fits = self.reservation.size() + bytes <= self.most_bytes && self.reservation.try_grow(bytes).is_ok();
        if fits {
            self.measure.holds(self.reservation.size());
            self.batches.push(batch);
            return Ok(());
        }
        let temporary = self.context.runtime_env().disk_manager.create_tmp_file("rows that wait")?;
        let file = create(path_of(&temporary)?)?;
        let options = IpcWriteOptions::default().try_with_compression(Some(CompressionType::LZ4_FRAME))?;
        let mut writer = StreamWriter::try_new_with_options(BufWriter::new(file), &self.schema, options)?;
        for batch in self.batches.drain(..).chain([batch]) {
            writer.write(&batch)?;
        }
        self.reservation.free();
        self.file = Some((temporary, writer));
        Ok(())
    }

    /// All batches, from the first one.
    pub(super) fn replay(&mut self) -> Result<Replay> {
        let batches = std::mem::take(&mut self.batches).into_iter();
        let file = match self.file.take() {
            None => None,
            Some((temporary, mut writer)) => {
                writer.finish()?;
                drop(writer);
                let file = File::open(path_of(&temporary)?)
                    .map_err(|error| Error::io("open", Path::new("spilled rows"), &error))?;
                self.measure.spilled(file.metadata().map_or(0, |data| data.len()));
                Some((StreamReader::try_new(BufReader::new(file), None)?, temporary))
            }
        };
        Ok(Replay { batches, file, reservation: self.reservation.take() })
    }
}

/// Batches that can be read again and again.
pub(super) struct Kept {
    batches: Vec<RecordBatch>,
    file: Option<Arc<dyn SpillFile>>,
    reservation: MemoryReservation,
}

impl Waiting {
    /// All batches, to be read any number of times.
    pub(super) fn keep(mut self) -> Result<Kept> {
        let file = match self.file.take() {
            None => None,
            Some((temporary, mut writer)) => {
                writer.finish()?;
                drop(writer);
                let bytes = std::fs::metadata(path_of(&temporary)?).map_or(0, |data| data.len());
                self.measure.spilled(bytes);
                Some(temporary)
            }
        };
        Ok(Kept { batches: std::mem::take(&mut self.batches), file, reservation: self.reservation.take() })
    }
}

impl Kept {
    /// All batches, from the first one.
    pub(super) fn read(&self) -> Result<Replay> {
        let file = match &self.file {
            None => None,
            Some(temporary) => {
                let file = File::open(path_of(temporary)?)
                    .map_err(|error| Error::io("open", Path::new("spilled rows"), &error))?;
                Some((StreamReader::try_new(BufReader::new(file), None)?, Arc::clone(temporary)))
            }
        };
        Ok(Replay { batches: self.batches.clone().into_iter(), file, reservation: self.reservation.new_empty() })
    }
}

/// Where a file of the disk manager is.
fn path_of(file: &Arc<dyn SpillFile>) -> Result<&Path> {
    file.path().ok_or_else(|| Error::passing("the folder for what does not fit into memory is gone"))
}

fn create(path: &Path) -> Result<File> {
    let options = File::options().read(true).write(true).create(true).truncate(true).open(path);
    options.map_err(|error| Error::io("create", path, &error))
}

/// Batches that have waited.
pub(super) struct Replay {
    batches: std::vec::IntoIter<RecordBatch>,
    file: Option<Reading>,
    reservation: MemoryReservation,
}

impl Replay {
    pub(super) fn next(&mut self) -> Result<Option<RecordBatch>> {
        if let Some(batch) = self.batches.next() {
            self.reservation.shrink(batch.get_array_memory_size().min(self.reservation.size()));
            return Ok(Some(batch));
        }
        match &mut self.file {
            Some((reader, _)) => Ok(reader.next().transpose()?),
            None => Ok(None),
        }
    }
}

/// Keys with the numbers of their rows, in files by hash.
pub(super) struct Parts(Vec<(Arc<dyn SpillFile>, BufWriter<File>, usize)>, Arc<Measure>);

impl Parts {
    pub(super) fn new(context: &Arc<TaskContext>, measure: &Arc<Measure>) -> Result<Self> {
        let parts = (0..PARTS).map(|_| {
            let temporary = context.runtime_env().disk_manager.create_tmp_file("keys of rows")?;
            let file = create(path_of(&temporary)?)?;
            Ok((temporary, BufWriter::with_capacity(32 * 1024, file), 0))
        });
        Ok(Self(parts.collect::<Result<_>>()?, Arc::clone(measure)))
    }

    pub(super) fn push(&mut self, key: Key, row: u64) -> Result<()> {
        let (_, file, count) = &mut self.0[(key[1] % PARTS as u64) as usize];
        *count += 1;
        let mut record = [0; RECORD_BYTES];
        for (place, number) in record.chunks_exact_mut(8).zip([key[0], key[1], row]) {
            place.copy_from_slice(&number.to_ne_bytes());
        }
        file.write_all(&record).map_err(|error| Error::io("write", Path::new("spilled keys"), &error))
    }

    /// The parts, each in the order in which it was written.
    pub(super) fn finish(self) -> Result<Vec<Part>> {
        let Self(parts, measure) = self;
        let parts = parts.into_iter().map(|(temporary, file, rows)| {
            measure.spilled((rows * RECORD_BYTES) as u64);
            let failed = |error: std::io::Error| Error::io("write", Path::new("spilled keys"), &error);
            let mut file = file.into_inner().map_err(|error| failed(error.into_error()))?;
            file.rewind().map_err(failed)?;
            Ok(Part { file, rows, _temporary: temporary })
        });
        parts.collect()
    }
}

/// Keys of one part.
pub(super) struct Part {
    file: File,
    rows: usize,
    _temporary: Arc<dyn SpillFile>,
}

impl Part {
    pub(super) fn rows(&self) -> usize {
        self.rows
    }

    pub(super) fn each(self, mut take: impl FnMut(Key, u64)) -> Result<()> {
        let mut file = BufReader::with_capacity(256 * 1024, self.file);
        let mut record = [0; RECORD_BYTES];
        for _ in 0..self.rows {
            file.read_exact(&mut record)
                .map_err(|error| Error::passing(format!("cannot read spilled keys: {error}")))?;
            let number = |at: usize| u64::from_ne_bytes(record[at..at + 8].try_into().expect("eight bytes"));
            take([number(0), number(8)], number(16));
        }
        Ok(())
    }
}
