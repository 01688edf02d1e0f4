//! The sessions of one view. Owns where they lie in memory, how what several nodes saw of one is put together, and which are
//! forgotten: two generations, of which the older goes when the younger is full, so that a session with an event in between
//! stays.

use std::collections::HashMap;
use std::hash::BuildHasher;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use foldhash::fast::RandomState;
use selvedge_decision::TimeUs;
use selvedge_decision::aggregate::{Aggregates, Happening, Slot, State, Value};

use super::join::{Join, Read, to_json};
use super::{Origin, SessionsConfig, is_alive};
use crate::events::Event;
use crate::features::Symbols;

/// Parts of a view, each with a lock of its own.
pub(super) const PARTS: usize = 64;

/// The sessions of one view.
pub struct SessionView {
    pub(super) name: String,
    aggregates: Arc<Aggregates>,
    joins: Vec<Join>,
    symbols: Arc<Symbols>,
    config: SessionsConfig,
    hasher: RandomState,
    parts: Vec<Mutex<Part>>,
}

#[derive(Default)]
struct Part {
    /// Whether it takes events: it has all that the view before it knew.
    ready: bool,
    young: HashMap<Arc<str>, Known>,
    old: HashMap<Arc<str>, Known>,
    /// Sessions of which something changed that was not taken since, each once.
    changed: Vec<Arc<str>>,
}

/// What is known of a session.
#[derive(Default)]
struct Known {
    /// What this run saw of it.
    own: Seen,
    /// What other runs saw: of other nodes, and of this one before it was started again.
    others: Vec<(Arc<Origin>, Seen)>,
    /// The others put together; none when there are none.
    elsewhere: Option<Box<State>>,
}

/// What one run saw.
#[derive(Default)]
struct Seen {
    state: State,
    /// The number of the last event in it.
    seq: u64,
    changed: bool,
}

/// What one run saw of a session, as it is kept and sent.
pub(super) struct Change {
    pub(super) session: Arc<str>,
    /// `None` for this run.
    pub(super) origin: Option<Arc<Origin>>,
    pub(super) slot: Slot,
}

// === impl SessionView ===

impl SessionView {
    pub(super) fn new(
        name: &str,
        aggregates: Arc<Aggregates>,
        joins: Vec<Join>,
        symbols: Arc<Symbols>,
        config: SessionsConfig,
        before: Option<&Self>,
    ) -> Self {
        let parts = (0..PARTS).map(|_| Mutex::default()).collect();
        // A session is in the same part of both, so that part after part can be taken over.
        let hasher = before.map_or_else(RandomState::default, |before| before.hasher.clone());
        Self { name: name.to_owned(), aggregates, joins, symbols, config, hasher, parts }
    }

    /// Whether it asks what the node knows of items.
    pub(super) fn joins_features(&self) -> bool {
        self.joins.iter().any(|join| matches!(join, Join::Feature { .. }))
    }

    /// Whether it means the same as one with these.
    pub(super) fn is(&self, aggregates: &Aggregates, joins: &[Join]) -> bool {
        *self.aggregates == *aggregates
            && self.joins.len() == joins.len()
            && self.joins.iter().zip(joins).all(|(a, b)| a.is(b))
    }

    /// Copies the row of a session as it is at `now_us` into `cells`; when its last event came, and the number of the last that
    /// this run stored. The row of nothing and zeros when there was none.
    pub fn read(&self, session: &str, now_us: TimeUs, cells: &mut [u64]) -> (TimeUs, u64) {
        let part = self.part_of(session);
        let alive = |known: &&Known| is_alive(self.config, known.last(), now_us);
        let known = part.young.get(session).or_else(|| part.old.get(session)).filter(alive);
        let symbol = |text: &str| u64::from(self.symbols.intern(text));
        match known {
            Some(Known { own, elsewhere: None, .. }) => {
                self.aggregates.read(&own.state, now_us, &symbol, cells);
                (own.state.last(), own.seq)
            }
            Some(Known { own, elsewhere: Some(elsewhere), .. }) => {
                let mut whole = State::clone(elsewhere);
                self.aggregates.merge(&mut whole, &own.state);
                self.aggregates.read(&whole, now_us, &symbol, cells);
                (whole.last(), own.seq)
            }
            None => {
                self.aggregates.read(&State::default(), now_us, &symbol, cells);
                (0, 0)
            }
        }
    }

