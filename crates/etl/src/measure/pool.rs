//! A memory pool that remembers who has held how much, and that keeps a part for those who cannot do without.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};

use datafusion::common::resources_datafusion_err;
use datafusion::error::Result;
use datafusion::execution::memory_pool::{
    FairSpillPool, MemoryConsumer, MemoryLimit, MemoryPool, MemoryReservation, human_readable_size,
};

use super::HELD_SIDES;

#[derive(Debug, Default, Clone, Copy)]
struct Held {
    now: usize,
    most: usize,
}

/// DataFusion's fair pool, with the peak of each kind of consumer.
///
/// That pool lets a consumer that can go to disk have everything while it is alone, and the next one its share besides. A consumer that
/// cannot, such as a sum of one group or the merge of a sort, would then get nothing at all, depending on who came first. So those get a
/// part in any case, and whoever can go to disk does so the sooner.
#[derive(Debug)]
pub(crate) struct MeteredPool {
    inner: FairSpillPool,
    bytes: usize,
    /// What consumers that cannot go to disk get in any case, bytes.
    for_others: usize,
    held: Mutex<AllHeld>,
}

#[derive(Debug, Default)]
struct AllHeld {
    /// By the names of consumers, without their partitions.
    kinds: HashMap<String, Held>,
    /// What those hold that cannot go to disk, bytes.
    by_others: usize,
}

/// The name of a consumer without its partition.
fn kind(name: &str) -> &str {
    name.split(['[', '(']).next().unwrap_or(name).trim_end()
}

impl MeteredPool {
    /// A pool of so many bytes, of which `for_others` are there for consumers that cannot go to disk, whatever the others hold.
    pub(crate) fn new(bytes: usize, for_others: usize) -> Self {
        Self { inner: FairSpillPool::new(bytes), bytes, for_others, held: Mutex::default() }
    }

    /// What the consumers of that name have held together at most.
    pub(super) fn peak(&self, kind: &str) -> usize {
        self.lock().kinds.get(kind).map_or(0, |held| held.most)
    }

    /// Whether a consumer of that name has asked for memory, whether it got it or not.
    pub(super) fn has_asked(&self, kind: &str) -> bool {
        self.lock().kinds.contains_key(kind)
    }

    /// Whether a side of a join would have no room for the copy that the join makes of it when all of it has been read, which DataFusion
    /// asks nobody for.
    fn is_too_large_a_side(&self, all: &AllHeld, reservation: &MemoryReservation, additional: usize) -> bool {
        if !HELD_SIDES.contains(&kind(reservation.consumer().name())) {
            return false;
        }
        let sides: usize = HELD_SIDES.iter().filter_map(|kind| all.kinds.get(*kind)).map(|held| held.now).sum();
        self.inner.reserved() + sides + 2 * additional > self.bytes
    }

    fn lock(&self) -> MutexGuard<'_, AllHeld> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn change(all: &mut AllHeld, reservation: &MemoryReservation, change: impl Fn(usize) -> usize) {
        let kind = kind(reservation.consumer().name());
        if !all.kinds.contains_key(kind) {
            all.kinds.insert(kind.to_owned(), Held::default());
        }
        if let Some(held) = all.kinds.get_mut(kind) {
            held.now = change(held.now);
            held.most = held.most.max(held.now);
        }
        if !reservation.consumer().can_spill() {
            all.by_others = change(all.by_others);
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
        Self::change(&mut self.lock(), reservation, |now| now + additional);
    }

    fn shrink(&self, reservation: &MemoryReservation, shrink: usize) {
        self.inner.shrink(reservation, shrink);
        Self::change(&mut self.lock(), reservation, |now| now.saturating_sub(shrink));
    }

    fn try_grow(&self, reservation: &MemoryReservation, additional: usize) -> Result<()> {
        let mut all = self.lock();
        let grown = if self.is_too_large_a_side(&all, reservation, additional) {
            let (asked, has) = (human_readable_size(additional), human_readable_size(reservation.size()));
            let name = reservation.consumer().name();
            Err(resources_datafusion_err!(
                "Failed to allocate additional {asked} for {name} with {has} already allocated, and as much for its copy, in {self}"
            ))
        } else {
            self.inner.try_grow(reservation, additional).or_else(|error| {
                if reservation.consumer().can_spill() || all.by_others + additional > self.for_others {
                    return Err(error);
                }
                self.inner.grow(reservation, additional);
                Ok(())
            })
        };
        Self::change(&mut all, reservation, |now| if grown.is_ok() { now + additional } else { now });
        grown
    }

    fn reserved(&self) -> usize {
        self.inner.reserved()
    }

    fn memory_limit(&self) -> MemoryLimit {
        self.inner.memory_limit()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    #[test]
    fn consumers_that_cannot_spill_get_a_part_in_any_case() {
        let pool: Arc<dyn MemoryPool> = Arc::new(MeteredPool::new(1_600, 100));
        let join = MemoryConsumer::new("Join[0]").with_can_spill(true).register(&pool);
        join.try_grow(1_600).unwrap();
        let later = MemoryConsumer::new("Join[1]").with_can_spill(true).register(&pool);
        later.try_grow(800).unwrap();
        assert!(later.try_grow(1).is_err());
        let sum = MemoryConsumer::new("AggregateStream[0]").register(&pool);
        sum.try_grow(60).unwrap();
        assert!(sum.try_grow(41).is_err(), "more than their part");
        let other = MemoryConsumer::new("AggregateStream[1]").register(&pool);
        other.try_grow(40).unwrap();
        assert!(other.try_grow(1).is_err(), "all of them together");
        drop(sum);
        other.try_grow(60).unwrap();
        drop((join, later));
        other.try_grow(1_500).unwrap();
        drop(other);
        assert_eq!(pool.reserved(), 0);
    }

    #[test]
    fn a_side_of_a_join_leaves_room_for_its_copy() {
        let pool: Arc<dyn MemoryPool> = Arc::new(MeteredPool::new(1_600, 100));
        let side = |partition: usize| MemoryConsumer::new(format!("HashJoinInput[{partition}]")).register(&pool);
        let (first, second) = (side(0), side(1));
        first.try_grow(500).unwrap();
        let error = second.try_grow(301).unwrap_err().to_string();
        assert!(error.contains("HashJoinInput[1]") && error.contains("for its copy"), "{error}");
        second.try_grow(300).unwrap();
        assert!(first.try_grow(1).is_err(), "both sides have as much as can be copied");
        MemoryConsumer::new("AggregateStream[0]").register(&pool).try_grow(800).unwrap();
    }
}
