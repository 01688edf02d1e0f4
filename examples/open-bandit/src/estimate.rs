//! Off-policy estimates from logged propensities: what the deployed policy would have earned on the log.

/// Self-normalised inverse propensity weighting (Swaminathan, Joachims: The self-normalized estimator for counterfactual
/// learning, 2015), fed one impression at a time.
#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct Snipw {
    weights: f64,
    rewards: f64,
    /// Impressions where the deployed policy chose what the log shows.
    pub(crate) matched: u32,
}

// === impl Snipw ===

impl Snipw {
    /// Adds an impression: the probability of the logged item under the deployed policy, the propensity with which it was
    /// logged, and what it earned.
    pub(crate) fn add(&mut self, deployed: f64, propensity: f64, reward: f64) {
        if deployed > 0.0 && propensity > 0.0 {
            let weight = deployed / propensity;
            self.weights += weight;
            self.rewards += weight * reward;
            self.matched += 1;
        }
    }

    /// The estimate; `None` when nothing matched.
    pub(crate) fn value(&self) -> Option<f64> {
        (self.weights > 0.0).then(|| self.rewards / self.weights)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn weights_are_normalised_by_their_sum() {
        let mut snipw = Snipw::default();
        assert_eq!(snipw.value(), None);
        snipw.add(1.0, 0.5, 1.0); // weight 2
        snipw.add(1.0, 0.25, 0.0); // weight 4
        snipw.add(0.0, 0.9, 1.0); // never chosen
        assert_eq!(snipw.value(), Some(2.0 / 6.0));
        assert_eq!(snipw.matched, 2);
    }
}
