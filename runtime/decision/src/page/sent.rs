//! A record that a page sent, before a node takes it: whether it is one that this placement can have made. Owns what is checked; that
//! a page decided honestly nobody can check, and the id says that it was a page.

use alloc::collections::BTreeSet;
use alloc::string::String;
use alloc::vec::Vec;

use super::PageRelease;
use crate::decide::first_twice;
use crate::limits::Filled;
use crate::plan::{Candidates, Placement, Way};
use crate::record::{CORE_VERSION, ChoiceRecord, Inputs, Lot, NOT_DRAWN, Reason, Record, Rung};
use crate::settle::{Basis, reason};

/// The longest id, in bytes.
const MAX_ID: usize = 512;
/// The most choices.
const MAX_SLOTS: u32 = 1_000;
/// What rounding may take off a policy's floor.
const ROUNDING: f64 = 1e-9;

/// What is wrong with a record of a page.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadRecord {
    /// It has the id of a node's decision, or one of another moment.
    #[error("its id is not that of a page's decision at its time")]
    Id,
    /// Another decision core.
    #[error("decided by version {0} of the decision core, this is version {CORE_VERSION}")]
    Core(u32),
    /// No placement that pages decide.
    #[error("pages do not decide {0:?} in its release")]
    Placement(String),
    /// Something that no decision of this placement has.
    #[error("{0} does not fit its placement")]
    Shape(&'static str),
}

impl PageRelease {
    /// Checks a record that a page says it made by this release. It is for a node, whose form of the release knows the overrides of
    /// experiments.
    ///
    /// # Errors
    ///
    /// What is wrong with it.
    pub fn check(&self, record: &Record) -> Result<(), BadRecord> {
        if !record.id.is_of_a_page() || record.id.time_us() != record.time_us.div_euclid(1_000) * 1_000 {
            return Err(BadRecord::Id);
        }
        if record.core != CORE_VERSION {
            return Err(BadRecord::Core(record.core));
        }
        let placement = self.placements.get(&*record.placement);
        let way = placement.and_then(|placement| placement.way(record.experiment.as_deref(), record.arm.as_deref()));
        let (Some(placement), Some(way)) = (placement, way) else {
            // Of a key that names none only the beginning is told.
            return Err(BadRecord::Placement(record.placement.chars().take(100).collect()));
        };
        let sent = Sent { record, placement, way };
        let wrong = PARTS.iter().find(|(_, fits)| !fits(sent));
        wrong.map_or(Ok(()), |(what, _)| Err(BadRecord::Shape(what)))
    }
}

/// A record, and what it says that it was decided by.
#[derive(Clone, Copy)]
struct Sent<'a> {
    record: &'a Record,
    placement: &'a Placement,
    /// The way of its arm, or the placement's own.
    way: &'a Way,
}

/// A part of a record by its name, and whether it fits. Each part may take those before it to fit.
type Part = (&'static str, fn(Sent<'_>) -> bool);

const PARTS: [Part; 15] = [
    ("seed", |Sent { record, placement, .. }| record.seed == record.id.seed(&placement.key, "decide")),
    ("subject or session", |Sent { record, placement, .. }| {
        let (subject, session) = (record.subject.as_deref(), record.session.as_deref());
        subject.into_iter().chain(session).all(is_id) && placement.check_units(subject, session).is_ok()
    }),
    ("lots", |Sent { record, placement, .. }| {
        record.lots == placement.lots(record.subject.as_deref(), record.session.as_deref(), record.time_us)
    }),
    ("slots", |Sent { record, .. }| (1..=MAX_SLOTS).contains(&record.slots)),
    ("candidates", |sent| sent.candidates_fit()),
    ("arm", |sent| sent.arm_fits()),
    ("faults", |sent| sent.faults_fit()),
    ("choices", |sent| sent.choices_fit()),
    ("propensity", |sent| sent.record.choices.iter().all(|choice| sent.propensity_fits(choice))),
    ("reason", |sent| sent.reason_fits()),
    ("values", |Sent { record, placement, .. }| record.values.len() == placement.values.len()),
    ("scores", |sent| {
        let is_scored = !matches!(sent.basis(), Basis::Static | Basis::Fallback);
        sent.record.choices.iter().all(|choice| choice.score.is_nan() != is_scored)
    }),
    ("shadows", |Sent { record, placement, .. }| {
        let scorers = placement.shadow.as_ref().map_or(0, |shadow| shadow.scorers.len());
        record.shadows.is_empty()
            || record.shadows.len() == scorers
                && record.shadows.iter().all(|shadow| (shadow.candidate as usize) < record.candidates.len())
    }),
    // A model's features are those of placements that no page decides.
    ("model", |Sent { record, .. }| record.model.is_none()),
    ("inputs", |sent| {
        sent.record.session_seq == 0 && sent.record.inputs.as_ref().is_none_or(|inputs| sent.inputs_fit(inputs))
    }),
];

// === impl Sent ===

