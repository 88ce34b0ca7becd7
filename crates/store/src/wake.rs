//! Wake-ups: who waits for work hears of it without polling.
//!
//! Register, then query, then wait: a [`tokio::sync::watch`] receiver that was marked as seen
//! before the query misses nothing that is committed after it.

use tokio::sync::watch;

/// What may have changed.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, strum::Display, strum::EnumString, strum::EnumIter,
)]
#[strum(serialize_all = "snake_case")]
pub enum Topic {
    /// Task instances have become `queued`.
    Work,
    /// Something that the scheduler decides on: runs, timers, DAGs.
    Schedule,
    /// An attempt must stop.
    Stop,
    /// Somebody is to be told of something.
    Alert,
    /// States or logs that somebody may be looking at.
    Progress,
}

/// One counter for each [`Topic`], bumped at every wake-up.
#[derive(Debug, Clone)]
pub struct Wakes {
    work: watch::Sender<u64>,
    schedule: watch::Sender<u64>,
    stop: watch::Sender<u64>,
    alert: watch::Sender<u64>,
    progress: watch::Sender<u64>,
}

impl Default for Wakes {
    fn default() -> Self {
        let new = || watch::channel(0).0;
        Self { work: new(), schedule: new(), stop: new(), alert: new(), progress: new() }
    }
}

impl Wakes {
    fn sender(&self, topic: Topic) -> &watch::Sender<u64> {
        match topic {
            Topic::Work => &self.work,
            Topic::Schedule => &self.schedule,
            Topic::Stop => &self.stop,
            Topic::Alert => &self.alert,
            Topic::Progress => &self.progress,
        }
    }

    /// A receiver that sees every wake-up from now on.
    #[must_use]
    pub fn subscribe(&self, topic: Topic) -> watch::Receiver<u64> {
        self.sender(topic).subscribe()
    }

    /// Wakes those who wait in this process.
    pub fn wake(&self, topic: Topic) {
        self.sender(topic).send_modify(|count| *count = count.wrapping_add(1));
    }
}
