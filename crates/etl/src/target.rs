//! Writes rows to files.

mod commit;
mod folder;
mod objects;
mod own;
mod parquet;
mod sink;
mod writer;

use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use datafusion::arrow::array::RecordBatch;
use datafusion::execution::SendableRecordBatchStream;
use datafusion::parquet::basic::{Compression, GzipLevel, ZstdLevel};
use datafusion::parquet::file::properties::WriterProperties;
use futures::StreamExt as _;
use serde::{Deserialize, Serialize};
use towpath_model::etl::{FileFormat, FileTarget, WriteMode};

use crate::error::{Error, Result};
use crate::instance::Instance;
use crate::measure::Measure;

pub(crate) use commit::Aside;
pub(crate) use objects::Bucket;
pub(crate) use writer::{Style, Writer};

/// What a load says when it is done: its XCom.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub(crate) struct Loaded {
    pub(crate) rows: u64,
    pub(crate) bytes: u64,
    pub(crate) files: u64,
    pub(crate) seconds: f64,
    /// Nothing was written, since mode `ignore` found something there.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) ignored: bool,
    /// Where it was written, absolute.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) location: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) format: Option<FileFormat>,
}

/// How Parquet is written.
pub(crate) fn parquet_properties(compression: Option<&str>, row_group_rows: Option<usize>) -> WriterProperties {
    let compression = match compression {
        Some("none") => Compression::UNCOMPRESSED,
        Some("snappy") => Compression::SNAPPY,
        Some("gzip") => Compression::GZIP(GzipLevel::default()),
        Some("lz4") => Compression::LZ4_RAW,
        _ => Compression::ZSTD(ZstdLevel::try_new(1).expect("1 is a level")),
    };
    let builder = WriterProperties::builder().set_compression(compression);
    match row_group_rows {
        Some(rows) => builder.set_max_row_group_row_count(Some(rows)).build(),
        None => builder.build(),
    }
}

/// Writes all rows to a target, whole or not at all.
pub(crate) async fn load(
    target: &FileTarget,
    folder: &Path,
    instance: Option<&Instance>,
    rows: SendableRecordBatchStream,
    measure: &Arc<Measure>,
) -> Result<Loaded> {
    let start = Instant::now();
    let path = folder.join(&target.path);
    let style = Style::of(target);
    let is_file = is_file(target, &style)?;
    if path.symlink_metadata().is_ok_and(|found| found.is_dir() == is_file) {
        let (there, wanted) = if is_file { ("folder", "file") } else { ("file", "folder") };
        return Err(Error::lasting(format!("`{}` is a {there}, and the target is a {wanted}", path.display())));
    }
    if let Some(done) = commit::check_mode(&path, target.mode, instance)? {
        return Ok(done);
    }
    let (target, measure) = (target.clone(), Arc::clone(measure));
    let (sender, mut receiver) = tokio::sync::mpsc::channel::<Result<RecordBatch>>(2);
    let schema = rows.schema();
    let (mode, place, instance) = (target.mode, path.clone(), instance.cloned());
    let mark = instance.as_ref().map(|instance| instance.mark.clone());
    let work = tokio::task::spawn_blocking(move || {
        let aside = Aside::new(&path)?;
        let id = own::part_id(mark.as_deref(), aside.id());
        let mut output = if is_file {
            folder::Output::file(aside.path(), &id, &path, style, &schema)?
        } else {
            folder::Output::folder(aside.path(), &id, style, &schema, &target.partition_by)?
        };
        while let Some(batch) = receiver.blocking_recv() {
            let batch = batch?;
            measure.add_rows(batch.num_rows());
            measure.time(|| output.write(&batch))?;
        }
        Ok::<_, Error>((measure.time(|| output.finish())?, aside))
    });
    pump(rows, &sender).await;
    drop(sender);
    let died = |error: tokio::task::JoinError| Error::passing(format!("a writer has ended: {error}"));
    let (written, aside) = work.await.map_err(died)??;
    // Only here is it known that all rows have come: the channel closes as well when this load is given up, or panics.
    let commit = tokio::task::spawn_blocking(move || aside.commit(&place, mode, is_file, instance.as_ref()));
    let ignored = !commit.await.map_err(died)??;
    let seconds = start.elapsed().as_secs_f64();
    Ok(Loaded { rows: written.rows, bytes: written.bytes, files: written.files, seconds, ignored, ..Loaded::default() })
}

