//! Events over NATS: blocks out to the stream, and blocks back from it for whoever reads. Owns the stream's settings; knows
//! nothing of what is in a block.

use std::collections::VecDeque;
use std::fmt;
use std::future::{Future, ready};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use async_nats::jetstream;
use async_nats::jetstream::consumer::{AckPolicy, Consumer, DeliverPolicy, pull};
use async_nats::jetstream::context::{ContextBuilder, GetStreamErrorKind, PublishError, PublishErrorKind};
use async_nats::jetstream::message::PublishMessage;
use async_nats::jetstream::stream::{self, StorageType};
use async_nats::jetstream::{ErrorCode, context::PublishAckFuture};
use bytes::Bytes;
use futures_util::StreamExt as _;
use selvedge_decision::{NodeId, TimeUs};

use super::NatsLink;
use crate::outbox::Lane;

/// How long the server recognises a second copy of a block by its id. Readers recognise it for ever.
pub(super) const DUPLICATE_WINDOW: Duration = Duration::from_secs(600);
/// What a message takes beyond its block, in bytes: its headers, rounded up.
const MESSAGE_BYTES: usize = 128;
/// How long a reader's place is kept while nobody reads.
const READER_KEPT: Duration = Duration::from_secs(60);
/// How much a reader asks for at once, in messages and about in bytes: a server closes the connection of a client that has far more on its
/// way to it, and what was on its way is lost.
const READ_BATCH: usize = 256;
const READ_BYTES: usize = 16 << 20;
/// How long a reader waits for the first of them when it follows.
const READ_WAIT: Duration = Duration::from_secs(1);
/// What was asked for and does not come for so long was lost on the way: nobody tells.
const READ_SILENCE: Duration = Duration::from_secs(5);
/// How often a reader in a row may find nothing where something must be.
const READ_TRIES: u32 = 5;

/// Publishes blocks.
pub struct BlockPublisher {
    link: Arc<NatsLink>,
    context: jetstream::Context,
}

/// Resolves when the stream has the block.
pub struct BlockAck(Pin<Box<dyn Future<Output = Result<(), PublishFailure>> + Send>>);

/// Why a block is not known to be in the stream.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PublishFailure {
    /// No answer in time. The block may be in the stream all the same: send it again under the same id.
    #[error("no acknowledgement in time{0}")]
    Timeout(String),
    /// No stream takes the subject.
    #[error("there is no stream for events")]
    NoStream,
    /// The block is larger than the server takes. It is on disk as it is: only the server can be changed for it.
    #[error(
        "a block of {bytes} bytes is waiting and the nats server takes messages of {max_payload} bytes: set max_payload to \
         {} or more in the nats server's configuration; an outbox.block of {} or less in the node's configuration keeps \
         the blocks to come within what the server takes now", .bytes + MESSAGE_BYTES, .max_payload.saturating_sub(MESSAGE_BYTES)
    )]
    TooLarge {
        /// Bytes of the block.
        bytes: usize,
        /// Bytes of a message, its headers included, that the server takes.
        max_payload: usize,
    },
    /// The server said no.
    #[error("the server refused the block: {0}")]
    Refused(String),
    /// The link broke.
    #[error("{0}")]
    Link(String),
}

/// Which blocks to read.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct BlockQuery {
    /// Of one lane, or of all.
    pub lane: Option<Lane>,
    /// Of one node, or of all.
    pub node: Option<NodeId>,
    /// Where to begin.
    pub from: BlocksFrom,
    /// Whether to wait for more at the end.
    pub follow: bool,
}

/// Where to begin to read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum BlocksFrom {
    /// With the oldest block of the stream.
    #[default]
    Start,
    /// With the next that arrives.
    Now,
    /// With the message after this one of the stream.
    After(u64),
}

