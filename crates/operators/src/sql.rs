//! The operators `sql` and `sql_branch`: statements on a database of the user's.
//!
//! They run as async code in the worker: no process waits for a server. Values are bound by the database, never written into a statement.

use async_trait::async_trait;
use serde_json::{Map, Value};
use towpath_model::branch::Skips;
use towpath_model::connection::Connection;

use crate::attempt::{Attempt, Operator, Outcome};
use crate::database::statement::{Parameters, split, wanted};
use crate::database::{self, Answer, Error, Fetch, Kind, Orders};
use crate::template::{Limits, Renderer};

/// Most rows in an XCom, unless `max_rows` says otherwise.
const MAX_ROWS: usize = 10_000;

/// Runs statements; the rows of the last one are its XCom.
#[derive(Debug, Clone, Copy, Default)]
pub struct Sql;

/// Goes on with some tasks or others, as a query has it.
#[derive(Debug, Clone, Copy, Default)]
pub struct SqlBranch;

#[async_trait]
impl Operator for Sql {
    async fn execute(&self, attempt: &Attempt) -> Outcome {
        match execute(attempt).await {
            Ok(value) => Outcome::Success { value },
            Err(error) => failed(attempt, &error),
        }
    }
}

#[async_trait]
impl Operator for SqlBranch {
    async fn execute(&self, attempt: &Attempt) -> Outcome {
        match branch(attempt).await {
            Ok((value, names)) => Outcome::Branch { value: Some(value), skips: Skips::AllExcept(names) },
            Err(error) => failed(attempt, &error),
        }
    }
}

fn failed(attempt: &Attempt, error: &Error) -> Outcome {
    Outcome::Failed { error: attempt.log.secrets().mask(&error.message).into_owned(), retry: error.retry }
}

/// What of the rows becomes the XCom.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Handler {
    All,
    First,
    Scalar,
    None,
}

impl Handler {
    fn read(args: &Map<String, Value>) -> Self {
        match args.get("handler").and_then(Value::as_str) {
            Some("first") => Self::First,
            Some("scalar") => Self::Scalar,
            Some("none") => Self::None,
            Some(path) if path.ends_with("fetch_one_handler") => Self::First,
            _ => Self::All,
        }
    }

    fn fetch(self) -> Fetch {
        match self {
            Self::All => Fetch::All,
            Self::First | Self::Scalar => Fetch::First,
            Self::None => Fetch::None,
        }
    }

    /// The XCom of a statement that has answered this; null where it returns no rows at all.
    fn value(self, answer: Answer, as_mappings: bool) -> Value {
        if answer.columns.is_empty() {
            return Value::Null;
        }
        let columns = answer.columns;
        let row = |row: Vec<Value>| match as_mappings {
            true => Value::Object(columns.iter().cloned().zip(row).collect()),
            false => Value::Array(row),
        };
        let mut rows = answer.rows.into_iter();
        match self {
            Self::All => rows.map(row).collect(),
            Self::First => rows.next().map_or(Value::Null, row),
            Self::Scalar => rows.next().and_then(|row| row.into_iter().next()).unwrap_or(Value::Null),
            Self::None => Value::Null,
        }
    }
}

fn flag(args: &Map<String, Value>, name: &str, default: bool) -> bool {
    args.get(name).and_then(Value::as_bool).unwrap_or(default)
}

