//! A stream as a table: batches go to the thread of the database, which commits when it is told that all have come.

use std::path::PathBuf;

use datafusion::arrow::array::{Array, ArrayRef, AsArray, RecordBatch};
use datafusion::arrow::datatypes::{DataType, Float64Type, Int64Type, Schema, SchemaRef, TimeUnit};
use datafusion::arrow::datatypes::{Date32Type, Time64MicrosecondType, TimestampMicrosecondType};
use datafusion::arrow::temporal_conversions::{as_datetime, as_time};
use datafusion::execution::SendableRecordBatchStream;
use futures::StreamExt as _;
use rusqlite::types::ValueRef;
use rusqlite::{Connection, ErrorCode, OptionalExtension as _, Statement, TransactionBehavior};
use tokio::sync::mpsc;
use towpath_operators::database::{Error, Kind, open_sqlite};

use super::super::fit::{self, Fitted, TableColumn};
use super::super::ledger::Ledger;
use super::super::{BATCHES_AHEAD, Done, Mode, Noted, Rows, TableTarget, name, of_data};
use super::data_type;

/// Where an upsert without a unique index waits until all rows are there.
const STAGE: &str = "towpath_stage";

/// What the thread is told.
enum Message {
    Rows(RecordBatch),
    /// All rows have come. A channel that closes without it means that the load is off.
    End,
}

/// Writes `data`.
pub(in crate::database) async fn write(
    path: PathBuf,
    target: TableTarget,
    ledger: Option<Ledger>,
    mut data: SendableRecordBatchStream,
) -> Result<Done, Error> {
    let (sender, receiver) = mpsc::channel(BATCHES_AHEAD);
    let schema = data.schema();
    let work = tokio::task::spawn_blocking(move || {
        let mut database = open_sqlite(&path, true)?;
        load(&mut database, &target, ledger.as_ref(), &schema, receiver)
    });
    let mut wrong = None;
    loop {
        let message = match data.next().await {
            Some(Ok(batch)) => Message::Rows(batch),
            Some(Err(error)) => {
                wrong = Some(of_data(error));
                break;
            }
            None => Message::End,
        };
        let is_end = matches!(message, Message::End);
        // A thread that has gone says why below.
        if sender.send(message).await.is_err() || is_end {
            break;
        }
    }
    drop(sender);
    let written = work.await.map_err(|error| Error::passing(format!("SQLite has ended unexpectedly: {error}")))?;
    match wrong {
        Some(error) => Err(error),
        None => written,
    }
}

fn failed(target: &TableTarget, error: &rusqlite::Error) -> Error {
    Error::of_sqlite(error).at(format!("table `{}`", target.table))
}

fn load(
    database: &mut Connection,
    target: &TableTarget,
    ledger: Option<&Ledger>,
    schema: &SchemaRef,
    mut messages: mpsc::Receiver<Message>,
) -> Result<Done, Error> {
    let told = |error: rusqlite::Error| failed(target, &error);
    let table = name::quoted(Kind::Sqlite, &target.table)?;
    // From here on there is no other writer. Whatever ends this function early ends the transaction with it.
    let transaction = database.transaction_with_behavior(TransactionBehavior::Immediate).map_err(told)?;
    if let Some(done) = ledger.map(|ledger| earlier(&transaction, target, ledger)).transpose()?.flatten() {
        return Ok(done);
    }
    let mut columns = columns(&transaction, target)?;
    let created = columns.is_empty();
    if created {
        transaction.execute_batch(&create(target, &table, schema)?).map_err(told)?;
        columns = self::columns(&transaction, target)?;
    } else if !make_room(&transaction, target, &table)? {
        return Ok(Done { rows: 0, created, noted: Noted::No });
    }
    let fitted = fit::plan(&target.table, &columns, schema, &target.key, fitted_type)?;
    let merge =
        if target.mode == Mode::Upsert { Some(Merge::plan(&transaction, target, &table, &fitted)?) } else { None };
    let names = name::list(Kind::Sqlite, fitted.iter().map(|column| column.name.as_str()));
    let marks = (1..=fitted.len()).map(|number| format!("?{number}")).collect::<Vec<_>>().join(", ");
    let (into, conflict) = merge.as_ref().map_or((table.as_str(), ""), |merge| (&merge.into, &merge.conflict));
    let insert = format!("INSERT INTO {into} ({names}) VALUES ({marks}){conflict}");
    let mut insert = transaction.prepare(&insert).map_err(told)?;
    let mut rows = 0;
    loop {
        match messages.blocking_recv() {
            Some(Message::Rows(batch)) => {
                put(&mut insert, target, &fitted, &batch, rows)?;
                rows += batch.num_rows() as u64;
            }
            Some(Message::End) => break,
            None => return Err(Error::passing(format!("table `{}`: the load was given up", target.table))),
        }
    }
    drop(insert);
    if let Some(merge) = merge {
        transaction.execute_batch(&merge.then).map_err(told)?;
    }
    if let Some(ledger) = ledger {
        note(&transaction, target, ledger, rows, created)?;
    }
    transaction.commit().map_err(told)?;
    Ok(Done { rows, created, noted: if ledger.is_some() { Noted::Yes } else { Noted::No } })
}

