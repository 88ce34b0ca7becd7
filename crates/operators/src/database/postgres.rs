//! PostgreSQL: statements, and the binary forms of its values.

use chrono::{NaiveDate, NaiveDateTime, NaiveTime, TimeDelta};
use futures::TryStreamExt as _;
use serde_json::Value;
use sqlx::postgres::types::Oid;
use sqlx::postgres::{PgArguments, PgConnection, PgRow, PgTypeInfo, PgTypeKind};
use sqlx::{
    AssertSqlSafe, Column as _, Either, Executor as _, Row as _, SqlSafeStr as _, Statement as _, TypeInfo as _,
    ValueRef as _,
};
use tokio_util::sync::CancellationToken;
use towpath_model::connection::Connection;

use super::run::{Answer, Collector, Session, stopped};
use super::statement::Bound;
use super::{Error, Fetch, bytes_json, decimal_json, float_json, open_postgres};

/// Days from 1970-01-01 to 2000-01-01, where PostgreSQL counts from.
pub const EPOCH_DAYS: i32 = 10_957;
/// The same in microseconds.
pub const EPOCH_MICROS: i64 = EPOCH_DAYS as i64 * 86_400_000_000;

pub(super) async fn session<F: Fn(usize, &Answer)>(
    connection: &Connection,
    session: Session<F>,
    stop: &CancellationToken,
) -> Result<Vec<Answer>, Error> {
    let mut database = open_postgres(connection).await?;
    let process: i32 = sqlx::query_scalar("SELECT pg_backend_pid()")
        .fetch_one(&mut database)
        .await
        .map_err(|error| Error::of_sqlx(&error))?;
    tokio::select! {
        biased;
        () = stop.cancelled() => {
            // The server would go on with a statement whose client has gone.
            if let Ok(mut other) = open_postgres(connection).await {
                let cancel = sqlx::query("SELECT pg_cancel_backend($1)").bind(process);
                let _ = cancel.execute(&mut other).await;
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
    database: &mut PgConnection,
    session: &Session<F>,
) -> Result<Vec<Answer>, Error> {
    let command = async |database: &mut PgConnection, sql: &'static str| {
        database.execute(sql).await.map(drop).map_err(|error| Error::of_sqlx(&error))
    };
    if session.transaction {
        command(database, "BEGIN").await?;
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

async fn statement(database: &mut PgConnection, bound: &Bound, fetch: Fetch, max_rows: usize) -> Result<Answer, Error> {
    let failed = |error: sqlx::Error| Error::of_sqlx(&error);
    let mut sql = bound.sql(|position| format!("${}", position + 1));
    let mut answer = Answer::default();
    if fetch != Fetch::None || !bound.values.is_empty() {
        let prepared = database.prepare(AssertSqlSafe(sql.as_str()).into_sql_str()).await.map_err(failed)?;
        answer.columns = prepared.columns().iter().map(|column| column.name().to_owned()).collect();
        if let Some(Either::Left(types)) = prepared.parameters().filter(|_| !bound.values.is_empty()) {
            let types = type_names(database, types).await.map_err(failed)?;
            // The server reads each value from text, by the rules of the type that it expects there.
            let kind = |position: usize| wide_enough(&types[position], &bound.values[position]);
            sql = bound.sql(|position| format!("CAST(${}::text AS {})", position + 1, kind(position)));
        }
    }
    let mut query = sqlx::query::<sqlx::Postgres>(AssertSqlSafe(sql)).persistent(false);
    for value in &bound.values {
        query = query.bind(input(value));
    }
    let mut collector = Collector::new(fetch, max_rows);
    let mut items = database.fetch_many(query as sqlx::query::Query<'_, _, PgArguments>);
    while let Some(item) = items.try_next().await.map_err(failed)? {
        match item {
            Either::Left(result) => answer.affected += result.rows_affected(),
            Either::Right(row) if collector.wants() => collector.push(json_row(&row)?)?,
            Either::Right(_) => {}
        }
    }
    if fetch == Fetch::None {
        answer.columns.clear();
    }
    answer.rows = collector.rows;
    Ok(answer)
}

/// The names of types as SQL has them.
async fn type_names(database: &mut PgConnection, types: &[PgTypeInfo]) -> Result<Vec<String>, sqlx::Error> {
    let oids: Vec<Oid> = types.iter().map(|kind| kind.oid().unwrap_or(Oid(25))).collect();
    let names = "SELECT format_type(o.oid, NULL) FROM unnest($1::oid[]) WITH ORDINALITY AS o(oid, at) ORDER BY o.at";
    sqlx::query_scalar(names).bind(oids).fetch_all(database).await
}

/// The type that the server expects, or a wider one for a number that it does not hold: `small_column < 70000` is a good question.
fn wide_enough<'a>(expected: &'a str, value: &Value) -> &'a str {
    let most: i64 = match expected {
        "smallint" => i16::MAX.into(),
        "integer" => i32::MAX.into(),
        "bigint" => i64::MAX,
        _ => return expected,
    };
    match value {
        Value::Number(number) => match number.as_i64() {
            Some(whole) if (-most..=most).contains(&whole) => expected,
            Some(_) => "bigint",
            None => "numeric",
        },
        _ => expected,
    }
}

/// A value as PostgreSQL reads it from text; a list is an array.
fn input(value: &Value) -> Option<String> {
    match value {
        Value::Null => None,
        Value::String(text) => Some(text.clone()),
        Value::Array(items) => Some(array_input(items)),
        Value::Bool(_) | Value::Number(_) | Value::Object(_) => Some(value.to_string()),
    }
}

fn array_input(items: &[Value]) -> String {
    let items = items.iter().map(|item| match item {
        Value::Null => "NULL".to_owned(),
        Value::Array(items) => array_input(items),
        other => {
            let text = input(other).unwrap_or_default();
            format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
        }
    });
    format!("{{{}}}", items.collect::<Vec<_>>().join(","))
}

fn json_row(row: &PgRow) -> Result<Vec<Value>, Error> {
    let failed = |error: sqlx::Error| Error::of_sqlx(&error);
    let mut values = Vec::with_capacity(row.len());
    for column in row.columns() {
        let value = row.try_get_raw(column.ordinal()).map_err(failed)?;
        if value.is_null() {
            values.push(Value::Null);
            continue;
        }
        let kind = value.type_info().into_owned();
        let bytes = value.as_bytes().map_err(|error| Error::lasting(error.to_string()))?;
        values.push(json_value(&kind, bytes).ok_or_else(|| {
            let (name, kind) = (column.name(), kind.name());
            Error::lasting(format!(
                "column `{name}` is of type {kind}, which has no form in JSON; write `{name}::text` in the statement"
            ))
        })?);
    }
    Ok(values)
}

/// A value from its binary form; `None` for types that are not known here.
fn json_value(kind: &PgTypeInfo, bytes: &[u8]) -> Option<Value> {
    if let PgTypeKind::Array(element) = kind.kind() {
        return array_json(element, bytes);
    }
    if let PgTypeKind::Domain(base) = kind.kind() {
        return json_value(base, bytes);
    }
    if matches!(kind.kind(), PgTypeKind::Enum(_)) {
        return text(bytes);
    }
    match kind.name() {
        "BOOL" => Some(Value::Bool(*bytes.first()? != 0)),
        "INT2" => Some(i16::from_be_bytes(bytes.try_into().ok()?).into()),
        "INT4" => Some(i32::from_be_bytes(bytes.try_into().ok()?).into()),
        "INT8" => Some(i64::from_be_bytes(bytes.try_into().ok()?).into()),
        "OID" => Some(u32::from_be_bytes(bytes.try_into().ok()?).into()),
        "FLOAT4" => Some(decimal_json(&f32::from_be_bytes(bytes.try_into().ok()?).to_string())),
        "FLOAT8" => Some(float_json(f64::from_be_bytes(bytes.try_into().ok()?))),
        "NUMERIC" => Some(decimal_json(&numeric_text(bytes)?)),
        "TEXT" | "VARCHAR" | "CHAR" | "NAME" | "UNKNOWN" | "XML" | "\"CHAR\"" | "citext" | "CITEXT" => text(bytes),
        "JSON" => serde_json::from_slice(bytes).ok(),
        "JSONB" => serde_json::from_slice(bytes.get(1..)?).ok(),
        "UUID" => Some(uuid::Uuid::from_slice(bytes).ok()?.to_string().into()),
        "BYTEA" => Some(bytes_json(bytes)),
        "DATE" => Some(date(i32::from_be_bytes(bytes.try_into().ok()?)).into()),
        "TIME" => Some(time(i64::from_be_bytes(bytes.try_into().ok()?))?.into()),
        "TIMESTAMP" => Some(timestamp(i64::from_be_bytes(bytes.try_into().ok()?), "").into()),
        "TIMESTAMPTZ" => Some(timestamp(i64::from_be_bytes(bytes.try_into().ok()?), "+00:00").into()),
        "INTERVAL" => interval(bytes).map(Value::from),
        "VOID" => Some(Value::Null),
        _ => None,
    }
}

fn text(bytes: &[u8]) -> Option<Value> {
    Some(std::str::from_utf8(bytes).ok()?.into())
}

/// A day, counted from 2000; the ends of the scale are infinite.
fn date(days: i32) -> String {
    let start = NaiveDate::from_ymd_opt(2000, 1, 1).expect("a date");
    match days {
        i32::MAX => "infinity".to_owned(),
        i32::MIN => "-infinity".to_owned(),
        _ => start
            .checked_add_signed(TimeDelta::days(days.into()))
            .map_or_else(|| format!("2000-01-01 and {days} days"), |date| date.to_string()),
    }
}

fn time(micros: i64) -> Option<String> {
    if micros == 86_400_000_000 {
        return Some("24:00:00".to_owned());
    }
    Some((NaiveTime::MIN + TimeDelta::microseconds(micros)).format("%H:%M:%S%.f").to_string())
}

fn timestamp(micros: i64, zone: &str) -> String {
    let start = NaiveDate::from_ymd_opt(2000, 1, 1).expect("a date").and_time(NaiveTime::MIN);
    match micros {
        i64::MAX => "infinity".to_owned(),
        i64::MIN => "-infinity".to_owned(),
        _ => start.checked_add_signed(TimeDelta::microseconds(micros)).map_or_else(
            || format!("2000-01-01 and {micros} microseconds"),
            |time: NaiveDateTime| format!("{}{zone}", time.format("%Y-%m-%dT%H:%M:%S%.f")),
        ),
    }
}

/// An interval as ISO 8601 has durations.
fn interval(bytes: &[u8]) -> Option<String> {
    let micros = i64::from_be_bytes(bytes.get(..8)?.try_into().ok()?);
    let days = i32::from_be_bytes(bytes.get(8..12)?.try_into().ok()?);
    let months = i32::from_be_bytes(bytes.get(12..16)?.try_into().ok()?);
    let (sign, size) = if micros < 0 { ("-", micros.unsigned_abs()) } else { ("", micros.unsigned_abs()) };
    let (seconds, fraction) = (size / 1_000_000, size % 1_000_000);
    let fraction = if fraction == 0 { String::new() } else { format!(".{fraction:06}") };
    let mut text = "P".to_owned();
    for (count, unit) in [(months / 12, 'Y'), (months % 12, 'M'), (days, 'D')] {
        if count != 0 {
            text.push_str(&format!("{count}{unit}"));
        }
    }
    if micros != 0 || text == "P" {
        text.push_str(&format!("T{sign}{seconds}{fraction}S"));
    }
    Some(text)
}

/// An array of one or more dimensions.
fn array_json(element: &PgTypeInfo, bytes: &[u8]) -> Option<Value> {
    let word = |at: usize| Some(i32::from_be_bytes(bytes.get(at..at + 4)?.try_into().ok()?));
    let dimensions = usize::try_from(word(0)?).ok()?;
    if dimensions == 0 {
        return Some(Value::Array(Vec::new()));
    }
    let lengths: Option<Vec<usize>> = (0..dimensions).map(|at| usize::try_from(word(12 + at * 8)?).ok()).collect();
    let (lengths, mut at) = (lengths?, 12 + dimensions * 8);
    let mut values = Vec::new();
    for _ in 0..lengths.iter().try_fold(1_usize, |product, length| product.checked_mul(*length))? {
        let length = word(at)?;
        at += 4;
        match usize::try_from(length) {
            Err(_) => values.push(Value::Null),
            Ok(length) => {
                values.push(json_value(element, bytes.get(at..at + length)?)?);
                at += length;
            }
        }
    }
    // The values stand row by row; the inner dimensions are folded first.
    for length in lengths.iter().skip(1).rev() {
        values = values.chunks(*length).map(|chunk| Value::Array(chunk.to_vec())).collect();
    }
    Some(Value::Array(values))
}

/// The digits of a `numeric` from its binary form; `None` where the bytes are none.
#[must_use]
pub fn numeric_text(bytes: &[u8]) -> Option<String> {
    let word = |at: usize| Some(u16::from_be_bytes(bytes.get(at * 2..at * 2 + 2)?.try_into().ok()?));
    let (count, weight, sign, scale) = (word(0)?, i32::from(word(1)?.cast_signed()), word(2)?, usize::from(word(3)?));
    match sign {
        0xC000 => return Some("NaN".to_owned()),
        0xD000 => return Some("Infinity".to_owned()),
        0xF000 => return Some("-Infinity".to_owned()),
        _ => {}
    }
    let digit = |position: i32| -> Option<u16> {
        match usize::try_from(position) {
            Ok(position) if position < usize::from(count) => word(4 + position),
            _ => Some(0),
        }
    };
    let mut whole = String::new();
    for position in 0..=weight {
        whole.push_str(&format!("{:04}", digit(position)?));
    }
    let mut fraction = String::new();
    let mut position = weight + 1;
    while fraction.len() < scale {
        fraction.push_str(&format!("{:04}", digit(position)?));
        position += 1;
    }
    fraction.truncate(scale);
    let whole = whole.trim_start_matches('0');
    let sign = if sign == 0x4000 { "-" } else { "" };
    let (whole, point) = (if whole.is_empty() { "0" } else { whole }, if scale > 0 { "." } else { "" });
    Some(format!("{sign}{whole}{point}{fraction}"))
}
