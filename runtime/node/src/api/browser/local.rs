//! What pages that decide by themselves ask: the release, the rows, and that their records are taken. Owns the words of the wire;
//! what a page may have is `decide/page`'s.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Extension;
use axum::extract::{Request, State};
use axum::http::header::{CACHE_CONTROL, CONTENT_ENCODING, CONTENT_TYPE, ETAG};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::super::error::{ApiError, Code};
use super::super::spans::Told;
use super::super::{Public, body, etag, gzip};
use super::{Caller, said};
use crate::decide::{Allowed, Asked, BadRecords, BadRows, Inline, PageAnswer, PageBody, Start, TakenRecords};
use crate::ids::Kind;

/// The release that decides for the page.
const RELEASE: HeaderName = HeaderName::from_static("x-selvedge-release");
/// The longest id of a query, in bytes, after decoding.
const MAX_ID: usize = 512;
/// Bytes of an answer that one token of a key's rate is for.
const TOKEN_BYTES: usize = 64 << 10;
/// How hard everybody's rows are packed, once for all who ask within a second or more.
const PACKED: u32 = 5;

/// `POST records`, as pages send it.
#[derive(Deserialize)]
struct Sent {
    /// Each binary, in base64.
    records: Vec<String>,
}

/// What a release is answered with, where a page asks for it and it is little. Each binary, in base64.
#[derive(Serialize)]
struct Within {
    /// Everybody's, then those of who looks at the page.
    rows: Vec<String>,
    /// By index.
    modules: BTreeMap<u32, String>,
}

/// `GET release`: what a page may hold of the release. With `inline`, what else a first decision needs, where that is little.
pub(super) async fn release(
    State(api): State<Arc<Public>>,
    Extension(caller): Extension<Caller>,
    headers: HeaderMap,
    uri: Uri,
) -> Response {
    let Start { answer, inline } = match api.start(&caller, &uri).await {
        Ok(start) => start,
        Err(error) => return api.reply(Err(error)),
    };
    let (mut head, json) = match inline {
        Some(inline) => (kept("no-store"), with(&answer, inline)),
        None => (revalidated(&answer.etag), answer.json.clone()),
    };
    if let Ok(release) = HeaderValue::try_from(answer.page.release.to_string()) {
        head.insert(RELEASE, release);
    }
    if head.contains_key(ETAG) && etag::knows(&headers, &answer.etag) {
        return (StatusCode::NOT_MODIFIED, head).into_response();
    }
    head.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    api.sent(&caller, head, json)
}

/// `GET features`: everybody's rows, or with a subject or a session, theirs.
pub(super) async fn features(
    State(api): State<Arc<Public>>,
    Extension(caller): Extension<Caller>,
    headers: HeaderMap,
    uri: Uri,
) -> Response {
    let who = match api.who(&uri) {
        Ok(who) => who,
        Err(error) => return api.reply(Err(error)),
    };
    if who.unit().is_some() && api.ids.is_keyed() {
        // The rows of somebody say how the node knows them.
        let why = "this node hashes the ids of people (ids.key), and a page that got rows of theirs would get the hash: it decides \
                   nothing by itself; ask POST /v1/browser/decide";
        let field = if who.subject.is_some() { "subject" } else { "session" };
        return api.reply(Err(ApiError::new(Code::keyed_ids, why).at(field)));
    }
    let allowed = caller.allowed();
    let asked = api.asked(&who, &allowed);
    // `all` beside somebody means everybody's, of the release that they have.
    if who.unit().is_none() || said(&uri, "all").is_some() {
        return match api.decider.page_rows(asked, pack).await {
            Ok(rows) => api.everybodys(&caller, &headers, &rows),
            Err(bad) => api.reply(Err(bad.into())),
        };
    }
    match api.decider.page_rows_of(asked).await {
        Ok(rows) => api.sent(&caller, rows_head("no-store"), rows.into()),
        Err(bad) => api.reply(Err(bad.into())),
    }
}

