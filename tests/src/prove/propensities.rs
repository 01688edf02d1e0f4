//! Propensities are true: what the decision core draws comes as often as it records, for every policy, in slates, with floors and
//! budgets; and the floors and budgets hold.

use std::collections::BTreeMap;
use std::sync::Arc;

use anyhow::{Result, ensure};
use selvedge_decision::Record;
use serde_json::{Value, json};

use super::{Findings, Scale, chi};
use crate::harness::Random;
use crate::harness::decision::{Ask, Core, SCORER};

const ACTIONS: usize = 6;
const START_US: i64 = 1_795_435_200_000_000;
/// What may come by chance, in one of all tests together.
const P: f64 = 0.001;
const ROUNDING: f64 = 1e-12;
/// The short form's choices: one in a thousand seeds misses by chance, which is no reason for a test to fail.
const SHORT_SEED: u64 = 1;

/// A policy, how many it chooses, its floor and its budget.
struct Policy {
    choose: Value,
    slots: usize,
    floor: f64,
    budget: f64,
}

/// A slate by its candidates in their order: how often it came, and what was recorded of each place.
type Slates = BTreeMap<Vec<u32>, (u64, Vec<f64>)>;

pub(super) async fn run(scale: Scale) -> Result<Findings> {
    let mut findings = Findings::default();
    let policies = policies();
    let (situations, draws) = scale.pick((4, 25_000), (1, 5_000));
    let tests = (policies.len() * situations) as f64;
    let mut random = Random::new(if scale.short { SHORT_SEED } else { scale.seed });
    for policy in &policies {
        let mut least: f64 = 1.0;
        for _ in 0..situations {
            let p = situation(policy, draws, P / tests, &mut random, &mut findings)?;
            least = least.min(p);
        }
        findings.note(format!("{}: {situations} x {draws} draws, p = {least:.4} or more", policy.choose));
    }
    Ok(findings)
}

fn policies() -> Vec<Policy> {
    let policy = |choose: Value, slots: usize| Policy {
        floor: choose["floor"].as_f64().unwrap_or(0.0),
        budget: choose["budget"].as_f64().unwrap_or(1.0),
        choose,
        slots,
    };
    vec![
        policy(json!({"policy": "argmax", "floor": 0.05}), 2),
        policy(json!({"policy": "epsilon", "epsilon": 0.3}), 1),
        policy(json!({"policy": "epsilon", "epsilon": 0.6, "budget": 0.2, "floor": 0.01}), 2),
        policy(json!({"policy": "softmax", "temperature": 0.3}), 3),
        policy(json!({"policy": "softmax", "temperature": 0.1, "floor": 0.03}), 3),
        policy(json!({"policy": "softmax", "temperature": 1.0, "budget": 0.3}), 2),
        policy(json!({"policy": "thompson", "reward": "click"}), 1),
        policy(json!({"policy": "thompson", "reward": "click", "floor": 0.02}), 1),
        policy(json!({"policy": "thompson", "reward": "click"}), 3),
        policy(json!({"policy": "thompson", "reward": "click", "floor": 0.02, "budget": 0.25}), 2),
        policy(logistic(json!({})), 1),
        policy(logistic(json!({"floor": 0.02})), 1),
        policy(logistic(json!({})), 3),
        policy(logistic(json!({"floor": 0.02, "budget": 0.25})), 2),
    ]
}

/// Thompson with a model.
fn logistic(mut choose: Value) -> Value {
    choose["policy"] = json!("thompson");
    choose["model"] = json!("logistic");
    choose["reward"] = json!("click");
    choose["features"] = json!(["context.u"]);
    choose
}

