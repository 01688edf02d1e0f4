//! From scored candidates to filled places: whom limits keep out, the odds of what was learned, the order, the draws. Owns all that
//! limits have a part in, so that the places can be filled once more with other ones.

use alloc::vec::Vec;

use super::{Basis, Facts};
use crate::choose::{self, Slate};
use crate::contest::Beta;
#[cfg(feature = "std")]
use crate::contest::{Contest, Normal};
use crate::limits::{self, Filled, Limit, Places, Table};
#[cfg(feature = "std")]
use crate::logistic;
use crate::order;
use crate::plan::{FallbackPlan, Placement, Way};
use crate::policy::{Contests, Draws, Odds, Policy};

/// What places are filled by, besides limits and scores.
#[derive(Clone, Copy)]
pub(super) struct Filling<'a> {
    pub(super) placement: &'a Placement,
    pub(super) way: &'a Way,
    pub(super) facts: Facts<'a>,
    pub(super) basis: &'a Basis,
    /// What was learned of each candidate; empty when the policy does not learn.
    pub(super) known: &'a [[f64; 2]],
    /// Rows that draws take one after another, instead of what chance says.
    pub(super) wanted: Option<&'a [u32]>,
}

// === impl Filling ===

impl Filling<'_> {
    /// Fills the places under `limits`. Who is kept out by one of single candidates is not eligible in `slate` afterwards; who was refused,
    /// by which of `limits`, is added to `refused`.
    pub(super) fn fill(
        self,
        limits: &[Limit],
        slate: &mut Slate,
        contests: &mut Contests,
        refused: &mut Vec<(u16, u32)>,
    ) -> Filled {
        let Self { placement, way, facts, basis, .. } = self;
        let table = Table { rows: facts.rows, width: placement.candidate_width };
        limits::bar(limits, table, slate, refused);
        let places = slate.places(facts.slots);
        let odds = match basis {
            Basis::Learned => {
                // Who is kept from a place by limits of a kind makes room for others: then any may win one. By those of the
                // placement, so that without one of them the same contest is drawn from.
                let is_open = placement.limits.iter().any(|limit| !limit.kind.is_single());
                let contenders = if is_open { facts.ids.len() } else { places };
                let explores = facts.explores && way.policy.explores();
                slate.learn(&way.policy, self.known, (places, contenders), explores.then_some(contests))
            }
            _ => None,
        };
        let mut order = match basis {
            Basis::Scored(..) | Basis::Learned | Basis::Ruled => slate.by_score(facts.ids),
            Basis::Static | Basis::Fallback => static_order(placement, &way.fallback, facts),
        };
        order.retain(|row| slate.eligible[*row as usize] && !slate.has_pin(*row, places));
        let explores = facts.explores && !matches!(basis, Basis::Fallback);
        let draws = Draws::new(&way.policy, explores, order, &slate.scores, odds, facts.seed);
        let mut draws = match self.wanted {
            Some(wanted) => draws.taking(wanted),
            None => draws,
        };
        Places::new(limits, table, places, refused).fill(slate, &mut draws)
    }
}

// === impl Slate ===

impl Slate {
    /// Scores the candidates by what was learned of them, and tells the odds of each to be the best of those that are drawn. A
    /// boost multiplies what a candidate is worth. Without contests there is nothing to draw.
    fn learn(
        &mut self,
        policy: &Policy,
        known: &[[f64; 2]],
        (places, contenders): (usize, usize),
        contests: Option<&mut Contests>,
    ) -> Option<Odds> {
        #[cfg(feature = "std")]
        if policy.model.is_some() {
            for (score, (known, boost)) in self.scores.iter_mut().zip(known.iter().zip(&self.boosts)) {
                *score = logistic::rate(*known) * boost;
            }
            return contests.map(|_| Odds::of(self.logits(known, places, contenders), known.len()));
        }
        let values = known.iter().enumerate().map(|(row, [rewards, misses])| {
            let scale = if self.takes_part(row, places) { self.boosts[row] } else { 0.0 };
            Beta { a: policy.prior[0] + rewards, b: policy.prior[1] + misses, scale }
        });
        let values: Vec<Beta> = values.collect();
        for (score, (value, boost)) in self.scores.iter_mut().zip(values.iter().zip(&self.boosts)) {
            *score = value.a / (value.a + value.b) * boost;
        }
        contests.map(|contests| contests.between(values, contenders))
    }

    /// The contest between logits. Where boosts differ it is one between the logarithms of what candidates are worth, each a normal
    /// distribution that has the slope of the logarithm at its middle.
    #[cfg(feature = "std")]
    fn logits(&self, known: &[[f64; 2]], places: usize, contenders: usize) -> Contest {
        let has_part = |row: usize| self.boosts[row] > 0.0 && self.takes_part(row, places);
        let mut boosts = (0..known.len()).filter(|row| has_part(*row)).map(|row| self.boosts[row]);
        let first = boosts.next().unwrap_or(1.0);
        let is_plain = boosts.all(|boost| boost == first);
        let values = known.iter().enumerate().map(|(row, [mean, variance])| {
            let value = Normal { mean: *mean, deviation: variance.sqrt() };
            let value = if is_plain { value } else { value.log_rate(self.boosts[row]) };
            let is_one = value.mean.is_finite() && value.deviation > 0.0 && value.deviation.is_finite();
            (has_part(row) && is_one).then_some(value)
        });
        Contest::between_normals(&values.collect::<Vec<_>>(), contenders)
    }

    /// Whether a candidate may be drawn for one of so many places.
    fn takes_part(&self, row: usize, places: usize) -> bool {
        self.eligible[row] && !self.has_pin(row as u32, places)
    }
}

/// The order that needs no module: a list first, then what is left by id; or by a feature.
fn static_order(placement: &Placement, fallback: &FallbackPlan, facts: Facts<'_>) -> Vec<u32> {
    let mut order: Vec<u32> = (0..facts.ids.len() as u32).collect();
    match fallback {
        FallbackPlan::List(ids) => {
            let mut listed: Vec<u32> = (0..ids.len() as u32).collect();
            let id = |place: u32| &*ids[place as usize];
            order::sort(&mut listed, |a, b| id(*a).cmp(id(*b)).then(a.cmp(b)));
            // The last place of one that stands twice; behind all for one that is not listed.
            let places = facts.ids.iter().map(|of| {
                let behind = listed.partition_point(|place| *id(*place) <= **of);
                let place = listed.get(behind.wrapping_sub(1)).filter(|place| *id(**place) == **of);
                place.copied().unwrap_or(u32::MAX)
            });
            let places: Vec<u32> = places.collect();
            let place = |row: u32| places[row as usize];
            order::sort(&mut order, |a, b| place(*a).cmp(&place(*b)).then_with(|| choose::by_id(facts.ids, *a, *b)));
        }
        FallbackPlan::Column(column) => {
            let value = |row: u32| facts.rows[row as usize * placement.candidate_width + column];
            order::sort(&mut order, |a, b| {
                choose::missing_last(value(*a), value(*b)).then_with(|| choose::by_id(facts.ids, *a, *b))
            });
        }
    }
    order
}
