//! `POST /ofrep/v1/evaluate/flags/{key}` and `/ofrep/v1/evaluate/flags`: OpenFeature's remote evaluation protocol (OFREP 0.3.0), for
//! its unchanged providers. Owns its envelopes; what a flag is stands in `decide/flags.rs`, what it is to users in
//! `docs/openfeature.md`.

pub(super) mod stream;

use std::borrow::Cow;
use std::sync::Arc;

use axum::extract::rejection::PathRejection;
use axum::extract::{Path, Request, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};

use super::error::{ApiError, Code, FlagCode};
use super::spans::Told;
use super::{Public, body, etag};
use crate::decide::{AllFlags, Context, Refused, Text, Wire};
use crate::keys::Scope;
use crate::telemetry::otlp::Evaluation;

/// When one that came beside too many is to come again, in seconds.
const RETRY_AFTER_S: u64 = 1;

/// The body of either request; a provider without a context sends `{}`.
#[derive(Deserialize)]
struct Evaluate<'a> {
    #[serde(borrow, default)]
    context: Context<'a>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Failure<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    key: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error_code: Option<FlagCode>,
    error_details: String,
}

/// Characters of a flag's key that are told of it.
const MOST_TOLD: usize = 100;

pub(super) async fn one(
    State(api): State<Arc<Public>>,
    key: Result<Path<String>, PathRejection>,
    request: Request,
) -> Response {
    let key = match key {
        Ok(Path(key)) => key,
        Err(wrong) => {
            let error = ApiError::new(Code::unknown_placement, format!("no key of a flag: {wrong}")).at("key");
            return api.refuse(Some(""), &error);
        }
    };
    // A caller may ask for any text: of a long one the beginning is told.
    let short = || key.chars().take(MOST_TOLD).collect();
    let mut told = api.otlp.is_on().then(|| Evaluation { key: short(), ..Evaluation::default() });
    let mut response = match api.flag(&key, request, told.as_mut()).await {
        Ok(flag) => (StatusCode::OK, [(header::CONTENT_TYPE, "application/json")], flag).into_response(),
        Err(error) => {
            if let Some(told) = &mut told {
                (told.reason, told.error) = ("error", Some((error.of_flag().1.as_str(), details(&error))));
            }
            api.refuse(Some(&key), &error)
        }
    };
    if let Some(told) = told {
        response.extensions_mut().insert(Told::Flag(told));
    }
    response
}

pub(super) async fn all(State(api): State<Arc<Public>>, request: Request) -> Response {
    match api.flags(request).await {
        Ok(flags) => {
            let told = flags.decided;
            let mut response = api.list(flags);
            if api.otlp.is_on() {
                response.extensions_mut().insert(Told::Decisions(told));
            }
            response
        }
        Err(error) => api.refuse(None, &error),
    }
}

// === impl Public ===

impl Public {
    async fn flag(&self, key: &str, request: Request, mut told: Option<&mut Evaluation>) -> Result<Vec<u8>, ApiError> {
        let (_, bytes) = self.admitted(request, Scope::Decide, self.limits.decide_body).await?;
        let wire = Wire { placement: Text::from(key), ..self.wire(&bytes)? };
        if let Some(told) = &mut told {
            // A person's own id goes nowhere else; what the node's key made of it may.
            told.context_id = wire.subject.as_ref().filter(|_| self.ids.is_keyed()).map(|id| id.as_str().to_owned());
        }
        let flag = self.decider.evaluate(&wire).await?;
        if let Some(told) = told {
            told.decision_id = Some(flag.id.to_string());
            told.variant = flag.variant;
            told.reason = flag.reason;
            told.version = Some(flag.active.digest_text.clone());
        }
        Ok(flag.json)
    }

    async fn flags(&self, request: Request) -> Result<AllFlags, ApiError> {
        let (head, bytes) = self.admitted(request, Scope::Decide, self.limits.decide_body).await?;
        let wire = self.wire(&bytes)?;
        let Ok(_place) = self.bulk.try_acquire() else {
            let why = "as many evaluations of all flags as http.max_bulk allows are under way: come again";
            let error = ApiError::new(Code::too_many_requests, why);
            return Err(ApiError { retry_after_s: Some(RETRY_AFTER_S), ..error });
        };
        let known = |tag: &str| etag::knows(&head.headers, tag);
        Ok(self.decider.evaluate_all(&wire, known, failed).await?)
    }

    fn wire<'a>(&self, bytes: &'a [u8]) -> Result<Wire<'a>, ApiError> {
        let Evaluate { context } = body::parse(bytes)?;
        Ok(Wire::of_flags(context).map_err(Refused::from)?.known_as(&self.ids))
    }

    fn list(&self, flags: AllFlags) -> Response {
        // Weak: equal for equal flags, though each answer has decision ids of its own.
        let tag = HeaderValue::try_from(format!("W/\"{}\"", flags.tag)).unwrap_or(HeaderValue::from_static("\"\""));
        let Some(list) = flags.json else {
            return (StatusCode::NOT_MODIFIED, [(header::ETAG, tag)]).into_response();
        };
        // A stream is opened without headers, and a server key does not belong into an address: with keys, providers poll.
        let streams = self.access.is_open() && self.streams.has_room();
        let streams = if streams { stream::told(&flags.release) } else { String::new() };
        let mut json = Vec::with_capacity(list.len() + streams.len() + flags.release.len() + 64);
        json.extend_from_slice(b"{\"flags\":[");
        json.extend_from_slice(&list);
        json.extend_from_slice(format!("],{streams}\"metadata\":{{\"release\":\"{}\"}}}}", flags.release).as_bytes());
        let kind = HeaderValue::from_static("application/json");
        (StatusCode::OK, [(header::CONTENT_TYPE, kind), (header::ETAG, tag)], json).into_response()
    }

    fn refuse(&self, key: Option<&str>, error: &ApiError) -> Response {
        self.metrics.refused(error.code);
        let (status, code) = error.of_flag();
        // Of a bulk call the protocol has no code beside 500; a provider that finds one takes it for the caller's mistake.
        let code = Some(code).filter(|_| key.is_some() || status != StatusCode::INTERNAL_SERVER_ERROR);
        let body = Failure { key, error_code: code, error_details: details(error) };
        let body = serde_json::to_vec(&body).unwrap_or_default();
        let mut response = (status, [(header::CONTENT_TYPE, "application/json")], body).into_response();
        if let Some(seconds) = error.retry_after_s {
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        response
    }
}

/// A flag of the list that cannot be evaluated.
fn failed(key: &str, refused: Refused) -> Vec<u8> {
    let error = ApiError::from(refused);
    let failure = Failure { key: Some(key), error_code: Some(error.of_flag().1), error_details: details(&error) };
    serde_json::to_vec(&failure).unwrap_or_default()
}

/// The message, with fields by the names that this interface has for them.
fn details(error: &ApiError) -> String {
    let field = error.field.as_deref().map(|field| match field {
        "subject" => Cow::from("context.targetingKey"),
        "session" => "context.session".into(),
        other => other.into(),
    });
    match (error.code, field) {
        (Code::no_candidates, _) => {
            "this placement ranks the items that a request names, so it is no flag: ask POST /v1/decide".to_owned()
        }
        (Code::missing_unit, Some(field)) => format!("this flag needs `{field}`"),
        (Code::bad_field | Code::out_of_bounds, Some(field)) => format!("{field}: {}", error.message),
        _ => error.message.clone(),
    }
}
