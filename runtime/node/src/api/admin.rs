//! The admin routes, and the description of the public ones.

use std::sync::Arc;

use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;

use super::Admin;
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

fn json(code: StatusCode, body: &impl Serialize) -> Response {
    (code, [(header::CONTENT_TYPE, "application/json")], serde_json::to_vec(body).unwrap_or_default()).into_response()
}
