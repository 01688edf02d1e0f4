//! What experiments came to on this node, in this run: who fell into which arm, and what the decisions of each brought. Owns the bounds
//! of what is remembered, and that a unit counts once. What a page says that it decided is its word alone: how many of these came is
//! counted, and nothing of them. Numbers only: whether an arm is better is the reader's to compute.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::hash::BuildHasher;
use std::sync::Arc;

use foldhash::fast::FixedState;
use selvedge_decision::assign::SLOTS;
use selvedge_decision::definition::Unit;
use selvedge_decision::plan::{Experiment, Plan};
use selvedge_decision::record::Lot;
use selvedge_decision::{DecisionId, Record, TimeUs};
use serde::Serialize;

use crate::events::Event;
use crate::events::names::EXPOSURE;

/// Experiments that are counted at once.
const MOST_EXPERIMENTS: usize = 64;
/// Units of one experiment; beyond, no more units are counted.
const MOST_UNITS: usize = 200_000;
/// Kinds of rewards of one experiment; beyond, others are not counted.
const MOST_KINDS: usize = 16;
/// Decisions that are remembered for what they bring.
const MOST_DECISIONS: usize = 100_000;
/// Decisions that are not known yet of which events are remembered: records are written a little later than events.
const MOST_EARLY: usize = 10_000;

/// By placement and experiment.
type Key = (Arc<str>, Arc<str>);

/// What experiments came to.
#[derive(Debug, Default)]
pub struct Experiments {
    /// Whether what runs has any.
    are_there: bool,
    counted: BTreeMap<Key, Counted>,
    decisions: HashMap<DecisionId, Made, FixedState>,
    by_age: VecDeque<DecisionId>,
    early: HashMap<DecisionId, Vec<Brought>, FixedState>,
    early_by_age: VecDeque<DecisionId>,
}

/// What an event brought a decision.
#[derive(Debug, Clone, PartialEq)]
enum Brought {
    Shown,
    Reward(String, f64),
}

/// A decision in an arm.
#[derive(Debug, Clone)]
struct Made {
    key: Key,
    arm: usize,
    unit: u64,
    /// Whether the page has shown it.
    shown: bool,
}

#[derive(Debug)]
struct Counted {
    spec: Experiment,
    since_us: TimeUs,
    /// Its place among the placement's.
    at: usize,
    units: HashMap<u64, Counts, FixedState>,
    uncounted: u64,
    overridden: u64,
    pages: u64,
    kinds: Vec<String>,
    arms: Vec<ArmCounts>,
}

/// A unit: its arm, and by kind whether it brought a reward.
#[derive(Debug, Clone, Copy)]
struct Counts {
    arm: usize,
    converted: u32,
}

#[derive(Debug, Clone, Default)]
struct ArmCounts {
    decisions: u64,
    units: u64,
    exposures: u64,
    /// By kind, in the order of the experiment's.
    rewards: Vec<Rewards>,
}

/// Rewards of one kind in one arm.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub struct Rewards {
    /// Rewards.
    pub count: u64,
    /// Units that brought one at least.
    pub units: u64,
    /// The sum of their values.
    pub value: f64,
}

/// An experiment, told.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Told {
    /// The placement.
    pub placement: String,
    /// The experiment.
    pub experiment: String,
    /// What falls into an arm: `subject` or `session`.
    pub unit: &'static str,
    /// Since when it is counted, microseconds since 1970; none when nobody fell into it yet.
    pub since_us: Option<TimeUs>,
    /// Units that came when there was no room for more.
    pub uncounted: u64,
    /// Decisions for units that have their arm by an override; they count nowhere else.
    pub overridden: u64,
    /// Decisions that pages made; they count nowhere else.
    pub pages: u64,
    /// The kinds of rewards, in the order of each arm's.
    pub kinds: Vec<String>,
    /// The arms, in their order.
    pub arms: Vec<Arm>,
}

/// An arm, told.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Arm {
    /// Its name.
    pub name: String,
    /// The share of units that it should have.
    pub share: f64,
    /// The units that it has.
    pub units: u64,
    /// Decisions.
    pub decisions: u64,
    /// Decisions that a page told it has shown.
    pub exposures: u64,
    /// By kind.
    pub rewards: Vec<Rewards>,
}

