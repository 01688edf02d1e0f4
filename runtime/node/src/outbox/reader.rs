//! The reader: what an outbox told, every item once. Blocks come at least once and in any order; an item is
//! (node, epoch, lane, seq), and by that order it sorts. For `tail`, `replay`, the lake and the tests.

use std::collections::BTreeMap;
use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};

use selvedge_decision::{Epoch, NodeId, Record, TimeUs};

use super::Lane;
use super::block::{self, BadBlock, Items};
use super::segments::{Found, Scan, SegmentId};
use crate::events::Event;

/// One item and its place in the order.
#[derive(Debug, Clone, PartialEq)]
pub struct Entry {
    /// The node that told it.
    pub node: NodeId,
    /// The run of that node.
    pub epoch: Epoch,
    /// The lane.
    pub lane: Lane,
    /// Its number in the lane, from 1.
    pub seq: u64,
    /// When its block was sealed.
    pub sealed_us: TimeUs,
    /// What was told.
    pub item: Item,
}

/// What was told.
#[derive(Debug, Clone, PartialEq)]
pub enum Item {
    /// An event or a reward.
    Event(Event),
    /// A decision record.
    Record(Box<Record>),
}

/// Counts every item once, over any number of blocks.
#[derive(Debug, Clone, Default)]
pub struct Reader {
    seen: BTreeMap<(NodeId, Epoch, Lane), Ranges>,
    again: u64,
}

/// Seqs that are missing between others of their run: dropped by the node, lost in a crash, or not read yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Gap {
    /// The node.
    pub node: NodeId,
    /// Its run.
    pub epoch: Epoch,
    /// The lane.
    pub lane: Lane,
    /// The seqs.
    pub seqs: Range<u64>,
}

/// The blocks of a directory of segments, in order.
#[derive(Debug)]
pub struct Segments {
    left: std::vec::IntoIter<(PathBuf, SegmentId)>,
    open: Option<(PathBuf, Scan, u64)>,
}

/// Why a part of a directory cannot be read. The iterator goes on behind it.
#[derive(Debug, thiserror::Error)]
pub enum SegmentError {
    /// The file cannot be read.
    #[error("{path}: {error}")]
    Io {
        /// The file.
        path: String,
        /// What went wrong.
        error: io::Error,
    },
    /// Bytes that are no block: damage, or at the end of the newest file a write that is under way or was cut off.
    #[error("{path}: bytes {from} to {end} are no block")]
    Damaged {
        /// The file.
        path: String,
        /// The first byte.
        from: u64,
        /// The byte behind the last.
        end: u64,
    },
}

/// Disjoint ranges by their start, no two adjacent.
#[derive(Debug, Clone, Default)]
struct Ranges(BTreeMap<u64, u64>);

/// The blocks of all segments in `dir`, ordered by lane, epoch and seq.
pub fn segments(dir: &Path) -> io::Result<Segments> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(dir)? {
        let entry = entry?;
        if let Some(id) = entry.file_name().to_str().and_then(|name| name.parse::<SegmentId>().ok()) {
            found.push((entry.path(), id));
        }
    }
    found.sort_by_key(|(_, id)| *id);
    Ok(Segments { left: found.into_iter(), open: None })
}

// === impl Reader ===

impl Reader {
    /// A reader that has seen nothing.
    pub fn new() -> Self {
        Self::default()
    }

    /// The items of a block that were not seen before, in order.
    pub fn block(&mut self, bytes: &[u8]) -> Result<Vec<Entry>, BadBlock> {
        let (header, items) = block::decode(bytes)?;
        let all = header.first_seq..header.next_seq();
        let seen = self.seen.entry((header.node.clone(), header.epoch, header.lane)).or_default();
        let fresh = seen.add(all.clone());
        let fresh_count: u64 = fresh.iter().map(|range| range.end - range.start).sum();
        self.again += u64::from(header.count) - fresh_count;
        let items: Vec<Item> = match items {
            Items::Events(events) => events.into_iter().map(Item::Event).collect(),
            Items::Records(records) => records.into_iter().map(|record| Item::Record(Box::new(record))).collect(),
        };
        let entries = all.zip(items).filter(|(seq, _)| fresh.iter().any(|range| range.contains(seq)));
        let entries = entries.map(|(seq, item)| Entry {
            node: header.node.clone(),
            epoch: header.epoch,
            lane: header.lane,
            seq,
            sealed_us: header.sealed_us,
            item,
        });
        Ok(entries.collect())
    }

