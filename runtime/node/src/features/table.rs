//! One view's rows in memory, at one layout. Owns entity → slot → cells; must not know where rows come from, what they mean,
//! or how late they are.
//!
//! Reads take no lock and never wait for a writer longer than one row's copy. Writers take turns.

use std::collections::HashSet;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use foldhash::fast::RandomState;
use selvedge_decision::TimeUs;

use cells::Cells;
use second_chance::{Hand, Marks};

mod cells;
mod second_chance;

/// Where an entity's row lies. A slot that was given to another entity since is noticed when it is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Slot {
    /// The row.
    pub index: u32,
    /// How often the row was given away and taken back; odd while an entity has it.
    pub generation: u32,
}

/// One view's rows.
pub struct Table {
    cells: Cells,
    slots: papaya::HashMap<Arc<str>, Slot, RandomState>,
    writer: Mutex<Writer>,
    room: Room,
    text_bytes: AtomicU64,
    /// Which rows were read lately; only where the room evicts.
    marks: Option<Marks>,
}

/// How much a table may hold, and what it does when that is all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Room {
    /// Entities.
    pub entities: u32,
    /// Bytes, as [`Table::bytes`] counts them.
    pub bytes: u64,
    /// Whether [`Table::admit`] lets rows go that nobody read lately.
    pub evicts: bool,
}

/// The table holds as much as it may.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TableFull {
    /// As many entities.
    #[error("the view is full: it holds {max} entities, its limit")]
    Entities {
        /// The limit.
        max: u32,
    },
    /// As many bytes.
    #[error("the view is full: another row would not fit into {max} bytes, its limit")]
    Bytes {
        /// The limit.
        max: u64,
    },
}

#[derive(Default)]
struct Writer {
    /// Rows from here on were never used.
    next: u32,
    /// Rows taken back, to be given away again.
    free: Vec<u32>,
    /// While rows are loaded from disk: whom an update touched since, and whom the load must therefore leave alone.
    touched: Option<HashSet<Arc<str>, RandomState>>,
    /// While the whole view is sent again: which rows were put since, one bit a slot.
    marks: Option<Vec<u64>>,
    /// Whom to let go; only where the room evicts.
    hand: Option<Hand>,
}

/// What an entry of the map weighs besides its text: key, value, the allocation's header, counts and padding.
const ENTRY_BYTES: u64 = 72;

// === impl Room ===

impl Room {
    /// For so many entities, whatever they weigh.
    pub const fn entities(entities: u32) -> Self {
        Self { entities, bytes: u64::MAX, evicts: false }
    }
}

// === impl Table: reading ===

impl Table {
    /// An empty table with rows of `width` cells.
    pub fn new(width: usize, room: Room) -> Self {
        let cells = Cells::new(width);
        let most = (room.bytes / (cells.row_bytes() + ENTRY_BYTES)).min(u64::from(room.entities)) as usize;
        let hand = room.evicts.then(Hand::default);
        Self {
            cells,
            slots: papaya::HashMap::with_hasher(RandomState::default()),
            writer: Mutex::new(Writer { hand, ..Writer::default() }),
            room,
            text_bytes: AtomicU64::new(0),
            marks: room.evicts.then(|| Marks::new(most)),
        }
    }

    /// How much it may hold.
    pub fn room(&self) -> Room {
        self.room
    }

    /// Cells of a row.
    pub fn width(&self) -> usize {
        self.cells.width()
    }

    /// The slot of an entity; the two of a pair are joined by `\0`.
    pub fn resolve(&self, entity: &str) -> Option<Slot> {
        self.slots.pin().get(entity).copied()
    }

