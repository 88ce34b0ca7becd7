//! Steps that are queries: grouping, joining, sorting, windows.

use std::sync::Arc;

use datafusion::arrow::array::AsArray;
use datafusion::arrow::compute::cast as cast_array;
use datafusion::arrow::datatypes::{DataType, Schema};
use datafusion::common::JoinType;
use datafusion::functions::expr_fn::coalesce;
use datafusion::logical_expr::{Expr, cast, ident, lit};
use datafusion::prelude::DataFrame;
use datafusion::scalar::ScalarValue;
use indexmap::IndexMap;
use serde_json::Value;
use towpath_model::etl::{Aggregate, Join, JoinKind, OneOrMany, Pivot, Union, Window};

use super::expr::{quote, sort_key, text};
use super::{Kitchen, check_columns, index_of};
use crate::error::{Error, Result};
use crate::types;

/// Most columns that a pivot makes of values that it finds.
const MOST_PIVOT_COLUMNS: usize = 1_000;

impl Kitchen<'_> {
    pub(super) async fn fill_null(&self, data: DataFrame, values: &IndexMap<String, Value>) -> Result<DataFrame> {
        let schema = Arc::clone(data.schema().inner());
        check_columns(values.keys(), &schema)?;
        let mut exprs = Vec::with_capacity(schema.fields().len());
        for field in schema.fields() {
            let Some(value) = values.get(field.name()) else {
                exprs.push(ident(field.name()));
                continue;
            };
            let shown = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
            let value = ScalarValue::Utf8(Some(shown.clone())).cast_to(field.data_type()).map_err(|_| {
                let kind = types::name(field.data_type());
                Error::lasting(format!("`{}`: `{shown}` is not of the column's type, {kind}", field.name()))
            })?;
            exprs.push(coalesce(vec![ident(field.name()), lit(value)]).alias(field.name()));
        }
        Ok(data.select(exprs)?)
    }

    pub(super) async fn aggregate(&self, data: DataFrame, spec: &Aggregate) -> Result<DataFrame> {
        let schema = Arc::clone(data.schema().inner());
        if spec.by.is_empty() && spec.columns.is_empty() {
            return Err(Error::lasting("there is neither `by` nor `columns`"));
        }
        let table = self.register(&data)?;
        let by: Vec<String> = spec.by.iter().map(|item| text(&item.expr, &schema)).collect();
        let named = spec.by.iter().zip(&by).map(|(item, expr)| match &item.name {
            Some(name) => format!("{expr} as {}", quote(name)),
            None => expr.clone(),
        });
        let aggregates = spec.columns.iter().map(|(name, expr)| format!("{expr} as {}", quote(name)));
        let columns: Vec<String> = named.chain(aggregates).collect();
        let mut sql = format!("select {} from {table}", columns.join(", "));
        if !by.is_empty() {
            sql.push_str(" group by ");
            sql.push_str(&by.join(", "));
        }
        if let Some(having) = &spec.having {
            sql.push_str(" having ");
            sql.push_str(having);
        }
        self.query(&sql).await
    }

    pub(super) async fn sort(&self, data: DataFrame, sort_by: &OneOrMany<String>) -> Result<DataFrame> {
        let schema = Arc::clone(data.schema().inner());
        let keys: Vec<String> = sort_by.iter().map(|key| sort_key(key, &schema)).collect();
        if keys.is_empty() {
            return Err(Error::lasting("there is nothing to sort by"));
        }
        let table = self.register(&data)?;
        self.query(&format!("select * from {table} order by {}", keys.join(", "))).await
    }

    pub(super) async fn window(&self, data: DataFrame, spec: &Window) -> Result<DataFrame> {
        let schema = Arc::clone(data.schema().inner());
        let table = self.register(&data)?;
        let mut over = Vec::new();
        if !spec.partition_by.is_empty() {
            let keys: Vec<String> = spec.partition_by.iter().map(|key| text(key, &schema)).collect();
            over.push(format!("partition by {}", keys.join(", ")));
        }
        if !spec.order_by.is_empty() {
            let keys: Vec<String> = spec.order_by.iter().map(|key| sort_key(key, &schema)).collect();
            over.push(format!("order by {}", keys.join(", ")));
        }
        over.extend(spec.frame.clone());
        let over = over.join(" ");
        let has_own = |expr: &str| {
            let lower = expr.to_ascii_lowercase();
            lower.split(|c: char| !c.is_alphanumeric() && c != '_').any(|word| word == "over")
        };
        let mut columns: Vec<String> = Vec::new();
        for field in schema.fields().iter().filter(|field| !spec.columns.contains_key(field.name())) {
            columns.push(quote(field.name()));
        }
        for (name, expr) in &spec.columns {
            let over = if has_own(expr) { String::new() } else { format!(" over ({over})") };
            columns.push(format!("{expr}{over} as {}", quote(name)));
        }
        self.query(&format!("select {} from {table}", columns.join(", "))).await
    }

    pub(super) async fn join(&self, data: DataFrame, spec: &Join) -> Result<DataFrame> {
        let right = self.other(&spec.with).await?;
        let (left_schema, right_schema) = (Arc::clone(data.schema().inner()), Arc::clone(right.schema().inner()));
        check_columns(spec.on.0.keys(), &left_schema)?;
        check_columns(spec.on.0.values(), &right_schema).map_err(|error| error.within("the right side"))?;
        if spec.on.0.is_empty() {
            return Err(Error::lasting("`on` names no column"));
        }
        let wanted = wanted(spec, &left_schema, &right_schema)?;
        // The columns of the right side get names that nothing else has.
        let key = |n: usize| format!("__right_key_{n}");
        let mut exprs: Vec<Expr> = spec.on.0.values().enumerate().map(|(n, name)| ident(name).alias(key(n))).collect();
        exprs.extend(wanted.iter().enumerate().map(|(n, (name, _))| ident(name).alias(format!("__right_{n}"))));
        let right = right.select(exprs)?;
        let on = spec.on.0.keys().enumerate().map(|(n, left)| ident(left).eq(ident(key(n))));
        let kind = match spec.how {
            JoinKind::Inner => JoinType::Inner,
            JoinKind::Left => JoinType::Left,
            JoinKind::Right => JoinType::Right,
            JoinKind::Full => JoinType::Full,
            JoinKind::Semi => JoinType::LeftSemi,
            JoinKind::Anti => JoinType::LeftAnti,
        };
        let joined = data.join_on(right, kind, on)?;
        if matches!(spec.how, JoinKind::Semi | JoinKind::Anti) {
            return Ok(joined);
        }
        // Rows of the right side alone have their keys there.
        let from_right = matches!(spec.how, JoinKind::Right | JoinKind::Full);
        let left = left_schema.fields().iter().map(|field| match spec.on.0.get_index_of(field.name()) {
            Some(n) if from_right => coalesce(vec![ident(field.name()), ident(key(n))]).alias(field.name()),
            _ => ident(field.name()),
        });
        let right = wanted.iter().enumerate().map(|(n, (_, name))| ident(format!("__right_{n}")).alias(name));
        let exprs: Vec<Expr> = left.chain(right).collect();
        Ok(joined.select(exprs)?)
    }

    pub(super) async fn union(&self, data: DataFrame, spec: &Union) -> Result<DataFrame> {
        let mut data = data;
        for other in self.others(&spec.with).await? {
            data = match (spec.by_name, spec.distinct) {
                (true, false) => data.union_by_name(other)?,
                (true, true) => data.union_by_name_distinct(other)?,
                (false, false) => data.union(other)?,
                (false, true) => data.union_distinct(other)?,
            };
        }
        Ok(data)
    }

    pub(super) async fn pivot(&self, data: DataFrame, spec: &Pivot) -> Result<DataFrame> {
        let schema = Arc::clone(data.schema().inner());
        check_columns(spec.index.iter(), &schema)?;
        index_of(&spec.columns, &schema)?;
        // Without names the rows are needed twice, so they wait.
        let (data, names) = match &spec.names {
            Some(names) => (data, names.0.clone()),
            None => {
                let data = super::spool::spool(self.session, data).await?;
                let names = values_of(&data, &spec.columns).await?;
                (data, names)
            }
        };
        let table = self.register(&data)?;
        let aggregate = spec.aggregate.as_deref().unwrap_or("sum");
        let (column, value) = (quote(&spec.columns), text(&spec.values, &schema));
        let index: Vec<String> = spec.index.iter().map(|name| quote(name)).collect();
        let made = names.iter().map(|name| {
            let literal = name.replace('\'', "''");
            format!("{aggregate}({value}) filter (where cast({column} as varchar) = '{literal}') as {}", quote(name))
        });
        let columns: Vec<String> = index.iter().cloned().chain(made).collect();
        let group = if index.is_empty() { String::new() } else { format!(" group by {}", index.join(", ")) };
        self.query(&format!("select {} from {table}{group}", columns.join(", "))).await
    }
}

