//! Parquet, JSON, Arrow and Avro files, by DataFusion's readers.

use std::sync::Arc;

use datafusion::arrow::datatypes::DataType;
use datafusion::datasource::file_format::FileFormat as Reader;
use datafusion::datasource::file_format::arrow::ArrowFormat;
use datafusion::datasource::file_format::avro::AvroFormat;
use datafusion::datasource::file_format::file_compression_type::FileCompressionType;
use datafusion::datasource::file_format::json::JsonFormat;
use datafusion::datasource::file_format::parquet::ParquetFormat;
use datafusion::datasource::listing::{ListingOptions, ListingTable, ListingTableConfig, ListingTableUrl};
use datafusion::logical_expr::{Expr, cast, ident, lit, when};
use datafusion::prelude::{DataFrame, SessionContext};
use datafusion::scalar::ScalarValue;
use towpath_model::etl::{Compression, FileFormat, FileSource};
use url::Url;

use super::infer;
use super::paths::{Place, SourceFile};
use crate::error::{Error, Result};
use crate::measure::Meter;
use crate::remote::Remotes;
use crate::types;

/// The rows of files of one format.
pub(super) async fn open(session: &SessionContext, source: &FileSource, files: &[SourceFile]) -> Result<DataFrame> {
    let files = &fetched(session, source, files).await?[..];
    let mut whole: Option<DataFrame> = None;
    // Files of one folder are one table; the values of partitions are put beside it.
    let mut from = 0;
    while from < files.len() {
        let partitions = &files[from].partitions;
        let count = files[from..].iter().take_while(|file| file.partitions == *partitions).count();
        let part = table(session, source, &files[from..from + count]).await?;
        let part = with_partitions(part, files, from)?;
        whole = Some(match whole {
            None => part,
            Some(whole) => whole.union_by_name(part)?,
        });
        from += count;
    }
    let data = whole.ok_or_else(|| Error::lasting("the source has no files"))?;
    declared(data, source)
}

/// The files, those brought here that cannot be read where they are.
async fn fetched(session: &SessionContext, source: &FileSource, files: &[SourceFile]) -> Result<Vec<SourceFile>> {
    let (mut here, remotes) = (Vec::with_capacity(files.len()), Remotes::of(session));
    for file in files {
        let shown = file.shown();
        let name = shown.rsplit(['/', '\\']).next().unwrap_or_default();
        // A name may be longer than file systems take; its end is what counts.
        let name: String = name.chars().skip(name.chars().count().saturating_sub(60)).collect();
        let place = match &file.place {
            Place::Web(web) => Place::Local(remotes.fetch(web.read(|_| ()), &name).await?),
            Place::Object(object) if source.format == FileFormat::Arrow => {
                Place::Local(remotes.fetch(object.read(), &name).await?)
            }
            place => place.clone(),
        };
        here.push(SourceFile { place, partitions: file.partitions.clone() });
    }
    let meter = Meter::of(session);
    here.iter().filter_map(SourceFile::size).for_each(|bytes| meter.expects_of_plans(bytes));
    Ok(here)
}

