//! `group by` of many groups.
//!
//! DataFusion groups each part of the rows, moves what comes of that to the partition of its key, and puts it together there in one
//! hash table. With millions of groups the table is far larger than the caches of a core, and where it is larger than memory as well,
//! rows are sorted, written, and merged. Here they are parted by their key into many buckets, kept as they are, and put together
//! bucket by bucket: tables stay small, and what does not fit into memory is written once and read once, without sorting.
//!
//! It is still DataFusion's operator that groups: this is a rule that puts another exchange below it ([`exec::BucketedAggregate`]), and one
//! that lets keys that are texts be views ([`views::KeysAsViews`]).

mod buckets;
mod exec;
#[cfg(test)]
mod tests;
mod views;

use std::sync::Arc;

use datafusion::common::tree_node::{Transformed, TreeNode as _};
use datafusion::config::ConfigOptions;
use datafusion::error::Result;
use datafusion::physical_expr::Partitioning;
use datafusion::physical_optimizer::PhysicalOptimizerRule;
use datafusion::physical_plan::aggregates::{AggregateExec, AggregateMode};
use datafusion::physical_plan::repartition::RepartitionExec;
use datafusion::physical_plan::{ExecutionPlan, InputOrderMode};

pub(crate) use views::KeysAsViews;

/// The rule that groups by buckets.
#[derive(Debug)]
pub(crate) struct InBuckets;

impl PhysicalOptimizerRule for InBuckets {
    fn name(&self) -> &'static str {
        "group_in_buckets"
    }

    fn schema_check(&self) -> bool {
        true
    }

    fn optimize(&self, plan: Arc<dyn ExecutionPlan>, _: &ConfigOptions) -> Result<Arc<dyn ExecutionPlan>> {
        let rewritten = plan.transform_down(|node| {
            Ok(match bucketed(&node) {
                Some(bucketed) => Transformed::yes(bucketed as Arc<dyn ExecutionPlan>),
                None => Transformed::no(node),
            })
        });
        Ok(rewritten?.data)
    }
}

/// The second half of a grouping that an exchange by key stands below.
fn bucketed(plan: &Arc<dyn ExecutionPlan>) -> Option<Arc<exec::BucketedAggregate>> {
    let last = plan.downcast_ref::<AggregateExec>()?;
    // Groups that come in order need no table, and a limit ends early.
    let is_plain = *last.mode() == AggregateMode::FinalPartitioned
        && *last.input_order_mode() == InputOrderMode::Linear
        && last.limit_options().is_none()
        && !last.group_expr().is_true_no_grouping();
    let exchange = last.input().downcast_ref::<RepartitionExec>()?;
    let Partitioning::Hash(keys, partitions) = exchange.partitioning() else { return None };
    if !is_plain || exchange.preserve_order() {
        return None;
    }
    let input = Arc::clone(exchange.input());
    Some(Arc::new(exec::BucketedAggregate::new(Arc::new(last.clone()), input, keys.clone(), *partitions)))
}
