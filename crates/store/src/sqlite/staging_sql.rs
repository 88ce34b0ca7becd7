//! The statements about the staging area, for SQLite. `../postgres/staging_sql.rs` has the same names in the same order.

/// Before a run is deleted.
pub(super) const REMEMBER_RUN: &str = "
    INSERT INTO staging_removal (dag_id, run_id, at) SELECT dag_id, run_id, $2 FROM dag_run WHERE key = $1
    ON CONFLICT DO NOTHING";
/// Before a DAG is deleted.
pub(super) const REMEMBER_RUNS_OF_DAG: &str = "
    INSERT INTO staging_removal (dag_id, run_id, at) SELECT dag_id, run_id, $2 FROM dag_run WHERE dag_id = $1
    ON CONFLICT DO NOTHING";
pub(super) const REMOVALS: &str = "SELECT dag_id, run_id FROM staging_removal ORDER BY dag_id, run_id LIMIT $1";
pub(super) const FORGET_REMOVAL: &str = "DELETE FROM staging_removal WHERE dag_id = $1 AND run_id = $2";
pub(super) const RUN_ENDS: &str = "
    SELECT key, run_id, state, end_date FROM dag_run WHERE dag_id = $1 AND run_id IN (SELECT value FROM json_each($2))";
pub(super) const LATEST_SUCCESS: &str = "
    SELECT run_id FROM dag_run WHERE dag_id = $1 AND state = 'success' ORDER BY run_after DESC, key DESC LIMIT 1";
