//! An input whose schema is known, to be read once or several times.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use datafusion::arrow::array::RecordBatch;
use datafusion::arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use datafusion::execution::SendableRecordBatchStream;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use futures::{StreamExt as _, TryStreamExt as _};
use towpath_model::connection::Connection;

use super::fit::{Fitted, fit_column};
use super::{Error, Input, name, outer, read};

/// What the rows of the database are brought to.
struct Casts {
    shown: String,
    columns: Vec<Fitted>,
    schema: SchemaRef,
}

/// A table or query of a database, as a plan needs it: the schema first, the rows later.
pub struct Reader {
    connection: Arc<Connection>,
    project: PathBuf,
    input: Input,
    batch_rows: usize,
    schema: SchemaRef,
    /// Where columns have other types than the database's.
    casts: Option<Arc<Casts>>,
    /// The stream that told the schema, until somebody takes it.
    first: Mutex<Option<SendableRecordBatchStream>>,
}

impl std::fmt::Debug for Reader {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Reader").field("connection", &self.connection.conn_id).field("input", &self.input).finish()
    }
}

impl Reader {
    /// Asks the database what `input` looks like.
    ///
    /// # Errors
    /// Those of [`read`].
    pub async fn open(
        connection: Connection,
        project: PathBuf,
        input: Input,
        batch_rows: usize,
    ) -> Result<Self, Error> {
        let first = read(&connection, &project, &input, batch_rows).await?;
        let (connection, schema) = (Arc::new(connection), first.schema());
        Ok(Self { connection, project, input, batch_rows, schema, casts: None, first: Mutex::new(Some(first)) })
    }

    /// The same with other types for some columns. A value that does not fit its type is an error of the stream that names its row.
    ///
    /// # Errors
    /// When there is no such column.
    pub fn with_types(mut self, types: &[(String, DataType)]) -> Result<Self, Error> {
        let shown = name::shown(&self.input);
        if let Some((unknown, _)) = types.iter().find(|(name, _)| self.schema.field_with_name(name).is_err()) {
            let names: Vec<&str> = self.schema.fields().iter().map(|field| field.name().as_str()).collect();
            return Err(Error::lasting(format!("{shown} has no column `{unknown}`; it has {}", names.join(", "))));
        }
        if types.is_empty() {
            return Ok(self);
        }
        let columns = self.schema.fields().iter().map(|field| {
            let declared = types.iter().find(|(name, _)| name == field.name()).map(|(_, kind)| kind);
            let data_type = declared.unwrap_or_else(|| field.data_type()).clone();
            Fitted { name: field.name().clone(), sql_type: data_type.to_string(), data_type, nullable: true }
        });
        let columns: Vec<Fitted> = columns.collect();
        let fields = columns.iter().map(|column| Field::new(&column.name, column.data_type.clone(), true));
        let schema = Arc::new(Schema::new(fields.collect::<Vec<_>>()));
        self.casts = Some(Arc::new(Casts { shown, columns, schema }));
        Ok(self)
    }

    #[must_use]
    pub fn schema(&self) -> SchemaRef {
        self.casts.as_ref().map_or_else(|| Arc::clone(&self.schema), |casts| Arc::clone(&casts.schema))
    }

    /// The rows. Each call after the first one asks the database again, when the stream is first polled.
    #[must_use]
    pub fn stream(&self) -> SendableRecordBatchStream {
        let rows = self.rows();
        let Some(casts) = self.casts.clone() else { return rows };
        let mut before = 0;
        let schema = Arc::clone(&casts.schema);
        let rows = rows.map(move |batch| {
            let batch = batch?;
            let arrays = casts.columns.iter().zip(batch.columns());
            let arrays = arrays.map(|(column, array)| fit_column(&casts.shown, column, array, before));
            let arrays = arrays.collect::<Result<Vec<_>, _>>().map_err(outer)?;
            before += batch.num_rows() as u64;
            Ok(RecordBatch::try_new(Arc::clone(&casts.schema), arrays)?)
        });
        Box::pin(RecordBatchStreamAdapter::new(schema, rows))
    }

    /// The rows in the database's types.
    fn rows(&self) -> SendableRecordBatchStream {
        if let Some(first) = self.first.lock().unwrap_or_else(PoisonError::into_inner).take() {
            return first;
        }
        let (connection, project) = (Arc::clone(&self.connection), self.project.clone());
        let (input, batch_rows) = (self.input.clone(), self.batch_rows);
        let again = async move { read(&connection, &project, &input, batch_rows).await.map_err(outer) };
        let rows = futures::stream::once(again).try_flatten();
        Box::pin(RecordBatchStreamAdapter::new(Arc::clone(&self.schema), rows))
    }
}
