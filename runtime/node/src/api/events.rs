//! `POST /v1/events`: 202 when what was taken is on disk. What a body may look like is in `docs/events.md`.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderName, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;

use super::Public;
use super::browser::Caller;
use super::error::{ApiError, Code};
use super::spans::Told;
use crate::events::{self, BadBatch, BatchCode, Event, Headers, Parsed, RejectCode, Rejected, names};
use crate::keys::Scope;
use crate::outbox::Refused;

/// Events of a page that one token of its key's rate is for.
const TOKEN_EVENTS: usize = 100;

/// What became of a batch.
#[derive(Serialize)]
struct Taken {
    /// Events that are on disk now.
    accepted: u64,
    /// Events of which copies are on disk already.
    duplicates: u64,
    /// Events that were not taken, and why; the rest was.
    rejected: Vec<Rejected>,
    /// Of those that were: which without the decision that they named, and why.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    detached: Vec<Rejected>,
    /// When none was taken: the first reason.
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<First>,
}

#[derive(Serialize)]
struct First {
    code: Code,
    message: String,
    field: String,
}

pub(super) async fn take(State(api): State<Arc<Public>>, request: Request) -> Response {
    match api.admitted(request, Scope::Events, api.limits.events.batch_bytes).await {
        Ok((head, bytes)) => api.take(&head.headers, &bytes, None).await,
        Err(error) => api.reply(Err(error)),
    }
}

// === impl Public ===

impl Public {
    /// Stores what a body holds, and says what became of it. Of a page, an event that names a decision must show its token.
    pub(super) async fn take(&self, headers: &HeaderMap, body: &[u8], page: Option<&Caller>) -> Response {
        match self.taken(headers, body, page).await {
            Ok(taken) => {
                let status = if taken.error.is_some() { StatusCode::BAD_REQUEST } else { StatusCode::ACCEPTED };
                let json = serde_json::to_vec(&taken).unwrap_or_default();
                let mut response = (status, [(header::CONTENT_TYPE, "application/json")], json).into_response();
                if self.otlp.is_on() {
                    let told = Told::Events(taken.accepted, taken.duplicates, taken.rejected.len());
                    response.extensions_mut().insert(told);
                }
                response
            }
            Err(error) => self.reply(Err(error)),
        }
    }

    async fn taken(&self, headers: &HeaderMap, body: &[u8], page: Option<&Caller>) -> Result<Taken, ApiError> {
        let tokens = page.map(|_| &self.tokens);
        let parsed = events::parse(body, &said(headers), self.clock.now_us(), &self.limits.events, tokens)?;
        page.map_or(Ok(()), |page| page.charge(parsed.len().div_ceil(TOKEN_EVENTS)))?;
        let (mut taken, mut rejected, mut detached) = (Vec::with_capacity(parsed.len()), Vec::new(), Vec::new());
        for (index, parsed) in parsed.into_iter().enumerate() {
            match parsed {
                Ok(Parsed { event, expired }) => {
                    taken.push(event.known_as(&self.ids));
                    let (code, field) = (RejectCode::ExpiredToken, Some("token"));
                    detached.extend(expired.map(|message| Rejected { index, code, field, message }));
                }
                Err(reason) => rejected.push(reason),
            }
        }
        self.outbox.reject_events(rejected.iter().map(|rejected| rejected.code));
        let none = taken.is_empty();
        let sent = taken.len() as u64;
        let unknown = self.unknown(&taken);
        self.sessions.join(&mut taken);
        let stored = self.outbox.append_events(taken).await?;
        self.unknown_events.count(unknown);
        self.outbox.detach_events(detached.len());
        let error = rejected.first().filter(|_| none).map(|first| First {
            code: Code::bad_batch,
            message: first.message.clone(),
            field: first.field.map_or(format!("[{}]", first.index), |field| format!("[{}].{field}", first.index)),
        });
        Ok(Taken { accepted: sent - stored.duplicates, duplicates: stored.duplicates, rejected, detached, error })
    }

    /// The names of those that the running release does not list.
    fn unknown(&self, events: &[Event]) -> Vec<String> {
        let active = self.releases.active();
        let Some(active) = Option::as_ref(&active) else { return Vec::new() };
        let is_unknown = |name: &&String| !active.plan.knows_event(name) && !names::is_own(name);
        events.iter().map(|event| &event.name).filter(is_unknown).cloned().collect()
    }
}

/// What the headers say of the body.
fn said(headers: &HeaderMap) -> Headers<'_> {
    let text = |name: HeaderName| headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let attributes =
        headers.iter().filter_map(|(name, value)| Some((name.as_str().strip_prefix("ce-")?, value.as_bytes())));
    Headers {
        content_type: text(header::CONTENT_TYPE),
        content_encoding: text(header::CONTENT_ENCODING),
        attributes: if headers.contains_key("ce-specversion") { attributes.collect() } else { Vec::new() },
    }
}

impl From<BadBatch> for ApiError {
    fn from(bad: BadBatch) -> Self {
        let (code, field) = match bad.code {
            BatchCode::BodyTooLarge | BatchCode::TooManyEvents => (Code::body_too_large, "body"),
            BatchCode::UnsupportedEncoding => (Code::unsupported_encoding, "content-encoding"),
            BatchCode::InvalidEncoding => (Code::bad_encoding, "body"),
            BatchCode::InvalidUtf8 | BatchCode::InvalidJson => (Code::bad_json, "body"),
            BatchCode::BadTime => (Code::bad_field, "sentAt"),
        };
        Self { limit: bad.limit, ..Self::new(code, bad.message).at(field) }
    }
}

impl From<Refused> for ApiError {
    fn from(refused: Refused) -> Self {
        let message = refused.to_string();
        match refused {
            Refused::Full { retry_after_s } => {
                Self { retry_after_s: Some(retry_after_s), ..Self::new(Code::outbox_full, message) }
            }
            Refused::TooLarge { limit, .. } => Self::new(Code::body_too_large, message).at("body").limit(limit),
            Refused::Failed { .. } => Self { retry_after_s: Some(1), ..Self::new(Code::storage_failed, message) },
        }
    }
}
