//! What is kept of one entity as one node saw it. Owns which events are in it, so that each counts once.
//!
//! It knows of each run the last event in it, and which numbers before that had been passed by: an event counts when it is behind
//! the last one, or among those. So it does not matter how often the stream is read again, or how much of it was written.

use std::collections::BTreeMap;
use std::ops::Range;

use selvedge_decision::aggregate::{Aggregates, Slot, State};
use selvedge_decision::{Epoch, TimeUs};

use crate::link::nats::releases::CoreError;

/// Runs of a node that are told apart; the oldest are forgotten.
const MOST_RUNS: usize = 8;

/// What is kept of one entity as one node saw it.
#[derive(Default)]
pub(super) struct Held {
    pub(super) state: State,
    runs: BTreeMap<Epoch, Run>,
    /// The newest run that was forgotten, and the time up to which events may be of forgotten runs.
    forgotten: Option<(Epoch, TimeUs)>,
    /// The number of the value in the bucket that it comes from.
    pub(super) revision: u64,
    /// It is not written since something came.
    pub(super) changed: bool,
}

/// What a state has of a run.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
struct Run {
    /// The number of the last event.
    last: u64,
    /// Numbers before it that had not come.
    lost: Vec<Range<u64>>,
}

// === impl Held ===

impl Held {
    /// Nothing yet, where the bucket has a value of this number that counts nothing, or none.
    pub(super) fn none(revision: u64) -> Self {
        Self { revision, ..Self::default() }
    }

    /// What a slot holds, which has this number in the bucket.
    pub(super) fn of(slot: &Slot, revision: u64, aggregates: &Aggregates) -> Self {
        let run = |(epoch, last): (&Epoch, &u64)| {
            let lost = slot.lost.get(epoch).into_iter().flatten().map(|(start, end)| *start..*end).collect();
            (*epoch, Run { last: *last, lost })
        };
        let runs = slot.runs.iter().map(run).collect();
        let forgotten = slot.forgotten.last_key_value().map(|(newest, until_us)| (*newest, *until_us));
        Self { state: aggregates.state(slot), runs, forgotten, revision, changed: false }
    }

    pub(super) fn slot(&self, aggregates: &Aggregates) -> Slot {
        let mut slot = aggregates.slot(&self.state, 0);
        slot.runs = self.runs.iter().map(|(epoch, run)| (*epoch, run.last)).collect();
        let lost = self.runs.iter().filter(|(_, run)| !run.lost.is_empty());
        let pairs = |run: &Run| run.lost.iter().map(|lost| (lost.start, lost.end)).collect();
        slot.lost = lost.map(|(epoch, run)| (*epoch, pairs(run))).collect();
        slot.forgotten = self.forgotten.into_iter().collect();
        slot
    }

    /// Whether an event is in it.
    pub(super) fn has(&self, epoch: Epoch, seq: u64, time_us: TimeUs) -> bool {
        match self.runs.get(&epoch) {
            Some(run) => seq <= run.last && !run.lost.iter().any(|lost| lost.contains(&seq)),
            // One that was forgotten, unless the node lost its disk since and counts its runs from the beginning.
            None => self.forgotten.is_some_and(|(newest, until_us)| epoch <= newest && time_us <= until_us),
        }
    }

    /// Notes that an event is in it now; `lost` says which numbers of its run had not come before. Whether it had been passed by.
    pub(super) fn note(&mut self, epoch: Epoch, seq: u64, lost: &[Range<u64>]) -> bool {
        let run = self.runs.entry(epoch).or_default();
        let is_late = seq <= run.last;
        if is_late {
            let cut = |lost: Range<u64>| [lost.start..lost.end.min(seq), lost.start.max(seq + 1)..lost.end];
            run.lost =
                std::mem::take(&mut run.lost).into_iter().flat_map(cut).filter(|lost| !lost.is_empty()).collect();
        } else {
            // What came since, or will not be known when it does, need not be remembered here.
            let within = |a: &Range<u64>, b: &Range<u64>| a.start.max(b.start)..a.end.min(b.end);
            let between = run.last + 1..seq;
            let known = run.lost.iter().chain([&between]);
            let still = known.flat_map(|known| lost.iter().map(move |lost| within(known, lost)));
            (run.lost, run.last) = (still.filter(|lost| !lost.is_empty()).collect(), seq);
        }
        if self.runs.len() > MOST_RUNS
            && let Some(oldest) = self.runs.keys().find(|known| **known != epoch).copied()
        {
            self.runs.remove(&oldest);
            let newest = self.forgotten.map_or(oldest, |(newest, _)| newest.max(oldest));
            self.forgotten = Some((newest, self.state.last()));
        }
        is_late
    }
}

