//! Nodes that learn apart and merge now and then lose little against one learner that sees everything at once: eight nodes that
//! meet the core every ten seconds, all the while and with two of them cut off for ten minutes; by the rates of actions, and by a model
//! where it depends on the request which action is best. Virtual time; the nodes' own code for learning and merging, and the core's
//! for deciding.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use anyhow::{Context, Result, anyhow};
use bytes::Bytes;
use selvedge_decision::{DecisionId, Epoch, NodeId, Plan, Record};
use selvedge_node::bandits::{Bandits, Block, Learner, Merging, Snapshot};
use selvedge_node::clock::Clock;
use selvedge_node::events::Event;
use selvedge_node::outbox::block::Items;
use selvedge_node::outbox::{Follower, Lane};
use serde_json::{Value, json};

use super::{Findings, Scale};
use crate::harness::Random;
use crate::harness::decision::{Ask, Core};

const NODES: usize = 8;
/// What the nodes may lose, over what the one learner loses.
const TOGETHER: f64 = 1.15;
const CUT_OFF: f64 = 1.25;
/// The bar of the short form, whose two small worlds swing by more than the bars allow: learning that is merged wrongly costs many times
/// as much.
const SHORT: f64 = 2.0;
const SECOND_US: i64 = 1_000_000;
const START_US: i64 = 1_795_435_200_000_000;
const SYNC_US: i64 = 10 * SECOND_US;
/// Nodes that are cut off, and from when to when.
const CUT: usize = 2;
const CUT_FROM_US: i64 = START_US + 600 * SECOND_US;
const CUT_UNTIL_US: i64 = CUT_FROM_US + 600 * SECOND_US;
/// A reward comes at most so long after its decision.
const REWARD_WITHIN_US: u64 = 20_000_000;
const MOST: usize = 1_000_000;
/// The short form's worlds: how chance falls there is known, so that no test fails by chance.
const SHORT_SEED: u64 = 1;

/// What is run.
#[derive(Debug, Clone, Copy)]
struct Size {
    seeds: u64,
    /// How often each world is run: what one run loses is chance for the most part.
    runs: u64,
    seconds: i64,
    /// Decisions a second of all nodes together.
    rate: i64,
    actions: usize,
}

/// How the decisions are spread.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Spread {
    /// One learner has them all and learns at once.
    Central,
    /// All nodes meet the core every ten seconds.
    Nodes,
    /// Two of them do not for ten minutes.
    CutOff,
}

/// A node as far as it learns.
struct Site {
    node: NodeId,
    epoch: Epoch,
    bandits: Bandits,
    learner: Arc<Learner>,
    records: Waiting<Record>,
    events: Waiting<Event>,
    count: u32,
}

/// What was not told to the core yet.
struct Waiting<T> {
    first_seq: u64,
    items: Vec<T>,
}

/// The probability of a reward.
struct World {
    /// By situation: the number that a request brings, and the rate of each action. Without a number there is one situation.
    situations: Vec<(Option<f64>, Vec<f64>)>,
}

/// What requests bring where it matters.
const CONTEXTS: [f64; 5] = [-1.0, -0.5, 0.0, 0.5, 1.0];

pub(super) async fn run(scale: Scale) -> Result<Findings> {
    let mut findings = Findings::default();
    let rates = scale.pick(
        Size { seeds: 10, runs: 12, seconds: 3_600, rate: 20, actions: 5 },
        Size { seeds: 2, runs: 2, seconds: 3_600, rate: 2, actions: 4 },
    );
    compare(scale, "rates of actions", rates, World::drawn, &mut findings)?;
    let model = scale.pick(
        Size { seeds: 10, runs: 4, seconds: 3_600, rate: 10, actions: 4 },
        Size { seeds: 2, runs: 2, seconds: 3_600, rate: 1, actions: 3 },
    );
    compare(scale, "a model", model, World::drawn_by_context, &mut findings)?;
    Ok(findings)
}

