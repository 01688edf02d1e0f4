//! Models fitted with smartcore answer through their pipeline as smartcore itself does.

#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

use selvedge_build::import::smartcore::export;
use selvedge_build::pipeline::{Answer, Pipeline, reference};
use serde::Serialize;
use serde_json::{Value, json};
use smartcore::ensemble::extra_trees_regressor::ExtraTreesRegressor;
use smartcore::ensemble::random_forest_classifier::{RandomForestClassifier, RandomForestClassifierParameters};
use smartcore::ensemble::random_forest_regressor::RandomForestRegressor;
use smartcore::linalg::basic::arrays::Array;
use smartcore::linalg::basic::matrix::DenseMatrix;
use smartcore::linear::elastic_net::ElasticNet;
use smartcore::linear::lasso::Lasso;
use smartcore::linear::linear_regression::LinearRegression;
use smartcore::linear::logistic_regression::LogisticRegression;
use smartcore::linear::ridge_regression::RidgeRegression;
use smartcore::tree::decision_tree_classifier::DecisionTreeClassifier;
use smartcore::tree::decision_tree_regressor::DecisionTreeRegressor;
use smartcore::xgboost::{XGRegressor, XGRegressorParameters};

type Matrix = DenseMatrix<f64>;

const NAMES: [&str; 5] = ["user.age", "user.visits", "item.price", "item.stock", "context.hour"];

/// Rows on a coarse grid, so that thresholds are met exactly, and what is learned of them.
struct Data {
    rows: Vec<Vec<f64>>,
    x: Matrix,
    value: Vec<f64>,
}

impl Data {
    fn new() -> Self {
        let mut state = 7_u64;
        let mut draw = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            ((state >> 40) as f64 / (1 << 24) as f64 * 40.0).floor() / 8.0 - 2.5
        };
        let rows: Vec<Vec<f64>> = (0..400).map(|_| NAMES.map(|_| draw()).to_vec()).collect();
        let value = rows.iter().map(|row| row[0] * 1.5 - row[1] * row[2] + if row[3] > 0.5 { 2.0 } else { row[4] });
        let value = value.collect();
        Self { x: Matrix::from_2d_vec(&rows).unwrap(), rows, value }
    }

    /// The class of each row: how many of `edges` its value is above, as one of `labels`.
    fn classes(&self, edges: &[f64], labels: &[i32]) -> Vec<i32> {
        let class = |value: &f64| edges.iter().filter(|edge| value > edge).count();
        self.value.iter().map(|value| labels[class(value)]).collect()
    }
}

/// Through JSON, as a file would.
fn exported(model: &impl Serialize) -> Pipeline {
    let pipeline = export(model, &NAMES).unwrap();
    pipeline.check().unwrap();
    let again: Pipeline = serde_json::from_slice(&serde_json::to_vec(&pipeline).unwrap()).unwrap();
    assert_eq!(again, pipeline);
    again
}

fn answered(pipeline: &Pipeline, answers: &[Answer], row: &[f64]) -> Vec<f64> {
    let tape = reference::tape(pipeline, row);
    answers.iter().map(|answer| tape[answer.column as usize]).collect()
}

#[track_caller]
fn check_values(data: &Data, model: &impl Serialize, expected: &[f64]) {
    let pipeline = exported(model);
    assert!(pipeline.outputs.probability.is_empty());
    assert_eq!(pipeline.outputs.margin[0].name, "score");
    for (row, expected) in data.rows.iter().zip(expected) {
        let [found] = answered(&pipeline, &pipeline.outputs.margin, row)[..] else { panic!() };
        assert!((found - expected).abs() <= 1e-12 * expected.abs().max(1.0), "{found}, expected {expected}; {row:?}");
    }
}

