//! Columns of the data brought to the types of a table's columns, without loss.

use std::sync::Arc;

use datafusion::arrow::array::{Array, ArrayRef, RecordBatch};
use datafusion::arrow::compute::kernels::cmp::distinct;
use datafusion::arrow::compute::{CastOptions, cast_with_options};
use datafusion::arrow::datatypes::{DataType, Schema};
use datafusion::arrow::util::display::array_value_to_string;
use towpath_operators::database::Error;

/// Longest value in a message, characters.
const SHOWN_CHARS: usize = 60;

/// A column of a table, as the database has it.
#[derive(Debug, Clone)]
pub(super) struct TableColumn {
    pub(super) name: String,
    /// The type in the database's words.
    pub(super) sql_type: String,
    /// May be left out or null.
    pub(super) nullable: bool,
    /// Has a value where none is given.
    pub(super) has_default: bool,
}

/// Where a column of the data goes.
#[derive(Debug, Clone)]
pub(super) struct Fitted {
    pub(super) name: String,
    /// What the data is cast to.
    pub(super) data_type: DataType,
    pub(super) sql_type: String,
    pub(super) nullable: bool,
}

/// Finds the table's column for each column of the data; `data_type` says what data of this type is cast to for a column, or nothing
/// where it cannot go there.
pub(super) fn plan(
    table: &str,
    columns: &[TableColumn],
    schema: &Schema,
    key: &[String],
    data_type: impl Fn(&TableColumn, &DataType) -> Option<DataType>,
) -> Result<Vec<Fitted>, Error> {
    let mut fitted = Vec::new();
    for field in schema.fields() {
        let name = field.name();
        let Some(column) = columns.iter().find(|column| column.name == *name) else {
            let names: Vec<&str> = columns.iter().map(|column| column.name.as_str()).collect();
            let other = names.iter().find(|other| other.eq_ignore_ascii_case(name));
            let hint = other.map_or_else(String::new, |other| format!("; did you mean `{other}`?"));
            let error = format!("table `{table}` has no column `{name}`{hint} (it has {})", names.join(", "));
            return Err(Error::lasting(error));
        };
        let to = data_type(column, field.data_type()).ok_or_else(|| {
            let (sql_type, from) = (&column.sql_type, field.data_type());
            Error::lasting(format!(
                "table `{table}`, column `{name}` of type {sql_type} does not take data of type {from}; cast it before"
            ))
        })?;
        fitted.push(Fitted {
            name: name.clone(),
            data_type: to,
            sql_type: column.sql_type.clone(),
            // A key that is null is equal to nothing, so the same load would add its row again and again.
            nullable: column.nullable && !key.contains(name),
        });
    }
    let missing = columns
        .iter()
        .find(|column| !column.nullable && !column.has_default && schema.field_with_name(&column.name).is_err());
    if let Some(column) = missing {
        let name = &column.name;
        let error =
            format!("table `{table}`, column `{name}` is NOT NULL without a default, and the data has no such column");
        return Err(Error::lasting(error));
    }
    Ok(fitted)
}

/// The columns of `batch`, cast. `before` rows of the load came before it.
pub(super) fn fit(table: &str, columns: &[Fitted], batch: &RecordBatch, before: u64) -> Result<Vec<ArrayRef>, Error> {
    let place = format!("table `{table}`");
    let pairs = columns.iter().zip(batch.columns());
    pairs.map(|(column, array)| fit_column(&place, column, array, before)).collect()
}

/// Names a row of the load, from 0, in a message.
pub(super) fn at(table: &str, column: &str, row: u64) -> String {
    format!("table `{table}`, column `{column}`, row {}", row + 1)
}

/// The same for one column of what `source` names.
pub(super) fn fit_column(source: &str, column: &Fitted, array: &ArrayRef, before: u64) -> Result<ArrayRef, Error> {
    let place = |row: usize| format!("{source}, column `{}`, row {}", column.name, before + row as u64 + 1);
    if !column.nullable && array.logical_null_count() > 0 {
        let nulls = array.logical_nulls();
        let row = (0..array.len()).find(|row| nulls.as_ref().is_some_and(|nulls| nulls.is_null(*row))).unwrap_or(0);
        let error = format!("{}: the value is null, which the column does not take", place(row));
        return Err(Error::lasting(error));
    }
    if *array.data_type() == column.data_type {
        return Ok(Arc::clone(array));
    }
    let does_not_fit = |row: usize| {
        let value = array_value_to_string(array, row).unwrap_or_default();
        let shown: String = value.chars().take(SHOWN_CHARS).collect();
        let more = if shown.len() < value.len() { "..." } else { "" };
        Error::lasting(format!("{}: `{shown}{more}` does not fit type {}", place(row), column.sql_type))
    };
    let options = CastOptions { safe: true, ..CastOptions::default() };
    let cast = |array: &ArrayRef, to: &DataType| {
        cast_with_options(array, to, &options).map_err(|error| {
            let name = &column.name;
            Error::lasting(format!("{source}, column `{name}` of type {}: {error}", column.sql_type))
        })
    };
    let fitted = cast(array, &column.data_type)?;
    if fitted.logical_null_count() != array.logical_null_count() {
        let row = (0..array.len()).find(|row| fitted.is_null(*row) && !array.is_null(*row)).unwrap_or(0);
        return Err(does_not_fit(row));
    }
    if may_lose(array.data_type(), &column.data_type) {
        let back = cast(&fitted, array.data_type())?;
        let changed = distinct(array, &back).map_err(|error| Error::lasting(error.to_string()))?;
        if changed.true_count() > 0 {
            let row = (0..array.len()).find(|row| changed.value(*row)).unwrap_or(0);
            return Err(does_not_fit(row));
        }
    }
    Ok(fitted)
}

/// Whether a cast may change a value without making it null: fractions, digits and times of day get lost.
fn may_lose(from: &DataType, to: &DataType) -> bool {
    use DataType::{Date32, Date64, Timestamp};
    let is_decimal = |kind: &DataType| matches!(kind, DataType::Decimal128(..) | DataType::Decimal256(..));
    let fraction = from.is_floating() || is_decimal(from);
    (fraction && to.is_integer())
        || (is_decimal(from) && is_decimal(to))
        || (from.is_integer() && to.is_floating())
        || (matches!(from, Timestamp(..) | Date64) && matches!(to, Date32))
}
