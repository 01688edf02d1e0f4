//! A record that a page sent, before a node takes it: whether it is one that this placement can have made. Owns what is checked; that
//! a page decided honestly nobody can check, and the id says that it was a page.

use alloc::collections::BTreeSet;
use alloc::string::String;

use super::PageRelease;
use crate::plan::Placement;
use crate::record::{CORE_VERSION, ChoiceRecord, Inputs, Lot, Record, Rung};

/// The longest id, in bytes.
const MAX_ID: usize = 512;
/// The most choices.
const MAX_SLOTS: u32 = 1_000;

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
    /// Checks a record that a page says it made by this release.
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
        let Some(placement) = self.placements.get(&*record.placement) else {
            // Of a key that names none only the beginning is told.
            return Err(BadRecord::Placement(record.placement.chars().take(100).collect()));
        };
        let wrong = PARTS.iter().find(|(_, fits)| !fits(record, placement));
        wrong.map_or(Ok(()), |(what, _)| Err(BadRecord::Shape(what)))
    }
}

/// A part of a record by its name, and whether it fits.
type Part = (&'static str, fn(&Record, &Placement) -> bool);

const PARTS: [Part; 12] = [
    ("seed", |record, placement| record.seed == record.id.seed(&placement.key, "decide")),
    ("subject or session", |record, _| record.subject.iter().chain(&record.session).all(|id| is_id(id))),
    ("lots", |record, placement| {
        record.lots.len() == placement.experiments.len()
            && record.lots.iter().zip(&placement.experiments).all(|(lot, experiment)| match lot {
                Lot::Out | Lot::Holdout => true,
                Lot::Slot(slot) => experiment.table.arm(*slot).is_some(),
                Lot::Arm(arm) => usize::from(*arm) < experiment.arms.len(),
            })
    }),
    ("slots", |record, _| (1..=MAX_SLOTS).contains(&record.slots)),
    ("candidates", |record, placement| {
        record.candidates.len() <= placement.max_candidates && record.candidates.iter().all(|id| is_id(id))
    }),
    ("choices", choices_fit),
    ("values", |record, placement| record.values.len() == placement.values.len()),
    ("arm", |record, placement| match (record.experiment.as_deref(), record.arm.as_deref()) {
        (None, None) => true,
        (Some(of), Some(arm)) => {
            let experiment = placement.experiments.iter().find(|known| *known.key == *of);
            experiment.is_some_and(|known| known.arms.iter().any(|known| *known.name == *arm))
        }
        (Some(_), None) | (None, Some(_)) => false,
    }),
    ("faults", |record, placement| {
        let (experiment, arm) = (record.experiment.as_deref(), record.arm.as_deref());
        record.faults.len() <= 2 * placement.calls.len().max(1)
            && record.faults.iter().all(|fault| {
                !matches!(fault.rung, Rung::Shadow(_)) && placement.call_of(experiment, arm, fault.rung).is_some()
            })
    }),
    ("shadows", |record, placement| {
        let scorers = placement.shadow.as_ref().map_or(0, |shadow| shadow.scorers.len());
        record.shadows.is_empty()
            || record.shadows.len() == scorers
                && record.shadows.iter().all(|shadow| (shadow.candidate as usize) < record.candidates.len())
    }),
    // A model's features are those of placements that no page decides.
    ("model", |record, _| record.model.is_none()),
    ("inputs", |record, placement| {
        record.session_seq == 0 && record.inputs.as_ref().is_none_or(|inputs| inputs_fit(inputs, record, placement))
    }),
];

fn choices_fit(record: &Record, _: &Placement) -> bool {
    let is_one = |choice: &ChoiceRecord| {
        (choice.candidate as usize) < record.candidates.len()
            && choice.slot < record.slots
            && choice.propensity > 0.0
            && choice.propensity <= 1.0
    };
    let different = |of: fn(&ChoiceRecord) -> u32| record.choices.iter().map(of).collect::<BTreeSet<u32>>().len();
    let count = record.choices.len();
    count <= record.slots as usize
        && record.choices.iter().all(is_one)
        && different(|choice| choice.slot) == count
        && different(|choice| choice.candidate) == count
}

fn inputs_fit(inputs: &Inputs, record: &Record, placement: &Placement) -> bool {
    let count = record.candidates.len();
    inputs.rate == placement.record_inputs
        && inputs.shared.len() == placement.shared_width
        && inputs.candidates.len() == placement.candidate_width * count
        && inputs.refused.len() <= placement.views.len()
        && inputs.refused.iter().all(|view| usize::from(*view) < placement.views.len())
        && (inputs.learned.is_empty() || inputs.learned.len() == 2 * count)
        && inputs.learned.iter().all(|count| count.is_finite() && *count >= 0.0)
}

fn is_id(id: &str) -> bool {
    !id.is_empty() && id.len() <= MAX_ID && !id.contains('\0')
}
