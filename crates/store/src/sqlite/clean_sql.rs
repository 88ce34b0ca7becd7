//! The statements that clean, for SQLite. `../postgres/clean_sql.rs` has the same names in the same order.

pub(super) const ALL_DAGS: &str = "SELECT dag_id FROM dag ORDER BY dag_id";
/// What stays of a DAG however old it is: what its next run is computed from and what templates call the last success, and
/// for each run that is not over the ones before it, which `depends_on_past` asks.
pub(super) const KEPT_RUNS: &str = "
    SELECT key FROM (
        SELECT key FROM (SELECT key FROM dag_run WHERE dag_id = $1 ORDER BY run_after DESC, key DESC LIMIT 1) AS newest
        UNION SELECT key FROM (SELECT key FROM dag_run WHERE dag_id = $1 AND run_type = 'scheduled'
            ORDER BY run_after DESC, key DESC LIMIT 1) AS scheduled
        UNION SELECT key FROM (SELECT key FROM dag_run WHERE dag_id = $1 AND logical_date IS NOT NULL
            ORDER BY logical_date DESC LIMIT 1) AS dated
        UNION SELECT key FROM (SELECT key FROM dag_run WHERE dag_id = $1 AND logical_date IS NOT NULL AND run_type = 'scheduled'
            ORDER BY logical_date DESC LIMIT 1) AS dated_by_schedule
        UNION SELECT key FROM (SELECT key FROM dag_run WHERE dag_id = $1 AND state = 'success'
            ORDER BY run_after DESC, key DESC LIMIT 1) AS good
        UNION SELECT key FROM (SELECT key FROM dag_run WHERE dag_id = $1 AND logical_date IS NOT NULL AND state = 'success'
            ORDER BY logical_date DESC LIMIT 1) AS good_and_dated
        UNION SELECT (SELECT p.key FROM dag_run p WHERE p.dag_id = r.dag_id AND p.logical_date < r.logical_date
            ORDER BY p.logical_date DESC LIMIT 1) FROM dag_run r WHERE r.dag_id = $1 AND r.state IN ('queued', 'running')
        UNION SELECT (SELECT p.key FROM dag_run p WHERE p.dag_id = r.dag_id AND p.logical_date < r.logical_date
            AND p.run_type = 'scheduled' ORDER BY p.logical_date DESC LIMIT 1)
            FROM dag_run r WHERE r.dag_id = $1 AND r.state IN ('queued', 'running')
        UNION SELECT (SELECT p.key FROM dag_run p WHERE p.dag_id = r.dag_id AND p.logical_date < r.logical_date
            AND p.state = 'success' ORDER BY p.logical_date DESC LIMIT 1)
            FROM dag_run r WHERE r.dag_id = $1 AND r.state IN ('queued', 'running')
    ) AS kept WHERE key IS NOT NULL";
/// `run_after` lies before the end, and is what an index has.
pub(super) const OLD_RUNS: &str = "
    SELECT key FROM dag_run WHERE dag_id = $1 AND run_after < $2 AND end_date < $2 AND state IN ('success', 'failed')
        AND key NOT IN (SELECT value FROM json_each($3)) ORDER BY run_after, key LIMIT $4";
pub(super) const COUNT_OLD_RUNS: &str = "
    SELECT count(*) FROM dag_run WHERE dag_id = $1 AND run_after < $2 AND end_date < $2 AND state IN ('success', 'failed')
        AND key NOT IN (SELECT value FROM json_each($3))";
/// The newest event of an asset stays, and what waits or is told as the reason of a run.
pub(super) const CLEAN_ASSET_EVENTS: &str = "
    DELETE FROM asset_event WHERE id IN (SELECT e.id FROM asset_event e WHERE e.at < $1
        AND EXISTS (SELECT 1 FROM asset_event n WHERE n.asset_id = e.asset_id AND n.id > e.id)
        AND NOT EXISTS (SELECT 1 FROM asset_queue q WHERE q.event_id = e.id)
        AND NOT EXISTS (SELECT 1 FROM asset_run_event o WHERE o.event_id = e.id) ORDER BY e.at LIMIT $2)";
pub(super) const COUNT_ASSET_EVENTS: &str = "
    SELECT count(*) FROM asset_event e WHERE e.at < $1
        AND EXISTS (SELECT 1 FROM asset_event n WHERE n.asset_id = e.asset_id AND n.id > e.id)
        AND NOT EXISTS (SELECT 1 FROM asset_queue q WHERE q.event_id = e.id)
        AND NOT EXISTS (SELECT 1 FROM asset_run_event o WHERE o.event_id = e.id)";
pub(super) const CLEAN_LOG: &str =
    "DELETE FROM event_log WHERE id IN (SELECT id FROM event_log WHERE at < $1 ORDER BY at LIMIT $2)";
pub(super) const COUNT_LOG: &str = "SELECT count(*) FROM event_log WHERE at < $1";
/// One that an attempt still names has died; the scheduler ends that first.
pub(super) const CLEAN_JOBS: &str = "
    DELETE FROM job WHERE id IN (SELECT j.id FROM job j WHERE j.state <> 'running' AND j.heartbeat_at < $1
        AND NOT EXISTS (SELECT 1 FROM task_instance t WHERE t.worker = j.id AND t.state IN ('running', 'restarting'))
        ORDER BY j.id LIMIT $2)";
pub(super) const COUNT_JOBS: &str = "
    SELECT count(*) FROM job j WHERE j.state <> 'running' AND j.heartbeat_at < $1
        AND NOT EXISTS (SELECT 1 FROM task_instance t WHERE t.worker = j.id AND t.state IN ('running', 'restarting'))";
/// Those whose runs are gone, or belong to later backfills.
pub(super) const CLEAN_BACKFILLS: &str = "
    DELETE FROM backfill WHERE id IN (SELECT b.id FROM backfill b WHERE b.created_at < $1
        AND NOT EXISTS (SELECT 1 FROM dag_run r WHERE r.backfill_id = b.id) ORDER BY b.id LIMIT $2)";
pub(super) const COUNT_BACKFILLS: &str = "
    SELECT count(*) FROM backfill b WHERE b.created_at < $1
        AND NOT EXISTS (SELECT 1 FROM dag_run r WHERE r.backfill_id = b.id)";
