//! The operator that groups bucket by bucket.

use std::fmt;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

use datafusion::arrow::array::RecordBatch;
use datafusion::arrow::datatypes::SchemaRef;
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::common::{exec_datafusion_err, internal_datafusion_err};
use datafusion::error::{DataFusionError, Result};
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_plan::aggregates::{AggregateExec, AggregateMode};
use datafusion::physical_plan::metrics::{BaselineMetrics, ExecutionPlanMetricsSet, MetricBuilder, MetricsSet};
use datafusion::physical_plan::stream::{RecordBatchReceiverStream, RecordBatchStreamAdapter};
use datafusion::physical_plan::streaming::{PartitionStream, StreamingTableExec};
use datafusion::physical_plan::{
    ChildrenPropertiesMode, DisplayAs, DisplayFormatType, ExecutionPlan, ExecutionPlanProperties as _, PlanProperties,
    ReplaceChildrenOptions,
};
use futures::future::{BoxFuture, FutureExt as _, Shared};
use futures::{Stream, StreamExt as _, TryStreamExt as _};
use tokio::task::JoinSet;

use super::buckets::{Bucket, Buckets};

/// Buckets of each partition. Four million groups are some sixty thousand in each of two times this: a table about as large as the
/// cache of a core.
const BUCKETS: usize = 32;
/// Buckets are put together until they have so many rows, or bytes in memory: below it a table is small, whatever is in it.
const LEAST_ROWS: usize = 32 * 1024;
const LEAST_BYTES: usize = 512 * 1024;

/// All rows, parted; each partition takes its buckets.
type Filled = Mutex<Vec<Option<Bucket>>>;
type Filling = Shared<BoxFuture<'static, Result<Arc<Filled>, Arc<DataFusionError>>>>;

/// The second half of a grouping, with the exchange by key that it needs.
pub(super) struct BucketedAggregate {
    /// What is done with each bucket.
    last: Arc<AggregateExec>,
    input: Arc<dyn ExecutionPlan>,
    keys: Vec<Arc<dyn PhysicalExpr>>,
    partitions: usize,
    metrics: ExecutionPlanMetricsSet,
    /// The work that all partitions wait for, and how many have asked for it. When all have, nothing of it is held here any more.
    filling: Mutex<Option<(Filling, usize)>>,
}

impl fmt::Debug for BucketedAggregate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BucketedAggregate").field("last", &self.last).finish_non_exhaustive()
    }
}

impl BucketedAggregate {
    pub(super) fn new(
        last: Arc<AggregateExec>,
        input: Arc<dyn ExecutionPlan>,
        keys: Vec<Arc<dyn PhysicalExpr>>,
        partitions: usize,
    ) -> Self {
        Self { last, input, keys, partitions, metrics: ExecutionPlanMetricsSet::new(), filling: Mutex::new(None) }
    }

    /// The work that all partitions share; it ends with the last of them that waits.
    fn filling(&self, context: &Arc<TaskContext>) -> Result<Filling> {
        let mut slot = self.filling.lock().unwrap_or_else(PoisonError::into_inner);
        let (filling, asked) = match slot.take() {
            Some((filling, asked)) => (filling, asked + 1),
            None => (self.fill(context)?, 1),
        };
        if asked < self.partitions {
            *slot = Some((filling.clone(), asked));
        }
        Ok(filling)
    }

    /// What puts rows of the same group together before all of them are there.
    fn reduction(
        &self,
        context: &Arc<TaskContext>,
    ) -> Result<Box<dyn Fn(Bucket) -> Result<SendableRecordBatchStream> + Send + Sync>> {
        let reduce = Arc::new(AggregateExec::try_new(
            AggregateMode::PartialReduce,
            self.last.group_expr().clone(),
            self.last.aggr_expr().to_vec(),
            self.last.filter_expr().to_vec(),
            Arc::clone(&self.input),
            self.last.input_schema(),
        )?);
        let (schema, context) = (self.input.schema(), Arc::clone(context));
        Ok(Box::new(move |bucket| grouped(&reduce, &schema, vec![bucket], &context)))
    }

    fn fill(&self, context: &Arc<TaskContext>) -> Result<Filling> {
        let buckets = Arc::new(Buckets::new(
            self.input.schema(),
            Arc::clone(context),
            self.partitions,
            BUCKETS,
            self.reduction(context)?,
            MetricBuilder::new(&self.metrics).spilled_bytes(0),
            MetricBuilder::new(&self.metrics).gauge("peak_mem_used", 0),
        ));
        let inputs = 0..self.input.output_partitioning().partition_count();
        let inputs = inputs.map(|partition| self.input.execute(partition, Arc::clone(context)));
        let inputs = inputs.collect::<Result<Vec<_>>>()?;
        let time = MetricBuilder::new(&self.metrics).elapsed_compute(0);
        let keys = self.keys.clone();
        let work = async move {
            // What is left of it is stopped when nobody waits any more.
            let mut tasks = JoinSet::new();
            for rows in inputs {
                let (buckets, keys, time) = (Arc::clone(&buckets), keys.clone(), time.clone());
                tasks.spawn(async move { buckets.fill(rows, &keys, &time).await });
            }
            while let Some(ended) = tasks.join_next().await {
                let ended = ended.map_err(|error| exec_datafusion_err!("a part of a grouping has ended: {error}"));
                ended.flatten().map_err(Arc::new)?;
            }
            let filled = buckets.finish().map_err(Arc::new)?.into_iter().map(Some).collect();
            Ok(Arc::new(Mutex::new(filled)))
        };
        Ok(work.boxed().shared())
    }
}

