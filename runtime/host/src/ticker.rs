//! The clock of deadlines: a thread of its own that advances the engine's epoch while calls run and sleeps for good when none
//! do. Owns nothing of what a deadline means: a call compares the real clock at every tick.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, JoinHandle, Thread};
use std::time::{Duration, Instant};

use wasmtime::{Engine, EngineWeak};

/// How often running calls look at the clock.
pub(crate) const TICK: Duration = Duration::from_micros(250);

/// Ticks without a call after which the thread parks: waking it costs a caller some microseconds, ticking costs the node a
/// percent of a core.
const LINGER_TICKS: u32 = 8;

/// One call begun, in the high half of `State::calls`.
const BEGUN: u64 = 1 << 32;
/// The calls running, in the low half.
const RUNNING: u64 = BEGUN - 1;

/// The thread; it ends when this is dropped.
#[derive(Debug)]
pub(crate) struct Ticker {
    state: Arc<State>,
    ticker: Thread,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug, Default)]
struct State {
    /// Calls begun and calls running, in one word so that beginning a call is one operation.
    calls: AtomicU64,
    parked: AtomicBool,
    stop: AtomicBool,
}

/// A running call; ticks come as long as it lives.
#[derive(Debug)]
pub(crate) struct Running<'a>(&'a State);

// === impl Ticker ===

impl Ticker {
    pub(crate) fn start(engine: &Engine) -> io::Result<Self> {
        let state = Arc::new(State::default());
        let (engine, shared) = (engine.weak(), Arc::clone(&state));
        let thread = thread::Builder::new().name("selvedge-ticker".into()).spawn(move || tick(&engine, &shared))?;
        Ok(Self { state, ticker: thread.thread().clone(), thread: Some(thread) })
    }

    pub(crate) fn begin(&self) -> Running<'_> {
        self.state.calls.fetch_add(BEGUN + 1, Ordering::SeqCst);
        // The thread says that it parks before it looks for calls, so one of the two sees the other.
        if self.state.parked.load(Ordering::SeqCst) {
            self.ticker.unpark();
        }
        Running(&self.state)
    }
}

impl Drop for Ticker {
    fn drop(&mut self) {
        self.state.stop.store(true, Ordering::SeqCst);
        self.ticker.unpark();
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the ticker thread panicked");
        }
    }
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        self.0.calls.fetch_sub(1, Ordering::SeqCst);
    }
}

// === impl State ===

impl State {
    fn running(&self) -> bool {
        self.calls.load(Ordering::SeqCst) & RUNNING != 0
    }

    fn stopped(&self) -> bool {
        self.stop.load(Ordering::SeqCst)
    }

    /// Waits for a call or the end.
    fn park(&self) {
        self.parked.store(true, Ordering::SeqCst);
        while !self.running() && !self.stopped() {
            thread::park();
        }
        self.parked.store(false, Ordering::SeqCst);
    }
}

fn tick(engine: &EngineWeak, state: &State) {
    let mut next = Instant::now() + TICK;
    let mut begun = 0;
    let mut idle_ticks = 0;
    while !state.stopped() {
        let calls = state.calls.load(Ordering::SeqCst);
        let busy = calls & RUNNING != 0 || calls >> 32 != begun;
        begun = calls >> 32;
        idle_ticks = if busy { 0 } else { idle_ticks + 1 };
        if idle_ticks > LINGER_TICKS {
            state.park();
            idle_ticks = 0;
            next = Instant::now() + TICK;
        }
        let now = Instant::now();
        match next.checked_duration_since(now) {
            Some(wait) => thread::sleep(wait),
            // Late: the next tick is a whole one from now, a burst of ticks would tell the calls nothing.
            None => next = now,
        }
        next += TICK;
        match engine.upgrade() {
            Some(engine) => engine.increment_epoch(),
            None => return,
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;

    const LONG: Duration = Duration::from_secs(10);

    /// Whether the thread parks, or wakes, within `limit`.
    fn becomes(ticker: &Ticker, parked: bool, limit: Duration) -> bool {
        let end = Instant::now() + limit;
        while Instant::now() < end {
            if ticker.state.parked.load(Ordering::SeqCst) == parked {
                return true;
            }
            thread::yield_now();
        }
        false
    }

    #[test]
    fn it_parks_when_nothing_runs_and_ticks_when_something_does() {
        let engine = Engine::default();
        let ticker = Ticker::start(&engine).unwrap();
        assert!(becomes(&ticker, true, LONG));
        let call = ticker.begin();
        assert!(becomes(&ticker, false, LONG));
        assert!(!becomes(&ticker, true, TICK * 40), "a running call keeps it awake");
        drop(call);
        assert!(becomes(&ticker, true, LONG));
    }
}