async fn execute(attempt: &Attempt) -> Result<Option<Value>, Error> {
    let args = &attempt.args;
    let connection = connection(attempt).await?;
    let statements = statements(attempt, Kind::of(&connection)?).await?;
    let handler = if attempt.task.do_xcom_push { Handler::read(args) } else { Handler::None };
    let return_last = flag(args, "return_last", true);
    let last = statements.len() - 1;
    let statements = statements.into_iter().enumerate().map(|(position, (sql, parameters))| {
        let fetch = if position == last || !return_last { handler.fetch() } else { Fetch::None };
        (sql, parameters, fetch)
    });
    let orders = Orders {
        statements: statements.collect(),
        autocommit: flag(args, "autocommit", false),
        max_rows: match args.get("max_rows").and_then(Value::as_u64) {
            Some(rows) => usize::try_from(rows).unwrap_or(usize::MAX),
            None => MAX_ROWS,
        },
    };
    let mut answers = run(attempt, &connection, orders).await?;
    if handler == Handler::None {
        return Ok(None);
    }
    let as_mappings = args.get("rows_as").and_then(Value::as_str) == Some("mappings");
    let value = if return_last {
        handler.value(answers.pop().unwrap_or_default(), as_mappings)
    } else {
        answers.into_iter().map(|answer| handler.value(answer, as_mappings)).collect()
    };
    if flag(args, "show_return_value_in_logs", false) {
        attempt.log.info(&value.to_string());
    }
    Ok(Some(value).filter(|value| !value.is_null()))
}

async fn branch(attempt: &Attempt) -> Result<(Value, Vec<String>), Error> {
    let row = first_row(attempt).await?;
    let cell = row.map(|row| row.into_iter().next().unwrap_or_default());
    let cell =
        cell.ok_or_else(|| Error::passing("the query returns no row; the first cell of the first row decides"))?;
    let is_true = decides(&cell)?;
    let names = if is_true { "follow_task_ids_if_true" } else { "follow_task_ids_if_false" };
    let names = crate::sensor::texts(&attempt.args, names);
    let follows = if names.is_empty() { "nothing".to_owned() } else { names.join(", ") };
    attempt.log.info(&format!("The query says {is_true}: the branch follows {follows}"));
    Ok((names.clone().into(), names))
}

/// Whether a cell means true: Airflow's words for it.
fn decides(cell: &Value) -> Result<bool, Error> {
    match cell {
        Value::Null => Ok(false),
        Value::Bool(flag) => Ok(*flag),
        Value::Number(number) => Ok(number.as_f64() != Some(0.0)),
        Value::String(text) => match text.trim().to_ascii_lowercase().as_str() {
            "true" | "t" | "yes" | "y" | "on" | "1" => Ok(true),
            "false" | "f" | "no" | "n" | "off" | "0" | "" => Ok(false),
            _ => Err(undecided(cell)),
        },
        Value::Array(_) | Value::Object(_) => Err(undecided(cell)),
    }
}

fn undecided(cell: &Value) -> Error {
    Error::lasting(format!("the first cell of the query is {cell}, which is neither true nor false"))
}

/// The first row of the last statement; `None` where there is none.
pub(crate) async fn first_row(attempt: &Attempt) -> Result<Option<Vec<Value>>, Error> {
    let connection = connection(attempt).await?;
    let statements = statements(attempt, Kind::of(&connection)?).await?;
    let last = statements.len() - 1;
    let statements = statements.into_iter().enumerate().map(|(position, (sql, parameters))| {
        (sql, parameters, if position == last { Fetch::First } else { Fetch::None })
    });
    let orders = Orders { statements: statements.collect(), autocommit: false, max_rows: 1 };
    let answers = database::run(&connection, &attempt.project_folder, orders, &attempt.stop, |_, _| {}).await?;
    Ok(answers.into_iter().next_back().and_then(|answer| answer.rows.into_iter().next()))
}

async fn run(attempt: &Attempt, connection: &Connection, orders: Orders) -> Result<Vec<Answer>, Error> {
    let count = orders.statements.len();
    for (position, (sql, _, _)) in orders.statements.iter().enumerate() {
        let number = if count > 1 { format!(" {} of {count}", position + 1) } else { String::new() };
        attempt.log.info(&format!("Statement{number}: {sql}"));
    }
    let log = attempt.log.clone();
    let done = move |position: usize, answer: &Answer| {
        let number = if count > 1 { format!("Statement {}: ", position + 1) } else { String::new() };
        let rows = answer.rows.len();
        let text = if answer.columns.is_empty() {
            format!("{number}{} rows changed", answer.affected)
        } else {
            format!("{number}{rows} rows read")
        };
        log.info(&text);
    };
    database::run(connection, &attempt.project_folder, orders, &attempt.stop, done).await
}

