//! The statements of assets. `postgres/asset_sql.rs` has the same names in the same order.

pub(super) const KNOWN_ASSETS: &str = "
    SELECT id, name, uri, asset_group, extra FROM asset
    WHERE name IN (SELECT value FROM json_each($1))
        OR uri IN (SELECT value FROM json_each($1))
    ORDER BY id";
pub(super) const INSERT_ASSETS: &str = "
    INSERT INTO asset (name, uri, asset_group, extra, created_at, updated_at)
    SELECT o.name, o.uri, o.asset_group, o.extra, $2, $2
    FROM (SELECT value ->> 'name' AS name, value ->> 'uri' AS uri, value ->> 'asset_group' AS asset_group,
        value ->> 'extra' AS extra FROM json_each($1)) AS o
    WHERE true ORDER BY o.name
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
    FROM (SELECT value ->> 'dag_id' AS dag_id, value ->> 'role' AS role, value ->> 'task_id' AS task_id,
        value ->> 'asset_id' AS asset_id FROM json_each($1)) AS o WHERE true
    ON CONFLICT DO NOTHING";
pub(super) const REFERENCES_OF_DAGS: &str = "
    SELECT asset_id, dag_id, role, task_id, created_at FROM asset_reference
    WHERE dag_id IN (SELECT value FROM json_each($1))";
pub(super) const DROP_REFERENCES: &str = "
    DELETE FROM asset_reference WHERE (dag_id, role, task_id, asset_id) IN (SELECT value ->> 'dag_id',
        value ->> 'role', value ->> 'task_id', value ->> 'asset_id' FROM json_each($1))";
pub(super) const DROP_UNWANTED: &str = "
    DELETE FROM asset_queue AS q
    WHERE q.dag_id IN (SELECT value FROM json_each($1)) AND NOT EXISTS (
        SELECT 1 FROM asset_reference r
        WHERE r.dag_id = q.dag_id AND r.role = 'schedule' AND r.task_id = '' AND r.asset_id = q.asset_id)";
/// Another condition may hold already.
pub(super) const LOOK_AGAIN: &str = "
    UPDATE asset_queue AS q SET is_new = true
    WHERE q.dag_id IN (SELECT value FROM json_each($1)) AND q.is_counted
        AND q.event_id = (SELECT max(m.event_id) FROM asset_queue m WHERE m.dag_id = q.dag_id AND m.is_counted)";
pub(super) const INSERT_EVENTS: &str = "
    INSERT INTO asset_event (asset_id, at, extra, source_dag_id, source_run_id, source_task_id, source_map_index)
    SELECT o.asset_id, $2, o.extra, o.source_dag_id, o.source_run_id, o.source_task_id, o.source_map_index
    FROM (SELECT value ->> 'asset_id' AS asset_id, value ->> 'extra' AS extra,
        value ->> 'source_dag_id' AS source_dag_id, value ->> 'source_run_id' AS source_run_id,
        value ->> 'source_task_id' AS source_task_id,
        value ->> 'source_map_index' AS source_map_index FROM json_each($1)) AS o
    RETURNING id, asset_id";
pub(super) const QUEUE_EVENTS: &str = "
    INSERT INTO asset_queue (dag_id, asset_id, event_id, is_counted, is_new)
    SELECT r.dag_id, r.asset_id, o.id, NOT d.is_paused, NOT d.is_paused
    FROM (SELECT value ->> 'id' AS id, value ->> 'asset_id' AS asset_id FROM json_each($1)) AS o
    JOIN asset_reference r ON r.asset_id = o.asset_id AND r.role = 'schedule'
    JOIN dag d ON d.dag_id = r.dag_id
    WHERE d.is_active";
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
    DELETE FROM asset_queue AS q
    WHERE q.dag_id = $1 AND EXISTS (SELECT 1 FROM asset_run_event c WHERE c.run_key = $2 AND c.event_id = q.event_id)";
pub(super) const SET_INTERVAL: &str = "
    UPDATE dag_run SET interval_start = s.first, interval_end = s.last
    FROM (SELECT min(e.at) AS first, max(e.at) AS last FROM asset_run_event c JOIN asset_event e ON e.id = c.event_id
        WHERE c.run_key = $1) s
    WHERE key = $1";
/// $1 and $2 narrow it, each if given; $3 is the end of what is dropped.
pub(super) const CLEAR_QUEUE: &str = "
    DELETE FROM asset_queue AS q
    WHERE ($1 IS NULL OR q.dag_id = $1) AND ($2 IS NULL OR q.asset_id = $2)
        AND ($3 IS NULL OR EXISTS (SELECT 1 FROM asset_event e WHERE e.id = q.event_id AND e.at < $3))";

// --- reads

/// Filters, order and page follow.
pub(super) const SELECT_ASSETS: &str = "
    SELECT a.id, a.name, a.uri, a.asset_group, a.extra, a.created_at, a.updated_at,
        EXISTS (SELECT 1 FROM asset_reference r JOIN dag d ON d.dag_id = r.dag_id WHERE r.asset_id = a.id AND d.is_active) AS is_active,
        l.id AS last_id, l.at AS last_at
    FROM asset a LEFT JOIN asset_event l ON l.id = (SELECT max(m.id) FROM asset_event m WHERE m.asset_id = a.id)";
pub(super) const REFERENCES: &str = "
    SELECT r.asset_id, r.dag_id, r.role, r.task_id, r.created_at FROM asset_reference r JOIN dag d ON d.dag_id = r.dag_id
    WHERE d.is_active AND r.asset_id IN (SELECT value FROM json_each($1))
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
    WHERE c.event_id IN (SELECT value FROM json_each($1)) ORDER BY c.event_id, c.run_key";
/// $1 and $2 narrow it, each if given; $3 is the end of what is told.
pub(super) const QUEUED: &str = "
    SELECT q.dag_id, q.asset_id, a.name, min(e.at) AS first_at, max(e.at) AS last_at, count(*) AS events
    FROM asset_queue q JOIN asset_event e ON e.id = q.event_id JOIN asset a ON a.id = q.asset_id
    WHERE q.is_counted AND ($1 IS NULL OR q.dag_id = $1) AND ($2 IS NULL OR q.asset_id = $2)
        AND ($3 IS NULL OR e.at < $3)
    GROUP BY q.dag_id, q.asset_id, a.name ORDER BY q.dag_id, q.asset_id";
