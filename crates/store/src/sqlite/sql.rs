//! The statements of the engine, for SQLite. `../postgres/sql.rs` has the same names in the same order.
//!
//! Batches come as one JSON array in `$1`: one round trip and one plan, whatever their size.

// --- runs

/// One step writes at a time, so that reading is locking.
pub(super) const LOCK_RUNS: &str = "
    SELECT r.key, r.dag_id, r.run_id, r.state, r.version_id, r.logical_date, r.max_active_tasks AS max_active_tasks,
        (d.is_paused AND r.queue IS NULL) AS is_paused, r.is_failing
    FROM dag_run r JOIN dag d ON d.dag_id = r.dag_id
    WHERE r.key IN (SELECT value FROM json_each($1))
    ORDER BY r.key";
/// The same as `LOCK_RUNS`: nobody else can hold anything.
pub(super) const LOCK_FREE_RUNS: &str = "
    SELECT r.key, r.dag_id, r.run_id, r.state, r.version_id, r.logical_date, r.max_active_tasks AS max_active_tasks,
        (d.is_paused AND r.queue IS NULL) AS is_paused, r.is_failing
    FROM dag_run r JOIN dag d ON d.dag_id = r.dag_id
    WHERE r.key IN (SELECT value FROM json_each($1))
    ORDER BY r.key";
pub(super) const INSERT_RUN: &str = "
    INSERT INTO dag_run (dag_id, run_id, run_type, state, logical_date, interval_start, interval_end, run_after, queued_at,
        start_date, end_date, deadline, conf, note, triggered_by, triggering_user, version_id, max_active_tasks, queue)
    VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19)
    ON CONFLICT DO NOTHING RETURNING key";
pub(super) const START_RUN: &str =
    "UPDATE dag_run SET state = 'running', start_date = $2, deadline = $3 WHERE key = $1 AND state = 'queued'";
/// A run that has not started can end as well, but only by failing.
pub(super) const FINISH_RUN: &str = "
    UPDATE dag_run SET state = $2, end_date = $3
    WHERE key = $1 AND (state = 'running' OR (state = 'queued' AND $2 = 'failed'))";
/// A backfill has a limit of its own and an order of its own. SQLite takes an index of some rows only where its condition
/// stands in the statement: hence the states of live runs, besides the one that is meant, here and below.
pub(super) const STARTABLE_RUNS: &str = "
    SELECT r.key, r.dag_id, r.queue, r.backfill_id FROM dag_run r JOIN dag d ON d.dag_id = r.dag_id
    LEFT JOIN backfill b ON b.id = r.backfill_id
    WHERE r.state IN ('queued', 'running') AND r.state = 'queued' AND r.run_after <= $1
        AND (r.queue IS NOT NULL OR (NOT d.is_paused AND CASE WHEN r.backfill_id IS NULL
            THEN d.max_active_runs > (SELECT count(*) FROM dag_run o
                WHERE o.dag_id = r.dag_id AND o.state IN ('queued', 'running') AND o.state = 'running' AND o.queue IS NULL AND o.backfill_id IS NULL)
            ELSE NOT b.is_paused AND b.max_active_runs > (SELECT count(*) FROM dag_run o
                WHERE o.backfill_id = r.backfill_id AND o.state = 'running') END))
    ORDER BY r.backfill_id IS NOT NULL, r.backfill_id, r.backfill_order, r.run_after, r.key LIMIT $2";
pub(super) const EXPIRED_RUNS: &str =
    "SELECT key FROM dag_run WHERE state = 'running' AND deadline <= $1 ORDER BY key LIMIT 100";
pub(super) const RUNNING_RUNS_OF_DAG: &str = "SELECT key FROM dag_run INDEXED BY dag_run_active WHERE dag_id = $1 AND state IN ('queued', 'running') AND state = 'running' ORDER BY key";
/// All of a DAG, to delete them: in the order in which every step locks runs.
pub(super) const LOCK_RUNS_OF_DAG: &str = "SELECT state FROM dag_run WHERE dag_id = $1 ORDER BY key";
/// What belongs to the run goes with it.
pub(super) const DELETE_RUN: &str = "DELETE FROM dag_run WHERE key = $1 AND state <> 'running'";

// --- task instances

