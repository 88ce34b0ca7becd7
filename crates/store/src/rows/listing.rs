//! Lists with conditions: the statements are put together from fixed texts.

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use sqlx::{QueryBuilder, Row as _};

use super::super::{Backend, Db, DbRow, listing_sql};
use super::{reads, time};
use crate::Result;
use crate::batch;
use crate::listing::{After, Compare, Datum, ListRows, Listing, RunField, TaskField, Test, XComField};
use crate::records::{RunRecord, TaskInstanceRecord, TaskKey, XComRecord};
use crate::time::Ts;

/// More texts to choose from go as one parameter: a statement has a limit of them.
const MANY: usize = 16;

/// A field as it stands in a statement.
trait Column: Copy {
    fn text(self) -> &'static str;
    /// Whether `dag_version` must be joined for it.
    fn is_of_version(self) -> bool;
    /// Whether `dag_run` must be joined for it.
    fn is_of_run(self) -> bool;
    /// A condition that rows with one of those words fulfil as well, and that finds them in an index of few.
    fn among_few(self, _words: &[&str]) -> Option<&'static str> {
        None
    }
}

/// The condition of the first set that has all of `words`.
fn smallest(words: &[&str], sets: &[(&[&str], &'static str)]) -> Option<&'static str> {
    sets.iter().find(|(set, _)| words.iter().all(|word| set.contains(word))).map(|(_, condition)| *condition)
}

impl Column for RunField {
    fn text(self) -> &'static str {
        match self {
            Self::Key => "r.key",
            Self::DagId => "r.dag_id",
            Self::RunId => "r.run_id",
            Self::State => "r.state",
            Self::RunType => "r.run_type",
            Self::LogicalDate => "r.logical_date",
            Self::RunAfter => "r.run_after",
            Self::QueuedAt => "r.queued_at",
            Self::StartDate => "r.start_date",
            Self::EndDate => "r.end_date",
            Self::Duration => listing_sql::RUN_DURATION,
            Self::UpdatedAt => "COALESCE(r.end_date, r.start_date, r.queued_at)",
            Self::Conf => "r.conf",
            Self::TriggeringUser => "r.triggering_user",
            Self::VersionNumber => "v.number",
            Self::Note => "r.note",
        }
    }

    fn is_of_version(self) -> bool {
        self == Self::VersionNumber
    }

    fn is_of_run(self) -> bool {
        true
    }

    fn among_few(self, words: &[&str]) -> Option<&'static str> {
        let active = "r.key IN (SELECT key FROM dag_run WHERE state IN ('queued', 'running'))";
        if self == Self::State { smallest(words, &[(&["queued", "running"], active)]) } else { None }
    }
}

impl Column for TaskField {
    fn text(self) -> &'static str {
        match self {
            Self::RunKey => "t.run_key",
            Self::TaskId => "t.task_id",
            Self::MapIndex => "t.map_index",
            Self::DagId => "r.dag_id",
            Self::RunId => "r.run_id",
            Self::LogicalDate => "r.logical_date",
            Self::RunAfter => "r.run_after",
            Self::State => "t.state",
            Self::StartDate => "t.start_date",
            Self::EndDate => "t.end_date",
            Self::QueuedAt => "t.queued_at",
            Self::Duration => listing_sql::TASK_DURATION,
            Self::UpdatedAt => "COALESCE(t.end_date, t.start_date, t.queued_at)",
            Self::TryNumber => "t.try_number",
            Self::Pool => "t.pool",
            Self::Queue => "t.queue",
            Self::Priority => "t.priority",
            Self::VersionNumber => "v.number",
        }
    }

    fn is_of_version(self) -> bool {
        self == Self::VersionNumber
    }

    fn is_of_run(self) -> bool {
        matches!(self, Self::DagId | Self::RunId | Self::LogicalDate | Self::RunAfter)
    }

    fn among_few(self, words: &[&str]) -> Option<&'static str> {
        let live =
            "t.run_key IN (SELECT run_key FROM task_instance WHERE state IN ('queued', 'running', 'restarting'))";
        let unfinished = "t.run_key IN (SELECT run_key FROM task_instance WHERE state IN \
            ('none', 'scheduled', 'queued', 'running', 'up_for_retry', 'up_for_reschedule', 'restarting', 'deferred'))";
        let sets: [(&[&str], _); 2] = [
            (&["queued", "running", "restarting"], live),
            (
                &[
                    "none",
                    "scheduled",
                    "up_for_retry",
                    "up_for_reschedule",
                    "deferred",
                    "queued",
                    "running",
                    "restarting",
                ],
                unfinished,
            ),
        ];
        if self == Self::State { smallest(words, &sets) } else { None }
    }
}

