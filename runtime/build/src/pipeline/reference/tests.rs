//! Every step on a row, by JSON as people write it.

#![allow(clippy::unwrap_used, reason = "tests")]

use serde_json::{Value, json};

use super::{evaluate, tape};
use crate::pipeline::{OutputKind, Pipeline};

const NAN: f64 = f64::NAN;

/// Four numbers, the last two of the candidate, and one step.
fn pipeline(mut step: Value) -> Pipeline {
    let input = |name: &str| json!({"name": name, "type": "number"});
    let whole = json!({
        "selvedge_pipeline": 1, "kind": "scikit-learn",
        "inputs": [input("a"), input("b"), input("item.c"), input("item.d")],
        "steps": [], "outputs": {"margin": [{"name": "score", "column": 4}]},
    });
    // A step's name is its first key, which a sorted object does not keep.
    let name = step.as_object_mut().unwrap().remove("step").unwrap();
    let step = format!("[{{\"step\":{name},{}]", step.to_string().strip_prefix('{').unwrap());
    let pipeline: Pipeline = serde_json::from_str(&whole.to_string().replace("[]", &step)).unwrap();
    pipeline.check().unwrap();
    pipeline
}

#[track_caller]
fn check(step: Value, row: [f64; 4], expected: &[f64]) {
    let found = tape(&pipeline(step), &row)[4..].to_vec();
    let same = |(a, b): (&f64, &f64)| a.to_bits() == b.to_bits() || a.is_nan() && b.is_nan();
    let equal = found.len() == expected.len() && found.iter().zip(expected).all(same);
    assert!(equal, "{found:?}, expected {expected:?}");
}

#[test]
fn columns_one_by_one() {
    check(json!({"step": "impute", "columns": [0, 2], "values": [7, 8]}), [NAN, 0.0, 1.0, 0.0], &[7.0, 1.0]);
    check(json!({"step": "is_missing", "columns": [0, 1]}), [NAN, 0.0, 0.0, 0.0], &[1.0, 0.0]);
    check(json!({"step": "zero_is_missing", "columns": [0, 1]}), [1e-36, -1e-34, 0.0, 0.0], &[NAN, -1e-34]);
    let scale = json!({"step": "scale", "columns": [0], "subtract": [1], "divide": [4], "multiply": [2], "add": [0.5]});
    check(scale, [3.0, 0.0, 0.0, 0.0], &[1.5]);
    let clip = json!({"step": "clip", "columns": [0, 1, 2, 3], "low": -1, "high": 1});
    check(clip, [-2.0, 2.0, NAN, 0.5], &[-1.0, 1.0, NAN, 0.5]);
    for (function, x, expected) in [
        ("relu", -0.0, 0.0),
        ("relu", NAN, NAN),
        ("round_f32", 0.1, f64::from(0.1f32)),
        ("sigmoid", 0.0, 0.5),
        ("trunc", -1.5, -1.0),
        ("log", 1.0, 0.0),
    ] {
        check(json!({"step": "apply", "columns": [0], "function": function}), [x, 0.0, 0.0, 0.0], &[expected]);
    }
    let interpolate = json!({"step": "interpolate", "columns": [0, 1, 2, 3], "x": [0, 1, 1, 3], "y": [0, 1, 2, 4]});
    check(interpolate, [-1.0, 1.0, 2.0, 9.0], &[0.0, 2.0, 3.0, 4.0]);
    check(json!({"step": "prior", "columns": [0], "kept": 0.5}), [0.5, 0.0, 0.0, 0.0], &[1.0 / 3.0]);
}

#[test]
fn symbols_and_bins() {
    let row = |x: f64| [x, 0.0, 0.0, 0.0];
    for (x, expected) in [(-0.0, 0.0), (2.0, 1.0), (1.0, -1.0), (NAN, NAN)] {
        check(json!({"step": "index", "column": 0, "values": [0, 2]}), row(x), &[expected]);
    }
    for (x, expected) in [(0.5, 0.0), (1.0, 1.0), (3.0, 2.0), (NAN, NAN)] {
        check(json!({"step": "bins", "column": 0, "edges": [1, 2]}), row(x), &[expected]);
    }
    for (x, expected) in
        [(0.0, [1.0, 0.0]), (1.9, [0.0, 1.0]), (2.0, [1.0, 0.0]), (-1.0, [1.0, 0.0]), (NAN, [0.0, 0.0])]
    {
        check(json!({"step": "one_hot", "column": 0, "width": 2, "slots": [0, 1], "other": 0}), row(x), &expected);
    }
    let table = json!({"step": "table", "column": 0, "width": 1, "rows": [5, 6], "other": [7], "missing": [null]});
    for (x, expected) in [(0.0, 5.0), (1.0, 6.0), (2.0, 7.0), (-0.5, 7.0), (NAN, NAN)] {
        check(table.clone(), row(x), &[expected]);
    }
}

