//! Assets: their definitions, the inlets and outlets of tasks, and schedules that wait for them.

use std::collections::HashSet;

use chrono_tz::Tz;
use serde_json::{Map, Value};
use towpath_model::asset::{Asset, Condition, LONGEST_NAME, Outlet};
use towpath_model::timetable::Schedule;

use crate::diagnostic::Reporter;
use crate::fields::wrong;
use crate::node::{Kind, Node};
use crate::schedule;

const KEYS: &[&str] = &["name", "uri", "group", "extra"];
const EXAMPLE: &str = "for example {assets: [orders, customers]}, or {any: [orders, {all: [leads, calls]}]}";
/// Keys of a schedule that hold assets. dag-factory knows the older word, too.
const ASSETS: [&str; 2] = ["assets", "datasets"];

/// The assets that a DAG defines under `assets`.
#[derive(Debug, Default)]
pub(crate) struct Definitions(Vec<Asset>);

impl Definitions {
    /// Reads `assets`: a mapping of names to URIs or descriptions, or a list of descriptions.
    pub(crate) fn read(node: Option<&Node>, report: &mut Reporter) -> Self {
        let mut found = Self::default();
        let Some(node) = node else { return found };
        let none = Self::default();
        match &node.kind {
            Kind::Map(entries) if node.get("__type__").is_none() => {
                for (key, value) in entries {
                    let asset = match &value.kind {
                        Kind::Null => Some(Asset::named(&key.text)),
                        Kind::Text(uri) => Some(Asset { uri: uri.clone(), ..Asset::named(&key.text) }),
                        Kind::Map(_) => none.described(value, Some(&key.text), false, report).map(|(asset, _)| asset),
                        Kind::Bool(_) | Kind::Int(_) | Kind::Float(_) | Kind::List(_) => {
                            wrong(report, value, &key.text, "a URI, or a mapping with uri, group and extra");
                            None
                        }
                    };
                    found.0.extend(asset.filter(|asset| fits(asset, value, report)));
                }
            }
            Kind::List(items) => {
                for item in items {
                    let Some(asset) = none.asset(item, report) else { continue };
                    if found.0.iter().any(|other| other.name == asset.name) {
                        report.error(item.span, format!("asset `{}` is defined twice", asset.name));
                    } else {
                        found.0.push(asset);
                    }
                }
            }
            _ => wrong(report, node, "assets", "a mapping of names to URIs, or a list of {name, uri}"),
        }
        found
    }

    fn find(&self, text: &str) -> Option<&Asset> {
        self.0.iter().find(|asset| asset.name == text).or_else(|| self.0.iter().find(|asset| asset.uri == text))
    }

    /// The assets that a task reads.
    pub(crate) fn inlets(&self, node: Option<&Node>, report: &mut Reporter) -> Vec<Asset> {
        self.list(node, false, report).into_iter().map(|outlet| outlet.asset).collect()
    }

    /// The assets that a task updates.
    pub(crate) fn outlets(&self, node: Option<&Node>, report: &mut Reporter) -> Vec<Outlet> {
        self.list(node, true, report)
    }

    fn list(&self, node: Option<&Node>, is_outlet: bool, report: &mut Reporter) -> Vec<Outlet> {
        let Some(node) = node else { return Vec::new() };
        let items = match &node.kind {
            Kind::List(items) => items.as_slice(),
            _ => std::slice::from_ref(node),
        };
        let mut seen = HashSet::new();
        let mut found = Vec::with_capacity(items.len());
        for item in items {
            let Some((asset, event_extra)) = self.asset_with_events(item, is_outlet, report) else { continue };
            if seen.insert(asset.name.clone()) {
                found.push(Outlet { asset, event_extra });
            } else {
                report.error(item.span, format!("asset `{}` is named twice", asset.name)).help("name it once");
            }
        }
        found
    }

    /// An asset that is named or described.
    fn asset(&self, node: &Node, report: &mut Reporter) -> Option<Asset> {
        self.asset_with_events(node, false, report).map(|(asset, _)| asset)
    }