/// What an earlier try has done.
fn earlier(database: &Connection, target: &TableTarget, ledger: &Ledger) -> Result<Option<Done>, Error> {
    let told = |error: rusqlite::Error| failed(target, &error);
    database.execute_batch(&ledger.create()).map_err(told)?;
    let read = |row: &rusqlite::Row<'_>| Ok((row.get(0)?, row.get(1)?, row.get(2)?));
    let found = database.query_row(&ledger.select(), [&ledger.key], read).optional().map_err(told)?;
    Ok(ledger.done(found))
}

/// Notes that this load is done. Nobody else can have come in between: there is one writer.
fn note(database: &Connection, target: &TableTarget, ledger: &Ledger, rows: u64, created: bool) -> Result<(), Error> {
    let told = |error: rusqlite::Error| failed(target, &error);
    let Ledger { key, task, target: name, try_number, settled, .. } = ledger;
    let values = rusqlite::params![key, task, name, try_number, rows.cast_signed(), created, settled];
    database.execute(&ledger.replace(), values).map_err(told)?;
    if let Some(prune) = ledger.prune() {
        database.execute_batch(&prune).map_err(told)?;
    }
    Ok(())
}

/// The columns of the table; none where it does not exist.
fn columns(database: &Connection, target: &TableTarget) -> Result<Vec<TableColumn>, Error> {
    let told = |error: rusqlite::Error| failed(target, &error);
    let (schema, table) = place(target)?;
    // Columns of the kinds 2 and 3 are generated.
    let sql =
        "SELECT name, type, \"notnull\", dflt_value IS NOT NULL OR hidden <> 0, pk FROM pragma_table_xinfo(?1, ?2)";
    let mut prepared = database.prepare(sql).map_err(told)?;
    let rows = prepared.query_map((&table, &schema), |row| {
        let (name, sql_type): (String, String) = (row.get(0)?, row.get(1)?);
        let is_rowid = row.get::<_, i64>(4)? == 1 && sql_type.eq_ignore_ascii_case("integer");
        let nullable = !row.get::<_, bool>(2)?;
        Ok(TableColumn { name, sql_type, nullable, has_default: row.get::<_, bool>(3)? || is_rowid })
    });
    rows.and_then(Iterator::collect).map_err(told)
}

/// The database and the name of the table.
fn place(target: &TableTarget) -> Result<(String, String), Error> {
    let mut parts = name::parts(&target.table)?;
    let table = parts.pop().unwrap_or_default();
    Ok((parts.pop().unwrap_or_else(|| "main".to_owned()), table))
}

fn create(target: &TableTarget, table: &str, schema: &Schema) -> Result<String, Error> {
    let mut parts = Vec::new();
    for field in schema.fields() {
        let kind = sql_type(field.data_type()).ok_or_else(|| {
            let (name, kind) = (field.name(), field.data_type());
            let table = &target.table;
            Error::lasting(format!(
                "table `{table}`, column `{name}`: SQLite has no type for {kind}; take it apart or cast it to text"
            ))
        })?;
        let required = if target.key.contains(field.name()) { " NOT NULL" } else { "" };
        parts.push(format!("{} {kind}{required}", Kind::Sqlite.quote(field.name())));
    }
    if !target.key.is_empty() {
        parts.push(format!("PRIMARY KEY ({})", name::list(Kind::Sqlite, target.key.iter().map(String::as_str))));
    }
    Ok(format!("CREATE TABLE {table} ({})", parts.join(", ")))
}

