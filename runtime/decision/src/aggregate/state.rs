//! What is kept of one entity. Owns its shape; how it is stored and sent is a slot's.

use alloc::collections::BTreeMap;
use alloc::sync::Arc;
use alloc::vec::Vec;

use serde::{Deserialize, Serialize};

use super::decay::{Count, Mean};
use super::window::{Extreme, Ring};
use super::{Aggregates, Function, MOST_DISTINCT, Value, Window};
use crate::TimeUs;

/// What the events of one entity have come to so far, for the aggregates of one view.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct State {
    /// When the first event came and when the last one did.
    span: Option<(TimeUs, TimeUs)>,
    events: u64,
    /// One an aggregate, in their order.
    cells: Vec<Cell>,
}

/// What is kept for one aggregate.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) enum Cell {
    /// All that it needs is the state's own.
    Nothing,
    Counts(Ring<u64>),
    /// Numbers and their sum in millionths.
    Sums(Ring<(u64, i128)>),
    Least(Ring<Extreme<false>>),
    Most(Ring<Extreme<true>>),
    /// Hits and chances.
    Shares(Ring<[u64; 2]>),
    /// The first or the last value, and when it came.
    Moment(Option<(TimeUs, Value)>),
    Recent(Recent),
    Distinct(Seen),
    Decayed(Count),
    Taste(Mean),
}

/// Different values and when each was last seen.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub(super) struct Seen {
    #[serde(with = "pairs")]
    last: BTreeMap<Key, TimeUs>,
}

/// Different texts, the one that came last first; of those that came at one time the smaller first.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub(super) struct Recent {
    last: Vec<(TimeUs, Arc<str>)>,
}

/// A value by which others are told from it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
enum Key {
    Bits(u64),
    Text(Arc<str>),
}

// === impl State ===

impl State {
    /// When the first event came.
    pub fn start(&self) -> Option<TimeUs> {
        self.span.map(|(first, _)| first)
    }

    /// When the last event came; 0 when none did.
    pub fn last(&self) -> TimeUs {
        self.span.map_or(0, |(_, last)| last)
    }

    /// How many events came.
    pub fn events(&self) -> u64 {
        self.events
    }

    pub(super) fn of(span: Option<(TimeUs, TimeUs)>, events: u64, cells: Vec<Cell>) -> Self {
        Self { span, events, cells }
    }

    /// When the first event came; `None` when none did.
    pub fn first(&self) -> Option<TimeUs> {
        self.span.map(|(first, _)| first)
    }

    pub(super) fn span(&self) -> Option<(TimeUs, TimeUs)> {
        self.span
    }

    pub(super) fn cells(&self) -> &[Cell] {
        &self.cells
    }

    pub(super) fn cells_mut(&mut self) -> &mut [Cell] {
        &mut self.cells
    }

    /// Whether it is a state of these aggregates.
    pub(super) fn fits(&self, aggregates: &Aggregates) -> bool {
        let same = |(cell, wanted): (&Cell, Cell)| core::mem::discriminant(cell) == core::mem::discriminant(&wanted);
        self.cells.len() == aggregates.all.len()
            && self.cells.iter().zip(aggregates.all.iter().map(|aggregate| aggregate.function.empty())).all(same)
    }

    /// Makes it one, empty when it was another's.
    pub(super) fn fit(&mut self, aggregates: &Aggregates) {
        if self.cells.len() != aggregates.all.len() {
            self.cells = aggregates.all.iter().map(|aggregate| aggregate.function.empty()).collect();
        }
    }

    pub(super) fn touch(&mut self, now: TimeUs) {
        let (first, last) = self.span.unwrap_or((now, now));
        self.span = Some((first.min(now), last.max(now)));
        self.events += 1;
    }

    /// Takes over when another part of it began and ended, and its count.
    pub(super) fn widen(&mut self, other: &Self) {
        self.events += other.events;
        self.span = match (self.span, other.span) {
            (Some(a), Some(b)) => Some((a.0.min(b.0), a.1.max(b.1))),
            (a, b) => a.or(b),
        };
    }
}

// === impl Cell ===

impl Cell {
    /// Whether it is one that the function could have come to.
    pub(super) fn is_sound(&self, function: &Function) -> bool {
        if core::mem::discriminant(self) != core::mem::discriminant(&function.empty()) {
            return false;
        }
        match self {
            Self::Nothing => true,
            Self::Counts(ring) => ring.is_sound(),
            Self::Sums(ring) => ring.is_sound(),
            Self::Least(ring) => ring.is_sound(),
            Self::Most(ring) => ring.is_sound(),
            Self::Shares(ring) => ring.is_sound(),
            Self::Moment(moment) => moment.as_ref().is_none_or(|(at, _)| is_time(*at)),
            Self::Recent(recent) => match function {
                Function::LastN(_, n) => recent.is_sound(*n),
                _ => false,
            },
            Self::Distinct(seen) => seen.last.len() <= MOST_DISTINCT && seen.last.values().all(|at| is_time(*at)),
            Self::Decayed(count) => count.is_sound(),
            Self::Taste(mean) => matches!(function, Function::DecayedMean(_, len) if mean.is_sound(*len)),
        }
    }

