//! The rules of one column.

use std::sync::Arc;

use datafusion::arrow::array::{Array, ArrayRef, AsArray, BooleanArray, Scalar, StringArray, new_null_array};
use datafusion::arrow::compute::kernels::cmp;
use datafusion::arrow::compute::kernels::regexp::regexp_is_match_scalar;
use datafusion::arrow::compute::{CastOptions, cast, cast_with_options, or};
use datafusion::arrow::datatypes::{DataType, TimeUnit};
use datafusion::common::HashSet;
use serde_json::Value;
use towpath_model::etl::ColumnRules;

use super::formats;
use super::nested::{self, Nested};
use crate::error::{Error, Result};
use crate::{parse, types};

/// A column after its rules.
pub(super) struct Check {
    /// In the new type; null where the value does not fit it.
    pub(super) values: ArrayRef,
    /// The rules that some rows broke, and which ones.
    pub(super) broken: Vec<(String, BooleanArray)>,
}

/// The type that a column has after its rules.
pub(super) fn target_of(rules: &ColumnRules, source: &DataType) -> Result<DataType> {
    let target = rules.kind.as_ref().map_or_else(|| source.clone(), types::arrow);
    // Text stays in the form that it has.
    let target = if types::is_text(&target) && types::is_text(source) { source.clone() } else { target };
    nested::target_of(rules, source, target)
}

/// The rules of one column, ready to run.
#[derive(Debug)]
pub(super) struct Rule {
    target: DataType,
    formats: Vec<String>,
    required: bool,
    comparisons: Vec<Comparison>,
    one_of: Option<(String, Vec<Scalar<ArrayRef>>)>,
    /// The same values, where they are text.
    texts: HashSet<String>,
    pattern: Option<String>,
    length: Option<(u64, u64)>,
    nested: Nested,
}

#[derive(Debug)]
struct Comparison {
    name: String,
    /// What a value has to be to the other one.
    passes: fn(
        &dyn datafusion::arrow::array::Datum,
        &dyn datafusion::arrow::array::Datum,
    ) -> Result<BooleanArray, datafusion::arrow::error::ArrowError>,
    other: Scalar<ArrayRef>,
}

impl Rule {
    /// For values of `source` that become `target`.
    pub(super) fn new(rules: &ColumnRules, source: &DataType, target: DataType) -> Result<Self> {
        let scalar = |value: &Value, rule: &str| scalar(value, &target, rule);
        let mut comparisons = Vec::new();
        let mut compare = |rule: &str, value: &Option<Value>, passes| {
            let Some(value) = value else { return Ok::<(), Error>(()) };
            let name = format!("{rule} {}", shown(value));
            comparisons.push(Comparison { name, passes, other: scalar(value, rule)? });
            Ok(())
        };
        compare("gt", &rules.gt, cmp::gt)?;
        compare("ge", &rules.ge, cmp::gt_eq)?;
        compare("lt", &rules.lt, cmp::lt)?;
        compare("le", &rules.le, cmp::lt_eq)?;
        if let Some((least, most)) = &rules.between {
            compare("between, ge", &Some(least.clone()), cmp::gt_eq)?;
            compare("between, le", &Some(most.clone()), cmp::lt_eq)?;
        }
        let one_of = match &rules.one_of {
            None => None,
            Some(values) => {
                let name: Vec<String> = values.iter().take(6).map(shown).collect();
                let dots = if values.len() > 6 { ", ..." } else { "" };
                let values = values.iter().map(|value| scalar(value, "one_of")).collect::<Result<_>>()?;
                Some((format!("one_of {}{dots}", name.join(", ")), values))
            }
        };
        let texts =
            if types::is_text(&target) { rules.one_of.iter().flatten().map(shown).collect() } else { HashSet::new() };
        if let Some(pattern) = &rules.pattern {
            regexp_is_match_scalar(&StringArray::from(vec![""]), pattern, None)
                .map_err(|error| Error::lasting(format!("`pattern`: {error}")))?;
        }
        let nested = Nested::new(rules, source, &target)?;
        if rules.length.is_some() && matches!(target, DataType::Struct(_)) {
            return Err(Error::lasting("`length` belongs to texts and lists, and this is a struct"));
        }
        if rules.pattern.is_some() && target.is_nested() {
            return Err(Error::lasting(format!("`pattern` belongs to text, and this is {}", types::name(&target))));
        }
        if !rules.formats.is_empty() && !types::is_text(source) {
            return Err(Error::lasting(format!(
                "`format` belongs to text, and this is {} already",
                types::name(source)
            )));
        }
        Ok(Self {
            target,
            formats: rules.formats.clone(),
            required: rules.required,
            comparisons,
            one_of,
            texts,
            pattern: rules.pattern.clone(),
            length: rules.length,
            nested,
        })
    }

