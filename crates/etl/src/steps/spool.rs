//! Rows that are read more than once: kept in memory, or in a file of the attempt when there are many.

use std::sync::Arc;

use datafusion::execution::memory_pool::MemoryLimit;
use datafusion::physical_plan::stream::RecordBatchReceiverStream;
use datafusion::prelude::{DataFrame, SessionContext};
use futures::StreamExt as _;

use super::waiting::Waiting;
use crate::error::Result;
use crate::measure::Measure;
use crate::stream::{Ordered, Stage, table};

/// The same rows, which can be read any number of times.
pub(super) async fn spool(session: &SessionContext, data: DataFrame) -> Result<DataFrame> {
    let input = Ordered::new(data).await?;
    let (schema, context) = (input.schema(), session.task_ctx());
    // What reads them needs memory as well.
    let most = match context.memory_pool().memory_limit() {
        MemoryLimit::Finite(bytes) => bytes / 8,
        MemoryLimit::Infinite | MemoryLimit::Unknown => usize::MAX,
    };
    let measure = Arc::new(Measure::default());
    let mut waiting = Waiting::new(Arc::clone(&schema), most, &context, &measure);
    let mut rows = input.stream(Arc::clone(&context))?;
    while let Some(batch) = rows.next().await {
        let batch = batch?;
        tokio::task::block_in_place(|| measure.time(|| waiting.push(batch)))?;
    }
    let kept = Arc::new(tokio::task::block_in_place(|| waiting.keep())?);
    let (result, before) = (Arc::clone(&schema), measure);
    table(session, schema, Stage::pass("keep rows", "", &input), move |_, measure| {
        // How the rows were kept is what this has done, however often they are read.
        measure.adopt(&before);
        let mut output = RecordBatchReceiverStream::builder(Arc::clone(&result), 2);
        let (sender, kept) = (output.tx(), Arc::clone(&kept));
        output.spawn_blocking(move || {
            let mut replay = kept.read()?;
            while let Some(batch) = replay.next()? {
                if sender.blocking_send(Ok(batch)).is_err() {
                    break;
                }
            }
            Ok(())
        });
        Ok(output.build())
    })
}
