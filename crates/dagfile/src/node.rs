//! YAML as a tree that knows where each of its parts stands.

use std::fmt;

use serde::de::{self, Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};
use serde_yaml::Spanned;

use crate::Limits;

/// A place in one of the files that were read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Span {
    /// Index into the sources of the [`crate::diagnostic::Reporter`].
    pub(crate) source: u16,
    /// From 1.
    pub(crate) line: u32,
    /// From 1, in characters.
    pub(crate) column: u32,
}

/// A part of a document.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Node {
    pub(crate) span: Span,
    pub(crate) kind: Kind,
}

/// What a part is.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Kind {
    Null,
    Bool(bool),
    Int(i64),
    Float(f64),
    Text(String),
    List(Vec<Node>),
    /// In the order of the file; a key may stand twice.
    Map(Vec<(Key, Node)>),
}

/// The key of a mapping's entry.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Key {
    pub(crate) span: Span,
    pub(crate) text: String,
}

/// Why a text is no tree.
#[derive(Debug)]
pub(crate) struct ParseError {
    pub(crate) message: String,
    pub(crate) line: u32,
    pub(crate) column: u32,
}

impl Node {
    /// Reads a document.
    pub(crate) fn parse(text: &str, source: u16, limits: &Limits) -> Result<Self, ParseError> {
        let budget = serde_yaml::budget! {
            max_depth: limits.depth,
            max_nodes: limits.nodes,
            max_events: limits.nodes.saturating_mul(2),
            max_documents: 1,
            flow_nesting_limit: limits.depth,
        };
        let options = serde_yaml::options! {
            budget: budget,
            duplicate_keys: serde_yaml::DuplicateKeyPolicy::PassThrough,
            with_snippet: false,
            strict_booleans: true,
        };
        let raw: Spanned<Raw> = serde_yaml::from_str_with_options(text, options).map_err(|error| {
            let at = error.location();
            ParseError {
                message: plain(&error.to_string()),
                line: at.map_or(1, |at| at.line() as u32),
                column: at.map_or(1, |at| at.column() as u32),
            }
        })?;
        Ok(node(raw, source))
    }

    /// What it is, for messages.
    pub(crate) fn describe(&self) -> String {
        match &self.kind {
            Kind::Null => "nothing".to_owned(),
            Kind::Bool(value) => format!("the boolean {value}"),
            Kind::Int(value) => format!("the number {value}"),
            Kind::Float(value) => format!("the number {value}"),
            Kind::Text(text) if text.chars().count() > 40 => {
                format!("the text \"{}...\"", text.chars().take(37).collect::<String>())
            }
            Kind::Text(text) => format!("the text {text:?}"),
            Kind::List(_) => "a list".to_owned(),
            Kind::Map(_) => "a mapping".to_owned(),
        }
    }

    pub(crate) fn is_null(&self) -> bool {
        self.kind == Kind::Null
    }

    pub(crate) fn as_map(&self) -> Option<&[(Key, Node)]> {
        match &self.kind {
            Kind::Map(entries) => Some(entries),
            Kind::Null | Kind::Bool(_) | Kind::Int(_) | Kind::Float(_) | Kind::Text(_) | Kind::List(_) => None,
        }
    }

    pub(crate) fn as_list(&self) -> Option<&[Node]> {
        match &self.kind {
            Kind::List(items) => Some(items),
            Kind::Null | Kind::Bool(_) | Kind::Int(_) | Kind::Float(_) | Kind::Text(_) | Kind::Map(_) => None,
        }
    }

    pub(crate) fn as_text(&self) -> Option<&str> {
        match &self.kind {
            Kind::Text(text) => Some(text),
            Kind::Null | Kind::Bool(_) | Kind::Int(_) | Kind::Float(_) | Kind::List(_) | Kind::Map(_) => None,
        }
    }

    /// The last entry of that key.
    pub(crate) fn get(&self, key: &str) -> Option<&Node> {
        self.as_map()?.iter().rev().find(|(k, _)| k.text == key).map(|(_, node)| node)
    }

    /// A scalar as the text that stands for it.
    pub(crate) fn scalar_text(&self) -> Option<String> {
        match &self.kind {
            Kind::Text(text) => Some(text.clone()),
            Kind::Bool(value) => Some(value.to_string()),
            Kind::Int(value) => Some(value.to_string()),
            Kind::Float(value) => Some(value.to_string()),
            Kind::Null | Kind::List(_) | Kind::Map(_) => None,
        }
    }

    /// The same as JSON. Numbers that JSON does not have become text.
    pub(crate) fn to_json(&self) -> Value {
        match &self.kind {
            Kind::Null => Value::Null,
            Kind::Bool(value) => Value::Bool(*value),
            Kind::Int(value) => Value::from(*value),
            Kind::Float(value) => {
                Number::from_f64(*value).map_or_else(|| Value::from(value.to_string()), Value::Number)
            }
            Kind::Text(text) => Value::from(text.as_str()),
            Kind::List(items) => items.iter().map(Self::to_json).collect(),
            Kind::Map(entries) => Value::Object(
                entries.iter().map(|(key, node)| (key.text.clone(), node.to_json())).collect::<Map<_, _>>(),
            ),
        }
    }
}

