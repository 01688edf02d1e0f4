//! What policies and limits cost, by the decision core alone: an experiment whose arms learn, over 20 actions, and limits over 200
//! candidates, each against the plain best of the same candidates in the same round.

use std::hint::black_box;
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::{Context, Result, ensure};
use selvedge_decision::{Epoch, Record};
use selvedge_node::bandits::{Bandits, Learner};
use selvedge_node::clock::Clock;
use selvedge_node::outbox::Follower;
use serde_json::{Value, json};

use super::measure::{Round, median};
use super::{Effort, Line};
use crate::harness::Random;
use crate::harness::decision::{Ask, Core, SCORER};

const ACTIONS: usize = 20;
const CANDIDATES: usize = 200;
const SLOTS: usize = 10;
const START_US: i64 = 1_795_435_200_000_000;
/// Bars, in microseconds over the plain best.
const THOMPSON_BAR_US: f64 = 8.0;
const LIMITS_BAR_US: f64 = 15.0;
/// Decisions that were learned from before: enough for posteriors that differ.
const LEARNED: u32 = 2_000;
const FEATURES: [&str; 4] = ["stock", "margin", "brand", "own"];

/// What is compared with the plain best, over the rounds.
#[derive(Default)]
struct Rounds {
    plain: Vec<Round>,
    other: Vec<Round>,
}

pub(super) async fn run(effort: Effort) -> Result<Vec<Line>> {
    let mut lines = learning(effort)?;
    lines.extend(limits(effort)?);
    Ok(lines)
}

// === experiment and thompson ===

fn learning(effort: Effort) -> Result<Vec<Line>> {
    let actions: Vec<Value> = (0..ACTIONS).map(|at| json!({"id": format!("action-{at:02}")})).collect();
    let plain = json!({"actions": actions, "fallback": ["action-00"], "ladder": [SCORER]});
    let choose = json!({"policy": "thompson", "reward": "click", "floor": 0.01});
    let arms = json!([{"name": "one", "weight": 50}, {"name": "two", "weight": 50, "choose": choose}]);
    let mut tried = plain.clone();
    tried["choose"] = choose;
    // What is learned scores: there is no scorer beside.
    tried["ladder"] = json!([]);
    tried["experiment"] = json!([{"key": "e", "unit": "subject", "arms": arms}]);
    let mut core = Core::new(&json!({"plain": plain, "tried": tried}))?;
    let learners = learned(&mut core)?;
    let (mut same, mut changed) = (Rounds::default(), Rounds::default());
    let calls = effort.scale(20_000);
    for _ in 0..effort.rounds {
        let plain = round(&mut core, "plain", calls, |_, _| Vec::new());
        same.plain.push(plain);
        same.other.push(round(&mut core, "tried", calls, |bandit, ids| learners[bandit].learned(ids)));
        let mut more = 0.0;
        changed.plain.push(plain);
        changed.other.push(round(&mut core, "tried", calls / 10, |bandit, ids| {
            let mut known = learners[bandit].learned(ids);
            more += 1.0;
            known[0][1] += more;
            known
        }));
    }
    let what = format!("over the plain best of {ACTIONS} actions");
    Ok(vec![
        Line::reported(
            format!("policies: the plain best of {ACTIONS} actions"),
            same.plain().quantiles(),
            "a decision",
        ),
        same.line("policies: experiment and thompson, nothing new learned", THOMPSON_BAR_US, &what),
        changed.line("policies: experiment and thompson, something new learned each time", THOMPSON_BAR_US, &what),
    ])
}

/// What a node has learned of the actions of each bandit, from decisions of its own.
fn learned(core: &mut Core) -> Result<Vec<Arc<Learner>>> {
    let bandits = Bandits::new("bench".parse()?, Epoch::new(1, 1), Clock::new(), PathBuf::from("bandits.json"));
    let learners = bandits.bind(&core.plan);
    for count in 0..LEARNED {
        let subject = format!("u-{count}");
        let record = decide(core, "tried", count, &subject, None, &[], |bandit, ids| learners[bandit].learned(ids))?;
        bandits.recorded(u64::from(count) + 1, std::slice::from_ref(&record));
    }
    bandits.weigh();
    let first = learners.first().context("no bandit")?;
    ensure!(first.learned(&first_ids(core)?).iter().any(|known| known[1] > 0.0), "nothing was learned");
    Ok(learners)
}

