//! The log of one lane: its segments on disk, from the oldest that the core has not acknowledged to the one being written.
//! Owns what is durable, what is acknowledged and what may be deleted; the writer grows it, the publisher reads and
//! acknowledges it, both for a moment under one lock.

use std::collections::VecDeque;
use std::io;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use selvedge_decision::{Epoch, TimeUs};
use tokio::sync::Notify;

use super::block::Header;
use super::segments::{Found, OldSegment, Scan, SegmentId, name_file};

/// One lane's segments.
#[derive(Debug)]
pub(super) struct LaneLog {
    segments: Mutex<VecDeque<Segment>>,
    held: Mutex<Held>,
    backlog_bytes: AtomicU64,
    /// Told when more is durable.
    pub(super) grown: Notify,
    /// Told when more is acknowledged.
    pub(super) acked: Notify,
}

#[derive(Debug)]
struct Segment {
    id: SegmentId,
    path: PathBuf,
    /// Bytes that are durable: whole blocks.
    end: u64,
    /// Bytes that are acknowledged.
    acked: u64,
    /// Whether the writer is done with it.
    sealed: bool,
    /// When the oldest block that is not acknowledged was sealed, as far as known.
    oldest_us: TimeUs,
    /// Whether bytes of it were stepped over.
    damaged: bool,
}

/// Files of which nothing is left to send, and which somebody still needs.
#[derive(Debug, Default)]
struct Held {
    /// The run whose items are held, if any are.
    epoch: Option<Epoch>,
    /// Items of this run from here on are held.
    from_seq: u64,
    /// Nothing of earlier runs is held any more.
    earlier_kept: bool,
    files: Vec<(SegmentId, Done)>,
}

/// A file of which nothing is left to send.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Done {
    pub(super) path: PathBuf,
    /// Whether bytes of it were stepped over: then it is kept for whoever can read more of it.
    pub(super) damaged: bool,
}

/// A place between two blocks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Position {
    pub(super) segment: SegmentId,
    pub(super) offset: u64,
}

/// Reads a log from its first block that is not acknowledged, up to the durable end.
#[derive(Debug, Default)]
pub(super) struct Cursor {
    scan: Option<Scan>,
    at: Option<Position>,
}

/// What a cursor reads.
#[derive(Debug)]
pub(super) enum Next {
    /// A block; `end` is to be acknowledged when the core has it.
    Block { header: Header, bytes: Vec<u8>, end: Position },
    /// So many bytes could not be read as blocks; `end` is to be acknowledged in its turn.
    Lost { bytes: u64, end: Position },
}

// === impl LaneLog ===

impl LaneLog {
    /// A log of what earlier runs left, in order.
    pub(super) fn new(old: impl IntoIterator<Item = OldSegment>) -> Self {
        let segments = old.into_iter().map(|old| Segment {
            id: old.id,
            path: old.path,
            end: old.end,
            acked: 0,
            sealed: true,
            oldest_us: old.sealed_us,
            damaged: false,
        });
        let log = Self {
            segments: Mutex::new(segments.collect()),
            held: Mutex::default(),
            backlog_bytes: AtomicU64::new(0),
            grown: Notify::new(),
            acked: Notify::new(),
        };
        log.count(&log.lock());
        log
    }

    /// Bytes that are durable and not acknowledged.
    pub(super) fn backlog_bytes(&self) -> u64 {
        self.backlog_bytes.load(Ordering::Relaxed)
    }

    /// When the oldest block that is not acknowledged was sealed.
    pub(super) fn oldest_us(&self) -> Option<TimeUs> {
        self.lock().iter().find(|segment| segment.acked < segment.end).map(|segment| segment.oldest_us)
    }

    /// Files on disk.
    pub(super) fn files(&self) -> usize {
        self.lock().len()
    }

    /// The writer began a segment.
    pub(super) fn open(&self, id: SegmentId, path: PathBuf) {
        self.lock().push_back(Segment { id, path, end: 0, acked: 0, sealed: false, oldest_us: 0, damaged: false });
    }

    /// The blocks up to `end` of the newest segment are durable; the first new one was sealed at `sealed_us`.
    pub(super) fn grow(&self, end: u64, sealed_us: TimeUs) {
        let mut segments = self.lock();
        if let Some(segment) = segments.back_mut() {
            if segment.acked == segment.end {
                segment.oldest_us = sealed_us;
            }
            segment.end = end;
        }
        self.count(&segments);
        drop(segments);
        self.grown.notify_one();
    }

