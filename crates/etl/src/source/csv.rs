//! CSV: read as text, piece by piece in parallel and in order, and turned into types column by column.
//!
//! DataFusion's own reader is not used: it takes no null values in typed columns, loses the order of rows where it
//! reads in parallel, and does not say in which line something is wrong.

mod plain;

use std::io::{Cursor, Read};
use std::sync::Arc;

use datafusion::arrow::array::{
    Array, ArrayRef, AsArray, RecordBatch, RecordBatchOptions, StringArray, StringBuilder, new_null_array,
};
use datafusion::arrow::compute::{CastOptions, cast_with_options};
use datafusion::arrow::csv::ReaderBuilder;
use datafusion::arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use datafusion::datasource::file_format::file_compression_type::FileCompressionType;
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::prelude::{DataFrame, SessionContext};
use futures::{StreamExt as _, TryStreamExt as _};
use towpath_model::etl::{Compression, FileSource};

use super::infer;
use super::paths::{Place, SourceFile};
use super::records::{Dialect, Piece, Pieces, broken, end_of_record, line_of};
use crate::error::{Error, Result};
use crate::measure::{Measure, Meter};
use crate::session::BATCH_ROWS;
use crate::{stream, types};

/// Rows that types are inferred from.
const INFER_ROWS: usize = 10_000;

/// How files are read, for all of them.
#[derive(Debug)]
struct Format {
    dialect: Dialect,
    header: bool,
    null_values: Vec<String>,
    encoding: Option<&'static encoding_rs::Encoding>,
    compression: Option<Compression>,
    /// The columns of the result: those of the files, then those of their folders.
    columns: Vec<Column>,
}

#[derive(Debug, Clone)]
struct Column {
    name: String,
    kind: DataType,
    /// The type was inferred, which an error has to say.
    inferred: bool,
    /// It comes from the names of folders.
    of_folder: bool,
}

/// The rows of CSV files.
pub(super) async fn open(
    session: &SessionContext,
    source: &FileSource,
    files: &[SourceFile],
    as_text: &[String],
) -> Result<DataFrame> {
    let byte = |text: &Option<String>, default| text.as_ref().map_or(default, |text| text.as_bytes()[0]);
    let dialect = Dialect {
        delimiter: byte(&source.delimiter, b','),
        quote: byte(&source.quote, b'"'),
        escape: source.escape.as_ref().map(|text| text.as_bytes()[0]),
    };
    let encoding = match &source.encoding {
        None => None,
        Some(label) => Some(encoding_rs::Encoding::for_label(label.as_bytes()).ok_or_else(|| {
            Error::lasting(format!("there is no encoding `{label}`; write for example utf-8, latin1 or utf-16le"))
        })?),
    };
    let mut format = Format {
        dialect,
        header: source.header.unwrap_or(true),
        null_values: source.null_values.clone(),
        encoding,
        compression: source.compression,
        columns: Vec::new(),
    };
    let (source, looked_at, names) = (source.clone(), files.to_vec(), as_text.to_vec());
    let look = tokio::task::spawn_blocking(move || {
        format.columns = columns(&source, &looked_at, &format, &names)?;
        Ok::<_, Error>(format)
    });
    let format = look.await.unwrap_or_else(|error| Err(Error::passing(format!("a reader has ended: {error}"))))?;
    let schema = Arc::new(Schema::new(
        format.columns.iter().map(|column| Field::new(&column.name, column.kind.clone(), true)).collect::<Vec<_>>(),
    ));
    let (format, files) = (Arc::new(format), files.to_vec());
    let cores = session.copied_config().target_partitions();
    let result = Arc::clone(&schema);
    let meter = Meter::of(session);
    for file in files.iter().filter(|file| !matches!(file.place, Place::Web(_))) {
        meter.expects(file.size());
    }
    let stage = stream::Stage::source("csv", super::shown(&files));
    // The meter holds this table, so the table must not hold the meter.
    let meter = Arc::downgrade(&meter);
    stream::table_of_columns(session, schema, stage, move |context, wanted, measure| {
        let meter = meter.upgrade().unwrap_or_default();
        let columns = wanted.iter().map(|at| format.columns[*at].clone()).collect();
        let wanted = Arc::new(Wanted { schema: Arc::new(result.project(wanted)?), columns });
        Ok(read(&files, &format, &wanted, cores, &meter, (measure, context)))
    })
}

