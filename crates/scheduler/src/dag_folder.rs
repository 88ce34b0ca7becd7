//! The DAGs folder: what its files say is what the store has, a moment later.
//!
//! ```text
//!   kernel --> Pending (watch) --+
//!   every minute: everything ----+--> which files (walk) --> read them (read) --> Ledger --> store
//!   a second look, 0.1 s later --+                                                  |
//!         ^------------------- bad news, the first time ----------------------------+
//! ```
//!
//! Rules:
//! - A broken file keeps its DAGs in their last good version and has an import error.
//! - A DAG whose file is gone or does not define it any more is deactivated; its history stays.
//! - A DAG that two files define belongs to the first by path; the other file has an import error.
//! - Bad news (an error, a lost DAG, a missing file) is looked at again after a moment before it is
//!   believed, since editors truncate, move and write again.
//! - What could not be looked at is not gone: its DAGs stay.
//!
//! Not here: what a file means (`towpath_dagfile`), and when a DAG runs.

mod ledger;
mod read;
mod sync;
#[cfg(test)]
mod tests;
mod walk;
mod watch;

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch as signal;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use towpath_dagfile::Limits;
use towpath_model::clock::SharedClock;
use towpath_store::Store;

use self::ledger::Ledger;
use self::read::{Compile, DagFiles};
use self::walk::{FolderId, Listing, Stamp};
use self::watch::{Changed, Pending, Watch};
use crate::Error;
use crate::outage::{GivenUp, Outages};

/// How long changes are gathered before they are looked at.
const GATHER: Duration = Duration::from_millis(40);
/// When bad news is looked at again.
const SECOND_LOOK: Duration = Duration::from_millis(100);
/// How often everything is looked at where changes may go unheard.
const DEAF_RESCAN: Duration = Duration::from_secs(3);
/// How often a DAGs folder behind a symbolic link is compared with what is watched.
const LINK_CHECK: Duration = Duration::from_secs(2);

/// What the watcher of a DAGs folder needs.
#[derive(Debug, Clone)]
pub struct Options {
    pub store: Store,
    pub clock: SharedClock,
    pub folder: PathBuf,
    pub limits: Limits,
    /// Whether new DAGs that do not say it themselves start paused.
    pub paused_by_default: bool,
    /// How often every file is looked at, whatever the kernel tells.
    pub rescan: Duration,
}

/// Keeps the store up to date with a DAGs folder.
#[derive(Debug)]
pub struct DagFolder {
    options: Options,
    /// The folder's absolute path; symbolic links in it are kept.
    root: PathBuf,
    compile: Arc<dyn Compile>,
    outages: Outages,
    ledger: Ledger,
    defaults: BTreeMap<String, Stamp>,
    pending: Arc<Pending>,
    /// Taken while a look is under way.
    watch: Option<Watch>,
    root_id: Option<FolderId>,
    /// The way to the folder leads through a symbolic link, which may be moved.
    is_behind_link: bool,
    last_full_look: Instant,
    /// Bad news, with the time of the second look at it.
    doubts: BTreeMap<String, Instant>,
    /// The last full look has reached every file.
    ready: signal::Sender<bool>,
    is_deaf: bool,
    is_missing: bool,
}

/// What to look at.
#[derive(Debug)]
enum Target {
    Everything,
    /// What is at and below these paths.
    Paths(BTreeSet<String>),
}

/// Everything that one look has to read and to take away.
#[derive(Debug, Default)]
struct Found {
    changed: Vec<(String, Stamp)>,
    problems: BTreeMap<String, String>,
    gone: Vec<String>,
}

impl DagFolder {
    /// A watcher of `options.folder`; it starts with [`DagFolder::run`].
    ///
    /// # Errors
    /// [`Error::DagsFolder`] when the folder is missing or cannot be read.
    pub fn new(options: Options) -> Result<Self, Error> {
        let compile = Arc::new(DagFiles(options.limits));
        Self::with(options, compile, Outages::default())
    }

    pub(crate) fn sharing(options: Options, outages: Outages) -> Result<Self, Error> {
        let compile = Arc::new(DagFiles(options.limits));
        Self::with(options, compile, outages)
    }

    fn with(options: Options, compile: Arc<dyn Compile>, outages: Outages) -> Result<Self, Error> {
        let folder = &options.folder;
        let unusable = |source| Error::DagsFolder { folder: folder.clone(), source };
        let root = std::path::absolute(folder).map_err(unusable)?;
        std::fs::read_dir(&root).map_err(unusable)?;
        let pending = Pending::new(root.clone());
        Ok(Self {
            watch: Some(Watch::new(Arc::clone(&pending))),
            is_behind_link: root.canonicalize().is_ok_and(|real| real != root),
            root,
            compile,
            outages,
            ledger: Ledger::default(),
            defaults: BTreeMap::new(),
            pending,
            root_id: None,
            last_full_look: Instant::now(),
            doubts: BTreeMap::new(),
            ready: signal::Sender::new(false),
            is_deaf: false,
            is_missing: false,
            options,
        })
    }

