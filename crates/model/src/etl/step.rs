//! What happens to data on its way.

use std::fmt;

use indexmap::IndexMap;
use serde::de::{self, Deserialize as DeserializeTrait, Deserializer, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{ColumnType, Input, Inputs, NamedExprs, OneOrMany, Validate};

/// One step of `steps`: a mapping with its name as the only key.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, strum::IntoStaticStr)]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
pub enum Step {
    /// Checks rows against rules.
    Validate(Validate),
    /// Keeps one of rows that are equal.
    Dedupe(Dedupe),
    /// Keeps the rows for which an SQL condition is true.
    Filter(String),
    /// Keeps these columns or expressions, in this order.
    Select(NamedExprs),
    /// Adds columns, or replaces those of the same name; later ones may use earlier ones.
    Derive(IndexMap<String, String>),
    /// Old names to new ones.
    Rename(IndexMap<String, String>),
    /// Columns to leave out.
    Drop(OneOrMany<String>),
    /// What stands where a column is null.
    FillNull(IndexMap<String, Value>),
    /// Types of columns; a value that does not fit fails the task.
    Cast(IndexMap<String, ColumnType>),
    Aggregate(Aggregate),
    Join(Join),
    Union(Union),
    /// `column`, `column desc`, `expression asc nulls first`.
    Sort(OneOrMany<String>),
    Limit(Limit),
    Window(Window),
    Pivot(Pivot),
    Unpivot(Unpivot),
    Sample(Sample),
}

impl Step {
    /// Its key in files.
    #[must_use]
    pub fn name(&self) -> &'static str {
        self.into()
    }
}

/// Keeps one of rows that are equal, in the order of the input. Nulls are equal to each other.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Dedupe {
    /// The columns that are compared; by default all.
    #[serde(default)]
    pub subset: OneOrMany<String>,
    #[serde(default)]
    pub keep: Keep,
    /// Keep all rows and say in a column of this name which of them would have been dropped.
    #[serde(default)]
    pub flag: Option<String>,
}

/// Which of equal rows is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Keep {
    #[default]
    First,
    Last,
    /// None of them: only rows that have no equal stay.
    None,
}

/// Sums up groups of rows.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Aggregate {
    /// Columns or expressions that make the groups; without any all rows are one group.
    #[serde(default)]
    pub by: NamedExprs,
    /// Names to aggregates: `{rows: count(*), mean: avg(x)}`.
    #[serde(default)]
    pub columns: IndexMap<String, String>,
    /// A condition on groups, over the columns of the result.
    #[serde(default)]
    pub having: Option<String>,
}

/// Puts columns of another input beside those of this one.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Join {
    /// The right side: an input of the task, a task, or a source.
    pub with: Input,
    pub on: JoinOn,
    #[serde(default)]
    pub how: JoinKind,
    /// What columns of the right side are called besides their name, where the left side has one of that name (default `_right`).
    #[serde(default)]
    pub suffix: Option<String>,
    /// Columns of the right side to take over; by default all but the keys.
    #[serde(default)]
    pub columns: Option<OneOrMany<String>>,
}

/// Pairs of columns that have to be equal: names that both sides have, or a mapping of left to right.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct JoinOn(pub IndexMap<String, String>);

impl<'de> DeserializeTrait<'de> for JoinOn {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(JoinOnVisitor)
    }
}

struct JoinOnVisitor;

impl<'de> Visitor<'de> for JoinOnVisitor {
    type Value = JoinOn;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a column, a list of columns, or a mapping of left columns to right ones")
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<JoinOn, E> {
        Ok(JoinOn(IndexMap::from([(text.to_owned(), text.to_owned())])))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<JoinOn, A::Error> {
        let mut pairs = IndexMap::new();
        while let Some(name) = items.next_element::<String>()? {
            pairs.insert(name.clone(), name);
        }
        Ok(JoinOn(pairs))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<JoinOn, A::Error> {
        let mut pairs = IndexMap::new();
        while let Some((left, right)) = entries.next_entry()? {
            pairs.insert(left, right);
        }
        Ok(JoinOn(pairs))
    }
}

/// Which rows a join keeps.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum JoinKind {
    #[default]
    Inner,
    Left,
    Right,
    Full,
    /// Rows of the left side that have a partner, without its columns.
    Semi,
    /// Rows of the left side that have none.
    Anti,
}

/// Puts rows of other inputs below those of this one.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Union {
    /// Inputs of the task, tasks, or sources.
    pub with: Inputs,
    /// Columns are matched by name, and one that a side lacks is null there (default true); else by position.
    #[serde(default = "yes")]
    pub by_name: bool,
    /// Keep one of equal rows.
    #[serde(default)]
    pub distinct: bool,
}

fn yes() -> bool {
    true
}

/// Keeps the first rows: a number, or `{rows: 10, offset: 5}`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Limit {
    pub rows: u64,
    pub offset: u64,
}

impl<'de> DeserializeTrait<'de> for Limit {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(LimitVisitor)
    }
}

struct LimitVisitor;

impl<'de> Visitor<'de> for LimitVisitor {
    type Value = Limit;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a number of rows, or a mapping with `rows` and `offset`")
    }

    fn visit_u64<E: de::Error>(self, rows: u64) -> Result<Limit, E> {
        Ok(Limit { rows, offset: 0 })
    }

    fn visit_i64<E: de::Error>(self, rows: i64) -> Result<Limit, E> {
        let rows = u64::try_from(rows).map_err(|_| de::Error::custom("a number of rows is not negative"))?;
        self.visit_u64(rows)
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Limit, A::Error> {
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Written {
            rows: u64,
            #[serde(default)]
            offset: u64,
        }
        let written = Written::deserialize(de::value::MapAccessDeserializer::new(map))?;
        Ok(Limit { rows: written.rows, offset: written.offset })
    }
}

/// Adds columns that look at the rows around.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Window {
    /// Names to window functions: `{rank: row_number(), before: lag(x)}`.
    pub columns: IndexMap<String, String>,
    #[serde(default)]
    pub partition_by: OneOrMany<String>,
    #[serde(default)]
    pub order_by: OneOrMany<String>,
    /// SQL: `rows between 6 preceding and current row`.
    #[serde(default)]
    pub frame: Option<String>,
}

/// Makes a column of each value of one.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Pivot {
    /// The columns that make a row of the result.
    pub index: OneOrMany<String>,
    /// The column whose values become the names of columns.
    pub columns: String,
    /// The column, or the expression, whose values are summed up.
    pub values: String,
    /// The aggregate function (default sum).
    #[serde(default)]
    pub aggregate: Option<String>,
    /// The values that become columns; by default those that are there, sorted.
    #[serde(default)]
    pub names: Option<OneOrMany<String>>,
}

/// Makes rows of columns.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Unpivot {
    /// The columns that become rows; by default all but those of `index`.
    #[serde(default)]
    pub columns: OneOrMany<String>,
    /// The columns that stay.
    #[serde(default)]
    pub index: OneOrMany<String>,
    /// The column that says which column a value comes from (default `name`).
    #[serde(default)]
    pub name: Option<String>,
    /// The column with the values (default `value`).
    #[serde(default)]
    pub value: Option<String>,
}

/// Keeps some rows, the same ones each time.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Sample {
    /// So many rows.
    #[serde(default)]
    pub rows: Option<u64>,
    /// About this part of the rows, from 0 to 1.
    #[serde(default)]
    pub fraction: Option<f64>,
    /// Another seed makes another choice (default 0).
    #[serde(default)]
    pub seed: u64,
}
