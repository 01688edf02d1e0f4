//! A recorded decision, decided again to tell how it came about. Owns which modules it is decided with, and how long they may take.

use std::time::Duration;

use selvedge_decision::gather::Rows;
use selvedge_decision::policy::Contests;
use selvedge_decision::record::Rung;
use selvedge_decision::replay::{self, CannotReplay};
use selvedge_decision::settle::Modules;
use selvedge_decision::{Decision, Fault, Record};

use super::{Active, Explanation};

/// How long one call may take: faults come from the record, so this only ends what would not end.
const CALL_BUDGET: Duration = Duration::from_millis(500);

/// A recorded decision, decided again.
pub struct Again {
    /// Whether the same bytes came out.
    pub same: bool,
    /// How it came about. Of features it has the values; how old they were and why they are missing is not recorded, nor what stood
    /// elsewhere on the page.
    pub explanation: Explanation,
}

/// Decides `record` again with its release. May take as long as its modules do.
pub fn again(active: &Active, record: &Record) -> Result<Again, CannotReplay> {
    let outcome = replay::again(&active.plan, record, &mut Calls(active), &mut Contests::default())?;
    // Both are there: without them there is no outcome.
    let (Some(placement), Some(inputs)) = (active.plan.placements.get(&*record.placement), &record.inputs) else {
        return Err(CannotReplay::NoPlacement(record.placement.to_string()));
    };
    let mut rows = Rows::default();
    rows.shared.clone_from(&inputs.shared);
    rows.candidates.clone_from(&inputs.candidates);
    rows.refused.clone_from(&inputs.refused);
    let record_again = replay::record_of(record, outcome.clone());
    let same = record_again.to_bytes() == record.to_bytes();
    let decision = Decision { record: record_again, outcome, taken: Vec::new() };
    Ok(Again { same, explanation: Explanation::new(&active.plan, placement, &decision, &rows) })
}

struct Calls<'a>(&'a Active);

impl Modules for Calls<'_> {
    fn evaluate(
        &mut self,
        _: Rung,
        module: usize,
        shared: &[f64],
        candidates: &[f64],
        count: u32,
    ) -> Result<Vec<f64>, Fault> {
        let Some(module) = self.0.module_at(module) else { return Err(Fault::Refused) };
        module.evaluate(shared, candidates, count, CALL_BUDGET)
    }
}
