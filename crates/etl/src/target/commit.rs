//! Puts files where readers see them, all at once.
//!
//! A load writes into a hidden folder beside its target. What the target has and keeps (all files with `append`, other
//! partitions with `overwrite_partitions`) is linked into that folder, which costs no copy. Then the two folders change
//! places in one call of the kernel: a reader sees the old folder or the new one. A load that is killed leaves its hidden folder,
//! which the next load of the target removes; that a folder is in use is told by a lock, which dies with its process.
//!
//! What the same task instance has put there before, in a try whose end nobody was told of or before it was cleared, is left out of what is
//! kept and is in nobody's way ([`super::own`]), so that loading again gives the same as loading once.

use std::fs::{self, File, TryLockError};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, RenameFlags, renameat_with};
use towpath_model::etl::WriteMode;

use super::{Loaded, own};
use crate::error::{Error, Result};
use crate::instance::Instance;

/// Part of the names of hidden folders.
const MARK: &str = ".towpath-";
/// The file in a hidden folder that its load holds a lock on.
const LOCK: &str = "_lock";
/// The folder with the data in it.
const DATA: &str = "data";
/// What was at the target, on file systems that cannot exchange folders.
const OLD: &str = "old";

/// A hidden folder beside a target; removed when it is dropped.
#[derive(Debug)]
pub(crate) struct Aside {
    root: PathBuf,
    data: PathBuf,
    id: String,
    _lock: File,
}

impl Aside {
    /// A folder for what will be at `target`. Removes what loads have left that were killed.
    pub(crate) fn new(target: &Path) -> Result<Self> {
        let (parent, name) = parts(target)?;
        fs::create_dir_all(&parent).map_err(|error| Error::io("create the folder", &parent, &error))?;
        // A folder comes to be under this lock, with a lock of its own: one without it is dead.
        let _turn = turn(&parent, &name)?;
        remove_leftovers(&parent, &name);
        let id = uuid::Uuid::new_v4().simple().to_string()[..12].to_owned();
        let root = parent.join(format!(".{name}{MARK}{id}"));
        let data = root.join(DATA);
        fs::create_dir_all(&data).map_err(|error| Error::io("create the folder", &data, &error))?;
        let path = root.join(LOCK);
        let lock = File::create(&path).map_err(|error| Error::io("create", &path, &error))?;
        lock.lock().map_err(|error| Error::io("lock", &path, &error))?;
        Ok(Self { root, data, id, _lock: lock })
    }

    /// Where to write.
    pub(crate) fn path(&self) -> &Path {
        &self.data
    }

    /// What tells this load from others.
    pub(crate) fn id(&self) -> &str {
        &self.id
    }

    /// Shows what was written. False where mode `ignore` has found that somebody else was first.
    pub(crate) fn commit(
        self,
        target: &Path,
        mode: WriteMode,
        is_file: bool,
        instance: Option<&Instance>,
    ) -> Result<bool> {
        let (parent, name) = parts(target)?;
        // Loads of one target come one after the other from here on, so that appends add up.
        let mut turn = turn(&parent, &name)?;
        if check_mode(target, mode, instance)?.is_some() {
            return Ok(false);
        }
        let mark = instance.map(|instance| instance.mark.as_str());
        if is_file {
            let from = self.data.join(target.file_name().unwrap_or_default());
            if let Some(mark) = mark {
                own::note(&mut turn, &own::lock_path(&parent, &name), mark, &from)?;
            }
            fs::rename(&from, target).map_err(|error| Error::io("replace", target, &error))?;
        } else {
            match mode {
                // With `error` and `ignore` something is there only where this task instance was here before, and somebody may have
                // added to it since.
                WriteMode::Append | WriteMode::Error | WriteMode::Ignore => {
                    link(target, &self.data, &|_, file| !mark.is_some_and(|mark| own::is_part(file, mark)))?;
                }
                WriteMode::OverwritePartitions => {
                    let data = self.data.clone();
                    link(target, &self.data, &move |folder, _| !has_files(&data.join(folder)))?;
                }
                WriteMode::Overwrite | WriteMode::Upsert => {}
            }
            exchange(&self.data, target)?;
        }
        sync(&parent);
        Ok(true)
    }
}

impl Drop for Aside {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_dir_all(&self.root) {
            tracing::warn!(%error, path = %self.root.display(), "what a load has written aside cannot be removed");
        }
    }
}

/// What a mode says before anything is done: an error, or that there is nothing to do.
pub(super) fn check_mode(target: &Path, mode: WriteMode, instance: Option<&Instance>) -> Result<Option<Loaded>> {
    if !matches!(mode, WriteMode::Error | WriteMode::Ignore) {
        return Ok(None);
    }
    let is_there = match fs::read_dir(target) {
        // An empty folder holds nothing that could be lost.
        Ok(mut entries) => entries.next().is_some(),
        Err(_) => target.symlink_metadata().is_ok(),
    };
    let is_there = is_there && !is_own(target, instance)?;
    match mode {
        WriteMode::Error if is_there => Err(Error::lasting(format!(
            "`{}` is there already, and the mode is error; remove it, or use another mode",
            target.display()
        ))),
        WriteMode::Ignore if is_there => Ok(Some(Loaded { ignored: true, ..Loaded::default() })),
        _ => Ok(None),
    }
}

