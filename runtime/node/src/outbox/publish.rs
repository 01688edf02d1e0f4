//! The publisher: sends durable blocks over the link, lane by lane in order, and lets the log delete what the core has
//! acknowledged. Owns the window and the way back: whatever goes wrong, a lane starts again at its first block that is not
//! acknowledged, under the same ids, so that the core ends up with every block and recognises second copies.

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use selvedge_decision::TimeUs;
use tokio::sync::watch;

use super::log::{Cursor, Next, Position};
use super::metrics::Setback;
use super::{Lane, Outbox, Shared};
use crate::link::local::LocalLink;
use crate::link::nats::NatsLink;
use crate::link::nats::events::{BlockAck, BlockPublisher, PublishFailure};
use crate::link::{Link, LinkState};

/// The pauses after failures in a row.
const FIRST_PAUSE: Duration = Duration::from_millis(20);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);
/// What one turn reads from disk.
const READ_BLOCKS: usize = 64;
const READ_BYTES: usize = 4 * 1024 * 1024;

/// A lane being sent.
struct Sending {
    shared: Arc<Shared>,
    lane: Lane,
    cursor: Cursor,
    /// Read and not sent.
    ready: VecDeque<Next>,
    /// Sent and not acknowledged, oldest first.
    window: VecDeque<Sent>,
    window_bytes: usize,
    pause: Duration,
}

/// What was sent.
struct Sent {
    end: Position,
    bytes: usize,
    items: u64,
    /// Damaged bytes that were stepped over.
    lost_bytes: u64,
    sealed_us: TimeUs,
    at: Instant,
    /// `None` for damaged bytes, of which there is nothing to acknowledge.
    ack: Option<BlockAck>,
}

