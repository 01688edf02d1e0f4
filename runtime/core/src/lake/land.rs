//! From the stream into parts. Owns when a part is written and how far the stream is landed. The order is: a part is durable,
//! then the position moves behind what it holds. So a kill at any moment leaves parts that are whole, and a position that is not
//! ahead of them; what lies between is read again and recognised by the names of the parts.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use selvedge_decision::{Epoch, NodeId, TimeUs};
use selvedge_node::clock::Clock;
use selvedge_node::events::rfc3339;
use selvedge_node::link::nats::events::{BlockMessage, StreamState};
use selvedge_node::outbox::Lane;
use selvedge_node::outbox::reader::{Entry, Reader};
use serde::{Deserialize, Serialize};

use super::part::{Day, LANES, Part};
use super::rows;
use super::store::{Lock, Replaced, Store, StoreError};
use crate::table::{TableError, Writing};

/// Where the position stands.
const POSITION: &str = "position.json";
/// Where blocks lie that cannot be read.
pub(super) const BROKEN: &str = "broken";

/// When items become a part.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Rows of a part, at most.
    pub rows: usize,
    /// How long an item may wait for others of its run.
    pub wait: Duration,
    /// Bytes of all that waits, in memory and about; the largest run is written when it is more.
    pub bytes: usize,
}

/// What was done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct Landed {
    /// Parts written.
    pub parts: u64,
    /// Events in them.
    pub events: u64,
    /// Rewards in them.
    pub rewards: u64,
    /// Decisions in them.
    pub decisions: u64,
    /// Items that came again and were not written again.
    pub again: u64,
    /// Blocks that cannot be read; they are kept in the folder `broken`.
    pub broken: u64,
}

/// Lands the items of one stream into one lake.
#[derive(Debug)]
pub struct Lander {
    store: Store,
    limits: Limits,
    /// What is landed or waits.
    reader: Reader,
    runs: BTreeMap<Run, Waiting>,
    bytes: usize,
    /// Runs whose items are being written.
    due: BTreeSet<Run>,
    position: Replaced,
    /// The sequence that the position says in the store.
    written: u64,
    /// This process, in the position: no two write the same bytes there.
    by: String,
    stream: String,
    created: TimeUs,
    /// The last message that was taken.
    taken: u64,
    landed: Landed,
    _lock: Lock,
}

/// Items do not land.
#[derive(Debug, thiserror::Error)]
pub enum LandError {
    /// The store did not do it.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A part cannot be made of the items.
    #[error("cannot make a part of {part}: {error}")]
    Table {
        /// Which.
        part: String,
        /// What went wrong.
        error: TableError,
    },
    /// The position is not one this version wrote.
    #[error(
        "{POSITION} in {store} cannot be read: {why}; without it the stream is landed from its start, and nothing twice"
    )]
    Position {
        /// Where.
        store: String,
        /// What is wrong.
        why: String,
    },
}

/// One lane of one run of a node.
type Run = (NodeId, Epoch, Lane);

/// Items of a run that are not written yet.
#[derive(Debug)]
struct Waiting {
    entries: BTreeMap<u64, Entry>,
    /// The first message that brought one of them.
    from: u64,
    since: Instant,
    bytes: usize,
}

/// How far a stream is landed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Position {
    /// The stream.
    stream: String,
    /// When it was made: one that was made anew counts from 1 again.
    created: String,
    /// All messages up to this one are landed.
    sequence: u64,
    /// Which process lands.
    by: String,
}

// === impl Limits ===

impl Default for Limits {
    /// 200,000 rows, a minute, 256 MiB.
    fn default() -> Self {
        Self { rows: 200_000, wait: Duration::from_secs(60), bytes: 256 << 20 }
    }
}

// === impl Lander ===