    fn asset_with_events(
        &self,
        node: &Node,
        is_outlet: bool,
        report: &mut Reporter,
    ) -> Option<(Asset, Map<String, Value>)> {
        let found = match &node.kind {
            Kind::Text(text) => Some((self.find(text).cloned().unwrap_or_else(|| Asset::named(text)), Map::new())),
            Kind::Map(_) => self.described(node, None, is_outlet, report),
            _ => {
                report
                    .error(node.span, format!("an asset is a name, a URI or a mapping, not {}", node.describe()))
                    .help("for example {name: orders, uri: \"s3://shop/orders\"}");
                None
            }
        };
        found.filter(|(asset, _)| fits(asset, node, report))
    }

    /// `{name, uri, group, extra}`, or dag-factory's `{__type__: airflow.sdk.Asset, ...}`.
    fn described(
        &self,
        node: &Node,
        name: Option<&str>,
        is_outlet: bool,
        report: &mut Reporter,
    ) -> Option<(Asset, Map<String, Value>)> {
        if let Some(class) = node.get("__type__").and_then(Node::as_text) {
            let short = class.rsplit('.').next().unwrap_or_default();
            if !matches!(short, "Asset" | "Dataset" | "AssetRef" | "AssetNameRef" | "AssetUriRef") {
                report
                    .error(node.span, format!("an asset cannot be made from `{class}`"))
                    .help("known is airflow.sdk.Asset; aliases and watchers are not supported");
                return None;
            }
        }
        let mut texts: [Option<String>; 3] = [name.map(str::to_owned), None, None];
        let (mut extra, mut event_extra) = (Map::new(), Map::new());
        for (key, value) in node.as_map().unwrap_or_default() {
            let place = KEYS.iter().take(3).position(|known| *known == key.text);
            match (key.text.as_str(), place, &value.kind) {
                ("__type__", ..) => {}
                ("__args__", _, Kind::List(items))
                    if items.len() <= 2 && items.iter().all(|i| i.as_text().is_some()) =>
                {
                    for (at, item) in items.iter().enumerate() {
                        texts[at] = item.as_text().map(str::to_owned);
                    }
                }
                (_, Some(at), Kind::Text(text)) => texts[at] = Some(text.clone()),
                (_, Some(_), Kind::Null) => {}
                (_, Some(_), _) => {
                    wrong(report, value, &key.text, "text");
                    return None;
                }
                ("extra", _, Kind::Map(_)) => extra = object(value),
                ("event_extra", _, Kind::Map(_)) if is_outlet => event_extra = object(value),
                ("extra" | "event_extra", _, Kind::Null) => {}
                ("event_extra", ..) if !is_outlet => {
                    report
                        .error(key.span, "`event_extra` belongs to an outlet")
                        .help("what is always true of the asset is its `extra`");
                    return None;
                }
                ("extra" | "event_extra", ..) => {
                    wrong(report, value, &key.text, "a mapping");
                    return None;
                }
                (other, ..) => {
                    let known = KEYS.iter().copied().chain(is_outlet.then_some("event_extra"));
                    report
                        .error(key.span, format!("an asset has no `{other}`"))
                        .suggest_or(other, known, || Some(format!("it has {}", KEYS.join(", "))));
                    return None;
                }
            }
        }
        let [name, uri, group] = texts;
        let Some(text) = name.clone().or_else(|| uri.clone()) else {
            report.error(node.span, "an asset needs a `name` or a `uri`");
            return None;
        };
        // One of them is enough to mean an asset that the DAG defines.
        let known = (name.is_none() || uri.is_none()).then(|| self.find(&text).cloned()).flatten();
        let mut asset =
            known.unwrap_or_else(|| Asset { uri: uri.unwrap_or_else(|| text.clone()), ..Asset::named(text) });
        if let Some(group) = group {
            asset.group = group;
        }
        if !extra.is_empty() {
            asset.extra = extra;
        }
        Some((asset, event_extra))
    }