/// The columns of the result, by the first file.
fn columns(source: &FileSource, files: &[SourceFile], format: &Format, as_text: &[String]) -> Result<Vec<Column>> {
    let first = &files[0];
    let place = first.shown();
    let text = reader(first, first.open()?, format).map_err(|error| error.within(&place))?;
    let mut pieces = Pieces::new(text, format.dialect);
    let piece = pieces.next_piece().map_err(|error| error.within(&place))?;
    let mut piece = piece.unwrap_or(Piece { bytes: Vec::new(), first_line: 1 });
    let declared = &source.columns;
    let names = if format.header {
        take_header(&mut piece, format).ok_or_else(|| {
            Error::lasting(format!(
                "{place}: the file is empty, without even a header; set `header: false` where there is none"
            ))
        })?
    } else if declared.is_empty() {
        let end = end_of_record(&piece.bytes, format.dialect);
        (1..=fields(&piece.bytes[..end], format).len()).map(|n| format!("column_{n}")).collect()
    } else {
        declared.keys().cloned().collect()
    };
    check_names(&names).map_err(|error| error.within(&place))?;
    let partitions = &first.partitions;
    let all = || names.iter().map(String::as_str).chain(partitions.iter().map(|(name, _)| name.as_str()));
    if let Some(unknown) = declared.keys().find(|name| !all().any(|known| known == *name)) {
        return Err(super::no_column(unknown, all()).within(&format!("{place}: `columns`")));
    }
    // A first record that is longer than a piece stands in the next one.
    if piece.bytes.is_empty() {
        piece = pieces.next_piece().map_err(|error| error.within(&place))?.unwrap_or(piece);
    }
    let rows = source.infer_rows.unwrap_or(INFER_ROWS);
    let sample = if rows == 0 { None } else { sample(&piece, &names, format).map_err(|error| error.within(&place))? };
    let mut columns: Vec<Column> = Vec::with_capacity(names.len() + partitions.len());
    for (index, name) in names.iter().enumerate() {
        let declared = declared.get(name).map(types::arrow);
        let inferred = declared.is_none() && !as_text.contains(name);
        let kind = match (declared, &sample) {
            (Some(kind), _) => kind,
            (None, Some(batch)) if inferred => infer::infer(batch.column(index).as_string(), rows),
            (None, _) => DataType::Utf8,
        };
        columns.push(Column { name: name.clone(), kind, inferred, of_folder: false });
    }
    for (index, (name, _)) in partitions.iter().enumerate() {
        let values: StringArray = files.iter().map(|file| file.partitions[index].1.as_deref()).collect();
        let kind = declared.get(name).map_or_else(|| infer::infer(&values, values.len()), types::arrow);
        columns.retain(|column| column.name != *name);
        columns.push(Column { name: name.clone(), kind, inferred: true, of_folder: true });
    }
    Ok(columns)
}

fn check_names(names: &[String]) -> Result<()> {
    for (index, name) in names.iter().enumerate() {
        if names[..index].contains(name) {
            return Err(Error::lasting(format!(
                "the header has two columns `{name}`; rename one, or skip the header (`header: false`) and name them in `columns`"
            )));
        }
    }
    Ok(())
}

/// The first rows as text; `None` where there are none.
fn sample(piece: &Piece, names: &[String], format: &Format) -> Result<Option<RecordBatch>> {
    let schema = text_schema(names.iter().map(String::as_str));
    let mut batches = builder(schema, format).with_batch_size(INFER_ROWS).build_buffered(Cursor::new(&piece.bytes))?;
    match batches.next() {
        Some(batch) => {
            let batch = batch.map_err(|error| parse_error(&error.to_string(), piece, format))?;
            let columns = batch.columns().iter().map(|column| without_nulls(column, &format.null_values));
            Ok(Some(RecordBatch::try_new(batch.schema(), columns.collect())?))
        }
        None => Ok(None),
    }
}

fn text_schema<'a>(names: impl Iterator<Item = &'a str>) -> SchemaRef {
    Arc::new(Schema::new(names.map(|name| Field::new(name, DataType::Utf8, true)).collect::<Vec<_>>()))
}

fn builder(schema: SchemaRef, format: &Format) -> ReaderBuilder {
    let Dialect { delimiter, quote, escape } = format.dialect;
    let builder = ReaderBuilder::new(schema).with_header(false).with_delimiter(delimiter).with_quote(quote);
    let builder = builder.with_batch_size(BATCH_ROWS);
    match escape {
        Some(escape) => builder.with_escape(escape),
        None => builder,
    }
}

