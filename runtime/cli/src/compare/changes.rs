//! What changes from one release to another, counted by placement. Owns what counts as changed and to what it is put down: rules
//! whose rows fired differently, scorers, and inputs without which both agree.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use selvedge_decision::plan::{Placement, Plan};
use selvedge_decision::settle::Outcome;
use selvedge_decision::{Digest, Reason};
use serde::Serialize;

use super::Ran;
use super::earned::Wish;
use super::study::Study;
use super::worth::Value;
use crate::releases::Release;

/// Reasons, rules, scorers and inputs that are told of a placement, at most.
const MAX_TOLD: usize = 50;

/// Two releases, compared.
#[derive(Debug, Serialize)]
pub(crate) struct Comparison {
    pub(crate) a: String,
    pub(crate) b: String,
    /// Decisions that both made again.
    pub(crate) compared: u64,
    /// Those of them whose choices differ.
    pub(crate) changed: u64,
    #[serde(flatten)]
    pub(crate) skipped: Skipped,
    /// How often a kind of reward that was found is left out of a placement's value: none of its decisions had one.
    pub(crate) values_left_out: u64,
    pub(crate) placements: BTreeMap<String, Placed>,
}

/// What was left out before any placement was asked.
#[derive(Debug, Clone, Copy, Default, Serialize)]
pub(crate) struct Skipped {
    /// Blocks that cannot be read.
    pub(crate) broken: u64,
    /// Decisions of placements that neither release has.
    pub(crate) no_placement: u64,
}

/// One placement, compared.
#[derive(Debug, Serialize)]
pub(crate) struct Placed {
    /// Decisions that were recorded.
    pub(crate) recorded: u64,
    /// Those without inputs: nothing can be said of them.
    pub(crate) without_inputs: u64,
    /// Those that both releases made again.
    pub(crate) compared: u64,
    /// Those of a placement that B does not have any more.
    pub(crate) gone: u64,
    /// Those that one of them could not make again, by why.
    pub(crate) not_compared: BTreeMap<String, u64>,
    /// Those whose choices differ, in any slot.
    pub(crate) changed: u64,
    /// Those whose first choice differs.
    pub(crate) first_changed: u64,
    pub(crate) before: Side,
    pub(crate) after: Side,
    /// The mean CPU of B over that of A.
    pub(crate) cpu_ratio: f64,
    /// Rule rows that fired for a candidate in one of the two alone, in changed decisions.
    pub(crate) rules: Vec<RuleChange>,
    /// What scored changed decisions.
    pub(crate) scorers: Vec<ScorerChange>,
    /// Changed decisions whose inputs were looked at.
    pub(crate) looked_at: u64,
    /// Inputs without which both choose the same in some of those.
    pub(crate) inputs: Vec<InputChange>,
    /// Those of the compared that pages made: left out of what it is worth.
    pub(crate) of_pages: u64,
    /// Those that pages say they made and that do not replay: neither compared nor counted as not compared.
    pub(crate) of_pages_different: u64,
    /// What it is worth, by kind of reward.
    pub(crate) value: BTreeMap<String, Value>,
}

/// How one of the two releases did.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Side {
    /// The share of decisions by the static order.
    pub(crate) fallback_rate: f64,
    /// The share of decisions without a choice.
    pub(crate) empty_rate: f64,
    /// Faults, by module and kind.
    pub(crate) faults: BTreeMap<String, u64>,
    /// The CPU of a decision in microseconds, HTTP, gathering and recording apart. The mean leaves out the slowest of a hundred.
    pub(crate) cpu_us: Cpu,
}

#[derive(Debug, Clone, Copy, Serialize)]
pub(crate) struct Cpu {
    pub(crate) mean: f64,
    pub(crate) p50: f64,
    pub(crate) p99: f64,
}

