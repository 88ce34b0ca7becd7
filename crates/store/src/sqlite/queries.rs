//! The statements of readers, for SQLite. `../postgres/queries.rs` has the same names in the same order.

// --- DAGs

/// What lists are made of: filters, order and page follow.
pub(super) const SELECT_DAGS: &str = "
    SELECT d.dag_id, d.file, d.is_paused, d.is_active, d.version_id, v.number AS version_number, d.description, d.owners, d.tags,
        d.schedule, d.max_active_runs, d.next_run_after, d.next_logical_date, d.next_interval_start, d.next_interval_end, d.last_parsed_at
    FROM dag d JOIN dag_version v ON v.id = d.version_id";
pub(super) const DAG: &str = "
    SELECT d.dag_id, d.file, d.is_paused, d.is_active, d.version_id, v.number AS version_number, d.description, d.owners, d.tags,
        d.schedule, d.max_active_runs, d.next_run_after, d.next_logical_date, d.next_interval_start, d.next_interval_end, d.last_parsed_at
    FROM dag d JOIN dag_version v ON v.id = d.version_id WHERE d.dag_id = $1";
pub(super) const VERSION: &str =
    "SELECT id, dag_id, number, hash, file, source, created_at FROM dag_version WHERE id = $1";
pub(super) const VERSIONS: &str =
    "SELECT id, dag_id, number, hash, file, source, created_at FROM dag_version WHERE dag_id = $1 ORDER BY number DESC";
pub(super) const VERSION_SPEC: &str = "SELECT spec FROM dag_version WHERE id = $1";
pub(super) const IMPORT_ERRORS: &str = "SELECT file, message, at FROM import_error ORDER BY file";
/// Three indexes tell what there is to decide: not planned for its version, due, or continuous and at rest.
pub(super) const SCHEDULABLE: &str = "
    SELECT d.dag_id, d.file, d.is_paused, d.is_active, d.version_id, v.number AS version_number, d.description, d.owners, d.tags,
        d.schedule, d.max_active_runs, d.next_run_after, d.next_logical_date, d.next_interval_start, d.next_interval_end, d.last_parsed_at,
        (SELECT count(*) FROM dag_run a WHERE a.dag_id = d.dag_id AND a.state IN ('queued', 'running')
            AND a.run_type <> 'backfill' AND a.queue IS NULL) AS active_runs,
        l.interval_start AS last_start, l.interval_end AS last_end, l.end_date AS last_run_end
    FROM (
        SELECT dag_id FROM dag WHERE is_active AND NOT is_paused AND next_for_version IS NOT version_id
        UNION SELECT dag_id FROM dag WHERE is_active AND NOT is_paused AND next_run_after IS NOT NULL AND next_run_after <= $1
        UNION SELECT c.dag_id FROM dag c WHERE c.is_active AND NOT c.is_paused AND c.schedule = '@continuous' AND c.next_run_after IS NULL
            AND NOT EXISTS (SELECT 1 FROM dag_run a WHERE a.dag_id = c.dag_id AND a.state IN ('queued', 'running'))
    ) due
    JOIN dag d ON d.dag_id = due.dag_id
    JOIN dag_version v ON v.id = d.version_id
    LEFT JOIN dag_run l ON l.key = (
        SELECT s.key FROM dag_run s WHERE s.dag_id = d.dag_id AND s.run_type = 'scheduled' ORDER BY s.run_after DESC, s.key DESC LIMIT 1)
    ORDER BY d.next_run_after, d.dag_id LIMIT $2";
pub(super) const NEXT_DUE_AT: &str = "
    SELECT min(at) AS at FROM (
        SELECT min(next_run_after) AS at FROM dag
            WHERE is_active AND NOT is_paused AND next_run_after IS NOT NULL AND next_run_after > $1
        UNION ALL SELECT min(available_at) FROM task_instance
            WHERE state IN ('up_for_retry', 'up_for_reschedule') AND available_at IS NOT NULL
        UNION ALL SELECT min(deadline) FROM dag_run WHERE state = 'running' AND deadline IS NOT NULL
        UNION ALL SELECT min(deadline_time) FROM deadline WHERE missed_at IS NULL
        UNION ALL SELECT min(lease_until) FROM job WHERE state = 'running' AND lease_until > $1
        UNION ALL SELECT min(run_after) FROM dag_run INDEXED BY dag_run_active WHERE state IN ('queued', 'running') AND state = 'queued' AND run_after > $1
    ) times";

