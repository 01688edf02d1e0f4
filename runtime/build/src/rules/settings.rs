//! What a file of rules does not say itself: the `x-selvedge` block of a JDM file, or the TOML file beside it. Owns their
//! shape, which is one, and what holds when something is not said.

use std::collections::BTreeMap;
use std::fmt;

use selvedge_decision::manifest::{Derive, Kind, Missing, Scalar, Scope};
use serde::de::value::{MapAccessDeserializer, StrDeserializer};
use serde::de::{self, MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};

use super::program::Aggregate;
use super::trial::Case;
use crate::derived::moment_us;

/// The most candidate rows of one call, when the file does not say.
const ROWS: u32 = 1024;

/// `x-selvedge`.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct Settings {
    /// The inputs by name.
    #[serde(default)]
    pub(super) inputs: BTreeMap<String, InputDef>,
    /// What more is known of outputs.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(super) outputs: BTreeMap<String, OutputDef>,
    /// For tables that collect: by the node's name, how the values of each output become one.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(super) collect: BTreeMap<String, BTreeMap<String, AggregateWord>>,
    /// The node whose fired row is the output `row`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) row: Option<String>,
    /// The most candidate rows of one call.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) rows: Option<u32>,
    /// By the `_id` of a row: when it holds.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(super) dates: BTreeMap<String, Dates>,
    /// Tests, run by `selvedge test`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) tests: Vec<Case>,
}

/// An input: its type alone, or more.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(untagged)]
pub(super) enum InputDef {
    Kind(Kind),
    Spec(InputSpec),
}

#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(super) struct InputSpec {
    /// `number`, `flag` or `symbol`.
    #[serde(rename = "type")]
    pub(super) kind: Kind,
    /// `shared` or `candidate`; by the name when not said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) scope: Option<Scope>,
    /// What stands in for a missing value.
    #[serde(default, skip_serializing_if = "is_unsaid")]
    pub(super) missing: Missing,
    /// Texts the rules must tell apart although they do not name them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) symbols: Vec<String>,
    /// The function that computes it, as in a manifest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) derive: Option<Derive>,
}

fn is_unsaid(missing: &Missing) -> bool {
    *missing == Missing::Unsaid
}

/// `outputs.NAME`.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(super) struct OutputDef {
    /// What all rows must give.
    #[serde(rename = "type", default, skip_serializing_if = "Option::is_none")]
    pub(super) kind: Option<Kind>,
    /// What stands in for a value that is missing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) default: Option<Scalar>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum AggregateWord {
    Sum,
    Min,
    Max,
    Count,
}

/// When a row holds: from the first moment, until before the second.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Dates {
    /// A date (`2026-11-25`, from its midnight in UTC) or a moment (`2026-11-25T08:00:00Z`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) from: Option<String>,
    /// As `from`; the moment itself is no longer in it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) until: Option<String>,
}

// === impl Settings ===

impl Settings {
    /// What a file's own heads say, and what the file beside it says over them.
    pub(super) fn with(self, beside: Option<Self>) -> Self {
        let Some(mut beside) = beside else { return self };
        for (name, def) in self.inputs {
            beside.inputs.entry(name).or_insert(def);
        }
        for (table, columns) in self.collect {
            let said = beside.collect.entry(table).or_default();
            for (column, word) in columns {
                said.entry(column).or_insert(word);
            }
        }
        beside.rows = beside.rows.or(self.rows);
        beside
    }

    /// The most candidate rows of one call.
    pub(super) fn rows(&self) -> u32 {
        self.rows.unwrap_or(ROWS)
    }
}

// === impl InputDef ===

impl<'de> Deserialize<'de> for InputDef {
    /// By its form, so that what is wrong inside of it is told where it is.
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct ByForm;

        impl<'de> Visitor<'de> for ByForm {
            type Value = InputDef;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a type such as \"number\", or more, such as `type` and `missing`,")
            }

            fn visit_str<E: de::Error>(self, kind: &str) -> Result<InputDef, E> {
                Kind::deserialize(StrDeserializer::new(kind)).map(InputDef::Kind)
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<InputDef, A::Error> {
                InputSpec::deserialize(MapAccessDeserializer::new(map)).map(InputDef::Spec)
            }
        }

        deserializer.deserialize_any(ByForm)
    }
}

impl InputDef {
    pub(super) fn spec(&self) -> InputSpec {
        match self {
            Self::Kind(kind) => {
                InputSpec { kind: *kind, scope: None, missing: Missing::Unsaid, symbols: Vec::new(), derive: None }
            }
            Self::Spec(spec) => spec.clone(),
        }
    }
}

/// The scope of an input by its name: `item.…` and `candidate.…` differ between candidates.
pub(super) fn scope_of(name: &str) -> Scope {
    if name.starts_with("item.") || name.starts_with("candidate.") { Scope::Candidate } else { Scope::Shared }
}

// === impl AggregateWord ===

impl From<AggregateWord> for Aggregate {
    fn from(word: AggregateWord) -> Self {
        match word {
            AggregateWord::Sum => Self::Sum,
            AggregateWord::Min => Self::Min,
            AggregateWord::Max => Self::Max,
            AggregateWord::Count => Self::Count,
        }
    }
}

// === impl Dates ===

impl Dates {
    /// Both moments in seconds since 1970.
    pub(super) fn seconds(&self) -> Result<[Option<f64>; 2], String> {
        Ok([self.from.as_deref().map(moment).transpose()?, self.until.as_deref().map(moment).transpose()?])
    }
}

/// A moment in seconds since 1970.
fn moment(text: &str) -> Result<f64, String> {
    Ok(moment_us(text)? as f64 / 1e6)
}
