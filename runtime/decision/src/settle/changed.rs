//! Which limits changed an answer, and whom they kept from a place. Owns what that means: the places are filled again without a limit,
//! from the same scores by the same draws, and another answer comes out. Only for explanations.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;

use super::fill::Filling;
use crate::choose::Slate;
use crate::limits::{Limit, LimitKind};
use crate::policy::Contests;
use crate::record::ChoiceRecord;

/// The most times that places are filled again: without each limit, of which there are at most 64, and without several.
const MOST_FILLED: usize = 192;
/// And the most candidates that are looked at for it, once for each place: where there are many, limits are left out one by one alone.
const MOST_LOOKED_AT: usize = 2_000_000;

/// Which limits are left out, and whom the last of them refuses.
type Left = BTreeMap<BTreeSet<u16>, BTreeSet<u32>>;

/// The limits that changed the answer, each with those that it kept from a place, or from one before the one they have. `slate`,
/// `choices` and `refused` are what came of all limits.
///
/// A limit changed the answer when without it another would have come out. Where no single one kept somebody from a place but several
/// together did, because whom one lets through the next refuses, each of them is told.
pub(super) fn changed(
    filling: Filling<'_>,
    slate: &Slate,
    contests: Contests,
    choices: &[ChoiceRecord],
    refused: &[(u16, u32)],
) -> Vec<(u16, Vec<u32>)> {
    // Caps give way to each other where together they would leave nobody, and refuse nobody then.
    let caps = filling.placement.limits.iter().filter(|limit| matches!(limit.kind, LimitKind::Below(_)));
    if refused.is_empty() && caps.count() < 2 {
        return Vec::new();
    }
    let mut again = Again::new(filling, slate, contests, refused);
    let limits = 0..filling.placement.limits.len() as u16;
    let refused_by = |at: u16| refused.iter().filter(|(limit, _)| *limit == at).map(|(_, row)| *row).collect();
    let mut left: Left = limits.map(|at| (BTreeSet::from([at]), refused_by(at))).collect();
    let anybody: BTreeSet<u32> = refused.iter().map(|(_, row)| *row).collect();
    let place = |choices: &[ChoiceRecord], row: u32| choices.iter().position(|choice| choice.candidate == row);
    let (mut told, mut kept_out) = (BTreeMap::<u16, BTreeSet<u32>>::new(), BTreeSet::new());
    let once = filling.facts.ids.len().max(1) * choices.len().max(1);
    let mut fills = (MOST_LOOKED_AT / once).clamp(left.len(), MOST_FILLED);
    while !left.is_empty() {
        let mut next = Left::new();
        for (without, rows) in left.into_iter().take(fills) {
            fills -= 1;
            let (others, refused_then) = again.without(&without);
            let is_before = |row: &u32| {
                let (here, there) = (place(choices, *row), place(&others, *row));
                there.is_some_and(|there| here.is_none_or(|here| there < here))
            };
            let is_alone = without.len() == 1;
            let whom = if is_alone { &anybody } else { &rows };
            let before: BTreeSet<u32> = whom.iter().copied().filter(is_before).collect();
            let is_other =
                !others.iter().map(|choice| choice.candidate).eq(choices.iter().map(|choice| choice.candidate));
            if is_other && (is_alone || !before.is_empty()) {
                without.iter().for_each(|limit| told.entry(*limit).or_default().extend(&before));
            }
            for (limit, row) in refused_then.into_iter().filter(|(_, row)| rows.contains(row)) {
                let more = without.iter().copied().chain([limit]).collect();
                next.entry(more).or_default().insert(row);
            }
            kept_out.extend(before);
        }
        // Who is told with fewer limits is not told with more.
        next.values_mut().for_each(|rows| rows.retain(|row| !kept_out.contains(row)));
        next.retain(|_, rows| !rows.is_empty());
        left = next;
    }
    told.into_iter().map(|(limit, rows)| (limit, rows.into_iter().collect())).collect()
}

/// Places to be filled again.
struct Again<'a> {
    filling: Filling<'a>,
    /// As it was before limits.
    slate: Slate,
    contests: Contests,
}

// === impl Again ===

impl<'a> Again<'a> {
    fn new(filling: Filling<'a>, slate: &Slate, contests: Contests, refused: &[(u16, u32)]) -> Self {
        let mut slate = slate.clone();
        let is_single = |at: u16| filling.placement.limits[usize::from(at)].kind.is_single();
        for (_, row) in refused.iter().filter(|(at, _)| is_single(*at)) {
            slate.eligible[*row as usize] = true;
        }
        Self { filling, slate, contests }
    }

    /// What comes of all limits but these: choices, and who is refused by which limit.
    fn without(&mut self, left_out: &BTreeSet<u16>) -> (Vec<ChoiceRecord>, Vec<(u16, u32)>) {
        let all = (0..).zip(&self.filling.placement.limits);
        let (places, limits): (Vec<u16>, Vec<Limit>) =
            all.filter(|(at, _)| !left_out.contains(at)).map(|(at, limit)| (at, limit.clone())).unzip();
        let mut refused = Vec::new();
        let filled = self.filling.fill(&limits, &mut self.slate.clone(), &mut self.contests, &mut refused);
        refused.iter_mut().for_each(|(limit, _)| *limit = places[usize::from(*limit)]);
        (filled.choices, refused)
    }
}

#[cfg(test)]
mod tests;
