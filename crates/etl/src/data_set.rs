//! Data sets between tasks: Parquet in the staging area, with a manifest.

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use datafusion::arrow::array::RecordBatch;
use datafusion::execution::SendableRecordBatchStream;
use towpath_model::etl::{Field, Manifest, Rejects};

use crate::error::{Error, Result};
use crate::measure::Measure;
use crate::profile::Profile;
use crate::report::Report;
use crate::target::{Style, Writer, pump};
use crate::types;

/// The folder of rejected rows in a data set; readers pass over names that begin so.
pub(crate) const REJECTS: &str = "_rejects";

/// Writes rows into the folder `aside`, and moves it to `location` when all is there.
pub(crate) async fn publish(
    rows: SendableRecordBatchStream,
    aside: &Path,
    location: &Path,
    report: &Arc<Report>,
    measure: &Arc<Measure>,
) -> Result<Manifest> {
    let start = Instant::now();
    let schema = rows.schema();
    let path = aside.join("part-00000.parquet");
    let of_file = Arc::clone(&schema);
    let (sender, mut receiver) = tokio::sync::mpsc::channel::<Result<RecordBatch>>(2);
    let (profiled, mut to_profile) = tokio::sync::mpsc::channel::<RecordBatch>(4);
    let written = Arc::clone(measure);
    let writing = tokio::task::spawn_blocking(move || {
        let mut writer = Writer::create(&path, &Style::data_set(), &of_file)?;
        let mut rows = 0;
        while let Some(batch) = receiver.blocking_recv() {
            let batch = batch?;
            rows += batch.num_rows() as u64;
            written.add_rows(batch.num_rows());
            written.time(|| writer.write(&batch))?;
            // The profile has failed, which its own end tells.
            let _ = profiled.blocking_send(batch);
        }
        Ok::<_, Error>((rows, written.time(|| writer.finish(false))?))
    });
    let (of_profile, timed) = (Arc::clone(&schema), Arc::clone(measure));
    let profiling = tokio::task::spawn_blocking(move || {
        let mut profile = Profile::new(&of_profile);
        while let Some(batch) = to_profile.blocking_recv() {
            timed.time(|| profile.add(&batch))?;
        }
        Ok::<_, Error>(profile.finish())
    });
    pump(rows, &sender).await;
    drop(sender);
    let died = |error: tokio::task::JoinError| Error::passing(format!("a writer has ended: {error}"));
    let (rows, bytes) = writing.await.map_err(died)??;
    let profile = profiling.await.map_err(died)??;
    let counts = report.counts();
    let rejects = (counts.rejected > 0)
        .then(|| Rejects { location: location.join(REJECTS).display().to_string(), rows: counts.rejected });
    if let Some(parent) = location.parent() {
        fs::create_dir_all(parent).map_err(|error| Error::io("create the folder", parent, &error))?;
    }
    fs::rename(aside, location).map_err(|error| Error::io("publish the data set", location, &error))?;
    Ok(Manifest {
        location: location.display().to_string(),
        format: "parquet".to_owned(),
        rows,
        bytes,
        files: 1,
        schema: schema
            .fields()
            .iter()
            .map(|field| Field { name: field.name().clone(), kind: types::name(field.data_type()) })
            .collect(),
        profile,
        seconds: start.elapsed().as_secs_f64(),
        rules: counts.rules,
        rejects,
    })
}
