//! Fetching rows one by one: whom decisions ask for, and all that is held when it may be out of date. Owns how many are on
//! their way; what an answer is worth is the source's to say.

use std::sync::Arc;
use std::time::Instant;

use futures_util::StreamExt as _;
use futures_util::future::BoxFuture;
use futures_util::stream::FuturesUnordered;
use tokio::sync::mpsc;

use crate::features::source::Source;
use crate::link::NatsLink;
use crate::link::nats::features::follow::FollowError;

/// Everything that is held, on its way to be fetched again.
pub(super) struct Refetch<'s> {
    source: &'s Source,
    nats: &'s NatsLink,
    ahead: Vec<Arc<str>>,
    running: FuturesUnordered<BoxFuture<'s, Result<(), FollowError>>>,
}

/// A fetch that was begun. Whoever waits for it is told when this is dropped, however the fetch ends.
struct Begun<'s> {
    source: &'s Source,
    entity: Arc<str>,
}

/// Rows of a [`Refetch`] on their way at once.
const REFETCHES: usize = 64;

/// Fetches whom decisions ask for; never ends. How many are on their way at once is bounded by who asks.
pub(in crate::features) async fn serve(source: &Source, nats: &NatsLink, wanted: Option<mpsc::Receiver<Arc<str>>>) {
    let Some(mut wanted) = wanted else { return std::future::pending().await };
    let mut running = FuturesUnordered::new();
    loop {
        tokio::select! {
            entity = wanted.recv() => match entity {
                Some(entity) => running.push(fetch(nats, Begun { source, entity })),
                None => return std::future::pending().await,
            },
            Some(fetched) = running.next() => {
                if let Err(error) = fetched {
                    tracing::debug!(view = source.name, %error, "a row was not fetched");
                }
            }
        }
    }
}

/// Fetches one row, again while the feed begins anew.
async fn fetch(nats: &NatsLink, begun: Begun<'_>) -> Result<(), FollowError> {
    let Begun { source, entity } = &begun;
    loop {
        // What is fetched goes to disk, too: not faster than the disk takes it.
        source.room().await;
        let asked = Instant::now();
        let answer = nats.fetch_feature(&source.name, entity).await;
        if let Some(sights) = source.sights() {
            sights.metrics.fetch_us.observe(asked.elapsed().as_micros() as f64);
        }
        match answer {
            Ok(answer) => {
                if !source.fetched(entity, Ok(answer)) {
                    return Ok(());
                }
            }
            Err(error) => {
                source.fetched(entity, Err(()));
                return Err(error);
            }
        }
    }
}

// === impl Refetch ===

impl<'s> Refetch<'s> {
    /// Everything that `source` holds.
    pub(super) fn all(source: &'s Source, nats: &'s NatsLink) -> Self {
        Self { source, nats, ahead: source.held().into_iter().collect(), running: FuturesUnordered::new() }
    }

    /// How many have yet to be fetched.
    pub(super) fn left(&self) -> usize {
        self.ahead.len() + self.running.len()
    }

    /// Fetches some. Dropping the future loses none.
    pub(super) async fn some(&mut self) -> Result<(), FollowError> {
        let (source, nats) = (self.source, self.nats);
        while self.running.len() < REFETCHES
            && let Some(entity) = self.ahead.pop()
        {
            // Who is being fetched already comes without our help.
            if source.fetch_again(&entity) {
                self.running.push(Box::pin(fetch(nats, Begun { source, entity })));
            }
        }
        self.running.next().await.unwrap_or(Ok(()))
    }
}

// === impl Begun ===

impl Drop for Begun<'_> {
    fn drop(&mut self) {
        if let Some(sights) = self.source.sights() {
            sights.done(&self.entity);
        }
    }
}