/// `POST records`: decisions that the page made.
pub(super) async fn records(
    State(api): State<Arc<Public>>,
    Extension(caller): Extension<Caller>,
    request: Request,
) -> Response {
    let (head, body) = request.into_parts();
    let limits = api.limits;
    let taken = match body::read(&head.headers, body, limits.events.batch_bytes, limits.client_timeout).await {
        Ok(bytes) => api.take_records(&bytes, &caller).await,
        Err(error) => Err(error),
    };
    match taken {
        Ok(taken) => {
            let json = serde_json::to_vec(&taken).unwrap_or_default();
            let mut response = (StatusCode::ACCEPTED, [(CONTENT_TYPE, "application/json")], json).into_response();
            if api.otlp.is_on() {
                let told = Told::Records(taken.accepted, taken.duplicates, taken.rejected.len());
                response.extensions_mut().insert(told);
            }
            response
        }
        Err(error) => api.reply(Err(error)),
    }
}

/// Who looks at a page, as the node knows them.
struct Who {
    subject: Option<String>,
    session: Option<String>,
}

// === impl Who ===

impl Who {
    /// Whom a canary may have.
    fn unit(&self) -> Option<&str> {
        self.subject.as_deref().or(self.session.as_deref())
    }
}

// === impl Public ===

impl Public {
    fn who(&self, uri: &Uri) -> Result<Who, ApiError> {
        let id = |name: &str, kind: Kind| match said(uri, name).map(decoded) {
            None => Ok(None),
            Some(id) if id.is_empty() || id.len() > MAX_ID || id.contains('\0') => {
                let why = format!("{} bytes, expected 1 to {MAX_ID} without U+0000", id.len());
                Err(ApiError::new(Code::out_of_bounds, why).at(name).limit(MAX_ID))
            }
            Some(id) => Ok(Some(self.ids.known_as(kind, &id).into_owned())),
        };
        Ok(Who { subject: id("subject", Kind::Subject)?, session: id("session", Kind::Session)? })
    }

    fn asked<'a>(&self, who: &'a Who, allowed: &'a Allowed) -> Asked<'a> {
        Asked { one: (who.subject.as_deref(), who.session.as_deref()), allowed, limit: self.limits.page_rows }
    }

    /// What a page gets that asks for a release.
    async fn start(&self, caller: &Caller, uri: &Uri) -> Result<Start, ApiError> {
        let (who, allowed) = (self.who(uri)?, caller.allowed());
        // Where ids are hashed there are no rows for pages.
        if said(uri, "inline").is_some() && !self.ids.is_keyed() {
            return Ok(self.decider.page_start(self.asked(&who, &allowed), pack).await?);
        }
        let answer = self.decider.page_release(who.unit(), &allowed).await?;
        Ok(Start { answer, inline: None })
    }

    /// Everybody's rows, in the form that the page takes. Either form has a tag of its own: they are other bytes.
    fn everybodys(&self, caller: &Caller, headers: &HeaderMap, rows: &PageBody) -> Response {
        let packed = rows.packed.as_ref().filter(|_| gzip::takes(headers));
        let tag = if packed.is_some() { format!("{}-gzip", rows.etag) } else { rows.etag.clone() };
        let mut head = revalidated(&tag);
        if etag::knows(headers, &tag) {
            return (StatusCode::NOT_MODIFIED, head).into_response();
        }
        head.extend(rows_head("no-cache"));
        if packed.is_some() {
            head.insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
        }
        self.sent(caller, head, packed.unwrap_or(&rows.bytes).clone())
    }

    /// A whole answer, for which the page's key has to have enough left.
    fn sent(&self, caller: &Caller, head: HeaderMap, bytes: Bytes) -> Response {
        match caller.charge(bytes.len().div_ceil(TOKEN_BYTES)) {
            Ok(()) => (head, bytes).into_response(),
            Err(error) => self.reply(Err(error)),
        }
    }

