//! The statements of assets. `sqlite/asset_sql.rs` has the same names in the same order.

pub(super) const KNOWN_ASSETS: &str = "
    SELECT id, name, uri, asset_group, extra FROM asset
    WHERE name = ANY (ARRAY(SELECT jsonb_array_elements_text($1::jsonb)))
        OR uri = ANY (ARRAY(SELECT jsonb_array_elements_text($1::jsonb)))
    ORDER BY id";
pub(super) const INSERT_ASSETS: &str = "
    INSERT INTO asset (name, uri, asset_group, extra, created_at, updated_at)
    SELECT o.name, o.uri, o.asset_group, o.extra, $2, $2
    FROM jsonb_to_recordset($1::jsonb) AS o (name text, uri text, asset_group text, extra text)
    ORDER BY o.name
    ON CONFLICT (name) DO NOTHING";
pub(super) const UPDATE_ASSET: &str = "
    UPDATE asset SET name = $2, uri = $3, asset_group = $4, extra = $5, updated_at = $6 WHERE id = $1";
/// One asset turns out to be another: what speaks of $1 speaks of $2 from now on.
pub(super) const MERGE_EVENTS: &str = "UPDATE asset_event SET asset_id = $2 WHERE asset_id = $1";
pub(super) const MERGE_QUEUE: &str = "UPDATE asset_queue SET asset_id = $2 WHERE asset_id = $1";
pub(super) const MERGE_REFERENCES: &str = "
    INSERT INTO asset_reference (dag_id, role, task_id, asset_id, created_at)
    SELECT dag_id, role, task_id, $2, created_at FROM asset_reference WHERE asset_id = $1
    ON CONFLICT DO NOTHING";
pub(super) const DROP_MERGED: &str = "DELETE FROM asset_reference WHERE asset_id = $1 AND asset_id <> $2";
pub(super) const DROP_ASSET: &str = "DELETE FROM asset WHERE id = $1 AND id <> $2";
pub(super) const INSERT_REFERENCES: &str = "
    INSERT INTO asset_reference (dag_id, role, task_id, asset_id, created_at)
    SELECT o.dag_id, o.role, o.task_id, o.asset_id, $2
    FROM jsonb_to_recordset($1::jsonb) AS o (dag_id text, role text, task_id text, asset_id bigint) WHERE true
    ON CONFLICT DO NOTHING";
pub(super) const REFERENCES_OF_DAGS: &str = "
    SELECT asset_id, dag_id, role, task_id, created_at FROM asset_reference
    WHERE dag_id = ANY (ARRAY(SELECT jsonb_array_elements_text($1::jsonb)))";
pub(super) const DROP_REFERENCES: &str = "
    DELETE FROM asset_reference WHERE (dag_id, role, task_id, asset_id) IN (SELECT o.dag_id, o.role, o.task_id, o.asset_id
        FROM jsonb_to_recordset($1::jsonb) AS o (dag_id text, role text, task_id text, asset_id bigint))";
pub(super) const DROP_UNWANTED: &str = "
    DELETE FROM asset_queue q
    WHERE q.dag_id = ANY (ARRAY(SELECT jsonb_array_elements_text($1::jsonb))) AND NOT EXISTS (
        SELECT 1 FROM asset_reference r
        WHERE r.dag_id = q.dag_id AND r.role = 'schedule' AND r.task_id = '' AND r.asset_id = q.asset_id)";
/// Another condition may hold already.
pub(super) const LOOK_AGAIN: &str = "
    UPDATE asset_queue q SET is_new = true
    WHERE q.dag_id = ANY (ARRAY(SELECT jsonb_array_elements_text($1::jsonb))) AND q.is_counted
        AND q.event_id = (SELECT max(m.event_id) FROM asset_queue m WHERE m.dag_id = q.dag_id AND m.is_counted)";
pub(super) const INSERT_EVENTS: &str = "
    INSERT INTO asset_event (asset_id, at, extra, source_dag_id, source_run_id, source_task_id, source_map_index)
    SELECT o.asset_id, $2, o.extra, o.source_dag_id, o.source_run_id, o.source_task_id, o.source_map_index
    FROM jsonb_to_recordset($1::jsonb) AS o (asset_id bigint, extra text, source_dag_id text, source_run_id text,
        source_task_id text, source_map_index int)
    RETURNING id, asset_id";
/// A DAG that is being deleted meanwhile is waited for, and left out.
pub(super) const QUEUE_EVENTS: &str = "
    INSERT INTO asset_queue (dag_id, asset_id, event_id, is_counted, is_new)
    SELECT r.dag_id, r.asset_id, o.id, NOT d.is_paused, NOT d.is_paused
    FROM jsonb_to_recordset($1::jsonb) AS o (id bigint, asset_id bigint)
    JOIN asset_reference r ON r.asset_id = o.asset_id AND r.role = 'schedule'
    JOIN dag d ON d.dag_id = r.dag_id
    WHERE d.is_active
    FOR KEY SHARE OF d";
/// Steps from one DAG with something new to the next, however much is new of each.
pub(super) const ASSET_RUNS_DUE: &str = "
    WITH RECURSIVE found AS (
        SELECT min(dag_id) AS dag_id FROM asset_queue WHERE is_new
        UNION ALL SELECT (SELECT min(q.dag_id) FROM asset_queue q WHERE q.is_new AND q.dag_id > found.dag_id)
        FROM found WHERE found.dag_id IS NOT NULL)
    SELECT d.dag_id FROM found JOIN dag d ON d.dag_id = found.dag_id
    WHERE d.is_active AND NOT d.is_paused AND d.max_active_runs > (
        SELECT count(*) FROM dag_run a WHERE a.dag_id = d.dag_id AND a.state IN ('queued', 'running')
            AND a.run_type <> 'backfill' AND a.queue IS NULL)
    ORDER BY d.dag_id LIMIT $1";
