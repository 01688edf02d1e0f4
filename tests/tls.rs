//! TLS: a listener with a certificate, HTTP/2 over it, and a certificate that is replaced while the node runs.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::{Method, Request, StatusCode};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use selvedge_suite::harness::shop::Shop;
use selvedge_suite::harness::{Client, Node, NodeSpec, Rig, until};
use tokio_rustls::TlsConnector;

use crate::keys::create;

const LIMIT: Duration = Duration::from_secs(60);

/// A certificate for this machine that nobody but itself signed: its PEM, that of its key, and a client that believes it alone.
pub(crate) struct Certificate {
    pem: String,
    key: String,
    client: Arc<ClientConfig>,
}

// === impl Certificate ===

impl Certificate {
    pub(crate) fn new() -> Result<Self> {
        let made = rcgen::generate_simple_self_signed(["localhost".to_owned()])?;
        let mut roots = rustls::RootCertStore::empty();
        roots.add(made.cert.der().clone())?;
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let client = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_root_certificates(roots)
            .with_no_client_auth();
        Ok(Self { pem: made.cert.pem(), key: made.signing_key.serialize_pem(), client: Arc::new(client) })
    }

    pub(crate) fn write(&self, folder: &Path) -> Result<()> {
        std::fs::write(folder.join("tls.pem"), &self.pem)?;
        std::fs::write(folder.join("tls.key"), &self.key)?;
        Ok(())
    }
}

/// The settings of a listener that shows the certificate of a folder.
pub(crate) fn settings(section: &str, folder: &Path) -> [String; 2] {
    let (certificate, key) = (folder.join("tls.pem"), folder.join("tls.key"));
    [format!("{section}.certificate={}", certificate.display()), format!("{section}.key={}", key.display())]
}

#[test]
fn a_certificate_is_replaced_while_the_node_runs() -> Result<()> {
    crate::alone(async {
        let rig = Rig::start().await?;
        let (first, second) = (Certificate::new()?, Certificate::new()?);
        let folder = rig.path("");
        first.write(&folder)?;
        let release = rig.deploy(Shop::numbered(rig.path("shop"), 1)?.folder()).await?;
        let spec = settings("http.tls", &folder).into_iter().fold(rig.spec("edge-1"), NodeSpec::set);
        let node = Node::start(spec).await?;
        node.runs(&release, LIMIT).await?;
        let body = r#"{"placement":"home-hero","subject":"u-1"}"#;
        let mut trusting = Client::new(node.http).with_tls(first.client.clone());
        let answer = trusting.send(Method::POST, "/v1/decide", body).await?;
        ensure!(answer.status == StatusCode::OK, "{}", answer.text());
        let (status, body) = two(node.http, &first, "https://localhost/openapi.json").await?;
        ensure!(status == StatusCode::OK, "HTTP/2: {status}");
        ensure!(serde_json::from_slice::<serde_json::Value>(&body)?["openapi"] == "3.1.0");
        ensure!(
            node.client().send(Method::POST, "/v1/decide", body).await.is_err(),
            "something is spoken in the clear"
        );
        let mut other = Client::new(node.http).with_tls(second.client.clone());
        ensure!(other.get("/openapi.json").await.is_err(), "another certificate than that of the file is shown");

        // A key that is not the certificate's changes nothing, and is told.
        std::fs::write(folder.join("tls.key"), &second.key)?;
        let ready = node.wait_for("degraded", LIMIT).await?;
        ensure!(ready["reasons"][0]["code"] == "certificate", "{ready}");
        let mut fresh = Client::new(node.http).with_tls(first.client.clone());
        ensure!(fresh.get("/openapi.json").await?.status == StatusCode::OK);
        second.write(&folder)?;
        let shown = until("the second certificate", LIMIT, async || {
            let mut fresh = Client::new(node.http).with_tls(second.client.clone());
            fresh.get("/openapi.json").await.ok()
        });
        ensure!(shown.await?.status == StatusCode::OK);
        node.wait_for("ready", LIMIT).await?;
        let answer = trusting.get("/openapi.json").await?;
        ensure!(answer.status == StatusCode::OK, "a connection that is open stays");
        Ok(())
    })
}

/// One request over HTTP/2: the answer's status and body.
pub(crate) async fn two(address: SocketAddr, certificate: &Certificate, uri: &str) -> Result<(StatusCode, Bytes)> {
    let mut config = ClientConfig::clone(&certificate.client);
    config.alpn_protocols = vec![b"h2".to_vec()];
    let stream = tokio::net::TcpStream::connect(address).await?;
    let stream = TlsConnector::from(Arc::new(config)).connect(ServerName::try_from("localhost")?, stream).await?;
    ensure!(stream.get_ref().1.alpn_protocol() == Some(b"h2"), "HTTP/2 is not offered");
    let (mut sender, connection) =
        hyper::client::conn::http2::handshake::<_, _, Full<Bytes>>(TokioExecutor::new(), TokioIo::new(stream)).await?;
    tokio::spawn(async move { drop(connection.await) });
    let response = sender.send_request(Request::get(uri).body(Full::default())?).await?;
    let status = response.status();
    Ok((status, response.into_body().collect().await?.to_bytes()))
}

/// The admin listener by TLS and with keys, as `doctor` asks it.
#[test]
fn doctor_asks_an_admin_listener_by_tls_and_key() -> Result<()> {
    crate::alone(async {
        let rig = Rig::start().await?;
        let folder = rig.path("");
        Certificate::new()?.write(&folder)?;
        let file = rig.path("keys.jsonl");
        let (_, admin) = create(&rig.cli, &file, "ops", &["admin"]).await?;
        let [certificate, key] = settings("http.admin_tls", &folder);
        let settings = [certificate, key, format!("http.keys={}", file.display())];
        let spec = settings.iter().fold(rig.spec("edge-1"), |spec, setting| spec.set(setting));
        let node = Node::start(spec).await?;
        let address = format!("http.admin={}", node.admin);
        let mut args = vec!["doctor", "--json", "--set", &address];
        settings.iter().for_each(|setting| args.extend(["--set", setting]));
        let found = async |more: &[&str]| {
            let ran = rig.cli.run(args.iter().chain(more)).await?;
            let line = ran.stdout.lines().find(|line| line.contains("\"check\":\"node\"")).map(str::to_owned);
            line.with_context(|| format!("{ran:?}"))
        };
        let line = found(&["--admin-key", &admin]).await?;
        ensure!(line.contains("edge-1 at"), "{line}");
        let line = found(&[]).await?;
        ensure!(line.contains("SELVEDGE_ADMIN_KEY"), "{line}");
        // What the settings name is believed, and nothing else.
        let other = rig.path("other");
        std::fs::create_dir_all(&other)?;
        Certificate::new()?.write(&other)?;
        let [certificate, key] = self::settings("http.admin_tls", &other);
        let line = found(&["--admin-key", &admin, "--set", &certificate, "--set", &key]).await?;
        ensure!(line.contains("another certificate"), "{line}");
        // A new one in its place, as soon as the node shows it.
        Certificate::new()?.write(&folder)?;
        until("the new certificate to be shown", LIMIT, async || {
            found(&["--admin-key", &admin]).await.ok().filter(|line| line.contains("edge-1 at"))
        })
        .await?;
        Ok(())
    })
}
