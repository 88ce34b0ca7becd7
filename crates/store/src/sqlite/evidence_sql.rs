//! What attempts leave behind, for SQLite. `../postgres/evidence_sql.rs` has the same names in the same order.

pub(super) const KEEP_RENDERED: &str = "
    INSERT INTO rendered_fields (run_key, task_id, map_index, try_number, dag_id, fields)
    SELECT o.run_key, o.task_id, o.map_index, t.try_number, o.dag_id, o.fields
    FROM (SELECT value ->> 'run_key' AS run_key, value ->> 'task_id' AS task_id, value ->> 'map_index' AS map_index,
        value ->> 'dag_id' AS dag_id, value ->> 'fields' AS fields FROM json_each(?1)) AS o
    JOIN task_instance t ON t.run_key = o.run_key AND t.task_id = o.task_id AND t.map_index = o.map_index WHERE true
    ON CONFLICT (run_key, task_id, map_index) DO UPDATE
    SET try_number = excluded.try_number, dag_id = excluded.dag_id, fields = excluded.fields";
/// ?1: a DAG, ?2: how many of its newest runs keep theirs, ?3: most rows.
pub(super) const FORGET_RENDERED: &str = "
    DELETE FROM rendered_fields WHERE (run_key, task_id, map_index) IN (
        SELECT f.run_key, f.task_id, f.map_index FROM rendered_fields f
        WHERE f.dag_id = ?1
            AND f.run_key < (SELECT r.key FROM dag_run r WHERE r.dag_id = ?1 ORDER BY r.key DESC LIMIT 1 OFFSET ?2 - 1)
            AND NOT EXISTS (SELECT 1 FROM dag_run r WHERE r.key = f.run_key AND r.state IN ('queued', 'running'))
        LIMIT ?3)";
pub(super) const NAME_INSTANCES: &str = "
    UPDATE task_instance AS t SET rendered_map_index = o.name
    FROM (SELECT value ->> 'run_key' AS run_key, value ->> 'task_id' AS task_id, value ->> 'map_index' AS map_index,
        value ->> 'name' AS name FROM json_each($1)) AS o
    WHERE t.run_key = o.run_key AND t.task_id = o.task_id AND t.map_index = o.map_index";
pub(super) const RENDERED: &str = "
    SELECT f.run_key, f.task_id, f.map_index, f.try_number, f.fields
    FROM (SELECT value ->> 'run_key' AS run_key, value ->> 'task_id' AS task_id, value ->> 'map_index' AS map_index
        FROM json_each(?1)) AS o
    JOIN rendered_fields f ON f.run_key = o.run_key AND f.task_id = o.task_id AND f.map_index = o.map_index";
/// How long the chunks of a log are, without reading them.
pub(super) const LOG_SIZES: &str = "
    SELECT seq, lines FROM log_chunk WHERE run_key = $1 AND task_id = $2 AND map_index = $3 AND try_number = $4 ORDER BY seq";
pub(super) const USAGE: &str = "
    SELECT cpu_ms, peak_bytes FROM task_instance WHERE run_key = ?1 AND task_id = ?2 AND map_index = ?3";
