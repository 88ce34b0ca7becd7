//! What a task may use, and DataFusion set up for it.

use std::path::PathBuf;
use std::sync::Arc;

use datafusion::config::SpillCompression;
use datafusion::execution::disk_manager::{DiskManagerBuilder, DiskManagerMode};
use datafusion::execution::runtime_env::RuntimeEnvBuilder;
use datafusion::execution::session_state::SessionStateBuilder;
use datafusion::prelude::{SessionConfig, SessionContext};

use crate::distinct::TwoLevels;
use crate::error::Result;
use crate::grouping::{InBuckets, KeysAsViews};
use crate::measure::{Meter, MeteredPool};
use crate::to_disk::{NotIn, Products};

/// Rows of a batch.
pub(crate) const BATCH_ROWS: usize = 8_192;
/// What a process needs besides the pool: program, stacks, buffers of readers and writers.
const BASE_BYTES: u64 = 96 * 1024 * 1024;
/// The smallest pool that is of any use.
const LEAST_POOL_BYTES: u64 = 32 * 1024 * 1024;

/// Below this pool groups are sorted on disk, as DataFusion does by itself: buckets need room for a table in each partition. A second
/// try sorts as well.
const LEAST_FOR_BUCKETS_BYTES: u64 = 64 * 1024 * 1024;

/// What a task may use.
#[derive(Debug, Clone)]
pub(crate) struct Resources {
    /// Memory that operators may hold, bytes; what does not fit goes to `scratch`.
    pub(crate) pool_bytes: usize,
    pub(crate) cores: usize,
    /// A folder of the attempt's own.
    pub(crate) scratch: PathBuf,
    pub(crate) joins: Joins,
    /// Groups are put together in buckets.
    pub(crate) in_buckets: bool,
}

/// How rows are joined.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Joins {
    /// One side is in memory; the other streams.
    Hash,
    /// Both sides are sorted, which goes to disk.
    Sort,
}

impl Resources {
    /// For a process with this limit, or with a share of the machine's memory.
    #[must_use]
    pub(crate) fn new(memory_bytes: Option<u64>, cores: Option<usize>, scratch: PathBuf, joins: Joins) -> Self {
        let available = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        let memory = memory_bytes.unwrap_or_else(|| machine_memory_bytes() / 4);
        // Half of a small limit, all but the base of a large one.
        let pool = memory.saturating_sub(BASE_BYTES).min(memory / 4 * 3).max(memory / 2).max(LEAST_POOL_BYTES);
        Self {
            pool_bytes: usize::try_from(pool).unwrap_or(usize::MAX),
            cores: cores.unwrap_or(available).clamp(1, 256),
            scratch,
            joins,
            in_buckets: joins == Joins::Hash && pool >= LEAST_FOR_BUCKETS_BYTES,
        }
    }

    /// A session within these limits, which `meter` looks at.
    ///
    /// # Errors
    /// When the scratch folder cannot be used.
    pub(crate) fn session(&self, meter: &Arc<Meter>) -> Result<SessionContext> {
        // DataFusion sorts for joins in several partitions only.
        let partitions = if self.joins == Joins::Sort { self.cores.max(2) } else { self.cores };
        // Each sort keeps a part back for its merge. A join sorts two sides, each in every partition, at the same time.
        let reservations = if self.joins == Joins::Sort { 32 * partitions } else { 16 };
        // And each holds whole batches: of a small pool the part of one sort has to have room for some.
        let batch_rows = match self.joins {
            Joins::Sort => (self.pool_bytes / (64 * 1024)).clamp(256, BATCH_ROWS),
            Joins::Hash => BATCH_ROWS,
        };
        let mut config = SessionConfig::new()
            .with_target_partitions(partitions)
            .with_batch_size(batch_rows)
            .with_spill_compression(SpillCompression::Lz4Frame)
            .with_sort_spill_reservation_bytes(self.pool_bytes / reservations)
            // A sort is a step like any other, also where SQL would not promise its order.
            .with_enable_subquery_sort_elimination(false)
            .with_information_schema(false);
        let options = config.options_mut();
        // Columns are called as they are written.
        options.sql_parser.enable_ident_normalization = false;
        options.optimizer.prefer_hash_join = self.joins == Joins::Hash;
        // Views share buffers of a megabyte, which a small batch is charged with as a whole.
        options.sql_parser.map_string_types_to_utf8view = self.joins == Joins::Hash;
        let disk = DiskManagerBuilder::default().with_mode(DiskManagerMode::Directories(vec![self.scratch.clone()]));
        // A sort merges what it has in memory before it goes to disk, which is the way out of the second try.
        let for_others = if self.joins == Joins::Sort { self.pool_bytes / 2 } else { self.pool_bytes / 16 };
        let pool = Arc::new(MeteredPool::new(self.pool_bytes, for_others));
        meter.set_pool(Arc::clone(&pool));
        let runtime = RuntimeEnvBuilder::new().with_memory_pool(pool).with_disk_manager_builder(disk).build_arc()?;
        let mut state =
            SessionStateBuilder::new().with_config(config).with_runtime_env(runtime).with_default_features();
        if self.in_buckets {
            state = state.with_physical_optimizer_rule(Arc::new(InBuckets));
        }
        if self.joins == Joins::Sort {
            state = state.with_optimizer_rule(Arc::new(NotIn)).with_physical_optimizer_rule(Arc::new(Products));
        }
        let session = SessionContext::new_with_state(state.build());
        session.add_optimizer_rule(Arc::new(TwoLevels));
        if self.in_buckets {
            session.add_optimizer_rule(Arc::new(KeysAsViews));
        }
        meter.attach(&session);
        Ok(session)
    }
}

/// The memory of the machine, or of the container around this process.
fn machine_memory_bytes() -> u64 {
    let read = |path: &str| std::fs::read_to_string(path).ok();
    let total = read("/proc/meminfo").and_then(|text| {
        let line = text.lines().find(|line| line.starts_with("MemTotal:"))?.to_owned();
        line.split_whitespace().nth(1)?.parse::<u64>().ok()
    });
    let container = read("/sys/fs/cgroup/memory.max").and_then(|text| text.trim().parse::<u64>().ok());
    let total = total.map_or(4 << 30, |kib| kib * 1024);
    container.map_or(total, |limit| limit.min(total))
}

#[cfg(test)]
mod tests {
    use datafusion::execution::memory_pool::MemoryConsumer;

    use super::*;

    #[test]
    fn sorts_may_merge_whatever_others_hold() {
        for (joins, part) in [(Joins::Hash, 16), (Joins::Sort, 2)] {
            let folder = tempfile::tempdir().unwrap();
            let resources = Resources::new(Some(1), Some(2), folder.path().to_owned(), joins);
            let session = resources.session(&Arc::default()).unwrap();
            let pool = &session.runtime_env().memory_pool;
            let sorter = MemoryConsumer::new("ExternalSorter[0]").with_can_spill(true).register(pool);
            sorter.try_grow(resources.pool_bytes).unwrap();
            let merge = MemoryConsumer::new("ExternalSorterMerge[0]").register(pool);
            merge.try_grow(resources.pool_bytes / part).unwrap();
            assert!(merge.try_grow(1).is_err(), "{joins:?}");
        }
    }
}