    /// Turns true when all files have been read for the first time.
    #[must_use]
    pub fn ready(&self) -> signal::Receiver<bool> {
        self.ready.subscribe()
    }

    /// Reads every file once and brings the store up to date, without watching for changes.
    pub async fn sync_once(&mut self, soft: CancellationToken) {
        // Stopped half-way, the next start does the rest.
        let _ = self.start(&soft).await;
    }

    /// Follows the folder until `soft` is cancelled.
    pub async fn run(mut self, soft: CancellationToken) {
        if self.start(&soft).await.is_ok() {
            while !soft.is_cancelled() {
                let target = tokio::select! {
                    () = soft.cancelled() => break,
                    target = self.wait() => target,
                };
                if self.look(target, &soft).await.is_err() {
                    break;
                }
            }
        }
        tracing::debug!("the DAGs folder is followed no more");
    }

    /// What the store remembers, then everything that is there.
    async fn start(&mut self, soft: &CancellationToken) -> Result<(), GivenUp> {
        let begun = Instant::now();
        self.recall(soft).await?;
        self.look(Target::Everything, soft).await?;
        let files = self.ledger.below("").count();
        let broken = self.ledger.broken();
        let took_ms = begun.elapsed().as_millis() as u64;
        tracing::info!(files, broken, took_ms, "the DAGs folder {} has been read", self.root.display());
        self.ready.send_replace(true);
        Ok(())
    }

    /// Waits until there is something to look at.
    async fn wait(&mut self) -> Target {
        let rescan = if self.is_deaf || self.is_missing { DEAF_RESCAN } else { self.options.rescan };
        let rescan_at = self.last_full_look + rescan;
        let second_look = self.doubts.values().min().copied();
        let second_look_at = second_look.unwrap_or(rescan_at).min(rescan_at);
        loop {
            tokio::select! {
                () = self.pending.heard() => {
                    tokio::time::sleep(GATHER).await;
                    match self.pending.take() {
                        Changed::Everything => return Target::Everything,
                        Changed::Paths(paths) if !paths.is_empty() => return Target::Paths(paths),
                        Changed::Paths(_) => {}
                    }
                }
                () = tokio::time::sleep_until(second_look_at) => {
                    return match second_look {
                        Some(at) if at <= second_look_at => Target::Paths(self.due_doubts()),
                        Some(_) | None => Target::Everything,
                    };
                }
                () = tokio::time::sleep(LINK_CHECK), if self.is_behind_link => {
                    if self.root_id != folder_id(&self.root).await {
                        return Target::Everything;
                    }
                }
            }
        }
    }

    fn due_doubts(&self) -> BTreeSet<String> {
        let now = Instant::now();
        self.doubts.iter().filter(|(_, at)| **at <= now).map(|(file, _)| file.clone()).collect()
    }

    /// Looks at what may have changed and tells the store.
    async fn look(&mut self, mut target: Target, soft: &CancellationToken) -> Result<(), GivenUp> {
        let root_id = folder_id(&self.root).await;
        if root_id != self.root_id {
            // Another folder stands there now: nothing of what was watched is of use.
            self.watch = Some(Watch::new(Arc::clone(&self.pending)));
            self.root_id = root_id;
            target = Target::Everything;
        }
        if matches!(target, Target::Everything) {
            self.last_full_look = Instant::now();
        }
        let certain = self.ready.borrow().then(|| self.due_doubts());
        let listing = self.list(&target).await;
        let problem = listing.as_ref().and_then(|listing| listing.problems.get("")).map(String::as_str);
        let is_there = self.note_missing(problem, root_id.is_none());
        let Some(listing) = listing.filter(|_| is_there) else {
            // Full looks follow until it is back.
            self.doubts.clear();
            return Ok(());
        };
        let found = self.compare(&target, listing);
        self.apply(found, certain.as_ref(), soft).await
    }

