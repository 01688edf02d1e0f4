//! Where a feed begins when it reaches the core: after what it has, or with everything. Pure.

use selvedge_decision::TimeUs;

use crate::features::metrics::ResyncCause;
use crate::features::source::Position;

/// A bucket as the core tells it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct BucketState {
    /// When it was created.
    pub(crate) created_us: TimeUs,
    /// The first sequence that is still there; behind the last when there is nothing.
    pub(crate) first_seq: u64,
    /// The last sequence that was ever given.
    pub(crate) last_seq: u64,
    /// Keys it holds, the marks of deletes among them.
    pub(crate) keys: u64,
    /// How long the mark of an expired row lives; none when rows do not expire, or leave no mark.
    pub(crate) marks_live_us: Option<i64>,
}

/// Where to begin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Start {
    /// With the sequence after the last one applied.
    After(u64),
    /// With everything, for this reason.
    Everything(ResyncCause),
}

/// Reading changes of others costs about a tenth of fetching one row: 3 µs a message, against a request and its answer.
const READ_PER_FETCH: u64 = 10;
/// So many changes are read whatever is held.
const READ_ANYWAY: u64 = 10_000;
/// Marks vanish by the core's clock: how much before their time they no longer count here.
const MARK_MARGIN_US: i64 = 5_000_000;

impl Start {
    /// Decides by the position reached, the bucket found and when the view was last proven current.
    pub(crate) fn decide(
        reached: Option<Position>,
        bucket: &BucketState,
        proven_us: Option<TimeUs>,
        now_us: TimeUs,
    ) -> Self {
        let Some(position) = reached.filter(|position| *position != Position::NO_BUCKET) else {
            return Self::Everything(ResyncCause::First);
        };
        if position.created_us != bucket.created_us {
            return Self::Everything(ResyncCause::Recreated);
        }
        // A consumer that starts beyond the end is accepted and never delivers.
        if bucket.last_seq < position.seq {
            return Self::Everything(ResyncCause::SequenceLost);
        }
        // All that is there is newer than the position: reading everything costs the same and finds what is gone.
        if bucket.first_seq > position.seq + 1 {
            return Self::Everything(ResyncCause::Trimmed);
        }
        let away_us = proven_us.map_or(i64::MAX, |proven_us| now_us.saturating_sub(proven_us));
        if bucket.marks_live_us.is_some_and(|live_us| away_us >= live_us - MARK_MARGIN_US) {
            return Self::Everything(ResyncCause::Away);
        }
        Self::After(position.seq)
    }

    /// The same for a source that holds only some entities: when too much changed since for what it holds, it is fetched
    /// again instead.
    pub(crate) fn or_fetch(self, bucket: &BucketState, held: u64) -> Self {
        let most = held.saturating_mul(READ_PER_FETCH).max(READ_ANYWAY);
        match self {
            Self::After(seq) if bucket.last_seq.saturating_sub(seq) > most => Self::Everything(ResyncCause::Behind),
            other => other,
        }
    }

    /// Decides for a reading of everything that was cut off after `passed`. What was read is marked: only the rest is missing,
    /// and what vanished from the bucket meanwhile is found by having no mark.
    pub(crate) fn go_on(cause: ResyncCause, passed: Position, bucket: &BucketState) -> Self {
        if passed.created_us == bucket.created_us && passed.seq <= bucket.last_seq {
            Self::After(passed.seq)
        } else {
            Self::Everything(cause)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BUCKET: BucketState =
        BucketState { created_us: 7, first_seq: 1, last_seq: 100, keys: 50, marks_live_us: None };

    fn check(reached: Option<(TimeUs, u64)>, bucket: BucketState, expected: Start) {
        let position = reached.map(|(created_us, seq)| Position { created_us, seq });
        assert_eq!(Start::decide(position, &bucket, Some(0), 60_000_000), expected, "{position:?} {bucket:?}");
    }

    #[test]
    fn a_feed_resumes_only_where_nothing_can_be_missed() {
        check(None, BUCKET, Start::Everything(ResyncCause::First));
        check(Some((0, 0)), BUCKET, Start::Everything(ResyncCause::First));
        check(Some((7, 40)), BUCKET, Start::After(40));
        check(Some((7, 100)), BUCKET, Start::After(100));
        check(Some((7, 101)), BUCKET, Start::Everything(ResyncCause::SequenceLost));
        check(Some((8, 40)), BUCKET, Start::Everything(ResyncCause::Recreated));
        check(Some((7, 40)), BucketState { first_seq: 41, ..BUCKET }, Start::After(40));
        check(Some((7, 40)), BucketState { first_seq: 42, ..BUCKET }, Start::Everything(ResyncCause::Trimmed));
        check(Some((7, 100)), BucketState { first_seq: 101, keys: 0, ..BUCKET }, Start::After(100));
    }

    #[test]
    fn who_was_away_longer_than_marks_live_reads_everything() {
        let live = |s: i64| BucketState { marks_live_us: Some(s * 1_000_000), ..BUCKET };
        check(Some((7, 40)), live(3_600), Start::After(40));
        check(Some((7, 40)), live(64), Start::Everything(ResyncCause::Away));
        check(Some((7, 40)), live(60), Start::Everything(ResyncCause::Away));
    }

    #[test]
    fn who_holds_little_does_not_read_the_changes_of_everybody() {
        let bucket = BucketState { last_seq: 1_000_000, ..BUCKET };
        let check =
            |seq, held, expected| assert_eq!(Start::After(seq).or_fetch(&bucket, held), expected, "{seq} {held}");
        check(990_000, 0, Start::After(990_000));
        check(989_999, 0, Start::Everything(ResyncCause::Behind));
        check(1, 100_000, Start::After(1));
        check(1, 99_999, Start::Everything(ResyncCause::Behind));
        let first = Start::Everything(ResyncCause::First);
        assert_eq!(first.or_fetch(&bucket, 7), first);
    }

    #[test]
    fn a_reading_that_was_cut_off_goes_on_in_the_same_bucket() {
        let check = |created_us, seq, expected| {
            let passed = Position { created_us, seq };
            assert_eq!(Start::go_on(ResyncCause::Away, passed, &BUCKET), expected, "{passed:?}");
        };
        check(7, 40, Start::After(40));
        check(7, 100, Start::After(100));
        check(7, 101, Start::Everything(ResyncCause::Away));
        check(6, 40, Start::Everything(ResyncCause::Away));
    }

    #[test]
    fn who_was_never_current_was_away_for_ever() {
        let bucket = BucketState { marks_live_us: Some(i64::MAX / 2), ..BUCKET };
        let position = Some(Position { created_us: 7, seq: 40 });
        assert_eq!(Start::decide(position, &bucket, None, 0), Start::Everything(ResyncCause::Away));
    }
}
