//! The files of a target: one, or a folder with a folder for each partition.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use datafusion::arrow::array::{Array, RecordBatch, StringArray, UInt32Array};
use datafusion::arrow::compute::{cast, take_record_batch};
use datafusion::arrow::datatypes::{DataType, Schema};
use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};

use super::{SharedSchema, Style, Writer};
use crate::error::{Error, Result};
use crate::source::no_column;

/// How Hive writes null in the name of a folder.
const HIVE_NULL: &str = "__HIVE_DEFAULT_PARTITION__";
/// What cannot stand in the name of a folder, or means something there; as Spark escapes it.
const ESCAPED: &AsciiSet = &CONTROLS
    .add(b'"')
    .add(b'#')
    .add(b'%')
    .add(b'\'')
    .add(b'*')
    .add(b'/')
    .add(b':')
    .add(b'=')
    .add(b'?')
    .add(b'\\')
    .add(b'{')
    .add(b'[')
    .add(b']')
    .add(b'^');
/// Open files; past this number the one with the most rows in memory is ended and a next one begun.
const MOST_OPEN: usize = 200;
/// Memory of all open files, bytes.
const MOST_HELD_BYTES: usize = 256 * 1024 * 1024;

/// What was written.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Written {
    pub(crate) rows: u64,
    pub(crate) bytes: u64,
    pub(crate) files: u64,
}

/// Files that are being written, all aside.
pub(crate) struct Output {
    folder: PathBuf,
    style: Style,
    schema: SharedSchema,
    /// The columns that make folders.
    partition_by: Vec<usize>,
    open: HashMap<Vec<Option<String>>, Writer>,
    /// The only file, where there are no partitions.
    single: Option<Writer>,
    written: Written,
    /// Part of each file's name, so that an append finds no file of that name.
    id: String,
    /// Files are to be on the disk when they are done.
    durable: bool,
    finished: Option<Box<dyn FnMut(PathBuf) + Send>>,
}

impl Output {
    /// One file, called as the target is.
    pub(super) fn file(aside: &Path, id: &str, target: &Path, style: Style, schema: &SharedSchema) -> Result<Self> {
        let name = target.file_name().unwrap_or_default();
        let writer = Writer::create(&aside.join(name), &style, schema)?;
        Ok(Self::new(aside, id, style, schema, Vec::new(), Some(writer)))
    }

    /// A folder of files.
    pub(super) fn folder(
        aside: &Path,
        id: &str,
        style: Style,
        schema: &SharedSchema,
        partition_by: &[String],
    ) -> Result<Self> {
        let known = || schema.fields().iter().map(|field| field.name().as_str());
        let columns = partition_by
            .iter()
            .map(|name| schema.index_of(name).map_err(|_| no_column(name, known()).within("`partition_by`")));
        let columns = columns.collect::<Result<Vec<_>>>()?;
        if !columns.is_empty() && columns.len() == schema.fields().len() {
            return Err(Error::lasting("`partition_by` names all columns, so that none would be left for the files"));
        }
        let mut output = Self::new(aside, id, style, schema, columns, None);
        if output.partition_by.is_empty() {
            // Also a table without rows has a file, which tells its columns.
            let path = output.next_path(&output.folder.clone());
            output.single = Some(Writer::create(&path, &output.style, schema)?);
        }
        Ok(output)
    }

    fn new(
        aside: &Path,
        id: &str,
        style: Style,
        schema: &SharedSchema,
        partition_by: Vec<usize>,
        single: Option<Writer>,
    ) -> Self {
        let of_files = (0..schema.fields().len()).filter(|at| !partition_by.contains(at));
        let schema = Arc::new(Schema::new(of_files.map(|at| Arc::clone(&schema.fields()[at])).collect::<Vec<_>>()));
        Self {
            folder: aside.to_owned(),
            style,
            schema,
            partition_by,
            open: HashMap::new(),
            single,
            written: Written::default(),
            id: id.to_owned(),
            durable: true,
            finished: None,
        }
    }

