//! What releases would have earned on recorded decisions. Owns what is kept of each decision, the probability of what was logged under
//! a release, and when that is not known; the estimates are `selvedge_build::off_policy`'s. What a page says that it decided is its word
//! alone, and not kept.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use selvedge_build::off_policy::{Change, Draw, Interval, Limits, Means, Worth};
use selvedge_decision::{DecisionId, Record, TimeUs};
use serde::Serialize;

use super::Ran;
use super::earned::{Earned, Wish};

/// The share of decisions of which it may not be known how probable the logged choices were under a release.
const MAX_UNKNOWN: f64 = 0.01;

/// What two releases are worth by one kind of reward, a decision.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct Value {
    /// How long after a decision it counts, in microseconds.
    pub(crate) window_us: i64,
    /// What was earned, by the decisions as they were made.
    pub(crate) logged: f64,
    pub(crate) a: Worth,
    pub(crate) b: Worth,
    /// From A to B.
    pub(crate) change: Change,
    /// Why nothing can be concluded; empty when it can.
    pub(crate) insufficient: Vec<String>,
}

/// What is kept of the decisions of a placement.
#[derive(Debug, Default)]
pub(super) struct Kept {
    ids: Vec<Arc<str>>,
    numbers: BTreeMap<Arc<str>, u32>,
    decisions: Vec<Decision>,
    /// Decisions that pages made, which are left out.
    of_pages: u64,
}

#[derive(Debug)]
struct Decision {
    id: DecisionId,
    time_us: TimeUs,
    person: u64,
    /// By number in [`Kept::ids`].
    logged: Box<[u32]>,
    chosen: [Box<[u32]>; 2],
    /// None where it is not known.
    weights: [Option<Weight>; 2],
}

/// How the logged choices weigh under a release.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Weight {
    /// Their probability over the logged propensity.
    weight: f64,
    /// The probability of choices that the log can not have.
    unsupported: f64,
}

// === impl Kept ===

impl Kept {
    pub(super) fn add(&mut self, record: &Record, person: u64, ran: [&Ran; 2]) {
        if record.id.is_of_a_page() {
            self.of_pages += 1;
            return;
        }
        let logged = record.choices.iter().filter_map(|choice| record.candidates.get(choice.candidate as usize));
        let logged = logged.map(|id| self.number(id)).collect();
        let chosen = ran.map(|ran| {
            let chosen = ran.outcome.choices.iter().filter_map(|choice| ran.rows.ids.get(choice.candidate as usize));
            chosen.map(|id| self.number(id)).collect()
        });
        let weights = ran.map(|ran| weight(record, ran));
        self.decisions.push(Decision { id: record.id, time_us: record.time_us, person, logged, chosen, weights });
    }

    fn number(&mut self, id: &Arc<str>) -> u32 {
        if let Some(number) = self.numbers.get(id) {
            return *number;
        }
        let number = self.ids.len() as u32;
        self.ids.push(id.clone());
        self.numbers.insert(id.clone(), number);
        number
    }

