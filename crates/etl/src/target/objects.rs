//! Loads to object stores.
//!
//! A store has no folders to exchange, only objects, each of which appears whole or not at all. So a load writes files into the
//! attempt's scratch folder, and sends each that is large on its way as soon as it is done, as an upload in parts, which nobody sees
//! before it is completed. When all rows are there:
//!
//! 1. a mark says which objects are new and which are to go ([`Commit`]);
//! 2. uploads are completed, and small files put;
//! 3. the mark says that the new ones count: for those who read by Towpath that is the moment of the change;
//! 4. the old ones are deleted, and then the mark.
//!
//! A load that is killed before 3 leaves what was there, one killed later leaves the new data; the next try of the task puts
//! in order what is left. Where one object is all that changes there is no mark: putting it is the change. Readers that know nothing of marks
//! see old and new objects side by side from 2 to 4, which is as long as some requests take, and never half of one.
//! Two loads of one folder at a time are not kept apart, save that appends never harm each other.
//!
//! What the same task instance has put before goes with what is replaced, as in folders ([`super::own`]); a single object says in
//! its metadata who has put it.

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use chrono::TimeDelta;
use datafusion::arrow::array::RecordBatch;
use datafusion::execution::SendableRecordBatchStream;
use futures::{StreamExt as _, TryStreamExt as _};
use tokio::io::AsyncReadExt as _;
use towpath_model::connection::Connection;
use towpath_model::etl::{FileTarget, WriteMode};
use towpath_operators::object_storage::store::path::Path as Name;
use towpath_operators::object_storage::store::{
    Attribute, Attributes, Error as Failure, GetOptions, MultipartUpload, ObjectMeta, ObjectStore, ObjectStoreExt as _,
};
use towpath_operators::object_storage::{self, Commit, Location, MARK};

use super::folder::Output;
use super::{Loaded, Style, is_file, own, pump};
use crate::database::Connections;
use crate::error::{Error, Result};
use crate::instance::Instance;
use crate::measure::Measure;

/// What a part of an upload has, bytes; a store takes at most 10,000 parts of one object.
const PART_BYTES: u64 = 16 * 1024 * 1024;
/// Smaller files are put whole, at the end.
const SMALL_BYTES: u64 = 8 * 1024 * 1024;
/// Requests under way at a time.
const REQUESTS: usize = 8;
/// Parts under way at a time; each is in memory.
const PARTS: usize = 3;
/// A mark of another task that is older belongs to a load that has died.
const STALE: TimeDelta = TimeDelta::hours(6);

/// A target in an object store.
#[derive(Debug)]
pub(crate) struct Bucket {
    store: Arc<dyn ObjectStore>,
    location: Location,
    scratch: PathBuf,
    owner: String,
    instance: Option<Instance>,
    /// The one object of the target says who has put it.
    signed: bool,
}

/// The key of what an object says of who has put it; Azure takes letters and digits only.
const SIGNATURE: &str = "towpathload";

/// An object that nobody sees yet.
struct Pending {
    name: Name,
    path: PathBuf,
    /// Where it is on its way already.
    upload: Option<Box<dyn MultipartUpload>>,
}

impl Bucket {
    /// The store that a target names; `None` where it is a path of this machine.
    pub(crate) fn of(
        target: &FileTarget,
        connections: &Connections,
        scratch: &Path,
        owner: &str,
        instance: Option<&Instance>,
    ) -> Result<Option<Self>> {
        if !object_storage::is_url(&target.path) {
            return Ok(None);
        }
        let location = Location::parse(&target.path)?;
        if location.path.is_empty() || location.is_glob() {
            let url = location.url();
            return Err(Error::lasting(format!("`{url}` is no name of an object or folder; write s3://bucket/folder")));
        }
        let connection: Option<&Connection> = target.connection.as_deref().map(|id| connections.get(id)).transpose()?;
        let store = object_storage::open(&location, connection)?;
        let (scratch, owner) = (scratch.join("upload"), owner.to_owned());
        let counts = matches!(target.mode, WriteMode::Error | WriteMode::Ignore);
        let signed = counts && instance.is_some() && is_file(target, &Style::of(target))?;
        Ok(Some(Self { store, location, scratch, owner, instance: instance.cloned(), signed }))
    }

    fn failed(&self, error: &Failure) -> Error {
        object_storage::Error::of_store(&self.location.url(), error).into()
    }