impl Lander {
    /// Takes over a lake: what its names say is landed. Then the stream is to be read from behind [`Lander::position`].
    pub async fn open(store: Store, limits: Limits, stream: &str, state: StreamState) -> Result<Self, LandError> {
        let lock = store.lock()?;
        store.clear_staged(&LANES.map(Lane::as_str))?;
        let (position, bytes) = store.to_replace(POSITION).await?;
        let said: Option<Position> = match bytes {
            None => None,
            Some(bytes) => Some(
                serde_json::from_slice(&bytes)
                    .map_err(|error| LandError::Position { store: store.shown().to_owned(), why: error.to_string() })?,
            ),
        };
        let created = rfc3339::format(state.created_us);
        let is_same = |said: &Position| said.stream == stream && said.created == created && said.sequence <= state.last;
        let taken = said.filter(is_same).map_or(0, |said| said.sequence);
        let mut lander = Self {
            reader: Reader::new(),
            runs: BTreeMap::new(),
            bytes: 0,
            due: BTreeSet::new(),
            position,
            written: taken,
            by: format!("{} at {}", std::process::id(), rfc3339::format(Clock::new().now_us())),
            stream: stream.to_owned(),
            created: state.created_us,
            taken,
            landed: Landed::default(),
            _lock: lock,
            limits,
            store,
        };
        // In a bucket, whoever landed there before notices by this and stops.
        lander.replace_position().await?;
        for lane in LANES {
            for (path, _) in lander.store.list(lane.as_str()).await? {
                if let Some(part) = Part::at(&path) {
                    lander.reader.skip(part.node, part.epoch, lane, part.first..part.last.saturating_add(1));
                }
            }
        }
        Ok(lander)
    }

    /// The last message of the stream that was taken; reading goes on behind it.
    pub fn position(&self) -> u64 {
        self.taken
    }

    /// What was done since it was opened.
    pub fn landed(&self) -> Landed {
        Landed { again: self.reader.seen_again(), ..self.landed }
    }

    /// Takes a message: its items wait for others of their run, and those that are enough for a part are written.
    pub async fn take(&mut self, message: &BlockMessage, now: Instant) -> Result<(), LandError> {
        self.write_due().await?;
        match self.reader.block(&message.bytes) {
            Ok(entries) => entries.into_iter().for_each(|entry| self.wait(entry, message.sequence, now)),
            Err(_) => {
                let path = format!("{BROKEN}/{}-{:012}.block", self.stream, message.sequence);
                self.store.create(&path, message.bytes.to_vec()).await?;
                self.landed.broken += 1;
            }
        }
        self.taken = self.taken.max(message.sequence);
        self.write_full().await
    }

    /// Writes what waited long enough, and moves the position.
    pub async fn tick(&mut self, now: Instant) -> Result<(), LandError> {
        let wait = self.limits.wait;
        self.write_where(|waiting| now.saturating_duration_since(waiting.since) >= wait).await?;
        self.put_position().await
    }

    /// Writes all that waits, and moves the position.
    pub async fn finish(&mut self) -> Result<(), LandError> {
        self.write_where(|_| true).await?;
        self.put_position().await
    }

    /// When [`Lander::tick`] has something to do next.
    pub fn next_tick(&self, now: Instant) -> Instant {
        let first = self.runs.values().map(|waiting| waiting.since).min();
        first.unwrap_or(now) + self.limits.wait
    }

    fn wait(&mut self, entry: Entry, message: u64, now: Instant) {
        let bytes = size_of::<Entry>() + rows::weight(&entry.item);
        let run = (entry.node.clone(), entry.epoch, entry.lane);
        let new = || Waiting { entries: BTreeMap::new(), from: message, since: now, bytes: 0 };
        let waiting = self.runs.entry(run).or_insert_with(new);
        waiting.entries.insert(entry.seq, entry);
        waiting.from = waiting.from.min(message);
        waiting.bytes += bytes;
        self.bytes += bytes;
    }

    async fn write_full(&mut self) -> Result<(), LandError> {
        let (rows, bytes) = (self.limits.rows, self.limits.bytes);
        self.write_where(|waiting| waiting.entries.len() >= rows).await?;
        while self.bytes > bytes {
            let largest = self.runs.values().map(|waiting| waiting.bytes).max().unwrap_or(0);
            self.write_where(|waiting| waiting.bytes == largest).await?;
        }
        Ok(())
    }

    async fn write_where(&mut self, is_due: impl Fn(&Waiting) -> bool) -> Result<(), LandError> {
        let due: Vec<Run> =
            self.runs.iter().filter(|(_, waiting)| is_due(waiting)).map(|(run, _)| run.clone()).collect();
        self.due.extend(due);
        self.write_due().await
    }

