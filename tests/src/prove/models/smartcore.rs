//! Models fitted with smartcore on made-up sessions, and what smartcore itself answers.

use anyhow::{Result, anyhow};
use selvedge_build::import::BadModel;
use selvedge_build::import::smartcore::export;
use selvedge_build::pipeline::Pipeline;
use smartcore::ensemble::extra_trees_regressor::ExtraTreesRegressor;
use smartcore::ensemble::random_forest_regressor::RandomForestRegressor;
use smartcore::error::Failed;
use smartcore::linalg::basic::arrays::Array;
use smartcore::linalg::basic::matrix::DenseMatrix;
use smartcore::linear::linear_regression::LinearRegression;
use smartcore::linear::logistic_regression::LogisticRegression;
use smartcore::linear::ridge_regression::RidgeRegression;
use smartcore::tree::decision_tree_classifier::DecisionTreeClassifier;
use smartcore::tree::decision_tree_regressor::DecisionTreeRegressor;
use smartcore::xgboost::{XGRegressor, XGRegressorParameters};

use super::case::Case;
use crate::harness::Random;

const NAMES: [&str; 6] = ["user.visits", "user.spend", "user.age", "item.price", "item.discount", "context.hour"];
/// Sessions to fit on.
const SESSIONS: usize = 600;

type Matrix = DenseMatrix<f64>;
type Exported = Result<Pipeline, BadModel>;
type Fit<T> = Result<T, Failed>;

/// A case for every kind of model whose numbers smartcore tells; votes of forests, which it does not, are compared in the
/// builder's own tests.
pub(super) fn cases(seed: u64, rows: usize) -> Result<Vec<Case>> {
    fit(seed, rows).map_err(|failed| anyhow!("smartcore: {failed}"))?
}

fn fit(seed: u64, count: usize) -> Fit<Result<Vec<Case>>> {
    let mut random = Random::new(seed);
    let seen = sessions(&mut random, SESSIONS);
    let (x, value) = (Matrix::from_2d_vec(&seen)?, seen.iter().map(|row| worth(row)).collect::<Vec<_>>());
    let mut rows = sessions(&mut random, count);
    for row in rows.iter_mut().skip(count / 2) {
        // Hard ones: values of the rows it was fitted on, halves between them, zeros of both signs, and values far outside; not
        // farther, because sums of huge terms that cancel differ by their order alone.
        for (column, value) in row.iter_mut().enumerate() {
            let [a, b] = [0, 1].map(|_| seen[random.below(SESSIONS as u64) as usize][column]);
            *value = *random.pick(&[a, (a + b) / 2.0, *value, 0.0, -0.0, 16.0, -16.0]);
        }
    }
    let at = Matrix::from_2d_vec(&rows)?;
    let mut cases = Vec::new();
    let mut push = |name: &str, pipeline: Exported, margin: Option<Vec<f64>>, prediction: Option<Vec<f64>>| {
        let rows = rows.concat();
        let case = |pipeline| Case {
            name: name.into(),
            pipelines: vec![pipeline],
            rows,
            margin,
            prediction,
            single: false,
            quality: None,
        };
        cases.push(pipeline.map(case).map_err(anyhow::Error::from));
    };

    let model = LinearRegression::fit(&x, &value, Default::default())?;
    push("linear", export(&model, &NAMES), Some(model.predict(&at)?), None);
    let model = RidgeRegression::fit(&x, &value, Default::default())?;
    push("ridge", export(&model, &NAMES), Some(model.predict(&at)?), None);
    let model = DecisionTreeRegressor::fit(&x, &value, Default::default())?;
    push("tree", export(&model, &NAMES), Some(model.predict(&at)?), None);
    let model = RandomForestRegressor::fit(&x, &value, Default::default())?;
    push("forest", export(&model, &NAMES), Some(model.predict(&at)?), None);
    let model = ExtraTreesRegressor::fit(&x, &value, Default::default())?;
    push("extra-trees", export(&model, &NAMES), Some(model.predict(&at)?), None);
    let model = XGRegressor::fit(&x, &value, XGRegressorParameters::default().with_n_estimators(60))?;
    push("boosted", export(&model, &NAMES), Some(model.predict(&at)?), None);

    for (name, edges) in [("two", &[1.0][..]), ("four", &[-1.0, 1.0, 3.0])] {
        let class = |value: &f64| edges.iter().filter(|edge| value > edge).count() as u32;
        let classes: Vec<u32> = value.iter().map(class).collect();
        let model = DecisionTreeClassifier::fit(&x, &classes, Default::default())?;
        let first = if edges.len() == 1 { 1 } else { 0 };
        let shares = (0..count).flat_map(|row| (first..=edges.len()).map(move |class| (row, class)));
        let expected = model.predict_proba(&at)?;
        push(
            &format!("tree-{name}"),
            export(&model, &NAMES),
            None,
            Some(shares.map(|place| *expected.get(place)).collect()),
        );
        let model = LogisticRegression::fit(&x, &classes, Default::default())?;
        let (weights, intercept) = (model.coefficients(), model.intercept());
        let margins = (0..count).flat_map(|row| {
            let sum = |class: usize| (0..NAMES.len()).map(|i| weights.get((class, i)) * at.get((row, i))).sum::<f64>();
            (0..weights.shape().0).map(|class| sum(class) + intercept.get((class, 0))).collect::<Vec<_>>()
        });
        push(&format!("logistic-{name}"), export(&model, &NAMES), Some(margins.collect()), None);
    }
    Ok(cases.into_iter().collect())
}

fn sessions(random: &mut Random, count: usize) -> Vec<Vec<f64>> {
    let mut row = || NAMES.iter().map(|_| (random.unit() * 40.0).floor() / 8.0 - 2.5).collect();
    (0..count).map(|_| row()).collect()
}

fn worth(row: &[f64]) -> f64 {
    row[0] * 1.5 - row[3] * row[4] + if row[1] > 0.5 { 2.0 } else { row[5] }
}
