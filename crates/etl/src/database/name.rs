//! Names of tables as DAG files write them.

use towpath_operators::database::{Error, Kind};

/// The parts of `schema.table`. A part in double quotes or backticks is taken as it is, dots and all.
pub(super) fn parts(table: &str) -> Result<Vec<String>, Error> {
    let mut parts = Vec::new();
    let mut rest = table.trim();
    loop {
        let (part, after) = match rest.chars().next() {
            Some(quote @ ('"' | '`')) => {
                let inner = &rest[1..];
                let end = inner.find(quote).ok_or_else(|| wrong(table))?;
                (&inner[..end], &inner[end + 1..])
            }
            _ => rest.split_at(rest.find('.').unwrap_or(rest.len())),
        };
        if part.is_empty() {
            return Err(wrong(table));
        }
        parts.push(part.to_owned());
        match after.strip_prefix('.') {
            Some(next) => rest = next,
            None if after.is_empty() => return Ok(parts),
            None => return Err(wrong(table)),
        }
    }
}

fn wrong(table: &str) -> Error {
    Error::lasting(format!("`{table}` names no table; write `table` or `schema.table`"))
}

/// The name of a table as SQL has it.
pub(crate) fn quoted(kind: Kind, table: &str) -> Result<String, Error> {
    Ok(parts(table)?.iter().map(|part| kind.quote(part)).collect::<Vec<_>>().join("."))
}

/// Names of columns in a row.
pub(super) fn list<'a>(kind: Kind, names: impl IntoIterator<Item = &'a str>) -> String {
    names.into_iter().map(|name| kind.quote(name)).collect::<Vec<_>>().join(", ")
}

/// The statement that reads a table, or the query without what ends it.
pub(super) fn select(kind: Kind, input: &super::Input) -> Result<String, Error> {
    match input {
        super::Input::Table(table) => Ok(format!("SELECT * FROM {}", quoted(kind, table)?)),
        super::Input::Query(query) => {
            let statements = towpath_operators::database::statement::split(query, kind);
            match statements.as_slice() {
                [one] => Ok((*one).to_owned()),
                [] => Err(Error::lasting("`query` holds no statement")),
                several => Err(Error::lasting(format!("`query` must be one statement; it holds {}", several.len()))),
            }
        }
    }
}

/// What is read, for messages.
pub(super) fn shown(input: &super::Input) -> String {
    match input {
        super::Input::Table(table) => format!("table `{table}`"),
        super::Input::Query(_) => "the query".to_owned(),
    }
}
