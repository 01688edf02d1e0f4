//! The session flow: what was stored of a session's events changes what its next decision sees. Owns which session views are
//! kept and that every one of them takes every event once, in the order of the outbox.
//!
//! The outbox's writer applies a group after it is on disk and before its senders have their 202, so whoever has the 202 decides
//! on it.

mod join;
mod metrics;
mod view;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use prometheus_client::registry::Registry;
use selvedge_decision::TimeUs;
use selvedge_decision::aggregate::{Aggregates, Of};

pub use self::join::Join;
pub use self::view::SessionView;
use crate::events::Event;
use crate::features::{Symbols, View};
use crate::outbox::{Follower, Lane};

use self::metrics::Counters;

/// The settings of the session flow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SessionsConfig {
    /// Sessions of one view; beyond, those without an event for longest are forgotten.
    pub max_sessions: usize,
    /// How long a session is kept after its last event, in microseconds.
    pub keep_us: i64,
}

/// The node's sessions. Cheap to clone: all clones are one.
#[derive(Clone)]
pub struct Sessions {
    inner: Arc<Inner>,
}

struct Inner {
    config: SessionsConfig,
    symbols: Arc<Symbols>,
    metrics: Counters,
    /// Held while events are applied, and while a view takes over what another one knows.
    views: Mutex<Vec<Weak<SessionView>>>,
}

// === impl Sessions ===

impl Sessions {
    /// Nothing is known yet; `symbols` gives texts their cells.
    pub fn new(config: SessionsConfig, symbols: Arc<Symbols>) -> Self {
        Self { inner: Arc::new(Inner { config, symbols, metrics: Counters::default(), views: Mutex::default() }) }
    }

    /// Makes what it counts visible at `/metrics`.
    pub fn register(&self, registry: &mut Registry) {
        self.inner.metrics.register(registry);
    }

    /// The view `name` with these aggregates, whose values come from `joins`, one for each of [`Aggregates::sources`]. A view that
    /// means the same is shared; one that has aggregates in common with it takes over what that knows. Blocks.
    pub fn bind(&self, name: &str, aggregates: &Arc<Aggregates>, joins: Vec<Join>) -> Arc<SessionView> {
        let known = self.views().iter().rev().filter_map(Weak::upgrade).find(|view| view.name == name);
        if let Some(view) = known.as_ref().filter(|view| view.is(aggregates, &joins)) {
            return Arc::clone(view);
        }
        let inner = &self.inner;
        let (aggregates, symbols) = (Arc::clone(aggregates), Arc::clone(&inner.symbols));
        let view = SessionView::new(name, aggregates, joins, symbols, inner.config, known.as_deref());
        let view = Arc::new(view);
        self.views().push(Arc::downgrade(&view));
        // Part by part, so that no event waits for all of it. What is not taken over yet takes no events.
        for part in 0..view::PARTS {
            let _still = self.views();
            view.take_over(part, known.as_deref());
        }
        view
    }

    fn views(&self) -> MutexGuard<'_, Vec<Weak<SessionView>>> {
        self.inner.views.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Follower for Sessions {
    fn stored(&self, lane: Lane, events: &[Event]) {
        if lane != Lane::Events {
            return;
        }
        let mut views = self.views();
        views.retain(|view| view.strong_count() > 0);
        let (mut applied, mut forgotten, mut known) = (0, 0, 0);
        for view in views.iter().filter_map(Weak::upgrade) {
            for event in events {
                if let Some(session) = &event.session {
                    forgotten += view.apply(session, event);
                    applied += 1;
                }
            }
            known += view.len();
        }
        self.inner.metrics.applied(applied, forgotten, known);
    }
}

impl std::fmt::Debug for Sessions {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Sessions").field("config", &self.inner.config).finish_non_exhaustive()
    }
}

// === impl SessionsConfig ===

impl Default for SessionsConfig {
    fn default() -> Self {
        Self { max_sessions: 200_000, keep_us: 24 * 3_600_000_000 }
    }
}

/// Where the sources of aggregates come from, when views are bound to these.
pub fn joins(aggregates: &Aggregates, view: impl Fn(usize) -> Option<Arc<View>>) -> Option<Vec<Join>> {
    let join = |of: &Of| {
        Some(match of {
            Of::Item => Join::Item,
            Of::Property(name) => Join::Property(name.clone()),
            Of::Feature { view: at, field, .. } => Join::Feature { view: view(*at)?, field: *field },
        })
    };
    aggregates.sources().iter().map(join).collect()
}

/// Whether a session without an event since `last_us` is still one at `now_us`.
fn is_alive(config: SessionsConfig, last_us: TimeUs, now_us: TimeUs) -> bool {
    now_us.saturating_sub(last_us) <= config.keep_us
}
