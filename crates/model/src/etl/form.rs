//! Ways in which files may write a thing shorter.

use std::fmt;
use std::marker::PhantomData;

use indexmap::IndexMap;
use serde::de::{self, Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde::{Serialize, Serializer};

/// A list, or one item that stands for a list of one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OneOrMany<T>(pub Vec<T>);

impl<T> Default for OneOrMany<T> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<T> std::ops::Deref for OneOrMany<T> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        &self.0
    }
}

impl<T: Serialize> Serialize for OneOrMany<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for OneOrMany<String> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(OneOrManyVisitor)
    }
}

struct OneOrManyVisitor;

impl<'de> Visitor<'de> for OneOrManyVisitor {
    type Value = OneOrMany<String>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("text or a list of texts")
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Self::Value, E> {
        Ok(OneOrMany(vec![text.to_owned()]))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Self::Value, A::Error> {
        let mut list = Vec::new();
        while let Some(Scalar(item)) = items.next_element()? {
            list.push(item);
        }
        Ok(OneOrMany(list))
    }

    fn visit_i64<E: de::Error>(self, number: i64) -> Result<Self::Value, E> {
        Ok(OneOrMany(vec![number.to_string()]))
    }

    fn visit_u64<E: de::Error>(self, number: u64) -> Result<Self::Value, E> {
        Ok(OneOrMany(vec![number.to_string()]))
    }

    fn visit_f64<E: de::Error>(self, number: f64) -> Result<Self::Value, E> {
        Ok(OneOrMany(vec![number.to_string()]))
    }
}

/// Text, or a number that stands for its text: `null_values: [-999]`.
struct Scalar(String);

impl<'de> Deserialize<'de> for Scalar {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ScalarVisitor).map(Self)
    }
}

struct ScalarVisitor;

impl Visitor<'_> for ScalarVisitor {
    type Value = String;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("text")
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<String, E> {
        Ok(text.to_owned())
    }

    fn visit_i64<E: de::Error>(self, number: i64) -> Result<String, E> {
        Ok(number.to_string())
    }

    fn visit_u64<E: de::Error>(self, number: u64) -> Result<String, E> {
        Ok(number.to_string())
    }

    fn visit_f64<E: de::Error>(self, number: f64) -> Result<String, E> {
        Ok(number.to_string())
    }
}

/// An expression and the name of its column; `None` is the name that SQL gives it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NamedExpr {
    pub name: Option<String>,
    /// SQL.
    pub expr: String,
}

/// Expressions: text, a list of texts and mappings, or a mapping of names to expressions.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct NamedExprs(pub Vec<NamedExpr>);

impl std::ops::Deref for NamedExprs {
    type Target = [NamedExpr];

    fn deref(&self) -> &[NamedExpr] {
        &self.0
    }
}

impl Serialize for NamedExprs {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.0.iter().map(|item| match &item.name {
            None => Form::Text(&item.expr),
            Some(name) => Form::Named(IndexMap::from([(name, &item.expr)])),
        }))
    }
}

#[derive(Serialize)]
#[serde(untagged)]
enum Form<'a> {
    Text(&'a String),
    Named(IndexMap<&'a String, &'a String>),
}

impl<'de> Deserialize<'de> for NamedExprs {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(NamedExprsVisitor(PhantomData::<Self>))
    }
}

struct NamedExprsVisitor<T>(PhantomData<T>);

impl<'de> Visitor<'de> for NamedExprsVisitor<NamedExprs> {
    type Value = NamedExprs;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an expression, a list of expressions, or a mapping of names to expressions")
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Self::Value, E> {
        Ok(NamedExprs(vec![NamedExpr { name: None, expr: text.to_owned() }]))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Self::Value, A::Error> {
        let mut list = Vec::new();
        while let Some(NamedExprs(item)) = items.next_element()? {
            list.extend(item);
        }
        Ok(NamedExprs(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Self::Value, A::Error> {
        let mut list = Vec::new();
        while let Some((name, expr)) = entries.next_entry::<String, String>()? {
            list.push(NamedExpr { name: Some(name), expr });
        }
        Ok(NamedExprs(list))
    }
}