/// The connection that the task names, with the database that it names.
pub(crate) async fn connection(attempt: &Attempt) -> Result<Connection, Error> {
    let conn_id = attempt.args.get("connection").and_then(Value::as_str).map(str::trim).unwrap_or_default();
    if conn_id.is_empty() {
        return Err(Error::lasting("`connection` is empty; write the id of a connection"));
    }
    let mut connection = named_connection(attempt, conn_id).await?;
    if let Some(database) = crate::sensor::text(&attempt.args, "database") {
        connection.schema = Some(database.to_owned());
        if Kind::of(&connection) == Ok(Kind::Sqlite) {
            connection.host = None;
        }
    }
    Ok(connection)
}

/// The connection of this id, or the one that a URI in its place describes; its secrets are masked in the attempt's
/// log from here on.
///
/// # Errors
/// When there is none, the URI is wrong or holds a password, or the services do not answer.
pub async fn named_connection(attempt: &Attempt, conn_id: &str) -> Result<Connection, Error> {
    if conn_id.contains("://") {
        return open_connection(conn_id);
    }
    let found = attempt.services.connection(conn_id).await;
    let found = found.map_err(|error| Error::passing(format!("connection `{conn_id}` cannot be read: {error}")))?;
    let create = format!("create it with `towpath connections add {conn_id}`");
    let connection = found.ok_or_else(|| Error::lasting(format!("connection `{conn_id}` does not exist; {create}")))?;
    connection.secrets().iter().for_each(|secret| attempt.log.secrets().add(secret));
    Ok(connection)
}

/// A connection without a secret needs no entry of its own: its URI stands in the DAG file.
fn open_connection(uri: &str) -> Result<Connection, Error> {
    // Named by its scheme only until it is known to hold no password.
    let scheme = uri.split_once("://").map_or(uri, |(scheme, _)| scheme);
    let mut connection =
        Connection::from_uri(&format!("{scheme}://..."), uri).map_err(|error| Error::lasting(error.to_string()))?;
    if !connection.secrets().is_empty() {
        return Err(Error::lasting(format!(
            "`connection: {scheme}://...` holds a secret, which everybody can read who can read the DAG file; \
             create a connection with `towpath connections add` and write its id"
        )));
    }
    uri.clone_into(&mut connection.conn_id);
    Ok(connection)
}

/// The statements of `sql`, each with its values; at least one.
async fn statements(attempt: &Attempt, kind: Kind) -> Result<Vec<(String, Parameters)>, Error> {
    let splits = flag(&attempt.args, "split_statements", true);
    let sql = attempt.args.get("sql").unwrap_or(&Value::Null);
    let items = match sql {
        Value::Array(items) => items.as_slice(),
        one => std::slice::from_ref(one),
    };
    let mut statements = Vec::new();
    for item in items {
        let text = item.as_str().ok_or_else(|| Error::lasting(format!("`sql` must be text, not {item}")))?;
        let text = source(attempt, text).await?;
        if splits {
            statements.extend(split(&text, kind).into_iter().map(str::to_owned));
        } else if !text.trim().is_empty() {
            statements.push(text);
        }
    }
    if statements.is_empty() {
        return Err(Error::lasting("`sql` holds no statement"));
    }
    share(statements, attempt.args.get("parameters"), kind)
}

