//! Small models of every era and kind with the answers of the real library: to the bit before the link, within 2 ulp after it
//! (its exponential is the C library's). Networks and embeddings within 1e-6.

use std::fs;
use std::path::Path;

use serde::Deserialize;

use crate::import::read;
use crate::pipeline::reference::tape;
use crate::pipeline::{Answer, Pipeline};

/// `NAME.rows.json` beside a model; a missing value is `null`.
#[derive(Deserialize)]
struct Rows {
    rows: Vec<Vec<Option<f64>>>,
    #[serde(default)]
    margin: Vec<Vec<f64>>,
    #[serde(default)]
    prediction: Vec<Vec<f64>>,
}

#[track_caller]
fn check(family: &str, at_least: usize) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/cases/models").join(family);
    let mut models = 0;
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.to_str().unwrap().ends_with(".rows.json") {
            continue;
        }
        let name = path.display().to_string();
        let pipeline = read(&name, &fs::read(&path).unwrap(), None).unwrap_or_else(|bad| panic!("{name}: {bad}"));
        let rows: Rows = serde_json::from_slice(&fs::read(path.with_extension("rows.json")).unwrap()).unwrap();
        match pipeline.kind.as_str() {
            "onnx" | "embedding" => near(&name, &pipeline, &rows),
            _ => same(&name, &pipeline, &rows),
        }
        models += 1;
    }
    assert!(models >= at_least, "{models} models of {family}");
}

fn same(name: &str, pipeline: &Pipeline, rows: &Rows) {
    let is_f32 = pipeline.kind == "xgboost";
    for (i, row) in rows.rows.iter().enumerate() {
        let row: Vec<f64> = row.iter().map(|value| value.unwrap_or(f64::NAN)).collect();
        let tape = tape(pipeline, &row);
        let far = |answers: &[Answer], expected: &[f64]| {
            assert_eq!(answers.len(), expected.len(), "{name}");
            let pairs =
                answers.iter().zip(expected).map(|(answer, expected)| (tape[answer.column as usize], *expected));
            pairs.map(|(found, expected)| ulps(found, expected, is_f32)).max().unwrap()
        };
        assert_eq!(far(&pipeline.outputs.margin, &rows.margin[i]), 0, "{name}: the margins of row {i}, {row:?}");
        if let Some(prediction) = rows.prediction.get(i) {
            assert!(far(&pipeline.outputs.probability, prediction) <= 2, "{name}: the prediction of row {i}, {row:?}");
        } else {
            assert!(pipeline.outputs.probability.is_empty(), "{name} has no link");
        }
    }
}

/// Within 1e-6: sums of f32 in another order.
fn near(name: &str, pipeline: &Pipeline, rows: &Rows) {
    let (answers, expected) = match rows.margin.is_empty() {
        true => (&pipeline.outputs.probability, &rows.prediction),
        false => (&pipeline.outputs.margin, &rows.margin),
    };
    for (row, expected) in rows.rows.iter().zip(expected) {
        let row: Vec<f64> = row.iter().map(|value| value.unwrap_or(f64::NAN)).collect();
        let tape = tape(pipeline, &row);
        assert_eq!(answers.len(), expected.len(), "{name}");
        for (answer, expected) in answers.iter().zip(expected) {
            let found = tape[answer.column as usize];
            assert!((found - expected).abs() <= 1e-6 * expected.abs().max(1.0), "{name}: {found} in row {row:?}");
        }
    }
}

/// How many numbers lie between two of the same sign.
fn ulps(a: f64, b: f64, is_f32: bool) -> u64 {
    let (a, b) = if is_f32 {
        (u64::from((a as f32).to_bits()), u64::from((b as f32).to_bits()))
    } else {
        (a.to_bits(), b.to_bits())
    };
    a.abs_diff(b)
}

#[test]
fn xgboost_models_answer_as_xgboost_does() {
    check("xgboost", 20);
}

#[test]
fn lightgbm_models_answer_as_lightgbm_does() {
    check("lightgbm", 19);
}

#[test]
fn networks_answer_as_onnxruntime_does() {
    check("onnx", 11);
}

#[test]
fn embeddings_answer_as_numpy_does() {
    check("embedding", 3);
}
