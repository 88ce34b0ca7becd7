//! The arguments of data tasks, read into the types of `towpath_model::etl` straight from the tree, so that
//! each complaint knows its place.

use std::fmt;

use serde::Deserialize;
use serde::de::{self, DeserializeSeed, IntoDeserializer, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value};
use towpath_model::etl::{Inputs, Source, Step, Target};
use towpath_model::operator::OperatorSpec;

use crate::args::is_template;
use crate::diagnostic::Reporter;
use crate::fields::Fields;
use crate::node::{Key, Kind, Node, Span};
use crate::resolve::Reference;

/// Whether an operator is one of the engine's.
fn is_etl(operator: &OperatorSpec) -> bool {
    matches!(operator.name, "extract" | "transform" | "load")
}

/// The tasks that `input` names. For a data task it may also be a source, or a mapping of names.
pub(crate) fn inputs(fields: &Fields<'_>, operator: Option<&OperatorSpec>, report: &mut Reporter) -> Vec<Reference> {
    let Some(node) = fields.get("input") else { return Vec::new() };
    if !operator.is_some_and(is_etl) {
        let texts = fields.list("input", report);
        return texts.into_iter().map(|(text, node)| Reference { text, span: node.span }).collect();
    }
    let mut found = Vec::new();
    let mut add = |node: &Node| {
        if let Some(text) = node.as_text().filter(|text| !is_template(text)) {
            found.push(Reference { text: text.to_owned(), span: node.span });
        }
    };
    match &node.kind {
        Kind::List(items) => items.iter().for_each(add),
        Kind::Map(entries) if !Inputs::is_source(entries.iter().map(|(key, _)| key.text.as_str())) => {
            entries.iter().for_each(|(_, node)| add(node));
        }
        _ => add(node),
    }
    found
}

/// Checks the arguments of a data task, those in `mapped` coming with the elements, puts `input` among them, and finds the tasks that steps read.
pub(crate) fn finish(
    operator: &OperatorSpec,
    own: &[(&Key, &Node)],
    fields: &Fields<'_>,
    task: &Node,
    mapped: &[&'static str],
    args: &mut Map<String, Value>,
    report: &mut Reporter,
) -> Vec<Reference> {
    if !is_etl(operator) {
        return Vec::new();
    }
    let input = fields.get("input");
    let mut names = Vec::new();
    match (operator.name, input) {
        ("extract", Some(node)) => {
            report
                .error(node.span, "a task with operator `extract` has no `input`: it reads its `source`")
                .help("to work on what another task has left, use operator `transform`");
        }
        ("extract", None) => {}
        // Each instance gets its own.
        (_, None) if mapped.contains(&"input") => {}
        (_, None) => {
            report
                .error(task.span, format!("a task with operator `{}` needs `input`", operator.name))
                .help("a task that leaves a data set, or a source such as {csv: data/*.csv}");
        }
        (name, Some(node)) => {
            args.insert("input".to_owned(), node.to_json());
            if let Some(inputs) = read::<Inputs>(node, report) {
                if name == "load" && inputs.0.len() > 1 {
                    report.error(node.span, "a load has one input").help("put them together with a `union` step");
                }
                names = inputs.0.into_iter().map(|(name, _)| name).collect();
            }
        }
    }
    let mut references = Vec::new();
    for (key, node) in own {
        match operator.arg(&key.text).map(|arg| arg.name) {
            Some("source") => drop(read::<Source>(node, report)),
            Some("target") => drop(read::<Target>(node, report)),
            Some("steps") => {
                for step in node.as_list().unwrap_or_default() {
                    drop(read::<Step>(step, report));
                    references.extend(read_by_step(step, &names));
                }
            }
            _ => {}
        }
    }
    references
}

/// The tasks that a step reads with `with`, as far as they are no inputs of the task.
fn read_by_step(step: &Node, names: &[String]) -> Vec<Reference> {
    let with = ["join", "union"].iter().find_map(|name| step.get(name)?.get("with"));
    let Some(with) = with else { return Vec::new() };
    let items = with.as_list().unwrap_or(std::slice::from_ref(with));
    let texts = items.iter().filter_map(|node| Some((node.as_text()?, node.span)));
    let tasks = texts.filter(|(text, _)| !is_template(text) && !names.iter().any(|name| name == text));
    tasks.map(|(text, span)| Reference { text: text.to_owned(), span }).collect()
}

/// Reads a part of the tree, or complains. What a template will give is not known yet, so with one in it only names are checked.
fn read<T: for<'de> Deserialize<'de>>(node: &Node, report: &mut Reporter) -> Option<T> {
    match T::deserialize(Reader(node)) {
        Ok(value) => Some(value),
        Err(error) => {
            let Error { message, span, unknown } = error;
            if unknown.is_none() && has_template(node) {
                return None;
            }
            let reported = report.error(span.unwrap_or(node.span), message);
            if let Some((wrong, known)) = unknown {
                reported.suggest_or(&wrong, known.iter().copied(), || Some(format!("there are {}", known.join(", "))));
            }
            None
        }
    }
}

fn has_template(node: &Node) -> bool {
    match &node.kind {
        Kind::Text(text) => is_template(text),
        Kind::List(items) => items.iter().any(has_template),
        Kind::Map(entries) => entries.iter().any(|(_, node)| has_template(node)),
        Kind::Null | Kind::Bool(_) | Kind::Int(_) | Kind::Float(_) => false,
    }
}

#[derive(Debug)]
struct Error {
    message: String,
    /// The innermost part that is wrong.
    span: Option<Span>,
    /// A name that is not known, and those that are.
    unknown: Option<(String, &'static [&'static str])>,
}

