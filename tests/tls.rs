//! TLS: a listener with a certificate, HTTP/2 over it, and a certificate that is replaced while the node runs.

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
use selvedge_suite::harness::{Client, Node, Rig, until};
use tokio_rustls::TlsConnector;

use crate::keys::create;

const LIMIT: Duration = Duration::from_secs(60);

/// A certificate for this machine that nobody but itself signed: its PEM, that of its key, and a client that believes it alone.
struct Certificate {
    pem: String,
    key: String,
    client: Arc<ClientConfig>,
}

// === impl Certificate ===

impl Certificate {
    fn new() -> Result<Self> {
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

    fn write(&self, folder: &Path) -> Result<()> {
        std::fs::write(folder.join("tls.pem"), &self.pem)?;
        std::fs::write(folder.join("tls.key"), &self.key)?;
        Ok(())
    }
}

#[test]
fn a_certificate_is_replaced_while_the_node_runs() -> Result<()> {
    crate::alone(async {
        let rig = Rig::start().await?;
        let (first, second) = (Certificate::new()?, Certificate::new()?);
        let folder = rig.path("");
        first.write(&folder)?;
        let release = rig.deploy(Shop::numbered(rig.path("shop"), 1)?.folder()).await?;
        let (pem, key) = (folder.join("tls.pem"), folder.join("tls.key"));
        let of = |section: &str| {
            [format!("{section}.certificate={}", pem.display()), format!("{section}.key={}", key.display())]
        };
        let spec = of("http.tls").into_iter().fold(rig.spec("edge-1"), selvedge_suite::harness::NodeSpec::set);
        let node = Node::start(spec).await?;
        node.runs(&release, LIMIT).await?;
        let body = r#"{"placement":"home-hero","subject":"u-1"}"#;
        let mut trusting = Client::new(node.http).with_tls(first.client.clone());
        let answer = trusting.send(Method::POST, "/v1/decide", body).await?;
        ensure!(answer.status == StatusCode::OK, "{}", answer.text());
        ensure!(two(&node, &first).await? == StatusCode::OK, "HTTP/2");
        ensure!(
            node.client().send(Method::POST, "/v1/decide", body).await.is_err(),
            "something is spoken in the clear"
        );
        let mut other = Client::new(node.http).with_tls(second.client.clone());
        ensure!(other.get("/openapi.json").await.is_err(), "another certificate than that of the file is shown");

        // A key that is not the certificate's changes nothing, and is told.
        std::fs::write(&key, &second.key)?;
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

/// One request over HTTP/2; its status.
async fn two(node: &Node, certificate: &Certificate) -> Result<StatusCode> {
    let mut config = ClientConfig::clone(&certificate.client);
    config.alpn_protocols = vec![b"h2".to_vec()];
    let stream = tokio::net::TcpStream::connect(node.http).await?;
    let stream = TlsConnector::from(Arc::new(config)).connect(ServerName::try_from("localhost")?, stream).await?;
    ensure!(stream.get_ref().1.alpn_protocol() == Some(b"h2"), "HTTP/2 is not offered");
    let (mut sender, connection) =
        hyper::client::conn::http2::handshake::<_, _, Full<Bytes>>(TokioExecutor::new(), TokioIo::new(stream)).await?;
    tokio::spawn(async move { drop(connection.await) });
    let request = Request::get("https://localhost/openapi.json").body(Full::default())?;
    let response = sender.send_request(request).await?;
    let status = response.status();
    let body = response.into_body().collect().await?.to_bytes();
    ensure!(serde_json::from_slice::<serde_json::Value>(&body)?["openapi"] == "3.1.0");
    Ok(status)
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
        let settings = [
            format!("http.admin_tls.certificate={}", folder.join("tls.pem").display()),
            format!("http.admin_tls.key={}", folder.join("tls.key").display()),
            format!("http.keys={}", file.display()),
        ];
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
        Certificate::new()?.write(&folder)?;
        let line = found(&["--admin-key", &admin]).await?;
        ensure!(line.contains("another certificate") || line.contains("edge-1 at"), "{line}");
        Ok(())
    })
}
