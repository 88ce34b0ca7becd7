//! The statements of branches, mapping and clearing. `postgres/flow_sql.rs` has the same names in
//! the same order.

pub(super) const SKIP_BY: &str = "
    UPDATE task_instance AS t SET skipped_by = $3
    WHERE t.run_key = $1 AND t.task_id IN (SELECT value FROM json_each($2))
        AND t.map_index BETWEEN $4 AND $5
    RETURNING run_key, task_id, map_index, state, pool, pool_slots AS pool_slots, priority, run_order,
        up_total, up_success, up_failed, up_skipped, up_upstream_failed, up_removed,
        1 AS skipped, map_value IS NOT NULL AS expanded";
pub(super) const FORGET_SKIPS: &str = "
    UPDATE task_instance AS t SET skipped_by = NULL
    FROM (SELECT value ->> 'branch' AS branch, value ->> 'map_from' AS map_from, value ->> 'map_to' AS map_to
        FROM json_each($2)) AS o
    WHERE t.run_key = $1 AND t.skipped_by = o.branch AND t.map_index BETWEEN o.map_from AND o.map_to";
pub(super) const OUTPUTS: &str = "
    SELECT map_index, value FROM xcom WHERE run_key = $1 AND task_id = $2 AND key = $3 ORDER BY map_index";
pub(super) const COUNT_INSTANCES: &str = "SELECT count(*) FROM task_instance WHERE run_key = $1 AND task_id = $2";
pub(super) const FIRST_OF_MAP: &str =
    "UPDATE task_instance SET map_index = 0 WHERE run_key = $1 AND task_id = $2 AND map_index = -1";
pub(super) const SET_ELEMENTS: &str = "
    INSERT INTO task_instance (run_key, task_id, map_index, state, max_tries, pool, pool_slots, queue, priority, run_order,
        up_total, up_success, up_failed, up_skipped, up_upstream_failed, up_removed, map_value)
    SELECT t.run_key, t.task_id, o.map_index, 'none', t.max_tries, t.pool, t.pool_slots, t.queue, t.priority, t.run_order,
        t.up_total, t.up_success, t.up_failed, t.up_skipped, t.up_upstream_failed, t.up_removed, o.map_value
    FROM task_instance t, (SELECT value ->> 'map_index' AS map_index,
        value ->> 'map_value' AS map_value FROM json_each($4)) AS o
    WHERE t.run_key = $1 AND t.task_id = $2 AND t.map_index = $3
    ON CONFLICT (run_key, task_id, map_index) DO UPDATE SET map_value = excluded.map_value
    RETURNING run_key, task_id, map_index, state, pool, pool_slots AS pool_slots, priority, run_order,
        up_total, up_success, up_failed, up_skipped, up_upstream_failed, up_removed,
        skipped_by IS NOT NULL AS skipped, 1 AS expanded";
pub(super) const INSTANCES_FROM: &str = "
    SELECT t.run_key, t.task_id, t.map_index, t.state, t.pool, t.pool_slots AS pool_slots, t.priority, t.run_order,
        t.up_total, t.up_success, t.up_failed, t.up_skipped, t.up_upstream_failed, t.up_removed,
        t.skipped_by IS NOT NULL AS skipped, t.map_value IS NOT NULL AS expanded
    FROM task_instance t WHERE t.run_key = $1 AND t.task_id = $2 AND t.map_index >= $3";
pub(super) const ADD_TO_TOTAL: &str = "
    UPDATE task_instance SET up_total = up_total + $3
    WHERE run_key = $1 AND task_id IN (SELECT value FROM json_each($2))";
pub(super) const INSTANCES: &str = "
    SELECT run_key, task_id, map_index, state, try_number, max_tries FROM task_instance
    WHERE run_key = $1 ORDER BY task_id, map_index";
pub(super) const INSTANCES_OF: &str = "
    SELECT run_key, task_id, map_index, state, try_number, max_tries FROM task_instance
    WHERE run_key = $1 AND task_id IN (SELECT value FROM json_each($2))";
pub(super) const UNDECIDED_OF: &str = "
    SELECT t.run_key, t.task_id, t.map_index, t.state, t.pool, t.pool_slots AS pool_slots, t.priority, t.run_order,
        t.up_total, t.up_success, t.up_failed, t.up_skipped, t.up_upstream_failed, t.up_removed,
        t.skipped_by IS NOT NULL AS skipped, t.map_value IS NOT NULL AS expanded
    FROM task_instance t
    WHERE t.run_key = $1 AND t.task_id IN (SELECT value FROM json_each($2)) AND t.state = 'none'";
