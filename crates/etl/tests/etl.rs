//! Jobs from source to result, on files.

#[path = "etl/databases.rs"]
mod databases;
#[path = "etl/dedupe.rs"]
mod dedupe;
#[path = "etl/loads.rs"]
mod loads;
#[path = "etl/sources.rs"]
mod sources;
#[path = "etl/steps.rs"]
mod steps;
#[path = "etl/support.rs"]
mod support;
