//! The click model: smartcore's logistic regression on one-hot features, written as a linear model that `selvedge` builds.
//! Owns the fit and the text; the module that comes out of it is the builder's.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;

use anyhow::{Context, Result, anyhow};
use smartcore::linalg::basic::arrays::Array;
use smartcore::linalg::basic::matrix::DenseMatrix;
use smartcore::linear::logistic_regression::{LogisticRegression, LogisticRegressionParameters};

use crate::data::{Campaign, Impression};
use crate::rows::latest_affinities;

/// An input of the model and the columns it takes.
#[derive(Debug)]
struct Input {
    name: &'static str,
    scope: &'static str,
    /// The texts of a symbol, one column each; `None` is a number with one column.
    symbols: Option<Vec<String>>,
}

/// What one impression says of one input.
enum Value {
    Text(String),
    Number(f64),
}

/// A fitted model.
#[derive(Debug)]
pub(crate) struct Model {
    inputs: Vec<Input>,
    weights: Vec<f64>,
    intercept: f64,
    /// The mean logarithmic loss on the impressions it was fitted on.
    pub(crate) log_loss: f64,
}

const NAMES: [(&str, &str); 10] = [
    ("user.feature_0", "shared"),
    ("user.feature_1", "shared"),
    ("user.feature_2", "shared"),
    ("user.feature_3", "shared"),
    ("context.position", "shared"),
    ("item.feature_0", "candidate"),
    ("item.feature_1", "candidate"),
    ("item.feature_2", "candidate"),
    ("item.feature_3", "candidate"),
    ("affinity.score", "candidate"),
];

// === impl Model ===

impl Model {
    /// Fits on `seen`. `alpha` is the weight of the squared coefficients: clicks are rare, so it must not be small.
    #[expect(clippy::disallowed_methods, reason = "a loss to print, which no decision depends on")]
    pub(crate) fn fit(campaign: &Campaign, seen: &[Impression], alpha: f64) -> Result<Self> {
        let affinity = latest_affinities(seen);
        let values: Vec<[Value; 10]> = seen.iter().map(|impression| values(campaign, impression, &affinity)).collect();
        let inputs: Vec<Input> =
            NAMES.iter().enumerate().map(|(at, (name, scope))| input(name, scope, at, &values)).collect();
        let rows: Vec<Vec<f64>> = values.iter().map(|values| columns(&inputs, values)).collect();
        let clicks: Vec<u32> = seen.iter().map(|impression| u32::from(impression.clicked)).collect();
        let x = DenseMatrix::from_2d_vec(&rows).map_err(|error| anyhow!("the features are no matrix: {error}"))?;
        let parameters = LogisticRegressionParameters::default().with_alpha(alpha);
        let fitted = LogisticRegression::fit(&x, &clicks, parameters).map_err(|error| anyhow!("smartcore: {error}"))?;
        let weights: Vec<f64> = fitted.coefficients().iterator(0).copied().collect();
        let intercept = *fitted.intercept().iterator(0).next().context("no intercept")?;
        let mut model = Self { inputs, weights, intercept, log_loss: 0.0 };
        let losses = rows.iter().zip(&clicks).map(|(row, click)| {
            let p = model.probability(row);
            if *click == 1 { -p.ln() } else { -(1.0 - p).ln() }
        });
        model.log_loss = losses.sum::<f64>() / rows.len() as f64;
        Ok(model)
    }

    /// How many weights it has.
    pub(crate) fn len(&self) -> usize {
        self.weights.len()
    }

    /// The model as `NAME.linear.toml`.
    pub(crate) fn to_toml(&self) -> Result<String> {
        let mut text = format!("link = \"logistic\"\nintercept = {:?}\n", self.intercept);
        let mut weights = self.weights.iter();
        for input in &self.inputs {
            writeln!(text, "\n[[input]]\nname = {:?}\nscope = {:?}", input.name, input.scope)?;
            match &input.symbols {
                None => writeln!(text, "type = \"number\"\nweight = {:?}", weights.next().context("a weight")?)?,
                Some(symbols) => {
                    writeln!(text, "type = \"symbol\"\n[input.weights]")?;
                    for symbol in symbols {
                        writeln!(text, "{symbol:?} = {:?}", weights.next().context("a weight")?)?;
                    }
                }
            }
        }
        Ok(text)
    }

    #[expect(clippy::disallowed_methods, reason = "for the loss to print; the module has its own")]
    fn probability(&self, row: &[f64]) -> f64 {
        let sum: f64 = row.iter().zip(&self.weights).map(|(x, weight)| x * weight).sum();
        1.0 / (1.0 + (-(sum + self.intercept)).exp())
    }
}

fn values(campaign: &Campaign, seen: &Impression, affinity: &BTreeMap<(String, usize), f64>) -> [Value; 10] {
    let item = &campaign.items[seen.item];
    let text = |text: &String| Value::Text(text.clone());
    let [a, b, c, d] = &seen.visitor;
    let [e, f, g] = &item.categories;
    let score = affinity.get(&(seen.subject(), seen.item)).copied().unwrap_or(0.0);
    [
        text(a),
        text(b),
        text(c),
        text(d),
        text(&seen.position),
        Value::Number(item.number),
        text(e),
        text(f),
        text(g),
        Value::Number(score),
    ]
}

fn input(name: &'static str, scope: &'static str, at: usize, values: &[[Value; 10]]) -> Input {
    let texts: BTreeSet<&String> = values
        .iter()
        .filter_map(|row| match &row[at] {
            Value::Text(text) => Some(text),
            Value::Number(_) => None,
        })
        .collect();
    let symbols = (!texts.is_empty()).then(|| texts.into_iter().cloned().collect());
    Input { name, scope, symbols }
}

fn columns(inputs: &[Input], values: &[Value; 10]) -> Vec<f64> {
    let mut row = Vec::new();
    for (input, value) in inputs.iter().zip(values) {
        match (value, &input.symbols) {
            (Value::Number(number), _) => row.push(*number),
            (Value::Text(text), Some(symbols)) => row.extend(symbols.iter().map(|symbol| f64::from(symbol == text))),
            (Value::Text(_), None) => row.push(0.0),
        }
    }
    row
}
