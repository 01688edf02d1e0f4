//! A state on its way: to disk, to another node, into another release. Owns its form, and that nothing unsound comes in by it.
//!
//! A slot names each aggregate by what it means, so that whoever reads it takes over those it has, too, whatever release wrote
//! it. It is JSON, for people who look at what a core holds.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::state::Cell;
use super::{Aggregates, State};
use crate::TimeUs;

/// The version of the form.
const VERSION: u8 = 1;

/// What one run of a node knows of an entity.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Slot {
    #[serde(rename = "selvedge_slot")]
    version: u8,
    /// The number of the last event in it, in its lane and epoch: of two slots of one run, the larger knows more.
    pub seq: u64,
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
        Slot { version: VERSION, seq, span: state.span(), events: state.events(), aggregates: aggregates.collect() }
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
