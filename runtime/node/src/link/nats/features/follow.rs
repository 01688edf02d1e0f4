//! A node's look at a bucket of rows: its state, and its messages in order from a sequence on. Owns what goes over the wire;
//! what a message does is the feed's.
//!
//! The bucket is followed as the stream it is, by an ephemeral pull consumer without acknowledgements: it delivers a million
//! rows in half the time a KV watch needs, and the client never drops messages of a slow reader.

use std::pin::Pin;
use std::time::Duration;

use async_nats::HeaderMap;
use async_nats::jetstream::consumer::pull::MessagesErrorKind;
use async_nats::jetstream::consumer::{AckPolicy, Consumer, DeliverPolicy, PullConsumer, ReplayPolicy, pull};
use async_nats::jetstream::context::GetStreamErrorKind;
use async_nats::jetstream::{ErrorCode, stream};
use bytes::Bytes;
use futures_util::StreamExt as _;
use futures_util::stream::ReadyChunks;
use selvedge_decision::TimeUs;

use crate::features::entity::{BadEntity, entity_of};
use crate::features::feed::start::BucketState;
use crate::link::NatsLink;
use crate::link::nats::features::chain;

/// A bucket's messages as they come.
pub(crate) struct Following {
    messages: Pin<Box<ReadyChunks<pull::Stream>>>,
    consumer: PullConsumer,
}

/// One message of a bucket.
#[derive(Debug)]
pub(crate) struct Message {
    /// Whom it is about.
    pub(crate) entity: Result<String, BadEntity>,
    /// What it does.
    pub(crate) operation: Operation,
    /// Its sequence in the stream. Gaps are normal: an overwritten row leaves one.
    pub(crate) seq: u64,
    /// Its number in this delivery, from 1. Gaps are losses.
    pub(crate) delivered: u64,
    /// Messages that waited behind it when it was sent.
    pub(crate) waiting: u64,
    /// When the core stored it.
    pub(crate) stored_us: TimeUs,
}

/// What a message does.
#[derive(Debug)]
pub(crate) enum Operation {
    /// Puts a row.
    Put(Bytes),
    /// Deletes it: by hand, or because it expired.
    Delete,
}

/// The consumer's own counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Counts {
    /// Messages it sent.
    pub(crate) delivered: u64,
    /// Messages it has yet to send.
    pub(crate) waiting: u64,
}

/// A bucket cannot be looked at or followed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FollowError {
    /// The view's name cannot be a bucket's.
    #[error("{0}")]
    View(String),
    /// A request failed.
    #[error("cannot {what}: {why}{hint}")]
    Request {
        /// What was asked.
        what: &'static str,
        /// What the client says.
        why: String,
        /// What the server said besides.
        hint: String,
    },
    /// The delivery broke off.
    #[error("the delivery of rows broke off: {0}")]
    Delivery(String),
}

/// Messages asked for at once: enough to keep the wire full, far below what the client buffers.
const PULL_MESSAGES: usize = 5_000;
/// Messages applied before anything else gets its turn.
const CHUNK: usize = 256;
/// How long a request for messages stays open at the server.
const PULL_EXPIRES: Duration = Duration::from_secs(30);
/// The server says at least this often that it is there.
const HEARTBEAT: Duration = Duration::from_secs(5);
/// How long the server keeps a consumer that nobody asks for messages.
const CONSUMER_RESTS: Duration = Duration::from_secs(60);

// === impl NatsLink ===

impl NatsLink {
    /// The bucket of a view as it is now; none when it does not exist.
    pub(crate) async fn feature_bucket(&self, view: &str) -> Result<Option<BucketState>, FollowError> {
        let stream = self.stream_of(view)?;
        match self.jetstream().get_stream(&stream).await {
            Ok(stream) => Ok(Some(state_of(stream.cached_info()))),
            Err(error) => match error.kind() {
                GetStreamErrorKind::JetStream(answer) if answer.error_code() == ErrorCode::STREAM_NOT_FOUND => Ok(None),
                _ => Err(self.follow_error("look at the bucket", &error)),
            },
        }
    }

