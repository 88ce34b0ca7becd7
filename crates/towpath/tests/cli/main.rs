//! The real binary, in a folder of its own, with a cleared environment.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on should say where")]

mod access;
mod assets;
mod backfills;
mod clients;
mod config;
mod daemon;
mod dag_tests;
mod dags;
mod data_looks;
mod data_sets;
mod environment;
mod etl;
mod etl_examples;
mod explain;
mod flow;
mod help;
mod operate;
mod run;
mod schedule;
mod secrets;