pub(super) const INSERT_TASK_INSTANCES: &str = "
    INSERT INTO task_instance (run_key, task_id, map_index, state, try_number, max_tries, pool, pool_slots, queue, priority,
        run_order, blocked_by, queued_at, start_date, end_date,
        up_total, up_success, up_failed, up_skipped, up_upstream_failed, up_removed)
    SELECT $2, o.task_id, o.map_index, o.state, o.try_number, o.max_tries, o.pool, o.pool_slots, o.queue, o.priority,
        $3, o.blocked_by, CASE WHEN o.state = 'queued' THEN $4 END, CASE WHEN o.ended THEN $4 END, CASE WHEN o.ended THEN $4 END,
        o.up_total, o.up_success, o.up_failed, o.up_skipped, o.up_upstream_failed, o.up_removed
    FROM (SELECT value ->> 'task_id' AS task_id, value ->> 'map_index' AS map_index, value ->> 'state' AS state,
        value ->> 'try_number' AS try_number, value ->> 'max_tries' AS max_tries, value ->> 'pool' AS pool,
        value ->> 'pool_slots' AS pool_slots, value ->> 'queue' AS queue, value ->> 'priority' AS priority,
        value ->> 'blocked_by' AS blocked_by, value ->> 'ended' AS ended, value ->> 'up_total' AS up_total,
        value ->> 'up_success' AS up_success, value ->> 'up_failed' AS up_failed, value ->> 'up_skipped' AS up_skipped,
        value ->> 'up_upstream_failed' AS up_upstream_failed, value ->> 'up_removed' AS up_removed FROM json_each($1)) AS o";
pub(super) const CURRENT_ATTEMPTS: &str = "
    SELECT o.i, t.state, t.try_number, t.max_tries, t.pool
    FROM (SELECT value ->> 'i' AS i, value ->> 'run_key' AS run_key, value ->> 'task_id' AS task_id,
        value ->> 'map_index' AS map_index, value ->> 'attempt' AS attempt FROM json_each($1)) AS o
    JOIN task_instance t ON t.run_key = o.run_key AND t.task_id = o.task_id AND t.map_index = o.map_index
    WHERE t.attempt = o.attempt AND t.state IN ('running', 'restarting')";
pub(super) const ATTEMPTS_OF_WORKER: &str = "
    SELECT run_key, task_id, map_index, attempt, state FROM task_instance
    WHERE worker = $1 AND state IN ('running', 'restarting') ORDER BY run_key, task_id, map_index";
pub(super) const ATTEMPTS_OF_RUN: &str = "
    SELECT run_key, task_id, map_index, attempt, state FROM task_instance
    WHERE run_key = $1 AND state IN ('running', 'restarting') ORDER BY run_key, task_id, map_index";
pub(super) const END_ATTEMPTS: &str = "
    UPDATE task_instance AS t
    SET state = o.state, attempt = NULL, available_at = o.available_at,
        end_date = o.ended_at, note = o.note, cpu_ms = o.cpu_ms, peak_bytes = o.peak_bytes
    FROM (SELECT value ->> 'run_key' AS run_key, value ->> 'task_id' AS task_id, value ->> 'map_index' AS map_index,
        value ->> 'attempt' AS attempt, value ->> 'from_state' AS from_state, value ->> 'state' AS state,
        value ->> 'available_at' AS available_at, value ->> 'ended_at' AS ended_at,
        value ->> 'note' AS note, value ->> 'cpu_ms' AS cpu_ms, value ->> 'peak_bytes' AS peak_bytes FROM json_each($1)) AS o
    WHERE t.run_key = o.run_key AND t.task_id = o.task_id AND t.map_index = o.map_index
        AND t.attempt = o.attempt AND t.state = o.from_state
    RETURNING run_key, task_id, map_index, pool";
pub(super) const ARCHIVE_TRIES: &str = "
    INSERT INTO task_try (run_key, task_id, map_index, try_number, state, queued_at, start_date, end_date, hostname, pid, note,
        cpu_ms, peak_bytes)
    SELECT t.run_key, t.task_id, t.map_index, t.try_number, o.state, t.queued_at, t.start_date, t.end_date, t.hostname, t.pid, t.note,
        t.cpu_ms, t.peak_bytes
    FROM (SELECT value ->> 'run_key' AS run_key, value ->> 'task_id' AS task_id, value ->> 'map_index' AS map_index,
        value ->> 'state' AS state FROM json_each($1)) AS o
    JOIN task_instance t ON t.run_key = o.run_key AND t.task_id = o.task_id AND t.map_index = o.map_index";