    pub(super) fn check(&self, raw: &ArrayRef) -> Result<Check> {
        let mut broken = Vec::new();
        let mut add = |rule: String, rows: BooleanArray| {
            if rows.true_count() > 0 {
                broken.push((rule, rows));
            }
        };
        let values = match self.nested.check(raw, &self.target)? {
            Some(Check { values, broken }) => {
                broken.into_iter().for_each(|(rule, rows)| add(rule, rows));
                values
            }
            None => self.cast(raw),
        };
        // With nulls about, what is null now and was not before did not fit.
        if values.null_count() > raw.null_count() {
            let misfits = (0..raw.len()).map(|row| Some(values.is_null(row) && raw.is_valid(row)));
            add(format!("type {}", types::name(&self.target)), misfits.collect());
        }
        if self.required && raw.null_count() > 0 {
            add("required".to_owned(), (0..raw.len()).map(|row| Some(raw.is_null(row))).collect());
        }
        for Comparison { name, passes, other } in &self.comparisons {
            add(name.clone(), failing(&passes(&values, other)?));
        }
        if let Some((name, allowed)) = &self.one_of {
            match values.as_string_opt::<i32>() {
                Some(texts) => {
                    let rows = texts.iter().map(|text| Some(text.is_some_and(|text| !self.texts.contains(text))));
                    add(name.clone(), rows.collect());
                }
                None => {
                    let mut found = BooleanArray::from(vec![false; values.len()]);
                    for value in allowed {
                        found = or(&found, &cmp::eq(&values, value)?)?;
                    }
                    add(name.clone(), failing(&found));
                }
            }
        }
        if let (Some((least, most)), true) = (self.length, self.target.is_nested()) {
            add(length_name(least, most), nested::lengths_outside(&values, least, most));
        } else if self.pattern.is_some() || self.length.is_some() {
            let texts = cast(&values, &DataType::Utf8)?;
            let texts: &StringArray = texts.as_string();
            if let Some(pattern) = &self.pattern {
                add(format!("pattern {pattern}"), failing(&regexp_is_match_scalar(texts, pattern, None)?));
            }
            if let Some((least, most)) = self.length {
                let fits = |text: &str| (least..=most).contains(&(text.chars().count() as u64));
                let rows = texts.iter().map(|text| Some(text.is_some_and(|text| !fits(text)))).collect();
                add(length_name(least, most), rows);
            }
        }
        Ok(Check { values, broken })
    }

    /// The values in the new type, null where they do not fit.
    fn cast(&self, raw: &ArrayRef) -> ArrayRef {
        if raw.data_type() == &self.target {
            return Arc::clone(raw);
        }
        if !self.formats.is_empty() {
            return formats::parse(raw, &self.formats, &self.target);
        }
        if types::is_text(raw.data_type()) && self.target.is_nested() {
            return nested::from_json(raw, &self.target);
        }
        if let Some(texts) = raw.as_string_opt::<i32>()
            && let Some(values) = parse::parse(&texts.iter().collect::<Vec<_>>(), &self.target)
        {
            return values;
        }
        let options = CastOptions { safe: true, ..CastOptions::default() };
        let cast = |values: &ArrayRef, target: &DataType| {
            cast_with_options(values, target, &options).unwrap_or_else(|_| new_null_array(target, values.len()))
        };
        let is_float = |kind: &DataType| kind.is_floating();
        if is_float(raw.data_type()) && self.target.is_integer() {
            // 1.5 is no whole number, though a cast would make it one.
            let whole = cast(raw, &self.target);
            let back = cast(&whole, raw.data_type());
            return match cmp::neq(&back, raw) {
                Ok(lost) => datafusion::arrow::compute::nullif(&whole, &lost).unwrap_or(whole),
                Err(_) => whole,
            };
        }
        cast(raw, &self.target)
    }
}

fn length_name(least: u64, most: u64) -> String {
    if least == most { format!("length {least}") } else { format!("length {least} to {most}") }
}

/// The rows that do not pass; null passes.
fn failing(passes: &BooleanArray) -> BooleanArray {
    if passes.null_count() == 0 {
        return BooleanArray::new(!passes.values(), None);
    }
    passes.iter().map(|passes| Some(passes == Some(false))).collect()
}

fn shown(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

/// A value of a rule in the type of its column.
fn scalar(value: &Value, target: &DataType, rule: &str) -> Result<Scalar<ArrayRef>> {
    let text = shown(value);
    let texts: ArrayRef = Arc::new(StringArray::from(vec![text.as_str()]));
    let options = CastOptions { safe: true, ..CastOptions::default() };
    let found = cast_with_options(&texts, target, &options).ok().filter(|array| array.is_valid(0));
    let time = matches!(target, DataType::Timestamp(TimeUnit::Microsecond, _));
    let hint = if time { ", such as 2013-01-31T10:00:00" } else { "" };
    found.map(Scalar::new).ok_or_else(|| {
        Error::lasting(format!("`{rule}`: `{text}` is not of the column's type, {}{hint}", types::name(target)))
    })
}
