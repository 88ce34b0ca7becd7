//! Tables that are streams: how passes of this crate stand between plans of DataFusion.
//!
//! A pass such as `dedupe` needs the rows one after the other, in the order of the input. DataFusion promises no
//! order between partitions, hands files from one partition to another, and puts repartitions where it sees fit. So what
//! stands before such a pass is planned by itself, for one partition ([`Ordered::new`]), and its rows come to DataFusion again
//! as a table with one partition. Parallel work happens inside of sources and passes, which keep the order.

use std::fmt;
use std::sync::{Arc, Weak};

use datafusion::arrow::array::RecordBatch;
use datafusion::arrow::datatypes::SchemaRef;
use datafusion::catalog::streaming::StreamingTable;
use datafusion::catalog::{Session, TableProvider};
use datafusion::datasource::TableType;
use datafusion::execution::session_state::SessionStateBuilder;
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::logical_expr::{Expr, LogicalPlan};
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::streaming::PartitionStream;
use datafusion::physical_plan::{ExecutionPlan, execute_stream};
use datafusion::prelude::{DataFrame, SessionContext};
use futures::{StreamExt as _, TryStreamExt as _};

use crate::error::Result;
use crate::measure::{Measure, Meter};
use crate::session::BATCH_ROWS;

type Make = dyn Fn(Arc<TaskContext>, &Arc<Measure>) -> Result<SendableRecordBatchStream> + Send + Sync;

/// What a plan and the log call a source or a pass.
pub(crate) struct Stage<'a> {
    pub(crate) name: &'a str,
    /// Its columns, conditions or files.
    pub(crate) detail: String,
    /// What it reads from.
    pub(crate) input: Option<&'a Ordered>,
}

impl<'a> Stage<'a> {
    /// A source.
    pub(crate) fn source(name: &'a str, detail: impl Into<String>) -> Self {
        Self { name, detail: detail.into(), input: None }
    }

    /// A pass over rows.
    pub(crate) fn pass(name: &'a str, detail: impl Into<String>, input: &'a Ordered) -> Self {
        Self { name, detail: detail.into(), input: Some(input) }
    }
}

/// A table whose rows a function makes anew each time it is read.
struct Made {
    schema: SchemaRef,
    name: String,
    make: Box<Make>,
    measure: Arc<Measure>,
}

impl fmt::Debug for Made {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)
    }
}

impl PartitionStream for Made {
    fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    fn execute(&self, context: Arc<TaskContext>) -> SendableRecordBatchStream {
        let most_rows = context.session_config().batch_size();
        match (self.make)(context, &self.measure) {
            Ok(stream) => in_batches_of(most_rows, counted(stream, &self.measure)),
            Err(error) => {
                let failed = futures::stream::once(async move { Err(error.into()) });
                let schema = Arc::clone(&self.schema);
                Box::pin(RecordBatchStreamAdapter::new(schema, failed))
            }
        }
    }
}

/// A table of what `make` gives, which tells the [`Measure`] how much work that was; its rows are counted here.
pub(crate) fn table(
    session: &SessionContext,
    schema: SchemaRef,
    stage: Stage<'_>,
    make: impl Fn(Arc<TaskContext>, &Arc<Measure>) -> Result<SendableRecordBatchStream> + Send + Sync + 'static,
) -> Result<DataFrame> {
    let Stage { name, detail, input } = stage;
    let measure = Arc::new(Measure::default());
    let made: Arc<dyn PartitionStream> = Arc::new(Made {
        schema: Arc::clone(&schema),
        name: name.to_owned(),
        make: Box::new(make),
        measure: Arc::clone(&measure),
    });
    let input = input.map(|input| Arc::clone(&input.0));
    Meter::of(session).add(Arc::clone(&made), name, detail, measure, input);
    let table = StreamingTable::try_new(schema, vec![made])?;
    Ok(session.read_table(Arc::new(table))?)
}

type MakeColumns = dyn Fn(Arc<TaskContext>, &[usize], &Arc<Measure>) -> Result<SendableRecordBatchStream> + Send + Sync;

/// A table whose maker is told which columns are read, and makes no others.
struct OfColumns {
    schema: SchemaRef,
    name: String,
    detail: String,
    make: Arc<MakeColumns>,
    /// It holds what is scanned, which must not hold it.
    meter: Weak<Meter>,
}

impl fmt::Debug for OfColumns {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)
    }
}

#[async_trait::async_trait]
impl TableProvider for OfColumns {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    fn table_type(&self) -> TableType {
        TableType::View
    }

    async fn scan(
        &self,
        state: &dyn Session,
        projection: Option<&Vec<usize>>,
        filters: &[Expr],
        limit: Option<usize>,
    ) -> datafusion::error::Result<Arc<dyn ExecutionPlan>> {
        let wanted = projection.cloned().unwrap_or_else(|| (0..self.schema.fields().len()).collect());
        let schema = Arc::new(self.schema.project(&wanted)?);
        let make = Arc::clone(&self.make);
        let make = Box::new(move |context: Arc<TaskContext>, measure: &Arc<Measure>| make(context, &wanted, measure));
        let measure = Arc::new(Measure::default());
        let made: Arc<dyn PartitionStream> = Arc::new(Made {
            schema: Arc::clone(&schema),
            name: self.name.clone(),
            make,
            measure: Arc::clone(&measure),
        });
        if let Some(meter) = self.meter.upgrade() {
            meter.add(Arc::clone(&made), &self.name, self.detail.clone(), measure, None);
        }
        StreamingTable::try_new(schema, vec![made])?.scan(state, None, filters, limit).await
    }
}