pub(super) const MOVE: &str = "
    UPDATE task_instance AS t
    SET state = o.state, blocked_by = o.blocked_by, try_number = t.try_number + o.new_try, available_at = NULL,
        queued_at = CASE WHEN o.state = 'queued' THEN $2 WHEN o.new_try = 1 THEN NULL ELSE t.queued_at END,
        start_date = CASE WHEN o.ended THEN COALESCE(t.start_date, $2) WHEN o.new_try = 1 THEN NULL ELSE t.start_date END,
        end_date = CASE WHEN o.ended THEN $2 WHEN o.new_try = 1 THEN NULL ELSE t.end_date END,
        note = CASE WHEN o.new_try = 1 OR o.note IS NOT NULL THEN o.note ELSE t.note END
    FROM (SELECT value ->> 'run_key' AS run_key, value ->> 'task_id' AS task_id, value ->> 'map_index' AS map_index,
        value ->> 'from_state' AS from_state, value ->> 'state' AS state, value ->> 'blocked_by' AS blocked_by,
        value ->> 'new_try' AS new_try, value ->> 'ended' AS ended, value ->> 'note' AS note FROM json_each($1)) AS o
    WHERE t.run_key = o.run_key AND t.task_id = o.task_id AND t.map_index = o.map_index
        AND t.state = o.from_state";
pub(super) const ADD_OUTCOMES: &str = "
    UPDATE task_instance AS t
    SET up_success = t.up_success + o.success, up_failed = t.up_failed + o.failed, up_skipped = t.up_skipped + o.skipped,
        up_upstream_failed = t.up_upstream_failed + o.upstream_failed, up_removed = t.up_removed + o.removed
    FROM (SELECT value ->> 'run_key' AS run_key, value ->> 'task_id' AS task_id, value ->> 'success' AS success,
        value ->> 'failed' AS failed, value ->> 'skipped' AS skipped, value ->> 'upstream_failed' AS upstream_failed,
        value ->> 'removed' AS removed, value ->> 'map_from' AS map_from, value ->> 'map_to' AS map_to FROM json_each($1)) AS o
    WHERE t.run_key = o.run_key AND t.task_id = o.task_id AND t.map_index BETWEEN o.map_from AND o.map_to
    RETURNING run_key, task_id, map_index, state, pool, pool_slots AS pool_slots, priority, run_order,
        up_total, up_success, up_failed, up_skipped, up_upstream_failed, up_removed,
        skipped_by IS NOT NULL AS skipped, map_value IS NOT NULL AS expanded";
pub(super) const UNDECIDED: &str = "
    SELECT t.run_key, t.task_id, t.map_index, t.state, t.pool, t.pool_slots AS pool_slots, t.priority, t.run_order,
        t.up_total, t.up_success, t.up_failed, t.up_skipped, t.up_upstream_failed, t.up_removed,
        t.skipped_by IS NOT NULL AS skipped, t.map_value IS NOT NULL AS expanded
    FROM task_instance t WHERE t.run_key = $1 AND t.state = 'none'";
/// Unfinished ones without an attempt: what a run that ends early skips.
pub(super) const NOT_STARTED: &str = "
    SELECT t.run_key, t.task_id, t.map_index, t.state, t.pool, t.pool_slots AS pool_slots, t.priority, t.run_order,
        t.up_total, t.up_success, t.up_failed, t.up_skipped, t.up_upstream_failed, t.up_removed,
        t.skipped_by IS NOT NULL AS skipped, t.map_value IS NOT NULL AS expanded
    FROM task_instance t
    WHERE t.run_key = $1 AND t.state IN ('none', 'scheduled', 'queued', 'up_for_retry', 'up_for_reschedule', 'deferred')";
pub(super) const BLOCKED_BY_RUN: &str = "
    SELECT t.run_key, t.task_id, t.map_index, t.state, t.pool, t.pool_slots AS pool_slots, t.priority, t.run_order,
        t.up_total, t.up_success, t.up_failed, t.up_skipped, t.up_upstream_failed, t.up_removed,
        t.skipped_by IS NOT NULL AS skipped, t.map_value IS NOT NULL AS expanded
    FROM task_instance t WHERE t.run_key = $1 AND t.state = 'scheduled' AND t.blocked_by = 'run'
    ORDER BY t.priority DESC, t.task_id, t.map_index LIMIT $2";
