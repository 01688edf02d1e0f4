//! `GET /v1/browser/modules/{digest}`: a module as browsers run it, for ever the same. Owns the reply; which modules there are is the
//! releases' that run, and the one before them.

use std::sync::Arc;

use axum::extract::{Path, State};
use axum::http::header::{CACHE_CONTROL, CONTENT_ENCODING, CONTENT_TYPE, ETAG, VARY};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use selvedge_decision::Digest;
use selvedge_decision::ids::unhex;

use super::super::error::{ApiError, Code};
use super::super::stream::DIGEST;
use super::super::{Public, etag, gzip};

/// A year: the longest that caches keep anything.
const FOR_EVER: &str = "public, max-age=31536000, immutable";

pub(super) async fn one(State(api): State<Arc<Public>>, Path(digest): Path<String>, headers: HeaderMap) -> Response {
    let hex = digest.trim_start_matches(DIGEST);
    let Some(module) = unhex(hex).and_then(|bytes| api.lifted.get(&Digest(bytes))) else {
        let why = "no module of this digest is for browsers in the running release or in the one before it";
        return api.reply(Err(ApiError::new(Code::not_found, why).at("digest")));
    };
    let mut head = HeaderMap::new();
    head.insert(CACHE_CONTROL, HeaderValue::from_static(FOR_EVER));
    head.insert(VARY, HeaderValue::from_static("accept-encoding"));
    if let Ok(tag) = HeaderValue::try_from(format!("W/\"{hex}\"")) {
        head.insert(ETAG, tag);
    }
    if etag::knows(&headers, hex) {
        return (StatusCode::NOT_MODIFIED, head).into_response();
    }
    head.insert(CONTENT_TYPE, HeaderValue::from_static("application/wasm"));
    if gzip::takes(&headers) {
        let packing = module.clone();
        // Once a module, and not on a thread that decides.
        let packed =
            tokio::task::spawn_blocking(move || packing.packed(|bytes| gzip::pack(bytes, gzip::FOR_EVER))).await;
        if let Ok(Some(packed)) = packed {
            head.insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
            return (head, packed).into_response();
        }
    }
    (head, module.bytes.clone()).into_response()
}