fn compare(
    scale: Scale,
    by: &str,
    size: Size,
    drawn: fn(&mut Random, usize) -> World,
    findings: &mut Findings,
) -> Result<()> {
    let seed = if scale.short { SHORT_SEED } else { scale.seed };
    findings.note(format!("by {by}: {size:?}; regret is what the best action would have brought more"));
    findings.note("   seed    central   8 nodes  ratio   2 cut off  ratio".into());
    let mut worlds = vec![[0.0; 3]; size.seeds as usize];
    for ran in simulations(size, seed, drawn)? {
        worlds[ran.world][ran.spread] += ran.lost / size.runs as f64;
        findings.join(ran.found);
    }
    let mut sums = [0.0; 3];
    for (world, lost) in worlds.into_iter().enumerate() {
        findings.note(row(&format!("{}", seed.wrapping_add(world as u64)), lost));
        sums.iter_mut().zip(lost).for_each(|(sum, lost)| *sum += lost);
    }
    findings.note(row("all", sums));
    for (what, lost, bar) in [("8 nodes", sums[1], TOGETHER), ("2 of 8 cut off", sums[2], CUT_OFF)] {
        let (ratio, bar) = (lost / sums[0], if scale.short { SHORT } else { bar });
        findings.check(ratio <= bar, || {
            format!("{what}, by {by}: {ratio:.3} times the central learner's regret, at most {bar}")
        });
    }
    Ok(())
}

/// A simulation that is over.
struct Ran {
    /// Which one of all.
    at: usize,
    world: usize,
    spread: usize,
    lost: f64,
    found: Findings,
}

/// Each world so often under each spread, on all cores; in their order.
fn simulations(size: Size, seed: u64, drawn: fn(&mut Random, usize) -> World) -> Result<Vec<Ran>> {
    const SPREADS: [Spread; 3] = [Spread::Central, Spread::Nodes, Spread::CutOff];
    let each = size.runs as usize * SPREADS.len();
    let (total, next) = (size.seeds as usize * each, AtomicUsize::new(0));
    let work = || {
        let mut done = Vec::new();
        loop {
            let at = next.fetch_add(1, Ordering::Relaxed);
            if at >= total {
                return Ok(done);
            }
            let (world, run, spread) = (at / each, at % each / SPREADS.len(), at % SPREADS.len());
            let world_seed = seed.wrapping_add(world as u64);
            let chance = Random::new(world_seed << 16 | run as u64).bits();
            let of = drawn(&mut Random::new(world_seed), size.actions);
            let mut found = Findings::default();
            let lost = simulate(size, SPREADS[spread], &of, chance, &mut found);
            let lost = lost.inspect_err(|_| next.store(total, Ordering::Relaxed))?;
            done.push(Ran { at, world, spread, lost, found });
        }
    };
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let each: Vec<Result<Vec<_>>> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..cores).map(|_| scope.spawn(work)).collect();
        let joined = threads.into_iter().map(|thread| thread.join());
        joined.map(|done| done.unwrap_or_else(|_| Err(anyhow!("a simulation broke off")))).collect()
    });
    let mut all: Vec<_> = each.into_iter().collect::<Result<Vec<_>>>()?.into_iter().flatten().collect();
    all.sort_unstable_by_key(|ran| ran.at);
    Ok(all)
}

fn row(name: &str, [central, nodes, cut_off]: [f64; 3]) -> String {
    let (one, two) = (nodes / central, cut_off / central);
    format!("{name:>7} {central:>10.1} {nodes:>9.1} {one:>6.3} {cut_off:>11.1} {two:>6.3}")
}