/// Blocks of the stream, as they arrived there.
pub struct BlockMessages {
    stream: stream::Stream,
    consumer: Option<Consumer<pull::Config>>,
    filter: String,
    follow: bool,
    /// The stream sequence to go on with.
    next: u64,
    /// The consumer sequence of the last message.
    delivered: u64,
    ready: VecDeque<BlockMessage>,
    tries: u32,
    /// The largest block so far, and the largest that the server takes.
    largest: Option<usize>,
    max_payload: usize,
}

/// One block as the stream has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BlockMessage {
    /// The block.
    pub bytes: Bytes,
    /// Its sequence in the stream.
    pub sequence: u64,
    /// Blocks that waited behind it when it was sent.
    pub pending: u64,
    /// When the stream took it, by the server's clock.
    pub stored_us: TimeUs,
}

/// What the stream is and holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StreamState {
    /// When it was made: one that was made anew counts from 1 again.
    pub created_us: TimeUs,
    /// The sequence of its oldest message; one more than `last` when it has none.
    pub first: u64,
    /// The sequence of its newest message, 0 before there was one.
    pub last: u64,
}

/// Why blocks cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReadFailure {
    /// No node has published anything yet.
    #[error("stream {0}: there is none yet; the first node that publishes creates it")]
    NoStream(String),
    /// The server did not do it: away, slow, or not allowed.
    #[error("{what}: {why}")]
    Failed {
        /// What was asked.
        what: &'static str,
        /// What came back.
        why: String,
    },
}

// === impl NatsLink ===

impl NatsLink {
    /// A publisher of blocks, of which `window` are on their way at once and each is given `ack_timeout`.
    pub fn block_publisher(self: &Arc<Self>, ack_timeout: Duration, window: usize) -> BlockPublisher {
        let context = ContextBuilder::new()
            .timeout(ack_timeout)
            .ack_timeout(ack_timeout)
            // What was given up keeps its place until its time is over.
            .max_ack_inflight(4 * window.max(1))
            .build(self.client().clone());
        BlockPublisher { link: Arc::clone(self), context }
    }

    /// Creates the stream unless it is there; one that is there keeps its settings.
    pub async fn ensure_events_stream(&self) -> Result<(), PublishFailure> {
        let made = self.jetstream().get_or_create_stream(self.events_config()).await;
        made.map(drop).map_err(|error| PublishFailure::Refused(format!("cannot create the stream: {error}")))
    }

    pub(super) fn events_config(&self) -> stream::Config {
        stream::Config {
            name: self.config().events_stream(),
            description: Some("Events, rewards and decision records of all nodes, in blocks".to_owned()),
            subjects: vec![self.config().events_subjects()],
            storage: StorageType::File,
            duplicate_window: DUPLICATE_WINDOW,
            allow_direct: true,
            ..stream::Config::default()
        }
    }

    /// What the stream is and holds now.
    pub async fn events_state(&self) -> Result<StreamState, ReadFailure> {
        let mut stream = self.events_stream().await?;
        let info = stream.info().await.map_err(|error| failed("ask for the stream's state", &error))?;
        let created_us = (info.created.unix_timestamp_nanos() / 1000) as TimeUs;
        Ok(StreamState { created_us, first: info.state.first_sequence, last: info.state.last_sequence })
    }

    async fn events_stream(&self) -> Result<stream::Stream, ReadFailure> {
        let name = self.config().events_stream();
        self.jetstream().get_stream(&name).await.map_err(|error| match error.kind() {
            GetStreamErrorKind::JetStream(error) if error.error_code() == ErrorCode::STREAM_NOT_FOUND => {
                ReadFailure::NoStream(name)
            }
            _ => failed("open the stream", &error),
        })
    }

