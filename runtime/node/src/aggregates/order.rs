//! The order of events: of one run of a node by their numbers, whatever order its blocks came in. Owns which blocks wait for one
//! before them, how many may and how long, and what is passed by. That each event counts once the slots know (`states`).
//!
//! A node sends its blocks in their order, and those that the core did not take again: so a gap fills within seconds, or never,
//! when a disk failed under what was to stand there.

use std::collections::BTreeMap;
use std::ops::Range;
use std::time::{Duration, Instant};

use selvedge_decision::{Epoch, NodeId, TimeUs};
use serde::Serialize;

use super::Position;
use crate::events::Event;
use crate::outbox::block::{self, BadBlock, Items};
use crate::sessions::Origin;

/// How long a gap is waited for.
const GAP: Duration = Duration::from_secs(30);
/// Blocks that wait at once; then the one that waits for longest does not wait any more.
const MOST_HELD: usize = 512;
/// Gaps of one run that are remembered, for what may fill them late.
const MOST_LOST: usize = 16;
/// Runs of one node that are remembered.
const MOST_RUNS: usize = 4;
/// Runs of all nodes that are: a position has them all, and has to fit into a message.
const MOST_RUNS_OF_ALL: usize = 4_096;

/// A block of events.
#[derive(Debug, Clone, PartialEq)]
pub struct Block {
    pub(super) origin: Origin,
    pub(super) first_seq: u64,
    pub(super) events: Vec<Event>,
    /// Its sequence in the stream.
    pub(super) at: u64,
    /// Numbers of its run that were passed by and had not come when it did.
    pub(super) lost: Vec<Range<u64>>,
}

/// Brings blocks into their order.
#[derive(Debug, Default)]
pub struct Order {
    runs: BTreeMap<Origin, Run>,
    held: usize,
    /// Blocks taken.
    turn: u64,
    /// The stream has lost what was to be read: where a run seems to begin with a gap nothing comes any more.
    is_purged: bool,
    /// Gaps that were given up since this was asked last.
    gaps: Vec<Gap>,
    /// Numbers of gaps that are not remembered any more.
    forgotten: u64,
    /// Runs of nodes that are not remembered any more, because too many others told something since.
    runs_forgotten: u64,
}

/// Events that did not come.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Gap {
    /// Whose.
    pub node: NodeId,
    /// Of which run.
    pub epoch: Epoch,
    /// Their numbers, from one up to and without another.
    pub seqs: Range<u64>,
}

#[derive(Debug)]
struct Run {
    /// The number that comes next.
    next: u64,
    /// By their first number.
    held: BTreeMap<u64, (Block, Instant)>,
    /// Numbers that were given up, in their order.
    lost: Vec<Range<u64>>,
    /// When a block of it came last.
    turn: u64,
    /// A block of it was counted since the reading began.
    is_read: bool,
}

// === impl Block ===

impl Block {
    /// A message of the stream.
    pub fn read(bytes: &[u8], at: u64) -> Result<Self, BadBlock> {
        let (header, items) = block::decode(bytes)?;
        let events = match items {
            Items::Events(events) => events,
            Items::Records(_) => Vec::new(),
        };
        let origin = Origin { node: header.node, epoch: header.epoch };
        Ok(Self { origin, first_seq: header.first_seq, events, at, lost: Vec::new() })
    }

    /// Events of a run from elsewhere than the stream, the first of which has this number.
    pub fn of(node: NodeId, epoch: Epoch, first_seq: u64, events: Vec<Event>) -> Self {
        Self { origin: Origin { node, epoch }, first_seq, events, at: 0, lost: Vec::new() }
    }

    /// The same without events that came after `time_us`: a node's time does not go back.
    #[must_use]
    pub fn until(mut self, time_us: TimeUs) -> Self {
        let end = self.events.iter().position(|event| event.received_us > time_us);
        self.events.truncate(end.unwrap_or(self.events.len()));
        self
    }

    fn end(&self) -> u64 {
        self.first_seq + self.events.len() as u64
    }

