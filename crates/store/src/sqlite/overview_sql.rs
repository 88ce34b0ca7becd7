//! The statements of overviews, for SQLite. `../postgres/overview_sql.rs` has the same names in the same order.

/// All tasks of those runs, one row for each state that instances of a task are in.
pub(super) const GRID: &str = "
    SELECT run_key, task_id, state, count(*) AS count, min(map_index) AS map_index, max(try_number) AS try_number,
        min(queued_at) AS queued_at, min(start_date) AS start_date, max(end_date) AS end_date
    FROM task_instance WHERE run_key IN (SELECT value FROM json_each($1))
    GROUP BY run_key, task_id, state";
/// As `GRID`, of some tasks.
pub(super) const GRID_OF_TASKS: &str = "
    SELECT run_key, task_id, state, count(*) AS count, min(map_index) AS map_index, max(try_number) AS try_number,
        min(queued_at) AS queued_at, min(start_date) AS start_date, max(end_date) AS end_date
    FROM task_instance WHERE run_key IN (SELECT value FROM json_each($1)) AND task_id IN (SELECT value FROM json_each($2))
    GROUP BY run_key, task_id, state";
/// As `GRID`, but one row for each line that tasks are told in; a task may be in several. `CROSS JOIN` keeps
/// the lines outside, so that instances are found by their key.
pub(super) const GRID_OF_LINES: &str = "
    SELECT l.line, t.run_key, min(t.task_id) AS task_id, t.state, count(*) AS count, min(t.map_index) AS map_index,
        max(t.try_number) AS try_number, min(t.queued_at) AS queued_at, min(t.start_date) AS start_date, max(t.end_date) AS end_date
    FROM (SELECT value ->> 'task_id' AS task_id, value ->> 'line' AS line FROM json_each($2)) l
    CROSS JOIN task_instance t WHERE t.run_key IN (SELECT value FROM json_each($1)) AND t.task_id = l.task_id
    GROUP BY t.run_key, l.line, t.state";
/// How long tasks took that have succeeded, all instances of a task as one.
pub(super) const TASK_SPANS: &str = "
    SELECT run_key, task_id, min(start_date) AS start_date, max(end_date) AS end_date FROM task_instance
    WHERE run_key IN (SELECT value FROM json_each($1)) AND state = 'success' AND try_number > 0
        AND start_date IS NOT NULL AND end_date IS NOT NULL
    GROUP BY run_key, task_id";
/// The runs of a DAG by quarters of an hour: those are whole in every time zone.
pub(super) const RUN_COUNTS: &str = "
    SELECT at / 900000000 AS quarter, state, count(*) AS count
    FROM (SELECT COALESCE(logical_date, run_after) AS at, state FROM dag_run
        WHERE dag_id = $1 AND run_after >= $2 AND run_after < $3 ORDER BY run_after DESC, key DESC LIMIT $4) AS r
    GROUP BY 1, 2";
pub(super) const FAILED_RUNS_SINCE: &str = "
    SELECT r.key, r.dag_id, r.run_id, r.run_type, r.state, r.logical_date, r.interval_start, r.interval_end, r.run_after,
        r.queued_at, r.start_date, r.end_date, r.conf, r.note, r.triggered_by, r.triggering_user, r.version_id,
        v.number AS version_number, r.queue
    FROM dag_run r JOIN dag_version v ON v.id = r.version_id
    WHERE r.state = 'failed' AND r.end_date >= $1 ORDER BY r.end_date DESC, r.key DESC LIMIT $2";
pub(super) const LIVE_RUNS: &str = "
    SELECT r.key, r.dag_id, r.run_id, r.run_type, r.state, r.logical_date, r.interval_start, r.interval_end, r.run_after,
        r.queued_at, r.start_date, r.end_date, r.conf, r.note, r.triggered_by, r.triggering_user, r.version_id,
        v.number AS version_number, r.queue
    FROM dag_run r JOIN dag_version v ON v.id = r.version_id
    WHERE r.state IN ('queued', 'running') ORDER BY r.state DESC, r.run_after, r.key LIMIT $1";
pub(super) const UPCOMING: &str = "
    SELECT dag_id, next_run_after FROM dag WHERE is_active AND NOT is_paused AND next_run_after IS NOT NULL
    ORDER BY next_run_after, dag_id LIMIT $1";
/// A stretch of the index for each hour: that is read four times as fast as the rows are put into groups.
pub(super) const ENDED_BY_HOUR: &str = "
    WITH RECURSIVE hours AS (
        SELECT $1 / 3600000000 AS hour UNION ALL SELECT hour + 1 FROM hours WHERE (hour + 1) * 3600000000 <= $2),
    counted AS (
        SELECT hour, s.state, (SELECT count(*) FROM dag_run r WHERE r.end_date >= max($1, hour * 3600000000)
            AND r.end_date < (hour + 1) * 3600000000 AND r.state = s.state) AS count
        FROM hours, (SELECT 'success' AS state UNION ALL SELECT 'failed') s)
    SELECT hour, state, count FROM counted WHERE count > 0";
pub(super) const DAG_TOTALS: &str = "
    SELECT count(*) AS active, COALESCE(sum(CASE WHEN is_paused THEN 1 ELSE 0 END), 0) AS paused FROM dag WHERE is_active";
pub(super) const LABELS: &str = "SELECT DISTINCT tags, owners FROM dag WHERE is_active";
