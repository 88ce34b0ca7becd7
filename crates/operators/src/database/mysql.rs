//! MySQL and MariaDB: statements, and their values as JSON.

use futures::TryStreamExt as _;
use serde_json::Value;
use sqlx::mysql::types::MySqlTime;
use sqlx::mysql::{MySqlConnection, MySqlRow};
use sqlx::{
    AssertSqlSafe, Column as _, Either, Executor as _, Row as _, SqlSafeStr as _, Statement as _, TypeInfo as _,
    ValueRef as _,
};
use tokio_util::sync::CancellationToken;
use towpath_model::connection::Connection;

use super::run::{Answer, Collector, Session, stopped};
use super::statement::Bound;
use super::{Error, Fetch, bytes_json, decimal_json, float_json, open_mysql};

pub(super) async fn session<F: Fn(usize, &Answer)>(
    connection: &Connection,
    session: Session<F>,
    stop: &CancellationToken,
) -> Result<Vec<Answer>, Error> {
    let mut database = open_mysql(connection).await?;
    let thread: u64 = sqlx::query_scalar("SELECT CONNECTION_ID()")
        .fetch_one(&mut database)
        .await
        .map_err(|error| Error::of_sqlx(&error))?;
    tokio::select! {
        biased;
        () = stop.cancelled() => {
            // The server would go on with a statement whose client has gone.
            if let Ok(mut other) = open_mysql(connection).await {
                let _ = other.execute(sqlx::raw_sql(AssertSqlSafe(format!("KILL {thread}")))).await;
            }
            Err(stopped())
        }
        result = statements(&mut database, &session) => {
            if result.is_ok() {
                let _ = sqlx::Connection::close(database).await;
            }
            result
        }
    }
}

async fn statements<F: Fn(usize, &Answer)>(
    database: &mut MySqlConnection,
    session: &Session<F>,
) -> Result<Vec<Answer>, Error> {
    let command = async |database: &mut MySqlConnection, sql: &'static str| {
        database.execute(sqlx::raw_sql(sql)).await.map(drop).map_err(|error| Error::of_sqlx(&error))
    };
    if session.transaction {
        command(database, "START TRANSACTION").await?;
    }
    let mut answers = Vec::new();
    for (position, (bound, fetch)) in session.statements.iter().enumerate() {
        let answer = statement(database, bound, *fetch, session.max_rows).await;
        let answer = answer.map_err(|error| session.failed(position, error))?;
        (session.done)(position, &answer);
        answers.push(answer);
    }
    if session.transaction {
        command(database, "COMMIT").await?;
    }
    Ok(answers)
}

/// The names of the columns that a statement returns; none where it returns no rows.
///
/// # Errors
/// What the server says to the statement.
pub async fn columns(database: &mut MySqlConnection, sql: &str) -> Result<Vec<String>, sqlx::Error> {
    let prepared = database.prepare(AssertSqlSafe(sql).into_sql_str()).await?;
    Ok(prepared.columns().iter().map(|column| column.name().to_owned()).collect())
}

async fn statement(
    database: &mut MySqlConnection,
    bound: &Bound,
    fetch: Fetch,
    max_rows: usize,
) -> Result<Answer, Error> {
    let failed = |error: sqlx::Error| Error::of_sqlx(&error);
    let sql = bound.sql(|_| "?".to_owned());
    let mut answer = Answer::default();
    if fetch != Fetch::None {
        // Some statements cannot be prepared; of what they return, the names come with the first row.
        answer.columns = columns(database, &sql).await.unwrap_or_default();
    }
    let mut collector = Collector::new(fetch, max_rows);
    let mut query = sqlx::query::<sqlx::MySql>(AssertSqlSafe(sql.clone())).persistent(false);
    for value in &bound.values {
        query = match value {
            Value::Null => query.bind(None::<String>),
            Value::Bool(flag) => query.bind(*flag),
            Value::Number(number) => match (number.as_i64(), number.as_u64(), number.as_f64()) {
                (Some(number), _, _) => query.bind(number),
                (_, Some(number), _) => query.bind(number),
                (_, _, number) => query.bind(number),
            },
            Value::String(text) => query.bind(text.clone()),
            Value::Array(_) | Value::Object(_) => query.bind(value.to_string()),
        };
    }
    let mut items = if bound.values.is_empty() {
        database.fetch_many(sqlx::raw_sql(AssertSqlSafe(sql)))
    } else {
        database.fetch_many(query)
    };
    while let Some(item) = items.try_next().await.map_err(failed)? {
        match item {
            Either::Left(result) => answer.affected += result.rows_affected(),
            Either::Right(row) if collector.wants() => {
                if answer.columns.is_empty() {
                    answer.columns = row.columns().iter().map(|column| column.name().to_owned()).collect();
                }
                collector.push(json_row(&row)?)?;
            }
            Either::Right(_) => {}
        }
    }
    answer.rows = collector.rows;
    Ok(answer)
}