    /// Holds files of `epoch` and of earlier runs until they are kept.
    pub(super) fn hold(&self, epoch: Epoch) {
        self.held().epoch = Some(epoch);
    }

    /// Items of this run below `seq` need not be held. Returns the files that are done.
    pub(super) fn kept(&self, seq: u64) -> Vec<Done> {
        self.held().from_seq = seq;
        self.let_go(Vec::new())
    }

    /// Nothing of earlier runs needs to be held. Returns the files that are done.
    pub(super) fn kept_earlier(&self) -> Vec<Done> {
        self.held().earlier_kept = true;
        self.let_go(Vec::new())
    }

    /// Of what is sent and what was held before, the files that nobody needs.
    fn let_go(&self, sent: Vec<(SegmentId, Done)>) -> Vec<Done> {
        let behind: Vec<SegmentId> = self.lock().iter().map(|segment| segment.id).collect();
        let mut held = self.held();
        let Held { epoch, from_seq, earlier_kept, files } = &mut *held;
        files.extend(sent);
        let mut done = Vec::new();
        let begins: Vec<SegmentId> = files.iter().map(|(id, _)| *id).chain(behind).collect();
        files.retain(|(id, file)| {
            let is_kept = match epoch {
                None => true,
                Some(epoch) if id.epoch < *epoch => *earlier_kept,
                // A file ends where a later one begins.
                Some(_) => *from_seq == u64::MAX || begins.iter().any(|next| next > id && next.first_seq <= *from_seq),
            };
            if is_kept {
                done.push(file.clone());
            }
            !is_kept
        });
        done
    }

    /// The writer is done with the newest segment. Returns the files of which nothing is still to be sent.
    pub(super) fn seal(&self) -> Vec<Done> {
        let mut segments = self.lock();
        let Some(segment) = segments.back_mut() else { return Vec::new() };
        segment.sealed = true;
        if segment.acked < segment.end {
            return Vec::new();
        }
        let sent = segments.pop_back().map(Segment::done);
        drop(segments);
        self.let_go(sent.into_iter().collect())
    }

    /// The core has everything up to `position`, or, with `lost`, what ended there could not be read; what follows was
    /// sealed at `oldest_us` or later. Returns the files that are done.
    pub(super) fn acknowledge(&self, position: Position, oldest_us: TimeUs, lost: bool) -> Vec<Done> {
        let mut segments = self.lock();
        let mut done = Vec::new();
        while let Some(segment) = segments.front_mut() {
            if segment.id > position.segment {
                break;
            }
            if segment.id == position.segment {
                segment.acked = segment.acked.max(position.offset.min(segment.end));
                segment.oldest_us = oldest_us;
                segment.damaged |= lost;
                if !segment.sealed || segment.acked < segment.end {
                    break;
                }
            }
            done.extend(segments.pop_front().map(Segment::done));
        }
        self.count(&segments);
        drop(segments);
        self.acked.notify_waiters();
        if done.is_empty() { Vec::new() } else { self.let_go(done) }
    }

    /// Whether `cursor` has something to read.
    pub(super) fn has_more(&self, cursor: &Cursor) -> bool {
        self.look(cursor.at).is_some()
    }

    /// Where to read on from `at`, in which file and up to which durable end.
    fn look(&self, at: Option<Position>) -> Option<(Position, PathBuf, u64)> {
        let segments = self.lock();
        for segment in segments.iter() {
            let offset = match at {
                Some(at) if at.segment > segment.id => continue,
                Some(at) if at.segment == segment.id => at.offset.max(segment.acked),
                _ => segment.acked,
            };
            if offset < segment.end {
                return Some((Position { segment: segment.id, offset }, segment.path.clone(), segment.end));
            }
        }
        None
    }

    fn count(&self, segments: &VecDeque<Segment>) {
        let bytes = segments.iter().map(|segment| segment.end.saturating_sub(segment.acked)).sum();
        self.backlog_bytes.store(bytes, Ordering::Relaxed);
    }

    fn lock(&self) -> MutexGuard<'_, VecDeque<Segment>> {
        // Every change under the lock is whole before anything can panic.
        self.segments.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn held(&self) -> MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

// === impl Segment ===

impl Segment {
    fn done(self) -> (SegmentId, Done) {
        (self.id, Done { path: self.path, damaged: self.damaged })
    }
}

// === impl Next ===

impl Next {
    /// Bytes in memory.
    pub(super) fn bytes(&self) -> usize {
        match self {
            Self::Block { bytes, .. } => bytes.len(),
            Self::Lost { .. } => 0,
        }
    }
}

// === impl Cursor ===

impl Cursor {
    /// Goes back to the first block that is not acknowledged.
    pub(super) fn rewind(&mut self) {
        *self = Self::default();
    }

