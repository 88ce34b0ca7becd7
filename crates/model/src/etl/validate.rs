//! What makes a row good.

use std::fmt;

use indexmap::IndexMap;
use serde::de::value::MapAccessDeserializer;
use serde::de::{self, Deserialize, Deserializer, MapAccess, Visitor};
use serde::{Deserialize as DeriveDeserialize, Serialize};
use serde_json::Value;

use super::{ColumnType, NamedExprs};

/// The step `validate`.
#[derive(Debug, Clone, PartialEq, Default, Serialize, DeriveDeserialize)]
#[serde(deny_unknown_fields)]
pub struct Validate {
    /// Rules of columns; a type alone is a rule.
    #[serde(default)]
    pub columns: IndexMap<String, ColumnRules>,
    /// SQL conditions of whole rows; where one is false the row breaks it, null passes as in a CHECK of SQL.
    #[serde(default)]
    pub rules: NamedExprs,
    #[serde(default)]
    pub on_error: OnError,
}

/// What happens to a row that breaks a rule.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, DeriveDeserialize)]
#[serde(rename_all = "lowercase")]
pub enum OnError {
    /// The task fails.
    #[default]
    Fail,
    /// The row goes to the rejects, as it came, with the rules that it broke.
    Reject,
    /// The value becomes null; a broken row rule and `required` reject the row.
    Null,
}

/// The rules of a column. Null passes all but `required`.
#[derive(Debug, Clone, PartialEq, Default, Serialize)]
pub struct ColumnRules {
    #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
    pub kind: Option<ColumnType>,
    /// Formats of dates and times, as strftime writes them, tried in this order.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub formats: Vec<String>,
    pub required: bool,
    /// The first of equal values passes, the later ones break the rule.
    pub unique: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gt: Option<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ge: Option<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lt: Option<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub le: Option<Value>,
    /// Both ends included.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub between: Option<(Value, Value)>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub one_of: Option<Vec<Value>>,
    /// A regular expression that has to be found in the text; `^...$` for all of it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pattern: Option<String>,
    /// Characters of a text or items of a list: a number, or the least and the most.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub length: Option<(u64, u64)>,
    /// Rules of the fields of a struct.
    #[serde(skip_serializing_if = "IndexMap::is_empty")]
    pub fields: IndexMap<String, ColumnRules>,
    /// Rules of each item of a list.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub items: Option<Box<ColumnRules>>,
}

/// Rules as they are written in full.
#[derive(DeriveDeserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    #[serde(default, rename = "type")]
    kind: Option<ColumnType>,
    #[serde(default)]
    format: Option<super::OneOrMany<String>>,
    #[serde(default)]
    formats: Option<super::OneOrMany<String>>,
    #[serde(default)]
    required: bool,
    #[serde(default)]
    unique: bool,
    #[serde(default)]
    gt: Option<Value>,
    #[serde(default)]
    ge: Option<Value>,
    #[serde(default)]
    lt: Option<Value>,
    #[serde(default)]
    le: Option<Value>,
    #[serde(default)]
    between: Option<(Value, Value)>,
    #[serde(default)]
    one_of: Option<Vec<Value>>,
    #[serde(default)]
    pattern: Option<String>,
    #[serde(default)]
    length: Option<Length>,
    #[serde(default)]
    fields: IndexMap<String, ColumnRules>,
    #[serde(default)]
    items: Option<Box<ColumnRules>>,
}

#[derive(DeriveDeserialize)]
#[serde(untagged)]
enum Length {
    Exactly(u64),
    Between(u64, u64),
}

impl From<Written> for ColumnRules {
    fn from(written: Written) -> Self {
        Self {
            kind: written.kind,
            formats: written.format.or(written.formats).unwrap_or_default().0,
            required: written.required,
            unique: written.unique,
            gt: written.gt,
            ge: written.ge,
            lt: written.lt,
            le: written.le,
            between: written.between,
            one_of: written.one_of,
            pattern: written.pattern,
            length: written.length.map(|length| match length {
                Length::Exactly(length) => (length, length),
                Length::Between(least, most) => (least, most),
            }),
            fields: written.fields,
            items: written.items,
        }
    }
}

impl<'de> Deserialize<'de> for ColumnRules {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(RulesVisitor)
    }
}

struct RulesVisitor;

impl<'de> Visitor<'de> for RulesVisitor {
    type Value = ColumnRules;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a type, or a mapping of rules")
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<ColumnRules, E> {
        let kind = text.parse().map_err(de::Error::custom)?;
        Ok(ColumnRules { kind: Some(kind), ..ColumnRules::default() })
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<ColumnRules, A::Error> {
        Written::deserialize(MapAccessDeserializer::new(map)).map(Into::into)
    }
}