    /// The slots of many entities, for less than one [`Table::resolve`] each.
    pub fn resolve_all<'e>(&self, entities: impl IntoIterator<Item = &'e str>, slots: &mut Vec<Option<Slot>>) {
        let pinned = self.slots.pin();
        slots.extend(entities.into_iter().map(|entity| pinned.get(entity).copied()));
    }

    /// Copies a row into `cells`, which has [`Table::width`] of them, and says the time of its event. `None`, with anything
    /// in `cells`, when the slot's entity is gone.
    pub fn read(&self, slot: Slot, cells: &mut [u64]) -> Option<TimeUs> {
        let time_us = self.cells.read(slot.index, slot.generation, cells)?;
        if let Some(marks) = &self.marks {
            marks.set(slot.index);
        }
        Some(time_us)
    }

    /// The text that it keeps of an entity, to be shared by whoever keeps it, too.
    pub fn key(&self, entity: &str) -> Option<Arc<str>> {
        self.slots.pin().get_key_value(entity).map(|(key, _)| Arc::clone(key))
    }

    /// Whether it has a row of an entity.
    pub fn holds(&self, entity: &str) -> bool {
        self.resolve(entity).is_some()
    }

    /// The entities, in no order. One that comes or goes meanwhile may be among them or not.
    pub fn entities(&self) -> impl Iterator<Item = Arc<str>> {
        self.entries().map(|(entity, _)| entity)
    }

    /// The entities with their slots, in no order.
    pub fn entries(&self) -> impl Iterator<Item = (Arc<str>, Slot)> {
        let pinned = self.slots.pin();
        let all: Vec<_> = pinned.iter().map(|(entity, slot)| (Arc::clone(entity), *slot)).collect();
        all.into_iter()
    }

    /// How many entities.
    pub fn len(&self) -> usize {
        self.slots.len()
    }

    /// Whether there is no entity.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Bytes held: rows exactly, the map by estimate.
    pub fn bytes(&self) -> u64 {
        let marks = self.marks.as_ref().map_or(0, Marks::bytes);
        self.cells.bytes() + marks + self.text_bytes.load(Ordering::Relaxed) + self.len() as u64 * self.entry_bytes()
    }

    fn entry_bytes(&self) -> u64 {
        if self.room.evicts { ENTRY_BYTES + Hand::SEAT_BYTES } else { ENTRY_BYTES }
    }
}

// === impl Table: writing ===

impl Table {
    /// Puts a row: `cells` has [`Table::width`] of them.
    pub fn put(&self, entity: &str, time_us: TimeUs, cells: &[u64]) -> Result<(), TableFull> {
        let mut writer = self.writer();
        writer.touch(entity);
        let slot = self.write(&mut writer, entity, time_us, cells)?;
        writer.mark(slot);
        Ok(())
    }

    /// Puts a row, and where that needs room lets rows go that nobody read lately; they are added to `gone`.
    pub fn admit(
        &self,
        entity: &str,
        time_us: TimeUs,
        cells: &[u64],
        gone: &mut Vec<Arc<str>>,
    ) -> Result<(), TableFull> {
        let mut writer = self.writer();
        writer.touch(entity);
        let slot = loop {
            let full = match self.write(&mut writer, entity, time_us, cells) {
                Ok(slot) => break slot,
                Err(full) => full,
            };
            let next = self.marks.as_ref().and_then(|marks| writer.hand.as_mut()?.next(marks));
            let Some(next) = next else { return Err(full) };
            self.take_back(&mut writer, &next);
            gone.push(next);
        };
        writer.mark(slot);
        Ok(())
    }

    /// Removes a row. Whether there was one.
    pub fn remove(&self, entity: &str) -> bool {
        let mut writer = self.writer();
        writer.touch(entity);
        self.take_back(&mut writer, entity)
    }

    /// Marks a row as one that is still there, without changing it.
    pub fn keep(&self, entity: &str) {
        let mut writer = self.writer();
        if let Some(slot) = self.resolve(entity) {
            writer.mark(slot);
        }
    }

    /// From here until [`Table::end_load`], what [`Table::load`] brings gives way to updates.
    pub fn begin_load(&self) {
        self.writer().touched = Some(HashSet::default());
    }

    /// Whether it is between [`Table::begin_load`] and [`Table::end_load`].
    pub fn is_loading(&self) -> bool {
        self.writer().touched.is_some()
    }

    /// Puts a row that may be older than an update which came since [`Table::begin_load`]; then it changes nothing.
    pub fn load(&self, entity: &str, time_us: TimeUs, cells: &[u64]) -> Result<(), TableFull> {
        let mut writer = self.writer();
        if writer.touched.as_ref().is_some_and(|touched| touched.contains(entity)) {
            return Ok(());
        }
        self.write(&mut writer, entity, time_us, cells).map(|_| ())
    }

    /// The load is over.
    pub fn end_load(&self) {
        self.writer().touched = None;
    }

    /// Makes room in its index for so many entities in all, as far as it may hold them: an index that grows while a million rows come
    /// is copied a dozen times.
    pub fn expect(&self, entities: usize) {
        let most = entities.min(self.room.entities as usize);
        // A table that evicts holds what it has room for, whatever there is.
        if !self.room.evicts && most > self.len() {
            self.slots.pin().reserve(most - self.len());
        }
    }

