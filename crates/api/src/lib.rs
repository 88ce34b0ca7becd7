//! The REST API: Airflow's v2 in its own words, so that its clients work, and what operators of
//! Towpath itself ask for (`/health`, `/metrics`).
//!
//! The routes of Airflow's API stand in `operations`; `docs/rest-api.md` says what is served and what is not.
//! A request passes the middleware in [`routes::app`] (counted, guarded against other web sites,
//! compressed), reaches an action (one file each, in a folder per resource), which reads its input
//! with [`query::Query`] and [`body::Body`], calls the store, and answers with a wire type. Whatever
//! goes wrong is an [`Error`], and [`error`] is the only place that knows status codes for it.
//!
//! Invariants:
//! - A filter that this server cannot apply is refused, never ignored: a list that looks filtered
//!   and is not would be believed.
//! - Every key that the contract requires is sent, as null where nothing is known: generated
//!   clients validate.
//! - An error of the store reaches the log in full and the client without anything internal.
//! - The document (`openapi`) is made from the routes and from what handlers read; it is written nowhere.
//! - No reply holds a stream open past [`State::stop`].

mod absent;
mod assets;
mod backfills;
mod body;
mod bulk;
mod connections;
mod cursor;
mod dag_files;
mod dag_runs;
mod dags;
mod data_sets;
mod error;
mod event_logs;
mod events;
mod explain;
mod filter;
pub mod guard;
mod ids;
mod import_errors;
mod jobs;
mod media;
mod monitor;
mod ndjson;
mod observe;
mod openapi;
mod operations;
mod path;
mod pattern;
mod pools;
mod problem;
mod query;
mod routes;
mod schedule;
mod settings;
mod state;
mod task_instances;
mod tasks;
mod time;
mod variables;
mod versions;
mod webhooks;
mod xcoms;

pub use error::Error;
pub use problem::Problem;
pub use routes::{app, router};
pub use settings::Section;
pub use state::{Options, State};
pub use webhooks::new_secret;

/// Result of an action.
pub type Result<T, E = Error> = std::result::Result<T, E>;
