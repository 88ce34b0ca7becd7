//! Where data comes from.

use indexmap::IndexMap;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::{ColumnType, OneOrMany};

/// A source of rows.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Written", into = "Written")]
pub enum Source {
    File(FileSource),
    /// Rows that stand in the file itself.
    Rows(RowsSource),
    Table(TableSource),
    Query(QuerySource),
}

/// The format of files.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, strum::Display, strum::EnumString)]
#[serde(rename_all = "lowercase")]
#[strum(serialize_all = "lowercase")]
pub enum FileFormat {
    Csv,
    /// A list of objects.
    Json,
    /// An object a line.
    Ndjson,
    Parquet,
    /// Arrow IPC, the file format.
    Arrow,
    Avro,
}

/// How files are compressed as a whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Compression {
    None,
    Gzip,
    Bzip2,
    Xz,
    Zstd,
}

/// Files of one format.
#[derive(Debug, Clone, PartialEq)]
pub struct FileSource {
    pub format: FileFormat,
    /// Paths, globs and folders, relative to the project folder, and URLs of object stores and web servers; read in this order, each
    /// sorted by name.
    pub paths: Vec<String>,
    /// Types of columns; the others are inferred.
    pub columns: IndexMap<String, ColumnType>,
    /// CSV: what separates fields (default a comma).
    pub delimiter: Option<String>,
    /// CSV: the first line names the columns (default true).
    pub header: Option<bool>,
    /// CSV: what surrounds fields (default `"`).
    pub quote: Option<String>,
    /// CSV: what stands before a quote in a field; by default the quote is doubled.
    pub escape: Option<String>,
    /// CSV: texts that mean null, besides the empty field.
    pub null_values: Vec<String>,
    /// CSV: the encoding (default UTF-8).
    pub encoding: Option<String>,
    /// By default told by the name of the file.
    pub compression: Option<Compression>,
    /// CSV: rows that types are inferred from (default 10,000); 0 reads all as text.
    pub infer_rows: Option<usize>,
    /// The connection that opens the URLs.
    pub connection: Option<String>,
}

impl FileSource {
    /// Files of which all else is told by themselves.
    #[must_use]
    pub fn of(format: FileFormat, paths: Vec<String>) -> Self {
        Self {
            format,
            paths,
            columns: IndexMap::new(),
            delimiter: None,
            header: None,
            quote: None,
            escape: None,
            null_values: Vec::new(),
            encoding: None,
            compression: None,
            infer_rows: None,
            connection: None,
        }
    }
}

/// Rows in place.
#[derive(Debug, Clone, PartialEq)]
pub struct RowsSource {
    pub rows: Vec<Map<String, Value>>,
    pub columns: IndexMap<String, ColumnType>,
}

/// A table of a database.
#[derive(Debug, Clone, PartialEq)]
pub struct TableSource {
    /// Its name, maybe with a schema: `sales.orders`.
    pub table: String,
    pub connection: String,
    pub columns: IndexMap<String, ColumnType>,
}

/// What a query on a database answers.
#[derive(Debug, Clone, PartialEq)]
pub struct QuerySource {
    /// SQL in the words of the database.
    pub query: String,
    pub connection: String,
    pub columns: IndexMap<String, ColumnType>,
}

/// A source as it is written: flat.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    csv: Option<OneOrMany<String>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    json: Option<OneOrMany<String>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    ndjson: Option<OneOrMany<String>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    parquet: Option<OneOrMany<String>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    arrow: Option<OneOrMany<String>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    avro: Option<OneOrMany<String>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    rows: Option<Vec<Map<String, Value>>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    table: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    query: Option<String>,
    // The longer names are those of Airflow's operators.
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        alias = "http_conn_id",
        alias = "aws_conn_id",
        alias = "gcp_conn_id",
        alias = "wasb_conn_id"
    )]
    connection: Option<String>,
    #[serde(default, skip_serializing_if = "IndexMap::is_empty")]
    columns: IndexMap<String, ColumnType>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    delimiter: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    header: Option<bool>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    quote: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    escape: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    null_values: Option<OneOrMany<String>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    encoding: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    compression: Option<Compression>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    infer_rows: Option<usize>,
}

/// The keys of which a source has exactly one.
pub(super) const KINDS: &[&str] = &["csv", "json", "ndjson", "parquet", "arrow", "avro", "rows", "table", "query"];

impl TryFrom<Written> for Source {
    type Error = String;