/// The columns that a join takes from the right side, and what they are called in the result.
fn wanted(spec: &Join, left: &Schema, right: &Schema) -> Result<Vec<(String, String)>> {
    if matches!(spec.how, JoinKind::Semi | JoinKind::Anti) {
        return Ok(Vec::new());
    }
    let names: Vec<String> = match &spec.columns {
        Some(names) => {
            check_columns(names.iter(), right).map_err(|error| error.within("the right side"))?;
            names.0.clone()
        }
        None => {
            let names = right.fields().iter().map(|field| field.name().clone());
            names.filter(|name| !spec.on.0.values().any(|key| key == name)).collect()
        }
    };
    let suffix = spec.suffix.as_deref().unwrap_or("_right");
    let named = names.into_iter().map(|name| {
        let taken = left.column_with_name(&name).is_some();
        let called = if taken { format!("{name}{suffix}") } else { name.clone() };
        if taken && left.column_with_name(&called).is_some() {
            return Err(Error::lasting(format!(
                "both sides have a column `{name}`, and `{called}` is taken; choose another `suffix`"
            )));
        }
        Ok((name, called))
    });
    named.collect()
}

/// The different values of a column as text, sorted.
async fn values_of(data: &DataFrame, column: &str) -> Result<Vec<String>> {
    let value = cast(ident(column), DataType::Utf8).alias("value");
    let found = data.clone().select(vec![ident(column).alias("key"), value])?.distinct()?;
    let found = found.sort(vec![ident("key").sort(true, false)])?.limit(0, Some(MOST_PIVOT_COLUMNS + 1))?;
    let mut names = Vec::new();
    for batch in found.collect().await? {
        let texts = cast_array(batch.column(1), &DataType::Utf8)?;
        names.extend(texts.as_string::<i32>().iter().flatten().map(str::to_owned));
    }
    if names.len() > MOST_PIVOT_COLUMNS {
        return Err(Error::lasting(format!(
            "`{column}` has more than {MOST_PIVOT_COLUMNS} different values, each of which would be a column; list those that \
             are wanted in `names`"
        )));
    }
    Ok(names)
}
