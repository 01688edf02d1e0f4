//! From errors to replies: the one place where a reason becomes a status and a stable code.

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use prometheus_client::encoding::{EncodeLabelSet, EncodeLabelValue};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;
use selvedge_decision::BadRequest;
use serde::Serialize;

use super::browser::PROTOCOLS;
use crate::decide::{BadValue, Refused};

/// A refused request.
#[derive(Debug, Clone)]
pub struct ApiError {
    /// The stable code.
    pub code: Code,
    /// For people: what, where, what to do.
    pub message: String,
    /// The field.
    pub field: Option<String>,
    /// The limit that was passed.
    pub limit: Option<usize>,
    /// When to come again, in seconds.
    pub retry_after_s: Option<u64>,
}

/// Why a request was refused; stable, and a closed set.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, EncodeLabelValue)]
#[serde(rename_all = "snake_case")]
#[expect(non_camel_case_types, reason = "the variant is the label of the counter")]
pub enum Code {
    /// Not a JSON object, not UTF-8, or nested too deep.
    bad_json,
    /// A field of the wrong type, unknown, or missing.
    bad_field,
    /// A value out of its bounds.
    out_of_bounds,
    /// The body is larger than its limit.
    body_too_large,
    /// The body did not arrive in time or broke off.
    body_incomplete,
    /// The body is not the gzip that it begins as.
    bad_encoding,
    /// The body is packed in a way that is not taken.
    unsupported_encoding,
    /// No such placement.
    unknown_placement,
    /// The placement needs candidates.
    no_candidates,
    /// No such action.
    unknown_action,
    /// A candidate stands twice.
    duplicate_candidate,
    /// The placement needs a subject or session.
    missing_unit,
    /// The batch of events is not one.
    bad_batch,
    /// Too many such requests at once, or of one key.
    too_many_requests,
    /// No key, or one that is not known here.
    bad_key,
    /// The key is for something else.
    wrong_scope,
    /// The key is not for pages of this origin.
    foreign_origin,
    /// Pages may not have it.
    not_for_browsers,
    /// Where ids are hashed, pages may not have it.
    keyed_ids,
    /// The page's SDK speaks another protocol.
    protocol,
    /// The node has no release yet.
    not_ready,
    /// All places for streams are taken, or those of this key.
    streams_full,
    /// The outbox has no room.
    outbox_full,
    /// The disk refused.
    storage_failed,
    /// The operator's key is not on this node, or nodes would refuse what it signs.
    no_operator_key,
    /// The channel is not where it was seen.
    channel_moved,
    /// The channel has nowhere to go: there is nothing there, or a node dropped it by itself.
    nothing_to_move,
    /// The core does not have the release.
    unknown_release,
    /// The core cannot be reached, or did not do it in time.
    core_failed,
    /// The core does not let this node.
    core_refused,
    /// No such path.
    not_found,
    /// The path has other methods.
    method_not_allowed,
}

/// Why a flag was not evaluated, in OpenFeature's words.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub(super) enum FlagCode {
    ParseError,
    TargetingKeyMissing,
    InvalidContext,
    FlagNotFound,
    General,
}

/// Refused requests by code.
#[derive(Debug, Clone, Default)]
pub struct Metrics {
    refused: Family<CodeLabel, Counter>,
    streams: Gauge,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct CodeLabel {
    code: Code,
}

#[derive(Serialize)]
struct Body<'a> {
    /// Which of several it is about.
    #[serde(skip_serializing_if = "Option::is_none")]
    placement: Option<&'a str>,
    error: Inner<'a>,
}

#[derive(Serialize)]
struct Inner<'a> {
    code: Code,
    message: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    field: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    limit: Option<usize>,
    /// The protocols that are spoken here, where the caller's is not.
    #[serde(skip_serializing_if = "<[u32]>::is_empty")]
    speaks: &'a [u32],
}

// === impl Metrics ===

