//! A stream as a table.

use chrono::{NaiveDate, NaiveDateTime, NaiveTime};
use datafusion::arrow::array::{Array, ArrayRef, AsArray, RecordBatch};
use datafusion::arrow::datatypes::{
    DataType, Date32Type, Float32Type, Float64Type, Int64Type, Schema, Time64MicrosecondType, TimeUnit,
    TimestampMicrosecondType, UInt64Type,
};
use datafusion::arrow::temporal_conversions::{as_datetime, as_time};
use datafusion::arrow::util::display::array_value_to_string;
use datafusion::execution::SendableRecordBatchStream;
use futures::StreamExt as _;
use sqlx::mysql::{MySqlArguments, MySqlConnection};
use sqlx::query::Query;
use sqlx::{AssertSqlSafe, Connection as _, MySql};
use towpath_model::connection::Connection;
use towpath_operators::database::{Error, Kind, open_mysql};

use super::super::fit::{self, Fitted, TableColumn};
use super::super::ledger::Ledger;
use super::super::{Done, Mode, Noted, Rows, TableTarget, name, of_data};

/// Values of one statement; the protocol counts them in 16 bits.
const VALUES: usize = 65_535;
/// Rows of one statement.
const ROWS: usize = 1_000;
/// Where an upsert without a unique index waits until all rows are there.
const STAGE: &str = "towpath_stage";
/// Seconds to wait for another load of the same table.
const LOCK_SECONDS: i32 = 600;

/// Writes `data`.
pub(in crate::database) async fn write(
    connection: &Connection,
    target: &TableTarget,
    ledger: Option<Ledger>,
    data: SendableRecordBatchStream,
) -> Result<Done, Error> {
    let told = |error: sqlx::Error| failed(target, &error, 0);
    let mut database = open_mysql(connection).await?;
    // Without it values that do not fit are cut.
    execute(&mut database, target, "SET SESSION sql_mode = CONCAT(@@sql_mode, ',STRICT_ALL_TABLES')").await?;
    lock(&mut database, target).await?;
    let wanted = ledger.is_some();
    let ledger = match ledger {
        Some(ledger) if prepare(&mut database, &ledger).await => Some(ledger),
        _ => None,
    };
    if let Some(ledger) = &ledger
        && let Some(done) = earlier(&mut database, target, ledger, "").await?
    {
        return Ok(done);
    }
    let table = name::quoted(Kind::MySql, &target.table)?;
    let schema = data.schema();
    // To define a table is a transaction of its own: after a crash it may be there, empty.
    let created = columns(&mut database, target).await?.is_empty();
    if created {
        execute(&mut database, target, &create(target, &table, &schema)?).await?;
    }
    let mut transaction = database.begin().await.map_err(told)?;
    let written = match load(&mut transaction, target, &table, data).await {
        Ok(Some(rows)) => match &ledger {
            Some(ledger) => note(&mut transaction, target, ledger, rows, created).await,
            None => Ok(Done { rows, created, noted: if wanted { Noted::Refused } else { Noted::No } }),
        },
        Ok(None) => Ok(Done { rows: 0, created, noted: Noted::No }),
        Err(error) => Err(error),
    };
    match written {
        Ok(done @ Done { noted: Noted::Earlier, .. }) => {
            transaction.rollback().await.map_err(told)?;
            Ok(done)
        }
        Ok(done) => {
            transaction.commit().await.map_err(told)?;
            if let Some(prune) = ledger.as_ref().and_then(Ledger::prune) {
                // They are in nobody's way; the next load tries again.
                let _ = execute(&mut database, target, &prune).await;
            }
            let _ = database.close().await;
            Ok(done)
        }
        Err(error) => {
            // The connection is closed after this, which ends the transaction in any case.
            let _ = transaction.rollback().await;
            if created {
                let _ = execute(&mut database, target, &format!("DROP TABLE {table}")).await;
            }
            Err(error)
        }
    }
}

/// Sees to it that the table of notes is there; false where the role may not use it.
async fn prepare(database: &mut MySqlConnection, ledger: &Ledger) -> bool {
    let table = &ledger.table;
    // The update changes nothing; like the insert of no rows it is refused where it is not allowed.
    let looks = [
        format!("SELECT load_id FROM {table} WHERE load_id = ''"),
        format!("UPDATE {table} SET target = target WHERE load_id = ''"),
        format!(
            "INSERT INTO {table} (load_id, task, target, try_number, loaded_rows, created) SELECT '', '', '', 0, 0, 0 FROM DUAL WHERE 1 = 0"
        ),
    ];
    if sqlx::raw_sql(AssertSqlSafe(looks[0].clone())).execute(&mut *database).await.is_err() {
        let made = sqlx::raw_sql(AssertSqlSafe(ledger.create())).execute(&mut *database).await;
        if let Err(error) = made {
            tracing::debug!(%error, %table, "the table of loads was not made");
        }
    }
    for look in looks {
        if sqlx::raw_sql(AssertSqlSafe(look)).execute(&mut *database).await.is_err() {
            return false;
        }
    }
    true
}

