//! The session flow: what was stored of a session's events changes what its next decision sees. Owns which views of events are
//! kept and that every one that is counted here takes every event once, in the order of the outbox.
//!
//! The outbox's writer applies a group after it is on disk and before its senders have their 202, so whoever has the 202 decides
//! on it. What came of it is kept on disk (`slots`) and goes to other nodes and comes from them (`travel`): a slot for each
//! session and run of a node, of which the one that knows more replaces the other, and which a reader puts together. What more
//! than one node must see, of people and items, the core counts (`crate::aggregates`), and it comes here as slots (`core`).

mod core;
mod erased;
mod join;
mod metrics;
mod slots;
mod travel;
mod view;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, Weak};

use prometheus_client::registry::Registry;
use selvedge_decision::aggregate::{Aggregates, Of, Slot};
use selvedge_decision::definition::By;
use selvedge_decision::plan::ViewPlan;
use selvedge_decision::{Epoch, NodeId, Plan, TimeUs};

pub use self::join::{Join, entity_of, values};
pub(crate) use self::slots::Slots;
pub use self::view::SessionView;
use tokio::sync::Notify;

use crate::aggregates::name_of;
use crate::clock::Clock;
use crate::events::Event;
use crate::features::{Symbols, View, ViewStatus};
use crate::outbox::{Follower, Lane, Outbox};

