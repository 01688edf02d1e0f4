//! What rests in memory between an append and the next group commit. Owns the seq counters and the one lock that the hot
//! path takes; it holds that only to push and to swap vectors. Touches no file.

use std::ops::Range;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use selvedge_decision::Record;
use tokio::sync::oneshot;

use super::seen::Claim;
use super::{Accepted, Lane, SeqRange};
use crate::events::Event;

/// The queue between appenders and the writer.
#[derive(Debug)]
pub(super) struct Queue {
    state: Mutex<State>,
    wake: Condvar,
    /// How long a record may rest.
    delay: Duration,
    /// Bytes that may rest in each lane.
    max_bytes: usize,
    /// Records that may rest.
    max_records: usize,
}

/// Everything that the next group commit writes.
#[derive(Debug, Default)]
pub(super) struct Group {
    pub(super) rewards: Rested<Event>,
    pub(super) decisions: Rested<Record>,
    pub(super) events: Rested<Event>,
    /// The message ids of the events and rewards.
    pub(super) claims: Vec<Claim>,
    /// Told what became of the group.
    pub(super) waiting: Vec<oneshot::Sender<Stored>>,
    /// Told when everything before them was written, well or not.
    pub(super) flushing: Vec<oneshot::Sender<()>>,
}

/// Items of one lane in order.
#[derive(Debug)]
pub(super) struct Rested<T> {
    pub(super) items: Vec<T>,
    /// Where a run of seqs without a gap begins: index of its first item, and its seq.
    pub(super) runs: Vec<(usize, u64)>,
    pub(super) bytes: usize,
}

/// A batch that the queue took.
#[derive(Debug)]
pub(super) struct Taken {
    /// Told what became of its group.
    pub(super) stored: oneshot::Receiver<Stored>,
    /// What is true once it is stored.
    pub(super) accepted: Accepted,
}

/// What became of a group: whether it is durable, or why not.
pub(super) type Stored = Result<(), NotStored>;

/// Why a group is not durable.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum NotStored {
    /// There is no room on the disk.
    DiskFull,
    /// Another failure, in words.
    Failed(String),
}

/// Why the queue does not take something.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum NotTaken {
    /// The lane has no room, on disk or in memory.
    Full,
    /// The outbox is closed.
    Closed,
}

/// What became of a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum RecordTaken {
    Whole,
    WithoutInputs,
    Dropped(NotTaken),
}

#[derive(Debug)]
struct State {
    group: Group,
    next_seq: [u64; Lane::ALL.len()],
    /// Items that the writer has taken and not finished.
    writing: [u64; Lane::ALL.len()],
    /// When the oldest record that rests was appended.
    record_since: Option<Instant>,
    /// Whether somebody waits for records to be stored.
    records_awaited: bool,
    closing: bool,
}

// === impl Queue ===

impl Queue {
    pub(super) fn new(delay: Duration, max_bytes: usize, max_records: usize) -> Self {
        let state = State {
            group: Group::default(),
            next_seq: [1; Lane::ALL.len()],
            writing: [0; Lane::ALL.len()],
            record_since: None,
            records_awaited: false,
            closing: false,
        };
        Self { state: Mutex::new(state), wake: Condvar::new(), delay, max_bytes, max_records }
    }

    /// Takes events of one or two lanes, all or none; `room` is what each lane has left on disk. A refused batch uses up no seq.
    pub(super) fn push_events(
        &self,
        rewards: &mut Vec<Event>,
        events: &mut Vec<Event>,
        claim: Claim,
        room: impl Fn(Lane) -> u64,
    ) -> Result<Taken, NotTaken> {
        let weights = [weigh(rewards), weigh(events)];
        let (told, receiver) = oneshot::channel();
        let mut state = self.lock();
        if state.closing {
            return Err(NotTaken::Closed);
        }
        let resting = [state.group.rewards.bytes, state.group.events.bytes];
        for ((lane, weight), resting) in [Lane::Rewards, Lane::Events].into_iter().zip(weights).zip(resting) {
            let total = resting + weight;
            if weight > 0 && (total > self.max_bytes || total as u64 > room(lane)) {
                return Err(NotTaken::Full);
            }
        }
        let State { group, next_seq, .. } = &mut *state;
        let rewards = group.rewards.append(rewards, weights[0], &mut next_seq[Lane::Rewards as usize]);
        let events = group.events.append(events, weights[1], &mut next_seq[Lane::Events as usize]);
        group.waiting.push(told);
        if !claim.is_empty() {
            group.claims.push(claim);
        }
        drop(state);
        self.wake.notify_one();
        Ok(Taken { stored: receiver, accepted: Accepted { rewards, events, duplicates: 0 } })
    }