pub(super) const LOOKED_AT: &str = "UPDATE asset_queue SET is_new = false WHERE dag_id = $1 AND is_new";
pub(super) const AWAITED: &str = "
    SELECT a.id, a.name, a.uri,
        EXISTS (SELECT 1 FROM asset_queue q WHERE q.dag_id = r.dag_id AND q.asset_id = a.id AND q.is_counted) AS has_come
    FROM asset_reference r JOIN asset a ON a.id = r.asset_id
    WHERE r.dag_id = $1 AND r.role = 'schedule' ORDER BY a.name, a.id";
pub(super) const COUNT_ACTIVE: &str = "
    SELECT count(*) FROM dag_run a WHERE a.dag_id = $1 AND a.state IN ('queued', 'running')
        AND a.run_type <> 'backfill' AND a.queue IS NULL";
pub(super) const NEWEST_COUNTED: &str = "
    SELECT max(e.at) AS at FROM asset_queue q JOIN asset_event e ON e.id = q.event_id
    WHERE q.dag_id = $1 AND q.is_counted";
pub(super) const CONSUME: &str = "
    INSERT INTO asset_run_event (run_key, event_id) SELECT $2, event_id FROM asset_queue WHERE dag_id = $1";
/// Only what went into the run: more may have come since.
pub(super) const DROP_CONSUMED: &str = "
    DELETE FROM asset_queue q
    WHERE q.dag_id = $1 AND EXISTS (SELECT 1 FROM asset_run_event c WHERE c.run_key = $2 AND c.event_id = q.event_id)";
pub(super) const SET_INTERVAL: &str = "
    UPDATE dag_run SET interval_start = s.first, interval_end = s.last
    FROM (SELECT min(e.at) AS first, max(e.at) AS last FROM asset_run_event c JOIN asset_event e ON e.id = c.event_id
        WHERE c.run_key = $1) s
    WHERE key = $1";
/// $1 and $2 narrow it, each if given; $3 is the end of what is dropped.
pub(super) const CLEAR_QUEUE: &str = "
    DELETE FROM asset_queue q
    WHERE ($1::text IS NULL OR q.dag_id = $1) AND ($2::bigint IS NULL OR q.asset_id = $2)
        AND ($3::timestamptz IS NULL OR EXISTS (SELECT 1 FROM asset_event e WHERE e.id = q.event_id AND e.at < $3))";

// --- reads

/// Filters, order and page follow.
pub(super) const SELECT_ASSETS: &str = "
    SELECT a.id, a.name, a.uri, a.asset_group, a.extra, a.created_at, a.updated_at,
        EXISTS (SELECT 1 FROM asset_reference r JOIN dag d ON d.dag_id = r.dag_id WHERE r.asset_id = a.id AND d.is_active) AS is_active,
        l.id AS last_id, l.at AS last_at
    FROM asset a LEFT JOIN asset_event l ON l.id = (SELECT max(m.id) FROM asset_event m WHERE m.asset_id = a.id)";
pub(super) const REFERENCES: &str = "
    SELECT r.asset_id, r.dag_id, r.role, r.task_id, r.created_at FROM asset_reference r JOIN dag d ON d.dag_id = r.dag_id
    WHERE d.is_active AND r.asset_id = ANY (ARRAY(SELECT jsonb_array_elements_text($1::jsonb)::bigint))
    ORDER BY r.asset_id, r.dag_id, r.role, r.task_id";
/// Filters, order and page follow.
pub(super) const SELECT_EVENTS: &str = "
    SELECT e.id, e.asset_id, a.name, a.uri, a.asset_group, e.at, e.extra, e.source_dag_id, e.source_run_id, e.source_task_id,
        e.source_map_index
    FROM asset_event e JOIN asset a ON a.id = e.asset_id";
pub(super) const COUNT_EVENTS: &str = "SELECT count(*) FROM asset_event e JOIN asset a ON a.id = e.asset_id";
pub(super) const EVENTS_OF_RUN: &str = "
    SELECT e.id, e.asset_id, a.name, a.uri, a.asset_group, e.at, e.extra, e.source_dag_id, e.source_run_id, e.source_task_id,
        e.source_map_index
    FROM asset_run_event c JOIN asset_event e ON e.id = c.event_id JOIN asset a ON a.id = e.asset_id
    WHERE c.run_key = $1 ORDER BY e.at, e.id";
/// With whether the event is the last of those that the run was started for.
pub(super) const RUNS_OF_EVENTS: &str = "
    SELECT c.event_id, c.run_key,
        c.event_id = (SELECT max(o.event_id) FROM asset_run_event o WHERE o.run_key = c.run_key) AS is_last
    FROM asset_run_event c
    WHERE c.event_id = ANY (ARRAY(SELECT jsonb_array_elements_text($1::jsonb)::bigint)) ORDER BY c.event_id, c.run_key";
/// $1 and $2 narrow it, each if given; $3 is the end of what is told.
pub(super) const QUEUED: &str = "
    SELECT q.dag_id, q.asset_id, a.name, min(e.at) AS first_at, max(e.at) AS last_at, count(*) AS events
    FROM asset_queue q JOIN asset_event e ON e.id = q.event_id JOIN asset a ON a.id = q.asset_id
    WHERE q.is_counted AND ($1::text IS NULL OR q.dag_id = $1) AND ($2::bigint IS NULL OR q.asset_id = $2)
        AND ($3::timestamptz IS NULL OR e.at < $3)
    GROUP BY q.dag_id, q.asset_id, a.name ORDER BY q.dag_id, q.asset_id";