    /// Counts `seqs` of a run as seen: whoever keeps what it read need not read it again.
    pub fn skip(&mut self, node: NodeId, epoch: Epoch, lane: Lane, seqs: Range<u64>) {
        if !seqs.is_empty() {
            self.seen.entry((node, epoch, lane)).or_default().add(seqs);
        }
    }

    /// Items seen more than once, each further time counted.
    pub fn seen_again(&self) -> u64 {
        self.again
    }

    /// Items seen, each once.
    pub fn count(&self, lane: Lane) -> u64 {
        let ranges = self.seen.iter().filter(|((_, _, of), _)| *of == lane).flat_map(|(_, ranges)| &ranges.0);
        ranges.map(|(start, end)| end - start).sum()
    }

    /// What is missing so far between seq 1 and the last one seen of every run.
    pub fn gaps(&self) -> impl Iterator<Item = Gap> {
        self.seen.iter().flat_map(|((node, epoch, lane), ranges)| {
            let starts = ranges.0.keys().copied();
            let ends = std::iter::once(1).chain(ranges.0.values().copied());
            ends.zip(starts).filter(|(end, start)| end < start).map(|(end, start)| Gap {
                node: node.clone(),
                epoch: *epoch,
                lane: *lane,
                seqs: end..start,
            })
        })
    }
}

// === impl Ranges ===

impl Ranges {
    /// Adds a range; the parts of it that are new.
    fn add(&mut self, range: Range<u64>) -> Vec<Range<u64>> {
        let mut fresh = Vec::new();
        let (mut start, mut end) = (range.start, range.end);
        let mut at = range.start;
        if let Some((&before, &until)) = self.0.range(..=range.start).next_back()
            && until >= range.start
        {
            start = before;
            at = until;
        }
        let overlapping: Vec<(u64, u64)> = self.0.range(start..=range.end).map(|(&s, &e)| (s, e)).collect();
        for (other_start, other_end) in overlapping {
            if other_start > at {
                fresh.push(at..other_start.min(range.end));
            }
            at = at.max(other_end);
            end = end.max(other_end);
            self.0.remove(&other_start);
        }
        if at < range.end {
            fresh.push(at..range.end);
        }
        self.0.insert(start, end);
        fresh
    }
}

// === impl Segments ===

impl Segments {
    /// Those of a lane, from runs before `epoch`.
    pub(super) fn of(mut self, lane: Lane, epoch: Epoch) -> Self {
        let wanted: Vec<_> = self.left.filter(|(_, id)| id.lane == lane && id.epoch < epoch).collect();
        self.left = wanted.into_iter();
        self
    }

    /// Those of a lane.
    pub(super) fn of_lane(mut self, lane: Lane) -> Self {
        let wanted: Vec<_> = self.left.filter(|(_, id)| id.lane == lane).collect();
        self.left = wanted.into_iter();
        self
    }

    fn step(&mut self) -> Result<Option<Vec<u8>>, SegmentError> {
        loop {
            if self.open.is_none() {
                let Some((path, id)) = self.left.next() else { return Ok(None) };
                let opened = std::fs::metadata(&path).and_then(|file| Ok((Scan::open(&path, id, 0)?, file.len())));
                match opened {
                    Ok((scan, end)) => self.open = Some((path, scan, end)),
                    // Sent and deleted since the directory was listed.
                    Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                    Err(error) => return Err(SegmentError::Io { path: path.display().to_string(), error }),
                }
            }
            let Some((path, scan, end)) = &mut self.open else { return Ok(None) };
            let path_name = path.display().to_string();
            match scan.next(*end) {
                Ok(Some(Found::Block { bytes, .. })) => return Ok(Some(bytes)),
                Ok(Some(Found::Corrupt { from, end, .. })) => {
                    return Err(SegmentError::Damaged { path: path_name, from, end });
                }
                Ok(None) => self.open = None,
                Err(error) => {
                    self.open = None;
                    return Err(SegmentError::Io { path: path_name, error });
                }
            }
        }
    }
}

impl Iterator for Segments {
    type Item = Result<Vec<u8>, SegmentError>;

    fn next(&mut self) -> Option<Self::Item> {
        self.step().transpose()
    }
}

#[cfg(test)]
mod tests;
