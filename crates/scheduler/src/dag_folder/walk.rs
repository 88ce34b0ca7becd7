//! Which DAG files there are below a folder, without reading any. Blocking.
//!
//! Paths are relative to the DAGs folder, with `/` between names, and `""` is the folder itself.
//! Symbolic links are followed. What cannot be looked at is reported under its own path, so that
//! nobody takes it for gone. Names that start with a dot are left out, as they belong to editors,
//! version control and mounts.

use std::collections::BTreeMap;
use std::fs::{self, Metadata};
use std::io::{self, ErrorKind};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use towpath_dagfile::is_dag_file;

/// Deeper folders are not looked into.
const MAX_DEPTH: usize = 64;

/// Tells whether a file has changed, as far as its folder knows.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Stamp {
    /// Seconds and nanoseconds of the last change of content.
    pub(super) modified: (i64, i64),
    /// The same of content, owner or permissions.
    pub(super) changed: (i64, i64),
    pub(super) size_bytes: u64,
    pub(super) inode: u64,
}

impl Stamp {
    /// Of a file that is there.
    pub(super) fn read(path: &Path) -> Option<Self> {
        fs::metadata(path).ok().filter(Metadata::is_file).map(|metadata| Self::of(&metadata))
    }

    fn of(metadata: &Metadata) -> Self {
        Self {
            modified: (metadata.mtime(), metadata.mtime_nsec()),
            changed: (metadata.ctime(), metadata.ctime_nsec()),
            size_bytes: metadata.size(),
            inode: metadata.ino(),
        }
    }
}

/// A folder, whatever its path.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct FolderId {
    device: u64,
    inode: u64,
}

impl FolderId {
    pub(super) fn of(metadata: &Metadata) -> Self {
        Self { device: metadata.dev(), inode: metadata.ino() }
    }
}

/// What a walk has found.
#[derive(Debug, Default)]
pub(super) struct Listing {
    pub(super) files: BTreeMap<String, Stamp>,
    /// Files with defaults for the DAG files beside and below them.
    pub(super) defaults: BTreeMap<String, Stamp>,
    /// What could not be looked at, and why.
    pub(super) problems: BTreeMap<String, String>,
    /// Folders among the problems: what is below them is not known to be gone.
    pub(super) closed: Vec<String>,
}

impl Listing {
    /// Whether `path` was seen, or may be there unseen.
    pub(super) fn may_hold(&self, path: &str) -> bool {
        self.files.contains_key(path)
            || self.defaults.contains_key(path)
            || self.problems.contains_key(path)
            || self.closed.iter().any(|folder| is_below(path, folder))
    }

    fn problem(&mut self, path: &str, message: String) {
        self.problems.insert(path.to_owned(), message);
    }
}

/// Whether `path` is `folder` or lies below it.
pub(super) fn is_below(path: &str, folder: &str) -> bool {
    folder.is_empty() || path.strip_prefix(folder).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// Whether a file of this name holds defaults instead of DAGs.
pub(super) fn is_defaults(name: &str) -> bool {
    matches!(name, "defaults.yml" | "defaults.yaml")
}

/// Whether a name is left out.
pub(super) fn is_hidden(name: &str) -> bool {
    name.starts_with('.')
}

/// Lists what is at and below `path`, which may be a folder, a file, or gone. `on_folder` is called
/// for each folder before it is read, so that a watch can be set that misses nothing.
pub(super) fn list(root: &Path, path: &str, listing: &mut Listing, on_folder: &mut dyn FnMut(&Path, FolderId)) {
    let mut walk = Walk { root, listing, on_folder, above: Vec::new() };
    // Links that lead upward are found by the folders above, which the walk did not come through.
    let mut above = root.to_path_buf();
    for name in path.split('/').filter(|name| !name.is_empty()) {
        if let Ok(metadata) = fs::metadata(&above) {
            walk.above.push(FolderId::of(&metadata));
        }
        above.push(name);
    }
    walk.entry(path);
}

struct Walk<'a> {
    root: &'a Path,
    listing: &'a mut Listing,
    on_folder: &'a mut dyn FnMut(&Path, FolderId),
    /// The folders that lead to where the walk is.
    above: Vec<FolderId>,
}

