#![allow(clippy::unwrap_used, reason = "tests")]

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::{Value, json};

use super::super::{Held, Tables};
use super::*;
use crate::decide::{Moment, World, decide};
use crate::definition::ReleaseDef;
use crate::gather::{Request, Rows};
use crate::plan::{Definition, Plan};
use crate::record::RungFault;
use crate::settle::{Modules, Unlearned};
use crate::{DecisionId, Digest, Fault, TimeUs};

/// 2026-11-23T12:00:00Z.
const NOW_US: TimeUs = 1_795_435_200_000_000;

/// Scores the candidates in their order, or faults.
struct Scores(Option<Fault>);

impl Modules for Scores {
    fn evaluate(&mut self, _: Rung, _: usize, _: &[f64], _: &[f64], count: u32) -> Result<Vec<f64>, Fault> {
        match self.0 {
            None => Ok((0..count).map(|row| f64::from(count - row)).collect()),
            Some(fault) => Err(fault),
        }
    }
}

/// `tested` explores, with a floor, and has an experiment; `plain` does neither; `fixed` has no scorer.
fn page() -> PageRelease {
    let actions = json!([{ "id": "a" }, { "id": "b" }, { "id": "c" }]);
    let placement = |more: Value| {
        let mut placement = json!({ "browser": true, "actions": actions, "fallback": ["a"], "slots": 2 });
        for (key, value) in more.as_object().unwrap() {
            placement[key] = value.clone();
        }
        serde_json::from_value(placement).unwrap()
    };
    let arms = json!([{ "name": "one", "weight": 50 }, { "name": "two", "weight": 50 }]);
    let experiment = json!({ "key": "e", "unit": "subject", "overrides": { "tester": "two" }, "arms": arms });
    let choose = json!({ "policy": "epsilon", "epsilon": 0.3, "floor": 0.05 });
    let record = json!({ "inputs": 1.0 });
    let tested = json!({ "ladder": ["m"], "choose": choose, "experiment": [experiment], "record": record });
    let manifest = json!({
        "manifest": 1, "name": "m", "limits": { "rows": 9, "memory_bytes": 65_536 },
        "inputs": [{ "name": "candidate.id", "scope": "candidate", "type": "symbol", "symbols": ["a", "b", "c"] }],
        "outputs": [{ "name": "score", "type": "number" }],
    });
    let definition = Definition {
        release: ReleaseDef { name: "r".into(), guard: Default::default(), holdout: None },
        features: Default::default(),
        placements: BTreeMap::from([
            ("tested".to_owned(), placement(tested)),
            ("plain".to_owned(), placement(json!({ "ladder": ["m"], "record": { "inputs": 0.0 } }))),
            ("fixed".to_owned(), placement(json!({}))),
        ]),
        modules: BTreeMap::from([("m".to_owned(), serde_json::from_value(manifest).unwrap())]),
        tables: BTreeMap::new(),
    };
    let (page, left) = Plan::compile(&definition).unwrap().page(Digest::of(b"r"), |_| true, |_| true);
    assert_eq!(left.len(), 0, "{left:?}");
    page
}

/// What a page records when it decides, as the `count`-th.
fn decided(page: &PageRelease, key: &str, subject: &str, count: u32, fault: Option<Fault>, taken: &[&str]) -> Record {
    let taken: Vec<Arc<str>> = taken.iter().map(|id| Arc::from(*id)).collect();
    let request = Request {
        subject: Some(subject),
        session: None,
        context: Vec::new(),
        candidates: None,
        taken: &taken,
        slots: None,
        tz_offset_min: 0,
    };
    let id = DecisionId::of_a_page(NOW_US, 7, count);
    let moment = Moment { id, time_us: NOW_US, release: page.release, explain: false, explores: true };
    let features = &Held { release: page, tables: &Tables::default() };
    let world = World { features, modules: &mut Scores(fault), learned: &mut Unlearned::default() };
    decide(page.placements.get(key).unwrap(), &request, moment, world, &mut Rows::default()).unwrap().record
}

#[test]
fn what_a_placement_makes_is_taken() {
    let page = page();
    let mut reasons = BTreeMap::<Reason, u32>::new();
    for count in 0..200 {
        let subject = format!("u-{}", count % 20);
        for (key, fault, taken) in [
            ("tested", None, &[][..]),
            ("tested", Some(Fault::Trap), &[]),
            ("tested", None, &["b"]),
            ("tested", None, &["a", "b", "c"]),
            ("plain", None, &[]),
            ("plain", Some(Fault::Trap), &[]),
            ("fixed", None, &[]),
        ] {
            let record = decided(&page, key, &subject, count, fault, taken);
            assert_eq!(page.check(&record), Ok(()), "{record:?}");
            *reasons.entry(record.reason).or_default() += 1;
        }
    }
    assert_eq!(reasons.len(), Reason::ALL.len(), "not all there are: {reasons:?}");
}

