//! Numbers in paths.

use crate::problem::Problem;
use crate::{Error, Result};

/// A whole number.
///
/// # Errors
/// 422.
pub(crate) fn whole(name: &str, text: &str) -> Result<i64> {
    text.parse().map_err(|_| {
        let msg = "Input should be a valid integer, unable to parse string as an integer";
        Error::Invalid(vec![Problem::new("int_parsing", "path", name, msg, text.into())])
    })
}

/// A map index: as far as numbers go that the database has; any other fits nothing.
///
/// # Errors
/// 422.
pub(crate) fn map_index(text: &str) -> Result<i32> {
    Ok(i32::try_from(whole("map_index", text)?).unwrap_or(i32::MAX))
}
