//! An experiment, compiled: who has a part in it and which arm they fall into. Owns the order of its questions; whether a rule
//! lets a request in is known only when rules run, and is settled there.

use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;

use super::Scorer;
use crate::TimeUs;
use crate::assign::{self, Table};
use crate::definition::Unit;
use crate::form::form;
use crate::record::Lot;
use crate::sorted::Sorted;

/// An experiment, compiled.
#[derive(Debug, Clone)]
pub struct Experiment {
    /// Its key.
    pub key: Arc<str>,
    /// What falls into an arm.
    pub unit: Unit,
    /// What the unit is hashed with.
    pub salt: String,
    /// The release's holdout.
    pub holdout: Option<Holdout>,
    /// Its part of a group of experiments that exclude each other.
    pub group: Option<Group>,
    /// The call and the output that say whether a request has a part.
    pub when: Option<Scorer>,
    /// When it begins.
    pub start_us: TimeUs,
    /// When it is over.
    pub end_us: TimeUs,
    /// Units that have an arm whatever they fall into, and its index. The binary form goes into pages and has none of them: they name
    /// people.
    pub overrides: Sorted<String, usize>,
    /// Which arm has each slot.
    pub table: Table,
    /// The arms in order.
    pub arms: Vec<Arm>,
}

/// An arm, compiled.
#[derive(Debug, Clone)]
pub struct Arm {
    /// Its name.
    pub name: Arc<str>,
    /// Which of the placement's ways it goes.
    pub way: usize,
}

/// Units kept out of all experiments.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Holdout {
    /// What the unit is hashed with.
    pub salt: String,
    /// The first slot that is not held out.
    pub below: u16,
}

/// A part of a group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Group {
    /// What the unit is hashed with.
    pub name: String,
    /// The first slot.
    pub from: u16,
    /// The first slot that is no longer its own.
    pub to: u16,
}

// === forms ===

form!(struct Experiment { key, unit, salt, holdout, group, when, start_us, end_us, table, arms } leaves { overrides: Sorted::default() });
form!(struct Arm { name, way });
form!(struct Holdout { salt, below });
form!(struct Group { name, from, to });

// === impl Experiment ===

impl Experiment {
    /// What it draws for a unit at a time: an override first, then the time, the holdout, the group, the slot.
    pub fn lot(&self, unit: &str, time_us: TimeUs) -> Lot {
        if let Some(arm) = self.overrides.get(unit) {
            return Lot::Arm(*arm as u16);
        }
        if !(self.start_us..self.end_us).contains(&time_us) {
            return Lot::Out;
        }
        if self.holdout.as_ref().is_some_and(|holdout| assign::bucket(&holdout.salt, unit) < holdout.below) {
            return Lot::Holdout;
        }
        let is_in = |group: &Group| (group.from..group.to).contains(&assign::bucket(&group.name, unit));
        if self.group.as_ref().is_some_and(|group| !is_in(group)) {
            return Lot::Out;
        }
        Lot::Slot(assign::bucket(&self.salt, unit))
    }

    /// The arm that a lot falls into, as an index; whether a rule lets the request in is another question.
    pub fn arm(&self, lot: Lot) -> Option<usize> {
        match lot {
            Lot::Out | Lot::Holdout => None,
            Lot::Arm(arm) => Some(usize::from(arm)),
            Lot::Slot(slot) => self.table.arm(slot),
        }
    }
}
