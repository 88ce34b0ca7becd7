//! `count(distinct x)` that goes to disk.
//!
//! DataFusion keeps a set of values for each group, which it cannot put aside in parts: a group with many values, or many groups, must fit
//! into memory. Grouping does go to disk. So a count of different values becomes two groupings,
//!
//! ```text
//! select k, count(distinct x), count(*), avg(y) from t group by k
//! select k, count(x), sum(n), sum(s) / sum(m) from (select k, x, count(*) n, sum(y) s, count(y) m from t group by k, x) group by k
//! ```
//!
//! which DataFusion does itself where all other aggregates are `sum`, `min` and `max`. With several counts of different columns
//! the inner one is by grouping sets, one for each column; the other aggregates are taken from the first set. What cannot be put together
//! from parts (`median`, `array_agg`, ...) leaves the plan as it is.

use std::sync::Arc;

use datafusion::arrow::datatypes::DataType;
use datafusion::common::tree_node::Transformed;
use datafusion::error::Result;
use datafusion::functions::expr_fn::coalesce;
use datafusion::functions_aggregate::expr_fn::{count, sum};
use datafusion::logical_expr::expr::{AggregateFunction, AggregateFunctionParams};
use datafusion::logical_expr::{
    Aggregate, Expr, ExprFunctionExt as _, ExprSchemable as _, GroupingSet, LogicalPlan, LogicalPlanBuilder, cast,
    ident, lit, when,
};
use datafusion::optimizer::{ApplyOrder, OptimizerConfig, OptimizerRule};

/// Most columns whose values are counted: more would multiply the rows too often.
const MOST_COUNTED: usize = 7;

/// The rule of the optimizer.
#[derive(Debug)]
pub(crate) struct TwoLevels;

impl OptimizerRule for TwoLevels {
    fn name(&self) -> &'static str {
        "count_distinct_in_two_levels"
    }

    fn apply_order(&self) -> Option<ApplyOrder> {
        Some(ApplyOrder::TopDown)
    }

    fn rewrite(&self, plan: LogicalPlan, _config: &dyn OptimizerConfig) -> Result<Transformed<LogicalPlan>> {
        let LogicalPlan::Aggregate(aggregate) = plan else { return Ok(Transformed::no(plan)) };
        Ok(match Levels::of(&aggregate)? {
            Some(levels) => Transformed::yes(levels.plan(&aggregate)?),
            None => Transformed::no(LogicalPlan::Aggregate(aggregate)),
        })
    }
}

/// The two groupings that one becomes.
#[derive(Default)]
struct Levels {
    /// Arguments of all aggregates, as columns `__a0`, ...
    arguments: Vec<Expr>,
    /// Those whose different values are counted, as columns `__d0`, ...
    counted: Vec<Expr>,
    inner: Vec<Expr>,
    /// What each aggregate is above, by its place.
    outer: Vec<Outer>,
}

enum Outer {
    /// The number of different values of a column.
    Counted(usize),
    /// A sum of the column of that place in `inner`; nothing is 0 with `true`.
    Sum(usize, bool),
    /// The function once more.
    Again(usize, Arc<datafusion::logical_expr::AggregateUDF>),
    /// One sum by another.
    Mean(usize, usize),
}

impl Levels {
    fn of(aggregate: &Aggregate) -> Result<Option<Self>> {
        let is_grouping_set = |expr: &Expr| matches!(expr, Expr::GroupingSet(_));
        if aggregate.group_expr.iter().any(is_grouping_set) {
            return Ok(None);
        }
        let mut levels = Self::default();
        for expr in &aggregate.aggr_expr {
            let Expr::AggregateFunction(function) = expr.clone().unalias() else { return Ok(None) };
            if levels.add(function, aggregate)?.is_none() {
                return Ok(None);
            }
        }
        let counts = (1..=MOST_COUNTED).contains(&levels.counted.len());
        // A grouping set is a number of 64 bits.
        let fits = aggregate.group_expr.len() + levels.counted.len() < 60;
        Ok((counts && fits).then_some(levels))
    }

    fn add(&mut self, function: AggregateFunction, aggregate: &Aggregate) -> Result<Option<()>> {
        let AggregateFunction { func, params } = function;
        let AggregateFunctionParams { args, distinct, filter, order_by, null_treatment } = params;
        let [argument] = args.as_slice() else { return Ok(None) };
        if !order_by.is_empty() || null_treatment.is_some() {
            return Ok(None);
        }
        let filter = filter.map(|filter| *filter);
        let name = func.name().to_lowercase();
        if distinct && name == "count" {
            let argument = match filter {
                Some(filter) => when(filter, argument.clone()).end()?,
                None => argument.clone(),
            };
            let known = self.counted.iter().position(|known| *known == argument);
            let place = known.unwrap_or_else(|| {
                self.counted.push(argument);
                self.counted.len() - 1
            });
            self.outer.push(Outer::Counted(place));
            return Ok(Some(()));
        }
        // The smallest value is the smallest of the different ones.
        if distinct && !matches!(name.as_str(), "min" | "max") {
            return Ok(None);
        }
        let kind = argument.get_type(aggregate.input.schema().as_ref())?;
        let argument = self.argument(argument.clone());
        let filter = filter.map(|filter| self.argument(filter));
        let outer = match name.as_str() {
            "count" => Outer::Sum(self.part(count(argument), filter)?, true),
            "sum" => Outer::Sum(self.part(sum(argument), filter)?, false),
            "min" | "max" => {
                let call = AggregateFunction::new_udf(Arc::clone(&func), vec![argument], false, None, vec![], None);
                Outer::Again(self.part(Expr::AggregateFunction(call), filter)?, func)
            }
            "avg" if kind == DataType::Float64 => {
                let total = self.part(sum(argument.clone()), filter.clone())?;
                Outer::Mean(total, self.part(count(argument), filter)?)
            }
            _ => return Ok(None),
        };
        self.outer.push(outer);
        Ok(Some(()))
    }

