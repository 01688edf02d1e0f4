//! Answers, packed with gzip where the caller takes it. Owns from which size on, and what that does to an entity tag.

use std::io::Write as _;

use axum::body::{Body, HttpBody as _};
use axum::extract::{Request, State};
use axum::http::header::{ACCEPT_ENCODING, CONTENT_ENCODING, CONTENT_LENGTH, ETAG, VARY};
use axum::http::{HeaderMap, HeaderValue};
use axum::middleware::Next;
use axum::response::Response;
use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;
use http_body_util::BodyExt as _;

/// Bytes of an answer to a page from which on it is packed: what fits into one packet arrives no sooner for being small.
pub(super) const PAGES: Packed = Packed { at_least: 1 << 10 };
/// The same to a server, which is nearer.
pub(super) const SERVERS: Packed = Packed { at_least: 16 << 10 };
/// Bytes from which on an answer is packed on another thread than those that answer.
const LARGE: usize = 64 << 10;
/// Bytes beyond which nothing is packed.
const MAX: u64 = 64 << 20;
/// How hard: what is sent once.
const ONCE: u32 = 3;
/// How hard: what is kept.
pub(super) const FOR_EVER: u32 = 9;

/// From which size on answers are packed.
#[derive(Debug, Clone, Copy)]
pub(super) struct Packed {
    at_least: u64,
}

/// Packs the answers of what it stands before.
pub(super) async fn answers(State(packed): State<Packed>, request: Request, next: Next) -> Response {
    let takes = takes(request.headers());
    let mut response = next.run(request).await;
    response.headers_mut().append(VARY, HeaderValue::from_static("accept-encoding"));
    // The size of an answer that is whole is known; a stream's is not.
    let size = response.body().size_hint().exact().unwrap_or(0);
    if !takes || !(packed.at_least..=MAX).contains(&size) || response.headers().contains_key(CONTENT_ENCODING) {
        return response;
    }
    let (mut head, body) = response.into_parts();
    let Ok(whole) = body.collect().await else { return Response::from_parts(head, Body::empty()) };
    let whole = whole.to_bytes();
    let small = if whole.len() < LARGE {
        pack(&whole, ONCE)
    } else {
        let whole = whole.clone();
        tokio::task::spawn_blocking(move || pack(&whole, ONCE)).await.ok().flatten()
    };
    let Some(small) = small else { return Response::from_parts(head, whole.into()) };
    head.headers.insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    head.headers.remove(CONTENT_LENGTH);
    // Other bytes under the same tag: it says no longer that they are equal, only that they mean the same.
    let weak = head.headers.get(ETAG).and_then(|tag| tag.to_str().ok()).filter(|tag| !tag.starts_with("W/"));
    if let Some(weak) = weak.and_then(|tag| HeaderValue::try_from(format!("W/{tag}")).ok()) {
        head.headers.insert(ETAG, weak);
    }
    Response::from_parts(head, small.into())
}

/// Whether a caller takes gzip. What is said of it by name counts, whatever is said of all others.
pub(super) fn takes(headers: &HeaderMap) -> bool {
    let lists = headers.get_all(ACCEPT_ENCODING).into_iter().filter_map(|value| value.to_str().ok());
    let (mut by_name, mut by_all) = (None, None);
    for coding in lists.flat_map(|list| list.split(',')) {
        let (name, quality) = coding.split_once(';').unwrap_or((coding, ""));
        let refused = quality.trim().strip_prefix("q=").and_then(|q| q.parse::<f32>().ok()) == Some(0.0);
        match name.trim().to_ascii_lowercase().as_str() {
            "gzip" | "x-gzip" => by_name = Some(!refused),
            "*" => by_all = Some(!refused),
            _ => {}
        }
    }
    by_name.or(by_all).unwrap_or(false)
}

/// The bytes, packed; `None` when that does not make them fewer.
pub(super) fn pack(bytes: &[u8], level: u32) -> Option<Bytes> {
    let mut encoder = GzEncoder::new(Vec::with_capacity(bytes.len() / 3), Compression::new(level));
    encoder.write_all(bytes).ok()?;
    encoder.finish().ok().filter(|small| small.len() < bytes.len()).map(Bytes::from)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;

    #[test]
    fn gzip_is_taken_when_it_is_said_and_not_refused() {
        let check = |value: Option<&'static str>, expected: bool| {
            let mut headers = HeaderMap::new();
            if let Some(value) = value {
                headers.insert(ACCEPT_ENCODING, HeaderValue::from_static(value));
            }
            assert_eq!(takes(&headers), expected, "{value:?}");
        };
        check(None, false);
        check(Some(""), false);
        check(Some("gzip"), true);
        check(Some("br, GZip;q=0.5"), true);
        check(Some("*"), true);
        check(Some("deflate, br"), false);
        check(Some("gzip;q=0"), false);
        check(Some("gzip; q=0.0, br"), false);
        check(Some("identity"), false);
        check(Some("gzip;q=0, *"), false);
        check(Some("*, gzip;q=0"), false);
        check(Some("*;q=0, gzip"), true);
        check(Some("br, *;q=0"), false);
    }

    #[test]
    fn what_does_not_get_smaller_stays() {
        assert!(pack(&[7; 5_000], ONCE).unwrap().len() < 100);
        assert_eq!(pack(b"short", ONCE), None);
    }
}
