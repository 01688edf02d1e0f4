//! Clients that are told by server-sent events when another release runs, or another canary beside it. Owns a client's place and how long
//! it may keep it, what it knows, and when there is something to tell; what an event says is the route's.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::http::HeaderName;
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use futures_util::{Stream, StreamExt as _};
use prometheus_client::metrics::gauge::Gauge;
use selvedge_decision::Digest;
use tokio::sync::watch;
use tokio::time::{Interval, MissedTickBehavior};

use super::Public;
use super::error::{ApiError, Code};
use crate::keys::{Access, PublishableKey};
use crate::releases::{Running, Status};

/// How often something is sent, so that no proxy takes the connection for dead, and whether the client's key still is one is looked at.
const KEEP_ALIVE: Duration = Duration::from_secs(15);
/// When a client that found no place may come again, in seconds.
const RETRY_AFTER_S: u64 = 60;
/// What stands before a release's digest.
pub(super) const DIGEST: &str = "sha256:";

/// Places for streams, and who has them.
#[derive(Debug)]
pub struct Streams {
    most: usize,
    open: Mutex<Open>,
}

/// Open streams, in all and by the name of a publishable key.
#[derive(Debug, Default)]
struct Open {
    all: usize,
    by_key: BTreeMap<String, usize>,
}

/// Who has a stream.
#[derive(Debug, Clone)]
pub(super) enum Holder {
    /// Whoever asks, where there are no keys.
    Anybody,
    /// Pages of a key.
    Page(Arc<PublishableKey>),
    /// A server, by the hash of its key.
    Server(Digest),
}

/// One client.
pub(super) struct Client {
    changes: watch::Receiver<Arc<Status>>,
    stop: watch::Receiver<bool>,
    /// What runs as far as the client knows; empty for nothing.
    pub(super) knows: String,
    place: Place,
    access: Access,
    look: Interval,
}

/// The place of an open stream, which is free again when this is dropped.
struct Place {
    streams: Arc<Streams>,
    holder: Holder,
    gauge: Gauge,
}

/// What runs.
pub(super) struct Runs {
    /// The digest of the release, and the canary's with its share where there is one.
    pub(super) id: String,
    /// Since when, in seconds.
    pub(super) since_s: i64,
}

// === impl Streams ===

impl Streams {
    /// So many places.
    pub fn new(most: usize) -> Self {
        Self { most, open: Mutex::default() }
    }

    /// Whether there is a place left.
    pub(super) fn has_room(&self) -> bool {
        self.open.lock().unwrap_or_else(PoisonError::into_inner).all < self.most
    }

    /// Takes a place; `None` when there is none. Of several keys none has more than half of the places, so that one page that opens
    /// stream after stream does not take those of the others.
    fn enter(self: &Arc<Self>, holder: Holder, access: &Access, gauge: &Gauge) -> Option<Place> {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        if open.all >= self.most {
            return None;
        }
        if let Holder::Page(key) = &holder {
            let most = if access.page_names() > 1 { self.most.div_ceil(2) } else { self.most };
            let of_key = open.by_key.entry(key.name().to_owned()).or_default();
            if *of_key >= most {
                return None;
            }
            *of_key += 1;
        }
        open.all += 1;
        gauge.inc();
        Some(Place { streams: Arc::clone(self), holder, gauge: gauge.clone() })
    }
}

// === impl Place ===