/// The class with the highest probability is the one that smartcore predicts.
#[track_caller]
fn check_classes(data: &Data, model: &impl Serialize, labels: &[i32], expected: &[i32]) -> Pipeline {
    let pipeline = exported(model);
    let names: Vec<String> = match labels {
        [_, _] => vec!["score".into()],
        labels => labels.iter().map(|label| format!("class_{label}")).collect(),
    };
    let answers = &pipeline.outputs.probability;
    assert_eq!(answers.iter().map(|answer| answer.name.clone()).collect::<Vec<_>>(), names);
    for (row, expected) in data.rows.iter().zip(expected) {
        let found = answered(&pipeline, answers, row);
        let best = match found[..] {
            [second] => usize::from(second > 0.5),
            _ => (0..found.len()).rev().max_by(|a, b| found[*a].total_cmp(&found[*b])).unwrap(),
        };
        assert_eq!(labels[best], *expected, "{found:?}; {row:?}");
        let sum: f64 = found.iter().sum();
        assert!(found.len() == 1 || (sum - 1.0).abs() < 1e-12, "{found:?}");
    }
    pipeline
}

#[test]
fn regressions_answer_as_smartcore_does() {
    let data = Data::new();
    let (x, y) = (&data.x, &data.value);
    let model = LinearRegression::fit(x, y, Default::default()).unwrap();
    check_values(&data, &model, &model.predict(x).unwrap());
    let model = RidgeRegression::fit(x, y, Default::default()).unwrap();
    check_values(&data, &model, &model.predict(x).unwrap());
    let model = Lasso::fit(x, y, Default::default()).unwrap();
    check_values(&data, &model, &model.predict(x).unwrap());
    let model = ElasticNet::fit(x, y, Default::default()).unwrap();
    check_values(&data, &model, &model.predict(x).unwrap());
    let model = DecisionTreeRegressor::fit(x, y, Default::default()).unwrap();
    check_values(&data, &model, &model.predict(x).unwrap());
    let model = RandomForestRegressor::fit(x, y, Default::default()).unwrap();
    check_values(&data, &model, &model.predict(x).unwrap());
    let model = ExtraTreesRegressor::fit(x, y, Default::default()).unwrap();
    check_values(&data, &model, &model.predict(x).unwrap());
    let model = XGRegressor::fit(x, y, XGRegressorParameters::default().with_n_estimators(30)).unwrap();
    check_values(&data, &model, &model.predict(x).unwrap());
}

#[test]
fn classifiers_answer_as_smartcore_does() {
    let data = Data::new();
    let x = &data.x;
    for (edges, labels) in [(&[0.5][..], &[0, 1][..]), (&[-1.0, 0.5, 2.0], &[1, 2, 5, 9])] {
        let y = data.classes(edges, labels);
        let model = LogisticRegression::fit(x, &y, Default::default()).unwrap();
        check_classes(&data, &model, labels, &model.predict(x).unwrap());
        let model = DecisionTreeClassifier::fit(x, &y, Default::default()).unwrap();
        let pipeline = check_classes(&data, &model, labels, &model.predict(x).unwrap());
        let expected = model.predict_proba(x).unwrap();
        for (i, row) in data.rows.iter().enumerate() {
            let found = answered(&pipeline, &pipeline.outputs.probability, row);
            let from = labels.len() - found.len();
            let expected: Vec<f64> = (from..labels.len()).map(|class| *expected.get((i, class))).collect();
            assert_eq!(found, expected[from.min(expected.len() - found.len())..], "{row:?}");
        }
        // An odd number of trees: two classes never have the same share.
        let parameters = RandomForestClassifierParameters::default().with_n_trees(25);
        let model = RandomForestClassifier::fit(x, &y, parameters).unwrap();
        check_classes(&data, &model, labels, &model.predict(x).unwrap());
    }
}