    /// The kinds of reward that one of them had.
    pub(super) fn kinds<'e>(&self, earned: &'e Earned) -> BTreeSet<&'e str> {
        self.decisions.iter().flat_map(|decision| earned.kinds_of(decision.id)).collect()
    }

    /// Whether there is none: then nothing is worth anything.
    pub(super) fn is_empty(&self) -> bool {
        self.decisions.is_empty()
    }

    /// Decisions that pages made, which are left out.
    pub(super) fn of_pages(&self) -> u64 {
        self.of_pages
    }

    /// What both releases are worth; `None` without any decision.
    pub(super) fn value(&self, wish: &Wish, earned: &Earned) -> Option<Value> {
        let mut means = Means::default();
        let mut rewards = Vec::with_capacity(self.decisions.len());
        for decision in &self.decisions {
            let chosen: Vec<&str> = decision.logged.iter().map(|at| &*self.ids[*at as usize]).collect();
            let of_choices = earned.of(wish, decision.id, decision.time_us, &chosen);
            for (choice, reward) in decision.logged.iter().zip(&of_choices) {
                means.add(decision.person, *choice, *reward);
            }
            rewards.push(of_choices.iter().sum::<f64>());
        }
        if self.decisions.is_empty() {
            return None;
        }
        let draws = |side: usize| -> Vec<Draw> {
            let known = self
                .decisions
                .iter()
                .zip(&rewards)
                .filter(|(decision, _)| decision.weights.iter().all(Option::is_some));
            let draw = |(decision, reward): (&Decision, &f64)| {
                let Weight { weight, unsupported } = decision.weights[side]?;
                let expected =
                    |choices: &[u32]| choices.iter().map(|choice| means.expected(decision.person, *choice)).sum();
                Some(Draw {
                    weight,
                    reward: *reward,
                    expected: expected(&decision.chosen[side]),
                    expected_logged: expected(&decision.logged),
                    unsupported,
                    person: decision.person,
                })
            };
            known.filter_map(draw).collect()
        };
        let (before, after) = (draws(0), draws(1));
        let (a, b) = (Worth::of(&before), Worth::of(&after));
        let unknown = 1.0 - after.len() as f64 / self.decisions.len() as f64;
        let mut insufficient = Vec::new();
        if unknown > MAX_UNKNOWN {
            insufficient.push(format!(
                "of {:.1} % of the decisions it is not known how probable the logged choices are: limits refused what a release that explores drew",
                unknown * 100.0
            ));
        }
        for (name, worth, draws) in [("A", &a, &before), ("B", &b, &after)] {
            let lacks = worth.lacks(draws, &Limits::default()).into_iter().map(|lack| format!("{name}: {lack}"));
            insufficient.extend(lacks);
        }
        let logged = rewards.iter().sum::<f64>() / rewards.len() as f64;
        Some(Value { window_us: wish.window_us, logged, change: Change::of(&before, &after), a, b, insufficient })
    }
}

// === impl Value ===

impl Value {
    /// The change by either estimate, relative to what A earns; `None` when nothing can be concluded.
    pub(crate) fn relative_change(&self) -> Option<[Interval; 2]> {
        let relative = |change: Interval, worth: Interval| {
            let by = worth.value.abs();
            Interval {
                value: change.value / by,
                standard_error: change.standard_error / by,
                low: change.low / by,
                high: change.high / by,
            }
        };
        let changes =
            [relative(self.change.snips, self.a.snips), relative(self.change.doubly_robust, self.a.doubly_robust)];
        self.insufficient.is_empty().then_some(changes)
    }
}

/// How what was logged weighs under a release. Propensities are of a choice given those above it, so those of a slate multiply. Where
/// limits come between draws and choices, it is not known how likely a release that explores would have chosen something else.
fn weight(record: &Record, ran: &Ran) -> Option<Weight> {
    let nothing = Weight { weight: 0.0, unsupported: 1.0 };
    let mut logged_propensity = 1.0;
    for choice in &record.choices {
        if !(choice.propensity > 0.0 && choice.propensity <= 1.0) {
            return Some(nothing);
        }
        logged_propensity *= choice.propensity;
    }
    let is_certain = logged_propensity == 1.0;
    if let Some(probability) = ran.probability {
        let unsupported = if is_certain { 1.0 - probability } else { 0.0 };
        return Some(Weight { weight: probability / logged_propensity, unsupported });
    }
    let mut probability = 1.0;
    let mut logged = record.choices.iter();
    let mut chosen = ran.outcome.choices.iter();
    loop {
        match (logged.next(), chosen.next()) {
            (None, None) => break,
            (Some(logged), Some(chosen))
                if record.candidates.get(logged.candidate as usize) == ran.rows.ids.get(chosen.candidate as usize) =>
            {
                probability *= chosen.propensity;
            }
            // It could have chosen what was logged, too: how probably, limits keep from being told.
            (Some(_), Some(chosen)) if chosen.propensity < 1.0 => return None,
            _ => {
                probability = 0.0;
                break;
            }
        }
    }
    let unsupported = if is_certain { 1.0 - probability } else { 0.0 };
    Some(Weight { weight: probability / logged_propensity, unsupported })
}

#[cfg(test)]
mod tests {
    use selvedge_decision::record::ChoiceRecord;
    use selvedge_decision::settle::Outcome;
    use selvedge_decision::{Digest, Reason};

    use super::super::carry::Rows;
    use super::*;

    const IDS: [&str; 3] = ["a", "b", "c"];

