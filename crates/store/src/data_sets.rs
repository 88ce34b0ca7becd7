//! What task instances have left as data: manifests of data sets, what loads have written, measured plans. All of it stands in
//! XComs; whoever looks at it asks here, so that the command line, the API and the pages say the same.

use serde::Serialize;
use serde_json::Value;
use towpath_model::etl::look::Trouble;
use towpath_model::etl::{Manifest, MeasuredPlan, PLAN};
use towpath_model::state::TaskState;

use crate::listing::{Datum, Listing, Test, XComField};
use crate::records::{RunFilter, RunRecord, TaskKey};
use crate::{Result, Store};

/// The key of what a task returns.
const RETURN_VALUE: &str = "return_value";
/// Runs that are asked for a data set, the newest first.
const MOST_RUNS: u32 = 50;

/// What a task instance has left.
#[derive(Debug, Clone, PartialEq)]
pub enum Left {
    DataSet(Box<Manifest>),
    Load(Load),
}

/// What a load has written.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Load {
    /// A path, a URL, or a table.
    pub place: String,
    pub rows: u64,
    /// Of files.
    pub bytes: Option<u64>,
    pub files: Option<u64>,
}

/// What a task instance of a run has left.
#[derive(Debug, Clone, PartialEq)]
pub struct LeftBy {
    pub task_id: String,
    pub map_index: i32,
    pub left: Left,
}

/// Reads what a task has returned.
fn left(value: Value) -> Option<Left> {
    let text = |name: &str| value.get(name).and_then(Value::as_str).map(str::to_owned);
    let count = |name: &str| value.get(name).and_then(Value::as_u64);
    if value.get("schema").is_some_and(Value::is_array) && text("format").as_deref() == Some("parquet") {
        return serde_json::from_value(value).ok().map(|manifest| Left::DataSet(Box::new(manifest)));
    }
    let (rows, table) = (count("rows")?, text("table"));
    // A load says how long it took, which nobody does by accident beside the rest.
    value.get("seconds")?.as_f64()?;
    let place = match (table, text("location")) {
        (Some(table), _) => format!("table {table}"),
        (None, Some(location)) => location,
        (None, None) => return None,
    };
    Some(Left::Load(Load { place, rows, bytes: count("bytes"), files: count("files") }))
}

impl Store {
    /// The data set of a task instance, with its map index; of a mapped task that of the first instance that has one, unless one
    /// is named.
    ///
    /// # Errors
    /// When the database does not answer; within, why there is no data set.
    pub async fn data_set(
        &self,
        run: &RunRecord,
        task_id: &str,
        map_index: Option<i32>,
    ) -> Result<Result<(i32, Manifest), Trouble>> {
        let mut load = None;
        for xcom in self.xcoms(run.key, task_id, RETURN_VALUE, map_index).await? {
            match left(xcom.value) {
                Some(Left::DataSet(manifest)) => return Ok(Ok((xcom.map_index, *manifest))),
                Some(Left::Load(found)) => load = load.or(Some(found)),
                None => {}
            }
        }
        let (task_id, run_id) = (task_id.to_owned(), run.run_id.clone());
        if let Some(Load { place, .. }) = load {
            return Ok(Err(Trouble::Load { task_id, run_id, place }));
        }
        let state = self.state_of(run, &task_id, map_index).await?;
        Ok(Err(match state {
            Some(state) if !state.is_finished() => Trouble::NotYet { task_id, run_id, state },
            Some(state) if state != TaskState::Success => Trouble::Ended { task_id, run_id, state },
            _ => Trouble::NoDataSet { task_id, run_id },
        }))
    }

    /// The measured plan of a task instance, also of one that has failed; as [`Store::data_set`].
    ///
    /// # Errors
    /// When the database does not answer; within, why there is no plan.
    pub async fn measured_plan(
        &self,
        run: &RunRecord,
        task_id: &str,
        map_index: Option<i32>,
    ) -> Result<Result<(i32, MeasuredPlan), Trouble>> {
        for xcom in self.xcoms(run.key, task_id, PLAN, map_index).await? {
            if let Ok(plan) = serde_json::from_value(xcom.value) {
                return Ok(Ok((xcom.map_index, plan)));
            }
        }
        Ok(Err(Trouble::NoPlan { task_id: task_id.to_owned(), run_id: run.run_id.clone() }))
    }

