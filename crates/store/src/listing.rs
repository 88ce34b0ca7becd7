//! Long lists, filtered and ordered by whatever a client asks for: runs, task instances and XComs
//! of one DAG or of all.
//!
//! A condition is data ([`Test`]); the statement is put together from fixed texts and bound values,
//! never from what a client has sent. Orders that an index gives cost the same however many rows
//! there are; any other order sorts what the conditions leave.

use async_trait::async_trait;
use chrono::{DateTime, Utc};

use crate::counts::Counted;
use crate::records::{Page, RunFilter, RunRecord, TaskInstanceRecord, TaskKey, XComRecord};
use crate::{Error, Result, Store};

/// Counting stops here where a page is asked for by a cursor.
pub const COUNT_LIMIT: u32 = 1_000;

/// What a run can be chosen and ordered by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum RunField {
    /// The order in which runs were made; indexed.
    Key,
    DagId,
    RunId,
    State,
    RunType,
    /// Indexed.
    LogicalDate,
    /// Indexed.
    RunAfter,
    QueuedAt,
    StartDate,
    EndDate,
    /// Seconds.
    Duration,
    /// When it last changed its state.
    UpdatedAt,
    /// As JSON text.
    Conf,
    TriggeringUser,
    VersionNumber,
    Note,
}

/// What a task instance can be chosen and ordered by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum TaskField {
    /// [`TaskKey::run_key`]; with the two that follow the order of the primary key.
    RunKey,
    TaskId,
    MapIndex,
    DagId,
    RunId,
    LogicalDate,
    RunAfter,
    State,
    StartDate,
    EndDate,
    QueuedAt,
    /// Seconds.
    Duration,
    /// When it last changed its state, as far as its times tell.
    UpdatedAt,
    TryNumber,
    Pool,
    Queue,
    Priority,
    VersionNumber,
}

/// What an XCom can be chosen by. Lists of them have the order of the primary key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum XComField {
    DagId,
    RunId,
    RunAfter,
    LogicalDate,
    TaskId,
    MapIndex,
    Key,
}

/// A value to compare with.
#[derive(Debug, Clone, PartialEq)]
pub enum Datum {
    /// A word that this program knows, such as a state: it stands in the statement itself, so that
    /// partial indexes apply.
    Word(&'static str),
    Text(String),
    Number(i64),
    Seconds(f64),
    Time(DateTime<Utc>),
}

/// A bound.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Compare {
    AtLeast,
    Above,
    AtMost,
    Below,
}

/// A condition on one field.
#[derive(Debug, Clone, PartialEq)]
pub enum Test {
    /// One of them; nothing fits an empty list.
    Among(Vec<Datum>),
    /// One of the patterns of SQL's LIKE, in upper or lower case.
    Like(Vec<String>),
    /// It begins with one of them.
    Prefix(Vec<String>),
    Bound(Compare, Datum),
}

/// Which part of a list. All conditions hold.
#[derive(Debug, Clone, PartialEq)]
pub struct Listing<F> {
    pub tests: Vec<(F, Test)>,
    /// Fields and whether each descends; what they leave open is ordered by the primary key.
    pub order: Vec<(F, bool)>,
    /// Only what comes after this row. [`RunField::Key`], [`RunField::RunAfter`] or the primary key
    /// of task instances must be the order then.
    pub after: Option<After>,
    pub limit: u32,
    pub offset: u32,
}

/// The last row of the page before.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum After {
    Run { key: i64, run_after: DateTime<Utc> },
    Task(TaskKey),
}

impl<F> Default for Listing<F> {
    fn default() -> Self {
        Self { tests: Vec::new(), order: Vec::new(), after: None, limit: 50, offset: 0 }
    }
}

impl Datum {
    pub(crate) fn word(&self) -> Option<&'static str> {
        if let Self::Word(word) = self { Some(word) } else { None }
    }

    pub(crate) fn text(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text),
            Self::Word(_) | Self::Number(_) | Self::Seconds(_) | Self::Time(_) => None,
        }
    }
}

impl<F> Listing<F> {
    /// The fields that decide which rows are in the list, and in which order.
    pub(crate) fn fields(&self) -> impl Iterator<Item = F> + '_
    where
        F: Copy,
    {
        self.tests.iter().map(|(field, _)| *field).chain(self.order.iter().map(|(field, _)| *field))
    }

    /// Adds the condition that `field` has one of `values`, unless there are none.
    pub fn among(&mut self, field: F, values: Vec<Datum>) {
        if !values.is_empty() {
            self.tests.push((field, Test::Among(values)));
        }
    }

    /// Adds the condition that `field` is `text`.
    pub fn is(&mut self, field: F, text: impl Into<String>) {
        self.tests.push((field, Test::Among(vec![Datum::Text(text.into())])));
    }
}

#[async_trait]
pub(crate) trait ListRows {
    async fn list_runs(&self, listing: &Listing<RunField>) -> Result<Vec<RunRecord>>;
    async fn count_runs(&self, tests: &[(RunField, Test)], most: Option<u32>) -> Result<u64>;
    async fn list_tasks(&self, listing: &Listing<TaskField>) -> Result<Vec<TaskInstanceRecord>>;
    async fn count_tasks(&self, tests: &[(TaskField, Test)], most: Option<u32>) -> Result<u64>;
    async fn list_xcoms(&self, listing: &Listing<XComField>) -> Result<Vec<(i64, XComRecord)>>;
    async fn count_xcoms(&self, tests: &[(XComField, Test)]) -> Result<u64>;
    async fn run_states(&self, dag_ids: &[String]) -> Result<Vec<(String, String, u64)>>;
    async fn set_run_note(&self, key: i64, note: Option<&str>) -> Result<bool>;
    async fn set_task_note(&self, key: &TaskKey, note: Option<&str>) -> Result<bool>;
    async fn delete_task_instance(&self, key: &TaskKey) -> Result<bool>;
    async fn put_xcom(&self, key: &TaskKey, name: &str, value: &str, new: bool, now: DateTime<Utc>) -> Result<bool>;
    async fn delete_xcom(&self, key: &TaskKey, name: &str) -> Result<bool>;
}