fn first_ids(core: &Core) -> Result<Vec<Arc<str>>> {
    Ok(core.plan.bandits.first().context("no bandit")?.actions.clone())
}

/// Decisions of different subjects.
fn round(
    core: &mut Core,
    placement: &str,
    calls: usize,
    mut learned: impl FnMut(usize, &[Arc<str>]) -> Vec<[f64; 2]>,
) -> Round {
    let subjects: Vec<String> = (0..1_000).map(|at| format!("u-{at}")).collect();
    let scores: Vec<f64> = (0..ACTIONS).map(|at| (at * 7 % ACTIONS) as f64).collect();
    let mut count = 0;
    Round::on_this_thread(calls, || {
        count += 1;
        let subject = &subjects[count as usize % subjects.len()];
        drop(black_box(decide(core, placement, count, subject, None, &scores, &mut learned)));
    })
}

fn decide(
    core: &mut Core,
    placement: &str,
    count: u32,
    subject: &str,
    candidates: Option<&[&str]>,
    scores: &[f64],
    learned: impl FnMut(usize, &[Arc<str>]) -> Vec<[f64; 2]>,
) -> Result<Record> {
    let time_us = START_US + i64::from(count);
    core.decide(Ask { placement, time_us, tag: 7, count, subject: Some(subject), candidates, scores }, learned)
}

// === limits ===

fn limits(effort: Effort) -> Result<Vec<Line>> {
    let limits = json!({
        "above": {"item.stock": 0},
        "at_least": {"item.margin": 0.1},
        "max_per": {"item.brand": 2},
        "min_share": [{"of": "item.own", "is": 1.0, "share": 0.3}],
    });
    let plain = json!({
        "candidates": {"view": "item", "from": "request"}, "slots": SLOTS, "ladder": [SCORER],
        "fallback": {"by": "item.stock"},
    });
    let mut limited = plain.clone();
    limited["limits"] = limits;
    let mut random = Random::new(5);
    let items = (0..CANDIDATES).map(|at| {
        let number = |share: f64, random: &mut Random| f64::from(random.unit() < share);
        let (stock, own) = (number(0.9, &mut random), number(0.1, &mut random));
        (format!("sku-{at}"), vec![stock, random.unit(), random.below(20) as f64, own])
    });
    let mut core = Core::with_items(&json!({"plain": plain, "limited": limited}), &FEATURES, items)?;
    let ids: Vec<String> = (0..CANDIDATES).map(|at| format!("sku-{at}")).collect();
    let ids: Vec<&str> = ids.iter().map(String::as_str).collect();
    let scores: Vec<f64> = ids.iter().map(|_| random.unit()).collect();
    let plainly = decide(&mut core, "plain", 0, "u", Some(&ids), &scores, |_, _| Vec::new())?;
    let limited = decide(&mut core, "limited", 0, "u", Some(&ids), &scores, |_, _| Vec::new())?;
    ensure!(plainly.choices != limited.choices, "the limits changed nothing");
    ensure!(limited.choices.len() == SLOTS, "{} choices", limited.choices.len());
    let mut rounds = Rounds::default();
    let mut measured = |placement: &str| {
        let mut count = 0;
        Round::on_this_thread(effort.scale(10_000), || {
            count += 1;
            drop(black_box(decide(&mut core, placement, count, "u", Some(&ids), &scores, |_, _| Vec::new())));
        })
    };
    for _ in 0..effort.rounds {
        rounds.plain.push(measured("plain"));
        rounds.other.push(measured("limited"));
    }
    let what = format!("over the plain best of {CANDIDATES} candidates, {SLOTS} choices, both with these features");
    Ok(vec![
        Line::reported(
            format!("policies: the plain best of {CANDIDATES} candidates"),
            rounds.plain().quantiles(),
            "a decision, 4 features of each gathered",
        ),
        rounds.line("policies: limits: stock, margin, 2 of a brand, a share", LIMITS_BAR_US, &what),
    ])
}

// === impl Rounds ===

impl Rounds {
    fn plain(&self) -> Round {
        Round::medians(&self.plain)
    }

    /// The median over the rounds of what the other costs more, against the bar.
    fn line(&self, name: &str, bar_us: f64, what: &str) -> Line {
        let more = median(self.plain.iter().zip(&self.other).map(|(plain, other)| other.p50_us - plain.p50_us));
        let other = Round::medians(&self.other);
        Line::time(name, other.quantiles(), more, bar_us, format!("{more:.2} us {what}"))
    }
}