impl Place {
    /// How many streams there are of the same key, or in all where it has none.
    fn beside(&self) -> usize {
        let open = self.streams.open.lock().unwrap_or_else(PoisonError::into_inner);
        match &self.holder {
            Holder::Page(key) => open.by_key.get(key.name()).copied().unwrap_or(0),
            Holder::Anybody | Holder::Server(_) => open.all,
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut open = self.streams.open.lock().unwrap_or_else(PoisonError::into_inner);
        open.all -= 1;
        if let Holder::Page(key) = &self.holder
            && let Some(of_key) = open.by_key.get_mut(key.name())
        {
            *of_key -= 1;
            if *of_key == 0 {
                open.by_key.remove(key.name());
            }
        }
        self.gauge.dec();
    }
}

// === impl Client ===

impl Client {
    /// A client that knows what runs now.
    ///
    /// # Errors
    ///
    /// When there is no place.
    pub(super) fn new(api: &Public, holder: Holder) -> Result<Self, ApiError> {
        let place = api.streams.enter(holder, &api.access, api.metrics.streams()).ok_or_else(full)?;
        let mut look = tokio::time::interval_at(tokio::time::Instant::now() + KEEP_ALIVE, KEEP_ALIVE);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let (changes, stop) = (api.releases.changes(), api.stop.clone());
        let mut client = Self { changes, stop, knows: String::new(), place, access: api.access.clone(), look };
        client.learn();
        Ok(client)
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

    /// How many clients of the same key there are, and the key.
    pub(super) fn beside(&self) -> (usize, Option<&PublishableKey>) {
        let key = match &self.place.holder {
            Holder::Page(key) => Some(&**key),
            Holder::Anybody | Holder::Server(_) => None,
        };
        (self.place.beside(), key)
    }

    /// Waits until something runs that the client does not know; `None` when the node stops, or the client's key is none any more.
    pub(super) async fn other(&mut self) -> Option<Runs> {
        loop {
            let is_look = tokio::select! {
                changed = self.changes.changed() => changed.ok().map(|()| false)?,
                _ = self.stop.wait_for(|stop| *stop) => return None,
                _ = self.look.tick() => true,
            };
            if is_look {
                if !self.may_stay() {
                    return None;
                }
                continue;
            }
            if let Some(runs) = Runs::of(&self.status()).filter(|runs| runs.id != self.knows) {
                return Some(runs);
            }
        }
    }

    /// Waits for so long; `None` when the node stops meanwhile.
    pub(super) async fn wait(&mut self, time: Duration) -> Option<()> {
        tokio::select! {
            () = tokio::time::sleep(time) => Some(()),
            _ = self.stop.wait_for(|stop| *stop) => None,
        }
    }

    fn may_stay(&self) -> bool {
        match &self.place.holder {
            Holder::Anybody => true,
            Holder::Page(key) => self.access.has_page(key),
            Holder::Server(key) => self.access.has_server(key),
        }
    }
}

/// Why there is no place.
fn full() -> ApiError {
    let why = "as many streams are open as http.max_streams allows, or as one key of several may have: ask now and then instead";
    ApiError { retry_after_s: Some(RETRY_AFTER_S), ..ApiError::new(Code::streams_full, why) }
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

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;
    use crate::clock::Clock;

    /// Access by a file of publishable keys of these names, and the key of each.
    fn access(names: &[&str]) -> (Access, Vec<Holder>, tempfile::NamedTempFile) {
        let file = tempfile::NamedTempFile::new().unwrap();
        let lines = names.iter().zip(0..).map(|(name, at)| {
            format!(
                r#"{{"publishable":{{"name":"{name}","key":"pk_{at:024}","origins":["*"],"placements":["*"],"rate":100,"burst":100}}}}"#
            )
        });
        std::fs::write(file.path(), lines.map(|line| line + "\n").collect::<String>()).unwrap();
        let access = Access::open(Some(file.path()), Clock::new()).unwrap();
        let key = |at: usize| access.page(Some(&format!("pk_{at:024}")), None).unwrap().unwrap();
        let holders = (0..names.len()).map(|at| Holder::Page(key(at))).collect();
        (access, holders, file)
    }

    /// Opens streams until there is no place more.
    fn fill(streams: &Arc<Streams>, holder: &Holder, access: &Access) -> Vec<Place> {
        std::iter::from_fn(|| streams.enter(holder.clone(), access, &Gauge::default())).collect()
    }

    #[test]
    fn of_several_keys_none_has_more_than_half_of_the_places() {
        let streams = Arc::new(Streams::new(5));
        let (one, holders, _file) = access(&["web"]);
        assert_eq!(fill(&streams, &holders[0], &one).len(), 5, "a key alone has all");

        // Two keys of one name are one, of which the new takes the place of the old.
        let (rotated, holders, _file) = access(&["web", "web"]);
        let old = fill(&streams, &holders[0], &rotated);
        assert_eq!(old.len(), 5);
        assert!(!streams.has_room() && streams.enter(holders[1].clone(), &rotated, &Gauge::default()).is_none());
        drop(old);

        let (two, holders, _file) = access(&["web", "app"]);
        let web = fill(&streams, &holders[0], &two);
        assert_eq!((web.len(), web[0].beside()), (3, 3));
        let app = fill(&streams, &holders[1], &two);
        assert_eq!((app.len(), app[0].beside()), (2, 2));
        assert!(streams.enter(Holder::Anybody, &two, &Gauge::default()).is_none());
        drop((web, app));
        let open = streams.open.lock().unwrap();
        assert_eq!((open.all, open.by_key.len()), (0, 0), "what is closed leaves nothing behind");
    }
}
