//! A state on its way: to disk, to another node, into another release. Owns its form, and that nothing unsound comes in by it.
//!
//! A slot names each aggregate by what it means, so that whoever reads it takes over those it has, too, whatever release wrote
//! it. It is JSON, for people who look at what a core holds.

use alloc::collections::BTreeMap;
use alloc::string::String;
use alloc::vec::Vec;

use serde::{Deserialize, Serialize};

use super::state::Cell;
use super::{Aggregates, State};
use crate::{Epoch, TimeUs};

/// The version of the form.
const VERSION: u8 = 1;

/// What one run of a node knows of an entity, or what all runs of it told the core.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Slot {
    #[serde(rename = "selvedge_slot")]
    version: u8,
    /// The number of the last event in it, in its lane and epoch: of two slots of one run, the larger knows more. 0 in a slot
    /// of several runs.
    pub seq: u64,
    /// For a slot of several runs: of each the number of the last event in it. Events up to it are not counted again.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty", with = "runs")]
    pub runs: BTreeMap<Epoch, u64>,
    /// Of what is up to there, by run: the numbers from one up to and without another that were passed by because they had not
    /// come. Events of these are not in it.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty", with = "runs")]
    pub lost: BTreeMap<Epoch, Vec<(u64, u64)>>,
    /// The newest run that `runs` does not tell any more, and the time up to which events may be of such runs: they are not
    /// counted again.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty", with = "runs")]
    pub forgotten: BTreeMap<Epoch, TimeUs>,
    /// When the first event came and when the last one did.
    span: Option<(TimeUs, TimeUs)>,
    events: u64,
    /// By the digest of what each means.
    aggregates: BTreeMap<String, Cell>,
}

// === impl Slot ===

impl Slot {
    /// Whether this program knows what its version means.
    pub fn is_known(&self) -> bool {
        self.version == VERSION
    }

    /// When the first event came; `None` when none did.
    pub fn first(&self) -> Option<TimeUs> {
        self.span.map(|(first, _)| first)
    }

    /// When the last event came; 0 when none did.
    pub fn last(&self) -> TimeUs {
        self.span.map_or(0, |(_, last)| last)
    }
}

// === impl Aggregates ===

impl Aggregates {
    /// A state as a slot.
    pub fn slot(&self, state: &State, seq: u64) -> Slot {
        let cells = self.meanings.iter().zip(state.cells());
        let aggregates = cells.filter(|_| state.fits(self)).map(|(meaning, cell)| (meaning.clone(), cell.clone()));
        Slot {
            version: VERSION,
            seq,
            runs: BTreeMap::new(),
            lost: BTreeMap::new(),
            forgotten: BTreeMap::new(),
            span: state.span(),
            events: state.events(),
            aggregates: aggregates.collect(),
        }
    }

    /// The state that a slot holds for these aggregates: those it does not have are empty, and so is one that holds what its
    /// aggregate never would.
    pub fn state(&self, slot: &Slot) -> State {
        let cells = self.all.iter().zip(&self.meanings).map(|(aggregate, meaning)| {
            let known = slot.aggregates.get(meaning).filter(|cell| cell.is_sound(&aggregate.function));
            known.cloned().unwrap_or_else(|| aggregate.function.empty())
        });
        State::of(slot.span.filter(|(first, last)| first <= last), slot.events, cells.collect())
    }
}

/// Epochs as they are written everywhere else: 16 hex digits.
mod runs {
    use alloc::collections::BTreeMap;

    use alloc::string::{String, ToString as _};

    use serde::de::Error as _;
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    use crate::Epoch;

    pub(super) fn serialize<V: Serialize, S: Serializer>(runs: &BTreeMap<Epoch, V>, to: S) -> Result<S::Ok, S::Error> {
        to.collect_map(runs.iter().map(|(epoch, value)| (epoch.to_string(), value)))
    }

    pub(super) fn deserialize<'de, V: Deserialize<'de>, D: Deserializer<'de>>(
        from: D,
    ) -> Result<BTreeMap<Epoch, V>, D::Error> {
        let texts = BTreeMap::<String, V>::deserialize(from)?;
        texts.into_iter().map(|(epoch, value)| Ok((epoch.parse().map_err(D::Error::custom)?, value))).collect()
    }
}
