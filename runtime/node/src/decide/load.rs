//! Whether the node has more to do than it can in time, and how many decisions ask their scorers then. Owns how that is found out: a
//! connection of the node's own, which waits in the same line as everybody's, is written to every few milliseconds, and how long it
//! takes until it is read is how long a request waits before anybody looks at it. While that stays too long and scorers are what takes
//! the time, fewer decisions ask them; the others take the static order.

use std::io::Write;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU32, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;
use selvedge_decision::{TimeUs, assign};
use tokio::io::AsyncReadExt;
use tokio::sync::watch;

use crate::clock::Clock;

/// How often it is asked.
const EVERY: Duration = Duration::from_millis(5);
/// How long waits are looked at before anything changes: what is over sooner is a hiccup.
const WINDOW: Duration = Duration::from_millis(100);
/// Decisions out of so many.
const ALL: u32 = 10_000;
/// How many more may ask after a window in which nobody waited long.
const STEP: u32 = ALL / 20;
/// So few are none.
const FEW: u32 = ALL / 100;
/// Scorers that take less than this part of the worker threads are not what others wait for.
const WORTH: f64 = 0.1;
/// What a unit is hashed with.
const SALT: &str = "load";
/// Bytes of the time of a question, and the most questions that are read at once.
const STAMP: usize = 8;
const AT_ONCE: usize = 512;

/// How loaded the node is. One per node, shared by all who ask.
#[derive(Debug, Clone, Default)]
pub struct Load(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    /// How many decisions of 10,000 may ask scorers.
    asks: AtomicU32,
    /// Since when it is not all of them; 0 while it is.
    since_us: AtomicI64,
    /// The time that scorers took, in nanoseconds.
    scorers_ns: AtomicU64,
    wait_us: Gauge<u64, AtomicU64>,
    share: Gauge<f64, AtomicU64>,
    sheds: Counter,
}

/// Judges waits, a window of them at a time.
#[derive(Debug)]
struct Judge {
    above: Duration,
    threads: usize,
    asks: u32,
    began: Duration,
    least: Duration,
    most: Duration,
    scorers_ns: u64,
}

// === impl Load ===

impl Load {
    /// Whether this decision must do without scorers. Of a person it is the same for as long as the share is: it is not this page with
    /// and the next without.
    pub(super) fn sheds(&self, unit: Option<&str>, count: u32) -> bool {
        let asks = self.0.asks.load(Ordering::Relaxed);
        if asks == ALL {
            return false;
        }
        let slot = match unit {
            Some(unit) => u32::from(assign::bucket(SALT, unit)),
            None => count.wrapping_mul(7_919) % ALL,
        };
        slot >= asks
    }

    /// A scorer took so long.
    pub(super) fn scored(&self, took: Duration) {
        self.0.scorers_ns.fetch_add(took.as_nanos() as u64, Ordering::Relaxed);
    }

    /// Since when some decisions ask no scorer.
    pub fn sheds_since(&self) -> Option<TimeUs> {
        Some(self.0.since_us.load(Ordering::Relaxed)).filter(|since_us| *since_us != 0)
    }

    /// The share of decisions that may ask scorers, from 0 to 1.
    pub fn share(&self) -> f64 {
        f64::from(self.0.asks.load(Ordering::Relaxed)) / f64::from(ALL)
    }

    /// How long a request waits before it is looked at.
    pub fn wait(&self) -> Duration {
        Duration::from_micros(self.0.wait_us.get())
    }

    /// Makes it visible at `/metrics`.
    pub fn register(&self, registry: &mut Registry) {
        let wait = "How long a request waits before anybody looks at it, in microseconds";
        registry.register("selvedge_load_wait_us", wait, self.0.wait_us.clone());
        let share =
            "The share of decisions that may ask scorers: less than 1 while there is more to do than can be done";
        registry.register("selvedge_load_scored_share", share, self.0.share.clone());
        let sheds = "Times that it became less than 1";
        registry.register("selvedge_load_sheds", sheds, self.0.sheds.clone());
    }