    /// What of it is in `range`.
    fn within(&self, range: &Range<u64>) -> Option<Self> {
        let (first, end) = (self.first_seq.max(range.start), self.end().min(range.end));
        let events =
            self.events.get(first.checked_sub(self.first_seq)? as usize..end.checked_sub(self.first_seq)? as usize)?;
        (!events.is_empty()).then(|| Self { first_seq: first, events: events.to_vec(), ..self.clone() })
    }
}

// === impl Order ===

impl Order {
    /// From what positions know of a run, `NODE.EPOCH`: what they all have counted, and what any of them did not.
    pub(super) fn new(positions: &[&Position], is_purged: bool) -> Self {
        let mut order = Self { is_purged, ..Self::default() };
        let Some((first, others)) = positions.split_first() else { return order };
        for (text, next) in &first.next {
            let Some((node, epoch)) = text.rsplit_once('.') else { continue };
            let (Ok(node), Ok(epoch)) = (node.parse(), epoch.parse()) else { continue };
            let all: Option<Vec<u64>> = others.iter().map(|other| other.next.get(text).copied()).collect();
            // A run that one of them does not know begins anew: slots tell what they count.
            let Some(all) = all else { continue };
            let next = all.into_iter().fold(*next, u64::min);
            let mut run = Run::new(next);
            let lost = positions.iter().filter_map(|position| position.lost.get(text)).flatten();
            run.lost.extend(lost.map(|(start, end)| *start..(*end).min(next)).filter(|lost| !lost.is_empty()));
            run.lost.sort_by_key(|lost| (lost.start, lost.end));
            run.lost.dedup();
            order.runs.insert(Origin { node, epoch }, run);
        }
        order
    }

    /// What comes next, for a position.
    pub(super) fn next(&self) -> BTreeMap<String, u64> {
        self.runs.iter().map(|(origin, run)| (text_of(origin), run.next)).collect()
    }

    /// What was passed by and may still come, for a position.
    pub(super) fn lost(&self) -> BTreeMap<String, Vec<(u64, u64)>> {
        let runs = self.runs.iter().filter(|(_, run)| !run.lost.is_empty());
        runs.map(|(origin, run)| (text_of(origin), run.lost.iter().map(|lost| (lost.start, lost.end)).collect()))
            .collect()
    }

    /// How many events did not come, of all runs: they count when they do, but for those of gaps that are not remembered.
    pub fn missing(&self) -> u64 {
        let of = |lost: &Range<u64>| lost.end - lost.start;
        self.forgotten + self.runs.values().flat_map(|run| &run.lost).map(of).sum::<u64>()
    }

    /// Runs that were forgotten because so many others told something since: of one that comes back, slots tell what is counted.
    pub(super) fn runs_forgotten(&self) -> u64 {
        self.runs_forgotten
    }

    /// Gaps that were given up since this was asked last.
    pub fn gaps(&mut self) -> Vec<Gap> {
        std::mem::take(&mut self.gaps)
    }

    /// Takes a block that came; what may be counted now.
    pub fn take(&mut self, block: Block, now: Instant) -> Vec<Block> {
        let origin = block.origin.clone();
        self.turn += 1;
        let run = self.runs.entry(origin.clone()).or_insert_with(|| Run::new(1));
        run.turn = self.turn;
        let mut ready = run.late(&block);
        if block.first_seq > run.next {
            // The same once more is no other.
            self.held += usize::from(run.held.insert(block.first_seq, (block, now)).is_none());
            if self.held > MOST_HELD {
                ready.extend(self.give_up_oldest());
            }
        } else {
            ready.extend(run.count(&block));
            ready.extend(self.follow(&origin));
        }
        self.forget(&origin);
        if self.runs.len() > MOST_RUNS_OF_ALL {
            self.forget_oldest();
        }
        ready
    }

    /// What waited for too long.
    pub fn give_up(&mut self, now: Instant) -> Vec<Block> {
        let mut ready = Vec::new();
        while self.oldest().is_some_and(|(_, since)| now.saturating_duration_since(since) >= GAP) {
            ready.extend(self.give_up_oldest());
        }
        ready
    }

