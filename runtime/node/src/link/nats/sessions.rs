//! Sessions on NATS: one KV bucket with a slot for each view, session and run of a node. Owns the keys and how slots go over the
//! wire; what a slot holds is the session flow's.

use std::pin::Pin;
use std::time::Duration;

use async_nats::jetstream::consumer::{AckPolicy, DeliverPolicy, ReplayPolicy, pull};
use async_nats::jetstream::context::{PublishAckFuture, PublishErrorKind};
use async_nats::jetstream::kv;
use async_nats::jetstream::stream::StorageType;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use futures_util::StreamExt as _;
use futures_util::stream::ReadyChunks;
use selvedge_decision::{Epoch, NodeId, TimeUs};

use super::NatsLink;
use super::features::follow::deletes;
use super::releases::{CoreError, failed};

/// Where a slot lies.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct SlotKey {
    /// The view, whose name has no dot.
    pub(crate) view: String,
    pub(crate) node: NodeId,
    pub(crate) epoch: Epoch,
    pub(crate) session: String,
}

/// Slots as they come.
pub(crate) struct SlotFollowing {
    messages: Pin<Box<ReadyChunks<pull::Stream>>>,
}

/// A slot that came; without bytes when it is gone.
#[derive(Debug)]
pub(crate) struct SlotMessage {
    pub(crate) key: String,
    pub(crate) json: Option<Bytes>,
    /// Its number in the bucket.
    pub(crate) seq: u64,
    /// When the core stored it.
    pub(crate) stored_us: TimeUs,
    /// Messages that waited behind it when it was sent.
    pub(crate) waiting: u64,
}

/// The answer to a slot that was sent.
pub(crate) struct SlotAck(PublishAckFuture);

const PULL_MESSAGES: usize = 2_000;
const CHUNK: usize = 256;
const PULL_EXPIRES: Duration = Duration::from_secs(30);
const HEARTBEAT: Duration = Duration::from_secs(5);
const CONSUMER_RESTS: Duration = Duration::from_secs(60);

// === impl NatsLink ===

impl NatsLink {
    /// Makes the bucket of sessions unless it is there; slots that nobody writes any more go after `keep`.
    pub(crate) async fn ensure_sessions_bucket(&self, keep: Duration) -> Result<(), CoreError> {
        let config = kv::Config {
            bucket: self.config().sessions_bucket(),
            description: "selvedge: what each node knows of a session".to_owned(),
            history: 1,
            max_age: keep,
            storage: StorageType::File,
            ..kv::Config::default()
        };
        self.bucket_or_create(config).await.map(drop)
    }

    /// Sends a slot; the answer says whether the core has it.
    pub(crate) async fn send_slot(&self, key: &SlotKey, json: Bytes) -> Result<SlotAck, CoreError> {
        let subject = format!("$KV.{}.{}", self.config().sessions_bucket(), key.to_text());
        let subject = self.config().of_domain(&subject);
        let sent = self.jetstream().publish(subject, json).await;
        sent.map(SlotAck).map_err(|error| failed("send a session".to_owned(), &error))
    }

    /// Follows the slots of all sessions: the newest of each, or, after a break, those that came after `seq`.
    pub(crate) async fn follow_sessions(&self, seq: Option<u64>) -> Result<SlotFollowing, CoreError> {
        self.follow_slots(&self.config().sessions_bucket(), seq).await
    }