// --- runs

/// What lists are made of: filters, order and page follow.
pub(super) const SELECT_RUNS: &str = "
    SELECT r.key, r.dag_id, r.run_id, r.run_type, r.state, r.logical_date, r.interval_start, r.interval_end, r.run_after,
        r.queued_at, r.start_date, r.end_date, r.conf, r.note, r.triggered_by, r.triggering_user, r.version_id,
        v.number AS version_number, r.queue
    FROM dag_run r JOIN dag_version v ON v.id = r.version_id";
pub(super) const RUN: &str = "
    SELECT r.key, r.dag_id, r.run_id, r.run_type, r.state, r.logical_date, r.interval_start, r.interval_end, r.run_after,
        r.queued_at, r.start_date, r.end_date, r.conf, r.note, r.triggered_by, r.triggering_user, r.version_id,
        v.number AS version_number, r.queue
    FROM dag_run r JOIN dag_version v ON v.id = r.version_id WHERE r.dag_id = $1 AND r.run_id = $2";
pub(super) const RUN_AT: &str = "
    SELECT r.key, r.dag_id, r.run_id, r.run_type, r.state, r.logical_date, r.interval_start, r.interval_end, r.run_after,
        r.queued_at, r.start_date, r.end_date, r.conf, r.note, r.triggered_by, r.triggering_user, r.version_id,
        v.number AS version_number, r.queue
    FROM dag_run r JOIN dag_version v ON v.id = r.version_id WHERE r.dag_id = $1 AND r.logical_date = $2";
pub(super) const RUN_BY_KEY: &str = "
    SELECT r.key, r.dag_id, r.run_id, r.run_type, r.state, r.logical_date, r.interval_start, r.interval_end, r.run_after,
        r.queued_at, r.start_date, r.end_date, r.conf, r.note, r.triggered_by, r.triggering_user, r.version_id,
        v.number AS version_number, r.queue
    FROM dag_run r JOIN dag_version v ON v.id = r.version_id WHERE r.key = $1";
pub(super) const PREVIOUS_SUCCESS: &str = "
    SELECT r.key, r.dag_id, r.run_id, r.run_type, r.state, r.logical_date, r.interval_start, r.interval_end, r.run_after,
        r.queued_at, r.start_date, r.end_date, r.conf, r.note, r.triggered_by, r.triggering_user, r.version_id,
        v.number AS version_number, r.queue
    FROM dag_run r JOIN dag_version v ON v.id = r.version_id
    WHERE r.dag_id = $1 AND r.state = 'success' AND r.logical_date < $2 ORDER BY r.logical_date DESC LIMIT 1";
pub(super) const NEWEST_RUNS: &str = "
    SELECT r.key, r.dag_id, r.run_id, r.run_type, r.state, r.logical_date, r.interval_start, r.interval_end, r.run_after,
        r.queued_at, r.start_date, r.end_date, r.conf, r.note, r.triggered_by, r.triggering_user, r.version_id,
        v.number AS version_number, r.queue
    FROM dag d JOIN dag_run r ON r.key IN (
        SELECT n.key FROM dag_run n WHERE n.dag_id = d.dag_id ORDER BY n.run_after DESC, n.key DESC LIMIT $2)
    JOIN dag_version v ON v.id = r.version_id
    WHERE d.dag_id IN (SELECT value FROM json_each($1))
    ORDER BY r.dag_id, r.run_after DESC, r.key DESC";

// --- task instances

pub(super) const TASK_INSTANCES: &str = "
    SELECT t.run_key, t.task_id, t.map_index, r.dag_id, r.run_id, r.logical_date, r.run_after, r.version_id, v.number AS version_number,
        t.state, t.try_number, t.max_tries, t.queued_at, t.start_date, t.end_date, t.available_at, t.hostname, t.pid, t.pool,
        t.pool_slots, t.queue, t.priority, t.note, t.rendered_map_index, t.blocked_by,
        t.up_total, t.up_success, t.up_failed, t.up_skipped, t.up_upstream_failed, t.up_removed
    FROM task_instance t JOIN dag_run r ON r.key = t.run_key JOIN dag_version v ON v.id = r.version_id
    WHERE t.run_key = $1 ORDER BY t.task_id, t.map_index";
