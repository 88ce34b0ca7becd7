//! `towpath data head` of a load: what its target holds now.

use serde_json::Value;
use towpath_etl::inspect::loads::Loaded;
use towpath_model::etl::Target;
use towpath_model::etl::look::{Bounds, Rows, Trouble};
use towpath_store::TaskKey;

use super::which::{self, Found};
use crate::cli::tasks::find_task;
use crate::exit::usage;
use crate::session::Session;

/// Rows of a target.
pub(super) struct OfLoad {
    pub(super) rows: Rows,
    /// A path, a URL or a table.
    pub(super) place: String,
}

/// The first rows of what a task has loaded; `None` where it is no load, or has not loaded yet.
pub(super) async fn head(which: &which::Args, session: &Session, bounds: &Bounds) -> anyhow::Result<Option<OfLoad>> {
    let Found { store, run, dag } = which.run(session).await?;
    let Err(Trouble::Load { place, .. }) = store.data_set(&run, &which.task_id, which.map_index).await? else {
        return Ok(None);
    };
    let task = find_task(&dag, &which.task_id)?;
    // Where it goes is what the task was told, not what an XCom says. Of a mapped task the first instance will do.
    let mut target = task.args.get("target").cloned().unwrap_or_default();
    for map_index in which.map_index.map_or(vec![-1, 0], |index| vec![index]) {
        let key = TaskKey { run_key: run.key, task_id: which.task_id.clone(), map_index };
        if let Some(kept) = store.rendered(std::slice::from_ref(&key)).await?.remove(&key) {
            target = kept.fields.get("target").cloned().unwrap_or(target);
            break;
        }
    }
    let target = match target {
        // What is long is kept as its JSON.
        Value::String(text) => serde_json::from_str(&text),
        target => serde_json::from_value(target),
    };
    let target: Target =
        target.map_err(|error| usage(format!("the target of task `{}` cannot be read: {error}", which.task_id)))?;
    let connection = match Loaded::conn_id(&target) {
        None => None,
        Some(id) => {
            let missing = || usage(format!("there is no connection `{id}`; `towpath connections add` makes one"));
            Some(store.connection(id).await?.ok_or_else(missing)?)
        }
    };
    let scratch = tempfile::tempdir()?;
    let loaded =
        Loaded { target, connection, folder: session.project_folder.clone(), scratch: scratch.path().to_owned() };
    let rows = loaded.head(bounds).await.map_err(|error| anyhow::anyhow!(error.message))?;
    Ok(Some(OfLoad { rows, place }))
}
