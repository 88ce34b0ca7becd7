//! Data sets between tasks: Parquet in the staging area, with a manifest.

mod files;

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use datafusion::arrow::array::RecordBatch;
use datafusion::arrow::json::writer::{JsonArray, WriterBuilder};
use datafusion::execution::SendableRecordBatchStream;
use indexmap::IndexMap;
use towpath_model::etl::{ColumnProfile, Field, Manifest, Rejects};
use towpath_model::expand::MAX_MAP_LENGTH;

use crate::error::{Error, Result};
use crate::measure::Measure;
use crate::profile::Profile;
use crate::report::Report;
use crate::target::{SharedSchema, pump};
use crate::types;
use files::Files;

/// The folder of rejected rows in a data set; readers pass over names that begin so.
pub(crate) const REJECTS: &str = "_rejects";
/// Most bytes of JSON that rows may take which tasks are mapped over.
const MOST_ROWS_BYTES: usize = 16 * 1024 * 1024;

/// Writes rows into the folder `aside`, a file for each value of `partition_by`, and moves it to `location` when all is there.
pub(crate) async fn publish(
    rows: SendableRecordBatchStream,
    aside: &Path,
    location: &Path,
    report: &Arc<Report>,
    partition_by: &[String],
    measure: &Arc<Measure>,
) -> Result<Manifest> {
    let start = Instant::now();
    let schema = rows.schema();
    let mut files = Files::create(aside, &schema, partition_by)?;
    let (sender, mut receiver) = tokio::sync::mpsc::channel::<Result<RecordBatch>>(2);
    let (profiled, to_profile) = tokio::sync::mpsc::channel::<RecordBatch>(4);
    let written = Arc::clone(measure);
    let writing = tokio::task::spawn_blocking(move || {
        while let Some(batch) = receiver.blocking_recv() {
            let batch = batch?;
            written.add_rows(batch.num_rows());
            written.time(|| files.write(&batch))?;
            // The profile has failed, which its own end tells.
            let _ = profiled.blocking_send(batch);
        }
        written.time(|| files.finish())
    });
    let profiling = profile(&schema, to_profile);
    pump(rows, &sender).await;
    drop(sender);
    let mut written = writing.await.map_err(died)??;
    let profile = profiling.await.map_err(died)??;
    let counts = report.counts();
    let rejects = (counts.rejected > 0)
        .then(|| Rejects { location: location.join(REJECTS).display().to_string(), rows: counts.rejected });
    show(aside, location)?;
    for part in &mut written.parts {
        part.location = location.join(&part.location).display().to_string();
    }
    Ok(Manifest {
        location: location.display().to_string(),
        format: "parquet".to_owned(),
        rows: written.rows,
        bytes: written.bytes,
        files: written.files,
        schema: fields(&schema),
        profile,
        seconds: start.elapsed().as_secs_f64(),
        rules: counts.rules,
        rejects,
        parts: written.parts,
    })
}

/// Describes the files of a folder, whose rows are `rows`, and moves it to `location`.
pub(crate) async fn adopt(rows: SendableRecordBatchStream, draft: &Path, location: &Path) -> Result<Manifest> {
    let start = Instant::now();
    let schema = rows.schema();
    let (mut files, mut bytes) = (0, 0);
    let entries = fs::read_dir(draft).and_then(Iterator::collect::<std::io::Result<Vec<_>>>);
    for entry in entries.map_err(|error| Error::io("read the folder", draft, &error))? {
        let found = entry.metadata().map_err(|error| Error::io("read", &entry.path(), &error))?;
        files += 1;
        bytes += found.len();
    }
    let (sender, mut receiver) = tokio::sync::mpsc::channel::<Result<RecordBatch>>(2);
    let (profiled, to_profile) = tokio::sync::mpsc::channel::<RecordBatch>(4);
    let profiling = profile(&schema, to_profile);
    let counting = tokio::spawn(async move {
        let mut rows = 0;
        while let Some(batch) = receiver.recv().await {
            let batch = batch?;
            rows += batch.num_rows() as u64;
            let _ = profiled.send(batch).await;
        }
        Ok::<_, Error>(rows)
    });
    pump(rows, &sender).await;
    drop(sender);
    let rows = counting.await.map_err(died)??;
    let profile = profiling.await.map_err(died)??;
    show(draft, location)?;
    Ok(Manifest {
        location: location.display().to_string(),
        format: "parquet".to_owned(),
        rows,
        bytes,
        files,
        schema: fields(&schema),
        profile,
        seconds: start.elapsed().as_secs_f64(),
        rules: IndexMap::new(),
        rejects: None,
        parts: Vec::new(),
    })
}

/// Writes the rows of a data set to the file `path`, a list of objects, for tasks that are mapped over them. Where there are
/// too many nothing is written, and it says so.
pub(crate) async fn rows_as_json(manifest: &Manifest, path: &Path) -> Result<Option<String>> {
    let too_much = |what: &str| Some(format!("no task can be mapped over the rows: {what}"));
    if manifest.rows > MAX_MAP_LENGTH as u64 {
        return Ok(too_much(&format!("there are {}, at most {MAX_MAP_LENGTH} are allowed", manifest.rows)));
    }
    let source = serde_json::json!({"parquet": manifest.location});
    let source = serde_json::from_value(source).expect("that is a source");
    let session = datafusion::prelude::SessionContext::new();
    let reading = crate::source::Reading { folder: Path::new("/"), as_text: &[] };
    let batches = crate::source::open(&session, &source, reading).await?.collect().await?;
    let mut writer = WriterBuilder::new().with_explicit_nulls(true).build::<_, JsonArray>(Vec::new());
    for batch in &batches {
        writer.write(batch)?;
    }
    writer.finish()?;
    let mut json = writer.into_inner();
    if json.is_empty() {
        json.extend_from_slice(b"[]");
    }
    if json.len() > MOST_ROWS_BYTES {
        return Ok(too_much(&format!("they take {} bytes as JSON, at most {MOST_ROWS_BYTES} are allowed", json.len())));
    }
    fs::write(path, json).map_err(|error| Error::io("write", path, &error))?;
    Ok(None)
}

type Profiling = tokio::task::JoinHandle<Result<IndexMap<String, ColumnProfile>>>;

fn profile(schema: &SharedSchema, mut batches: tokio::sync::mpsc::Receiver<RecordBatch>) -> Profiling {
    let schema = Arc::clone(schema);
    tokio::task::spawn_blocking(move || {
        let mut profile = Profile::new(&schema);
        while let Some(batch) = batches.blocking_recv() {
            profile.add(&batch)?;
        }
        Ok(profile.finish())
    })
}

#[expect(clippy::needless_pass_by_value, reason = "`map_err` hands it over")]
fn died(error: tokio::task::JoinError) -> Error {
    Error::passing(format!("a writer has ended: {error}"))
}

/// Moves a folder to where readers look.
fn show(aside: &Path, location: &Path) -> Result<()> {
    if let Some(parent) = location.parent() {
        fs::create_dir_all(parent).map_err(|error| Error::io("create the folder", parent, &error))?;
    }
    fs::rename(aside, location).map_err(|error| Error::io("publish the data set", location, &error))
}

pub(crate) fn fields(schema: &SharedSchema) -> Vec<Field> {
    let field = |field: &Arc<datafusion::arrow::datatypes::Field>| Field {
        name: field.name().clone(),
        kind: types::name(field.data_type()),
    };
    schema.fields().iter().map(field).collect()
}