impl Walk<'_> {
    fn entry(&mut self, path: &str) {
        let name = path.rsplit('/').next().unwrap_or(path);
        let is_file = is_defaults(name) || is_dag_file(Path::new(name));
        match fs::metadata(self.root.join(path)) {
            Ok(metadata) if metadata.is_dir() => self.folder(path, FolderId::of(&metadata)),
            Ok(_) if !is_file => {}
            Ok(metadata) if !metadata.is_file() => {
                self.listing
                    .problem(path, format!("`{path}` is neither a file nor a folder: DAGs are read from files"));
            }
            Ok(metadata) if is_defaults(name) => {
                self.listing.defaults.insert(path.to_owned(), Stamp::of(&metadata));
            }
            Ok(metadata) => {
                self.listing.files.insert(path.to_owned(), Stamp::of(&metadata));
            }
            Err(error) => self.failed(path, is_file, &error),
        }
    }

    /// Gone, or there and not to be looked at.
    fn failed(&mut self, path: &str, is_file: bool, error: &io::Error) {
        if !matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) {
            self.listing.problem(path, unreadable(path, error));
            self.listing.closed.push(path.to_owned());
        } else if is_file && fs::symlink_metadata(self.root.join(path)).is_ok_and(|metadata| metadata.is_symlink()) {
            self.listing.problem(path, format!("`{path}` is a symbolic link to a file that does not exist"));
        }
    }

    fn folder(&mut self, path: &str, id: FolderId) {
        if self.above.contains(&id) {
            self.listing
                .problem(path, format!("`{path}` is a symbolic link to a folder that it is in: it is not followed"));
            return;
        }
        if self.above.len() >= MAX_DEPTH {
            self.listing.problem(path, format!("`{path}` lies {MAX_DEPTH} folders deep: deeper ones are not read"));
            return;
        }
        (self.on_folder)(&self.root.join(path), id);
        let entries = match fs::read_dir(self.root.join(path)) {
            Ok(entries) => entries,
            // It was there a moment ago.
            Err(error) if error.kind() == ErrorKind::NotFound => return,
            Err(error) => {
                self.listing.problem(path, unreadable(path, &error));
                self.listing.closed.push(path.to_owned());
                return;
            }
        };
        self.above.push(id);
        for entry in entries {
            match entry {
                Ok(entry) => self.named(path, &entry),
                Err(error) => {
                    self.listing.problem(path, unreadable(path, &error));
                    self.listing.closed.push(path.to_owned());
                    break;
                }
            }
        }
        self.above.pop();
    }

    fn named(&mut self, folder: &str, entry: &fs::DirEntry) {
        let name = entry.file_name();
        let path = |name: &str| if folder.is_empty() { name.to_owned() } else { format!("{folder}/{name}") };
        let Some(name) = name.to_str() else {
            if is_dag_file(Path::new(&name)) {
                let path = path(&name.to_string_lossy());
                let message = format!("the name of `{path}` is not valid UTF-8: rename the file");
                self.listing.problem(&path, message);
            }
            return;
        };
        // Most of what lies beside DAG files is told by its name, without a look at it.
        let is_plain = entry.file_type().is_ok_and(|kind| kind.is_file());
        if !is_hidden(name) && (!is_plain || is_defaults(name) || is_dag_file(Path::new(name))) {
            self.entry(&path(name));
        }
    }
}