impl Column for XComField {
    fn text(self) -> &'static str {
        match self {
            Self::DagId => "r.dag_id",
            Self::RunId => "r.run_id",
            Self::RunAfter => "r.run_after",
            Self::LogicalDate => "r.logical_date",
            Self::TaskId => "x.task_id",
            Self::MapIndex => "x.map_index",
            Self::Key => "x.key",
        }
    }

    fn is_of_version(self) -> bool {
        false
    }

    fn is_of_run(self) -> bool {
        matches!(self, Self::DagId | Self::RunId | Self::RunAfter | Self::LogicalDate)
    }
}

fn push_datum(query: &mut QueryBuilder<Db>, datum: &Datum) {
    match datum {
        Datum::Word(word) => query.push("'").push(*word).push("'"),
        Datum::Text(text) => query.push_bind(text.clone()),
        Datum::Number(number) => query.push_bind(*number),
        Datum::Seconds(seconds) => query.push_bind(*seconds),
        Datum::Time(time) => query.push_bind(Ts(*time)),
    };
}

fn narrow<F: Column>(query: &mut QueryBuilder<Db>, tests: &[(F, Test)]) {
    query.push(" WHERE 1 = 1");
    for (field, test) in tests {
        let column = field.text();
        if let Test::Among(values) = test
            && let Some(words) = values.iter().map(Datum::word).collect::<Option<Vec<_>>>()
            && let Some(condition) = field.among_few(&words)
            && !words.is_empty()
        {
            query.push(" AND ").push(condition);
        }
        match test {
            Test::Among(values) if values.is_empty() => {
                query.push(" AND 1 = 0");
            }
            Test::Among(values)
                if values.len() > MANY && values.iter().all(|value| matches!(value, Datum::Text(_))) =>
            {
                let texts: Vec<String> = values.iter().filter_map(Datum::text).map(str::to_owned).collect();
                super::access::among(query, column, &texts);
            }
            // Indexes of some rows are found by `=` alone in SQLite.
            Test::Among(values) if values.len() == 1 => {
                query.push(" AND ").push(column).push(" = ");
                push_datum(query, &values[0]);
            }
            Test::Among(values) => {
                query.push(" AND ").push(column).push(" IN (");
                for (i, value) in values.iter().enumerate() {
                    if i > 0 {
                        query.push(", ");
                    }
                    push_datum(query, value);
                }
                query.push(")");
            }
            Test::Like(patterns) => alternatives(query, patterns, |query, pattern| {
                query.push(column).push(listing_sql::LIKE).push_bind(pattern.to_owned()).push(listing_sql::LIKE_END);
            }),
            Test::Prefix(prefixes) => alternatives(query, prefixes, |query, prefix| {
                query.push("substr(").push(column).push(", 1, ").push(prefix.chars().count()).push(") = ");
                query.push_bind(prefix.to_owned());
            }),
            Test::Bound(compare, value) => {
                query.push(" AND ").push(column).push(match compare {
                    Compare::AtLeast => " >= ",
                    Compare::Above => " > ",
                    Compare::AtMost => " <= ",
                    Compare::Below => " < ",
                });
                push_datum(query, value);
            }
        }
    }
}

fn alternatives(query: &mut QueryBuilder<Db>, texts: &[String], each: impl Fn(&mut QueryBuilder<Db>, &str)) {
    query.push(" AND (1 = 0");
    for text in texts {
        query.push(" OR ");
        each(query, text);
    }
    query.push(")");
}

