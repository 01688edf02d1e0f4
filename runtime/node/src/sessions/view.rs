//! What events came to, for one view: of its sessions, or of the people, items and pairs that the core counts. Owns where they
//! lie in memory, how what several nodes saw of one is put together, and which are forgotten: two generations, of which the
//! older goes when the younger is full, so that one with an event in between stays.

use std::collections::{HashMap, HashSet};
use std::hash::BuildHasher;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use foldhash::fast::RandomState;
use selvedge_decision::TimeUs;
use selvedge_decision::aggregate::{Aggregates, Happening, Slot, State};
use selvedge_decision::definition::By;

use super::core::Core;
use super::join::{Join, entity_of, names_entity, to_json, values};
use super::{Origin, is_alive};
use crate::events::Event;
use crate::features::Symbols;

/// Parts of a view, each with a lock of its own.
pub(super) const PARTS: usize = 64;

/// What events came to, for one view. Its entities are called sessions here, whoever they are.
pub struct SessionView {
    pub(super) name: String,
    by: By,
    /// This run, among those that saw a session.
    me: Arc<Origin>,
    aggregates: Arc<Aggregates>,
    joins: Vec<Join>,
    symbols: Arc<Symbols>,
    keep: Keep,
    /// For a view that the core counts: how far that is.
    pub(super) core: Option<Core>,
    hasher: RandomState,
    parts: Vec<Mutex<Part>>,
}

/// How much of a view is kept, and how long.
#[derive(Debug, Clone, Copy)]
pub(super) struct Keep {
    /// Sessions; beyond, those without an event for longest are forgotten.
    pub(super) sessions: usize,
    /// The same for the bytes of their slots.
    pub(super) bytes: usize,
    /// Since the last event, in microseconds.
    pub(super) us: i64,
    /// Whether what changes is to be told to disk and other nodes.
    pub(super) tells: bool,
}

#[derive(Default)]
struct Part {
    /// Whether it takes events: it has all that the view before it knew.
    ready: bool,
    young: HashMap<Arc<str>, Known>,
    old: HashMap<Arc<str>, Known>,
    /// Sessions of which something changed that was not taken since, each once.
    changed: Vec<Arc<str>>,
    /// Of the slots of those that are young.
    young_bytes: usize,
}

/// What is known of a session.
#[derive(Default)]
struct Known {
    /// What this run saw of it.
    own: Seen,
    /// What other runs saw, of other nodes and of this one before it was started again: in the order of who they are.
    others: Vec<(Arc<Origin>, Seen)>,
    /// The others put together; none when there are none.
    elsewhere: Option<Box<State>>,
    /// Of the slots of others, as far as they are counted.
    bytes: usize,
}

