//! Databases in tasks: the connections of a job, tables as sources and targets.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use datafusion::execution::SendableRecordBatchStream;
use datafusion::prelude::{DataFrame, SessionContext};
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::{Value, json};
use towpath_model::connection::Connection;
use towpath_model::etl::{self as model, ColumnType, Input as TaskInput, Source, Step, Target, WriteMode};
use towpath_operators::Attempt;

use super::{Input, Mode, Noted, Reader, TableTarget, Written, write_as};
use crate::error::{Error, Result};
use crate::instance::Instance;
use crate::session::BATCH_ROWS;
use crate::{stream, types};

impl From<super::Error> for Error {
    fn from(error: super::Error) -> Self {
        Self { message: error.message, retry: error.retry }
    }
}

/// The connections that a job needs, by id. As JSON they carry their passwords: they go to the process of the attempt and nowhere else.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Connections(BTreeMap<String, Connection>);

impl Serialize for Connections {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().map(|(id, connection)| (id, connection.expose_json())))
    }
}

impl<'de> Deserialize<'de> for Connections {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let given = BTreeMap::<String, Value>::deserialize(deserializer)?;
        let read = given.into_iter().map(|(id, value)| {
            let connection = Connection::from_json(&id, &value.to_string()).map_err(D::Error::custom)?;
            Ok((id, connection))
        });
        read.collect::<Result<_, _>>().map(Self)
    }
}

impl Connections {
    pub(crate) fn given(given: BTreeMap<String, Connection>) -> Self {
        Self(given)
    }

    /// The connections that sources, steps and target name.
    pub(crate) fn ids<'a>(
        inputs: &'a [(String, Source)],
        steps: &'a [Step],
        target: Option<&'a Target>,
    ) -> Vec<&'a str> {
        let mut ids: Vec<&str> = inputs.iter().filter_map(|(_, source)| conn_id(source)).collect();
        for step in steps {
            let with: Vec<&TaskInput> = match step {
                Step::Join(join) => vec![&join.with],
                Step::Union(union) => union.with.0.iter().map(|(_, input)| input).collect(),
                _ => Vec::new(),
            };
            ids.extend(with.into_iter().filter_map(|input| match input {
                TaskInput::Source(source) => conn_id(source),
                TaskInput::Task(_) => None,
            }));
        }
        match target {
            Some(Target::Table(table)) => ids.push(&table.connection),
            Some(Target::File(file)) => ids.extend(file.connection.as_deref()),
            None => {}
        }
        ids
    }

    /// Asks for all connections that sources, steps and target name.
    pub(crate) async fn of(
        attempt: &Attempt,
        inputs: &[(String, Source)],
        steps: &[Step],
        target: Option<&Target>,
    ) -> Result<Self> {
        let mut found = BTreeMap::new();
        for id in Self::ids(inputs, steps, target) {
            if !found.contains_key(id) {
                found.insert(id.to_owned(), towpath_operators::sql::named_connection(attempt, id).await?);
            }
        }
        Ok(Self(found))
    }

    pub(crate) fn get(&self, id: &str) -> Result<&Connection> {
        let missing = || Error::lasting(format!("the job does not carry the connection `{id}`"));
        self.0.get(id).ok_or_else(missing)
    }

    /// Lets sources of this session find them.
    pub(crate) fn attach(&self, session: &SessionContext) {
        session.state_ref().write().config_mut().set_extension(Arc::new(self.clone()));
    }
}

fn conn_id(source: &Source) -> Option<&str> {
    match source {
        Source::Table(table) => Some(&table.connection),
        Source::Query(query) => Some(&query.connection),
        Source::File(file) => file.connection.as_deref(),
        Source::Rows(_) => None,
    }
}

/// A table or a query as a table of the session. It streams; who reads it twice asks the database twice.
pub(crate) async fn open<'a>(
    session: &SessionContext,
    conn_id: &str,
    folder: &Path,
    input: Input,
    columns: impl IntoIterator<Item = (&'a String, &'a ColumnType)>,
) -> Result<DataFrame> {
    let attached = session.copied_config().get_extension::<Connections>().unwrap_or_default();
    let connection = attached.get(conn_id)?.clone();
    let shown = match &input {
        Input::Table(name) => format!("table {name}"),
        Input::Query(text) => text.split_whitespace().collect::<Vec<_>>().join(" "),
    };
    let declared: Vec<_> = columns.into_iter().map(|(name, kind)| (name.clone(), types::arrow(kind))).collect();
    let reader = Reader::open(connection, folder.to_owned(), input, BATCH_ROWS).await?.with_types(&declared)?;
    let stage = stream::Stage::source("database", format!("{shown}, connection {conn_id}"));
    stream::table(session, reader.schema(), stage, move |_, measure| Ok(stream::waited(reader.stream(), measure)))
}

/// Writes rows into a table; the task's XCom.
pub(crate) async fn load(
    connections: &Connections,
    target: &model::TableTarget,
    folder: &Path,
    instance: Option<&Instance>,
    rows: SendableRecordBatchStream,
    log: &(dyn Fn(&str) + Sync),
) -> Result<Value> {
    let connection = connections.get(&target.connection)?;
    let mode = match target.mode {
        WriteMode::Overwrite => Mode::Overwrite,
        WriteMode::Append => Mode::Append,
        WriteMode::Error => Mode::Error,
        WriteMode::Ignore => Mode::Ignore,
        WriteMode::Upsert => Mode::Upsert,
        WriteMode::OverwritePartitions => {
            return Err(Error::lasting("mode overwrite_partitions belongs to files; a table takes upsert"));
        }
    };
    let table = TableTarget { table: target.table.clone(), mode, key: target.key.clone() };
    let written = write_as(instance, connection, folder, &table, rows).await?;
    let Written { rows, seconds, created, ignored, noted } = written;
    let name = &target.table;
    if noted == Noted::Refused {
        log(&format!(
            "the table towpath_loads beside `{name}` cannot be made or written to, so that a try after one that dies between its \
             commit and its report loads again; let the role of the connection make it, or read, insert and update it"
        ));
    }
    if noted == Noted::Earlier {
        log(&format!(
            "an earlier try has committed these {rows} rows to table `{name}` and died before that was recorded; nothing is loaded again"
        ));
    } else if ignored {
        log(&format!("table `{name}` has rows already, so nothing was written (mode ignore)"));
    } else {
        let made = if created { ", which it has made" } else { "" };
        log(&format!("{rows} rows, {seconds:.3} s, in table `{name}`{made}"));
    }
    Ok(json!({"table": name, "rows": rows, "seconds": seconds, "created": created, "ignored": ignored}))
}
