//! Values of Arrow as JSON that people can read: numbers, truth values, lists and structs as such, all else as text.

use datafusion::arrow::array::{Array, ArrayRef};
use datafusion::arrow::util::display::array_value_to_string;
use datafusion::scalar::ScalarValue;
use serde_json::{Map, Number, Value};
use towpath_model::etl::look::CUT;

/// Items of a list, or fields of a struct, that are shown.
const MOST_ITEMS: usize = 200;

/// Makes values, and counts what that takes.
#[derive(Debug)]
pub(super) struct Cells {
    /// Characters of a value.
    most: usize,
    /// Of all values until now, about as many as they have in JSON.
    pub(super) bytes: usize,
    /// Values that were cut.
    pub(super) cut: u64,
}

impl Cells {
    pub(super) fn new(most: usize) -> Self {
        Self { most, bytes: 0, cut: 0 }
    }

    pub(super) fn value(&mut self, array: &ArrayRef, row: usize) -> Value {
        let Ok(scalar) = ScalarValue::try_from_array(array, row) else {
            // A type that has no scalar; it has a text still.
            return self.text(&array_value_to_string(array, row).unwrap_or_default());
        };
        let mut is_cut = false;
        let value = self.of(&scalar, &mut is_cut);
        let value = match &value {
            Value::Array(_) | Value::Object(_) => {
                let text = value.to_string();
                match self.shorten(&text) {
                    Some(short) => {
                        is_cut = true;
                        Value::String(short)
                    }
                    None => value,
                }
            }
            _ => value,
        };
        self.bytes += match &value {
            Value::String(text) => text.len() + 3,
            Value::Array(_) | Value::Object(_) => value.to_string().len() + 1,
            Value::Null | Value::Bool(_) | Value::Number(_) => 8,
        };
        self.cut += u64::from(is_cut);
        value
    }

    fn text(&mut self, text: &str) -> Value {
        let short = self.shorten(text);
        self.cut += u64::from(short.is_some());
        let text = short.unwrap_or_else(|| text.to_owned());
        self.bytes += text.len() + 3;
        Value::String(text)
    }

    fn of(&self, scalar: &ScalarValue, is_cut: &mut bool) -> Value {
        use ScalarValue as S;
        if scalar.is_null() {
            return Value::Null;
        }
        match scalar {
            S::Boolean(Some(value)) => Value::Bool(*value),
            S::Int8(Some(value)) => (*value).into(),
            S::Int16(Some(value)) => (*value).into(),
            S::Int32(Some(value)) => (*value).into(),
            S::Int64(Some(value)) => (*value).into(),
            S::UInt8(Some(value)) => (*value).into(),
            S::UInt16(Some(value)) => (*value).into(),
            S::UInt32(Some(value)) => (*value).into(),
            S::UInt64(Some(value)) => (*value).into(),
            S::Float64(Some(value)) => float(*value, &value.to_string()),
            // By its text: 0.1 stays 0.1.
            S::Float32(Some(value)) => float(value.to_string().parse().unwrap_or(f64::NAN), &value.to_string()),
            S::Utf8(Some(text)) | S::LargeUtf8(Some(text)) | S::Utf8View(Some(text)) => self.cut_text(text, is_cut),
            S::Binary(Some(bytes)) | S::LargeBinary(Some(bytes)) | S::BinaryView(Some(bytes)) => {
                let first = bytes.iter().take(self.most / 2 + 1).map(|byte| format!("{byte:02x}"));
                self.cut_text(&first.collect::<String>(), is_cut)
            }
            S::Dictionary(_, value) => self.of(value, is_cut),
            S::Struct(array) => {
                let fields = array.fields().iter().zip(array.columns());
                let fields = fields.map(|(field, values)| (field.name().clone(), self.item(values, 0, is_cut)));
                Value::Object(fields.collect::<Map<_, _>>())
            }
            S::List(array) => self.items(&array.value(0), is_cut),
            S::LargeList(array) => self.items(&array.value(0), is_cut),
            S::FixedSizeList(array) => self.items(&array.value(0), is_cut),
            other => {
                let array = other.to_array().ok();
                let text = array.and_then(|array| array_value_to_string(&array, 0).ok());
                self.cut_text(&text.unwrap_or_else(|| other.to_string()), is_cut)
            }
        }
    }

    fn items(&self, values: &ArrayRef, is_cut: &mut bool) -> Value {
        let mut items: Vec<Value> = (0..values.len().min(MOST_ITEMS)).map(|at| self.item(values, at, is_cut)).collect();
        if values.len() > MOST_ITEMS {
            *is_cut = true;
            items.push(Value::String(CUT.to_string()));
        }
        Value::Array(items)
    }

    fn item(&self, values: &ArrayRef, at: usize, is_cut: &mut bool) -> Value {
        ScalarValue::try_from_array(values, at).map_or(Value::Null, |scalar| self.of(&scalar, is_cut))
    }

    fn cut_text(&self, text: &str, is_cut: &mut bool) -> Value {
        let short = self.shorten(text);
        *is_cut |= short.is_some();
        Value::String(short.unwrap_or_else(|| text.to_owned()))
    }

    /// The beginning of a text that is too long.
    fn shorten(&self, text: &str) -> Option<String> {
        let (end, _) = text.char_indices().nth(self.most)?;
        Some(format!("{}{CUT}", &text[..end]))
    }
}

/// What JSON has no number for is told by its name.
fn float(value: f64, text: &str) -> Value {
    Number::from_f64(value).map_or_else(|| Value::String(text.to_owned()), Value::Number)
}
