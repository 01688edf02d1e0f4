//! From rows to an answer: rules, ladder, choice, reason. Pure and total: whatever modules do, an outcome comes out. A replay
//! runs this very code on recorded rows. How places are filled once everybody is scored is `fill`'s.

#[cfg(feature = "std")]
mod changed;
mod fill;

use alloc::sync::Arc;
use alloc::vec;
use alloc::vec::Vec;

use self::fill::Filling;
use crate::Fault;
use crate::choose::{self, Slate};
use crate::limits::Filled;
use crate::manifest::{Output, Role, Scope};
use crate::plan::{Arm, Call, Experiment, Placement, Shadow, Way};
use crate::policy::Contests;
use crate::record::{ChoiceRecord, Lot, ModelInputs, Reason, Rung, RungFault, ShadowRecord};

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

/// What a decision asks of what was learned: a node's bandits, or a replay's record of them.
pub trait Learned {
    /// What bandit `bandit` of the plan knows of each candidate, two numbers each. Of one without a model the rewards and the misses,
    /// without the prior; of one with a model mean and variance of the logit by `x`, what the model sees of the candidates, row-major.
    fn learned(&mut self, bandit: usize, ids: &[Arc<str>], x: &[i8]) -> Vec<[f64; 2]>;

    /// The distributions computed last.
    fn contests(&mut self) -> &mut Contests;
}

/// Nothing was learned; of a model, not even what it begins with.
#[derive(Debug, Default)]
pub struct Unlearned(Contests);

/// Everything an outcome follows from, besides the modules and what was learned.
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
    /// What the experiments drew for their units.
    pub lots: &'a [Lot],
    /// How many choices are wanted.
    pub slots: usize,
    /// What draws follow from.
    pub seed: u64,
    /// Whether another than the best may be chosen.
    pub explores: bool,
    /// Whether scorers run beside.
    pub shadows: bool,
    /// Whether it is told which limits changed the answer.
    pub explain: bool,
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
    /// The experiment that applied.
    pub experiment: Option<Arc<str>>,
    /// Its arm.
    pub arm: Option<Arc<str>>,
    /// The calls that did not answer.
    pub faults: Vec<RungFault>,
    /// What scorers that run beside made of it.
    pub shadows: Vec<ShadowRecord>,
    /// What was learned of each candidate, two numbers each; empty when the policy does not learn.
    pub learned: Vec<f64>,
    /// What the policy's model saw of the choices; none when it has no model.
    pub model: Option<ModelInputs>,
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
    /// The index of the way that was gone.
    pub way: usize,
    /// The rung of its ladder that answered.
    pub rung: Option<usize>,
    /// The limits that refused a candidate, the first that did: index of the limit, candidate.
    pub limited: Vec<(u16, u32)>,
    /// The limits that changed the answer, where that is asked: index of the limit, and whom it kept from a place.
    #[cfg(feature = "std")]
    pub changed: Vec<(u16, Vec<u32>)>,
}

/// What an order follows from.
pub(crate) enum Basis {
    /// A rung of the ladder, with its answer.
    Scored(usize, Vec<f64>),
    /// What a bandit learned.
    Learned,
    /// Boosts of rules.
    Ruled,
    /// The static order, because there is nothing else.
    Static,
    /// The static order, because what there is did not answer.
    Fallback,
}

impl Learned for Unlearned {
    fn learned(&mut self, _: usize, ids: &[Arc<str>], x: &[i8]) -> Vec<[f64; 2]> {
        vec![[0.0, if x.is_empty() { 0.0 } else { 1.0 }]; ids.len()]
    }

    fn contests(&mut self) -> &mut Contests {
        &mut self.0
    }
}

/// What stands in a column that tells of old values, when one refuses.
const REFUSED: f64 = 1.0;

/// Settles a decision.
pub fn settle(
    placement: &Placement,
    facts: Facts<'_>,
    modules: &mut dyn Modules,
    learned: &mut dyn Learned,
) -> Outcome {
    settle_taking(placement, facts, modules, learned, None)
}