/// What an earlier try has done.
async fn earlier(
    database: &mut MySqlConnection,
    target: &TableTarget,
    ledger: &Ledger,
    lock: &str,
) -> Result<Option<Done>, Error> {
    let select = format!("{}{lock}", ledger.select());
    let found = sqlx::query_as(AssertSqlSafe(select)).persistent(false).bind(&ledger.key);
    let found = found.fetch_optional(database).await.map_err(|error| failed(target, &error, 0))?;
    Ok(ledger.done(found))
}

/// Notes that this load is done, unless another try of the task instance has noted the same.
async fn note(
    database: &mut MySqlConnection,
    target: &TableTarget,
    ledger: &Ledger,
    rows: u64,
    created: bool,
) -> Result<Done, Error> {
    // First the insert: a look that finds nothing would lock what is around the key, and loads of others wait for each other.
    for is_second in [false, true] {
        let query = sqlx::query(AssertSqlSafe(ledger.insert())).persistent(false);
        let query = query.bind(&ledger.key).bind(&ledger.task).bind(&ledger.target).bind(ledger.try_number);
        let query = query.bind(rows.cast_signed()).bind(i64::from(created));
        match query.execute(&mut *database).await {
            Ok(_) => break,
            Err(error) if is_second || !is_taken(&error) => return Err(failed(target, &error, 0)),
            Err(_) => {}
        }
        if let Some(done) = earlier(database, target, ledger, " FOR UPDATE").await? {
            return Ok(done);
        }
        let delete = format!("DELETE FROM {} WHERE load_id = ?", ledger.table);
        let deleted = sqlx::query(AssertSqlSafe(delete)).persistent(false).bind(&ledger.key).execute(&mut *database);
        deleted.await.map_err(|error| failed(target, &error, 0))?;
    }
    Ok(Done { rows, created, noted: Noted::Yes })
}

fn is_taken(error: &sqlx::Error) -> bool {
    error.as_database_error().is_some_and(sqlx::error::DatabaseError::is_unique_violation)
}

/// One load of a table at a time, where it matters what the table holds; readers do not wait.
async fn lock(database: &mut MySqlConnection, target: &TableTarget) -> Result<(), Error> {
    if target.mode == Mode::Append {
        return Ok(());
    }
    let got: Option<i64> =
        sqlx::query_scalar("SELECT GET_LOCK(LEFT(CONCAT('towpath ', COALESCE(DATABASE(), ''), '.', ?), 64), ?)")
            .bind(&target.table)
            .bind(LOCK_SECONDS)
            .fetch_one(database)
            .await
            .map_err(|error| failed(target, &error, 0))?;
    if got == Some(1) {
        return Ok(());
    }
    let table = &target.table;
    Err(Error::passing(format!("table `{table}`: another load of it has not ended within {LOCK_SECONDS} s")))
}

/// What the server says, with the row of the load; `before` rows came before the statement.
fn failed(target: &TableTarget, error: &sqlx::Error, before: u64) -> Error {
    let row = error.as_database_error().and_then(|error| {
        // `Data too long for column 'name' at row 3`
        let row: u64 = error.message().rsplit_once(" at row ")?.1.trim().parse().ok()?;
        Some(format!(", row {}", before + row))
    });
    let mut said = Error::of_sqlx(error);
    if row.is_some() {
        said.message.truncate(said.message.rfind(" at row ").unwrap_or(said.message.len()));
    }
    said.at(format!("table `{}`{}", target.table, row.unwrap_or_default()))
}

async fn execute(database: &mut MySqlConnection, target: &TableTarget, sql: &str) -> Result<(), Error> {
    let done = sqlx::raw_sql(AssertSqlSafe(sql)).execute(database).await;
    done.map(drop).map_err(|error| failed(target, &error, 0))
}