#[test]
fn a_logistic_regression_s_probability_is_that_of_its_margin() {
    let data = Data::new();
    let y = data.classes(&[0.0], &[0, 1]);
    let model = LogisticRegression::fit(&data.x, &y, Default::default()).unwrap();
    let pipeline = exported(&model);
    for row in &data.rows {
        let terms = model.coefficients().iterator(0).zip(row).map(|(weight, x)| weight * x);
        let margin = terms.sum::<f64>() + model.intercept().get((0, 0));
        let [found] = answered(&pipeline, &pipeline.outputs.margin, row)[..] else { panic!() };
        assert!((found - margin).abs() <= 1e-12 * margin.abs().max(1.0));
        let [probability] = answered(&pipeline, &pipeline.outputs.probability, row)[..] else { panic!() };
        assert!((probability - 1.0 / (1.0 + libm::exp(-margin))).abs() <= 1e-12);
    }
}

#[track_caller]
fn refused(model: &Value, names: &[&str], expected: &str) {
    let error = export(model, names).unwrap_err().to_string();
    assert!(error.contains(expected), "{error}; expected {expected:?}");
}

#[test]
fn what_is_no_fitted_model_of_this_version_is_told() {
    let matrix =
        |rows: usize, values: Value| json!({"ncols": 1, "nrows": rows, "values": values, "column_major": true});
    let ridge = |coefficients: Value| json!({"coefficients": coefficients, "intercept": 1.0});
    refused(&json!([1]), &[], "not a model of smartcore 0.7; supported are LogisticRegression");
    refused(&json!({"knn": 1, "distance": {}}), &[], "a structure with the fields distance, knn, which is no model");
    refused(&ridge(Value::Null), &[], "coefficients: empty: the model is not fitted");
    refused(&ridge(matrix(2, json!([1.0]))), &["a", "b"], "coefficients.values: 1 values, but 1 × 2 are expected");
    refused(&ridge(matrix(1, json!([null]))), &["a"], "coefficients.values[0]: not a finite number; did the fit");
    refused(&ridge(matrix(1, json!([1.0]))), &["a", "b"], "2 feature names were given, but the model has 1");
    refused(&ridge(json!({"ncols": 1})), &["a"], "coefficients: missing field `nrows`; smartcore 0.7 is expected");
    let node = |output: usize, left: Value, right: Value, value: Value| json!({"output": output, "split_feature": 0, "split_value": value, "true_child": left, "false_child": right});
    let leaf = |output| node(output, Value::Null, Value::Null, Value::Null);
    let tree = |nodes: Value| json!({"nodes": nodes, "num_classes": 2, "classes": [0, 1], "num_features": 1});
    refused(&tree(json!([])), &["a"], "nodes: empty: the tree is not fitted");
    let split = |left, right| node(0, json!(left), json!(right), json!(0.5));
    refused(&tree(json!([split(1, 1), leaf(0)])), &["a"], "nodes[0]: child 1 has two parents");
    refused(&tree(json!([split(1, 7), leaf(0)])), &["a"], "nodes[0]: child 7 of 2 nodes");
    refused(&tree(json!([split(1, 2), leaf(0), leaf(3)])), &["a"], "nodes[2]: class 3 of 2");
    let unsaid = node(0, json!(1), json!(2), Value::Null);
    refused(&tree(json!([unsaid, leaf(0), leaf(1)])), &["a"], "nodes[0]: a split without a value");
    let half = node(0, json!(1), Value::Null, json!(0.5));
    refused(&tree(json!([half, leaf(0)])), &["a"], "nodes[0]: child -1 of 2 nodes");
    let parameters = |objective| json!({"learning_rate": 0.1, "base_score": 0.5, "objective": objective});
    let leaf = json!({"left": null, "right": null, "value": 1.0, "threshold": 0.0, "split_feature_idx": u64::MAX});
    let split = json!({"left": leaf, "right": leaf, "value": 0.0, "threshold": 0.5, "split_feature_idx": 1});
    let boosted = |objective| json!({"regressors": [split], "parameters": parameters(objective)});
    refused(&boosted("Logistic"), &["a"], "parameters.objective");
    refused(&boosted("MeanSquaredError"), &["a"], "regressors[0]: a split on feature 1, but 1 feature names");
    assert!(export(&boosted("MeanSquaredError"), &["a", "b"]).is_ok());
}