/// The fields of one record.
fn fields(record: &[u8], format: &Format) -> Vec<String> {
    // The parser wants to know how many there are; the most that there can be is enough, as rows may be short.
    let most = memchr::memchr_iter(format.dialect.delimiter, record).count() + 1;
    let names: Vec<String> = (0..most).map(|n| n.to_string()).collect();
    let schema = text_schema(names.iter().map(String::as_str));
    let reader = builder(schema, format).with_truncated_rows(true).build_buffered(Cursor::new(record));
    let Some(Ok(batch)) = reader.ok().and_then(|mut reader| reader.next()) else { return Vec::new() };
    let texts: Vec<Option<String>> = batch
        .columns()
        .iter()
        .map(|column| column.as_string::<i32>().is_valid(0).then(|| column.as_string::<i32>().value(0).to_owned()))
        .collect();
    // A delimiter inside of quotes was counted as well; those fields are not there. A delimiter at the end makes an empty one.
    let ends_empty = record.trim_ascii_end().ends_with(&[format.dialect.delimiter]);
    let last = texts.iter().rposition(Option::is_some).map_or(1, |at| at + 1 + usize::from(ends_empty));
    texts.into_iter().take(last.min(most)).map(Option::unwrap_or_default).collect()
}

/// Takes the header off the first piece of a file.
fn take_header(piece: &mut Piece, format: &Format) -> Option<Vec<String>> {
    let blank = piece.bytes.iter().take_while(|byte| matches!(byte, b'\n' | b'\r')).count();
    if blank == piece.bytes.len() {
        return None;
    }
    let end = blank + end_of_record(&piece.bytes[blank..], format.dialect);
    let names = fields(&piece.bytes[blank..end], format);
    piece.first_line += memchr::memchr_iter(b'\n', &piece.bytes[..end]).count() as u64;
    piece.bytes.drain(..end);
    let named = names.into_iter().enumerate();
    Some(named.map(|(at, name)| if name.is_empty() { format!("column_{}", at + 1) } else { name }).collect())
}

/// The text of a file, as UTF-8.
fn reader(file: &SourceFile, raw: Box<dyn Read + Send>, format: &Format) -> Result<Box<dyn Read + Send>> {
    let name = file.shown().to_lowercase();
    let by_name = || match name.rsplit('.').next() {
        Some("gz" | "gzip") => Compression::Gzip,
        Some("bz2") => Compression::Bzip2,
        Some("xz") => Compression::Xz,
        Some("zst" | "zstd") => Compression::Zstd,
        _ => Compression::None,
    };
    let compression = match format.compression.unwrap_or_else(by_name) {
        Compression::None => FileCompressionType::UNCOMPRESSED,
        Compression::Gzip => FileCompressionType::GZIP,
        Compression::Bzip2 => FileCompressionType::BZIP2,
        Compression::Xz => FileCompressionType::XZ,
        Compression::Zstd => FileCompressionType::ZSTD,
    };
    let mut bytes = compression.convert_read(raw)?;
    if let Some(encoding) = format.encoding {
        return Ok(Box::new(encoding_rs_io::DecodeReaderBytesBuilder::new().encoding(Some(encoding)).build(bytes)));
    }
    // A byte order mark is no part of the first name.
    let mut start = Vec::with_capacity(3);
    let read = bytes.by_ref().take(3).read_to_end(&mut start);
    read.map_err(|error| broken(&error).unwrap_or_else(|| Error::passing(error.to_string())))?;
    if start == b"\xEF\xBB\xBF" {
        start.clear();
    }
    // UTF-16 says so at its start.
    let is_wide = start.starts_with(b"\xFF\xFE") || start.starts_with(b"\xFE\xFF");
    let bytes = Cursor::new(start).chain(bytes);
    if is_wide {
        return Ok(Box::new(encoding_rs_io::DecodeReaderBytesBuilder::new().build(bytes)));
    }
    Ok(Box::new(bytes))
}

/// The columns that somebody reads. Values of others are not looked at.
struct Wanted {
    schema: SchemaRef,
    columns: Vec<Column>,
}