    /// Applies an event of a session, which has the number `seq`. How many sessions were forgotten for it.
    pub(super) fn apply(&self, session: &str, event: &Event, seq: u64) -> u64 {
        let values = self.values(event);
        let happening = Happening { name: &event.name, time_us: event.received_us, values: &values };
        let mut part = self.part_of(session);
        if !part.ready {
            return 0;
        }
        let (known, forgotten) = part.touch(session, self.config.max_sessions.div_ceil(PARTS));
        if !is_alive(self.config, known.last(), event.received_us) {
            *known = Known::default();
        }
        self.aggregates.apply(&mut known.own.state, happening);
        known.own.seq = seq;
        if self.config.keep_slots && !std::mem::replace(&mut known.own.changed, true) {
            part.changed.push(session.into());
        }
        forgotten
    }

    /// Applies an event that an earlier run stored and perhaps did not count; one that it counted changes nothing.
    pub(super) fn apply_earlier(&self, origin: &Arc<Origin>, session: &str, event: &Event, seq: u64) {
        let values = self.values(event);
        let happening = Happening { name: &event.name, time_us: event.received_us, values: &values };
        let mut part = self.part_of(session);
        let (known, _) = part.touch(session, self.config.max_sessions.div_ceil(PARTS));
        let seen = known.other(origin);
        if seq <= seen.seq {
            return;
        }
        self.aggregates.apply(&mut seen.state, happening);
        seen.seq = seq;
        let first = !std::mem::replace(&mut seen.changed, true);
        known.put_together(&self.aggregates);
        if first {
            part.changed.push(session.into());
        }
    }

    /// Takes what another run knows of a session, and with `tell` counts it as a change of this one. Whether it was news.
    pub(super) fn arrive(&self, session: &str, origin: &Arc<Origin>, slot: &Slot, now_us: TimeUs, tell: bool) -> bool {
        if !is_alive(self.config, slot.last(), now_us) {
            return false;
        }
        let state = self.aggregates.state(slot);
        let mut part = self.part_of(session);
        let (known, _) = part.touch(session, self.config.max_sessions.div_ceil(PARTS));
        let seen = known.other(origin);
        if slot.seq <= seen.seq {
            return false;
        }
        (seen.state, seen.seq) = (state, slot.seq);
        let first = tell && !std::mem::replace(&mut seen.changed, true);
        known.put_together(&self.aggregates);
        if first {
            part.changed.push(session.into());
        }
        true
    }

    /// What changed since this was asked last.
    pub(super) fn changes(&self) -> Vec<Change> {
        let mut changes = Vec::new();
        for part in 0..PARTS {
            let mut part = self.lock(part);
            for session in std::mem::take(&mut part.changed) {
                let Part { young, old, .. } = &mut *part;
                // One that was forgotten since has nothing to tell.
                let Some(known) = young.get_mut(&session).or_else(|| old.get_mut(&session)) else { continue };
                let others = known.others.iter_mut().map(|(origin, seen)| (Some(Arc::clone(origin)), seen));
                for (origin, seen) in others.chain([(None, &mut known.own)]) {
                    if std::mem::take(&mut seen.changed) {
                        let slot = self.aggregates.slot(&seen.state, seen.seq);
                        changes.push(Change { session: Arc::clone(&session), origin, slot });
                    }
                }
            }
        }
        changes
    }

    fn values(&self, event: &Event) -> Vec<Option<Value>> {
        if !self.aggregates.asks_of(&event.name) {
            return Vec::new();
        }
        let mut read = Read::default();
        self.joins.iter().map(|join| join.value(event, &mut read)).collect()
    }

