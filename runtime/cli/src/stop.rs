//! The wish to stop: SIGINT or SIGTERM. Owns the signals, and how long what is on its way may still take.

use std::pin::pin;
use std::time::Duration;

use anyhow::Context as _;
use tokio::signal::unix::{Signal, SignalKind, signal};

/// How long, after a signal, rows on their way may take to be acknowledged.
const LAST_ACKS: Duration = Duration::from_secs(5);

/// Whether somebody wants to stop.
pub(crate) struct Stop {
    interrupt: Signal,
    terminate: Signal,
    is_asked: bool,
}

// === impl Stop ===

impl Stop {
    pub(crate) fn new() -> anyhow::Result<Self> {
        let of = |kind| signal(kind).context("cannot listen to signals");
        Ok(Self { interrupt: of(SignalKind::interrupt())?, terminate: of(SignalKind::terminate())?, is_asked: false })
    }

    /// Does `work`, unless a signal comes before it is done: then it is given up half way.
    pub(crate) async fn comes_before<T>(&mut self, work: impl Future<Output = T>) -> Option<T> {
        tokio::select! {
            biased;
            () = self.asked() => None,
            done = work => Some(done),
        }
    }

    /// Does `work` to its end, or after a signal for a little while longer.
    pub(crate) async fn comes_before_long<T>(&mut self, work: impl Future<Output = T>) -> Option<T> {
        let mut work = pin!(work);
        match self.comes_before(work.as_mut()).await {
            Some(done) => Some(done),
            None => tokio::time::timeout(LAST_ACKS, work).await.ok(),
        }
    }

    /// Whether somebody wanted to stop while something was waited for.
    pub(crate) fn is_asked(&self) -> bool {
        self.is_asked
    }

    async fn asked(&mut self) {
        if !self.is_asked {
            tokio::select! {
                _ = self.interrupt.recv() => {}
                _ = self.terminate.recv() => {}
            }
            self.is_asked = true;
        }
    }
}
