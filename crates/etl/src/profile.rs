//! What the values of columns are like, found while they pass by.

use std::collections::HashMap;
use std::hash::BuildHasherDefault;

use datafusion::arrow::array::{Array, ArrayRef, AsArray, RecordBatch};
use datafusion::arrow::compute::{cast, sum};
use datafusion::arrow::datatypes::{DataType, Float64Type, Schema};
use datafusion::arrow::util::display::array_value_to_string;
use datafusion::common::hash_utils::{QualityRandomState, create_hashes};
use datafusion::functions_aggregate::min_max::{MaxAccumulator, MinAccumulator};
use datafusion::logical_expr::Accumulator;
use datafusion::scalar::ScalarValue;
use indexmap::IndexMap;
use serde_json::Value;
use towpath_model::etl::ColumnProfile;

use crate::error::Result;
use crate::steps::Through;

/// Different values of a column that are counted one by one.
const MOST_COUNTED: usize = 1_000;
/// Most frequent values to tell.
const TOP: usize = 5;
/// Characters of a value that are told.
const VALUE_CHARS: usize = 80;
/// Registers of the estimate, as a power of two: 4,096 make an error of 1.6%.
const PRECISION: u32 = 12;

/// The profile of a table in the making.
#[derive(Debug)]
pub(crate) struct Profile(Vec<(String, Column)>);

#[derive(Debug)]
struct Column {
    rows: u64,
    nulls: u64,
    min: Option<MinAccumulator>,
    max: Option<MaxAccumulator>,
    sum: Option<f64>,
    /// How often each value is there and what it looks like; `None` once there are too many.
    counts: Option<HashMap<u64, (u64, String), BuildHasherDefault<Through>>>,
    registers: Vec<u8>,
}

impl Profile {
    pub(crate) fn new(schema: &Schema) -> Self {
        let columns = schema.fields().iter().map(|field| {
            let kind = field.data_type();
            let is_ordered = !kind.is_nested() && !matches!(kind, DataType::Null | DataType::Dictionary(_, _));
            let column = Column {
                rows: 0,
                nulls: 0,
                min: is_ordered.then(|| MinAccumulator::try_new(kind).ok()).flatten(),
                max: is_ordered.then(|| MaxAccumulator::try_new(kind).ok()).flatten(),
                sum: kind.is_numeric().then_some(0.0),
                counts: Some(HashMap::default()),
                registers: vec![0; 1 << PRECISION],
            };
            (field.name().clone(), column)
        });
        Self(columns.collect())
    }

    pub(crate) fn add(&mut self, batch: &RecordBatch) -> Result<()> {
        let mut hashes = vec![0; batch.num_rows()];
        for ((_, column), values) in self.0.iter_mut().zip(batch.columns()) {
            hashes.fill(0);
            create_hashes([values], &QualityRandomState::with_seed(7), &mut hashes)?;
            column.add(values, &hashes)?;
        }
        Ok(())
    }

    pub(crate) fn finish(self) -> IndexMap<String, ColumnProfile> {
        self.0.into_iter().map(|(name, column)| (name, column.finish())).collect()
    }
}

impl Column {
    fn add(&mut self, values: &ArrayRef, hashes: &[u64]) -> Result<()> {
        let nulls = values.logical_nulls();
        self.rows += values.len() as u64;
        self.nulls += nulls.as_ref().map_or(0, |nulls| nulls.null_count() as u64);
        if let Some(min) = &mut self.min {
            min.update_batch(std::slice::from_ref(values))?;
        }
        if let Some(max) = &mut self.max {
            max.update_batch(std::slice::from_ref(values))?;
        }
        if let Some(total) = &mut self.sum {
            let floats = cast(values, &DataType::Float64)?;
            *total += sum(floats.as_primitive::<Float64Type>()).unwrap_or_default();
        }
        let is_null = |row: usize| nulls.as_ref().is_some_and(|nulls| nulls.is_null(row));
        for (row, hash) in hashes.iter().enumerate().filter(|(row, _)| !is_null(*row)) {
            if let Some(counts) = &mut self.counts {
                if let Some((count, _)) = counts.get_mut(hash) {
                    *count += 1;
                    continue;
                }
                if counts.len() < MOST_COUNTED {
                    let text = array_value_to_string(values, row)?;
                    counts.insert(*hash, (1, text.chars().take(VALUE_CHARS).collect()));
                } else {
                    self.counts = None;
                }
            }
            let register = (hash >> (64 - PRECISION)) as usize;
            let rank = ((hash << PRECISION) | (1 << (PRECISION - 1))).leading_zeros() as u8 + 1;
            self.registers[register] = self.registers[register].max(rank);
        }
        Ok(())
    }

