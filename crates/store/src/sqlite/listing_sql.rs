//! What lists with conditions are put together from, and what the REST API edits by hand.

/// Seconds.
pub(super) const RUN_DURATION: &str = "(r.end_date - r.start_date) / 1e6";
/// Seconds.
pub(super) const TASK_DURATION: &str = "(t.end_date - t.start_date) / 1e6";
/// Patterns of a client have no escapes: a backslash is one.
pub(super) const LIKE: &str = " LIKE ";
pub(super) const LIKE_END: &str = "";
pub(super) const SELECT_TASKS: &str = "
    SELECT t.run_key, t.task_id, t.map_index, r.dag_id, r.run_id, r.logical_date, r.run_after, r.version_id, v.number AS version_number,
        t.state, t.try_number, t.max_tries, t.queued_at, t.start_date, t.end_date, t.available_at, t.hostname, t.pid, t.pool,
        t.pool_slots, t.queue, t.priority, t.note, t.rendered_map_index, t.blocked_by,
        t.up_total, t.up_success, t.up_failed, t.up_skipped, t.up_upstream_failed, t.up_removed
    FROM task_instance t JOIN dag_run r ON r.key = t.run_key JOIN dag_version v ON v.id = r.version_id";
pub(super) const SELECT_XCOMS: &str = "
    SELECT x.run_key, x.task_id, x.map_index, x.key, x.at FROM xcom x JOIN dag_run r ON r.key = x.run_key";
pub(super) const RUN_STATES: &str = "
    SELECT dag_id, state, count(*) AS count FROM dag_run WHERE dag_id IN (SELECT value FROM json_each($1))
    GROUP BY dag_id, state ORDER BY dag_id, state";
pub(super) const SET_RUN_NOTE: &str = "UPDATE dag_run SET note = $2 WHERE key = $1";
pub(super) const SET_TASK_NOTE: &str = "
    UPDATE task_instance SET note = $4 WHERE run_key = $1 AND task_id = $2 AND map_index = $3";
/// In a run that is over nothing counts on it any more.
pub(super) const DELETE_TASK_INSTANCE: &str = "
    DELETE FROM task_instance WHERE run_key = $1 AND task_id = $2 AND map_index = $3
        AND EXISTS (SELECT 1 FROM dag_run r WHERE r.key = $1 AND r.state IN ('success', 'failed'))";
pub(super) const DELETE_TASK_XCOMS: &str = "DELETE FROM xcom WHERE run_key = $1 AND task_id = $2 AND map_index = $3";
pub(super) const DELETE_TASK_LOGS: &str =
    "DELETE FROM log_chunk WHERE run_key = $1 AND task_id = $2 AND map_index = $3";
pub(super) const INSERT_XCOM: &str = "
    INSERT INTO xcom (run_key, task_id, map_index, key, value, at) VALUES ($1, $2, $3, $4, $5, $6)
    ON CONFLICT (run_key, task_id, map_index, key) DO NOTHING";
pub(super) const UPDATE_XCOM: &str = "
    UPDATE xcom SET value = $5, at = $6 WHERE run_key = $1 AND task_id = $2 AND map_index = $3 AND key = $4";
pub(super) const DELETE_XCOM: &str = "
    DELETE FROM xcom WHERE run_key = $1 AND task_id = $2 AND map_index = $3 AND key = $4";
