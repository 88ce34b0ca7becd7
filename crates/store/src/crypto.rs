//! Secrets at rest: XChaCha20-Poly1305 with a key from a file.

use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use chacha20poly1305::aead::Aead as _;
use chacha20poly1305::{KeyInit as _, XChaCha20Poly1305, XNonce};

/// Marks the scheme, so that it can be changed.
const SCHEME: &str = "x1:";
const NONCE_BYTES: usize = 24;

/// Why a key or a secret cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    #[error("the key file {path} cannot be read: {source}")]
    Unreadable { path: PathBuf, source: std::io::Error },
    #[error("the key file {path} cannot be made: {source}")]
    NotMade { path: PathBuf, source: std::io::Error },
    #[error("the key file {path} holds no key: 32 bytes in base64 are expected")]
    NoKey { path: PathBuf },
    #[error("the value was encrypted with another key; is this the key file that was made with the database?")]
    WrongKey,
}

/// The key that encrypts variables and passwords.
#[derive(Clone)]
pub struct Key(XChaCha20Poly1305);

impl std::fmt::Debug for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Key(***)")
    }
}

impl Key {
    /// A key that nobody else has: what it encrypts cannot be read after this process.
    #[must_use]
    pub fn random() -> Self {
        Self::of(rand::random())
    }

    /// The key in the file at `path`; one that does not exist is made, readable by its owner alone.
    ///
    /// # Errors
    /// [`KeyError`] when the file cannot be read or made, or holds something else.
    pub fn load_or_create(path: &Path) -> Result<Self, KeyError> {
        match std::fs::read_to_string(path) {
            Ok(text) => {
                let bytes = BASE64.decode(text.trim()).ok().and_then(|bytes| <[u8; 32]>::try_from(bytes).ok());
                bytes.map(Self::of).ok_or_else(|| KeyError::NoKey { path: path.to_owned() })
            }
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Self::create(path),
            Err(source) => Err(KeyError::Unreadable { path: path.to_owned(), source }),
        }
    }

    fn of(bytes: [u8; 32]) -> Self {
        Self(XChaCha20Poly1305::new(&bytes.into()))
    }

    /// Written aside and linked into place: of two processes that start at once, one wins and the
    /// other reads what it wrote, never half a key.
    fn create(path: &Path) -> Result<Self, KeyError> {
        let not_made = |source| KeyError::NotMade { path: path.to_owned(), source };
        let bytes: [u8; 32] = rand::random();
        let aside = path.with_extension(format!("{}.tmp", std::process::id()));
        let write = || -> std::io::Result<bool> {
            let mut file =
                std::fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&aside)?;
            writeln!(file, "{}", BASE64.encode(bytes))?;
            file.sync_all()?;
            match std::fs::hard_link(&aside, path) {
                Ok(()) => Ok(true),
                Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => Ok(false),
                Err(error) => Err(error),
            }
        };
        let mine = write();
        // Best effort: a file that is left behind harms nobody.
        let _ = std::fs::remove_file(&aside);
        if mine.map_err(not_made)? { Ok(Self::of(bytes)) } else { Self::load_or_create(path) }
    }

    /// Encrypts; the text that is returned can be stored anywhere.
    pub(crate) fn seal(&self, text: &str) -> String {
        let nonce: [u8; NONCE_BYTES] = rand::random();
        let sealed =
            self.0.encrypt(&XNonce::from(nonce), text.as_bytes()).expect("encryption of text in memory cannot fail");
        format!("{SCHEME}{}", BASE64.encode([&nonce[..], &sealed].concat()))
    }

    /// Decrypts what [`Key::seal`] made.
    pub(crate) fn open(&self, sealed: &str) -> Result<String, KeyError> {
        let bytes = sealed.strip_prefix(SCHEME).and_then(|text| BASE64.decode(text).ok()).ok_or(KeyError::WrongKey)?;
        let (nonce, body) = bytes.split_at_checked(NONCE_BYTES).ok_or(KeyError::WrongKey)?;
        let nonce = <[u8; NONCE_BYTES]>::try_from(nonce).map_err(|_| KeyError::WrongKey)?;
        let text = self.0.decrypt(&XNonce::from(nonce), body).map_err(|_| KeyError::WrongKey)?;
        String::from_utf8(text).map_err(|_| KeyError::WrongKey)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn opens_what_it_sealed_and_nothing_else() {
        let key = Key::random();
        let sealed = key.seal("s3cret");
        assert!(!sealed.contains("s3cret"));
        assert_eq!(key.open(&sealed).unwrap(), "s3cret");
        assert_ne!(sealed, key.seal("s3cret"), "equal secrets must not look equal");
        assert!(matches!(Key::random().open(&sealed), Err(KeyError::WrongKey)));
        for broken in ["", "x1:", "x1:AAAA", "s3cret"] {
            assert!(key.open(broken).is_err(), "{broken}");
        }
    }

    #[test]
    fn a_key_file_is_made_once_and_is_private() {
        use std::os::unix::fs::PermissionsExt as _;
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("secret.key");
        let sealed = Key::load_or_create(&path).unwrap().seal("x");
        assert_eq!(Key::load_or_create(&path).unwrap().open(&sealed).unwrap(), "x");
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        std::fs::write(&path, "nonsense").unwrap();
        assert!(matches!(Key::load_or_create(&path), Err(KeyError::NoKey { .. })));
    }
}