/// What the choices lose against the best action, as expected of their rates.
fn simulate(size: Size, spread: Spread, world: &World, chance: u64, findings: &mut Findings) -> Result<f64> {
    let actions: Vec<Value> = (0..size.actions).map(|at| json!({"id": format!("action-{at}")})).collect();
    let mut placement = json!({"actions": actions, "fallback": ["action-0"]});
    placement["choose"] = json!({"policy": "thompson", "reward": "click"});
    let is_by_model = world.situations.len() > 1;
    if is_by_model {
        placement["context"] = json!({"u": "number"});
        placement["choose"]["model"] = json!("logistic");
        placement["choose"]["features"] = json!(["context.u"]);
    }
    let mut core = Core::new(&json!({"p": placement}))?;
    let spec = core.plan.bandits.first().context("no bandit")?.clone();
    let mut merging = Merging::new(&spec, Snapshot::new(&spec), MOST, 0);
    let count = if spread == Spread::Central { 1 } else { NODES };
    let mut sites = (0..count).map(|at| Site::new(at, chance as u32, &core.plan)).collect::<Result<Vec<_>>>()?;
    let mut random = Random::new(chance);
    let mut due: BTreeMap<(i64, u64), (usize, DecisionId)> = BTreeMap::new();
    let (mut lost, mut rewarded, mut blocks) = (0.0, 0, 0);
    let (mut next_sync_us, total) = (START_US + SYNC_US, (size.seconds * size.rate) as u64);
    for n in 0..total {
        let now_us = START_US + n as i64 * SECOND_US / size.rate;
        while let Some(entry) = due.first_entry().filter(|entry| entry.key().0 <= now_us) {
            let ((at_us, _), (site, id)) = entry.remove_entry();
            sites[site].reward(id, at_us);
        }
        if now_us >= next_sync_us {
            next_sync_us += SYNC_US;
            let is_cut = spread == Spread::CutOff && (CUT_FROM_US..CUT_UNTIL_US).contains(&now_us);
            let apart = if is_cut { CUT } else { 0 };
            sync(&mut sites[apart..], &mut merging, now_us, &mut blocks);
        }
        // The same decisions at the same times for the same people, whoever makes them.
        let at = random.below(NODES as u64) as usize % count;
        let (luck, later_us) = (random.unit(), random.below(REWARD_WITHIN_US) as i64);
        let situation = if is_by_model { random.below(world.situations.len() as u64) as usize } else { 0 };
        let (context, rates) = &world.situations[situation];
        let (choice, id) = sites[at].decide(&mut core, context.as_slice(), now_us)?;
        lost += rates.iter().copied().fold(0.0, f64::max) - rates[choice];
        if luck < rates[choice] {
            rewarded += 1;
            due.insert((now_us + later_us, n), (at, id));
        }
    }
    for ((at_us, _), (site, id)) in due {
        sites[site].reward(id, at_us);
    }
    // All of it is there once, at the core and on every node.
    sync(&mut sites, &mut merging, next_sync_us, &mut blocks);
    if spread != Spread::Central {
        let sums = merging.snapshot.tally.totals().fold((0, 0), |sum, one| (sum.0 + one.1, sum.1 + one.2));
        findings.check(sums == (total as i64, rewarded), || {
            format!("{sums:?} at the core, expected {total} decisions with {rewarded} rewards")
        });
    }
    let ask = |site: &Site, u: i8| site.learner.learned(&spec.actions, &vec![u; spec.actions.len()]);
    for site in sites.iter().filter(|_| is_by_model) {
        let same = [-16, 8].into_iter().all(|u| {
            let both = ask(site, u).into_iter().zip(ask(&sites[0], u));
            both.into_iter().all(|(a, b)| a.iter().zip(b).all(|(a, b)| (a - b).abs() <= 1e-9 * (1.0 + b.abs())))
        });
        findings.check(same, || format!("{}: {:?}, not {:?}", site.node, ask(site, 8), ask(&sites[0], 8)));
    }
    for site in sites.iter().filter(|_| !is_by_model) {
        let known = site.learner.learned(&spec.actions, &[]);
        let sums = known.iter().fold((0.0, 0.0), |sum, one| (sum.0 + one[0] + one[1], sum.1 + one[0]));
        findings.check(sums == (total as f64, rewarded as f64), || {
            format!("{}: {sums:?}, expected {total} decisions with {rewarded} rewards", site.node)
        });
    }
    Ok(lost)
}

/// Nodes tell what they have, and hear what all have.
fn sync(sites: &mut [Site], merging: &mut Merging, now_us: i64, blocks: &mut u64) {
    for site in sites.iter_mut() {
        let (records, events) = (site.records.take(), site.events.take());
        let told = [
            (Lane::Decisions, records.0, Items::Records(records.1)),
            (Lane::Events, events.0, Items::Events(events.1)),
        ];
        for (lane, first_seq, items) in told {
            *blocks += 1;
            let block = Block { node: site.node.clone(), epoch: site.epoch, lane, first_seq, items };
            merging.take(&block, *blocks, now_us);
        }
    }
    let snapshot = Bytes::from(merging.snapshot.to_json());
    let values = [(merging.snapshot.bandit.clone(), Some(snapshot))];
    for site in sites.iter() {
        site.bandits.hear(&values);
        site.bandits.weigh();
    }
}

