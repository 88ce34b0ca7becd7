//! What a task's process sees of the worker's environment.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};

use towpath_model::run::iso_time;

use crate::attempt::Context;

/// What every process gets, as far as the worker has it. Everything else, credentials of the worker above all, is
/// passed on only where the task says `append_env`.
const PASSED_ON: &[&str] =
    &["PATH", "HOME", "LANG", "LC_ALL", "LC_CTYPE", "TZ", "USER", "LOGNAME", "TMPDIR", "SHELL", "TERM"];

/// The environment that a task starts from: all of the worker's with `append_env`, else the harmless part of it.
#[must_use]
pub fn base(append_env: bool) -> BTreeMap<OsString, OsString> {
    if append_env {
        return std::env::vars_os().collect();
    }
    PASSED_ON.iter().filter_map(|&name| Some((OsString::from(name), std::env::var_os(name)?))).collect()
}

/// Airflow's `AIRFLOW_CTX_*`: which attempt this is.
#[must_use]
pub fn context(context: &Context) -> Vec<(OsString, OsString)> {
    let mut found = vec![
        ("AIRFLOW_CTX_DAG_ID", context.dag_id.clone()),
        ("AIRFLOW_CTX_DAG_OWNER", context.owner.clone()),
        ("AIRFLOW_CTX_DAG_RUN_ID", context.run_id.clone()),
        ("AIRFLOW_CTX_TASK_ID", context.task_id.clone()),
        ("AIRFLOW_CTX_TRY_NUMBER", context.try_number.to_string()),
    ];
    if let Some(date) = context.logical_date {
        found.push(("AIRFLOW_CTX_LOGICAL_DATE", iso_time(date)));
        // The name that scripts written for Airflow 2 read.
        found.push(("AIRFLOW_CTX_EXECUTION_DATE", iso_time(date)));
    }
    if context.map_index >= 0 {
        found.push(("AIRFLOW_CTX_MAP_INDEX", context.map_index.to_string()));
    }
    found.into_iter().map(|(name, value)| (OsStr::new(name).to_owned(), OsString::from(value))).collect()
}
