//! The balance sheet: what came of what was sent, by fault. Owns its sums and its lines.

use std::collections::BTreeMap;
use std::ops::AddAssign;
use std::time::Duration;

use super::Fault;
use crate::prove::Findings;

/// The sheet.
#[derive(Debug, Default)]
pub(super) struct Sheet(BTreeMap<Fault, Row>);

/// A row of it.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Row {
    pub(super) faults: u64,
    pub(super) decisions: u64,
    /// Events that were answered 202.
    pub(super) accepted: u64,
    /// Of those, events that arrived in the stream.
    pub(super) stored: u64,
    /// Of those, events that were on a disk alone which was damaged.
    pub(super) lost: u64,
    /// Events that were answered 503.
    pub(super) refused: u64,
    /// Events under way to a node that was taken down.
    pub(super) unanswered: u64,
    /// The longest time until all was well.
    pub(super) settled: Duration,
}

// === impl Sheet ===

impl Sheet {
    pub(super) fn add(&mut self, fault: Fault, row: Row) {
        *self.0.entry(fault).or_default() += Row { faults: 1, ..row };
    }

    /// Tells it, and that it balances.
    pub(super) fn close(&self, findings: &mut Findings) {
        findings.note(format!(
            "{:14} {:>6} {:>9} {:>9} {:>9} {:>5} {:>7} {:>10} {:>9}",
            "fault", "times", "decisions", "202", "stored", "lost", "refused", "unanswered", "settled"
        ));
        let mut sum = Row::default();
        for (fault, row) in &self.0 {
            findings.note(row.line(&format!("{fault:?}")));
            sum += *row;
        }
        findings.note(sum.line("all"));
        findings.check(sum.accepted == sum.stored + sum.lost, || format!("the sheet does not balance: {sum:?}"));
    }
}

// === impl Row ===

impl AddAssign for Row {
    fn add_assign(&mut self, row: Self) {
        self.faults += row.faults;
        self.decisions += row.decisions;
        self.accepted += row.accepted;
        self.stored += row.stored;
        self.lost += row.lost;
        self.refused += row.refused;
        self.unanswered += row.unanswered;
        self.settled = self.settled.max(row.settled);
    }
}

impl Row {
    fn line(&self, name: &str) -> String {
        format!(
            "{name:14} {:>6} {:>9} {:>9} {:>9} {:>5} {:>7} {:>10} {:>7.1} s",
            self.faults,
            self.decisions,
            self.accepted,
            self.stored,
            self.lost,
            self.refused,
            self.unanswered,
            self.settled.as_secs_f64()
        )
    }
}
