//! Keys of groups that are texts, as views.
//!
//! A view of up to twelve bytes is compared as one number; other texts are compared byte by byte, wherever they lie.

use std::collections::HashSet;
use std::sync::Arc;

use datafusion::arrow::datatypes::DataType;
use datafusion::common::Column;
use datafusion::common::tree_node::Transformed;
use datafusion::error::Result;
use datafusion::logical_expr::{Aggregate, Expr, ExprSchemable as _, LogicalPlan, LogicalPlanBuilder, cast};
use datafusion::optimizer::{ApplyOrder, OptimizerConfig, OptimizerRule};

/// The rule of the optimizer.
#[derive(Debug)]
pub(crate) struct KeysAsViews;

impl OptimizerRule for KeysAsViews {
    fn name(&self) -> &'static str {
        "keys_of_groups_as_views"
    }

    fn apply_order(&self) -> Option<ApplyOrder> {
        Some(ApplyOrder::TopDown)
    }

    fn rewrite(&self, plan: LogicalPlan, _config: &dyn OptimizerConfig) -> Result<Transformed<LogicalPlan>> {
        let LogicalPlan::Aggregate(aggregate) = plan else { return Ok(Transformed::no(plan)) };
        let mut is_text = Vec::with_capacity(aggregate.group_expr.len());
        for key in &aggregate.group_expr {
            if matches!(key, Expr::GroupingSet(_)) {
                return Ok(Transformed::no(LogicalPlan::Aggregate(aggregate)));
            }
            let kind = key.get_type(aggregate.input.schema().as_ref())?;
            is_text.push(matches!(kind, DataType::Utf8 | DataType::LargeUtf8));
        }
        // A key keeps its name, which has to be enough to tell it from other columns.
        let mut names = HashSet::new();
        let unique = aggregate.schema.fields().iter().all(|field| names.insert(field.name()));
        if !unique || !is_text.contains(&true) {
            return Ok(Transformed::no(LogicalPlan::Aggregate(aggregate)));
        }
        Ok(Transformed::yes(rewritten(&aggregate, &is_text)?))
    }
}

fn rewritten(aggregate: &Aggregate, is_text: &[bool]) -> Result<LogicalPlan> {
    let keys = aggregate.group_expr.iter().zip(is_text).zip(aggregate.schema.fields());
    let keys = keys.map(|((key, is_text), field)| match is_text {
        true => cast(key.clone(), DataType::Utf8View).alias(field.name()),
        false => key.clone(),
    });
    let inner = Aggregate::try_new(Arc::clone(&aggregate.input), keys.collect(), aggregate.aggr_expr.clone())?;
    let columns: Vec<Expr> = (0..inner.schema.fields().len())
        .map(|at| {
            let column = Expr::Column(Column::from(inner.schema.qualified_field(at)));
            let (qualifier, field) = aggregate.schema.qualified_field(at);
            if is_text.get(at) == Some(&true) {
                cast(column, field.data_type().clone()).alias_qualified(qualifier.cloned(), field.name())
            } else {
                column.alias_qualified(qualifier.cloned(), field.name())
            }
        })
        .collect();
    LogicalPlanBuilder::from(LogicalPlan::Aggregate(inner)).project(columns)?.build()
}
