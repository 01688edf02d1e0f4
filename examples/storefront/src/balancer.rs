//! The balancer: each request to the next node in turn, to another one when that does not answer. While the core is away, what
//! one node counts of a visit cannot reach the other, so a visit stays with one node until it can.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper::header::{CONNECTION, HeaderName, HeaderValue, TRANSFER_ENCODING};
use hyper::http::request::Parts;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use selvedge_suite::harness::{Client, wait};
use serde::Deserialize;
use tokio::net::TcpStream;

use crate::http::{self, Body};

/// How long a node may take to begin its answer.
const LIMIT: Duration = Duration::from_secs(5);
/// How often nodes are asked whether they reach the core.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// Says which node answered.
pub(crate) const SERVED_BY: HeaderName = HeaderName::from_static("x-served-by");

/// A node behind the balancer.
#[derive(Debug, Clone)]
pub(crate) struct Backend {
    pub(crate) name: String,
    pub(crate) http: SocketAddr,
    pub(crate) admin: SocketAddr,
}

#[derive(Debug)]
pub(crate) struct Balancer {
    backends: Vec<Backend>,
    turn: AtomicUsize,
    /// Whether some node cannot reach the core.
    is_apart: AtomicBool,
}

/// A question, or what happened, as far as it says whose it is.
#[derive(Debug, Deserialize)]
struct Said {
    session: Option<String>,
    #[serde(default)]
    batch: Vec<Said>,
}

// === impl Said ===

impl Said {
    /// The visit that a body is of; none where it does not say.
    fn visit(body: &[u8]) -> Option<String> {
        let said: Self = serde_json::from_slice(body).ok()?;
        said.session.or_else(|| said.batch.into_iter().find_map(|each| each.session))
    }
}

// === impl Balancer ===

impl Balancer {
    /// A balancer over nodes, which it watches in the background.
    pub(crate) fn start(backends: Vec<Backend>) -> Arc<Self> {
        let balancer = Arc::new(Self { backends, turn: AtomicUsize::new(0), is_apart: AtomicBool::new(false) });
        let watching = Arc::clone(&balancer);
        tokio::spawn(async move {
            let mut admins: Vec<Client> = watching.backends.iter().map(|backend| Client::new(backend.admin)).collect();
            loop {
                let mut is_apart = false;
                for admin in &mut admins {
                    let readiness = admin.get("/readyz").await.and_then(|answer| answer.json());
                    // One that does not answer at all gets no requests either.
                    is_apart |= readiness.is_ok_and(|readiness| readiness["status"] != "ready");
                }
                watching.is_apart.store(is_apart, Ordering::Relaxed);
                wait::pass(LOOK_EVERY).await;
            }
        });
        balancer
    }

    pub(crate) fn backends(&self) -> &[Backend] {
        &self.backends
    }

    /// Whether visits stay with one node each.
    pub(crate) fn is_apart(&self) -> bool {
        self.is_apart.load(Ordering::Relaxed)
    }

    /// Hands a page's request on, and the answer back as it comes. Questions of the SDK carry no cookies: what it asks and tells
    /// says whose visit it is; `visit` stands for what does not.
    pub(crate) async fn forward(&self, request: Request<Incoming>, visit: &str) -> Response<Body> {
        let (head, body) = request.into_parts();
        match http::read(body).await {
            Ok(body) => self.send(&head, &body, Said::visit(&body).as_deref().unwrap_or(visit)).await,
            Err(error) => http::refuse(StatusCode::PAYLOAD_TOO_LARGE, &format!("{error:#}")),
        }
    }

    /// Sends a request that the shop itself makes for a visit; the answer's JSON.
    pub(crate) async fn post(&self, path: &str, body: String, visit: &str) -> Result<serde_json::Value> {
        let request = Request::builder().method("POST").uri(path).header("content-type", "application/json").body(())?;
        let answer = self.send(&request.into_parts().0, &body.into(), visit).await;
        let status = answer.status();
        let bytes = answer.into_body().collect().await?.to_bytes();
        if !status.is_success() {
            bail!("{status}: {}", String::from_utf8_lossy(&bytes));
        }
        serde_json::from_slice(&bytes).context("what a node answered")
    }