    /// Follows a bucket of slots: the newest of each, or, after a break, those that came after `seq`.
    pub(super) async fn follow_slots(&self, bucket: &str, seq: Option<u64>) -> Result<SlotFollowing, CoreError> {
        let deliver_policy = match seq {
            None => DeliverPolicy::LastPerSubject,
            Some(seq) => DeliverPolicy::ByStartSequence { start_sequence: seq + 1 },
        };
        let config = pull::Config {
            description: Some("selvedge: a node follows slots".into()),
            deliver_policy,
            ack_policy: AckPolicy::None,
            replay_policy: ReplayPolicy::Instant,
            inactive_threshold: CONSUMER_RESTS,
            memory_storage: true,
            filter_subject: format!("$KV.{bucket}.>"),
            ..pull::Config::default()
        };
        let stream = format!("KV_{bucket}");
        let what = || format!("follow {bucket}");
        let consumer = self.jetstream().create_consumer_on_stream(config, &stream).await;
        let consumer = consumer.map_err(|error| failed(what(), &error))?;
        let messages = consumer.stream().max_messages_per_batch(PULL_MESSAGES).expires(PULL_EXPIRES);
        let messages = messages.heartbeat(HEARTBEAT).messages().await.map_err(|error| failed(what(), &error))?;
        Ok(SlotFollowing { messages: Box::pin(messages.ready_chunks(CHUNK)) })
    }
}

// === impl SlotFollowing ===

impl SlotFollowing {
    /// The next slots, in their order, at least one. Dropping the future loses none.
    pub(crate) async fn next(&mut self) -> Result<Vec<SlotMessage>, CoreError> {
        let broke = |why: &str| CoreError::Failed { what: "follow slots".into(), why: why.into() };
        let chunk = self.messages.next().await.ok_or_else(|| broke("the client closed it"))?;
        let mut messages = Vec::with_capacity(chunk.len());
        for message in chunk {
            match message {
                Ok(message) => {
                    let info = message.info().map_err(|error| broke(&error.to_string()))?;
                    let is_gone = message.headers.as_ref().is_some_and(deletes);
                    let (seq, waiting) = (info.stream_sequence, info.pending);
                    let stored_us = (info.published.unix_timestamp_nanos() / 1_000) as TimeUs;
                    let key = message.subject.as_str().splitn(3, '.').nth(2).unwrap_or_default().to_owned();
                    let json = (!is_gone).then(|| message.payload.clone());
                    messages.push(SlotMessage { key, json, seq, stored_us, waiting });
                }
                Err(_) if !messages.is_empty() => break,
                Err(error) => return Err(broke(&error.to_string())),
            }
        }
        Ok(messages)
    }
}

// === impl SlotAck ===

impl SlotAck {
    /// Whether the core has the slot, and if not, whether its bucket is gone.
    pub(crate) async fn stored(self) -> Result<(), (CoreError, bool)> {
        self.0.await.map(drop).map_err(|error| {
            let gone = matches!(error.kind(), PublishErrorKind::StreamNotFound | PublishErrorKind::WrongLastSequence);
            (failed("send a session".to_owned(), &error), gone)
        })
    }
}

// === impl SlotKey ===

impl SlotKey {
    /// `view.node.epoch.base64url(session)`.
    fn to_text(&self) -> String {
        let session = URL_SAFE_NO_PAD.encode(&self.session);
        format!("{}.{}.{}.{session}", self.view, self.node.as_str(), self.epoch)
    }

    pub(crate) fn read(text: &str) -> Option<Self> {
        let mut parts = text.split('.');
        let (Some(view), Some(node), Some(epoch), Some(session), None) =
            (parts.next(), parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return None;
        };
        let session = String::from_utf8(URL_SAFE_NO_PAD.decode(session).ok()?).ok()?;
        Some(Self {
            view: view.to_owned(),
            node: node.to_owned().try_into().ok()?,
            epoch: epoch.parse().ok()?,
            session,
        })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;

    #[test]
    fn a_key_reads_back() {
        let key = SlotKey {
            view: "session".into(),
            node: "edge-1".to_owned().try_into().unwrap(),
            epoch: Epoch(0xabc),
            session: "s.* >\0ü".into(),
        };
        assert_eq!(key.to_text(), "session.edge-1.0000000000000abc.cy4qID4Aw7w");
        assert_eq!(SlotKey::read(&key.to_text()), Some(key));
        for wrong in [
            "",
            "session.edge-1.0000000000000abc",
            "session.edge-1.0000000000000abc.cy4.x",
            "session.Edge 1.0000000000000abc.cy4",
            "session.edge-1.abc.cy4",
        ] {
            assert_eq!(SlotKey::read(wrong), None, "{wrong}");
        }
    }
}
