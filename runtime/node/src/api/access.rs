//! The door of the servers' routes: the key that a request brings, and its body only once the key may. Every route that takes a server
//! key gets its body here, so that none can forget to ask. Who may what is `keys.rs`'s.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::HeaderMap;
use axum::http::header::AUTHORIZATION;
use axum::http::request::Parts;
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;

use super::error::{ApiError, Code};
use super::{Admin, Public, body};
use crate::keys::{Denied, Scope};

/// What a key stands behind in `Authorization`.
const BEARER: &str = "bearer ";

/// The key that a request brings: `Authorization: Bearer KEY`, or `X-API-Key: KEY`.
pub(super) fn key(headers: &HeaderMap) -> Option<&str> {
    let bearer = headers.get(AUTHORIZATION).and_then(|value| {
        let value = value.to_str().ok()?;
        let is_bearer = value.get(..BEARER.len())?.eq_ignore_ascii_case(BEARER);
        is_bearer.then(|| value[BEARER.len()..].trim())
    });
    bearer.or_else(|| headers.get("x-api-key")?.to_str().ok().map(str::trim))
}

/// Lets those through whose key has the scope `admin`.
pub(super) async fn admin(State(api): State<Arc<Admin>>, request: Request, next: Next) -> Response {
    match api.access.server(key(request.headers()), Scope::Admin) {
        Ok(()) => next.run(request).await,
        Err(denied) => ApiError::from(denied).into_response(),
    }
}

// === impl Public ===

impl Public {
    /// Head and body of a request whose key may do what `scope` names.
    pub(super) async fn admitted(
        &self,
        request: Request,
        scope: Scope,
        limit: usize,
    ) -> Result<(Parts, Bytes), ApiError> {
        let (head, body) = request.into_parts();
        let within = self.limits.client_timeout;
        if let Err(denied) = self.access.server(key(&head.headers), scope) {
            body::discard(body, within).await;
            return Err(denied.into());
        }
        let bytes = body::read(&head.headers, body, limit, within).await?;
        Ok((head, bytes))
    }
}

impl From<Denied> for ApiError {
    fn from(denied: Denied) -> Self {
        let message = denied.to_string();
        match denied {
            Denied::NoServerKey
            | Denied::NoPublishableKey
            | Denied::Unknown
            | Denied::ForServersOnly
            | Denied::Expired { .. } => Self::new(Code::bad_key, message),
            Denied::ForBrowsersOnly | Denied::Scope { .. } => Self::new(Code::wrong_scope, message),
            Denied::Origin { .. } => Self::new(Code::foreign_origin, message).at("origin"),
            Denied::Rate { wait, .. } => {
                // Whole seconds, rounded up: whoever comes before is refused again.
                let retry_after_s = Some(wait.as_millis().div_ceil(1_000).max(1) as u64);
                Self { retry_after_s, ..Self::new(Code::too_many_requests, message) }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use axum::http::HeaderValue;

    use super::*;

    #[test]
    fn a_key_comes_in_either_header() {
        let check = |headers: &[(&'static str, &str)], expected: Option<&str>| {
            let mut map = HeaderMap::new();
            for (name, value) in headers {
                map.insert(*name, HeaderValue::from_bytes(value.as_bytes()).unwrap());
            }
            assert_eq!(key(&map), expected, "{headers:?}");
        };
        check(&[], None);
        check(&[("authorization", "Bearer sk_1")], Some("sk_1"));
        check(&[("authorization", "bearer  sk_1 ")], Some("sk_1"));
        check(&[("x-api-key", "sk_1")], Some("sk_1"));
        check(&[("authorization", "Bearer sk_1"), ("x-api-key", "sk_2")], Some("sk_1"));
        check(&[("authorization", "Basic dXNlcg=="), ("x-api-key", "sk_2")], Some("sk_2"));
        check(&[("authorization", "Bearer")], None);
        check(&[("authorization", "Bearé sk_1")], None);
    }
}
