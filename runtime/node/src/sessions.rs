//! The session flow: what was stored of a session's events changes what its next decision sees. Owns which session views are
//! kept and that every one of them takes every event once, in the order of the outbox.
//!
//! The outbox's writer applies a group after it is on disk and before its senders have their 202, so whoever has the 202 decides
//! on it. What came of it is kept on disk (`slots`) and goes to other nodes and comes from them (`travel`): a slot for each
//! session and run of a node, of which the one that knows more replaces the other, and which a reader puts together.

mod join;
mod metrics;
mod slots;
mod travel;
mod view;

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, Weak};

use prometheus_client::registry::Registry;
use selvedge_decision::aggregate::{Aggregates, Of, Slot};
use selvedge_decision::{Epoch, NodeId, TimeUs};

pub use self::join::Join;
pub(crate) use self::slots::Slots;
pub use self::view::SessionView;
use crate::clock::Clock;
use crate::events::Event;
use crate::features::{Symbols, View};
use crate::outbox::{Follower, Lane, Outbox};

use self::metrics::Counters;
use self::view::Change;

/// The settings of the session flow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SessionsConfig {
    /// Sessions of one view; beyond, those without an event for longest are forgotten.
    pub max_sessions: usize,
    /// How long a session is kept after its last event, in microseconds.
    pub keep_us: i64,
    /// Whether what is known is kept beyond this run: on disk, and where `share` says so by other nodes.
    pub keep_slots: bool,
    /// Whether sessions go to other nodes and come from them.
    pub share: bool,
}

/// A run of a node.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Origin {
    pub(crate) node: NodeId,
    pub(crate) epoch: Epoch,
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
    me: Arc<Origin>,
    clock: Clock,
    outbox: Outbox,
    /// None with a local link.
    slots: Option<Slots>,
    /// The number behind that of the last event that was applied.
    applied: AtomicU64,
    /// The views of a release are bound: what earlier runs left has been read.
    settled: AtomicBool,
    /// Held while events are applied, and while a view takes over what another one knows.
    views: Mutex<Vec<Weak<SessionView>>>,
    /// The same views, for events that have only come.
    joining: RwLock<Vec<Weak<SessionView>>>,
}

// === impl Sessions ===

impl Sessions {
    /// Nothing is known yet; `symbols` gives texts their cells. With `slots`, what is known is kept there, and the outbox keeps
    /// events until it is.
    pub(crate) fn new(
        config: SessionsConfig,
        me: NodeId,
        symbols: Arc<Symbols>,
        clock: Clock,
        outbox: Outbox,
        slots: Option<Slots>,
    ) -> Self {
        let config = SessionsConfig { keep_slots: config.keep_slots && slots.is_some(), ..config };
        if config.keep_slots {
            outbox.hold(Lane::Events);
        }
        let inner = Inner {
            config,
            symbols,
            metrics: Counters::default(),
            me: Arc::new(Origin { node: me, epoch: outbox.epoch() }),
            clock,
            outbox,
            slots: slots.filter(|_| config.keep_slots),
            applied: AtomicU64::new(0),
            settled: AtomicBool::new(false),
            views: Mutex::default(),
            joining: RwLock::default(),
        };
        Self { inner: Arc::new(inner) }
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
        let mut joining = inner.joining.write().unwrap_or_else(PoisonError::into_inner);
        joining.retain(|view| view.strong_count() > 0);
        joining.push(Arc::downgrade(&view));
        drop(joining);
        if known.is_none() {
            self.recall(&view);
        }
        // Part by part, so that no event waits for all of it. What is not taken over yet takes no events.
        for part in 0..view::PARTS {
            let _still = self.views();
            view.take_over(part, known.as_deref());
        }
        view
    }

    /// Joins to events that came what the node knows of their items, as far as aggregates ask for it: before they are stored.
    pub fn join(&self, events: &mut [Event]) {
        let views: Vec<_> = {
            let joining = self.inner.joining.read().unwrap_or_else(PoisonError::into_inner);
            joining.iter().filter_map(Weak::upgrade).filter(|view| view.joins_features()).collect()
        };
        if views.is_empty() {
            return;
        }
        for event in events.iter_mut().filter(|event| event.session.is_some() && event.item.is_some()) {
            let mut joined = serde_json::Map::new();
            views.iter().for_each(|view| view.join(event, &mut joined));
            event.joined = (!joined.is_empty()).then(|| serde_json::Value::Object(joined).to_string());
        }
    }

