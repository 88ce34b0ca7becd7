//! What is behind the DAGs: connections, variables, pools, workers, configuration.

pub(crate) mod config;
pub(crate) mod connections;
pub(crate) mod pools;
pub(crate) mod users;
pub(crate) mod variables;
pub(crate) mod workers;

use axum::Extension;
use axum::response::Redirect;
use towpath_auth::Principal;
use towpath_store::Role;

use crate::frame::Crumb;
use crate::links;

/// A page of the administration.
pub(crate) struct Tab {
    pub(crate) label: &'static str,
    pub(crate) href: String,
    pub(crate) is_on: bool,
}

const TABS: [(&str, &str); 7] = [
    ("Connections", "connections"),
    ("Variables", "variables"),
    ("Pools", "pools"),
    ("Workers", "workers"),
    ("Users", "users"),
    ("Audit", "audit"),
    ("Configuration", "config"),
];

pub(crate) fn tabs(here: &str) -> Vec<Tab> {
    let tab = |(label, part)| Tab { label, href: format!("{}/{part}", links::ADMIN), is_on: label == here };
    TABS.into_iter().map(tab).collect()
}

pub(crate) fn crumbs(here: &str) -> Vec<Crumb> {
    vec![Crumb::link("Admin", links::ADMIN.to_owned()), Crumb::here(here)]
}

/// Goes to the first of them that the caller may see.
pub(crate) async fn get(caller: Option<Extension<Principal>>) -> Redirect {
    let sees_secrets = caller.is_none_or(|Extension(caller)| caller.role >= Role::Op);
    Redirect::to(&format!("{}/{}", links::ADMIN, if sees_secrets { "connections" } else { "pools" }))
}

/// Text of a field, [`None`] where it is empty.
pub(crate) fn filled(text: &str) -> Option<String> {
    Some(text.trim().to_owned()).filter(|text| !text.is_empty())
}
