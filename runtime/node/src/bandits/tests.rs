#![allow(clippy::unwrap_used, reason = "tests")]

use std::collections::BTreeMap;

use proptest::prelude::*;
use proptest::sample::Index;
use selvedge_decision::logistic::{Group, Posterior, Prior, Shape, Site, fit};
use selvedge_decision::plan::Bandit;
use selvedge_decision::record::{ChoiceRecord, ModelInputs};
use selvedge_decision::{DecisionId, Reason};

use super::merge::{Block, Merging};
use super::*;
use crate::outbox::block::Items;
use crate::outbox::samples::{event, record};

const START_US: i64 = 1_700_000_000_000_000;
const ACTIONS: [&str; 3] = ["action-0", "action-1", "action-2"];

fn spec() -> Bandit {
    Bandit {
        key: "home-hero".into(),
        placement: "home-hero".into(),
        arm: None,
        shared_arms: Vec::new(),
        reward: "click".into(),
        window_us: 60_000_000,
        prior: [1.0, 1.0],
        half_life_us: Some(8_000_000),
        model: None,
        contenders: 1,
        actions: ACTIONS.map(Arc::from).to_vec(),
    }
}

const SHAPE: Shape = Shape { id: 7, shared: 1, own: 1, precision: 1.0 };

/// One that learns by a model: a feature of the request and one of the action.
fn modelled() -> Bandit {
    Bandit { model: Some(SHAPE), ..spec() }
}

/// Decision `n`, of one action or of a slate of all three.
fn decision(n: u32, slate: bool) -> Record {
    let time_us = START_US + i64::from(n) * 700_000;
    let choice = |candidate: u32| ChoiceRecord { candidate, slot: 0, draw: 0, score: 0.5, propensity: 0.5 };
    let choices: Vec<ChoiceRecord> = if slate { (0..3).map(choice).collect() } else { vec![choice(n % 3)] };
    // Few and many values, so that some were seen before.
    let own = choices.iter().map(|choice| if n.is_multiple_of(2) { 16 } else { (n * 5 + choice.candidate) as i8 });
    let x = std::iter::once((n % 4 * 8) as i8).chain(own).collect();
    Record {
        id: DecisionId::new(time_us, 7, n),
        time_us,
        experiment: None,
        arm: None,
        reason: Reason::Explored,
        choices,
        model: Some(ModelInputs { model: SHAPE.id, x }),
        ..record(u64::from(n))
    }
}

fn click(n: u32, decided: &Record, item: Option<&str>, after_us: i64) -> Event {
    Event {
        name: "click".into(),
        decision_id: Some(decided.id),
        received_us: decided.time_us + after_us,
        item: item.map(str::to_owned),
        ..event(u64::from(n))
    }
}

fn told(node: usize, lane: Lane, first_seq: u64, items: Items) -> Block {
    let (node, epoch) = (format!("edge-{node}").parse().unwrap(), Epoch::new(1, node as u32));
    Block { node, epoch, lane, first_seq, items }
}

prop_compose! {
    /// Blocks of three nodes, and how the history goes: which block comes next, again and again, and when it is begun anew.
    fn history()(
        decisions in proptest::collection::vec((0..3usize, any::<bool>()), 1..40),
        clicks in proptest::collection::vec((any::<Index>(), 0..3usize, 0..5usize, 0..80_000_000i64), 0..60),
        sizes in proptest::collection::vec(1..6usize, 1..20),
        order in proptest::collection::vec((any::<Index>(), 0..8u8), 0..200),
    ) -> (Vec<Block>, Vec<(Index, u8)>) {
        let mut records: BTreeMap<usize, Vec<Record>> = BTreeMap::new();
        let mut events: BTreeMap<usize, Vec<Event>> = BTreeMap::new();
        let all: Vec<Record> = (0u32..).zip(&decisions).map(|(n, (_, slate))| decision(n, *slate)).collect();
        for (record, (node, _)) in all.iter().zip(&decisions) {
            records.entry(*node).or_default().push(record.clone());
        }
        for (n, (which, node, item, after_us)) in (0u32..).zip(&clicks) {
            let click = click(n, which.get(&all), ACTIONS.get(*item).copied(), *after_us);
            events.entry(*node).or_default().push(click);
        }
        let mut all_told = Vec::new();
        let mut sizes = sizes.into_iter().cycle();
        for (node, records) in records {
            let mut seq = 1;
            let mut rest = &records[..];
            while !rest.is_empty() {
                let n = sizes.next().unwrap().min(rest.len());
                let items = Items::Records(rest[..n].to_vec());
                all_told.push(told(node, Lane::Decisions, seq, items));
                (seq, rest) = (seq + n as u64, &rest[n..]);
            }
        }
        for (node, events) in events {
            let mut seq = 1;
            let mut rest = &events[..];
            while !rest.is_empty() {
                let n = sizes.next().unwrap().min(rest.len());
                all_told.push(told(node, Lane::Events, seq, Items::Events(rest[..n].to_vec())));
                (seq, rest) = (seq + n as u64, &rest[n..]);
            }
        }
        (all_told, order)
    }
}

