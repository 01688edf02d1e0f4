//! First sight: whom an on-demand view does not hold, and what is known of them. Owns who is being fetched, who the core is
//! known not to have, and that a row fetched is never older than what the feed brought. Must not know tables or the wire.

use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use foldhash::fast::RandomState;
use selvedge_decision::TimeUs;
use tokio::sync::{mpsc, watch};

use crate::features::entity::is_entity;
use crate::features::metrics::SightMetrics;
use crate::link::LinkState;

/// How much may be on its way and remembered.
#[derive(Debug, Clone, Copy)]
pub struct SightLimits {
    /// Entities that are being fetched.
    pub fetches: usize,
    /// Entities remembered as those the core does not have.
    pub absent: usize,
    /// How long they are, in microseconds.
    pub absent_us: i64,
}

/// What is known of an entity that is not held.
#[derive(Debug, Clone)]
pub(in crate::features) enum Sight {
    /// The core has no row of it.
    Absent,
    /// It is being fetched; the receiver's channel closes when that is over.
    Fetching(watch::Receiver<()>),
    /// The core cannot be reached.
    Unreachable,
    /// As many are being fetched as may be.
    Busy,
}

/// Who is being fetched, and who is known to be absent.
pub(in crate::features) struct Sights {
    pub(in crate::features) metrics: SightMetrics,
    limits: SightLimits,
    link: watch::Receiver<LinkState>,
    wanted: mpsc::Sender<Arc<str>>,
    /// The last fetch was not answered, though the link seems to be there.
    silent: AtomicBool,
    /// Until when an entity counts as absent.
    absent: papaya::HashMap<Arc<str>, TimeUs, RandomState>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    pending: HashMap<Arc<str>, Pending, RandomState>,
    /// The absent, in the order in which they are forgotten.
    expiring: VecDeque<(TimeUs, Arc<str>)>,
    /// Goes up whenever the feed begins anew: what was asked for before may have been answered before.
    era: u64,
}

struct Pending {
    era: u64,
    /// The last sequence that the feed brought of it meanwhile.
    seen: u64,
    /// Dropped when the fetch is over.
    done: watch::Sender<()>,
}

/// What an answer is worth.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Worth {
    /// It is how things are.
    Current,
    /// The feed brought something newer.
    Stale,
    /// The feed began anew since it was asked for: it must be asked for again.
    Unknown,
}

/// A shard of many may have so many rows on their way at least: those of one decision.
const LEAST_FETCHES: usize = 32;

// === impl SightLimits ===

impl SightLimits {
    /// What each of so many shards may have, so that a view has no more than it says; of fetches a few more when they are many.
    pub(in crate::features) fn shared_by(self, shards: usize) -> Self {
        let shards = shards.max(1);
        let fetches = self.fetches.div_ceil(shards).max(LEAST_FETCHES.min(self.fetches));
        Self { fetches, absent: self.absent.div_ceil(shards), ..self }
    }
}

// === impl Sights ===

impl Sights {
    /// Nobody was seen yet. Who receives `wanted` fetches.
    pub(in crate::features) fn new(
        limits: SightLimits,
        metrics: SightMetrics,
        link: watch::Receiver<LinkState>,
    ) -> (Self, mpsc::Receiver<Arc<str>>) {
        let (wanted, receiver) = mpsc::channel(limits.fetches);
        let absent = papaya::HashMap::with_hasher(RandomState::default());
        let (silent, state) = (AtomicBool::new(false), Mutex::default());
        (Self { metrics, limits, link, wanted, silent, absent, state }, receiver)
    }

    /// What is known of an entity that is not held. When that is nothing and the core is there, it is fetched from now on.
    pub(in crate::features) fn sight(&self, entity: &str, now_us: TimeUs) -> Sight {
        if self.lacks(entity, now_us) {
            return Sight::Absent;
        }
        if !self.link.borrow().is_connected() {
            return Sight::Unreachable;
        }
        let mut state = self.state();
        if let Some(pending) = state.pending.get(entity) {
            return Sight::Fetching(pending.done.subscribe());
        }
        let entity: Arc<str> = Arc::from(entity);
        if state.pending.len() >= self.limits.fetches || self.wanted.try_send(Arc::clone(&entity)).is_err() {
            return Sight::Busy;
        }
        Sight::Fetching(state.begin(entity).subscribe())
    }

