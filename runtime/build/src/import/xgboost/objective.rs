//! XGBoost's objectives. Owns what `base_score` means for each, and what follows the margin.

use super::file::Param;
use super::{BadModel, Tape};
use crate::pipeline::step::Column;
use crate::pipeline::{Function, Precision, Step};

/// An objective, by its link.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Objective {
    /// The prediction is the margin, and `base_score` is one. Of `binary:hinge` only the margin is answered: XGBoost predicts 1
    /// where it is above 0, else 0.
    Identity,
    /// The prediction is the sigmoid of the margin.
    Logistic,
    /// The prediction is `e^margin`.
    Log,
    /// A margin a class.
    Softmax,
}

const AT_NAME: &str = "learner.objective.name";
const AT_BASE: &str = "learner.learner_model_param.base_score";

/// Beyond it XGBoost's sigmoid stays where it is, so that its f32 exponential does not overflow.
const LOWEST_MARGIN: f32 = -88.7;

// === impl Objective ===

impl Objective {
    /// The objective of that name.
    pub(super) fn named(name: &str) -> Result<Self, BadModel> {
        match name {
            "binary:logistic" | "reg:logistic" => Ok(Self::Logistic),
            "reg:squarederror"
            | "reg:linear"
            | "reg:squaredlogerror"
            | "reg:absoluteerror"
            | "reg:pseudohubererror"
            | "reg:quantileerror"
            | "rank:pairwise"
            | "rank:ndcg"
            | "rank:map"
            | "binary:hinge"
            | "binary:logitraw" => Ok(Self::Identity),
            "reg:gamma" | "reg:tweedie" | "count:poisson" => Ok(Self::Log),
            "multi:softprob" | "multi:softmax" => Ok(Self::Softmax),
            _ => Err(BadModel::new(AT_NAME, format!("the objective {name:?} is not supported"))),
        }
    }

    /// Where each sum begins. The file has `base_score` before the link: a plain number up to version 3.0, a list of one or
    /// one an output since 3.1.
    pub(super) fn base(self, param: &Param, outputs: u32) -> Result<Vec<f64>, BadModel> {
        let bad = |why: String| BadModel::new(AT_BASE, why);
        let text = param.base_score.trim();
        let list = text.strip_prefix('[').and_then(|text| text.strip_suffix(']')).unwrap_or(text);
        let number = |text: &str| text.trim().parse::<f32>().ok().filter(|number| number.is_finite());
        let scores: Option<Vec<f32>> = list.split(',').map(number).collect();
        let scores = scores.ok_or_else(|| bad(format!("{text:?} is no number and no list of numbers")))?;
        if scores.len() != 1 && scores.len() != outputs as usize {
            return Err(bad(format!("{} values for {outputs} outputs", scores.len())));
        }
        let margins = scores.into_iter().map(|score| {
            let margin = self.margin(score);
            if margin.is_finite() { Ok(f64::from(margin)) } else { Err(bad(format!("{score} has no finite margin"))) }
        });
        let margins: Vec<f64> = margins.collect::<Result<_, _>>()?;
        Ok(if margins.len() == 1 { vec![margins[0]; outputs as usize] } else { margins })
    }

    /// The margin of a base score, in f32 and with the logarithm of the C library, which is what XGBoost calls: one that is
    /// rounded correctly differs in one of 200 scores.
    #[allow(
        clippy::disallowed_methods,
        reason = "the trainer's own, and it decides a number in the file, not in a module"
    )]
    fn margin(self, score: f32) -> f32 {
        match self {
            Self::Identity | Self::Softmax => score,
            Self::Logistic => -(1.0 / score - 1.0).ln(),
            Self::Log => score.ln(),
        }
    }

    /// Appends what leads from the margins to the predictions; no columns where the margins are those.
    pub(super) fn link(self, margins: &[Column], tape: &mut Tape) -> Result<Vec<Column>, BadModel> {
        let columns = margins.to_vec();
        match self {
            Self::Identity => Ok(Vec::new()),
            Self::Logistic => {
                let columns = tape.columns(Step::Clip { columns, low: f64::from(LOWEST_MARGIN), high: f64::MAX })?;
                let columns = tape.columns(Step::Apply { columns, function: Function::Sigmoid })?;
                tape.columns(Step::Apply { columns, function: Function::RoundF32 })
            }
            Self::Log => {
                let columns = tape.columns(Step::Apply { columns, function: Function::Exp })?;
                tape.columns(Step::Apply { columns, function: Function::RoundF32 })
            }
            Self::Softmax => tape.columns(Step::Softmax { columns, precision: Precision::F32 }),
        }
    }
}