/// The declared type of a column that is made for data of this type.
fn sql_type(kind: &DataType) -> Option<String> {
    Some(match kind {
        DataType::Boolean => "BOOLEAN".to_owned(),
        kind if kind.is_integer() => "INTEGER".to_owned(),
        kind if kind.is_floating() => "REAL".to_owned(),
        DataType::Decimal32(precision, scale)
        | DataType::Decimal64(precision, scale)
        | DataType::Decimal128(precision, scale) => {
            format!("DECIMAL({precision}, {scale})")
        }
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View | DataType::Null => "TEXT".to_owned(),
        DataType::Binary | DataType::LargeBinary | DataType::BinaryView | DataType::FixedSizeBinary(_) => {
            "BLOB".to_owned()
        }
        DataType::Date32 | DataType::Date64 => "DATE".to_owned(),
        DataType::Time32(_) | DataType::Time64(_) => "TIME".to_owned(),
        DataType::Timestamp(_, None) => "TIMESTAMP".to_owned(),
        DataType::Timestamp(_, Some(_)) => "TIMESTAMPTZ".to_owned(),
        DataType::Dictionary(_, values) => return sql_type(values),
        _ => return None,
    })
}

/// What data goes into a column as: SQLite itself would take anything anywhere.
fn fitted_type(column: &TableColumn, from: &DataType) -> Option<DataType> {
    if from.is_nested() {
        return None;
    }
    if let Some(kind) = data_type(&column.sql_type) {
        let is_binary = matches!(
            from,
            DataType::Binary | DataType::LargeBinary | DataType::BinaryView | DataType::FixedSizeBinary(_)
        );
        return (kind != DataType::Utf8 || !is_binary).then_some(kind);
    }
    // A column without a type keeps what it gets.
    Some(match from {
        kind if kind.is_integer() => DataType::Int64,
        kind if kind.is_floating() => DataType::Float64,
        DataType::Boolean => DataType::Boolean,
        DataType::Binary | DataType::LargeBinary | DataType::BinaryView | DataType::FixedSizeBinary(_) => {
            DataType::Binary
        }
        DataType::Date32 | DataType::Date64 => DataType::Date32,
        DataType::Timestamp(_, zone) => DataType::Timestamp(TimeUnit::Microsecond, zone.clone()),
        DataType::Time32(_) | DataType::Time64(_) => DataType::Time64(TimeUnit::Microsecond),
        _ => DataType::Utf8,
    })
}

/// Makes a table that exists ready for the data; false where there is nothing to do.
fn make_room(database: &Connection, target: &TableTarget, table: &str) -> Result<bool, Error> {
    let told = |error: rusqlite::Error| failed(target, &error);
    let has_rows = match target.mode.rows() {
        Rows::Keep => true,
        Rows::Delete => {
            database.execute(&format!("DELETE FROM {table}"), ()).map_err(told)?;
            false
        }
        Rows::Refuse | Rows::Skip => {
            let any = format!("SELECT EXISTS (SELECT 1 FROM {table})");
            database.query_row(&any, (), |row| row.get(0)).map_err(told)?
        }
    };
    target.mode.goes_on(&target.table, has_rows)
}

/// How an upsert goes.
struct Merge {
    /// Where the rows are inserted first.
    into: String,
    conflict: String,
    /// What is run when all are there.
    then: String,
}

