//! The statements about deadlines, for SQLite. `../postgres/deadline_sql.rs` has the same names in the same order.

/// A run that its version of the DAG gives a deadline again has it already.
pub(super) const INSERT_DEADLINES: &str = "
    INSERT INTO deadline (run_key, number, name, reference, interval_us, deadline_time, targets, created_at)
    SELECT o.run_key, o.number, o.name, o.reference, o.interval_us, o.deadline_time, o.targets, $2
    FROM (SELECT value ->> 'run_key' AS run_key, value ->> 'number' AS number, value ->> 'name' AS name,
        value ->> 'reference' AS reference, value ->> 'interval_us' AS interval_us, value ->> 'deadline_time' AS deadline_time,
        value ->> 'targets' AS targets FROM json_each($1)) AS o WHERE true
    ON CONFLICT (run_key, number) DO NOTHING";
/// How long the newest runs that are over took, in microseconds.
pub(super) const RUNTIMES: &str = "
    SELECT end_date - start_date AS took FROM dag_run
    WHERE dag_id = $1 AND start_date IS NOT NULL AND end_date IS NOT NULL ORDER BY run_after DESC, key DESC LIMIT $2";
/// Its run has succeeded at $2: what it did not miss by then is done with.
pub(super) const DROP_DEADLINES: &str =
    "DELETE FROM deadline WHERE run_key = $1 AND missed_at IS NULL AND deadline_time >= $2";
/// Its run is queued again at $2.
pub(super) const MOVE_DEADLINES: &str = "
    UPDATE deadline SET deadline_time = $2 + interval_us
    WHERE run_key = $1 AND missed_at IS NULL AND reference = 'queued_at'";
pub(super) const DUE_DEADLINES: &str = "
    SELECT run_key FROM deadline WHERE missed_at IS NULL AND deadline_time <= $1 ORDER BY deadline_time, id LIMIT $2";
/// Of locked runs. A success in time had no time to drop its own where a process was killed or another version has none.
pub(super) const DROP_MET: &str = "
    DELETE FROM deadline WHERE missed_at IS NULL AND deadline_time <= $2 AND run_key IN (SELECT value FROM json_each($1))
        AND EXISTS (SELECT 1 FROM dag_run r WHERE r.key = deadline.run_key AND r.state = 'success' AND r.end_date <= deadline.deadline_time)";
pub(super) const MISS_DEADLINES: &str = "
    UPDATE deadline SET missed_at = $2 WHERE missed_at IS NULL AND deadline_time <= $2 AND run_key IN (SELECT value FROM json_each($1))
    RETURNING id, run_key, number, name, reference, interval_us, deadline_time, targets, missed_at, created_at";
pub(super) const DEADLINES_OF_RUN: &str = "
    SELECT id, run_key, number, name, reference, interval_us, deadline_time, targets, missed_at, created_at
    FROM deadline WHERE run_key = $1 ORDER BY deadline_time, number";
