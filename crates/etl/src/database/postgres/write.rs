//! A stream as a table.

use datafusion::arrow::array::RecordBatch;
use datafusion::arrow::datatypes::{DataType, Field, Schema, TimeUnit};
use datafusion::execution::SendableRecordBatchStream;
use futures::StreamExt as _;
use sqlx::{AssertSqlSafe, Connection as _, PgConnection, Row as _};
use towpath_model::connection::Connection;
use towpath_operators::database::{Error, Kind, open_postgres};

use super::super::fit::{self, Fitted, TableColumn};
use super::super::ledger::Ledger;
use super::super::{Done, Mode, Noted, Rows, TableTarget, name, of_data};
use super::encode::{Cells, Form, HEADER, TRAILER};
use super::failed;
use super::watch::Watch;

/// So many bytes are sent at once.
const SEND_BYTES: usize = 1 << 18;
/// Where an upsert, and what has no binary form here, waits until all rows are there.
const STAGE: &str = "towpath_stage";
/// Numbers the rows of the stage.
const ORDER: &str = "towpath_row";

/// A column of the table and the form of its values.
struct Column {
    table: TableColumn,
    /// `None`: as text, which the server reads.
    form: Option<Form>,
}

/// Writes `data`.
pub(in crate::database) async fn write(
    connection: &Connection,
    target: &TableTarget,
    ledger: Option<Ledger>,
    data: SendableRecordBatchStream,
) -> Result<Done, Error> {
    let mut database = open_postgres(connection).await?;
    let told = |error: sqlx::Error| failed(&target.table, &error);
    let wanted = ledger.is_some();
    let ledger = match ledger {
        Some(ledger) if prepare(&mut database, target, &ledger).await? => Some(ledger),
        _ => None,
    };
    if let Some(ledger) = &ledger
        && let Some(done) = earlier(&mut database, target, ledger).await?
    {
        return Ok(done);
    }
    // Whatever ends this function early ends the transaction with it.
    let mut transaction = database.begin().await.map_err(told)?;
    let watch = Watch::of(&mut transaction, connection).await.map_err(told)?;
    let (rows, created) = match load(&mut transaction, target, &watch, data).await? {
        Some(written) => written,
        None => return Ok(Done { rows: 0, created: false, noted: Noted::No }),
    };
    if let Some(ledger) = &ledger
        && !note(&mut transaction, target, ledger, rows, created).await?
    {
        // An earlier try has been at work until now, and was quicker.
        transaction.rollback().await.map_err(told)?;
        let gone = || Error::passing(format!("table `{}`: another try of the task has loaded it", target.table));
        return earlier(&mut database, target, ledger).await?.ok_or_else(gone);
    }
    watch.wait(async { transaction.commit().await.map_err(told) }, |error| lost(target, error)).await?;
    if let Some(prune) = ledger.as_ref().and_then(Ledger::prune) {
        // They are in nobody's way; the next load tries again.
        let _ = execute(&mut database, target, &prune).await;
    }
    let _ = database.close().await;
    let noted = match (wanted, ledger.is_some()) {
        (_, true) => Noted::Yes,
        (true, false) => Noted::Refused,
        (false, false) => Noted::No,
    };
    Ok(Done { rows, created, noted })
}

/// The server is out of reach.
fn lost(target: &TableTarget, error: Error) -> Error {
    error.at(format!("table `{}`", target.table))
}

/// Sees to it that the table of notes is there; false where the role may not use it.
async fn prepare(database: &mut PgConnection, target: &TableTarget, ledger: &Ledger) -> Result<bool, Error> {
    let look = "SELECT to_regclass($1) IS NOT NULL, coalesce(has_table_privilege(to_regclass($1), 'SELECT') \
                AND has_table_privilege(to_regclass($1), 'INSERT') AND has_table_privilege(to_regclass($1), 'UPDATE'), false)";
    // Two loads may make it at the same time, and one of them is told that it exists.
    for is_second in [false, true] {
        let found = sqlx::query_as(look).persistent(false).bind(&ledger.table).fetch_one(&mut *database).await;
        let (is_there, is_ours): (bool, bool) = found.map_err(|error| failed(&target.table, &error))?;
        if is_there || is_second {
            return Ok(is_ours);
        }
        let made = sqlx::query(AssertSqlSafe(ledger.create())).persistent(false).execute(&mut *database).await;
        if let Err(error) = made {
            tracing::debug!(%error, table = %ledger.table, "the table of loads was not made");
        }
    }
    Ok(false)
}

