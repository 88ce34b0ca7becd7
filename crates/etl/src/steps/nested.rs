//! Rules inside of structs and lists.
//!
//! Every field is judged by rules of its own, also where only the type of the whole was declared: a cast of the whole would make a
//! field null that does not fit, and nobody would be told. A rule inside is called by its way there: `address: zip: pattern ^\d+$`.

use std::sync::Arc;

use datafusion::arrow::array::{
    Array, ArrayRef, AsArray, BooleanArray, ListArray, StringArray, StructArray, new_null_array,
};
use datafusion::arrow::compute::{cast, nullif};
use datafusion::arrow::datatypes::{DataType, Field, FieldRef, Fields, Schema};
use datafusion::arrow::json::ReaderBuilder;
use serde_json::Value;
use towpath_model::etl::ColumnRules;

use super::rule::{Check, Rule};
use crate::error::{Error, Result};
use crate::types;

/// What is inside of a value.
#[derive(Debug)]
pub(super) enum Nested {
    /// Nothing that is judged by itself.
    None,
    /// By the fields of the target.
    Struct(Vec<(String, Rule)>),
    List(Box<Rule>),
}

/// `target` with the types that rules inside of it give.
pub(super) fn target_of(rules: &ColumnRules, source: &DataType, target: DataType) -> Result<DataType> {
    let belongs = |what: &str, to: &str| {
        Err(Error::lasting(format!("`{what}` belongs to a {to}, and this is {}", types::name(&target))))
    };
    match &target {
        DataType::Struct(fields) => {
            if rules.items.is_some() {
                return belongs("items", "list");
            }
            let known = || fields.iter().map(|field| field.name().as_str());
            if let Some(unknown) = rules.fields.keys().find(|name| !known().any(|known| known == *name)) {
                return Err(crate::source::no_column(unknown, known()).within("`fields`"));
            }
            let fields = fields.iter().map(|field| {
                let Some(rules) = rules.fields.get(field.name()) else { return Ok(Arc::clone(field)) };
                let from = source_field(source, field.name()).unwrap_or_else(|| field.data_type());
                let own = super::rule::target_of(rules, from).map_err(|error| error.within(field.name()))?;
                Ok(Arc::new(Field::new(field.name(), own, true)))
            });
            Ok(DataType::Struct(fields.collect::<Result<Fields>>()?))
        }
        DataType::List(item) | DataType::LargeList(item) | DataType::FixedSizeList(item, _) => {
            if !rules.fields.is_empty() {
                return belongs("fields", "struct");
            }
            let from = item_of(source).map_or_else(|| item.data_type(), |item| item.data_type());
            let own = match &rules.items {
                Some(rules) => super::rule::target_of(rules, from).map_err(|error| error.within("items"))?,
                None => item.data_type().clone(),
            };
            Ok(DataType::List(Arc::new(Field::new_list_field(own, true))))
        }
        _ if !rules.fields.is_empty() => belongs("fields", "struct"),
        _ if rules.items.is_some() => belongs("items", "list"),
        _ => Ok(target),
    }
}

fn source_field<'a>(source: &'a DataType, name: &str) -> Option<&'a DataType> {
    let DataType::Struct(fields) = source else { return None };
    fields.iter().find(|field| field.name() == name).map(|field| field.data_type())
}

fn item_of(source: &DataType) -> Option<&FieldRef> {
    match source {
        DataType::List(item) | DataType::LargeList(item) | DataType::FixedSizeList(item, _) => Some(item),
        _ => None,
    }
}

impl Nested {
    /// For values of `source` that become `target`, as [`target_of`] gives it.
    pub(super) fn new(rules: &ColumnRules, source: &DataType, target: &DataType) -> Result<Self> {
        let none = ColumnRules::default();
        match target {
            DataType::Struct(fields) => {
                let rules = fields.iter().map(|field| {
                    let own = rules.fields.get(field.name()).unwrap_or(&none);
                    let from = source_field(source, field.name()).unwrap_or_else(|| field.data_type());
                    let rule = Rule::new(own, from, field.data_type().clone());
                    Ok((field.name().clone(), rule.map_err(|error| error.within(field.name()))?))
                });
                Ok(Self::Struct(rules.collect::<Result<_>>()?))
            }
            DataType::List(item) => {
                let own = rules.items.as_deref().unwrap_or(&none);
                let from = item_of(source).map_or_else(|| item.data_type(), |item| item.data_type());
                let rule = Rule::new(own, from, item.data_type().clone()).map_err(|error| error.within("items"))?;
                Ok(Self::List(Box::new(rule)))
            }
            _ => Ok(Self::None),
        }
    }

    /// Values in the new type, and the rules that are broken inside of them; `None` where there is no inside.
    pub(super) fn check(&self, raw: &ArrayRef, target: &DataType) -> Result<Option<Check>> {
        match (self, target) {
            (Self::None, _) => Ok(None),
            (Self::Struct(rules), DataType::Struct(fields)) => match raw.data_type() {
                DataType::Struct(_) => check_struct(rules, raw.as_struct(), fields).map(Some),
                text if types::is_text(text) => of_text(self, raw, target).map(Some),
                _ => Ok(None),
            },
            (Self::List(rule), DataType::List(item)) => match raw.data_type() {
                DataType::List(_) => check_list(rule, raw.as_list(), item).map(Some),
                DataType::LargeList(of) | DataType::FixedSizeList(of, _) => {
                    let list = cast(raw, &DataType::List(Arc::clone(of)))?;
                    check_list(rule, list.as_list(), item).map(Some)
                }
                text if types::is_text(text) => of_text(self, raw, target).map(Some),
                _ => Ok(None),
            },
            (Self::Struct(_) | Self::List(_), _) => Ok(None),
        }
    }
}