/// Those of some keys. `CROSS JOIN` keeps the keys outside.
pub(super) const SOME_TASK_INSTANCES: &str = "
    SELECT t.run_key, t.task_id, t.map_index, r.dag_id, r.run_id, r.logical_date, r.run_after, r.version_id, v.number AS version_number,
        t.state, t.try_number, t.max_tries, t.queued_at, t.start_date, t.end_date, t.available_at, t.hostname, t.pid, t.pool,
        t.pool_slots, t.queue, t.priority, t.note, t.rendered_map_index, t.blocked_by,
        t.up_total, t.up_success, t.up_failed, t.up_skipped, t.up_upstream_failed, t.up_removed
    FROM json_each($2) k CROSS JOIN task_instance t
        ON t.run_key = $1 AND t.task_id = k.value ->> 'task_id' AND t.map_index = k.value ->> 'map_index'
    JOIN dag_run r ON r.key = t.run_key JOIN dag_version v ON v.id = r.version_id
    ORDER BY t.task_id, t.map_index";
pub(super) const TASK_INSTANCE: &str = "
    SELECT t.run_key, t.task_id, t.map_index, r.dag_id, r.run_id, r.logical_date, r.run_after, r.version_id, v.number AS version_number,
        t.state, t.try_number, t.max_tries, t.queued_at, t.start_date, t.end_date, t.available_at, t.hostname, t.pid, t.pool,
        t.pool_slots, t.queue, t.priority, t.note, t.rendered_map_index, t.blocked_by,
        t.up_total, t.up_success, t.up_failed, t.up_skipped, t.up_upstream_failed, t.up_removed
    FROM task_instance t JOIN dag_run r ON r.key = t.run_key JOIN dag_version v ON v.id = r.version_id
    WHERE t.run_key = $1 AND t.task_id = $2 AND t.map_index = $3";
pub(super) const TASK_STATES: &str = "
    SELECT task_id, state FROM task_instance
    WHERE run_key = $1 AND task_id IN (SELECT value FROM json_each($2)) ORDER BY task_id, map_index";
pub(super) const PAST_TRIES: &str = "
    SELECT run_key, task_id, map_index, try_number, state, queued_at, start_date, end_date, hostname, pid, note, cpu_ms, peak_bytes
    FROM task_try WHERE run_key = $1 AND task_id = $2 AND map_index = $3 ORDER BY try_number";
/// One count for each partial index, so that finished rows are not read.
pub(super) const STATE_COUNTS: &str = "
    SELECT state, count(*) AS count FROM task_instance
    WHERE state IN ('none', 'scheduled', 'queued', 'running', 'up_for_retry', 'up_for_reschedule', 'restarting', 'deferred')
    GROUP BY state";
pub(super) const LOG_CHUNKS: &str = "
    SELECT seq, lines, encoding, data FROM log_chunk
    WHERE run_key = $1 AND task_id = $2 AND map_index = $3 AND try_number = $4 AND seq >= $5 ORDER BY seq LIMIT $6";
pub(super) const XCOMS: &str = "
    SELECT key, task_id, map_index, value, at FROM xcom WHERE run_key = $1 AND task_id = $2 AND key = $3 ORDER BY map_index";
pub(super) const XCOM: &str = "
    SELECT key, task_id, map_index, value, at FROM xcom WHERE run_key = $1 AND task_id = $2 AND key = $3 AND map_index = $4";
pub(super) const TASK_XCOMS: &str = "
    SELECT key, task_id, map_index, value, at FROM xcom WHERE run_key = $1 AND task_id = $2 AND map_index = $3 ORDER BY key";

// --- jobs and pools

pub(super) const JOBS: &str = "
    SELECT id, job_type, hostname, pid, process_mark, queues, slots, state, started_at, heartbeat_at, lease_until FROM job
    WHERE state = 'running' OR id IN (SELECT id FROM job WHERE state <> 'running' ORDER BY id DESC LIMIT 50) ORDER BY id";
