//! YAML as a tree that knows where each of its parts stands.

use std::collections::HashMap;
use std::fmt;

use serde::de::{self, Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};
use serde_yaml::Spanned;
use serde_yaml::budget::BudgetBreach;

use crate::Limits;

/// A place in one of the files that were read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
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
    pub(crate) help: Option<&'static str>,
    pub(crate) line: u32,
    pub(crate) column: u32,
    is_too_deep: bool,
}

/// Nesting that is read on the stack of the caller. The parser takes up to 34 kB of it for each level
/// in a debug build, and the threads that read files have 2 MB.
const SHALLOW: usize = 32;
/// Stack for each level of a deeper document.
const STACK_BYTES_PER_LEVEL: usize = 64 * 1024;
/// Deepest nesting that limits may ask for.
const MOST_DEPTH: usize = 1_000;

impl Node {
    /// Reads a document.
    pub(crate) fn parse(text: &str, source: u16, limits: &Limits) -> Result<Self, ParseError> {
        let limits = Limits { depth: limits.depth.min(MOST_DEPTH), ..*limits };
        let shallow = Limits { depth: limits.depth.min(SHALLOW), ..limits };
        match Self::parse_here(text, source, &shallow) {
            Err(error) if error.is_too_deep && shallow.depth < limits.depth => {
                Self::parse_on_a_stack(text, source, &limits)
            }
            parsed => parsed,
        }
    }