fn unreadable(path: &str, error: &io::Error) -> String {
    let path = if path.is_empty() { "the DAGs folder".to_owned() } else { format!("`{path}`") };
    let hint = if error.kind() == ErrorKind::PermissionDenied {
        ": let the user that runs the scheduler read it, or move it elsewhere"
    } else {
        ""
    };
    format!("{path} cannot be read ({error}){hint}")
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    fn tree(files: &[&str]) -> tempfile::TempDir {
        let root = tempfile::tempdir().unwrap();
        for file in files {
            let path = root.path().join(file);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, "x").unwrap();
        }
        root
    }

    fn listed(root: &Path, path: &str) -> (Listing, Vec<String>) {
        let mut listing = Listing::default();
        let mut folders = Vec::new();
        list(root, path, &mut listing, &mut |folder, _| {
            folders.push(folder.strip_prefix(root).unwrap().to_str().unwrap().to_owned());
        });
        folders.sort();
        (listing, folders)
    }

    fn names<T>(map: &BTreeMap<String, T>) -> Vec<&str> {
        map.keys().map(String::as_str).collect()
    }

    #[test]
    fn dag_files_are_found_at_any_depth() {
        let root = tree(&["a.yml", "b/c.yaml", "b/defaults.yml", "b/d/e.yml", "readme.md", ".git/x.yml", "b/.#c.yaml"]);
        let (listing, folders) = listed(root.path(), "");
        assert_eq!(names(&listing.files), ["a.yml", "b/c.yaml", "b/d/e.yml"]);
        assert_eq!(names(&listing.defaults), ["b/defaults.yml"]);
        assert_eq!(names(&listing.problems), [""; 0]);
        assert_eq!(folders, ["", "b", "b/d"]);
        assert_eq!(names(&listed(root.path(), "b/d").0.files), ["b/d/e.yml"]);
        assert_eq!(names(&listed(root.path(), "a.yml").0.files), ["a.yml"]);
        let (gone, _) = listed(root.path(), "gone.yml");
        assert!(!gone.may_hold("gone.yml"));
    }

    #[test]
    fn links_are_followed_but_not_in_circles() {
        let root = tree(&["a/b.yml"]);
        symlink(root.path().join("a"), root.path().join("linked")).unwrap();
        symlink("..", root.path().join("a/up")).unwrap();
        symlink("self.yml", root.path().join("self.yml")).unwrap();
        symlink("nowhere", root.path().join("broken.yml")).unwrap();
        symlink("nowhere", root.path().join("not-a-dag")).unwrap();
        let (listing, _) = listed(root.path(), "");
        assert_eq!(names(&listing.files), ["a/b.yml", "linked/b.yml"]);
        assert_eq!(names(&listing.problems), ["a/up", "broken.yml", "linked/up", "self.yml"]);
        assert!(listing.problems["a/up"].contains("a folder that it is in"), "{listing:?}");
        assert!(listing.problems["broken.yml"].contains("does not exist"), "{listing:?}");
        assert!(listing.problems["self.yml"].contains("symbolic links"), "{listing:?}");
        // The same where the walk starts below.
        let (listing, _) = listed(root.path(), "a");
        assert_eq!(names(&listing.problems), ["a/up"]);
    }

    #[test]
    fn what_is_no_file_is_a_problem_by_its_name() {
        let root = tree(&[]);
        let _socket = std::os::unix::net::UnixListener::bind(root.path().join("socket.yml")).unwrap();
        let (listing, _) = listed(root.path(), "");
        assert!(listing.problems["socket.yml"].contains("neither a file nor a folder"), "{listing:?}");
        fs::create_dir(root.path().join("folder.yml")).unwrap();
        fs::write(root.path().join("folder.yml/a.yml"), "x").unwrap();
        assert_eq!(names(&listed(root.path(), "").0.files), ["folder.yml/a.yml"]);
    }

    #[test]
    fn what_is_below_a_closed_folder_may_be_there() {
        let mut listing = Listing::default();
        listing.problem("a", unreadable("a", &io::Error::from(ErrorKind::PermissionDenied)));
        listing.closed.push("a".into());
        assert!(listing.may_hold("a/b.yml") && listing.may_hold("a") && !listing.may_hold("ab.yml"));
        assert!(listing.problems["a"].ends_with("or move it elsewhere"));
    }

    #[test]
    fn a_stamp_tells_a_change() {
        let root = tree(&["a.yml"]);
        let stamp = || listed(root.path(), "").0.files["a.yml"];
        let before = stamp();
        assert_eq!(before, stamp());
        fs::write(root.path().join("a.yml"), "longer").unwrap();
        assert_ne!(before, stamp());
        // Replaced by one that looks the same.
        let before = stamp();
        fs::write(root.path().join("b"), "longer").unwrap();
        fs::rename(root.path().join("b"), root.path().join("a.yml")).unwrap();
        assert_ne!(before, stamp());
    }
}
