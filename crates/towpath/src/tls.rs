//! HTTPS: the certificate and the key of the web server.

use std::sync::Arc;

use anyhow::{Context, bail};
use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::TlsAcceptor;

use crate::config::Config;

/// What makes a connection an encrypted one; `None` where none is configured.
///
/// # Errors
/// When a file cannot be read, holds something else, or the two do not belong together.
pub(crate) fn acceptor(config: &Config) -> anyhow::Result<Option<TlsAcceptor>> {
    let (cert, key) = (&config.tls_cert, &config.tls_key);
    match (cert.value.as_str(), key.value.as_str()) {
        ("", "") => return Ok(None),
        ("", _) => bail!("`tls_key` (set by {}) needs `tls_cert`", key.source),
        (_, "") => bail!("`tls_cert` (set by {}) needs `tls_key`", cert.source),
        _ => {}
    }
    let certificates = CertificateDer::pem_file_iter(&cert.value)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .with_context(|| format!("`tls_cert` (set by {}) cannot be read: {}", cert.source, cert.value))?;
    if certificates.is_empty() {
        bail!("{} (`tls_cert`, set by {}) holds no certificate in PEM form", cert.value, cert.source);
    }
    let private = PrivateKeyDer::from_pem_file(&key.value)
        .with_context(|| format!("`tls_key` (set by {}) cannot be read: {}", key.source, key.value))?;
    let mut server = ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .context("the cryptography of this build has no TLS")?
        .with_no_client_auth()
        .with_single_cert(certificates, private)
        .with_context(|| format!("{} and {} do not make a server certificate", cert.value, key.value))?;
    server.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Some(TlsAcceptor::from(Arc::new(server))))
}