#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct RuleChange {
    pub(crate) module: String,
    pub(crate) row: f64,
    /// Changed decisions in which it fired for a candidate in A alone.
    pub(crate) in_a: u64,
    /// The same of B.
    pub(crate) in_b: u64,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct ScorerChange {
    /// The scorer in A: `module:output` and the first digits of the module's digest; none where nothing scored.
    pub(crate) a: Option<String>,
    pub(crate) b: Option<String>,
    /// Changed decisions.
    pub(crate) decisions: u64,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct InputChange {
    pub(crate) input: String,
    /// Of the changed decisions looked at, those in which both choose the same when it is missing in both.
    pub(crate) agree: u64,
}

/// Counts of one placement.
#[derive(Debug, Default)]
pub(super) struct Changes {
    pub(super) recorded: u64,
    pub(super) without_inputs: u64,
    pub(super) compared: u64,
    pub(super) gone: u64,
    pub(super) of_pages_different: u64,
    not_compared: BTreeMap<String, u64>,
    changed: u64,
    first_changed: u64,
    sides: [Counts; 2],
    rules: BTreeMap<(String, u64), [u64; 2]>,
    scorers: BTreeMap<[Option<String>; 2], u64>,
    pub(super) looked_at: u64,
    inputs: BTreeMap<String, u64>,
}

#[derive(Debug, Default)]
struct Counts {
    fallback: u64,
    empty: u64,
    faults: BTreeMap<String, u64>,
    cpu_ns: Vec<u32>,
}

/// The ids that were chosen, by slot.
pub(super) fn slate(ids: &[Arc<str>], outcome: &Outcome) -> Vec<(u32, Arc<str>)> {
    let id = |candidate: u32| ids.get(candidate as usize).cloned().unwrap_or_default();
    outcome.choices.iter().map(|choice| (choice.slot, id(choice.candidate))).collect()
}

// === impl Comparison ===

impl Comparison {
    /// Of all that was read. Values by `wishes`, or by every kind that a placement has to do with.
    pub(super) fn of(study: Study<'_>, wishes: Option<&[Wish]>) -> Self {
        let found = study.earned.kinds();
        let (mut placements, mut values_left_out) = (BTreeMap::new(), 0);
        for (key, seen) in study.placements {
            let own: Vec<Wish> = if let Some(wishes) = wishes {
                wishes.to_vec()
            } else if seen.kept.is_empty() {
                Vec::new()
            } else {
                let mut kinds = seen.kept.kinds(&study.earned);
                kinds.extend([&study.a, &study.b].into_iter().flat_map(|release| learned_by(&release.plan, &key)));
                values_left_out += found.iter().filter(|kind| !kinds.contains(**kind)).count() as u64;
                kinds.into_iter().map(Wish::new).collect()
            };
            let values = own.iter().map(|wish| (wish.kind.clone(), seen.kept.value(wish, &study.earned)));
            let values = values.filter_map(|(kind, value)| Some((kind, value?))).collect();
            placements.insert(key.to_string(), seen.changes.placed(seen.kept.of_pages(), values));
        }
        Self {
            a: study.a.digest.to_string(),
            b: study.b.digest.to_string(),
            compared: placements.values().map(|placed: &Placed| placed.compared).sum(),
            changed: placements.values().map(|placed| placed.changed).sum(),
            skipped: study.skipped,
            values_left_out,
            placements,
        }
    }
}

/// The kinds of reward that policies of a placement learn by.
fn learned_by<'p>(plan: &'p Plan, placement: &str) -> impl Iterator<Item = &'p str> {
    plan.bandits.iter().filter(move |bandit| &*bandit.placement == placement).map(|bandit| bandit.reward.as_str())
}

// === impl Changes ===

impl Changes {
    pub(super) fn not_compared(&mut self, why: String) {
        let why = if self.not_compared.len() < MAX_TOLD { why } else { "for other reasons".to_owned() };
        *self.not_compared.entry(why).or_default() += 1;
    }

    /// Adds a decision as both made it; whether its choices differ.
    pub(super) fn add(&mut self, ran: [(&Release, &Ran); 2], key: &str) -> bool {
        self.compared += 1;
        let placements = ran.map(|(release, _)| release.plan.placements.get(key));
        for ((counts, placement), (_, ran)) in self.sides.iter_mut().zip(placements).zip(ran) {
            counts.add(placement, ran);
        }
        let slates = ran.map(|(_, ran)| slate(&ran.rows.ids, &ran.outcome));
        let changed = slates[0] != slates[1];
        if !changed {
            return false;
        }
        self.changed += 1;
        self.first_changed += u64::from(slates[0].first() != slates[1].first());
        let fired = [0, 1].map(|at| placements[at].map(|placement| fired(placement, ran[at].1)).unwrap_or_default());
        for (side, (own, other)) in [(&fired[0], &fired[1]), (&fired[1], &fired[0])].into_iter().enumerate() {
            let rows: BTreeSet<(String, u64)> =
                own.difference(other).map(|(module, row, _)| (module.clone(), *row)).collect();
            for row in rows {
                self.rules.entry(row).or_default()[side] += 1;
            }
        }
        let scorers = [0, 1].map(|at| placements[at].and_then(|placement| scorer(ran[at].0, placement, ran[at].1)));
        *self.scorers.entry(scorers).or_default() += 1;
        true
    }

    /// Whether both choose the same without an input.
    pub(super) fn agreed(&mut self, input: String, agree: bool) {
        *self.inputs.entry(input).or_default() += u64::from(agree);
    }

