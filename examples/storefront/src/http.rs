//! HTTP as the shop speaks it: one listener, bodies, and the replies that several files make. Knows no path.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;

use anyhow::{Context, Result, anyhow};
use bytes::Bytes;
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderMap, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use serde_json::Value;
use tokio::net::TcpListener;

/// The largest body that the shop takes; a node takes less.
const MAX_BODY: usize = 1 << 20;

pub(crate) type Body = BoxBody<Bytes, hyper::Error>;

/// Who answers requests.
pub(crate) trait Answers: Send + Sync + 'static {
    /// Answers one; never fails, because a failure is an answer, too.
    fn answer(&self, request: Request<Incoming>) -> impl Future<Output = Response<Body>> + Send;
}

/// Binds and serves in the background until the runtime ends; where.
pub(crate) async fn serve(address: SocketAddr, answers: Arc<impl Answers>) -> Result<SocketAddr> {
    let listener = TcpListener::bind(address).await.with_context(|| format!("listening at {address}"))?;
    let address = listener.local_addr()?;
    tokio::spawn(async move {
        loop {
            let Ok((stream, _)) = listener.accept().await else { continue };
            let answers = Arc::clone(&answers);
            tokio::spawn(async move {
                // Small answers in several writes would wait for each other.
                drop(stream.set_nodelay(true));
                let service = service_fn(|request| {
                    let answers = Arc::clone(&answers);
                    async move { Ok::<_, Infallible>(answers.answer(request).await) }
                });
                // A connection that broke off is the browser's business.
                drop(
                    http1::Builder::new()
                        .timer(TokioTimer::new())
                        .serve_connection(TokioIo::new(stream), service)
                        .await,
                );
            });
        }
    });
    Ok(address)
}

/// A request's whole body.
pub(crate) async fn read(body: Incoming) -> Result<Bytes> {
    let read = Limited::new(body, MAX_BODY).collect().await;
    read.map(http_body_util::Collected::to_bytes).map_err(|error| anyhow!("the body: {error}"))
}

/// A body of bytes.
pub(crate) fn full(bytes: impl Into<Bytes>) -> Body {
    Full::new(bytes.into()).map_err(|never| match never {}).boxed()
}

/// An answer of a type; never from a cache, because files and stock change while one looks.
pub(crate) fn reply(status: StatusCode, kind: &'static str, bytes: impl Into<Bytes>) -> Response<Body> {
    let mut response = Response::new(full(bytes));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    response
}

pub(crate) fn json(value: &Value) -> Response<Body> {
    reply(StatusCode::OK, "application/json", value.to_string())
}

/// A refusal in words.
pub(crate) fn refuse(status: StatusCode, why: &str) -> Response<Body> {
    reply(status, "text/plain; charset=utf-8", format!("{why}\n"))
}

/// The cookie of a name.
pub(crate) fn cookie<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    let all = headers.get_all(hyper::header::COOKIE).iter().filter_map(|value| value.to_str().ok());
    let mut pairs = all.flat_map(|text| text.split(';')).filter_map(|pair| pair.trim().split_once('='));
    pairs.find(|(found, value)| *found == name && !value.is_empty()).map(|(_, value)| value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cookies_are_found_by_their_whole_name() {
        let mut headers = HeaderMap::new();
        headers.insert(hyper::header::COOKIE, HeaderValue::from_static("a=1; visit=v-2;visitor=v-3; empty="));
        assert_eq!(cookie(&headers, "visit"), Some("v-2"));
        assert_eq!(cookie(&headers, "visitor"), Some("v-3"));
        assert_eq!(cookie(&headers, "empty"), None);
        assert_eq!(cookie(&headers, "visi"), None);
    }
}
