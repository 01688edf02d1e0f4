//! The admin listener of the node on this machine, asked one question at a time. Owns the way there: in the clear or by TLS, and the
//! key. By TLS it believes the certificate that the settings name and no other, whoever signed that.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{self, WebPkiSupportedAlgorithms, ring};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, ClientConnection, DigitallySignedStruct, Error, SignatureScheme};
use selvedge_node::config::Config;
use serde_json::Value;

/// How long the node may take; it answers at once or not at all.
const TIMEOUT: Duration = Duration::from_secs(2);
/// Bytes of an answer.
const MAX_ANSWER: u64 = 4 << 20;

/// The listener, and what it takes to be answered there.
#[derive(Debug)]
pub(crate) struct AdminListener {
    /// Where it is.
    pub(crate) address: SocketAddr,
    certificate: Option<PathBuf>,
    key: Option<String>,
}

/// The one certificate that is believed.
#[derive(Debug)]
struct Pinned {
    certificate: CertificateDer<'static>,
    algorithms: WebPkiSupportedAlgorithms,
}

// === impl AdminListener ===

impl AdminListener {
    /// That of the node with these settings, asked with a key of the scope `admin` where one is there.
    pub(crate) fn new(config: &Config, key: Option<String>) -> Self {
        let certificate = config.http.admin_tls.certificate.clone();
        let certificate = Some(certificate).filter(|file| !file.as_os_str().is_empty());
        Self { address: config.http.admin, certificate, key }
    }

    /// The JSON that GET `path` is answered with.
    ///
    /// # Errors
    ///
    /// `ConnectionRefused` where nobody listens, `PermissionDenied` where the key will not do.
    pub(crate) fn get(&self, path: &str) -> io::Result<Value> {
        let mut stream = TcpStream::connect_timeout(&self.address, TIMEOUT)?;
        stream.set_read_timeout(Some(TIMEOUT))?;
        stream.set_write_timeout(Some(TIMEOUT))?;
        let answer = match &self.certificate {
            None => self.ask(path, stream)?,
            Some(file) => {
                let mut connection = connect(file)?;
                self.ask(path, rustls::Stream::new(&mut connection, &mut stream))?
            }
        };
        let bad = |why: &str| io::Error::new(io::ErrorKind::InvalidData, why.to_owned());
        let head_bytes = answer.windows(4).position(|four| four == b"\r\n\r\n").ok_or_else(|| bad("no HTTP"))?;
        match answer.get(..13).unwrap_or_default() {
            b"HTTP/1.1 200 " => {}
            b"HTTP/1.1 401 " | b"HTTP/1.1 403 " => {
                let why = "it wants a key with the scope admin: --admin-key, or SELVEDGE_ADMIN_KEY";
                return Err(io::Error::new(io::ErrorKind::PermissionDenied, why));
            }
            _ => return Err(bad(&format!("GET {path} is not answered with 200"))),
        }
        // Its length is known when it is written: it does not come in chunks.
        serde_json::from_slice(&answer[head_bytes + 4..]).map_err(|error| bad(&format!("no JSON: {error}")))
    }

    fn ask(&self, path: &str, mut stream: impl Read + Write) -> io::Result<Vec<u8>> {
        let key = self.key.as_ref().map(|key| format!("authorization: Bearer {key}\r\n")).unwrap_or_default();
        let host = self.address;
        write!(stream, "GET {path} HTTP/1.1\r\nhost: {host}\r\n{key}connection: close\r\n\r\n")?;
        let mut answer = Vec::new();
        stream.take(MAX_ANSWER).read_to_end(&mut answer)?;
        Ok(answer)
    }
}

fn connect(certificate: &Path) -> io::Result<ClientConnection> {
    let bad = |why: String| io::Error::new(io::ErrorKind::InvalidInput, why);
    let certificate = CertificateDer::from_pem_file(certificate)
        .map_err(|error| bad(format!("http.admin_tls.certificate {}: {error}", certificate.display())))?;
    let provider = ring::default_provider();
    let pinned = Pinned { certificate, algorithms: provider.signature_verification_algorithms };
    let config = ClientConfig::builder_with_provider(Arc::new(provider))
        .with_safe_default_protocol_versions()
        .map_err(|error| bad(error.to_string()))?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(pinned))
        .with_no_client_auth();
    let name = ServerName::try_from("localhost").map_err(|error| bad(error.to_string()))?;
    ClientConnection::new(Arc::new(config), name).map_err(|error| bad(error.to_string()))
}

// === impl Pinned ===

impl ServerCertVerifier for Pinned {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        if *end_entity == self.certificate {
            return Ok(ServerCertVerified::assertion());
        }
        Err(Error::General("it shows another certificate than http.admin_tls.certificate".to_owned()))
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        crypto::verify_tls12_signature(message, certificate, signed, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        crypto::verify_tls13_signature(message, certificate, signed, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}