/// The columns of the table; none where it does not exist.
async fn columns(database: &mut MySqlConnection, target: &TableTarget) -> Result<Vec<TableColumn>, Error> {
    let mut parts = name::parts(&target.table)?;
    let table = parts.pop().unwrap_or_default();
    let rows: Vec<(String, String, i64, i64)> = sqlx::query_as(
        "SELECT CAST(column_name AS CHAR), CAST(column_type AS CHAR), is_nullable = 'YES', \
                column_default IS NOT NULL OR extra LIKE '%auto_increment%' OR extra LIKE '%generated%' \
         FROM information_schema.columns WHERE table_schema = COALESCE(?, DATABASE()) AND table_name = ? ORDER BY ordinal_position",
    )
    .bind(parts.pop())
    .bind(table)
    .fetch_all(database)
    .await
    .map_err(|error| failed(target, &error, 0))?;
    let columns = rows.into_iter().map(|(name, sql_type, nullable, default)| TableColumn {
        name,
        sql_type,
        nullable: nullable != 0,
        has_default: default != 0,
    });
    Ok(columns.collect())
}

fn create(target: &TableTarget, table: &str, schema: &Schema) -> Result<String, Error> {
    let mut parts = Vec::new();
    for field in schema.fields() {
        let is_key = target.key.contains(field.name());
        let kind = sql_type(field.data_type(), is_key).ok_or_else(|| {
            let (name, kind) = (field.name(), field.data_type());
            let table = &target.table;
            Error::lasting(format!(
                "table `{table}`, column `{name}`: MySQL has no type for {kind}; take it apart or cast it to text"
            ))
        })?;
        let required = if is_key { " NOT NULL" } else { " NULL" };
        parts.push(format!("{} {kind}{required}", Kind::MySql.quote(field.name())));
    }
    if !target.key.is_empty() {
        parts.push(format!("PRIMARY KEY ({})", name::list(Kind::MySql, target.key.iter().map(String::as_str))));
    }
    Ok(format!("CREATE TABLE {table} ({}) CHARACTER SET utf8mb4", parts.join(", ")))
}

/// The type of a column that is made for data of this type.
fn sql_type(kind: &DataType, is_key: bool) -> Option<String> {
    Some(match kind {
        DataType::Boolean => "BOOLEAN".to_owned(),
        DataType::Int8 => "TINYINT".to_owned(),
        DataType::Int16 => "SMALLINT".to_owned(),
        DataType::Int32 => "INT".to_owned(),
        DataType::Int64 => "BIGINT".to_owned(),
        DataType::UInt8 => "TINYINT UNSIGNED".to_owned(),
        DataType::UInt16 => "SMALLINT UNSIGNED".to_owned(),
        DataType::UInt32 => "INT UNSIGNED".to_owned(),
        DataType::UInt64 => "BIGINT UNSIGNED".to_owned(),
        DataType::Float16 | DataType::Float32 => "FLOAT".to_owned(),
        DataType::Float64 => "DOUBLE".to_owned(),
        DataType::Decimal32(precision, scale)
        | DataType::Decimal64(precision, scale)
        | DataType::Decimal128(precision, scale)
            if (0..=30).contains(scale) =>
        {
            format!("DECIMAL({precision}, {scale})")
        }
        // An index does not take text without bounds.
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View if is_key => "VARCHAR(255)".to_owned(),
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View | DataType::Null => "LONGTEXT".to_owned(),
        DataType::Binary | DataType::LargeBinary | DataType::BinaryView if is_key => "VARBINARY(255)".to_owned(),
        DataType::FixedSizeBinary(size) if *size <= 255 => format!("BINARY({size})"),
        DataType::Binary | DataType::LargeBinary | DataType::BinaryView | DataType::FixedSizeBinary(_) => {
            "LONGBLOB".to_owned()
        }
        DataType::Date32 | DataType::Date64 => "DATE".to_owned(),
        DataType::Time32(_) | DataType::Time64(_) => "TIME(6)".to_owned(),
        // `TIMESTAMP` ends in 2038.
        DataType::Timestamp(..) => "DATETIME(6)".to_owned(),
        DataType::Dictionary(_, values) => return sql_type(values, is_key),
        _ => return None,
    })
}