/// What an earlier try has done.
async fn earlier(database: &mut PgConnection, target: &TableTarget, ledger: &Ledger) -> Result<Option<Done>, Error> {
    let found = sqlx::query_as(AssertSqlSafe(ledger.select())).persistent(false).bind(&ledger.key);
    let found = found.fetch_optional(database).await.map_err(|error| failed(&target.table, &error))?;
    Ok(ledger.done(found))
}

/// Notes that this load is done; false where another try of the task instance has noted the same.
async fn note(
    database: &mut PgConnection,
    target: &TableTarget,
    ledger: &Ledger,
    rows: u64,
    created: bool,
) -> Result<bool, Error> {
    let query = sqlx::query(AssertSqlSafe(ledger.replace())).persistent(false);
    let query = query.bind(&ledger.key).bind(&ledger.task).bind(&ledger.target).bind(ledger.try_number);
    let query = query.bind(rows.cast_signed()).bind(i64::from(created)).bind(ledger.settled);
    let done = query.execute(database).await.map_err(|error| failed(&target.table, &error))?;
    Ok(done.rows_affected() == 1)
}

/// The number of rows, and whether the table was made; `None` where there was nothing to do.
async fn load(
    database: &mut PgConnection,
    target: &TableTarget,
    watch: &Watch,
    data: SendableRecordBatchStream,
) -> Result<Option<(u64, bool)>, Error> {
    let table = name::quoted(Kind::Postgres, &target.table)?;
    let schema = data.schema();
    let mut columns = columns(database, target, &table).await?;
    let created = columns.is_empty();
    if created {
        execute(database, target, &create(target, &table, &schema)?).await?;
        columns = self::columns(database, target, &table).await?;
    } else if !make_room(database, target, &table).await? {
        return Ok(None);
    }
    let names: Vec<TableColumn> = columns.iter().map(|column| column.table.clone()).collect();
    let form =
        |name: &str| columns.iter().find(|column| column.table.name == name).and_then(|column| column.form.clone());
    let fitted = fit::plan(&target.table, &names, &schema, &target.key, |column, from| match form(&column.name) {
        Some(form) => form.data_type(from),
        None => Form::Text.data_type(from),
    })?;
    let forms: Vec<Option<Form>> = fitted.iter().map(|column| form(&column.name)).collect();
    let own = name::list(Kind::Postgres, fitted.iter().map(|column| column.name.as_str()));
    let is_upsert = target.mode == Mode::Upsert;
    if !is_upsert && forms.iter().all(Option::is_some) {
        let into = Into { target, table: &table, names: &own, columns: &fitted, forms: &forms, watch };
        return Ok(Some((into.copy(database, data).await?, created)));
    }
    stage(database, target, &table, &fitted, &forms).await?;
    let into = Into { target, table: STAGE, names: &own, columns: &fitted, forms: &forms, watch };
    let rows = into.copy(database, data).await?;
    if is_upsert {
        let merged = upsert(database, target, &table, &fitted, &forms);
        watch.wait(merged, |error| lost(target, error)).await?;
    } else {
        let values = values("", &fitted, &forms);
        execute(
            database,
            target,
            &format!("INSERT INTO {table} ({own}) SELECT {values} FROM {STAGE} ORDER BY {ORDER}"),
        )
        .await?;
    }
    Ok(Some((rows, created)))
}

async fn execute(database: &mut PgConnection, target: &TableTarget, sql: &str) -> Result<u64, Error> {
    let done = sqlx::query(AssertSqlSafe(sql)).persistent(false).execute(database).await;
    done.map(|done| done.rows_affected()).map_err(|error| failed(&target.table, &error))
}

