//! Which part an instance counts, and how far it is. Owns their form in the bucket.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::str::FromStr;

use selvedge_decision::TimeUs;
use selvedge_decision::definition::By;
use serde::{Deserialize, Serialize};

/// Which entities an instance counts: of so many parts, by a hash of their keys, the one with this number from 1 on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Part {
    /// From 1 on.
    pub index: u32,
    /// How many there are.
    pub of: u32,
}

/// How far an instance is, as it stands in the bucket.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Position {
    /// The version of the form.
    pub(super) selvedge_position: u8,
    /// By what the slots are: another `by` has no business in the same bucket.
    pub(crate) by: By,
    /// When the stream was made: one that is made anew starts its sequence again.
    pub(super) stream_us: TimeUs,
    /// All up to this sequence of the stream is in slots.
    pub(super) at: u64,
    /// Whether that was all there was.
    pub(crate) is_current: bool,
    /// By node and epoch, the number of the event that comes next.
    pub(super) next: BTreeMap<String, u64>,
    /// The same way, numbers before that which had not come: from one up to and without another.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(super) lost: BTreeMap<String, Vec<(u64, u64)>>,
    /// What is counted, each by the digest of what it means.
    #[serde(default)]
    pub(super) counts: BTreeSet<String>,
}

// === impl Position ===

impl Position {
    const VERSION: u8 = 1;

    /// Of a view of which nothing is counted yet.
    pub(super) fn new(by: By, stream_us: TimeUs) -> Self {
        Self {
            selvedge_position: Self::VERSION,
            by,
            stream_us,
            at: 0,
            is_current: false,
            next: BTreeMap::new(),
            lost: BTreeMap::new(),
            counts: BTreeSet::new(),
        }
    }

    /// Of all positions in the bucket those behind which everything of `part` is counted that came up to the smallest `at` of
    /// them, which is as large as can be: the part's own, or all of another number of parts.
    pub(super) fn known_to_all(part: Part, all: &[(Part, Self)]) -> Vec<&Self> {
        let mut found: Vec<&Self> = Vec::new();
        let at = |positions: &[&Self]| positions.iter().map(|position| position.at).min();
        for (of, (one, _)) in all.iter().enumerate() {
            if all[..of].iter().any(|(before, _)| before.of == one.of) {
                continue;
            }
            let set: Vec<&Self> = all.iter().filter(|(other, _)| other.of == one.of).map(|(_, known)| known).collect();
            if set.len() == one.of as usize && at(&set) > at(&found) {
                found = set;
            }
        }
        match all.iter().find(|(other, _)| *other == part) {
            Some((_, own)) if Some(own.at) >= at(&found) => vec![own],
            _ => found,
        }
    }

    pub(crate) fn read(json: &[u8]) -> Option<Self> {
        serde_json::from_slice::<Self>(json).ok().filter(|position| position.selvedge_position == Self::VERSION)
    }
}

// === impl Part ===

impl Part {
    /// All there is.
    pub const WHOLE: Self = Self { index: 1, of: 1 };
    /// The most parts.
    pub const MOST: u32 = 256;

    /// Part `index` of `of`; `None` when there is no such part.
    pub fn new(index: u32, of: u32) -> Option<Self> {
        (of <= Self::MOST && (1..=of).contains(&index)).then_some(Self { index, of })
    }
}

impl FromStr for Part {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let parts = text.split_once('/').and_then(|(index, of)| Self::new(index.parse().ok()?, of.parse().ok()?));
        parts.ok_or_else(|| format!("{text:?} is no part such as 1/4: from 1/1 to {0}/{0}", Self::MOST))
    }
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.index, self.of)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_instance_goes_on_where_everything_of_its_part_is_counted() {
        let known = |parts: &[(&str, u64)]| -> Vec<(Part, Position)> {
            let position = |at| Position { at, ..Position::new(By::One("item".into()), 7) };
            parts.iter().filter_map(|(part, at)| Some((part.parse().ok()?, position(*at)))).collect()
        };
        for (parts, whole, half) in [
            (&[][..], None, None),
            (&[("1/1", 10)], Some(10), Some(10)),
            (&[("1/2", 30), ("2/2", 20)], Some(20), Some(30)),
            // What the second half has counted nobody knows.
            (&[("2/2", 20)], None, None),
            (&[("1/2", 20)], None, Some(20)),
            (&[("1/1", 10), ("2/2", 20)], Some(10), Some(10)),
            (&[("1/1", 10), ("1/2", 30), ("2/2", 20)], Some(20), Some(30)),
            (&[("1/1", 40), ("1/2", 30), ("2/2", 20)], Some(40), Some(40)),
        ] {
            let all = known(parts);
            let at = |part| Position::known_to_all(part, &all).iter().map(|position| position.at).min();
            assert_eq!((at(Part::WHOLE), at(Part { index: 1, of: 2 })), (whole, half), "{parts:?}");
        }
    }
}
