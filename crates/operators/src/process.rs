//! Child processes: started in a process group of their own, followed, and never left behind.
//!
//! A [`Supervisor`] belongs to a worker. It runs commands to their end ([`Supervisor::run`]) and keeps the
//! [`crate::watchdog`] informed, so that a worker that is killed leaves no task running.
//!
//! What is not promised: a process that leaves its group on purpose (`setsid`) is out of reach.

mod environment;
mod folder;
mod run;

use std::collections::HashSet;
use std::ffi::OsString;
use std::io::Write;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{ChildStdin, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;

use crate::watchdog;

pub use environment::{base as base_environment, context as context_environment};
pub use folder::WorkFolder;
pub use run::{Command, Exit};

/// How often a watchdog that has died is started again.
const MAX_RESTARTS: u32 = 3;
/// How long to wait for a group to vanish that has got SIGKILL. Only a process that the kernel cannot
/// interrupt, or a zombie that nobody reaps, lasts longer.
const KILL_WAIT: Duration = Duration::from_secs(2);

/// Why a process could not be run.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("cannot start `{program}`: {reason}")]
    Start { program: String, reason: String },
    #[error("cannot start `{program}`: there is no such program in PATH (`{path}`)")]
    NotFound { program: String, path: String },
    #[error("cannot start `{program}` in `{}`: {reason}", folder.display())]
    Folder { program: String, folder: PathBuf, reason: String },
    #[error("lost track of `{program}` (process {pid}): {source}")]
    Lost { program: String, pid: u32, source: std::io::Error },
    #[error("cannot start the watchdog `{}`: {source}", program.display())]
    Watchdog { program: PathBuf, source: std::io::Error },
}

/// How a [`Supervisor`] works.
#[derive(Debug, Clone)]
pub struct Options {
    /// The watchdog's program; `None` is the binary that is running.
    pub program: Option<PathBuf>,
    /// The argument that makes `program` a watchdog.
    pub arg: OsString,
    /// Time between SIGTERM and SIGKILL.
    pub grace: Duration,
}

impl Default for Options {
    fn default() -> Self {
        Self { program: None, arg: watchdog::ARG.into(), grace: Duration::from_secs(5) }
    }
}

/// Starts processes and ends their groups, also when this worker dies.
#[derive(Debug)]
pub struct Supervisor {
    options: Options,
    program: PathBuf,
    watched: Mutex<Watched>,
    programs: run::ProgramCache,
}

#[derive(Debug)]
struct Watched {
    /// The other end of the watchdog's stdin; `None` once it has died too often.
    pipe: Option<ChildStdin>,
    restarts: u32,
    groups: HashSet<i32>,
}

impl Supervisor {
    /// Starts the watchdog.
    ///
    /// # Errors
    /// [`Error::Watchdog`], when it cannot be started.
    pub fn new(options: Options) -> Result<Self, Error> {
        let program = match options.program.clone() {
            Some(program) => program,
            None => std::env::current_exe()
                .map_err(|source| Error::Watchdog { program: PathBuf::from("the running binary"), source })?,
        };
        let pipe = start_watchdog(&program, &options)?;
        let watched = Mutex::new(Watched { pipe: Some(pipe), restarts: 0, groups: HashSet::new() });
        Ok(Self { options, program, watched, programs: run::ProgramCache::default() })
    }

    /// Time between SIGTERM and SIGKILL.
    #[must_use]
    pub fn grace(&self) -> Duration {
        self.options.grace
    }

    /// From now on the process group dies with this worker.
    pub fn watch(&self, pgid: i32) {
        let mut watched = self.lock();
        watched.groups.insert(pgid);
        self.tell(&mut watched, pgid);
    }

    /// The process group is gone. To be called once its leader has been reaped and not later, since the kernel
    /// may give the number to somebody else.
    pub fn unwatch(&self, pgid: i32) {
        let mut watched = self.lock();
        watched.groups.remove(&pgid);
        self.tell(&mut watched, -pgid);
    }

    /// The groups that are being watched.
    #[must_use]
    pub fn watched(&self) -> Vec<i32> {
        self.lock().groups.iter().copied().collect()
    }

    fn lock(&self) -> MutexGuard<'_, Watched> {
        self.watched.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sends a message; a watchdog that has died is replaced and told everything anew.
    fn tell(&self, watched: &mut Watched, message: i32) {
        let Some(pipe) = &mut watched.pipe else { return };
        if pipe.write_all(&message.to_ne_bytes()).is_ok() {
            return;
        }
        watched.pipe = None;
        while watched.restarts < MAX_RESTARTS && watched.pipe.is_none() {
            watched.restarts += 1;
            let all: Vec<u8> = watched.groups.iter().flat_map(|group| group.to_ne_bytes()).collect();
            match start_watchdog(&self.program, &self.options) {
                Ok(mut pipe) => {
                    if pipe.write_all(&all).is_ok() {
                        watched.pipe = Some(pipe);
                    }
                }
                Err(error) => tracing::warn!(%error, "the watchdog has died and cannot be replaced"),
            }
        }
        if watched.pipe.is_none() {
            tracing::error!(
                program = %self.program.display(),
                "the watchdog keeps dying: if this worker is killed, its tasks will run on"
            );
        }
    }
}

/// Starts a watchdog in a group of its own, where a terminal's Ctrl-C does not reach it.
fn start_watchdog(program: &PathBuf, options: &Options) -> Result<ChildStdin, Error> {
    let mut child = std::process::Command::new(program)
        .arg(&options.arg)
        .env_clear()
        .current_dir("/")
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .process_group(0)
        .spawn()
        .map_err(|source| Error::Watchdog { program: program.clone(), source })?;
    Ok(child.stdin.take().expect("stdin is piped"))
}

/// Ends a process group: SIGTERM, then after `grace` SIGKILL. It is gone when this returns, except for processes that
/// even SIGKILL cannot end at once. The group's leader must be reaped by its parent meanwhile.
pub async fn terminate_group(pgid: i32, grace: Duration) {
    if signal_group(pgid, Signal::SIGTERM) && !wait_until_gone(pgid, grace).await {
        kill_group(pgid).await;
    }
}

/// Ends a process group with SIGKILL and waits until it is gone.
pub async fn kill_group(pgid: i32) {
    if signal_group(pgid, Signal::SIGKILL) && !wait_until_gone(pgid, KILL_WAIT).await {
        tracing::warn!(pgid, "a process group is still there after SIGKILL");
    }
}

/// Whether the group is gone, at the latest after `limit`.
async fn wait_until_gone(pgid: i32, limit: Duration) -> bool {
    let start = Instant::now();
    let mut pause = Duration::from_micros(200);
    loop {
        if !group_exists(pgid) {
            return true;
        }
        if start.elapsed() >= limit {
            return false;
        }
        // Nothing tells when a group that is not ours to wait for has ended, so it is asked, ever less often.
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(Duration::from_millis(50));
    }
}

/// Whether the group has a member, were it only a zombie.
fn group_exists(pgid: i32) -> bool {
    killpg(Pid::from_raw(pgid), None) != Err(Errno::ESRCH)
}

/// Whether there was somebody to get the signal. Zero and one would mean this process's own group and
/// every process, and are refused.
fn signal_group(pgid: i32, signal: Signal) -> bool {
    pgid > 1 && killpg(Pid::from_raw(pgid), signal) != Err(Errno::ESRCH)
}
