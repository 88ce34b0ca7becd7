//! Joins without a way to the disk, as joins that have one; for the second plan of a job, whose first one has run out of memory.
//!
//! `x not in (select y ...)` keeps the values of the subquery in memory, since one null among them changes everything. Whether there is one
//! can be asked beforehand:
//!
//! ```text
//! select * from t where x not in (select y from u)
//! select t.* from t left anti join u on x = y, (select count(*) n, count(y) m from u) where n = 0 or (x is not null and n = m)
//! ```
//!
//! An anti join sorts. A product of two tables keeps one of them in memory; a join by a condition, of which it is a case, takes it in parts.

use std::sync::Arc;

use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::{Transformed, TreeNode as _};
use datafusion::common::{Column, JoinType};
use datafusion::error::Result;
use datafusion::functions_aggregate::expr_fn::count;
use datafusion::logical_expr::{Expr, Join, LogicalPlan, LogicalPlanBuilder, ident, lit};
use datafusion::optimizer::{ApplyOrder, OptimizerConfig, OptimizerRule};
use datafusion::physical_optimizer::PhysicalOptimizerRule;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::joins::{CrossJoinExec, NestedLoopJoinExec};

/// The columns of the second question.
const ALL: &str = "__not_in_all";
const KNOWN: &str = "__not_in_known";

/// `not in` as an anti join.
#[derive(Debug)]
pub(crate) struct NotIn;

impl OptimizerRule for NotIn {
    fn name(&self) -> &'static str {
        "not_in_as_anti_join"
    }

    fn apply_order(&self) -> Option<ApplyOrder> {
        Some(ApplyOrder::TopDown)
    }

    fn rewrite(&self, plan: LogicalPlan, _config: &dyn OptimizerConfig) -> Result<Transformed<LogicalPlan>> {
        let LogicalPlan::Join(join) = plan else { return Ok(Transformed::no(plan)) };
        let is_not_in = join.null_aware && join.join_type == JoinType::LeftAnti && join.filter.is_none();
        match join.on.as_slice() {
            [(left, right)] if is_not_in => {
                let (left, right) = (left.clone(), right.clone());
                Ok(Transformed::yes(anti_join(join, left, right)?))
            }
            _ => Ok(Transformed::no(LogicalPlan::Join(join))),
        }
    }
}

fn anti_join(join: Join, left: Expr, right: Expr) -> Result<LogicalPlan> {
    let columns: Vec<Expr> = join.schema.iter().map(|field| Expr::Column(Column::from(field))).collect();
    let none: [Expr; 0] = [];
    let facts = LogicalPlanBuilder::from(Arc::clone(&join.right))
        .aggregate(none, [count(lit(1)).alias(ALL), count(right).alias(KNOWN)])?;
    let plain = LogicalPlan::Join(Join { null_aware: false, ..join });
    let counts = ident(ALL).eq(lit(0_i64)).or(left.is_not_null().and(ident(ALL).eq(ident(KNOWN))));
    // The side that is kept comes first.
    facts.cross_join(plain)?.filter(counts)?.project(columns)?.build()
}

/// Products as joins by a condition.
#[derive(Debug)]
pub(crate) struct Products;

impl PhysicalOptimizerRule for Products {
    fn name(&self) -> &'static str {
        "products_in_parts"
    }

    fn schema_check(&self) -> bool {
        true
    }

    fn optimize(&self, plan: Arc<dyn ExecutionPlan>, _config: &ConfigOptions) -> Result<Arc<dyn ExecutionPlan>> {
        let changed = plan.transform_up(|plan| {
            let Some(product) = plan.downcast_ref::<CrossJoinExec>() else { return Ok(Transformed::no(plan)) };
            let (left, right) = (Arc::clone(product.left()), Arc::clone(product.right()));
            let join = NestedLoopJoinExec::try_new(left, right, None, &JoinType::Inner, None)?;
            Ok(Transformed::yes(Arc::new(join) as Arc<dyn ExecutionPlan>))
        });
        changed.map(|changed| changed.data)
    }
}