/// One policy with any scores and any posterior: the test's p.
fn situation(policy: &Policy, draws: u32, p: f64, random: &mut Random, findings: &mut Findings) -> Result<f64> {
    let actions: Vec<Value> = (0..ACTIONS).map(|at| json!({"id": format!("action-{at}")})).collect();
    let mut placement =
        json!({"actions": actions, "fallback": ["action-0"], "choose": policy.choose, "slots": policy.slots});
    if policy.choose["policy"] != "thompson" {
        placement["ladder"] = json!([SCORER]);
    }
    let is_logistic = policy.choose["model"] == "logistic";
    if is_logistic {
        placement["context"] = json!({"u": "number"});
    }
    let mut core = Core::new(&json!({ "p": placement }))?;
    let scores: Vec<f64> = (0..ACTIONS).map(|_| random.unit()).collect();
    // From nothing known to thousands of trials, with rates that are near to each other.
    let posterior: Vec<[f64; 2]> = (0..ACTIONS)
        .map(|_| {
            let trials = (10f64 * libm::pow(10.0, 3.0 * random.unit()) - 10.0).round();
            let rate = 0.05 + 0.1 * random.unit();
            let rewards = (trials * rate).round();
            // Of a model: the logit and its variance, as after so many trials.
            let logit = [libm::log(rate / (1.0 - rate)), 1.0 / (0.5 + trials * rate * (1.0 - rate))];
            if is_logistic { logit } else { [rewards, trials - rewards] }
        })
        .collect();
    let mut slates = Slates::new();
    let tag = random.below(1 << 30) as u32;
    for count in 0..draws {
        let ask = Ask {
            placement: "p",
            time_us: START_US + i64::from(count) * 1_000,
            tag,
            count,
            subject: None,
            candidates: None,
            scores: &scores,
            context: if is_logistic { &[0.5] } else { &[] },
        };
        let record = core.decide(ask, |_, ids: &[Arc<str>], _| posterior[..ids.len()].to_vec())?;
        bounds(policy, &record, findings);
        let slate = record.choices.iter().map(|choice| choice.candidate).collect();
        let propensities: Vec<f64> = record.choices.iter().map(|choice| choice.propensity).collect();
        let known = slates.entry(slate).or_insert_with(|| (0, propensities.clone()));
        known.0 += 1;
        ensure!(known.1 == propensities, "one slate with two propensities: {:?} and {propensities:?}", known.1);
    }
    budget(policy, &slates, findings);
    let of = |propensities: &[f64]| propensities.iter().product::<f64>();
    let all: f64 = slates.values().map(|(_, propensities)| of(propensities)).sum();
    findings.check(all <= 1.0 + 1e-9, || format!("{}: the propensities of slates add up to {all}", policy.choose));
    let cells = slates.values().map(|(count, propensities)| (*count, of(propensities) * f64::from(draws)));
    let found = chi::p_value(cells, u64::from(draws));
    findings.check(found > p, || format!("{}: p = {found:e} with {scores:?}, {posterior:?}", policy.choose));
    Ok(found)
}

/// As many as asked for, each with a probability that is one and keeps the floor.
fn bounds(policy: &Policy, record: &Record, findings: &mut Findings) {
    let keeps = |(place, propensity): (usize, f64)| {
        let floor = policy.floor.min(1.0 / (ACTIONS - place) as f64);
        propensity > 0.0 && propensity >= floor - ROUNDING && propensity <= 1.0 + ROUNDING
    };
    let choices = || record.choices.iter().map(|choice| choice.propensity).enumerate();
    let holds = record.choices.len() == policy.slots && choices().all(keeps);
    findings.check(holds, || format!("{}: {:?}", policy.choose, record.choices));
}

/// Others than the best have no more than the budget and what the floor gives them, in the first draw.
fn budget(policy: &Policy, slates: &Slates, findings: &mut Findings) {
    let firsts: BTreeMap<u32, f64> = slates.iter().map(|(slate, (_, p))| (slate[0], p[0])).collect();
    let best = firsts.values().copied().fold(0.0, f64::max);
    let others: f64 = firsts.values().sum::<f64>() - best;
    let n = ACTIONS as f64;
    let most = policy.budget * (1.0 - policy.floor * n) + policy.floor * (n - 1.0);
    // With a budget of more than half, the likeliest need not be the best.
    let holds = policy.budget > 0.5 || others <= most + ROUNDING;
    findings.check(holds, || format!("{}: others than the best have {others}, at most {most}", policy.choose));
}
