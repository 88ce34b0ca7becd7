//! One file of rows.

use std::fs::File;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use datafusion::arrow::array::RecordBatch;
use datafusion::arrow::csv::WriterBuilder;
use datafusion::arrow::ipc::writer::FileWriter;
use datafusion::arrow::json::LineDelimitedWriter;
use datafusion::arrow::json::writer::{LineDelimited, WriterBuilder as JsonBuilder};
use datafusion::parquet::file::properties::EnabledStatistics;
use towpath_model::etl::{FileFormat, FileTarget};

use super::parquet::ParquetWriter;
use super::sink::{Packing, Sink};
use super::{SharedSchema, parquet_properties};
use crate::error::{Error, Result};

/// How files are written.
#[derive(Debug, Clone)]
pub(crate) struct Style {
    pub(crate) format: FileFormat,
    /// Of Parquet.
    pub(crate) compression: Option<String>,
    /// Of text, as a whole.
    pub(crate) packing: Packing,
    pub(crate) row_group_rows: Option<usize>,
    /// Parquet: smallest and largest values of columns, by which readers pass over what they do not need.
    pub(crate) statistics: bool,
    pub(crate) header: bool,
    pub(crate) delimiter: u8,
    pub(crate) null_value: String,
}

impl Style {
    /// As a target says.
    pub(crate) fn of(target: &FileTarget) -> Self {
        Self {
            format: target.format,
            compression: target.compression.clone(),
            packing: match target.format {
                FileFormat::Csv | FileFormat::Json | FileFormat::Ndjson => {
                    Packing::of(target.compression.as_deref(), &target.path)
                }
                FileFormat::Parquet | FileFormat::Avro | FileFormat::Arrow => Packing::None,
            },
            row_group_rows: target.row_group_size,
            statistics: true,
            header: target.header.unwrap_or(true),
            delimiter: target.delimiter.as_ref().map_or(b',', |text| text.as_bytes()[0]),
            null_value: target.null_value.clone().unwrap_or_default(),
        }
    }

    /// Parquet as data sets between tasks have it.
    pub(crate) fn data_set() -> Self {
        Self {
            format: FileFormat::Parquet,
            // Written once and read once or twice: speed counts more than size.
            compression: Some("lz4".to_owned()),
            packing: Packing::None,
            row_group_rows: None,
            // They are read whole.
            statistics: false,
            header: true,
            delimiter: b',',
            null_value: String::new(),
        }
    }

    /// How the names of files end.
    pub(crate) fn extension(&self) -> String {
        format!("{}{}", self.format_extension(), self.packing.extension())
    }

    fn format_extension(&self) -> &'static str {
        match self.format {
            FileFormat::Csv => "csv",
            FileFormat::Json | FileFormat::Ndjson => "ndjson",
            FileFormat::Parquet | FileFormat::Avro => "parquet",
            FileFormat::Arrow => "arrow",
        }
    }

    /// Whether a path is called as a file of this format, and not as a folder.
    pub(crate) fn is_name_of_file(&self, path: &str) -> bool {
        let is_text = matches!(self.format, FileFormat::Csv | FileFormat::Json | FileFormat::Ndjson);
        let plain = if is_text { Packing::strip(path) } else { path };
        Path::new(plain).extension().is_some_and(|found| found.eq_ignore_ascii_case(self.format_extension()))
    }
}

enum Encoder {
    Parquet(Box<ParquetWriter<Sink>>),
    Csv(Box<datafusion::arrow::csv::Writer<Sink>>),
    Ndjson(Box<datafusion::arrow::json::Writer<Sink, LineDelimited>>),
    Arrow(Box<FileWriter<Sink>>),
}

/// A file that is being written.
pub(crate) struct Writer {
    path: PathBuf,
    encoder: Encoder,
    schema: SharedSchema,
    header: Option<(Style, SharedSchema)>,
}

impl Writer {
    pub(crate) fn create(path: &Path, style: &Style, schema: &SharedSchema) -> Result<Self> {
        let file = File::create(path).map_err(|error| Error::io("create", path, &error))?;
        let sink = Sink::new(file, style.packing).map_err(|error| Error::io("create", path, &error))?;
        let mut header = None;
        let encoder = match style.format {
            FileFormat::Parquet | FileFormat::Avro => {
                let properties = parquet_properties(style.compression.as_deref(), style.row_group_rows);
                let properties = if style.statistics {
                    properties
                } else {
                    properties.into_builder().set_statistics_enabled(EnabledStatistics::None).build()
                };
                Encoder::Parquet(Box::new(ParquetWriter::new(sink, schema, properties)?))
            }
            FileFormat::Csv => {
                if style.header {
                    header = Some((style.clone(), Arc::clone(schema)));
                }
                let builder = WriterBuilder::new().with_header(style.header).with_delimiter(style.delimiter);
                Encoder::Csv(Box::new(builder.with_null(style.null_value.clone()).build(sink)))
            }
            FileFormat::Json | FileFormat::Ndjson => {
                let builder = JsonBuilder::new().with_explicit_nulls(true);
                let writer: LineDelimitedWriter<Sink> = builder.build(sink);
                Encoder::Ndjson(Box::new(writer))
            }
            FileFormat::Arrow => Encoder::Arrow(Box::new(FileWriter::try_new(sink, schema)?)),
        };
        Ok(Self { path: path.to_owned(), encoder, schema: Arc::clone(schema), header })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    pub(crate) fn write(&mut self, batch: &RecordBatch) -> Result<()> {
        // What a plan says of nulls and what its batches say may differ.
        let batch = &RecordBatch::try_new(Arc::clone(&self.schema), batch.columns().to_vec())?;
        self.header = None;
        match &mut self.encoder {
            Encoder::Parquet(writer) => writer.write(batch)?,
            Encoder::Csv(writer) => writer.write(batch)?,
            Encoder::Ndjson(writer) => writer.write(batch)?,
            Encoder::Arrow(writer) => writer.write(batch)?,
        }
        Ok(())
    }

    /// Bytes that are held in memory.
    pub(crate) fn held_bytes(&self) -> usize {
        match &self.encoder {
            Encoder::Parquet(writer) => writer.held_bytes(),
            Encoder::Csv(_) | Encoder::Ndjson(_) | Encoder::Arrow(_) => 256 * 1024,
        }
    }

    /// Ends the file, with `durable` also on the disk; its size in bytes.
    pub(crate) fn finish(mut self, durable: bool) -> Result<u64> {
        if let Some((_, schema)) = self.header.take() {
            // A table without rows still has columns.
            let empty = RecordBatch::new_empty(schema);
            if let Encoder::Csv(writer) = &mut self.encoder {
                writer.write(&empty)?;
            }
        }
        let failed = |error: std::io::Error| Error::io("write", &self.path, &error);
        let sink = match self.encoder {
            Encoder::Parquet(writer) => writer.into_inner()?,
            Encoder::Csv(writer) => writer.into_inner(),
            Encoder::Ndjson(mut writer) => {
                writer.finish()?;
                writer.into_inner()
            }
            Encoder::Arrow(mut writer) => {
                writer.finish()?;
                writer.into_inner()?
            }
        };
        let mut file = sink.finish().map_err(failed)?;
        file.flush().map_err(failed)?;
        if durable {
            file.sync_all().map_err(failed)?;
        }
        Ok(file.metadata().map_err(failed)?.len())
    }
}
