//! The first rows of what a load has written: files of this machine or of an object store, or a table.
//!
//! Unlike data sets they lie where the DAG file says, and others write there as well. So this is a look at what is there now, and for those
//! only who run commands on this machine with its configuration: they may read files and use connections anyhow. Where to look comes
//! from the task's own arguments, never from an XCom.

use std::path::PathBuf;
use std::sync::Arc;

use datafusion::prelude::{DataFrame, ident};
use towpath_model::connection::Connection;
use towpath_model::etl::look::{Bounds, Rows};
use towpath_model::etl::{FileFormat, FileSource, FileTarget, QuerySource, Source, TableTarget, Target};

use super::{Batches, table};
use crate::database::{self, Connections, Kind};
use crate::error::Result;
use crate::measure::Meter;
use crate::remote::Remotes;
use crate::session::{Joins, Resources};
use crate::source::{self, Reading};

/// Memory that a look may take, bytes.
const MEMORY_BYTES: u64 = 256 * 1024 * 1024;

/// A target to look at.
#[derive(Debug)]
pub struct Loaded {
    pub target: Target,
    /// The connection that the target names.
    pub connection: Option<Connection>,
    /// Where relative paths start.
    pub folder: PathBuf,
    /// A folder for what has to be fetched.
    pub scratch: PathBuf,
}

impl Loaded {
    /// The connection that `target` names, which has to be given.
    #[must_use]
    pub fn conn_id(target: &Target) -> Option<&str> {
        match target {
            Target::File(file) => file.connection.as_deref(),
            Target::Table(table) => Some(&table.connection),
        }
    }

    /// The first rows, as many as `bounds` allows; how many there are in all is not counted.
    ///
    /// # Errors
    /// When there are no files or no such table, or they cannot be read.
    pub async fn head(&self, bounds: &Bounds) -> Result<Rows> {
        let meter = Arc::new(Meter::default());
        let resources = Resources::new(Some(MEMORY_BYTES), Some(1), self.scratch.clone(), Joins::Hash);
        let session = resources.session(&meter)?;
        let connections = self.connection.iter().map(|connection| (connection.conn_id.clone(), connection.clone()));
        let connections = Connections::given(connections.collect());
        connections.attach(&session);
        let remotes = Arc::new(Remotes::new(&connections, self.scratch.clone()));
        remotes.attach(&session);
        let source = match &self.target {
            Target::File(file) => Source::File(of_files(file)),
            Target::Table(table) => Source::Query(of_table(table, connections.get(&table.connection)?, bounds.rows)?),
        };
        let reading = Reading { folder: &self.folder, as_text: &[] };
        let data = source::open(&session, &source, reading).await?;
        let all = data.schema().fields().len();
        let data = narrowed(data, bounds.columns.max(1))?.limit(0, Some(bounds.rows))?;
        let schema = Arc::clone(data.schema().inner());
        let mut found = Batches { columns_left: all - schema.fields().len(), ..Batches::default() };
        found.add_columns(&schema, &(0..schema.fields().len()).collect::<Vec<_>>());
        found.batches = data.collect().await?;
        let rows = found.batches.iter().map(|batch| batch.num_rows() as u64).sum();
        Ok(table(found, bounds, rows))
    }
}

/// The first columns.
fn narrowed(data: DataFrame, most: usize) -> Result<DataFrame> {
    let fields = data.schema().fields();
    if fields.len() <= most {
        return Ok(data);
    }
    let kept: Vec<_> = fields.iter().take(most).map(|field| ident(field.name())).collect();
    Ok(data.select(kept)?)
}

fn of_files(target: &FileTarget) -> FileSource {
    FileSource {
        format: target.format,
        paths: vec![target.path.clone()],
        columns: Default::default(),
        delimiter: target.delimiter.clone(),
        header: target.header,
        quote: None,
        escape: None,
        null_values: target.null_value.iter().cloned().collect(),
        encoding: None,
        // A folder's files have names that tell.
        compression: None,
        // As it stands there: a guess at types could fail on a later row.
        infer_rows: (target.format == FileFormat::Csv).then_some(0),
        connection: target.connection.clone(),
    }
}

fn of_table(target: &TableTarget, connection: &Connection, rows: usize) -> Result<QuerySource> {
    let name = database::quoted(Kind::of(connection)?, &target.table)?;
    Ok(QuerySource {
        query: format!("SELECT * FROM {name} LIMIT {rows}"),
        connection: target.connection.clone(),
        columns: Default::default(),
    })
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    async fn head(folder: &std::path::Path, target: Value, rows: usize, columns: usize) -> Result<Rows, String> {
        let database = json!({"conn_type": "sqlite", "host": folder.join("x.db")});
        let connection = Connection::from_json("db", &database.to_string()).unwrap();
        let loaded = Loaded {
            target: serde_json::from_value(target).unwrap(),
            connection: Some(connection),
            folder: folder.to_owned(),
            scratch: folder.join("scratch"),
        };
        std::fs::create_dir_all(&loaded.scratch).unwrap();
        loaded.head(&Bounds { rows, bytes: 1 << 20, cell_chars: 10, columns }).await.map_err(|error| error.message)
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn files_and_tables_show_their_first_rows() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path();
        std::fs::create_dir_all(path.join("out/k=a")).unwrap();
        std::fs::write(path.join("out/k=a/part-0.csv"), "n;s\n1;x\n-;y\nz;w\n").unwrap();
        let target = json!({"csv": "out", "delimiter": ";", "null_value": "-", "partition_by": "k"});
        let rows = head(path, target.clone(), 2, 50).await.unwrap();
        assert_eq!(rows.rows, [vec![json!("1"), json!("x"), json!("a")], vec![Value::Null, json!("y"), json!("a")]]);
        let rows = head(path, target, 9, 1).await.unwrap();
        assert_eq!((rows.rows.len(), rows.columns.len(), rows.columns_left), (3, 1, 2));
        let database = rusqlite::Connection::open(path.join("x.db")).unwrap();
        let rows = "CREATE TABLE \"or\"\"der.s\" (n integer); INSERT INTO \"or\"\"der.s\" VALUES (1), (2), (3);";
        database.execute_batch(rows).unwrap();
        let found = head(path, json!({"table": "`or\"der.s`", "connection": "db"}), 2, 50).await.unwrap();
        assert_eq!(found.rows, [[json!(1)], [json!(2)]]);
        for (target, expected) in [
            (json!({"parquet": "none"}), "there is no file or folder `none`"),
            (json!({"table": "none", "connection": "db"}), "no such table: none"),
        ] {
            let error = head(path, target, 2, 50).await.unwrap_err();
            assert!(error.contains(expected), "{error}");
        }
    }
}
