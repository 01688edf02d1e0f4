//! Replay: a recorded decision, decided again from its own inputs. Faults are played back, not hoped for.

use alloc::string::String;
use alloc::string::ToString as _;
use alloc::sync::Arc;
use alloc::vec::Vec;

use crate::Fault;
use crate::plan::{Placement, Plan};
use crate::policy::Contests;
use crate::record::{CORE_VERSION, Reason, Record, Rung};
use crate::settle::{Facts, Learned, Modules, Outcome, settle};

/// Why a record cannot be replayed.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum CannotReplay {
    /// Recorded without inputs.
    #[error("recorded without inputs: the placement records them in a share of {0} of its decisions")]
    NoInputs(f64),
    /// Recorded without some inputs, because they are a person's own.
    #[error("recorded without {}: pii = true says that they are never recorded", .0.join(", "))]
    Pii(Vec<String>),
    /// Another version of the decision core.
    #[error("decided by version {0} of the decision core, this is version {CORE_VERSION}")]
    OtherCore(u32),
    /// The release has no such placement.
    #[error("the release has no placement {0:?}")]
    NoPlacement(String),
    /// The rows do not fit the release.
    #[error(
        "the recorded rows do not fit the placement: {} shared and {} candidate values, expected {} and {}",
        found[0], found[1], expected[0], expected[1]
    )]
    OtherShape {
        /// Shared and candidate values that there are.
        found: [usize; 2],
        /// Those that there must be.
        expected: [usize; 2],
    },
}

/// Decides `record` again and returns the record that comes out; the same bytes mean the same decision.
/// `contests` is the caller's to keep: what many records share is computed once.
pub fn replay(
    plan: &Plan,
    record: &Record,
    modules: &mut dyn Modules,
    contests: &mut Contests,
) -> Result<Record, CannotReplay> {
    Ok(record_of(record, again_at(placement(plan, record)?, record, modules, contests, false)?))
}

/// As [`replay`], with how it comes about: the trace is the outcome's, and says which limits changed the answer.
pub fn again(
    plan: &Plan,
    record: &Record,
    modules: &mut dyn Modules,
    contests: &mut Contests,
) -> Result<Outcome, CannotReplay> {
    again_at(placement(plan, record)?, record, modules, contests, true)
}

fn placement<'a>(plan: &'a Plan, record: &Record) -> Result<&'a Placement, CannotReplay> {
    let found = plan.placements.get(&*record.placement);
    found.ok_or_else(|| CannotReplay::NoPlacement(record.placement.to_string()))
}

/// As [`replay`], for who has the placement alone.
pub fn replay_at(
    placement: &Placement,
    record: Record,
    modules: &mut dyn Modules,
    contests: &mut Contests,
) -> Result<Record, CannotReplay> {
    let outcome = again_at(placement, &record, modules, contests, false)?;
    Ok(with(record, outcome))
}

fn again_at(
    placement: &Placement,
    record: &Record,
    modules: &mut dyn Modules,
    contests: &mut Contests,
    explain: bool,
) -> Result<Outcome, CannotReplay> {
    let Some(inputs) = &record.inputs else {
        return Err(CannotReplay::NoInputs(placement.record_inputs));
    };
    if record.core != CORE_VERSION {
        return Err(CannotReplay::OtherCore(record.core));
    }
    // A page decides nothing of that kind.
    if cfg!(feature = "std") && !placement.pii.is_empty() {
        let columns = placement.shared.iter().chain(&placement.candidate).filter(|column| column.pii);
        return Err(CannotReplay::Pii(columns.map(|column| column.name.clone()).collect()));
    }
    let found = [inputs.shared.len(), inputs.candidates.len()];
    let expected = [placement.shared_width, placement.candidate_width * record.candidates.len()];
    if found != expected {
        return Err(CannotReplay::OtherShape { found, expected });
    }
    let facts = Facts {
        ids: &record.candidates,
        shared: &inputs.shared,
        rows: &inputs.candidates,
        refused: &inputs.refused,
        lots: &record.lots,
        slots: record.slots as usize,
        seed: record.id.seed(&placement.key, "decide"),
        explores: inputs.explores,
        shadows: !record.shadows.is_empty(),
        explain,
    };
    let mut recorded = Recorded { modules, record };
    let mut known = Known { learned: &inputs.learned, contests };
    Ok(settle(placement, facts, &mut recorded, &mut known))
}

/// What is recorded of an outcome of `record`'s own inputs.
pub fn record_of(record: &Record, outcome: Outcome) -> Record {
    with(record.clone(), outcome)
}

fn with(record: Record, outcome: Outcome) -> Record {
    Record {
        choices: outcome.choices,
        values: outcome.values,
        reason: outcome.reason.unwrap_or(Reason::Empty),
        experiment: outcome.experiment,
        arm: outcome.arm,
        faults: outcome.faults,
        shadows: outcome.shadows,
        model: outcome.model,
        seed: record.id.seed(&record.placement, "decide"),
        ..record
    }
}

/// What was learned when it was recorded.
struct Known<'a> {
    learned: &'a [f64],
    contests: &'a mut Contests,
}

impl Learned for Known<'_> {
    fn learned(&mut self, _: usize, ids: &[Arc<str>], _: &[i8]) -> Vec<[f64; 2]> {
        let (pairs, _) = self.learned.as_chunks::<2>();
        (0..ids.len()).map(|row| pairs.get(row).copied().unwrap_or_default()).collect()
    }

    fn contests(&mut self) -> &mut Contests {
        self.contests
    }
}

/// Modules that fault where they faulted when it was recorded.
struct Recorded<'a> {
    modules: &'a mut dyn Modules,
    record: &'a Record,
}

impl Modules for Recorded<'_> {
    fn evaluate(
        &mut self,
        rung: Rung,
        module: usize,
        shared: &[f64],
        rows: &[f64],
        count: u32,
    ) -> Result<Vec<f64>, Fault> {
        let fault = match rung {
            Rung::Shadow(at) => self.record.shadows.get(usize::from(at)).and_then(|shadow| shadow.fault),
            _ => self.record.faults.iter().find(|fault| fault.rung == rung).map(|fault| fault.fault),
        };
        match fault {
            Some(fault) => Err(fault),
            None => self.modules.evaluate(rung, module, shared, rows, count),
        }
    }
}