impl DisplayAs for BucketedAggregate {
    fn fmt_as(&self, kind: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.last.fmt_as(kind, f)?;
        write!(f, ", buckets={}", self.partitions * BUCKETS)
    }
}

impl ExecutionPlan for BucketedAggregate {
    fn name(&self) -> &'static str {
        "AggregateExec"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        self.last.properties()
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        vec![&self.input]
    }

    fn apply_expressions(
        &self,
        f: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>,
    ) -> Result<TreeNodeRecursion> {
        self.last.apply_expressions(f)
    }

    fn replace_children(
        self: Arc<Self>,
        children: Vec<Arc<dyn ExecutionPlan>>,
        _: ReplaceChildrenOptions,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let input = children.into_iter().next();
        let input = input.ok_or_else(|| internal_datafusion_err!("a grouping has an input"))?;
        Ok(Arc::new(Self::new(Arc::clone(&self.last), input, self.keys.clone(), self.partitions)))
    }

    fn with_new_children(self: Arc<Self>, children: Vec<Arc<dyn ExecutionPlan>>) -> Result<Arc<dyn ExecutionPlan>> {
        self.replace_children(children, ReplaceChildrenOptions::new(ChildrenPropertiesMode::Recompute))
    }

    fn execute(&self, partition: usize, context: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
        let (filling, partitions) = (self.filling(&context)?, self.partitions);
        let (last, of_rows) = (Arc::clone(&self.last), self.input.schema());
        let groups = async move {
            let filled = filling.await.map_err(DataFusionError::Shared)?;
            let mut buckets = filled.lock().unwrap_or_else(PoisonError::into_inner);
            let own: Vec<Bucket> =
                buckets.iter_mut().skip(partition).step_by(partitions).filter_map(Option::take).collect();
            drop(buckets);
            let groups = futures::stream::iter(runs(own)).map(move |run| grouped(&last, &of_rows, run, &context));
            Ok::<_, DataFusionError>(groups.try_flatten())
        };
        let measured = Measured {
            inner: futures::stream::once(groups).try_flatten().boxed(),
            metrics: BaselineMetrics::new(&self.metrics, partition),
        };
        Ok(Box::pin(RecordBatchStreamAdapter::new(self.schema(), measured)))
    }

    fn metrics(&self) -> Option<MetricsSet> {
        Some(self.metrics.clone_inner())
    }
}

/// What a grouping makes of some buckets.
fn grouped(
    grouping: &Arc<AggregateExec>,
    schema: &SchemaRef,
    buckets: Vec<Bucket>,
    context: &Arc<TaskContext>,
) -> Result<SendableRecordBatchStream> {
    let rows: Arc<dyn PartitionStream> = Arc::new(Run { schema: Arc::clone(schema), buckets: Mutex::new(buckets) });
    let source = StreamingTableExec::try_new(Arc::clone(schema), vec![rows], None, [], false, None)?;
    let options = ReplaceChildrenOptions::new(ChildrenPropertiesMode::Recompute);
    Arc::clone(grouping).replace_children(vec![Arc::new(source)], options)?.execute(0, Arc::clone(context))
}

/// Buckets that are put together at once.
fn runs(buckets: Vec<Bucket>) -> Vec<Vec<Bucket>> {
    let mut runs: Vec<Vec<Bucket>> = Vec::new();
    let (mut rows, mut bytes) = (usize::MAX, 0);
    for bucket in buckets.into_iter().filter(|bucket| bucket.rows() > 0) {
        if rows >= LEAST_ROWS || bytes >= LEAST_BYTES {
            runs.push(Vec::new());
            (rows, bytes) = (0, 0);
        }
        rows += bucket.rows();
        bytes += bucket.held_bytes();
        runs.last_mut().expect("one was begun").push(bucket);
    }
    runs
}

/// The rows of some buckets, to be read once.
struct Run {
    schema: SchemaRef,
    buckets: Mutex<Vec<Bucket>>,
}

impl fmt::Debug for Run {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("buckets")
    }
}

impl PartitionStream for Run {
    fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    fn execute(&self, _: Arc<TaskContext>) -> SendableRecordBatchStream {
        let buckets = std::mem::take(&mut *self.buckets.lock().unwrap_or_else(PoisonError::into_inner));
        if buckets.iter().all(|bucket| !bucket.has_file()) {
            let rows = futures::stream::iter(buckets).map(Bucket::read).map_ok(futures::stream::iter).try_flatten();
            return Box::pin(RecordBatchStreamAdapter::new(Arc::clone(&self.schema), rows));
        }
        let mut output = RecordBatchReceiverStream::builder(Arc::clone(&self.schema), 2);
        let sender = output.tx();
        output.spawn_blocking(move || {
            for bucket in buckets {
                for batch in bucket.read()? {
                    if sender.blocking_send(batch).is_err() {
                        return Ok(());
                    }
                }
            }
            Ok(())
        });
        output.build()
    }
}

/// What grouping the buckets gives, with the time that it takes.
struct Measured<S> {
    inner: S,
    metrics: BaselineMetrics,
}

impl<S: Stream<Item = Result<RecordBatch>> + Unpin> Stream for Measured<S> {
    type Item = Result<RecordBatch>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let time = self.metrics.elapsed_compute().clone();
        let timer = time.timer();
        let polled = self.inner.poll_next_unpin(context);
        timer.done();
        self.metrics.record_poll(polled)
    }
}
