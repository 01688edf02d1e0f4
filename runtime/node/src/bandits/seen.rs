//! Which items of a run were taken: all below one number but for a few gaps. Order does not matter here, so nothing waits.

use std::ops::Range;

use serde::{Deserialize, Serialize};

/// The numbers of one lane of one run that were taken.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Seen {
    /// All below this, but for the gaps.
    next: u64,
    /// Numbers below it that did not come, in their order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    gaps: Vec<Range<u64>>,
}

/// Gaps that are remembered; of more the first count as taken, and what comes of them is passed by.
const MOST_GAPS: usize = 64;

// === impl Seen ===

impl Seen {
    /// Whether item `seq` was taken.
    pub fn has(&self, seq: u64) -> bool {
        seq < self.next && !self.gaps.iter().any(|gap| gap.contains(&seq))
    }

    /// Takes items.
    pub fn take(&mut self, seqs: Range<u64>) {
        if seqs.is_empty() {
            return;
        }
        // Numbers begin with 1.
        let next = self.next.max(1);
        if seqs.start > next {
            self.gaps.push(next..seqs.start);
        } else {
            let cut = |gap: Range<u64>| [gap.start..gap.end.min(seqs.start), gap.start.max(seqs.end)..gap.end];
            self.gaps = self.gaps.drain(..).flat_map(cut).filter(|gap| !gap.is_empty()).collect();
        }
        self.next = next.max(seqs.end);
        if self.gaps.len() > MOST_GAPS {
            self.gaps.remove(0);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// Whatever is taken in whatever order and however often: it is that, and no other.
        #[test]
        fn what_was_taken_was_taken(blocks in proptest::collection::vec((1..200u64, 0..20u64), 0..40)) {
            let mut seen = Seen::default();
            let mut expected = std::collections::BTreeSet::new();
            for (start, n) in blocks {
                seen.take(start..start + n);
                expected.extend(start..start + n);
            }
            for seq in 1..240 {
                prop_assert_eq!(seen.has(seq), expected.contains(&seq), "{} of {:?}", seq, seen);
            }
        }
    }
}