/// Judges what JSON texts say.
fn of_text(nested: &Nested, raw: &ArrayRef, target: &DataType) -> Result<Check> {
    let parsed = from_json(raw, target);
    let inside = nested.check(&parsed, target)?;
    Ok(inside.unwrap_or(Check { values: parsed, broken: Vec::new() }))
}

fn check_struct(rules: &[(String, Rule)], raw: &StructArray, fields: &Fields) -> Result<Check> {
    let mut columns = Vec::with_capacity(rules.len());
    let mut broken = Vec::new();
    for ((name, rule), field) in rules.iter().zip(fields) {
        let child = match raw.column_by_name(name) {
            Some(child) => hide(child, raw)?,
            None => new_null_array(field.data_type(), raw.len()),
        };
        let check = rule.check(&child)?;
        for (inner, rows) in check.broken {
            // Nothing is required of a struct that is not there.
            let rows: BooleanArray = (0..raw.len()).map(|row| Some(rows.value(row) && raw.is_valid(row))).collect();
            if rows.true_count() > 0 {
                broken.push((format!("{name}: {inner}"), rows));
            }
        }
        columns.push(check.values);
    }
    let values = StructArray::try_new_with_length(fields.clone(), columns, raw.nulls().cloned(), raw.len())?;
    Ok(Check { values: Arc::new(values), broken })
}

/// A field with null wherever the struct around it is null.
fn hide(child: &ArrayRef, parent: &StructArray) -> Result<ArrayRef> {
    match parent.nulls() {
        None => Ok(Arc::clone(child)),
        Some(nulls) => Ok(nullif(child, &BooleanArray::new(!nulls.inner(), None))?),
    }
}

fn check_list(rule: &Rule, raw: &ListArray, item: &FieldRef) -> Result<Check> {
    let offsets = raw.value_offsets();
    let (first, last) = (offsets[0] as usize, offsets[raw.len()] as usize);
    let check = rule.check(&raw.values().slice(first, last - first))?;
    let range = |row: usize| offsets[row] as usize - first..offsets[row + 1] as usize - first;
    let of_rows = |items: &BooleanArray| -> BooleanArray {
        let is_broken = |row| raw.is_valid(row) && range(row).any(|item| items.value(item));
        (0..raw.len()).map(|row| Some(is_broken(row))).collect()
    };
    let broken = check.broken.iter().map(|(inner, items)| (format!("items: {inner}"), of_rows(items)));
    let lengths = (0..raw.len()).map(|row| range(row).len());
    let values = ListArray::try_new(
        Arc::clone(item),
        datafusion::arrow::buffer::OffsetBuffer::from_lengths(lengths),
        Arc::clone(&check.values),
        raw.nulls().cloned(),
    )?;
    Ok(Check { values: Arc::new(values), broken: broken.collect() })
}

/// The lists that have less or more items.
pub(super) fn lengths_outside(values: &ArrayRef, least: u64, most: u64) -> BooleanArray {
    let Some(lists) = values.as_list_opt::<i32>() else { return BooleanArray::from(vec![false; values.len()]) };
    let fits = |row: usize| (least..=most).contains(&(lists.value_length(row) as u64));
    (0..lists.len()).map(|row| Some(lists.is_valid(row) && !fits(row))).collect()
}

/// JSON texts as values; null where one is no JSON, or of another form.
pub(super) fn from_json(texts: &ArrayRef, target: &DataType) -> ArrayRef {
    let nothing = || new_null_array(target, texts.len());
    let Ok(texts) = cast(texts, &DataType::Utf8) else { return nothing() };
    let texts: &StringArray = texts.as_string();
    let parse = |text: Option<&str>| text.and_then(|text| serde_json::from_str(text).ok()).unwrap_or(Value::Null);
    let mut values: Vec<Value> = texts.iter().map(parse).collect();
    if let Some(whole) = decode(&values, target) {
        return whole;
    }
    for value in &mut values {
        if decode(std::slice::from_ref(value), target).is_none() {
            *value = Value::Null;
        }
    }
    decode(&values, target).unwrap_or_else(nothing)
}

fn decode(values: &[Value], target: &DataType) -> Option<ArrayRef> {
    let schema = Arc::new(Schema::new(vec![Field::new("value", target.clone(), true)]));
    let rows: Vec<Value> = values.iter().map(|value| serde_json::json!({ "value": value })).collect();
    let mut decoder = ReaderBuilder::new(schema).with_batch_size(rows.len().max(1)).build_decoder().ok()?;
    decoder.serialize(&rows).ok()?;
    match decoder.flush().ok()? {
        Some(batch) => Some(Arc::clone(batch.column(0))),
        None => Some(new_null_array(target, 0)),
    }
}