    /// Takes a record that weighs `bytes`, `without_inputs` if they are taken off. Every record uses up a seq, so that a gap
    /// tells how many were dropped. Beyond three quarters of its room the lane takes no inputs.
    pub(super) fn push_record(
        &self,
        mut record: Record,
        bytes: usize,
        without_inputs: usize,
        room: u64,
    ) -> RecordTaken {
        let mut state = self.lock();
        let State { group, next_seq, record_since, closing, .. } = &mut *state;
        let seq = next_seq[Lane::Decisions as usize];
        next_seq[Lane::Decisions as usize] += 1;
        if *closing {
            return RecordTaken::Dropped(NotTaken::Closed);
        }
        let rested = &mut group.decisions;
        let limit = room.min(self.max_bytes as u64);
        let mut inputs = None;
        let mut taken = RecordTaken::Whole;
        let mut weight = bytes;
        if (rested.bytes + weight) as u64 > limit / 4 * 3 && record.inputs.is_some() {
            inputs = record.inputs.take();
            weight = without_inputs;
            taken = RecordTaken::WithoutInputs;
        }
        if (rested.bytes + weight) as u64 > limit || rested.items.len() >= self.max_records {
            return RecordTaken::Dropped(NotTaken::Full);
        }
        rested.push(record, weight, seq);
        let first = record_since.is_none();
        if first {
            *record_since = Some(Instant::now());
        }
        drop(state);
        drop(inputs);
        if first {
            self.wake.notify_one();
        }
        taken
    }

    /// Takes records that somebody else made and waits for, all or none, each with what it weighs. `room` is what the lane has left on
    /// disk for them. Half of what may rest is never theirs.
    pub(super) fn push_records(
        &self,
        records: Vec<(Record, usize)>,
        claim: Claim,
        room: u64,
    ) -> Result<oneshot::Receiver<Stored>, NotTaken> {
        let weight: usize = records.iter().map(|(_, weight)| weight).sum();
        let (told, receiver) = oneshot::channel();
        let mut state = self.lock();
        if state.closing {
            return Err(NotTaken::Closed);
        }
        let rested = &state.group.decisions;
        let total = rested.bytes + weight;
        let most = room.min(self.max_bytes as u64 / 2);
        if total as u64 > most || rested.items.len() + records.len() > self.max_records / 2 {
            return Err(NotTaken::Full);
        }
        let State { group, next_seq, .. } = &mut *state;
        for (record, weight) in records {
            group.decisions.push(record, weight, next_seq[Lane::Decisions as usize]);
            next_seq[Lane::Decisions as usize] += 1;
        }
        group.waiting.push(told);
        if !claim.is_empty() {
            group.claims.push(claim);
        }
        state.records_awaited = true;
        drop(state);
        self.wake.notify_one();
        Ok(receiver)
    }

    /// A receiver that is told when everything appended before is written. `None` when the outbox is closed.
    pub(super) fn push_flush(&self) -> Option<oneshot::Receiver<()>> {
        let (told, receiver) = oneshot::channel();
        let mut state = self.lock();
        if state.closing {
            return None;
        }
        state.group.flushing.push(told);
        drop(state);
        self.wake.notify_one();
        Some(receiver)
    }