    /// Tells `finished` of each file that is done; they are not to last, as they are taken elsewhere.
    pub(super) fn hand_over(&mut self, finished: Box<dyn FnMut(PathBuf) + Send>) {
        self.finished = Some(finished);
        self.durable = false;
    }

    fn end(&mut self, writer: Writer) -> Result<()> {
        let path = writer.path().to_owned();
        self.written.bytes += writer.finish(self.durable)?;
        if let Some(finished) = &mut self.finished {
            finished(path);
        }
        Ok(())
    }

    fn next_path(&mut self, folder: &Path) -> PathBuf {
        let name = format!("part-{:05}-{}.{}", self.written.files, self.id, self.style.extension());
        self.written.files += 1;
        folder.join(name)
    }

    pub(crate) fn write(&mut self, batch: &RecordBatch) -> Result<()> {
        self.written.rows += batch.num_rows() as u64;
        if let Some(writer) = &mut self.single {
            return writer.write(batch);
        }
        let texts = self.partition_by.iter().map(|at| cast(batch.column(*at), &DataType::Utf8));
        let texts = texts.collect::<Result<Vec<_>, _>>()?;
        let texts: Vec<&StringArray> = texts.iter().map(datafusion::arrow::array::AsArray::as_string).collect();
        let mut rows_of: HashMap<Vec<Option<&str>>, Vec<u32>> = HashMap::new();
        for row in 0..batch.num_rows() {
            let key = texts.iter().map(|column| column.is_valid(row).then(|| column.value(row))).collect();
            rows_of.entry(key).or_default().push(row as u32);
        }
        let of_files: Vec<usize> = (0..batch.num_columns()).filter(|at| !self.partition_by.contains(at)).collect();
        let names: Vec<String> =
            self.partition_by.iter().map(|at| batch.schema_ref().field(*at).name().clone()).collect();
        let batch = batch.project(&of_files)?;
        for (key, rows) in rows_of {
            let part = take_record_batch(&batch, &UInt32Array::from(rows))?;
            let key: Vec<Option<String>> = key.into_iter().map(|value| value.map(str::to_owned)).collect();
            self.writer(&key, &names)?.write(&part)?;
        }
        self.make_room()
    }

    fn writer(&mut self, key: &[Option<String>], names: &[String]) -> Result<&mut Writer> {
        if !self.open.contains_key(key) {
            let mut folder = self.folder.clone();
            for (name, value) in names.iter().zip(key) {
                let value = value
                    .as_deref()
                    .map_or_else(|| HIVE_NULL.to_owned(), |value| utf8_percent_encode(value, ESCAPED).to_string());
                folder.push(format!("{}={value}", utf8_percent_encode(name, ESCAPED)));
            }
            std::fs::create_dir_all(&folder).map_err(|error| Error::io("create the folder", &folder, &error))?;
            let path = self.next_path(&folder);
            let writer = Writer::create(&path, &self.style, &self.schema)?;
            self.open.insert(key.to_vec(), writer);
        }
        Ok(self.open.get_mut(key).expect("it was just put there"))
    }

    /// Ends the largest files while too many are open, or hold too much.
    fn make_room(&mut self) -> Result<()> {
        let held = |open: &HashMap<_, Writer>| open.values().map(Writer::held_bytes).sum::<usize>();
        while self.open.len() > MOST_OPEN || (self.open.len() > 1 && held(&self.open) > MOST_HELD_BYTES) {
            let largest = self.open.iter().max_by_key(|(_, writer)| writer.held_bytes()).map(|(key, _)| key.clone());
            if let Some(writer) = largest.and_then(|key| self.open.remove(&key)) {
                self.end(writer)?;
            }
        }
        Ok(())
    }

    pub(crate) fn finish(mut self) -> Result<Written> {
        if let Some(writer) = self.single.take() {
            self.end(writer)?;
            self.written.files = 1;
        }
        for writer in std::mem::take(&mut self.open).into_values() {
            self.end(writer)?;
        }
        Ok(self.written)
    }
}
