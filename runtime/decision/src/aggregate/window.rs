//! Windows: a ring of buckets, of which as many are kept as a window covers.

use alloc::vec;
use alloc::vec::Vec;

use serde::{Deserialize, Serialize};

use super::state::is_time;
use super::{WINDOW_BUCKETS, Window};
use crate::TimeUs;

/// What happened in each bucket, the newest last.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub(super) struct Ring<T> {
    /// The number of the newest bucket: its time over the length of a bucket.
    newest: i64,
    buckets: Vec<T>,
}

/// The largest number of a bucket, or the smallest.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
pub(super) struct Extreme<const LARGEST: bool>(Option<f64>);

/// What can be put together.
pub(super) trait Merge: Default + Clone {
    /// Adds what another bucket of the same time holds.
    fn merge(&mut self, other: &Self);
}

// === impl Window ===

impl Window {
    /// The bucket of a time.
    fn bucket(self, time_us: TimeUs) -> i64 {
        match self {
            Self::All => 0,
            Self::Buckets(length) => time_us.div_euclid(length),
        }
    }

    /// Whether a time is inside at `now`.
    pub(super) fn covers(self, time_us: TimeUs, now: TimeUs) -> bool {
        self.bucket(time_us) >= self.bucket(now) - WINDOW_BUCKETS
    }
}

// === impl Ring ===

impl<T: Merge> Ring<T> {
    /// The bucket of an event at `now`. One that is older than all that are kept is the oldest: a node's time does not go back,
    /// and what another node sent late is not worth more.
    pub(super) fn at(&mut self, window: Window, now: TimeUs) -> &mut T {
        let bucket = window.bucket(now);
        if self.buckets.is_empty() {
            (self.newest, self.buckets) = (bucket, vec![T::default()]);
        }
        self.advance(bucket);
        let back = usize::try_from(self.newest - bucket).unwrap_or(0);
        while self.buckets.len() <= back && self.buckets.len() <= WINDOW_BUCKETS as usize {
            self.buckets.insert(0, T::default());
        }
        let at = self.buckets.len().saturating_sub(1 + back);
        &mut self.buckets[at]
    }

    /// What a window covers at `now`, the oldest first.
    pub(super) fn over(&self, window: Window, now: TimeUs) -> impl Iterator<Item = &T> {
        let oldest = window.bucket(now).saturating_sub(WINDOW_BUCKETS);
        let first = self.newest.saturating_sub(self.buckets.len() as i64 - 1);
        let skip = usize::try_from(oldest.saturating_sub(first)).unwrap_or(0);
        self.buckets.iter().skip(skip)
    }

    /// Adds what another ring of the same window holds.
    pub(super) fn merge(&mut self, other: &Self) {
        if other.buckets.is_empty() {
            return;
        }
        if self.buckets.is_empty() {
            self.clone_from(other);
            return;
        }
        self.advance(other.newest);
        for (back, theirs) in other.buckets.iter().rev().enumerate() {
            let back = usize::try_from(self.newest - other.newest).unwrap_or(usize::MAX).saturating_add(back);
            if back > WINDOW_BUCKETS as usize {
                break;
            }
            while self.buckets.len() <= back {
                self.buckets.insert(0, T::default());
            }
            let at = self.buckets.len() - 1 - back;
            self.buckets[at].merge(theirs);
        }
    }

    /// Whether it has no more than is kept, at a time that is one.
    pub(super) fn is_sound(&self) -> bool {
        is_time(self.newest) && self.buckets.len() <= WINDOW_BUCKETS as usize + 1
    }

    /// Makes `bucket` the newest, when it is newer.
    fn advance(&mut self, bucket: i64) {
        let newer = bucket.saturating_sub(self.newest);
        if newer <= 0 {
            return;
        }
        self.newest = bucket;
        let most = WINDOW_BUCKETS as usize + 1;
        let newer = usize::try_from(newer).unwrap_or(usize::MAX);
        if newer >= most {
            self.buckets = vec![T::default()];
            return;
        }
        self.buckets.extend((0..newer).map(|_| T::default()));
        let too_many = self.buckets.len().saturating_sub(most);
        self.buckets.drain(..too_many);
    }
}

// === impl Extreme ===

impl<const LARGEST: bool> Extreme<LARGEST> {
    pub(super) fn add(&mut self, number: Option<f64>) {
        let beyond = |a: f64, b: f64| if LARGEST { a > b } else { a < b };
        if let Some(number) = number.filter(|number| self.0.is_none_or(|known| beyond(*number, known))) {
            self.0 = Some(number);
        }
    }

    /// Of several; NaN of none.
    pub(super) fn of<'a>(all: impl Iterator<Item = &'a Self>) -> f64 {
        let mut extreme = Self(None);
        all.for_each(|other| extreme.add(other.0));
        extreme.0.unwrap_or(f64::NAN)
    }
}

// === impl Merge ===

impl<const LARGEST: bool> Merge for Extreme<LARGEST> {
    fn merge(&mut self, other: &Self) {
        self.add(other.0);
    }
}

impl Merge for u64 {
    fn merge(&mut self, other: &Self) {
        *self += other;
    }
}

impl Merge for (u64, i128) {
    fn merge(&mut self, other: &Self) {
        *self = (self.0 + other.0, self.1 + other.1);
    }
}

impl Merge for [u64; 2] {
    fn merge(&mut self, other: &Self) {
        *self = [self[0] + other[0], self[1] + other[1]];
    }
}
