//! The rule of every route that is not Airflow's: pages, login, health, and what Airflow has no call for.

use towpath_store::Access::{Edit, Read};

use super::Row;
use super::Rule::{Dag, Listed, Metrics, Open, SignedIn};

/// Method, path, rule, and the event that the audit log calls it by where it changes something.
pub(super) const ROWS: &[Row] = &[
    ("GET", "/health", Open, None),
    ("GET", "/metrics", Metrics, None),
    // Logging in. What these change is written into the audit log where it happens.
    ("POST", "/auth/token", Open, None),
    ("GET", "/auth/token", Open, None),
    ("POST", "/auth/token/cli", Open, None),
    ("GET", "/auth/token/login", Open, None),
    ("GET", "/login", Open, None),
    ("POST", "/login", Open, None),
    ("GET", "/login/link", Open, None),
    ("POST", "/logout", Open, None),
    ("GET", "/account", SignedIn, None),
    ("POST", "/account/password", SignedIn, None),
    // Pages.
    ("GET", "/assets/{hash}/{name}", Open, None),
    ("GET", "/", Listed, None),
    ("GET", "/dags/{dag_id}", Dag(Read), None),
    ("POST", "/dags/{dag_id}/pause", Dag(Edit), Some("pause_dag")),
    ("POST", "/dags/{dag_id}/unpause", Dag(Edit), Some("unpause_dag")),
    ("GET", "/dags/{dag_id}/trigger", Dag(Edit), None),
    ("POST", "/dags/{dag_id}/trigger", Dag(Edit), Some("trigger_dag_run")),
    ("GET", "/dags/{dag_id}/runs/{run_id}", Dag(Read), None),
    ("GET", "/dags/{dag_id}/runs/{run_id}/tasks/{task_id}", Dag(Read), None),
    ("GET", "/dags/{dag_id}/runs/{run_id}/tasks/{task_id}/log", Dag(Read), None),
    ("GET", "/dags/{dag_id}/runs/{run_id}/tasks/{task_id}/log.txt", Dag(Read), None),
    // What Airflow has no call for.
    ("GET", "/api/towpath/v1/dags/{dag_id}/explain", Dag(Read), None),
    ("GET", "/api/towpath/v1/dags/{dag_id}/dagRuns/{dag_run_id}/explain", Dag(Read), None),
    ("GET", "/api/towpath/v1/dags/{dag_id}/dagRuns/{dag_run_id}/taskInstances/{task_id}/explain", Dag(Read), None),
];
