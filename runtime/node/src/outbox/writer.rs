//! The writer: one thread that turns what rests into blocks and makes them durable, one group after another. Owns the open
//! segment files. A group is stored whole or not at all; what the disk failed to sync is never synced again.

use std::sync::Arc;
use std::time::Instant;
use std::{fmt, io};

use selvedge_decision::{Record, TimeUs};

use super::block::{CannotEncode, Encoder, MAX_ITEMS, record_weight};
use super::files::{Disk, DiskFile};
use super::metrics::Cause;
use super::queue::{Group, NotStored, Rested, Stored, spans};
use super::seen::SeenFile;
use super::segments::SegmentId;
use super::{Lane, Shared};
use crate::events::Event;

/// What a block's items may weigh before they are encoded; larger groups become several blocks.
const BLOCK_WEIGHT: usize = 2 * 1024 * 1024;

/// The writer's state.
pub(super) struct Writer {
    shared: Arc<Shared>,
    disk: Disk,
    seen_file: SeenFile,
    encoder: Encoder,
    lanes: [LaneFile; Lane::ALL.len()],
}

/// One lane's part of the group, and the file it goes to.
#[derive(Debug, Default)]
struct LaneFile {
    open: Option<OpenSegment>,
    blocks: Vec<u8>,
    block_count: u64,
    item_count: u64,
    first_seq: u64,
    written: bool,
    synced: Option<bool>,
}

#[derive(Debug)]
struct OpenSegment {
    id: SegmentId,
    file: DiskFile,
    /// Bytes that are durable.
    end: u64,
    /// Whether the lane's log knows the segment, which it does from the first durable block on.
    known: bool,
}

/// Ends the queue when the writer ends, however it does.
struct Ending(Arc<Shared>);

// === impl Writer ===

impl Writer {
    pub(super) fn new(shared: Arc<Shared>, disk: Disk, seen_file: SeenFile) -> Self {
        let encoder = Encoder::new(shared.config.compression);
        Self { shared, disk, seen_file, encoder, lanes: Default::default() }
    }

    /// Writes until the queue is closed and empty.
    pub(super) fn run(mut self) {
        let ending = Ending(Arc::clone(&self.shared));
        let mut group = Group::default();
        while ending.0.queue.take(&mut group) {
            self.commit(&mut group);
            group.clear();
        }
        self.close();
    }

    fn commit(&mut self, group: &mut Group) {
        let started = Instant::now();
        let now_us = self.shared.clock.now_us();
        let stored = self.encode(group, now_us).and_then(|()| self.store());
        if stored.is_ok() {
            // Before the publisher can see the blocks: what is sent may be deleted, and the ids with it.
            self.seen_file.append(&group.claims, &self.shared.seen);
        }
        self.shared.seen.settle(&mut group.claims, stored.is_ok());
        self.account(group, &stored, now_us);
        for follower in self.shared.followers.get().into_iter().flatten().filter(|_| stored.is_ok()) {
            for (range, first_seq) in group.decisions.spans() {
                follower.recorded(first_seq, &group.decisions.items[range]);
            }
            for (lane, rested) in [(Lane::Rewards, &group.rewards), (Lane::Events, &group.events)] {
                for (range, first_seq) in rested.spans() {
                    follower.stored(lane, first_seq, &rested.items[range]);
                }
            }
        }
        self.shared.queue.written();
        for waiting in group.waiting.drain(..) {
            // Whoever went away does not need to know.
            waiting.send(stored.clone()).ok();
        }
        for flushing in group.flushing.drain(..) {
            flushing.send(()).ok();
        }
        self.shared.metrics.group_seconds.observe(started.elapsed().as_secs_f64());
    }

    fn encode(&mut self, group: &mut Group, now_us: TimeUs) -> Stored {
        for lane in &mut self.lanes {
            lane.begin();
        }
        let Rested { items, runs, .. } = &mut group.decisions;
        for (range, seq) in spans(runs, items.len()) {
            self.encode_records(&mut items[range], seq, now_us);
        }
        self.encode_events(Lane::Rewards, &group.rewards, now_us)?;
        self.encode_events(Lane::Events, &group.events, now_us)
    }

    fn encode_events(&mut self, lane: Lane, rested: &Rested<Event>, now_us: TimeUs) -> Stored {
        for (range, first_seq) in rested.spans() {
            let events = &rested.items[range];
            for chunk in chunks(events, Event::weight) {
                let seq = first_seq + chunk.start as u64;
                self.seal_events(lane, &events[chunk], seq, now_us).map_err(|e| NotStored::Failed(e.to_string()))?;
            }
        }
        Ok(())
    }