fn is_own(block: &Block) -> bool {
    block.node.as_str() == "edge-0"
}

fn batch(spec: &Bandit, told: &[Block]) -> Snapshot {
    let mut merging = Merging::new(spec, Snapshot::new(spec), 1_000_000, 0);
    for (at, told) in (1..).zip(told) {
        merging.take(told, at, START_US);
    }
    merging.snapshot
}

/// The weights of an action by gains one by one, the last first: neither grouped nor summed by anybody.
fn fitted(gains: &[Gain], action: &str, now_us: i64) -> Posterior {
    let of: Vec<&Gain> = gains.iter().rev().filter(|gain| *gain.action == *action).collect();
    let group = |gain: &&Gain| {
        let weight = tally::weight(now_us.div_euclid(1_000_000) - gain.bucket);
        let x = gain.features.as_ref().unwrap().steps().to_vec();
        (x, weight * gain.trials as f64, weight * gain.rewards as f64)
    };
    let groups: Vec<(Vec<i8>, f64, f64)> = of.iter().map(group).collect();
    let views: Vec<Group<'_>> =
        groups.iter().map(|(x, trials, rewards)| Group { x, trials: *trials, rewards: *rewards }).collect();
    fit(Prior { counts: [1.0, 1.0], precision: SHAPE.precision }, &Site::default(), &views, SHAPE.features())
}

/// Whether what is known of an action's logit is the same to a billionth.
fn is_alike(found: [f64; 2], expected: [f64; 2]) -> bool {
    found.iter().zip(expected).all(|(found, expected)| (found - expected).abs() <= 1e-9 * (1.0 + expected.abs()))
}

/// What is asked of a model in the tests.
const ASKED: [[i8; 2]; 3] = [[0, 0], [16, -16], [24, 100]];

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_000))]

    /// Duplicates, other orders, new beginnings from what was published: the same whole numbers as all at once.
    #[test]
    fn however_it_is_told_it_comes_to_the_same((told, order) in history()) {
        for spec in [spec(), modelled()] {
            let mut merging = Merging::new(&spec, Snapshot::new(&spec), 1_000_000, 0);
            let mut came: Vec<&Block> = Vec::new();
            let every =
                order.iter().map(|(which, turn)| (which.get(&told), *turn)).chain(told.iter().map(|told| (told, 0)));
            for (block, turn) in every {
                came.push(block);
                merging.take(block, came.len() as u64, START_US);
                if turn == 7 {
                    // It ends, by force perhaps, and begins anew with what was published; the stream is read once more.
                    let published = Snapshot::read(&merging.snapshot.to_json()).unwrap();
                    merging = Merging::new(&spec, published, 1_000_000, 0);
                    for (at, again) in (1..).zip(&came) {
                        merging.take(again, at, START_US);
                    }
                }
            }
            let batch = batch(&spec, &told);
            prop_assert_eq!(&merging.snapshot.tally, &batch.tally);
            prop_assert_eq!(&merging.snapshot.history, &batch.history);
            prop_assert_eq!(batch.history.groups() > 0, spec.model.is_some());
        }
    }

    /// What a node knows is what the core has of it and what it has itself, whenever the core speaks and however often.
    #[test]
    fn a_node_knows_what_was_told_once((told, order) in history()) {
        for spec in [spec(), modelled()] {
            let learner = Learner::new(spec.clone());
            let mut merging = Merging::new(&spec, Snapshot::new(&spec), 1_000_000, 0);
            let own: Vec<&Block> = told.iter().filter(|told| is_own(told)).collect();
            let (node, epoch) = ("edge-0".parse().unwrap(), Epoch::new(1, 0));
            let mut next = own.iter();
            let mut known: Vec<&Block> = Vec::new();
            // What the core took, in the order it took it.
            let mut merged = Ledger::new(spec.clone(), 1_000_000);
            let mut core: Vec<Gain> = Vec::new();
            for (at, (which, turn)) in (1..).zip(&order) {
                match turn {
                    0..4 => {
                        // Its own items come to a node in their order.
                        let Some(block) = next.next() else { continue };
                        learner.take(|ledger| gains(ledger, block));
                        known.push(block);
                    }
                    4..6 => {
                        let block = which.get(&told);
                        let is_known = |known: &&Block| (known.lane, known.first_seq) == (block.lane, block.first_seq);
                        if !is_own(block) || known.iter().any(is_known) {
                            let has = merging.snapshot.run(&block.node, block.epoch, block.lane);
                            if has.is_none_or(|run| !run.seen.has(block.first_seq)) {
                                core.extend(gains(&mut merged, block));
                            }
                            merging.take(block, at, START_US);
                            if !is_own(block) {
                                known.push(block);
                            }
                        }
                    }
                    _ => {
                        learner.hear(merging.snapshot.clone(), &node, epoch);
                        learner.weigh(START_US + at as i64);
                    }
                }
            }
            learner.hear(merging.snapshot.clone(), &node, epoch);
            learner.hear(merging.snapshot.clone(), &node, epoch);
            let now_us = START_US + 40_000_000;
            learner.weigh(now_us);
            // What only the core can join is not the node's: a reward told here for a decision made elsewhere, or the reverse.
            let joined: Vec<Block> = known.iter().map(|told| (*told).clone()).collect();
            let own = split(&spec, &joined, &merging);
            let mut expected = merging.snapshot.tally.clone();
            own.iter().for_each(|gain| expected.add(gain, 1));
            let ids: [Arc<str>; 3] = ACTIONS.map(Arc::from);
            if spec.model.is_none() {
                for (action, found) in ACTIONS.iter().zip(learner.learned(&ids, &[])) {
                    let expected = expected.weighed(&Tally::default(), action, 1_000_000, now_us);
                    prop_assert_eq!(found, expected, "{}", action);
                }
                continue;
            }
            core.extend(own);
            for x in ASKED {
                for (action, found) in ACTIONS.iter().zip(learner.learned(&ids, &[x, x, x].concat())) {
                    let expected = fitted(&core, action, now_us).logit(&x);
                    prop_assert!(is_alike(found, expected), "{}: {:?}, expected {:?}", action, found, expected);
                }
            }
        }
    }
}

