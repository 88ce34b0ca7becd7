//! `GET .../taskInstances/{task_id}/dataSet/...` and `.../plan`: what a task instance has left as data, and how it was made.
//!
//! Files are read by the reader that the binary gives ([`crate::State::with_data`]); without one only what manifests tell is
//! served.

pub(crate) mod describe;
pub(crate) mod rows;

use std::sync::Arc;

use axum::extract::Path;
use towpath_model::etl::Manifest;
use towpath_model::etl::look::{Owner, Reader, Trouble};

use crate::query::Query;
use crate::{Error, Result, State, dag_runs, task_instances};

/// The ids in the path.
type Ids = Path<(String, String, String)>;

/// A data set, and whose it is.
struct Found {
    dag_id: String,
    task_id: String,
    manifest: Manifest,
}

/// The data set of the task instance that path and query name; `query` is read to its end.
async fn find(state: &State, ids: Ids, mut query: Query) -> Result<Found> {
    let Path((dag_id, run_id, task_id)) = ids;
    let map_index = task_instances::map_index(&mut query);
    query.finish()?;
    let run = dag_runs::find(state, &dag_id, &run_id).await?;
    task_instances::find(state, &run, &task_id, map_index).await?;
    let (_, manifest) = state.store.data_set(&run, &task_id, Some(map_index)).await?.map_err(told)?;
    Ok(Found { dag_id, task_id, manifest })
}

/// Lets the reader work where it may wait for a disk.
async fn read<T: Send + 'static>(
    state: &State,
    found: Found,
    work: impl FnOnce(&dyn Reader, Owner<'_>, &Manifest) -> Result<T, Trouble> + Send + 'static,
) -> Result<(T, Manifest)> {
    let missing = || Error::NotFound("this server reads no data sets; `towpath data` does".to_owned());
    let reader = Arc::clone(state.data.as_ref().ok_or_else(missing)?);
    let done = tokio::task::spawn_blocking(move || {
        let owner = Owner { dag_id: &found.dag_id, task_id: &found.task_id };
        work(reader.as_ref(), owner, &found.manifest).map(|read| (read, found.manifest))
    });
    done.await.map_err(|error| Error::Panic(error.to_string()))?.map_err(told)
}

/// What is not there may come, may have gone, or never was.
fn told(trouble: Trouble) -> Error {
    let text = trouble.to_string();
    match trouble {
        Trouble::NotYet { .. } | Trouble::Unreadable { .. } => Error::Conflict(text),
        Trouble::Ended { .. }
        | Trouble::NoDataSet { .. }
        | Trouble::Load { .. }
        | Trouble::NoPlan { .. }
        | Trouble::Cleaned { .. } => Error::NotFound(text),
        // Where that is, is nobody's business here.
        Trouble::Elsewhere { task_id, .. } => Error::NotFound(format!(
            "what task `{task_id}` names as its data set is not in the staging area of its DAG, so it is not read"
        )),
    }
}