    /// [`Self::parse_here`] in a thread whose stack is large enough for the limit. Few documents need that,
    /// and a thread for each of ten thousand files would cost more than reading them.
    fn parse_on_a_stack(text: &str, source: u16, limits: &Limits) -> Result<Self, ParseError> {
        let stack = (limits.depth + SHALLOW) * STACK_BYTES_PER_LEVEL;
        std::thread::scope(|scope| {
            let work = || Self::parse_here(text, source, limits);
            match std::thread::Builder::new().stack_size(stack).spawn_scoped(scope, work) {
                Ok(thread) => thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)),
                Err(error) => {
                    let message = format!("there is no memory to read a file that is nested so deep: {error}");
                    Err(ParseError { message, help: None, line: 1, column: 1, is_too_deep: true })
                }
            }
        })
    }

    fn parse_here(text: &str, source: u16, limits: &Limits) -> Result<Self, ParseError> {
        // What an alias stands for is counted where it is used. How often one is used says nothing: a
        // hundred tasks may share one anchor.
        let budget = serde_yaml::budget! {
            max_depth: limits.depth,
            max_nodes: limits.nodes,
            max_events: limits.nodes.saturating_mul(2),
            max_documents: 1,
            flow_nesting_limit: limits.depth,
            max_recorded_anchor_events: limits.aliases,
            max_aliases: limits.aliases,
            max_anchors: limits.aliases,
            max_merge_keys: limits.aliases,
            enforce_alias_anchor_ratio: false,
        };
        let aliases = serde_yaml::alias_limits! { max_total_replayed_events: limits.aliases };
        let options = serde_yaml::options! {
            budget: budget,
            alias_limits: aliases,
            duplicate_keys: serde_yaml::DuplicateKeyPolicy::PassThrough,
            with_snippet: false,
            strict_booleans: true,
        };
        let root: Spanned<Kind> = serde_yaml::from_str_with_options(text, options).map_err(|error| {
            let at = error.location();
            let Explained { message, help, is_too_deep } = explain(&error, limits);
            let (line, column) = at.map_or((1, 1), |at| (at.line() as u32, at.column() as u32));
            ParseError { message, help, line, column, is_too_deep }
        })?;
        let mut root = unwrap(root);
        // The file itself is the first source, so that only defaults have to be walked over.
        if source != 0 {
            root.set_source(source);
        }
        Ok(root)
    }

    fn set_source(&mut self, source: u16) {
        self.span.source = source;
        match &mut self.kind {
            Kind::Null | Kind::Bool(_) | Kind::Int(_) | Kind::Float(_) | Kind::Text(_) => {}
            Kind::List(items) => items.iter_mut().for_each(|item| item.set_source(source)),
            Kind::Map(entries) => {
                for (key, node) in entries {
                    key.span.source = source;
                    node.set_source(source);
                }
            }
        }
    }

    /// How many parts it has, itself included.
    pub(crate) fn parts(&self) -> usize {
        match &self.kind {
            Kind::Null | Kind::Bool(_) | Kind::Int(_) | Kind::Float(_) | Kind::Text(_) => 1,
            Kind::List(items) => 1 + items.iter().map(Self::parts).sum::<usize>(),
            Kind::Map(entries) => 1 + entries.iter().map(|(_, node)| 1 + node.parts()).sum::<usize>(),
        }
    }

    /// Calls `found` with the first and the later key wherever a mapping has one twice.
    pub(crate) fn double_keys(&self, found: &mut impl FnMut(&Key, &Key)) {
        match &self.kind {
            Kind::Null | Kind::Bool(_) | Kind::Int(_) | Kind::Float(_) | Kind::Text(_) => {}
            Kind::List(items) => items.iter().for_each(|item| item.double_keys(found)),
            Kind::Map(entries) => {
                double_keys_of(entries, found);
                entries.iter().for_each(|(_, node)| node.double_keys(found));
            }
        }
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

/// [`Node::double_keys`] of one mapping alone.
pub(crate) fn double_keys_of(entries: &[(Key, Node)], found: &mut impl FnMut(&Key, &Key)) {
    // Nearly all mappings are small, and for those looking back is quicker than a table.
    if entries.len() <= 16 {
        for (index, (key, _)) in entries.iter().enumerate() {
            if let Some((first, _)) = entries[..index].iter().find(|(first, _)| first.text == key.text) {
                found(first, key);
            }
        }
        return;
    }
    let mut firsts: HashMap<&str, &Key> = HashMap::with_capacity(entries.len());
    for (key, _) in entries {
        if let Some(first) = firsts.get(key.text.as_str()) {
            found(first, key);
        } else {
            firsts.insert(&key.text, key);
        }
    }
}

struct Explained {
    message: String,
    help: Option<&'static str>,
    is_too_deep: bool,
}

impl Explained {
    fn new(message: impl Into<String>, help: Option<&'static str>) -> Self {
        Self { message: message.into(), help, is_too_deep: false }
    }
}

/// A parser's complaint in this crate's words, without the place, which is told by the diagnostic.
fn explain(error: &serde_yaml::Error, limits: &Limits) -> Explained {
    const SPLIT: Option<&str> = Some("split it into several files, or move data out of it");
    use serde_yaml::Error;
    match error.without_snippet() {
        Error::AliasError { error, .. } => explain(error, limits),
        Error::Budget { breach, .. } => match breach {
            BudgetBreach::Depth { .. } => too_deep(limits),
            BudgetBreach::Documents { .. } => one_document(),
            BudgetBreach::Nodes { .. } | BudgetBreach::Events { .. } => {
                let message =
                    format!("the file has more than {} parts, which is more than a DAG file may have", limits.nodes);
                Explained::new(message, SPLIT)
            }
            BudgetBreach::ScalarBytes { .. } => Explained::new(
                "the texts of the file are too long together, those of aliases counted at each use",
                SPLIT,
            ),
            BudgetBreach::Aliases { .. }
            | BudgetBreach::Anchors { .. }
            | BudgetBreach::MergeKeys { .. }
            | BudgetBreach::RecordedAnchorEvents { .. }
            | BudgetBreach::RecordedAnchorBytes { .. } => too_many_aliases(limits),
            other => Explained::new(format!("the file is larger than a DAG file may be ({other:?})"), SPLIT),
        },
        Error::AliasReplayLimitExceeded { .. }
        | Error::AliasExpansionLimitExceeded { .. }
        | Error::AliasReplayStackDepthExceeded { .. }
        | Error::AliasReplayCounterOverflow { .. } => too_many_aliases(limits),
        Error::MultipleDocuments { .. } => one_document(),
        Error::NonFiniteFloat { value, .. } => {
            let message = format!("`{value}` is not a number that a DAG can hold");
            Explained::new(message, Some("put it in quotes if it is meant as text"))
        }
        other => explain_syntax(&other.to_string(), limits),
    }
}

fn too_deep(limits: &Limits) -> Explained {
    let message = format!("lists and mappings are nested more than {} deep", limits.depth);
    Explained { is_too_deep: true, ..Explained::new(message, None) }
}

fn too_many_aliases(limits: &Limits) -> Explained {
    let message = format!("aliases (`*name`) make the file grow by more than {} parts", limits.aliases);
    Explained::new(message, Some("use fewer aliases, or aliases of smaller things"))
}

fn one_document() -> Explained {
    let message = "a file holds one YAML document, and here a second one begins";
    Explained::new(message, Some("write several DAGs as one mapping of DAG ids to DAGs, or into several files"))
}

/// What is not YAML. The parser tells this as text only.
fn explain_syntax(message: &str, limits: &Limits) -> Explained {
    let message = message.lines().next().unwrap_or("it cannot be read").trim();
    let message = message.strip_prefix("error: ").unwrap_or(message);
    let message = message.split(" at line ").next().unwrap_or(message);
    if message.contains("recursion limit exceeded") {
        return too_deep(limits);
    }
    if message.contains("tabs disallowed") {
        return Explained::new("a tab stands where YAML wants spaces", Some("indent with spaces"));
    }
    if let Some((_, rest)) = message.split_once("unexpected character: `\\u{")
        && let Some((code, _)) = rest.split_once('}')
    {
        let message = format!("this is not valid YAML: the control character U+{code:0>4} cannot stand in a file");
        return Explained::new(message, Some("remove it, or write it as an escape (`\\xNN`) in double quotes"));
    }
    Explained::new(format!("this is not valid YAML: {message}"), None)
}

/// A key: any scalar, kept as text.
#[derive(Debug)]
struct KeyText(String);

fn place(location: serde_yaml::Location) -> Span {
    Span { source: 0, line: (location.line() as u32).max(1), column: (location.column() as u32).max(1) }
}

/// Takes the place out of the parser's wrapper. Each part is unwrapped as soon as it has been read, for
/// wrapped it is more than twice as large.
fn unwrap(part: Spanned<Kind>) -> Node {
    Node { span: place(part.referenced), kind: part.value }
}

struct KindVisitor;

impl<'de> Visitor<'de> for KindVisitor {
    type Value = Kind;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_unit<E: de::Error>(self) -> Result<Kind, E> {
        Ok(Kind::Null)
    }

    fn visit_none<E: de::Error>(self) -> Result<Kind, E> {
        Ok(Kind::Null)
    }

    fn visit_bool<E: de::Error>(self, value: bool) -> Result<Kind, E> {
        Ok(Kind::Bool(value))
    }

    fn visit_i64<E: de::Error>(self, value: i64) -> Result<Kind, E> {
        Ok(Kind::Int(value))
    }

    fn visit_u64<E: de::Error>(self, value: u64) -> Result<Kind, E> {
        Ok(i64::try_from(value).map_or(Kind::Float(value as f64), Kind::Int))
    }

    fn visit_f64<E: de::Error>(self, value: f64) -> Result<Kind, E> {
        Ok(Kind::Float(value))
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Kind, E> {
        Ok(Kind::Text(text.to_owned()))
    }

    fn visit_string<E: de::Error>(self, text: String) -> Result<Kind, E> {
        Ok(Kind::Text(text))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Kind, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = seq.next_element()? {
            items.push(unwrap(item));
        }
        Ok(Kind::List(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Kind, A::Error> {
        let mut entries = Vec::new();
        while let Some((key, value)) = map.next_entry::<Spanned<KeyText>, Spanned<Kind>>()? {
            entries.push((Key { span: place(key.referenced), text: key.value.0 }, unwrap(value)));
        }
        Ok(Kind::Map(entries))
    }
}

impl<'de> Deserialize<'de> for Kind {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(KindVisitor)
    }
}

impl<'de> Deserialize<'de> for KeyText {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match deserializer.deserialize_any(KindVisitor)? {
            Kind::Text(text) => Ok(Self(text)),
            Kind::Bool(value) => Ok(Self(value.to_string())),
            Kind::Int(value) => Ok(Self(value.to_string())),
            Kind::Float(value) => Ok(Self(value.to_string())),
            Kind::Null => Ok(Self("null".to_owned())),
            Kind::List(_) | Kind::Map(_) => Err(de::Error::custom("a key has to be text, not a list or a mapping")),
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
    fn tells_double_keys() {
        let many: String = (0..40).map(|n| format!("k{}: 1\n", n % 39)).collect();
        for (text, expected) in [
            ("a: 1\na: 2\n", "a 1 2"),
            ("x: [{b: 1, c: 2, b: 3}]\n", "b 1 1"),
            (many.as_str(), "k0 1 40"),
            ("a: 1\nb: {a: 1}\n", ""),
        ] {
            let mut found = Vec::new();
            Node::parse(text, 0, &Limits::default()).unwrap().double_keys(&mut |first, second| {
                found.push(format!("{} {} {}", first.text, first.span.line, second.span.line));
            });
            assert_eq!(found.join(", "), expected, "{text}");
        }
    }

    #[test]
    fn a_merged_key_is_not_a_double_one() {
        let tree = Node::parse("- &a {x: 1, y: 2}\n- {<<: *a, x: 3}\n", 0, &Limits::default()).unwrap();
        let mut found = 0;
        tree.double_keys(&mut |_, _| found += 1);
        assert_eq!(found, 0);
        assert_eq!(tree.as_list().unwrap()[1].get("x").unwrap().kind, Kind::Int(3));
    }

    #[test]
    fn the_deepest_tree_fits_a_small_stack() {
        for depth in [SHALLOW, SHALLOW + 1, Limits::default().depth] {
            let text = format!("{}1{}", "[".repeat(depth), "]".repeat(depth));
            let work = move || Node::parse(&text, 0, &Limits::default()).unwrap().parts();
            let parts = std::thread::Builder::new().stack_size(2 * 1024 * 1024).spawn(work).unwrap().join().unwrap();
            assert_eq!(parts, depth + 1);
        }
    }
}
