//! The console: its page, and the JSON that it reads, on the admin listener. Owns the routes, what browsers must know of the answers, and
//! how often the core is asked for what this node does not know itself. Reads from the flows; what it moves, and for whom, is
//! `console/channel.rs`'s.

mod channel;
mod decisions;
mod files;
mod live;
mod release;

use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Router;
use axum::extract::{Request, State};
use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::middleware::{Next, from_fn, map_response};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use selvedge_build::channel::{Pointer, time_text};
use serde::Serialize;
use serde_json::{Value, json};
use tokio::sync::{Mutex, Semaphore, watch};

use super::error::{ApiError, Code};
use super::{Admin, Limits};
use crate::bandits::Bandits;
use crate::console::Console;
use crate::decide::{Active, Decider};
use crate::ids::Ids;
use crate::link::Link;
use crate::outbox::Outbox;
use crate::releases::{NodeReport, Operator, Releases};

/// What the page may load: its own files, nothing else, nothing inline.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' data:; \
                      base-uri 'none'; form-action 'none'; frame-ancestors 'none'";
/// What a request that makes the node work must say, which no page of another origin can.
const MARK: &str = "x-selvedge-console";
/// How long what the core said of nodes and channels is told again.
const CORE_EVERY: Duration = Duration::from_secs(2);
/// Pages that are told at once of what happens.
pub(crate) const MOST_LIVE: usize = 16;

/// What the console reads.
pub struct ConsoleApi {
    /// What there is to look back on.
    pub console: Console,
    /// Decides what would be.
    pub decider: Arc<Decider>,
    /// What runs.
    pub releases: Releases<Active>,
    /// What was learned.
    pub bandits: Bandits,
    /// Decisions that are not in memory any more.
    pub outbox: Outbox,
    /// What becomes of the ids of people.
    pub ids: Ids,
    /// How the core is reached.
    pub link: Link,
    /// What moves the channel, where the operator's key is here.
    pub operator: Option<Operator>,
    /// The bounds of requests.
    pub limits: Limits,
    /// When the node stops, which ends the streams.
    pub stop: watch::Receiver<bool>,
    /// Places for pages that are told of what happens.
    pub live: Arc<Semaphore>,
    /// What the core said last.
    pub core: AtCore,
}

/// What the core said last of nodes and channels, and when.
#[derive(Debug, Default)]
pub struct AtCore(Mutex<Option<(Instant, Value)>>);

/// The page and its files, which are no secret: without them nobody could be asked for a key.
pub(super) fn page() -> Router<Arc<Admin>> {
    Router::new()
        .route("/console", get(files::redirect))
        .route("/console/", get(files::index))
        .route("/console/{file}", get(files::file))
        .layer(map_response(told))
}

/// What the page reads, and what it moves; that also under a path of its own, for who is no page.
pub(super) fn api() -> Router<Arc<Admin>> {
    Router::new()
        .route("/console/api/status", get(super::admin::status))
        .route("/console/api/samples", get(live::samples))
        .route("/console/api/live", get(live::open))
        .route("/console/api/nodes", get(nodes))
        .route("/console/api/decisions", get(decisions::all))
        .route("/console/api/decisions/{id}", get(decisions::one))
        .route("/console/api/release", get(release::told))
        .route("/console/api/rules", get(release::rules))
        .route("/console/api/views/{view}/{entity}", get(release::entity))
        .route("/console/api/views/{view}/{first}/{second}", get(release::pair))
        .route("/console/api/experiments", get(experiments))
        .route("/console/api/bandits", get(bandits))
        .route("/console/api/decide", post(decisions::what_if))
        .route("/console/api/channel", post(channel::moved))
        .layer(from_fn(guard))
        .route("/v1/channel", post(channel::moved))
        .layer(map_response(told))
}

/// Keeps the pages of others from making the node work.
async fn guard(request: Request, next: Next) -> Response {
    if !request.method().is_safe() && !request.headers().contains_key(MARK) {
        let message = format!("a request that makes the node work needs the header {MARK}");
        return ApiError::new(Code::bad_field, message).at(MARK).into_response();
    }
    next.run(request).await
}

/// An answer with what browsers must know of it.
async fn told(mut response: Response) -> Response {
    let headers = response.headers_mut();
    for (name, value) in [
        (header::CONTENT_SECURITY_POLICY, POLICY),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "no-referrer"),
        (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
        (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    headers.entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    response
}

/// Which node runs what, as the core knows it.
async fn nodes(State(api): State<Arc<Admin>>) -> Response {
    let api = &api.console;
    let mut seen = api.core.0.lock().await;
    if let Some((at, value)) = &*seen
        && at.elapsed() < CORE_EVERY
    {
        return reply(value);
    }
    let value = api.ask_core().await;
    let response = reply(&value);
    *seen = Some((Instant::now(), value));
    response
}

async fn experiments(State(api): State<Arc<Admin>>) -> Response {
    let api = &api.console;
    let Some(active) = Option::as_ref(&api.releases.active()).map(Arc::clone) else {
        return reply(&json!({ "experiments": [] }));
    };
    let told = api.console.experiments().told(&active.plan);
    reply(&json!({ "experiments": told, "release": active.digest_text }))
}

async fn bandits(State(api): State<Arc<Admin>>) -> Response {
    let api = &api.console;
    let told = api.bandits.told();
    let history = api.console.bandits();
    let all: Vec<_> = told.iter().map(|told| json!({ "now": told, "history": history.of(&told.bandit) })).collect();
    drop(history);
    reply(&json!({ "bandits": all }))
}

fn reply(body: &impl Serialize) -> Response {
    let json = serde_json::to_vec(body).unwrap_or_default();
    (StatusCode::OK, [(header::CONTENT_TYPE, "application/json")], json).into_response()
}

// === impl ConsoleApi ===

impl ConsoleApi {
    async fn ask_core(&self) -> Value {
        let Link::Nats(nats) = &self.link else {
            return json!({ "kind": "local", "channels": [], "nodes": [], "operator": null, "problem": null });
        };
        let url = nats.config().url_for_people();
        if !nats.state().borrow().is_connected() {
            let problem = "the core cannot be reached";
            return json!({
                "kind": "nats", "url": url, "channels": [], "nodes": [], "operator": null, "problem": problem,
            });
        }
        let (channels, reports) = tokio::join!(nats.channels(), NodeReport::read_all(nats));
        let problem = channels.as_ref().err().or(reports.as_ref().err()).map(ToString::to_string);
        let channels: Vec<Value> = channels
            .unwrap_or_default()
            .into_iter()
            .map(|(name, value)| match Pointer::read(&name, &value.bytes) {
                Ok(pointer) => json!({
                    "channel": name,
                    "release": pointer.release.to_string(),
                    "counter": pointer.counter,
                    "expires": time_text(pointer.expires_us),
                    "canary": pointer.canary.as_ref().map(|canary| json!({
                        "release": canary.release.to_string(), "share_bp": canary.share_bp, "where": canary.on,
                    })),
                }),
                Err(bad) => json!({ "channel": name, "problem": bad.to_string() }),
            })
            .collect();
        let nodes = reports.unwrap_or_default();
        let operator = self.told_of_operator(nats).await;
        json!({
            "kind": "nats", "url": url, "channels": channels, "nodes": nodes, "operator": operator, "problem": problem,
        })
    }
}