/// What node 0 alone makes of its own items that the core does not have.
fn split(spec: &Bandit, known: &[Block], merging: &Merging) -> Vec<Gain> {
    let mut ledger = Ledger::new(spec.clone(), 1_000_000);
    let (node, epoch): (NodeId, Epoch) = ("edge-0".parse().unwrap(), Epoch::new(1, 0));
    let gained = known.iter().filter(|told| is_own(told)).flat_map(|told| gains(&mut ledger, told));
    let has = |lane: Lane, seq: u64| merging.snapshot.run(&node, epoch, lane).is_some_and(|run| run.seen.has(seq));
    let is_in =
        |gain: &Gain| has(Lane::Decisions, gain.decision) && gain.reward.is_none_or(|(lane, seq)| has(lane, seq));
    gained.filter(|gain| !is_in(gain)).collect()
}

fn gains(ledger: &mut Ledger, told: &Block) -> Vec<Gain> {
    let origin = |at: usize| Origin { lane: told.lane, seq: told.first_seq + at as u64, is_old: false };
    match &told.items {
        Items::Records(records) => {
            records.iter().enumerate().flat_map(|(at, record)| ledger.decision(record, origin(at), START_US)).collect()
        }
        Items::Events(events) => {
            events.iter().enumerate().filter_map(|(at, event)| ledger.event(event, origin(at), START_US)).collect()
        }
    }
}

#[test]
fn a_reward_counts_once_in_its_time_for_its_choice() {
    let check = |slate: bool, clicks: &[(Option<&str>, i64)], expected: i64, counts: Counts| {
        let mut ledger = Ledger::new(spec(), 10);
        let decided = decision(0, slate);
        let origin = Origin { lane: Lane::Decisions, seq: 1, is_old: false };
        assert_eq!(ledger.decision(&decided, origin, 0).len(), if slate { 3 } else { 1 });
        assert!(ledger.decision(&decided, origin, 0).is_empty(), "once");
        let place = Origin { lane: Lane::Events, ..origin };
        let gains =
            clicks.iter().filter_map(|(item, after)| ledger.event(&click(0, &decided, *item, *after), place, 0));
        assert_eq!(gains.map(|gain| gain.rewards).sum::<i64>(), expected, "{clicks:?}");
        assert_eq!(ledger.counts(), counts, "{clicks:?}");
    };
    let counts = Counts::default();
    check(false, &[(None, 1)], 1, Counts { counted: 1, ..counts });
    check(false, &[(Some("action-0"), 60_000_000), (None, 2)], 1, Counts { counted: 1, again: 1, ..counts });
    check(false, &[(None, 60_000_001)], 0, Counts { late: 1, ..counts });
    check(false, &[(Some("action-1"), 1)], 0, Counts { unclear: 1, ..counts });
    check(true, &[(None, 1)], 0, Counts { unclear: 1, ..counts });
    check(true, &[(Some("action-1"), 1), (Some("action-2"), 1)], 2, Counts { counted: 2, ..counts });
}

