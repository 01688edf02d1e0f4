//! The feed of one view: brings changes from the link into its source, and proves again and again that nothing is missing.
//! Owns the life of that task; the two links' ways are below.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, watch};

use crate::features::disk::write_behind::WriteBehind;
use crate::features::metrics::StoreFailure;
use crate::features::source::Source;
use crate::link::Link;

pub(crate) mod local;
pub(crate) mod nats;
pub(crate) mod start;

/// How a feed goes about it.
#[derive(Debug, Clone, Copy)]
pub(super) struct FeedLimits {
    /// How often the stream's last sequence is asked.
    pub(super) prove_every: Duration,
    /// How often files are looked at.
    pub(super) poll_every: Duration,
}

/// Where changes go, and where from a feed hears whom to fetch.
pub(super) struct Ways {
    /// The way to disk.
    pub(super) write_behind: Option<Arc<WriteBehind>>,
    /// Of an on-demand source: whom decisions asked for.
    pub(super) wanted: Option<mpsc::Receiver<Arc<str>>>,
}

/// When a feed ends.
#[derive(Clone)]
pub(super) struct Stops {
    /// The node stops.
    pub(super) node: watch::Receiver<bool>,
    /// Nobody holds a view of the source any more.
    pub(super) unheld: watch::Receiver<bool>,
}

// === impl Stops ===

impl Stops {
    /// Resolves when the feed is to end.
    pub(super) async fn stopped(&mut self) {
        tokio::select! {
            _ = self.node.wait_for(|stop| *stop) => {}
            _ = self.unheld.wait_for(|unheld| *unheld) => {}
        }
    }

    /// Sleeps. `false` when it is time to end instead.
    pub(super) async fn sleep(&mut self, time: Duration) -> bool {
        tokio::time::timeout(time, self.stopped()).await.is_err()
    }
}

/// Feeds `source` until it is to end, then writes what is left.
pub(super) async fn run(source: Arc<Source>, link: Link, limits: FeedLimits, mut stops: Stops, ways: Ways) {
    let Ways { write_behind, wanted } = ways;
    let (fed, until_fed) = watch::channel(false);
    let writing = write_behind.map(|write_behind| {
        let source = Arc::clone(&source);
        tokio::spawn(write_behind.run(until_fed, move |error| {
            tracing::error!(view = source.name, %error, "the feature store failed: rows stay in memory only until a restart");
            source.metrics.store_failed(StoreFailure::Write);
        }))
    });
    match &link {
        Link::Nats(nats) => tokio::select! {
            () = nats::feed(&source, nats, limits, &mut stops) => {}
            () = nats::fetch::serve(&source, nats, wanted) => {}
        },
        Link::Local(local) => local::feed(&source, local, limits, &mut stops).await,
    }
    drop(fed);
    if let Some(writing) = writing
        && let Err(error) = writing.await
    {
        tracing::error!(view = source.name, %error, "the writer of the feature store broke off");
    }
}
