//! A look at what tasks have left: the first rows of data sets and of rejects, and their columns.
//!
//! Reads Parquet without a plan: the footer, and of the first row groups as many pages as it takes. What a data set is like as a
//! whole stands in its manifest ([`towpath_model::etl::look`]).
//!
//! A manifest is an XCom, which others than the engine may write as well. So a file is read only if it lies in the staging area of
//! the very DAG whose data was asked for: who may see that DAG may see it.

pub mod explain;
pub mod loads;
mod value;

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use datafusion::arrow::array::RecordBatch;
use datafusion::arrow::datatypes::{Schema, SchemaRef};
use datafusion::parquet::arrow::ProjectionMask;
use datafusion::parquet::arrow::arrow_reader::{ParquetRecordBatchReader, ParquetRecordBatchReaderBuilder};
use serde_json::Value;
use towpath_model::etl::Manifest;
use towpath_model::etl::look::{Bounds, Column, Owner, Reader, Rows, Trouble};
use towpath_model::staging;

use crate::types;
use value::Cells;

/// Rows that are decoded at a time: values may be large.
const BATCH_ROWS: usize = 32;

/// Reads data sets of a staging area.
#[derive(Debug, Clone)]
pub struct Inspector {
    /// The staging area, as [`crate::operator::Options::staging`].
    pub staging: PathBuf,
}

impl Reader for Inspector {
    fn head(&self, owner: Owner<'_>, manifest: &Manifest, bounds: &Bounds) -> Result<Rows, Trouble> {
        let batches = self.batches(owner, manifest, bounds)?;
        Ok(table(batches, bounds, manifest.rows))
    }

    fn rejects(&self, owner: Owner<'_>, manifest: &Manifest, bounds: &Bounds) -> Result<Rows, Trouble> {
        let Some(rejects) = &manifest.rejects else { return Ok(Rows::default()) };
        let place = Place { owner, location: &rejects.location };
        let batches = place.open(&self.staging)?.batches(bounds, true)?;
        Ok(table(batches, bounds, rejects.rows))
    }

    fn columns(&self, owner: Owner<'_>, manifest: &Manifest) -> Result<Vec<Column>, Trouble> {
        let mut columns: Vec<Column> =
            manifest.schema.iter().map(|field| Column::new(&field.name, &field.kind)).collect();
        let place = Place { owner, location: &manifest.location };
        // Columns are known after the files are gone as well.
        let opened = match place.open(&self.staging) {
            Err(Trouble::Cleaned { .. }) => return Ok(columns),
            opened => opened?,
        };
        let schema = opened.schema()?;
        for (column, field) in columns.iter_mut().zip(schema.fields()) {
            column.arrow = Some(field.data_type().to_string());
            column.nullable = Some(field.is_nullable());
        }
        Ok(columns)
    }
}

/// The first rows as Arrow has them, with the columns of all files.
#[derive(Debug, Default)]
pub struct Batches {
    /// Those of the first file, then what others have besides.
    pub columns: Vec<Column>,
    pub batches: Vec<RecordBatch>,
    /// Columns that were left out.
    pub columns_left: usize,
}

impl Inspector {
    /// The first rows, at most as many as `bounds` allows; batches of different files may have different columns.
    ///
    /// # Errors
    /// Those of [`Reader::head`].
    pub fn batches(&self, owner: Owner<'_>, manifest: &Manifest, bounds: &Bounds) -> Result<Batches, Trouble> {
        Place { owner, location: &manifest.location }.open(&self.staging)?.batches(bounds, false)
    }
}

/// Where files should be.
#[derive(Debug, Clone, Copy)]
struct Place<'a> {
    owner: Owner<'a>,
    location: &'a str,
}

/// The files that are there, in order; at least one.
#[derive(Debug)]
struct Opened<'a> {
    place: Place<'a>,
    files: Vec<PathBuf>,
}

impl<'a> Place<'a> {
    fn unreadable(&self, path: &Path, error: &dyn std::fmt::Display) -> Trouble {
        let reason = format!("`{}`: {error}", path.display());
        Trouble::Unreadable { task_id: self.owner.task_id.to_owned(), reason }
    }