impl Metrics {
    /// Makes them visible at `/metrics`.
    pub fn register(&self, registry: &mut Registry) {
        registry.register("selvedge_requests_refused", "Requests refused, by code", self.refused.clone());
        let streams = "Clients that are told by an open stream when another release runs";
        registry.register("selvedge_event_streams", streams, self.streams.clone());
    }

    /// Open streams.
    pub(super) fn streams(&self) -> &Gauge {
        &self.streams
    }

    pub(super) fn refused(&self, code: Code) {
        self.refused.get_or_create(&CodeLabel { code }).inc();
    }
}

// === impl FlagCode ===

impl FlagCode {
    /// As OpenTelemetry's conventions write it.
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::ParseError => "parse_error",
            Self::TargetingKeyMissing => "targeting_key_missing",
            Self::InvalidContext => "invalid_context",
            Self::FlagNotFound => "flag_not_found",
            Self::General => "general",
        }
    }
}

// === impl Code ===

impl Code {
    fn status(self) -> StatusCode {
        match self {
            Self::bad_json
            | Self::bad_field
            | Self::out_of_bounds
            | Self::no_candidates
            | Self::unknown_action
            | Self::duplicate_candidate
            | Self::missing_unit
            | Self::bad_encoding
            | Self::bad_batch => StatusCode::BAD_REQUEST,
            Self::body_too_large => StatusCode::PAYLOAD_TOO_LARGE,
            Self::body_incomplete => StatusCode::REQUEST_TIMEOUT,
            Self::unsupported_encoding => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Self::unknown_placement | Self::unknown_release | Self::not_found => StatusCode::NOT_FOUND,
            // 401 and 403 are about the key that a request brings, and this is not.
            Self::no_operator_key | Self::channel_moved | Self::nothing_to_move => StatusCode::CONFLICT,
            Self::method_not_allowed => StatusCode::METHOD_NOT_ALLOWED,
            Self::too_many_requests => StatusCode::TOO_MANY_REQUESTS,
            Self::bad_key => StatusCode::UNAUTHORIZED,
            Self::wrong_scope | Self::foreign_origin | Self::not_for_browsers | Self::keyed_ids => {
                StatusCode::FORBIDDEN
            }
            Self::protocol => StatusCode::UPGRADE_REQUIRED,
            Self::not_ready | Self::streams_full | Self::outbox_full | Self::storage_failed | Self::core_failed => {
                StatusCode::SERVICE_UNAVAILABLE
            }
            Self::core_refused => StatusCode::BAD_GATEWAY,
        }
    }
}

// === impl ApiError ===

