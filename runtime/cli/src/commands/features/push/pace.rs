//! How fast rows may follow each other. Owns the rate; must not know what is sent.

use std::str::FromStr;
use std::time::Duration;

use tokio::time::Instant;

/// Rows a second, from 1 to [`MAX_RATE`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Rate(u32);

/// More than any core takes.
const MAX_RATE: u32 = 10_000_000;

/// What was lost by waking up late is made up for, up to this much: timers know whole milliseconds.
const MADE_UP_FOR: Duration = Duration::from_millis(20);

/// Lets rows go one after the other, evenly.
pub(super) struct Pace {
    between: Duration,
    /// When the next row's turn is.
    next: Instant,
}

// === impl Rate ===

impl FromStr for Rate {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let number = text.trim().strip_suffix("/s").unwrap_or(text).trim();
        let rate = number.parse().ok().filter(|rate| (1..=MAX_RATE).contains(rate));
        rate.map(Self).ok_or_else(|| format!("expected rows a second from 1 to {MAX_RATE}, such as 5000 or 5000/s"))
    }
}

// === impl Pace ===

impl Pace {
    pub(super) fn new(rate: Rate) -> Self {
        Self { between: Duration::from_secs(1) / rate.0, next: Instant::now() }
    }

    /// Waits for the next row's turn.
    pub(super) async fn turn(&mut self) {
        let turn = self.take(Instant::now());
        tokio::time::sleep_until(turn).await;
    }

    /// When the next row may go, asked at `now`. A core that stood still for long is not made up for with a burst.
    fn take(&mut self, now: Instant) -> Instant {
        let turn = self.next.max(now.checked_sub(MADE_UP_FOR).unwrap_or(now));
        self.next = turn + self.between;
        turn
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_is_rows_a_second() {
        let check = |text: &str, expected: Option<u32>| {
            assert_eq!(text.parse::<Rate>().ok(), expected.map(Rate), "{text:?}");
        };
        check("5000", Some(5_000));
        check("5000/s", Some(5_000));
        check(" 1 /s", Some(1));
        check("0", None);
        check("10000001", None);
        check("5000/m", None);
        check("-1", None);
        check("1.5", None);
    }

    #[test]
    fn rows_go_evenly_and_no_burst_follows_a_pause() {
        let start = Instant::now();
        let at = |ms: u64| start + Duration::from_millis(ms);
        let mut pace = Pace { between: Duration::from_millis(10), next: start };
        let turns: Vec<_> = (0..3).map(|_| pace.take(start)).collect();
        assert_eq!(turns, [at(0), at(10), at(20)], "at once, then every 10 ms");
        assert_eq!(pace.take(at(35)), at(30), "5 ms late are made up for");
        assert_eq!(pace.take(at(36)), at(40));
        let after: Vec<_> = (0..4).map(|_| pace.take(at(10_000))).collect();
        assert_eq!(after, [at(9_980), at(9_990), at(10_000), at(10_010)], "of ten seconds two rows are made up for");
    }
}
