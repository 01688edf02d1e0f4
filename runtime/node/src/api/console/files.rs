//! The files of the console, which are in the program. Owns which there are, how they are packed and how browsers keep them.

use std::sync::OnceLock;

use axum::extract::{Path, Request};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Redirect, Response};
use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;
use selvedge_decision::Digest;

use super::super::error;

/// A file as it is and as it goes over the wire.
struct File {
    name: &'static str,
    kind: &'static str,
    plain: &'static [u8],
    packed: Bytes,
    tag: String,
}

macro_rules! files {
    ($($name:literal $kind:literal)*) => {
        &[$(($name, $kind, include_bytes!(concat!("../../../console/", $name)))),*]
    };
}

/// Every file: its name, its type, what is in it.
const FILES: &[(&str, &str, &[u8])] = files! {
    "index.html" "text/html; charset=utf-8"
    "icon.svg" "image/svg+xml"
    "console.css" "text/css; charset=utf-8"
    "uPlot.min.css" "text/css; charset=utf-8"
    "uPlot.iife.min.js" "text/javascript; charset=utf-8"
    "uPlot.LICENSE" "text/plain; charset=utf-8"
    "main.js" "text/javascript; charset=utf-8"
    "api.js" "text/javascript; charset=utf-8"
    "store.js" "text/javascript; charset=utf-8"
    "live.js" "text/javascript; charset=utf-8"
    "dom.js" "text/javascript; charset=utf-8"
    "confirm.js" "text/javascript; charset=utf-8"
    "format.js" "text/javascript; charset=utf-8"
    "parts.js" "text/javascript; charset=utf-8"
    "chart.js" "text/javascript; charset=utf-8"
    "stats.js" "text/javascript; charset=utf-8"
    "page-overview.js" "text/javascript; charset=utf-8"
    "page-decisions.js" "text/javascript; charset=utf-8"
    "page-releases.js" "text/javascript; charset=utf-8"
    "page-features.js" "text/javascript; charset=utf-8"
    "page-rules.js" "text/javascript; charset=utf-8"
    "page-experiments.js" "text/javascript; charset=utf-8"
    "page-bandits.js" "text/javascript; charset=utf-8"
    "page-outbox.js" "text/javascript; charset=utf-8"
    "page-playground.js" "text/javascript; charset=utf-8"
    "explain.js" "text/javascript; charset=utf-8"
};

/// All of them, packed when the first is asked for.
fn all() -> &'static [File] {
    static ALL: OnceLock<Vec<File>> = OnceLock::new();
    ALL.get_or_init(|| {
        let pack = |(name, kind, plain): &(&'static str, &'static str, &'static [u8])| File {
            name,
            kind,
            plain,
            packed: packed(plain),
            // Weak: it is the same file, packed or not.
            tag: format!("W/\"{}\"", &Digest::of(plain).hex()[..16]),
        };
        FILES.iter().map(pack).collect()
    })
}

fn packed(plain: &[u8]) -> Bytes {
    use std::io::Write as _;
    let mut gzip = GzEncoder::new(Vec::new(), Compression::best());
    // Writing into memory has no way to fail.
    let packed = gzip.write_all(plain).and_then(|()| gzip.finish());
    packed.unwrap_or_default().into()
}

/// The page is a folder, so that its files stand beside it.
pub(super) async fn redirect() -> Redirect {
    Redirect::permanent("/console/")
}

pub(super) async fn index(request: Request) -> Response {
    send("index.html", request.headers()).await
}

pub(super) async fn file(Path(name): Path<String>, request: Request) -> Response {
    send(&name, request.headers()).await
}

async fn send(name: &str, head: &HeaderMap) -> Response {
    let Some(file) = all().iter().find(|file| file.name == name) else {
        return error::not_found().await.into_response();
    };
    let says = |name: header::HeaderName| head.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let kept = [(header::ETAG, file.tag.clone()), (header::CACHE_CONTROL, "no-cache".to_owned())];
    if says(header::IF_NONE_MATCH).split(',').any(|tag| tag.trim() == file.tag) {
        return (StatusCode::NOT_MODIFIED, kept).into_response();
    }
    let headers = [(header::CONTENT_TYPE, file.kind), (header::VARY, "accept-encoding")];
    let takes_gzip = says(header::ACCEPT_ENCODING).split(',').any(|coding| {
        let (coding, rest) = coding.split_once(';').unwrap_or((coding, ""));
        coding.trim().eq_ignore_ascii_case("gzip") && rest.trim() != "q=0"
    });
    if takes_gzip {
        return (kept, headers, [(header::CONTENT_ENCODING, "gzip")], file.packed.clone()).into_response();
    }
    (kept, headers, file.plain).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a page of the console costs whoever opens it first.
    const MOST_BYTES: usize = 80 * 1024;

    #[test]
    fn all_files_together_are_small() {
        let sizes: Vec<(&str, usize)> = all().iter().map(|file| (file.name, file.packed.len())).collect();
        let sum: usize = sizes.iter().map(|(_, size)| size).sum();
        assert!(sum <= MOST_BYTES, "{sum} bytes, at most {MOST_BYTES}: {sizes:?}");
    }

    #[test]
    fn nothing_is_inline_and_nothing_comes_from_elsewhere() {
        for (name, _, plain) in FILES.iter().filter(|(name, ..)| !name.starts_with("uPlot")) {
            let text = String::from_utf8_lossy(plain).replace("http://www.w3.org/", "");
            for wrong in ["https://", "http://", "style=\"", "onclick=", "<script>", "innerHTML", "eval("] {
                assert!(!text.contains(wrong), "{name}: {wrong}");
            }
        }
    }
}
