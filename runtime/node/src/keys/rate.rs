//! How much a key may ask for: a token bucket, as the generic cell rate algorithm has it (one number, no lock). Owns the number; what
//! costs how many tokens is the API's.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// A bucket of `burst` tokens that fills at `rate` a second. Shared by all threads.
#[derive(Debug)]
pub(super) struct Bucket {
    since: Instant,
    /// When the bucket is full again, in nanoseconds since `since`.
    full_ns: AtomicU64,
    /// How long one token takes to fill again.
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

    /// Takes one token, or says after how long there is one.
    pub(super) fn take(&self, now: Instant) -> Result<(), Duration> {
        self.take_ns(self.each_ns, now)
    }

    /// Takes more for what took one already, or says after how long there is enough for all of it. What costs more than the bucket
    /// holds takes all that it holds: it is let through when the bucket is full.
    pub(super) fn take_more(&self, tokens: u32, now: Instant) -> Result<(), Duration> {
        let more_ns = self.each_ns.saturating_mul(u64::from(tokens)).min(self.all_ns - self.each_ns);
        // Whoever comes again takes the first once more.
        self.take_ns(more_ns, now).map_err(|wait| wait + Duration::from_nanos(self.each_ns))
    }

    fn take_ns(&self, cost_ns: u64, now: Instant) -> Result<(), Duration> {
        let now_ns = now.saturating_duration_since(self.since).as_nanos() as u64;
        let next = |full_ns: u64| full_ns.max(now_ns).saturating_add(cost_ns);
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

    #[test]
    fn what_costs_more_takes_more_and_never_more_than_there_can_be() {
        let bucket = Bucket::new(10.0, 5);
        let at = |ms: u64| bucket.since + Duration::from_millis(ms);
        let ask = |tokens: u32, ms: u64| bucket.take(at(ms)).and_then(|()| bucket.take_more(tokens - 1, at(ms)));
        let ms = Duration::from_millis;
        assert_eq!(ask(3, 0), Ok(()));
        assert_eq!(ask(3, 0), Err(ms(200)), "one is left, the second of the two comes after 100 ms, and a first again");
        assert_eq!(ask(3, 200), Ok(()), "as was said");
        assert_eq!(bucket.take(at(200)), Err(ms(100)));
        assert_eq!(ask(1_000, 700), Ok(()), "all that there is");
        assert_eq!(bucket.take(at(700)), Err(ms(100)));
        assert_eq!(ask(1, 800), Ok(()));
        let narrow = Bucket::new(1.0, 1);
        assert_eq!(narrow.take(narrow.since).and_then(|()| narrow.take_more(32, narrow.since)), Ok(()));
    }
}
