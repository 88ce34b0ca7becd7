//! The pieces that pages are built of: from values to what people read.

pub(crate) mod ansi;
pub(crate) mod json;
pub(crate) mod layers;
pub(crate) mod log;
pub(crate) mod moment;
pub(crate) mod run;
pub(crate) mod state;
pub(crate) mod text;
pub(crate) mod why;
pub(crate) mod yaml;