    /// Appends events as one block, or as several if one would be too large for a message.
    fn seal_events(&mut self, lane: Lane, events: &[Event], seq: u64, now_us: TimeUs) -> Result<(), CannotEncode> {
        let stamp = self.shared.stamp(lane, seq, now_us);
        let to = &mut self.lanes[lane as usize];
        let start = to.blocks.len();
        self.encoder.events(&stamp, events, &mut to.blocks)?;
        if to.blocks.len() - start > self.shared.config.block_bytes && events.len() > 1 {
            to.blocks.truncate(start);
            let (left, right) = events.split_at(events.len() / 2);
            self.seal_events(lane, left, seq, now_us)?;
            return self.seal_events(lane, right, seq + left.len() as u64, now_us);
        }
        to.sealed(events.len(), seq);
        Ok(())
    }

    fn encode_records(&mut self, records: &mut [Record], first_seq: u64, now_us: TimeUs) {
        for chunk in chunks(records, record_weight) {
            let seq = first_seq + chunk.start as u64;
            self.seal_records(&mut records[chunk], seq, now_us);
        }
    }

    /// Appends records as one block, or as several if one would be too large for a message. A record that is too large by
    /// itself loses its inputs, and is dropped if that does not help.
    fn seal_records(&mut self, records: &mut [Record], seq: u64, now_us: TimeUs) {
        let stamp = self.shared.stamp(Lane::Decisions, seq, now_us);
        let to = &mut self.lanes[Lane::Decisions as usize];
        let start = to.blocks.len();
        let encoded = self.encoder.records(&stamp, records, &mut to.blocks);
        if encoded.is_ok() && to.blocks.len() - start <= self.shared.config.block_bytes {
            return to.sealed(records.len(), seq);
        }
        to.blocks.truncate(start);
        if let [record] = records {
            let metrics = self.shared.metrics.lane(Lane::Decisions);
            if record.inputs.take().is_some() {
                metrics.inputs_dropped(Cause::TooLarge).inc();
                self.seal_records(records, seq, now_us);
            } else {
                tracing::warn!(id = %record.id, placement = &*record.placement, "a decision record fits into no block");
                metrics.dropped(Cause::TooLarge).inc();
            }
            return;
        }
        let (left, right) = records.split_at_mut(records.len() / 2);
        self.seal_records(left, seq, now_us);
        self.seal_records(right, seq + left.len() as u64, now_us);
    }

    /// Writes and syncs the group's blocks. On an error no file keeps any of them, as far as the disk obeys.
    fn store(&mut self) -> Stored {
        let result = self.write_and_sync();
        if let Err(error) = &result {
            self.roll_back();
            return Err(NotStored::of(error));
        }
        Ok(())
    }

    fn write_and_sync(&mut self) -> io::Result<()> {
        for (lane, kind) in self.lanes.iter_mut().zip(Lane::ALL).filter(|(lane, _)| !lane.blocks.is_empty()) {
            let open = match &mut lane.open {
                Some(open) => open,
                none => {
                    let id = SegmentId { lane: kind, epoch: self.shared.epoch, first_seq: lane.first_seq };
                    let file = self.disk.create(&id.to_string())?;
                    none.insert(OpenSegment { id, file, end: 0, known: false })
                }
            };
            lane.written = true;
            open.file.write_all_at(&lane.blocks, open.end)?;
        }
        for lane in self.lanes.iter_mut().filter(|lane| lane.written) {
            if let Some(open) = &lane.open {
                let synced = open.file.sync();
                lane.synced = Some(synced.is_ok());
                synced?;
            }
        }
        Ok(())
    }

    /// Cuts what the failed group wrote. A file that could not be synced is left for good, and so is one that cannot be
    /// cut: nobody knows what such a file holds. Its durable part is still sent.
    fn roll_back(&mut self) {
        for lane in self.lanes.iter_mut().filter(|lane| lane.written) {
            let Some(open) = &lane.open else { continue };
            let cut = open.file.truncate(open.end);
            let usable = match lane.synced {
                None => cut.is_ok(),
                // The part that is cut off was on disk already; that it is gone must be too.
                Some(true) => cut.is_ok() && open.file.sync().is_ok(),
                Some(false) => false,
            };
            if !usable && let Some(open) = lane.open.take() {
                tracing::warn!(segment = %open.id, durable_bytes = open.end, "left a segment that the disk failed");
                retire(&self.shared, &self.disk, &mut self.seen_file, &open);
            }
        }
    }

    fn account(&mut self, group: &Group, stored: &Stored, now_us: TimeUs) {
        let shared = Arc::clone(&self.shared);
        if let Err(error) = stored {
            shared.metrics.sync_failures.inc();
            shared.failing.raise(now_us, error.to_string());
            let failed = [(Lane::Rewards, group.rewards.items.len()), (Lane::Events, group.events.items.len())];
            let cause = if *error == NotStored::DiskFull { Cause::Full } else { Cause::Failed };
            for (lane, count) in failed {
                shared.metrics.lane(lane).refused(cause).inc_by(count as u64);
            }
            let decisions = &self.lanes[Lane::Decisions as usize];
            shared.metrics.lane(Lane::Decisions).dropped(cause).inc_by(decisions.item_count);
            return;
        }
        shared.failing.clear();
        for (lane, kind) in self.lanes.iter_mut().zip(Lane::ALL).filter(|(lane, _)| lane.written) {
            let metrics = shared.metrics.lane(kind);
            metrics.stored.inc_by(lane.item_count);
            metrics.blocks.inc_by(lane.block_count);
            metrics.stored_bytes.inc_by(lane.blocks.len() as u64);
            let Some(open) = &mut lane.open else { continue };
            open.end += lane.blocks.len() as u64;
            let log = shared.log(kind);
            if !std::mem::replace(&mut open.known, true) {
                log.open(open.id, self.disk.path(&open.id.to_string()));
            }
            log.grow(open.end, now_us);
            if open.end >= shared.config.segment_bytes
                && let Some(open) = lane.open.take()
            {
                retire(&shared, &self.disk, &mut self.seen_file, &open);
            }
        }
    }