/// The run fails as soon as nothing in it is left to do.
pub(super) const FAIL_LATER: &str = "UPDATE dag_run SET is_failing = 1 WHERE key = $1 AND state = 'running'";
pub(super) const CLEAR_TASKS: &str = "
    UPDATE task_instance AS t
    SET state = o.state, max_tries = o.max_tries, blocked_by = NULL, available_at = NULL, note = NULL,
        queue = COALESCE(o.queue, t.queue),
        queued_at = CASE WHEN o.state = 'none' THEN NULL ELSE t.queued_at END,
        start_date = CASE WHEN o.state = 'none' THEN NULL ELSE t.start_date END, end_date = NULL,
        map_value = CASE WHEN o.forget_element THEN NULL ELSE t.map_value END
    FROM (SELECT value ->> 'run_key' AS run_key, value ->> 'task_id' AS task_id, value ->> 'map_index' AS map_index,
        value ->> 'from_state' AS from_state, value ->> 'state' AS state, value ->> 'max_tries' AS max_tries,
        value ->> 'queue' AS queue,
        value ->> 'forget_element' AS forget_element FROM json_each($1)) AS o
    WHERE t.run_key = o.run_key AND t.task_id = o.task_id AND t.map_index = o.map_index AND t.state = o.from_state";
pub(super) const MARK_TASKS: &str = "
    UPDATE task_instance AS t
    SET state = o.state, attempt = NULL, blocked_by = NULL, available_at = NULL, note = o.note,
        start_date = COALESCE(t.start_date, $2), end_date = $2
    FROM (SELECT value ->> 'run_key' AS run_key, value ->> 'task_id' AS task_id, value ->> 'map_index' AS map_index,
        value ->> 'from_state' AS from_state, value ->> 'state' AS state, value ->> 'note' AS note FROM json_each($1)) AS o
    WHERE t.run_key = o.run_key AND t.task_id = o.task_id AND t.map_index = o.map_index AND t.state = o.from_state";
pub(super) const SET_COUNTERS: &str = "
    UPDATE task_instance AS t
    SET up_total = o.total, up_success = o.success, up_failed = o.failed, up_skipped = o.skipped,
        up_upstream_failed = o.upstream_failed, up_removed = o.removed
    FROM (SELECT value ->> 'run_key' AS run_key, value ->> 'task_id' AS task_id, value ->> 'total' AS total,
        value ->> 'success' AS success, value ->> 'failed' AS failed, value ->> 'skipped' AS skipped,
        value ->> 'upstream_failed' AS upstream_failed, value ->> 'removed' AS removed,
        value ->> 'map_from' AS map_from, value ->> 'map_to' AS map_to FROM json_each($1)) AS o
    WHERE t.run_key = o.run_key AND t.task_id = o.task_id AND t.map_index BETWEEN o.map_from AND o.map_to";
pub(super) const END_RUN: &str =
    "UPDATE dag_run SET state = $2, start_date = COALESCE(start_date, $3), end_date = $3 WHERE key = $1";
pub(super) const REOPEN_RUN: &str = "
    UPDATE dag_run SET state = 'queued', queued_at = $2, start_date = NULL, end_date = NULL, deadline = NULL,
        queue = NULL, is_failing = false
    WHERE key = $1 AND state IN ('success', 'failed')";
pub(super) const ASKED_BY: &str = "UPDATE dag_run SET triggering_user = $2 WHERE key = $1";
/// The run before, by logical date.
pub(super) const PREVIOUS_RUN: &str = "
    SELECT key FROM dag_run WHERE dag_id = $1 AND logical_date < $2 AND (run_type = 'scheduled' OR NOT $3)
    ORDER BY logical_date DESC LIMIT 1";
pub(super) const UNSUCCESSFUL: &str = "
    SELECT count(*) FROM task_instance
    WHERE run_key = $1 AND task_id IN (SELECT value FROM json_each($2)) AND state NOT IN ('success', 'skipped')";
pub(super) const LIVE_OF_TASK: &str = "
    SELECT count(*) FROM task_instance t JOIN dag_run r ON r.key = t.run_key
    WHERE t.state IN ('queued', 'running', 'restarting') AND r.dag_id = $1 AND t.task_id = $2 AND ($3 IS NULL OR r.key = $3)";