    /// Adds what the node knows now of the event's item, as far as it is asked for.
    pub(super) fn join(&self, event: &Event, joined: &mut serde_json::Map<String, serde_json::Value>) {
        if self.aggregates.asks_of(&event.name) {
            let known = self.joins.iter().filter_map(|join| join.now(event, &self.symbols));
            joined.extend(known.map(|(name, value)| (name.to_owned(), to_json(&value))));
        }
    }

    /// How many sessions it knows.
    pub fn len(&self) -> usize {
        (0..PARTS).map(|part| self.lock(part)).map(|part| part.young.len() + part.old.len()).sum()
    }

    /// Whether it knows none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Takes over a part of what the view before it knows; that part takes events from now on.
    pub(super) fn take_over(&self, part: usize, before: Option<&Self>) {
        let mut ours = self.lock(part);
        if let Some(before) = before {
            let theirs = before.lock(part);
            let adopt = |(session, known): (&Arc<str>, &Known)| {
                (Arc::clone(session), known.adopted(&self.aggregates, &before.aggregates))
            };
            ours.old = theirs.old.iter().map(adopt).collect();
            ours.young = theirs.young.iter().map(adopt).collect();
            ours.changed.clone_from(&theirs.changed);
        }
        ours.ready = true;
    }

    fn part_of(&self, session: &str) -> MutexGuard<'_, Part> {
        self.lock(self.hasher.hash_one(session) as usize % PARTS)
    }

    fn lock(&self, part: usize) -> MutexGuard<'_, Part> {
        self.parts[part % PARTS].lock().unwrap_or_else(PoisonError::into_inner)
    }
}

// === impl Part ===

impl Part {
    /// The state of a session, which is young from now on, and how many had to be forgotten for it.
    fn touch(&mut self, session: &str, most: usize) -> (&mut Known, u64) {
        let mut forgotten = 0;
        if !self.young.contains_key(session) {
            if self.young.len() * 2 >= most.max(2) {
                forgotten = self.old.len() as u64 - u64::from(self.old.contains_key(session));
                let kept = self.old.remove_entry(session);
                self.old = std::mem::take(&mut self.young);
                self.young.extend(kept);
            }
            let (session, known) = self.old.remove_entry(session).unwrap_or_else(|| (session.into(), Known::default()));
            self.young.entry(session).or_insert(known);
        }
        (self.young.entry(session.into()).or_default(), forgotten)
    }
}

// === impl Known ===

impl Known {
    /// When its last event came, wherever; 0 when none did.
    fn last(&self) -> TimeUs {
        self.own.state.last().max(self.elsewhere.as_ref().map_or(0, |state| state.last()))
    }

    /// What another run saw of it.
    fn other(&mut self, origin: &Arc<Origin>) -> &mut Seen {
        let at = self.others.iter().position(|(other, _)| other == origin).unwrap_or_else(|| {
            self.others.push((Arc::clone(origin), Seen::default()));
            self.others.len() - 1
        });
        &mut self.others[at].1
    }

    /// Puts together what others saw. In the order of who they are, so that every node comes to the same.
    fn put_together(&mut self, aggregates: &Aggregates) {
        self.others.sort_by(|(a, _), (b, _)| a.cmp(b));
        let mut whole = State::default();
        self.others.iter().for_each(|(_, seen)| aggregates.merge(&mut whole, &seen.state));
        self.elsewhere = (!self.others.is_empty()).then(|| Box::new(whole));
    }

    fn adopted(&self, aggregates: &Aggregates, before: &Aggregates) -> Self {
        let adopt = |seen: &Seen| Seen { state: aggregates.adopt(before, &seen.state), ..*seen };
        let others = self.others.iter().map(|(origin, seen)| (Arc::clone(origin), adopt(seen))).collect();
        let mut known = Self { own: adopt(&self.own), others, elsewhere: None };
        known.put_together(aggregates);
        known
    }
}

impl std::fmt::Debug for SessionView {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SessionView").field("name", &self.name).finish_non_exhaustive()
    }
}
