//! One recorded decision, decided by a release: the one that decided, or another. Owns what happens to faults: what went wrong when
//! it was recorded goes wrong again for the modules that were called then, and those that are new fault as they do here.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};
use selvedge_decision::definition::Unit;
use selvedge_decision::plan::{Experiment, Placement, Plan};
use selvedge_decision::policy::Contests;
use selvedge_decision::record::{ChoiceRecord, Lot, NOT_DRAWN, Rung};
use selvedge_decision::settle::{Facts, Learned, Modules, Outcome, settle_taking};
use selvedge_decision::{Digest, Fault, Reason, Record};

use super::carry::{Carry, Rows};
use crate::releases::Release;

/// How long a call may take here: as often the placement's deadline, and not less than that. How slow a module is otherwise is told
/// by the CPU it takes.
const DEADLINES: i64 = 10;
const LEAST_BUDGET: Duration = Duration::from_millis(100);
/// A module that ran into its deadline so often is not called again: it would take hours.
const MAX_DEADLINES: u32 = 5;

/// A recorded decision as a release decides it.
#[derive(Debug)]
pub(crate) struct Ran {
    pub(crate) rows: Rows,
    pub(crate) outcome: Outcome,
    /// How likely it would have chosen what was chosen when it was recorded, where chance has a part in it.
    pub(crate) probability: Option<f64>,
    /// What settling it took of a CPU, in nanoseconds.
    pub(crate) cpu_ns: u64,
}

/// Faults of modules, over many decisions.
#[derive(Debug, Default)]
pub(crate) struct Breakers(BTreeMap<Digest, u32>);

/// A decision to make again.
#[derive(Clone, Copy)]
pub(super) struct Again<'a> {
    pub(super) record: &'a Record,
    /// The release that decided, and its placement.
    pub(super) decided: (&'a Release, &'a Placement),
    /// The release that decides now, which may be the same.
    pub(super) by: (&'a Release, &'a Placement),
    /// The way from the rows of the one to those of the other.
    pub(super) carry: &'a Carry,
}

// === impl Again ===