/// The columns of the table; none where it does not exist.
async fn columns(database: &mut PgConnection, target: &TableTarget, table: &str) -> Result<Vec<Column>, Error> {
    let rows = sqlx::query(
        "SELECT a.attname::text, format_type(a.atttypid, a.atttypmod), NOT (a.attnotnull OR t.typnotnull), \
                a.atthasdef OR a.attidentity <> '' OR t.typdefault IS NOT NULL, \
                coalesce(b.typname, t.typname)::text, coalesce(b.typtype, t.typtype)::text, e.typname::text, e.oid \
         FROM pg_attribute a JOIN pg_type t ON t.oid = a.atttypid \
         LEFT JOIN pg_type b ON t.typtype = 'd' AND b.oid = t.typbasetype \
         LEFT JOIN pg_type e ON coalesce(b.typcategory, t.typcategory) = 'A' AND e.oid = coalesce(b.typelem, t.typelem) \
         WHERE a.attrelid = to_regclass($1) AND a.attnum > 0 AND NOT a.attisdropped ORDER BY a.attnum",
    )
    .bind(table)
    .fetch_all(database)
    .await
    .map_err(|error| failed(&target.table, &error))?;
    let columns = rows.iter().map(|row| {
        let base: String = row.try_get(4)?;
        let kind: String = row.try_get(5)?;
        let element: Option<String> = row.try_get(6)?;
        let oid: Option<sqlx::postgres::types::Oid> = row.try_get(7)?;
        let form = match (element, oid) {
            (Some(element), Some(oid)) => Form::of(&element).map(|form| Form::List(Box::new(form), oid.0)),
            _ if kind == "e" => Some(Form::Text),
            _ => Form::of(&base),
        };
        let table = TableColumn {
            name: row.try_get(0)?,
            sql_type: row.try_get(1)?,
            nullable: row.try_get(2)?,
            has_default: row.try_get(3)?,
        };
        Ok(Column { table, form })
    });
    columns.collect::<Result<_, sqlx::Error>>().map_err(|error| failed(&target.table, &error))
}

fn create(target: &TableTarget, table: &str, schema: &Schema) -> Result<String, Error> {
    let mut parts = Vec::new();
    for field in schema.fields() {
        let kind = sql_type(field.data_type()).ok_or_else(|| {
            let (name, kind) = (field.name(), field.data_type());
            Error::lasting(format!(
                "table `{}`, column `{name}`: PostgreSQL has no type for {kind}; take it apart or cast it to text",
                target.table
            ))
        })?;
        parts.push(format!("{} {kind}", Kind::Postgres.quote(field.name())));
    }
    if !target.key.is_empty() {
        let key = name::list(Kind::Postgres, target.key.iter().map(String::as_str));
        parts.push(format!("PRIMARY KEY ({key})"));
    }
    Ok(format!("CREATE TABLE {table} ({})", parts.join(", ")))
}

/// The type of a column that is made for data of this type.
fn sql_type(kind: &DataType) -> Option<String> {
    Some(match kind {
        DataType::Boolean => "boolean".to_owned(),
        DataType::Int8 | DataType::UInt8 | DataType::Int16 => "smallint".to_owned(),
        DataType::UInt16 | DataType::Int32 => "integer".to_owned(),
        DataType::UInt32 | DataType::Int64 => "bigint".to_owned(),
        DataType::UInt64 => "numeric(20, 0)".to_owned(),
        DataType::Float16 | DataType::Float32 => "real".to_owned(),
        DataType::Float64 => "double precision".to_owned(),
        DataType::Decimal128(precision, scale) if *scale >= 0 => format!("numeric({precision}, {scale})"),
        DataType::Decimal32(..) | DataType::Decimal64(..) | DataType::Decimal128(..) | DataType::Decimal256(..) => {
            "numeric".to_owned()
        }
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View | DataType::Null => "text".to_owned(),
        DataType::Binary | DataType::LargeBinary | DataType::BinaryView | DataType::FixedSizeBinary(_) => {
            "bytea".to_owned()
        }
        DataType::Date32 | DataType::Date64 => "date".to_owned(),
        DataType::Time32(_) | DataType::Time64(TimeUnit::Microsecond | TimeUnit::Nanosecond) => "time".to_owned(),
        DataType::Timestamp(_, None) => "timestamp".to_owned(),
        DataType::Timestamp(_, Some(_)) => "timestamptz".to_owned(),
        DataType::Dictionary(_, values) => return sql_type(values),
        DataType::List(item) | DataType::LargeList(item) if !item.data_type().is_nested() => {
            format!("{}[]", sql_type(Field::data_type(item))?)
        }
        _ => return None,
    })
}