    fn close(&mut self) {
        for lane in &mut self.lanes {
            if let Some(open) = lane.open.take() {
                retire(&self.shared, &self.disk, &mut self.seen_file, &open);
            }
        }
    }
}

/// Ends a segment; the file goes when nothing in it is still to be sent.
fn retire(shared: &Shared, disk: &Disk, seen_file: &mut SeenFile, open: &OpenSegment) {
    if open.known {
        // From here on the segment may be deleted: its ids must be durable without it.
        seen_file.sync();
        for done in shared.log(open.id.lane).seal() {
            disk.discard(&done);
        }
    } else {
        disk.delete(&disk.path(&open.id.to_string()));
    }
}

/// Ranges of items that go into one block each.
fn chunks<T>(items: &[T], weigh: fn(&T) -> usize) -> Vec<std::ops::Range<usize>> {
    let mut chunks = Vec::with_capacity(1);
    let (mut start, mut weight) = (0, 0);
    for (at, item) in items.iter().enumerate() {
        let bytes = weigh(item);
        if at > start && (weight + bytes > BLOCK_WEIGHT || at - start == MAX_ITEMS) {
            chunks.push(start..at);
            (start, weight) = (at, 0);
        }
        weight += bytes;
    }
    if start < items.len() {
        chunks.push(start..items.len());
    }
    chunks
}

// === impl LaneFile ===

impl LaneFile {
    fn begin(&mut self) {
        // A rare large group must not hold its memory for ever.
        self.blocks.clear();
        self.blocks.shrink_to(4 * 1024 * 1024);
        (self.block_count, self.item_count, self.first_seq) = (0, 0, 0);
        (self.written, self.synced) = (false, None);
    }

    fn sealed(&mut self, items: usize, first_seq: u64) {
        if self.block_count == 0 {
            self.first_seq = first_seq;
        }
        self.block_count += 1;
        self.item_count += items as u64;
    }
}

// === impl Ending ===

impl Drop for Ending {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let why = "the writer ended by a panic: nothing is stored any more; restart the node";
            self.0.failing.raise(self.0.clock.now_us(), why.to_owned());
        }
        // Dropping the senders tells everybody who waits that nothing was stored.
        let group = self.0.queue.abandon();
        let metrics = &self.0.metrics;
        metrics.lane(Lane::Rewards).refused(Cause::Failed).inc_by(group.rewards.items.len() as u64);
        metrics.lane(Lane::Events).refused(Cause::Failed).inc_by(group.events.items.len() as u64);
        metrics.lane(Lane::Decisions).dropped(Cause::Failed).inc_by(group.decisions.items.len() as u64);
    }
}

// === impl NotStored ===

impl NotStored {
    fn of(error: &io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::FileTooLarge => Self::DiskFull,
            _ => Self::Failed(error.to_string()),
        }
    }
}

impl fmt::Display for NotStored {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::DiskFull => f.write_str("the disk is full"),
            Self::Failed(why) => f.write_str(why),
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::panic, reason = "tests")]
mod tests {
    use super::*;
    use crate::clock::Clock;
    use crate::outbox::samples::{events, node};
    use crate::outbox::{Outbox, OutboxConfig, Refused};

    // The node went on to say "ready" while it refused every event.
    #[tokio::test]
    async fn a_writer_that_panics_is_shown() {
        let dir = tempfile::tempdir().unwrap();
        let outbox = Outbox::open(OutboxConfig::new(dir.path()), node(), Clock::new()).unwrap();
        assert_eq!(outbox.status().failing, None);
        let ending = Ending(Arc::clone(&outbox.shared));
        let panics = std::thread::spawn(move || {
            let _ending = ending;
            panic!("as a bug in the writer would");
        });
        panics.join().unwrap_err();
        let failing = outbox.status().failing.unwrap();
        assert!(failing.since_us > 0 && failing.why.contains("panic"), "{failing:?}");
        assert!(matches!(outbox.append_events(events(0..1)).await, Err(Refused::Failed { .. })));
    }

    #[tokio::test]
    async fn a_writer_that_is_told_to_end_is_no_trouble() {
        let dir = tempfile::tempdir().unwrap();
        let outbox = Outbox::open(OutboxConfig::new(dir.path()), node(), Clock::new()).unwrap();
        outbox.close();
        assert_eq!(outbox.status().failing, None);
    }
}
