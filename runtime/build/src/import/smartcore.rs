//! Models fitted in Rust with smartcore 0.7: [`export`] reads a fitted model through its `Serialize` (smartcore's feature
//! `serde`) and gives a pipeline, which is written as JSON and built like any other. Owns which fields mean which model;
//! `model` has their shapes. It knows the shapes of version 0.7 and refuses all others: smartcore's format is its own affair.
//!
//! ```
//! use selvedge_build::import::smartcore;
//! use serde::Serialize;
//!
//! /// Stands for a fitted `smartcore::linear::ridge_regression::RidgeRegression`.
//! #[derive(Serialize)]
//! struct Fitted {
//!     coefficients: Option<Matrix>,
//!     intercept: Option<f64>,
//! }
//! #[derive(Serialize)]
//! struct Matrix {
//!     ncols: usize,
//!     nrows: usize,
//!     values: Vec<f64>,
//!     column_major: bool,
//! }
//!
//! let coefficients = Matrix { ncols: 1, nrows: 2, values: vec![0.5, -1.0], column_major: true };
//! let fitted = Fitted { coefficients: Some(coefficients), intercept: Some(3.0) };
//! let pipeline = smartcore::export(&fitted, &["item.price", "user.age"])?;
//! let json = serde_json::to_vec(&pipeline)?; // hero.json, which `selvedge build` reads
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod model;
mod trees;

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::tape::Tape;
use super::{BadModel, names};
use crate::pipeline::step::Column;
use crate::pipeline::{Answer, Answers, Function, Pipeline, PipelineInput, Precision, Step};
use model::{Boosted, Classifier, Forest, Intercept, Label, Linear, Logistic, RegressorForest, TreeRegressor};

const SUPPORTED: &str = "LogisticRegression, LinearRegression, RidgeRegression, Lasso, ElasticNet, DecisionTreeClassifier, \
     DecisionTreeRegressor, RandomForestClassifier, RandomForestRegressor, ExtraTreesRegressor, XGRegressor";

/// The pipeline of a fitted model; `names` are those of its features, in the order of the columns it was fitted on.
///
/// A regression answers the margin `score`. A classifier of two classes answers the probability of the second, of more
/// classes one each, called `class_LABEL`; a logistic regression answers its margins too. The probabilities of a tree are 0
/// and 1, those of a forest the shares of its trees. Models are computed in f64, as those fitted on f64 matrices are.
///
/// # Errors
///
/// When it is not a fitted model of smartcore 0.7 of a supported kind, or the names do not fit.
pub fn export<S: AsRef<str>>(model: &impl Serialize, names: &[S]) -> Result<Pipeline, BadModel> {
    let value = serde_json::to_value(model).map_err(|error| BadModel::whole(error.to_string()))?;
    let names: Vec<String> = names.iter().map(|name| name.as_ref().to_owned()).collect();
    let Value::Object(fields) = &value else {
        return Err(BadModel::whole(format!("not a model of smartcore 0.7; supported are {SUPPORTED}")));
    };
    let has = |names: &[&str]| names.iter().all(|name| fields.contains_key(*name));
    if has(&["coefficients", "intercept", "num_classes"]) {
        logistic(read(value)?, names)
    } else if has(&["coefficients", "intercept"]) {
        linear(read(value)?, names)
    } else if has(&["nodes", "num_classes"]) {
        trees::classifier(read::<Classifier>(value)?, names)
    } else if has(&["tree_regressor"]) {
        trees::regressor(read::<TreeRegressor>(value)?, names)
    } else if has(&["trees", "classes"]) {
        trees::forest(read::<Forest>(value)?, names)
    } else if has(&["forest_regressor"]) {
        trees::regressor_forest(read::<RegressorForest>(value)?, names)
    } else if has(&["regressors", "parameters"]) {
        trees::boosted(read::<Boosted>(value)?, names)
    } else {
        let known: Vec<&str> = fields.keys().take(8).map(String::as_str).collect();
        let why = format!(
            "a structure with the fields {}, which is no model of smartcore 0.7 that can be exported; supported are \
             {SUPPORTED}",
            known.join(", ")
        );
        Err(BadModel::whole(why))
    }
}