    fn try_from(mut written: Written) -> Result<Self, String> {
        let files = [
            (FileFormat::Csv, written.csv.take()),
            (FileFormat::Json, written.json.take()),
            (FileFormat::Ndjson, written.ndjson.take()),
            (FileFormat::Parquet, written.parquet.take()),
            (FileFormat::Arrow, written.arrow.take()),
            (FileFormat::Avro, written.avro.take()),
        ];
        let mut found = Vec::new();
        for (format, paths) in files {
            let Some(OneOrMany(paths)) = paths else { continue };
            if paths.is_empty() {
                return Err(format!("`{format}` names no file"));
            }
            found.push(file(format, paths, &written)?);
        }
        if let Some(rows) = written.rows.take() {
            found.push(Self::Rows(RowsSource { rows, columns: written.columns.clone() }));
        }
        let connection = |thing: &str| {
            let given = written.connection.clone();
            given.ok_or_else(|| format!("a source with `{thing}` needs `connection`, the id of a connection"))
        };
        if let Some(table) = written.table.clone() {
            let connection = connection("table")?;
            found.push(Self::Table(TableSource { table, connection, columns: written.columns.clone() }));
        }
        if let Some(query) = written.query.clone() {
            let connection = connection("query")?;
            found.push(Self::Query(QuerySource { query, connection, columns: written.columns.clone() }));
        }
        let count = found.len();
        match found.pop() {
            Some(source) if count == 1 => {
                if written.connection.is_some() && matches!(source, Self::Rows(_)) {
                    return Err("`connection` belongs to a source with `table`, `query` or URLs of files".to_owned());
                }
                Ok(source)
            }
            Some(_) => Err(format!("a source has one of {}, not several", KINDS.join(", "))),
            None => Err(format!("a source needs one of {}", KINDS.join(", "))),
        }
    }
}

fn file(format: FileFormat, paths: Vec<String>, written: &Written) -> Result<Source, String> {
    let for_csv = [
        ("delimiter", written.delimiter.is_some()),
        ("header", written.header.is_some()),
        ("quote", written.quote.is_some()),
        ("escape", written.escape.is_some()),
        ("null_values", written.null_values.is_some()),
        ("encoding", written.encoding.is_some()),
    ];
    if format != FileFormat::Csv
        && let Some((name, _)) = for_csv.iter().find(|(_, given)| *given)
    {
        return Err(format!("`{name}` belongs to `csv`, not to `{format}`"));
    }
    for (name, text) in [("delimiter", &written.delimiter), ("quote", &written.quote), ("escape", &written.escape)] {
        if let Some(text) = text
            && !(text.len() == 1 && text.is_ascii())
            && !text.contains("{{")
        {
            return Err(format!("`{name}` has to be one ASCII character, not `{text}`"));
        }
    }
    Ok(Source::File(FileSource {
        format,
        paths,
        columns: written.columns.clone(),
        delimiter: written.delimiter.clone(),
        header: written.header,
        quote: written.quote.clone(),
        escape: written.escape.clone(),
        null_values: written.null_values.clone().unwrap_or_default().0,
        encoding: written.encoding.clone(),
        compression: written.compression,
        infer_rows: written.infer_rows,
        connection: written.connection.clone(),
    }))
}

impl From<Source> for Written {
    fn from(source: Source) -> Self {
        match source {
            Source::File(file) => {
                let mut written = Self {
                    columns: file.columns,
                    delimiter: file.delimiter,
                    header: file.header,
                    quote: file.quote,
                    escape: file.escape,
                    null_values: (!file.null_values.is_empty()).then_some(OneOrMany(file.null_values)),
                    encoding: file.encoding,
                    compression: file.compression,
                    infer_rows: file.infer_rows,
                    connection: file.connection,
                    ..Self::default()
                };
                let place = match file.format {
                    FileFormat::Csv => &mut written.csv,
                    FileFormat::Json => &mut written.json,
                    FileFormat::Ndjson => &mut written.ndjson,
                    FileFormat::Parquet => &mut written.parquet,
                    FileFormat::Arrow => &mut written.arrow,
                    FileFormat::Avro => &mut written.avro,
                };
                *place = Some(OneOrMany(file.paths));
                written
            }
            Source::Rows(source) => Self { rows: Some(source.rows), columns: source.columns, ..Self::default() },
            Source::Table(source) => Self {
                table: Some(source.table),
                connection: Some(source.connection),
                columns: source.columns,
                ..Self::default()
            },
            Source::Query(source) => Self {
                query: Some(source.query),
                connection: Some(source.connection),
                columns: source.columns,
                ..Self::default()
            },
        }
    }
}