impl Error {
    fn at(mut self, span: Span) -> Self {
        self.span.get_or_insert(span);
        self
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Error {}

impl de::Error for Error {
    fn custom<T: fmt::Display>(message: T) -> Self {
        Self { message: message.to_string(), span: None, unknown: None }
    }

    fn invalid_type(found: de::Unexpected<'_>, expected: &dyn de::Expected) -> Self {
        let found = match found {
            de::Unexpected::Unit | de::Unexpected::Option => "nothing".to_owned(),
            de::Unexpected::Map => "a mapping".to_owned(),
            de::Unexpected::Seq => "a list".to_owned(),
            other => other.to_string(),
        };
        let expected = expected.to_string();
        let expected = if expected == "a string" { "text; put it in quotes" } else { &expected };
        Self::custom(format!("this is {found}, but has to be {expected}"))
    }

    fn unknown_field(field: &str, expected: &'static [&'static str]) -> Self {
        Self { message: format!("there is no `{field}` here"), span: None, unknown: Some((field.to_owned(), expected)) }
    }

    fn unknown_variant(variant: &str, expected: &'static [&'static str]) -> Self {
        Self {
            message: format!("`{variant}` is not known here"),
            span: None,
            unknown: (!is_template(variant)).then(|| (variant.to_owned(), expected)),
        }
    }

    fn missing_field(field: &'static str) -> Self {
        Self::custom(format!("`{field}` is missing"))
    }
}

/// A part of the tree as serde sees it.
#[derive(Clone, Copy)]
struct Reader<'n>(&'n Node);

impl<'de> de::Deserializer<'de> for Reader<'_> {
    type Error = Error;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        let result = match &self.0.kind {
            Kind::Null => visitor.visit_unit(),
            Kind::Bool(value) => visitor.visit_bool(*value),
            Kind::Int(value) => match u64::try_from(*value) {
                Ok(value) => visitor.visit_u64(value),
                Err(_) => visitor.visit_i64(*value),
            },
            Kind::Float(value) => visitor.visit_f64(*value),
            Kind::Text(text) => visitor.visit_str(text),
            Kind::List(items) => visitor.visit_seq(Items(items.iter())),
            Kind::Map(entries) => visitor.visit_map(Entries { rest: entries.iter(), value: None }),
        };
        result.map_err(|error: Error| error.at(self.0.span))
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        if self.0.is_null() { visitor.visit_none() } else { visitor.visit_some(self) }
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(self, _: &'static str, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        let span = self.0.span;
        let result = match &self.0.kind {
            Kind::Text(text) => visitor.visit_enum(text.as_str().into_deserializer()),
            Kind::Map(entries) if entries.len() == 1 => {
                visitor.visit_enum(Choice { key: &entries[0].0, value: &entries[0].1 })
            }
            Kind::Map(entries) => {
                let names: Vec<&str> = entries.iter().map(|(key, _)| key.text.as_str()).collect();
                Err(de::Error::custom(format!(
                    "this has to be a mapping with one name, not with {}; write `- {{name: ...}}` for each step",
                    if names.is_empty() { "none".to_owned() } else { names.join(", ") }
                )))
            }
            _ => Err(de::Error::custom(format!("this has to be one name, not {}", self.0.describe()))),
        };
        result.map_err(|error: Error| error.at(span))
    }

    serde::forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf unit unit_struct seq tuple
        tuple_struct map struct identifier ignored_any
    }
}

struct Items<'n>(std::slice::Iter<'n, Node>);

impl<'de> SeqAccess<'de> for Items<'_> {
    type Error = Error;

    fn next_element_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<Option<T::Value>, Error> {
        self.0.next().map(|node| seed.deserialize(Reader(node))).transpose()
    }
}

struct Entries<'n> {
    rest: std::slice::Iter<'n, (Key, Node)>,
    value: Option<&'n (Key, Node)>,
}

impl<'de> MapAccess<'de> for Entries<'_> {
    type Error = Error;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, Error> {
        self.value = self.rest.next();
        let Some((key, _)) = self.value else { return Ok(None) };
        let key_reader: de::value::StrDeserializer<'_, Error> = key.text.as_str().into_deserializer();
        seed.deserialize(key_reader).map(Some).map_err(|error| error.at(key.span))
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, Error> {
        let (_, node) = self.value.expect("a value is asked for after its key");
        seed.deserialize(Reader(node))
    }
}

struct Choice<'n> {
    key: &'n Key,
    value: &'n Node,
}

impl<'de, 'n> de::EnumAccess<'de> for Choice<'n> {
    type Error = Error;
    type Variant = Content<'n>;

    fn variant_seed<V: DeserializeSeed<'de>>(self, seed: V) -> Result<(V::Value, Content<'n>), Error> {
        let name: de::value::StrDeserializer<'_, Error> = self.key.text.as_str().into_deserializer();
        let name = seed.deserialize(name).map_err(|error| error.at(self.key.span))?;
        Ok((name, Content(self.value)))
    }
}

struct Content<'n>(&'n Node);

impl<'de> de::VariantAccess<'de> for Content<'_> {
    type Error = Error;

    fn unit_variant(self) -> Result<(), Error> {
        if self.0.is_null() { Ok(()) } else { Err(de::Error::custom("there is nothing to say here")) }
    }

    fn newtype_variant_seed<T: DeserializeSeed<'de>>(self, seed: T) -> Result<T::Value, Error> {
        seed.deserialize(Reader(self.0))
    }

    fn tuple_variant<V: Visitor<'de>>(self, _: usize, visitor: V) -> Result<V::Value, Error> {
        de::Deserializer::deserialize_any(Reader(self.0), visitor)
    }

    fn struct_variant<V: Visitor<'de>>(self, _: &'static [&'static str], visitor: V) -> Result<V::Value, Error> {
        de::Deserializer::deserialize_any(Reader(self.0), visitor)
    }
}
