//! `GET /ofrep/v1/events`: server-sent events that tell a provider to evaluate its flags again when another release runs, or another
//! canary beside it. Owns what a client that was away is told: one event, when it comes back to others than it knew.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Request, State};
use axum::http::{StatusCode, header};
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use futures_util::Stream;
use prometheus_client::metrics::gauge::Gauge;
use tokio::sync::{OwnedSemaphorePermit, watch};

use super::super::Public;
use crate::releases::{Running, Status};

/// Where it is.
pub(in super::super) const PATH: &str = "/ofrep/v1/events";
/// How often something is sent, so that no proxy takes the connection for dead.
const KEEP_ALIVE: Duration = Duration::from_secs(15);
/// When a client that found no place may come again, in seconds.
const RETRY_AFTER_S: &str = "60";
/// What stands before a release's digest.
const DIGEST: &str = "sha256:";

/// One client.
struct Told {
    changes: watch::Receiver<Arc<Status>>,
    stop: watch::Receiver<bool>,
    /// What ran when the client evaluated, or what it is being told of.
    knows: String,
    _place: OwnedSemaphorePermit,
    _counted: Counted,
}

/// Counts a stream as long as it is open.
struct Counted(Gauge);

/// What a list of flags says of the stream, as a member of its JSON object. Without an origin: that of the page's own calls counts.
pub(super) fn told(release: &str) -> String {
    let digest = release.trim_start_matches(DIGEST);
    format!("\"eventStreams\":[{{\"type\":\"sse\",\"endpoint\":{{\"requestUri\":\"{PATH}?release={digest}\"}}}}],")
}

pub(in super::super) async fn open(State(api): State<Arc<Public>>, request: Request) -> Response {
    let Ok(place) = api.streams.clone().try_acquire_owned() else {
        return (StatusCode::SERVICE_UNAVAILABLE, [(header::RETRY_AFTER, RETRY_AFTER_S)]).into_response();
    };
    let mut changes = api.releases.changes();
    // A browser sends what it was told last when it comes back; before, it is what its flags were evaluated with.
    let last = request.headers().get("last-event-id").and_then(|id| id.to_str().ok()).map(str::to_owned);
    let asked = request.uri().query().and_then(|query| query.split('&').find_map(|pair| pair.strip_prefix("release=")));
    let status = changes.borrow_and_update().clone();
    // Whoever evaluated with one of those that run knows both: the subject says which of them it is.
    let is_current = |asked: &str| {
        let running = status.active.as_ref().into_iter().chain(status.canary.as_ref().map(|canary| &canary.running));
        running.map(|running| running.release.trim_start_matches(DIGEST)).any(|digest| digest == asked)
    };
    let asked = asked.filter(|asked| !is_current(asked)).map(str::to_owned);
    let knows = last.filter(|last| !last.is_empty()).or(asked);
    let knows = knows.unwrap_or_else(|| running(&status).map_or_else(String::new, |(id, _)| id));
    changes.mark_changed();
    let counted = Counted::new(api.metrics.streams());
    let told = Told { changes, stop: api.stop.clone(), knows, _place: place, _counted: counted };
    Sse::new(events(told)).keep_alive(KeepAlive::new().interval(KEEP_ALIVE)).into_response()
}

fn events(told: Told) -> impl Stream<Item = Result<Event, Infallible>> {
    futures_util::stream::unfold(told, |mut told| async move {
        let event = told.next().await?;
        Some((Ok(event), told))
    })
}

// === impl Told ===

impl Told {
    /// The next event; `None` when the node stops.
    async fn next(&mut self) -> Option<Event> {
        loop {
            tokio::select! {
                changed = self.changes.changed() => changed.ok()?,
                _ = self.stop.wait_for(|stop| *stop) => return None,
            }
            let Some((release, since_s)) = running(&self.changes.borrow_and_update()) else { continue };
            if release != self.knows {
                let data =
                    format!("{{\"type\":\"refetchEvaluation\",\"etag\":\"{release}\",\"lastModified\":{since_s}}}");
                let event = Event::default().event("message").id(&release).data(data);
                self.knows = release;
                return Some(event);
            }
        }
    }
}

/// What runs, and since when, in seconds: the digest of the release, and the canary's with its share where there is one.
fn running(status: &Status) -> Option<(String, i64)> {
    let digest = |running: &Running| running.release.trim_start_matches(DIGEST).to_owned();
    let active = status.active.as_ref()?;
    let (id, since_us) = match &status.canary {
        Some(canary) => {
            let (running, share_bp) = (&canary.running, canary.share_bp);
            (format!("{}.{}.{share_bp}", digest(active), digest(running)), running.since_us.max(active.since_us))
        }
        None => (digest(active), active.since_us),
    };
    Some((id, since_us / 1_000_000))
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
