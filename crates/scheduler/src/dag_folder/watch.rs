//! Hearing of changes from the kernel, so that nobody has to look for them.
//!
//! Each folder is watched by itself, before it is read: a recursive watch would miss what is
//! written into a new folder before the watch has got there, and would give up at the first folder
//! that it may not read. Where the kernel's limits are reached, or changes are not told at all
//! (network file systems), full looks do the rest.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use notify::event::{AccessKind, AccessMode, EventKind, ModifyKind};
use notify::{Config, ErrorKind, Event, RecommendedWatcher, RecursiveMode, Watcher};
use tokio::sync::Notify;
use towpath_dagfile::is_dag_file;

use super::walk::{FolderId, is_defaults, is_hidden};

/// Past so many changed paths a full look is cheaper.
const MAX_PATHS: usize = 4_096;

/// What may have changed.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Changed {
    /// At or below these paths, relative to the DAGs folder.
    Paths(BTreeSet<String>),
    Everything,
}

/// Changes that nobody has looked at yet; shared with the thread that hears of them.
#[derive(Debug)]
pub(super) struct Pending {
    root: PathBuf,
    changed: Mutex<Changed>,
    heard: Notify,
}

/// The watched folders.
#[derive(Debug)]
pub(super) struct Watch {
    watcher: Option<RecommendedWatcher>,
    watched: HashMap<PathBuf, FolderId>,
    /// Why changes may go unheard.
    deaf: Option<String>,
}

impl Pending {
    pub(super) fn new(root: PathBuf) -> Arc<Self> {
        Arc::new(Self { root, changed: Mutex::new(Changed::Paths(BTreeSet::new())), heard: Notify::new() })
    }

    /// Waits until there is something to [take](Self::take).
    pub(super) async fn heard(&self) {
        self.heard.notified().await;
    }

    pub(super) fn take(&self) -> Changed {
        let nothing = Changed::Paths(BTreeSet::new());
        std::mem::replace(&mut *self.changed.lock().unwrap_or_else(PoisonError::into_inner), nothing)
    }

    fn hear(&self, event: notify::Result<Event>) {
        match event {
            Ok(event) if event.need_rescan() => self.everything(),
            Ok(event) => {
                let only_files = match event.kind {
                    EventKind::Access(AccessKind::Close(AccessMode::Write))
                    | EventKind::Modify(ModifyKind::Data(_)) => true,
                    // Our own reading is told as well.
                    EventKind::Access(_) => return,
                    EventKind::Any
                    | EventKind::Create(_)
                    | EventKind::Modify(_)
                    | EventKind::Remove(_)
                    | EventKind::Other => false,
                };
                for path in &event.paths {
                    self.hear_of(path, only_files);
                }
            }
            Err(_) => self.everything(),
        }
    }

    /// `only_files`: nothing that can happen to a folder.
    fn hear_of(&self, path: &Path, only_files: bool) {
        let Some(path) = path.strip_prefix(&self.root).ok().and_then(Path::to_str) else { return };
        let name = path.rsplit('/').next().unwrap_or(path);
        // Kubernetes and git-sync put new contents in place by moving a link named `..data` or such.
        if path.split('/').any(|name| name.starts_with("..")) {
            return self.everything();
        }
        let is_file = is_defaults(name) || is_dag_file(Path::new(name));
        if path.split('/').any(is_hidden) || (only_files && !is_file) {
            return;
        }
        let mut changed = self.changed.lock().unwrap_or_else(PoisonError::into_inner);
        if let Changed::Paths(paths) = &mut *changed {
            paths.insert(path.to_owned());
            if paths.len() > MAX_PATHS {
                *changed = Changed::Everything;
            }
        }
        self.heard.notify_one();
    }

    fn everything(&self) {
        *self.changed.lock().unwrap_or_else(PoisonError::into_inner) = Changed::Everything;
        self.heard.notify_one();
    }
}

