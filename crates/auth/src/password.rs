//! Passwords: argon2id with the parameters that OWASP recommends, off the async threads.

use std::sync::LazyLock;

use argon2::Argon2;
use argon2::password_hash::{PasswordHash, PasswordHasher as _, PasswordVerifier as _, SaltString};
use tokio::sync::Semaphore;

/// Shortest and longest password, in bytes. A ceiling keeps the work of hashing bounded.
pub const SHORTEST: usize = 8;
pub const LONGEST: usize = 1_024;

/// Hashes that are computed at once: each takes a core and 19 MiB for a while.
static ROOM: Semaphore = Semaphore::const_new(2);

/// Stands in for the hash of somebody who is not there or has no password, so that an answer takes as long.
static NOBODY: LazyLock<String> = LazyLock::new(|| compute(&crate::secret::Minted::new("").text));

/// Why a password cannot be taken.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("a password has {SHORTEST} to {LONGEST} bytes, this one has {0}")]
pub struct Unfit(usize);

/// The hash of a new password, in PHC form.
///
/// # Errors
/// For one that is too short or too long.
pub async fn hash(password: &str) -> Result<String, Unfit> {
    if !(SHORTEST..=LONGEST).contains(&password.len()) {
        return Err(Unfit(password.len()));
    }
    let password = password.to_owned();
    Ok(in_room(move || compute(&password)).await)
}

/// Whether `password` is the one of `hash`. Without a hash it takes as long and is wrong.
pub async fn verify(password: &str, hash: Option<String>) -> bool {
    let password: String = password.to_owned();
    in_room(move || {
        let is_somebody = hash.is_some();
        let hash = hash.unwrap_or_else(|| NOBODY.clone());
        let fits = password.len() <= LONGEST
            && PasswordHash::new(&hash)
                .is_ok_and(|parsed| Argon2::default().verify_password(password.as_bytes(), &parsed).is_ok());
        fits && is_somebody
    })
    .await
}

async fn in_room<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    let _room = ROOM.acquire().await.expect("nobody closes the semaphore");
    tokio::task::spawn_blocking(work).await.expect("hashing does not panic")
}

fn compute(password: &str) -> String {
    let salt: [u8; 16] = rand::random();
    let salt = SaltString::encode_b64(&salt).expect("16 bytes are a salt");
    let hash = Argon2::default().hash_password(password.as_bytes(), &salt);
    hash.expect("the parameters are argon2's own").to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn only_the_password_fits() {
        let hashed = hash("correct horse").await.unwrap();
        assert!(hashed.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{hashed}");
        assert_ne!(hashed, hash("correct horse").await.unwrap(), "hashes are salted");
        assert!(verify("correct horse", Some(hashed.clone())).await);
        for wrong in ["correct horsf", "", "correct horse\0", &"x".repeat(LONGEST + 1)] {
            assert!(!verify(wrong, Some(hashed.clone())).await, "{wrong}");
        }
        assert!(!verify("anything", None).await);
        assert!(!verify("anything", Some("no hash".to_owned())).await);
        assert_eq!(hash("short").await, Err(Unfit(5)));
        assert!(hash(&"x".repeat(LONGEST + 1)).await.is_err());
    }
}