#[test]
fn what_a_placement_cannot_make_is_refused_by_the_part_that_is_wrong() {
    let page = page();
    let tested = decided(&page, "tested", "u-1", 1, None, &[]);
    let plain = decided(&page, "plain", "u-1", 1, None, &[]);
    let fixed = decided(&page, "fixed", "u-1", 1, None, &[]);
    let check = |good: &Record, part: &'static str, forge: &dyn Fn(&mut Record)| {
        let mut record = good.clone();
        forge(&mut record);
        assert_ne!(record, *good, "{part}: nothing is forged");
        assert_eq!(page.check(&record), Err(BadRecord::Shape(part)), "{record:?}");
    };
    let fault = |rung| RungFault { rung, fault: Fault::Trap };
    let other_arm = if tested.arm.as_deref() == Some("one") { "two" } else { "one" };

    check(&tested, "seed", &|record| record.seed ^= 1);
    check(&tested, "subject or session", &|record| record.subject = None);
    check(&tested, "subject or session", &|record| record.session = Some(String::new()));
    check(&tested, "lots", &|record| record.subject = Some("u-2".into()));
    for lot in [Lot::Out, Lot::Holdout, Lot::Slot(9_999), Lot::Arm(1)] {
        check(&tested, "lots", &|record| record.lots = vec![lot]);
    }
    check(&tested, "lots", &|record| record.lots.clear());
    check(&plain, "lots", &|record| record.lots = vec![Lot::Out]);
    check(&tested, "slots", &|record| record.slots = 1_001);
    check(&tested, "candidates", &|record| record.candidates[2] = "d".into());
    check(&tested, "candidates", &|record| record.candidates[2] = record.candidates[1].clone());
    check(&tested, "arm", &|record| record.arm = Some(other_arm.into()));
    check(&tested, "arm", &|record| (record.experiment, record.arm) = (None, None));
    check(&tested, "arm", &|record| record.arm = None);
    check(&plain, "arm", &|record| (record.experiment, record.arm) = (Some("e".into()), Some("one".into())));
    check(&plain, "faults", &|record| record.faults = vec![fault(Rung::Ladder(1))]);
    check(&plain, "faults", &|record| record.faults = vec![fault(Rung::Ladder(0)); 2]);
    check(&plain, "faults", &|record| record.faults = vec![fault(Rung::Rules(0))]);
    check(&tested, "choices", &|record| record.choices[1].candidate = record.choices[0].candidate);
    check(&tested, "choices", &|record| record.choices[1].candidate = 3);
    check(&tested, "choices", &|record| record.choices[1].slot = 0);
    check(&tested, "choices", &|record| record.choices[1].draw = 0);
    check(&tested, "choices", &|record| record.choices[1].draw = 3);
    check(&tested, "choices", &|record| record.choices[0].draw = NOT_DRAWN);
    check(&tested, "choices", &|record| record.slots = 1);
    for propensity in [0.0, -0.5, 1.5, 0.049, f64::NAN, f64::INFINITY] {
        check(&tested, "propensity", &|record| record.choices[1].propensity = propensity);
    }
    check(&plain, "propensity", &|record| record.choices[0].propensity = 0.5);
    check(&tested, "reason", &|record| record.reason = Reason::Scored);
    for reason in [Reason::Empty, Reason::Fallback, Reason::Explored, Reason::Ruled, Reason::Assigned] {
        check(&plain, "reason", &|record| record.reason = reason);
    }
    check(&plain, "reason", &|record| record.choices.clear());
    check(&plain, "reason", &|record| record.faults = vec![fault(Rung::Ladder(0))]);
    check(&fixed, "reason", &|record| record.reason = Reason::Scored);
    check(&plain, "values", &|record| record.values.push(0.0));
    check(&plain, "scores", &|record| record.choices[0].score = f64::NAN);
    check(&fixed, "scores", &|record| record.choices[0].score = 1.0);
    check(&tested, "inputs", &|record| record.session_seq = 1);
    check(&tested, "inputs", &|record| record.inputs.as_mut().unwrap().shared.push(0.0));
    let inputs = Inputs { rate: 0.0, ..tested.inputs.clone().unwrap() };
    check(&plain, "inputs", &|record| record.inputs = Some(inputs.clone()));

    let of_a_node = Record { id: DecisionId::new(NOW_US, 7, 1), ..plain.clone() };
    let of_another_time = Record { time_us: NOW_US + 1_000, ..plain.clone() };
    assert_eq!(
        [of_a_node, of_another_time].map(|record| page.check(&record)),
        [Err(BadRecord::Id), Err(BadRecord::Id)]
    );
}

/// Whom an override names is asked of what the node knows; no page reads it.
#[test]
fn an_override_is_known_to_the_node_alone() {
    let page = page();
    let tester = decided(&page, "tested", "tester", 1, None, &[]);
    assert_eq!((&tester.lots[..], tester.arm.as_deref()), (&[Lot::Arm(1)][..], Some("two")));
    assert_eq!(page.check(&tester), Ok(()));
    let bytes = page.to_bytes();
    assert!(!bytes.windows(6).any(|six| six == b"tester"), "a page reads whom an override names");
    let in_a_page = PageRelease::from_bytes(&bytes).unwrap();
    assert_eq!(in_a_page.check(&tester), Err(BadRecord::Shape("lots")));
    assert_eq!(in_a_page.check(&decided(&page, "tested", "u-1", 1, None, &[])), Ok(()));
}