    /// Finds out until the node stops. Waits above `above` are too long; `None` sheds nothing.
    pub async fn watch(self, above: Option<Duration>, clock: Clock, mut stop: watch::Receiver<bool>) {
        let watching = async {
            if let Err(error) = self.ask(above.unwrap_or(Duration::MAX), &clock).await {
                tracing::warn!(%error, "cannot find out how loaded the node is: nothing is shed");
            }
        };
        tokio::select! {
            () = watching => {}
            _ = stop.wait_for(|stop| *stop) => {}
        }
        self.set(ALL, Duration::ZERO, &clock);
    }

    async fn ask(&self, above: Duration, clock: &Clock) -> std::io::Result<()> {
        let (read, write) = UnixStream::pair()?;
        read.set_nonblocking(true)?;
        let mut read = tokio::net::UnixStream::from_std(read)?;
        let started = Instant::now();
        // A thread asks, because the runtime's own timers wait in line, too. It ends with the connection.
        std::thread::Builder::new().name("selvedge-load".into()).spawn(move || ask_always(write, started))?;
        let threads = tokio::runtime::Handle::current().metrics().num_workers();
        let mut judge = Judge::new(above, threads);
        let mut stamps = [0; STAMP * AT_ONCE];
        loop {
            // Of all that were waiting the first waited longest; the others tell nothing new.
            let bytes = read.read(&mut stamps).await?;
            let Some(first) = stamps[..bytes].first_chunk::<STAMP>() else { return Ok(()) };
            let now = started.elapsed();
            let wait = now.saturating_sub(Duration::from_micros(u64::from_le_bytes(*first)));
            self.0.wait_us.set(wait.as_micros() as u64);
            let asks = judge.next(now, wait, self.0.scorers_ns.load(Ordering::Relaxed));
            self.set(asks, wait, clock);
        }
    }

    fn set(&self, asks: u32, wait: Duration, clock: &Clock) {
        let before = self.0.asks.swap(asks, Ordering::Relaxed);
        if asks == before {
            return;
        }
        self.0.share.set(self.share());
        let wait_ms = wait.as_millis() as u64;
        if before == ALL {
            self.0.since_us.store(clock.now_us().max(1), Ordering::Relaxed);
            self.0.sheds.inc();
            tracing::warn!(wait_ms, "more to do than can be done in time: fewer decisions ask their scorers");
        } else if asks == ALL {
            self.0.since_us.store(0, Ordering::Relaxed);
            tracing::info!(wait_ms, "all decisions ask their scorers again");
        }
    }
}

impl Default for Shared {
    fn default() -> Self {
        let share = Gauge::default();
        share.set(1.0);
        Self {
            asks: AtomicU32::new(ALL),
            since_us: AtomicI64::new(0),
            scorers_ns: AtomicU64::new(0),
            wait_us: Gauge::default(),
            share,
            sheds: Counter::default(),
        }
    }
}

/// Writes the time, always. When nobody reads for long, the kernel's buffer is full and the write waits.
fn ask_always(mut to: UnixStream, started: Instant) {
    loop {
        let at_us = started.elapsed().as_micros() as u64;
        if to.write_all(&at_us.to_le_bytes()).is_err() {
            return;
        }
        std::thread::sleep(EVERY);
    }
}

// === impl Judge ===

impl Judge {
    fn new(above: Duration, threads: usize) -> Self {
        let (began, least, most) = (Duration::ZERO, Duration::MAX, Duration::ZERO);
        Self { above, threads: threads.max(1), asks: ALL, began, least, most, scorers_ns: 0 }
    }