/// All rows of all files, in order.
fn read(
    files: &[SourceFile],
    format: &Arc<Format>,
    wanted: &Arc<Wanted>,
    cores: usize,
    meter: &Arc<Meter>,
    (measure, context): (&Arc<Measure>, Arc<TaskContext>),
) -> SendableRecordBatchStream {
    let (sender, pieces) = tokio::sync::mpsc::channel(2);
    let (cut, todo, meter) = (Arc::clone(format), files.to_vec(), Arc::clone(meter));
    tokio::task::spawn_blocking(move || {
        // Whoever waits for the end of the plan waits for this thread as well.
        let _context = context;
        for file in todo {
            let file = Arc::new(file);
            if let Err(error) = send_pieces(&file, &cut, &meter, &sender) {
                // Nobody listens any more where this fails.
                let _ = sender.blocking_send(Err(error.within(&file.shown())));
                return;
            }
        }
    });
    let pieces = futures::stream::unfold(pieces, |mut pieces| async move { Some((pieces.recv().await?, pieces)) });
    let (parse, result, measure) = (Arc::clone(format), Arc::clone(wanted), Arc::clone(measure));
    let batches = pieces
        .map(move |work: Result<Work>| {
            let (format, wanted, measure) = (Arc::clone(&parse), Arc::clone(&result), Arc::clone(&measure));
            async move {
                let work = work?;
                let parse = move || measure.time(|| parse_piece(&work, &format, &wanted));
                let parsed = tokio::task::spawn_blocking(parse).await;
                parsed.unwrap_or_else(|error| Err(Error::passing(format!("a reader has ended: {error}"))))
            }
        })
        .buffered(cores)
        .map_ok(|batches| futures::stream::iter(batches.into_iter().map(Ok::<_, Error>)))
        .try_flatten()
        .map_err(Into::into);
    Box::pin(RecordBatchStreamAdapter::new(Arc::clone(&wanted.schema), batches))
}

/// A piece, and which column of the file is which of the result.
struct Work {
    piece: Piece,
    file: Arc<SourceFile>,
    /// As many as the file has.
    names: Arc<Vec<String>>,
}

fn send_pieces(
    file: &Arc<SourceFile>,
    format: &Format,
    meter: &Arc<Meter>,
    sender: &tokio::sync::mpsc::Sender<Result<Work>>,
) -> Result<()> {
    let mut pieces = Pieces::new(reader(file, file.open_metered(meter)?, format)?, format.dialect);
    let own = || format.columns.iter().filter(|column| !column.of_folder);
    let mut names: Option<Arc<Vec<String>>> =
        (!format.header).then(|| Arc::new(own().map(|column| column.name.clone()).collect()));
    while let Some(mut piece) = pieces.next_piece()? {
        let names = match &names {
            Some(names) => Arc::clone(names),
            None => {
                let Some(header) = take_header(&mut piece, format) else { continue };
                check_names(&header)?;
                if let Some(missing) = own().find(|column| !header.contains(&column.name)) {
                    let wrong = super::no_column(&missing.name, header.iter().map(String::as_str));
                    return Err(wrong.within("this file has other columns than the first one"));
                }
                Arc::clone(names.insert(Arc::new(header)))
            }
        };
        let work = Work { piece, file: Arc::clone(file), names };
        if sender.blocking_send(Ok(work)).is_err() {
            return Ok(());
        }
    }
    Ok(())
}

fn parse_piece(work: &Work, format: &Format, wanted: &Wanted) -> Result<Vec<RecordBatch>> {
    let place = work.file.shown();
    if let Some(plain) = plain::Plain::cut(&work.piece.bytes, work.names.len(), format.dialect) {
        let starts = (0..plain.rows()).step_by(BATCH_ROWS);
        let batch = |start: usize| {
            let rows = start..plain.rows().min(start + BATCH_ROWS);
            let count = rows.len();
            wanted.batch(work, format, start, count, |index, column| {
                plain.column(index, rows.clone(), &format.null_values, column)
            })
        };
        return starts.map(batch).collect();
    }
    let schema_of_file = text_schema(work.names.iter().map(String::as_str));
    let reader = builder(schema_of_file, format).build_buffered(Cursor::new(&work.piece.bytes))?;
    let mut batches = Vec::new();
    let mut row = 0;
    for batch in reader {
        let batch = batch.map_err(|error| parse_error(&error.to_string(), &work.piece, format).within(&place))?;
        batches.push(wanted.batch(work, format, row, batch.num_rows(), |index, column| {
            typed(&without_nulls(batch.column(index), &format.null_values), column)
        })?);
        row += batch.num_rows();
    }
    Ok(batches)
}

