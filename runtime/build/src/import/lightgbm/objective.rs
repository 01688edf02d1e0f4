//! LightGBM's objectives. Owns what leads from the raw score to the prediction.

use super::text::Block;
use super::{BadModel, Tape};
use crate::pipeline::step::Column;
use crate::pipeline::{Function, Precision, Step};

/// An objective, by what follows the raw score.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Objective {
    /// Nothing.
    Identity,
    /// `sign(x) x²`: a regression that was trained on square roots.
    Square,
    /// `e^x`.
    Exp,
    /// `ln(1 + e^x)`.
    Log1pExp,
    /// The sigmoid of so many times the score.
    Sigmoid(f64),
    /// A sigmoid a class.
    OneAgainstAll(f64),
    /// Softmax over the classes.
    Softmax,
}

// === impl Objective ===

impl Objective {
    /// The objective of a model, with its parameters; one without an objective was trained with the user's own.
    pub(super) fn read(head: &Block<'_>, outputs: usize) -> Result<Self, BadModel> {
        let Some(text) = head.optional("objective") else { return Ok(Self::Identity) };
        let mut words = text.split_ascii_whitespace();
        let name = words.next().unwrap_or("");
        let parameters: Vec<&str> = words.collect();
        let sigmoid = || {
            let told = parameters.iter().find_map(|word| word.strip_prefix("sigmoid:"));
            let value = told.map_or(Some(1.0), |told| told.parse::<f64>().ok());
            let value = value.filter(|value| value.is_finite() && *value > 0.0);
            value.ok_or_else(|| head.bad("objective", format!("{text:?}: the sigmoid is no number above 0")))
        };
        let objective =
            match name {
                "regression" | "regression_l1" | "huber" | "fair" | "quantile" | "mape" => {
                    if parameters.contains(&"sqrt") { Self::Square } else { Self::Identity }
                }
                "lambdarank" | "rank_xendcg" | "custom" | "" => Self::Identity,
                "poisson" | "gamma" | "tweedie" => Self::Exp,
                "cross_entropy" => Self::Sigmoid(1.0),
                "cross_entropy_lambda" => Self::Log1pExp,
                "binary" => Self::Sigmoid(sigmoid()?),
                "multiclass" => Self::Softmax,
                "multiclassova" => Self::OneAgainstAll(sigmoid()?),
                _ => return Err(head.bad("objective", format!("the objective {name:?} is not supported"))),
            };
        let fits = if objective.has_classes() { outputs >= 2 } else { outputs == 1 || objective == Self::Identity };
        if fits { Ok(objective) } else { Err(head.bad("objective", format!("{name:?} with {outputs} outputs"))) }
    }

    pub(super) fn has_classes(self) -> bool {
        matches!(self, Self::Softmax | Self::OneAgainstAll(_))
    }

    /// Appends what leads from the raw scores to the predictions; no columns where the scores are those. Of a random forest
    /// the predictions, but not the raw scores, are divided by the iterations.
    pub(super) fn predictions(
        self,
        margins: &[Column],
        iterations: Option<usize>,
        tape: &mut Tape,
    ) -> Result<Vec<Column>, BadModel> {
        let mut columns = margins.to_vec();
        if let Some(iterations) = iterations.filter(|iterations| *iterations > 0) {
            let divide = vec![iterations as f64; columns.len()];
            let [subtract, multiply, add] = [const { Vec::new() }; 3];
            columns = tape.columns(Step::Scale { columns, subtract, divide, multiply, add })?;
        }
        match self {
            Self::Identity if iterations.is_none() => Ok(Vec::new()),
            Self::Identity => Ok(columns),
            Self::Square => {
                let absolute = tape.columns(Step::Apply { columns: columns.clone(), function: Function::Abs })?;
                let terms = absolute.into_iter().zip(columns).map(|(absolute, column)| vec![absolute, column]);
                tape.columns(Step::Products { terms: terms.collect() })
            }
            Self::Exp => tape.columns(Step::Apply { columns, function: Function::Exp }),
            Self::Log1pExp => {
                let columns = tape.columns(Step::Apply { columns, function: Function::Exp })?;
                tape.columns(Step::Apply { columns, function: Function::Log1p })
            }
            Self::Sigmoid(sigmoid) | Self::OneAgainstAll(sigmoid) => {
                if sigmoid != 1.0 {
                    let multiply = vec![sigmoid; columns.len()];
                    let [subtract, divide, add] = [const { Vec::new() }; 3];
                    columns = tape.columns(Step::Scale { columns, subtract, divide, multiply, add })?;
                }
                tape.columns(Step::Apply { columns, function: Function::Sigmoid })
            }
            Self::Softmax => tape.columns(Step::Softmax { columns, precision: Precision::F64 }),
        }
    }
}