    fn placed(self, of_pages: u64, value: BTreeMap<String, Value>) -> Placed {
        let [before, after] = self.sides.map(|counts| counts.side(self.compared));
        let rules = self.rules.into_iter().map(|((module, row), [in_a, in_b])| RuleChange {
            module,
            row: f64::from_bits(row),
            in_a,
            in_b,
        });
        let mut rules: Vec<_> = rules.collect();
        rules.sort_by_key(|rule| std::cmp::Reverse(rule.in_a + rule.in_b));
        let mut scorers: Vec<_> =
            self.scorers.into_iter().map(|([a, b], decisions)| ScorerChange { a, b, decisions }).collect();
        scorers.sort_by_key(|scorer| std::cmp::Reverse(scorer.decisions));
        let inputs = self.inputs.into_iter().filter(|(_, agree)| *agree > 0);
        let mut inputs: Vec<_> = inputs.map(|(input, agree)| InputChange { input, agree }).collect();
        inputs.sort_by_key(|input| std::cmp::Reverse(input.agree));
        rules.truncate(MAX_TOLD);
        scorers.truncate(MAX_TOLD);
        inputs.truncate(MAX_TOLD);
        Placed {
            recorded: self.recorded,
            without_inputs: self.without_inputs,
            compared: self.compared,
            gone: self.gone,
            not_compared: self.not_compared,
            changed: self.changed,
            first_changed: self.first_changed,
            cpu_ratio: after.cpu_us.mean / before.cpu_us.mean,
            before,
            after,
            rules,
            scorers,
            looked_at: self.looked_at,
            inputs,
            of_pages,
            of_pages_different: self.of_pages_different,
            value,
        }
    }
}

// === impl Placed ===

impl Placed {
    /// The share of decisions whose choices differ; NaN of none.
    pub(crate) fn share_changed(&self) -> f64 {
        self.changed as f64 / self.compared as f64
    }

    /// Decisions that were to be made again and were not, and of which share.
    pub(crate) fn left_out(&self) -> (u64, f64) {
        let left = self.gone + self.not_compared.values().sum::<u64>();
        (left, left as f64 / (left + self.compared) as f64)
    }
}

// === impl Counts ===

impl Counts {
    fn add(&mut self, placement: Option<&Placement>, ran: &Ran) {
        self.fallback += u64::from(ran.outcome.reason == Some(Reason::Fallback));
        self.empty += u64::from(ran.outcome.reason == Some(Reason::Empty));
        self.cpu_ns.push(u32::try_from(ran.cpu_ns).unwrap_or(u32::MAX));
        for fault in &ran.outcome.faults {
            let (experiment, arm) = (ran.outcome.experiment.as_deref(), ran.outcome.arm.as_deref());
            let module =
                placement.and_then(|placement| Some(placement.call_of(experiment, arm, fault.rung)?.name.as_str()));
            *self.faults.entry(format!("{} {}", module.unwrap_or("?"), fault.fault)).or_default() += 1;
        }
    }

    fn side(mut self, compared: u64) -> Side {
        self.cpu_ns.sort_unstable();
        let us = |ns: f64| ns / 1_000.0;
        let at = |share: f64| {
            let place = (share * self.cpu_ns.len() as f64) as usize;
            us(self.cpu_ns.get(place).copied().map_or(f64::NAN, f64::from))
        };
        let most = (self.cpu_ns.len() * 99).div_ceil(100);
        let sum: f64 = self.cpu_ns.iter().take(most).copied().map(f64::from).sum();
        Side {
            fallback_rate: self.fallback as f64 / compared as f64,
            empty_rate: self.empty as f64 / compared as f64,
            cpu_us: Cpu { mean: us(sum / most as f64), p50: at(0.5), p99: at(0.99) },
            faults: self.faults,
        }
    }
}

/// The rule rows that fired, by module and candidate.
fn fired(placement: &Placement, ran: &Ran) -> BTreeSet<(String, u64, Arc<str>)> {
    let fired = ran.outcome.trace.fired.iter().filter_map(|(call, candidate, row)| {
        let id = ran.rows.ids.get(*candidate as usize)?.clone();
        Some((placement.calls.get(*call)?.name.clone(), row.to_bits(), id))
    });
    fired.collect()
}

/// What scored, by name and by what it is.
fn scorer(release: &Release, placement: &Placement, ran: &Ran) -> Option<String> {
    let trace = &ran.outcome.trace;
    let scorer = placement.ways.get(trace.way)?.ladder.get(trace.rung?)?;
    let call = placement.calls.get(scorer.call)?;
    let digest: Digest = release.modules.get(call.module)?.digest;
    let hex = digest.hex();
    Some(format!("{}:{} ({})", call.name, call.outputs.get(scorer.output)?.name, hex.get(..8).unwrap_or(&hex)))
}
