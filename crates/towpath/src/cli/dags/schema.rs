//! `towpath dags schema`

use crate::exit::Outcome;
use crate::output::{self, Format};

pub(crate) fn run() -> anyhow::Result<Outcome> {
    output::data(Format::Json, &towpath_dagfile::schema::json_schema())?;
    Ok(Outcome::Success)
}