impl Again<'_> {
    /// Decides. An error names what no record says and a module asks for.
    pub(super) fn run(self, breakers: &mut Breakers) -> Result<Ran, String> {
        if self.record.faults.iter().any(|told| told.fault.is_of_load()) {
            // How much a node had to do says nothing of a release: that of the record would fall back, and the other would not.
            return Err("what the scorers say that the node had no time to ask".to_owned());
        }
        let rows = self.carry.rows(self.record, self.decided.1, (&self.by.0.plan, self.by.1))?;
        let (outcome, cpu_ns) = self.settle(&rows, breakers, None)?;
        let probability = self.probability(&rows, &outcome, breakers)?;
        Ok(Ran { rows, outcome, probability, cpu_ns })
    }

    /// How likely the recorded choices are, given the draws before each; `None` where the release leaves nothing to chance, or limits
    /// come between draws and choices.
    fn probability(self, rows: &Rows, outcome: &Outcome, breakers: &mut Breakers) -> Result<Option<f64>, String> {
        let Self { record, by: (_, to), .. } = self;
        let explores = record.inputs.as_ref().is_none_or(|inputs| inputs.explores)
            && to.ways.get(outcome.trace.way).is_some_and(|way| way.policy.explores())
            && outcome.reason != Some(Reason::Fallback);
        if !explores || !outcome.trace.limited.is_empty() {
            return Ok(None);
        }
        let mut logged: Vec<&ChoiceRecord> = record.choices.iter().collect();
        logged.sort_by_key(|choice| choice.slot);
        let id = |choice: &&ChoiceRecord| record.candidates.get(choice.candidate as usize);
        let place = |id: &Arc<str>| rows.ids.iter().position(|known| known == id).map(|at| at as u32);
        let mut wanted = Vec::with_capacity(logged.len());
        for choice in &logged {
            match id(choice).and_then(place) {
                Some(row) => wanted.push(row),
                None => return Ok(Some(0.0)),
            }
        }
        // What this release pins is no draw of its policy.
        let pinned: Vec<u32> =
            outcome.choices.iter().filter(|choice| choice.draw == NOT_DRAWN).map(|choice| choice.candidate).collect();
        let draws: Vec<u32> = wanted.iter().copied().filter(|row| !pinned.contains(row)).collect();
        let (taken, _) = self.settle(rows, breakers, Some(&draws))?;
        if !taken.trace.limited.is_empty() {
            return Ok(None);
        }
        let mut chosen: Vec<&ChoiceRecord> = taken.choices.iter().collect();
        chosen.sort_by_key(|choice| choice.slot);
        let is_same = chosen.iter().map(|choice| choice.candidate).eq(wanted);
        Ok(Some(if is_same { chosen.iter().map(|choice| choice.propensity).product() } else { 0.0 }))
    }

    /// Decides as if the input `name` were missing.
    pub(super) fn without(self, rows: &Rows, name: &str, breakers: &mut Breakers) -> Result<Outcome, String> {
        let mut rows = rows.clone();
        self.carry.blank(&mut rows, name, self.by.1);
        Ok(self.settle(&rows, breakers, None)?.0)
    }

    fn settle(self, rows: &Rows, breakers: &mut Breakers, wanted: Option<&[u32]>) -> Result<(Outcome, u64), String> {
        let Self { record, decided, by: (by, to), carry } = self;
        let budget = Duration::from_micros(to.deadline_us.saturating_mul(DEADLINES).unsigned_abs()).max(LEAST_BUDGET);
        let told = faults(record, decided.0, decided.1);
        let mut calls = Calls { by, to, carry, rows, told, asked: BTreeMap::new(), unknown: None, budget, breakers };
        let facts = Facts {
            ids: &rows.ids,
            shared: &rows.shared,
            rows: &rows.candidates,
            refused: &rows.refused,
            lots: &lots(record, decided.1, to)?,
            slots: rows.slots,
            seed: record.id.seed(&to.key, "decide"),
            explores: record.inputs.as_ref().is_none_or(|inputs| inputs.explores),
            // They change nothing, and are not compared.
            shadows: false,
            explain: false,
        };
        let mut known = Known { record, plan: &by.plan, contests: Contests::default(), unknown: None };
        let before = cpu_ns();
        let outcome = settle_taking(to, facts, &mut calls, &mut known, wanted);
        let cpu_ns = cpu_ns().saturating_sub(before);
        if let Some(unknown) = calls.unknown.or(known.unknown) {
            return Err(unknown);
        }
        let is_scored = outcome.trace.rung.is_some() || !outcome.learned.is_empty();
        let fallback = to.ways.get(outcome.trace.way).map(|way| &way.fallback).filter(|_| !is_scored);
        match fallback.and_then(|fallback| carry.unknown_order(rows, fallback)) {
            Some(unknown) => Err(unknown.to_owned()),
            None => Ok((outcome, cpu_ns)),
        }
    }
}

/// What the experiments draw for the recorded unit: of one that decided then, what it drew.
fn lots(record: &Record, of: &Placement, to: &Placement) -> Result<Vec<Lot>, String> {
    let lot = |experiment: &Experiment| {
        let before = of.experiments.iter().zip(&record.lots).find(|(known, _)| is_alike(known, experiment));
        if let Some((_, lot)) = before {
            return Ok(*lot);
        }
        let (unit, name) = match experiment.unit {
            Unit::Subject => (&record.subject, "the subject"),
            Unit::Session => (&record.session, "the session"),
        };
        let unit = unit.as_ref().ok_or_else(|| format!("{name}, which its experiment needs"))?;
        Ok(experiment.lot(unit, record.time_us))
    };
    to.experiments.iter().map(lot).collect()
}

/// Whether two experiments draw the same.
fn is_alike(one: &Experiment, other: &Experiment) -> bool {
    let of = |experiment: &Experiment| {
        let Experiment { key, unit, salt, holdout, group, start_us, end_us, overrides, arms, .. } = experiment.clone();
        let arms: Vec<_> = arms.into_iter().map(|arm| arm.name).collect();
        (key, unit, salt, holdout, group, start_us, end_us, (overrides, arms))
    };
    of(one) == of(other)
}

/// What was learned when it was recorded, of the candidates that were then.
struct Known<'a> {
    record: &'a Record,
    plan: &'a Plan,
    contests: Contests,
    unknown: Option<String>,
}

