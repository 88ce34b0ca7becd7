//! Rows as short keys: 128 bits of hash, by which rows are held to be equal.
//!
//! Two different rows among a thousand million get the same key once in 10^20 times, which is far rarer than a
//! memory error. Nulls are equal to each other, and so are NaNs and the two zeros of floats.

use std::hash::{BuildHasherDefault, Hasher};
use std::sync::Arc;

use datafusion::arrow::array::{Array, ArrayRef, AsArray, RecordBatch};
use datafusion::arrow::compute::cast;
use datafusion::arrow::datatypes::{DataType, Float32Type, Float64Type};
use datafusion::common::hash_utils::{QualityRandomState, create_hashes};

use crate::error::Result;

/// What stands for a row.
pub(crate) type Key = [u64; 2];

/// A map by keys, which are hashes already.
pub(crate) type KeyMap<V> = std::collections::HashMap<Key, V, BuildHasherDefault<Through>>;

const SEEDS: [u64; 2] = [0x9E37_79B9_7F4A_7C15, 0xC2B2_AE3D_27D4_EB4F];

/// Takes the first half of a key as its hash.
#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct Through(u64);

impl Hasher for Through {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        let mut half = [0; 8];
        let length = bytes.len().min(8);
        half[..length].copy_from_slice(&bytes[..length]);
        self.0 = u64::from_ne_bytes(half);
    }

    // An array writes its length first.
    fn write_usize(&mut self, _: usize) {}
}

/// The keys of the rows of a batch, by these columns.
pub(crate) fn keys(batch: &RecordBatch, columns: &[usize]) -> Result<Vec<Key>> {
    let arrays = columns.iter().map(|index| comparable(batch.column(*index))).collect::<Result<Vec<_>>>()?;
    let mut halves = [vec![0; batch.num_rows()], vec![0; batch.num_rows()]];
    for (half, seed) in halves.iter_mut().zip(SEEDS) {
        create_hashes(arrays.iter(), &QualityRandomState::with_seed(seed), half)?;
    }
    // Where a null stands does not count in these hashes, so it is added.
    for (index, array) in arrays.iter().enumerate() {
        let Some(nulls) = array.logical_nulls().filter(|nulls| nulls.null_count() > 0) else { continue };
        let salt = (index as u64 + 1).wrapping_mul(0xD6E8_FEB8_6659_FD93);
        for row in (0..nulls.len()).filter(|row| nulls.is_null(*row)) {
            halves[0][row] = (halves[0][row] ^ salt).rotate_left(23).wrapping_mul(SEEDS[0]);
            halves[1][row] = (halves[1][row] ^ salt).rotate_left(41).wrapping_mul(SEEDS[1]);
        }
    }
    let [first, second] = halves;
    Ok(first.into_iter().zip(second).map(|(first, second)| [first, second]).collect())
}

/// A column in which equal values have equal bits.
fn comparable(array: &ArrayRef) -> Result<ArrayRef> {
    Ok(match array.data_type() {
        DataType::Float64 => {
            let values = array.as_primitive::<Float64Type>();
            Arc::new(values.unary::<_, Float64Type>(|v| if v.is_nan() { f64::NAN } else { v + 0.0 })) as ArrayRef
        }
        DataType::Float32 => {
            let values = array.as_primitive::<Float32Type>();
            Arc::new(values.unary::<_, Float32Type>(|v| if v.is_nan() { f32::NAN } else { v + 0.0 })) as ArrayRef
        }
        DataType::Float16 => comparable(&cast(array, &DataType::Float32)?)?,
        DataType::Null => Arc::new(datafusion::arrow::array::Int8Array::new_null(array.len())),
        _ => Arc::clone(array),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use datafusion::arrow::array::{Float64Array, Int64Array, StringArray};

    fn keys_of(columns: Vec<ArrayRef>) -> Vec<Key> {
        let names = ["a", "b"].into_iter().zip(columns);
        let batch = RecordBatch::try_from_iter(names).unwrap();
        keys(&batch, &(0..batch.num_columns()).collect::<Vec<_>>()).unwrap()
    }

    #[test]
    fn nulls_nans_and_zeros_are_equal_to_each_other_and_to_nothing_else() {
        let floats =
            Float64Array::from(vec![Some(0.0), Some(-0.0), Some(f64::NAN), Some(-f64::NAN), None, None, Some(1.0)]);
        let found = keys_of(vec![Arc::new(floats)]);
        assert!(found[0] == found[1] && found[2] == found[3] && found[4] == found[5]);
        let different: std::collections::HashSet<_> = found.iter().collect();
        assert_eq!(different.len(), 4);
    }

    #[test]
    fn a_null_counts_where_it_stands() {
        let a = Int64Array::from(vec![Some(1), None, None, Some(0)]);
        let b = Int64Array::from(vec![None, Some(1), None, Some(0)]);
        let found = keys_of(vec![Arc::new(a), Arc::new(b)]);
        let different: std::collections::HashSet<_> = found.iter().collect();
        assert_eq!(different.len(), 4, "{found:?}");
        let texts = StringArray::from(vec![Some(""), None]);
        let found = keys_of(vec![Arc::new(texts)]);
        assert_ne!(found[0], found[1]);
    }
}