impl ApiError {
    pub(super) fn new(code: Code, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), field: None, limit: None, retry_after_s: None }
    }

    pub(super) fn at(mut self, field: impl Into<String>) -> Self {
        self.field = Some(field.into());
        self
    }

    pub(super) fn limit(mut self, limit: usize) -> Self {
        self.limit = Some(limit);
        self
    }

    /// The status and the code that OpenFeature's protocol has for it: it knows 400, 401, 403, 404, 429 and 500, and no others.
    pub(super) fn of_flag(&self) -> (StatusCode, FlagCode) {
        match self.code {
            Code::missing_unit if self.field.as_deref() == Some("subject") => {
                (StatusCode::BAD_REQUEST, FlagCode::TargetingKeyMissing)
            }
            Code::out_of_bounds if self.field.as_deref() == Some("candidates") => {
                (StatusCode::BAD_REQUEST, FlagCode::General)
            }
            Code::bad_json | Code::body_incomplete | Code::bad_encoding | Code::unsupported_encoding => {
                (StatusCode::BAD_REQUEST, FlagCode::ParseError)
            }
            Code::bad_field | Code::out_of_bounds | Code::body_too_large | Code::missing_unit => {
                (StatusCode::BAD_REQUEST, FlagCode::InvalidContext)
            }
            Code::unknown_placement | Code::no_candidates | Code::not_found => {
                (StatusCode::NOT_FOUND, FlagCode::FlagNotFound)
            }
            Code::unknown_action | Code::duplicate_candidate | Code::bad_batch | Code::method_not_allowed => {
                (StatusCode::BAD_REQUEST, FlagCode::General)
            }
            Code::too_many_requests => (StatusCode::TOO_MANY_REQUESTS, FlagCode::General),
            Code::bad_key => (StatusCode::UNAUTHORIZED, FlagCode::General),
            Code::wrong_scope | Code::foreign_origin | Code::not_for_browsers | Code::keyed_ids | Code::protocol => {
                (StatusCode::FORBIDDEN, FlagCode::General)
            }
            Code::not_ready
            | Code::streams_full
            | Code::outbox_full
            | Code::storage_failed
            | Code::no_operator_key
            | Code::channel_moved
            | Code::nothing_to_move
            | Code::unknown_release
            | Code::core_failed
            | Code::core_refused => (StatusCode::INTERNAL_SERVER_ERROR, FlagCode::General),
        }
    }

    /// As JSON; with the placement that it is about, where it is about one of several.
    pub(super) fn json(&self, placement: Option<&str>) -> Vec<u8> {
        let error = Inner {
            code: self.code,
            message: &self.message,
            field: self.field.as_deref(),
            limit: self.limit,
            speaks: if self.code == Code::protocol { &PROTOCOLS } else { &[] },
        };
        serde_json::to_vec(&Body { placement, error }).unwrap_or_default()
    }

    /// The field inside part `part` of a batch, if it is one of a part's; what all parts share keeps its name.
    pub(super) fn inside(mut self, part: usize) -> Self {
        let of_part = |field: &String| ["placement", "candidates", "slots"].iter().any(|own| field.starts_with(own));
        self.field =
            self.field.map(|field| if of_part(&field) { format!("placements[{part}].{field}") } else { field });
        self
    }
}

impl From<Refused> for ApiError {
    fn from(refused: Refused) -> Self {
        let message = refused.to_string();
        match refused {
            Refused::NotReady => Self { retry_after_s: Some(1), ..Self::new(Code::not_ready, message) },
            Refused::UnknownPlacement { .. } => Self::new(Code::unknown_placement, message).at("placement"),
            Refused::NotForBrowsers { .. } | Refused::NotForKey { .. } => {
                Self::new(Code::not_for_browsers, message).at("placement")
            }
            Refused::Value(BadValue { field, limit, .. }) => {
                let code = if limit.is_some() { Code::out_of_bounds } else { Code::bad_field };
                // With the field in it: a page's console shows the message alone.
                Self { limit, ..Self::new(code, message).at(field) }
            }
            Refused::Request(bad) => match bad {
                BadRequest::NoCandidates => Self::new(Code::no_candidates, message).at("candidates"),
                BadRequest::TooManyCandidates { limit, .. } => {
                    Self::new(Code::out_of_bounds, message).at("candidates").limit(limit)
                }
                BadRequest::UnknownAction { index, .. } => {
                    Self::new(Code::unknown_action, message).at(format!("candidates[{index}]"))
                }
                BadRequest::Twice { index, .. } => {
                    Self::new(Code::duplicate_candidate, message).at(format!("candidates[{index}]"))
                }
                BadRequest::NoUnit(unit) => Self::new(Code::missing_unit, message).at(unit),
            },
        }
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let mut response =
            (self.code.status(), [(header::CONTENT_TYPE, "application/json")], self.json(None)).into_response();
        if let Some(seconds) = self.retry_after_s {
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        let what_to_do = match self.code {
            Code::unsupported_encoding => Some((header::ACCEPT_ENCODING, "gzip")),
            Code::bad_key => Some((header::WWW_AUTHENTICATE, "Bearer")),
            _ => None,
        };
        if let Some((name, value)) = what_to_do {
            response.headers_mut().insert(name, HeaderValue::from_static(value));
        }
        response
    }
}

pub(super) async fn not_found() -> ApiError {
    ApiError::new(Code::not_found, "there is no such path here; /openapi.json on the public listener lists them")
}

pub(super) async fn wrong_method() -> ApiError {
    ApiError::new(Code::method_not_allowed, "this path has another method; /openapi.json lists them")
}