    /// Adds what another part of the same aggregate holds.
    pub(super) fn merge(&mut self, other: &Self, function: &Function) {
        match (self, other) {
            (Self::Counts(a), Self::Counts(b)) => a.merge(b),
            (Self::Sums(a), Self::Sums(b)) => a.merge(b),
            (Self::Least(a), Self::Least(b)) => a.merge(b),
            (Self::Most(a), Self::Most(b)) => a.merge(b),
            (Self::Shares(a), Self::Shares(b)) => a.merge(b),
            (Self::Moment(a), Self::Moment(Some(b))) => {
                let replaces = |a: TimeUs| if *function == Function::First { b.0 < a } else { b.0 > a };
                if a.as_ref().is_none_or(|(at, _)| replaces(*at)) {
                    *a = Some(b.clone());
                }
            }
            (Self::Recent(a), Self::Recent(b)) => {
                if let Function::LastN(_, n) = function {
                    b.last.iter().for_each(|(at, text)| a.add(text, *at, *n));
                }
            }
            (Self::Distinct(a), Self::Distinct(b)) => a.merge(b),
            (Self::Decayed(a), Self::Decayed(b)) => a.merge(b),
            (Self::Taste(a), Self::Taste(b)) => {
                if let Function::DecayedMean(half_life, _) = function {
                    a.merge(*half_life, b);
                }
            }
            _ => {}
        }
    }
}

// === impl Seen ===

impl Seen {
    pub(super) fn add(&mut self, value: &Value, now: TimeUs) {
        let key = match value {
            Value::Number(number) => Key::Bits(number.to_bits()),
            Value::Flag(flag) => Key::Bits(u64::from(*flag)),
            Value::Text(text) => Key::Text(text.clone()),
            Value::Time(time_us) => Key::Bits(*time_us as u64),
            Value::Vector(_) => return,
        };
        self.put(key, now);
    }

    /// How many were seen in the window.
    pub(super) fn count(&self, window: Window, now: TimeUs) -> usize {
        self.last.values().filter(|at| window.covers(**at, now)).count()
    }

    fn merge(&mut self, other: &Self) {
        for (key, at) in &other.last {
            self.put(key.clone(), *at);
        }
    }

    /// The one that was not seen for longest makes room.
    fn put(&mut self, key: Key, now: TimeUs) {
        let last = self.last.entry(key).or_insert(now);
        *last = (*last).max(now);
        if self.last.len() > MOST_DISTINCT {
            let oldest = self.last.iter().min_by(|a, b| a.1.cmp(b.1).then_with(|| a.0.cmp(b.0)));
            if let Some(key) = oldest.map(|(key, _)| key.clone()) {
                self.last.remove(&key);
            }
        }
    }
}

// === impl Recent ===

impl Recent {
    /// Of many the `n` that came last stay, in whichever order they are added.
    pub(super) fn add(&mut self, text: &Arc<str>, now: TimeUs, n: usize) {
        let known = self.last.iter().position(|(_, known)| known == text);
        let now = known.map_or(now, |at| self.last.remove(at).0.max(now));
        let place =
            self.last.partition_point(|(at, other)| (core::cmp::Reverse(*at), other) < (core::cmp::Reverse(now), text));
        self.last.insert(place, (now, Arc::clone(text)));
        self.last.truncate(n);
    }

    pub(super) fn within(&self, window: Window, now: TimeUs) -> impl Iterator<Item = &str> {
        self.last.iter().filter(move |(at, _)| window.covers(*at, now)).map(|(_, text)| &**text)
    }

    fn is_sound(&self, n: usize) -> bool {
        let ordered = self.last.is_sorted_by(|a, b| (core::cmp::Reverse(a.0), &a.1) < (core::cmp::Reverse(b.0), &b.1));
        self.last.len() <= n && ordered && self.last.iter().all(|(at, _)| is_time(*at))
    }
}

/// Whether a time, or the number of a period of it, is one that sums with others cannot overflow: within 30,000 years of 1970.
pub(super) fn is_time(at: i64) -> bool {
    at.unsigned_abs() < 1 << 60
}

/// A map as a list of pairs: JSON has no keys but texts.
mod pairs {
    use alloc::collections::BTreeMap;

    use alloc::vec::Vec;

    use serde::{Deserialize as _, Deserializer, Serialize as _, Serializer};

    use super::Key;
    use crate::TimeUs;

    pub(super) fn serialize<S: Serializer>(map: &BTreeMap<Key, TimeUs>, to: S) -> Result<S::Ok, S::Error> {
        map.iter().collect::<Vec<_>>().serialize(to)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<BTreeMap<Key, TimeUs>, D::Error> {
        Ok(Vec::<(Key, TimeUs)>::deserialize(from)?.into_iter().collect())
    }
}
