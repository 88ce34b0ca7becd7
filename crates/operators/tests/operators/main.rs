//! Operators and templates against services that answer from memory.

mod bash;
mod external_task;
mod http;
mod sensor;
mod sql;
mod support;
mod template;
mod trigger_dag;
