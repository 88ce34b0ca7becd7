//! Extract, transform and load as tasks, on Apache DataFusion.
//!
//! The only crate that names DataFusion.

pub use datafusion;