// === impl Experiments ===

impl Experiments {
    /// Takes a decision; `plan` knows its experiment, or it is not counted.
    pub(super) fn decided(&mut self, record: &Record, plan: &Plan, now_us: TimeUs) {
        let (Some(experiment), Some(arm)) = (&record.experiment, &record.arm) else { return };
        let key = (record.placement.clone(), experiment.clone());
        if !self.counted.contains_key(&key) {
            let experiments =
                plan.placements.get(&*record.placement).map_or(&[][..], |placement| &placement.experiments);
            let found = experiments.iter().enumerate().find(|(_, known)| known.key == *experiment);
            let Some((at, spec)) = found.filter(|_| self.counted.len() < MOST_EXPERIMENTS) else { return };
            self.counted.insert(key.clone(), Counted::new(spec, at, now_us));
        }
        let Some(counted) = self.counted.get_mut(&key) else { return };
        let Some((arm, unit)) = counted.counts(record, arm) else { return };
        counted.arms[arm].decisions += 1;
        if self.by_age.len() == MOST_DECISIONS
            && let Some(oldest) = self.by_age.pop_front()
        {
            self.decisions.remove(&oldest);
        }
        if self.decisions.insert(record.id, Made { key, arm, unit, shown: false }).is_none() {
            self.by_age.push_back(record.id);
        }
        for brought in self.early.remove(&record.id).into_iter().flatten() {
            self.take(record.id, brought);
        }
    }

    /// Takes an event that names a decision.
    pub(super) fn event(&mut self, event: &Event) {
        let Some(id) = event.decision_id.filter(|id| !id.is_of_a_page()) else { return };
        let brought = if event.name == EXPOSURE {
            Brought::Shown
        } else if let Some((kind, value)) = event.reward() {
            Brought::Reward(kind, value)
        } else {
            return;
        };
        if self.decisions.contains_key(&id) {
            return self.take(id, brought);
        }
        if !self.are_there {
            return;
        }
        if self.early_by_age.len() == MOST_EARLY
            && let Some(oldest) = self.early_by_age.pop_front()
        {
            self.early.remove(&oldest);
        }
        self.early.entry(id).or_default().push(brought);
        self.early_by_age.push_back(id);
    }

    fn take(&mut self, id: DecisionId, brought: Brought) {
        let Some(made) = self.decisions.get_mut(&id) else { return };
        let Some(counted) = self.counted.get_mut(&made.key) else { return };
        match brought {
            Brought::Shown => {
                counted.arms[made.arm].exposures += u64::from(!std::mem::replace(&mut made.shown, true));
            }
            Brought::Reward(kind, value) => counted.reward(made.arm, made.unit, &kind, value),
        }
    }

    /// Lets go of experiments that the plan has not any more as they were: their numbers would mean something else.
    pub(super) fn keep_those_of(&mut self, plan: &Plan) {
        self.are_there = plan.placements.values().any(|placement| !placement.experiments.is_empty());
        let before = self.counted.len();
        self.counted.retain(|(placement, key), counted| {
            let known = plan.placements.get(&**placement).and_then(|placement| {
                placement.experiments.get(counted.at).filter(|experiment| experiment.key == *key)
            });
            known.is_some_and(|known| counted.is_of(known))
        });
        if self.counted.len() < before {
            let counted = &self.counted;
            self.decisions.retain(|_, made| counted.contains_key(&made.key));
            self.by_age.retain(|id| self.decisions.contains_key(id));
        }
    }

    /// All experiments of a plan, with what they came to.
    pub fn told(&self, plan: &Plan) -> Vec<Told> {
        let all = plan
            .placements
            .values()
            .flat_map(|placement| placement.experiments.iter().map(|experiment| (placement.key.clone(), experiment)));
        all.map(|(placement, experiment)| {
            let counted = self.counted.get(&(placement.clone(), experiment.key.clone()));
            told(&placement, experiment, counted.filter(|counted| counted.is_of(experiment)))
        })
        .collect()
    }
}

