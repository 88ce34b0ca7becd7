//! What a task reads: results of other tasks, or sources of its own.

use std::fmt;

use serde::de::value::MapAccessDeserializer;
use serde::de::{self, Deserialize, Deserializer, IntoDeserializer, MapAccess, SeqAccess, Visitor};
use serde::{Serialize, Serializer};
use serde_json::Value;

use super::Source;
use super::source::KINDS;

/// One thing that is read.
#[derive(Debug, Clone, PartialEq)]
pub enum Input {
    /// The data set that a task of this run has left.
    Task(String),
    Source(Box<Source>),
}

/// Things that are read, by the names under which SQL knows them. The first is what `steps` start from.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Inputs(pub Vec<(String, Input)>);

/// The name of an only input, besides the id of its task.
const ONLY: &str = "input";

impl Serialize for Input {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Task(task) => task.serialize(serializer),
            Self::Source(source) => source.serialize(serializer),
        }
    }
}

impl<'de> Deserialize<'de> for Input {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(InputVisitor)
    }
}

struct InputVisitor;

impl<'de> Visitor<'de> for InputVisitor {
    type Value = Input;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the id of a task, or a source")
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Input, E> {
        Ok(Input::Task(text.to_owned()))
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Input, A::Error> {
        Source::deserialize(MapAccessDeserializer::new(map)).map(|source| Input::Source(Box::new(source)))
    }
}

impl Serialize for Inputs {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().map(|(name, input)| (name, input)))
    }
}

impl Inputs {
    /// Whether a mapping with these keys is one source, and not names of inputs.
    pub fn is_source<'k>(mut keys: impl Iterator<Item = &'k str>) -> bool {
        keys.any(|key| KINDS.contains(&key))
    }

    /// The ids of the tasks that are read.
    pub fn tasks(&self) -> impl Iterator<Item = &str> {
        self.0.iter().filter_map(|(_, input)| match input {
            Input::Task(task) => Some(task.as_str()),
            Input::Source(_) => None,
        })
    }

    fn only(input: Input) -> Self {
        let name = match &input {
            Input::Task(task) => task.clone(),
            Input::Source(_) => ONLY.to_owned(),
        };
        Self(vec![(name, input)])
    }
}

impl<'de> Deserialize<'de> for Inputs {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(InputsVisitor)
    }
}

struct InputsVisitor;

impl<'de> Visitor<'de> for InputsVisitor {
    type Value = Inputs;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the id of a task, a source, a list of them, or a mapping of names to them")
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Inputs, E> {
        Ok(Inputs::only(Input::Task(text.to_owned())))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Inputs, A::Error> {
        let mut list: Vec<(String, Input)> = Vec::new();
        while let Some(input) = items.next_element::<Input>()? {
            let name = match &input {
                Input::Task(task) => task.clone(),
                Input::Source(_) => format!("{ONLY}_{}", list.len() + 1),
            };
            list.push((name, input));
        }
        if list.is_empty() {
            return Err(de::Error::custom("`input` names nothing to read"));
        }
        Ok(Inputs(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Inputs, A::Error> {
        // A source and a mapping of names look alike until their keys are known.
        let mut keys: Vec<(String, Value)> = Vec::new();
        while let Some(entry) = map.next_entry()? {
            keys.push(entry);
        }
        if Inputs::is_source(keys.iter().map(|(key, _)| key.as_str())) {
            let whole: serde_json::Map<String, Value> = keys.into_iter().collect();
            let source = Source::deserialize(Value::Object(whole).into_deserializer()).map_err(de::Error::custom)?;
            return Ok(Inputs::only(Input::Source(Box::new(source))));
        }
        let inputs = keys.into_iter().map(|(name, value)| {
            let input = Input::deserialize(value.into_deserializer());
            input.map(|input| (name.clone(), input)).map_err(|error| de::Error::custom(format!("`{name}`: {error}")))
        });
        inputs.collect::<Result<_, _>>().map(Inputs)
    }
}