use self::core::Core;
use self::metrics::Counters;
use self::view::{Change, Keep};

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
    /// People, items and pairs of one view; beyond, those without an event for longest are forgotten.
    pub max_entities: usize,
    /// The same for the bytes of their slots.
    pub max_bytes: usize,
    /// Whether these are counted at the core. With a local link this node sees all there is, and counts them itself.
    pub core: bool,
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
    /// Sessions of people who were erased: what began in them before is not taken any more.
    erased: Mutex<HashMap<String, TimeUs>>,
    /// Views that the core counts and that are not followed yet.
    bound: Mutex<Vec<Weak<SessionView>>>,
    more_bound: Notify,
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
            erased: Mutex::default(),
            bound: Mutex::default(),
            more_bound: Notify::new(),
        };
        Self { inner: Arc::new(inner) }
    }

    /// Makes what it counts visible at `/metrics`.
    pub fn register(&self, registry: &mut Registry) {
        self.inner.metrics.register(registry);
        registry.register_collector(Box::new(metrics::Counted(self.clone())));
    }

    /// The view `name` by `by` with these aggregates, which join what `joins` says. A view that means the same is shared; one
    /// that has aggregates in common with it takes over what that knows. Blocks.
    pub fn bind(&self, name: &str, by: &By, aggregates: &Arc<Aggregates>, joins: Vec<Join>) -> Arc<SessionView> {
        let known =
            self.views().iter().rev().filter_map(Weak::upgrade).find(|view| view.name == name && view.is_by(by));
        if let Some(view) = known.as_ref().filter(|view| view.is(by, aggregates, &joins)) {
            return Arc::clone(view);
        }
        let inner = &self.inner;
        let (aggregates, symbols) = (Arc::clone(aggregates), Arc::clone(&inner.symbols));
        let core =
            (inner.config.core && !by.is_session()).then(|| Core::new(inner.clock.now_us(), inner.metrics.forgotten()));
        let is_counted = core.is_some();
        let keep = inner.config.keep(by);
        let view =
            Arc::new(SessionView::new((name, by, &inner.me), aggregates, joins, symbols, keep, core, known.as_deref()));
        self.views().push(Arc::downgrade(&view));
        let mut joining = inner.joining.write().unwrap_or_else(PoisonError::into_inner);
        joining.retain(|view| view.strong_count() > 0);
        joining.push(Arc::downgrade(&view));
        drop(joining);
        if known.is_none() {
            if is_counted { self.recall_counted(&view) } else { self.recall(&view) }
        }
        // Part by part, so that no event waits for all of it. What is not taken over yet takes no events.
        for part in 0..view::PARTS {
            let _still = self.views();
            view.take_over(part, known.as_deref());
        }
        if is_counted {
            inner.bound.lock().unwrap_or_else(PoisonError::into_inner).push(Arc::downgrade(&view));
            inner.more_bound.notify_one();
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
        for event in events.iter_mut().filter(|event| event.item.is_some()) {
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
                if let Some(session) = view.entity_of(&event) {
                    view.apply_earlier(&origin, &session, &event, seq);
                    events += 1;
                }
            }
        });
        if count + events > 0 {
            tracing::info!(view = view.name, slots = count, events, "sessions of earlier runs and other nodes");
        }
    }

    /// What the core had counted when this node last heard of it. Blocks.
    fn recall_counted(&self, view: &SessionView) {
        let Some(slots) = &self.inner.slots else { return };
        for kept in slots.load(&name_of(&view.name), TimeUs::MIN) {
            if let Some(slot) = travel::read(&kept.json) {
                view.put(&kept.session, &Arc::new(kept.origin), Some((&slot, kept.json.len())));
            }
        }
    }

    /// How the views are that the core counts.
    pub fn status(&self) -> Vec<ViewStatus> {
        let now_us = self.inner.clock.now_us();
        let views: Vec<_> = self.views().iter().rev().filter_map(Weak::upgrade).collect();
        let mut status: Vec<ViewStatus> = Vec::new();
        for view in views {
            // Of several of one name the newest tells.
            if !status.iter().any(|known| known.view == view.name) {
                status.extend(view.status(now_us));
            }
        }
        status.sort_by(|a, b| a.view.cmp(&b.view));
        status
    }

    /// What another run knows of a session of a view. Whether a view took it.
    fn arrive(&self, view: &str, session: &str, origin: &Arc<Origin>, slot: &Slot) -> bool {
        let now_us = self.inner.clock.now_us();
        if self.is_erased(session, slot) {
            return false;
        }
        let is_it = |known: &Arc<SessionView>| known.name == view && known.core.is_none();
        let views: Vec<_> = self.views().iter().filter_map(Weak::upgrade).filter(is_it).collect();
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

    /// The names of the views that are counted here.
    fn names(&self) -> BTreeSet<String> {
        let views = self.views();
        let here = views.iter().filter_map(Weak::upgrade).filter(|view| view.core.is_none());
        here.map(|view| view.name.clone()).collect()
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
        for view in views.iter().filter_map(Weak::upgrade).filter(|view| view.core.is_none()) {
            for (seq, event) in (first_seq..).zip(events) {
                if let Some(session) = view.entity_of(event) {
                    forgotten += view.apply(&session, event, seq);
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

impl SessionsConfig {
    /// How much of a view by these is kept.
    fn keep(&self, by: &By) -> Keep {
        let tells = self.keep_slots && (by.is_session() || !self.core);
        if by.is_session() {
            Keep { sessions: self.max_sessions, bytes: usize::MAX, us: self.keep_us, tells }
        } else {
            Keep { sessions: self.max_entities, bytes: self.max_bytes, us: i64::MAX, tells }
        }
    }
}

impl Default for SessionsConfig {
    fn default() -> Self {
        Self {
            max_sessions: 200_000,
            keep_us: 24 * 3_600_000_000,
            keep_slots: true,
            share: true,
            max_entities: 50_000_000,
            max_bytes: 8 << 30,
            core: false,
        }
    }
}

/// What of items a view's aggregates join to events, for their values and for whose they are, when views are bound to these.
pub fn joins(plan: &Plan, counted: &ViewPlan, view: impl Fn(usize) -> Option<Arc<View>>) -> Option<Vec<Join>> {
    let sources = counted.aggregates.as_ref().map_or(&[][..], |aggregates| aggregates.sources());
    let values = sources.iter().filter_map(|of| match of {
        Of::Item | Of::Property(_) => None,
        Of::Feature { name, view, field } => Some((name, (*view, *field))),
    });
    let whose = counted.def.by.names().iter().filter_map(|name| Some((name, plan.feature(name)?)));
    let features: BTreeMap<&String, (usize, usize)> = values.chain(whose).collect();
    let join =
        |(name, (at, field)): (&String, (usize, usize))| Some(Join { name: name.clone(), view: view(at)?, field });
    features.into_iter().map(join).collect()
}

/// Whether a session without an event since `last_us` is still one at `now_us`, when it is kept for so long.
fn is_alive(keep_us: i64, last_us: TimeUs, now_us: TimeUs) -> bool {
    now_us.saturating_sub(last_us) <= keep_us
}
