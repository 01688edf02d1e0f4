//! The last decisions of this run of the node, with what they brought. Owns how many: by number, by bytes, and of one group of the
//! outbox, so that a node under load keeps a sample and does no more work for it.

use std::collections::VecDeque;
use std::sync::Arc;

use selvedge_decision::{DecisionId, Record, TimeUs};
use serde::Serialize;

use crate::events::Event;
use crate::outbox::block;

/// Decisions that are kept.
const MOST: usize = 1_000;
/// Bytes of them.
const MOST_BYTES: usize = 16 << 20;
/// Of one that is larger, the inputs are let go.
const MOST_OF_ONE: usize = 1 << 20;
/// Decisions that are kept of one group of the outbox, which are written every few milliseconds.
const MOST_OF_GROUP: usize = 20;
/// Events that name a decision.
const MOST_EVENTS: usize = 2_000;
/// Bytes of an event's properties that are kept.
const MOST_PROPERTIES: usize = 2_048;

/// The last decisions.
#[derive(Debug, Default)]
pub struct Recent {
    kept: VecDeque<Kept>,
    bytes: usize,
    /// Decisions in all.
    seen: u64,
    brought: VecDeque<(DecisionId, Brought)>,
}

/// A decision that is kept.
#[derive(Debug, Clone)]
struct Kept {
    /// The how-manieth of all it was, from 1.
    number: u64,
    bytes: usize,
    record: Arc<Record>,
}

/// What a decision brought.
#[derive(Debug, Clone, Serialize)]
pub struct Brought {
    /// The event.
    pub event: String,
    /// When the node received it, microseconds since 1970.
    pub received_us: TimeUs,
    /// What it was about.
    pub item: Option<String>,
    /// Its properties, as JSON text, cut.
    pub properties: String,
}

/// Decisions since a number.
#[derive(Debug, Clone)]
pub struct Since {
    /// The oldest first.
    pub records: Vec<Arc<Record>>,
    /// The number of the last decision.
    pub last: u64,
    /// Decisions in between that are not among them.
    pub passed: u64,
}

// === impl Recent ===

impl Recent {
    /// Takes the decisions of a group.
    pub(super) fn decided(&mut self, records: &[Record]) {
        let skipped = records.len().saturating_sub(MOST_OF_GROUP);
        self.seen += skipped as u64;
        for record in &records[skipped..] {
            self.seen += 1;
            let mut record = record.clone();
            let mut bytes = block::record_weight(&record);
            if bytes > MOST_OF_ONE
                && let Some(inputs) = record.inputs.take()
            {
                bytes -= block::inputs_weight(&inputs);
            }
            self.bytes += bytes;
            self.kept.push_back(Kept { number: self.seen, bytes, record: Arc::new(record) });
        }
        while self.kept.len() > MOST || self.bytes > MOST_BYTES {
            let Some(oldest) = self.kept.pop_front() else { break };
            self.bytes -= oldest.bytes;
        }
    }

    /// Takes an event that names a decision.
    pub(super) fn brought(&mut self, event: &Event) {
        let Some(id) = event.decision_id else { return };
        if self.brought.len() == MOST_EVENTS {
            self.brought.pop_front();
        }
        let end = event.properties.floor_char_boundary(MOST_PROPERTIES);
        let brought = Brought {
            event: event.name.clone(),
            received_us: event.received_us,
            item: event.item.clone(),
            properties: event.properties[..end].to_owned(),
        };
        self.brought.push_back((id, brought));
    }

    /// A decision that is kept.
    pub fn find(&self, id: DecisionId) -> Option<Arc<Record>> {
        self.kept.iter().rev().find(|kept| kept.record.id == id).map(|kept| Arc::clone(&kept.record))
    }

    /// What is known that a decision brought.
    pub fn of(&self, id: DecisionId) -> Vec<Brought> {
        self.brought.iter().filter(|(of, _)| *of == id).map(|(_, brought)| brought.clone()).collect()
    }

    /// The newest decisions behind number `after` that `is_wanted` takes, at most so many.
    pub fn since(&self, after: u64, most: usize, is_wanted: impl Fn(&Record) -> bool) -> Since {
        let new = self.kept.iter().rev().take_while(|kept| kept.number > after);
        let mut records: Vec<_> =
            new.filter(|kept| is_wanted(&kept.record)).take(most).map(|kept| Arc::clone(&kept.record)).collect();
        records.reverse();
        let passed = (self.seen - after.min(self.seen)).saturating_sub(records.len() as u64);
        Since { records, last: self.seen, passed }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use crate::outbox::samples;

    #[test]
    fn the_newest_are_kept_and_the_others_counted() {
        let mut recent = Recent::default();
        let records: Vec<Record> = (0..50).map(samples::record).collect();
        recent.decided(&records);
        let all = recent.since(0, 100, |_| true);
        assert_eq!((all.records.len(), all.last, all.passed), (MOST_OF_GROUP, 50, 30));
        assert_eq!(all.records.last().unwrap().id, records[49].id);
        assert!(recent.find(records[49].id).is_some() && recent.find(records[0].id).is_none());
        let few = recent.since(48, 100, |_| true);
        assert_eq!((few.records.len(), few.passed), (2, 0));
        let none = recent.since(0, 100, |record| record.id == records[0].id);
        assert_eq!((none.records.len(), none.last), (0, 50));
        for at in 0..200 {
            recent.decided(&[samples::record(at), samples::record(at), samples::record(at), samples::record(at)]);
            recent.decided(&records[30..]);
        }
        assert!(recent.kept.len() <= MOST && recent.bytes <= MOST_BYTES);
        assert_eq!(recent.bytes, recent.kept.iter().map(|kept| kept.bytes).sum::<usize>());
    }

    #[test]
    fn what_a_decision_brought_is_told_with_it() {
        let mut recent = Recent::default();
        let record = samples::record(1);
        let mut event = Event { decision_id: Some(record.id), ..samples::event(1) };
        event.properties = format!("\"{}\"", "ü".repeat(2_000));
        (0..MOST_EVENTS + 5).for_each(|_| recent.brought(&event));
        let brought = recent.of(record.id);
        assert_eq!(brought.len(), MOST_EVENTS);
        assert!(brought[0].properties.len() <= MOST_PROPERTIES);
    }
}