pub(super) const POOLS: &str = "
    SELECT p.name, p.slots, p.description, COALESCE((SELECT sum(t.pool_slots) FROM task_instance t
        WHERE t.state IN ('queued', 'running', 'restarting') AND t.pool = p.name), 0) AS used
    FROM pool p ORDER BY p.name";
pub(super) const SET_POOL: &str = "
    INSERT INTO pool (name, slots, description) VALUES ($1, $2, $3)
    ON CONFLICT (name) DO UPDATE SET slots = excluded.slots, description = COALESCE(excluded.description, pool.description)";
pub(super) const DELETE_POOL: &str = "DELETE FROM pool WHERE name = $1";

// --- variables and connections

pub(super) const VARIABLES: &str = "SELECT key, value, description FROM variable ORDER BY key";
pub(super) const VARIABLE: &str = "SELECT key, value, description FROM variable WHERE key = $1";
pub(super) const SET_VARIABLE: &str = "
    INSERT INTO variable (key, value, description, updated_at) VALUES ($1, $2, $3, $4)
    ON CONFLICT (key) DO UPDATE SET value = excluded.value, description = COALESCE(excluded.description, variable.description),
        updated_at = excluded.updated_at";
pub(super) const DELETE_VARIABLE: &str = "DELETE FROM variable WHERE key = $1";
pub(super) const CONNECTIONS: &str = "
    SELECT conn_id, conn_type, description, host, login, password, schema, port, extra FROM connection ORDER BY conn_id";
pub(super) const CONNECTION: &str = "
    SELECT conn_id, conn_type, description, host, login, password, schema, port, extra FROM connection WHERE conn_id = $1";
pub(super) const SET_CONNECTION: &str = "
    INSERT INTO connection (conn_id, conn_type, description, host, login, password, schema, port, extra, updated_at)
    VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)
    ON CONFLICT (conn_id) DO UPDATE SET conn_type = excluded.conn_type, description = excluded.description, host = excluded.host,
        login = excluded.login, password = excluded.password, schema = excluded.schema, port = excluded.port,
        extra = excluded.extra, updated_at = excluded.updated_at";
pub(super) const DELETE_CONNECTION: &str = "DELETE FROM connection WHERE conn_id = $1";
pub(super) const BACKFILLS: &str = "
    SELECT b.id, b.dag_id, b.from_date, b.to_date, b.reprocess, b.max_active_runs, b.backwards, b.conf, b.is_paused,
        b.is_cancelled, b.created_at, b.triggering_user,
        count(r.key) AS runs, count(CASE WHEN r.state = 'queued' THEN 1 END) AS queued,
        count(CASE WHEN r.state = 'running' THEN 1 END) AS running,
        count(CASE WHEN r.state = 'success' THEN 1 END) AS success,
        count(CASE WHEN r.state = 'failed' THEN 1 END) AS failed, max(r.end_date) AS last_end
    FROM backfill b LEFT JOIN dag_run r ON r.backfill_id = b.id
    WHERE ($1 IS NULL OR b.dag_id = $1) AND ($2 IS NULL OR b.id = $2)
    GROUP BY b.id ORDER BY b.id DESC LIMIT 1000";

// --- alerts

pub(super) const NEXT_ALERT_AT: &str = "SELECT min(next_at) AS at FROM alert_outbox WHERE next_at IS NOT NULL";
pub(super) const ALERTS_OF_RUN: &str = "
    SELECT id, dedup, run_key, dag_id, run_id, task_id, map_index, try_number, max_tries, event, start_date, end_date, note,
        target, created_at, attempts, next_at, sent_at, error
    FROM alert_outbox WHERE run_key = $1 ORDER BY id";
pub(super) const LAST_LOG_CHUNK: &str = "
    SELECT seq FROM log_chunk WHERE run_key = $1 AND task_id = $2 AND map_index = $3 AND try_number = $4
    ORDER BY seq DESC LIMIT 1";

// --- explanations

