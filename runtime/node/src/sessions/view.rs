//! The sessions of one view. Owns where they lie in memory and which are forgotten: two generations, of which the older goes when
//! the younger is full, so that a session with an event in between stays.

use std::collections::HashMap;
use std::hash::BuildHasher;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use foldhash::fast::RandomState;
use selvedge_decision::TimeUs;
use selvedge_decision::aggregate::{Aggregates, Happening, State};

use super::join::{Join, Properties};
use super::{SessionsConfig, is_alive};
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
    young: HashMap<Arc<str>, State>,
    old: HashMap<Arc<str>, State>,
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

    /// Whether it means the same as one with these.
    pub(super) fn is(&self, aggregates: &Aggregates, joins: &[Join]) -> bool {
        *self.aggregates == *aggregates
            && self.joins.len() == joins.len()
            && self.joins.iter().zip(joins).all(|(a, b)| a.is(b))
    }

    /// Copies the row of a session as it is at `now_us` into `cells`, and when its last event came; 0 and the row of nothing
    /// when there was none.
    pub fn read(&self, session: &str, now_us: TimeUs, cells: &mut [u64]) -> TimeUs {
        let part = self.part_of(session);
        let alive = |state: &&State| is_alive(self.config, state.last(), now_us);
        let state = part.young.get(session).or_else(|| part.old.get(session)).filter(alive);
        let symbol = |text: &str| u64::from(self.symbols.intern(text));
        match state {
            Some(state) => {
                self.aggregates.read(state, now_us, &symbol, cells);
                state.last()
            }
            None => {
                self.aggregates.read(&State::default(), now_us, &symbol, cells);
                0
            }
        }
    }

    /// Applies an event of a session. How many sessions were forgotten for it.
    pub(super) fn apply(&self, session: &str, event: &Event) -> u64 {
        let mut properties = Properties::default();
        let values: Vec<_> = if self.aggregates.asks_of(&event.name) {
            self.joins.iter().map(|join| join.value(event, &mut properties, &self.symbols)).collect()
        } else {
            Vec::new()
        };
        let happening = Happening { name: &event.name, time_us: event.received_us, values: &values };
        let mut part = self.part_of(session);
        if !part.ready {
            return 0;
        }
        let (state, forgotten) = part.touch(session, self.config.max_sessions.div_ceil(PARTS));
        if !is_alive(self.config, state.last(), event.received_us) {
            *state = State::default();
        }
        self.aggregates.apply(state, happening);
        forgotten
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
            let adopt = |(session, state): (&Arc<str>, &State)| {
                (Arc::clone(session), self.aggregates.adopt(&before.aggregates, state))
            };
            ours.old = theirs.old.iter().map(adopt).collect();
            ours.young = theirs.young.iter().map(adopt).collect();
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
    fn touch(&mut self, session: &str, most: usize) -> (&mut State, u64) {
        let mut forgotten = 0;
        if !self.young.contains_key(session) {
            if self.young.len() * 2 >= most.max(2) {
                forgotten = self.old.len() as u64 - u64::from(self.old.contains_key(session));
                let kept = self.old.remove_entry(session);
                self.old = std::mem::take(&mut self.young);
                self.young.extend(kept);
            }
            let (session, state) = self.old.remove_entry(session).unwrap_or_else(|| (session.into(), State::default()));
            self.young.entry(session).or_insert(state);
        }
        (self.young.entry(session.into()).or_default(), forgotten)
    }
}

impl std::fmt::Debug for SessionView {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SessionView").field("name", &self.name).finish_non_exhaustive()
    }
}
