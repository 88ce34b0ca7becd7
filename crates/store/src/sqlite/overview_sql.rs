//! The statements of overviews, for SQLite. `../postgres/overview_sql.rs` has the same names in the same order.

/// All task instances of those runs, as one row: each row costs more on its way to who asked than in the database.
pub(super) const GRID: &str = "
    SELECT json_group_array(json_array(run_key, task_id, state, map_index, try_number, queued_at, start_date, end_date, available_at))
    FROM task_instance WHERE run_key IN (SELECT value FROM json_each($1))";
/// As `GRID`, of some tasks.
pub(super) const GRID_OF_TASKS: &str = "
    SELECT json_group_array(json_array(run_key, task_id, state, map_index, try_number, queued_at, start_date, end_date, available_at))
    FROM task_instance WHERE run_key IN (SELECT value FROM json_each($1)) AND task_id IN (SELECT value FROM json_each($2))";
/// When those tasks ran in those runs, where they succeeded; as one row.
pub(super) const SPANS_OF_TASKS: &str = "
    SELECT json_group_array(json_array(run_key, task_id, start_date, end_date))
    FROM task_instance WHERE run_key IN (SELECT value FROM json_each($1)) AND task_id IN (SELECT value FROM json_each($2))
        AND state = 'success' AND try_number > 0 AND start_date IS NOT NULL AND end_date IS NOT NULL";
/// One row for each line that tasks are told in and each state; a task may be in several. `CROSS JOIN` keeps
/// the lines outside, so that instances are found by their key.
pub(super) const GRID_OF_LINES: &str = "
    SELECT l.line, t.run_key, min(t.task_id) AS task_id, t.state, count(*) AS count, min(t.map_index) AS map_index,
        max(t.try_number) AS try_number, min(t.queued_at) AS queued_at, min(t.start_date) AS start_date, max(t.end_date) AS end_date
    FROM (SELECT value ->> 'task_id' AS task_id, value ->> 'line' AS line FROM json_each($2)) l
    CROSS JOIN task_instance t WHERE t.run_key IN (SELECT value FROM json_each($1)) AND t.task_id = l.task_id
    GROUP BY t.run_key, l.line, t.state";
/// The tasks of a run that took longest, of those that have succeeded; all others after them, by id.
pub(super) const SLOWEST_TASKS: &str = "
    SELECT task_id FROM task_instance WHERE run_key = $1 AND instr(lower(task_id), $2) > 0 GROUP BY task_id
    ORDER BY COALESCE(max(CASE WHEN state = 'success' AND try_number > 0 THEN end_date END)
        - min(CASE WHEN state = 'success' AND try_number > 0 THEN start_date END), -1) DESC, task_id
    LIMIT $3 OFFSET $4";
/// The runs of a DAG by days of a time zone, whose offsets from UTC are $5; without a day those that none of them covers.
pub(super) const RUN_COUNTS: &str = "
    WITH zone AS MATERIALIZED (SELECT value ->> 'from' AS begin, value ->> 'until' AS until, value ->> 'offset' AS shift FROM json_each($5))
    SELECT (at + shift) / 86400000000 AS day, state, count(*) AS count
    FROM (SELECT COALESCE(logical_date, run_after) AS at, state FROM dag_run
        WHERE dag_id = $1 AND run_after >= $2 AND run_after < $3 ORDER BY run_after DESC, key DESC LIMIT $4) AS r
    LEFT JOIN zone ON at >= begin AND at < until
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
