//! One text and one hash for each meaning.

use serde::Serialize;

/// The JSON of `value` with the keys of every object sorted and no white space.
///
/// # Panics
/// When `value` cannot be JSON (a map with keys that are not text); the types of this crate can.
#[must_use]
pub fn json(value: &impl Serialize) -> String {
    let mut tree = serde_json::to_value(value).expect("types of the model serialize to JSON");
    tree.sort_all_objects();
    tree.to_string()
}

/// The first 128 bits of BLAKE3 over [`json`], in hexadecimal.
#[must_use]
pub fn hash(value: &impl Serialize) -> String {
    blake3::hash(json(value).as_bytes()).to_hex()[..32].to_owned()
}