async fn table(session: &SessionContext, source: &FileSource, files: &[SourceFile]) -> Result<DataFrame> {
    let compression = match source.compression {
        None | Some(Compression::None) => {
            let name = files[0].shown().to_lowercase();
            match name.rsplit('.').next() {
                Some("gz" | "gzip") => FileCompressionType::GZIP,
                Some("bz2") => FileCompressionType::BZIP2,
                Some("xz") => FileCompressionType::XZ,
                Some("zst" | "zstd") => FileCompressionType::ZSTD,
                _ => FileCompressionType::UNCOMPRESSED,
            }
        }
        Some(Compression::Gzip) => FileCompressionType::GZIP,
        Some(Compression::Bzip2) => FileCompressionType::BZIP2,
        Some(Compression::Xz) => FileCompressionType::XZ,
        Some(Compression::Zstd) => FileCompressionType::ZSTD,
    };
    let json = || JsonFormat::default().with_file_compression_type(compression);
    let reader: Arc<dyn Reader> = match source.format {
        FileFormat::Parquet => Arc::new(ParquetFormat::default()),
        FileFormat::Arrow => Arc::new(ArrowFormat),
        FileFormat::Avro => Arc::new(AvroFormat),
        FileFormat::Json => Arc::new(json().with_newline_delimited(false)),
        FileFormat::Ndjson | FileFormat::Csv => Arc::new(json()),
    };
    let mut urls = Vec::with_capacity(files.len());
    let is_text = matches!(source.format, FileFormat::Json | FileFormat::Ndjson | FileFormat::Csv);
    for file in files {
        // The readers pass over such a file, as if it had no rows; but it was never written to its end.
        if !is_text && file.size() == Some(0) {
            return Err(Error::passing(format!(
                "`{}` is empty; what wrote it has not ended: write it again, or remove it",
                file.shown()
            )));
        }
        let url = match &file.place {
            Place::Object(object) => object.register(session)?,
            Place::Local(path) => {
                let full = std::path::absolute(path).map_err(|error| Error::io("find", path, &error))?;
                Url::from_file_path(&full)
                    .map_err(|()| Error::lasting(format!("`{}` is no path of a file", full.display())))?
            }
            Place::Web(file) => return Err(Error::lasting(format!("`{}` was not fetched", file.shown()))),
        };
        urls.push(ListingTableUrl::try_new(url, None)?);
    }
    let options = ListingOptions::new(reader).with_file_extension("");
    let place = super::shown(files);
    let config = ListingTableConfig::new_with_multi_paths(urls).with_listing_options(options);
    let config = config.infer_schema(&session.state()).await.map_err(|error| Error::from(error).within(&place))?;
    let table = ListingTable::try_new(config)?;
    Ok(session.read_table(Arc::new(table))?)
}

/// Puts the values of the folders beside the rows of a file.
fn with_partitions(data: DataFrame, files: &[SourceFile], at: usize) -> Result<DataFrame> {
    let mut data = data;
    for (index, (name, value)) in files[at].partitions.iter().enumerate() {
        let values = files.iter().map(|file| file.partitions[index].1.as_deref()).collect();
        let kind = infer::infer(&values, files.len());
        let value = ScalarValue::Utf8(value.clone());
        let names: Vec<String> = data.schema().fields().iter().map(|field| field.name().clone()).collect();
        // What stands in the file as well is taken from the folder.
        let mut columns: Vec<Expr> = names.iter().filter(|other| *other != name).map(ident).collect();
        columns.push(cast(lit(value), kind).alias(name));
        data = data.select(columns)?;
    }
    Ok(data)
}

/// Columns in the types that the source declares. A value that does not fit is an error.
fn declared(data: DataFrame, source: &FileSource) -> Result<DataFrame> {
    if source.columns.is_empty() {
        return Ok(data);
    }
    let schema = data.schema().clone();
    let known = || schema.fields().iter().map(|field| field.name().as_str());
    if let Some(unknown) = source.columns.keys().find(|name| !known().any(|known| known == *name)) {
        return Err(super::no_column(unknown, known()).within("`columns`"));
    }
    let mut columns: Vec<Expr> = Vec::with_capacity(schema.fields().len());
    for field in schema.fields() {
        let column = ident(field.name());
        columns.push(match source.columns.get(field.name()).map(types::arrow) {
            Some(kind) if kind != *field.data_type() => {
                let value = if types::is_text(field.data_type()) && !types::is_text(&kind) {
                    // The empty text is null, as in CSV.
                    let mut empty = when(column.clone().eq(lit("")), lit(ScalarValue::Utf8(None)));
                    empty.otherwise(cast(column, DataType::Utf8))?
                } else {
                    column
                };
                cast(value, kind).alias(field.name())
            }
            _ => column,
        });
    }
    Ok(data.select(columns)?)
}
