//! What people write into a release: its TOML files as types. Owns their shape and documentation; what they mean together
//! is the plan's. Parsing the text is `runtime/build`'s.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

mod units;

pub use units::{ByteSize, Span, Time};

use crate::layout::{FeatureKind, RowLayout};
use crate::manifest::{Kind, Scalar};

/// `release.toml`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ReleaseDef {
    /// A name for people, such as `shop-2026-11-23`.
    pub name: String,
    /// When the node takes this release back by itself.
    #[serde(default)]
    pub guard: Guard,
    /// Units that no experiment of the release has a part in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub holdout: Option<HoldoutDef>,
}

/// `[holdout]`: units that are kept out of all experiments, to be compared with those that are not.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HoldoutDef {
    /// What the unit is hashed with: as long as it stays, so do the units.
    pub salt: String,
    /// Their share of all units, from 0 to 1, in steps of 0.0001.
    pub share: f64,
}

/// When a node rolls a release back by itself. The last two are for a canary, which is compared with the release it runs beside:
/// there `max_fault_rate` is how much larger its share of decisions with a fault may be.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Guard {
    /// How long after the swap it watches.
    pub window: Span,
    /// The largest share of decisions with a fault, from 0 to 1.
    pub max_fault_rate: f64,
    /// How many decisions it waits for before it judges.
    pub min_decisions: u64,
    /// How much larger the share of decisions that fall back may be than that of the running release, from 0 to 1.
    pub max_fallback_increase: f64,
    /// How many times as long as with the running release a decision may take in the 99th percentile; at least 1.
    pub max_p99_ratio: f64,
}

/// `features.toml`.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct FeaturesDef {
    /// The events it knows by name; others are taken all the same and counted. None is unknown when the list is empty.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub events: Vec<String>,
    /// The views by name.
    pub view: BTreeMap<String, ViewDef>,
}

/// `[view.NAME]`: a typed group of features by one entity.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ViewDef {
    /// Who or what the values are about: `subject`, `session`, `item`, or a pair such as `["item", "context.market"]`.
    pub by: By,
    /// How the node holds it.
    #[serde(default)]
    pub sync: Sync,
    /// Into how many buckets its rows are cut, by a hash of their keys; one that has no number when not said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shards: Option<u32>,
    /// For `on-demand`: what a decision does about an entity that is not held; `default` when not said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub on_miss: Option<OnMiss>,
    /// The most memory of its rows. Beyond it, `all` refuses rows and `on-demand` lets those go that nobody asked for the
    /// longest; the node's own limit when not said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_bytes: Option<ByteSize>,
    /// When the view counts as late; never, when not said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_lag: Option<Span>,
    /// What a late view does.
    #[serde(default)]
    pub late: Overdue,
    /// The features by name, in the order written.
    #[serde(default)]
    pub features: Features,
    /// What the events of a session, a person, an item or a pair of them come to, by name: instead of features.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub aggregates: BTreeMap<String, AggregateDef>,
}

/// How a node holds a view.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Sync {
    /// Every entity, all the time.
    #[default]
    All,
    /// Those that decisions asked for: fetched at first sight, then kept fresh while held.
    OnDemand,
}

/// What a decision does about an entity that an on-demand view does not hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum OnMiss {
    /// It answers now, by defaults; the next one has the row.
    #[default]
    Default,
    /// It waits for the row, for at most half of its deadline; then defaults.
    Wait,
}

/// What a late view does, and what an old value does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Overdue {
    /// Values count as they are.
    #[default]
    Use,
    /// Defaults stand in.
    Default,
    /// The rung faults with `input`; what is about a candidate makes the candidate ineligible.
    Refuse,
}

/// An entity, or a pair of two.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(untagged)]
pub enum By {
    /// One entity.
    One(String),
    /// A pair.
    Pair([String; 2]),
}

/// Features by name. A sorted map: layout and digests do not depend on the order of writing.
pub type Features = BTreeMap<String, FeatureDef>;

/// A feature: its type alone, or a table.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum FeatureDef {
    /// `segment = "symbol"`.
    Kind(FeatureKind),
    /// `taste = { type = "vector", len = 64 }`.
    Full(FeatureSpec),
}

/// A feature written as a table.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FeatureSpec {
    /// Its type.
    #[serde(rename = "type")]
    pub kind: FeatureKind,
    /// For a vector: its length; for a list of ids: the most it has.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub len: Option<u32>,
    /// What stands in for a missing value.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub default: Option<Scalar>,
    /// How old a value may be, by the time of its row's event; for ever when not said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ttl: Option<Span>,
    /// What an older value does; `default` when not said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub old: Option<Overdue>,
    /// Whether it is a person's own: it is never recorded, and not shown in explanations.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub pii: bool,
}

