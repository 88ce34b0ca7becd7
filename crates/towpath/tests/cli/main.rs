//! The real binary, in a folder of its own, with a cleared environment.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on should say where")]

mod config;
mod daemon;
mod dags;
mod environment;
mod explain;
mod help;
mod operate;
mod run;
mod secrets;
