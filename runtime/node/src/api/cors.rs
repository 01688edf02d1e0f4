//! Cross-origin requests: which pages may call a route from a browser, and what they get to read of its answer. Owns the preflight.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::header::{
    ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN,
    ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE, ACCESS_CONTROL_REQUEST_HEADERS,
    ACCESS_CONTROL_REQUEST_METHOD, ORIGIN, VARY,
};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode};
use axum::middleware::Next;
use axum::response::Response;

use super::Public;
use crate::keys::is_origin;

/// How long a browser may keep the answer to a preflight, in seconds: the most that any keeps.
const MAX_AGE: &str = "7200";
/// The headers a page may send when its preflight names none.
const HEADERS: &str = "content-type, if-none-match, authorization, x-api-key, traceparent, tracestate";

/// The pages that may.
#[derive(Debug, Clone)]
pub enum Cors {
    /// Every page.
    Any,
    /// Pages of these origins.
    Origins(Vec<HeaderValue>),
}

/// What is no origin.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "http.cors_origins: {0:?} is no origin such as \"https://shop.example\" or \"http://localhost:3000\", without a path and without \
     its scheme's own port"
)]
pub struct BadOrigin(String);

// === impl Cors ===

impl Cors {
    /// From the setting: `*` is every page.
    pub fn new(origins: &[String]) -> Result<Self, BadOrigin> {
        if origins.iter().any(|origin| origin == "*") {
            return Ok(Self::Any);
        }
        let value = |origin: &String| {
            let value = HeaderValue::from_str(origin).ok().filter(|_| is_origin(origin));
            value.ok_or_else(|| BadOrigin(origin.clone()))
        };
        Ok(Self::Origins(origins.iter().map(value).collect::<Result<_, _>>()?))
    }

    /// What is said to a page of that origin: `None` that it may not.
    pub(super) fn allowed(&self, origin: &HeaderValue) -> Option<HeaderValue> {
        match self {
            Self::Any => Some(HeaderValue::from_static("*")),
            Self::Origins(origins) => origins.contains(origin).then(|| origin.clone()),
        }
    }
}

/// A route of its own, because what answers other methods stands before no layer.
pub(super) async fn preflight() -> StatusCode {
    StatusCode::NO_CONTENT
}

/// Lets the pages that may ask for what it stands before, and read its answers.
pub(super) async fn allow(State(api): State<Arc<Public>>, request: Request, next: Next) -> Response {
    let Some(origin) = request.headers().get(ORIGIN).cloned() else { return next.run(request).await };
    let allowed = api.cors.allowed(&origin);
    let preflight =
        request.method() == Method::OPTIONS && request.headers().contains_key(ACCESS_CONTROL_REQUEST_METHOD);
    let granted = preflight && allowed.is_some();
    let asked = asked(&request).filter(|_| granted);
    let mut response = next.run(request).await;
    let headers = response.headers_mut();
    if granted {
        grant(asked, headers);
    }
    if let Cors::Origins(_) = api.cors {
        headers.append(VARY, HeaderValue::from_static("origin"));
    }
    if let Some(allowed) = allowed {
        headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, allowed);
        headers.insert(ACCESS_CONTROL_EXPOSE_HEADERS, HeaderValue::from_static("ETag, Retry-After"));
    }
    response
}

/// The headers that a page wants to send.
pub(super) fn asked(preflight: &Request) -> Option<HeaderValue> {
    preflight.headers().get(ACCESS_CONTROL_REQUEST_HEADERS).cloned()
}

/// A page may send whatever headers it says: none of them means anything here that a server could not send as well.
pub(super) fn grant(asked: Option<HeaderValue>, granted: &mut HeaderMap) {
    granted.insert(ACCESS_CONTROL_ALLOW_HEADERS, asked.unwrap_or(HeaderValue::from_static(HEADERS)));
    granted.insert(ACCESS_CONTROL_ALLOW_METHODS, HeaderValue::from_static("POST, GET"));
    granted.insert(ACCESS_CONTROL_MAX_AGE, HeaderValue::from_static(MAX_AGE));
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;

    #[test]
    fn an_origin_is_a_scheme_and_a_place() {
        let cors = |origins: &[&str]| Cors::new(&origins.iter().map(|origin| (*origin).to_owned()).collect::<Vec<_>>());
        let check = |cors: &Cors, origin: &'static str, expected: Option<&str>| {
            let allowed = cors.allowed(&HeaderValue::from_static(origin));
            assert_eq!(allowed.as_ref().map(|value| value.to_str().unwrap()), expected, "{origin}");
        };
        check(&cors(&["*"]).unwrap(), "https://shop.example", Some("*"));
        check(&cors(&[]).unwrap(), "https://shop.example", None);
        let two = cors(&["https://shop.example", "http://localhost:3000"]).unwrap();
        check(&two, "http://localhost:3000", Some("http://localhost:3000"));
        check(&two, "http://shop.example", None);
        for wrong in [
            "",
            "shop.example",
            "https://",
            "https://shop.example/",
            "ftp://shop.example",
            "https://a b",
            "https://shop.example:443",
        ] {
            assert!(cors(&[wrong]).unwrap_err().to_string().contains("is no origin"), "{wrong:?}");
        }
    }
}