/// An aggregate: one function, named by its key, and what it needs besides.
///
/// `views_30m = { count = "view_item", window = "30m" }`, `last_category = { last = "view_item", of = "item.category" }`.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct AggregateDef {
    /// How many events.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub count: Option<Names>,
    /// The sum of `of`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sum: Option<Names>,
    /// The mean of `of`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mean: Option<Names>,
    /// The smallest `of`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub min: Option<Names>,
    /// The largest `of`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max: Option<Names>,
    /// Of the events `over`, the share of these.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rate: Option<Names>,
    /// The `of` of the last event.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last: Option<Names>,
    /// The `of` of the first event.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub first: Option<Names>,
    /// The different `of` of the last events, at most `n`: a list of ids.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_n: Option<Names>,
    /// Seconds since the last event.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub time_since: Option<Names>,
    /// How many different `of`, exactly up to 64.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub distinct: Option<Names>,
    /// How many events, each weighing half after `half_life`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub decayed_count: Option<Names>,
    /// The mean of the vectors `of`, each weighing half after `half_life`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub decayed_mean: Option<Names>,
    /// Something of the session itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub session: Option<SessionPart>,
    /// What of an event counts: `item`, a property's name, or a feature of the item such as `item.category`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub of: Option<String>,
    /// The type of a property that is kept: `number`, `flag` or `symbol`; `number` when not said.
    #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
    pub kind: Option<FeatureKind>,
    /// For `last_n`: how many.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub n: Option<u32>,
    /// For `rate`: the events it is a share of.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub over: Option<Names>,
    /// For `rate`: hits and misses that it starts from, `[1, 20]` for instance.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub prior: Option<[f64; 2]>,
    /// How far back it looks; to the first event when not said.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub window: Option<Span>,
    /// For what is decayed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub half_life: Option<Span>,
    /// Only events of which these properties have these values.
    #[serde(rename = "where", skip_serializing_if = "BTreeMap::is_empty")]
    pub conditions: BTreeMap<String, Scalar>,
}

/// The names of events: one or several.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Names {
    /// One.
    One(String),
    /// Any of them.
    Any(Vec<String>),
}

/// Something of a session itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SessionPart {
    /// When its first event came.
    Start,
    /// How many events it has.
    Depth,
    /// Seconds from its first event to its last.
    Duration,
}

/// `placements/KEY.toml`: a named place that asks for a decision.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PlacementDef {
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
    /// For `thompson`: rewards and misses that every action begins with, each 1 or more; `[1, 1]` when not said.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub prior: Option<[f64; 2]>,
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
    /// Each action as often as it is probably the best, by the rewards it had: Thompson sampling with Beta distributions.
    Thompson,
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

// === defaults ===

impl Default for Guard {
    fn default() -> Self {
        Self {
            window: Span::from_us(300_000_000),
            max_fault_rate: 0.2,
            min_decisions: 200,
            max_fallback_increase: 0.2,
            max_p99_ratio: 3.0,
        }
    }
}

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

// === impl LimitsDef ===

impl LimitsDef {
    /// Whether it limits nothing.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

// === impl FeatureDef ===

impl FeatureDef {
    /// Its type.
    pub fn kind(&self) -> FeatureKind {
        match self {
            Self::Kind(kind) => *kind,
            Self::Full(spec) => spec.kind,
        }
    }

    /// 1, the length of a vector, or the most ids of a list.
    pub fn width(&self) -> u32 {
        match self {
            Self::Full(FeatureSpec { kind: FeatureKind::Vector | FeatureKind::Ids, len: Some(len), .. }) => *len,
            Self::Kind(_) | Self::Full(_) => 1,
        }
    }

    /// What stands in for a missing value.
    pub fn default(&self) -> Option<&Scalar> {
        match self {
            Self::Kind(_) => None,
            Self::Full(spec) => spec.default.as_ref(),
        }
    }

    /// How old a value may be, and what an older one does.
    pub fn ttl(&self) -> Option<(Span, Overdue)> {
        match self {
            Self::Kind(_) => None,
            Self::Full(spec) => spec.ttl.map(|ttl| (ttl, spec.old.unwrap_or(Overdue::Default))),
        }
    }

    /// Whether it is a person's own.
    pub fn pii(&self) -> bool {
        matches!(self, Self::Full(spec) if spec.pii)
    }
}

// === impl By ===

impl By {
    /// What it names, one or two.
    pub fn names(&self) -> &[String] {
        match self {
            Self::One(one) => std::slice::from_ref(one),
            Self::Pair(pair) => pair,
        }
    }

    /// Whether it is a session, which one node sees all of unless it moves.
    pub fn is_session(&self) -> bool {
        matches!(self, Self::One(one) if one == "session")
    }
}

// === impl ViewDef ===

impl ViewDef {
    /// Whether it has aggregates of more than one session: what one node sees is not all of it.
    pub fn is_counted_at_the_core(&self) -> bool {
        !self.aggregates.is_empty() && !self.by.is_session()
    }

    /// Whether decisions wait for an entity that is not held.
    pub fn waits(&self) -> bool {
        self.sync == Sync::OnDemand && self.on_miss == Some(OnMiss::Wait)
    }

    /// How its rows lie in memory.
    pub fn layout(&self) -> RowLayout {
        RowLayout::new(self.features.iter().map(|(name, def)| (name.clone(), def.kind(), def.width())))
    }
}