    /// Walks, and watches the folders on the way.
    async fn list(&mut self, target: &Target) -> Option<Listing> {
        let mut watch = self.watch.take().unwrap_or_else(|| Watch::new(Arc::clone(&self.pending)));
        let paths = match target {
            Target::Everything => None,
            Target::Paths(paths) => Some(paths.clone()),
        };
        let root = self.root.clone();
        let walked = tokio::task::spawn_blocking(move || {
            let listing = walk_all(&root, paths.as_ref(), &mut watch);
            let deafness = paths.is_none().then(|| watch.take_deafness());
            (listing, watch, deafness)
        });
        match walked.await {
            Ok((listing, watch, deafness)) => {
                self.watch = Some(watch);
                if let Some(deafness) = deafness {
                    self.note_deafness(deafness.as_deref());
                }
                Some(listing)
            }
            Err(error) => {
                tracing::error!("a look at the DAGs folder has failed: {error}");
                // With the watch lost, everything has to be watched anew.
                self.root_id = None;
                None
            }
        }
    }

    fn note_deafness(&mut self, reason: Option<&str>) {
        if let Some(reason) = reason.filter(|_| !self.is_deaf) {
            let every_s = DEAF_RESCAN.as_secs();
            tracing::warn!(
                every_s,
                "changes in {} are looked for, as they cannot all be heard of: {reason}",
                self.root.display()
            );
        }
        self.is_deaf = reason.is_some();
    }

    /// Whether the folder itself can be read; its DAGs go on if not.
    fn note_missing(&mut self, problem: Option<&str>, is_gone: bool) -> bool {
        let was_missing = std::mem::replace(&mut self.is_missing, is_gone || problem.is_some());
        let folder = self.root.display();
        match (was_missing, self.is_missing) {
            (false, true) => {
                let problem = problem.unwrap_or("it is gone");
                tracing::warn!("the DAGs folder {folder} is out of reach, its DAGs go on as they are: {problem}");
            }
            (true, false) => tracing::info!("the DAGs folder {folder} is back"),
            (true, true) | (false, false) => {}
        }
        !self.is_missing
    }

    /// What of a listing is news.
    fn compare(&mut self, target: &Target, listing: Listing) -> Found {
        let everything = BTreeSet::from([String::new()]);
        let scopes = match target {
            Target::Everything => &everything,
            Target::Paths(paths) => paths,
        };
        let mut gone = BTreeSet::new();
        for scope in scopes {
            gone.extend(self.ledger.below(scope).filter(|file| !listing.may_hold(file)).map(str::to_owned));
        }
        let mut reread = BTreeSet::new();
        for folder in self.changed_defaults(scopes, &listing) {
            reread.extend(self.ledger.below(&folder).map(str::to_owned));
        }
        let mut changed: BTreeMap<String, Stamp> = BTreeMap::new();
        for (file, stamp) in listing.files {
            // What was heard of has changed, whatever its stamp says.
            if reread.contains(&file) || scopes.contains(&file) || !self.ledger.is_current(&file, stamp) {
                changed.insert(file, stamp);
            }
        }
        for file in reread {
            // Read for the sake of defaults that were looked at without it.
            if !changed.contains_key(&file)
                && !gone.contains(&file)
                && !listing.problems.contains_key(&file)
                && let Some(stamp) = Stamp::read(&self.root.join(&file))
            {
                changed.insert(file, stamp);
            }
        }
        Found { changed: changed.into_iter().collect(), problems: listing.problems, gone: gone.into_iter().collect() }
    }

    /// Folders whose defaults are new, changed or gone.
    fn changed_defaults(&mut self, scopes: &BTreeSet<String>, listing: &Listing) -> BTreeSet<String> {
        let in_scope = |file: &str| scopes.iter().any(|scope| walk::is_below(file, scope));
        let mut changed: Vec<String> =
            self.defaults.keys().filter(|file| in_scope(file) && !listing.may_hold(file)).cloned().collect();
        for file in &changed {
            self.defaults.remove(file);
        }
        let is_first = !*self.ready.borrow();
        for (file, stamp) in &listing.defaults {
            if self.defaults.insert(file.clone(), *stamp) != Some(*stamp) && !is_first {
                changed.push(file.clone());
            }
        }
        changed.iter().map(|file| file.rsplit_once('/').map_or("", |(folder, _)| folder).to_owned()).collect()
    }
}

fn walk_all(root: &Path, paths: Option<&BTreeSet<String>>, watch: &mut Watch) -> Listing {
    let mut listing = Listing::default();
    let mut seen = HashSet::new();
    let mut on_folder = |folder: &Path, id: FolderId| {
        watch.add(folder, id);
        seen.insert(folder.to_path_buf());
    };
    match paths {
        None => walk::list(root, "", &mut listing, &mut on_folder),
        Some(paths) => paths.iter().for_each(|path| walk::list(root, path, &mut listing, &mut on_folder)),
    }
    if paths.is_none() {
        watch.retain(&seen);
    }
    listing
}

async fn folder_id(root: &Path) -> Option<FolderId> {
    tokio::fs::metadata(root).await.ok().filter(std::fs::Metadata::is_dir).map(|metadata| FolderId::of(&metadata))
}