pub(super) const BLOCKED_BY_POOL: &str = "
    SELECT t.run_key, t.task_id, t.map_index, t.state, t.pool, t.pool_slots AS pool_slots, t.priority, t.run_order,
        t.up_total, t.up_success, t.up_failed, t.up_skipped, t.up_upstream_failed, t.up_removed,
        t.skipped_by IS NOT NULL AS skipped, t.map_value IS NOT NULL AS expanded
    FROM task_instance t WHERE t.pool = $1 AND t.state = 'scheduled' AND t.blocked_by = 'pool'
    ORDER BY t.priority DESC, t.run_order, t.run_key, t.task_id LIMIT $2";
/// Looks each pool up in the index instead of reading all who wait.
pub(super) const BLOCKED_POOLS: &str = "
    WITH RECURSIVE found AS (
        SELECT min(pool) AS pool FROM task_instance WHERE state = 'scheduled' AND blocked_by = 'pool'
        UNION ALL
        SELECT (SELECT min(t.pool) FROM task_instance t
            WHERE t.state = 'scheduled' AND t.blocked_by = 'pool' AND t.pool > found.pool)
        FROM found WHERE found.pool IS NOT NULL)
    SELECT pool FROM found WHERE pool IS NOT NULL";
/// Runs that could queue something: the safety net behind the promotion in every step.
pub(super) const BLOCKED_RUNS: &str = "
    SELECT r.key FROM dag_run r JOIN dag d ON d.dag_id = r.dag_id
    WHERE r.state IN ('queued', 'running') AND r.state = 'running' AND (NOT d.is_paused OR r.queue IS NOT NULL)
        AND EXISTS (SELECT 1 FROM task_instance t WHERE t.run_key = r.key AND t.state = 'scheduled' AND t.blocked_by = 'run')
        AND r.max_active_tasks > (SELECT count(*) FROM task_instance t
            WHERE t.run_key = r.key AND t.state IN ('queued', 'running', 'restarting'))
    ORDER BY r.key LIMIT 1000";
/// Slots in use, by run and by pool, and the pools for which somebody waits.
pub(super) const LIVE: &str = "
    SELECT run_key, NULL AS pool, count(*) AS live FROM task_instance
    WHERE state IN ('queued', 'running', 'restarting')
        AND run_key IN (SELECT value FROM json_each($1))
    GROUP BY run_key
    UNION ALL
    SELECT NULL, pool, sum(pool_slots) FROM task_instance
    WHERE state IN ('queued', 'running', 'restarting') GROUP BY pool
    UNION ALL
    SELECT NULL, p.name, NULL FROM pool p WHERE EXISTS (SELECT 1 FROM task_instance t
        WHERE t.pool = p.name AND t.state = 'scheduled' AND t.blocked_by = 'pool')";
pub(super) const LOCK_POOLS: &str = "
    SELECT name, slots AS slots FROM pool
    WHERE name IN (SELECT value FROM json_each($1)) ORDER BY name";
/// A try that goes on (rescheduled, given back) keeps its start, and its log goes on behind what it has written.
pub(super) const CLAIM: &str = "
    WITH me AS (SELECT id FROM job WHERE id = $4 AND state = 'running'),
    picked AS (
        SELECT run_key, task_id, map_index FROM task_instance
        WHERE state = 'queued' AND queue IN (SELECT value FROM json_each($1))
        ORDER BY priority DESC, run_order, run_key, task_id, map_index LIMIT $2)
    UPDATE task_instance AS t
    SET state = 'running', attempt = $3, worker = $4, hostname = $5, pid = $6, start_date = COALESCE(t.start_date, $7),
        end_date = NULL
    FROM picked p
    WHERE t.run_key = p.run_key AND t.task_id = p.task_id AND t.map_index = p.map_index AND t.state = 'queued'
        AND EXISTS (SELECT 1 FROM me)
    RETURNING run_key, task_id, map_index, attempt, try_number, max_tries, priority, run_order, map_value,
        (SELECT v.file FROM dag_run r JOIN dag_version v ON v.id = r.version_id WHERE r.key = run_key) AS file,
        (SELECT r.version_id FROM dag_run r WHERE r.key = run_key) AS version_id,
        start_date, CASE WHEN start_date < $7 THEN (SELECT max(l.seq) FROM log_chunk l
            WHERE l.run_key = task_instance.run_key AND l.task_id = task_instance.task_id
                AND l.map_index = task_instance.map_index AND l.try_number = task_instance.try_number) END AS last_log_seq";
