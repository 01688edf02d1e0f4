//! From rows to an answer: rules, ladder, choice, reason. Pure and total: whatever modules do, an outcome comes out. A replay
//! runs this very code on recorded rows.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::Fault;
use crate::choose::{self, Slate};
use crate::manifest::{Output, Role, Scope};
use crate::plan::{Call, FallbackPlan, Placement};
use crate::record::{ChoiceRecord, Reason, Rung, RungFault};

/// What a decision asks of modules: the node's host, a browser's engine, a replay's list of faults.
pub trait Modules {
    /// Runs module `module` of the plan on a shared row and `count` candidates' rows; answers `count` rows of its outputs.
    /// How long it may take is the callee's to know: half of what remains of the deadline for a rung of the ladder.
    fn evaluate(
        &mut self,
        rung: Rung,
        module: usize,
        shared: &[f64],
        candidates: &[f64],
        count: u32,
    ) -> Result<Vec<f64>, Fault>;

    /// Tells whether what module `module` last answered could be used.
    fn judge(&mut self, module: usize, usable: bool) {
        let _ = (module, usable);
    }
}

/// Everything an outcome follows from, besides the modules.
#[derive(Debug, Clone, Copy)]
pub struct Facts<'a> {
    /// The candidates' ids.
    pub ids: &'a [Arc<str>],
    /// The placement's shared row.
    pub shared: &'a [f64],
    /// The candidates' rows, row-major.
    pub rows: &'a [f64],
    /// The late views that say `refuse`, as indices into the placement's views.
    pub refused: &'a [u16],
    /// The slot of the experiment that the unit fell into.
    pub bucket: Option<u16>,
    /// How many choices are wanted.
    pub slots: usize,
}

/// The answer.
#[derive(Debug, Clone, Default)]
pub struct Outcome {
    /// What was chosen, by slot.
    pub choices: Vec<ChoiceRecord>,
    /// The placement's values; NaN is no value.
    pub values: Vec<f64>,
    /// Why this answer.
    pub reason: Option<Reason>,
    /// The experiment's arm.
    pub arm: Option<Arc<str>>,
    /// The calls that did not answer.
    pub faults: Vec<RungFault>,
    /// How it came about, for the explanation.
    pub trace: Trace,
}

/// How an outcome came about.
#[derive(Debug, Clone, Default)]
pub struct Trace {
    /// By candidate: its final score, NaN when nothing scored it.
    pub scores: Vec<f64>,
    /// By candidate: the product of the rules' boosts.
    pub boosts: Vec<f64>,
    /// By candidate: whether the rules let it through.
    pub eligible: Vec<bool>,
    /// The rule rows that fired: index of the call, candidate, row.
    pub fired: Vec<(usize, u32, f64)>,
    /// The index of the ladder used and of the rung that answered.
    pub rung: Option<(usize, usize)>,
}

/// What stands in a column that tells of old values, when one refuses.
const REFUSED: f64 = 1.0;

