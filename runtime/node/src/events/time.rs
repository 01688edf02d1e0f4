//! When an event happened. Owns the rule that makes the node's time of its sender's, and how far back it may lie.

use selvedge_decision::TimeUs;

/// What is known of the time of a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Clocks {
    /// When the node received it, by the node's clock.
    pub received_us: TimeUs,
    /// When it was sent, by its sender's clock.
    pub sent_us: Option<TimeUs>,
}

// === impl Clocks ===

impl Clocks {
    /// When what its sender says happened at `said_us` happened by the node's clock.
    ///
    /// With both of the sender's times, how wrong its clock is does not matter: the event is as old as their difference
    /// (Segment's rule). What took the batch to arrive counts as no time at all. Nothing happens after it is received: a later
    /// time comes from a clock that is ahead.
    pub(super) fn happened(self, said_us: Option<TimeUs>) -> TimeUs {
        let Some(said_us) = said_us else { return self.received_us };
        let skew_us = self.sent_us.map_or(0, |sent_us| self.received_us.saturating_sub(sent_us));
        said_us.saturating_add(skew_us).min(self.received_us)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_senders_two_times_outweigh_its_clock() {
        const NOW: TimeUs = 1_000_000_000;
        let check = |sent_us: Option<TimeUs>, said_us: Option<TimeUs>, expected: TimeUs| {
            let clocks = Clocks { received_us: NOW, sent_us };
            assert_eq!(clocks.happened(said_us), expected, "sent {sent_us:?}, said {said_us:?}");
        };
        check(None, None, NOW);
        check(Some(5), None, NOW);
        check(None, Some(NOW - 30), NOW - 30);
        check(None, Some(NOW + 30), NOW);
        // A clock that is an hour behind, one that is ahead, and one that was never set.
        check(Some(NOW - 3600), Some(NOW - 3610), NOW - 10);
        check(Some(NOW + 3600), Some(NOW + 3590), NOW - 10);
        check(Some(20), Some(10), NOW - 10);
        // Sent before it happened.
        check(Some(NOW - 10), Some(NOW), NOW);
        for extreme in [i64::MIN, i64::MAX] {
            let clocks = Clocks { received_us: NOW, sent_us: Some(extreme) };
            assert!([i64::MIN, 0, i64::MAX].into_iter().all(|said| clocks.happened(Some(said)) <= NOW));
        }
    }
}
