//! The loop: passes, and the sleep between them. What a pass does stands in `run_loop/pass.rs`.

mod neighbours;
mod pass;

use std::path::PathBuf;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use towpath_dagfile::Limits;
use towpath_model::clock::SharedClock;
use towpath_store::{Store, Topic};

use self::pass::Pass;
use crate::dag_folder::{self, DagFolder};
use crate::outage::{Backoff, Outages};
use crate::{Error, ProcessIdentity};

/// Longest time without a look at the database: the safety net behind wake-ups.
const LONGEST_SLEEP: Duration = Duration::from_secs(10);
/// A lease outlives so many heartbeats.
const HEARTBEATS_PER_LEASE: u32 = 3;
/// Shortest time between two passes, so that a stream of wake-ups does not become a stream of queries.
const BREATH: Duration = Duration::from_millis(5);
/// How long new runs wait for the first look at the DAG files, which may have changed since.
const FIRST_LOOK: Duration = Duration::from_secs(30);
/// How long a goodbye may take.
const GOODBYE: Duration = Duration::from_secs(2);

/// What a scheduler needs.
#[derive(Debug, Clone)]
pub struct Options {
    pub store: Store,
    pub clock: SharedClock,
    /// Who it is.
    pub identity: ProcessIdentity,
    /// How often it says that it is alive; at least three times per lease and every 10 s.
    pub heartbeat: Duration,
    /// How long it counts as alive without a heartbeat.
    pub lease: Duration,
    /// `None`: another process reads the DAG files.
    pub dags_folder: Option<PathBuf>,
    /// Those of DAG files.
    pub limits: Limits,
    /// Whether new DAGs that do not say it themselves start paused.
    pub paused_by_default: bool,
    /// How often every DAG file is looked at, whatever the kernel tells.
    pub rescan: Duration,
}

/// A scheduler that has not been started.
#[derive(Debug)]
pub struct Scheduler {
    options: Options,
    ready: watch::Sender<bool>,
}

/// Follows a scheduler that runs.
#[derive(Debug, Clone)]
pub struct Handle {
    ready: watch::Receiver<bool>,
}

impl Handle {
    /// Waits until the DAG files have been read for the first time; false when the scheduler ends before.
    pub async fn ready(&mut self) -> bool {
        self.ready.wait_for(|ready| *ready).await.is_ok()
    }
}

impl Scheduler {
    /// A scheduler; it starts with [`Scheduler::run`].
    #[must_use]
    pub fn new(options: Options) -> Self {
        Self { options, ready: watch::Sender::new(false) }
    }

    /// Follows it from another task.
    #[must_use]
    pub fn handle(&self) -> Handle {
        Handle { ready: self.ready.subscribe() }
    }

    /// Schedules until `soft` is cancelled. A database that is away is waited for.
    ///
    /// # Errors
    /// [`Error::DagsFolder`] when the DAGs folder is missing at the start.
    pub async fn run(self, soft: CancellationToken) -> Result<(), Error> {
        let outages = Outages::default();
        let options = self.options;
        // Whichever part ends first, the other ends with it.
        let soft = soft.child_token();
        let _ends_with_it = soft.clone().drop_guard();
        let folder = match options.dags_folder.clone() {
            Some(folder) => Some(DagFolder::sharing(folder_options(&options, folder), outages.clone())?),
            None => None,
        };
        let first_look = folder.as_ref().map(DagFolder::ready);
        let following = folder.map(|folder| tokio::spawn(folder.run(soft.clone())));
        let looping = Loop::new(options, outages, first_look, self.ready).run(&soft);
        let Some(following) = following else {
            looping.await;
            return Ok(());
        };
        tokio::pin!(looping, following);
        let followed = tokio::select! {
            () = &mut looping => following.await,
            followed = &mut following => {
                soft.cancel();
                looping.await;
                followed
            }
        };
        followed.map_err(|error| Error::Ended { part: "follows the DAGs folder", reason: error.to_string() })
    }
}

fn folder_options(options: &Options, folder: PathBuf) -> dag_folder::Options {
    dag_folder::Options {
        store: options.store.clone(),
        clock: options.clock.clone(),
        folder,
        limits: options.limits,
        paused_by_default: options.paused_by_default,
        rescan: options.rescan,
    }
}

struct Loop {
    pass: Pass,
    outages: Outages,
    wakes: watch::Receiver<u64>,
    /// `None`: there is nothing to wait for (any more).
    first_look: Option<watch::Receiver<bool>>,
    first_look_until: Instant,
    ready: watch::Sender<bool>,
}

impl Loop {
    fn new(
        options: Options,
        outages: Outages,
        first_look: Option<watch::Receiver<bool>>,
        ready: watch::Sender<bool>,
    ) -> Self {
        let heartbeat = options.heartbeat.min(options.lease / HEARTBEATS_PER_LEASE).min(LONGEST_SLEEP);
        let wakes = options.store.wakes().subscribe(Topic::Schedule);
        let first_look_until = Instant::now() + FIRST_LOOK;
        let pass = Pass::new(options, heartbeat);
        Self { pass, outages, wakes, first_look, first_look_until, ready }
    }

    async fn run(mut self, soft: &CancellationToken) {
        let mut backoff = Backoff::default();
        while !soft.is_cancelled() {
            // From here on every wake-up is for the next pass.
            self.wakes.mark_unchanged();
            let may_create = self.has_looked();
            let sleep = match self.pass.run(may_create).await {
                Ok(sleep) => {
                    self.outages.over();
                    backoff = Backoff::default();
                    sleep
                }
                Err(error) => {
                    self.outages.begun(&error);
                    self.pass.database_was_away();
                    tokio::select! {
                        () = soft.cancelled() => {}
                        () = tokio::time::sleep(backoff.next()) => {}
                    }
                    continue;
                }
            };
            tokio::select! {
                () = soft.cancelled() => {}
                () = self.rest(sleep) => {}
            }
        }
        if tokio::time::timeout(GOODBYE, self.pass.end()).await.is_err() {
            tracing::warn!("the scheduler could not say goodbye in time: its lease will end");
        }
    }

    /// Whether the DAG files have been read, or have taken too long.
    fn has_looked(&mut self) -> bool {
        let has_looked = match &self.first_look {
            Some(looked) => *looked.borrow() || Instant::now() >= self.first_look_until,
            None => true,
        };
        if has_looked {
            self.first_look = None;
            self.ready.send_if_modified(|ready| !std::mem::replace(ready, true));
        }
        has_looked
    }

    /// Sleeps until `until` at the latest.
    async fn rest(&mut self, until: Instant) {
        tokio::time::sleep(BREATH).await;
        let looked = async {
            let Some(looked) = &mut self.first_look else { return std::future::pending().await };
            if looked.wait_for(|looked| *looked).await.is_err() {
                // Nobody reads the files any more: the time limit counts.
                tokio::time::sleep_until(self.first_look_until).await;
            }
        };
        tokio::select! {
            () = tokio::time::sleep_until(until) => {}
            () = looked => {}
            Ok(()) = self.wakes.changed() => {}
        }
    }
}
