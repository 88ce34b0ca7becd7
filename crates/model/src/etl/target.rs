//! Where data goes.

use serde::{Deserialize, Serialize};

use super::{FileFormat, OneOrMany};

/// A target of rows.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Written", into = "Written")]
pub enum Target {
    File(FileTarget),
    Table(TableTarget),
}

/// What becomes of data that is there already; the words are Spark's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, strum::Display)]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
pub enum WriteMode {
    /// It is replaced.
    #[default]
    Overwrite,
    /// It stays, and the new rows are added.
    Append,
    /// The load fails.
    Error,
    /// The load does nothing.
    Ignore,
    /// Partitions that have new rows are replaced, the others stay; files only.
    OverwritePartitions,
    /// Rows with the same key are replaced, others are added; tables only.
    Upsert,
}

/// A file, or a folder of files.
#[derive(Debug, Clone, PartialEq)]
pub struct FileTarget {
    pub format: FileFormat,
    /// Relative to the project folder, or a URL of an object store. A name that ends in the format (`.parquet`, `.csv.gz`) is a file,
    /// any other a folder.
    pub path: String,
    /// Columns whose values make folders, as Hive names them: `carrier=AA`.
    pub partition_by: Vec<String>,
    pub mode: WriteMode,
    /// Parquet: zstd (default), snappy, gzip, lz4, none. CSV and NDJSON: gzip, zstd, bzip2, none (default: by the name).
    pub compression: Option<String>,
    /// Parquet: rows of a row group (default 1,048,576).
    pub row_group_size: Option<usize>,
    /// CSV: the first line names the columns (default true).
    pub header: Option<bool>,
    /// CSV: what separates fields (default a comma).
    pub delimiter: Option<String>,
    /// CSV: what is written for null (default nothing).
    pub null_value: Option<String>,
    /// The connection that opens the URL.
    pub connection: Option<String>,
}

/// A table of a database.
#[derive(Debug, Clone, PartialEq)]
pub struct TableTarget {
    /// Its name, maybe with a schema; made from the data where it does not exist.
    pub table: String,
    pub connection: String,
    pub mode: WriteMode,
    /// The columns that tell rows apart, for `upsert`.
    pub key: Vec<String>,
}

/// A target as it is written: flat.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    parquet: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    csv: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    ndjson: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    arrow: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    table: Option<String>,
    // The longer names are those of Airflow's operators.
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        alias = "aws_conn_id",
        alias = "gcp_conn_id",
        alias = "wasb_conn_id"
    )]
    connection: Option<String>,
    #[serde(default)]
    mode: WriteMode,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    key: Option<OneOrMany<String>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    partition_by: Option<OneOrMany<String>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    compression: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    row_group_size: Option<usize>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    header: Option<bool>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    delimiter: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    null_value: Option<String>,
}

const KINDS: &str = "parquet, csv, ndjson, arrow, table";
const COMPRESSIONS: &[&str] = &["none", "snappy", "zstd", "gzip", "lz4"];
/// Those of text, as a whole.
const OF_TEXT: &[&str] = &["none", "gzip", "zstd", "bzip2"];

impl TryFrom<Written> for Target {
    type Error = String;

    fn try_from(mut written: Written) -> Result<Self, String> {
        let files = [
            (FileFormat::Parquet, written.parquet.take()),
            (FileFormat::Csv, written.csv.take()),
            (FileFormat::Ndjson, written.ndjson.take()),
            (FileFormat::Arrow, written.arrow.take()),
        ];
        let mut given: Vec<(FileFormat, String)> =
            files.into_iter().filter_map(|(format, path)| Some((format, path?))).collect();
        match (given.pop(), written.table.take()) {
            (Some((format, path)), None) if given.is_empty() => file(format, path, written),
            (None, Some(table)) => self::table(table, written),
            (None, None) => Err(format!("a target needs one of {KINDS}")),
            _ => Err(format!("a target has one of {KINDS}, not several")),
        }
    }
}

