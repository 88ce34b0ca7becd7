//! A Parquet file whose columns are encoded side by side, on all cores of the attempt.

use std::io::Write;
use std::sync::Arc;

use datafusion::arrow::array::RecordBatch;
use datafusion::arrow::datatypes::SchemaRef;
use datafusion::parquet::arrow::ArrowWriter;
use datafusion::parquet::arrow::arrow_writer::{
    ArrowColumnWriter, ArrowLeafColumn, ArrowRowGroupWriterFactory, compute_leaves,
};
use datafusion::parquet::errors::ParquetError;
use datafusion::parquet::file::properties::WriterProperties;
use datafusion::parquet::file::writer::SerializedFileWriter;
use rayon::prelude::*;

use crate::error::Result;

/// Batches with fewer values are encoded faster than they are handed out.
const LEAST_VALUES: usize = 4_096;

/// A file that is being written.
pub(crate) struct ParquetWriter<W: Write + Send> {
    file: SerializedFileWriter<W>,
    factory: ArrowRowGroupWriterFactory,
    schema: SchemaRef,
    most_rows: usize,
    /// The columns of the row group that is being made; none between two.
    columns: Vec<ArrowColumnWriter>,
    rows: usize,
    groups: usize,
}

impl<W: Write + Send> ParquetWriter<W> {
    pub(crate) fn new(sink: W, schema: &SchemaRef, properties: WriterProperties) -> Result<Self> {
        let most_rows = properties.max_row_group_row_count().unwrap_or(usize::MAX);
        let (file, factory) =
            ArrowWriter::try_new(sink, Arc::clone(schema), Some(properties))?.into_serialized_writer()?;
        Ok(Self { file, factory, schema: Arc::clone(schema), most_rows, columns: Vec::new(), rows: 0, groups: 0 })
    }

    pub(crate) fn write(&mut self, batch: &RecordBatch) -> Result<()> {
        let mut rest = batch.clone();
        while rest.num_rows() > 0 {
            if self.columns.is_empty() {
                self.columns = self.factory.create_column_writers(self.groups)?;
            }
            let count = rest.num_rows().min(self.most_rows - self.rows);
            self.encode(&rest.slice(0, count))?;
            self.rows += count;
            rest = rest.slice(count, rest.num_rows() - count);
            if self.rows == self.most_rows {
                self.end_group()?;
            }
        }
        Ok(())
    }

    fn encode(&mut self, batch: &RecordBatch) -> Result<()> {
        let mut leaves: Vec<ArrowLeafColumn> = Vec::with_capacity(self.columns.len());
        for (field, column) in self.schema.fields().iter().zip(batch.columns()) {
            leaves.extend(compute_leaves(field, column)?);
        }
        let encode = |(column, leaf): (&mut ArrowColumnWriter, &ArrowLeafColumn)| column.write(leaf);
        if batch.num_rows() * leaves.len() < LEAST_VALUES {
            return Ok(self.columns.iter_mut().zip(&leaves).try_for_each(encode)?);
        }
        Ok(self.columns.par_iter_mut().zip(leaves.par_iter()).with_max_len(1).try_for_each(encode)?)
    }

    fn end_group(&mut self) -> Result<()> {
        let columns = std::mem::take(&mut self.columns);
        let chunks: Vec<_> =
            columns.into_par_iter().map(ArrowColumnWriter::close).collect::<Result<_, ParquetError>>()?;
        let mut group = self.file.next_row_group()?;
        for chunk in chunks {
            chunk.append_to_row_group(&mut group)?;
        }
        group.close()?;
        (self.rows, self.groups) = (0, self.groups + 1);
        Ok(())
    }

    /// Bytes that are held in memory.
    pub(crate) fn held_bytes(&self) -> usize {
        self.columns.iter().map(ArrowColumnWriter::memory_size).sum()
    }

    /// Ends the file.
    pub(crate) fn into_inner(mut self) -> Result<W> {
        if self.rows > 0 {
            self.end_group()?;
        }
        Ok(self.file.into_inner()?)
    }
}