    /// From here until [`Table::sweep`], every row put is marked. Marks made before are forgotten.
    pub fn begin_marks(&self) {
        self.writer().marks = Some(Vec::new());
    }

    /// Forgets the marks and keeps all rows.
    pub fn forget_marks(&self) {
        self.writer().marks = None;
    }

    /// Removes every row that was not put since [`Table::begin_marks`], and says whose they were.
    pub fn sweep(&self) -> Vec<Arc<str>> {
        let mut writer = self.writer();
        let Some(marks) = writer.marks.take() else { return Vec::new() };
        let stale: Vec<_> = {
            let pinned = self.slots.pin();
            let stale = pinned.iter().filter(|(_, slot)| !is_marked(&marks, slot.index));
            stale.map(|(entity, _)| Arc::clone(entity)).collect()
        };
        for entity in &stale {
            self.take_back(&mut writer, entity);
        }
        stale
    }

    fn writer(&self) -> MutexGuard<'_, Writer> {
        self.writer.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self, writer: &mut Writer, entity: &str, time_us: TimeUs, cells: &[u64]) -> Result<Slot, TableFull> {
        let pinned = self.slots.pin();
        if let Some(slot) = pinned.get(entity).copied() {
            self.cells.write(slot.index, slot.generation, time_us, cells);
            return Ok(slot);
        }
        self.has_room(writer, entity)?;
        let index = writer.free.pop().unwrap_or_else(|| {
            writer.next += 1;
            writer.next - 1
        });
        let slot = Slot { index, generation: self.cells.generation(index).wrapping_add(1) };
        self.cells.write(index, slot.generation, time_us, cells);
        self.text_bytes.fetch_add(entity.len() as u64, Ordering::Relaxed);
        let entity: Arc<str> = Arc::from(entity);
        if let Some(hand) = &mut writer.hand {
            hand.seat(index, Arc::clone(&entity));
        }
        pinned.insert(entity, slot);
        Ok(slot)
    }

    /// Whether another entity fits.
    fn has_room(&self, writer: &Writer, entity: &str) -> Result<(), TableFull> {
        let Room { entities, bytes, .. } = self.room;
        if writer.free.is_empty() && writer.next >= entities {
            return Err(TableFull::Entities { max: entities });
        }
        let piece = if writer.free.is_empty() { self.cells.bytes_for(writer.next) } else { 0 };
        let more = entity.len() as u64 + self.entry_bytes() + piece;
        if bytes < u64::MAX && self.bytes() + more > bytes { Err(TableFull::Bytes { max: bytes }) } else { Ok(()) }
    }

    fn take_back(&self, writer: &mut Writer, entity: &str) -> bool {
        let pinned = self.slots.pin();
        let Some(slot) = pinned.remove(entity).copied() else { return false };
        self.cells.retire(slot.index, slot.generation.wrapping_add(1));
        self.text_bytes.fetch_sub(entity.len() as u64, Ordering::Relaxed);
        // Whoever gets the slot next was not put because this one was.
        if let Some(word) = writer.marks.as_mut().and_then(|marks| marks.get_mut(slot.index as usize / 64)) {
            *word &= !(1 << (slot.index % 64));
        }
        if let (Some(hand), Some(marks)) = (&mut writer.hand, &self.marks) {
            hand.leave(slot.index);
            marks.take(slot.index);
        }
        writer.free.push(slot.index);
        true
    }
}

// === impl Writer ===

impl Writer {
    /// A load from disk must leave this entity alone.
    fn touch(&mut self, entity: &str) {
        if let Some(touched) = &mut self.touched {
            touched.insert(Arc::from(entity));
        }
    }

    /// A sweep must leave this row alone.
    fn mark(&mut self, slot: Slot) {
        let Some(marks) = &mut self.marks else { return };
        let word = slot.index as usize / 64;
        if marks.len() <= word {
            marks.resize((word + 1).next_power_of_two(), 0);
        }
        marks[word] |= 1 << (slot.index % 64);
    }
}

impl std::fmt::Debug for Table {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Table").field("width", &self.width()).field("len", &self.len()).finish_non_exhaustive()
    }
}

fn is_marked(marks: &[u64], index: u32) -> bool {
    marks.get(index as usize / 64).is_some_and(|word| word >> (index % 64) & 1 == 1)
}

#[cfg(test)]
mod tests;