    /// Waits for the next group and swaps it with the spent one. `false` when the outbox is closed and nothing rests.
    ///
    /// Events that somebody waits for start a group at once; what arrives meanwhile makes up the next, so groups grow with
    /// the load. Records wait for the full delay unless somebody flushes: they compress better together, and a second file
    /// need not be synced with every group of events.
    pub(super) fn take(&self, spent: &mut Group) -> bool {
        let mut state = self.lock();
        let records_due = loop {
            let due = state.record_since.map(|since| since + self.delay);
            let now = Instant::now();
            let full = state.group.decisions.bytes > self.max_bytes / 4;
            let records_due = state.closing || full || state.records_awaited || due.is_some_and(|due| due <= now);
            let group = &state.group;
            if !group.flushing.is_empty() {
                break true;
            }
            if !group.waiting.is_empty() || (records_due && !group.decisions.items.is_empty()) {
                break records_due;
            }
            if state.closing {
                return false;
            }
            state = match due {
                None => self.wake.wait(state).unwrap_or_else(PoisonError::into_inner),
                Some(due) => self.wake.wait_timeout(state, due - now).unwrap_or_else(PoisonError::into_inner).0,
            };
        };
        let State { group, record_since, records_awaited, writing, .. } = &mut *state;
        std::mem::swap(&mut group.rewards, &mut spent.rewards);
        std::mem::swap(&mut group.events, &mut spent.events);
        std::mem::swap(&mut group.claims, &mut spent.claims);
        std::mem::swap(&mut group.waiting, &mut spent.waiting);
        std::mem::swap(&mut group.flushing, &mut spent.flushing);
        if records_due {
            std::mem::swap(&mut group.decisions, &mut spent.decisions);
            *record_since = None;
            *records_awaited = false;
        }
        *writing = [spent.rewards.items.len(), spent.decisions.items.len(), spent.events.items.len()].map(|n| n as u64);
        true
    }

    /// The group that was taken is written, well or not, and counted.
    pub(super) fn written(&self) {
        self.lock().writing = [0; Lane::ALL.len()];
    }

    /// Takes nothing more; the writer ends when it has written what rests.
    pub(super) fn close(&self) {
        self.lock().closing = true;
        self.wake.notify_all();
    }

    /// The writer is gone: nobody who waits is left waiting. What rested is given up.
    pub(super) fn abandon(&self) -> Group {
        let mut state = self.lock();
        state.closing = true;
        std::mem::take(&mut state.group)
    }

    /// Items in memory by lane.
    pub(super) fn resting(&self) -> [u64; Lane::ALL.len()] {
        let state = self.lock();
        let group = &state.group;
        let resting = [group.rewards.items.len(), group.decisions.items.len(), group.events.items.len()];
        std::array::from_fn(|lane| resting[lane] as u64 + state.writing[lane])
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Every change under the lock is whole before anything can panic.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn weigh(events: &[Event]) -> usize {
    events.iter().map(Event::weight).sum()
}

// === impl Group ===

impl Group {
    /// Forgets everything and keeps the memory, up to a bound.
    pub(super) fn clear(&mut self) {
        self.rewards.clear();
        self.decisions.clear();
        self.events.clear();
        self.claims.clear();
        self.waiting.clear();
        self.flushing.clear();
    }
}

/// The runs of `count` items as ranges of indices with the first seq of each.
pub(super) fn spans(runs: &[(usize, u64)], count: usize) -> impl Iterator<Item = (Range<usize>, u64)> {
    let ends = runs.iter().skip(1).map(|run| run.0).chain([count]);
    runs.iter().zip(ends).map(|(&(start, seq), end)| (start..end, seq))
}

// === impl Rested ===

impl<T> Default for Rested<T> {
    fn default() -> Self {
        Self { items: Vec::new(), runs: Vec::new(), bytes: 0 }
    }
}

impl<T> Rested<T> {
    /// Items in capacity that a vector may keep between two groups.
    const KEPT: usize = 4096;

    fn push(&mut self, item: T, bytes: usize, seq: u64) {
        self.begin(seq);
        self.items.push(item);
        self.bytes += bytes;
    }

    fn append(&mut self, items: &mut Vec<T>, bytes: usize, next_seq: &mut u64) -> Option<SeqRange> {
        if items.is_empty() {
            return None;
        }
        let range = SeqRange { first: *next_seq, count: items.len() as u64 };
        self.begin(range.first);
        self.items.append(items);
        self.bytes += bytes;
        *next_seq += range.count;
        Some(range)
    }

    /// Begins a new run unless `seq` is the next of the last one.
    fn begin(&mut self, seq: u64) {
        let follows = self.runs.last().is_some_and(|(index, first)| first + (self.items.len() - index) as u64 == seq);
        if !follows {
            self.runs.push((self.items.len(), seq));
        }
    }

    /// The runs as ranges of indices with the first seq of each.
    pub(super) fn spans(&self) -> impl Iterator<Item = (Range<usize>, u64)> {
        spans(&self.runs, self.items.len())
    }

    fn clear(&mut self) {
        self.items.clear();
        self.items.shrink_to(Self::KEPT);
        self.runs.clear();
        self.runs.shrink_to(Self::KEPT);
        self.bytes = 0;
    }
}