    fn argument(&mut self, expr: Expr) -> Expr {
        self.arguments.push(expr);
        ident(format!("__a{}", self.arguments.len() - 1))
    }

    fn part(&mut self, call: Expr, filter: Option<Expr>) -> Result<usize> {
        let call = match filter {
            Some(filter) => call.filter(filter).build()?,
            None => call,
        };
        let place = self.inner.len();
        self.inner.push(call.alias(format!("__i{place}")));
        Ok(place)
    }

    fn plan(self, aggregate: &Aggregate) -> Result<LogicalPlan> {
        let named = |prefix: &'static str, exprs: &[Expr]| -> Vec<Expr> {
            exprs.iter().enumerate().map(|(n, expr)| expr.clone().alias(format!("{prefix}{n}"))).collect()
        };
        let columns = |prefix: &'static str, count: usize| (0..count).map(move |n| ident(format!("{prefix}{n}")));
        let groups = aggregate.group_expr.len();
        let mut columns_below = named("__g", &aggregate.group_expr);
        columns_below.extend(named("__d", &self.counted));
        columns_below.extend(named("__a", &self.arguments));
        let below = LogicalPlanBuilder::from(Arc::clone(&aggregate.input)).project(columns_below)?.build()?;

        let several = self.counted.len() > 1;
        let inner_by: Vec<Expr> = if several {
            let sets = (0..self.counted.len())
                .map(|n| columns("__g", groups).chain([ident(format!("__d{n}"))]).collect())
                .collect();
            vec![Expr::GroupingSet(GroupingSet::GroupingSets(sets))]
        } else {
            columns("__g", groups).chain([ident("__d0")]).collect()
        };
        let inner = LogicalPlan::Aggregate(Aggregate::try_new(Arc::new(below), inner_by, self.inner)?);

        // In the first set the column of the first count is there, and those of the others are not.
        let first = several.then(|| {
            let missing = (1_u64 << (self.counted.len() - 1)) - 1;
            cast(ident(Aggregate::INTERNAL_GROUPING_ID), DataType::UInt64).eq(lit(missing))
        });
        let of_first = |call: Expr| match &first {
            Some(first) => call.filter(first.clone()).build(),
            None => Ok(call),
        };
        let part = |n: usize| ident(format!("__i{n}"));
        let mut calls = Vec::new();
        let mut results = Vec::new();
        for (n, outer) in self.outer.iter().enumerate() {
            let name = format!("__o{n}");
            let result = match outer {
                // A column is null in the sets of others, and null is not counted.
                Outer::Counted(place) => {
                    calls.push(count(ident(format!("__d{place}"))).alias(&name));
                    ident(&name)
                }
                Outer::Sum(place, is_count) => {
                    calls.push(of_first(sum(part(*place)))?.alias(&name));
                    if *is_count { coalesce(vec![ident(&name), lit(0_i64)]) } else { ident(&name) }
                }
                Outer::Again(place, func) => {
                    let call =
                        AggregateFunction::new_udf(Arc::clone(func), vec![part(*place)], false, None, vec![], None);
                    calls.push(of_first(Expr::AggregateFunction(call))?.alias(&name));
                    ident(&name)
                }
                Outer::Mean(total, rows) => {
                    let rows_name = format!("{name}_rows");
                    calls.push(of_first(sum(part(*total)))?.alias(&name));
                    calls.push(of_first(sum(part(*rows)))?.alias(&rows_name));
                    ident(&name) / cast(ident(&rows_name), DataType::Float64)
                }
            };
            results.push(result);
        }
        let outer =
            LogicalPlan::Aggregate(Aggregate::try_new(Arc::new(inner), columns("__g", groups).collect(), calls)?);
        let exprs = columns("__g", groups).chain(results).enumerate();
        let exprs = exprs.map(|(n, expr)| {
            let (qualifier, field) = aggregate.schema.qualified_field(n);
            let is_same = expr.get_type(outer.schema().as_ref())? == *field.data_type();
            let expr = if is_same { expr } else { cast(expr, field.data_type().clone()) };
            Ok(expr.alias_qualified(qualifier.cloned(), field.name()))
        });
        let exprs = exprs.collect::<Result<Vec<_>>>()?;
        LogicalPlanBuilder::from(outer).project(exprs)?.build()
    }
}
