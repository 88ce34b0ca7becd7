//! Start and stop: what signals mean, and the runtime that everything runs on.

use std::time::Duration;

use anyhow::Context;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

/// Blocking calls (file access, above all) that run at once; each costs a thread while it runs.
const MAX_BLOCKING_THREADS: usize = 32;
/// Idle threads are given back soon: an idle daemon should be small.
const THREAD_KEEP_ALIVE: Duration = Duration::from_secs(5);
/// Async threads; tasks are processes of their own, so the daemon itself needs few.
const MAX_WORKER_THREADS: usize = 4;

/// Signals that come this soon after the first are one with it: a terminal sends Ctrl-C to the whole process group, and a wrapper
/// such as `timeout` or `make` passes it on once more.
const ECHO: Duration = Duration::from_millis(100);

/// How a process is told to stop, in two steps.
#[derive(Debug, Clone, Default)]
pub(crate) struct Stop {
    /// Take no new work and finish what runs.
    pub(crate) soft: CancellationToken,
    /// End what runs, now.
    pub(crate) hard: CancellationToken,
}

impl Stop {
    /// Follows SIGTERM, SIGINT and SIGHUP: the first is soft; the second, or `grace` after the
    /// first, is hard; the third ends the process where it stands.
    ///
    /// # Errors
    /// When the signals cannot be watched.
    pub(crate) fn on_signals(grace: Duration) -> anyhow::Result<Self> {
        let watch = |kind| signal(kind).context("cannot watch signals");
        let mut terminate = watch(SignalKind::terminate())?;
        let mut interrupt = watch(SignalKind::interrupt())?;
        let mut hangup = watch(SignalKind::hangup())?;
        let mut next = async move || {
            tokio::select! {
                _ = terminate.recv() => "SIGTERM",
                _ = interrupt.recv() => "SIGINT",
                _ = hangup.recv() => "SIGHUP",
            }
        };
        let stop = Self::default();
        let followed = stop.clone();
        tokio::spawn(async move {
            let name = next().await;
            followed.soft.cancel();
            if grace.is_zero() {
                followed.hard.cancel();
            }
            let echo = tokio::time::sleep(ECHO);
            tokio::pin!(echo);
            loop {
                tokio::select! {
                    () = &mut echo => break,
                    _ = next() => {}
                }
            }
            if !grace.is_zero() {
                let grace_s = grace.as_secs();
                tracing::info!(signal = name, grace_s, "stopping; running tasks may finish, a second signal ends them");
                match tokio::time::timeout(grace, next()).await {
                    Ok(name) => tracing::info!(signal = name, "ending running tasks"),
                    Err(_) => tracing::warn!("the grace period is over; ending running tasks"),
                }
            }
            followed.hard.cancel();
            next().await;
            // Every process may die at any instruction without harm, and somebody insists.
            std::process::exit(130);
        });
        Ok(stop)
    }
}

/// The runtime of a daemon or of a foreground run.
///
/// # Errors
/// When its threads cannot be started.
pub(crate) fn runtime() -> anyhow::Result<tokio::runtime::Runtime> {
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(cores.min(MAX_WORKER_THREADS))
        .max_blocking_threads(MAX_BLOCKING_THREADS)
        .thread_keep_alive(THREAD_KEEP_ALIVE)
        .enable_all()
        .build()
        .context("cannot start the threads of the runtime")
}

/// The runtime of a command that asks the store and ends.
///
/// # Errors
/// When it cannot be started.
pub(crate) fn small_runtime() -> anyhow::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_current_thread().enable_all().build().context("cannot start the runtime")
}
