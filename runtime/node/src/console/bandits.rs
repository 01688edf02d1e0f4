//! How what bandits know went in the last half hour. Owns the bound of it; what they know now is `crate::bandits`'s to tell.

use std::collections::{BTreeMap, VecDeque};

use selvedge_decision::TimeUs;
use serde::Serialize;

use crate::bandits::Told;

/// Between two points, in microseconds.
const EVERY_US: i64 = 10_000_000;
/// Points of a bandit.
const MOST: usize = 180;
/// Bandits, and actions of each.
const MOST_BANDITS: usize = 64;
const MOST_ACTIONS: usize = 64;

/// How what bandits know went.
#[derive(Debug, Default)]
pub struct History {
    of: BTreeMap<String, VecDeque<Point>>,
    taken_us: TimeUs,
}

/// What a bandit knew at a time.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Point {
    /// Milliseconds since 1970.
    pub time_ms: i64,
    /// By action, in the order told, the first ones: how often it was chosen in all, what is known of it in rewards and misses with
    /// the prior, and the probability that it is the best.
    pub actions: Vec<(u64, f64, f64, f64)>,
}

// === impl History ===

impl History {
    /// Whether it is time for another point.
    pub fn is_due(&self, now_us: TimeUs) -> bool {
        now_us.saturating_sub(self.taken_us) >= EVERY_US
    }

    /// Takes a point of every bandit, and lets go of those that are gone or have other actions.
    pub fn add(&mut self, bandits: &[Told], now_us: TimeUs) {
        self.taken_us = now_us;
        self.of.retain(|key, _| bandits.iter().any(|told| told.bandit == *key));
        for told in bandits.iter().take(MOST_BANDITS) {
            let actions = told.actions.iter().take(MOST_ACTIONS);
            let actions: Vec<_> = actions.map(|action| (action.chosen, action.a, action.b, action.best)).collect();
            let points = self.of.entry(told.bandit.clone()).or_default();
            if points.back().is_some_and(|last| last.actions.len() != actions.len()) {
                points.clear();
            }
            if points.len() == MOST {
                points.pop_front();
            }
            points.push_back(Point { time_ms: now_us / 1_000, actions });
        }
    }

    /// The points of a bandit, the oldest first.
    pub fn of(&self, bandit: &str) -> Vec<Point> {
        self.of.get(bandit).map(|points| points.iter().cloned().collect()).unwrap_or_default()
    }
}