/// Passes rows on until they end, one fails, or nobody wants them any more.
pub(crate) async fn pump(mut rows: SendableRecordBatchStream, sender: &tokio::sync::mpsc::Sender<Result<RecordBatch>>) {
    while let Some(batch) = rows.next().await {
        let failed = batch.is_err();
        if sender.send(batch.map_err(Into::into)).await.is_err() || failed {
            return;
        }
    }
}

/// Whether a target is one file, and not a folder of them.
fn is_file(target: &FileTarget, style: &Style) -> Result<bool> {
    let is_file = target.partition_by.is_empty() && style.is_name_of_file(&target.path);
    if is_file && target.mode == WriteMode::Append {
        return Err(Error::lasting(format!(
            "`{}` is one file, which mode append cannot add to; name a folder, without `.{}`",
            target.path,
            style.extension()
        )));
    }
    Ok(is_file)
}

/// A schema that is shared.
pub(crate) type SharedSchema = Arc<datafusion::arrow::datatypes::Schema>;

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use datafusion::arrow::array::Int64Array;
    use datafusion::arrow::datatypes::{DataType, Field, Schema};
    use datafusion::physical_plan::stream::RecordBatchStreamAdapter;

    use super::*;

    /// One batch, and then what `then` does.
    fn rows(then: impl FnOnce() -> bool + Send + 'static) -> SendableRecordBatchStream {
        let schema = Arc::new(Schema::new(vec![Field::new("n", DataType::Int64, false)]));
        let batch = RecordBatch::try_new(Arc::clone(&schema), vec![Arc::new(Int64Array::from(vec![1, 2]))]).unwrap();
        let first = futures::stream::iter([Ok(batch)]);
        let rest = futures::stream::once(async move { if then() { std::future::pending().await } else { None } });
        Box::pin(RecordBatchStreamAdapter::new(schema, first.chain(rest.filter_map(std::future::ready))))
    }

    async fn written(folder: &Path, rows: SendableRecordBatchStream) -> Result<Loaded> {
        let target = FileTarget {
            format: towpath_model::etl::FileFormat::Csv,
            path: "out".to_owned(),
            partition_by: Vec::new(),
            mode: WriteMode::Overwrite,
            compression: None,
            row_group_size: None,
            header: None,
            delimiter: None,
            null_value: None,
            connection: None,
        };
        load(&target, folder, None, rows, &Arc::default()).await
    }

    /// A load that is dropped or panics between two batches has not seen all rows, although its channel closes as at the end.
    #[tokio::test(flavor = "multi_thread")]
    async fn a_load_that_is_given_up_changes_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().to_owned();
        let there = || std::fs::read_dir(&path).unwrap().filter(|it| it.as_ref().unwrap().file_name() == "out").count();
        let given_up = tokio::time::timeout(Duration::from_millis(200), written(&path, rows(|| true))).await;
        assert!(given_up.is_err());
        let of_panic = path.clone();
        let panicked =
            tokio::spawn(async move { written(&of_panic, rows(|| panic!("in the middle"))).await.map(drop) });
        assert!(panicked.await.is_err_and(|error| error.is_panic()));
        // The writers end in their own time, and take their hidden folders along.
        let hidden = || {
            let entries = std::fs::read_dir(&path).unwrap().flatten();
            entries.filter(|it| it.file_name().to_string_lossy().contains(".towpath-")).count()
        };
        for _ in 0..200 {
            if hidden() == 0 {
                break;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        assert_eq!((there(), hidden()), (0, 0));
        assert_eq!(written(&path, rows(|| false)).await.unwrap().rows, 2);
        assert_eq!(there(), 1);
    }
}