/// Why a lane goes back.
#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error(transparent)]
    Publish(#[from] PublishFailure),
    #[error("cannot read the outbox: {0}")]
    Read(io::Error),
    #[error("cannot write what the node tells: {0}")]
    Write(io::Error),
    #[error("a task ended: {0}")]
    Task(#[from] tokio::task::JoinError),
    /// There was no stream and now there is.
    #[error("the stream is new")]
    Made,
}

// === impl Outbox ===

impl Outbox {
    /// Sends over `link` until `stop` says true. Run it once at a time; what it did not send is sent by the next run, under
    /// the same ids.
    pub fn drain(&self, link: Link, stop: watch::Receiver<bool>) -> impl Future<Output = ()> + Send + use<> {
        let shared = Arc::clone(&self.shared);
        async move {
            let [rewards, decisions, events] =
                Lane::ALL.map(|lane| drain_lane(Arc::clone(&shared), lane, link.clone(), stop.clone()));
            tokio::join!(Box::pin(rewards), Box::pin(decisions), Box::pin(events));
        }
    }
}

async fn drain_lane(shared: Arc<Shared>, lane: Lane, link: Link, mut stop: watch::Receiver<bool>) {
    let mut sending = Sending::new(shared, lane);
    let run = async {
        match &link {
            Link::Nats(nats) => sending.run_nats(nats).await,
            Link::Local(local) => sending.run_local(local).await,
        }
    };
    tokio::select! {
        () = run => {}
        // A sender that is gone means stop as well.
        _ = stop.wait_for(|stop| *stop) => {}
    }
}

// === impl Sending ===

impl Sending {
    fn new(shared: Arc<Shared>, lane: Lane) -> Self {
        Self {
            shared,
            lane,
            cursor: Cursor::default(),
            ready: VecDeque::new(),
            window: VecDeque::new(),
            window_bytes: 0,
            pause: FIRST_PAUSE,
        }
    }

    async fn run_nats(&mut self, nats: &Arc<NatsLink>) {
        let publisher = nats.block_publisher(self.shared.config.ack_timeout, self.shared.config.window);
        let mut state = nats.state();
        loop {
            // A closed channel means that the link is gone for good; then timeouts tell the same more slowly.
            state.wait_for(LinkState::is_connected).await.ok();
            let sent = tokio::select! {
                sent = self.send_nats(&publisher) => sent,
                // What was on its way when the link broke may be lost: no need to wait for the end of its time.
                _ = state.changed() => Err(PublishFailure::Link("the connection was lost".to_owned()).into()),
            };
            if let Err(mut failure) = sent {
                if matches!(failure, Failure::Publish(PublishFailure::NoStream)) {
                    match publisher.ensure_stream().await {
                        Ok(()) => failure = Failure::Made,
                        Err(refused) => failure = Failure::Publish(refused),
                    }
                }
                self.go_back(failure).await;
            }
        }
    }

    /// Sends until something goes wrong.
    async fn send_nats(&mut self, publisher: &BlockPublisher) -> Result<(), Failure> {
        let shared = Arc::clone(&self.shared);
        let log = shared.log(self.lane);
        loop {
            self.fill(publisher).await?;
            let full = self.is_full();
            let Some(oldest) = self.window.front_mut() else {
                shared.stuck[self.lane as usize].clear();
                log.grown.notified().await;
                continue;
            };
            let Some(ack) = &mut oldest.ack else {
                self.acknowledged();
                continue;
            };
            tokio::select! {
                biased;
                stored = ack => {
                    stored?;
                    self.acknowledged();
                }
                // More to send, if the window has room for it.
                () = log.grown.notified(), if !full => {}
            }
        }
    }

    /// Sends until the window is full or nothing more is durable.
    async fn fill(&mut self, publisher: &BlockPublisher) -> Result<(), Failure> {
        while !self.is_full() {
            let Some(next) = self.next().await? else { return Ok(()) };
            let sent = match next {
                Next::Lost { bytes, end } => self.lost(bytes, end),
                Next::Block { header, bytes, end } => {
                    let length = bytes.len();
                    let (at, message_id) = (Instant::now(), header.message_id());
                    // Under the name it was written under: the node may have been renamed since.
                    let ack = publisher.publish(&header.node, self.lane, &message_id, bytes).await?;
                    let (items, sealed_us) = (u64::from(header.count), header.sealed_us);
                    Sent { end, bytes: length, items, lost_bytes: 0, sealed_us, at, ack: Some(ack) }
                }
            };
            self.window_bytes += sent.bytes;
            self.window.push_back(sent);
        }
        Ok(())
    }

    fn is_full(&self) -> bool {
        let config = &self.shared.config;
        self.window.len() >= config.window || self.window_bytes >= config.window_bytes
    }

    /// The oldest of the window is done.
    fn acknowledged(&mut self) {
        let Some(sent) = self.window.pop_front() else { return };
        self.window_bytes -= sent.bytes;
        let metrics = &self.shared.metrics;
        if sent.ack.is_some() {
            metrics.publish_seconds.observe(sent.at.elapsed().as_secs_f64());
            metrics.lane(self.lane).published.inc_by(sent.items);
            self.pause = FIRST_PAUSE;
            self.shared.stuck[self.lane as usize].clear();
        } else {
            metrics.lane(self.lane).lost_bytes.inc_by(sent.lost_bytes);
        }
        let oldest_us = self.window.front().map_or(sent.sealed_us, |next| next.sealed_us);
        for done in self.shared.log(self.lane).acknowledge(sent.end, oldest_us, sent.ack.is_none()) {
            self.shared.disk.discard(&done);
        }
    }

    fn lost(&self, bytes: u64, end: Position) -> Sent {
        tracing::error!(lane = %self.lane, segment = %end.segment, bytes, "a segment is damaged: its bytes are lost");
        let sealed_us = self.window.back().map_or(self.shared.clock.now_us(), |sent| sent.sealed_us);
        Sent { end, bytes: 0, items: 0, lost_bytes: bytes, sealed_us, at: Instant::now(), ack: None }
    }

    /// Forgets what was sent and waits a little.
    async fn go_back(&mut self, failure: Failure) {
        // A lane with nothing to tell is not stuck; that the link broke is the link's to say.
        if !matches!(failure, Failure::Made) && self.shared.log(self.lane).backlog_bytes() > 0 {
            self.shared.metrics.lane(self.lane).setback(failure.setback()).inc();
            let now_us = self.shared.clock.now_us();
            self.shared.stuck[self.lane as usize].raise(now_us, format!("{}: {failure}", self.lane));
        }
        self.window.clear();
        self.window_bytes = 0;
        self.ready.clear();
        self.cursor.rewind();
        tokio::time::sleep(self.pause).await;
        self.pause = (self.pause * 2).min(LONGEST_PAUSE);
    }

    /// The next of what is durable. Reads ahead, away from the threads that serve requests.
    async fn next(&mut self) -> Result<Option<Next>, Failure> {
        if self.ready.is_empty() && self.shared.log(self.lane).has_more(&self.cursor) {
            let (shared, lane, mut cursor) = (Arc::clone(&self.shared), self.lane, std::mem::take(&mut self.cursor));
            let read = tokio::task::spawn_blocking(move || {
                let mut ready = VecDeque::new();
                let mut bytes = 0;
                let mut error = None;
                while ready.len() < READ_BLOCKS && bytes < READ_BYTES {
                    match cursor.next(shared.log(lane)) {
                        Ok(Some(next)) => {
                            bytes += next.bytes();
                            ready.push_back(next);
                        }
                        Ok(None) => break,
                        Err(failed) => {
                            error = Some(failed);
                            break;
                        }
                    }
                }
                (cursor, ready, error)
            });
            let (cursor, ready, error) = read.await?;
            self.cursor = cursor;
            self.ready = ready;
            if let Some(error) = error.filter(|_| self.ready.is_empty()) {
                return Err(Failure::Read(error));
            }
        }
        Ok(self.ready.pop_front())
    }

    async fn run_local(&mut self, local: &Arc<LocalLink>) {
        loop {
            if let Err(failure) = self.send_local(local).await {
                self.go_back(failure).await;
            }
        }
    }

    /// Writes until something goes wrong; what one turn reads is synced and acknowledged together.
    async fn send_local(&mut self, local: &Arc<LocalLink>) -> Result<(), Failure> {
        let shared = Arc::clone(&self.shared);
        loop {
            let mut blocks = Vec::new();
            while blocks.len() < READ_BLOCKS {
                let Some(next) = self.next().await? else { break };
                let sent = match next {
                    Next::Lost { bytes, end } => self.lost(bytes, end),
                    Next::Block { header, bytes, end } => {
                        let (items, sealed_us) = (u64::from(header.count), header.sealed_us);
                        blocks.push(bytes);
                        let ack = Some(BlockAck::stored());
                        Sent { end, bytes: 0, items, lost_bytes: 0, sealed_us, at: Instant::now(), ack }
                    }
                };
                self.window.push_back(sent);
            }
            if !blocks.is_empty() {
                let (local, lane) = (Arc::clone(local), self.lane);
                let written = tokio::task::spawn_blocking(move || local.append_blocks(lane, &blocks)).await?;
                written.map_err(Failure::Write)?;
            }
            while !self.window.is_empty() {
                self.acknowledged();
            }
            if !shared.log(self.lane).has_more(&self.cursor) {
                shared.log(self.lane).grown.notified().await;
            }
        }
    }
}

// === impl Failure ===

impl Failure {
    fn setback(&self) -> Setback {
        match self {
            Self::Publish(PublishFailure::Timeout(_)) => Setback::Timeout,
            Self::Publish(PublishFailure::Refused(_) | PublishFailure::TooLarge { .. } | PublishFailure::NoStream) => {
                Setback::Refused
            }
            Self::Publish(PublishFailure::Link(_)) | Self::Made => Setback::Link,
            Self::Read(_) | Self::Write(_) | Self::Task(_) => Setback::Disk,
        }
    }
}

#[cfg(test)]
mod tests;
