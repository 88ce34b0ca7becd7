//! What a store promises, checked against both dialects: every case runs on SQLite and on PostgreSQL.
//!
//! A case is an `async fn name(store: Store)` that gets an empty, migrated store; `both!` stamps it
//! out. Time is made up ([`harness::time`]); nothing here sleeps.

mod gates;
mod groups;
mod harness;

mod access;
mod alerts;
mod assets;
mod backfills;
mod clean;
mod dags;
mod data_sets;
mod deadlines;
mod deletes;
mod evidence;
mod explain;
mod flow;
mod jobs;
mod limits;
mod listing;
mod overview;
mod random;
mod reports;
mod runs;
mod secrets;
mod setups;
mod staging;
mod versions;
mod webhooks;
