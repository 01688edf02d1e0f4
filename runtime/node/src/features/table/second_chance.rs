//! Whom to let go when there is no room: second chance, also called CLOCK (Corbató, "A Paging Experiment with the Multics
//! System", 1968). Reading a row marks it; the hand goes round the rows, takes the mark from each and stops at the first that
//! has none. A read costs one look at a bit, and a write to it only when the hand has passed since.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Which rows were read since the hand passed them, one bit a row.
pub(super) struct Marks {
    words: Box<[AtomicU64]>,
}

/// Who has which row, and where the hand is.
#[derive(Default)]
pub(super) struct Hand {
    seats: Vec<Option<Arc<str>>>,
    at: usize,
}

// === impl Marks ===

impl Marks {
    /// For rows 0 to `rows`.
    pub(super) fn new(rows: usize) -> Self {
        Self { words: (0..=rows / 64).map(|_| AtomicU64::new(0)).collect() }
    }

    /// Marks a row.
    pub(super) fn set(&self, index: u32) {
        let bit = 1 << (index % 64);
        // Most marks stand already: looking first keeps the line shared between the threads that read.
        if let Some(word) = self.words.get(index as usize / 64)
            && word.load(Ordering::Relaxed) & bit == 0
        {
            word.fetch_or(bit, Ordering::Relaxed);
        }
    }

    /// Takes the mark of a row. Whether it had one.
    pub(super) fn take(&self, index: u32) -> bool {
        let bit = 1 << (index % 64);
        self.words.get(index as usize / 64).is_some_and(|word| word.fetch_and(!bit, Ordering::Relaxed) & bit != 0)
    }

    /// Bytes held.
    pub(super) fn bytes(&self) -> u64 {
        size_of_val(&*self.words) as u64
    }
}

// === impl Hand ===

impl Hand {
    /// What one row's seat weighs.
    pub(super) const SEAT_BYTES: u64 = size_of::<Option<Arc<str>>>() as u64;

    /// A row has an entity now.
    pub(super) fn seat(&mut self, index: u32, entity: Arc<str>) {
        let index = index as usize;
        if self.seats.len() <= index {
            self.seats.resize(index + 1, None);
        }
        self.seats[index] = Some(entity);
    }

    /// A row has none any more.
    pub(super) fn leave(&mut self, index: u32) {
        if let Some(seat) = self.seats.get_mut(index as usize) {
            *seat = None;
        }
    }

    /// Who goes next; none when nobody is there.
    pub(super) fn next(&mut self, marks: &Marks) -> Option<Arc<str>> {
        // Once round takes all marks; twice round finds somebody, unless readers are faster than the hand.
        for _ in 0..2 * self.seats.len() {
            let at = self.at;
            self.at = (at + 1) % self.seats.len();
            if let Some(entity) = &self.seats[at]
                && !marks.take(at as u32)
            {
                return Some(Arc::clone(entity));
            }
        }
        self.seats.iter().flatten().next().cloned()
    }
}
