//! SQLite: statements on a thread that may block.

use std::path::PathBuf;

use rusqlite::types::{ToSqlOutput, ValueRef};
use serde_json::Value;
use tokio_util::sync::CancellationToken;

use super::run::{Answer, Collector, Session, stopped};
use super::statement::Bound;
use super::{Error, Fetch, bytes_json, float_json, open_sqlite};

pub(super) async fn session<F: Fn(usize, &Answer) + Send + 'static>(
    path: PathBuf,
    session: Session<F>,
    stop: &CancellationToken,
) -> Result<Vec<Answer>, Error> {
    let (sender, receiver) = tokio::sync::oneshot::channel();
    let work = tokio::task::spawn_blocking(move || {
        let mut database = open_sqlite(&path, true)?;
        // Whoever waits for it may be gone.
        let _ = sender.send(database.get_interrupt_handle());
        statements(&mut database, &session)
    });
    let ended = |result: Result<_, tokio::task::JoinError>| {
        result.unwrap_or_else(|error| Err(Error::passing(format!("SQLite has ended unexpectedly: {error}"))))
    };
    tokio::pin!(work);
    tokio::select! {
        biased;
        () = stop.cancelled() => {
            if let Ok(handle) = receiver.await {
                // Between two statements an interrupt is lost, so it is repeated until the work has ended.
                while !work.is_finished() {
                    handle.interrupt();
                    tokio::time::sleep(std::time::Duration::from_millis(10)).await;
                }
            }
            Err(stopped())
        }
        result = &mut work => ended(result),
    }
}

fn statements<F: Fn(usize, &Answer)>(
    database: &mut rusqlite::Connection,
    session: &Session<F>,
) -> Result<Vec<Answer>, Error> {
    let failed = |error: rusqlite::Error| Error::of_sqlite(&error);
    if session.transaction {
        database.execute_batch("BEGIN").map_err(failed)?;
    }
    let mut answers = Vec::new();
    for (position, (bound, fetch)) in session.statements.iter().enumerate() {
        let answer = statement(database, bound, *fetch, session.max_rows);
        let answer = answer.map_err(|error| session.failed(position, error))?;
        (session.done)(position, &answer);
        answers.push(answer);
    }
    if session.transaction {
        database.execute_batch("COMMIT").map_err(failed)?;
    }
    Ok(answers)
}

fn statement(database: &rusqlite::Connection, bound: &Bound, fetch: Fetch, max_rows: usize) -> Result<Answer, Error> {
    let failed = |error: rusqlite::Error| Error::of_sqlite(&error);
    let before = database.total_changes();
    let mut prepared = database.prepare(&bound.sql(|position| format!("?{}", position + 1))).map_err(failed)?;
    let mut answer = Answer::default();
    if fetch != Fetch::None {
        answer.columns = prepared.column_names().into_iter().map(str::to_owned).collect();
    }
    let count = prepared.column_count();
    let values = bound.values.iter().map(input);
    let mut collector = Collector::new(fetch, max_rows);
    let mut rows = prepared.query(rusqlite::params_from_iter(values)).map_err(failed)?;
    while let Some(row) = rows.next().map_err(failed)? {
        if collector.wants() {
            let values: Result<Vec<Value>, _> = (0..count).map(|at| row.get_ref(at).map(json_value)).collect();
            collector.push(values.map_err(failed)?)?;
        }
    }
    drop(rows);
    answer.rows = collector.rows;
    answer.affected = database.total_changes() - before;
    Ok(answer)
}

fn input(value: &Value) -> ToSqlOutput<'_> {
    match value {
        Value::Null => ToSqlOutput::Borrowed(ValueRef::Null),
        Value::Bool(flag) => ToSqlOutput::Borrowed(ValueRef::Integer((*flag).into())),
        Value::Number(number) => match number.as_i64() {
            Some(number) => ToSqlOutput::Borrowed(ValueRef::Integer(number)),
            None => ToSqlOutput::Borrowed(ValueRef::Real(number.as_f64().unwrap_or(f64::NAN))),
        },
        Value::String(text) => ToSqlOutput::Borrowed(ValueRef::Text(text.as_bytes())),
        Value::Array(_) | Value::Object(_) => ToSqlOutput::Owned(value.to_string().into()),
    }
}

fn json_value(value: ValueRef<'_>) -> Value {
    match value {
        ValueRef::Null => Value::Null,
        ValueRef::Integer(number) => number.into(),
        ValueRef::Real(number) => float_json(number),
        ValueRef::Text(text) => String::from_utf8_lossy(text).into(),
        ValueRef::Blob(bytes) => bytes_json(bytes),
    }
}
