//! `towpath version`

use crate::exit::Outcome;
use crate::output;

pub(crate) fn run() -> anyhow::Result<Outcome> {
    output::line(format!("towpath {}", env!("CARGO_PKG_VERSION")))?;
    Ok(Outcome::Success)
}
