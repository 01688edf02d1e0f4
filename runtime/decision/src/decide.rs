//! One decision: the straight way from a request to an answer and its record.

use alloc::borrow::ToOwned as _;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;

use crate::definition::Unit;
use crate::gather::{Asked, Features, Request, Rows, gather};
use crate::manifest::Scope;
use crate::order;
use crate::plan::{Candidates, Experiment, Placement};
use crate::record::{CORE_VERSION, Inputs, Lot, Reason, Record};
use crate::settle::{Facts, Learned, Modules, Outcome, settle};
use crate::{DecisionId, Digest, TimeUs, assign};

/// What the caller knows and the core must not find out by itself.
#[derive(Debug, Clone, Copy)]
pub struct Moment {
    /// The id minted for this decision.
    pub id: DecisionId,
    /// The decision's time.
    pub time_us: TimeUs,
    /// The digest of the release that the placement is of.
    pub release: Digest,
    /// Whether an explanation is wanted.
    pub explain: bool,
    /// Whether another than the best may be chosen: false when exploring was switched off.
    pub explores: bool,
}

/// What a decision asks.
pub struct World<'a, F> {
    /// Features.
    pub features: &'a F,
    /// Modules.
    pub modules: &'a mut dyn Modules,
    /// What was learned.
    pub learned: &'a mut dyn Learned,
}

/// A decision: its record, and how it came about.
#[derive(Debug, Clone)]
pub struct Decision {
    /// What is recorded; the answer is read from it.
    pub record: Record,
    /// The outcome's trace, for the explanation.
    pub outcome: Outcome,
    /// Who would have been a candidate but for a place elsewhere on the page, for the explanation: no record has it.
    pub taken: Vec<Arc<str>>,
}

/// Why a request cannot be decided. Each has a stable code.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadRequest {
    /// The placement ranks items that the request must name.
    #[error("this placement ranks the items that the request names: add `candidates`")]
    NoCandidates,
    /// More candidates than the modules were sized for.
    #[error("{found} candidates, at most {limit}")]
    TooManyCandidates {
        /// How many there are.
        found: usize,
        /// How many there may be.
        limit: usize,
    },
    /// A candidate that is no action of the placement.
    #[error("there is no action {id:?} in this placement")]
    UnknownAction {
        /// The id.
        id: String,
        /// Its index among the request's candidates.
        index: usize,
    },
    /// A candidate that stands twice.
    #[error("the candidate {id:?} stands twice")]
    Twice {
        /// The id.
        id: String,
        /// The index of the second.
        index: usize,
    },
    /// The view reads a subject or session that the request does not name.
    #[error("this placement needs `{0}`")]
    NoUnit(&'static str),
}

/// Decides. `rows` is the caller's to keep: it is filled anew, and holds what an explanation needs.
pub fn decide(
    placement: &Placement,
    request: &Request<'_>,
    moment: Moment,
    world: World<'_, impl Features>,
    rows: &mut Rows,
) -> Result<Decision, BadRequest> {
    let World { features, modules, learned } = world;
    placement.check_units(request.subject, request.session)?;
    let mut ids = candidates(placement, request, features)?;
    let mut taken = Vec::new();
    if !request.taken.is_empty() {
        let mut elsewhere: Vec<&Arc<str>> = request.taken.iter().collect();
        order::sort(&mut elsewhere, Ord::cmp);
        taken = ids.extract_if(.., |id| elsewhere.binary_search(&&*id).is_ok()).collect();
    }
    let lots = placement.lots(request.subject, request.session, moment.time_us);
    let shadows = placement.shadow.as_ref().is_some_and(|shadow| moment.id.is_among(shadow.share));
    let asked = Asked { request, ids: &ids, time_us: moment.time_us, explain: moment.explain };
    gather(placement, asked, features, rows);
    let slots = request.slots.unwrap_or(placement.slots);
    let seed = moment.id.seed(&placement.key, "decide");
    let facts = Facts {
        ids: &ids,
        shared: &rows.shared,
        rows: &rows.candidates,
        refused: &rows.refused,
        lots: &lots,
        slots,
        seed,
        explores: moment.explores,
        shadows,
        explain: moment.explain,
    };
    let mut outcome = settle(placement, facts, modules, learned);
    let record = Record {
        id: moment.id,
        time_us: moment.time_us,
        seed,
        release: moment.release,
        core: CORE_VERSION,
        placement: placement.key.clone(),
        subject: request.subject.map(str::to_owned),
        session: request.session.map(str::to_owned),
        lots,
        slots: slots as u32,
        candidates: ids,
        choices: core::mem::take(&mut outcome.choices),
        values: core::mem::take(&mut outcome.values),
        reason: outcome.reason.unwrap_or(Reason::Empty),
        experiment: outcome.experiment.clone(),
        arm: outcome.arm.clone(),
        faults: core::mem::take(&mut outcome.faults),
        max_lag_ms: (rows.max_lag_us / 1_000).clamp(0, i64::from(u32::MAX)) as u32,
        session_seq: features.session_seq(),
        shadows: core::mem::take(&mut outcome.shadows),
        model: outcome.model.take(),
        inputs: recorded(placement, moment, rows, &mut outcome),
    };
    Ok(Decision { record, outcome, taken })
}

