//! Twenty rules of four conditions each, as rules compiled from a table look. Owns the conditions; they mean nothing.

use crate::{splitmix, spread};

/// Conditions of a rule.
pub const CONDITIONS: usize = 4;

/// Matches when every condition's column lies above its threshold.
#[derive(Debug, Clone, Copy)]
pub struct Rule {
    /// Column and threshold of each condition.
    pub conditions: [(usize, f64); CONDITIONS],
    /// What a match multiplies the score by.
    pub boost: f64,
}

/// `RULES` rules over `columns` columns of values from -1 to 1.
pub const fn rules<const RULES: usize>(columns: u64, seed: u64) -> [Rule; RULES] {
    let mut rules = [Rule { conditions: [(0, 0.0); CONDITIONS], boost: 1.0 }; RULES];
    let mut state = seed;
    let mut rule = 0;
    while rule < RULES {
        let mut condition = 0;
        while condition < CONDITIONS {
            let (next, column) = splitmix(state);
            let (next, threshold) = splitmix(next);
            state = next;
            rules[rule].conditions[condition] = ((column % columns) as usize, spread(threshold) / 2.0);
            condition += 1;
        }
        rules[rule].boost = 1.0 + rule as f64 / 100.0;
        rule += 1;
    }
    rules
}

// === impl Rule ===

impl Rule {
    /// Whether every condition holds; a missing value holds none.
    #[inline]
    pub fn matches(&self, row: &[f64]) -> bool {
        self.conditions.iter().all(|(column, threshold)| row[*column] > *threshold)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rule_matches_when_every_condition_holds() {
        let rule = Rule { conditions: [(0, 0.0), (1, 0.0), (0, -1.0), (1, -1.0)], boost: 1.0 };
        assert!(rule.matches(&[0.5, 0.5]));
        assert!(!rule.matches(&[0.5, 0.0]));
        assert!(!rule.matches(&[0.5, f64::NAN]));
    }
}
