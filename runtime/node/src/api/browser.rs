//! `/v1/browser/*`: what pages ask, with a publishable key. Owns the door (protocol, key, origin, rate) and who may read an answer; what
//! stands behind it is the flows', as it is for servers. The protocol, for whoever writes a client, is `docs/browser.md`.

mod decide;
mod local;
mod modules;
mod stream;

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::header::{
    ACCESS_CONTROL_ALLOW_ORIGIN, ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_REQUEST_METHOD, ORIGIN, VARY,
};
use axum::http::{HeaderName, HeaderValue, Method, Uri};
use axum::middleware::{Next, from_fn, from_fn_with_state};
use axum::response::Response;
use axum::routing::{get, post};
use axum::{Extension, Router};

use super::error::{self, ApiError, Code};
use super::{Public, access, body, cors, gzip};
use crate::keys::{PublishableKey, how_to_allow};

/// The protocols that are spoken here, the newest last.
pub(super) const PROTOCOLS: [u32; 1] = [1];
/// Says which protocol an answer is in.
const PROTOCOL: HeaderName = HeaderName::from_static("x-selvedge-protocol");
/// What pages of other origins may read of an answer's headers.
const EXPOSED: &str = "ETag, Retry-After, X-Selvedge-Protocol, X-Selvedge-Release";
/// Every page.
const ANY: HeaderValue = HeaderValue::from_static("*");

/// The page that asks, past the door.
#[derive(Debug, Clone)]
pub(super) struct Caller {
    key: Option<Arc<PublishableKey>>,
}

/// The routes. What asks with a key stands behind the door; modules are for everybody, and for ever.
pub(super) fn routes(api: &Arc<Public>) -> Router<Arc<Public>> {
    let packed = from_fn_with_state(gzip::PAGES, gzip::answers);
    let keyed = Router::new()
        .route("/decide", post(decide::page).options(cors::preflight))
        .route("/events", post(events).options(cors::preflight))
        .route("/stream", get(stream::open).options(cors::preflight))
        .route("/release", get(local::release).options(cors::preflight))
        .route("/features", get(local::features).options(cors::preflight))
        .route("/records", post(local::records).options(cors::preflight))
        .layer(packed)
        .layer(from_fn_with_state(Arc::clone(api), door));
    let all = keyed
        .route("/modules/{digest}", get(modules::one).options(cors::preflight))
        .fallback(error::not_found)
        .method_not_allowed_fallback(error::wrong_method)
        .layer(from_fn(readable));
    Router::new().nest("/v1/browser", all)
}

/// `POST /v1/browser/events`: as `POST /v1/events`, whatever the content type says.
async fn events(State(api): State<Arc<Public>>, Extension(caller): Extension<Caller>, request: Request) -> Response {
    let (head, body) = request.into_parts();
    let limits = api.limits;
    match body::read(&head.headers, body, limits.events.batch_bytes, limits.client_timeout).await {
        Ok(bytes) => api.take(&head.headers, &bytes, Some(&caller)).await,
        Err(error) => api.reply(Err(error)),
    }
}

/// Lets those through that may, and lets the pages that may read what is answered.
async fn door(State(api): State<Arc<Public>>, mut request: Request, next: Next) -> Response {
    if is_preflight(&request) {
        return next.run(request).await;
    }
    match api.caller(&request) {
        Ok((caller, reader)) => {
            request.extensions_mut().insert(caller);
            for_readers(next.run(request).await, reader)
        }
        // Every page may read why it is turned away: nothing is said there that it did not bring itself.
        Err(error) => {
            body::discard(request.into_body(), api.limits.client_timeout).await;
            for_readers(api.reply(Err(error)), Some(ANY))
        }
    }
}

/// Lets every page read what it stands before, but for answers of which the door said who may.
async fn readable(request: Request, next: Next) -> Response {
    if is_preflight(&request) {
        return preflight(request, next).await;
    }
    let response = next.run(request).await;
    if response.headers().contains_key(PROTOCOL) { response } else { for_readers(response, Some(ANY)) }
}

