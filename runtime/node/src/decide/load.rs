//! Whether the node has more to do than it can in time. Owns how that is found out: a connection of the node's own, which waits
//! in the same line as everybody's, is written to every few milliseconds, and how long it takes until it is read is how long a
//! request waits before anybody looks at it. While that stays too long, decisions ask no scorer and take the static order.

use std::io::Write;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;
use selvedge_decision::TimeUs;
use tokio::io::AsyncReadExt;
use tokio::sync::watch;

use crate::clock::Clock;

/// How often it is asked.
const EVERY: Duration = Duration::from_millis(5);
/// Waits that are too long for less than this are a hiccup.
const FOR: Duration = Duration::from_millis(100);
/// Bytes of the time of a question, and the most questions that are read at once.
const STAMP: usize = 8;
const AT_ONCE: usize = 512;

/// How loaded the node is. One per node, shared by all who ask.
#[derive(Debug, Clone, Default)]
pub struct Load(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    /// Since when decisions ask no scorer; 0 while they do.
    since_us: AtomicI64,
    wait_us: Gauge<u64, AtomicU64>,
    sheds: Counter,
}

/// Judges waits one after another.
#[derive(Debug)]
struct Judge {
    above: Duration,
    too_long_since: Option<Duration>,
    sheds: bool,
}

// === impl Load ===

impl Load {
    /// Whether decisions must do with less.
    pub fn sheds(&self) -> bool {
        self.0.since_us.load(Ordering::Relaxed) != 0
    }

    /// Since when they must.
    pub fn sheds_since(&self) -> Option<TimeUs> {
        Some(self.0.since_us.load(Ordering::Relaxed)).filter(|since_us| *since_us != 0)
    }

    /// How long a request waits before it is looked at.
    pub fn wait(&self) -> Duration {
        Duration::from_micros(self.0.wait_us.get())
    }

    /// Makes it visible at `/metrics`.
    pub fn register(&self, registry: &mut Registry) {
        let wait = "How long a request waits before anybody looks at it, in microseconds";
        registry.register("selvedge_load_wait_us", wait, self.0.wait_us.clone());
        let sheds = "Times that decisions began to ask no scorer because the node had too much to do";
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
        self.0.since_us.store(0, Ordering::Relaxed);
    }

    async fn ask(&self, above: Duration, clock: &Clock) -> std::io::Result<()> {
        let (read, write) = UnixStream::pair()?;
        read.set_nonblocking(true)?;
        let mut read = tokio::net::UnixStream::from_std(read)?;
        let started = Instant::now();
        // A thread asks, because the runtime's own timers wait in line, too. It ends with the connection.
        std::thread::Builder::new().name("selvedge-load".into()).spawn(move || ask_always(write, started))?;
        let mut judge = Judge { above, too_long_since: None, sheds: false };
        let mut stamps = [0; STAMP * AT_ONCE];
        loop {
            // Of all that were waiting the first waited longest; the others tell nothing new.
            let bytes = read.read(&mut stamps).await?;
            let Some(first) = stamps[..bytes].first_chunk::<STAMP>() else { return Ok(()) };
            let now = started.elapsed();
            let wait = now.saturating_sub(Duration::from_micros(u64::from_le_bytes(*first)));
            self.0.wait_us.set(wait.as_micros() as u64);
            let before = judge.sheds;
            if judge.next(now, wait) != before {
                self.turn(judge.sheds, wait, clock);
            }
        }
    }

    fn turn(&self, sheds: bool, wait: Duration, clock: &Clock) {
        self.0.since_us.store(if sheds { clock.now_us().max(1) } else { 0 }, Ordering::Relaxed);
        let wait_ms = wait.as_millis() as u64;
        if sheds {
            self.0.sheds.inc();
            tracing::warn!(wait_ms, "more to do than can be done in time: decisions ask no scorer");
        } else {
            tracing::info!(wait_ms, "decisions ask scorers again");
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
    /// Whether to shed after a wait that ended at `now`, a time since any beginning. It ends when a wait is well below: at the
    /// bound it would flap.
    fn next(&mut self, now: Duration, wait: Duration) -> bool {
        let since = (wait > self.above).then(|| self.too_long_since.unwrap_or(now));
        self.too_long_since = since;
        let lasts = since.is_some_and(|since| now.saturating_sub(since) >= FOR);
        self.sheds = lasts || (self.sheds && wait > self.above / 2);
        self.sheds
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hiccup_sheds_nothing_and_overload_ends_well_below_the_bound() {
        let ms = Duration::from_millis;
        let mut judge = Judge { above: ms(20), too_long_since: None, sheds: false };
        assert!(!judge.next(ms(1_000), ms(900)), "a long stop of everything is one wait");
        assert!(!judge.next(ms(1_099), ms(500)));
        assert!(!judge.next(ms(1_100), ms(20)), "one that was in time begins anew");
        assert!(!judge.next(ms(1_101), ms(21)));
        assert!(!judge.next(ms(1_200), ms(21)));
        assert!(judge.next(ms(1_201), ms(21)));
        assert!(judge.next(ms(1_202), ms(15)), "not yet well below");
        assert!(!judge.next(ms(1_203), ms(10)));
        assert!(!judge.next(ms(1_204), ms(15)), "and what ended needs as long to begin again");
    }

    #[test]
    fn without_a_bound_nothing_is_shed() {
        let mut judge = Judge { above: Duration::MAX, too_long_since: None, sheds: false };
        assert!((0..1_000).all(|at| !judge.next(Duration::from_secs(at), Duration::from_secs(10))));
    }
}
