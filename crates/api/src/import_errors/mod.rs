//! Import errors: DAG files that cannot be read.

pub(crate) mod list;