    async fn take_records(&self, bytes: &[u8], caller: &Caller) -> Result<TakenRecords, ApiError> {
        let sent: Sent = body::parse(bytes)?;
        let max_age_us = self.limits.events.max_age_us;
        Ok(self.decider.take_page_records(&sent.records, &caller.allowed(), &self.ids, max_age_us).await?)
    }
}

// === impl Caller ===

impl Caller {
    /// The placements that its key may ask for.
    fn allowed(&self) -> Allowed {
        let placements = self.key.as_ref()?.placements()?;
        Some(Arc::new(placements.iter().cloned().collect()))
    }
}

impl From<BadRows> for ApiError {
    fn from(bad: BadRows) -> Self {
        match bad {
            BadRows::Refused(refused) => refused.into(),
            BadRows::TooMany { limit } => Self::new(Code::out_of_bounds, bad.to_string()).at("features").limit(limit),
        }
    }
}

impl From<BadRecords> for ApiError {
    fn from(bad: BadRecords) -> Self {
        match bad {
            BadRecords::TooMany { .. } => {
                Self::new(Code::out_of_bounds, bad.to_string()).at("records").limit(BadRecords::MOST)
            }
            BadRecords::Outbox(refused) => refused.into(),
        }
    }
}

/// Everybody's rows, packed.
fn pack(bytes: &[u8]) -> Option<Bytes> {
    gzip::pack(bytes, PACKED)
}

/// The answer of a release with that in it.
fn with(answer: &PageAnswer, Inline { rows, modules }: Inline) -> Bytes {
    let rows = rows.iter().map(|rows| STANDARD.encode(rows)).collect();
    let modules = modules.iter().map(|(index, bytes)| (*index, STANDARD.encode(bytes))).collect();
    // Texts alone: writing them cannot fail.
    let inline = serde_json::to_vec(&Within { rows, modules }).unwrap_or_default();
    let object = answer.json.strip_suffix(b"}").unwrap_or(&answer.json);
    Bytes::from([object, b",\"inline\":", &inline, b"}"].concat())
}

/// The head of an answer that caches keep, and ask for again.
fn revalidated(tag: &str) -> HeaderMap {
    let mut head = kept("no-cache");
    if let Ok(tag) = HeaderValue::try_from(format!("\"{tag}\"")) {
        head.insert(ETAG, tag);
    }
    head
}

/// The head of rows that may be kept so.
fn rows_head(keep: &'static str) -> HeaderMap {
    let mut head = kept(keep);
    head.insert(CONTENT_TYPE, HeaderValue::from_static("application/octet-stream"));
    head
}

/// The head of what may be kept so.
fn kept(keep: &'static str) -> HeaderMap {
    HeaderMap::from_iter([(CACHE_CONTROL, HeaderValue::from_static(keep))])
}

/// A query's value as it was before it was encoded, by a form's rules: `+` is a blank.
fn decoded(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        let hex = |rest: &std::str::Bytes<'_>| {
            let mut ahead = rest.clone();
            let digit = |byte: u8| char::from(byte).to_digit(16);
            Some((digit(ahead.next()?)? << 4 | digit(ahead.next()?)?) as u8)
        };
        match (byte, hex(&rest)) {
            (b'%', Some(byte)) => {
                bytes.push(byte);
                rest.nth(1);
            }
            (b'+', _) => bytes.push(b' '),
            (byte, _) => bytes.push(byte),
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_query_is_decoded_as_forms_encode_it() {
        for (text, expected) in [
            ("u-1", "u-1"),
            ("a+b%20c", "a b c"),
            ("%C3%BC%26%3d", "ü&="),
            ("50%", "50%"),
            ("%zz%4", "%zz%4"),
            ("%ff", "\u{fffd}"),
        ] {
            assert_eq!(decoded(text), expected, "{text}");
        }
    }
}