    /// The next block or damage, `None` at the durable end. A file that is gone counts as lost; any other error
    /// may pass, or waits for the operator: nothing is stepped over that may be whole.
    pub(super) fn next(&mut self, log: &LaneLog) -> io::Result<Option<Next>> {
        let Some((position, path, end)) = log.look(self.at) else { return Ok(None) };
        let segment = position.segment;
        if self.scan.as_ref().map(Scan::id) != Some(segment) || self.at != Some(position) {
            self.scan = match Scan::open(&path, segment, position.offset) {
                Ok(scan) => Some(scan),
                Err(error) if error.kind() == io::ErrorKind::NotFound => {
                    let end_position = Position { segment, offset: end };
                    self.at = Some(end_position);
                    return Ok(Some(Next::Lost { bytes: end - position.offset, end: end_position }));
                }
                Err(error) => return Err(name_file(&path, &error)),
            };
        }
        let Some(scan) = &mut self.scan else { return Ok(None) };
        let found = scan.next(end).map_err(|error| name_file(&path, &error))?;
        Ok(found.map(|found| match found {
            Found::Block { header, bytes, end } => {
                let end = Position { segment, offset: end };
                self.at = Some(end);
                Next::Block { header, bytes, end }
            }
            Found::Corrupt { from, end, .. } => {
                let end = Position { segment, offset: end };
                self.at = Some(end);
                Next::Lost { bytes: end.offset - from, end }
            }
        }))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;
    use crate::outbox::Lane;

    fn id(epoch: u64, first_seq: u64) -> SegmentId {
        SegmentId { lane: Lane::Events, epoch: Epoch(epoch), first_seq }
    }

    fn names(done: &[Done]) -> Vec<String> {
        done.iter().map(|done| done.path.display().to_string()).collect()
    }

    /// A log with a segment of an earlier run and two sealed ones of this, all of which the core has; what went at once.
    fn all_sent(held: bool) -> (LaneLog, Vec<String>) {
        let old = OldSegment { id: id(1, 1), path: "old".into(), end: 10, sealed_us: 0 };
        let log = LaneLog::new([old]);
        if held {
            log.hold(Epoch(2));
        }
        let mut gone = Vec::new();
        for (first_seq, name) in [(1, "a"), (101, "b"), (201, "c")] {
            log.open(id(2, first_seq), name.into());
            log.grow(10, 0);
            gone.extend(names(&log.seal()));
        }
        gone.extend(names(&log.acknowledge(Position { segment: id(2, 201), offset: 10 }, 0, false)));
        (log, gone)
    }

    #[test]
    fn what_the_core_has_goes() {
        let (log, gone) = all_sent(false);
        assert_eq!((gone.join(" ").as_str(), log.files()), ("old a b c", 0));
    }

    // What a session's events came to was lost with the process when the core had the events already.
    #[test]
    fn what_is_held_goes_when_it_is_kept_elsewhere() {
        let (log, gone) = all_sent(true);
        assert_eq!(gone.len(), 0);
        assert_eq!(names(&log.kept(100)).len(), 0, "a has up to 100");
        assert_eq!(names(&log.kept(101)), ["a"]);
        assert_eq!(names(&log.kept_earlier()), ["old"]);
        assert_eq!(names(&log.kept(201)), ["b"]);
        // Nobody knows how far the last one goes.
        assert_eq!(names(&log.kept(10_000)).len(), 0);
        assert_eq!(names(&log.kept(u64::MAX)), ["c"]);
        assert_eq!(names(&log.kept(u64::MAX)).len(), 0, "each once");
    }

    #[test]
    fn what_is_kept_before_it_is_sent_goes_when_it_is() {
        let log = LaneLog::new([]);
        log.hold(Epoch(2));
        log.open(id(2, 1), "a".into());
        log.grow(10, 0);
        assert_eq!(log.seal().len(), 0);
        log.open(id(2, 101), "b".into());
        assert_eq!(log.kept(101).len(), 0);
        let gone = log.acknowledge(Position { segment: id(2, 1), offset: 10 }, 0, false);
        assert_eq!(names(&gone), ["a"]);
    }
}