/// Whether what is at a target is what this task instance has put there.
fn is_own(target: &Path, instance: Option<&Instance>) -> Result<bool> {
    let Some(Instance { mark, .. }) = instance else { return Ok(false) };
    let (parent, name) = parts(target)?;
    let is_folder = target.is_dir();
    Ok(if is_folder {
        own::has_parts(target, mark)
    } else {
        own::is_noted(&own::lock_path(&parent, &name), mark, target)
    })
}

fn parts(target: &Path) -> Result<(PathBuf, String)> {
    let name = target.file_name().map(|name| name.to_string_lossy().into_owned());
    let name = name.ok_or_else(|| Error::lasting(format!("`{}` is no name of a file or folder", target.display())))?;
    Ok((target.parent().unwrap_or(Path::new(".")).to_owned(), name))
}

/// Takes the lock of a target: loads of one target take turns where they change what is beside it and what it is.
fn turn(parent: &Path, name: &str) -> Result<File> {
    let path = own::lock_path(parent, name);
    let lock = own::open_lock(&path)?;
    lock.lock().map_err(|error| Error::io("lock", &path, &error))?;
    Ok(lock)
}

fn remove_leftovers(parent: &Path, name: &str) {
    let prefix = format!(".{name}{MARK}");
    for entry in fs::read_dir(parent).into_iter().flatten().flatten() {
        if !entry.file_name().to_string_lossy().starts_with(&prefix) {
            continue;
        }
        let path = entry.path();
        // Who still holds the lock is alive; one without a lock died before it had any.
        let lock = File::open(path.join(LOCK));
        if !lock.is_ok_and(|lock| matches!(lock.try_lock(), Err(TryLockError::WouldBlock))) {
            tracing::info!(path = %path.display(), "removing what a killed load has left");
            // Where folders cannot be exchanged, the old one may have been moved away already.
            let (old, target) = (path.join(OLD), parent.join(name));
            if old.is_dir() && !target.exists() && fs::rename(&old, &target).is_err() {
                continue;
            }
            let _ = fs::remove_dir_all(&path);
        }
    }
}

/// Links the files of a folder into another one for which `wanted`, whose arguments are the folder, relative, and the file's name.
fn link(from: &Path, to: &Path, wanted: &dyn Fn(&Path, &str) -> bool) -> Result<()> {
    let mut todo = vec![PathBuf::new()];
    while let Some(folder) = todo.pop() {
        let source = from.join(&folder);
        let entries = match fs::read_dir(&source) {
            Ok(entries) => entries,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(Error::io("read the folder", &source, &error)),
        };
        for entry in entries {
            let entry = entry.map_err(|error| Error::io("read the folder", &source, &error))?;
            let (path, relative) = (entry.path(), folder.join(entry.file_name()));
            if path.is_dir() {
                todo.push(relative);
            } else if wanted(&folder, &entry.file_name().to_string_lossy()) {
                let place = to.join(&relative);
                if let Some(parent) = place.parent() {
                    fs::create_dir_all(parent).map_err(|error| Error::io("create the folder", parent, &error))?;
                }
                // Not every file system has links.
                let linked = fs::hard_link(&path, &place).or_else(|_| fs::copy(&path, &place).map(drop));
                linked.map_err(|error| Error::io("keep", &path, &error))?;
            }
        }
    }
    Ok(())
}

fn has_files(folder: &Path) -> bool {
    fs::read_dir(folder).is_ok_and(|entries| entries.flatten().any(|entry| !entry.path().is_dir()))
}

/// Lets two folders change places; `target` may not be there.
fn exchange(data: &Path, target: &Path) -> Result<()> {
    let failed = |error: &std::io::Error| Error::io("replace", target, error);
    if !target.exists() {
        return fs::rename(data, target).map_err(|error| failed(&error));
    }
    match renameat_with(CWD, data, CWD, target, RenameFlags::EXCHANGE) {
        Ok(()) => Ok(()),
        // A file system that cannot: for an instant there is no folder, never half of one.
        Err(rustix::io::Errno::INVAL | rustix::io::Errno::NOSYS | rustix::io::Errno::OPNOTSUPP) => {
            let old = data.with_file_name(OLD);
            fs::rename(target, &old).map_err(|error| failed(&error))?;
            fs::rename(data, target).map_err(|error| failed(&error))
        }
        Err(error) => Err(failed(&error.into())),
    }
}

/// Makes renames last.
fn sync(folder: &Path) {
    let synced = File::open(folder).and_then(|folder| folder.sync_all());
    if let Err(error) = synced {
        tracing::warn!(%error, path = %folder.display(), "a folder cannot be synced");
    }
}
