//! What a task has done so far, measured while it works and kept when it is done.
//!
//! A job is several plans of DataFusion with sources and passes of this crate between them (see [`crate::stream`]). A [`Meter`] knows
//! which stands above which, so that all of them are shown as one tree: [`Meter::plan`] for the XCom `plan`, [`Meter::progress`] for the
//! log. It measures nothing itself: DataFusion counts in its metrics, sources and passes in a [`Measure`].

mod plan;
mod pool;
mod progress;

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::streaming::PartitionStream;
use datafusion::prelude::SessionContext;

pub(crate) use plan::{outline, table};
pub(crate) use pool::MeteredPool;
pub(crate) use progress::watch;
pub use towpath_model::etl::{MeasuredPlan, Operator};

/// What DataFusion calls the memory of the side of a join that is held, and of a product.
const HELD_SIDES: [&str; 2] = ["HashJoinInput", "CrossJoinExec"];

/// How long a plan that was given up may take to end: a thread may be in the middle of a read.
const LONGEST_END: Duration = Duration::from_secs(20);
const LOOK_AGAIN: Duration = Duration::from_millis(2);

/// What a source, a pass or a writer of this crate has done.
#[derive(Debug, Default)]
pub(crate) struct Measure {
    rows: AtomicU64,
    /// Time of its work, of all threads together.
    nanos: AtomicU64,
    /// Memory that it has reserved at most, bytes.
    memory_bytes: AtomicU64,
    spilled_bytes: AtomicU64,
}

impl Measure {
    pub(crate) fn add_rows(&self, rows: usize) {
        self.rows.fetch_add(rows as u64, Ordering::Relaxed);
    }

    pub(crate) fn rows(&self) -> u64 {
        self.rows.load(Ordering::Relaxed)
    }

    /// Does some work and adds the time that it takes.
    pub(crate) fn time<T>(&self, work: impl FnOnce() -> T) -> T {
        let start = Instant::now();
        let result = work();
        self.add_time(start.elapsed());
        result
    }