/// Makes a table that exists ready for the data; false where there is nothing to do. From here on nobody else changes it until the load
/// has ended, where what it holds matters; it can be read all the time.
async fn make_room(database: &mut PgConnection, target: &TableTarget, table: &str) -> Result<bool, Error> {
    if target.mode == Mode::Append {
        return Ok(true);
    }
    execute(database, target, &format!("LOCK TABLE {table} IN SHARE ROW EXCLUSIVE MODE")).await?;
    let has_rows = match target.mode.rows() {
        Rows::Keep => true,
        Rows::Delete => {
            // `TRUNCATE` would make readers wait for the whole load, and those with an older snapshot see nothing.
            execute(database, target, &format!("DELETE FROM {table}")).await?;
            false
        }
        Rows::Refuse | Rows::Skip => execute(database, target, &format!("SELECT 1 FROM {table} LIMIT 1")).await? > 0,
    };
    target.mode.goes_on(&target.table, has_rows)
}

/// Where rows are sent.
struct Into<'a> {
    target: &'a TableTarget,
    table: &'a str,
    /// Of the columns, quoted.
    names: &'a str,
    columns: &'a [Fitted],
    forms: &'a [Option<Form>],
    watch: &'a Watch,
}

impl Into<'_> {
    /// Sends all rows; their number.
    async fn copy(&self, database: &mut PgConnection, mut data: SendableRecordBatchStream) -> Result<u64, Error> {
        let Self { target, table, names, columns, forms, watch } = self;
        let told = |error: sqlx::Error| failed(&target.table, &error);
        let lost = |error: Error| lost(target, error);
        let sql = format!("COPY {table} ({names}) FROM STDIN (FORMAT binary)");
        let mut copy = database.copy_in_raw(&sql).await.map_err(told)?;
        let mut bytes = HEADER.to_vec();
        let mut rows = 0;
        while let Some(batch) = data.next().await {
            let encoded = match batch {
                Ok(batch) => encode(target, columns, forms, &batch, rows),
                Err(error) => Err(of_data(error)),
            };
            let (cells, count) = match encoded {
                Ok(encoded) => encoded,
                Err(error) => {
                    // What the server says to this is of no interest.
                    let _ = copy.abort("the load has failed").await;
                    return Err(error);
                }
            };
            for row in 0..count {
                bytes.extend_from_slice(&(cells.len() as i16).to_be_bytes());
                for (position, cell) in cells.iter().enumerate() {
                    if let Err(error) = cell.put(row, &mut bytes) {
                        let _ = copy.abort("the load has failed").await;
                        let place = fit::at(&target.table, &columns[position].name, rows + row as u64);
                        return Err(Error::lasting(format!("{place}: {error}")));
                    }
                }
                if bytes.len() >= SEND_BYTES {
                    let sent = async { copy.send(bytes.as_slice()).await.map(drop).map_err(told) };
                    watch.wait(sent, lost).await?;
                    bytes.clear();
                }
            }
            rows += count as u64;
        }
        bytes.extend_from_slice(TRAILER);
        watch.wait(async { copy.send(bytes).await.map(drop).map_err(told) }, lost).await?;
        watch.wait(async { copy.finish().await.map_err(told) }, lost).await
    }
}

fn encode(
    target: &TableTarget,
    columns: &[Fitted],
    forms: &[Option<Form>],
    batch: &RecordBatch,
    before: u64,
) -> Result<(Vec<Cells>, usize), Error> {
    let arrays = fit::fit(&target.table, columns, batch, before)?;
    let cells = arrays.iter().zip(forms).map(|(array, form)| Cells::new(form.as_ref().unwrap_or(&Form::Text), array));
    Ok((cells.collect(), batch.num_rows()))
}

/// Makes a temporary table with the data's columns of the table, in their types or as text, and the order of the rows.
async fn stage(
    database: &mut PgConnection,
    target: &TableTarget,
    table: &str,
    columns: &[Fitted],
    forms: &[Option<Form>],
) -> Result<(), Error> {
    let names = columns.iter().zip(forms).map(|(column, form)| {
        let name = Kind::Postgres.quote(&column.name);
        if form.is_some() { name } else { format!("{name}::text AS {name}") }
    });
    let names = names.collect::<Vec<_>>().join(", ");
    for sql in [
        format!("CREATE TEMP TABLE {STAGE} ON COMMIT DROP AS SELECT {names} FROM {table} WITH NO DATA"),
        format!("ALTER TABLE {STAGE} ADD COLUMN {ORDER} bigint GENERATED ALWAYS AS IDENTITY"),
    ] {
        execute(database, target, &sql).await?;
    }
    Ok(())
}

