//! Assets in templates. Events are fetched when a template reads them.

use std::fmt;
use std::sync::Arc;

use minijinja::Value;
use minijinja::value::Object;
use towpath_model::asset::Asset;

use super::dates::{Moment, invalid};
use super::names::Scope;
use super::values::from_map;
use crate::assets::AssetEvent;

/// Assets with their fields.
pub(super) fn list(assets: &[Asset]) -> Value {
    assets.iter().map(one).collect()
}

fn one(asset: &Asset) -> Value {
    Value::from_pairs([
        ("name", Value::from(asset.name.as_str())),
        ("uri", asset.uri.as_str().into()),
        ("group", asset.group.as_str().into()),
        ("extra", from_map(&asset.extra)),
    ])
}

fn event(event: &AssetEvent) -> Value {
    let text = |text: &Option<String>| text.as_deref().map_or_else(|| Value::from(()), Value::from);
    let run = [("dag_id", text(&event.source_dag_id)), ("run_id", text(&event.source_run_id))];
    Value::from_pairs([
        ("asset", one(&event.asset)),
        ("name", event.asset.name.as_str().into()),
        ("uri", event.asset.uri.as_str().into()),
        ("timestamp", Value::from_object(Moment::utc(event.timestamp))),
        ("extra", from_map(&event.extra)),
        ("source_dag_id", text(&event.source_dag_id)),
        ("source_run_id", text(&event.source_run_id)),
        ("source_task_id", text(&event.source_task_id)),
        ("source_map_index", event.source_map_index.into()),
        ("source_dag_run", Value::from_pairs(run)),
    ])
}

/// The events that the run was started for: lists by the name of the asset.
pub(super) fn triggering(scope: &Arc<Scope>) -> Value {
    let found = match scope.runtime.block_on(scope.services.triggering_asset_events()) {
        Ok(found) => found,
        Err(error) => return Value::from(invalid(format!("the run's asset events cannot be read: {error}"))),
    };
    let mut by_asset: Vec<(&str, Vec<Value>)> = Vec::new();
    for one in &found {
        let name = one.asset.name.as_str();
        match by_asset.iter_mut().find(|(known, _)| *known == name) {
            Some((_, events)) => events.push(event(one)),
            None => by_asset.push((name, vec![event(one)])),
        }
    }
    Value::from_pairs(by_asset.into_iter().map(|(name, events)| (name, Value::from(events))))
}

/// `inlet_events['name']`: the events of an asset, oldest first.
pub(super) struct InletEvents(pub(super) Arc<Scope>);

impl fmt::Debug for InletEvents {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("inlet events")
    }
}

impl Object for InletEvents {
    fn get_value(self: &Arc<Self>, key: &Value) -> Option<Value> {
        let scope = &self.0;
        let inlets = &scope.context.inlets;
        let asset = match (key.as_str(), usize::try_from(key.clone())) {
            (Some(text), _) => inlets.iter().find(|asset| asset.is(text, text))?,
            (None, Ok(at)) => inlets.get(at)?,
            (None, Err(_)) => return None,
        };
        Some(match scope.runtime.block_on(scope.services.asset_events(&asset.name)) {
            Ok(found) => found.iter().map(event).collect(),
            Err(error) => Value::from(invalid(format!("the events of `{}` cannot be read: {error}", asset.name))),
        })
    }
}
