//! Operators and templates against services that answer from memory.

mod bash;
mod http;
mod support;
mod template;
