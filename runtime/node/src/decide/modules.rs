//! The calls of one decision: who may run how long. A rung may use half of what remains of the deadline, and the end keeps
//! its reserve, so that a ladder of loops still answers in time.

use std::time::{Duration, Instant};

use selvedge_decision::Fault;
use selvedge_decision::record::Rung;
use selvedge_decision::settle::Modules;

use super::Load;
use super::active::Active;
use super::places::Place;

/// Kept back for choosing, concluding and replying.
const RESERVE: Duration = Duration::from_micros(500);
/// With less than this a call is not begun.
const LEAST: Duration = Duration::from_micros(100);

pub(super) struct Calls<'a> {
    active: &'a Active,
    ends: Instant,
    /// Whether this decision must do without scorers.
    sheds: bool,
    load: Option<&'a Load>,
}

// === impl Calls ===

impl<'a> Calls<'a> {
    pub(super) fn new(active: &'a Active, started: Instant, deadline_us: i64) -> Self {
        let ends = started + Duration::from_micros(deadline_us.max(0) as u64).saturating_sub(RESERVE);
        Self { active, ends, sheds: false, load: None }
    }

    /// The same on a node with so much to do, and whether this decision must do without scorers for it.
    pub(super) fn under(self, load: &'a Load, sheds: bool) -> Self {
        Self { sheds, load: Some(load), ..self }
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
        let is_scorer = matches!(rung, Rung::Ladder(_) | Rung::Shadow(_));
        if is_scorer && self.sheds {
            return Err(Fault::Shed);
        }
        let now = Instant::now();
        let share = self.ends.saturating_duration_since(now) / 2;
        let Some(slot) = self.active.module(module) else { return Err(Fault::Refused) };
        if share < LEAST {
            return Err(Fault::Deadline);
        }
        let place = if is_scorer { slot.places.take() } else { Some(Place::unbounded()) };
        let Some(_place) = place else { return Err(Fault::Busy) };
        // The last that is asked: who is let through to try must do so.
        if !slot.lets(now) {
            return Err(Fault::Open);
        }
        // An answer is noted when it was judged.
        let answer = slot.module.evaluate(shared, candidates, count, share).inspect_err(|_| slot.note(now, false));
        if let Some(load) = self.load.filter(|_| is_scorer) {
            load.scored(now.elapsed());
        }
        answer
    }

    fn judge(&mut self, module: usize, usable: bool) {
        if let Some(slot) = self.active.module(module) {
            slot.note(Instant::now(), usable);
        }
    }
}
