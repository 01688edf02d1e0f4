//! Waiting: by polling with a deadline. The only place of the suite that sleeps.

use std::time::{Duration, Instant};

use anyhow::{Result, bail};

const POLL: Duration = Duration::from_millis(5);

/// Polls `probe` until it gives a value. `what` completes the sentence "waited 5 s for …" of the error.
pub async fn until<T>(what: &str, limit: Duration, mut probe: impl AsyncFnMut() -> Option<T>) -> Result<T> {
    let start = Instant::now();
    loop {
        if let Some(value) = probe().await {
            return Ok(value);
        }
        if start.elapsed() > limit {
            bail!("waited {limit:?} for {what}");
        }
        tokio::time::sleep(POLL).await;
    }
}

/// As [`until`], for a probe that needs no await.
pub async fn until_now<T>(what: &str, limit: Duration, mut probe: impl FnMut() -> Option<T>) -> Result<T> {
    until(what, limit, async || probe()).await
}

/// Lets `span` pass: for a pause that is itself the subject, such as an outage of so many seconds.
pub async fn pass(span: Duration) {
    tokio::time::sleep(span).await;
}

/// Blocks this thread until `due`, to within a tenth of a millisecond: the runtime's timers know only whole ones.
pub fn block_until(due: Instant) {
    std::thread::sleep(due.saturating_duration_since(Instant::now()));
}