    /// All views of a release are bound: nobody asks any more for what earlier runs left in the outbox.
    pub fn settled(&self) {
        self.inner.settled.store(true, Ordering::Release);
    }

    /// What earlier runs and other nodes left of a view's sessions: slots on disk, and events that no slot counts yet. Blocks.
    fn recall(&self, view: &SessionView) {
        let inner = &self.inner;
        let Some(slots) = &inner.slots else { return };
        let now_us = inner.clock.now_us();
        let mut count = 0u64;
        for kept in slots.load(&view.name, now_us.saturating_sub(inner.config.keep_us)) {
            if let Some(slot) = travel::read(&kept.json) {
                // What this node knew may not have reached the core before it ended.
                let is_ours = kept.origin.node == inner.me.node;
                count += u64::from(view.arrive(&kept.session, &Arc::new(kept.origin), &slot, now_us, is_ours));
            }
        }
        let mut events = 0u64;
        inner.outbox.earlier_events(|node, epoch, first_seq, stored| {
            let origin = Arc::new(Origin { node: node.clone(), epoch });
            for (seq, event) in (first_seq..).zip(stored) {
                if let Some(session) = &event.session {
                    view.apply_earlier(&origin, session, &event, seq);
                    events += 1;
                }
            }
        });
        if count + events > 0 {
            tracing::info!(view = view.name, slots = count, events, "sessions of earlier runs and other nodes");
        }
    }

    /// What another run knows of a session of a view. Whether a view took it.
    fn arrive(&self, view: &str, session: &str, origin: &Arc<Origin>, slot: &Slot) -> bool {
        let now_us = self.inner.clock.now_us();
        let views: Vec<_> = self.views().iter().filter_map(Weak::upgrade).filter(|known| known.name == view).collect();
        views.iter().fold(false, |taken, known| known.arrive(session, origin, slot, now_us, false) | taken)
    }

    /// What changed since this was asked last, by view. Of several views of one name the newest tells.
    fn changes(&self) -> Vec<(String, Vec<Change>)> {
        let mut all: Vec<(String, Vec<Change>)> = Vec::new();
        let views: Vec<_> = self.views().iter().rev().filter_map(Weak::upgrade).collect();
        for view in views {
            let changes = view.changes();
            if !all.iter().any(|(name, _)| *name == view.name) {
                all.push((view.name.clone(), changes));
            }
        }
        all
    }

    /// The names of the views that are bound.
    fn names(&self) -> BTreeSet<String> {
        self.views().iter().filter_map(Weak::upgrade).map(|view| view.name.clone()).collect()
    }

    fn views(&self) -> MutexGuard<'_, Vec<Weak<SessionView>>> {
        self.inner.views.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Follower for Sessions {
    fn stored(&self, lane: Lane, first_seq: u64, events: &[Event]) {
        if lane != Lane::Events {
            return;
        }
        let mut views = self.views();
        views.retain(|view| view.strong_count() > 0);
        let (mut applied, mut forgotten, mut known) = (0, 0, 0);
        for view in views.iter().filter_map(Weak::upgrade) {
            for (seq, event) in (first_seq..).zip(events) {
                if let Some(session) = &event.session {
                    forgotten += view.apply(session, event, seq);
                    applied += 1;
                }
            }
            known += view.len();
        }
        self.inner.applied.store(first_seq + events.len() as u64, Ordering::Release);
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
        Self { max_sessions: 200_000, keep_us: 24 * 3_600_000_000, keep_slots: true, share: true }
    }
}

/// Where the sources of aggregates come from, when views are bound to these.
pub fn joins(aggregates: &Aggregates, view: impl Fn(usize) -> Option<Arc<View>>) -> Option<Vec<Join>> {
    let join = |of: &Of| {
        Some(match of {
            Of::Item => Join::Item,
            Of::Property(name) => Join::Property(name.clone()),
            Of::Feature { name, view: at, field } => {
                Join::Feature { name: name.clone(), view: view(*at)?, field: *field }
            }
        })
    };
    aggregates.sources().iter().map(join).collect()
}

/// Whether a session without an event since `last_us` is still one at `now_us`.
fn is_alive(config: SessionsConfig, last_us: TimeUs, now_us: TimeUs) -> bool {
    now_us.saturating_sub(last_us) <= config.keep_us
}