/// A structure as smartcore 0.7 has it.
fn read<T: DeserializeOwned>(value: Value) -> Result<T, BadModel> {
    serde_path_to_error::deserialize(value).map_err(|error| {
        let bad = BadModel::from_path(error);
        BadModel::new(bad.at, format!("{}; smartcore 0.7 is expected", bad.why))
    })
}

fn logistic(model: Logistic, names: Vec<String>) -> Result<Pipeline, BadModel> {
    let (classes, coefficients) = (fitted("classes", model.classes)?, fitted("coefficients", model.coefficients)?);
    let intercept = fitted("intercept", model.intercept)?.values("intercept")?;
    let (rows, features) = (coefficients.rows, coefficients.columns);
    let expected = if classes.len() == 2 { 1 } else { classes.len() };
    if classes.len() < 2 || rows != expected || intercept.len() != expected {
        let why = format!("{rows} rows and {} intercepts for {} classes", intercept.len(), classes.len());
        return Err(BadModel::new("coefficients", why));
    }
    let weights = coefficients.values("coefficients")?;
    let mut tape = Tape::new(inputs(names, features)?);
    let margins = push(&mut tape, weighted(features, weights, intercept))?;
    let columns = margins.clone();
    let link = match margins.as_slice() {
        [_] => Step::Apply { columns, function: Function::Sigmoid },
        _ => Step::Softmax { columns, precision: Precision::F64 },
    };
    let probabilities = push(&mut tape, link)?;
    let outputs = Answers { margin: answers(&classes, &margins), probability: answers(&classes, &probabilities) };
    finish(tape, outputs)
}

fn linear(model: Linear, names: Vec<String>) -> Result<Pipeline, BadModel> {
    let coefficients = fitted("coefficients", model.coefficients)?;
    let (features, targets) = (coefficients.rows, coefficients.columns);
    let intercept = match fitted("intercept", model.intercept)? {
        Intercept::Number(number) => vec![number],
        Intercept::Matrix(matrix) => matrix.values("intercept")?,
    };
    if intercept.len() != targets {
        let why = format!("{} numbers for {targets} columns of coefficients", intercept.len());
        return Err(BadModel::new("intercept", why));
    }
    // A target's weights stand in a column.
    let weights = coefficients.transposed().values("coefficients")?;
    let mut tape = Tape::new(inputs(names, features)?);
    let margins = push(&mut tape, weighted(features, weights, intercept))?;
    let margin = super::xgboost::named("output", &margins);
    finish(tape, Answers { margin, probability: Vec::new() })
}

fn weighted(features: usize, weights: Vec<f64>, intercept: Vec<f64>) -> Step {
    Step::Linear { columns: (0..features as Column).collect(), weights, intercept, precision: Precision::F64 }
}

/// What `fit` fills in.
fn fitted<T>(at: &str, value: Option<T>) -> Result<T, BadModel> {
    value.ok_or_else(|| BadModel::new(at, "empty: the model is not fitted"))
}

fn inputs(names: Vec<String>, features: usize) -> Result<Vec<PipelineInput>, BadModel> {
    if features > super::MAX_FEATURES {
        return Err(BadModel::whole(format!("{features} features, at most {}", super::MAX_FEATURES)));
    }
    names::fit(&names, features)?;
    Ok(names.into_iter().map(PipelineInput::number).collect())
}

fn push(tape: &mut Tape, step: Step) -> Result<Vec<Column>, BadModel> {
    tape.push(step).map(Iterator::collect).map_err(BadModel::whole)
}

/// One column is the `score`; of several, each has its class's label.
fn answers(classes: &[Label], columns: &[Column]) -> Vec<Answer> {
    match columns {
        [column] => vec![Answer { name: "score".into(), column: *column }],
        _ => {
            let named = |(class, column): (&Label, &Column)| Answer { name: format!("class_{class}"), column: *column };
            classes.iter().zip(columns).map(named).collect()
        }
    }
}

fn finish(tape: Tape, outputs: Answers) -> Result<Pipeline, BadModel> {
    tape.finish("smartcore", Some("smartcore 0.7".into()), outputs)
}