// === impl World ===

impl World {
    /// Rates from 2 to 12 %, as they are of clicks; the best is better by a tenth at least.
    fn drawn(random: &mut Random, actions: usize) -> Self {
        loop {
            let mut rates: Vec<f64> = (0..actions).map(|_| 0.02 + 0.1 * random.unit()).collect();
            let world = Self { situations: vec![(None, rates.clone())] };
            rates.sort_unstable_by(f64::total_cmp);
            if rates[actions - 2] * 1.1 <= rates[actions - 1] {
                return world;
            }
        }
    }

    /// Rates from 2 to 12 % in the middle, whose odds rise or fall with the context: which is best depends on it.
    fn drawn_by_context(random: &mut Random, actions: usize) -> Self {
        loop {
            let lines = (0..actions).map(|_| (0.02 + 0.1 * random.unit(), 2.0 * random.unit() - 1.0));
            let lines: Vec<(f64, f64)> = lines.collect();
            let rate = |u: f64, (rate, slope): (f64, f64)| {
                let odds = rate / (1.0 - rate) * libm::exp(slope * u);
                odds / (1.0 + odds)
            };
            let situations = CONTEXTS.map(|u| (Some(u), lines.iter().map(|line| rate(u, *line)).collect::<Vec<f64>>()));
            let best =
                |(_, rates): &(Option<f64>, Vec<f64>)| (0..actions).max_by(|a, b| rates[*a].total_cmp(&rates[*b]));
            if best(&situations[0]) != best(&situations[CONTEXTS.len() - 1]) {
                return Self { situations: situations.to_vec() };
            }
        }
    }
}

// === impl Site ===

impl Site {
    /// `chance` makes its ids, and so its draws, those of this run.
    fn new(at: usize, chance: u32, plan: &Plan) -> Result<Self> {
        let (node, epoch): (NodeId, Epoch) = (format!("edge-{at}").parse()?, Epoch::new(1, chance));
        let bandits = Bandits::new(node.clone(), epoch, Clock::new(), PathBuf::from("bandits.json"));
        let learner = bandits.bind(plan).into_iter().next().context("no learner")?;
        Ok(Self { node, epoch, bandits, learner, records: Waiting::new(), events: Waiting::new(), count: 0 })
    }

    /// The action chosen.
    fn decide(&mut self, core: &mut Core, context: &[f64], now_us: i64) -> Result<(usize, DecisionId)> {
        self.count += 1;
        self.learner.ready().iter().for_each(|ready| core.offer(ready));
        let ask = Ask {
            placement: "p",
            time_us: now_us,
            tag: self.node.tag(self.epoch),
            count: self.count,
            subject: None,
            candidates: None,
            scores: &[],
            context,
        };
        let record = core.decide(ask, |_, ids, x| self.learner.learned(ids, x))?;
        let choice = record.choices.first().context("no choice")?.candidate as usize;
        let id = record.id;
        self.bandits.recorded(self.records.next_seq(), std::slice::from_ref(&record));
        self.bandits.weigh();
        self.records.items.push(record);
        Ok((choice, id))
    }

    fn reward(&mut self, id: DecisionId, now_us: i64) {
        let event = Event {
            time_us: now_us,
            received_us: now_us,
            name: "click".into(),
            subject: None,
            session: None,
            item: None,
            decision_id: Some(id),
            message_id: None,
            properties: "{}".into(),
            joined: None,
        };
        self.bandits.stored(Lane::Events, self.events.next_seq(), std::slice::from_ref(&event));
        self.bandits.weigh();
        self.events.items.push(event);
    }
}

// === impl Waiting ===

impl<T> Waiting<T> {
    fn new() -> Self {
        Self { first_seq: 1, items: Vec::new() }
    }

    fn next_seq(&self) -> u64 {
        self.first_seq + self.items.len() as u64
    }

    /// The number of the first, and all of them.
    fn take(&mut self) -> (u64, Vec<T>) {
        let first_seq = self.first_seq;
        self.first_seq = self.next_seq();
        (first_seq, std::mem::take(&mut self.items))
    }
}
