//! The names of parts. Owns what a name says, `LANE/day=DAY/NODE-EPOCH-FIRST-LAST.parquet`: which items the part holds.

use std::fmt;
use std::str::FromStr;

use selvedge_decision::{Epoch, NodeId, TimeUs};
use selvedge_node::events::rfc3339;
use selvedge_node::outbox::Lane;

const DAY_US: i64 = 86_400_000_000;
const END: &str = ".parquet";

/// A day in UTC.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Day(i64);

/// A part by its name. It holds all items from `first` to `last` of one lane of one run, except those of erased persons.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Part {
    /// The lane.
    pub lane: Lane,
    /// The day of every item in it: that of an event's receipt, or of a decision.
    pub day: Day,
    /// The node.
    pub node: NodeId,
    /// Its run.
    pub epoch: Epoch,
    /// The first seq.
    pub first: u64,
    /// The last seq.
    pub last: u64,
}

/// Not a day.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a day such as 2026-11-26")]
pub struct BadDay(String);

// === impl Day ===

impl Day {
    /// The day of a time.
    pub fn of(time_us: TimeUs) -> Self {
        Self(time_us.div_euclid(DAY_US))
    }

    /// When it begins.
    pub fn start_us(self) -> TimeUs {
        self.0.saturating_mul(DAY_US)
    }

    /// The one after it.
    pub fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }
}

impl fmt::Display for Day {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let time = rfc3339::format(self.start_us());
        f.write_str(time.split('T').next().unwrap_or_default())
    }
}

impl FromStr for Day {
    type Err = BadDay;

    fn from_str(text: &str) -> Result<Self, BadDay> {
        let time = if text.len() == 10 { rfc3339::parse(&format!("{text}T00:00:00Z")) } else { None };
        time.map(Self::of).ok_or_else(|| BadDay(text.to_owned()))
    }
}

// === impl Part ===

impl Part {
    /// The part at a path; `None` when nothing of that name is one.
    pub fn at(path: &str) -> Option<Self> {
        let (lane, rest) = path.split_once("/day=")?;
        let (day, name) = rest.split_once('/')?;
        let mut parts = name.strip_suffix(END)?.rsplitn(4, '-');
        let (last, first, epoch, node) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
        let part = Self {
            lane: lane_named(lane)?,
            day: day.parse().ok()?,
            node: node.parse().ok()?,
            epoch: epoch.parse().ok()?,
            first: first.parse().ok()?,
            last: last.parse().ok()?,
        };
        (part.first <= part.last && part.path() == path).then_some(part)
    }

    /// Its path in the lake.
    pub fn path(&self) -> String {
        self.to_string()
    }
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { lane, day, node, epoch, first, last } = self;
        write!(f, "{}/day={day}/{node}-{epoch}-{first:012}-{last:012}{END}", lane.as_str())
    }
}

/// Every lane: each has a folder of its name.
pub(crate) const LANES: [Lane; 3] = [Lane::Events, Lane::Decisions, Lane::Rewards];

fn lane_named(name: &str) -> Option<Lane> {
    LANES.into_iter().find(|lane| lane.as_str() == name)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    fn a_name_says_what_is_in_it_and_reads_back() {
        let part = Part {
            lane: Lane::Events,
            day: "2026-11-26".parse().unwrap(),
            node: "edge-eu-1".parse().unwrap(),
            epoch: Epoch::new(3, 0xabc),
            first: 1,
            last: 2_000_000_000_001,
        };
        let path = "events/day=2026-11-26/edge-eu-1-0000000300000abc-000000000001-2000000000001.parquet";
        assert_eq!((part.path().as_str(), Part::at(path)), (path, Some(part)));
    }

    #[test]
    fn nothing_else_is_a_part() {
        let check = |path: &str| assert_eq!(Part::at(path), None, "{path}");
        check("events/day=2026-11-26/notes.parquet");
        check("events/day=2026-13-26/e-0000000300000abc-000000000001-000000000002.parquet");
        check("events/day=2026-11-26/e-0000000300000abc-000000000002-000000000001.parquet");
        check("events/day=2026-11-26/e-0000000300000abc-1-2.parquet");
        check("other/day=2026-11-26/e-0000000300000abc-000000000001-000000000002.parquet");
        check("events/day=2026-11-26/e-0000000300000abc-000000000001-000000000002.parquet#1");
    }

    #[test]
    fn days_are_in_utc() {
        let day = Day::of(rfc3339::parse("2026-11-26T23:59:59.999999Z").unwrap());
        assert_eq!((day.to_string().as_str(), day.next().to_string().as_str()), ("2026-11-26", "2026-11-27"));
        assert_eq!(Day::of(-1).to_string(), "1969-12-31");
        assert!("2026-11".parse::<Day>().is_err());
    }
}
