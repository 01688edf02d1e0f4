//! A keep-alive HTTP/1.1 client on hyper's connection API, in the clear or by TLS: one connection, one request at a time.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http1::{self, SendRequest};
use hyper::{HeaderMap, Method, Request, StatusCode};
use hyper_util::rt::TokioIo;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

const LIMIT: Duration = Duration::from_secs(30);

/// One connection to one address, opened at the first request and again after a failure.
#[derive(Debug)]
pub struct Client {
    address: SocketAddr,
    tls: Option<Arc<rustls::ClientConfig>>,
    key: Option<String>,
    connection: Option<SendRequest<Full<Bytes>>>,
}

/// An answer, read to its end.
#[derive(Debug, Clone)]
pub struct Answer {
    /// The status code.
    pub status: StatusCode,
    /// The headers.
    pub headers: HeaderMap,
    /// The body.
    pub body: Bytes,
}

// === impl Client ===

impl Client {
    /// A client of `address`; does not connect yet.
    pub fn new(address: SocketAddr) -> Self {
        Self { address, tls: None, key: None, connection: None }
    }

    /// The same, which brings a key with every request.
    #[must_use]
    pub fn with_key(self, key: Option<&str>) -> Self {
        Self { key: key.map(str::to_owned), ..self }
    }

    /// The same by TLS.
    #[must_use]
    pub fn with_tls(self, tls: Arc<rustls::ClientConfig>) -> Self {
        Self { tls: Some(tls), ..self }
    }

    /// Sends a request and reads the whole answer. An error means that no answer came: the connection is then dropped and
    /// the request is not repeated, because it may have arrived.
    pub async fn send(&mut self, method: Method, path: &str, body: impl Into<Bytes>) -> Result<Answer> {
        self.send_with(method, path, &[("content-type", "application/json")], body).await
    }

    /// The same with these headers and no others.
    pub async fn send_with(
        &mut self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: impl Into<Bytes>,
    ) -> Result<Answer> {
        let body = body.into();
        let answer = tokio::time::timeout(LIMIT, self.exchange(method.clone(), path, headers, body)).await;
        match answer {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(error)) => {
                self.connection = None;
                Err(error).with_context(|| format!("{method} {path} to {}", self.address))
            }
            Err(_) => {
                self.connection = None;
                bail!("{method} {path} to {}: no answer within {LIMIT:?}", self.address)
            }
        }
    }

    /// GET.
    pub async fn get(&mut self, path: &str) -> Result<Answer> {
        self.send(Method::GET, path, Bytes::new()).await
    }

    /// POST of a JSON value.
    pub async fn post(&mut self, path: &str, value: &serde_json::Value) -> Result<Answer> {
        self.send(Method::POST, path, value.to_string()).await
    }

    async fn exchange(&mut self, method: Method, path: &str, headers: &[(&str, &str)], body: Bytes) -> Result<Answer> {
        let request = Request::builder().method(method).uri(path).header("host", self.address.to_string());
        let request = headers.iter().fold(request, |request, (name, value)| request.header(*name, *value));
        let request =
            self.key.iter().fold(request, |request, key| request.header("authorization", format!("Bearer {key}")));
        let request = request.body(Full::new(body))?;
        let connection = self.ready().await?;
        let response = connection.send_request(request).await?;
        let (parts, body) = response.into_parts();
        let body = body.collect().await?.to_bytes();
        Ok(Answer { status: parts.status, headers: parts.headers, body })
    }

    async fn ready(&mut self) -> Result<&mut SendRequest<Full<Bytes>>> {
        let open = match &mut self.connection {
            Some(connection) => connection.ready().await.is_ok(),
            None => false,
        };
        if !open {
            self.connection = Some(connect(self.address, self.tls.clone()).await?);
        }
        self.connection.as_mut().context("not connected")
    }
}

async fn connect(address: SocketAddr, tls: Option<Arc<rustls::ClientConfig>>) -> Result<SendRequest<Full<Bytes>>> {
    let stream = TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    match tls {
        None => talk(stream).await,
        Some(tls) => talk(TlsConnector::from(tls).connect(ServerName::try_from("localhost")?, stream).await?).await,
    }
}

async fn talk(stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static) -> Result<SendRequest<Full<Bytes>>> {
    let (sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    tokio::spawn(async move {
        // Its error is the error of the request that was on its way.
        drop(connection.await);
    });
    Ok(sender)
}

// === impl Answer ===

impl Answer {
    /// The body as JSON.
    pub fn json(&self) -> Result<serde_json::Value> {
        serde_json::from_slice(&self.body).with_context(|| format!("{}: {}", self.status, self.text()))
    }

    /// The body as JSON, when the status is 2xx.
    pub fn ok(&self) -> Result<serde_json::Value> {
        if !self.status.is_success() {
            bail!("{}: {}", self.status, self.text());
        }
        self.json()
    }

    /// The body as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}