/// A source of what `make` gives; it gets the places of the columns that are read.
pub(crate) fn table_of_columns(
    session: &SessionContext,
    schema: SchemaRef,
    stage: Stage<'_>,
    make: impl Fn(Arc<TaskContext>, &[usize], &Arc<Measure>) -> Result<SendableRecordBatchStream> + Send + Sync + 'static,
) -> Result<DataFrame> {
    let Stage { name, detail, .. } = stage;
    let meter = Arc::downgrade(&Meter::of(session));
    let table = OfColumns { schema, name: name.to_owned(), detail, make: Arc::new(make), meter };
    Ok(session.read_table(Arc::new(table))?)
}

/// The same rows, counted.
pub(crate) fn counted(rows: SendableRecordBatchStream, measure: &Arc<Measure>) -> SendableRecordBatchStream {
    let (schema, measure) = (rows.schema(), Arc::clone(measure));
    let counted = rows.inspect_ok(move |batch| measure.add_rows(batch.num_rows()));
    Box::pin(RecordBatchStreamAdapter::new(schema, counted))
}

/// The same rows in batches of `most_rows` at most, which the session asks for where memory is scarce: a sort must be able to hold two of
/// them to do anything at all.
fn in_batches_of(most_rows: usize, rows: SendableRecordBatchStream) -> SendableRecordBatchStream {
    if most_rows >= BATCH_ROWS {
        return rows;
    }
    let schema = rows.schema();
    let cut = move |batch: RecordBatch| {
        let starts = (0..batch.num_rows().max(1)).step_by(most_rows.max(1));
        let slices = starts.map(move |start| batch.slice(start, most_rows.min(batch.num_rows() - start)));
        futures::stream::iter(slices.map(Ok))
    };
    Box::pin(RecordBatchStreamAdapter::new(schema, rows.map_ok(cut).try_flatten()))
}

/// The same rows; the time that is spent on waiting for them is the stage's.
pub(crate) fn waited(rows: SendableRecordBatchStream, measure: &Arc<Measure>) -> SendableRecordBatchStream {
    let (schema, measure) = (rows.schema(), Arc::clone(measure));
    let timed = futures::stream::unfold(rows, move |mut rows| {
        let measure = Arc::clone(&measure);
        async move {
            let start = std::time::Instant::now();
            let next = rows.next().await;
            measure.add_time(start.elapsed());
            Some((next?, rows))
        }
    });
    Box::pin(RecordBatchStreamAdapter::new(schema, timed))
}

/// A plan whose rows come in the order of the input.
#[derive(Debug, Clone)]
pub(crate) struct Ordered(Arc<dyn ExecutionPlan>);

impl Ordered {
    /// Plans `data` so that the order of files and rows is kept, as far as there is one.
    pub(crate) async fn new(data: DataFrame) -> Result<Self> {
        let (state, plan) = data.into_parts();
        let mut config = state.config().clone().with_round_robin_repartition(false);
        if has_order(&plan) {
            config = config.with_target_partitions(1).with_repartition_file_scans(false);
        }
        let state = SessionStateBuilder::new_from_existing(state).with_config(config).build();
        Ok(Self(state.create_physical_plan(&plan).await?))
    }

    pub(crate) fn schema(&self) -> SchemaRef {
        self.0.schema()
    }

    pub(crate) fn plan(&self) -> &Arc<dyn ExecutionPlan> {
        &self.0
    }

    /// Its rows.
    pub(crate) fn stream(&self, context: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
        Ok(execute_stream(Arc::clone(&self.0), context)?)
    }
}

/// Whether an order that a sort has made has to be kept by what stands above it. DataFusion keeps it by itself where nothing
/// but a projection or a limit does.
pub(crate) fn sorts_below(plan: &LogicalPlan) -> bool {
    match plan {
        LogicalPlan::Sort(_) => false,
        LogicalPlan::Projection(_) | LogicalPlan::SubqueryAlias(_) | LogicalPlan::Limit(_) => {
            plan.inputs().into_iter().any(sorts_below)
        }
        plan => contains_sort(plan),
    }
}

fn contains_sort(plan: &LogicalPlan) -> bool {
    matches!(plan, LogicalPlan::Sort(_)) || plan.inputs().into_iter().any(contains_sort)
}

/// Whether rows leave a plan in the order in which they came: nothing in it groups or joins. What sorts makes an order of its
/// own and is better off in parallel.
pub(crate) fn has_order(plan: &LogicalPlan) -> bool {
    match plan {
        LogicalPlan::Aggregate(_)
        | LogicalPlan::Join(_)
        | LogicalPlan::Window(_)
        | LogicalPlan::Distinct(_)
        | LogicalPlan::RecursiveQuery(_)
        | LogicalPlan::Sort(_) => false,
        plan => plan.inputs().into_iter().all(has_order),
    }
}
