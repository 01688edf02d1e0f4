//! Choosing among the scored: pins, then the best that are left, ties to the smaller id.

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::sync::Arc;

use crate::record::ChoiceRecord;

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
    pins: BTreeMap<u32, u32>,
    /// The candidates that are pinned somewhere, and where.
    pinned: BTreeMap<u32, u32>,
}

// === impl Slate ===

impl Slate {
    /// All eligible, none scored.
    pub(crate) fn new(count: usize) -> Self {
        Self {
            scores: vec![f64::NAN; count],
            boosts: vec![1.0; count],
            eligible: vec![true; count],
            pins: BTreeMap::new(),
            pinned: BTreeMap::new(),
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

    /// The candidates by score, highest first, ties to the smaller id.
    pub(crate) fn by_score(&self, ids: &[Arc<str>]) -> Vec<u32> {
        let mut order: Vec<u32> = (0..ids.len() as u32).filter(|row| self.eligible[*row as usize]).collect();
        let score = |row: u32| self.scores[row as usize];
        order.sort_unstable_by(|a, b| missing_last(score(*a), score(*b)).then_with(|| by_id(ids, *a, *b)));
        order
    }
}

/// Fills the slots: a pinned candidate where it is pinned, elsewhere the next in `order`.
pub(crate) fn fill(slate: &Slate, order: &[u32], slots: usize) -> Vec<ChoiceRecord> {
    let eligible = |row: u32| slate.eligible[row as usize];
    let slots = slots.min(slate.eligible.iter().filter(|eligible| **eligible).count());
    let pinned = |slot: usize| slate.pinned(slot as u32).filter(|row| eligible(*row));
    let has_pin = |row: u32| slate.pinned.get(&row).is_some_and(|slot| (*slot as usize) < slots);
    let mut rest = order.iter().copied().filter(|row| eligible(*row) && !has_pin(*row));
    let mut choices = Vec::with_capacity(slots);
    for slot in 0..slots {
        let Some(candidate) = pinned(slot).or_else(|| rest.next()) else { break };
        let score = slate.scores[candidate as usize];
        choices.push(ChoiceRecord { candidate, slot: slot as u32, score, propensity: 1.0 });
    }
    choices
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

#[cfg(test)]
mod tests {
    use super::*;

    fn check(scores: &[f64], eligible: &[bool], pins: &[(u32, f64)], slots: usize, expected: &[u32]) {
        let ids: Vec<Arc<str>> = (0..scores.len()).map(|row| format!("id-{row}").into()).collect();
        let mut slate = Slate::new(scores.len());
        slate.scores = scores.to_vec();
        slate.eligible = eligible.to_vec();
        pins.iter().for_each(|(row, slot)| slate.pin(*row, *slot));
        let chosen = fill(&slate, &slate.by_score(&ids), slots);
        assert_eq!(chosen.iter().map(|choice| choice.candidate).collect::<Vec<_>>(), expected);
        assert!(chosen.iter().enumerate().all(|(slot, choice)| choice.slot == slot as u32));
    }

    #[test]
    fn chooses_the_best_and_respects_pins() {
        check(&[1.0, 3.0, 2.0], &[true; 3], &[], 2, &[1, 2]);
        check(&[1.0, 1.0, 1.0], &[true; 3], &[], 3, &[0, 1, 2]);
        check(&[0.0, -0.0], &[true; 2], &[], 2, &[0, 1]);
        check(&[1.0, 3.0, 2.0], &[true, false, true], &[], 3, &[2, 0]);
        check(&[1.0, 3.0, 2.0], &[true; 3], &[(0, 1.0)], 3, &[1, 0, 2]);
        // A pin beyond the slots, on nothing, or on a slot that is taken, pins nothing.
        check(&[1.0, 3.0, 2.0], &[true; 3], &[(0, 9.0), (2, f64::NAN), (1, -1.0)], 2, &[1, 2]);
        check(&[1.0, 3.0, 2.0], &[true; 3], &[(0, 0.0), (2, 0.0)], 3, &[0, 1, 2]);
        // A pinned candidate that is not eligible leaves its slot to the best.
        check(&[1.0, 3.0, 2.0], &[false, true, true], &[(0, 0.0)], 3, &[1, 2]);
    }
}
