//! The admin routes, who may ask where nobody needs a key, and the description of the public ones.

use std::net::IpAddr;
use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::{HeaderMap, StatusCode, Uri, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use serde::Serialize;

use super::Admin;
use super::error::{ApiError, Code};
use super::health::Ready;

/// The public interface, as a checked file.
const OPENAPI: &str = include_str!("openapi.json");

#[derive(Serialize)]
struct Version {
    version: &'static str,
    decision_core: u32,
}

pub(super) async fn openapi() -> Response {
    ([(header::CONTENT_TYPE, "application/json")], OPENAPI).into_response()
}

pub(super) async fn livez() -> Response {
    json(StatusCode::OK, &serde_json::json!({ "status": "live" }))
}

pub(super) async fn readyz(State(api): State<Arc<Admin>>) -> Response {
    let readiness = api.health.readiness();
    let code = if readiness.status == Ready::NotReady { StatusCode::SERVICE_UNAVAILABLE } else { StatusCode::OK };
    json(code, &readiness)
}

pub(super) async fn status(State(api): State<Arc<Admin>>) -> Response {
    json(StatusCode::OK, &api.health.status())
}

pub(super) async fn version() -> Response {
    let version = env!("CARGO_PKG_VERSION");
    json(StatusCode::OK, &Version { version, decision_core: selvedge_decision::CORE_VERSION })
}

pub(super) async fn metrics(State(api): State<Arc<Admin>>) -> Response {
    let mut text = String::new();
    match prometheus_client::encoding::text::encode(&mut text, &api.registry) {
        Ok(()) => {
            let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
            ([(header::CONTENT_TYPE, kind)], text).into_response()
        }
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, format!("cannot write metrics: {error}")).into_response(),
    }
}

/// Keeps the pages of others out where nobody needs a key; where one is needed, no such page has it.
pub(super) async fn named(State(api): State<Arc<Admin>>, request: Request, next: Next) -> Response {
    if api.access.is_open() && !is_named_as_it_is(request.headers(), request.uri()) {
        let message = "without http.keys the admin listener answers to `localhost` and to IP addresses, so that no page elsewhere \
                       can read it: ask by one of those, or make keys";
        return ApiError::new(Code::not_found, message).into_response();
    }
    next.run(request).await
}

/// Whether a request calls the node by what no stranger's DNS can point to it: a page of theirs would read it as its own otherwise.
fn is_named_as_it_is(head: &HeaderMap, uri: &Uri) -> bool {
    let Some(host) = host(head, uri) else { return false };
    let name = match host.strip_prefix('[') {
        Some(rest) => rest.split(']').next().unwrap_or_default(),
        None => host.rsplit_once(':').map_or(host, |(name, _)| name),
    };
    name.parse::<IpAddr>().is_ok() || name == "localhost" || name.ends_with(".localhost")
}

/// What a request calls the node, with the port.
pub(super) fn host<'r>(head: &'r HeaderMap, uri: &'r Uri) -> Option<&'r str> {
    match head.get(header::HOST) {
        Some(host) => host.to_str().ok(),
        // HTTP/2 has it in the address.
        None => uri.authority().map(|authority| authority.as_str()),
    }
}

fn json(code: StatusCode, body: &impl Serialize) -> Response {
    (code, [(header::CONTENT_TYPE, "application/json")], serde_json::to_vec(body).unwrap_or_default()).into_response()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use axum::http::HeaderValue;

    use super::*;

    #[test]
    fn a_name_that_others_can_point_here_is_none() {
        let check = |host: &str, expected: bool| {
            let mut head = HeaderMap::new();
            head.insert(header::HOST, HeaderValue::from_str(host).unwrap());
            assert_eq!(is_named_as_it_is(&head, &Uri::from_static("/metrics")), expected, "{host}");
            // What a request brings besides makes no name better: any page can send it.
            head.insert(header::AUTHORIZATION, HeaderValue::from_static("Bearer x"));
            assert_eq!(is_named_as_it_is(&head, &Uri::from_static("/metrics")), expected, "{host} with a key");
            if let Ok(uri) = format!("https://{host}/metrics").parse() {
                assert_eq!(is_named_as_it_is(&HeaderMap::new(), &uri), expected, "{host} by HTTP/2");
            }
        };
        for host in
            ["localhost", "localhost:7071", "127.0.0.1:7071", "[::1]:7071", "[::1]", "10.0.0.7", "a.localhost:1"]
        {
            check(host, true);
        }
        for host in
            ["evil.example:7071", "evil.example", "127.0.0.1.evil.example", "localhost.evil.example:7071", "", "[x]:1"]
        {
            check(host, false);
        }
        assert!(!is_named_as_it_is(&HeaderMap::new(), &Uri::from_static("/metrics")));
    }
}