fn file(format: FileFormat, path: String, written: Written) -> Result<Target, String> {
    if written.mode == WriteMode::Upsert {
        return Err("mode upsert belongs to a target with `table`".to_owned());
    }
    if written.key.is_some() {
        return Err("`key` belongs to a target with `table`".to_owned());
    }
    let scheme = path.split_once("://").map(|(scheme, _)| scheme.to_ascii_lowercase());
    if matches!(scheme.as_deref(), Some("http" | "https")) {
        return Err(format!("`{path}` is on a web server, which takes no files; load to s3://, gs:// or az://"));
    }
    if scheme.is_none() && written.connection.is_some() && !path.contains("{{") {
        return Err("`connection` belongs to a target with `table` or a URL (s3://, gs://, az://)".to_owned());
    }
    let partition_by = written.partition_by.unwrap_or_default().0;
    if written.mode == WriteMode::OverwritePartitions && partition_by.is_empty() {
        return Err("mode overwrite_partitions needs `partition_by`".to_owned());
    }
    if format != FileFormat::Csv
        && (written.header.is_some() || written.delimiter.is_some() || written.null_value.is_some())
    {
        return Err(format!("`header`, `delimiter` and `null_value` belong to `csv`, not to `{format}`"));
    }
    if format != FileFormat::Parquet && written.row_group_size.is_some() {
        return Err(format!("`row_group_size` belongs to `parquet`, not to `{format}`"));
    }
    let known = match format {
        FileFormat::Csv | FileFormat::Ndjson | FileFormat::Json => OF_TEXT,
        FileFormat::Parquet | FileFormat::Avro => COMPRESSIONS,
        FileFormat::Arrow => &["none"],
    };
    if let Some(compression) = &written.compression
        && !known.contains(&compression.as_str())
        && !compression.contains("{{")
    {
        let known = known.join(", ");
        return Err(format!("there is no compression `{compression}` of {format}; write one of {known}"));
    }
    if let Some(delimiter) = &written.delimiter
        && !(delimiter.len() == 1 && delimiter.is_ascii())
    {
        return Err(format!("`delimiter` has to be one ASCII character, not `{delimiter}`"));
    }
    Ok(Target::File(FileTarget {
        format,
        path,
        partition_by,
        mode: written.mode,
        compression: written.compression,
        row_group_size: written.row_group_size.filter(|rows| *rows > 0),
        header: written.header,
        delimiter: written.delimiter,
        null_value: written.null_value,
        connection: written.connection,
    }))
}

fn table(table: String, written: Written) -> Result<Target, String> {
    let connection = written.connection.ok_or("a target with `table` needs `connection`, the id of a connection")?;
    if written.mode == WriteMode::OverwritePartitions {
        return Err("mode overwrite_partitions belongs to files; a table takes upsert".to_owned());
    }
    let key = written.key.unwrap_or_default().0;
    if written.mode == WriteMode::Upsert && key.is_empty() {
        return Err("mode upsert needs `key`, the columns that tell rows apart".to_owned());
    }
    let foreign = written.partition_by.is_some() || written.compression.is_some() || written.row_group_size.is_some();
    if foreign || written.header.is_some() || written.delimiter.is_some() || written.null_value.is_some() {
        return Err("a target with `table` has `connection`, `mode` and `key` alone".to_owned());
    }
    Ok(Target::Table(TableTarget { table, connection, mode: written.mode, key }))
}

impl From<Target> for Written {
    fn from(target: Target) -> Self {
        match target {
            Target::Table(table) => Self {
                table: Some(table.table),
                connection: Some(table.connection),
                mode: table.mode,
                key: (!table.key.is_empty()).then_some(OneOrMany(table.key)),
                ..Self::default()
            },
            Target::File(file) => {
                let mut written = Self {
                    mode: file.mode,
                    partition_by: (!file.partition_by.is_empty()).then_some(OneOrMany(file.partition_by)),
                    compression: file.compression,
                    row_group_size: file.row_group_size,
                    header: file.header,
                    delimiter: file.delimiter,
                    null_value: file.null_value,
                    connection: file.connection,
                    ..Self::default()
                };
                let place = match file.format {
                    FileFormat::Csv => &mut written.csv,
                    FileFormat::Json | FileFormat::Ndjson => &mut written.ndjson,
                    FileFormat::Parquet | FileFormat::Avro => &mut written.parquet,
                    FileFormat::Arrow => &mut written.arrow,
                };
                *place = Some(file.path);
                written
            }
        }
    }
}