    /// Reads blocks from the stream.
    pub async fn blocks(&self, query: BlockQuery) -> Result<BlockMessages, ReadFailure> {
        let mut stream = self.events_stream().await?;
        let next = match query.from {
            BlocksFrom::Start => 1,
            BlocksFrom::After(sequence) => sequence.saturating_add(1),
            BlocksFrom::Now => {
                let info = stream.info().await.map_err(|error| failed("ask for the stream's state", &error))?;
                info.state.last_sequence + 1
            }
        };
        let subjects = self.config().events_subjects();
        let node = query.node.as_ref().map_or("*", NodeId::as_str);
        let lane = query.lane.map_or("*", Lane::as_str);
        let filter = format!("{}{node}.{lane}", subjects.trim_end_matches('>'));
        let (follow, ready) = (query.follow, VecDeque::new());
        Ok(BlockMessages {
            stream,
            consumer: None,
            filter,
            follow,
            next,
            delivered: 0,
            ready,
            tries: 0,
            largest: None,
            max_payload: self.client().max_payload(),
        })
    }
}

fn failed(what: &'static str, error: &dyn fmt::Display) -> ReadFailure {
    ReadFailure::Failed { what, why: error.to_string() }
}

// === impl BlockPublisher ===

impl BlockPublisher {
    /// Sends a block of `node`. The outer result says whether it went on its way.
    pub async fn publish(
        &self,
        node: &NodeId,
        lane: Lane,
        message_id: &str,
        block: Vec<u8>,
    ) -> Result<BlockAck, PublishFailure> {
        let subject = self.link.config().events_subject(node, lane.as_str());
        // What the server told when the link connected; the library would refuse the block as well, without a way out.
        let (bytes, max_payload) = (block.len(), self.link.client().max_payload());
        if bytes + MESSAGE_BYTES > max_payload {
            return Err(PublishFailure::TooLarge { bytes, max_payload });
        }
        let message = PublishMessage::build().message_id(message_id).payload(block.into());
        match self.context.send_publish(subject, message).await {
            Ok(ack) => Ok(BlockAck::new(Arc::clone(&self.link), ack)),
            Err(error) => Err(PublishFailure::of(&error, &self.link)),
        }
    }

    /// Creates the stream unless it is there.
    pub async fn ensure_stream(&self) -> Result<(), PublishFailure> {
        self.link.ensure_events_stream().await
    }
}

// === impl BlockAck ===

impl BlockAck {
    fn new(link: Arc<NatsLink>, ack: PublishAckFuture) -> Self {
        Self(Box::pin(async move { ack.await.map(drop).map_err(|error| PublishFailure::of(&error, &link)) }))
    }

    /// Of a block that is stored already.
    pub fn stored() -> Self {
        Self(Box::pin(ready(Ok(()))))
    }
}

impl Future for BlockAck {
    type Output = Result<(), PublishFailure>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        self.0.as_mut().poll(context)
    }
}

// === impl PublishFailure ===

impl PublishFailure {
    fn of(error: &PublishError, link: &NatsLink) -> Self {
        match error.kind() {
            PublishErrorKind::StreamNotFound => Self::NoStream,
            // A publish without the right is not answered; only the server's last words tell why.
            PublishErrorKind::TimedOut => {
                let said = link.refused().map(|refused| format!("; the server's last refusal: {}", refused.why));
                Self::Timeout(said.unwrap_or_default())
            }
            PublishErrorKind::BrokenPipe | PublishErrorKind::MaxAckPending => Self::Link(error.to_string()),
            PublishErrorKind::WrongLastMessageId
            | PublishErrorKind::WrongLastSequence
            | PublishErrorKind::MaxPayloadExceeded
            | PublishErrorKind::Other => Self::Refused(error.to_string()),
        }
    }
}

// === impl BlockMessages ===

impl BlockMessages {
    /// The next block; `None` at the end of the stream unless it is followed. Safe to call again after an error.
    pub async fn next(&mut self) -> Result<Option<BlockMessage>, ReadFailure> {
        loop {
            let next = self.next_or_end().await?;
            if next.is_some() || !self.follow {
                return Ok(next);
            }
        }
    }

