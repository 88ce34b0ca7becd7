//! The statements of those who follow what happens, for SQLite. `../postgres/change_sql.rs` has the same names in the
//! same order.

/// Runs that are unfinished, and those that have ended lately.
pub(super) const RUN_STANDINGS: &str = "
    SELECT key, dag_id, run_id, state FROM (
        SELECT key, dag_id, run_id, state FROM dag_run WHERE state IN ('queued', 'running')
        ORDER BY state DESC, key DESC LIMIT $2) AS open
    UNION ALL
    SELECT key, dag_id, run_id, state FROM (
        SELECT key, dag_id, run_id, state FROM dag_run WHERE end_date IS NOT NULL AND end_date >= $1
            AND state IN ('success', 'failed')
        ORDER BY end_date DESC, key DESC LIMIT $2) AS ended";
pub(super) const TASK_STANDINGS: &str = "
    SELECT run_key, task_id, map_index, state, try_number FROM task_instance
    WHERE run_key IN (SELECT value FROM json_each($1)) LIMIT $2";