    /// What waits, at the end of all there is.
    pub fn give_up_all(&mut self) -> Vec<Block> {
        let mut ready = Vec::new();
        while self.held > 0 {
            ready.extend(self.give_up_oldest());
        }
        ready
    }

    /// Blocks that wait.
    pub fn held(&self) -> usize {
        self.held
    }

    /// The sequence in the stream of the first block that waits.
    pub(super) fn oldest_held(&self) -> Option<u64> {
        self.runs.values().flat_map(|run| run.held.values()).map(|(block, _)| block.at).min()
    }

    fn oldest(&self) -> Option<(Origin, Instant)> {
        let waits = self
            .runs
            .iter()
            .filter_map(|(origin, run)| Some((origin, run.held.values().map(|(_, since)| *since).min()?)));
        waits.min_by_key(|(_, since)| *since).map(|(origin, since)| (origin.clone(), since))
    }

    /// Goes on behind the first gap of the run whose block waits for longest.
    fn give_up_oldest(&mut self) -> Vec<Block> {
        let Some((origin, _)) = self.oldest() else { return Vec::new() };
        if let Some(run) = self.runs.get_mut(&origin)
            && let Some(first) = run.held.keys().next().copied()
        {
            let seqs = run.next..first;
            self.gaps.push(Gap { node: origin.node.clone(), epoch: origin.epoch, seqs: seqs.clone() });
            if self.is_purged && !run.is_read {
                self.forgotten += seqs.end - seqs.start;
            } else {
                run.lost.push(seqs);
            }
            if run.lost.len() > MOST_LOST {
                let oldest = run.lost.remove(0);
                self.forgotten += oldest.end - oldest.start;
            }
            run.next = first;
        }
        self.follow(&origin)
    }

    /// What waited for what has come.
    fn follow(&mut self, origin: &Origin) -> Vec<Block> {
        let mut ready = Vec::new();
        let Some(run) = self.runs.get_mut(origin) else { return ready };
        while let Some(entry) = run.held.first_entry().filter(|entry| *entry.key() <= run.next) {
            let (block, _) = entry.remove();
            self.held -= 1;
            ready.extend(run.count(&block));
        }
        ready
    }

    /// Of a node's runs those are remembered that told something last.
    fn forget(&mut self, origin: &Origin) {
        let of = Origin { node: origin.node.clone(), epoch: Epoch(0) }..=Origin {
            node: origin.node.clone(),
            epoch: Epoch(u64::MAX),
        };
        let mut runs: Vec<(u64, Origin)> =
            self.runs.range(of).map(|(origin, run)| (run.turn, origin.clone())).collect();
        if runs.len() <= MOST_RUNS {
            return;
        }
        runs.sort();
        runs.truncate(runs.len() - MOST_RUNS);
        for (_, old) in runs {
            self.let_go(&old);
        }
    }

    /// Of all runs the one goes that told nothing for longest.
    fn forget_oldest(&mut self) {
        let idle = self.runs.iter().filter(|(_, run)| run.held.is_empty());
        let oldest = idle.min_by_key(|(_, run)| run.turn).map(|(origin, _)| origin.clone());
        if oldest.is_some_and(|oldest| self.let_go(&oldest)) {
            self.runs_forgotten += 1;
        }
    }

    /// Forgets a run, unless a block of it waits. Whether it did.
    fn let_go(&mut self, origin: &Origin) -> bool {
        if self.runs.get(origin).is_none_or(|run| !run.held.is_empty()) {
            return false;
        }
        let lost = self.runs.remove(origin).map(|run| run.lost).unwrap_or_default();
        self.forgotten += lost.iter().map(|lost| lost.end - lost.start).sum::<u64>();
        true
    }
}

// === impl Run ===

impl Run {
    fn new(next: u64) -> Self {
        Self { next, held: BTreeMap::new(), lost: Vec::new(), turn: 0, is_read: false }
    }

    /// What of a block was not counted yet, which now is.
    fn count(&mut self, block: &Block) -> Option<Block> {
        let new = block.within(&(self.next..u64::MAX));
        (self.next, self.is_read) = (self.next.max(block.end()), true);
        new.map(|new| Block { lost: self.lost.clone(), ..new })
    }

