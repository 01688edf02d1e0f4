//! How many requests a key may make: a token bucket, as the generic cell rate algorithm has it (one number, no lock). Owns the number.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// A bucket of `burst` requests that fills at `rate` a second. Shared by all threads.
#[derive(Debug)]
pub(super) struct Bucket {
    since: Instant,
    /// When the bucket is full again, in nanoseconds since `since`.
    full_ns: AtomicU64,
    /// How long one request takes to fill again.
    each_ns: u64,
    /// How long the whole bucket does.
    all_ns: u64,
}

// === impl Bucket ===

impl Bucket {
    /// A full one. The file's lines bound both numbers.
    pub(super) fn new(rate: f64, burst: u32) -> Self {
        let each_ns = (1e9 / rate) as u64;
        let all_ns = each_ns.saturating_mul(u64::from(burst));
        Self { since: Instant::now(), full_ns: AtomicU64::new(0), each_ns, all_ns }
    }

    /// Takes one request, or says after how long there is one.
    pub(super) fn take(&self, now: Instant) -> Result<(), Duration> {
        let now_ns = now.saturating_duration_since(self.since).as_nanos() as u64;
        let next = |full_ns: u64| full_ns.max(now_ns).saturating_add(self.each_ns);
        let taken = self.full_ns.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |full_ns| {
            Some(next(full_ns)).filter(|next| next - now_ns <= self.all_ns)
        });
        taken.map(drop).map_err(|full_ns| Duration::from_nanos(next(full_ns) - now_ns - self.all_ns))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_at_once_then_the_rate() {
        let bucket = Bucket::new(10.0, 3);
        let at = |ms: u64| bucket.since + Duration::from_millis(ms);
        let check = |ms: u64, wait_ms: Option<u64>| {
            assert_eq!(bucket.take(at(ms)).err(), wait_ms.map(Duration::from_millis), "after {ms} ms");
        };
        check(0, None);
        check(0, None);
        check(0, None);
        check(0, Some(100));
        check(60, Some(40));
        check(100, None);
        check(100, Some(100));
        check(10_000, None);
        check(10_000, None);
        check(10_000, None);
        check(10_000, Some(100));
    }

    #[test]
    fn less_than_one_a_second() {
        let bucket = Bucket::new(0.01, 1);
        assert_eq!(bucket.take(bucket.since), Ok(()));
        assert_eq!(bucket.take(bucket.since + Duration::from_secs(99)), Err(Duration::from_secs(1)));
        assert_eq!(bucket.take(bucket.since + Duration::from_secs(100)), Ok(()));
    }
}
