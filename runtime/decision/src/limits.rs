//! Hard limits of a placement: what may not be chosen whatever its score, and how many of a kind. Owns what each limit means
//! and the order in which the places are filled; how candidates are ranked is `policy`'s.
//!
//! First the limits of single candidates: one that breaks `above` or `at_least` is not eligible, nor is one that reached a cap
//! (`below`) unless every candidate did. Then place by place, from the first: a pinned candidate where it is pinned; else the
//! next that is drawn and keeps `max_per` and leaves enough places for `min_share`. Pins count before anybody else. One that is
//! refused does not come again, but for a share that could not be had: then the places that are left go to the refused in the
//! order of their draws.

use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;

use crate::choose::Slate;
use crate::form::form;
use crate::policy::{Drawn, Draws};
use crate::record::{ChoiceRecord, NOT_DRAWN};
use crate::sorted::Sorted;

/// One limit, compiled.
#[derive(Debug, Clone, PartialEq)]
pub struct Limit {
    /// As the explanation calls it: `above item.stock`.
    pub name: String,
    /// The column of the candidates' rows that it is about.
    pub column: usize,
    /// What it asks.
    pub kind: LimitKind,
}

/// What a limit asks.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum LimitKind {
    /// More than this; a missing value is not.
    Above(f64),
    /// This or more; a missing value is not.
    AtLeast(f64),
    /// Less than this, as long as some candidate is; a missing value is.
    Below(f64),
    /// At most so many with the same value; a missing value is like no other.
    MaxPer(u32),
    /// At least this share of the places for those with this value.
    MinShare {
        /// The value.
        is: f64,
        /// From 0 to 1.
        share: f64,
    },
}

/// The candidates' rows as limits see them.
#[derive(Clone, Copy)]
pub(crate) struct Table<'a> {
    pub(crate) rows: &'a [f64],
    pub(crate) width: usize,
}

/// The places of one decision while they are filled.
pub(crate) struct Places<'a> {
    pub(crate) limits: &'a [Limit],
    pub(crate) table: Table<'a>,
    pub(crate) slots: usize,
    /// Limit and candidate, of every candidate that a limit refused.
    pub(crate) refused: &'a mut Vec<(u16, u32)>,
    /// For each limit: how many were chosen of each value, by its bits; of a share, of those it is for.
    counts: Vec<Sorted<u64, u32>>,
    choices: Vec<ChoiceRecord>,
    explored: bool,
}

/// What they were filled with.
pub(crate) struct Filled {
    pub(crate) choices: Vec<ChoiceRecord>,
    /// Whether exploration had a part in it.
    pub(crate) explored: bool,
    /// Whether rules pinned all of them.
    pub(crate) is_pinned: bool,
}

// === forms ===

form!(struct Limit { name, column, kind });
form!(enum LimitKind { Above(than), 1 AtLeast(least), 2 Below(than), 3 MaxPer(most), 4 MinShare { is, share } });

// === impl LimitKind ===

impl LimitKind {
    /// Whether it is about one candidate alone.
    pub(crate) fn is_single(self) -> bool {
        matches!(self, Self::Above(_) | Self::AtLeast(_) | Self::Below(_))
    }

    /// Whether a candidate with this value keeps it, as far as it is about one candidate alone.
    pub(crate) fn lets_through(self, value: f64) -> bool {
        match self {
            Self::Above(than) => value > than,
            Self::AtLeast(least) => value >= least,
            Self::Below(than) => value.is_nan() || value < than,
            Self::MaxPer(_) | Self::MinShare { .. } => true,
        }
    }
}

/// How many of `slots` places a share is, as a person reckons it: 0.28 of 25 is 7.
pub(crate) fn of_places(share: f64, slots: usize) -> usize {
    libm::ceil(share * slots as f64 - 1e-9) as usize
}

// === impl Table ===

impl Table<'_> {
    fn value(self, row: u32, column: usize) -> f64 {
        self.rows[row as usize * self.width + column]
    }
}

