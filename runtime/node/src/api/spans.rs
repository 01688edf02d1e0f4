//! A span for each public request that decides, takes events or records, evaluates flags or gives a page what it decides by, when spans
//! are sent. Owns which routes have one and what a handler leaves for it in its response.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::{HeaderMap, Method};
use axum::middleware::Next;
use axum::response::Response;

use super::Public;
use crate::telemetry::otlp::{Caller, Evaluation, RequestSpan};

/// What a handler tells of its work.
#[derive(Debug, Clone)]
pub(super) enum Told {
    /// One decision: placement, id, reason.
    Decision(String, String, &'static str),
    /// How many decisions.
    Decisions(usize),
    /// Events: accepted, duplicates, rejected.
    Events(u64, u64, usize),
    /// Records of a page, in the same order.
    Records(u64, u64, usize),
    /// A flag.
    Flag(Evaluation),
}

/// The span around a request.
pub(super) async fn span(State(api): State<Arc<Public>>, request: Request, next: Next) -> Response {
    let Some((method, route)) = route(request.method(), request.uri().path()) else { return next.run(request).await };
    let span = api.otlp.request(method, route, caller(request.headers()));
    let mut response = next.run(request).await;
    if let Some(mut span) = span {
        if let Some(told) = response.extensions_mut().remove::<Told>() {
            told.say(&mut span);
        }
        span.answered(response.status().as_u16());
    }
    response
}

/// The routes that have spans. Other methods ask nothing: a preflight of a page, or a mistake.
fn route(method: &Method, path: &str) -> Option<(&'static str, &'static str)> {
    let post = match path {
        "/v1/decide" => "/v1/decide",
        "/v1/decide/batch" => "/v1/decide/batch",
        "/v1/events" => "/v1/events",
        "/v1/browser/decide" => "/v1/browser/decide",
        "/v1/browser/events" => "/v1/browser/events",
        "/v1/browser/records" => "/v1/browser/records",
        "/v1/browser/release" if method == Method::GET => return Some(("GET", "/v1/browser/release")),
        "/v1/browser/features" if method == Method::GET => return Some(("GET", "/v1/browser/features")),
        "/ofrep/v1/evaluate/flags" => "/ofrep/v1/evaluate/flags",
        path if path.starts_with("/ofrep/v1/evaluate/flags/") => "/ofrep/v1/evaluate/flags/{key}",
        _ => return None,
    };
    (method == Method::POST).then_some(("POST", post))
}

fn caller(headers: &HeaderMap) -> Caller<'_> {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    Caller { parent: text("traceparent"), state: text("tracestate") }
}

// === impl Told ===

impl Told {
    fn say(self, span: &mut RequestSpan) {
        match self {
            Self::Decision(placement, id, reason) => {
                span.say("selvedge.placement", placement);
                span.say("selvedge.decision_id", id);
                span.say("selvedge.reason", reason);
            }
            Self::Decisions(count) => span.say("selvedge.decisions", count as i64),
            Self::Events(accepted, duplicates, rejected) => {
                span.say("selvedge.events.accepted", accepted as i64);
                span.say("selvedge.events.duplicates", duplicates as i64);
                span.say("selvedge.events.rejected", rejected as i64);
            }
            Self::Records(accepted, duplicates, rejected) => {
                span.say("selvedge.records.accepted", accepted as i64);
                span.say("selvedge.records.duplicates", duplicates as i64);
                span.say("selvedge.records.rejected", rejected as i64);
            }
            Self::Flag(flag) => {
                span.say("selvedge.placement", flag.key.clone());
                if let Some(id) = flag.decision_id.clone() {
                    span.say("selvedge.decision_id", id);
                }
                span.evaluated(flag);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_route_has_a_span_by_the_method_that_asks_it() {
        let check = |method: Method, path: &str, expected: Option<(&str, &str)>| {
            assert_eq!(route(&method, path), expected, "{method} {path}");
        };
        check(Method::POST, "/v1/browser/records", Some(("POST", "/v1/browser/records")));
        check(Method::GET, "/v1/browser/features", Some(("GET", "/v1/browser/features")));
        check(Method::POST, "/ofrep/v1/evaluate/flags/hero", Some(("POST", "/ofrep/v1/evaluate/flags/{key}")));
        check(Method::OPTIONS, "/v1/browser/release", None);
        check(Method::POST, "/v1/browser/release", None);
        check(Method::GET, "/v1/browser/decide", None);
        check(Method::GET, "/v1/browser/stream", None);
    }
}