    fn finish(mut self) -> ColumnProfile {
        let value = |scalar: Option<ScalarValue>| scalar.filter(|scalar| !scalar.is_null()).map(|scalar| json(&scalar));
        let known = self.rows - self.nulls;
        let mut top: Vec<(String, u64)> = Vec::new();
        let distinct = match &self.counts {
            Some(counts) => {
                top.extend(counts.values().map(|(count, text)| (text.clone(), *count)));
                top.sort_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
                top.truncate(TOP);
                counts.len() as u64
            }
            None => estimate(&self.registers).min(known),
        };
        ColumnProfile {
            nulls: self.nulls,
            distinct,
            min: value(self.min.as_mut().and_then(|min| min.evaluate().ok())),
            max: value(self.max.as_mut().and_then(|max| max.evaluate().ok())),
            mean: self.sum.filter(|mean| known > 0 && mean.is_finite()).map(|sum| sum / known as f64),
            top,
        }
    }
}

/// HyperLogLog, with linear counting where registers are empty.
fn estimate(registers: &[u8]) -> u64 {
    let count = registers.len() as f64;
    let harmonic: f64 = registers.iter().map(|rank| 2f64.powi(-i32::from(*rank))).sum();
    let raw = 0.7213 / (1.0 + 1.079 / count) * count * count / harmonic;
    let empty = registers.iter().filter(|rank| **rank == 0).count() as f64;
    let found = if raw <= 2.5 * count && empty > 0.0 { count * (count / empty).ln() } else { raw };
    found.round() as u64
}

/// A value for a manifest: numbers and truth values as such, all else as text.
fn json(scalar: &ScalarValue) -> Value {
    let text = scalar.to_array().ok().and_then(|array| array_value_to_string(&array, 0).ok()).unwrap_or_default();
    let kind = scalar.data_type();
    let number = || serde_json::from_str::<serde_json::Number>(&text).ok().map(Value::Number);
    match kind {
        DataType::Boolean => Value::Bool(text == "true"),
        kind if kind.is_integer() || kind.is_floating() => number().unwrap_or(Value::String(text)),
        _ => Value::String(text.chars().take(VALUE_CHARS).collect()),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use datafusion::arrow::array::{Float64Array, Int64Array, StringArray};

    #[test]
    fn columns_are_told_as_they_are() {
        let batch = RecordBatch::try_from_iter([
            ("n", Arc::new(Int64Array::from(vec![Some(3), None, Some(1), Some(3)])) as ArrayRef),
            ("x", Arc::new(Float64Array::from(vec![None, None, None, None]))),
            ("s", Arc::new(StringArray::from(vec!["ü", "a", "a", "b"]))),
        ])
        .unwrap();
        let mut profile = Profile::new(&batch.schema());
        profile.add(&batch).unwrap();
        let found = profile.finish();
        let n = &found["n"];
        assert_eq!((n.nulls, n.distinct, n.min.clone(), n.max.clone()), (1, 2, Some(1.into()), Some(3.into())));
        assert!((n.mean.unwrap() - 7.0 / 3.0).abs() < 1e-12);
        assert_eq!(n.top, [("3".to_owned(), 2), ("1".to_owned(), 1)]);
        assert_eq!((found["x"].nulls, found["x"].distinct, found["x"].mean), (4, 0, None));
        assert_eq!(found["s"].top[0], ("a".to_owned(), 2));
        assert_eq!(found["s"].max, Some("ü".into()));
    }

    #[test]
    fn many_values_are_estimated() {
        let mut profile = None;
        for part in 0..50_i64 {
            let values = Int64Array::from_iter_values((0..4_000).map(|n| (part * 4_000 + n) / 2));
            let batch = RecordBatch::try_from_iter([("n", Arc::new(values) as ArrayRef)]).unwrap();
            profile.get_or_insert_with(|| Profile::new(&batch.schema())).add(&batch).unwrap();
        }
        let found = profile.unwrap().finish();
        let error = found["n"].distinct as f64 / 100_000.0 - 1.0;
        assert!(error.abs() < 0.06, "{error}");
        assert!(found["n"].top.is_empty());
    }
}
