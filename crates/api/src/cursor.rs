//! Tokens that say where the next page begins.

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::{Error, Result};

/// A token of whatever an action needs to go on.
pub(crate) fn token<T: Serialize>(place: &T) -> Option<String> {
    serde_json::to_vec(place).ok().map(|json| BASE64_URL_SAFE_NO_PAD.encode(json))
}

/// What was put into a token.
///
/// # Errors
/// 400 for text that is none.
pub(crate) fn read<T: DeserializeOwned>(token: &str) -> Result<T> {
    let bad = || Error::BadRequest("`cursor` is not one that this API gave out".to_owned());
    let json = BASE64_URL_SAFE_NO_PAD.decode(token).map_err(|_| bad())?;
    serde_json::from_slice(&json).map_err(|_| bad())
}
