//! How a task instance knows again what it has written: a folder by the names of the files in it, a single file by a note beside it.

use std::fs::{self, File, Metadata, OpenOptions};
use std::io::{Read as _, Seek as _, Write as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};

/// Part of the name of each file of a load; `id` is the load's own.
pub(super) fn part_id(mark: Option<&str>, id: &str) -> String {
    match mark {
        Some(mark) => format!("{mark}-{}", &id[..8]),
        None => id.to_owned(),
    }
}

/// Whether a file with this name was written by the task instance with that mark.
pub(super) fn is_part(name: &str, mark: &str) -> bool {
    let Some((_, rest)) = name.strip_prefix("part-").and_then(|rest| rest.split_once('-')) else { return false };
    rest.strip_prefix(mark).is_some_and(|rest| rest.starts_with('-'))
}

/// Whether some file in a folder was.
pub(super) fn has_parts(folder: &Path, mark: &str) -> bool {
    let mut todo = vec![folder.to_owned()];
    while let Some(folder) = todo.pop() {
        for entry in fs::read_dir(&folder).into_iter().flatten().flatten() {
            if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                todo.push(entry.path());
            } else if is_part(&entry.file_name().to_string_lossy(), mark) {
                return true;
            }
        }
    }
    false
}

/// Who has put a file where it is, written into the lock file of the target. A file keeps what is noted of it when it is renamed, and
/// whoever writes another one under its name gets another number.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Note {
    mark: String,
    inode: u64,
    bytes: u64,
    modified_ns: i64,
    modified_s: i64,
}

impl Note {
    fn new(mark: &str, file: &Metadata) -> Self {
        Self {
            mark: mark.to_owned(),
            inode: file.ino(),
            bytes: file.len(),
            modified_ns: file.mtime_nsec(),
            modified_s: file.mtime(),
        }
    }
}

/// The lock of a target, opened: it keeps what it says.
pub(super) fn open_lock(path: &Path) -> Result<File> {
    let opened = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path);
    opened.map_err(|error| Error::io("create", path, &error))
}

/// Notes in the lock file that `staged`, which is about to be the target, is of the task instance with that mark.
pub(super) fn note(lock: &mut File, lock_path: &Path, mark: &str, staged: &Path) -> Result<()> {
    let found = fs::metadata(staged).map_err(|error| Error::io("read", staged, &error))?;
    let text = serde_json::to_vec(&Note::new(mark, &found)).expect("a note is JSON");
    let written = lock.set_len(0).and_then(|()| lock.rewind()).and_then(|()| lock.write_all(&text));
    written.and_then(|()| lock.sync_all()).map_err(|error| Error::io("write", lock_path, &error))
}

/// Whether a file is the one that the lock file says the task instance has put there.
pub(super) fn is_noted(lock_path: &Path, mark: &str, target: &Path) -> bool {
    let mut text = Vec::new();
    let read = File::open(lock_path).and_then(|mut file| file.read_to_end(&mut text));
    let Ok(found) = fs::metadata(target) else { return false };
    read.is_ok() && serde_json::from_slice::<Note>(&text).is_ok_and(|note| note == Note::new(mark, &found))
}

/// The file beside a target that loads of it lock.
pub(super) fn lock_path(parent: &Path, name: &str) -> PathBuf {
    parent.join(format!(".{name}.towpath.lock"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_known_by_their_marks() {
        let id = part_id(Some("0123456789ab"), "fedcba987654");
        assert_eq!(id, "0123456789ab-fedcba98");
        assert_eq!(part_id(None, "fedcba987654"), "fedcba987654");
        for (name, expected) in [
            ("part-00000-0123456789ab-fedcba98.parquet", true),
            ("part-123456-0123456789ab-00000000.csv.gz", true),
            ("part-00000-0123456789ab.parquet", false),
            ("part-00000-ffffffffffff-0123456789ab.parquet", false),
            ("0123456789ab-fedcba98.parquet", false),
            ("part-0123456789ab-x", false),
        ] {
            assert_eq!(is_part(name, "0123456789ab"), expected, "{name}");
        }
    }
}