/// Takes what single candidates may not be out of `slate`.
pub(crate) fn bar(limits: &[Limit], table: Table<'_>, slate: &mut Slate, refused: &mut Vec<(u16, u32)>) {
    let (caps, hard): (Vec<_>, Vec<_>) = limits
        .iter()
        .enumerate()
        .filter(|(_, limit)| limit.kind.is_single())
        .partition(|(_, limit)| matches!(limit.kind, LimitKind::Below(_)));
    for (at, limit) in hard {
        for row in 0..slate.eligible.len() as u32 {
            if slate.eligible[row as usize] && !limit.kind.lets_through(table.value(row, limit.column)) {
                slate.eligible[row as usize] = false;
                refused.push((at as u16, row));
            }
        }
    }
    let mut capped = Vec::new();
    for row in (0..slate.eligible.len() as u32).filter(|row| slate.eligible[*row as usize]) {
        let cap = caps.iter().find(|(_, limit)| !limit.kind.lets_through(table.value(row, limit.column)));
        capped.extend(cap.map(|(at, _)| (*at as u16, row)));
    }
    let some_are_left = slate.eligible.iter().filter(|eligible| **eligible).count() > capped.len();
    if some_are_left {
        capped.iter().for_each(|(_, row)| slate.eligible[*row as usize] = false);
        refused.extend(capped);
    }
}

// === impl Places ===

impl<'a> Places<'a> {
    /// None of `slots` filled, of which there are no more than eligible candidates.
    pub(crate) fn new(limits: &'a [Limit], table: Table<'a>, slots: usize, refused: &'a mut Vec<(u16, u32)>) -> Self {
        let counts = vec![Sorted::new(); limits.len()];
        Self { limits, table, slots, refused, counts, choices: Vec::with_capacity(slots), explored: false }
    }

    /// Fills the places.
    pub(crate) fn fill(mut self, slate: &Slate, draws: &mut Draws<'_>) -> Filled {
        let pinned = |slot: usize| slate.pinned(slot as u32).filter(|row| slate.eligible[*row as usize]);
        // Rules have the last word: a pin counts for limits, wherever it stands, and is not bound by them.
        let pins: Vec<u32> = (0..self.slots).filter_map(pinned).collect();
        pins.iter().for_each(|row| self.count(*row));
        let mut free = self.slots - pins.len();
        let mut later = Vec::new();
        for slot in 0..self.slots {
            if let Some(row) = pinned(slot) {
                self.place(slate, Drawn { row, propensity: 1.0, draw: NOT_DRAWN, explored: false }, slot);
                continue;
            }
            let next = loop {
                let Some(drawn) = draws.next() else { break None };
                match self.against(drawn.row, free) {
                    None => break Some(drawn),
                    Some(limit) => {
                        self.refused.push((limit as u16, drawn.row));
                        if matches!(self.limits[limit].kind, LimitKind::MinShare { .. }) {
                            later.push(drawn);
                        }
                    }
                }
            };
            free -= 1;
            let Some(drawn) = next.or_else(|| self.relent(&mut later)) else { continue };
            self.count(drawn.row);
            self.place(slate, drawn, slot);
        }
        let is_pinned = self.choices.iter().all(|choice| choice.draw == NOT_DRAWN);
        // A pin may stand behind a place that stayed empty.
        self.choices.iter_mut().enumerate().for_each(|(slot, choice)| choice.slot = slot as u32);
        Filled { choices: self.choices, explored: self.explored, is_pinned }
    }

    /// The first of those that had to wait for a share and keep all other limits.
    fn relent(&self, later: &mut Vec<Drawn>) -> Option<Drawn> {
        let fits = |drawn: &Drawn| self.over(drawn.row).is_none();
        let at = later.iter().position(fits)?;
        Some(later.remove(at))
    }

    /// The limit that a candidate would break, with so many places left to fill.
    fn against(&self, row: u32, free: usize) -> Option<usize> {
        self.over(row).or_else(|| {
            // What shares still want together may be all there is: then whoever is in none of their groups waits.
            let (mut wanted, mut first) = (0, None);
            for (at, limit) in self.limits.iter().enumerate() {
                let LimitKind::MinShare { is, share } = limit.kind else { continue };
                let chosen = self.counts[at].values().sum::<u32>() as usize;
                let outstanding = of_places(share, self.slots).saturating_sub(chosen);
                if outstanding > 0 && self.table.value(row, limit.column) == is {
                    return None;
                }
                wanted += outstanding;
                first = first.or((outstanding > 0).then_some(at));
            }
            first.filter(|_| wanted >= free)
        })
    }

    /// The `max_per` that is full for a candidate.
    fn over(&self, row: u32) -> Option<usize> {
        self.limits.iter().enumerate().position(|(at, limit)| match limit.kind {
            LimitKind::MaxPer(most) => {
                let value = self.table.value(row, limit.column);
                !value.is_nan() && self.counts[at].get(&value.to_bits()).is_some_and(|count| *count >= most)
            }
            _ => false,
        })
    }

