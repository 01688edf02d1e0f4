//! Events and records for the outbox's tests: hand-made ones, and any there can be.
#![allow(clippy::unwrap_used, reason = "tests")]

use std::sync::Arc;

use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use selvedge_decision::record::{ChoiceRecord, Inputs, Lot, ModelInputs, Rung, RungFault, ShadowRecord};
use selvedge_decision::{DecisionId, Digest, Epoch, Fault, NodeId, Reason, Record};

use super::Lane;
use super::block::Stamp;
use crate::events::Event;

pub(crate) fn node() -> NodeId {
    "edge-1".parse().unwrap()
}

pub(crate) fn stamp(lane: Lane, first_seq: u64) -> Stamp {
    Stamp { lane, node: node(), epoch: Epoch::new(1, 2), first_seq, sealed_us: 1_700_000_000_000_000 }
}

/// Event number `n`.
pub(crate) fn event(n: u64) -> Event {
    Event {
        time_us: 1_700_000_000_000_000 + n as i64,
        received_us: 1_700_000_000_000_500 + n as i64,
        name: if n.is_multiple_of(3) { "view_item" } else { "add_to_cart" }.to_owned(),
        subject: Some(format!("u-{}", n % 17)),
        session: (n.is_multiple_of(2)).then(|| format!("s-{}", n % 17)),
        item: Some(format!("sku-{n}")),
        decision_id: (n.is_multiple_of(4)).then(|| DecisionId::new(1_700_000_000_000_000 + n as i64, 7, n as u32)),
        message_id: Some(format!("m-{n}")),
        properties: format!("{{\"n\":{n}}}"),
        joined: None,
    }
}

/// Reward number `n`.
pub(crate) fn reward(n: u64) -> Event {
    Event { name: "$reward".to_owned(), ..event(n) }
}

pub(crate) fn events(numbers: std::ops::Range<u64>) -> Vec<Event> {
    numbers.map(event).collect()
}

/// Record number `n`, with inputs for every tenth.
pub(crate) fn record(n: u64) -> Record {
    let candidates: Vec<Arc<str>> = (0..3).map(|c| Arc::from(format!("action-{c}"))).collect();
    let row = |c: u64| (0..4).map(move |cell| (n % 5 * 100 + c * 10 + cell) as f64);
    Record {
        id: DecisionId::new(1_700_000_000_000_000 + n as i64, 7, n as u32),
        time_us: 1_700_000_000_000_000 + n as i64,
        seed: n.wrapping_mul(0x9e37_79b9_7f4a_7c15),
        release: Digest::of(b"release"),
        core: 1,
        placement: Arc::from("home-hero"),
        subject: Some(format!("u-{}", n % 17)),
        session: None,
        lots: vec![
            Lot::Slot((n % 10_000) as u16),
            if n.is_multiple_of(3) { Lot::Out } else { Lot::Holdout },
            Lot::Arm(1),
        ],
        slots: 1,
        candidates,
        choices: vec![ChoiceRecord {
            candidate: (n % 3) as u32,
            slot: 0,
            draw: 0,
            score: n as f64 / 7.0,
            propensity: 1.0,
        }],
        values: vec![f64::NAN, n as f64],
        reason: Reason::Scored,
        experiment: Some(Arc::from("hero-model")),
        arm: Some(Arc::from("gbdt")),
        faults: vec![RungFault { rung: Rung::Ladder(0), fault: Fault::Deadline }],
        max_lag_ms: 12,
        session_seq: n,
        shadows: vec![ShadowRecord { fault: None, candidate: (n % 2) as u32, score: n as f64, chosen: 0.5 }],
        model: (n.is_multiple_of(4)).then(|| ModelInputs { model: 7, x: vec![16, -3, (n % 100) as i8] }),
        inputs: (n.is_multiple_of(10)).then(|| Inputs {
            rate: 0.1,
            shared: (0..8).map(|cell| (n * cell) as f64).collect(),
            candidates: (0..3).flat_map(row).collect(),
            refused: vec![1],
            explores: !n.is_multiple_of(20),
            learned: (0..6).map(|at| (n + at) as f64).collect(),
        }),
    }
}

fn text() -> impl Strategy<Value = String> {
    prop_oneof!["[a-c]{0,2}", "\\PC{0,12}"]
}

fn shared_text() -> impl Strategy<Value = Arc<str>> {
    text().prop_map(Arc::from)
}

