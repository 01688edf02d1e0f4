//! The channel, moved by who uses the admin listener. Owns what a request for it looks like, that no page of somebody else's can make
//! one, and the line in the log that says who did. What a move is, is `releases/operator.rs`'s.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, Uri, header};
use axum::response::{IntoResponse, Response};
use selvedge_build::channel::{Pointer, time_text};
use selvedge_decision::Digest;
use serde::Deserialize;
use serde_json::{Value, json};

use super::super::admin::host;
use super::super::error::{ApiError, Code};
use super::super::{Admin, access, body};
use super::{ConsoleApi, reply};
use crate::link::nats::releases::CoreError;
use crate::link::{Link, LinkState, NatsLink};
use crate::releases::{Move, Moved, NotMoved, point};

/// Bytes of a request.
const MOST_BYTES: usize = 1_024;
/// How long a look at the channel's history may take.
const HISTORY_WITHIN: Duration = Duration::from_secs(2);
/// Earlier releases that are told.
const MOST_EARLIER: usize = 8;

/// `{"move":"promote","seen":7}`
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Wanted {
    #[serde(rename = "move")]
    way: Way,
    /// For [`Way::Release`] alone.
    #[serde(default)]
    release: Option<String>,
    /// The counter under which the channel was seen.
    seen: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Way {
    Promote,
    Rollback,
    Release,
}

pub(super) async fn moved(State(api): State<Arc<Admin>>, request: Request) -> Response {
    let (head, body) = request.into_parts();
    let who = api.access.name(access::key(&head.headers));
    let (to, seen) = match asked(&api, &head, body).await {
        Ok(asked) => asked,
        Err(error) => return error.into_response(),
    };
    // On its own: who closes the page meanwhile must not keep the log from saying what was done.
    let moving = tokio::spawn(async move { api.console.moves(to, seen, who.as_deref()).await });
    match moving.await {
        Ok(Ok(told)) => reply(&told),
        Ok(Err(error)) => error.into_response(),
        Err(error) => ApiError::new(Code::core_failed, format!("the move broke off: {error}")).into_response(),
    }
}

/// Where to, and the counter that was seen. Without keys it must be this node's own page that asks, or no page at all.
async fn asked(api: &Admin, head: &Parts, body: Body) -> Result<(Move, u64), ApiError> {
    if api.access.is_open() {
        is_of_its_own_page(&head.uri, &head.headers)?;
    }
    is_json(&head.headers)?;
    let bytes = body::read(&head.headers, body, MOST_BYTES, api.console.limits.client_timeout).await?;
    let wanted: Wanted = body::parse(&bytes)?;
    Ok((wanted.to()?, wanted.seen))
}

/// Refuses a page of another origin. Browsers say whose page asks; who says nothing is no page.
fn is_of_its_own_page(uri: &Uri, head: &HeaderMap) -> Result<(), ApiError> {
    let Some(origin) = head.get(header::ORIGIN) else { return Ok(()) };
    let origin = origin.to_str().unwrap_or_default();
    let place = origin.split_once("://").map(|(_, place)| place);
    if place.is_some() && place == host(head, uri) {
        return Ok(());
    }
    let message = format!("a page of {origin:?} moves no channel: the console of this node does");
    Err(ApiError::new(Code::foreign_origin, message).at("origin"))
}

/// Refuses what a page can send without asking first whether it may.
fn is_json(head: &HeaderMap) -> Result<(), ApiError> {
    let kind = head.get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    let kind = kind.split(';').next().unwrap_or_default().trim();
    if kind.eq_ignore_ascii_case("application/json") {
        return Ok(());
    }
    let message = "a move is JSON and says so: content-type: application/json";
    Err(ApiError::new(Code::bad_field, message).at("content-type"))
}

// === impl Wanted ===

impl Wanted {
    fn to(&self) -> Result<Move, ApiError> {
        match (self.way, &self.release) {
            (Way::Promote, None) => Ok(Move::Promote),
            (Way::Rollback, None) => Ok(Move::Rollback),
            (Way::Release, Some(release)) => match release.parse::<Digest>() {
                Ok(release) => Ok(Move::To(release)),
                Err(bad) => Err(ApiError::new(Code::bad_field, bad.to_string()).at("release")),
            },
            (Way::Release, None) => {
                let message = "a move to a release names it: \"release\": \"sha256:…\"";
                Err(ApiError::new(Code::bad_field, message).at("release"))
            }
            (Way::Promote | Way::Rollback, Some(_)) => {
                let message = "the channel says where that goes: leave the release out, or say \"move\": \"release\"";
                Err(ApiError::new(Code::bad_field, message).at("release"))
            }
        }
    }
}

// === impl ConsoleApi ===

impl ConsoleApi {
    /// Moves the channel that this node follows. `who` is the key that asked for it, where there are keys.
    async fn moves(&self, to: Move, seen: u64, who: Option<&str>) -> Result<Value, ApiError> {
        let channel = self.releases.status().channel.clone();
        let Link::Nats(nats) = &self.link else {
            let message = "this node runs a folder and follows no channel: what is saved in the folder runs";
            return Err(ApiError::new(Code::no_operator_key, message));
        };
        let Some(operator) = &self.operator else {
            let message = format!(
                "this node has no operator's key (console.operator_key); where the key is, run: {}",
                command(to, &channel, nats)
            );
            return Err(ApiError::new(Code::no_operator_key, message));
        };
        let state = nats.state().borrow().clone();
        if let LinkState::Down { why, .. } = state {
            return Err(ApiError::new(Code::core_failed, format!("the core cannot be reached: {why}")));
        }
        let moved = operator.point(nats, &channel, to, seen).await;
        // What the core said last is not so any more.
        *self.core.0.lock().await = None;
        let by = who.unwrap_or("-");
        match moved {
            Ok(Moved { from, to }) => {
                let (from, counter) = (text(from.as_ref()), to.counter);
                tracing::info!(
                    channel,
                    by,
                    from,
                    to = text(Some(&to)),
                    counter,
                    "channel moved by the operator's key of this node"
                );
                Ok(json!({
                    "channel": channel,
                    "release": to.release.to_string(),
                    "canary": to.canary,
                    "counter": counter,
                    "expires": time_text(to.expires_us),
                }))
            }
            Err(why) => {
                tracing::warn!(channel, by, ?to, seen, %why, "channel not moved by the operator's key of this node");
                Err(why.into())
            }
        }
    }

    /// Whether the channel can be moved from here, by which key, and which releases it pointed to before.
    pub(super) async fn told_of_operator(&self, nats: &NatsLink) -> Value {
        let Some(operator) = &self.operator else { return Value::Null };
        let name = match operator.name() {
            Ok(name) => name,
            Err(why) => return json!({ "problem": NotMoved::from(why).to_string() }),
        };
        let channel = self.releases.status().channel.clone();
        let history = tokio::time::timeout(HISTORY_WITHIN, nats.channel_history(&channel)).await;
        let history = history.ok().and_then(Result::ok).unwrap_or_default();
        let earlier = point::earlier(&channel, &history).into_iter().take(MOST_EARLIER);
        json!({ "key": name, "earlier": earlier.map(|release| release.to_string()).collect::<Vec<_>>() })
    }
}

/// The same move where the key is.
fn command(to: Move, channel: &str, nats: &NatsLink) -> String {
    let what = match to {
        Move::Promote => "promote".to_owned(),
        Move::Rollback => "rollback".to_owned(),
        Move::To(release) => format!("rollback --release {release}"),
    };
    format!("selvedge {what} --to {channel} --key FILE --nats {}", nats.config().url_for_people())
}

/// What a channel said, in the log.
fn text(pointer: Option<&Pointer>) -> String {
    let Some(pointer) = pointer else { return "nothing that could be read".to_owned() };
    let canary = pointer.canary.as_ref();
    let canary = canary.map(|canary| format!(", and {} for {}", canary.release, canary.share_text()));
    format!("{}{}", pointer.release, canary.unwrap_or_default())
}

impl From<NotMoved> for ApiError {
    fn from(not: NotMoved) -> Self {
        let message = not.to_string();
        match not {
            NotMoved::Untrusted(_) => Self::new(Code::no_operator_key, message),
            NotMoved::Stale { .. } | NotMoved::Core(CoreError::Changed { .. }) => {
                Self::new(Code::channel_moved, message).at("seen")
            }
            NotMoved::Nowhere(_) => Self::new(Code::nothing_to_move, message).at("move"),
            NotMoved::NoRelease(_) => Self::new(Code::unknown_release, message).at("release"),
            NotMoved::Core(CoreError::Denied { .. }) => Self::new(Code::core_refused, message),
            NotMoved::Core(_) | NotMoved::Late => Self::new(Code::core_failed, message),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use axum::http::HeaderValue;

    use super::*;

    #[test]
    fn a_move_says_where_to_and_what_was_seen() {
        let check = |text: &str, expected: Result<Move, &str>| {
            let moved = body::parse::<Wanted>(text.as_bytes()).and_then(|wanted| wanted.to());
            let moved = moved.map_err(|error| error.field.unwrap_or_default());
            assert_eq!(moved, expected.map_err(str::to_owned), "{text}");
        };
        let release = Digest::of(b"r");
        check(r#"{"move":"promote","seen":7}"#, Ok(Move::Promote));
        check(r#"{"move":"rollback","seen":0}"#, Ok(Move::Rollback));
        check(&format!(r#"{{"move":"release","release":"{release}","seen":7}}"#), Ok(Move::To(release)));
        check(r#"{"move":"release","release":"sha256:7","seen":7}"#, Err("release"));
        check(r#"{"move":"release","seen":7}"#, Err("release"));
        check(&format!(r#"{{"move":"promote","release":"{release}","seen":7}}"#), Err("release"));
        check(r#"{"move":"deploy","seen":7}"#, Err("move"));
        check(r#"{"move":"promote"}"#, Err("body"));
        check(r#"{"move":"promote","seen":7,"force":true}"#, Err("force"));
    }

    #[test]
    fn only_the_page_of_this_node_asks() {
        let check = |origin: Option<&'static str>, expected: bool| {
            let mut head = HeaderMap::new();
            head.insert(header::HOST, HeaderValue::from_static("localhost:7071"));
            head.extend(origin.map(|origin| (header::ORIGIN, HeaderValue::from_static(origin))));
            let allowed = is_of_its_own_page(&"/v1/channel".parse().unwrap(), &head);
            assert_eq!(allowed.is_ok(), expected, "{origin:?}");
        };
        check(None, true);
        check(Some("http://localhost:7071"), true);
        for origin in
            ["http://localhost:8080", "http://localhost", "https://evil.example", "null", "", "localhost:7071"]
        {
            check(Some(origin), false);
        }
    }

    #[test]
    fn what_a_page_sends_without_asking_is_no_move() {
        let check = |kind: Option<&'static str>, expected: bool| {
            let mut head = HeaderMap::new();
            head.extend(kind.map(|kind| (header::CONTENT_TYPE, HeaderValue::from_static(kind))));
            assert_eq!(is_json(&head).is_ok(), expected, "{kind:?}");
        };
        check(Some("application/json"), true);
        check(Some("Application/JSON; charset=utf-8"), true);
        for kind in [
            "text/plain",
            "text/plain;application/json",
            "application/x-www-form-urlencoded",
            "multipart/form-data",
            "",
        ] {
            check(Some(kind), false);
        }
        check(None, false);
    }
}
