//! The model of rewards that the doubly robust estimate leans on: the mean reward of each choice. Owns that no draw is expected by a
//! model it was fitted with, which keeps the estimate unbiased however wrong the model is.

use std::collections::BTreeMap;

/// Mean rewards by choice, fitted on either half of the draws and asked by the other (cross-fitting; Chernozhukov et al.: Double
/// machine learning, 2018), shrunk towards the mean of all.
#[derive(Debug, Clone, Default)]
pub struct Means {
    halves: [Half; 2],
}

#[derive(Debug, Clone, Default)]
struct Half {
    sum: f64,
    count: f64,
    by_choice: BTreeMap<u32, (f64, f64)>,
}

/// How many draws of the mean of all a choice's own mean is put together with.
const SHRINK: f64 = 20.0;

// === impl Means ===

impl Means {
    /// A choice of a draw and what it earned; persons say the half, so that nobody is in both.
    pub fn add(&mut self, person: u64, choice: u32, reward: f64) {
        let half = &mut self.halves[(person & 1) as usize];
        half.sum += reward;
        half.count += 1.0;
        let own = half.by_choice.entry(choice).or_default();
        *own = (own.0 + reward, own.1 + 1.0);
    }

    /// What the half without this person expects of a choice.
    pub fn expected(&self, person: u64, choice: u32) -> f64 {
        let half = &self.halves[(person & 1 ^ 1) as usize];
        if half.count == 0.0 {
            return 0.0;
        }
        let mean = half.sum / half.count;
        let (sum, count) = half.by_choice.get(&choice).copied().unwrap_or_default();
        (sum + SHRINK * mean) / (count + SHRINK)
    }
}