pub(super) const UNFINISHED: &str = "
    SELECT r.key FROM dag_run r
    WHERE r.key IN (SELECT value FROM json_each($1))
        AND EXISTS (SELECT 1 FROM task_instance t WHERE t.run_key = r.key AND t.state IN
            ('none', 'scheduled', 'queued', 'running', 'up_for_retry', 'up_for_reschedule', 'restarting', 'deferred'))";
pub(super) const FAILED_TASKS: &str =
    "SELECT task_id, state FROM task_instance WHERE run_key = $1 AND state IN ('failed', 'upstream_failed')";
pub(super) const DUE_TIMERS: &str = "
    SELECT run_key, task_id, map_index FROM task_instance
    WHERE state IN ('up_for_retry', 'up_for_reschedule') AND available_at <= $1 ORDER BY available_at LIMIT $2";
pub(super) const WAITING_IN: &str = "
    SELECT t.run_key, t.task_id, t.map_index, t.state, t.pool, t.pool_slots AS pool_slots, t.priority, t.run_order,
        t.up_total, t.up_success, t.up_failed, t.up_skipped, t.up_upstream_failed, t.up_removed,
        t.skipped_by IS NOT NULL AS skipped, t.map_value IS NOT NULL AS expanded
    FROM (SELECT value ->> 'run_key' AS run_key, value ->> 'task_id' AS task_id,
        value ->> 'map_index' AS map_index FROM json_each($1)) AS o
    JOIN task_instance t ON t.run_key = o.run_key AND t.task_id = o.task_id AND t.map_index = o.map_index
    WHERE t.state IN ('up_for_retry', 'up_for_reschedule') AND t.available_at <= $2";

// --- what attempts leave behind

pub(super) const INSERT_XCOMS: &str = "
    INSERT INTO xcom (run_key, task_id, map_index, key, value, at)
    SELECT o.run_key, o.task_id, o.map_index, o.key, o.value, $2
    FROM (SELECT value ->> 'run_key' AS run_key, value ->> 'task_id' AS task_id, value ->> 'map_index' AS map_index,
        value ->> 'key' AS key, value ->> 'value' AS value FROM json_each($1)) AS o WHERE true
    ON CONFLICT (run_key, task_id, map_index, key) DO UPDATE SET value = excluded.value, at = excluded.at";
/// A new try starts without the XComs of the one before.
pub(super) const CLEAR_XCOMS: &str = "
    DELETE FROM xcom WHERE (run_key, task_id, map_index) IN (
        SELECT o.run_key, o.task_id, o.map_index
        FROM (SELECT value ->> 'run_key' AS run_key, value ->> 'task_id' AS task_id,
            value ->> 'map_index' AS map_index FROM json_each($1)) AS o)";
/// Small chunks of many tries in one round trip. A chunk that is there already was sent twice.
pub(super) const INSERT_PLAIN_LOGS: &str = "
    INSERT INTO log_chunk (run_key, task_id, map_index, try_number, seq, lines, encoding, data)
    SELECT o.run_key, o.task_id, o.map_index, o.try_number, o.seq, o.lines, 'plain', CAST(o.text AS blob)
    FROM (SELECT value ->> 'run_key' AS run_key, value ->> 'task_id' AS task_id, value ->> 'map_index' AS map_index,
        value ->> 'try_number' AS try_number, value ->> 'seq' AS seq, value ->> 'lines' AS lines,
        value ->> 'text' AS text FROM json_each($1)) AS o
    WHERE EXISTS (SELECT 1 FROM dag_run r WHERE r.key = o.run_key)
    ON CONFLICT DO NOTHING";
pub(super) const INSERT_PACKED_LOG: &str = "
    INSERT INTO log_chunk (run_key, task_id, map_index, try_number, seq, lines, encoding, data)
    SELECT $1, $2, $3, $4, $5, $6, 'zstd', $7 WHERE EXISTS (SELECT 1 FROM dag_run r WHERE r.key = $1)
    ON CONFLICT DO NOTHING";

// --- jobs

pub(super) const INSERT_JOB: &str = "
    INSERT INTO job (job_type, hostname, pid, process_mark, queues, slots, state, started_at, heartbeat_at, lease_until)
    VALUES ($1, $2, $3, $4, $5, $6, 'running', $7, $7, $8) RETURNING id";