pub(super) const IMPORT_ERROR: &str = "SELECT file, message, at FROM import_error WHERE file = $1";
pub(super) const DAG_ROOM: &str = "
    SELECT d.next_for_version IS d.version_id AS is_planned,
        (SELECT count(*) FROM dag_run a WHERE a.dag_id = d.dag_id AND a.state IN ('queued', 'running')
            AND a.run_type <> 'backfill' AND a.queue IS NULL) AS active,
        (SELECT count(*) FROM dag_run a WHERE a.dag_id = d.dag_id AND a.state IN ('queued', 'running') AND a.state = 'running' AND a.queue IS NULL
            AND a.backfill_id IS NULL) AS running
    FROM dag d WHERE d.dag_id = $1";
pub(super) const SOME_RUNNING_RUNS: &str = "
    SELECT run_id, start_date FROM dag_run INDEXED BY dag_run_active WHERE dag_id = $1 AND state IN ('queued', 'running') AND state = 'running' AND queue IS NULL AND backfill_id IS NULL
    ORDER BY run_after, key LIMIT $2";
pub(super) const LIVE_IN_RUN: &str = "
    SELECT count(*) AS live FROM task_instance WHERE run_key = $1 AND state IN ('queued', 'running', 'restarting')";
/// Read from the index of what is live, which limits keep small.
pub(super) const POOL_HOLDERS: &str = "
    SELECT t.pool, t.task_id, t.map_index, t.pool_slots, t.since, t.holders, r.dag_id, r.run_id
    FROM (SELECT run_key, pool, task_id, map_index, pool_slots, COALESCE(queued_at, start_date) AS since,
            count(*) OVER (PARTITION BY pool) AS holders,
            row_number() OVER (PARTITION BY pool ORDER BY COALESCE(queued_at, start_date), run_key, task_id, map_index) AS place
        FROM task_instance WHERE state IN ('queued', 'running', 'restarting') AND pool IN (SELECT value FROM json_each($1))) AS t
    JOIN dag_run r ON r.key = t.run_key WHERE t.place <= $2 ORDER BY t.pool, t.place";
pub(super) const BUSY_WORKERS: &str = "
    SELECT worker, count(*) AS busy FROM task_instance
    WHERE state IN ('running', 'restarting') AND worker IS NOT NULL GROUP BY worker";
pub(super) const SOME_INSTANCES: &str = "
    SELECT t.task_id, t.map_index, t.state, t.try_number, t.available_at FROM task_instance t
    WHERE t.run_key = $1 AND t.task_id IN (SELECT value FROM json_each($2)) AND t.state IN (SELECT value FROM json_each($3))
    ORDER BY t.state = 'none', t.task_id, t.map_index LIMIT $4";
pub(super) const SOME_FAILED: &str = "
    SELECT t.task_id, t.map_index, t.state, t.try_number, t.available_at FROM task_instance t
    WHERE t.run_key = $1 AND t.state = 'failed' ORDER BY t.task_id, t.map_index LIMIT $2";
pub(super) const UNFINISHED_CLASSES: &str = "
    SELECT state, blocked_by, pool, queue, count(*) AS count FROM task_instance
    WHERE run_key = $1 AND state IN ('none', 'scheduled', 'queued', 'running', 'up_for_retry', 'up_for_reschedule', 'restarting', 'deferred')
    GROUP BY state, blocked_by, pool, queue";
pub(super) const SOME_OF_CLASS: &str = "
    SELECT t.run_key, t.task_id, t.map_index, r.dag_id, r.run_id, r.logical_date, r.run_after, r.version_id, v.number AS version_number,
        t.state, t.try_number, t.max_tries, t.queued_at, t.start_date, t.end_date, t.available_at, t.hostname, t.pid, t.pool,
        t.pool_slots, t.queue, t.priority, t.note, t.rendered_map_index, t.blocked_by,
        t.up_total, t.up_success, t.up_failed, t.up_skipped, t.up_upstream_failed, t.up_removed
    FROM task_instance t JOIN dag_run r ON r.key = t.run_key JOIN dag_version v ON v.id = r.version_id
    WHERE t.run_key = $1 AND t.state = $2 AND COALESCE(t.blocked_by, '') = $3 AND t.pool = $4 AND t.queue = $5
    ORDER BY t.task_id, t.map_index LIMIT $6";