impl Merge {
    /// By `ON CONFLICT` where a unique index says what a key is, else through a temporary table that has one.
    fn plan(database: &Connection, target: &TableTarget, table: &str, columns: &[Fitted]) -> Result<Self, Error> {
        let quote = |name: &str| Kind::Sqlite.quote(name);
        let key = name::list(Kind::Sqlite, target.key.iter().map(String::as_str));
        let others: Vec<&str> = columns
            .iter()
            .map(|column| column.name.as_str())
            .filter(|name| !target.key.iter().any(|key| key == name))
            .collect();
        let sets = others.iter().map(|name| format!("{0} = excluded.{0}", quote(name))).collect::<Vec<_>>().join(", ");
        let then = if others.is_empty() { "NOTHING".to_owned() } else { format!("UPDATE SET {sets}") };
        let conflict = format!(" ON CONFLICT ({key}) DO {then}");
        if is_unique(database, target)? {
            return Ok(Self { into: table.to_owned(), conflict, then: String::new() });
        }
        let names = name::list(Kind::Sqlite, columns.iter().map(|column| column.name.as_str()));
        let create = format!("CREATE TEMP TABLE {STAGE} ({names}, PRIMARY KEY ({key}))");
        database.execute_batch(&create).map_err(|error| failed(target, &error))?;
        let same =
            target.key.iter().map(|name| format!("t.{0} = s.{0}", quote(name))).collect::<Vec<_>>().join(" AND ");
        let update = if others.is_empty() {
            String::new()
        } else {
            let sets = others.iter().map(|name| format!("{0} = s.{0}", quote(name))).collect::<Vec<_>>().join(", ");
            format!("UPDATE {table} AS t SET {sets} FROM temp.{STAGE} AS s WHERE {same}; ")
        };
        let then = format!(
            "{update}INSERT INTO {table} ({names}) SELECT {names} FROM temp.{STAGE} AS s \
             WHERE NOT EXISTS (SELECT 1 FROM {table} AS t WHERE {same}) ORDER BY s.rowid; DROP TABLE temp.{STAGE}"
        );
        Ok(Self { into: format!("temp.{STAGE}"), conflict, then })
    }
}

/// Whether the primary key or a unique index is on exactly the columns of the key.
fn is_unique(database: &Connection, target: &TableTarget) -> Result<bool, Error> {
    let (schema, table) = place(target)?;
    let sql = "SELECT name, '' AS i FROM pragma_table_info(?1, ?2) WHERE pk > 0 \
               UNION ALL SELECT c.name, l.name FROM pragma_index_list(?1, ?2) AS l, pragma_index_info(l.name, ?2) AS c \
               WHERE l.\"unique\" AND NOT l.partial ORDER BY i";
    let read = || -> Result<Vec<(Option<String>, String)>, rusqlite::Error> {
        let mut prepared = database.prepare(sql)?;
        prepared.query_map((&table, &schema), |row| Ok((row.get(0)?, row.get(1)?)))?.collect()
    };
    let indexed = read().map_err(|error| failed(target, &error))?;
    let mut key: Vec<&str> = target.key.iter().map(String::as_str).collect();
    key.sort_unstable();
    let mut found = false;
    for index in indexed.chunk_by(|(_, one), (_, other)| one == other) {
        let mut columns: Vec<&str> = index.iter().map(|(column, _)| column.as_deref().unwrap_or_default()).collect();
        columns.sort_unstable();
        found |= columns == key;
    }
    Ok(found)
}

fn put(
    insert: &mut Statement<'_>,
    target: &TableTarget,
    columns: &[Fitted],
    batch: &RecordBatch,
    before: u64,
) -> Result<(), Error> {
    let arrays = fit::fit(&target.table, columns, batch, before)?;
    let cells: Vec<Cells<'_>> = arrays.iter().map(Cells::new).collect();
    let mut text = String::new();
    for row in 0..batch.num_rows() {
        for (at, cell) in cells.iter().enumerate() {
            text.clear();
            let value = cell.value(row, &mut text);
            insert
                .raw_bind_parameter(at + 1, rusqlite::types::ToSqlOutput::Borrowed(value))
                .map_err(|error| failed(target, &error))?;
        }
        insert.raw_execute().map_err(|error| refused(target, before + row as u64, &error))?;
    }
    Ok(())
}