#[test]
fn sums_and_products() {
    let linear = json!({"step": "linear", "columns": [0, 1, 2, 3], "weights": [1, 2, 3, 4], "intercept": [0.5]});
    check(linear, [1.0, 1.0, 1.0, 1.0], &[10.5]);
    // 1e16 + 1 loses the 1: the shared columns are summed apart from the candidate's.
    let linear = json!({"step": "linear", "columns": [0, 1, 2, 3], "weights": [1, 1, 1, 1], "intercept": [0]});
    check(linear, [1e16, -1e16, 1.0, 0.0], &[1.0]);
    check(json!({"step": "linear", "columns": [], "weights": [], "intercept": [-0.0]}), [0.0; 4], &[-0.0]);
    check(json!({"step": "products", "terms": [[0, 2], []]}), [2.0, 0.0, 4.0, 0.0], &[8.0, 1.0]);
    check(json!({"step": "sums", "terms": [[0, 2], []]}), [2.0, 0.0, 4.0, 0.0], &[6.0, 0.0]);
    check(json!({"step": "softmax", "columns": [0, 1]}), [3.0, 3.0, 0.0, 0.0], &[0.5, 0.5]);
    check(json!({"step": "normalize", "columns": [0, 1]}), [0.0, 0.0, 0.0, 0.0], &[0.5, 0.5]);
    check(json!({"step": "dot", "a": [0, 1], "b": [2, 3]}), [1.0, 2.0, 3.0, 4.0], &[11.0]);
    let embedding = |cosine: bool| json!({"step": "embedding", "column": 0, "columns": [2, 3], "vectors": [1, 0, 0, 1], "cosine": cosine});
    check(embedding(false), [1.0, 0.0, 3.0, 4.0], &[4.0]);
    check(embedding(true), [1.0, 0.0, 3.0, 4.0], &[f64::from(4.0f32 / 5.0)]);
    check(embedding(true), [1.0, 0.0, 0.0, 0.0], &[0.0]);
    check(embedding(false), [2.0, 0.0, 3.0, 4.0], &[0.0]);
}

#[test]
fn trees_go_where_their_trainer_goes() {
    let trees = |compare: &str, threshold: f64, default_left: u8| {
        json!({
            "step": "trees", "columns": [0], "outputs": 1, "base": [0.25], "compare": compare, "trees": [{
                "feature": [0, -1, -1], "threshold": [threshold, 0, 1], "left": [1, 0, 0], "right": [2, 0, 0],
                "default_left": [default_left, 0, 0], "values": [1, 2],
            }],
        })
    };
    let third = f64::from(0.1f32);
    for (compare, x, left) in [
        ("f64_less", third, false),
        ("f64_at_most", third, true),
        ("f64_at_most", 0.1000001, false),
        // Rounded to f32 it is the threshold.
        ("f32_less", 0.1, false),
        ("f32_at_most", third + 1e-12, true),
    ] {
        let expected = if left { 1.25 } else { 2.25 };
        check(trees(compare, third, 0), [x, 0.0, 0.0, 0.0], &[expected]);
    }
    check(trees("f64_less", 0.0, 1), [NAN, 0.0, 0.0, 0.0], &[1.25]);
    check(trees("f64_less", 0.0, 0), [NAN, 0.0, 0.0, 0.0], &[2.25]);
}

#[test]
fn rows_are_split_by_scope() {
    let sums = pipeline(json!({"step": "sums", "terms": [[0, 1, 2, 3]]}));
    let found = evaluate(&sums, OutputKind::Margin, &[1.0, 2.0], &[10.0, 20.0, 100.0, 200.0], 2);
    assert_eq!(found.unwrap(), [33.0, 303.0]);
    assert!(evaluate(&sums, OutputKind::Margin, &[1.0], &[], 0).is_err());
    assert!(evaluate(&sums, OutputKind::Probability, &[1.0, 2.0], &[], 0).is_err());
}