fn decision_id() -> impl Strategy<Value = DecisionId> {
    any::<[u8; 16]>().prop_map(DecisionId)
}

/// Any f64 by its bits, with NaN payloads and the others that break naive code.
fn number() -> impl Strategy<Value = f64> {
    let special = [f64::NAN, -f64::NAN, 0.0, -0.0, f64::INFINITY, f64::NEG_INFINITY, f64::MIN_POSITIVE, 5e-324, 1.0];
    let payload = Just(f64::from_bits(0x7ff0_dead_beef_0001));
    prop_oneof![any::<u64>().prop_map(f64::from_bits), proptest::sample::select(special.to_vec()), payload]
}

prop_compose! {
    /// Any event there can be.
    pub(crate) fn any_event()(
        time_us in any::<i64>(),
        received_us in any::<i64>(),
        (name, subject, session, item) in (text(), option::of(text()), option::of(text()), option::of(text())),
        decision_id in option::of(decision_id()),
        message_id in option::of(text()),
        properties in prop_oneof![Just("{}".to_owned()), Just("{\"a\":[1,2.5,null]}".to_owned())],
        joined in option::of(Just("{\"item.category\":\"shoes\"}".to_owned())),
    ) -> Event {
        Event { time_us, received_us, name, subject, session, item, decision_id, message_id, properties, joined }
    }
}

prop_compose! {
    fn any_choice()(
        (candidate, slot, draw) in any::<(u32, u32, u32)>(),
        (score, propensity) in (number(), number()),
    ) -> ChoiceRecord {
        ChoiceRecord { candidate, slot, draw, score, propensity }
    }
}

prop_compose! {
    fn any_shadow()(
        fault in option::of(proptest::sample::select(Fault::ALL.to_vec())),
        candidate in any::<u32>(),
        (score, chosen) in (number(), number()),
    ) -> ShadowRecord {
        ShadowRecord { fault, candidate, score, chosen }
    }
}

prop_compose! {
    fn any_inputs()(
        rate in number(),
        shared in vec(number(), 0..6),
        candidates in vec(number(), 0..13),
        refused in vec(any::<u16>(), 0..3),
        explores in any::<bool>(),
        learned in vec(number(), 0..5),
    ) -> Inputs {
        Inputs { rate, shared, candidates, refused, explores, learned }
    }
}

fn any_lot() -> impl Strategy<Value = Lot> {
    prop_oneof![Just(Lot::Out), Just(Lot::Holdout), any::<u16>().prop_map(Lot::Slot), any::<u16>().prop_map(Lot::Arm)]
}

fn any_fault() -> impl Strategy<Value = RungFault> {
    let rung = prop_oneof![
        any::<u8>().prop_map(Rung::Rules),
        any::<u8>().prop_map(Rung::Ladder),
        any::<u8>().prop_map(Rung::Target),
        any::<u8>().prop_map(Rung::Shadow),
    ];
    (rung, proptest::sample::select(Fault::ALL.to_vec())).prop_map(|(rung, fault)| RungFault { rung, fault })
}

prop_compose! {
    /// Any record there can be.
    pub(crate) fn any_record()(
        (id, time_us, seed, release, core) in (decision_id(), any::<i64>(), any::<u64>(), 0..3u8, any::<u32>()),
        (placement, subject, session) in (shared_text(), option::of(text()), option::of(text())),
        (lots, slots, candidates) in (vec(any_lot(), 0..3), any::<u32>(), vec(shared_text(), 0..5)),
        (choices, values) in (vec(any_choice(), 0..4), vec(number(), 0..4)),
        (reason, experiment) in (proptest::sample::select(Reason::ALL.to_vec()), option::of(shared_text())),
        arm in option::of(shared_text()),
        (faults, shadows) in (vec(any_fault(), 0..3), vec(any_shadow(), 0..3)),
        (max_lag_ms, session_seq) in (any::<u32>(), any::<u64>()),
        model in option::of((any::<u32>(), vec(any::<i8>(), 0..5))),
        inputs in option::of(any_inputs()),
    ) -> Record {
        let model = model.map(|(model, x)| ModelInputs { model, x });
        Record {
            id, time_us, seed, release: Digest([release; 32]), core, placement, subject, session, lots, slots, candidates,
            choices, values, reason, experiment, arm, faults, max_lag_ms, session_seq, shadows, model, inputs,
        }
    }
}
