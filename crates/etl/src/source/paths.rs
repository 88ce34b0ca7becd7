//! From paths, globs, folders and URLs to files, with the partitions that their folders name.

use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use percent_encoding::percent_decode_str;
use towpath_model::etl::FileSource;
use towpath_operators::object_storage;

use crate::error::{Error, Result};
use crate::measure::Meter;
use crate::remote::{Object, Remotes, WebFile, is_remote};

/// How Hive writes null in the name of a folder.
pub(crate) const HIVE_NULL: &str = "__HIVE_DEFAULT_PARTITION__";

/// A file of a source.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SourceFile {
    pub(crate) place: Place,
    /// What the folders above it say: `carrier=AA`.
    pub(crate) partitions: Vec<(String, Option<String>)>,
}

/// Where a file is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Place {
    Local(PathBuf),
    Object(Object),
    Web(WebFile),
}

impl SourceFile {
    fn local(path: PathBuf) -> Self {
        Self { place: Place::Local(path), partitions: Vec::new() }
    }

    /// Its path or URL, for people.
    pub(crate) fn shown(&self) -> String {
        match &self.place {
            Place::Local(path) => path.display().to_string(),
            Place::Object(object) => object.shown().to_owned(),
            Place::Web(file) => file.shown(),
        }
    }

    /// Bytes of the file, as far as that is known before it is read.
    pub(crate) fn size(&self) -> Option<u64> {
        match &self.place {
            Place::Local(path) => path.metadata().ok().map(|data| data.len()),
            Place::Object(object) => Some(object.size()),
            Place::Web(_) => None,
        }
    }

    /// What stands in the file, for a thread that may block.
    pub(crate) fn open(&self) -> Result<Box<dyn Read + Send>> {
        Ok(match &self.place {
            Place::Local(path) => Box::new(std::fs::File::open(path).map_err(|error| Error::io("open", path, &error))?),
            Place::Object(object) => Box::new(object.read()),
            Place::Web(file) => Box::new(file.read(|_| ())),
        })
    }

    /// The same, of which `meter` counts the bytes.
    pub(crate) fn open_metered(&self, meter: &Arc<Meter>) -> Result<Box<dyn Read + Send>> {
        let inner: Box<dyn Read + Send> = match &self.place {
            // How large it is shows only now.
            Place::Web(file) => {
                let meter = Arc::clone(meter);
                Box::new(file.read(move |size| meter.expects(size)))
            }
            Place::Local(_) | Place::Object(_) => self.open()?,
        };
        Ok(Box::new(Metered { inner, bytes: meter.read_bytes() }))
    }
}

/// A reader whose bytes are counted.
struct Metered {
    inner: Box<dyn Read + Send>,
    bytes: Arc<AtomicU64>,
}

impl Read for Metered {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let count = self.inner.read(buffer)?;
        self.bytes.fetch_add(count as u64, Ordering::Relaxed);
        Ok(count)
    }
}

/// The files of a source, in order: paths as they are written, the files of each by name.
pub(crate) async fn find(source: &FileSource, folder: &Path, remotes: &Remotes) -> Result<Vec<SourceFile>> {
    let mut found = Vec::new();
    for path in &source.paths {
        let before = found.len();
        if object_storage::is_url(path) {
            let objects = remotes.objects(path, source.connection.as_deref()).await?;
            if objects.is_empty() {
                return Err(Error::passing(format!("there is no object or folder `{path}`, or it has no files")));
            }
            found.extend(objects.into_iter().map(|object| SourceFile {
                partitions: partitions_of(&object.found.below),
                place: Place::Object(object),
            }));
            continue;
        }
        if let Some(file) = remotes.web_file(path, source.connection.as_deref())? {
            found.push(SourceFile { place: Place::Web(file), partitions: Vec::new() });
            continue;
        }
        debug_assert!(!is_remote(path), "other URLs are none that are known");
        let full = folder.join(path);
        if full.is_dir() {
            walk(&full, &mut Vec::new(), &mut found)?;
        } else if full.is_file() {
            found.push(SourceFile::local(full));
        } else if path.contains(['*', '?', '[']) {
            by_glob(path, &full, &mut found)?;
        } else {
            return Err(Error::passing(format!(
                "there is no file or folder `{}`; relative paths start at `{}`",
                path,
                folder.display()
            )));
        }
        if found.len() == before {
            return Err(Error::passing(format!("`{path}` has no files (looked in `{}`)", folder.display())));
        }
    }
    let names = |file: &SourceFile| file.partitions.iter().map(|(name, _)| name.clone()).collect::<Vec<_>>();
    if let Some(other) = found.iter().find(|file| names(file) != names(&found[0])) {
        return Err(Error::lasting(format!(
            "`{}` and `{}` stand in folders with different partitions; read them as two sources",
            found[0].shown(),
            other.shown()
        )));
    }
    Ok(found)
}

fn by_glob(path: &str, full: &Path, found: &mut Vec<SourceFile>) -> Result<()> {
    let wrong = |error: &dyn std::fmt::Display| Error::lasting(format!("`{path}` is not a glob: {error}"));
    let matches = glob::glob(&full.to_string_lossy()).map_err(|error| wrong(&error))?;
    let mut paths = matches.collect::<Result<Vec<PathBuf>, _>>().map_err(|error| wrong(&error))?;
    paths.sort();
    for path in paths {
        if path.is_dir() {
            walk(&path, &mut Vec::new(), found)?;
        } else if !is_hidden(&path) {
            found.push(SourceFile::local(path));
        }
    }
    Ok(())
}

/// What the name of a folder says: `carrier=AA`.
fn partition(name: &str) -> Option<(String, Option<String>)> {
    let (name, value) = name.split_once('=')?;
    let value = percent_decode_str(value).decode_utf8_lossy().into_owned();
    Some((percent_decode_str(name).decode_utf8_lossy().into_owned(), (value != HIVE_NULL).then_some(value)))
}

/// What the folders above an object say.
fn partitions_of(below: &str) -> Vec<(String, Option<String>)> {
    let folders = below.rsplit_once('/').map_or("", |(folders, _)| folders);
    folders.split('/').filter_map(partition).collect()
}

/// The files below a folder. What begins with `.` or `_` is no data, as with Hive and Spark.
fn walk(folder: &Path, partitions: &mut Vec<(String, Option<String>)>, found: &mut Vec<SourceFile>) -> Result<()> {
    let entries = std::fs::read_dir(folder).and_then(Iterator::collect::<std::io::Result<Vec<_>>>);
    let mut paths: Vec<PathBuf> = entries
        .map_err(|error| Error::io("read the folder", folder, &error))?
        .into_iter()
        .map(|entry| entry.path())
        .filter(|path| !is_hidden(path))
        .collect();
    paths.sort();
    for path in paths {
        if path.is_dir() {
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            let partition = partition(&name);
            let is_partition = partition.is_some();
            partitions.extend(partition);
            walk(&path, partitions, found)?;
            if is_partition {
                partitions.pop();
            }
        } else {
            found.push(SourceFile { place: Place::Local(path), partitions: partitions.clone() });
        }
    }
    Ok(())
}

fn is_hidden(path: &Path) -> bool {
    path.file_name().is_some_and(|name| name.to_string_lossy().starts_with(['.', '_']))
}
