//! Why something does not run: Towpath's own calls, below `/api/towpath/v1`.

pub(crate) mod dag;
pub(crate) mod run;
pub(crate) mod task;
