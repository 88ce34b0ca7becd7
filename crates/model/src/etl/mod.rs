//! What data tasks are told to do: sources, steps and targets, as DAG files write them.
//!
//! Pure descriptions: a file is checked against them and the engine runs them. Expressions are SQL and
//! are looked at by the engine alone.

mod column_type;
mod form;
mod input;
pub mod look;
mod manifest;
mod plan;
mod source;
mod step;
mod target;
mod validate;

pub use column_type::ColumnType;
pub use form::{NamedExpr, NamedExprs, OneOrMany};
pub use input::{Input, Inputs};
pub use manifest::{ColumnProfile, Field, Manifest, Part, Rejects};
pub use plan::{MeasuredPlan, Operator, PLAN};
pub use source::{Compression, FileFormat, FileSource, QuerySource, RowsSource, Source, TableSource};
pub use step::{Aggregate, Dedupe, Join, JoinKind, JoinOn, Keep, Limit, Pivot, Sample, Step, Union, Unpivot, Window};
pub use target::{FileTarget, TableTarget, Target, WriteMode};
pub use validate::{ColumnRules, OnError, Validate};