    /// Writes all rows.
    pub(crate) async fn load(
        &self,
        target: &FileTarget,
        rows: SendableRecordBatchStream,
        measure: &Arc<Measure>,
    ) -> Result<Loaded> {
        let start = Instant::now();
        let style = Style::of(target);
        let is_file = is_file(target, &style)?;
        let before = self.end_earlier(is_file).await?;
        if let Some(done) = self.check_mode(target.mode).await? {
            return Ok(done);
        }
        let mut pending = Vec::new();
        let loaded = match self.write(target, style, is_file, rows, measure, &mut pending).await {
            Ok(loaded) => self
                .commit(target.mode, is_file, before, &mut pending)
                .await
                .map(|done| if done { loaded } else { Loaded { ignored: true, ..Loaded::default() } }),
            Err(error) => Err(error),
        };
        // What is not completed by now is in nobody's way but costs its space.
        for upload in pending.iter_mut().filter_map(|pending| pending.upload.as_mut()) {
            if let Err(error) = upload.abort().await {
                tracing::warn!(%error, "an upload cannot be taken back");
            }
        }
        // It is in the scratch folder, which goes with the attempt.
        let _ = std::fs::remove_dir_all(&self.scratch);
        Ok(Loaded { seconds: start.elapsed().as_secs_f64(), ..loaded? })
    }

    /// Writes the files, and sends the large ones on their way.
    async fn write(
        &self,
        target: &FileTarget,
        style: Style,
        is_file: bool,
        rows: SendableRecordBatchStream,
        measure: &Arc<Measure>,
        pending: &mut Vec<Pending>,
    ) -> Result<Loaded> {
        let folder = self.scratch.clone();
        std::fs::create_dir_all(&folder).map_err(|error| Error::io("create the folder", &folder, &error))?;
        let (sender, mut receiver) = tokio::sync::mpsc::channel::<Result<RecordBatch>>(2);
        let (finished, mut done) = tokio::sync::mpsc::unbounded_channel::<PathBuf>();
        let (schema, measure, target) = (rows.schema(), Arc::clone(measure), target.clone());
        let id = uuid::Uuid::new_v4().simple().to_string()[..12].to_owned();
        let id = own::part_id(self.mark_of_parts(), &id);
        let work = tokio::task::spawn_blocking(move || {
            let mut output = if is_file {
                let name = target.path.rsplit('/').next().unwrap_or_default();
                Output::file(&folder, &id, Path::new(name), style, &schema)?
            } else {
                Output::folder(&folder, &id, style, &schema, &target.partition_by)?
            };
            // Who takes the files has failed where this does, which its own end tells.
            output.hand_over(Box::new(move |path| drop(finished.send(path))));
            while let Some(batch) = receiver.blocking_recv() {
                let batch = batch?;
                measure.add_rows(batch.num_rows());
                measure.time(|| output.write(&batch))?;
            }
            measure.time(|| output.finish())
        });
        let sending = async {
            while let Some(path) = done.recv().await {
                let file = self.begin(path, is_file).await?;
                pending.push(file);
            }
            Ok::<_, Error>(())
        };
        let pumping = async {
            pump(rows, &sender).await;
            drop(sender);
            Ok(())
        };
        // Where a file cannot be sent no more rows are wanted.
        let sent = tokio::try_join!(pumping, sending);
        let written = work.await.unwrap_or_else(|error| Err(Error::passing(format!("a writer has ended: {error}"))))?;
        sent?;
        Ok(Loaded { rows: written.rows, bytes: written.bytes, files: written.files, ..Loaded::default() })
    }

    /// The object of a file that is done; a large one is uploaded, up to the last step.
    async fn begin(&self, path: PathBuf, is_file: bool) -> Result<Pending> {
        let name = if is_file {
            self.location.path.clone()
        } else {
            let below = path.strip_prefix(&self.scratch).unwrap_or(&path);
            format!("{}/{}", self.location.path, below.to_string_lossy())
        };
        let name = Name::parse(&name).map_err(|error| self.failed(&error.into()))?;
        let read = |error: std::io::Error| Error::io("read", &path, &error);
        let size = std::fs::metadata(&path).map_err(read)?.len();
        if size <= SMALL_BYTES {
            return Ok(Pending { name, path, upload: None });
        }
        let mut upload = self
            .store
            .put_multipart_opts(&name, self.attributes().into())
            .await
            .map_err(|error| self.failed(&error))?;
        let mut file = tokio::fs::File::open(&path).await.map_err(read)?;
        let part_bytes = PART_BYTES.max(size / 9_000);
        let mut under_way = futures::stream::FuturesUnordered::new();
        let sent = async {
            loop {
                let mut part = Vec::new();
                (&mut file).take(part_bytes).read_to_end(&mut part).await.map_err(read)?;
                if part.is_empty() {
                    break;
                }
                under_way.push(upload.put_part(part.into()));
                if under_way.len() >= PARTS {
                    under_way.next().await.transpose().map_err(|error| self.failed(&error))?;
                }
            }
            under_way.try_collect::<()>().await.map_err(|error| self.failed(&error))
        };
        if let Err(error) = sent.await {
            let _ = upload.abort().await;
            return Err(error);
        }
        let _ = tokio::fs::remove_file(&path).await;
        Ok(Pending { name, path, upload: Some(upload) })
    }