/// A statement, or the rendered text of the file that it names: a single word that ends in `.sql`.
async fn source(attempt: &Attempt, text: &str) -> Result<String, Error> {
    let word = text.trim();
    if !word.ends_with(".sql") || word.contains(char::is_whitespace) {
        return Ok(text.to_owned());
    }
    let path = attempt.dag_folder.join(word);
    let source = tokio::fs::read_to_string(&path).await;
    let source =
        source.map_err(|error| Error::passing(format!("cannot read the SQL file `{}`: {error}", path.display())))?;
    let rendered = Renderer::new(attempt, Limits::default()).render(word, &Value::String(source)).await;
    match rendered.map_err(|error| Error::passing(error.to_string()))? {
        Value::String(text) => Ok(text),
        other => Ok(other.to_string()),
    }
}

/// Gives each statement its values: a mapping goes to all; a list goes to each that has markers, or, where its length is that of all
/// markers together, is dealt out in order.
fn share(statements: Vec<String>, parameters: Option<&Value>, kind: Kind) -> Result<Vec<(String, Parameters)>, Error> {
    match parameters {
        None | Some(Value::Null) => Ok(statements.into_iter().map(|sql| (sql, Parameters::None)).collect()),
        Some(Value::Object(map)) => {
            Ok(statements.into_iter().map(|sql| (sql, Parameters::Named(map.clone()))).collect())
        }
        Some(Value::Array(list)) => {
            let counts: Vec<usize> = statements.iter().map(|sql| wanted(sql, kind)).collect();
            let dealt = counts.iter().sum::<usize>() == list.len();
            let mut rest = list.as_slice();
            let with = statements.into_iter().zip(counts).map(|(sql, count)| {
                let values = match (dealt, count) {
                    (true, count) => {
                        let (own, others) = rest.split_at(count);
                        rest = others;
                        own.to_vec()
                    }
                    (false, 0) => Vec::new(),
                    (false, _) => list.clone(),
                };
                (sql, if values.is_empty() && count == 0 { Parameters::None } else { Parameters::List(values) })
            });
            let with: Vec<_> = with.collect();
            if !list.is_empty() && with.iter().all(|(_, parameters)| *parameters == Parameters::None) {
                let error = format!("`parameters` has {} values; the statements have no markers for them", list.len());
                return Err(Error::lasting(error));
            }
            Ok(with)
        }
        Some(other) => Err(Error::lasting(format!("`parameters` must be a list or a mapping, not {other}"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_cell_decides_in_airflows_words() {
        for cell in [json!(true), json!(1), json!(-0.5), json!("Yes"), json!(" t "), json!("1")] {
            assert!(decides(&cell).unwrap(), "{cell}");
        }
        for cell in [json!(false), json!(0), json!(0.0), json!(null), json!("off"), json!("0")] {
            assert!(!decides(&cell).unwrap(), "{cell}");
        }
        let error = decides(&json!("perhaps")).unwrap_err();
        assert_eq!(error.message, "the first cell of the query is \"perhaps\", which is neither true nor false");
    }

    #[test]
    fn a_list_is_given_to_each_statement_or_dealt_out() {
        let check = |statements: &[&str], parameters: Value, expected: Value| {
            let statements = statements.iter().map(ToString::to_string).collect();
            let shared = share(statements, Some(&parameters), Kind::Postgres).unwrap();
            let found: Vec<Value> = shared
                .into_iter()
                .map(|(_, parameters)| match parameters {
                    Parameters::None => Value::Null,
                    Parameters::List(list) => Value::Array(list),
                    Parameters::Named(map) => Value::Object(map),
                })
                .collect();
            assert_eq!(Value::Array(found), expected);
        };
        check(&["a %s", "b", "c %s"], json!([1]), json!([[1], null, [1]]));
        check(&["a %s", "b", "c %s"], json!([1, 2]), json!([[1], null, [2]]));
        check(&["a $1 $2", "b $2"], json!([1, 2]), json!([[1, 2], [1, 2]]));
        check(&["a :x", "b"], json!({"x": 1}), json!([{"x": 1}, {"x": 1}]));
        assert!(share(vec!["a".into()], Some(&json!([1])), Kind::Postgres).is_err());
        assert!(share(vec!["a".into()], Some(&json!("x")), Kind::Postgres).is_err());
    }
}
