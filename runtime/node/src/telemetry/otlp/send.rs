//! HTTP to a collector, by hyper and rustls with ring. The library sends from threads of its own, which wait; the request itself runs on
//! the node's runtime.

use std::fmt;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use http_body_util::{BodyExt as _, Full, Limited};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use opentelemetry_http::{HttpClient, HttpError, Request, Response};
use prometheus_client::metrics::counter::Counter;
use tokio::runtime::Handle;

/// How long a connection may take to stand.
const CONNECT: Duration = Duration::from_secs(5);
/// The most that is read of an answer, which says little.
const MAX_ANSWER: usize = 64 << 10;

/// Sends.
#[derive(Clone)]
pub(super) struct Sender {
    client: Client<HttpsConnector<HttpConnector>, Full<Bytes>>,
    runtime: Handle,
    within: Duration,
    sent: Counter,
    failed: Counter,
}

// === impl Sender ===

impl Sender {
    /// On the runtime that this is called on.
    pub(super) fn new(within: Duration, sent: Counter, failed: Counter) -> std::io::Result<Self> {
        let mut tcp = HttpConnector::new();
        tcp.set_connect_timeout(Some(CONNECT));
        tcp.set_nodelay(true);
        tcp.enforce_http(false);
        let roots =
            HttpsConnectorBuilder::new().with_provider_and_native_roots(rustls::crypto::ring::default_provider())?;
        let https = roots.https_or_http().enable_http1().wrap_connector(tcp);
        let client = Client::builder(TokioExecutor::new()).build(https);
        Ok(Self { client, runtime: Handle::current(), within, sent, failed })
    }

    async fn exchange(self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        let exchange = async {
            let answer = self.client.request(request.map(Full::new)).await?;
            let (head, body) = answer.into_parts();
            let body = Limited::new(body, MAX_ANSWER).collect().await?.to_bytes();
            Ok(Response::from_parts(head, body))
        };
        tokio::time::timeout(self.within, exchange).await?
    }
}

#[async_trait]
impl HttpClient for Sender {
    async fn send_bytes(&self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        let answer = self.runtime.spawn(self.clone().exchange(request)).await;
        let answer = answer.map_err(HttpError::from).and_then(|answer| answer);
        match &answer {
            Ok(answer) if answer.status().is_success() => self.sent.inc(),
            Ok(_) | Err(_) => self.failed.inc(),
        };
        if let Err(error) = &answer {
            tracing::debug!(error, "the collector was not reached");
        }
        answer
    }
}

impl fmt::Debug for Sender {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sender").field("within", &self.within).finish_non_exhaustive()
    }
}