    /// The newest run of a DAG in which a task has left a data set, among the newest fifty; without one the newest of all.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn newest_run_with_data(
        &self,
        dag_id: &str,
        task_id: &str,
        map_index: Option<i32>,
    ) -> Result<Option<RunRecord>> {
        let filter =
            RunFilter { dag_id: Some(dag_id.to_owned()), newest_first: true, limit: MOST_RUNS, ..RunFilter::default() };
        let runs = self.some_runs(&filter).await?;
        for run in &runs {
            if self.data_set(run, task_id, map_index).await?.is_ok() {
                return Ok(Some(run.clone()));
            }
        }
        Ok(runs.into_iter().next())
    }

    /// What those tasks of a run have left that `is_asked` names, by task id and map index, at most `limit` of them; and whether
    /// there may be more.
    ///
    /// # Errors
    /// When the database does not answer. A value that cannot be read is left out.
    pub async fn data_of_run(
        &self,
        run: &RunRecord,
        is_asked: impl Fn(&str) -> bool,
        limit: usize,
    ) -> Result<(Vec<LeftBy>, bool)> {
        let is = |text: &str| Test::Among(vec![Datum::Text(text.to_owned())]);
        let tests = vec![
            (XComField::DagId, is(&run.dag_id)),
            (XComField::RunId, is(&run.run_id)),
            (XComField::Key, is(RETURN_VALUE)),
        ];
        let most = u32::try_from(limit).unwrap_or(u32::MAX).saturating_mul(4);
        let listed = self.list_xcoms(&Listing { tests, limit: most, ..Listing::default() }).await?;
        let mut has_more = listed.total > listed.items.len() as u64;
        let mut found = Vec::new();
        for (_, xcom) in listed.items.into_iter().filter(|(_, xcom)| is_asked(&xcom.task_id)) {
            if found.len() == limit {
                has_more = true;
                break;
            }
            let Ok(values) = self.xcoms(run.key, &xcom.task_id, RETURN_VALUE, Some(xcom.map_index)).await else {
                continue;
            };
            let left = values.into_iter().find_map(|value| left(value.value));
            found.extend(left.map(|left| LeftBy { task_id: xcom.task_id, map_index: xcom.map_index, left }));
        }
        Ok((found, has_more))
    }

    /// The state of an instance; of a mapped task that of the first one, unless one is named.
    async fn state_of(&self, run: &RunRecord, task_id: &str, map_index: Option<i32>) -> Result<Option<TaskState>> {
        match map_index {
            None => {
                let states = self.task_states(run.key, &[task_id.to_owned()]).await?;
                Ok(states.into_iter().next().map(|(_, state)| state))
            }
            Some(map_index) => {
                let key = TaskKey { run_key: run.key, task_id: task_id.to_owned(), map_index };
                Ok(self.task_instance(&key).await?.map(|instance| instance.state))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_tasks_return_is_told_apart() {
        let schema = json!([{"name": "n", "type": "int64"}]);
        let set = json!({
            "location": "/s/d", "format": "parquet", "rows": 3, "bytes": 9, "files": 1, "schema": schema, "seconds": 0.1
        });
        let Some(Left::DataSet(manifest)) = left(set) else { panic!("that is a data set") };
        assert_eq!(manifest.rows, 3);
        for (value, expected) in [
            (json!({"table": "sales", "rows": 3, "seconds": 0.1, "created": true}), Some("table sales")),
            (
                json!({"location": "/lake/x", "format": "parquet", "rows": 3, "bytes": 1, "seconds": 0.1}),
                Some("/lake/x"),
            ),
            (json!({"rows": 336}), None),
            (json!({"location": "here", "rows": 336}), None),
            (json!({"schema": [], "format": "parquet", "rows": "three"}), None),
            (json!([1, 2]), None),
            (json!(null), None),
        ] {
            let found = left(value.clone());
            let place = match &found {
                Some(Left::Load(load)) => Some(load.place.as_str()),
                Some(Left::DataSet(_)) => Some("data set"),
                None => None,
            };
            assert_eq!(place, expected, "{value}");
        }
    }
}