impl Wanted {
    /// A batch of the records from `first` of a piece; `values` gives those of a column of the file.
    fn batch(
        &self,
        work: &Work,
        format: &Format,
        first: usize,
        rows: usize,
        values: impl Fn(usize, &Column) -> Result<ArrayRef, (usize, String)>,
    ) -> Result<RecordBatch> {
        let mut columns: Vec<ArrayRef> = Vec::with_capacity(self.columns.len());
        for column in &self.columns {
            let values = if column.of_folder {
                typed(&of_folder(&work.file, &column.name, rows), column)
            } else {
                let index = work.names.iter().position(|name| *name == column.name).expect("the header was checked");
                values(index, column)
            };
            columns.push(values.map_err(|(at, value)| {
                let line = line_of(&work.piece.bytes, work.piece.first_line, first + at, format.dialect);
                misfit(&work.file.shown(), line, column, &value)
            })?);
        }
        // Where nothing but the number of rows is wanted there are no columns.
        let options = RecordBatchOptions::new().with_row_count(Some(rows));
        Ok(RecordBatch::try_new_with_options(Arc::clone(&self.schema), columns, &options)?)
    }
}

/// What the name of a folder says, for each row.
fn of_folder(file: &SourceFile, name: &str, rows: usize) -> ArrayRef {
    let value = file.partitions.iter().find(|(partition, _)| partition == name).and_then(|(_, value)| value.as_deref());
    match value {
        Some(value) => Arc::new(StringArray::from_iter_values(std::iter::repeat_n(value, rows))),
        None => new_null_array(&DataType::Utf8, rows),
    }
}

/// A value that does not fit its column.
fn misfit(place: &str, line: u64, column: &Column, value: &str) -> Error {
    let kind = types::name(&column.kind);
    let shown: String = value.chars().take(80).collect();
    let name = &column.name;
    let hint = if column.inferred {
        format!(
            "the type was inferred from the first rows; declare it (`columns: {{{name}: string}}`), or name the text in `null_values`"
        )
    } else {
        "declare another type, name the text in `null_values`, or read it as text and let `validate` decide".to_owned()
    };
    Error::lasting(format!("{place}, line {line}, column `{name}`: `{shown}` is not of type {kind}; {hint}"))
}

/// Text without those values that mean null.
fn without_nulls(texts: &ArrayRef, null_values: &[String]) -> ArrayRef {
    let values: &StringArray = texts.as_string();
    let is_null = |text: &str| null_values.iter().any(|null| null == text);
    if null_values.is_empty() || !values.iter().flatten().any(is_null) {
        return Arc::clone(texts);
    }
    let mut builder = StringBuilder::with_capacity(values.len(), values.value_data().len());
    for value in values {
        builder.append_option(value.filter(|text| !is_null(text)));
    }
    Arc::new(builder.finish())
}

/// Text as the type of its column, or the first row that does not fit with its value.
fn typed(texts: &ArrayRef, column: &Column) -> Result<ArrayRef, (usize, String)> {
    if column.kind == DataType::Utf8 {
        return Ok(Arc::clone(texts));
    }
    let options = CastOptions { safe: true, ..CastOptions::default() };
    let value_at = |row: usize| (row, texts.as_string::<i32>().value(row).to_owned());
    let first = (0..texts.len()).find(|row| texts.is_valid(*row)).unwrap_or(0);
    let Ok(cast) = cast_with_options(texts, &column.kind, &options) else { return Err(value_at(first)) };
    if cast.null_count() == texts.null_count() {
        return Ok(cast);
    }
    Err(value_at(misfit_row(texts.len(), |row| texts.is_valid(row), &cast)))
}

/// The first row that had a value and has none as its type.
fn misfit_row(rows: usize, had_value: impl Fn(usize) -> bool, values: &ArrayRef) -> usize {
    (0..rows).find(|row| had_value(*row) && values.is_null(*row)).expect("there are more nulls than before")
}

/// A record that is no record, with the line of the file instead of that of the piece.
fn parse_error(text: &str, piece: &Piece, format: &Format) -> Error {
    let text = text.trim_start_matches("Csv error: ").trim_start_matches("Parser error: ");
    let number = |after: &str| {
        let rest = &text[text.find(after)? + after.len()..];
        rest.split(|c: char| !c.is_ascii_digit()).next()?.parse::<u64>().ok()
    };
    // The parser counts records, from 1.
    let line = number("line ")
        .map_or(piece.first_line, |n| line_of(&piece.bytes, piece.first_line, (n.max(1) - 1) as usize, format.dialect));
    if let (Some(expected), Some(got)) = (number("expected "), number("got ")) {
        return Error::lasting(format!(
            "line {line} has {got} fields instead of {expected}; check `delimiter` and `quote`, or correct the line"
        ));
    }
    if text.contains("UTF-8") {
        return Error::lasting(format!("line {line} is not UTF-8; name the `encoding`, for example latin1"));
    }
    Error::lasting(format!("line {line}: {text}"))
}