/// As [`settle`], where the policy's draws take `wanted` one after another instead of what chance says, each with the probability that it
/// has; one that cannot be drawn ends the choices. So another release says how likely it would have chosen what was chosen.
pub fn settle_taking(
    placement: &Placement,
    facts: Facts<'_>,
    modules: &mut dyn Modules,
    learned: &mut dyn Learned,
    wanted: Option<&[u32]>,
) -> Outcome {
    let count = facts.ids.len();
    let mut outcome = Outcome { values: vec![f64::NAN; placement.values.len()], ..Outcome::default() };
    if count == 0 {
        outcome.reason = Some(Reason::Empty);
        return outcome;
    }
    let mut slate = admitted(placement, facts);
    let mut caller = Caller::new(placement, facts, modules);
    let assigned = caller.assign();
    outcome.experiment = assigned.map(|(experiment, _)| experiment.key.clone());
    outcome.arm = assigned.map(|(_, arm)| arm.name.clone());
    outcome.trace.way = assigned.map_or(0, |(_, arm)| arm.way);
    let way = &placement.ways[outcome.trace.way];
    let answers = caller.rules(way, &mut slate, &mut outcome.trace);
    let rules_work = answers.len() == way.rules.len();
    let (mut known, mut seen) = (Vec::new(), None);
    let basis = match (rules_work, way.policy.bandit) {
        (false, _) => Basis::Fallback,
        (true, Some(bandit)) => {
            let model = way.policy.model();
            let x = model.map(|model| model.rows(facts.shared, facts.rows, placement.candidate_width, count));
            known = learned.learned(bandit, facts.ids, x.as_deref().unwrap_or_default());
            outcome.learned = known.iter().flatten().copied().collect();
            seen = model.zip(x);
            Basis::Learned
        }
        (true, None) => caller.basis(way),
    };
    outcome.faults = core::mem::take(&mut caller.faults);
    match &basis {
        Basis::Scored(rung, answer) => {
            let scorer = way.ladder[*rung];
            let width = placement.calls[scorer.call].width();
            for (row, score) in slate.scores.iter_mut().enumerate() {
                *score = answer[row * width + scorer.output] * slate.boosts[row];
            }
            outcome.trace.rung = Some(*rung);
        }
        Basis::Ruled => slate.scores.copy_from_slice(&slate.boosts),
        Basis::Learned | Basis::Static | Basis::Fallback => {}
    }
    let filling = Filling { placement, way, facts, basis: &basis, known: &known, wanted };
    let filled = filling.fill(&placement.limits, &mut slate, learned.contests(), &mut outcome.trace.limited);
    #[cfg(feature = "std")]
    if facts.explain {
        let contests = learned.contests().clone();
        outcome.trace.changed = changed::changed(filling, &slate, contests, &filled.choices, &outcome.trace.limited);
    }
    outcome.reason = Some(reason(&filled, &basis, assigned.is_some()));
    outcome.choices = filled.choices;
    outcome.model = seen.map(|(model, x)| {
        let chosen = outcome.choices.iter().map(|choice| choice.candidate);
        ModelInputs { model: model.shape.id, x: model.recorded(&x, chosen) }
    });
    if let Some(first) = outcome.choices.first() {
        let row = first.candidate as usize;
        let scorers = match &basis {
            Basis::Scored(rung, answer) => Some((way.ladder[*rung].call, answer)),
            _ => None,
        };
        for (call, answer) in answers.iter().map(|(call, answer)| (*call, answer)).chain(scorers) {
            let call = &placement.calls[call];
            for (column, value) in &call.values {
                let output = answer[row * call.width() + column];
                // WebAssembly does not promise which NaN; a record does.
                outcome.values[*value] = if output.is_nan() { f64::NAN } else { output };
            }
        }
    }
    if let Some(shadow) = placement.shadow.as_ref().filter(|_| facts.shadows) {
        let first = outcome.choices.first().map(|choice| choice.candidate);
        outcome.shadows = caller.beside(shadow, &slate, first);
    }
    outcome.trace.scores = slate.scores;
    outcome.trace.boosts = slate.boosts;
    outcome.trace.eligible = slate.eligible;
    outcome
}

/// The candidates, without those that a late or old value makes ineligible.
fn admitted(placement: &Placement, facts: Facts<'_>) -> Slate {
    let mut slate = Slate::new(facts.ids.len());
    let is_of_candidates =
        |at: &u16| placement.views.get(usize::from(*at)).is_some_and(|used| used.entity.is_candidate());
    if facts.refused.iter().any(is_of_candidates) {
        slate.eligible.fill(false);
    }
    for column in &placement.ineligible {
        let rows = facts.rows.chunks_exact(placement.candidate_width.max(1));
        slate.eligible.iter_mut().zip(rows).for_each(|(eligible, row)| *eligible &= row[*column] != REFUSED);
    }
    slate
}

/// Why an answer is as it is; `assigned` says whether an experiment's arm decided how.
pub(crate) fn reason(filled: &Filled, basis: &Basis, assigned: bool) -> Reason {
    match basis {
        _ if filled.choices.is_empty() => Reason::Empty,
        Basis::Fallback => Reason::Fallback,
        _ if filled.explored => Reason::Explored,
        Basis::Ruled => Reason::Ruled,
        _ if filled.is_pinned => Reason::Ruled,
        _ if assigned => Reason::Assigned,
        Basis::Static => Reason::Ruled,
        Basis::Scored(..) | Basis::Learned => Reason::Scored,
    }
}

