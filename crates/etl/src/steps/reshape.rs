//! `unpivot` and `sample`: passes over the rows in their order.

use std::sync::Arc;

use datafusion::arrow::array::{ArrayRef, RecordBatch, StringArray, UInt32Array, UInt64Array};
use datafusion::arrow::compute::{CastOptions, cast_with_options, concat_batches, interleave, take, take_record_batch};
use datafusion::arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use datafusion::execution::SendableRecordBatchStream;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::prelude::{DataFrame, SessionContext};
use futures::{StreamExt as _, TryStreamExt as _};
use towpath_model::etl::{Sample, Unpivot};

use super::{check_columns, index_of};
use crate::error::{Error, Result};
use crate::stream::{Ordered, Stage, table};

/// Makes a row of each value of some columns.
pub(super) async fn unpivot(session: &SessionContext, data: DataFrame, spec: &Unpivot) -> Result<DataFrame> {
    let input = Ordered::new(data).await?;
    let schema = input.schema();
    check_columns(spec.columns.iter().chain(spec.index.iter()), &schema)?;
    let names: Vec<&String> = schema.fields().iter().map(|field| field.name()).collect();
    let melted: Vec<usize> = if spec.columns.is_empty() {
        (0..names.len()).filter(|at| !spec.index.contains(names[*at])).collect()
    } else {
        spec.columns.iter().map(|name| index_of(name, &schema)).collect::<Result<_>>()?
    };
    // What is named neither way stays only where nothing says what stays.
    let kept: Vec<usize> = if spec.index.is_empty() {
        (0..names.len()).filter(|at| !melted.contains(at)).collect()
    } else {
        spec.index.iter().map(|name| index_of(name, &schema)).collect::<Result<_>>()?
    };
    if melted.is_empty() {
        return Err(Error::lasting("there is no column left to make rows of"));
    }
    let kinds: Vec<&DataType> = melted.iter().map(|at| schema.field(*at).data_type()).collect();
    let kind = common(&kinds);
    let mut fields: Vec<Arc<Field>> = kept.iter().map(|at| Arc::clone(&schema.fields()[*at])).collect();
    fields.push(Arc::new(Field::new(spec.name.as_deref().unwrap_or("name"), DataType::Utf8, false)));
    fields.push(Arc::new(Field::new(spec.value.as_deref().unwrap_or("value"), kind.clone(), true)));
    let result: SchemaRef = Arc::new(Schema::new(fields));
    let labels: Vec<String> = melted.iter().map(|at| names[*at].clone()).collect();
    let made = Arc::clone(&result);
    let stage = Stage::pass("unpivot", labels.join(", "), &input);
    let input = input.clone();
    table(session, result, stage, move |context, measure| {
        let (melted, kept, labels, kind, schema) =
            (melted.clone(), kept.clone(), labels.clone(), kind.clone(), Arc::clone(&made));
        let measure = Arc::clone(measure);
        let rows = input.stream(context)?.map(move |batch| {
            let batch = batch?;
            let made = measure.time(|| unpivot_batch(&batch, &melted, &kept, &labels, &kind, &schema));
            made.map_err(Into::into)
        });
        Ok(Box::pin(RecordBatchStreamAdapter::new(Arc::clone(&made), rows)) as SendableRecordBatchStream)
    })
}

/// The type that all values fit into.
fn common(kinds: &[&DataType]) -> DataType {
    if kinds.iter().all(|kind| *kind == kinds[0]) {
        return kinds[0].clone();
    }
    let all = |is: fn(&DataType) -> bool| kinds.iter().all(|kind| is(kind));
    if all(DataType::is_signed_integer) {
        DataType::Int64
    } else if all(datafusion::arrow::datatypes::DataType::is_numeric) {
        DataType::Float64
    } else {
        DataType::Utf8
    }
}