    /// Decisions change nothing and events have ids by which copies are known: either may be sent twice.
    async fn send(&self, head: &Parts, body: &Bytes, visit: &str) -> Response<Body> {
        let mut last = anyhow!("there is no node");
        for backend in self.order(visit) {
            match exchange(backend, head, body).await {
                Ok(response) => return response,
                Err(error) => last = error.context(backend.name.clone()),
            }
        }
        http::refuse(StatusCode::BAD_GATEWAY, &format!("no node answers: {last:#}"))
    }

    /// Who is asked first, and who then.
    fn order(&self, visit: &str) -> impl Iterator<Item = &Backend> {
        let first = if self.is_apart() {
            // FNV-1a, mixed once more, since what ends alike differs in few of its bits: any hash that everybody computes alike.
            let hash = visit
                .bytes()
                .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3));
            (hash.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 33) as usize
        } else {
            self.turn.fetch_add(1, Ordering::Relaxed)
        };
        let count = self.backends.len().max(1);
        (0..self.backends.len()).map(move |at| &self.backends[(first.wrapping_add(at)) % count])
    }
}

async fn exchange(backend: &Backend, head: &Parts, body: &Bytes) -> Result<Response<Body>> {
    let answer = tokio::time::timeout(LIMIT, async {
        let stream = TcpStream::connect(backend.http).await?;
        stream.set_nodelay(true)?;
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
        tokio::spawn(async move {
            // Its error is that of the request on its way.
            drop(connection.await);
        });
        let mut request =
            Request::builder().method(&head.method).uri(head.uri.clone()).body(Full::new(body.clone()))?;
        for (name, value) in head.headers.iter().filter(|(name, _)| **name != CONNECTION && **name != TRANSFER_ENCODING)
        {
            request.headers_mut().append(name, value.clone());
        }
        if !request.headers().contains_key("host") {
            request.headers_mut().insert("host", HeaderValue::from_str(&backend.http.to_string())?);
        }
        anyhow::Ok(sender.send_request(request).await?)
    });
    let mut answer = answer.await.context("no answer in time")??;
    answer.headers_mut().remove(CONNECTION);
    answer.headers_mut().remove(TRANSFER_ENCODING);
    answer.headers_mut().insert(SERVED_BY, HeaderValue::from_str(&backend.name)?);
    Ok(answer.map(BodyExt::boxed))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Questions of the SDK carry no cookies, so without the core a visit was once on both nodes, each of which knew a part of it.
    #[test]
    fn a_visit_is_known_by_what_its_page_says() {
        let visit = |body: &str| Said::visit(body.as_bytes());
        assert_eq!(visit(r#"{"subject":"s-1","session":"v-1","placements":[]}"#).as_deref(), Some("v-1"));
        assert_eq!(visit(r#"{"batch":[{"event":"a"},{"event":"b","session":"v-2"}]}"#).as_deref(), Some("v-2"));
        assert_eq!(["", "[]", "{}", r#"{"session":1}"#].map(visit), [const { None }; 4]);
    }

    #[test]
    fn turns_go_round_and_a_visit_stays_while_the_core_is_away() {
        let address: SocketAddr = ([127, 0, 0, 1], 1).into();
        let backend = |name: &str| Backend { name: name.to_owned(), http: address, admin: address };
        let backends = vec![backend("a"), backend("b")];
        let balancer = Balancer { backends, turn: AtomicUsize::new(0), is_apart: AtomicBool::new(false) };
        let order = |visit: &str| balancer.order(visit).map(|backend| backend.name.as_str()).collect::<String>();
        assert_eq!([order("v"), order("v"), order("v")], ["ab", "ba", "ab"]);
        balancer.is_apart.store(true, Ordering::Relaxed);
        assert!((0..50).all(|at| order(&format!("v-{at}")) == order(&format!("v-{at}"))));
        let firsts = (0..50).filter(|at| order(&format!("v-{at}")) == "ab").count();
        assert!((10..40).contains(&firsts), "{firsts} of 50 visits to the first node");
    }
}
