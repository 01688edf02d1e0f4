//! A span for each public request that decides, takes events or evaluates flags, when spans are sent. Owns which routes have one and what a
//! handler leaves for it in its response.

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
    /// A flag.
    Flag(Evaluation),
}

/// The span around a request.
pub(super) async fn span(State(api): State<Arc<Public>>, request: Request, next: Next) -> Response {
    // The other methods ask nothing: a preflight of a page, or a mistake.
    let route = route(request.uri().path()).filter(|_| request.method() == Method::POST);
    let Some((method, route)) = route else { return next.run(request).await };
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

/// The routes that have spans.
fn route(path: &str) -> Option<(&'static str, &'static str)> {
    match path {
        "/v1/decide" => Some(("POST", "/v1/decide")),
        "/v1/decide/batch" => Some(("POST", "/v1/decide/batch")),
        "/v1/events" => Some(("POST", "/v1/events")),
        "/ofrep/v1/evaluate/flags" => Some(("POST", "/ofrep/v1/evaluate/flags")),
        path if path.starts_with("/ofrep/v1/evaluate/flags/") => Some(("POST", "/ofrep/v1/evaluate/flags/{key}")),
        _ => None,
    }
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