/// What one run saw.
#[derive(Default)]
struct Seen {
    state: State,
    /// The number of the last event in it.
    seq: u64,
    changed: bool,
    /// Of its slot, where they are counted.
    bytes: usize,
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
        (name, by, me): (&str, &By, &Arc<Origin>),
        aggregates: Arc<Aggregates>,
        joins: Vec<Join>,
        symbols: Arc<Symbols>,
        keep: Keep,
        core: Option<Core>,
        before: Option<&Self>,
    ) -> Self {
        let parts = (0..PARTS).map(|_| Mutex::default()).collect();
        // A session is in the same part of both, so that part after part can be taken over.
        let hasher = before.map_or_else(RandomState::default, |before| before.hasher.clone());
        let (name, by, me) = (name.to_owned(), by.clone(), Arc::clone(me));
        Self { name, by, me, aggregates, joins, symbols, keep, core, hasher, parts }
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Whether it asks what the node knows of items.
    pub(super) fn joins_features(&self) -> bool {
        !self.joins.is_empty()
    }

    /// Whether it means the same as one with these.
    pub(super) fn is(&self, by: &By, aggregates: &Aggregates, joins: &[Join]) -> bool {
        self.by == *by
            && *self.aggregates == *aggregates
            && self.joins.len() == joins.len()
            && self.joins.iter().zip(joins).all(|(a, b)| a.is(b))
    }

    /// Whether its states mean what those of a view by this mean.
    pub(super) fn is_by(&self, by: &By) -> bool {
        self.by == *by
    }

    /// Whose event this is for this view.
    pub(super) fn entity_of(&self, event: &Event) -> Option<String> {
        entity_of(&self.by, event)
    }

    /// Copies the row of a session as it is at `now_us` into `cells`; when its last event came, and, for a view by session, the
    /// number of the last that this run stored. The row of nothing and zeros when there was none.
    pub fn read(&self, session: &str, now_us: TimeUs, cells: &mut [u64]) -> (TimeUs, u64) {
        let part = self.part_of(session);
        let alive = |known: &&Known| is_alive(self.keep.us, known.last(), now_us);
        let known = part.young.get(session).or_else(|| part.old.get(session)).filter(alive);
        let symbol = |text: &str| u64::from(self.symbols.intern(text));
        let seq_of = |own: &Seen| if self.by.is_session() { own.seq } else { 0 };
        match known {
            Some(Known { own, elsewhere: None, .. }) => {
                self.aggregates.read(&own.state, now_us, &symbol, cells);
                (own.state.last(), seq_of(own))
            }
            Some(Known { own, elsewhere: Some(elsewhere), .. }) if own.state.events() == 0 => {
                self.aggregates.read(elsewhere, now_us, &symbol, cells);
                (elsewhere.last(), seq_of(own))
            }
            Some(Known { own, others, .. }) => {
                // In the order of who they are, so that every node and every backfill come to the same.
                let (before, after) = others.split_at(others.partition_point(|(other, _)| other < &self.me));
                let mut whole = State::default();
                let runs = before.iter().map(|(_, seen)| seen).chain([own]).chain(after.iter().map(|(_, seen)| seen));
                runs.for_each(|seen| self.aggregates.merge(&mut whole, &seen.state));
                self.aggregates.read(&whole, now_us, &symbol, cells);
                (whole.last(), seq_of(own))
            }
            None => {
                self.aggregates.read(&State::default(), now_us, &symbol, cells);
                (0, 0)
            }
        }
    }

    /// Applies an event of a session, which has the number `seq`. How many sessions were forgotten for it.
    pub(super) fn apply(&self, session: &str, event: &Event, seq: u64) -> u64 {
        let values = values(&self.aggregates, event);
        let happening = Happening { name: &event.name, time_us: event.received_us, values: &values };
        let mut part = self.part_of(session);
        if !part.ready {
            return 0;
        }
        let (known, forgotten) = part.touch(session, self.keep);
        if !is_alive(self.keep.us, known.last(), event.received_us) {
            *known = Known::default();
        }
        self.aggregates.apply(&mut known.own.state, happening);
        known.own.seq = seq;
        if self.keep.tells && !std::mem::replace(&mut known.own.changed, true) {
            part.changed.push(session.into());
        }
        forgotten
    }

    /// Applies an event that an earlier run stored and perhaps did not count; one that it counted changes nothing.
    pub(super) fn apply_earlier(&self, origin: &Arc<Origin>, session: &str, event: &Event, seq: u64) {
        let values = values(&self.aggregates, event);
        let happening = Happening { name: &event.name, time_us: event.received_us, values: &values };
        let mut part = self.part_of(session);
        let (known, _) = part.touch(session, self.keep);
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
        if !is_alive(self.keep.us, slot.last(), now_us) {
            return false;
        }
        let state = self.aggregates.state(slot);
        let mut part = self.part_of(session);
        let (known, _) = part.touch(session, self.keep);
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

    /// Takes what the core counted of what one node told of an entity, which replaces what was there; `None` when that is gone.
    pub(super) fn put(&self, entity: &str, origin: &Arc<Origin>, slot: Option<(&Slot, usize)>) {
        let mut part = self.part_of(entity);
        if slot.is_none() && !part.young.contains_key(entity) && !part.old.contains_key(entity) {
            // A mark of what went, about somebody of whom nothing is known here.
            return;
        }
        let (bytes, forgotten) = {
            let (known, forgotten) = part.touch(entity, self.keep);
            let before = known.bytes;
            let seen = known.other(origin);
            let were = std::mem::replace(&mut seen.bytes, slot.map_or(0, |(_, bytes)| bytes));
            known.bytes = (before + slot.map_or(0, |(_, bytes)| bytes)).saturating_sub(were);
            match slot {
                Some((slot, _)) => known.other(origin).state = self.aggregates.state(slot),
                None => known.others.retain(|(other, _)| other != origin),
            }
            known.put_together(&self.aggregates);
            ((before, known.bytes), forgotten)
        };
        part.young_bytes = (part.young_bytes + bytes.1).saturating_sub(bytes.0);
        if part.young.get(entity).is_some_and(Known::is_nothing) {
            part.young.remove(entity);
        }
        if let Some(core) = &self.core {
            core.forgot(forgotten);
        }
    }

    /// Forgets what the core does not have any more: who is not among these, each as one node told of it. Those that went.
    pub(super) fn keep_only(&self, there: &HashSet<(String, Origin)>) -> Vec<(Arc<str>, Arc<Origin>)> {
        let mut gone = Vec::new();
        for part in 0..PARTS {
            let mut part = self.lock(part);
            let Part { young, old, young_bytes, .. } = &mut *part;
            let mut keep = |entity: &Arc<str>, known: &mut Known| {
                let (before, bytes) = (known.others.len(), known.bytes);
                known.others.retain(|(origin, seen)| {
                    let stays = there.contains(&(entity.to_string(), Origin::clone(origin)));
                    if !stays {
                        known.bytes = known.bytes.saturating_sub(seen.bytes);
                        gone.push((Arc::clone(entity), Arc::clone(origin)));
                    }
                    stays
                });
                if known.others.len() < before {
                    known.put_together(&self.aggregates);
                }
                bytes - known.bytes
            };
            young.retain(|entity, known| {
                *young_bytes = young_bytes.saturating_sub(keep(entity, known));
                !known.is_nothing()
            });
            old.retain(|entity, known| {
                keep(entity, known);
                !known.is_nothing()
            });
        }
        gone
    }

    /// Lets go of what began in a session before `at_us`, whichever run saw it. Whose that was.
    pub(super) fn erase(&self, session: &str, at_us: TimeUs) -> Vec<Arc<Origin>> {
        let began = |seen: &Seen| seen.state.first().is_some_and(|first| first < at_us);
        let mut gone = Vec::new();
        let mut part = self.part_of(session);
        let Part { young, old, .. } = &mut *part;
        let Some(known) = young.get_mut(session).or_else(|| old.get_mut(session)) else { return gone };
        if began(&known.own) {
            // Its number stays: decisions go on saying which event was the last.
            known.own = Seen { seq: known.own.seq, ..Seen::default() };
            gone.push(Arc::clone(&self.me));
        }
        known.others.retain(|(origin, seen)| {
            let goes = began(seen);
            if goes {
                gone.push(Arc::clone(origin));
            }
            !goes
        });
        known.put_together(&self.aggregates);
        gone
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

    /// Adds what the node knows now of the event's item, as far as it is asked for.
    pub(super) fn join(&self, event: &Event, joined: &mut serde_json::Map<String, serde_json::Value>) {
        if names_entity(&self.by, event) {
            let (asks, whose) = (self.aggregates.asks_of(&event.name), self.by.names());
            let wanted = self.joins.iter().filter(|join| asks || whose.iter().any(|name| join.is_of(name)));
            let known = wanted.filter_map(|join| join.now(event, &self.symbols));
            joined.extend(known.map(|(name, value)| (name.to_owned(), to_json(&value))));
        }
    }

    /// How many sessions it knows.
    pub fn len(&self) -> usize {
        (0..PARTS).map(|part| self.lock(part)).map(|part| part.young.len() + part.old.len()).sum()
    }

    /// Bytes of the slots it has from the core.
    pub(super) fn bytes(&self) -> usize {
        let of = |part: MutexGuard<'_, Part>| {
            part.young.values().chain(part.old.values()).map(|known| known.bytes).sum::<usize>()
        };
        (0..PARTS).map(|part| of(self.lock(part))).sum()
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
            ours.young_bytes = theirs.young_bytes;
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
    fn touch(&mut self, session: &str, keep: Keep) -> (&mut Known, u64) {
        let mut forgotten = 0;
        if !self.young.contains_key(session) {
            let (most, most_bytes) = (keep.sessions.div_ceil(PARTS), keep.bytes.div_ceil(PARTS));
            if self.young.len() * 2 >= most.max(2) || self.young_bytes.saturating_mul(2) >= most_bytes.max(2) {
                forgotten = self.old.len() as u64 - u64::from(self.old.contains_key(session));
                let kept = self.old.remove_entry(session);
                self.old = std::mem::take(&mut self.young);
                self.young_bytes = kept.as_ref().map_or(0, |(_, known)| known.bytes);
                self.young.extend(kept);
            }
            if !self.young.contains_key(session) {
                let entry = self.old.remove_entry(session);
                let (session, known) = entry.unwrap_or_else(|| (session.into(), Known::default()));
                self.young_bytes += known.bytes;
                self.young.insert(session, known);
            }
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

    /// Whether nobody saw anything of it.
    fn is_nothing(&self) -> bool {
        self.own.seq == 0 && self.own.state.events() == 0 && self.others.is_empty()
    }

    /// What another run saw of it.
    fn other(&mut self, origin: &Arc<Origin>) -> &mut Seen {
        let at = self.others.binary_search_by(|(other, _)| other.cmp(origin)).unwrap_or_else(|at| {
            self.others.insert(at, (Arc::clone(origin), Seen::default()));
            at
        });
        &mut self.others[at].1
    }

    /// Puts together what others saw.
    fn put_together(&mut self, aggregates: &Aggregates) {
        let mut whole = State::default();
        self.others.iter().for_each(|(_, seen)| aggregates.merge(&mut whole, &seen.state));
        self.elsewhere = (!self.others.is_empty()).then(|| Box::new(whole));
    }

    fn adopted(&self, aggregates: &Aggregates, before: &Aggregates) -> Self {
        let adopt = |seen: &Seen| Seen { state: aggregates.adopt(before, &seen.state), ..*seen };
        let others = self.others.iter().map(|(origin, seen)| (Arc::clone(origin), adopt(seen))).collect();
        let mut known = Self { own: adopt(&self.own), others, elsewhere: None, bytes: self.bytes };
        known.put_together(aggregates);
        known
    }
}

impl std::fmt::Debug for SessionView {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SessionView").field("name", &self.name).finish_non_exhaustive()
    }
}