fn candidates(
    placement: &Placement,
    request: &Request<'_>,
    features: &impl Features,
) -> Result<Vec<Arc<str>>, BadRequest> {
    let named = request.candidates.as_deref();
    if let Some(named) = named {
        let limit = placement.max_candidates;
        if named.len() > limit {
            return Err(BadRequest::TooManyCandidates { found: named.len(), limit });
        }
        if let Some((index, id)) = first_twice(named) {
            return Err(BadRequest::Twice { id: id.to_owned(), index });
        }
    }
    match (placement.candidates, named) {
        (Candidates::Actions, None) => Ok(placement.actions.iter().map(|action| action.id.clone()).collect()),
        (Candidates::Actions, Some(named)) => {
            let known = |(index, id): (usize, &&str)| match placement.action(id) {
                Some(action) => Ok(action.id.clone()),
                None => Err(BadRequest::UnknownAction { id: (*id).to_owned(), index }),
            };
            named.iter().enumerate().map(known).collect()
        }
        (Candidates::Request, None) => Err(BadRequest::NoCandidates),
        (Candidates::Request | Candidates::View(_), Some(named)) => Ok(named.iter().map(|id| Arc::from(*id)).collect()),
        (Candidates::View(view), None) => {
            let limit = placement.max_candidates;
            let mut all =
                features.entities(view, limit).map_err(|found| BadRequest::TooManyCandidates { found, limit })?;
            order::sort(&mut all, Ord::cmp);
            Ok(all)
        }
    }
}

/// The second of the first two that are equal.
pub(crate) fn first_twice<'a>(ids: &[&'a str]) -> Option<(usize, &'a str)> {
    // By a hash first: comparing 200 ids costs as much as gathering their features. Ids with one hash are few, or somebody
    // means harm; they are sorted, so even that costs no more than sorting all.
    let keyed = |(at, id): (usize, &&str)| u64::from(assign::murmur3_x86_32(id.as_bytes())) << 32 | at as u64;
    let mut order: Vec<u64> = ids.iter().enumerate().map(keyed).collect();
    order::sort(&mut order, Ord::cmp);
    let mut twice: Option<usize> = None;
    for alike in order.chunk_by(|a, b| a >> 32 == b >> 32).filter(|alike| alike.len() > 1) {
        let mut alike: Vec<usize> = alike.iter().map(|key| *key as u32 as usize).collect();
        order::sort(&mut alike, |a, b| ids[*a].cmp(ids[*b]).then(a.cmp(b)));
        let again = alike.windows(2).filter(|pair| ids[pair[0]] == ids[pair[1]]).map(|pair| pair[1]);
        twice = again.chain(twice).min();
    }
    twice.map(|at| (at, ids[at]))
}

/// The inputs, in the placement's share of decisions: chosen by a hash of the id, so that every reader can tell which. What
/// is a person's own is left out.
fn recorded(placement: &Placement, moment: Moment, rows: &Rows, outcome: &mut Outcome) -> Option<Inputs> {
    if !moment.id.is_among(placement.record_inputs) {
        return None;
    }
    let mut inputs = Inputs {
        rate: placement.record_inputs,
        shared: rows.shared.clone(),
        candidates: rows.candidates.clone(),
        refused: rows.refused.clone(),
        explores: moment.explores,
        learned: core::mem::take(&mut outcome.learned),
    };
    for (scope, at, n) in &placement.pii {
        match scope {
            Scope::Shared => inputs.shared[*at..at + n].fill(f64::NAN),
            Scope::Candidate => {
                let rows = inputs.candidates.chunks_exact_mut(placement.candidate_width.max(1));
                rows.for_each(|row| row[*at..at + n].fill(f64::NAN));
            }
        }
    }
    Some(inputs)
}

impl Placement {
    /// Whether those are named whom its views and experiments are about.
    pub(crate) fn check_units(&self, subject: Option<&str>, session: Option<&str>) -> Result<(), BadRequest> {
        for used in &self.views {
            if used.entity.needs_subject() && subject.is_none() {
                return Err(BadRequest::NoUnit("subject"));
            }
            if used.entity.needs_session() && session.is_none() {
                return Err(BadRequest::NoUnit("session"));
            }
        }
        let needs = |unit: Unit| self.experiments.iter().any(|experiment| experiment.unit == unit);
        if needs(Unit::Subject) && subject.is_none() {
            return Err(BadRequest::NoUnit("subject"));
        }
        if needs(Unit::Session) && session.is_none() {
            return Err(BadRequest::NoUnit("session"));
        }
        Ok(())
    }

    /// What each experiment draws; the units it needs are there.
    pub(crate) fn lots(&self, subject: Option<&str>, session: Option<&str>, time_us: TimeUs) -> Vec<Lot> {
        let lot = |experiment: &Experiment| {
            let unit = match experiment.unit {
                Unit::Subject => subject,
                Unit::Session => session,
            };
            unit.map_or(Lot::Out, |unit| experiment.lot(unit, time_us))
        };
        self.experiments.iter().map(lot).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_second_of_the_first_two_that_are_equal_is_named() {
        let check = |ids: &[&str], expected: Option<usize>| assert_eq!(first_twice(ids).map(|(at, _)| at), expected);
        check(&[], None);
        check(&["a", "b", "c"], None);
        check(&["a", "b", "c", "b", "a"], Some(3));
        check(&["a", "a", "a"], Some(1));
        // Two ids with one hash are not one id.
        let alike = ["sku-60983", "sku-130691"];
        assert_eq!(assign::murmur3_x86_32(alike[0].as_bytes()), assign::murmur3_x86_32(alike[1].as_bytes()));
        check(&alike, None);
        check(&[alike[0], alike[1], alike[0]], Some(2));
    }
}
