//! Which rows of rules fired: counted where decisions are made, told to people who look at the rules. Owns the bound of rows that are
//! told apart. Counting costs a decision one atomic for each run of candidates for which the same row fired.

use std::sync::atomic::{AtomicU64, Ordering};

use selvedge_decision::plan::Placement;
use selvedge_decision::record::Rung;
use selvedge_decision::{Decision, Record};

use super::active::Active;

/// Rows that are told apart where a module does not say how many it has, and at most.
const ROWS: usize = 1_024;
const MOST_ROWS: usize = 65_536;

/// How often each row of a module fired.
#[derive(Debug)]
pub struct RowCounts {
    rows: Box<[AtomicU64]>,
    /// Candidates for which rows beyond those fired.
    beyond: AtomicU64,
    /// Candidates that the module answered for.
    asked: AtomicU64,
}

/// How often each row of a module fired, at one time.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Fired {
    /// Candidates that the module answered for.
    pub asked: u64,
    /// By row, up to the last that fired: for how many candidates.
    pub rows: Vec<u64>,
    /// Candidates for which rows fired that are not told apart.
    pub beyond: u64,
}

// === impl RowCounts ===

impl RowCounts {
    /// Of a module with so many rows, where that is known.
    pub fn new(rows: Option<usize>) -> Self {
        let rows = rows.unwrap_or(ROWS).clamp(1, MOST_ROWS);
        Self {
            rows: (0..rows).map(|_| AtomicU64::new(0)).collect(),
            beyond: AtomicU64::new(0),
            asked: AtomicU64::new(0),
        }
    }

    fn add(&self, row: f64, candidates: u64) {
        let place = (row >= 0.0).then(|| self.rows.get(row as usize)).flatten();
        place.unwrap_or(&self.beyond).fetch_add(candidates, Ordering::Relaxed);
    }

    /// What was counted.
    pub fn fired(&self) -> Fired {
        let mut rows: Vec<u64> = self.rows.iter().map(|count| count.load(Ordering::Relaxed)).collect();
        rows.truncate(rows.iter().rposition(|count| *count > 0).map_or(0, |last| last + 1));
        Fired { asked: self.asked.load(Ordering::Relaxed), rows, beyond: self.beyond.load(Ordering::Relaxed) }
    }
}

/// Counts what fired in a decision.
pub(super) fn count(active: &Active, decision: &Decision) {
    let (record, trace) = (&decision.record, &decision.outcome.trace);
    let Some(placement) = active.plan.placements.get(&*record.placement) else { return };
    let Some(way) = placement.ways.get(trace.way).filter(|way| !way.rules.is_empty()) else { return };
    let candidates = record.candidates.len() as u64;
    let answered = way.rules.iter().enumerate().filter(|(at, _)| !faulted(record, *at));
    for slot in answered.filter_map(|(_, call)| module(active, placement, *call)) {
        slot.asked.fetch_add(candidates, Ordering::Relaxed);
    }
    let same = |a: &(usize, u32, f64), b: &(usize, u32, f64)| a.0 == b.0 && a.2 == b.2;
    for run in trace.fired.chunk_by(same) {
        if let Some((call, _, row)) = run.first()
            && let Some(slot) = module(active, placement, *call)
        {
            slot.add(*row, run.len() as u64);
        }
    }
}

fn faulted(record: &Record, at: usize) -> bool {
    record.faults.iter().any(|fault| fault.rung == Rung::Rules(at as u8))
}

fn module<'a>(active: &'a Active, placement: &Placement, call: usize) -> Option<&'a RowCounts> {
    Some(active.rules_at(placement.calls.get(call)?.module)?.1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_told_apart_up_to_a_bound() {
        let counts = RowCounts::new(Some(3));
        for (row, candidates) in [(0.0, 2), (1.0, 1), (0.0, 5), (3.0, 7), (-1.0, 1), (1e18, 1)] {
            counts.add(row, candidates);
        }
        assert_eq!(counts.fired(), Fired { asked: 0, rows: vec![7, 1], beyond: 9 });
        assert_eq!(RowCounts::new(None).fired().rows, Vec::<u64>::new());
    }
}