fn order<F: Column>(query: &mut QueryBuilder<Db>, listing: &Listing<F>, last: &[&'static str]) {
    query.push(" ORDER BY ");
    for (field, descends) in &listing.order {
        query.push(field.text()).push(if *descends { " DESC, " } else { ", " });
    }
    // What is equal comes in the direction of the first field, so that one index gives both.
    let descends = listing.order.first().is_some_and(|(_, descends)| *descends);
    for (i, column) in last.iter().enumerate() {
        if i > 0 {
            query.push(", ");
        }
        query.push(*column).push(if descends { " DESC" } else { "" });
    }
}

fn page<F>(query: &mut QueryBuilder<Db>, listing: &Listing<F>) {
    query.push(" LIMIT ").push_bind(i64::from(listing.limit));
    if listing.offset > 0 {
        query.push(" OFFSET ").push_bind(i64::from(listing.offset));
    }
}

fn after<F: Column>(query: &mut QueryBuilder<Db>, listing: &Listing<F>) {
    let descends = listing.order.first().is_some_and(|(_, descends)| *descends);
    let sign = if descends { " < (" } else { " > (" };
    match &listing.after {
        None => {}
        Some(After::Run { key, run_after }) => {
            if listing.order.first().is_some_and(|(field, _)| field.text() == RunField::RunAfter.text()) {
                query.push(" AND (r.run_after, r.key)").push(sign).push_bind(Ts(*run_after)).push(", ");
                query.push_bind(*key).push(")");
            } else {
                query.push(" AND (r.key)").push(sign).push_bind(*key).push(")");
            }
        }
        Some(After::Task(TaskKey { run_key, task_id, map_index })) => {
            query.push(" AND (t.run_key, t.task_id, t.map_index)").push(sign).push_bind(*run_key).push(", ");
            query.push_bind(task_id.clone()).push(", ").push_bind(*map_index).push(")");
        }
    }
}

/// `from` is the table of the rows, `join` what joins the others to it.
fn counting<F: Column>(
    tests: &[(F, Test)],
    from: &'static str,
    [runs, versions]: [&'static str; 2],
    most: Option<u32>,
) -> QueryBuilder<Db> {
    let mut query = QueryBuilder::<Db>::new("SELECT count(*) FROM (SELECT 1 FROM ");
    query.push(from);
    let by_version = tests.iter().any(|(field, _)| field.is_of_version());
    if by_version || tests.iter().any(|(field, _)| field.is_of_run()) {
        query.push(runs);
    }
    if by_version {
        query.push(versions);
    }
    narrow(&mut query, tests);
    if let Some(most) = most {
        query.push(" LIMIT ").push_bind(i64::from(most));
    }
    query.push(") AS counted");
    query
}

const VERSION_OF_RUN: &str = " JOIN dag_version v ON v.id = r.version_id";
const RUN_OF_TASK: &str = " JOIN dag_run r ON r.key = t.run_key";

/// Whether `dag_version` must be joined to find the rows of a list.
fn is_of_version<F: Column>(listing: &Listing<F>) -> bool {
    listing.fields().any(Column::is_of_version)
}

fn xcom(row: &DbRow) -> Result<(i64, XComRecord)> {
    let record = XComRecord {
        key: row.try_get("key")?,
        task_id: row.try_get("task_id")?,
        map_index: row.try_get("map_index")?,
        value: serde_json::Value::Null,
        file: None,
        at: time(row, "at")?,
    };
    Ok((row.try_get("run_key")?, record))
}

#[async_trait]
impl ListRows for Backend {
    async fn list_runs(&self, listing: &Listing<RunField>) -> Result<Vec<RunRecord>> {
        let mut query = QueryBuilder::<Db>::new(super::super::queries::SELECT_RUNS);
        let last = ["r.key"];
        // What is skipped is skipped in an index, and not read.
        if listing.offset > 0 {
            query.push(" WHERE r.key IN (SELECT r.key FROM dag_run r");
            if is_of_version(listing) {
                query.push(VERSION_OF_RUN);
            }
        }
        narrow(&mut query, &listing.tests);
        after(&mut query, listing);
        order(&mut query, listing, &last);
        if listing.offset > 0 {
            page(&mut query, listing);
            query.push(")");
            order(&mut query, listing, &last);
        } else {
            page(&mut query, listing);
        }
        let rows = query.build().fetch_all(&self.readers).await?;
        rows.iter().map(reads::run).collect()
    }

    async fn count_runs(&self, tests: &[(RunField, Test)], most: Option<u32>) -> Result<u64> {
        let mut query = counting(tests, "dag_run r", ["", VERSION_OF_RUN], most);
        Ok(query.build_query_scalar::<i64>().fetch_one(&self.readers).await? as u64)
    }

    async fn list_tasks(&self, listing: &Listing<TaskField>) -> Result<Vec<TaskInstanceRecord>> {
        let mut query = QueryBuilder::<Db>::new(listing_sql::SELECT_TASKS);
        let last = ["t.run_key", "t.task_id", "t.map_index"];
        if listing.offset > 0 {
            query.push(" WHERE (t.run_key, t.task_id, t.map_index) IN (SELECT t.run_key, t.task_id, t.map_index");
            query.push(" FROM task_instance t");
            let is_of_version = is_of_version(listing);
            if is_of_version || listing.fields().any(Column::is_of_run) {
                query.push(RUN_OF_TASK);
            }
            if is_of_version {
                query.push(VERSION_OF_RUN);
            }
        }
        narrow(&mut query, &listing.tests);
        after(&mut query, listing);
        order(&mut query, listing, &last);
        if listing.offset > 0 {
            page(&mut query, listing);
            query.push(")");
            order(&mut query, listing, &last);
        } else {
            page(&mut query, listing);
        }
        let rows = query.build().fetch_all(&self.readers).await?;
        rows.iter().map(reads::task_instance).collect()
    }

    async fn count_tasks(&self, tests: &[(TaskField, Test)], most: Option<u32>) -> Result<u64> {
        let joins = [RUN_OF_TASK, VERSION_OF_RUN];
        let mut query = counting(tests, "task_instance t", joins, most);
        Ok(query.build_query_scalar::<i64>().fetch_one(&self.readers).await? as u64)
    }

    async fn list_xcoms(&self, listing: &Listing<XComField>) -> Result<Vec<(i64, XComRecord)>> {
        let mut query = QueryBuilder::<Db>::new(listing_sql::SELECT_XCOMS);
        narrow(&mut query, &listing.tests);
        order(&mut query, listing, &["x.run_key", "x.task_id", "x.map_index", "x.key"]);
        page(&mut query, listing);
        let rows = query.build().fetch_all(&self.readers).await?;
        rows.iter().map(xcom).collect()
    }

    async fn count_xcoms(&self, tests: &[(XComField, Test)]) -> Result<u64> {
        let mut query = counting(tests, "xcom x", [" JOIN dag_run r ON r.key = x.run_key", ""], None);
        Ok(query.build_query_scalar::<i64>().fetch_one(&self.readers).await? as u64)
    }

    async fn run_states(&self, dag_ids: &[String]) -> Result<Vec<(String, String, u64)>> {
        let rows = sqlx::query(listing_sql::RUN_STATES).bind(batch::json(dag_ids)).fetch_all(&self.readers).await?;
        rows.iter()
            .map(|row| Ok((row.try_get("dag_id")?, row.try_get("state")?, row.try_get::<i64, _>("count")? as u64)))
            .collect()
    }

    async fn set_run_note(&self, key: i64, note: Option<&str>) -> Result<bool> {
        let done = sqlx::query(listing_sql::SET_RUN_NOTE).bind(key).bind(note).execute(&self.writers).await?;
        Ok(done.rows_affected() == 1)
    }

    async fn set_task_note(&self, key: &TaskKey, note: Option<&str>) -> Result<bool> {
        let done = sqlx::query(listing_sql::SET_TASK_NOTE)
            .bind(key.run_key)
            .bind(&key.task_id)
            .bind(key.map_index)
            .bind(note)
            .execute(&self.writers)
            .await?;
        Ok(done.rows_affected() == 1)
    }

    async fn delete_task_instance(&self, key: &TaskKey) -> Result<bool> {
        let mut tx = self.writers.begin().await?;
        let done = sqlx::query(listing_sql::DELETE_TASK_INSTANCE)
            .bind(key.run_key)
            .bind(&key.task_id)
            .bind(key.map_index)
            .execute(&mut *tx)
            .await?;
        let deleted = done.rows_affected() == 1;
        if deleted {
            for sql in [listing_sql::DELETE_TASK_XCOMS, listing_sql::DELETE_TASK_LOGS] {
                sqlx::query(sql).bind(key.run_key).bind(&key.task_id).bind(key.map_index).execute(&mut *tx).await?;
            }
        }
        tx.commit().await?;
        Ok(deleted)
    }

    async fn put_xcom(&self, key: &TaskKey, name: &str, value: &str, new: bool, now: DateTime<Utc>) -> Result<bool> {
        let done = sqlx::query(if new { listing_sql::INSERT_XCOM } else { listing_sql::UPDATE_XCOM })
            .bind(key.run_key)
            .bind(&key.task_id)
            .bind(key.map_index)
            .bind(name)
            .bind(value)
            .bind(Ts(now))
            .execute(&self.writers)
            .await?;
        Ok(done.rows_affected() == 1)
    }

    async fn delete_xcom(&self, key: &TaskKey, name: &str) -> Result<bool> {
        let done = sqlx::query(listing_sql::DELETE_XCOM)
            .bind(key.run_key)
            .bind(&key.task_id)
            .bind(key.map_index)
            .bind(name)
            .execute(&self.writers)
            .await?;
        Ok(done.rows_affected() == 1)
    }
}
