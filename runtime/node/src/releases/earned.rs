//! What a canary's decisions bring, beside those of the release that runs. Owns which rewards count: those of the guard's kind, for
//! decisions made on this node since the canary began, one a decision. It learns of both when they are durable.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};

use foldhash::fast::FixedState;
use selvedge_decision::{DecisionId, Digest, Fault, Record};

use crate::events::{Event, names, reward};
use crate::outbox::{Follower, Lane};

/// Decisions that are remembered until a reward comes; the oldest go first.
const MOST_DECISIONS: usize = 200_000;

/// Counts while there is a canary whose guard asks for it. Cheap to clone: all clones are one.
#[derive(Debug, Clone, Default)]
pub struct Earned(Arc<Mutex<Option<Comparison>>>);

/// What decisions of one release brought.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Brought {
    /// Decisions. One without a choice counts, too: that it has none is the release's doing.
    pub(super) decisions: u64,
    /// Those of them that had a reward.
    pub(super) rewarded: u64,
}

#[derive(Debug)]
struct Comparison {
    canary: Digest,
    running: Digest,
    /// The kind of reward.
    kind: String,
    of_canary: Brought,
    of_running: Brought,
    /// Whose they are: the canary's or not.
    waiting: HashMap<DecisionId, bool, FixedState>,
    by_age: VecDeque<DecisionId>,
}

// === impl Earned ===

impl Earned {
    /// Counts rewards of `kind` for both from here on.
    pub(super) fn compare(&self, canary: Digest, running: Digest, kind: &str) {
        *self.lock() = Some(Comparison {
            canary,
            running,
            kind: kind.to_owned(),
            of_canary: Brought::default(),
            of_running: Brought::default(),
            waiting: HashMap::default(),
            by_age: VecDeque::new(),
        });
    }

    /// Counts no longer.
    pub(super) fn end(&self) {
        *self.lock() = None;
    }

    /// What `canary` brought and what runs beside it, since it began.
    pub(super) fn so_far(&self, canary: Digest) -> Option<(Brought, Brought)> {
        let comparison = self.lock();
        let of = comparison.as_ref().filter(|comparison| comparison.canary == canary);
        of.map(|comparison| (comparison.of_canary, comparison.of_running))
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Option<Comparison>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Follower for Earned {
    fn stored(&self, _: Lane, _: u64, events: &[Event]) {
        let mut comparison = self.lock();
        let Some(comparison) = comparison.as_mut() else { return };
        let about = |event: &&Event| event.name != names::DECISION && event.name != names::EXPOSURE;
        for event in events.iter().filter(about) {
            let Some(id) = event.decision_id.filter(|id| comparison.waiting.contains_key(id)) else { continue };
            if reward::kind(&event.name, Some(&event.properties)) == comparison.kind {
                comparison.reward(id);
            }
        }
    }

    fn recorded(&self, _: u64, records: &[Record]) {
        if let Some(comparison) = self.lock().as_mut() {
            records.iter().for_each(|record| comparison.decision(record));
        }
    }
}

// === impl Comparison ===

impl Comparison {
    fn decision(&mut self, record: &Record) {
        let is_canary = record.release == self.canary;
        let is_shed = record.faults.iter().any(|told| told.fault == Fault::Shed);
        // What a page says that it decided is its word alone.
        if is_shed || record.id.is_of_a_page() || (!is_canary && record.release != self.running) {
            return;
        }
        self.of(is_canary).decisions += 1;
        if record.choices.is_empty() {
            return;
        }
        if self.by_age.len() >= MOST_DECISIONS
            && let Some(oldest) = self.by_age.pop_front()
        {
            self.waiting.remove(&oldest);
        }
        self.waiting.insert(record.id, is_canary);
        self.by_age.push_back(record.id);
    }

    fn reward(&mut self, id: DecisionId) {
        if let Some(is_canary) = self.waiting.remove(&id) {
            self.of(is_canary).rewarded += 1;
        }
    }

    fn of(&mut self, is_canary: bool) -> &mut Brought {
        if is_canary { &mut self.of_canary } else { &mut self.of_running }
    }
}

#[cfg(test)]
mod tests {
    use selvedge_decision::Reason;
    use selvedge_decision::record::{Rung, RungFault};

    use super::*;
    use crate::outbox::samples;

    #[test]
    fn a_decision_is_rewarded_once_for_the_release_that_made_it() {
        let (canary, running) = (Digest::of(b"canary"), Digest::of(b"running"));
        let record = |n: u64, release: Digest| Record { release, reason: Reason::Scored, ..samples::record(n) };
        let event = |n: u64, name: &str| Event {
            name: name.to_owned(),
            decision_id: Some(samples::record(n).id),
            ..samples::event(n)
        };
        let earned = Earned::default();
        earned.recorded(1, &[record(1, canary)]);
        assert_eq!(earned.so_far(canary), None, "nobody compares yet");
        earned.compare(canary, running, "add_to_cart");
        let empty = Record { reason: Reason::Empty, choices: Vec::new(), ..record(5, canary) };
        let shed = RungFault { rung: Rung::Ladder(0), fault: Fault::Shed };
        let shed = Record { faults: vec![shed], ..record(6, canary) };
        earned.recorded(2, &[record(2, canary), record(3, running), record(4, Digest::of(b"other")), empty, shed]);
        let (cart, click) = ("add_to_cart", "select_item");
        let told = [
            event(2, cart),
            event(2, cart),
            event(3, click),
            event(4, cart),
            event(1, cart),
            event(5, cart),
            event(6, cart),
        ];
        earned.stored(Lane::Events, 1, &told);
        let brought = |decisions, rewarded| Brought { decisions, rewarded };
        assert_eq!(earned.so_far(canary), Some((brought(2, 1), brought(1, 0))), "one had nothing to reward");
        earned.stored(Lane::Events, 7, &[event(3, cart)]);
        assert_eq!(earned.so_far(canary), Some((brought(2, 1), brought(1, 1))));
        assert_eq!(earned.so_far(running), None, "another canary's");
        earned.end();
        assert_eq!(earned.so_far(canary), None);
    }
}
