//! Clients that are told by server-sent events when another release runs, or another canary beside it. Owns a client's place, what it
//! knows, and when there is something to tell; what an event says is the route's.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::http::{HeaderName, StatusCode, header};
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use futures_util::{Stream, StreamExt as _};
use prometheus_client::metrics::gauge::Gauge;
use tokio::sync::{OwnedSemaphorePermit, watch};

use super::Public;
use crate::releases::{Running, Status};

/// How often something is sent, so that no proxy takes the connection for dead.
const KEEP_ALIVE: Duration = Duration::from_secs(15);
/// When a client that found no place may come again, in seconds.
const RETRY_AFTER_S: &str = "60";
/// What stands before a release's digest.
pub(super) const DIGEST: &str = "sha256:";

/// One client.
pub(super) struct Client {
    changes: watch::Receiver<Arc<Status>>,
    stop: watch::Receiver<bool>,
    /// What runs as far as the client knows; empty for nothing.
    pub(super) knows: String,
    _place: OwnedSemaphorePermit,
    counted: Counted,
}

/// Counts a stream as long as it is open.
struct Counted(Gauge);

/// What runs.
pub(super) struct Runs {
    /// The digest of the release, and the canary's with its share where there is one.
    pub(super) id: String,
    /// Since when, in seconds.
    pub(super) since_s: i64,
}

// === impl Client ===

impl Client {
    /// A client that knows what runs now; `None` when there is no place.
    pub(super) fn new(api: &Public) -> Option<Self> {
        let place = api.streams.clone().try_acquire_owned().ok()?;
        let counted = Counted::new(api.metrics.streams());
        let changes = api.releases.changes();
        let mut client = Self { changes, stop: api.stop.clone(), knows: String::new(), _place: place, counted };
        client.learn();
        Some(client)
    }

    /// What is known of releases now, which the client knows from here on.
    pub(super) fn learn(&mut self) -> Arc<Status> {
        let status = self.status();
        self.knows = Runs::of(&status).map_or_else(String::new, |runs| runs.id);
        status
    }

    /// What is known of releases now.
    pub(super) fn status(&mut self) -> Arc<Status> {
        Arc::clone(&self.changes.borrow_and_update())
    }

    /// What runs may be another than what the client turned out to know.
    pub(super) fn look_again(&mut self) {
        self.changes.mark_changed();
    }

    /// How many clients there are.
    pub(super) fn all(&self) -> usize {
        usize::try_from(self.counted.0.get()).unwrap_or(0)
    }

    /// Waits until something runs that the client does not know; `None` when the node stops.
    pub(super) async fn other(&mut self) -> Option<Runs> {
        loop {
            tokio::select! {
                changed = self.changes.changed() => changed.ok()?,
                _ = self.stop.wait_for(|stop| *stop) => return None,
            }
            if let Some(runs) = Runs::of(&self.status()).filter(|runs| runs.id != self.knows) {
                return Some(runs);
            }
        }
    }
}

/// The answer where there is no place.
pub(super) fn full() -> Response {
    (StatusCode::SERVICE_UNAVAILABLE, [(header::RETRY_AFTER, RETRY_AFTER_S)]).into_response()
}

/// The answer that a client reads events from.
pub(super) fn answer(events: impl Stream<Item = Event> + Send + 'static) -> Response {
    let events = Sse::new(events.map(Ok::<_, Infallible>)).keep_alive(KeepAlive::new().interval(KEEP_ALIVE));
    // Proxies of the nginx kind keep an answer back until it is whole, unless it says so.
    ([(HeaderName::from_static("x-accel-buffering"), "no")], events).into_response()
}

// === impl Runs ===

impl Runs {
    /// What runs by this status; `None` when nothing does.
    pub(super) fn of(status: &Status) -> Option<Self> {
        let digest = |running: &Running| running.release.trim_start_matches(DIGEST).to_owned();
        let active = status.active.as_ref()?;
        let (id, since_us) = match &status.canary {
            Some(canary) => {
                let (running, share_bp) = (&canary.running, canary.share_bp);
                let id = format!("{}.{}.{share_bp}", digest(active), digest(running));
                (id, running.since_us.max(active.since_us))
            }
            None => (digest(active), active.since_us),
        };
        Some(Self { id, since_s: since_us / 1_000_000 })
    }
}

// === impl Counted ===

impl Counted {
    fn new(gauge: &Gauge) -> Self {
        gauge.inc();
        Self(gauge.clone())
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.dec();
    }
}
