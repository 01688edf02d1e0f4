#![allow(clippy::unwrap_used, reason = "tests")]

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde_json::{Value, json};

use crate::Fault;
use crate::definition::ReleaseDef;
use crate::plan::{Definition, Placement, Plan};
use crate::record::Rung;
use crate::settle::{Facts, Modules, Outcome, Unlearned, settle};

/// Brand, stock, price, whether it is the shop's own, score.
type Item = [f64; 5];
const NAMES: [&str; 5] = ["item.brand", "item.stock", "item.price", "item.own", "item.score"];

/// Scores by the one column that it reads.
struct Scores;

impl Modules for Scores {
    fn evaluate(&mut self, _: Rung, _: usize, _: &[f64], rows: &[f64], _: u32) -> Result<Vec<f64>, Fault> {
        Ok(rows.to_vec())
    }
}

fn placement(choose: &Value, limits: &Value) -> Placement {
    let features = json!({ "view": { "item": { "by": "item", "features": {
        "brand": "number", "stock": "number", "price": "number", "own": "flag", "score": "number",
    } } } });
    let placement = json!({
        "candidates": { "view": "item" }, "slots": 3, "ladder": ["m"], "fallback": { "by": "item.score" },
        "choose": choose, "limits": limits,
    });
    let manifest = json!({
        "manifest": 1, "name": "m", "limits": { "rows": 64, "memory_bytes": 65_536 },
        "inputs": [{ "name": "item.score", "scope": "candidate", "type": "number" }],
        "outputs": [{ "name": "score", "type": "number" }],
    });
    let definition = Definition {
        release: ReleaseDef { name: "r".into(), guard: Default::default(), holdout: None },
        features: serde_json::from_value(features).unwrap(),
        placements: BTreeMap::from([("p".to_owned(), serde_json::from_value(placement).unwrap())]),
        modules: BTreeMap::from([("m".to_owned(), serde_json::from_value(manifest).unwrap())]),
        tables: BTreeMap::new(),
    };
    Plan::compile(&definition).unwrap().placements.remove("p").unwrap()
}

fn decide(placement: &Placement, items: &[Item], slots: usize, seed: u64) -> Outcome {
    let ids: Vec<Arc<str>> = (0..items.len()).map(|at| format!("i{at}").into()).collect();
    let mut rows = vec![f64::NAN; placement.candidate_width * items.len()];
    for (row, item) in rows.chunks_exact_mut(placement.candidate_width).zip(items) {
        for column in &placement.candidate {
            row[column.at] = item[NAMES.iter().position(|name| *name == column.name).unwrap()];
        }
    }
    let facts = Facts {
        ids: &ids,
        shared: &[],
        rows: &rows,
        refused: &[],
        lots: &[],
        slots,
        seed,
        explores: true,
        shadows: false,
        explain: true,
    };
    settle(placement, facts, &mut Scores, &mut Unlearned::default())
}

fn chosen(outcome: &Outcome) -> Vec<u32> {
    outcome.choices.iter().map(|choice| choice.candidate).collect()
}

/// Once only those were told that scored as high as the lowest of the chosen: where chance draws, that is not who was kept out.
#[test]
fn who_was_drawn_and_refused_is_told_whatever_it_scores() {
    let placement =
        placement(&json!({ "policy": "epsilon", "epsilon": 1.0 }), &json!({ "max_per": { "item.brand": 1 } }));
    let items = [[1.0, 1.0, 1.0, 0.0, 99.0], [2.0, 1.0, 1.0, 0.0, 95.0], [2.0, 1.0, 1.0, 0.0, 93.0]];
    let mut seen = BTreeSet::new();
    for seed in 0..200 {
        let outcome = decide(&placement, &items, 2, seed);
        if chosen(&outcome) != [1, 0] {
            continue;
        }
        let was_refused = outcome.choices[1].draw == 2;
        let expected = if was_refused { vec![(0, vec![2])] } else { Vec::new() };
        assert_eq!(outcome.trace.changed, expected, "seed {seed}");
        seen.insert(was_refused);
    }
    assert_eq!(seen.len(), 2, "drawn third and drawn second");
}