/// Settles a decision.
pub fn settle(placement: &Placement, facts: Facts<'_>, modules: &mut impl Modules) -> Outcome {
    let count = facts.ids.len();
    let mut outcome = Outcome { values: vec![f64::NAN; placement.values.len()], ..Outcome::default() };
    let arm = placement.experiment.as_ref().zip(facts.bucket).and_then(|(experiment, bucket)| experiment.arm(bucket));
    outcome.arm = arm.map(|arm| arm.name.clone());
    if count == 0 {
        outcome.reason = Some(Reason::Empty);
        return outcome;
    }
    let mut slate = Slate::new(count);
    if facts
        .refused
        .iter()
        .any(|at| placement.views.get(usize::from(*at)).is_some_and(|used| used.entity.is_candidate()))
    {
        slate.eligible.fill(false);
    }
    for column in &placement.ineligible {
        let rows = facts.rows.chunks_exact(placement.candidate_width.max(1));
        slate.eligible.iter_mut().zip(rows).for_each(|(eligible, row)| *eligible &= row[*column] != REFUSED);
    }
    let mut caller = Caller { placement, facts, modules, faults: Vec::new(), shared: Vec::new(), rows: Vec::new() };
    let answers = caller.rules(&mut slate, &mut outcome.trace);
    let rules_work = caller.faults.is_empty();
    let ladder_at = arm.map_or(0, |arm| arm.ladder);
    let ladder = &placement.ladders[ladder_at];
    let scored = if rules_work { caller.ladder(ladder_at) } else { None };
    outcome.faults = std::mem::take(&mut caller.faults);

    if let Some((rung, answer)) = &scored {
        let scorer = ladder[*rung];
        let width = placement.calls[scorer.call].width();
        for (row, score) in slate.scores.iter_mut().enumerate() {
            *score = answer[row * width + scorer.output] * slate.boosts[row];
        }
    }
    let ruled = ladder.is_empty() && rules_work && !placement.rules.is_empty();
    if ruled {
        slate.scores.copy_from_slice(&slate.boosts);
    }
    let fallback = scored.is_none() && !ruled;
    let order = if fallback { static_order(placement, facts) } else { slate.by_score(facts.ids) };
    outcome.choices = choose::fill(&slate, &order, facts.slots);
    // Where nobody is to be asked, the static order is what was asked for.
    let fell_back = fallback && !placement.calls.is_empty();
    outcome.reason = Some(reason(&outcome.choices, &slate, fell_back, ladder.is_empty(), outcome.arm.is_some()));
    if let Some(first) = outcome.choices.first() {
        let row = first.candidate as usize;
        let scorers = scored.iter().map(|(rung, answer)| (ladder[*rung].call, answer));
        for (call, answer) in answers.iter().map(|(call, answer)| (*call, answer)).chain(scorers) {
            let call = &placement.calls[call];
            for (column, value) in &call.values {
                let output = answer[row * call.width() + column];
                // WebAssembly does not promise which NaN; a record does.
                outcome.values[*value] = if output.is_nan() { f64::NAN } else { output };
            }
        }
    }
    outcome.trace.rung = scored.map(|(rung, _)| (ladder_at, rung));
    outcome.trace.scores = slate.scores;
    outcome.trace.boosts = slate.boosts;
    outcome.trace.eligible = slate.eligible;
    outcome
}

fn reason(choices: &[ChoiceRecord], slate: &Slate, fallback: bool, no_ladder: bool, assigned: bool) -> Reason {
    let pinned = |choice: &ChoiceRecord| slate.pinned(choice.slot) == Some(choice.candidate);
    if choices.is_empty() {
        Reason::Empty
    } else if fallback {
        Reason::Fallback
    } else if no_ladder || choices.iter().all(pinned) {
        Reason::Ruled
    } else if assigned {
        Reason::Assigned
    } else {
        Reason::Scored
    }
}

/// The placement's order that needs no module: its list first, then what is left by id; or by a feature.
fn static_order(placement: &Placement, facts: Facts<'_>) -> Vec<u32> {
    let mut order: Vec<u32> = (0..facts.ids.len() as u32).collect();
    match &placement.fallback {
        FallbackPlan::List(ids) => {
            let places: BTreeMap<&str, usize> = ids.iter().enumerate().map(|(place, id)| (&**id, place)).collect();
            order.sort_by_cached_key(|row| {
                let id = &facts.ids[*row as usize];
                (places.get(&**id).copied().unwrap_or(usize::MAX), id)
            });
        }
        FallbackPlan::Column(column) => {
            let value = |row: u32| facts.rows[row as usize * placement.candidate_width + column];
            order.sort_by(|a, b| {
                choose::missing_last(value(*a), value(*b)).then_with(|| choose::by_id(facts.ids, *a, *b))
            });
        }
    }
    order
}

/// Calls modules and keeps their faults.
struct Caller<'a, M> {
    placement: &'a Placement,
    facts: Facts<'a>,
    modules: &'a mut M,
    faults: Vec<RungFault>,
    shared: Vec<f64>,
    rows: Vec<f64>,
}

