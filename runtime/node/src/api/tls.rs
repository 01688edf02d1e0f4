//! TLS of a listener: a certificate and its key, read again when the files change. Owns what is spoken over it.

use std::path::Path;
use std::sync::Arc;

use rustls::ServerConfig;
use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

use crate::watched::Watched;

/// HTTP/2 where the client speaks it: a page's stream and its requests share one connection then, of which browsers have six else.
pub(super) const H2: &[u8] = b"h2";
const HTTP1: &[u8] = b"http/1.1";

/// A listener's certificate, as the files have it now.
pub type Tls = Watched<ServerConfig>;

/// The certificate (PEM, the chain behind it) and its key (PEM) of the listener whose settings are `setting`.
///
/// # Errors
///
/// When a file cannot be read, holds something else, or they do not belong together.
pub fn open(setting: &'static str, certificate: &Path, key: &Path) -> Result<Arc<Tls>, String> {
    let files = vec![certificate.to_owned(), key.to_owned()];
    Watched::open(setting, files, |files: &[Vec<u8>], _: Option<&ServerConfig>| match files {
        [certificate, key] => config(certificate, key),
        _ => Err("expected a certificate and a key".to_owned()),
    })
    .map(Arc::new)
}

fn config(certificate: &[u8], key: &[u8]) -> Result<ServerConfig, String> {
    let chain: Vec<_> = CertificateDer::pem_slice_iter(certificate)
        .collect::<Result<_, _>>()
        .map_err(|error| format!("the certificate is not PEM: {error}"))?;
    if chain.is_empty() {
        return Err("the certificate's file holds none: expected -----BEGIN CERTIFICATE-----".to_owned());
    }
    let key = PrivateKeyDer::from_pem_slice(key)
        .map_err(|error| format!("the key's file holds none that is PEM (-----BEGIN PRIVATE KEY-----): {error}"))?;
    let builder = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()));
    let builder = builder.with_safe_default_protocol_versions().map_err(|error| error.to_string())?;
    let mut config = builder
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .map_err(|error| format!("certificate and key cannot be used together: {error}"))?;
    config.alpn_protocols = vec![H2.to_vec(), HTTP1.to_vec()];
    Ok(config)
}
