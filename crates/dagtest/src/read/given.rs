//! What a case gives its run.

use std::collections::BTreeMap;

use serde_json::{Map, Value};
use towpath_dagfile::tree::{Part, Place};
use towpath_model::connection::Connection;
use towpath_model::dag::Dag;
use towpath_model::params;

use super::{Fields, Reader};
use crate::suite::{Given, LogicalDate};

impl Reader<'_> {
    pub(super) fn given(&mut self, place: Place, dag: &Dag, fields: &Fields<'_>) -> Given {
        let mut given = Given::default();
        let field = |key: &str| fields.get(key).map(|(_, part)| *part);
        if let Some(part) = field("logical_date") {
            given.logical_date = if part.is_null() {
                LogicalDate::None
            } else {
                self.date(part, "logical_date", dag).map_or(LogicalDate::First, LogicalDate::At)
            };
        }
        given.now = field("now").and_then(|part| self.date(part, "now", dag));
        if let Some(part) = field("conf") {
            let entries = self.mapping(part, "conf").unwrap_or_default();
            given.conf.extend(entries.into_iter().map(|(name, part)| (name.text.to_owned(), part.json())));
        }
        if let Some(part) = field("params") {
            self.params(part, dag, &mut given.conf);
        }
        if let Err(errors) = dag.check_params(&given.conf) {
            let message = format!("DAG `{}` does not take these params: {}", dag.id(), params::listed(&errors));
            self.problems.error_with_help(place, message, "give what fits in `params`");
        }
        if let Some(part) = field("variables") {
            given.variables = self.variables(part);
        }
        if let Some(part) = field("connections") {
            given.connections = self.connections(part);
        }
        if let Some(part) = field("pools") {
            given.pools = self.pools(part, dag);
        }
        if let Some(part) = field("render_templates") {
            given.render_templates = self.bool(part, "render_templates").unwrap_or_default();
        }
        given
    }

    fn params(&mut self, part: Part<'_>, dag: &Dag, conf: &mut Map<String, Value>) {
        let declared = &dag.spec().params;
        for (name, value) in self.mapping(part, "params").unwrap_or_default() {
            if declared.contains_key(name.text) {
                conf.insert(name.text.to_owned(), value.json());
            } else {
                let message = format!("DAG `{}` has no param `{}`", dag.id(), name.text);
                self.problems.unknown(name.place, message, name.text, declared.keys().map(String::as_str));
            }
        }
    }

    /// Text as it is; what is not text as JSON, which `var.json` reads.
    fn variables(&mut self, part: Part<'_>) -> BTreeMap<String, String> {
        let entries = self.mapping(part, "variables").unwrap_or_default();
        let text = |part: Part<'_>| part.text().map_or_else(|| part.json().to_string(), str::to_owned);
        entries.into_iter().map(|(name, part)| (name.text.to_owned(), text(part))).collect()
    }

    /// URIs, or mappings with the keys of Airflow's JSON form.
    fn connections(&mut self, part: Part<'_>) -> Vec<Connection> {
        let mut connections = Vec::new();
        for (name, part) in self.mapping(part, "connections").unwrap_or_default() {
            let text = part.text().map_or_else(|| part.json().to_string(), str::to_owned);
            match Connection::parse(name.text, &text) {
                Ok(connection) => connections.push(connection),
                Err(error) => self.problems.error(part.place(), error.to_string()),
            }
        }
        connections
    }

    fn pools(&mut self, part: Part<'_>, dag: &Dag) -> BTreeMap<String, u32> {
        let mut pools = BTreeMap::new();
        for (name, part) in self.mapping(part, "pools").unwrap_or_default() {
            if !dag.pools().any(|pool| pool == name.text) {
                let message = format!("no task of DAG `{}` uses the pool `{}`", dag.id(), name.text);
                let known: Vec<&str> = dag.pools().collect();
                self.problems.unknown(name.place, message, name.text, known);
            } else if let Some(slots) = self.count(part, name.text) {
                pools.insert(name.text.to_owned(), slots);
            }
        }
        pools
    }
}