/// Of any items, by any policy: a limit is told when a placement without it answers otherwise, and else only beside another, for
/// somebody whom several keep out together.
#[test]
fn a_limit_is_told_when_without_it_the_answer_is_another() {
    let limits = json!({
        "above": { "item.stock": 0, "item.price": 2 }, "below": { "item.score": 90 },
        "max_per": { "item.brand": 1 }, "min_share": [{ "of": "item.own", "is": true, "share": 0.4 }],
    });
    let policies = [
        json!({ "policy": "argmax" }),
        json!({ "policy": "epsilon", "epsilon": 0.5 }),
        json!({ "policy": "epsilon", "epsilon": 1.0, "floor": 0.05 }),
        json!({ "policy": "softmax", "temperature": 20.0 }),
    ];
    let (mut alone, mut together, mut nothing) = (0, 0, 0);
    for choose in &policies {
        let placement = placement(choose, &limits);
        for seed in 0..150_u64 {
            let digit = |item: u64, of: u64, most: u64| {
                let mixed = (seed * 31 + item * 7 + of + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
                (mixed >> 40) % most
            };
            let item =
                |at: u64| [digit(at, 0, 4), digit(at, 1, 4), digit(at, 2, 7), digit(at, 3, 4) / 3, digit(at, 4, 100)];
            let items: Vec<Item> = (0..9).map(|at| item(at).map(|digit| digit as f64)).collect();
            let outcome = decide(&placement, &items, 3, seed);
            let told: BTreeMap<u16, Vec<u32>> = outcome.trace.changed.iter().cloned().collect();
            assert_eq!(told.len(), outcome.trace.changed.len(), "a limit is told once");
            for at in 0..placement.limits.len() {
                let mut less = placement.clone();
                let limit = less.limits.remove(at);
                let what = format!("{choose} seed {seed}, {}: {:?}", limit.name, outcome.trace.changed);
                let rows = told.get(&(at as u16));
                if chosen(&decide(&less, &items, 3, seed)) != chosen(&outcome) {
                    assert!(rows.is_some(), "without it the answer is another: {what}");
                    alone += 1;
                } else if let Some(rows) = rows {
                    let is_told_twice = |row: &u32| told.values().filter(|rows| rows.contains(row)).count() > 1;
                    assert!(
                        !rows.is_empty() && rows.iter().all(is_told_twice),
                        "without it the answer is the same: {what}"
                    );
                    together += 1;
                } else {
                    nothing += 1;
                }
            }
        }
    }
    assert!(alone > 100 && together > 10 && nothing > 100, "{alone} alone, {together} together, {nothing} not");
}

/// Caps that together would leave nobody give way, and refuse nobody: without one of them the other holds.
#[test]
fn a_cap_that_gave_way_with_another_is_told() {
    let placement =
        placement(&json!({ "policy": "argmax" }), &json!({ "below": { "item.score": 50, "item.price": 3 } }));
    let items = [[1.0, 1.0, 1.0, 0.0, 90.0], [1.0, 1.0, 5.0, 0.0, 10.0]];
    let outcome = decide(&placement, &items, 1, 1);
    assert_eq!((chosen(&outcome), &outcome.trace.limited), (vec![0], &vec![]));
    let told = outcome.trace.changed.iter().map(|(at, rows)| (&*placement.limits[usize::from(*at)].name, rows.len()));
    assert_eq!(told.collect::<Vec<_>>(), [("below item.price", 0)]);
}

#[test]
fn what_is_not_asked_for_is_not_made() {
    let placement = placement(&json!({ "policy": "argmax" }), &json!({ "above": { "item.stock": 0 } }));
    let ids: Vec<Arc<str>> = vec!["i0".into()];
    let rows = vec![0.0; placement.candidate_width];
    let facts = |explain: bool| Facts {
        ids: &ids,
        shared: &[],
        rows: &rows,
        refused: &[],
        lots: &[],
        slots: 1,
        seed: 1,
        explores: true,
        shadows: false,
        explain,
    };
    let changed =
        |explain: bool| settle(&placement, facts(explain), &mut Scores, &mut Unlearned::default()).trace.changed;
    assert_eq!((changed(false), changed(true)), (vec![], vec![(0, vec![0])]));
}