    /// What is known of an entity that is not held, without asking for it.
    pub(in crate::features) fn known(&self, entity: &str, now_us: TimeUs) -> Option<Sight> {
        if self.lacks(entity, now_us) {
            return Some(Sight::Absent);
        }
        if !self.link.borrow().is_connected() {
            return Some(Sight::Unreachable);
        }
        self.state().pending.get(entity).map(|pending| Sight::Fetching(pending.done.subscribe()))
    }

    /// Whether waiting for a fetch makes sense: the core answered the last one.
    pub(in crate::features) fn answers(&self) -> bool {
        !self.silent.load(Ordering::Relaxed)
    }

    /// How many are known to be absent.
    pub(in crate::features) fn absent(&self) -> usize {
        self.absent.len()
    }

    /// An entity is fetched again although it is held. `false` when it is being fetched already.
    pub(super) fn again(&self, entity: &Arc<str>) -> bool {
        let mut state = self.state();
        let is_new = !state.pending.contains_key(entity);
        if is_new {
            state.begin(Arc::clone(entity));
        }
        is_new
    }

    /// The feed begins anew: what was known of absence, and what is being asked for, may be from before.
    pub(super) fn begin_anew(&self) {
        let mut state = self.state();
        state.era += 1;
        state.expiring.clear();
        self.absent.pin().clear();
    }

    /// The feed brings a change. Whether somebody asked for the entity lately, so that a row of it is to be held.
    pub(super) fn changed(&self, entity: &str, seq: u64, is_put: bool) -> bool {
        let mut state = self.state();
        let absent = self.absent.pin();
        let was_absent = if is_put { absent.remove(entity).is_some() } else { absent.contains_key(entity) };
        let Some(pending) = state.pending.get_mut(entity) else { return was_absent };
        pending.seen = pending.seen.max(seq);
        true
    }

    /// A fetch was answered by the message with this sequence, or by none.
    pub(super) fn answered(&self, entity: &str, seq: Option<u64>) -> Worth {
        self.silent.store(false, Ordering::Relaxed);
        let mut state = self.state();
        let era = state.era;
        match state.pending.get_mut(entity) {
            Some(pending) if pending.era != era => {
                pending.era = era;
                Worth::Unknown
            }
            Some(pending) if pending.seen >= seq.unwrap_or(1) => Worth::Stale,
            Some(_) => Worth::Current,
            None => Worth::Stale,
        }
    }

    /// A fetch was not answered.
    pub(super) fn failed(&self) {
        self.silent.store(true, Ordering::Relaxed);
        self.metrics.fetched_failed.inc();
    }

    /// A fetch is over: whoever waits for it is told.
    pub(in crate::features) fn done(&self, entity: &str) {
        self.state().pending.remove(entity);
    }

    /// The core does not have an entity.
    pub(super) fn is_absent(&self, entity: &str, now_us: TimeUs) {
        let until_us = now_us.saturating_add(self.limits.absent_us);
        let entity: Arc<str> = Arc::from(entity);
        let mut state = self.state();
        let absent = self.absent.pin();
        absent.insert(Arc::clone(&entity), until_us);
        state.expiring.push_back((until_us, entity));
        // Those whose time is over, and beyond the limit the oldest.
        while let Some((until_us, _)) = state.expiring.front()
            && (*until_us <= now_us || state.expiring.len() > self.limits.absent)
        {
            let Some((until_us, entity)) = state.expiring.pop_front() else { return };
            if absent.get(&*entity) == Some(&until_us) {
                absent.remove(&*entity);
            }
        }
    }

    /// Whether the core is known not to have an entity, or cannot have it.
    fn lacks(&self, entity: &str, now_us: TimeUs) -> bool {
        self.absent.pin().get(entity).is_some_and(|until_us| now_us < *until_us) || !is_entity(entity)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

// === impl State ===

impl State {
    fn begin(&mut self, entity: Arc<str>) -> &watch::Sender<()> {
        let pending = Pending { era: self.era, seen: 0, done: watch::Sender::new(()) };
        &self.pending.entry(entity).or_insert(pending).done
    }
}
