//! The arguments that attempts get, for cases that ask for them.

use std::sync::Arc;

use serde_json::{Map, Value};
use towpath_model::clock::{ManualClock, SharedClock};
use towpath_model::dag::Task;
use towpath_store::{ClaimedTask, Store};
use towpath_worker::RenderError;

use crate::engine::{Error, HOSTNAME};
use crate::suite::Case;

/// Arguments by name, or why a template could not be rendered.
pub(crate) type Rendered = Result<Map<String, Value>, String>;

/// What rendering takes.
pub(crate) struct Renderings<'c> {
    pub(crate) case: &'c Case,
    pub(crate) store: &'c Store,
    pub(crate) clock: Arc<ManualClock>,
}

impl Renderings<'_> {
    /// The arguments of an attempt that the case wants to see: all of them, or those that it names. `None`
    /// where it wants none.
    pub(crate) async fn render(&self, claimed: &ClaimedTask, task: &Task) -> Result<Option<Rendered>, Error> {
        let wanted = self.case.expect.rendered.get(&task.task_id);
        let args: Map<String, Value> = match (self.case.given.render_templates, wanted) {
            (true, _) => task.args.clone(),
            (false, Some(wanted)) => {
                let is_wanted = |name: &String| wanted.contains_key(name);
                task.args.iter().filter(|(name, _)| is_wanted(name)).map(|(k, v)| (k.clone(), v.clone())).collect()
            }
            (false, None) => return Ok(None),
        };
        let clock: SharedClock = Arc::<ManualClock>::clone(&self.clock);
        match towpath_worker::render(self.store, &clock, HOSTNAME, claimed, &self.case.dag, task, args).await {
            Ok(args) => Ok(Some(Ok(args))),
            Err(RenderError::Template(error)) => Ok(Some(Err(error.to_string()))),
            Err(RenderError::Store(error)) => Err(error.into()),
        }
    }
}
