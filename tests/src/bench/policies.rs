//! What policies and limits cost, by the decision core alone: an experiment whose arms learn, over 20 actions, a model of each of them,
//! and limits over 200 candidates, each against the plain best of the same candidates in the same round.

use std::collections::BTreeMap;
use std::hint::black_box;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use selvedge_decision::{Epoch, Record};
use selvedge_node::bandits::{Bandits, Learner};
use selvedge_node::clock::Clock;
use selvedge_node::events::Event;
use selvedge_node::outbox::{Follower, Lane};
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
const MODEL_BAR_US: f64 = 30.0;
const LIMITS_BAR_US: f64 = 15.0;
/// Features of the model.
const MODEL_FEATURES: usize = 32;
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
    lines.extend(modelled(effort)?);
    lines.extend(limits(effort)?);
    Ok(lines)
}

// === experiment and thompson ===

/// What learns, and what it learned.
struct Lab {
    bandits: Bandits,
    learners: Vec<Arc<Learner>>,
    seq: u64,
}

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
    let mut lab = Lab::learned(&mut core, "tried", &[])?;
    let (mut same, mut changed) = (Rounds::default(), Rounds::default());
    let calls = effort.scale(20_000);
    for _ in 0..effort.rounds {
        let plain = round(&mut core, "plain", calls, &[], |_, _, _| Vec::new());
        same.plain.push(plain);
        same.other.push(round(&mut core, "tried", calls, &[], |bandit, ids, x| lab.learners[bandit].learned(ids, x)));
        changed.plain.push(plain);
        changed.other.push(lab.round(&mut core, "tried", calls / 10, &[]));
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

/// A model of each action, whose distributions are others for every request.
fn modelled(effort: Effort) -> Result<Vec<Line>> {
    let actions: Vec<Value> = (0..ACTIONS).map(|at| json!({"id": format!("action-{at:02}")})).collect();
    let names: Vec<String> = (0..MODEL_FEATURES).map(|at| format!("u{at:02}")).collect();
    let context: BTreeMap<&String, &str> = names.iter().map(|name| (name, "number")).collect();
    let features: Vec<String> = names.iter().map(|name| format!("context.{name}")).collect();
    let choose =
        json!({"policy": "thompson", "model": "logistic", "reward": "click", "floor": 0.01, "features": features});
    let plain = json!({"actions": actions, "fallback": ["action-00"], "ladder": [SCORER], "context": context});
    let mut tried = plain.clone();
    tried["choose"] = choose;
    tried["ladder"] = json!([]);
    let mut core = Core::new(&json!({"plain": plain, "tried": tried}))?;
    let mut random = Random::new(9);
    let contexts: Vec<Vec<f64>> =
        (0..1_000).map(|_| (0..MODEL_FEATURES).map(|_| 4.0 * random.unit() - 2.0).collect()).collect();
    let mut rounds = Rounds::default();
    let calls = effort.scale(20_000);
    let lab = Lab::learned(&mut core, "tried", &contexts)?;
    for _ in 0..effort.rounds {
        rounds.plain.push(round(&mut core, "plain", calls, &contexts, |_, _, _| Vec::new()));
        let learned = |bandit: usize, ids: &[Arc<str>], x: &[i8]| lab.learners[bandit].learned(ids, x);
        rounds.other.push(round(&mut core, "tried", calls, &contexts, learned));
    }
    let what =
        format!("over the plain best of {ACTIONS} actions, for {MODEL_FEATURES} features and other ones each time");
    Ok(vec![rounds.line("policies: thompson with a logistic model", MODEL_BAR_US, &what)])
}

// === impl Lab ===

impl Lab {
    /// What a node has learned of the actions of each bandit, from decisions of its own of which some were rewarded.
    fn learned(core: &mut Core, placement: &str, contexts: &[Vec<f64>]) -> Result<Self> {
        let bandits = Bandits::new("bench".parse()?, Epoch::new(1, 1), Clock::new(), PathBuf::from("bandits.json"));
        let learners = bandits.bind(&core.plan);
        let mut lab = Self { bandits, learners, seq: 0 };
        let mut random = Random::new(3);
        for count in 0..LEARNED {
            let record = lab.decide(core, placement, count, contexts)?;
            lab.learn(&record, random.unit() < 0.05);
        }
        lab.bandits.weigh();
        let actions = core.plan.bandits.first().context("no bandit")?.actions.clone();
        let x = vec![0; actions.len() * contexts.first().map_or(0, Vec::len)];
        let known = lab.learners.first().context("no bandit")?.learned(&actions, &x);
        ensure!(known.windows(2).any(|pair| pair[0] != pair[1]), "nothing was learned");
        Ok(lab)
    }

    fn decide(&self, core: &mut Core, placement: &str, count: u32, contexts: &[Vec<f64>]) -> Result<Record> {
        let subject = format!("u-{count}");
        let context = of_turn(contexts, count);
        let learned = |bandit: usize, ids: &[Arc<str>], x: &[i8]| self.learners[bandit].learned(ids, x);
        decide(core, placement, count, Asked { context, ..Asked::of(&subject) }, learned)
    }

    fn learn(&mut self, record: &Record, rewarded: bool) {
        self.seq += 1;
        self.bandits.recorded(self.seq, std::slice::from_ref(record));
        if rewarded {
            let event = Event {
                time_us: record.time_us,
                received_us: record.time_us,
                name: "click".into(),
                subject: None,
                session: None,
                item: None,
                decision_id: Some(record.id),
                message_id: None,
                properties: "{}".into(),
                joined: None,
            };
            self.bandits.stored(Lane::Events, self.seq, std::slice::from_ref(&event));
        }
    }

    /// Decisions of which each is learned from before the next: what a node does off the way of those who ask is not timed.
    fn round(&mut self, core: &mut Core, placement: &str, calls: usize, contexts: &[Vec<f64>]) -> Round {
        let mut count = LEARNED;
        Round::timed(calls, || {
            count += 1;
            let started = Instant::now();
            self.learners.iter().filter_map(|learner| learner.ready()).for_each(|ready| core.offer(&ready));
            let record = black_box(self.decide(core, placement, count, contexts));
            let took = started.elapsed();
            record.iter().for_each(|record| self.learn(record, false));
            self.bandits.weigh();
            took
        })
    }
}

fn of_turn(contexts: &[Vec<f64>], count: u32) -> &[f64] {
    contexts.get(count as usize % contexts.len().max(1)).map_or(&[], Vec::as_slice)
}

/// Decisions of different subjects.
fn round(
    core: &mut Core,
    placement: &str,
    calls: usize,
    contexts: &[Vec<f64>],
    mut learned: impl FnMut(usize, &[Arc<str>], &[i8]) -> Vec<[f64; 2]>,
) -> Round {
    let subjects: Vec<String> = (0..1_000).map(|at| format!("u-{at}")).collect();
    let scores: Vec<f64> = (0..ACTIONS).map(|at| (at * 7 % ACTIONS) as f64).collect();
    let mut count = 0;
    Round::on_this_thread(calls, || {
        count += 1;
        let subject = &subjects[count as usize % subjects.len()];
        let asked = Asked { scores: &scores, context: of_turn(contexts, count), ..Asked::of(subject) };
        drop(black_box(decide(core, placement, count, asked, &mut learned)));
    })
}

/// What a decision here is asked with.
#[derive(Clone, Copy)]
struct Asked<'a> {
    subject: &'a str,
    candidates: Option<&'a [&'a str]>,
    scores: &'a [f64],
    context: &'a [f64],
}