    fn open(self, staging: &Path) -> Result<Opened<'a>, Trouble> {
        let (task_id, location) = (self.owner.task_id.to_owned(), self.location.to_owned());
        let own = staging::dag_folder(staging, self.owner.dag_id);
        let path = Path::new(self.location);
        let Ok(found) = path.canonicalize() else {
            // It may lie below a name of the folder that is a link, so this says less than the real path does.
            let is_own = path.starts_with(&own) || path.is_absolute() && own.is_relative();
            return Err(if is_own {
                Trouble::Cleaned { task_id, location }
            } else {
                Trouble::Elsewhere { task_id, location }
            });
        };
        if !own.canonicalize().is_ok_and(|own| found.starts_with(own)) {
            return Err(Trouble::Elsewhere { task_id, location });
        }
        let mut files = vec![found.clone()];
        if found.is_dir() {
            let entries = std::fs::read_dir(&found).and_then(Iterator::collect::<std::io::Result<Vec<_>>>);
            let entries = entries.map_err(|error| self.unreadable(&found, &error))?;
            // What begins with `.` or `_` is no data.
            let is_data =
                |path: &PathBuf| path.is_file() && !name(path).starts_with('.') && !name(path).starts_with('_');
            files = entries.into_iter().map(|entry| entry.path()).filter(is_data).collect();
            files.sort();
        }
        if files.is_empty() {
            return Err(Trouble::Unreadable { task_id, reason: format!("`{location}` has no files any more") });
        }
        Ok(Opened { place: self, files })
    }
}

fn name(path: &Path) -> std::borrow::Cow<'_, str> {
    path.file_name().unwrap_or_default().to_string_lossy()
}

impl Opened<'_> {
    fn builder(&self, path: &Path) -> Result<ParquetRecordBatchReaderBuilder<File>, Trouble> {
        let file = File::open(path).map_err(|error| self.place.unreadable(path, &error))?;
        ParquetRecordBatchReaderBuilder::try_new(file).map_err(|error| self.place.unreadable(path, &error))
    }

    /// Of the first file.
    fn schema(&self) -> Result<SchemaRef, Trouble> {
        Ok(Arc::clone(self.builder(&self.files[0])?.schema()))
    }

    /// The first rows of the files; with `keeps_last` the last column is one of those that are kept.
    fn batches(&self, bounds: &Bounds, keeps_last: bool) -> Result<Batches, Trouble> {
        let mut found = Batches::default();
        let (mut rows, mut bytes) = (0, 0);
        for (at, path) in self.files.iter().enumerate() {
            let left = bounds.rows.saturating_sub(rows);
            let is_full = left == 0 || bytes >= bounds.bytes;
            // The first file is asked for its columns at least.
            if is_full && at > 0 {
                break;
            }
            let builder = self.builder(path)?;
            let all = builder.schema().fields().len();
            let kept = kept(all, bounds.columns, keeps_last);
            found.columns_left = found.columns_left.max(all - kept.len());
            found.add_columns(builder.schema(), &kept);
            if is_full {
                break;
            }
            let mask = ProjectionMask::roots(builder.parquet_schema(), kept);
            let reader = builder.with_projection(mask).with_limit(left).with_batch_size(BATCH_ROWS.min(left)).build();
            let reader: ParquetRecordBatchReader = reader.map_err(|error| self.place.unreadable(path, &error))?;
            for batch in reader {
                let batch = batch.map_err(|error| self.place.unreadable(path, &error))?;
                rows += batch.num_rows();
                bytes += batch.get_array_memory_size();
                found.batches.push(batch);
                if bytes >= bounds.bytes {
                    break;
                }
            }
        }
        Ok(found)
    }
}

/// The places of the columns that are read.
fn kept(all: usize, most: usize, keeps_last: bool) -> Vec<usize> {
    let most = most.max(1);
    match keeps_last && all > most {
        true => (0..most - 1).chain([all - 1]).collect(),
        false => (0..all.min(most)).collect(),
    }
}

impl Batches {
    fn add_columns(&mut self, schema: &Schema, kept: &[usize]) {
        for field in kept.iter().map(|at| schema.field(*at)) {
            if self.columns.iter().all(|column| column.name != *field.name()) {
                let mut column = Column::new(field.name(), &types::name(field.data_type()));
                column.arrow = Some(field.data_type().to_string());
                column.nullable = Some(field.is_nullable());
                self.columns.push(column);
            }
        }
    }
}

/// The rows with their values as JSON, as far as they may go.
fn table(found: Batches, bounds: &Bounds, total_rows: u64) -> Rows {
    let Batches { columns, batches, columns_left } = found;
    let mut cells = Cells::new(bounds.cell_chars);
    let mut rows = Vec::new();
    'all: for batch in &batches {
        let arrays: Vec<_> = columns.iter().map(|column| batch.column_by_name(&column.name)).collect();
        for row in 0..batch.num_rows() {
            if rows.len() == bounds.rows || cells.bytes >= bounds.bytes {
                break 'all;
            }
            rows.push(arrays.iter().map(|array| array.map_or(Value::Null, |array| cells.value(array, row))).collect());
        }
    }
    Rows { columns, rows, total_rows, columns_left, values_cut: cells.cut }
}

#[cfg(test)]
mod tests;