impl Learned for Known<'_> {
    fn learned(&mut self, bandit: usize, ids: &[Arc<str>], _: &[i8]) -> Vec<[f64; 2]> {
        let learned = self.record.inputs.as_ref().map_or(&[][..], |inputs| &inputs.learned);
        let (pairs, _) = learned.as_chunks::<2>();
        if pairs.is_empty() && !ids.is_empty() {
            self.unknown.get_or_insert_with(|| "what its policy had learned".to_owned());
        }
        let model = self.plan.bandits.get(bandit).and_then(|bandit| bandit.model.as_ref());
        // What another model said of a candidate, this one need not.
        if model.map(|model| model.id) != self.record.model.as_ref().map(|model| model.model) {
            self.unknown.get_or_insert_with(|| "what its policy's model had learned".to_owned());
        }
        let place = |id: &Arc<str>| self.record.candidates.iter().position(|known| known == id);
        let known = ids.iter().map(|id| place(id).and_then(|at| pairs.get(at)).copied());
        let known: Vec<Option<[f64; 2]>> = known.collect();
        if model.is_some() && known.contains(&None) {
            self.unknown.get_or_insert_with(|| "what its policy's model says of another action".to_owned());
        }
        known.into_iter().map(Option::unwrap_or_default).collect()
    }

    fn contests(&mut self) -> &mut Contests {
        &mut self.contests
    }
}

/// What a thread has taken of a CPU, in nanoseconds.
fn cpu_ns() -> u64 {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    (time.tv_sec as u64).saturating_mul(1_000_000_000).saturating_add(time.tv_nsec as u64)
}

/// Which calls of a module, of rules or of a ladder, faulted when it was recorded, in the order of its calls.
type Told = BTreeMap<(bool, Digest), Vec<Option<Fault>>>;

fn faults(record: &Record, decided: &Release, of: &Placement) -> Told {
    let fault = |rung: Rung| record.faults.iter().find(|fault| fault.rung == rung).map(|fault| fault.fault);
    let mut told = Told::new();
    let mut tell = |is_rules: bool, call: usize, fault: Option<Fault>| {
        let module = of.calls.get(call).and_then(|call| decided.modules.get(call.module));
        // What a call lacks follows from its rows.
        if let Some(module) = module.filter(|_| fault != Some(Fault::Input)) {
            told.entry((is_rules, module.digest)).or_default().push(fault);
        }
    };
    let Some(way) = of.way(record.experiment.as_deref(), record.arm.as_deref()) else { return told };
    for (at, call) in way.rules.iter().enumerate() {
        tell(true, *call, fault(Rung::Rules(at as u8)));
    }
    if record.faults.iter().any(|fault| matches!(fault.rung, Rung::Rules(_))) {
        return told;
    }
    for (at, scorer) in way.ladder.iter().enumerate() {
        let fault = fault(Rung::Ladder(at as u8));
        tell(false, scorer.call, fault);
        if fault.is_none() {
            break;
        }
    }
    told
}

/// The calls of one decision.
struct Calls<'a> {
    by: &'a Release,
    to: &'a Placement,
    carry: &'a Carry,
    rows: &'a Rows,
    told: Told,
    asked: BTreeMap<(bool, Digest), usize>,
    unknown: Option<String>,
    budget: Duration,
    breakers: &'a mut Breakers,
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
        let Some(loaded) = self.by.modules.get(module) else { return Err(Fault::Refused) };
        let call = self.to.calls.iter().position(|call| call.module == module);
        if let Some(name) = call.and_then(|call| self.carry.unknown_to(self.rows, call)) {
            self.unknown.get_or_insert_with(|| name.to_owned());
            return Err(Fault::Input);
        }
        let key = (matches!(rung, Rung::Rules(_) | Rung::Target(_)), loaded.digest);
        let asked = self.asked.entry(key).or_default();
        let told = self.told.get(&key).and_then(|told| told.get(*asked)).copied().flatten();
        *asked += 1;
        if let Some(fault) = told {
            return Err(fault);
        }
        let late = self.breakers.0.entry(loaded.digest).or_default();
        if *late >= MAX_DEADLINES {
            return Err(Fault::Open);
        }
        let answer = loaded.module.evaluate(shared, candidates, count, self.budget);
        if answer == Err(Fault::Deadline) {
            *late += 1;
        }
        answer
    }
}