    /// What of a block fills gaps that were given up.
    fn late(&mut self, block: &Block) -> Vec<Block> {
        let lost = self.lost.clone();
        let found: Vec<Block> = lost.iter().filter_map(|lost| block.within(lost)).collect();
        for late in &found {
            let cut =
                |lost: Range<u64>| [lost.start..lost.end.min(late.first_seq), lost.start.max(late.end())..lost.end];
            let left = std::mem::take(&mut self.lost).into_iter().flat_map(cut);
            self.lost = left.filter(|lost| !lost.is_empty()).collect();
        }
        found.into_iter().map(|block| Block { lost: lost.clone(), ..block }).collect()
    }
}

fn text_of(origin: &Origin) -> String {
    format!("{}.{}", origin.node, origin.epoch)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::single_range_in_vec_init, reason = "tests, of ranges")]

    use super::*;
    use crate::outbox::samples::events;

    fn of(epoch: u64, seqs: Range<u64>, at: u64) -> Block {
        let origin = Origin { node: "edge-1".to_owned().try_into().unwrap(), epoch: Epoch(epoch) };
        Block { origin, first_seq: seqs.start, events: events(seqs), at, lost: Vec::new() }
    }

    fn seqs(blocks: &[Block]) -> Vec<Range<u64>> {
        blocks.iter().map(|block| block.first_seq..block.end()).collect()
    }

    #[test]
    fn blocks_that_come_in_another_order_are_counted_in_their_own() {
        let (mut order, now) = (Order::default(), Instant::now());
        assert_eq!(seqs(&order.take(of(1, 1..3, 10), now)), [1..3]);
        assert_eq!(seqs(&order.take(of(1, 6..8, 11), now)), []);
        assert_eq!(seqs(&order.take(of(2, 1..2, 12), now)), [1..2], "another run waits for nothing");
        assert_eq!((order.held(), order.oldest_held()), (1, Some(11)));
        assert_eq!(seqs(&order.take(of(1, 6..8, 13), now)), [], "the same once more");
        assert_eq!(seqs(&order.take(of(1, 3..6, 14), now)), [3..6, 6..8]);
        assert_eq!(seqs(&order.take(of(1, 3..6, 15), now)), [], "counted already");
        assert_eq!(seqs(&order.take(of(1, 7..9, 16), now)), [8..9], "of what overlaps the rest");
        assert_eq!((order.held(), order.oldest_held()), (0, None));
    }

    #[test]
    fn a_gap_that_stays_is_given_up_and_what_fills_it_late_counts_once() {
        let (mut order, now) = (Order::default(), Instant::now());
        assert_eq!(seqs(&order.take(of(1, 4..6, 1), now)), []);
        assert_eq!(seqs(&order.take(of(1, 8..9, 2), now)), []);
        assert_eq!(seqs(&order.give_up(now + GAP / 2)), []);
        assert_eq!(seqs(&order.give_up(now + GAP)), [4..6, 8..9]);
        assert_eq!(seqs(&order.take(of(1, 2..4, 3), now)), [2..4]);
        assert_eq!(seqs(&order.take(of(1, 1..5, 4), now)), [1..2]);
        assert_eq!(seqs(&order.take(of(1, 1..9, 5), now)), [6..8]);
        assert_eq!(seqs(&order.take(of(1, 1..9, 6), now)), []);
    }

    #[test]
    fn no_more_than_so_many_blocks_wait() {
        let (mut order, now) = (Order::default(), Instant::now());
        let mut ready = Vec::new();
        for at in 0..=MOST_HELD as u64 {
            ready.extend(order.take(of(1, 2 + 2 * at..3 + 2 * at, at), now));
        }
        assert_eq!((seqs(&ready), order.held()), (vec![2..3], MOST_HELD));
    }

    #[test]
    fn a_run_that_comes_back_is_not_the_one_that_is_forgotten() {
        let (mut order, now) = (Order::default(), Instant::now());
        // A node whose disk was lost counts its runs from the beginning again.
        for epoch in [9, 8, 7, 6, 1] {
            order.take(of(epoch, 1..3, epoch), now);
        }
        assert_eq!(seqs(&order.take(of(1, 3..4, 20), now)), [3..4]);
    }

    #[test]
    fn of_all_runs_no_more_are_remembered_than_a_position_has_room_for() {
        let (mut order, now) = (Order::default(), Instant::now());
        let told = |at: usize, seqs: Range<u64>| {
            let origin = Origin { node: format!("edge-{at}").try_into().unwrap(), epoch: Epoch(1) };
            Block { origin, ..of(1, seqs, at as u64) }
        };
        for at in 0..MOST_RUNS_OF_ALL {
            order.take(told(at, 1..3), now);
        }
        assert_eq!((order.next().len(), order.runs_forgotten()), (MOST_RUNS_OF_ALL, 0));
        // The first one tells something again, so it is the second that told nothing for longest.
        order.take(told(0, 3..4), now);
        order.take(told(MOST_RUNS_OF_ALL, 1..3), now);
        assert_eq!((order.next().len(), order.runs_forgotten()), (MOST_RUNS_OF_ALL, 1));
        assert_eq!(seqs(&order.take(told(0, 4..5), now)), [4..5]);
        assert!(!order.next().keys().any(|run| run.starts_with("edge-1.")), "it is the one that is forgotten");
        let json = serde_json::to_vec(&position(&order)).unwrap();
        assert!(json.len() < 1 << 20, "{} bytes do not fit into a message", json.len());
    }

    #[test]
    fn what_the_stream_does_not_have_any_more_is_told_and_not_waited_for_later() {
        let (mut order, now) = (Order::new(&[], true), Instant::now());
        order.take(of(1, 40..42, 1), now);
        assert_eq!(seqs(&order.give_up(now + GAP)), [40..42]);
        assert_eq!(order.gaps().iter().map(|gap| gap.seqs.clone()).collect::<Vec<_>>(), [1..40]);
        assert_eq!((order.missing(), order.lost().len()), (39, 0));
        // A gap behind that may still be filled.
        order.take(of(1, 50..51, 2), now);
        assert_eq!(order.give_up(now + GAP)[0].lost, [42..50]);
        assert_eq!(order.missing(), 39 + 8);
    }

    fn position(order: &Order) -> Position {
        let (next, lost) = (order.next(), order.lost());
        let by = selvedge_decision::definition::By::One("subject".into());
        Position { next, lost, ..Position::new(by, 0) }
    }

    #[test]
    fn a_position_says_where_to_go_on() {
        let (mut order, now) = (Order::default(), Instant::now());
        for epoch in 1..=6 {
            order.take(of(epoch, 1..3, epoch), now);
        }
        order.take(of(6, 5..6, 9), now);
        order.take(of(5, 7..8, 9), now);
        assert_eq!(order.give_up_all().len(), 2);
        let position = position(&order);
        assert_eq!((position.next.len(), position.lost.len()), (MOST_RUNS, 2));
        let mut again = Order::new(&[&position], false);
        assert_eq!(seqs(&again.take(of(6, 1..3, 6), now)), []);
        assert_eq!(seqs(&again.take(of(6, 5..6, 9), now)), []);
        let late = again.take(of(6, 3..5, 10), now);
        assert_eq!((seqs(&late), &late[0].lost[..]), (vec![3..5], &[3..5][..]), "it was passed by, and is not lost");
    }

    #[test]
    fn of_several_positions_only_what_all_have_counted_is_passed_by() {
        let now = Instant::now();
        let (mut one, mut other) = (Order::default(), Order::default());
        one.take(of(1, 1..5, 1), now);
        other.take(of(1, 1..9, 1), now);
        // The other one has read on, and a run that came later.
        other.take(of(2, 1..9, 2), now);
        let positions = [position(&one), position(&other)];
        for positions in [[&positions[0], &positions[1]], [&positions[1], &positions[0]]] {
            let mut both = Order::new(&positions, false);
            assert_eq!(seqs(&both.take(of(1, 1..9, 1), now)), [5..9]);
            assert_eq!(seqs(&both.take(of(2, 1..9, 2), now)), [1..9]);
        }
    }
}