fn is_preflight(request: &Request) -> bool {
    request.method() == Method::OPTIONS && request.headers().contains_key(ACCESS_CONTROL_REQUEST_METHOD)
}

/// Whoever asks may ask: that it may not is said to the request itself, which a page can read, and not to its preflight.
async fn preflight(request: Request, next: Next) -> Response {
    let asked = cors::asked(&request);
    let mut response = next.run(request).await;
    cors::grant(asked, response.headers_mut());
    for_readers(response, Some(ANY))
}

/// The answer, for a page that may read it: `reader` is its origin, or all of them.
fn for_readers(mut response: Response, reader: Option<HeaderValue>) -> Response {
    let headers = response.headers_mut();
    headers.insert(PROTOCOL, HeaderValue::from(PROTOCOLS[PROTOCOLS.len() - 1]));
    if reader != Some(ANY) {
        headers.append(VARY, HeaderValue::from_static("origin"));
    }
    if let Some(reader) = reader {
        headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, reader);
        headers.insert(ACCESS_CONTROL_EXPOSE_HEADERS, HeaderValue::from_static(EXPOSED));
    }
    response
}

/// The value of a name in a query. What is asked for here needs no encoding.
fn said<'u>(uri: &'u Uri, name: &str) -> Option<&'u str> {
    let pairs = uri.query().unwrap_or_default().split('&');
    pairs.filter_map(|pair| pair.split_once('=')).find(|(known, _)| *known == name).map(|(_, value)| value)
}

// === impl Caller ===

impl Caller {
    /// Takes what a request costs, in tokens of its key's rate. One was taken at the door.
    pub(super) fn charge(&self, tokens: usize) -> Result<(), ApiError> {
        let more = u32::try_from(tokens.saturating_sub(1)).unwrap_or(u32::MAX);
        Ok(self.key.as_ref().map_or(Ok(()), |key| key.charge(more))?)
    }
}

// === impl Public ===

impl Public {
    /// The page that asks, and who may read what it is answered: its origin, or every page.
    fn caller(&self, request: &Request) -> Result<(Caller, Option<HeaderValue>), ApiError> {
        if let Some(said) = said(request.uri(), "v")
            && !said.parse().is_ok_and(|spoken| PROTOCOLS.contains(&spoken))
        {
            let message = format!(
                "the page speaks protocol {said:?}, this node {PROTOCOLS:?}: use an SDK and a node of versions that go together"
            );
            return Err(ApiError::new(Code::protocol, message).at("v"));
        }
        let key = said(request.uri(), "key").filter(|key| !key.is_empty()).or_else(|| access::key(request.headers()));
        let origin = request.headers().get(ORIGIN);
        // An origin that is no text is none that a key could name.
        let text = origin.map(|origin| origin.to_str().unwrap_or_default());
        let key = self.access.page(key, text)?;
        let reader = match &key {
            Some(key) if key.is_of_all() => Some(ANY),
            Some(_) => origin.cloned(),
            None => match origin {
                Some(origin) => Some(self.cors.allowed(origin).ok_or_else(|| foreign(text))?),
                None => None,
            },
        };
        Ok((Caller { key }, reader))
    }
}

/// A page that a node without keys does not let.
fn foreign(origin: Option<&str>) -> ApiError {
    let origin = origin.unwrap_or_default();
    let how = how_to_allow(origin, "it");
    let message = format!("http.cors_origins does not allow pages of {origin:?}: {how}");
    ApiError::new(Code::foreign_origin, message).at("origin")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;

    #[test]
    fn a_query_says_what_it_says_first() {
        let check = |uri: &str, expected: Option<&str>| {
            assert_eq!(said(&uri.parse().unwrap(), "key"), expected, "{uri}");
        };
        check("/v1/browser/decide", None);
        check("/v1/browser/decide?key=pk_1&v=1", Some("pk_1"));
        check("/v1/browser/decide?v=1&key=pk_1&key=pk_2", Some("pk_1"));
        check("/v1/browser/decide?monkey=pk_1", None);
        check("/v1/browser/decide?key", None);
    }
}