    /// Shows an object.
    async fn complete(&self, pending: &mut Pending) -> Result<()> {
        let done = match &mut pending.upload {
            Some(upload) => upload.complete().await,
            None => {
                let bytes = tokio::fs::read(&pending.path).await;
                let bytes = bytes.map_err(|error| Error::io("read", &pending.path, &error))?;
                self.store.put_opts(&pending.name, bytes.into(), self.attributes().into()).await
            }
        };
        done.map_err(|error| self.failed(&error))?;
        pending.upload = None;
        Ok(())
    }

    /// Lets readers see the new objects. False where mode `ignore` has found that somebody else was first.
    async fn commit(
        &self,
        mode: WriteMode,
        is_file: bool,
        before: Vec<String>,
        pending: &mut [Pending],
    ) -> Result<bool> {
        if self.check_mode(mode).await?.is_some() {
            return Ok(false);
        }
        let old = if is_file { Vec::new() } else { self.replaced(mode, before, pending).await? };
        if old.is_empty() && pending.len() <= 1 {
            for pending in pending {
                self.complete(pending).await?;
            }
            return Ok(true);
        }
        let new: Vec<String> = pending.iter().map(|pending| pending.name.as_ref().to_owned()).collect();
        let mut commit = Commit { owner: self.owner.clone(), new, old, switched: false };
        let mark = self.mark()?;
        self.say(&mark, &commit).await?;
        let completing = futures::stream::iter(pending.iter_mut().map(|pending| self.complete(pending)));
        // All of them to their ends: one that is dropped on its way may still arrive, after it was taken back.
        let completed: Vec<Result<()>> = completing.buffer_unordered(REQUESTS).collect().await;
        if let Some(error) = completed.into_iter().find_map(Result::err) {
            // The mark hides the new ones. Whether it can be taken back now or by the next try makes no difference to readers. A request
            // that nobody has answered may still be carried out, so after such a one the mark stays, and goes with the next try.
            self.take_back(&mark, &commit, !error.retry).await;
            return Err(error);
        }
        commit.switched = true;
        if let Err(error) = self.say(&mark, &commit).await {
            // It may have been heard and only the answer lost, so that the new ones count. Before one of them goes it has to be said that they
            // do not; where that cannot be said either, all stays, and what the mark says decides at the next try.
            commit.switched = false;
            if self.say(&mark, &commit).await.is_ok() {
                self.take_back(&mark, &commit, true).await;
            }
            return Err(error);
        }
        self.clean(&mark, &commit).await?;
        Ok(true)
    }

    /// Deletes new objects that do not count, and the mark with them if it may go.
    async fn take_back(&self, mark: &Name, commit: &Commit, with_mark: bool) {
        let done = if with_mark { self.clean(mark, commit).await } else { self.delete_hidden(commit).await };
        if let Err(error) = done {
            tracing::warn!(%error, "a load cannot be taken back; its next try will");
        }
    }

    fn mark(&self) -> Result<Name> {
        let name = format!("{}/{MARK}{}.json", self.location.path, uuid::Uuid::new_v4().simple());
        Name::parse(name).map_err(|error| self.failed(&error.into()))
    }

    /// Puts the mark.
    async fn say(&self, mark: &Name, commit: &Commit) -> Result<()> {
        let text = serde_json::to_vec(commit).expect("a mark is JSON");
        self.store.put(mark, text.into()).await.map(drop).map_err(|error| self.failed(&error))
    }

    /// Deletes what does not count, and then the mark.
    async fn clean(&self, mark: &Name, commit: &Commit) -> Result<()> {
        self.delete_hidden(commit).await?;
        match self.store.delete(mark).await {
            Ok(()) | Err(Failure::NotFound { .. }) => Ok(()),
            Err(error) => Err(self.failed(&error)),
        }
    }

    async fn delete_hidden(&self, commit: &Commit) -> Result<()> {
        let names = commit.hidden().map(Name::parse).collect::<std::result::Result<Vec<_>, _>>();
        let names = names.map_err(|error| self.failed(&error.into()))?;
        let names = futures::stream::iter(names.into_iter().map(Ok)).boxed();
        let mut deleted = self.store.delete_stream(names);
        while let Some(one) = deleted.next().await {
            match one {
                Ok(_) | Err(Failure::NotFound { .. }) => {}
                Err(error) => return Err(self.failed(&error)),
            }
        }
        Ok(())
    }