fn told(placement: &str, experiment: &Experiment, counted: Option<&Counted>) -> Told {
    let mut slots = vec![0u32; experiment.arms.len()];
    experiment.table.slots().filter_map(|arm| slots.get_mut(arm).map(|slots| *slots += 1)).for_each(drop);
    let arms = experiment.arms.iter().zip(slots).enumerate().map(|(at, (arm, slots))| {
        let counts = counted.and_then(|counted| counted.arms.get(at)).cloned().unwrap_or_default();
        Arm {
            name: arm.name.to_string(),
            share: f64::from(slots) / f64::from(SLOTS),
            units: counts.units,
            decisions: counts.decisions,
            exposures: counts.exposures,
            rewards: counts.rewards,
        }
    });
    Told {
        placement: placement.to_owned(),
        experiment: experiment.key.to_string(),
        unit: match experiment.unit {
            Unit::Subject => "subject",
            Unit::Session => "session",
        },
        since_us: counted.map(|counted| counted.since_us),
        uncounted: counted.map_or(0, |counted| counted.uncounted),
        overridden: counted.map_or(0, |counted| counted.overridden),
        pages: counted.map_or(0, |counted| counted.pages),
        kinds: counted.map(|counted| counted.kinds.clone()).unwrap_or_default(),
        arms: arms.collect(),
    }
}

// === impl Counted ===

impl Counted {
    fn new(spec: &Experiment, at: usize, since_us: TimeUs) -> Self {
        Self {
            since_us,
            at,
            units: HashMap::default(),
            uncounted: 0,
            overridden: 0,
            pages: 0,
            kinds: Vec::new(),
            arms: vec![ArmCounts::default(); spec.arms.len()],
            spec: spec.clone(),
        }
    }

    /// Whether the numbers mean the same under `other`.
    fn is_of(&self, other: &Experiment) -> bool {
        let names =
            |experiment: &Experiment| -> Vec<Arc<str>> { experiment.arms.iter().map(|arm| arm.name.clone()).collect() };
        self.spec.unit == other.unit
            && self.spec.salt == other.salt
            && self.spec.table == other.table
            && names(&self.spec) == names(other)
    }

    /// The arm and the unit of a decision, if it counts.
    fn counts(&mut self, record: &Record, arm: &str) -> Option<(usize, u64)> {
        let arm = self.spec.arms.iter().position(|known| *known.name == *arm)?;
        if record.id.is_of_a_page() {
            self.pages += 1;
            return None;
        }
        let unit = match self.spec.unit {
            Unit::Subject => &record.subject,
            Unit::Session => &record.session,
        };
        let unit = FixedState::default().hash_one(unit.as_ref()?);
        if !matches!(record.lots.get(self.at), Some(Lot::Slot(_))) {
            self.overridden += 1;
            return None;
        }
        self.takes(unit, arm).then_some((arm, unit))
    }

    /// Whether a unit is counted, in this arm: one that moved to another counts where it was first.
    fn takes(&mut self, unit: u64, arm: usize) -> bool {
        match self.units.get(&unit) {
            Some(known) => known.arm == arm,
            None if self.units.len() < MOST_UNITS => {
                self.units.insert(unit, Counts { arm, converted: 0 });
                self.arms[arm].units += 1;
                true
            }
            None => {
                self.uncounted += 1;
                false
            }
        }
    }