#[test]
fn what_was_not_drawn_is_no_trial() {
    let origin = Origin { lane: Lane::Decisions, seq: 1, is_old: false };
    for (reason, expected) in [
        (Reason::Explored, 1),
        (Reason::Scored, 1),
        (Reason::Assigned, 1),
        (Reason::Fallback, 0),
        (Reason::Ruled, 0),
        (Reason::Empty, 0),
    ] {
        let mut ledger = Ledger::new(spec(), 10);
        assert_eq!(ledger.decision(&Record { reason, ..decision(1, false) }, origin, 0).len(), expected, "{reason:?}");
    }
    let mut ledger = Ledger::new(spec(), 10);
    let other = Record { placement: "plp-rank".into(), ..decision(1, false) };
    let arm = Record { experiment: Some("e".into()), arm: Some("a".into()), ..decision(1, false) };
    assert!(ledger.decision(&other, origin, 0).is_empty() && ledger.decision(&arm, origin, 0).is_empty());
}

/// A release with other features decided: what its model saw means something else.
#[test]
fn a_model_learns_from_what_it_saw_itself() {
    let origin = Origin { lane: Lane::Decisions, seq: 1, is_old: false };
    let check = |model: Option<ModelInputs>, expected: usize| {
        let decided = Record { model, ..decision(1, true) };
        assert_eq!(Ledger::new(modelled(), 10).decision(&decided, origin, 0).len(), expected, "{:?}", decided.model);
        assert_eq!(Ledger::new(spec(), 10).decision(&decided, origin, 0).len(), 3, "a rate needs no model");
    };
    check(Some(ModelInputs { model: 7, x: vec![1, 2, 3, 4] }), 3);
    check(Some(ModelInputs { model: 8, x: vec![1, 2, 3, 4] }), 0);
    check(Some(ModelInputs { model: 7, x: vec![1, 2, 3] }), 0);
    check(None, 0);
    assert!(!Snapshot::new(&spec()).is_of(&modelled()) && Snapshot::new(&modelled()).is_of(&modelled()));
}

#[test]
fn there_is_room_for_so_many_decisions() {
    let mut ledger = Ledger::new(spec(), 3);
    for n in 0..5 {
        ledger.decision(&decision(n, false), Origin { lane: Lane::Decisions, seq: u64::from(n) + 1, is_old: false }, 0);
    }
    assert_eq!(ledger.counts().forgotten, 2);
}

fn place(lane: Lane, seq: u64) -> Origin {
    Origin { lane, seq, is_old: false }
}

/// One click of a node whose clock was an hour ahead let go of every decision there was.
#[test]
fn a_clock_that_is_ahead_takes_nothing_from_others() {
    let mut ledger = Ledger::new(spec(), 1_000);
    let decided: Vec<Record> = (0..20).map(|n| decision(n, false)).collect();
    for (seq, record) in (1..).zip(&decided) {
        ledger.decision(record, place(Lane::Decisions, seq), START_US);
    }
    let ahead = Event { decision_id: Some(DecisionId::new(9, 9, 9)), ..click(0, &decided[0], None, 3_600_000_000) };
    ledger.event(&ahead, place(Lane::Events, 1), START_US);
    let clicks =
        decided.iter().filter_map(|record| ledger.event(&click(0, record, None, 1), place(Lane::Events, 2), START_US));
    assert_eq!(clicks.count(), 20);
}

