//! The candidates on their way to being chosen: what they scored, who is pinned where, who comes before whom.

use alloc::sync::Arc;
use alloc::vec;
use alloc::vec::Vec;
use core::cmp::Ordering;

use crate::order;
use crate::sorted::Sorted;

/// The candidates on their way to being chosen.
#[derive(Debug, Clone)]
pub(crate) struct Slate {
    /// By candidate; NaN when nothing scored it.
    pub scores: Vec<f64>,
    /// By candidate.
    pub boosts: Vec<f64>,
    /// By candidate.
    pub eligible: Vec<bool>,
    /// The candidate of each slot that has one pinned to it.
    pins: Sorted<u32, u32>,
    /// The candidates that are pinned somewhere, and where.
    pinned: Sorted<u32, u32>,
}

// === impl Slate ===

impl Slate {
    /// All eligible, none scored.
    pub(crate) fn new(count: usize) -> Self {
        Self {
            scores: vec![f64::NAN; count],
            boosts: vec![1.0; count],
            eligible: vec![true; count],
            pins: Sorted::new(),
            pinned: Sorted::new(),
        }
    }

    /// Pins a candidate to a slot, unless one of the two is taken; what is no slot pins nothing.
    pub(crate) fn pin(&mut self, row: u32, slot: f64) {
        if !(0.0..f64::from(u32::MAX)).contains(&slot) {
            return;
        }
        let slot = slot as u32;
        if !self.pins.contains_key(&slot) && !self.pinned.contains_key(&row) {
            self.pins.insert(slot, row);
            self.pinned.insert(row, slot);
        }
    }

    /// The candidate pinned to `slot`.
    pub(crate) fn pinned(&self, slot: u32) -> Option<u32> {
        self.pins.get(&slot).copied()
    }

    /// Whether a candidate has one of the first `slots` slots by a pin.
    pub(crate) fn has_pin(&self, row: u32, slots: usize) -> bool {
        self.pinned.get(&row).is_some_and(|slot| (*slot as usize) < slots)
    }

    /// How many candidates may be chosen, at most `slots`.
    pub(crate) fn places(&self, slots: usize) -> usize {
        slots.min(self.eligible.iter().filter(|eligible| **eligible).count())
    }

    /// The candidates by score, highest first, ties to the smaller id.
    pub(crate) fn by_score(&self, ids: &[Arc<str>]) -> Vec<u32> {
        let mut order: Vec<u32> = (0..ids.len() as u32).filter(|row| self.eligible[*row as usize]).collect();
        let score = |row: u32| self.scores[row as usize];
        order::sort(&mut order, |a, b| missing_last(score(*a), score(*b)).then_with(|| by_id(ids, *a, *b)));
        order
    }
}

/// Highest first, NaN last; -0.0 equals 0.0.
pub(crate) fn missing_last(a: f64, b: f64) -> Ordering {
    match (a.is_nan(), b.is_nan()) {
        (false, false) => b.partial_cmp(&a).unwrap_or(Ordering::Equal),
        (a, b) => a.cmp(&b),
    }
}

/// The smaller id first.
pub(crate) fn by_id(ids: &[Arc<str>], a: u32, b: u32) -> Ordering {
    ids[a as usize].cmp(&ids[b as usize])
}
