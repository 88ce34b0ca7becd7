//! Every route has a rule, and every rule holds: routes are read from the router itself.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use axum::Router;
use axum::http::StatusCode;
use strum::IntoEnumIterator;
use towpath_auth::rules::{self, Rule};
use towpath_store::{Access, Role};

use crate::Server;

/// The ends of routes whose replies go on for ever.
const STREAMS: [&str; 2] = ["/events", "/stream"];

/// The routes of a router, method and path, by what axum tells about it.
pub(crate) fn routes(router: &Router) -> BTreeSet<(String, String)> {
    let told = format!("{router:?}");
    // Fallbacks have a router of their own, with ids of its own.
    let told = told.split("fallback_router").next().unwrap();
    // RouteId(7): MethodRouter(MethodRouter { get: Route(..), ..., post: None, ... })   and   RouteId(7): "/path"
    let mut paths: BTreeMap<&str, &str> = BTreeMap::new();
    let mut methods: Vec<(&str, &str)> = Vec::new();
    for (at, _) in told.match_indices("RouteId(") {
        let rest = &told[at + "RouteId(".len()..];
        let Some((id, rest)) = rest.split_once("): ") else { continue };
        if let Some(quoted) = rest.strip_prefix('"') {
            paths.insert(id, quoted.split_once('"').unwrap().0);
        } else if rest.starts_with("MethodRouter") {
            methods.push((id, rest));
        }
    }
    let mut found = BTreeSet::new();
    for (id, rest) in methods {
        let path = paths[id];
        if path.contains("__private") {
            continue;
        }
        for method in ["get", "post", "put", "patch", "delete", "head", "options", "trace", "connect"] {
            let (_, after) =
                rest.split_once(&format!(" {method}: ")).unwrap_or_else(|| panic!("{method}: {rest:.400}"));
            if !after.starts_with("None") {
                found.insert((method.to_uppercase(), path.to_owned()));
            }
        }
    }
    found
}

/// A path of a route in the world: what it names exists where it can.
fn example(path: &str) -> String {
    path.replace("{dag_id}", "etl")
        .replace("{run_id}", "first")
        .replace("{dag_run_id}", "first")
        .replace("{task_id}", "check")
        .replace("{key}", "return_value")
        .split('/')
        .map(|part| if part.starts_with('{') { "1" } else { part })
        .collect::<Vec<_>>()
        .join("/")
}

#[tokio::test]
async fn every_route_has_a_rule() {
    let server = Server::sqlite().await;
    let routes = routes(&server.router);
    assert!(routes.contains(&("POST".into(), "/api/v2/dags/{dag_id}/dagRuns".into())), "{routes:?}");
    assert!(routes.contains(&("POST".into(), "/login".into())) && routes.len() > 30, "{routes:?}");
    let missing: Vec<_> = routes.iter().filter(|(method, path)| rules::find(method, path).is_err()).collect();
    assert_eq!(missing, [] as [&(String, String); 0], "add these routes to crates/auth/src/rules");
    // A rule for a route of ours that is gone is a mistake as well; Airflow's may be waiting for theirs.
    let names =
        |path: &str| path.split('/').map(|p| if p.starts_with('{') { "{}" } else { p }).collect::<Vec<_>>().join("/");
    let served: BTreeSet<_> = routes.iter().map(|(method, path)| (method.as_str(), names(path))).collect();
    let stale: Vec<_> = rules::rows()
        .filter(|(method, path, ..)| !path.starts_with("/api/v2/") && !served.contains(&(*method, names(path))))
        .collect();
    assert!(stale.is_empty(), "{stale:?}");
}

/// Every route x every role, and nobody at all.
#[tokio::test]
async fn the_matrix() {
    let server = Server::sqlite().await;
    let everybody: Vec<Option<Role>> = std::iter::once(None).chain(Role::iter().map(Some)).collect();
    let mut tokens = HashMap::new();
    for role in Role::iter() {
        tokens.insert(role, server.jwt(&role.to_string()).await);
    }
    // What deletes the world comes last, and what would stream is asked for its head alone.
    let mut all: Vec<_> = routes(&server.router).into_iter().collect();
    all.sort_by_key(|(method, path)| (method == "DELETE", path.len()));
    for (method, path) in all {
        let rule = rules::find(&method, &path).unwrap().rule;
        for role in &everybody {
            let allowed = match (rule, role) {
                (Rule::Open, _) => true,
                // No login helps, only a signature.
                (_, None) | (Rule::Signature, _) => false,
                (Rule::SignedIn | Rule::Listed, Some(_)) => true,
                (Rule::Metrics, Some(role)) => *role >= Role::Viewer,
                (Rule::AtLeast(needed), Some(role)) => *role >= needed,
                (Rule::Dag(Access::Read) | Rule::DagOrListed(Access::Read), Some(role)) => *role >= Role::Viewer,
                (Rule::Dag(Access::Edit) | Rule::DagOrListed(Access::Edit), Some(role)) => *role >= Role::User,
            };
            let bearer = role.map(|role| ("authorization", tokens[&role].as_str()));
            let wait = if path.ends_with("/wait") { "?interval=1" } else { "" };
            let headers: Vec<(&str, &str)> = bearer.into_iter().collect();
            // Their heads say all, and they go on for ever.
            if allowed && method == "GET" && STREAMS.iter().any(|end| path.ends_with(end)) {
                // What a stream is about may have been changed by a route before it.
                let status = server.head(&example(&path), &headers).await;
                assert!([StatusCode::OK, StatusCode::NOT_FOUND].contains(&status), "{path} as {role:?}: {status}");
                continue;
            }
            let reply = server.send(&method, &(example(&path) + wait), &headers, "").await;
            // Refused to everybody, as in an Airflow that is not configured otherwise.
            let is_off = reply.text.contains("disabled in the API");
            let is_out = !is_off && [StatusCode::UNAUTHORIZED, StatusCode::FORBIDDEN].contains(&reply.status);
            let is_login = path.starts_with("/login") || path.starts_with("/auth/");
            if is_login && reply.status != StatusCode::INTERNAL_SERVER_ERROR {
                continue; // answers 401 and 403 for reasons of its own
            }
            assert_eq!(!is_out, allowed, "{method} {path} as {role:?}: {reply:?}");
            if !allowed {
                let expected = if role.is_none() || rule == Rule::Signature {
                    StatusCode::UNAUTHORIZED
                } else {
                    StatusCode::FORBIDDEN
                };
                assert_eq!(reply.status, expected, "{method} {path} as {role:?}");
            }
            assert!(!reply.status.is_server_error(), "{method} {path} as {role:?}: {reply:?}");
        }
    }
}
