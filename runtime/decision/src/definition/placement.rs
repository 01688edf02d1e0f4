//! `placements/KEY.toml` as types: what may be chosen, who scores it, how it is chosen, what never may be, and the experiments.

use alloc::collections::BTreeMap;
use alloc::string::String;
use alloc::vec::Vec;

use serde::{Deserialize, Serialize};

use super::{Span, Time};
use crate::form::form;
use crate::manifest::{Kind, Scalar};

/// `placements/KEY.toml`: a named place that asks for a decision.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PlacementDef {
    /// Whether pages may ask for it, with a publishable key.
    #[serde(default, skip_serializing_if = "core::ops::Not::not")]
    pub browser: bool,
    /// The values of a request's `context` by name: `number`, `flag` or `symbol`.
    #[serde(default)]
    pub context: BTreeMap<String, Kind>,
    /// What may be chosen, when it is a fixed list.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub actions: Vec<ActionDef>,
    /// Where the candidates come from, when they are items.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub candidates: Option<CandidatesDef>,
    /// How many choices, unless the request says fewer or more.
    #[serde(default = "one")]
    pub slots: u32,
    /// How long a decision may take.
    #[serde(default = "default_deadline")]
    pub deadline: Span,
    /// The rules modules, all of which run.
    #[serde(default)]
    pub rules: Vec<String>,
    /// The scorers in order, `"module"` or `"module:output"`: the first that works answers.
    #[serde(default)]
    pub ladder: Vec<String>,
    /// How to choose among the scored.
    #[serde(default)]
    pub choose: Choose,
    /// The order when nothing scored.
    pub fallback: Fallback,
    /// What the record holds.
    #[serde(default)]
    pub record: RecordDef,
    /// What may not be chosen whatever its score, and how many of a kind.
    #[serde(default, skip_serializing_if = "LimitsDef::is_empty")]
    pub limits: LimitsDef,
    /// Scorers that run beside: what they would have chosen is recorded, and they never answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shadow: Option<ShadowDef>,
    /// Experiments; a request's unit falls into an arm of the first that has it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub experiment: Vec<ExperimentDef>,
}

/// `[limits]`: each by a feature of the candidates, such as `item.stock`.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LimitsDef {
    /// More than this: `above = { "item.stock" = 0 }`. A candidate without a value is not eligible.
    pub above: BTreeMap<String, f64>,
    /// This or more: `at_least = { "item.margin" = 0.1 }`. A candidate without a value is not eligible.
    pub at_least: BTreeMap<String, f64>,
    /// Less than this, as long as some candidate is: `below = { "seen.shown_7d" = 3 }`. One without a value is eligible.
    pub below: BTreeMap<String, f64>,
    /// At most so many choices with the same value: `max_per = { "item.brand" = 2 }`.
    pub max_per: BTreeMap<String, u32>,
    /// At least a share of the choices, as far as there are candidates.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub min_share: Vec<MinShareDef>,
}

/// A share of the choices for a group: `{ of = "item.own_brand", is = true, share = 0.25 }`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MinShareDef {
    /// The feature that says who belongs to the group.
    pub of: String,
    /// The value that those have.
    pub is: Scalar,
    /// The least share of the choices, from 0 to 1, rounded up to whole choices.
    pub share: f64,
}

/// Scorers that run beside the ladder.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ShadowDef {
    /// `"module"` or `"module:output"`.
    pub scorers: Vec<String>,
    /// The share of decisions they run in, from 0 to 1; each of them takes its time of the answer.
    #[serde(default = "all")]
    pub share: f64,
}

/// One action of a placement.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ActionDef {
    /// Its id.
    pub id: String,
    /// What the caller gets with it: JSON, as text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub payload: Option<Payload>,
}

/// A payload: a tree of values as TOML and JSON have them both.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Payload {
    /// `true` or `false`.
    Flag(bool),
    /// A whole number.
    Integer(i64),
    /// A number.
    Number(f64),
    /// A text.
    Text(String),
    /// A list.
    List(Vec<Payload>),
    /// A table.
    Table(BTreeMap<String, Payload>),
}

/// Items as candidates.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CandidatesDef {
    /// The view of the items.
    pub view: String,
    /// Which of its items.
    #[serde(default)]
    pub from: From,
}

/// Which items are candidates.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum From {
    /// Those the request names.
    #[default]
    Request,
    /// All the view holds.
    View,
}

/// How to choose among the scored: a policy and what it needs besides.
///
/// `{ policy = "thompson", reward = "click", floor = 0.01 }`, `{ policy = "epsilon", epsilon = 0.05 }`.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Choose {
    /// The policy.
    pub policy: Policy,
    /// For `epsilon`: the share of draws that take any candidate, all alike.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub epsilon: Option<f64>,
    /// For `softmax`: the difference of scores at which one is e times as likely as the other.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub temperature: Option<f64>,
    /// For `thompson`: what is learned, the name of an event or the `kind` of a `$reward`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reward: Option<String>,
    /// For `thompson`: how long after its decision a reward counts. When not said: of `purchase` 7 days; of `add_to_cart`,
    /// `add_to_wishlist`, `view_cart` and `begin_checkout` 24 hours; of any other 30 minutes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub window: Option<Span>,
    /// For `thompson`: rewards and misses that every action begins with, each 1 or more; `[1, 1]` when not said. With a model they
    /// were seen where all features are at their center.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub prior: Option<[f64; 2]>,
    /// For `thompson`: what the rate of an action depends on; on nothing, `beta`, when not said.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub model: Option<Model>,
    /// For a model: what it sees of the request and the candidate.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub features: Vec<ModelFeature>,
    /// For a model: how precisely each feature's weight is known to be 0 before anything was learned, as one over its variance; 1 when
    /// not said.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub precision: Option<f64>,
    /// For `thompson`: after which time what was learned weighs half; for ever the same when not said.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub half_life: Option<Span>,
    /// The least probability of each candidate in every draw; 0 when not said.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub floor: Option<f64>,
    /// The largest probability of any other than the best in one draw, the floor apart; 1 when not said.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub budget: Option<f64>,
    /// Whether it may choose another than the best at all; `false` goes on learning. `true` when not said.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub explore: Option<bool>,
}