    pub(crate) fn add_time(&self, time: Duration) {
        self.nanos.fetch_add(u64::try_from(time.as_nanos()).unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    /// It holds so much now.
    pub(crate) fn holds(&self, bytes: usize) {
        self.memory_bytes.fetch_max(bytes as u64, Ordering::Relaxed);
    }

    /// Takes over what was measured elsewhere, save for rows.
    pub(crate) fn adopt(&self, other: &Self) {
        for (own, other) in [
            (&self.nanos, &other.nanos),
            (&self.memory_bytes, &other.memory_bytes),
            (&self.spilled_bytes, &other.spilled_bytes),
        ] {
            own.fetch_max(other.load(Ordering::Relaxed), Ordering::Relaxed);
        }
    }

    pub(crate) fn spilled(&self, bytes: u64) {
        self.spilled_bytes.fetch_add(bytes, Ordering::Relaxed);
    }
}

/// A source or a pass of this crate.
#[derive(Debug)]
struct Stage {
    /// Where it stands in plans of DataFusion; kept here so that no other gets its address.
    stream: Arc<dyn PartitionStream>,
    name: String,
    detail: String,
    measure: Arc<Measure>,
    /// What it reads from.
    input: Option<Arc<dyn ExecutionPlan>>,
}

#[derive(Debug, Default)]
struct Stages {
    stages: Vec<Stage>,
    /// What makes the rows of the result.
    root: Option<Arc<dyn ExecutionPlan>>,
    /// Where the result goes.
    target: String,
}

/// All that is measured of one job.
#[derive(Debug)]
pub struct Meter {
    start: Instant,
    stages: Mutex<Stages>,
    writing: Arc<Measure>,
    pool: Mutex<Option<Arc<MeteredPool>>>,
    /// Bytes of the files that sources of this crate read, as far as their sizes are known.
    own_bytes: AtomicU64,
    /// What they have read of them.
    read_bytes: Arc<AtomicU64>,
    /// Bytes of the files that DataFusion reads.
    other_bytes: AtomicU64,
    /// The size of some source is not known.
    is_open: std::sync::atomic::AtomicBool,
}

impl Default for Meter {
    fn default() -> Self {
        Self {
            start: Instant::now(),
            stages: Mutex::default(),
            writing: Arc::default(),
            pool: Mutex::default(),
            own_bytes: AtomicU64::new(0),
            read_bytes: Arc::default(),
            other_bytes: AtomicU64::new(0),
            is_open: std::sync::atomic::AtomicBool::new(false),
        }
    }
}

impl Meter {
    /// Lets sources and passes of this session find it.
    pub(crate) fn attach(self: &Arc<Self>, session: &SessionContext) {
        session.state_ref().write().config_mut().set_extension(Arc::clone(self));
    }

    /// The one of this session; one that nobody looks at where there is none.
    pub(crate) fn of(session: &SessionContext) -> Arc<Self> {
        session.copied_config().get_extension().unwrap_or_default()
    }

    fn lock(&self) -> MutexGuard<'_, Stages> {
        self.stages.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A source or pass that stands in plans as `stream`.
    pub(crate) fn add(
        &self,
        stream: Arc<dyn PartitionStream>,
        name: &str,
        detail: String,
        measure: Arc<Measure>,
        input: Option<Arc<dyn ExecutionPlan>>,
    ) {
        self.lock().stages.push(Stage { stream, name: name.to_owned(), detail, measure, input });
    }

    /// What makes the rows of the result.
    pub(crate) fn set_root(&self, plan: Arc<dyn ExecutionPlan>, target: String) {
        let mut stages = self.lock();
        stages.root = Some(plan);
        stages.target = target;
    }

    pub(crate) fn set_pool(&self, pool: Arc<MeteredPool>) {
        *self.pool.lock().unwrap_or_else(PoisonError::into_inner) = Some(pool);
    }

    /// Whether a join has asked for memory for one of its sides.
    pub(crate) fn has_hash_join(&self) -> bool {
        let pool = self.pool.lock().unwrap_or_else(PoisonError::into_inner);
        pool.as_ref().is_some_and(|pool| HELD_SIDES.iter().any(|kind| pool.has_asked(kind)))
    }

    /// The job begins anew, by another plan. The plan that was given up is held by nobody else, so it ends here; whether it was gone
    /// within some time, with its memory and its readers, is the result.
    pub(crate) async fn start_over(&self) -> bool {
        *self.lock() = Stages::default();
        let pool = self.pool.lock().unwrap_or_else(PoisonError::into_inner).take();
        self.writing.rows.store(0, Ordering::Relaxed);
        for bytes in [&self.own_bytes, &self.read_bytes, &self.other_bytes] {
            bytes.store(0, Ordering::Relaxed);
        }
        // Tasks that were told to end do so at their next step, threads when they find nobody who takes what they have read. All of them
        // hold the pool: rows, streams and plans by their reservations and contexts, readers on purpose.
        let Some(pool) = pool.map(|pool| Arc::downgrade(&pool)) else { return true };
        let end = Instant::now() + LONGEST_END;
        while pool.strong_count() > 0 && Instant::now() < end {
            tokio::time::sleep(LOOK_AGAIN).await;
        }
        pool.strong_count() == 0
    }

    /// What writes the result.
    pub(crate) fn writing(&self) -> Arc<Measure> {
        Arc::clone(&self.writing)
    }

    /// A source of this crate has a file of this size; `None` where nobody knows.
    pub(crate) fn expects(&self, bytes: Option<u64>) {
        match bytes {
            Some(bytes) => drop(self.own_bytes.fetch_add(bytes, Ordering::Relaxed)),
            None => self.is_open.store(true, Ordering::Relaxed),
        }
    }

    /// DataFusion reads a file of this size.
    pub(crate) fn expects_of_plans(&self, bytes: u64) {
        self.other_bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    /// Counts what sources of this crate have read.
    pub(crate) fn read_bytes(&self) -> Arc<AtomicU64> {
        Arc::clone(&self.read_bytes)
    }
}
