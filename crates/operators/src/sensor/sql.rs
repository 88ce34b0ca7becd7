//! `sql_sensor`: waits until a query says so.

use async_trait::async_trait;
use serde_json::{Map, Value};

use super::{Error, Poke, Sensor, flag, text};
use crate::attempt::Attempt;
use crate::database;
use crate::http::is_true;
use crate::sql::first_row;
use crate::template::{Limits, Renderer};

/// Waits for a cell of a database. Async code in the worker: no process, and no connection between two looks.
#[derive(Debug, Clone, Copy, Default)]
pub struct SqlSensor;

impl From<database::Error> for Error {
    fn from(error: database::Error) -> Self {
        if error.retry { Self::Passing(error.message) } else { Self::Wrong(error.message) }
    }
}

#[async_trait]
impl Sensor for SqlSensor {
    fn awaits(&self, attempt: &Attempt) -> Result<String, Error> {
        let connection = text(&attempt.args, "connection").unwrap_or_default();
        let success = if text(&attempt.args, "success").is_some() { "that passes `success`" } else { "that is true" };
        Ok(format!("a cell {success} on connection `{connection}`"))
    }

    async fn poke(&self, attempt: &Attempt) -> Result<Poke, Error> {
        let Some(row) = first_row(attempt).await? else {
            if flag(&attempt.args, "fail_on_empty") {
                return Err(Error::Hopeless("the query returns no row (`fail_on_empty`)".to_owned()));
            }
            return Ok(Poke::NotYet);
        };
        let cell = row.first().cloned().unwrap_or_default();
        if judged(attempt, "failure", &cell, &row).await? == Some(true) {
            return Err(Error::Hopeless(format!("`failure` is true of the cell {cell}")));
        }
        let is_so = match judged(attempt, "success", &cell, &row).await? {
            Some(is_so) => is_so,
            // Airflow's documentation counts the text `0` as false.
            None => is_true(&cell) && cell != "0",
        };
        Ok(if is_so { Poke::Done(None) } else { Poke::NotYet })
    }
}

/// What the expression `name` says; `None` where it is not given.
async fn judged(attempt: &Attempt, name: &str, cell: &Value, row: &[Value]) -> Result<Option<bool>, Error> {
    let Some(expression) = text(&attempt.args, name) else { return Ok(None) };
    let names = Map::from_iter([("cell".to_owned(), cell.clone()), ("row".to_owned(), row.to_vec().into())]);
    let value = Renderer::new(attempt, Limits::default()).evaluate(name, expression, names).await;
    let value = value.map_err(|error| Error::Passing(error.to_string()))?;
    Ok(Some(is_true(&value)))
}