/// The stage's values in the types of the table.
fn values(from: &str, columns: &[Fitted], forms: &[Option<Form>]) -> String {
    let values = columns.iter().zip(forms).map(|(column, form)| {
        let name = Kind::Postgres.quote(&column.name);
        if form.is_some() { format!("{from}{name}") } else { format!("{from}{name}::{}", column.sql_type) }
    });
    values.collect::<Vec<_>>().join(", ")
}

/// Brings the stage's rows into the table: by `ON CONFLICT` where a unique index says what a key is, else by an update of the rows that
/// are there and an insert of the others.
async fn upsert(
    database: &mut PgConnection,
    target: &TableTarget,
    table: &str,
    columns: &[Fitted],
    forms: &[Option<Form>],
) -> Result<(), Error> {
    let quote = |name: &str| Kind::Postgres.quote(name);
    execute(database, target, &format!("ANALYZE {STAGE}")).await?;
    let key = name::list(Kind::Postgres, target.key.iter().map(String::as_str));
    let names = name::list(Kind::Postgres, columns.iter().map(|column| column.name.as_str()));
    let others: Vec<&str> = columns
        .iter()
        .map(|column| column.name.as_str())
        .filter(|name| !target.key.iter().any(|key| key == name))
        .collect();
    // Of rows with the same key the last one counts.
    let last = format!(
        "(SELECT DISTINCT ON ({key}) {} FROM {STAGE} ORDER BY {key}, {ORDER} DESC) AS s ({names})",
        values("", columns, forms)
    );
    if is_unique(database, target, table).await? {
        let sets = others.iter().map(|name| format!("{0} = excluded.{0}", quote(name))).collect::<Vec<_>>().join(", ");
        let then = if others.is_empty() { "NOTHING".to_owned() } else { format!("UPDATE SET {sets}") };
        let sql = format!("INSERT INTO {table} ({names}) SELECT {names} FROM {last} ON CONFLICT ({key}) DO {then}");
        return execute(database, target, &sql).await.map(drop);
    }
    let same = target.key.iter().map(|name| format!("t.{0} = s.{0}", quote(name))).collect::<Vec<_>>().join(" AND ");
    if !others.is_empty() {
        let sets = others.iter().map(|name| format!("{0} = s.{0}", quote(name))).collect::<Vec<_>>().join(", ");
        execute(database, target, &format!("UPDATE {table} AS t SET {sets} FROM {last} WHERE {same}")).await?;
    }
    let own = columns.iter().map(|column| format!("s.{}", quote(&column.name))).collect::<Vec<_>>().join(", ");
    let sql = format!(
        "INSERT INTO {table} ({names}) SELECT {own} FROM {last} WHERE NOT EXISTS (SELECT 1 FROM {table} AS t WHERE {same})"
    );
    execute(database, target, &sql).await.map(drop)
}

/// Whether a unique index is on exactly the columns of the key.
async fn is_unique(database: &mut PgConnection, target: &TableTarget, table: &str) -> Result<bool, Error> {
    sqlx::query_scalar(
        "SELECT EXISTS (SELECT 1 FROM pg_index i WHERE i.indrelid = to_regclass($1) AND i.indisunique AND i.indisvalid \
         AND i.indimmediate AND i.indpred IS NULL AND i.indexprs IS NULL \
         AND (SELECT array_agg(a.attname::text ORDER BY a.attname::text COLLATE \"C\") FROM pg_attribute a \
              WHERE a.attrelid = i.indrelid AND a.attnum = ANY ((i.indkey::int2[])[0:i.indnkeyatts - 1])) \
         = (SELECT array_agg(k ORDER BY k COLLATE \"C\") FROM unnest($2::text[]) AS k))",
    )
    .bind(table)
    .bind(&target.key)
    .fetch_one(database)
    .await
    .map_err(|error| failed(&target.table, &error))
}
