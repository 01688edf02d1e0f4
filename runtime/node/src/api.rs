//! HTTP: the two listeners and their routes. Owns what a request looks like on the wire and how an error becomes a status;
//! everything else is the flows'. The only place that names axum.

mod access;
mod admin;
mod body;
mod browser;
mod console;
mod cors;
mod decide;
mod error;
mod etag;
mod events;
mod gzip;
pub mod health;
mod ofrep;
mod serve;
mod spans;
mod stream;
mod tls;

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::middleware::from_fn_with_state;
use axum::routing::{get, post};
use prometheus_client::registry::Registry;
use tokio::sync::{Semaphore, watch};

pub(crate) use console::MOST_LIVE;
pub use console::{AtCore, ConsoleApi};
pub use cors::{BadOrigin, Cors};
pub use error::{ApiError, Code, Metrics};
pub use serve::{Listening, ServeConfig, serve};
pub use stream::Streams;
pub use tls::{Tls, open as open_tls};

use crate::clock::Clock;
use crate::decide::{Active, Decider, Shelf};
use crate::events::Unknown;
use crate::ids::Ids;
use crate::keys::Access;
use crate::outbox::Outbox;
use crate::releases::Releases;
use crate::sessions::Sessions;
use crate::telemetry::otlp::Otlp;
use crate::tokens::Tokens;

/// What the public routes work with.
pub struct Public {
    /// Decides.
    pub decider: Arc<Decider>,
    /// Takes events.
    pub outbox: Outbox,
    /// Knows which events there are.
    pub releases: Releases<Active>,
    /// Counts those that it does not know.
    pub unknown_events: Unknown,
    /// What of an event is asked when it comes.
    pub sessions: Sessions,
    /// What becomes of the ids of people, before anybody else sees them.
    pub ids: Ids,
    /// What browsers prove by that a choice was made for them.
    pub tokens: Tokens,
    /// Stamps them.
    pub clock: Clock,
    /// The bounds of requests.
    pub limits: Limits,
    /// Places for evaluations of all flags at once.
    pub bulk: Semaphore,
    /// Places for clients that are told when another release runs.
    pub streams: Arc<Streams>,
    /// The pages that may ask for flags, and where there are no keys, for decisions.
    pub cors: Cors,
    /// Sends spans and events of flags, or not.
    pub otlp: Otlp,
    /// Who may call.
    pub access: Access,
    /// The modules that browsers may have.
    pub lifted: Shelf,
    /// When the node stops, which ends the streams.
    pub stop: watch::Receiver<bool>,
    /// What is counted here.
    pub metrics: Metrics,
}

/// The bounds of requests.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Bytes of a decision request.
    pub decide_body: usize,
    /// Placements of a batch.
    pub batch: usize,
    /// Bytes of the rows that a page gets.
    pub page_rows: usize,
    /// Bounds of events.
    pub events: crate::events::Limits,
    /// How long a body may take to arrive.
    pub client_timeout: Duration,
}

/// What the admin routes work with.
pub struct Admin {
    /// Whether the node can do its work, and why not.
    pub health: health::Health,
    /// Who may call.
    pub access: Access,
    /// Everything counted.
    pub registry: Registry,
    /// What the console reads.
    pub console: ConsoleApi,
}

/// The public routes.
pub fn public(api: Arc<Public>) -> Router {
    let flags = Router::new()
        .route("/ofrep/v1/evaluate/flags", post(ofrep::all).options(cors::preflight))
        .route("/ofrep/v1/evaluate/flags/{key}", post(ofrep::one).options(cors::preflight))
        .route(ofrep::stream::PATH, get(ofrep::stream::open).options(cors::preflight))
        .layer(from_fn_with_state(api.clone(), cors::allow));
    let large = Router::new()
        .route("/v1/decide/batch", post(decide::batch))
        .route("/openapi.json", get(admin::openapi))
        .layer(from_fn_with_state(gzip::SERVERS, gzip::answers));
    let router = Router::new()
        .route("/v1/decide", post(decide::one))
        .route("/v1/events", post(events::take))
        .merge(large)
        .merge(flags)
        .merge(browser::routes(&api))
        .fallback(error::not_found)
        .method_not_allowed_fallback(error::wrong_method);
    // Not there at all when no spans are sent: a decision pays for what is used.
    let router = if api.otlp.is_on() { router.layer(from_fn_with_state(api.clone(), spans::span)) } else { router };
    router.with_state(api)
}

/// The admin routes. Those that load balancers probe are everybody's; all others answer to who has a key with the scope `admin`, or where
/// there are no keys, to who calls the node by what no stranger can point to it.
pub fn admin(api: Arc<Admin>) -> Router {
    let keyed = Router::new()
        .route("/metrics", get(admin::metrics))
        .route("/version", get(admin::version))
        .route("/v1/status", get(admin::status))
        .merge(console::api())
        .layer(from_fn_with_state(gzip::SERVERS, gzip::answers))
        .layer(from_fn_with_state(api.clone(), access::admin));
    let named = keyed.merge(console::page()).layer(from_fn_with_state(api.clone(), admin::named));
    Router::new()
        .route("/livez", get(admin::livez))
        .route("/readyz", get(admin::readyz))
        .merge(named)
        .fallback(error::not_found)
        .method_not_allowed_fallback(error::wrong_method)
        .with_state(api)
}
