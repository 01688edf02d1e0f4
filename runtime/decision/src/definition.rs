//! What people write into a release: its TOML files as types, placements in a file of their own. Owns their shape and documentation;
//! what they mean together is the plan's. Parsing the text is `runtime/build`'s.

use alloc::collections::BTreeMap;
use alloc::string::String;
use alloc::vec::Vec;

use serde::{Deserialize, Serialize};

mod placement;
mod units;

pub use placement::{
    ActionDef, ArmDef, CandidatesDef, Choose, ExperimentDef, Fallback, From, GroupDef, LimitsDef, MinShareDef, Model,
    ModelFeature, ModelFeatureSpec, Payload, PlacementDef, Policy, RecordDef, ShadowDef, Unit,
};
pub use units::{ByteSize, Span, Time};

use crate::form::form;
use crate::layout::{FeatureKind, RowLayout};
use crate::manifest::Scalar;

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
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
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
    /// The kind of reward by which a canary is compared with the running release, such as `add_to_cart`; by none when not said.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reward: Option<String>,
    /// By which part of it the share of decisions with that reward may be smaller than the running release's, from 0 to 1.
    pub max_reward_drop: f64,
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
    /// Whether pages may get its values, to decide by them: those that their placements read, and none that is a person's own.
    #[serde(default, skip_serializing_if = "core::ops::Not::not")]
    pub browser: bool,
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
    #[serde(default, skip_serializing_if = "core::ops::Not::not")]
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

// === forms ===

form!(enum Overdue { Use, 1 Default, 2 Refuse });

// === defaults ===

impl Default for Guard {
    fn default() -> Self {
        Self {
            window: Span::from_us(300_000_000),
            max_fault_rate: 0.2,
            min_decisions: 200,
            max_fallback_increase: 0.2,
            max_p99_ratio: 3.0,
            reward: None,
            max_reward_drop: 0.1,
        }
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
            Self::One(one) => core::slice::from_ref(one),
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
