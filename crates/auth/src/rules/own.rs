//! The rule of every route that is not Airflow's: pages, login, health, and what Airflow has no call for.

use towpath_store::Access::{Edit, Read};
use towpath_store::Role::{Op, Viewer};

use super::Row;
use super::Rule::{AtLeast, Dag, Listed, Metrics, Open, SignedIn};

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
    ("GET", "/dags", Listed, None),
    ("GET", "/runs", Listed, None),
    ("GET", "/search", Listed, None),
    ("GET", "/dags/{dag_id}", Dag(Read), None),
    ("POST", "/dags/{dag_id}/pause", Dag(Edit), Some("pause_dag")),
    ("POST", "/dags/{dag_id}/unpause", Dag(Edit), Some("unpause_dag")),
    ("GET", "/dags/{dag_id}/trigger", Dag(Edit), None),
    ("POST", "/dags/{dag_id}/trigger", Dag(Edit), Some("trigger_dag_run")),
    ("GET", "/dags/{dag_id}/graph", Dag(Read), None),
    ("GET", "/dags/{dag_id}/gantt", Dag(Read), None),
    ("GET", "/dags/{dag_id}/calendar", Dag(Read), None),
    ("GET", "/dags/{dag_id}/durations", Dag(Read), None),
    ("GET", "/dags/{dag_id}/code", Dag(Read), None),
    ("GET", "/dags/{dag_id}/details", Dag(Read), None),
    ("GET", "/dags/{dag_id}/backfills", Dag(Read), None),
    // Also the preview, which changes nothing.
    ("POST", "/dags/{dag_id}/backfills", Dag(Edit), Some("create_backfill")),
    ("POST", "/dags/{dag_id}/backfills/{id}/{action}", Dag(Edit), Some("change_backfill")),
    ("GET", "/dags/{dag_id}/delete", Dag(Edit), None),
    ("POST", "/dags/{dag_id}/delete", Dag(Edit), Some("delete_dag")),
    ("GET", "/dags/{dag_id}/runs", Dag(Read), None),
    ("POST", "/dags/{dag_id}/runs", Dag(Edit), Some("change_dag_runs")),
    ("GET", "/dags/{dag_id}/runs/{run_id}", Dag(Read), None),
    ("GET", "/dags/{dag_id}/runs/{run_id}/clear", Dag(Edit), None),
    ("POST", "/dags/{dag_id}/runs/{run_id}/clear", Dag(Edit), Some("clear_dag_run")),
    ("GET", "/dags/{dag_id}/runs/{run_id}/mark", Dag(Edit), None),
    ("POST", "/dags/{dag_id}/runs/{run_id}/mark", Dag(Edit), Some("mark_dag_run")),
    ("GET", "/dags/{dag_id}/runs/{run_id}/cancel", Dag(Edit), None),
    ("POST", "/dags/{dag_id}/runs/{run_id}/cancel", Dag(Edit), Some("cancel_dag_run")),
    ("GET", "/dags/{dag_id}/runs/{run_id}/delete", Dag(Edit), None),
    ("POST", "/dags/{dag_id}/runs/{run_id}/delete", Dag(Edit), Some("delete_dag_run")),
    ("POST", "/dags/{dag_id}/runs/{run_id}/tasks/{task_id}/retry", Dag(Edit), Some("retry_task_instance")),
    ("GET", "/dags/{dag_id}/runs/{run_id}/tasks/{task_id}", Dag(Read), None),
    ("GET", "/dags/{dag_id}/runs/{run_id}/tasks/{task_id}/log", Dag(Read), None),
    ("GET", "/dags/{dag_id}/runs/{run_id}/tasks/{task_id}/log.txt", Dag(Read), None),
    // Pages of the administration, with the roles and events of Airflow's calls.
    ("GET", "/admin", SignedIn, None),
    ("GET", "/admin/config", AtLeast(Op), None),
    ("GET", "/admin/workers", AtLeast(Viewer), None),
    ("GET", "/admin/pools", AtLeast(Viewer), None),
    ("POST", "/admin/pools", AtLeast(Op), Some("post_pool")),
    ("POST", "/admin/pools/{name}/delete", AtLeast(Op), Some("delete_pool")),
    ("GET", "/admin/variables", AtLeast(Op), None),
    ("POST", "/admin/variables", AtLeast(Op), Some("post_variable")),
    ("POST", "/admin/variables/{key}/delete", AtLeast(Op), Some("delete_variable")),
    ("GET", "/admin/connections", AtLeast(Op), None),
    ("POST", "/admin/connections", AtLeast(Op), Some("post_connection")),
    ("POST", "/admin/connections/{conn_id}/delete", AtLeast(Op), Some("delete_connection")),
    ("POST", "/admin/connections/{conn_id}/test", AtLeast(Op), Some("test_connection")),
    // What Airflow has no call for.
    ("GET", "/api/towpath/v1/dags/{dag_id}/explain", Dag(Read), None),
    ("GET", "/api/towpath/v1/dags/{dag_id}/dagRuns/{dag_run_id}/explain", Dag(Read), None),
    ("GET", "/api/towpath/v1/dags/{dag_id}/dagRuns/{dag_run_id}/taskInstances/{task_id}/explain", Dag(Read), None),
];
