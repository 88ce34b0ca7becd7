//! The files of a data set: one, or one for each value of the columns that it is partitioned by.
//!
//! Unlike the folders of a load, which speak Hive's language, the files keep those columns, in their types, and bear
//! numbers as names. So the data set as a whole reads as if it were not partitioned.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use datafusion::arrow::array::{Array, AsArray, RecordBatch, StringArray, UInt32Array};
use datafusion::arrow::compute::{cast, take_record_batch};
use datafusion::arrow::datatypes::DataType;
use indexmap::IndexMap;
use towpath_model::etl::Part;

use crate::error::{Error, Result};
use crate::source::no_column;
use crate::target::{SharedSchema, Style, Writer};

/// Most partitions of a data set: each is an open file, and a line of the manifest.
const MOST_PARTS: usize = 1_000;
/// Memory of all open files, bytes; then what the largest one holds is written out.
const MOST_HELD_BYTES: usize = 128 * 1024 * 1024;

/// Files that are being written.
pub(super) struct Files {
    folder: PathBuf,
    schema: SharedSchema,
    /// Names and places of the columns.
    by: Vec<(String, usize)>,
    open: IndexMap<Vec<Option<String>>, (Writer, u64)>,
}

/// What was written.
#[derive(Debug, Default)]
pub(super) struct Written {
    pub(super) rows: u64,
    pub(super) bytes: u64,
    pub(super) files: u64,
    /// In the order of their values, with the names of their files as places; none without partitions.
    pub(super) parts: Vec<Part>,
}

impl Files {
    pub(super) fn create(folder: &Path, schema: &SharedSchema, partition_by: &[String]) -> Result<Self> {
        let known = || schema.fields().iter().map(|field| field.name().as_str());
        let place = |name: &String| match schema.index_of(name) {
            Ok(at) => Ok((name.clone(), at)),
            Err(_) => Err(no_column(name, known()).within("`partition_by`")),
        };
        let by = partition_by.iter().map(place).collect::<Result<Vec<_>>>()?;
        let mut files = Self { folder: folder.to_owned(), schema: Arc::clone(schema), by, open: IndexMap::new() };
        if files.by.is_empty() {
            files.writer(Vec::new())?;
        }
        Ok(files)
    }

    pub(super) fn write(&mut self, batch: &RecordBatch) -> Result<()> {
        if self.by.is_empty() {
            return self.put(Vec::new(), batch);
        }
        let texts = self.by.iter().map(|(_, at)| cast(batch.column(*at), &DataType::Utf8));
        let texts = texts.collect::<Result<Vec<_>, _>>()?;
        let texts: Vec<&StringArray> = texts.iter().map(AsArray::as_string).collect();
        let mut places: HashMap<Vec<Option<&str>>, usize> = HashMap::new();
        let mut rows_of: Vec<(Vec<Option<&str>>, Vec<u32>)> = Vec::new();
        for row in 0..batch.num_rows() {
            let key: Vec<_> = texts.iter().map(|column| column.is_valid(row).then(|| column.value(row))).collect();
            let place = *places.entry(key).or_insert_with_key(|key| {
                rows_of.push((key.clone(), Vec::new()));
                rows_of.len() - 1
            });
            rows_of[place].1.push(row as u32);
        }
        for (key, rows) in rows_of {
            let part = take_record_batch(batch, &UInt32Array::from(rows))?;
            self.put(key.into_iter().map(|value| value.map(str::to_owned)).collect(), &part)?;
        }
        self.make_room()
    }

    fn put(&mut self, key: Vec<Option<String>>, batch: &RecordBatch) -> Result<()> {
        let (writer, rows) = self.writer(key)?;
        *rows += batch.num_rows() as u64;
        writer.write(batch)
    }

    #[expect(clippy::needless_pass_by_value, reason = "a new key is kept")]
    fn writer(&mut self, key: Vec<Option<String>>) -> Result<&mut (Writer, u64)> {
        if !self.open.contains_key(&key) {
            if self.open.len() == MOST_PARTS {
                return Err(Error::lasting(format!(
                    "`partition_by` makes more than {MOST_PARTS} partitions; take columns with fewer values, or derive one"
                )));
            }
            let path = self.folder.join(name(self.open.len()));
            let writer = Writer::create(&path, &Style::data_set(), &self.schema)?;
            self.open.insert(key.clone(), (writer, 0));
        }
        Ok(self.open.get_mut(&key).expect("it was just put there"))
    }

    fn make_room(&mut self) -> Result<()> {
        while self.open.values().map(|(writer, _)| writer.held_bytes()).sum::<usize>() > MOST_HELD_BYTES {
            let Some((writer, _)) = self.open.values_mut().max_by_key(|(writer, _)| writer.held_bytes()) else { break };
            let before = writer.held_bytes();
            writer.flush()?;
            if writer.held_bytes() >= before {
                break;
            }
        }
        Ok(())
    }

    pub(super) fn finish(mut self) -> Result<Written> {
        if self.open.is_empty() {
            // A data set without rows has columns.
            self.by.clear();
            self.writer(Vec::new())?;
        }
        let mut written = Written { files: self.open.len() as u64, ..Written::default() };
        let mut parts = Vec::new();
        for (at, (key, (writer, rows))) in self.open.into_iter().enumerate() {
            let bytes = writer.finish(false)?;
            written.rows += rows;
            written.bytes += bytes;
            let values = self.by.iter().map(|(name, _)| name.clone()).zip(key.iter().cloned()).collect();
            parts.push((key, Part { location: name(at), values, rows }));
        }
        if !self.by.is_empty() {
            parts.sort_by(|(one, _), (other, _)| one.cmp(other));
            written.parts = parts.into_iter().map(|(_, part)| part).collect();
        }
        Ok(written)
    }
}

fn name(number: usize) -> String {
    format!("part-{number:05}.parquet")
}
