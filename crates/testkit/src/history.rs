//! A past: runs and task instances by the million, as if they had been scheduled every hour and had run.
//!
//! Written by SQL, so it takes seconds where running it would take days. The DAGs must be there; what is made up has
//! their versions, and tasks by the names that are given.

use sqlx::{Connection as _, Executor as _, PgConnection, SqliteConnection};

use crate::TestDb;

/// What to make up.
#[derive(Debug, Clone)]
pub struct History<'a> {
    /// Which DAGs, as a pattern of SQL's LIKE.
    pub dags: &'a str,
    /// Runs of each, an hour apart; every twentieth has failed.
    pub runs: u32,
    /// `prefix` and the number of tasks: `t` makes `t0000`, `t0001` and so on.
    pub tasks: (&'a str, u32),
    /// When the newest run was due: seconds since 1970, a whole hour.
    pub until: i64,
}

/// $1: pattern, $2: runs, $3: the end, microseconds since 1970. Runs of one DAG are not all due at the same second.
const POSTGRES_RUNS: &str = "
    INSERT INTO dag_run (dag_id, run_id, run_type, state, logical_date, interval_start, interval_end, run_after, queued_at,
        start_date, end_date, conf, triggered_by, version_id, max_active_tasks)
    SELECT d.dag_id, 'scheduled__' || n.n, 'scheduled', CASE WHEN n.n % 20 = 7 THEN 'failed' ELSE 'success' END,
        w.at - interval '1 hour', w.at - interval '1 hour', w.at, w.at, w.at, w.at, w.at + interval '1 minute' * (1 + n.n % 7),
        '{}', 'timetable', d.version_id, 16
    FROM generate_series(1, $2) AS n (n), dag d,
        LATERAL (SELECT from_micros($3) - interval '1 hour' * ($2 - n.n) AS at) w
    WHERE d.dag_id LIKE $1 ORDER BY n.n, d.dag_id";
/// $1: pattern, $2: prefix, $3: tasks. The last task of a failed run has failed.
const POSTGRES_TASKS: &str = "
    INSERT INTO task_instance (run_key, task_id, map_index, state, try_number, max_tries, hostname, pid, pool, pool_slots, queue,
        priority, run_order, queued_at, start_date, end_date, up_total, up_success, up_failed, up_skipped, up_upstream_failed, up_removed)
    SELECT r.key, $2 || lpad((n.n - 1)::text, 4, '0'), -1, CASE WHEN n.n = $3 THEN r.state ELSE 'success' END, 1, 0, 'host', 7,
        'default_pool', 1, 'default', 1, r.run_after, r.run_after + interval '1 second' * n.n,
        r.run_after + interval '1 second' * n.n, r.run_after + interval '1 second' * (n.n + 1), 0, 0, 0, 0, 0, 0
    FROM dag_run r, generate_series(1, $3) AS n (n) WHERE r.dag_id LIKE $1 ORDER BY r.key, n.n";

const SQLITE_RUNS: &str = "
    WITH RECURSIVE n (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n WHERE n < ?2)
    INSERT INTO dag_run (dag_id, run_id, run_type, state, logical_date, interval_start, interval_end, run_after, queued_at,
        start_date, end_date, conf, triggered_by, version_id, max_active_tasks)
    SELECT dag_id, 'scheduled__' || n, 'scheduled', CASE WHEN n % 20 = 7 THEN 'failed' ELSE 'success' END,
        at - 3600000000, at - 3600000000, at, at, at, at, at + 60000000 * (1 + n % 7), '{}', 'timetable', version_id, 16
    FROM (SELECT d.dag_id, d.version_id, n.n, ?3 - 3600000000 * (?2 - n.n) AS at FROM n, dag d WHERE d.dag_id LIKE ?1
        ORDER BY n.n, d.dag_id)";
const SQLITE_TASKS: &str = "
    WITH RECURSIVE n (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n WHERE n < ?3)
    INSERT INTO task_instance (run_key, task_id, map_index, state, try_number, max_tries, hostname, pid, pool, pool_slots, queue,
        priority, run_order, queued_at, start_date, end_date, up_total, up_success, up_failed, up_skipped, up_upstream_failed, up_removed)
    SELECT r.key, ?2 || substr('0000' || (n.n - 1), -4), -1, CASE WHEN n.n = ?3 THEN r.state ELSE 'success' END, 1, 0, 'host', 7,
        'default_pool', 1, 'default', 1, r.run_after, r.run_after + 1000000 * n.n, r.run_after + 1000000 * n.n,
        r.run_after + 1000000 * (n.n + 1), 0, 0, 0, 0, 0, 0
    FROM dag_run r, n WHERE r.dag_id LIKE ?1 ORDER BY r.key, n.n";

/// Writes histories into a migrated database and lets it learn how large its tables have become, as it would have in
/// the time that is made up.
///
/// # Errors
/// When the database refuses.
pub async fn write(db: &TestDb, histories: &[History<'_>]) -> Result<(), sqlx::Error> {
    if db.name == "sqlite" {
        let mut connection = SqliteConnection::connect(&db.url).await?;
        for History { dags, runs, tasks: (prefix, tasks), until } in histories {
            let insert = sqlx::query(SQLITE_RUNS).bind(*dags).bind(i64::from(*runs)).bind(until * 1_000_000);
            insert.execute(&mut connection).await?;
            let insert = sqlx::query(SQLITE_TASKS).bind(*dags).bind(*prefix).bind(i64::from(*tasks));
            insert.execute(&mut connection).await?;
        }
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").await?;
        return connection.close().await;
    }
    let mut connection = PgConnection::connect(&db.url).await?;
    for History { dags, runs, tasks: (prefix, tasks), until } in histories {
        let runs = i32::try_from(*runs).unwrap_or(i32::MAX);
        sqlx::query(POSTGRES_RUNS).bind(*dags).bind(runs).bind(until * 1_000_000).execute(&mut connection).await?;
        let tasks = i32::try_from(*tasks).unwrap_or(i32::MAX);
        sqlx::query(POSTGRES_TASKS).bind(*dags).bind(*prefix).bind(tasks).execute(&mut connection).await?;
    }
    connection.execute("VACUUM ANALYZE").await?;
    connection.close().await
}