// === impl Asked ===

impl<'a> Asked<'a> {
    fn of(subject: &'a str) -> Self {
        Self { subject, candidates: None, scores: &[], context: &[] }
    }
}

fn decide(
    core: &mut Core,
    placement: &str,
    count: u32,
    asked: Asked<'_>,
    learned: impl FnMut(usize, &[Arc<str>], &[i8]) -> Vec<[f64; 2]>,
) -> Result<Record> {
    let Asked { subject, candidates, scores, context } = asked;
    let time_us = START_US + i64::from(count);
    core.decide(Ask { placement, time_us, tag: 7, count, subject: Some(subject), candidates, scores, context }, learned)
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
    let asked = Asked { candidates: Some(&ids), scores: &scores, ..Asked::of("u") };
    let plainly = decide(&mut core, "plain", 0, asked, |_, _, _| Vec::new())?;
    let limited = decide(&mut core, "limited", 0, asked, |_, _, _| Vec::new())?;
    ensure!(plainly.choices != limited.choices, "the limits changed nothing");
    ensure!(limited.choices.len() == SLOTS, "{} choices", limited.choices.len());
    let mut rounds = Rounds::default();
    let mut measured = |placement: &str| {
        let mut count = 0;
        Round::on_this_thread(effort.scale(10_000), || {
            count += 1;
            drop(black_box(decide(&mut core, placement, count, asked, |_, _, _| Vec::new())));
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