    /// What a DAG waits for.
    fn condition(&self, node: &Node, report: &mut Reporter) -> Option<Condition> {
        let class = node.get("__type__").and_then(Node::as_text).unwrap_or_default();
        let short = class.rsplit('.').next().unwrap_or_default();
        if let Kind::List(items) = &node.kind {
            return self.parts(items, node, report).map(Condition::All);
        }
        if matches!(short, "AssetAll" | "AssetAny" | "DatasetAll" | "DatasetAny") {
            let items =
                node.get("__args__").or_else(|| node.get("objects")).and_then(Node::as_list).unwrap_or_default();
            let parts = self.parts(items, node, report)?;
            return Some(if short.ends_with("All") { Condition::All(parts) } else { Condition::Any(parts) });
        }
        let combined = [("all", true), ("any", false), ("__and__", true), ("__or__", false)];
        let combined = combined.into_iter().find_map(|(key, all)| Some((key, all, node.get(key)?)));
        let Some((key, all, value)) = combined else {
            return self.asset(node, report).map(Condition::Asset);
        };
        if let Some((other, _)) = node.as_map()?.iter().find(|(other, _)| other.text != key && other.text != "__type__")
        {
            report
                .error(other.span, format!("`{}` cannot stand beside `{key}`", other.text))
                .help("put one into the other: {all: [orders, {any: [leads, calls]}]}");
            return None;
        }
        let Some(items) = value.as_list() else {
            wrong(report, value, key, "a list of assets");
            return None;
        };
        let parts = self.parts(items, value, report)?;
        Some(if all { Condition::All(parts) } else { Condition::Any(parts) })
    }

    fn parts(&self, items: &[Node], node: &Node, report: &mut Reporter) -> Option<Vec<Condition>> {
        if items.is_empty() {
            report.error(node.span, "`schedule` waits for an empty list of assets").help(EXAMPLE);
            return None;
        }
        let parts: Vec<_> = items.iter().map(|item| self.condition(item, report)).collect();
        parts.into_iter().collect()
    }

    /// Whether a node of a schedule, which may also be a cron, means an asset: what the DAG defines, or a URI.
    fn means_asset(&self, node: &Node) -> bool {
        match &node.kind {
            Kind::Text(text) => self.find(text).is_some() || text.contains("://"),
            Kind::Map(_) => {
                let class = node.get("__type__").and_then(Node::as_text).unwrap_or_default();
                let short = class.rsplit('.').next().unwrap_or_default();
                let combines = ["all", "any", "__and__", "__or__", "name", "uri"];
                (short != "AssetOrTimeSchedule" && short != "DatasetOrTimeSchedule")
                    && (short.starts_with("Asset")
                        || short.starts_with("Dataset")
                        || combines.iter().any(|key| node.get(key).is_some()))
            }
            Kind::List(items) => items.iter().any(|item| self.means_asset(item)),
            Kind::Null | Kind::Bool(_) | Kind::Int(_) | Kind::Float(_) => false,
        }
    }
}

/// Reads a schedule: by time, by assets, or by both.
pub(crate) fn schedule(
    node: &Node,
    zone: Tz,
    assets: &Definitions,
    report: &mut Reporter,
) -> Option<(Schedule, Option<Condition>)> {
    if assets.means_asset(node) {
        return assets.condition(node, report).map(|condition| (Schedule::Never, Some(condition)));
    }
    let Some(value) = ASSETS.iter().find_map(|key| node.get(key)) else {
        return schedule::read(node, zone, report).map(|schedule| (schedule, None));
    };
    let condition = assets.condition(value, report);
    let rest: Vec<_> = node.as_map()?.iter().filter(|(key, _)| !ASSETS.contains(&key.text.as_str())).cloned().collect();
    let class = node.get("__type__").and_then(Node::as_text);
    let time = match class {
        Some(_) => match node.get("timetable") {
            Some(timetable) => schedule::read(timetable, zone, report)?,
            None => {
                report.error(node.span, "a schedule of assets or time needs `timetable`").help(EXAMPLE);
                return None;
            }
        },
        None if rest.is_empty() => Schedule::Never,
        None => schedule::read(&Node { span: node.span, kind: Kind::Map(rest) }, zone, report)?,
    };
    if time == Schedule::Continuous {
        report
            .error(node.span, "`@continuous` cannot be mixed with assets")
            .help("a DAG that always runs has no need to be told of updates");
        return None;
    }
    Some((time, Some(condition?)))
}

fn object(node: &Node) -> Map<String, Value> {
    match node.to_json() {
        Value::Object(map) => map,
        _ => Map::new(),
    }
}

/// Whether its name and URI can be used.
fn fits(asset: &Asset, node: &Node, report: &mut Reporter) -> bool {
    for (what, text) in [("name", &asset.name), ("uri", &asset.uri)] {
        let length = text.chars().count();
        if text.trim().is_empty() || length > LONGEST_NAME || text.contains('\0') {
            report
                .error(node.span, format!("the {what} of an asset cannot have {length} characters like these"))
                .help(format!("it has 1 to {LONGEST_NAME} characters, and not only blanks"));
            return false;
        }
    }
    true
}
