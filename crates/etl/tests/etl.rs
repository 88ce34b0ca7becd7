//! Jobs from source to result, on files.

#![expect(clippy::unwrap_used, reason = "a test may end in a panic")]
#![expect(clippy::needless_pass_by_value, reason = "values are written where they are passed")]

#[path = "etl/again.rs"]
mod again;
#[path = "etl/clouds.rs"]
mod clouds;
#[path = "etl/databases.rs"]
mod databases;
#[path = "etl/dedupe.rs"]
mod dedupe;
#[path = "etl/distinct.rs"]
mod distinct;
#[path = "etl/edges.rs"]
mod edges;
#[path = "etl/given_up.rs"]
mod given_up;
#[path = "etl/larger.rs"]
mod larger;
#[path = "etl/loads.rs"]
mod loads;
#[path = "etl/network.rs"]
mod network;
#[path = "etl/objects.rs"]
mod objects;
#[path = "etl/plans.rs"]
mod plans;
#[path = "etl/proxy.rs"]
mod proxy;
#[path = "etl/sources.rs"]
mod sources;
#[path = "etl/spills.rs"]
mod spills;
#[path = "etl/steps.rs"]
mod steps;
#[path = "etl/support.rs"]
mod support;
#[path = "etl/traps.rs"]
mod traps;
#[path = "etl/web.rs"]
mod web;
