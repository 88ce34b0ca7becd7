//! What the tests of this crate share.

use std::path::Path;

use chrono::{DateTime, Utc};
use towpath_dagfile::{CompiledFile, Limits, Origin, compile};

pub(crate) fn now() -> DateTime<Utc> {
    "2026-05-17T10:00:00Z".parse().expect("a constant date")
}

/// Compiles a text as if it were `dags/example.yaml`.
pub(crate) fn read(text: &str, limits: &Limits) -> CompiledFile {
    let origin = Origin { path: Path::new("dags/example.yaml"), folder: Path::new("dags"), defaults: &[], now: now() };
    compile(text, &origin, limits)
}

/// Everything that is said of a file.
pub(crate) fn told(file: &CompiledFile) -> String {
    file.diagnostics.iter().map(|diagnostic| format!("{diagnostic}\n")).collect()
}