/// A slot's JSON; `None` when it is none, which is then written anew.
pub(super) fn read_slot(json: &[u8]) -> Result<Option<Slot>, CoreError> {
    match serde_json::from_slice::<Slot>(json) {
        Ok(slot) if slot.is_known() => Ok(Some(slot)),
        Ok(_) => Err(CoreError::Failed {
            what: "read a slot".to_owned(),
            why: "a newer version of this program wrote it: update this one".to_owned(),
        }),
        Err(_) => Ok(None),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::single_range_in_vec_init, reason = "tests, of ranges")]

    use selvedge_decision::aggregate::{Happening, compile};

    use super::*;

    #[test]
    fn a_node_that_lost_its_disk_counts_on_and_what_is_read_again_does_not() {
        let aggregates = compile(&BTreeMap::new(), |_| Err(String::new())).unwrap();
        let mut held = Held::default();
        let event = |held: &mut Held, epoch: u64, time_us: TimeUs| {
            let is_new = !held.has(Epoch(epoch), 1, time_us);
            if is_new {
                aggregates.apply(&mut held.state, Happening { name: "view", time_us, values: &[] });
                held.note(Epoch(epoch), 1, &[]);
            }
            is_new
        };
        for epoch in 10..20 {
            assert!(event(&mut held, epoch, epoch as TimeUs));
        }
        assert_eq!(held.runs.len(), MOST_RUNS);
        assert!(!event(&mut held, 10, 10), "the same once more");
        assert!(event(&mut held, 1, 30), "the first run of a new disk");
        assert!(!event(&mut held, 1, 30));
        assert!(held.runs.contains_key(&Epoch(1)), "it is the one that tells something");
        assert!(event(&mut held, 2, 40), "and the next run of that disk");
        // The stream is read from its beginning, after the slot came out of the bucket.
        let json = serde_json::to_vec(&held.slot(&aggregates)).unwrap();
        held = Held::of(&read_slot(&json).unwrap().unwrap(), 1, &aggregates);
        for epoch in 10..20 {
            assert!(!event(&mut held, epoch, epoch as TimeUs), "run {epoch} is counted twice");
        }
        assert!(!event(&mut held, 1, 30) && !event(&mut held, 2, 40));
        assert!(event(&mut held, 20, 5), "a new run whose clock was set back");
    }

    #[test]
    fn what_was_passed_by_counts_when_it_comes() {
        let mut held = Held::default();
        let run = Epoch(1);
        let mut came = |seq: u64, lost: &[Range<u64>]| {
            (!held.has(run, seq, 0)).then(|| {
                let is_late = held.note(run, seq, lost);
                (is_late, held.runs[&run].lost.clone())
            })
        };
        assert_eq!(came(3, &[]), Some((false, vec![])));
        assert_eq!(came(12, &[5..10]), Some((false, vec![5..10])));
        // Of a block of 5 to 9 what is of this entity, in whichever order.
        assert_eq!(came(7, &[5..10]), Some((true, vec![5..7, 8..10])));
        assert_eq!(came(9, &[5..10]), Some((true, vec![5..7, 8..9])));
        assert_eq!((came(7, &[5..10]), came(4, &[]), came(12, &[])), (None, None, None), "the same once more");
        // The rest of the block was of others.
        assert_eq!(came(13, &[]), Some((false, vec![])));
        assert_eq!(came(8, &[]), None);
    }
}
