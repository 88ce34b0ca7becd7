//! Assets: data that tasks produce and that DAGs can wait for.
//!
//! An [`Asset`] has a name and a URI; tasks name the ones that they update ([`Outlet`]) and read. A DAG
//! whose schedule is a [`Condition`] runs when events of those assets satisfy it. The rules are Airflow 3's:
//! every event since the last run that an event caused counts once, however often an asset was updated.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

/// The group of assets that do not name one, as in Airflow.
pub const DEFAULT_GROUP: &str = "asset";
/// Longest name or URI, in characters; Airflow's limit.
pub const LONGEST_NAME: usize = 1500;

/// Some data, by name and place.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Asset {
    pub name: String,
    pub uri: String,
    #[serde(default = "default_group", skip_serializing_if = "is_default_group")]
    pub group: String,
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    pub extra: Map<String, Value>,
}

/// An asset that a task updates when it succeeds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Outlet {
    #[serde(flatten)]
    pub asset: Asset,
    /// What its events say besides; text in it may be templates.
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    pub event_extra: Map<String, Value>,
}

/// Which assets have to be updated before a DAG runs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Condition {
    Asset(Asset),
    /// Every one of them.
    All(Vec<Condition>),
    /// One of them.
    Any(Vec<Condition>),
}

fn default_group() -> String {
    DEFAULT_GROUP.to_owned()
}

fn is_default_group(group: &str) -> bool {
    group == DEFAULT_GROUP
}

impl Asset {
    /// The asset that a mere text speaks of: its name and its URI are the same, as in Airflow.
    #[must_use]
    pub fn named(text: impl Into<String>) -> Self {
        let name = text.into();
        Self { uri: name.clone(), name, group: default_group(), extra: Map::new() }
    }

    /// Whether it has one text for name and URI, so that it may be somebody else's asset by either.
    #[must_use]
    pub fn is_bare(&self) -> bool {
        self.name == self.uri
    }

    /// Whether it speaks of the asset with that name and URI.
    #[must_use]
    pub fn is(&self, name: &str, uri: &str) -> bool {
        self.name == name || self.uri == uri
    }
}

impl Outlet {
    /// An outlet whose events say nothing besides.
    #[must_use]
    pub fn of(asset: Asset) -> Self {
        Self { asset, event_extra: Map::new() }
    }
}

impl Condition {
    /// Whether it is satisfied, where `has` says which assets have been updated.
    pub fn holds(&self, has: &impl Fn(&Asset) -> bool) -> bool {
        match self {
            Self::Asset(asset) => has(asset),
            Self::All(parts) => parts.iter().all(|part| part.holds(has)),
            Self::Any(parts) => parts.iter().any(|part| part.holds(has)),
        }
    }

    /// The assets that it names, each once, in the order of the file.
    #[must_use]
    pub fn assets(&self) -> Vec<&Asset> {
        let mut found: Vec<&Asset> = Vec::new();
        self.collect(&mut found);
        found
    }

    fn collect<'a>(&'a self, found: &mut Vec<&'a Asset>) {
        match self {
            Self::Asset(asset) => {
                if !found.iter().any(|other| other.name == asset.name) {
                    found.push(asset);
                }
            }
            Self::All(parts) | Self::Any(parts) => parts.iter().for_each(|part| part.collect(found)),
        }
    }

    /// In words: `orders and (customers or leads)`.
    #[must_use]
    pub fn words(&self) -> String {
        self.text(false)
    }

    fn text(&self, is_inner: bool) -> String {
        let (parts, word) = match self {
            Self::Asset(asset) => return asset.name.clone(),
            Self::All(parts) => (parts, " and "),
            Self::Any(parts) => (parts, " or "),
        };
        let text = parts.iter().map(|part| part.text(true)).collect::<Vec<_>>().join(word);
        if is_inner && parts.len() > 1 { format!("({text})") } else { text }
    }

    /// The form in which Airflow's API tells it: `{"all": [{"asset": {...}}, ...]}`.
    #[must_use]
    pub fn expression(&self) -> Value {
        let list = |parts: &[Self]| parts.iter().map(Self::expression).collect::<Vec<_>>();
        match self {
            Self::Asset(asset) => json!({"asset": {"uri": asset.uri, "name": asset.name, "group": asset.group}}),
            Self::All(parts) => json!({"all": list(parts)}),
            Self::Any(parts) => json!({"any": list(parts)}),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn leaf(name: &str) -> Condition {
        Condition::Asset(Asset::named(name))
    }

    fn tree() -> Condition {
        Condition::All(vec![leaf("a"), Condition::Any(vec![leaf("b"), leaf("c"), leaf("a")])])
    }

    #[test]
    fn conditions_hold_as_written() {
        for (condition, updated, expected) in [
            (leaf("a"), "a", true),
            (leaf("a"), "b", false),
            (tree(), "a", true),
            (tree(), "b", false),
            (tree(), "bc", false),
            (Condition::All(vec![leaf("a"), leaf("b")]), "a", false),
            (Condition::All(vec![leaf("a"), leaf("b")]), "ab", true),
            (Condition::Any(vec![leaf("a"), leaf("b")]), "b", true),
        ] {
            assert_eq!(condition.holds(&|asset| updated.contains(&asset.name)), expected, "{condition:?} {updated}");
        }
    }

    #[test]
    fn conditions_read_as_words_and_as_airflows_expression() {
        assert_eq!(tree().words(), "a and (b or c or a)");
        assert_eq!(Condition::All(vec![leaf("a"), Condition::All(vec![leaf("b")])]).words(), "a and b");
        assert_eq!(tree().assets().iter().map(|asset| asset.name.as_str()).collect::<String>(), "abc");
        let asset = |name: &str| json!({"asset": {"uri": name, "name": name, "group": "asset"}});
        assert_eq!(tree().expression(), json!({"all": [asset("a"), {"any": [asset("b"), asset("c"), asset("a")]}]}));
    }

    #[test]
    fn the_stored_form_leaves_defaults_out() {
        let outlet = Outlet::of(Asset::named("a"));
        let text = serde_json::to_string(&outlet).unwrap();
        assert_eq!(text, r#"{"name":"a","uri":"a"}"#);
        assert_eq!(serde_json::from_str::<Outlet>(&text).unwrap(), outlet);
    }
}