    /// Writes the runs that are due. What failed stays due, and nothing is added to it: it is written under the same names, which
    /// the store may have although it said that it failed.
    async fn write_due(&mut self) -> Result<(), LandError> {
        if self.due.is_empty() {
            return Ok(());
        }
        if self.store.is_shared() {
            self.replace_position().await?;
        }
        while let Some(run) = self.due.first() {
            if let Some(waiting) = self.runs.get(run) {
                for entries in ranges(&waiting.entries, self.limits.rows) {
                    let Some(part) = part(run, &entries) else { continue };
                    let made = file(&entries, run.2).map_err(|error| LandError::Table { part: part.path(), error })?;
                    if self.store.create(&part.path(), made).await? {
                        self.landed.count(run.2, entries.len());
                    }
                }
                self.bytes = self.bytes.saturating_sub(waiting.bytes);
            }
            if let Some(run) = self.due.pop_first() {
                self.runs.remove(&run);
            }
        }
        Ok(())
    }

    /// Moves the position in the store to where all is landed.
    async fn put_position(&mut self) -> Result<(), LandError> {
        if self.landed_to() == self.written { Ok(()) } else { self.replace_position().await }
    }

    /// Writes the position; an error when another process did so since this one opened the lake.
    async fn replace_position(&mut self) -> Result<(), LandError> {
        let sequence = self.landed_to();
        let created = rfc3339::format(self.created);
        let position = Position { stream: self.stream.clone(), created, sequence, by: self.by.clone() };
        // Its types have no way to fail to become JSON.
        let bytes = serde_json::to_vec(&position).unwrap_or_default();
        match self.store.replace(&mut self.position, bytes.clone()).await {
            Err(StoreError::TakenOver(_)) if self.is_still_ours().await? => {
                self.store.replace(&mut self.position, bytes).await?;
            }
            done => done?,
        }
        self.written = sequence;
        Ok(())
    }

    /// Whether it was this process that replaced the position last: the store may have done what it was not heard to do.
    async fn is_still_ours(&mut self) -> Result<bool, StoreError> {
        let (found, bytes) = self.store.to_replace(POSITION).await?;
        self.position = found;
        let said = bytes.and_then(|bytes| serde_json::from_slice::<Position>(&bytes).ok());
        Ok(said.is_some_and(|said| said.by == self.by))
    }

    /// The last message up to which all is landed.
    fn landed_to(&self) -> u64 {
        let first_waiting = self.runs.values().map(|waiting| waiting.from).min();
        first_waiting.map_or(self.taken, |first| first.saturating_sub(1))
    }
}

/// Items without a hole, of one day, and not too many: what one part may hold.
fn ranges(entries: &BTreeMap<u64, Entry>, rows: usize) -> Vec<Vec<&Entry>> {
    let mut ranges: Vec<Vec<&Entry>> = Vec::new();
    for entry in entries.values() {
        match ranges.last_mut() {
            Some(range)
                if range.len() < rows
                    && range.last().is_some_and(|last| {
                        last.seq + 1 == entry.seq && rows::day(&last.item) == rows::day(&entry.item)
                    }) =>
            {
                range.push(entry);
            }
            _ => ranges.push(vec![entry]),
        }
    }
    ranges
}

fn part((node, epoch, lane): &Run, entries: &[&Entry]) -> Option<Part> {
    let (first, last) = (entries.first()?, entries.last()?);
    let day: Day = rows::day(&first.item);
    Some(Part { lane: *lane, day, node: node.clone(), epoch: *epoch, first: first.seq, last: last.seq })
}

fn file(entries: &[&Entry], lane: Lane) -> Result<Vec<u8>, TableError> {
    let mut writing = Writing::new(Vec::new(), rows::columns(lane))?;
    for entry in entries {
        writing.push(rows::row(entry))?;
    }
    writing.finish()
}

// === impl Landed ===

impl Landed {
    /// Both together.
    #[must_use]
    pub fn and(self, more: Self) -> Self {
        Self {
            parts: self.parts + more.parts,
            events: self.events + more.events,
            rewards: self.rewards + more.rewards,
            decisions: self.decisions + more.decisions,
            again: self.again + more.again,
            broken: self.broken + more.broken,
        }
    }

    fn count(&mut self, lane: Lane, rows: usize) {
        self.parts += 1;
        let rows = rows as u64;
        match lane {
            Lane::Events => self.events += rows,
            Lane::Rewards => self.rewards += rows,
            Lane::Decisions => self.decisions += rows,
        }
    }
}

#[cfg(test)]
mod tests;