fn unpivot_batch(
    batch: &RecordBatch,
    melted: &[usize],
    kept: &[usize],
    labels: &[String],
    kind: &DataType,
    schema: &SchemaRef,
) -> Result<RecordBatch> {
    let (rows, count) = (batch.num_rows(), melted.len());
    let strict = CastOptions { safe: false, ..CastOptions::default() };
    let values =
        melted.iter().map(|at| cast_with_options(batch.column(*at), kind, &strict)).collect::<Result<Vec<_>, _>>()?;
    // All values of a row stand together, in the order of the columns.
    let from: UInt32Array = (0..rows).flat_map(|row| std::iter::repeat_n(row as u32, count)).collect();
    let places: Vec<(usize, usize)> = (0..rows).flat_map(|row| (0..count).map(move |column| (column, row))).collect();
    let mut columns: Vec<ArrayRef> = Vec::with_capacity(kept.len() + 2);
    for at in kept {
        columns.push(take(batch.column(*at), &from, None)?);
    }
    let named: StringArray = (0..rows).flat_map(|_| labels.iter()).map(|label| Some(label.as_str())).collect();
    columns.push(Arc::new(named));
    let sources: Vec<&dyn datafusion::arrow::array::Array> = values.iter().map(AsRef::as_ref).collect();
    columns.push(interleave(&sources, &places)?);
    Ok(RecordBatch::try_new(Arc::clone(schema), columns)?)
}

/// Keeps some rows: by a number that is made of the seed and the place of a row, so that the same data give the same sample.
pub(super) async fn sample(session: &SessionContext, data: DataFrame, spec: &Sample) -> Result<DataFrame> {
    let input = Ordered::new(data).await?;
    let (schema, seed) = (input.schema(), spec.seed);
    match (spec.rows, spec.fraction) {
        (Some(rows), None) => {
            let most = usize::try_from(rows).unwrap_or(usize::MAX);
            let stage = Stage::pass("sample", format!("{rows} rows"), &input);
            let input = input.clone();
            table(session, Arc::clone(&schema), stage, move |context, _| {
                let rows = choose(input.stream(context)?, Arc::clone(&schema), most, seed);
                let rows = futures::stream::once(rows).map_err(Into::into);
                Ok(Box::pin(RecordBatchStreamAdapter::new(Arc::clone(&schema), rows)) as SendableRecordBatchStream)
            })
        }
        (None, Some(fraction)) if (0.0..=1.0).contains(&fraction) => {
            let most = (fraction * u64::MAX as f64) as u64;
            let stage = Stage::pass("sample", format!("fraction {fraction}"), &input);
            let input = input.clone();
            table(session, Arc::clone(&schema), stage, move |context, _| {
                let mut next = 0;
                let rows = input.stream(context)?.map(move |batch| {
                    let batch = batch?;
                    let from = next;
                    next += batch.num_rows() as u64;
                    let chosen: UInt64Array =
                        (0..batch.num_rows() as u64).filter(|row| lot(seed, from + row) <= most).collect();
                    Ok(take_record_batch(&batch, &chosen)?)
                });
                Ok(Box::pin(RecordBatchStreamAdapter::new(Arc::clone(&schema), rows)) as SendableRecordBatchStream)
            })
        }
        (None, Some(_)) => Err(Error::lasting("`fraction` has to be from 0 to 1")),
        _ => Err(Error::lasting("a sample needs one of `rows` and `fraction`")),
    }
}

/// `most` rows, in their order.
async fn choose(
    mut input: SendableRecordBatchStream,
    schema: SchemaRef,
    most: usize,
    seed: u64,
) -> Result<RecordBatch> {
    let mut rows = RecordBatch::new_empty(Arc::clone(&schema));
    let mut lots: Vec<u64> = Vec::new();
    let mut next = 0;
    while let Some(batch) = input.next().await {
        let batch = batch?;
        lots.extend((next..next + batch.num_rows() as u64).map(|row| lot(seed, row)));
        next += batch.num_rows() as u64;
        rows = concat_batches(&schema, [&rows, &batch])?;
        if lots.len() > most {
            let mut order: Vec<usize> = (0..lots.len()).collect();
            order.sort_by_key(|row| lots[*row]);
            order.truncate(most);
            order.sort_unstable();
            let chosen: UInt64Array = order.iter().map(|row| *row as u64).collect();
            rows = take_record_batch(&rows, &chosen)?;
            lots = order.into_iter().map(|row| lots[row]).collect();
        }
    }
    Ok(rows)
}

/// The lot of a row: splitmix64.
fn lot(seed: u64, row: u64) -> u64 {
    let mut z =
        seed.wrapping_mul(0xA076_1D64_78BD_642F).wrapping_add(row.wrapping_add(1).wrapping_mul(0x9E37_79B9_7F4A_7C15));
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}