pub(super) const HEARTBEAT: &str =
    "UPDATE job SET heartbeat_at = $2, lease_until = $3 WHERE id = $1 AND state = 'running'";
pub(super) const CLOSE_JOB: &str = "UPDATE job SET state = $2, heartbeat_at = $3 WHERE id = $1 AND state = 'running'";
pub(super) const EXPIRED_JOBS: &str =
    "SELECT id, hostname FROM job WHERE state = 'running' AND lease_until <= $1 ORDER BY id";
/// Workers that are gone and still hold attempts: their process died between two steps.
pub(super) const ORPHANED: &str = "
    SELECT DISTINCT t.worker FROM task_instance t
    WHERE t.state IN ('running', 'restarting') AND NOT EXISTS (SELECT 1 FROM job j WHERE j.id = t.worker AND j.state = 'running')";

// --- DAGs

pub(super) const LOCK_DAG: &str = "
    SELECT version_id, is_paused, max_active_runs AS max_active_runs, next_run_after, next_for_version
    FROM dag WHERE dag_id = $1";
/// Counted after the lock is held: a statement sees what was committed before it began.
pub(super) const COUNT_RUNNING: &str =
    "SELECT count(*) FROM dag_run WHERE dag_id = $1 AND state = 'running' AND queue IS NULL AND backfill_id IS NULL";
pub(super) const SET_NEXT_RUNS: &str = "
    UPDATE dag AS t SET next_for_version = o.version_id, next_run_after = o.run_after,
        next_logical_date = o.logical_date, next_interval_start = o.interval_start,
        next_interval_end = o.interval_end
    FROM (SELECT value ->> 'dag_id' AS dag_id, value ->> 'version_id' AS version_id, value ->> 'run_after' AS run_after,
        value ->> 'logical_date' AS logical_date, value ->> 'interval_start' AS interval_start,
        value ->> 'interval_end' AS interval_end FROM json_each($1)) AS o
    WHERE t.dag_id = o.dag_id AND t.version_id = o.version_id";
pub(super) const SET_PAUSED: &str =
    "UPDATE dag SET is_paused = $2, next_for_version = NULL WHERE dag_id = $1 AND is_paused <> $2";
pub(super) const KNOWN_HASHES: &str = "
    SELECT o.dag_id, v.hash, (d.is_active AND d.version_id = v.id AND d.file = o.file) AS is_current
    FROM (SELECT value ->> 'dag_id' AS dag_id, value ->> 'hash' AS hash, value ->> 'file' AS file FROM json_each($1)) AS o
    JOIN dag d ON d.dag_id = o.dag_id JOIN dag_version v ON v.dag_id = o.dag_id AND v.hash = o.hash";
/// Takes its locks in the order of the batch, also on rows that another step is just inserting.
pub(super) const UPSERT_DAGS: &str = "
    INSERT INTO dag (dag_id, file, is_paused, is_active, description, owners, tags, schedule, max_active_runs, last_parsed_at)
    SELECT o.dag_id, o.file, o.is_paused, true, o.description, o.owners, o.tags, o.schedule, o.max_active_runs, $2
    FROM (SELECT value ->> 'dag_id' AS dag_id, value ->> 'file' AS file, value ->> 'is_paused' AS is_paused,
        value ->> 'description' AS description, value ->> 'owners' AS owners, value ->> 'tags' AS tags,
        value ->> 'schedule' AS schedule, value ->> 'max_active_runs' AS max_active_runs FROM json_each($1)) AS o WHERE true
    ON CONFLICT (dag_id) DO UPDATE SET file = excluded.file, is_active = true, description = excluded.description,
        owners = excluded.owners, tags = excluded.tags, schedule = excluded.schedule, max_active_runs = excluded.max_active_runs,
        last_parsed_at = excluded.last_parsed_at, next_for_version = NULL";
/// Those that `UPSERT_DAGS` has inserted: they have no version before `POINT_DAGS`.
pub(super) const COUNT_NEW_DAGS: &str = "
    SELECT count(*) FROM (SELECT value ->> 'dag_id' AS dag_id FROM json_each($1)) AS o
    JOIN dag d ON d.dag_id = o.dag_id WHERE d.version_id IS NULL";
