//! The statements about deadlines, for PostgreSQL. `../sqlite/deadline_sql.rs` has the same names in the same order.

/// A run that its version of the DAG gives a deadline again has it already.
pub(super) const INSERT_DEADLINES: &str = "
    INSERT INTO deadline (run_key, number, name, reference, interval_us, deadline_time, targets, created_at)
    SELECT o.run_key, o.number, o.name, o.reference, o.interval_us, from_micros(o.deadline_time), o.targets, $2
    FROM jsonb_to_recordset($1::jsonb) AS o (run_key bigint, number int, name text, reference text, interval_us bigint,
        deadline_time bigint, targets text) WHERE true
    ON CONFLICT (run_key, number) DO NOTHING";
/// How long the newest runs that are over took, in microseconds.
pub(super) const RUNTIMES: &str = "
    SELECT (extract(epoch FROM end_date - start_date) * 1000000)::bigint AS took FROM dag_run
    WHERE dag_id = $1 AND start_date IS NOT NULL AND end_date IS NOT NULL ORDER BY run_after DESC, key DESC LIMIT $2";
/// Its run has succeeded at $2: what it did not miss by then is done with.
pub(super) const DROP_DEADLINES: &str =
    "DELETE FROM deadline WHERE run_key = $1 AND missed_at IS NULL AND deadline_time >= $2";
/// Its run is queued again at $2.
pub(super) const MOVE_DEADLINES: &str = "
    UPDATE deadline SET deadline_time = $2 + interval_us * interval '1 microsecond'
    WHERE run_key = $1 AND missed_at IS NULL AND reference = 'queued_at'";
pub(super) const DUE_DEADLINES: &str = "
    SELECT run_key FROM deadline WHERE missed_at IS NULL AND deadline_time <= $1 ORDER BY deadline_time, id LIMIT $2";
/// Of locked runs. A success in time had no time to drop its own where a process was killed or another version has none.
pub(super) const DROP_MET: &str = "
    DELETE FROM deadline WHERE missed_at IS NULL AND deadline_time <= $2 AND run_key = ANY (ARRAY(SELECT jsonb_array_elements_text($1::jsonb)::bigint))
        AND EXISTS (SELECT 1 FROM dag_run r WHERE r.key = deadline.run_key AND r.state = 'success' AND r.end_date <= deadline.deadline_time)";
pub(super) const MISS_DEADLINES: &str = "
    UPDATE deadline SET missed_at = $2 WHERE missed_at IS NULL AND deadline_time <= $2 AND run_key = ANY (ARRAY(SELECT jsonb_array_elements_text($1::jsonb)::bigint))
    RETURNING id, run_key, number, name, reference, interval_us, deadline_time, targets, missed_at, created_at";
pub(super) const DEADLINES_OF_RUN: &str = "
    SELECT id, run_key, number, name, reference, interval_us, deadline_time, targets, missed_at, created_at
    FROM deadline WHERE run_key = $1 ORDER BY deadline_time, number";