pub(super) const BLOCKED_BY_GATE: &str = "
    SELECT t.run_key, t.task_id, t.map_index, t.state, t.pool, t.pool_slots AS pool_slots, t.priority, t.run_order,
        t.up_total, t.up_success, t.up_failed, t.up_skipped, t.up_upstream_failed, t.up_removed,
        t.skipped_by IS NOT NULL AS skipped, t.map_value IS NOT NULL AS expanded
    FROM task_instance t WHERE t.run_key = $1 AND t.state = 'scheduled' AND t.blocked_by = 'gate'
    ORDER BY t.priority DESC, t.task_id, t.map_index LIMIT $2";
pub(super) const GATED_RUNS_OF_DAG: &str = "
    SELECT r.key FROM dag_run r INDEXED BY dag_run_active
    WHERE r.dag_id = $1 AND r.state IN ('queued', 'running') AND r.state = 'running' AND EXISTS (SELECT 1 FROM task_instance t
        WHERE t.run_key = r.key AND t.state = 'scheduled' AND t.blocked_by = 'gate')
    ORDER BY r.run_after LIMIT 256";
/// A few of them, others each time: the safety net of the statement above.
pub(super) const SOME_GATED_RUNS: &str = "
    SELECT run_key FROM (SELECT DISTINCT t.run_key FROM task_instance t WHERE t.state = 'scheduled' AND t.blocked_by = 'gate') AS g
    ORDER BY random() LIMIT 32";
/// The single writer is the lock.
pub(super) const LOCK_GATE: &str = "SELECT $1";

// --- backfills

pub(super) const INSERT_BACKFILL: &str = "
    INSERT INTO backfill (dag_id, from_date, to_date, reprocess, max_active_runs, backwards, conf, created_at, triggering_user)
    VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9) RETURNING id";
pub(super) const JOIN_BACKFILL: &str = "
    UPDATE dag_run SET backfill_id = $2, backfill_order = $3, run_type = 'backfill', triggered_by = 'backfill' WHERE key = $1";
pub(super) const RUN_OF_DATE: &str = "SELECT key, state FROM dag_run WHERE dag_id = $1 AND logical_date = $2";
pub(super) const BACKFILL_ROOM: &str = "
    SELECT CASE WHEN b.is_paused THEN 0 ELSE b.max_active_runs - (SELECT count(*) FROM dag_run o
        WHERE o.backfill_id = b.id AND o.state = 'running') END AS room
    FROM backfill b WHERE b.id = $1";
pub(super) const SET_BACKFILL: &str = "
    UPDATE backfill SET is_paused = COALESCE($2, is_paused), is_cancelled = is_cancelled OR $3 WHERE id = $1";
pub(super) const QUEUED_OF_BACKFILL: &str =
    "SELECT key FROM dag_run WHERE backfill_id = $1 AND state = 'queued' ORDER BY key";
pub(super) const MOVE_RUN: &str = "UPDATE dag_run SET version_id = $2, max_active_tasks = $3 WHERE key = $1";
/// What runs in the foreground keeps its queue.
pub(super) const REFIT_TASKS: &str = "
    UPDATE task_instance AS t
    SET pool = o.pool, pool_slots = o.pool_slots, priority = o.priority,
        queue = COALESCE((SELECT r.queue FROM dag_run r WHERE r.key = $1), o.queue),
        max_tries = CASE WHEN t.try_number = 0 THEN o.max_tries ELSE t.max_tries END
    FROM (SELECT value ->> 'task_id' AS task_id, value ->> 'pool' AS pool, value ->> 'pool_slots' AS pool_slots,
        value ->> 'priority' AS priority, value ->> 'queue' AS queue, value ->> 'max_tries' AS max_tries
        FROM json_each($2)) AS o
    WHERE t.run_key = $1 AND t.task_id = o.task_id AND t.state NOT IN ('queued', 'running', 'restarting')";
pub(super) const REMOVE_INSTANCES: &str = "
    UPDATE task_instance AS t
    SET state = 'removed', attempt = NULL, blocked_by = NULL, available_at = NULL, end_date = COALESCE(t.end_date, $2)
    FROM (SELECT value ->> 'run_key' AS run_key, value ->> 'task_id' AS task_id,
        value ->> 'map_index' AS map_index FROM json_each($1)) AS o
    WHERE t.run_key = o.run_key AND t.task_id = o.task_id AND t.map_index = o.map_index";
/// What an instance without an index has left behind goes to the first index.
pub(super) const LOGS_TO_FIRST: &str =
    "UPDATE log_chunk SET map_index = 0 WHERE run_key = $1 AND task_id = $2 AND map_index = -1";
pub(super) const XCOMS_TO_FIRST: &str =
    "UPDATE xcom SET map_index = 0 WHERE run_key = $1 AND task_id = $2 AND map_index = -1";