    /// The objects that go when the new ones are there.
    /// `before` are those of this task instance that were there at the start.
    async fn replaced(&self, mode: WriteMode, before: Vec<String>, pending: &[Pending]) -> Result<Vec<String>> {
        if matches!(mode, WriteMode::Append | WriteMode::Error | WriteMode::Ignore) {
            // An earlier try may have been at work until now. The first one has none, and needs no further look.
            let again = self.instance.as_ref().is_some_and(|instance| instance.try_number > 1);
            return if again { Ok(self.own(&self.list().await?)) } else { Ok(before) };
        }
        let folder = |name: &Name| name.as_ref().rsplit_once('/').map_or("", |(folder, _)| folder).to_owned();
        let folders: HashSet<String> = pending.iter().map(|pending| folder(&pending.name)).collect();
        let goes = |meta: &ObjectMeta| {
            !Commit::is_mark(&meta.location)
                && (mode != WriteMode::OverwritePartitions || folders.contains(&folder(&meta.location)))
        };
        let found: Vec<ObjectMeta> = self.list().await?;
        Ok(found.into_iter().filter(goes).map(|meta| meta.location.as_ref().to_owned()).collect())
    }

    fn mark_of_parts(&self) -> Option<&str> {
        self.instance.as_ref().map(|instance| instance.mark.as_str())
    }

    /// What the one object of a target says of itself.
    fn attributes(&self) -> Attributes {
        let mark = self.mark_of_parts().filter(|_| self.signed);
        mark.map(|mark| (Attribute::Metadata(SIGNATURE.into()), mark.to_owned())).into_iter().collect()
    }

    /// The objects among those below the target that this task instance has put.
    fn own(&self, found: &[ObjectMeta]) -> Vec<String> {
        let Some(mark) = self.mark_of_parts() else { return Vec::new() };
        let own = found.iter().filter(|meta| meta.location.filename().is_some_and(|name| own::is_part(name, mark)));
        own.map(|meta| meta.location.as_ref().to_owned()).collect()
    }

    /// Whether what is at the target is what this task instance has put there.
    async fn is_own(&self) -> Result<bool> {
        let Some(mark) = self.mark_of_parts() else { return Ok(false) };
        if !self.signed {
            return Ok(!self.own(&self.list().await?).is_empty());
        }
        let name = Name::parse(&self.location.path).map_err(|error| self.failed(&error.into()))?;
        let found = self.store.get_opts(&name, GetOptions { head: true, ..GetOptions::default() }).await;
        let found = match found {
            Ok(found) => found,
            // A folder of that name.
            Err(Failure::NotFound { .. }) => return Ok(false),
            Err(error) => return Err(self.failed(&error)),
        };
        Ok(found.attributes.get(&Attribute::Metadata(SIGNATURE.into())).is_some_and(|value| value.as_ref() == mark))
    }

    /// All objects below the target.
    async fn list(&self) -> Result<Vec<ObjectMeta>> {
        let prefix = Name::parse(&self.location.path).map_err(|error| self.failed(&error.into()))?;
        self.store.list(Some(&prefix)).try_collect().await.map_err(|error| self.failed(&error))
    }

    /// What a mode says before anything is done: an error, or that there is nothing to do.
    async fn check_mode(&self, mode: WriteMode) -> Result<Option<Loaded>> {
        if !matches!(mode, WriteMode::Error | WriteMode::Ignore) {
            return Ok(None);
        }
        let found = object_storage::first(self.store.as_ref(), &self.location).await?.is_some();
        let is_there = found && !self.is_own().await?;
        match mode {
            WriteMode::Error if is_there => Err(Error::lasting(format!(
                "`{}` is there already, and the mode is error; remove it, or use another mode",
                self.location.url()
            ))),
            WriteMode::Ignore if is_there => Ok(Some(Loaded { ignored: true, ..Loaded::default() })),
            _ => Ok(None),
        }
    }

    /// Puts in order what earlier tries of this task have left, and others that have died long ago. The result is what this task
    /// instance has put before.
    async fn end_earlier(&self, is_file: bool) -> Result<Vec<String>> {
        if is_file {
            return Ok(Vec::new());
        }
        let found = self.list().await?;
        let mut own = self.own(&found);
        for meta in found.iter().filter(|meta| Commit::is_mark(&meta.location)) {
            let commit = Commit::read(self.store.as_ref(), meta).await.map_err(|error| self.failed(&error))?;
            let Some(commit) = commit else { continue };
            let age = now() - meta.last_modified;
            if commit.owner == self.owner || age > STALE {
                tracing::info!(mark = %meta.location, "ending what a killed load has begun");
                self.clean(&meta.location, &commit).await?;
                own.retain(|name| !commit.hidden().any(|hidden| hidden == name));
            }
        }
        Ok(own)
    }
}

#[expect(clippy::disallowed_methods, reason = "the age of what is in the store, by the clock of this machine")]
fn now() -> chrono::DateTime<chrono::Utc> {
    chrono::Utc::now()
}
