//! The arguments of an attempt as its operator would get them, without running it: tests of DAGs.

use std::sync::Arc;

use serde_json::{Map, Value};
use towpath_model::clock::SharedClock;
use towpath_model::dag::{Dag, Task};
use towpath_operators::log::{Limits, Memory, Secrets, TaskLog};
use towpath_operators::{Services, template};
use towpath_store::{ClaimedTask, Store};

use crate::attempt::claimed_context;
use crate::services::StoreServices;

/// Why there are no arguments.
#[derive(Debug, thiserror::Error)]
pub enum RenderError {
    #[error(transparent)]
    Template(#[from] template::Error),
    #[error(transparent)]
    Store(#[from] towpath_store::Error),
}

/// Renders the templates in `args`, which are some or all arguments of `task`, for a claimed attempt of it that
/// starts now. XComs, variables and connections come from the store.
///
/// # Errors
/// [`RenderError::Template`] for the first template that is wrong or reads what is not there.
pub async fn render(
    store: &Store,
    clock: &SharedClock,
    hostname: &str,
    claimed: &ClaimedTask,
    dag: &Dag,
    task: &Task,
    args: Map<String, Value>,
) -> Result<Map<String, Value>, RenderError> {
    let Some(spec) = towpath_model::operator::find(&task.operator) else { return Ok(args) };
    let context = claimed_context(store, hostname, claimed, dag, task).await?;
    let secrets = Arc::new(Secrets::default());
    let log = TaskLog::new(Arc::new(Memory::default()), Arc::clone(clock), Arc::clone(&secrets), Limits::default());
    let services: Arc<dyn Services> = Arc::new(StoreServices {
        store: store.clone(),
        clock: Arc::clone(clock),
        run: Arc::clone(&claimed.run),
        task: claimed.key.clone(),
        secrets,
    });
    Ok(template::render_args(&context, &services, &log, template::Limits::default(), spec, args).await?)
}
