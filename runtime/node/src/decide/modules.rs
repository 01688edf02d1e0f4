//! The calls of one decision: who may run how long. A rung may use half of what remains of the deadline, and the end keeps
//! its reserve, so that a ladder of loops still answers in time.

use std::time::{Duration, Instant};

use selvedge_decision::Fault;
use selvedge_decision::record::Rung;
use selvedge_decision::settle::Modules;

use super::active::Active;

/// Kept back for choosing, concluding and replying.
const RESERVE: Duration = Duration::from_micros(500);
/// With less than this a call is not begun.
const LEAST: Duration = Duration::from_micros(100);

pub(super) struct Calls<'a> {
    active: &'a Active,
    ends: Instant,
    /// Whether the node has more to do than it can in time.
    sheds: bool,
}

// === impl Calls ===

impl<'a> Calls<'a> {
    pub(super) fn new(active: &'a Active, started: Instant, deadline_us: i64, sheds: bool) -> Self {
        let ends = started + Duration::from_micros(deadline_us.max(0) as u64).saturating_sub(RESERVE);
        Self { active, ends, sheds }
    }
}

impl Modules for Calls<'_> {
    fn evaluate(
        &mut self,
        rung: Rung,
        module: usize,
        shared: &[f64],
        candidates: &[f64],
        count: u32,
    ) -> Result<Vec<f64>, Fault> {
        // Rules are asked all the same: what must not be shown is not shown.
        if self.sheds && matches!(rung, Rung::Ladder(_) | Rung::Shadow(_)) {
            return Err(Fault::Shed);
        }
        let now = Instant::now();
        let share = self.ends.saturating_duration_since(now) / 2;
        let Some(slot) = self.active.module(module) else { return Err(Fault::Refused) };
        if share < LEAST {
            return Err(Fault::Deadline);
        }
        let Some(_place) = slot.enter() else { return Err(Fault::Busy) };
        // The last that is asked: who is let through to try must do so.
        if !slot.lets(now) {
            return Err(Fault::Open);
        }
        // An answer is noted when it was judged.
        slot.module.evaluate(shared, candidates, count, share).inspect_err(|_| slot.note(now, false))
    }

    fn judge(&mut self, module: usize, usable: bool) {
        if let Some(slot) = self.active.module(module) {
            slot.note(Instant::now(), usable);
        }
    }
}