impl Listing<RunField> {
    /// What `filter` asks for, by `run_after`.
    #[must_use]
    pub fn of(filter: &RunFilter) -> Self {
        let mut tests = Vec::new();
        let texts = |texts: &[String]| Test::Among(texts.iter().cloned().map(Datum::Text).collect());
        if let Some(dag_id) = &filter.dag_id {
            tests.push((RunField::DagId, texts(std::slice::from_ref(dag_id))));
        }
        if let Some(dag_ids) = &filter.among {
            tests.push((RunField::DagId, texts(dag_ids)));
        }
        if !filter.states.is_empty() {
            let states = filter.states.iter().map(|state| Datum::Word(state.into()));
            tests.push((RunField::State, Test::Among(states.collect())));
        }
        if let Some(run_type) = filter.run_type {
            tests.push((RunField::RunType, Test::Among(vec![Datum::Word(run_type.into())])));
        }
        for (compare, date) in [(Compare::AtLeast, filter.logical_date_gte), (Compare::AtMost, filter.logical_date_lte)]
        {
            tests.extend(date.map(|date| (RunField::LogicalDate, Test::Bound(compare, Datum::Time(date)))));
        }
        let order = vec![(RunField::RunAfter, filter.newest_first)];
        Self { tests, order, after: None, limit: filter.limit, offset: filter.offset }
    }
}

/// How many rows there are, where the page that was read tells: it is the last one.
fn told_by<F, T>(listing: &Listing<F>, items: &[T]) -> Option<u64> {
    let is_last = items.len() < listing.limit as usize && listing.after.is_none();
    let is_first = listing.offset == 0;
    (is_last && (is_first || !items.is_empty())).then(|| u64::from(listing.offset) + items.len() as u64)
}

impl Store {
    /// Runs that meet all conditions. The total is exact (beyond some thousands: as it was some seconds ago), or with
    /// `capped` at most [`COUNT_LIMIT`].
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn list_runs(&self, listing: &Listing<RunField>, capped: bool) -> Result<Page<RunRecord>> {
        let items = self.inner.backend.list_runs(listing).await?;
        let total = match told_by(listing, &items) {
            Some(total) if !capped => total,
            _ if capped => self.inner.backend.count_runs(&listing.tests, Some(COUNT_LIMIT)).await?,
            _ => self.count(Counted::Runs(listing.tests.clone())).await?,
        };
        Ok(Page { items, total })
    }

    /// Task instances that meet all conditions; as [`Store::list_runs`].
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn list_tasks(&self, listing: &Listing<TaskField>, capped: bool) -> Result<Page<TaskInstanceRecord>> {
        let items = self.inner.backend.list_tasks(listing).await?;
        let total = match told_by(listing, &items) {
            Some(total) if !capped => total,
            _ if capped => self.inner.backend.count_tasks(&listing.tests, Some(COUNT_LIMIT)).await?,
            _ => self.count(Counted::Tasks(listing.tests.clone())).await?,
        };
        Ok(Page { items, total })
    }

    /// XComs that meet all conditions, each with the key of its run, without values (null).
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn list_xcoms(&self, listing: &Listing<XComField>) -> Result<Page<(i64, XComRecord)>> {
        let items = self.inner.backend.list_xcoms(listing).await?;
        Ok(Page { items, total: self.inner.backend.count_xcoms(&listing.tests).await? })
    }

    /// How many runs of each DAG are in each state: id, state, count, in that order.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn run_states(&self, dag_ids: &[String]) -> Result<Vec<(String, String, u64)>> {
        self.inner.backend.run_states(dag_ids).await
    }

    /// Writes or removes the note of a run; false where it does not exist.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn set_run_note(&self, key: i64, note: Option<&str>, _now: DateTime<Utc>) -> Result<bool> {
        self.inner.backend.set_run_note(key, note).await
    }

    /// Writes or removes the note of a task instance; false where it does not exist.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn set_task_note(&self, key: &TaskKey, note: Option<&str>, _now: DateTime<Utc>) -> Result<bool> {
        self.inner.backend.set_task_note(key, note).await
    }

    /// Deletes a task instance of a run that is over, with its tries, XComs and log. False where it
    /// does not exist or its run is not over: others there count on it.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn delete_task_instance(&self, key: &TaskKey, _now: DateTime<Utc>) -> Result<bool> {
        self.inner.backend.delete_task_instance(key).await
    }

    /// Makes an XCom (`new`) or changes one. False where a new one exists already or the other does not.
    ///
    /// # Errors
    /// [`Error::Invalid`] for an empty key or one of more than 512 bytes.
    pub async fn put_xcom(
        &self,
        key: &TaskKey,
        name: &str,
        value: &serde_json::Value,
        new: bool,
        now: DateTime<Utc>,
    ) -> Result<bool> {
        if name.is_empty() || name.len() > 512 {
            return Err(Error::Invalid(format!("the key of an XCom has 1 to 512 bytes, not {}", name.len())));
        }
        self.inner.backend.put_xcom(key, name, &value.to_string(), new, now).await
    }

    /// Deletes an XCom; false where there is none.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn delete_xcom(&self, key: &TaskKey, name: &str, _now: DateTime<Utc>) -> Result<bool> {
        self.inner.backend.delete_xcom(key, name).await
    }
}
