//! The statements of overviews, for PostgreSQL. `../sqlite/overview_sql.rs` has the same names in the same order.

/// All task instances of those runs, as one row of columns: each row costs more on its way to who asked than in the database.
pub(super) const GRID: &str = "
    SELECT array_agg(run_key), array_agg(task_id), array_agg(state), array_agg(map_index), array_agg(try_number),
        array_agg(queued_at), array_agg(start_date), array_agg(end_date), array_agg(available_at)
    FROM task_instance WHERE run_key = ANY (ARRAY(SELECT jsonb_array_elements_text($1::jsonb)::bigint))";
/// As `GRID`, of some tasks.
pub(super) const GRID_OF_TASKS: &str = "
    SELECT array_agg(run_key), array_agg(task_id), array_agg(state), array_agg(map_index), array_agg(try_number),
        array_agg(queued_at), array_agg(start_date), array_agg(end_date), array_agg(available_at)
    FROM task_instance WHERE run_key = ANY (ARRAY(SELECT jsonb_array_elements_text($1::jsonb)::bigint))
        AND task_id = ANY (ARRAY(SELECT jsonb_array_elements_text($2::jsonb)))";
/// When those tasks ran in those runs, where they succeeded; as one row of columns.
pub(super) const SPANS_OF_TASKS: &str = "
    SELECT array_agg(run_key), array_agg(task_id), array_agg(start_date), array_agg(end_date)
    FROM task_instance WHERE run_key = ANY (ARRAY(SELECT jsonb_array_elements_text($1::jsonb)::bigint))
        AND task_id = ANY (ARRAY(SELECT jsonb_array_elements_text($2::jsonb)))
        AND state = 'success' AND try_number > 0 AND start_date IS NOT NULL AND end_date IS NOT NULL";
/// One row for each line that tasks are told in and each state; a task may be in several.
pub(super) const GRID_OF_LINES: &str = "
    SELECT l.line, t.run_key, min(t.task_id) AS task_id, t.state, count(*) AS count, min(t.map_index) AS map_index,
        max(t.try_number) AS try_number, min(t.queued_at) AS queued_at, min(t.start_date) AS start_date, max(t.end_date) AS end_date
    FROM task_instance t JOIN jsonb_to_recordset($2::jsonb) AS l (task_id text, line bigint) ON l.task_id = t.task_id
    WHERE t.run_key = ANY (ARRAY(SELECT jsonb_array_elements_text($1::jsonb)::bigint))
    GROUP BY t.run_key, l.line, t.state";
/// The tasks of a run that took longest, of those that have succeeded; all others after them, by id.
pub(super) const SLOWEST_TASKS: &str = "
    SELECT task_id FROM task_instance WHERE run_key = $1 AND strpos(lower(task_id), $2) > 0 GROUP BY task_id
    ORDER BY max(end_date) FILTER (WHERE state = 'success' AND try_number > 0)
        - min(start_date) FILTER (WHERE state = 'success' AND try_number > 0) DESC NULLS LAST, task_id
    LIMIT $3 OFFSET $4";
/// The runs of a DAG by days of a time zone, whose offsets from UTC are $5; without a day those that none of them covers.
pub(super) const RUN_COUNTS: &str = "
    WITH zone AS MATERIALIZED (SELECT from_micros(\"from\") AS begin, from_micros(until) AS until, \"offset\" * interval '1 microsecond' AS shift
        FROM jsonb_to_recordset($5::jsonb) AS z (\"from\" bigint, until bigint, \"offset\" bigint))
    SELECT ((at AT TIME ZONE 'UTC' + shift)::date - DATE '1970-01-01')::bigint AS day, state, count(*) AS count
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
/// A stretch of the index for each hour: that is read faster than the rows are put into groups.
pub(super) const ENDED_BY_HOUR: &str = "
    SELECT floor(date_part('epoch', begin) / 3600)::bigint AS hour, s.state, c.counts[s.place] AS count
    FROM generate_series(date_trunc('hour', $1, 'UTC'), $2, interval '1 hour') AS h (begin),
        LATERAL (SELECT ARRAY[count(*) FILTER (WHERE state = 'success'), count(*) FILTER (WHERE state = 'failed')] AS counts
            FROM dag_run WHERE end_date >= GREATEST($1, begin) AND end_date < begin + interval '1 hour' AND end_date <= $2) c,
        (VALUES ('success', 1), ('failed', 2)) AS s (state, place)
    WHERE c.counts[s.place] > 0";
pub(super) const DAG_TOTALS: &str = "
    SELECT count(*) AS active, COALESCE(sum(CASE WHEN is_paused THEN 1 ELSE 0 END), 0) AS paused FROM dag WHERE is_active";
pub(super) const LABELS: &str = "SELECT DISTINCT tags, owners FROM dag WHERE is_active";