/// A way to choose.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Policy {
    /// The highest scores, ties to the smaller id.
    #[default]
    Argmax,
    /// The highest scores, and now and then any candidate.
    Epsilon,
    /// By chance, the higher scored the likelier.
    Softmax,
    /// Each action as often as it is probably the best, by the rewards it had: Thompson sampling.
    Thompson,
}

/// What a policy learns of an action.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Model {
    /// Its rate.
    #[default]
    Beta,
    /// Its rate by features: logistic regression, with the diagonal of Laplace's approximation.
    Logistic,
}

/// A feature of a model: `"user.is_new"`, `{ of = "context.cart_value", center = 50.0, scale = 25.0 }`,
/// `{ of = "context.country", is = ["DE", "FR"] }`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum ModelFeature {
    /// A number or a flag as it is.
    Plain(String),
    /// With what is said of it.
    Said(ModelFeatureSpec),
}

/// A feature of a model and how it is seen.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ModelFeatureSpec {
    /// `view.feature` or `context.name`.
    pub of: String,
    /// Of a number: what counts as 0, and stands in for a missing value; 0 when not said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub center: Option<f64>,
    /// Of a number: how far from the center counts as 1, about its standard deviation; 1 when not said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scale: Option<f64>,
    /// Of a symbol: the values that are told apart, each a feature that is 1 or 0. All others are alike.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub is: Option<Vec<String>>,
}

/// The order when nothing scored.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Fallback {
    /// These ids, as far as they are candidates.
    List(Vec<String>),
    /// The candidates by a feature, highest first, missing last.
    By {
        /// `view.feature` of type number.
        by: String,
    },
}

/// What the record of a decision holds.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RecordDef {
    /// The share of decisions recorded with their inputs, from 0 to 1.
    pub inputs: f64,
}

/// `[[experiment]]`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ExperimentDef {
    /// Its name, and its salt unless one is said.
    pub key: String,
    /// What falls into an arm: `subject` or `session`.
    pub unit: Unit,
    /// What the unit is hashed with; the key when not said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub salt: Option<String>,
    /// The part of a group of experiments that exclude each other.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group: Option<GroupDef>,
    /// A flag of a rules module, `"module:output"`, that says of a request whether it has a part; every request when not said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub when: Option<String>,
    /// When it begins; with the release when not said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub start: Option<Time>,
    /// When it ends; with the release when not said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub end: Option<Time>,
    /// Units that have this arm whatever they fall into, by their id as the node knows it: for who tests an arm.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub overrides: BTreeMap<String, String>,
    /// The arms. Their weights add up to 100, or to 10,000.
    pub arms: Vec<ArmDef>,
}

/// A part of a group: units that fall between `from` and `to` of 10,000 are this experiment's, and no other's of the group.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GroupDef {
    /// The group's name, which the unit is hashed with.
    pub name: String,
    /// The first slot.
    pub from: u16,
    /// The first slot that is no longer its own, at most 10,000.
    pub to: u16,
}

/// What falls into an arm.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Unit {
    /// The request's subject.
    Subject,
    /// The request's session.
    Session,
}

/// One arm.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ArmDef {
    /// Its name.
    pub name: String,
    /// Its share: weight over the sum of the weights.
    pub weight: u32,
    /// The rules of this arm, instead of the placement's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rules: Option<Vec<String>>,
    /// The ladder of this arm, instead of the placement's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ladder: Option<Vec<String>>,
    /// How this arm chooses, instead of the placement's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub choose: Option<Choose>,
    /// The static order of this arm, instead of the placement's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fallback: Option<Fallback>,
    /// What the caller gets with an action in this arm, by the action's id, instead of the placement's.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub payloads: BTreeMap<String, Payload>,
}

// === forms ===

form!(enum Unit { Subject, 1 Session });

// === defaults ===

impl Default for RecordDef {
    fn default() -> Self {
        Self { inputs: 0.1 }
    }
}

fn one() -> u32 {
    1
}

fn all() -> f64 {
    1.0
}

fn default_deadline() -> Span {
    Span::from_us(5_000)
}

// === impl ModelFeature ===

impl ModelFeature {
    /// Which it is.
    pub fn of(&self) -> &str {
        match self {
            Self::Plain(of) => of,
            Self::Said(spec) => &spec.of,
        }
    }

    /// The values of a symbol that are told apart.
    pub fn is(&self) -> Option<&[String]> {
        match self {
            Self::Plain(_) => None,
            Self::Said(spec) => spec.is.as_deref(),
        }
    }

    /// What counts as 0 and how far from it as 1, where said.
    pub fn center_and_scale(&self) -> (Option<f64>, Option<f64>) {
        match self {
            Self::Plain(_) => (None, None),
            Self::Said(spec) => (spec.center, spec.scale),
        }
    }
}

// === impl LimitsDef ===

impl LimitsDef {
    /// Whether it limits nothing.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}