impl<M: Modules> Caller<'_, M> {
    /// Runs all rules: eligible is AND, boosts multiply, the first pin of a slot wins.
    fn rules(&mut self, slate: &mut Slate, trace: &mut Trace) -> Vec<(usize, Vec<f64>)> {
        let mut answers = Vec::new();
        let placement = self.placement;
        for (at, &call_at) in placement.rules.iter().enumerate() {
            let call = &placement.calls[call_at];
            let Some(answer) = self.call(Rung::Rules(at as u8), call, None) else { continue };
            for (column, output) in call.outputs.iter().enumerate() {
                let values = answer.chunks_exact(call.width()).map(|row| row[column]);
                match output.role() {
                    Role::Eligible => {
                        slate.eligible.iter_mut().zip(values).for_each(|(eligible, value)| *eligible &= value != 0.0);
                    }
                    // Bounded, so that no product with a score is NaN.
                    Role::Boost => {
                        slate
                            .boosts
                            .iter_mut()
                            .zip(values)
                            .for_each(|(boost, value)| *boost = (*boost * value).min(f64::MAX));
                    }
                    Role::Pin => values.enumerate().for_each(|(row, slot)| slate.pin(row as u32, slot)),
                    Role::Row => {
                        let fired = values.enumerate().filter(|(_, row)| !row.is_nan());
                        trace.fired.extend(fired.map(|(candidate, row)| (call_at, candidate as u32, row)));
                    }
                    Role::Score | Role::Value => {}
                }
            }
            answers.push((call_at, answer));
        }
        answers
    }

    /// Asks the scorers in order; the first that works answers.
    fn ladder(&mut self, ladder: usize) -> Option<(usize, Vec<f64>)> {
        let placement = self.placement;
        placement.ladders[ladder].iter().enumerate().find_map(|(at, scorer)| {
            let rung = Rung::Ladder(at as u8);
            let call = &placement.calls[scorer.call];
            let answer = self.call(rung, call, Some(scorer.output))?;
            Some((at, answer))
        })
    }

    /// `score` is the column that must hold the scores.
    fn call(&mut self, rung: Rung, call: &Call, score: Option<usize>) -> Option<Vec<f64>> {
        match self.answer(rung, call, score) {
            Ok(answer) => Some(answer),
            Err(fault) => {
                self.faults.push(RungFault { rung, fault });
                None
            }
        }
    }

    fn answer(&mut self, rung: Rung, call: &Call, score: Option<usize>) -> Result<Vec<f64>, Fault> {
        if call.views.iter().any(|view| self.facts.refused.contains(&(*view as u16))) {
            return Err(Fault::Input);
        }
        let refuses = |(scope, column): &(Scope, usize)| match scope {
            Scope::Shared => self.facts.shared[*column] == REFUSED,
            Scope::Candidate => self.facts.rows.get(*column) == Some(&REFUSED),
        };
        if call.refused.iter().any(refuses) {
            return Err(Fault::Input);
        }
        let (count, placement) = (self.facts.ids.len(), self.placement);
        self.shared.clear();
        self.rows.clear();
        let shared_as_is = call.takes_shared_as_is(placement.shared_width);
        let rows_as_is = call.takes_candidates_as_is(placement.candidate_width);
        if !shared_as_is {
            call.shared_row(self.facts.shared, &mut self.shared)?;
        }
        if !rows_as_is {
            call.candidate_rows(self.facts.rows, placement.candidate_width, count, &mut self.rows)?;
        }
        let shared = if shared_as_is { self.facts.shared } else { &self.shared };
        let rows = if rows_as_is { self.facts.rows } else { &self.rows };
        let answer = self.modules.evaluate(rung, call.module, shared, rows, count as u32)?;
        let usable = answer.len() == count * call.width()
            && call.outputs.iter().enumerate().all(|(column, output)| {
                let mut values = answer.chunks_exact(call.width()).map(|row| row[column]);
                values.all(|value| is_usable(output, score == Some(column), value))
            });
        self.modules.judge(call.module, usable);
        if usable { Ok(answer) } else { Err(Fault::BadOutput) }
    }
}

/// Whether an output may have this value: what is compared or multiplied must be a number that can be.
fn is_usable(output: &Output, is_score: bool, value: f64) -> bool {
    match output.role() {
        _ if is_score => value.is_finite(),
        Role::Score => value.is_finite(),
        Role::Boost => value.is_finite() && value >= 0.0,
        Role::Eligible => !value.is_nan(),
        Role::Pin | Role::Row | Role::Value => true,
    }
}