/// What data goes into a column as.
fn fitted_type(column: &TableColumn, from: &DataType) -> Option<DataType> {
    if from.is_nested() {
        return None;
    }
    let declared = column.sql_type.to_ascii_lowercase();
    let name = declared.split(['(', ' ']).next().unwrap_or_default();
    let unsigned = declared.contains("unsigned");
    Some(match (name, unsigned) {
        ("tinyint", _) if declared.starts_with("tinyint(1)") && *from == DataType::Boolean => DataType::Int64,
        // The server checks the bounds of the smaller ones.
        ("tinyint" | "smallint" | "mediumint" | "int" | "bigint", false) => DataType::Int64,
        ("tinyint" | "smallint" | "mediumint" | "int" | "bigint", true) | ("year" | "bit", _) => DataType::UInt64,
        ("float", _) => DataType::Float32,
        ("double", _) => DataType::Float64,
        ("date", _) => DataType::Date32,
        ("time", _) => DataType::Time64(TimeUnit::Microsecond),
        ("datetime", _) => DataType::Timestamp(TimeUnit::Microsecond, None),
        ("timestamp", _) => DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())),
        ("binary" | "varbinary" | "tinyblob" | "blob" | "mediumblob" | "longblob", _) => DataType::Binary,
        _ if matches!(
            from,
            DataType::Binary | DataType::LargeBinary | DataType::BinaryView | DataType::FixedSizeBinary(_)
        ) =>
        {
            return None;
        }
        _ => DataType::Utf8,
    })
}

/// The number of rows; `None` where there was nothing to do.
async fn load(
    database: &mut MySqlConnection,
    target: &TableTarget,
    table: &str,
    mut data: SendableRecordBatchStream,
) -> Result<Option<u64>, Error> {
    if !make_room(database, target, table).await? {
        return Ok(None);
    }
    let columns = columns(database, target).await?;
    let fitted = fit::plan(&target.table, &columns, &data.schema(), &target.key, fitted_type)?;
    let merge =
        if target.mode == Mode::Upsert { Some(Merge::plan(database, target, table, &fitted).await?) } else { None };
    let names = name::list(Kind::MySql, fitted.iter().map(|column| column.name.as_str()));
    let (into, conflict) = merge.as_ref().map_or((table, ""), |merge| (&merge.into, &merge.conflict));
    let marks = format!("({})", vec!["?"; fitted.len()].join(", "));
    let most = (VALUES / fitted.len()).clamp(1, ROWS);
    let statement = |rows: usize| {
        format!("INSERT INTO {into} ({names}) VALUES {}{conflict}", vec![marks.as_str(); rows].join(", "))
    };
    let whole = statement(most);
    let mut rows = 0;
    while let Some(batch) = data.next().await {
        let batch: RecordBatch = batch.map_err(of_data)?;
        let arrays = fit::fit(&target.table, &fitted, &batch, rows)?;
        for start in (0..batch.num_rows()).step_by(most) {
            let end = batch.num_rows().min(start + most);
            let is_whole = end - start == most;
            let sql = if is_whole { whole.clone() } else { statement(end - start) };
            let mut query = sqlx::query(AssertSqlSafe(sql)).persistent(is_whole);
            for row in start..end {
                for array in &arrays {
                    query = bind(query, array, row);
                }
            }
            let before = rows + start as u64;
            query.execute(&mut *database).await.map_err(|error| failed(target, &error, before))?;
        }
        rows += batch.num_rows() as u64;
    }
    if let Some(merge) = merge {
        for sql in merge.then {
            execute(database, target, &sql).await?;
        }
    }
    Ok(Some(rows))
}

