//! What bandits know, for people: of each action how often it was chosen and rewarded, what that weighs, and how likely it is the best.

use selvedge_decision::contest::{Beta, Contest};
use serde::Serialize;

use super::{Bandits, Learner, lock};

/// A bandit, told.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Told {
    /// Its key.
    pub bandit: String,
    /// The placement.
    pub placement: String,
    /// The experiment and the arm, for an arm's own policy.
    pub arm: Option<(String, String)>,
    /// What it learns from: an event's name, or the kind of a `$reward`.
    pub reward: String,
    /// How long after its decision a reward counts, in seconds.
    pub window_s: f64,
    /// After which time what was learned weighs half, in seconds; none for ever the same.
    pub half_life_s: Option<f64>,
    /// Whether it may choose another than the best now.
    pub explores: bool,
    /// Rewards of decisions that are remembered here: counted, a second of one choice, after their time, unclear of which choice.
    pub rewards: [u64; 4],
    /// The actions, in the release's order.
    pub actions: Vec<Action>,
}

/// An action, told.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Action {
    /// Its id.
    pub id: String,
    /// How often it was chosen, as far as that is remembered.
    pub chosen: u64,
    /// How often that was rewarded.
    pub rewarded: u64,
    /// What is known of it: a Beta distribution of `a` and `b`, the prior and what fades in it.
    pub a: f64,
    /// See `a`.
    pub b: f64,
    /// The probability that it is the best, boosts of rules aside; null where that depends on features.
    pub best: f64,
}

impl Bandits {
    /// The bandits of the releases that run.
    pub fn told(&self) -> Vec<Told> {
        let learners = lock(&self.shared.learners).clone();
        learners.iter().map(|learner| learner.told(self.explores(&learner.spec.placement))).collect()
    }
}

impl Learner {
    fn told(&self, explores: bool) -> Told {
        let spec = &self.spec;
        let beta =
            |[rewards, misses]: [f64; 2]| Beta { a: spec.prior[0] + rewards, b: spec.prior[1] + misses, scale: 1.0 };
        let betas: Vec<Beta> = self.rates().into_iter().map(beta).collect();
        // By a model it depends on who asks.
        let odds = match spec.model {
            Some(_) => vec![f64::NAN; betas.len()],
            None => Contest::new(&betas, 1).odds(&(0..betas.len() as u32).collect::<Vec<_>>()),
        };
        let mut actions = Vec::with_capacity(betas.len());
        for (((id, (chosen, rewarded)), beta), best) in spec.actions.iter().zip(self.sums()).zip(&betas).zip(odds) {
            let (chosen, rewarded) = (chosen.max(0) as u64, rewarded.max(0) as u64);
            actions.push(Action { id: id.to_string(), chosen, rewarded, a: beta.a, b: beta.b, best });
        }
        let counts = self.counts();
        Told {
            bandit: spec.key.clone(),
            placement: spec.placement.to_string(),
            arm: spec.arm.as_ref().map(|(experiment, arm)| (experiment.to_string(), arm.to_string())),
            reward: spec.reward.clone(),
            window_s: spec.window_us as f64 / 1e6,
            half_life_s: spec.half_life_us.map(|half_life_us| half_life_us as f64 / 1e6),
            explores,
            rewards: [counts.counted, counts.again, counts.late, counts.unclear],
            actions,
        }
    }
}
