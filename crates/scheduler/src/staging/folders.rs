//! The files of the staging area.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use chrono::{DateTime, TimeDelta, Utc};
use towpath_model::staging;

/// Entries of the folder of a task, sorted.
pub(crate) type Folder = Vec<PathBuf>;

/// Begins the names of folders that are on their way out. No id of a DAG becomes such a name.
const TRASH: &str = ".trash-";
/// Who removes a folder is done with it by then, or dead.
const TRASH_AFTER: TimeDelta = TimeDelta::hours(1);

/// Folders below `folder` with their names, sorted; none where it cannot be read.
pub(super) async fn below(folder: &Path) -> Vec<(String, PathBuf)> {
    let folder = folder.to_owned();
    blocking(move || {
        let paths = entries(&folder).into_iter().filter(|path| path.is_dir());
        let named = paths.filter_map(|path| Some((path.file_name()?.to_str()?.to_owned(), path)));
        named.collect()
    })
    .await
}

/// The task instances of a run, given its folder, with more in theirs than one data set: task, map index, entries.
pub(super) async fn crowded(run: &Path) -> Vec<(String, Option<i32>, Folder)> {
    let run = run.to_owned();
    blocking(move || {
        let mut found = Vec::new();
        for path in entries(&run) {
            let Some((task_id, map_index)) = path.file_name().and_then(|name| instance(name.to_str()?)) else {
                continue;
            };
            let folder = entries(&path);
            let is_hidden = |path: &PathBuf| path.file_name().is_some_and(|n| n.to_string_lossy().starts_with('.'));
            if folder.len() > 1 || folder.iter().any(is_hidden) {
                found.push((task_id, map_index, folder));
            }
        }
        found
    })
    .await
}

/// The task and the map index that the name of a folder stands for.
fn instance(name: &str) -> Option<(String, Option<i32>)> {
    match name.rsplit_once('@') {
        Some((name, index)) => Some((staging::id(name)?, Some(index.parse().ok()?))),
        None => Some((staging::id(name)?, None)),
    }
}

/// When something was put into a folder or one below it.
pub(super) fn changed(folder: &Path) -> Option<DateTime<Utc>> {
    let of = |path: &Path| Some(DateTime::<Utc>::from(fs::metadata(path).ok()?.modified().ok()?));
    let own = of(folder)?;
    entries(folder).iter().filter_map(|path| of(path)).chain([own]).max()
}

/// Bytes of all files below.
pub(super) async fn size(folder: &Path) -> u64 {
    let folder = folder.to_owned();
    blocking(move || {
        let mut todo = vec![folder];
        let mut bytes = 0;
        while let Some(path) = todo.pop() {
            match path.symlink_metadata() {
                Ok(found) if found.is_dir() => todo.extend(entries(&path)),
                Ok(found) => bytes += found.len(),
                Err(_) => {}
            }
        }
        bytes
    })
    .await
}

/// A new name for something on its way out.
pub(super) fn trash(staging: &Path, now: DateTime<Utc>) -> PathBuf {
    static NEXT: std::sync::atomic::AtomicU64 = std::sync::atomic::AtomicU64::new(0);
    let number = NEXT.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
    staging.join(format!("{TRASH}{}-{}-{number}", now.timestamp_micros(), std::process::id()))
}

/// Takes a folder out of sight, at once. False where somebody else was faster, or it cannot be done.
pub(super) fn move_away(folder: &Path, trash: &Path) -> bool {
    match fs::rename(folder, trash) {
        Ok(()) => true,
        Err(error) if error.kind() == ErrorKind::NotFound => false,
        Err(error) => {
            tracing::warn!(%error, path = %folder.display(), "a folder of the staging area cannot be removed");
            false
        }
    }
}

/// Removes what was moved away.
pub(super) async fn remove(trash: PathBuf) {
    blocking(move || match fs::remove_dir_all(&trash) {
        Ok(()) => {}
        Err(error) if error.kind() == ErrorKind::NotFound => {}
        Err(error) => tracing::warn!(%error, path = %trash.display(), "a folder of the staging area cannot be removed"),
    })
    .await;
}

/// Removes what somebody who was killed had moved away.
pub(super) async fn empty_trash(staging: &Path, now: DateTime<Utc>) {
    for (name, path) in below(staging).await {
        let since = name.strip_prefix(TRASH).and_then(|name| name.split('-').next()?.parse().ok());
        let since = since.and_then(DateTime::from_timestamp_micros);
        if since.is_some_and(|since| now.signed_duration_since(since) >= TRASH_AFTER) {
            remove(path).await;
        }
    }
}

fn entries(folder: &Path) -> Vec<PathBuf> {
    let mut paths: Vec<PathBuf> = match fs::read_dir(folder) {
        Ok(entries) => entries.flatten().map(|entry| entry.path()).collect(),
        Err(_) => Vec::new(),
    };
    paths.sort();
    paths
}

async fn blocking<T: Send + Default + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    tokio::task::spawn_blocking(work).await.unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_task_folders_are_read() {
        for (name, expected) in [
            ("load", Some(("load", None))),
            ("g.load@12", Some(("g.load", Some(12)))),
            ("load@x", None),
            (".hidden", None),
        ] {
            assert_eq!(instance(name), expected.map(|(id, index)| (id.to_owned(), index)), "{name}");
        }
    }
}