/// Makes the table ready for the data; false where there is nothing to do.
async fn make_room(database: &mut MySqlConnection, target: &TableTarget, table: &str) -> Result<bool, Error> {
    let has_rows = match target.mode.rows() {
        Rows::Keep => true,
        Rows::Delete => {
            execute(database, target, &format!("DELETE FROM {table}")).await?;
            false
        }
        Rows::Refuse | Rows::Skip => {
            let any: i64 = sqlx::query_scalar(AssertSqlSafe(format!("SELECT EXISTS (SELECT 1 FROM {table})")))
                .fetch_one(database)
                .await
                .map_err(|error| failed(target, &error, 0))?;
            any != 0
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
    then: Vec<String>,
}

impl Merge {
    /// By `ON DUPLICATE KEY` where a unique index says what a key is, and no other one is there to be taken for it; else through
    /// a temporary table that has one.
    async fn plan(
        database: &mut MySqlConnection,
        target: &TableTarget,
        table: &str,
        columns: &[Fitted],
    ) -> Result<Self, Error> {
        let quote = |name: &str| Kind::MySql.quote(name);
        let others: Vec<&str> = columns
            .iter()
            .map(|column| column.name.as_str())
            .filter(|name| !target.key.iter().any(|key| key == name))
            .collect();
        let sets = |from: &dyn Fn(&str) -> String| {
            // A key on its own has nothing to be set; this sets nothing.
            let names: &[&str] = if others.is_empty() { &[target.key[0].as_str()] } else { &others };
            names.iter().map(|name| from(&quote(name))).collect::<Vec<_>>().join(", ")
        };
        let conflict = format!(" ON DUPLICATE KEY UPDATE {}", sets(&|name| format!("{name} = VALUES({name})")));
        if is_only_unique(database, target).await? {
            return Ok(Self { into: table.to_owned(), conflict, then: Vec::new() });
        }
        let key = name::list(Kind::MySql, target.key.iter().map(String::as_str));
        let names = name::list(Kind::MySql, columns.iter().map(|column| column.name.as_str()));
        let stage = format!("CREATE TEMPORARY TABLE {STAGE} (PRIMARY KEY ({key})) SELECT {names} FROM {table} LIMIT 0");
        execute(database, target, &stage).await?;
        let same =
            target.key.iter().map(|name| format!("t.{0} = s.{0}", quote(name))).collect::<Vec<_>>().join(" AND ");
        let own = columns.iter().map(|column| format!("s.{}", quote(&column.name))).collect::<Vec<_>>().join(", ");
        let first = quote(&target.key[0]);
        let then = vec![
            format!(
                "UPDATE {table} AS t JOIN {STAGE} AS s ON {same} SET {}",
                sets(&|name| format!("t.{name} = s.{name}"))
            ),
            format!(
                "INSERT INTO {table} ({names}) SELECT {own} FROM {STAGE} AS s LEFT JOIN {table} AS t ON {same} WHERE t.{first} IS NULL"
            ),
        ];
        Ok(Self { into: STAGE.to_owned(), conflict, then })
    }
}

/// Whether there is one unique index, on exactly the columns of the key.
async fn is_only_unique(database: &mut MySqlConnection, target: &TableTarget) -> Result<bool, Error> {
    let mut parts = name::parts(&target.table)?;
    let table = parts.pop().unwrap_or_default();
    let rows: Vec<(String, Option<String>)> = sqlx::query_as(
        "SELECT CAST(index_name AS CHAR), CAST(column_name AS CHAR) FROM information_schema.statistics \
         WHERE table_schema = COALESCE(?, DATABASE()) AND table_name = ? AND non_unique = 0 ORDER BY index_name",
    )
    .bind(parts.pop())
    .bind(table)
    .fetch_all(database)
    .await
    .map_err(|error| failed(target, &error, 0))?;
    let mut key: Vec<&str> = target.key.iter().map(String::as_str).collect();
    key.sort_unstable();
    let mut indexes = rows.chunk_by(|(one, _), (other, _)| one == other);
    let Some(first) = indexes.next() else { return Ok(false) };
    let mut columns: Vec<&str> = first.iter().map(|(_, column)| column.as_deref().unwrap_or_default()).collect();
    columns.sort_unstable();
    Ok(columns == key && indexes.next().is_none())
}

/// Binds a value of a column that has been cast to [`fitted_type`].
fn bind<'q>(query: Query<'q, MySql, MySqlArguments>, array: &ArrayRef, row: usize) -> Query<'q, MySql, MySqlArguments> {
    let is_null = array.is_null(row);
    macro_rules! value {
        ($value:expr) => {
            query.bind((!is_null).then(|| $value))
        };
    }
    match array.data_type() {
        DataType::Int64 => value!(array.as_primitive::<Int64Type>().value(row)),
        DataType::UInt64 => value!(array.as_primitive::<UInt64Type>().value(row)),
        DataType::Float32 => value!(array.as_primitive::<Float32Type>().value(row)),
        DataType::Float64 => value!(array.as_primitive::<Float64Type>().value(row)),
        DataType::Utf8 => value!(array.as_string::<i32>().value(row).to_owned()),
        DataType::Binary => value!(array.as_binary::<i32>().value(row).to_owned()),
        DataType::Date32 => {
            let date = || as_datetime::<Date32Type>(array.as_primitive::<Date32Type>().value(row).into());
            query.bind(if is_null { None } else { date().map(|time| -> NaiveDate { time.date() }) })
        }
        DataType::Time64(_) => {
            let time = || as_time::<Time64MicrosecondType>(array.as_primitive::<Time64MicrosecondType>().value(row));
            let time: Option<NaiveTime> = if is_null { None } else { time() };
            query.bind(time)
        }
        DataType::Timestamp(..) => {
            let time =
                || as_datetime::<TimestampMicrosecondType>(array.as_primitive::<TimestampMicrosecondType>().value(row));
            let time: Option<NaiveDateTime> = if is_null { None } else { time() };
            query.bind(time)
        }
        _ => value!(array_value_to_string(array, row).unwrap_or_default()),
    }
}