    /// Counts a candidate for the limits.
    fn count(&mut self, row: u32) {
        for (at, limit) in self.limits.iter().enumerate() {
            let value = self.table.value(row, limit.column);
            let counts = match limit.kind {
                LimitKind::MaxPer(_) => !value.is_nan(),
                LimitKind::MinShare { is, .. } => value == is,
                _ => false,
            };
            if counts {
                *self.counts[at].of(value.to_bits()) += 1;
            }
        }
    }

    fn place(&mut self, slate: &Slate, drawn: Drawn, slot: usize) {
        self.explored |= drawn.explored;
        self.choices.push(ChoiceRecord {
            candidate: drawn.row,
            slot: slot as u32,
            draw: drawn.draw,
            score: slate.scores[drawn.row as usize],
            propensity: drawn.propensity,
        });
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::policy::Policy;

    /// Rows of two columns; what is chosen in which order, and what was refused by which limit.
    fn check(limits: &[LimitKind], rows: &[[f64; 2]], slots: usize, chosen: &[u32], refused: &[(u16, u32)]) {
        let limits: Vec<Limit> = limits
            .iter()
            .enumerate()
            .map(|(at, kind)| Limit { name: format!("limit {at}"), column: at.min(1), kind: *kind })
            .collect();
        let flat: Vec<f64> = rows.iter().flatten().copied().collect();
        let table = Table { rows: &flat, width: 2 };
        let mut slate = Slate::new(rows.len());
        let mut told = Vec::new();
        bar(&limits, table, &mut slate, &mut told);
        let order: Vec<u32> = (0..rows.len() as u32).filter(|row| slate.eligible[*row as usize]).collect();
        let policy = Policy::argmax();
        let mut draws = Draws::new(&policy, true, order, &slate.scores, None, 0);
        let filled = Places::new(&limits, table, slate.places(slots), &mut told).fill(&slate, &mut draws);
        let choices = filled.choices;
        let found: Vec<u32> = choices.iter().map(|choice| choice.candidate).collect();
        assert_eq!((&found[..], &told[..]), (chosen, refused), "{limits:?} of {rows:?}");
        assert!(choices.iter().enumerate().all(|(at, choice)| choice.slot == at as u32));
    }

    const NAN: f64 = f64::NAN;

    #[test]
    fn single_candidates() {
        use LimitKind::{Above, AtLeast, Below};
        check(&[Above(0.0)], &[[0.0; 2], [1.0; 2], [NAN; 2]], 3, &[1], &[(0, 0), (0, 2)]);
        check(&[AtLeast(1.0)], &[[1.0; 2], [0.9; 2], [NAN; 2]], 3, &[0], &[(0, 1), (0, 2)]);
        check(&[Below(3.0)], &[[3.0; 2], [2.0; 2], [NAN; 2]], 3, &[1, 2], &[(0, 0)]);
        // A cap that all have reached leaves the answer as it was; a hard limit leaves none.
        check(&[Below(3.0)], &[[3.0; 2], [4.0; 2]], 1, &[0], &[]);
        check(&[Above(9.0)], &[[3.0; 2], [4.0; 2]], 1, &[], &[(0, 0), (0, 1)]);
    }

    /// Scores of candidates that are eligible or not, pins of rows to slots, and what is chosen.
    fn pinned(scores: &[f64], eligible: &[bool], pins: &[(u32, f64)], slots: usize, expected: &[u32]) {
        let ids: Vec<Arc<str>> = (0..scores.len()).map(|row| format!("id-{row}").into()).collect();
        let mut slate = Slate::new(scores.len());
        (slate.scores, slate.eligible) = (scores.to_vec(), eligible.to_vec());
        pins.iter().for_each(|(row, slot)| slate.pin(*row, *slot));
        let places = slate.places(slots);
        let order = slate.by_score(&ids).into_iter().filter(|row| !slate.has_pin(*row, places)).collect();
        let policy = Policy::argmax();
        let mut draws = Draws::new(&policy, true, order, &slate.scores, None, 0);
        let table = Table { rows: &[], width: 0 };
        let choices = Places::new(&[], table, places, &mut Vec::new()).fill(&slate, &mut draws).choices;
        assert_eq!(choices.iter().map(|choice| choice.candidate).collect::<Vec<_>>(), expected);
        assert!(choices.iter().enumerate().all(|(slot, choice)| choice.slot == slot as u32));
    }

    #[test]
    fn the_best_and_the_pinned() {
        pinned(&[1.0, 3.0, 2.0], &[true; 3], &[], 2, &[1, 2]);
        pinned(&[1.0, 1.0, 1.0], &[true; 3], &[], 3, &[0, 1, 2]);
        pinned(&[0.0, -0.0], &[true; 2], &[], 2, &[0, 1]);
        pinned(&[1.0, 3.0, 2.0], &[true, false, true], &[], 3, &[2, 0]);
        pinned(&[1.0, 3.0, 2.0], &[true; 3], &[(0, 1.0)], 3, &[1, 0, 2]);
        // A pin beyond the slots, on nothing, or on a slot that is taken, pins nothing.
        pinned(&[1.0, 3.0, 2.0], &[true; 3], &[(0, 9.0), (2, f64::NAN), (1, -1.0)], 2, &[1, 2]);
        pinned(&[1.0, 3.0, 2.0], &[true; 3], &[(0, 0.0), (2, 0.0)], 3, &[0, 1, 2]);
        // A pinned candidate that is not eligible leaves its slot to the best.
        pinned(&[1.0, 3.0, 2.0], &[false, true, true], &[(0, 0.0)], 3, &[1, 2]);
    }

    #[test]
    fn a_pin_counts_before_anybody_else() {
        let limits = [Limit { name: "max_per".into(), column: 0, kind: LimitKind::MaxPer(1) }];
        let rows = [1.0, 1.0, 2.0];
        let table = Table { rows: &rows, width: 1 };
        let mut slate = Slate::new(3);
        slate.pin(1, 1.0);
        let policy = Policy::argmax();
        let mut draws = Draws::new(&policy, true, vec![0, 2], &slate.scores, None, 0);
        let filled = Places::new(&limits, table, 2, &mut Vec::new()).fill(&slate, &mut draws);
        let chosen: Vec<(u32, u32)> = filled.choices.iter().map(|choice| (choice.candidate, choice.draw)).collect();
        assert_eq!(chosen, [(2, 1), (1, NOT_DRAWN)]);
        assert!(!filled.is_pinned && !filled.explored);
    }

    #[test]
    fn so_many_of_a_kind() {
        use LimitKind::MaxPer;
        let shelf = [[1.0, 5.0], [1.0, 6.0], [1.0, 7.0], [2.0, 7.0], [NAN, NAN], [NAN, NAN]];
        check(&[MaxPer(1)], &shelf, 3, &[0, 3, 4], &[(0, 1), (0, 2)]);
        check(&[MaxPer(1)], &shelf, 6, &[0, 3, 4, 5], &[(0, 1), (0, 2)]);
        check(&[MaxPer(2), MaxPer(1)], &shelf, 6, &[0, 1, 3, 4, 5], &[(0, 2)]);
    }

    #[test]
    fn a_share_for_some() {
        use LimitKind::{MaxPer, MinShare};
        let own = MinShare { is: 1.0, share: 0.5 };
        let shelf = [[0.0; 2], [0.0; 2], [0.0; 2], [1.0; 2], [1.0; 2]];
        check(&[own], &shelf, 4, &[0, 1, 3, 4], &[(0, 2)]);
        check(&[own], &shelf, 1, &[3], &[(0, 0), (0, 1), (0, 2)]);
        // What there is not enough of cannot be had; then the others come in their order.
        check(&[own], &shelf[..3], 2, &[0, 1], &[(0, 1), (0, 2)]);
        // Two shares that are all there is, and who is in neither.
        let other = MinShare { is: 2.0, share: 0.5 };
        let shelf = [[0.0; 2], [0.0; 2], [1.0; 2], [1.0; 2], [2.0; 2], [2.0; 2]];
        check(&[own, other], &shelf, 4, &[2, 3, 4, 5], &[(0, 0), (0, 1)]);
        // As many as a person reckons, not one more.
        let some = MinShare { is: 1.0, share: 0.28 };
        let shelf: Vec<[f64; 2]> = (0..50).map(|at| [f64::from(at >= 25); 2]).collect();
        let expected: Vec<u32> = (0..18).chain(25..32).collect();
        check(&[some], &shelf, 25, &expected, &(18..25).map(|row| (0, row)).collect::<Vec<_>>());
        check(&[own, MaxPer(1)], &[[0.0, 4.0], [0.0, 4.0], [0.0, 5.0]], 3, &[0, 2], &[(1, 1), (0, 2)]);
    }
}