/// Calls modules and keeps their faults.
struct Caller<'a> {
    placement: &'a Placement,
    facts: Facts<'a>,
    modules: &'a mut dyn Modules,
    faults: Vec<RungFault>,
    /// What rules answered when an experiment asked them.
    asked: Vec<(usize, Vec<f64>)>,
    shared: Vec<f64>,
    rows: Vec<f64>,
}

impl<'a> Caller<'a> {
    fn new(placement: &'a Placement, facts: Facts<'a>, modules: &'a mut dyn Modules) -> Self {
        Self { placement, facts, modules, faults: Vec::new(), asked: Vec::new(), shared: Vec::new(), rows: Vec::new() }
    }

    /// The first experiment that has the unit, and the arm it falls into. Who draws an arm by an override is not asked whether
    /// a rule lets it in.
    fn assign(&mut self) -> Option<(&'a Experiment, &'a Arm)> {
        let placement = self.placement;
        for (at, (experiment, lot)) in placement.experiments.iter().zip(self.facts.lots).enumerate() {
            let is_in = !matches!(lot, Lot::Slot(_)) || self.lets_in(at, experiment);
            let arm = experiment.arm(*lot).filter(|_| is_in);
            if let Some(arm) = arm.and_then(|arm| experiment.arms.get(arm)) {
                return Some((experiment, arm));
            }
        }
        None
    }

    /// Whether an experiment's rule lets the request in; one that faults does not. It is the first candidate's word: what a rule
    /// says of a request it says of all.
    fn lets_in(&mut self, at: usize, experiment: &Experiment) -> bool {
        let Some(when) = experiment.when else { return true };
        if !self.asked.iter().any(|(call, _)| *call == when.call) {
            let Some(answer) = self.call(Rung::Target(at as u8), &self.placement.calls[when.call], None) else {
                return false;
            };
            self.asked.push((when.call, answer));
        }
        self.asked.iter().any(|(call, answer)| *call == when.call && answer[when.output] == 1.0)
    }

    /// Runs all rules: eligible is AND, boosts multiply, the first pin of a slot wins.
    fn rules(&mut self, way: &Way, slate: &mut Slate, trace: &mut Trace) -> Vec<(usize, Vec<f64>)> {
        let mut answers = Vec::new();
        let placement = self.placement;
        for (at, &call_at) in way.rules.iter().enumerate() {
            let call = &placement.calls[call_at];
            let asked = self.asked.iter().find(|(asked, _)| *asked == call_at).map(|(_, answer)| answer.clone());
            let Some(answer) = asked.or_else(|| self.call(Rung::Rules(at as u8), call, None)) else { continue };
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
                    // For the explanation, which a page does not give.
                    Role::Row if !cfg!(feature = "std") => {}
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

    /// What the order follows from: the first scorer that works, or what there is when there is none.
    fn basis(&mut self, way: &Way) -> Basis {
        if way.ladder.is_empty() {
            return if way.rules.is_empty() { Basis::Static } else { Basis::Ruled };
        }
        let placement = self.placement;
        let answered = way.ladder.iter().enumerate().find_map(|(at, scorer)| {
            let answer = self.call(Rung::Ladder(at as u8), &placement.calls[scorer.call], Some(scorer.output))?;
            Some(Basis::Scored(at, answer))
        });
        answered.unwrap_or(Basis::Fallback)
    }

    /// What the scorers that run beside would have chosen first.
    fn beside(&mut self, shadow: &Shadow, slate: &Slate, first: Option<u32>) -> Vec<ShadowRecord> {
        let placement = self.placement;
        let ids = self.facts.ids;
        let mut told = Vec::with_capacity(shadow.scorers.len());
        for (at, scorer) in shadow.scorers.iter().enumerate() {
            let call = &placement.calls[scorer.call];
            let answer = match self.answer(Rung::Shadow(at as u8), call, Some(scorer.output)) {
                Ok(answer) => answer,
                Err(fault) => {
                    told.push(ShadowRecord { fault: Some(fault), candidate: 0, score: f64::NAN, chosen: f64::NAN });
                    continue;
                }
            };
            let score = |row: u32| answer[row as usize * call.width() + scorer.output] * slate.boosts[row as usize];
            let eligible = (0..ids.len() as u32).filter(|row| slate.eligible[*row as usize]);
            let best = eligible
                .min_by(|a, b| choose::missing_last(score(*a), score(*b)).then_with(|| choose::by_id(ids, *a, *b)));
            told.push(ShadowRecord {
                fault: None,
                candidate: best.unwrap_or(0),
                score: best.map_or(f64::NAN, score),
                chosen: first.map_or(f64::NAN, score),
            });
        }
        told
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