impl Sent<'_> {
    fn candidates_fit(self) -> bool {
        let Self { record, placement, .. } = self;
        let ids: Vec<&str> = record.candidates.iter().map(|id| &**id).collect();
        let is_known = match placement.candidates {
            Candidates::Actions => {
                let actions: BTreeSet<&str> = placement.actions.iter().map(|action| &*action.id).collect();
                ids.iter().all(|id| actions.contains(id))
            }
            Candidates::Request | Candidates::View(_) => ids.iter().all(|id| is_id(id)),
        };
        is_known && ids.len() <= placement.max_candidates && first_twice(&ids).is_none()
    }

    /// Whether its arm is that of the first experiment that has the unit. What a rule said of the request only the page knows: one that
    /// asks a rule may have let it in or not.
    fn arm_fits(self) -> bool {
        let Self { record, placement, .. } = self;
        let found = (record.experiment.as_deref(), record.arm.as_deref());
        let nobody = found == (None, None);
        if record.candidates.is_empty() {
            return nobody;
        }
        for (experiment, lot) in placement.experiments.iter().zip(&record.lots) {
            let Some(arm) = experiment.arm(*lot).and_then(|arm| experiment.arms.get(arm)) else { continue };
            let is_it = found == (Some(&*experiment.key), Some(&*arm.name));
            let asks = experiment.when.is_some() && matches!(lot, Lot::Slot(_));
            if is_it || !asks {
                return is_it;
            }
        }
        nobody
    }

    /// Each call is one of this way and faults once, and the ladder is asked from its top, and not at all when rules faulted.
    fn faults_fit(self) -> bool {
        let Self { record, placement, .. } = self;
        let (experiment, arm) = (record.experiment.as_deref(), record.arm.as_deref());
        let rungs: BTreeSet<Rung> = record.faults.iter().map(|fault| fault.rung).collect();
        let is_call =
            |rung: &Rung| !matches!(rung, Rung::Shadow(_)) && placement.call_of(experiment, arm, *rung).is_some();
        let ladder = rungs.iter().filter(|rung| matches!(rung, Rung::Ladder(_)));
        let (asked, rules) = (ladder.clone().count(), rungs.iter().any(|rung| matches!(rung, Rung::Rules(_))));
        rungs.len() == record.faults.len()
            && rungs.iter().all(is_call)
            && ladder.zip(0..).all(|(rung, at)| *rung == Rung::Ladder(at))
            && !(rules && asked > 0)
            && (!record.candidates.is_empty() || rungs.is_empty())
    }

    /// Places in their order, and for each another candidate, of another draw.
    fn choices_fit(self) -> bool {
        let Self { record, way, .. } = self;
        let count = record.candidates.len();
        let (mut rows, mut draws) = (BTreeSet::new(), BTreeSet::new());
        record.choices.len() <= record.slots as usize
            && record.choices.iter().zip(0..).all(|(choice, slot)| {
                let is_drawn = (choice.draw as usize) < count && draws.insert(choice.draw);
                choice.slot == slot
                    && (choice.candidate as usize) < count
                    && rows.insert(choice.candidate)
                    && (is_drawn || choice.draw == NOT_DRAWN && !way.rules.is_empty())
            })
    }

    /// One for what was not left to chance; otherwise at least what the policy's floor is for so many as are left at most.
    fn propensity_fits(self, choice: &ChoiceRecord) -> bool {
        let propensity = choice.propensity;
        if choice.draw == NOT_DRAWN || !self.may_explore() {
            return propensity == 1.0;
        }
        let left = self.record.candidates.len().saturating_sub(choice.draw as usize);
        let least = self.way.policy.floor.min(1.0 / left as f64) - ROUNDING;
        propensity > 0.0 && propensity >= least && propensity <= 1.0
    }

    fn reason_fits(self) -> bool {
        let choices = &self.record.choices;
        let is_drawn = choices.iter().any(|choice| choice.draw != NOT_DRAWN);
        let filled = Filled {
            choices: choices.clone(),
            // Whether what was drawn was the best is for nobody to see who has no scores of the others.
            explored: self.record.reason == Reason::Explored && is_drawn && self.may_explore(),
            is_pinned: !is_drawn,
        };
        self.record.reason == reason(&filled, &self.basis(), self.record.experiment.is_some())
    }

    fn inputs_fit(self, inputs: &Inputs) -> bool {
        let Self { record, placement, .. } = self;
        let count = record.candidates.len();
        inputs.rate == placement.record_inputs
            && record.id.is_among(inputs.rate)
            && inputs.shared.len() == placement.shared_width
            && inputs.candidates.len() == placement.candidate_width * count
            && inputs.refused.len() <= placement.views.len()
            && inputs.refused.iter().all(|view| usize::from(*view) < placement.views.len())
            && (inputs.learned.is_empty() || inputs.learned.len() == 2 * count)
            && inputs.learned.iter().all(|count| count.is_finite() && *count >= 0.0)
    }

    /// What its order followed from, by what faulted.
    fn basis(self) -> Basis {
        let Self { record, way, .. } = self;
        let is_ladder = |rung: Rung| matches!(rung, Rung::Ladder(_));
        let rules_fault = record.faults.iter().any(|fault| matches!(fault.rung, Rung::Rules(_)));
        let ladder_faults = record.faults.iter().filter(|fault| is_ladder(fault.rung)).count();
        if rules_fault || !way.ladder.is_empty() && ladder_faults == way.ladder.len() {
            Basis::Fallback
        } else if way.policy.bandit.is_some() {
            Basis::Learned
        } else if !way.ladder.is_empty() {
            Basis::Scored(ladder_faults, Vec::new())
        } else if way.rules.is_empty() {
            Basis::Static
        } else {
            Basis::Ruled
        }
    }

    /// Whether another than the best could be chosen, as long as exploring is not switched off.
    fn may_explore(self) -> bool {
        self.way.policy.explores() && !matches!(self.basis(), Basis::Fallback)
    }
}

fn is_id(id: &str) -> bool {
    !id.is_empty() && id.len() <= MAX_ID && !id.contains('\0')
}

#[cfg(test)]
mod tests;