fn json_row(row: &MySqlRow) -> Result<Vec<Value>, Error> {
    let mut values = Vec::with_capacity(row.len());
    for column in row.columns() {
        let place = |error: sqlx::Error| Error::of_sqlx(&error).at(format!("column `{}`", column.name()));
        values.push(json_value(row, column.ordinal()).map_err(place)?);
    }
    Ok(values)
}

fn json_value(row: &MySqlRow, at: usize) -> Result<Value, sqlx::Error> {
    let value = row.try_get_raw(at)?;
    if value.is_null() {
        return Ok(Value::Null);
    }
    let kind = value.type_info().into_owned();
    if kind.name() != "JSON" && <str as sqlx::Type<sqlx::MySql>>::compatible(&kind) {
        // Text that is compared byte by byte has the name of a binary type.
        return Ok(row.try_get_unchecked::<String, _>(at)?.into());
    }
    Ok(match kind.name() {
        "BOOLEAN" | "TINYINT" | "SMALLINT" | "MEDIUMINT" | "INT" | "BIGINT" => {
            row.try_get_unchecked::<i64, _>(at)?.into()
        }
        "YEAR" | "TINYINT UNSIGNED" | "SMALLINT UNSIGNED" | "MEDIUMINT UNSIGNED" | "INT UNSIGNED"
        | "BIGINT UNSIGNED" | "BIT" => row.try_get_unchecked::<u64, _>(at)?.into(),
        "FLOAT" => decimal_json(&row.try_get_unchecked::<f32, _>(at)?.to_string()),
        "DOUBLE" => float_json(row.try_get_unchecked::<f64, _>(at)?),
        "DECIMAL" => decimal_json(&row.try_get_unchecked::<String, _>(at)?),
        "DATE" => row.try_get_unchecked::<chrono::NaiveDate, _>(at)?.to_string().into(),
        "TIME" => time_text(&row.try_get_unchecked::<MySqlTime, _>(at)?).into(),
        "DATETIME" | "TIMESTAMP" => {
            let time = row.try_get_unchecked::<chrono::NaiveDateTime, _>(at)?;
            let zone = if kind.name() == "TIMESTAMP" { "+00:00" } else { "" };
            format!("{}{zone}", time.format("%Y-%m-%dT%H:%M:%S%.f")).into()
        }
        "JSON" => {
            let text = row.try_get_unchecked::<String, _>(at)?;
            serde_json::from_str(&text).unwrap_or(Value::String(text))
        }
        "BINARY" | "VARBINARY" | "TINYBLOB" | "BLOB" | "MEDIUMBLOB" | "LONGBLOB" | "GEOMETRY" => {
            bytes_json(&row.try_get_unchecked::<Vec<u8>, _>(at)?)
        }
        _ => row.try_get_unchecked::<String, _>(at)?.into(),
    })
}

fn time_text(time: &MySqlTime) -> String {
    let sign = if time.sign().is_negative() { "-" } else { "" };
    let micros = time.microseconds();
    let fraction = if micros == 0 { String::new() } else { format!(".{micros:06}") };
    format!("{sign}{:02}:{:02}:{:02}{fraction}", time.hours(), time.minutes(), time.seconds())
}