/// What SQLite says to a row.
fn refused(target: &TableTarget, row: u64, error: &rusqlite::Error) -> Error {
    let place = format!("table `{}`, row {}", target.table, row + 1);
    let refused = Error::of_sqlite(error).at(place);
    match error.sqlite_error_code() {
        // The data itself is what is wrong.
        Some(ErrorCode::ConstraintViolation | ErrorCode::TypeMismatch) => Error::lasting(refused.message),
        _ => refused,
    }
}

/// A column that is being written.
enum Cells<'a> {
    Integer(&'a ArrayRef, &'a [i64]),
    Real(&'a ArrayRef, &'a [f64]),
    Boolean(&'a datafusion::arrow::array::BooleanArray),
    Text(&'a datafusion::arrow::array::StringArray),
    Bytes(&'a datafusion::arrow::array::BinaryArray),
    Date(&'a ArrayRef, &'a [i32]),
    Time(&'a ArrayRef, &'a [i64]),
    Timestamp(&'a ArrayRef, &'a [i64], bool),
    Other(&'a ArrayRef),
}

impl<'a> Cells<'a> {
    fn new(array: &'a ArrayRef) -> Self {
        match array.data_type() {
            DataType::Int64 => Self::Integer(array, array.as_primitive::<Int64Type>().values()),
            DataType::Float64 => Self::Real(array, array.as_primitive::<Float64Type>().values()),
            DataType::Boolean => Self::Boolean(array.as_boolean()),
            DataType::Utf8 => Self::Text(array.as_string()),
            DataType::Binary => Self::Bytes(array.as_binary()),
            DataType::Date32 => Self::Date(array, array.as_primitive::<Date32Type>().values()),
            DataType::Time64(TimeUnit::Microsecond) => {
                Self::Time(array, array.as_primitive::<Time64MicrosecondType>().values())
            }
            DataType::Timestamp(TimeUnit::Microsecond, zone) => {
                Self::Timestamp(array, array.as_primitive::<TimestampMicrosecondType>().values(), zone.is_some())
            }
            _ => Self::Other(array),
        }
    }

    /// A value; text that has to be made is put into `text`.
    fn value<'b>(&'b self, row: usize, text: &'b mut String) -> ValueRef<'b> {
        use std::fmt::Write as _;
        let is_null = match self {
            Self::Integer(array, _) | Self::Time(array, _) | Self::Timestamp(array, ..) => array.is_null(row),
            Self::Real(array, _) => array.is_null(row),
            Self::Date(array, _) => array.is_null(row),
            Self::Boolean(array) => array.is_null(row),
            Self::Text(array) => array.is_null(row),
            Self::Bytes(array) => array.is_null(row),
            Self::Other(array) => array.is_null(row),
        };
        if is_null {
            return ValueRef::Null;
        }
        // Text takes whatever is written to it.
        let made = match self {
            Self::Integer(_, values) => return ValueRef::Integer(values[row]),
            Self::Real(_, values) => return ValueRef::Real(values[row]),
            Self::Boolean(array) => return ValueRef::Integer(array.value(row).into()),
            Self::Text(array) => return ValueRef::Text(array.value(row).as_bytes()),
            Self::Bytes(array) => return ValueRef::Blob(array.value(row)),
            Self::Date(_, values) => match as_datetime::<Date32Type>(values[row].into()) {
                Some(time) => write!(text, "{}", time.date()),
                None => write!(text, "{}", values[row]),
            },
            Self::Time(_, values) => match as_time::<Time64MicrosecondType>(values[row]) {
                Some(time) => write!(text, "{}", time.format("%H:%M:%S%.f")),
                None => write!(text, "{}", values[row]),
            },
            Self::Timestamp(_, values, has_zone) => match as_datetime::<TimestampMicrosecondType>(values[row]) {
                Some(time) => {
                    let zone = if *has_zone { "+00:00" } else { "" };
                    write!(text, "{}{zone}", time.format("%Y-%m-%d %H:%M:%S%.f"))
                }
                None => write!(text, "{}", values[row]),
            },
            Self::Other(array) => {
                let shown = datafusion::arrow::util::display::array_value_to_string(array, row);
                write!(text, "{}", shown.unwrap_or_default())
            }
        };
        made.expect("text takes what is written to it");
        ValueRef::Text(text.as_bytes())
    }
}