    /// The next block; `None` whenever there is none after some waiting: what came was all there was. Safe to call again.
    pub async fn next_or_end(&mut self) -> Result<Option<BlockMessage>, ReadFailure> {
        loop {
            if let Some(message) = self.ready.pop_front() {
                return Ok(Some(message));
            }
            let mut consumer = match self.consumer.take() {
                Some(consumer) => consumer,
                None => self.open().await?,
            };
            self.read(&consumer).await?;
            if !self.ready.is_empty() {
                self.tries = 0;
                self.consumer = Some(consumer);
                continue;
            }
            // Nothing came: the end, or it was lost on the way.
            let info = consumer.info().await.map_err(|error| failed("ask for the reader's place", &error))?;
            let (pending, delivered) = (info.num_pending, info.delivered.consumer_sequence);
            if pending == 0 && delivered == self.delivered {
                self.consumer = Some(consumer);
                return Ok(None);
            }
            self.tries += 1;
            if self.tries >= READ_TRIES {
                return Err(failed("read the stream", &format_args!("{pending} messages are there and do not come")));
            }
        }
    }

    /// When the stream was made: one that is made anew starts its sequence again.
    pub fn stream_created_us(&self) -> TimeUs {
        (self.stream.cached_info().created.unix_timestamp_nanos() / 1_000) as TimeUs
    }

    /// The first sequence that the stream still had when the reading began.
    pub fn first_sequence(&self) -> u64 {
        self.stream.cached_info().state.first_sequence
    }

    /// The last sequence of the stream when the reading began.
    pub fn last_sequence(&self) -> u64 {
        self.stream.cached_info().state.last_sequence
    }

    /// A consumer from the place that was reached.
    async fn open(&mut self) -> Result<Consumer<pull::Config>, ReadFailure> {
        let config = pull::Config {
            deliver_policy: DeliverPolicy::ByStartSequence { start_sequence: self.next },
            ack_policy: AckPolicy::None,
            filter_subject: self.filter.clone(),
            inactive_threshold: READER_KEPT,
            memory_storage: true,
            ..pull::Config::default()
        };
        self.delivered = 0;
        self.stream.create_consumer(config).await.map_err(|error| failed("begin to read the stream", &error))
    }

    async fn read(&mut self, consumer: &Consumer<pull::Config>) -> Result<(), ReadFailure> {
        let ask = |error: &dyn fmt::Display| failed("read the stream", error);
        let most = (READ_BYTES / self.largest.unwrap_or(self.max_payload).max(1)).clamp(1, READ_BATCH);
        let mut messages = if self.follow {
            consumer.batch().max_messages(most).expires(READ_WAIT).messages().await.map_err(|e| ask(&e))?
        } else {
            consumer.fetch().max_messages(most).messages().await.map_err(|e| ask(&e))?
        };
        // The end of a request is told as well, and may be lost as well.
        while let Ok(Some(message)) = tokio::time::timeout(READ_SILENCE, messages.next()).await {
            let message = message.map_err(|error| ask(&error))?;
            let info = message.info().map_err(|error| ask(&error))?;
            let (sequence, delivered, pending) = (info.stream_sequence, info.consumer_sequence, info.pending);
            if delivered != self.delivered + 1 {
                // Some were lost on the way: what follows is read again from a new consumer.
                break;
            }
            self.delivered = delivered;
            self.next = sequence + 1;
            self.largest = self.largest.max(Some(message.message.payload.len()));
            let stored_us = (info.published.unix_timestamp_nanos() / 1_000) as TimeUs;
            self.ready.push_back(BlockMessage { bytes: message.message.payload, sequence, pending, stored_us });
            if pending == 0 {
                break;
            }
        }
        Ok(())
    }
}

impl fmt::Debug for BlockMessages {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BlockMessages").field("filter", &self.filter).field("next", &self.next).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_block_that_is_too_large_names_the_settings_of_both_sides() {
        let why = PublishFailure::TooLarge { bytes: 524_288, max_payload: 65_536 }.to_string();
        for part in
            ["max_payload to 524416 or more in the nats server's", "outbox.block of 65408 or less in the node's"]
        {
            assert!(why.contains(part), "{why}");
        }
    }
}