    /// Follows the bucket of a view from the message after `seq` on.
    pub(crate) async fn follow_features(&self, view: &str, seq: u64) -> Result<Following, FollowError> {
        let stream = self.stream_of(view)?;
        let deliver_policy = match seq {
            0 => DeliverPolicy::All,
            seq => DeliverPolicy::ByStartSequence { start_sequence: seq + 1 },
        };
        let config = pull::Config {
            description: Some("selvedge: a node follows the rows of a view".into()),
            deliver_policy,
            ack_policy: AckPolicy::None,
            replay_policy: ReplayPolicy::Instant,
            inactive_threshold: CONSUMER_RESTS,
            memory_storage: true,
            ..pull::Config::default()
        };
        let consumer: Consumer<pull::Config> = self
            .jetstream()
            .create_consumer_on_stream(config, &stream)
            .await
            .map_err(|error| self.follow_error("follow the bucket", &error))?;
        let messages = consumer
            .stream()
            .max_messages_per_batch(PULL_MESSAGES)
            .expires(PULL_EXPIRES)
            .heartbeat(HEARTBEAT)
            .messages()
            .await
            .map_err(|error| self.follow_error("follow the bucket", &error))?;
        Ok(Following { messages: Box::pin(messages.ready_chunks(CHUNK)), consumer })
    }

    fn stream_of(&self, view: &str) -> Result<String, FollowError> {
        let bucket = self.bucket_of(view).map_err(|error| FollowError::View(error.to_string()))?;
        Ok(format!("KV_{bucket}"))
    }

    pub(super) fn follow_error(&self, what: &'static str, error: &dyn std::error::Error) -> FollowError {
        FollowError::Request { what, why: chain(error), hint: self.hint() }
    }
}

// === impl Following ===

impl Following {
    /// Whether nothing was to be delivered when the following began.
    pub(crate) fn nothing_waits(&self) -> bool {
        self.consumer.cached_info().num_pending == 0
    }

    /// The next messages, in their order, at least one. Dropping the future loses none.
    pub(crate) async fn next(&mut self) -> Result<Vec<Message>, FollowError> {
        let Some(chunk) = self.messages.next().await else {
            return Err(FollowError::Delivery("the client closed it".into()));
        };
        let mut messages = Vec::with_capacity(chunk.len());
        for message in chunk {
            match message {
                Ok(message) => messages.push(read(message)?),
                // What came before the break is applied first; the break is met again by the next call.
                Err(_) if !messages.is_empty() => break,
                Err(error) if error.kind() == MessagesErrorKind::MissingHeartbeat => {
                    return Err(FollowError::Delivery("the server fell silent".into()));
                }
                Err(error) => return Err(FollowError::Delivery(chain(&error))),
            }
        }
        Ok(messages)
    }

    /// The consumer's counts as the server knows them.
    pub(crate) async fn counts(&self) -> Result<Counts, FollowError> {
        let info = self.consumer.get_info().await.map_err(|error| FollowError::Request {
            what: "look at the consumer",
            why: chain(&error),
            hint: String::new(),
        })?;
        Ok(Counts { delivered: info.delivered.consumer_sequence, waiting: info.num_pending })
    }
}

fn read(message: async_nats::jetstream::Message) -> Result<Message, FollowError> {
    let info = message.info().map_err(|error| FollowError::Delivery(format!("a message without position: {error}")))?;
    let (seq, delivered, waiting) = (info.stream_sequence, info.consumer_sequence, info.pending);
    let stored_us = (info.published.unix_timestamp_nanos() / 1_000) as TimeUs;
    let operation = match &message.headers {
        Some(headers) if deletes(headers) => Operation::Delete,
        Some(_) | None => Operation::Put(message.payload.clone()),
    };
    // `$KV.<bucket>.<key>`; a mirrored bucket keeps the subjects of its origin.
    let key = message.subject.as_str().splitn(3, '.').nth(2).unwrap_or_default();
    Ok(Message { entity: entity_of(key), operation, seq, delivered, waiting, stored_us })
}

/// Deleted and purged by a client, or marked by the server because the row expired or was removed.
pub(in crate::link::nats) fn deletes(headers: &HeaderMap) -> bool {
    let operation = headers.get("KV-Operation").map(|operation| operation.as_str());
    matches!(operation, Some("DEL" | "PURGE")) || headers.get("Nats-Marker-Reason").is_some()
}

fn state_of(info: &stream::Info) -> BucketState {
    let us = |time: Duration| i64::try_from(time.as_micros()).unwrap_or(i64::MAX);
    BucketState {
        created_us: (info.created.unix_timestamp_nanos() / 1_000) as TimeUs,
        first_seq: info.state.first_sequence,
        last_seq: info.state.last_sequence,
        keys: info.state.subjects_count,
        marks_live_us: info.config.subject_delete_marker_ttl.map(us).filter(|&live_us| live_us > 0),
    }
}
