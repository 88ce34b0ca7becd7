//! A memory pool that remembers who has held how much.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Mutex, PoisonError};

use datafusion::error::Result;
use datafusion::execution::memory_pool::{FairSpillPool, MemoryConsumer, MemoryLimit, MemoryPool, MemoryReservation};

#[derive(Debug, Default, Clone, Copy)]
struct Held {
    now: usize,
    most: usize,
}

/// DataFusion's fair pool, with the peak of each kind of consumer.
#[derive(Debug)]
pub(crate) struct MeteredPool {
    inner: FairSpillPool,
    /// By the names of consumers, without their partitions.
    held: Mutex<HashMap<String, Held>>,
}

impl MeteredPool {
    pub(crate) fn new(bytes: usize) -> Self {
        Self { inner: FairSpillPool::new(bytes), held: Mutex::default() }
    }

    /// What the consumers of that name have held together at most.
    pub(super) fn peak(&self, kind: &str) -> usize {
        self.held.lock().unwrap_or_else(PoisonError::into_inner).get(kind).map_or(0, |held| held.most)
    }

    /// Whether a consumer of that name has asked for memory, whether it got it or not.
    pub(super) fn has_asked(&self, kind: &str) -> bool {
        self.held.lock().unwrap_or_else(PoisonError::into_inner).contains_key(kind)
    }

    fn change(&self, reservation: &MemoryReservation, change: impl FnOnce(usize) -> usize) {
        let name = reservation.consumer().name();
        let kind = name.split(['[', '(']).next().unwrap_or(name).trim_end();
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        if !held.contains_key(kind) {
            held.insert(kind.to_owned(), Held::default());
        }
        if let Some(held) = held.get_mut(kind) {
            held.now = change(held.now);
            held.most = held.most.max(held.now);
        }
    }
}

impl fmt::Display for MeteredPool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.inner.fmt(f)
    }
}

impl MemoryPool for MeteredPool {
    fn name(&self) -> &str {
        self.inner.name()
    }

    fn register(&self, consumer: &MemoryConsumer) {
        self.inner.register(consumer);
    }

    fn unregister(&self, consumer: &MemoryConsumer) {
        self.inner.unregister(consumer);
    }

    fn grow(&self, reservation: &MemoryReservation, additional: usize) {
        self.inner.grow(reservation, additional);
        self.change(reservation, |now| now + additional);
    }

    fn shrink(&self, reservation: &MemoryReservation, shrink: usize) {
        self.inner.shrink(reservation, shrink);
        self.change(reservation, |now| now.saturating_sub(shrink));
    }

    fn try_grow(&self, reservation: &MemoryReservation, additional: usize) -> Result<()> {
        let grown = self.inner.try_grow(reservation, additional);
        self.change(reservation, |now| if grown.is_ok() { now + additional } else { now });
        grown
    }

    fn reserved(&self) -> usize {
        self.inner.reserved()
    }

    fn memory_limit(&self) -> MemoryLimit {
        self.inner.memory_limit()
    }
}
