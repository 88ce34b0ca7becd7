//! Random texts that let somebody in, and the hashes that are kept of them.

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;

/// What API tokens begin with, so that people and scanners recognize one.
pub const API_TOKEN_PREFIX: &str = "twp_";

/// A secret as it is handed out, once, and as it is kept.
#[derive(Clone)]
pub struct Minted {
    pub text: String,
    pub hash: String,
}

impl Minted {
    /// 256 random bits behind `prefix`.
    #[must_use]
    pub fn new(prefix: &str) -> Self {
        let bytes: [u8; 32] = rand::random();
        let text = format!("{prefix}{}", BASE64_URL_SAFE_NO_PAD.encode(bytes));
        Self { hash: hash(&text), text }
    }
}

impl std::fmt::Debug for Minted {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Minted(***)")
    }
}

/// What is kept of a random text. It needs no salt and no slow hash, since nobody can guess 256 bits; and since rows are
/// found by it, the time of a look-up tells nothing about the text.
#[must_use]
pub fn hash(text: &str) -> String {
    blake3::derive_key("towpath 2026 secrets of users", text.as_bytes())
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_differ_and_do_not_print() {
        let (one, other) = (Minted::new("twp_"), Minted::new("twp_"));
        assert_ne!(one.text, other.text);
        assert_eq!((one.text.len(), hash(&one.text)), (4 + 43, one.hash.clone()));
        assert!(!format!("{one:?}").contains(&one.text));
    }
}