pub(super) const INSERT_VERSIONS: &str = "
    INSERT INTO dag_version (dag_id, number, hash, file, spec, source, created_at)
    SELECT o.dag_id, 1 + COALESCE((SELECT max(v.number) FROM dag_version v WHERE v.dag_id = o.dag_id), 0), o.hash, o.file, o.spec, o.source, $2
    FROM (SELECT value ->> 'dag_id' AS dag_id, value ->> 'hash' AS hash, value ->> 'file' AS file, value ->> 'spec' AS spec,
        value ->> 'source' AS source FROM json_each($1)) AS o WHERE true
    ON CONFLICT (dag_id, hash) DO UPDATE SET source = excluded.source, file = excluded.file";
pub(super) const POINT_DAGS: &str = "
    UPDATE dag AS t SET version_id = (SELECT v.id FROM dag_version v WHERE v.dag_id = o.dag_id AND v.hash = o.hash)
    FROM (SELECT value ->> 'dag_id' AS dag_id, value ->> 'hash' AS hash FROM json_each($1)) AS o WHERE t.dag_id = o.dag_id";
pub(super) const DEACTIVATE_DAGS: &str = "
    UPDATE dag SET is_active = false, next_run_after = NULL, next_for_version = NULL, next_logical_date = NULL,
        next_interval_start = NULL, next_interval_end = NULL
    WHERE dag_id IN (SELECT value FROM json_each($1))";
pub(super) const SET_IMPORT_ERRORS: &str = "
    INSERT INTO import_error (file, message, at)
    SELECT o.file, o.message, $2 FROM (SELECT value ->> 'file' AS file,
        value ->> 'message' AS message FROM json_each($1)) AS o WHERE true
    ON CONFLICT (file) DO UPDATE SET message = excluded.message, at = excluded.at";
pub(super) const CLEAR_IMPORT_ERRORS: &str = "DELETE FROM import_error WHERE file IN (SELECT value FROM json_each($1))";
pub(super) const DELETE_RUNS_OF_DAG: &str = "DELETE FROM dag_run WHERE dag_id = $1";
pub(super) const DELETE_VERSIONS_OF_DAG: &str = "DELETE FROM dag_version WHERE dag_id = $1";
pub(super) const DELETE_DAG: &str = "DELETE FROM dag WHERE dag_id = $1";

// --- alerts

/// The runs of `towpath run` tell nobody: somebody is watching. A try is written as it stands when it has ended.
pub(super) const INSERT_ALERTS: &str = "
    INSERT INTO alert_outbox (dedup, run_key, dag_id, run_id, task_id, map_index, try_number, max_tries, event,
        start_date, end_date, note, target, created_at, next_at)
    SELECT o.dedup, o.run_key, r.dag_id, r.run_id, o.task_id, o.map_index, COALESCE(t.try_number, 0), COALESCE(t.max_tries, 0), o.event,
        CASE WHEN o.task_id IS NULL THEN r.start_date ELSE t.start_date END,
        CASE WHEN o.task_id IS NULL THEN r.end_date ELSE t.end_date END, COALESCE(o.note, t.note), o.target, $2, $2
    FROM (SELECT value ->> 'dedup' AS dedup, value ->> 'run_key' AS run_key, value ->> 'task_id' AS task_id,
        value ->> 'map_index' AS map_index, value ->> 'event' AS event, value ->> 'target' AS target,
        value ->> 'note' AS note FROM json_each($1)) AS o
    JOIN dag_run r ON r.key = o.run_key
    LEFT JOIN task_instance t ON t.run_key = o.run_key AND t.task_id = o.task_id AND t.map_index = o.map_index
    WHERE r.queue IS NULL
    ON CONFLICT (dedup) DO NOTHING";
pub(super) const CLAIM_ALERTS: &str = "
    UPDATE alert_outbox SET attempts = attempts + 1, next_at = $2
    WHERE id IN (SELECT id FROM alert_outbox WHERE next_at IS NOT NULL AND next_at <= $1
        ORDER BY next_at, id LIMIT $3)
    RETURNING id, dedup, run_key, dag_id, run_id, task_id, map_index, try_number, max_tries, event, start_date, end_date, note,
        target, created_at, attempts, next_at, sent_at, error";
pub(super) const END_ALERT: &str = "
    UPDATE alert_outbox SET next_at = $3, sent_at = $4, error = $5
    WHERE id = $1 AND attempts = $2 AND next_at IS NOT NULL";