impl Watch {
    /// Tells `pending` of changes, as far as the kernel does.
    pub(super) fn new(pending: Arc<Pending>) -> Self {
        match RecommendedWatcher::new(move |event| pending.hear(event), Config::default()) {
            Ok(watcher) => Self { watcher: Some(watcher), watched: HashMap::new(), deaf: None },
            Err(error) => Self { watcher: None, watched: HashMap::new(), deaf: Some(error.to_string()) },
        }
    }

    /// Watches a folder. One that is watched already costs nothing.
    pub(super) fn add(&mut self, folder: &Path, id: FolderId) {
        let Some(watcher) = &mut self.watcher else { return };
        match self.watched.get(folder) {
            Some(known) if *known == id => return,
            // Another folder has taken its path. The kernel may have dropped the watch already.
            Some(_) => drop(watcher.unwatch(folder)),
            None => {}
        }
        match watcher.watch(folder, RecursiveMode::NonRecursive) {
            Ok(()) => {
                self.watched.insert(folder.to_path_buf(), id);
            }
            Err(error) => {
                self.watched.remove(folder);
                if matches!(error.kind, ErrorKind::MaxFilesWatch) {
                    self.deaf =
                        Some("the limit fs.inotify.max_user_watches is reached: raise it with sysctl".to_owned());
                }
                // Else it is gone or may not be read, and the walk says so.
            }
        }
    }

    /// Forgets folders that a full look has not seen.
    pub(super) fn retain(&mut self, seen: &HashSet<PathBuf>) {
        let Some(watcher) = &mut self.watcher else { return };
        self.watched.retain(|folder, _| {
            if !seen.contains(folder) {
                // The kernel has dropped the watch of a folder that is gone.
                drop(watcher.unwatch(folder));
            }
            seen.contains(folder)
        });
    }

    /// Why changes may go unheard, if they may. Asking sets it back: the next full look finds out anew.
    pub(super) fn take_deafness(&mut self) -> Option<String> {
        if self.watcher.is_none() { self.deaf.clone() } else { self.deaf.take() }
    }
}

#[cfg(test)]
mod tests {
    use notify::event::{CreateKind, DataChange, RemoveKind};

    use super::*;

    fn check(kind: EventKind, path: &str, expected: &Changed) {
        let pending = Pending::new("/dags".into());
        pending.hear(Ok(Event::new(kind).add_path(Path::new("/dags").join(path))));
        assert_eq!(&pending.take(), expected, "{kind:?} {path}");
        assert_eq!(pending.take(), Changed::Paths(BTreeSet::new()), "taken");
    }

    #[test]
    fn only_what_may_change_dags_is_heard() {
        let written = EventKind::Modify(ModifyKind::Data(DataChange::Any));
        let closed = EventKind::Access(AccessKind::Close(AccessMode::Write));
        let opened = EventKind::Access(AccessKind::Open(AccessMode::Any));
        let created = EventKind::Create(CreateKind::Any);
        let removed = EventKind::Remove(RemoveKind::Any);
        let nothing = Changed::Paths(BTreeSet::new());
        let path = |path: &str| Changed::Paths(BTreeSet::from([path.to_owned()]));
        check(written, "a/b.yml", &path("a/b.yml"));
        check(closed, "a/b.yml", &path("a/b.yml"));
        check(opened, "a/b.yml", &nothing);
        check(written, "a/data.csv", &nothing);
        check(written, "defaults.yml", &path("defaults.yml"));
        check(created, "folder", &path("folder"));
        check(removed, "folder", &path("folder"));
        check(removed, "", &path(""));
        check(created, "a/.b.yml.swp", &nothing);
        check(created, ".git/b.yml", &nothing);
        check(created, "..data", &Changed::Everything);
        check(EventKind::Other, "../outside.yml", &Changed::Everything);
    }

    #[test]
    fn a_flood_is_one_full_look() {
        let pending = Pending::new("/dags".into());
        for number in 0..=MAX_PATHS {
            let created = EventKind::Create(CreateKind::Any);
            pending.hear(Ok(Event::new(created).add_path(format!("/dags/{number}.yml").into())));
        }
        assert_eq!(pending.take(), Changed::Everything);
        pending.hear(Err(notify::Error::generic("overflow")));
        assert_eq!(pending.take(), Changed::Everything);
    }
}