    fn reward(&mut self, arm: usize, unit: u64, kind: &str, value: f64) {
        let at = match self.kinds.iter().position(|known| known == kind) {
            Some(at) => at,
            None if self.kinds.len() < MOST_KINDS => {
                self.kinds.push(kind.to_owned());
                self.arms.iter_mut().for_each(|arm| arm.rewards.push(Rewards::default()));
                self.kinds.len() - 1
            }
            None => return,
        };
        let rewards = &mut self.arms[arm].rewards[at];
        rewards.count += 1;
        rewards.value += value;
        if let Some(unit) = self.units.get_mut(&unit)
            && unit.converted & 1 << at == 0
        {
            unit.converted |= 1 << at;
            rewards.units += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use selvedge_decision::assign::Table;
    use selvedge_decision::plan;

    use super::*;
    use crate::outbox::samples::{event, record};

    fn experiment(weights: &[u32]) -> Experiment {
        let arms = weights.iter().enumerate().map(|(way, _)| plan::Arm { name: format!("arm-{way}").into(), way });
        Experiment {
            key: "test".into(),
            unit: Unit::Subject,
            salt: "salt".to_owned(),
            holdout: None,
            group: None,
            when: None,
            start_us: 0,
            end_us: i64::MAX,
            overrides: Default::default(),
            table: Table::new(weights),
            arms: arms.collect(),
        }
    }

    #[test]
    fn a_unit_counts_once_and_where_it_was_first() {
        let spec = experiment(&[70, 30]);
        let mut counted = Counted::new(&spec, 0, 5);
        for (unit, arm, is_taken) in [(1, 0, true), (1, 0, true), (2, 1, true), (1, 1, false)] {
            assert_eq!(counted.takes(unit, arm), is_taken, "unit {unit} in arm {arm}");
        }
        counted.reward(0, 1, "buy", 2.0);
        counted.reward(0, 1, "buy", 3.0);
        counted.reward(1, 2, "click", 1.0);
        let told = told("hero", &spec, Some(&counted));
        let all: Vec<_> = told.arms.iter().map(|arm| (arm.share, arm.units, arm.rewards.clone())).collect();
        let (none, once) = (Rewards::default(), Rewards { count: 1, units: 1, value: 1.0 });
        let twice = Rewards { count: 2, units: 1, value: 5.0 };
        assert_eq!(all, [(0.7, 1, vec![twice, none]), (0.3, 1, vec![none, once])]);
        assert_eq!((told.kinds, told.since_us), (vec!["buy".to_owned(), "click".to_owned()], Some(5)));
    }

    #[test]
    fn what_pages_decided_is_counted_apart() {
        let spec = experiment(&[70, 30]);
        let mut counted = Counted::new(&spec, 0, 0);
        let of_a_node = record(1);
        let of_a_page = Record { id: DecisionId::of_a_page(of_a_node.time_us, 7, 1), ..of_a_node.clone() };
        let overridden = Record { lots: vec![Lot::Arm(1)], ..of_a_node.clone() };
        assert_eq!(counted.counts(&of_a_page, "arm-1"), None);
        assert_eq!(counted.counts(&overridden, "arm-1"), None);
        assert_eq!(counted.counts(&of_a_node, "arm-1").map(|(arm, _)| arm), Some(1));
        assert_eq!(counted.counts(&of_a_page, "gone"), None, "an arm that there is not is no decision of it");
        let told = told("hero", &spec, Some(&counted));
        assert_eq!((told.pages, told.overridden, told.arms[0].units, told.arms[1].units), (1, 1, 0, 1));
        let mut experiments = Experiments { are_there: true, ..Experiments::default() };
        let shown = |id| Event { decision_id: Some(id), name: EXPOSURE.to_owned(), ..event(1) };
        experiments.event(&shown(of_a_page.id));
        assert_eq!(experiments.early.len(), 0, "what nobody counts waits for no decision");
        experiments.event(&shown(of_a_node.id));
        assert_eq!(experiments.early.len(), 1);
    }

    #[test]
    fn numbers_of_another_split_are_others() {
        let counted = Counted::new(&experiment(&[50, 50]), 0, 0);
        assert!(counted.is_of(&experiment(&[1, 1])));
        assert!(!counted.is_of(&experiment(&[60, 40])) && !counted.is_of(&experiment(&[1, 1, 1])));
        assert!(!counted.is_of(&Experiment { salt: "other".to_owned(), ..experiment(&[1, 1]) }));
    }

    #[test]
    fn kinds_are_bounded() {
        let mut counted = Counted::new(&experiment(&[1]), 0, 0);
        (0..100).for_each(|kind| counted.reward(0, 1, &kind.to_string(), 1.0));
        assert_eq!((counted.kinds.len(), counted.arms[0].rewards.len()), (MOST_KINDS, MOST_KINDS));
    }
}
