//! How the server is.

pub(crate) mod exposition;
pub(crate) mod health;
pub(crate) mod metrics;
mod process;
pub(crate) mod version;