/// The first sentence of a parser's message, without the place, which is told by the diagnostic.
fn plain(message: &str) -> String {
    let message = message.lines().next().unwrap_or("it cannot be read").trim();
    let message = message.strip_prefix("error: ").unwrap_or(message);
    if message.contains("Documents {") {
        return "a file holds one document; several DAGs stand in one mapping of ids to DAGs".to_owned();
    }
    if message.contains("budget breached") || message.contains("alias") && message.contains("limit") {
        let which = message.rsplit("breached: ").next().unwrap_or(message);
        return format!("it is larger or deeper than a DAG file may be ({which})");
    }
    message.split(" at line ").next().unwrap_or(message).to_owned()
}

#[derive(Debug)]
enum Raw {
    Null,
    Bool(bool),
    Int(i64),
    Float(f64),
    Text(String),
    List(Vec<Spanned<Raw>>),
    Map(Vec<(Spanned<RawKey>, Spanned<Raw>)>),
}

/// A key: any scalar, kept as text.
#[derive(Debug)]
struct RawKey(String);

fn node(raw: Spanned<Raw>, source: u16) -> Node {
    let span = |location: serde_yaml::Location| Span {
        source,
        line: (location.line() as u32).max(1),
        column: (location.column() as u32).max(1),
    };
    let kind = match raw.value {
        Raw::Null => Kind::Null,
        Raw::Bool(value) => Kind::Bool(value),
        Raw::Int(value) => Kind::Int(value),
        Raw::Float(value) => Kind::Float(value),
        Raw::Text(text) => Kind::Text(text),
        Raw::List(items) => Kind::List(items.into_iter().map(|item| node(item, source)).collect()),
        Raw::Map(entries) => Kind::Map(
            entries
                .into_iter()
                .map(|(key, value)| (Key { span: span(key.referenced), text: key.value.0 }, node(value, source)))
                .collect(),
        ),
    };
    Node { span: span(raw.referenced), kind }
}

struct RawVisitor;

impl<'de> Visitor<'de> for RawVisitor {
    type Value = Raw;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_unit<E: de::Error>(self) -> Result<Raw, E> {
        Ok(Raw::Null)
    }

    fn visit_none<E: de::Error>(self) -> Result<Raw, E> {
        Ok(Raw::Null)
    }

    fn visit_bool<E: de::Error>(self, value: bool) -> Result<Raw, E> {
        Ok(Raw::Bool(value))
    }

    fn visit_i64<E: de::Error>(self, value: i64) -> Result<Raw, E> {
        Ok(Raw::Int(value))
    }

    fn visit_u64<E: de::Error>(self, value: u64) -> Result<Raw, E> {
        Ok(i64::try_from(value).map_or(Raw::Float(value as f64), Raw::Int))
    }

    fn visit_f64<E: de::Error>(self, value: f64) -> Result<Raw, E> {
        Ok(Raw::Float(value))
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Raw, E> {
        Ok(Raw::Text(text.to_owned()))
    }

    fn visit_string<E: de::Error>(self, text: String) -> Result<Raw, E> {
        Ok(Raw::Text(text))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Raw, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = seq.next_element()? {
            items.push(item);
        }
        Ok(Raw::List(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Raw, A::Error> {
        let mut entries = Vec::new();
        while let Some(entry) = map.next_entry()? {
            entries.push(entry);
        }
        Ok(Raw::Map(entries))
    }
}

impl<'de> Deserialize<'de> for Raw {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(RawVisitor)
    }
}

impl<'de> Deserialize<'de> for RawKey {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match deserializer.deserialize_any(RawVisitor)? {
            Raw::Text(text) => Ok(Self(text)),
            Raw::Bool(value) => Ok(Self(value.to_string())),
            Raw::Int(value) => Ok(Self(value.to_string())),
            Raw::Float(value) => Ok(Self(value.to_string())),
            Raw::Null => Ok(Self("null".to_owned())),
            Raw::List(_) | Raw::Map(_) => Err(de::Error::custom("a key has to be text, not a list or a mapping")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn knows_where_things_stand() {
        let tree = Node::parse("a: 1\nb:\n  - x\n  - {c: 2013-01-01}\n", 0, &Limits::default()).unwrap();
        let b = tree.get("b").unwrap();
        let c = b.as_list().unwrap()[1].get("c").unwrap();
        assert_eq!((c.span.line, c.span.column, c.as_text()), (4, 9, Some("2013-01-01")));
        assert_eq!(tree.as_map().unwrap()[1].0.span.line, 2);
    }

    #[test]
    fn keeps_both_of_a_double_key() {
        let tree = Node::parse("a: 1\na: 2\n", 0, &Limits::default()).unwrap();
        assert_eq!(tree.as_map().unwrap().len(), 2);
    }
}