    fn choices(of: &[(u32, f64)]) -> Vec<ChoiceRecord> {
        let choice = |(slot, (candidate, propensity)): (usize, &(u32, f64))| ChoiceRecord {
            candidate: *candidate,
            slot: slot as u32,
            draw: slot as u32,
            score: 0.0,
            propensity: *propensity,
        };
        of.iter().enumerate().map(choice).collect()
    }

    fn record(id: DecisionId, logged: &[(u32, f64)]) -> Record {
        Record {
            id,
            time_us: 0,
            seed: 0,
            release: Digest::of(b"r"),
            core: 1,
            placement: "p".into(),
            subject: None,
            session: None,
            lots: vec![],
            slots: 2,
            candidates: IDS.map(Arc::from).to_vec(),
            choices: choices(logged),
            values: vec![],
            reason: Reason::Scored,
            experiment: None,
            arm: None,
            faults: vec![],
            max_lag_ms: 0,
            session_seq: 0,
            shadows: vec![],
            model: None,
            inputs: None,
        }
    }

    fn ran(chosen: &[(u32, f64)], probability: Option<f64>) -> Ran {
        let outcome = Outcome { choices: choices(chosen), ..Outcome::default() };
        Ran { rows: Rows::of(IDS.map(Arc::from).to_vec()), outcome, probability, cpu_ns: 0 }
    }

    #[test]
    fn what_was_logged_weighs_by_its_probability_under_a_release() {
        let known = |logged: &[(u32, f64)], chosen: &[(u32, f64)], probability, expected: Option<(f64, f64)>| {
            let found = weight(&record(DecisionId::new(0, 1, 2), logged), &ran(chosen, probability));
            let expected = expected.map(|(weight, unsupported)| Weight { weight, unsupported });
            assert_eq!(found, expected, "{logged:?} {chosen:?}");
        };
        let check = |logged: &[(u32, f64)], chosen: &[(u32, f64)], expected| known(logged, chosen, None, expected);
        // Of a release that leaves something to chance it is said how likely it would have been.
        known(&[(0, 0.5)], &[(1, 0.75)], Some(0.25), Some((0.5, 0.0)));
        known(&[(0, 1.0)], &[(1, 0.75)], Some(0.25), Some((0.25, 0.75)));
        known(&[(0, 0.5)], &[(1, 0.75)], Some(0.0), Some((0.0, 0.0)));
        check(&[(0, 1.0)], &[(0, 1.0)], Some((1.0, 0.0)));
        check(&[(0, 1.0)], &[(1, 1.0)], Some((0.0, 1.0)));
        check(&[(0, 1.0)], &[(0, 0.75)], Some((0.75, 0.25)));
        check(&[(0, 0.5)], &[(0, 1.0)], Some((2.0, 0.0)));
        check(&[(0, 0.5)], &[(1, 1.0)], Some((0.0, 0.0)));
        // What else it might have chosen is not told.
        check(&[(0, 0.5)], &[(1, 0.75)], None);
        check(&[(0, 0.0)], &[(0, 1.0)], Some((0.0, 1.0)));
        check(&[(0, f64::NAN)], &[(0, 1.0)], Some((0.0, 1.0)));
        check(&[(0, 0.5), (1, 0.5)], &[(0, 1.0), (1, 0.5)], Some((2.0, 0.0)));
        check(&[(0, 0.5), (1, 0.5)], &[(0, 0.5), (2, 1.0)], Some((0.0, 0.0)));
        check(&[(0, 1.0)], &[], Some((0.0, 1.0)));
        check(&[], &[], Some((1.0, 0.0)));
    }

    /// A page could say that its choices were improbable and brought much.
    #[test]
    fn what_pages_decided_is_worth_nothing() {
        let mut kept = Kept::default();
        let mut add =
            |id, logged| kept.add(&record(id, &[logged]), 1, [&ran(&[(0, 1.0)], None), &ran(&[(1, 1.0)], None)]);
        for count in 0..3 {
            add(DecisionId::new(0, 1, count), (0, 0.5));
            add(DecisionId::of_a_page(0, 1, count), (1, 1e-6));
        }
        let value = kept.value(&Wish::new("purchase"), &Earned::default());
        assert_eq!(value.map(|value| (value.a.decisions, value.b.decisions)), Some((3, 3)));
        assert_eq!(kept.of_pages(), 3);
    }
}