    /// How many may ask after a wait that ended at `now`, a time since any beginning; scorers took `scorers_ns` since then. Halved
    /// when all waits of a window were too long, and more by a step when none was long, so that it settles where the node keeps up
    /// (Chiu and Jain, "Analysis of the increase and decrease algorithms for congestion avoidance", 1989).
    fn next(&mut self, now: Duration, wait: Duration, scorers_ns: u64) -> u32 {
        (self.least, self.most) = (self.least.min(wait), self.most.max(wait));
        let took = now.saturating_sub(self.began);
        if took < WINDOW {
            return self.asks;
        }
        let spent = scorers_ns.saturating_sub(self.scorers_ns) as f64 / (took.as_nanos() as f64 * self.threads as f64);
        if self.least > self.above && spent >= WORTH {
            self.asks = if self.asks / 2 < FEW { 0 } else { self.asks / 2 };
        } else if self.most <= self.above / 2 {
            self.asks = (self.asks + STEP).min(ALL);
        }
        *self = Self { asks: self.asks, began: now, scorers_ns, ..Self::new(self.above, self.threads) };
        self.asks
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    /// Waits of as many milliseconds, one every 5 ms, with scorers that take that part of the one thread.
    fn after(judge: &mut Judge, at: &mut u32, waits: impl IntoIterator<Item = u32>, part: f64) -> u32 {
        let mut asks = judge.asks;
        for wait in waits {
            *at += 5;
            let ns = f64::from(*at) * 1e6 * part;
            asks = judge.next(MS * *at, MS * wait, ns as u64);
        }
        asks
    }

    #[test]
    fn only_waits_that_stay_too_long_because_of_scorers_shed() {
        let (mut judge, mut at) = (Judge::new(MS * 20, 1), 0);
        assert_eq!(after(&mut judge, &mut at, [900], 1.0), ALL, "a stop of everything is one wait");
        let mut hiccup = vec![500; 19];
        hiccup.push(20);
        let (mut judge, mut at) = (Judge::new(MS * 20, 1), 0);
        assert_eq!(after(&mut judge, &mut at, hiccup.repeat(10), 1.0), ALL, "one of a window was in time");
        let (mut judge, mut at) = (Judge::new(MS * 20, 1), 0);
        assert_eq!(after(&mut judge, &mut at, [500; 100], 0.05), ALL, "scorers are not what takes the time");
        assert_eq!(Judge::new(Duration::MAX, 1).next(MS * 1_000, MS * 999, u64::MAX), ALL, "no bound");
    }

    #[test]
    fn it_takes_seconds_to_come_back_and_no_window_to_go() {
        let (mut judge, mut at) = (Judge::new(MS * 20, 1), 0);
        assert_eq!(after(&mut judge, &mut at, [21; 20], 1.0), ALL / 2);
        assert_eq!(after(&mut judge, &mut at, [21; 20], 1.0), ALL / 4);
        assert_eq!(after(&mut judge, &mut at, [21; 200], 1.0), 0);
        assert_eq!(after(&mut judge, &mut at, [11; 200], 0.0), 0, "neither too long nor short");
        assert_eq!(after(&mut judge, &mut at, [10; 20], 0.0), STEP);
        assert_eq!(after(&mut judge, &mut at, [10; 380], 0.0), ALL);
    }

    #[test]
    fn it_settles_where_the_node_keeps_up() {
        // One thread, 1.5 ms to do for each ms that passes when all ask; a tenth of that when none does.
        let (mut judge, mut queue_ms, mut turns, mut scored) = (Judge::new(MS * 20, 1), 0.0f64, 0, 0.0);
        let mut spent_ns = 0.0;
        for step in 1..=4_000u32 {
            let share = f64::from(judge.asks) / f64::from(ALL);
            queue_ms = (queue_ms + 5.0 * (1.5 * share + 0.15 * (1.0 - share)) - 5.0).max(0.0);
            spent_ns += 5e6 * (1.5 * share).min(1.0);
            let before = judge.asks;
            let asks = judge.next(MS * (step * 5), MS * queue_ms as u32, spent_ns as u64);
            turns += u32::from((before == ALL) != (asks == ALL));
            if step > 1_000 {
                scored += share / 3_000.0;
            }
        }
        assert!(queue_ms < 200.0, "{queue_ms} ms wait");
        assert!(turns <= 2 * 20, "{turns} turns in 20 s");
        assert!(scored > 0.4, "{scored} of the decisions are scored, 0.63 could be");
    }

    #[test]
    fn of_a_person_it_is_the_same_as_long_as_the_share_is() {
        let load = Load::default();
        load.0.asks.store(ALL / 4, Ordering::Relaxed);
        let shed: Vec<bool> = (0..4_000).map(|at| load.sheds(Some(&format!("u-{at}")), at)).collect();
        assert!((0..4_000).all(|at| load.sheds(Some(&format!("u-{at}")), at + 1) == shed[at as usize]));
        let share = shed.iter().filter(|shed| **shed).count() as f64 / 4_000.0;
        assert!((0.72..0.78).contains(&share), "{share}");
        let nobody = (0..10_000).filter(|count| load.sheds(None, *count)).count();
        assert_eq!(nobody, 7_500);
    }
}