/// What a node that was cut off tells comes lane after lane: rewards waited for their decisions by when they happened.
#[test]
fn rewards_of_a_node_that_was_cut_off_find_their_decisions() {
    let mut ledger = Ledger::new(spec(), 10_000);
    let now_us = START_US + 7_200_000_000;
    let decided: Vec<Record> = (0..2_000).map(|n| decision(n, false)).collect();
    for record in &decided {
        assert!(ledger.event(&click(0, record, None, 1), place(Lane::Events, 1), now_us).is_none());
    }
    let gains =
        decided.iter().flat_map(|record| ledger.decision(record, place(Lane::Decisions, 1), now_us + 1_000_000));
    assert_eq!(gains.map(|gain| gain.rewards).sum::<i64>(), 2_000);
    // One whose decision never comes is counted, and let go of.
    ledger.event(
        &Event { decision_id: Some(DecisionId::new(1, 2, 3)), ..click(0, &decided[0], None, 1) },
        place(Lane::Events, 9),
        now_us,
    );
    ledger.decision(&decision(9_999, false), place(Lane::Decisions, 9), now_us + 7_200_000_000);
    assert_eq!(ledger.counts().unknown, 1);
}

/// Rewards of decisions that pages say they made filled the room in which those wait that came before their decision.
#[test]
fn what_pages_decided_takes_no_room_of_what_nodes_did() {
    let mut ledger = Ledger::new(spec(), 10);
    let decided: Vec<Record> = (0..10).map(|n| decision(n, false)).collect();
    for n in 0..100 {
        let of_a_page = DecisionId::of_a_page(START_US, 9, n);
        let click = Event { decision_id: Some(of_a_page), ..click(0, &decided[0], None, 1) };
        assert!(ledger.event(&click, place(Lane::Events, 1), START_US).is_none());
    }
    for record in &decided {
        assert!(ledger.event(&click(0, record, None, 1), place(Lane::Events, 2), START_US).is_none());
    }
    let gains = decided.iter().flat_map(|record| ledger.decision(record, place(Lane::Decisions, 1), START_US));
    assert_eq!(gains.map(|gain| gain.rewards).sum::<i64>(), 10);
    assert_eq!(ledger.counts(), Counts { counted: 10, ..Counts::default() });
}

/// A bandit that comes later is learned from the start of the stream: for the others that is behind where they began.
#[test]
fn what_is_read_for_another_bandit_does_not_count_again() {
    let block = told(0, Lane::Decisions, 1, Items::Records((0..10).map(|n| decision(n, false)).collect()));
    let mut first = Merging::new(&spec(), Snapshot::new(&spec()), 100, 0);
    first.take(&block, 7, START_US);
    let mut known = first.snapshot.clone();
    // The run is forgotten, and the stream is read from before it.
    known.seen.clear();
    let mut again = Merging::new(&spec(), known, 100, 0);
    again.begin = 7;
    again.take(&block, 7, START_US);
    assert_eq!(again.snapshot.tally, first.snapshot.tally);
}

/// As much as there may be, of a bandit with as many weights as there may be: the core can write it.
#[test]
fn what_is_published_fits_into_a_message() {
    let shape = Shape { shared: 63, own: 0, ..SHAPE };
    let spec = Bandit { model: Some(shape), half_life_us: None, ..spec() };
    let mut snapshot = Snapshot::new(&spec);
    let mut state = 1u64;
    for n in 0..4_000u64 {
        let x: Vec<i8> = (0..63)
            .map(|_| {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                (state >> 56) as u8 as i8
            })
            .collect();
        let gain = Gain {
            action: format!("an-action-with-a-name-{}", n % 64).into(),
            bucket: 0,
            trials: 1,
            rewards: i64::from(n % 3 == 0),
            decision: n,
            reward: None,
            features: Some(x.into()),
        };
        snapshot.add(&spec, &[gain]);
        if n == 2_080 {
            assert!(snapshot.history.groups() < 100, "it was folded");
        }
    }
    for n in 0..4_096 {
        let node = format!("an-edge-with-a-long-name-{n}").parse().unwrap();
        let run = snapshot.run_mut(&node, Epoch::new(9, 9), Lane::Events);
        run.seen.take(1..100_000_000);
        (run.at, run.stored_us) = (1_000_000_000, START_US);
    }
    let bytes = snapshot.to_json().len();
    assert!(bytes < 1 << 20, "{bytes} bytes");
}

/// A stream made anew begins with 1; what was read of the one before says nothing of it.
#[test]
fn another_stream_is_read_from_its_start_and_then_from_where_it_was() {
    let mut snapshot = Snapshot::new(&spec());
    snapshot.go_on(1);
    snapshot.pass(1_000, START_US);
    assert_eq!(snapshot.begin(1), 1_000);
    snapshot.go_on(2);
    assert_eq!((snapshot.at, snapshot.begin(2)), (0, 0));
    snapshot.pass(20, START_US);
    assert_eq!((snapshot.at, snapshot.begin(2), snapshot.begin(3)), (20, 20, 0));
}
