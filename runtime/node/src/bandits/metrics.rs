//! What became of rewards, as counters.

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::registry::Registry;

use super::Counts;

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Outcome {
    outcome: &'static str,
}

/// The counters.
#[derive(Debug, Clone, Default)]
pub(super) struct Metrics {
    rewards: Family<Outcome, Counter>,
    forgotten: Counter,
}

// === impl Metrics ===

impl Metrics {
    pub(super) fn register(&self, registry: &mut Registry) {
        registry.register(
            "selvedge_bandit_rewards",
            "Rewards of decisions that this node remembers: counted, again (a further one of the same choice), late, unclear \
             (of which choice); and unknown, of decisions that did not come",
            self.rewards.clone(),
        );
        registry.register(
            "selvedge_bandit_decisions_forgotten",
            "Decisions that were let go of for want of room before the time of their rewards was over",
            self.forgotten.clone(),
        );
    }

    pub(super) fn count(&self, before: Counts, now: Counts) {
        for (outcome, before, now) in [
            ("counted", before.counted, now.counted),
            ("again", before.again, now.again),
            ("late", before.late, now.late),
            ("unclear", before.unclear, now.unclear),
            ("unknown", before.unknown, now.unknown),
        ] {
            if now > before {
                self.rewards.get_or_create(&Outcome { outcome }).inc_by(now - before);
            }
        }
        self.forgotten.inc_by(now.forgotten.saturating_sub(before.forgotten));
    }
}
