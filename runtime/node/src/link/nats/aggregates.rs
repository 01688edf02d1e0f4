//! What the core counts of people and items, on NATS: for each view a KV bucket with a slot for each entity and node, and the
//! position of each instance that counts. Owns the keys and what goes over the wire; what a slot holds is the aggregates'.

use std::future::IntoFuture as _;

use async_nats::jetstream::context::{PublishAckFuture, PublishErrorKind};
use async_nats::jetstream::kv;
use async_nats::jetstream::message::PublishMessage;
use async_nats::jetstream::stream::RawMessageErrorKind;
use bytes::Bytes;
use futures_util::StreamExt as _;
use selvedge_decision::NodeId;

use super::NatsLink;
use super::features::follow::deletes;
use super::releases::{CoreError, described, failed};
use super::sessions::SlotFollowing;
use crate::aggregates::{Part, name_of};
use crate::features::entity::{entity_of, key_of};
use crate::features::feed::start::BucketState;

/// What a key of such a bucket names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Key {
    pub(crate) of: KeyOf,
}

/// An entity as one node saw it, or an instance at the core.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum KeyOf {
    Entity { node: NodeId, entity: String },
    Position(Part),
}

/// What stands before the part in a position's key; no node's name has it.
const POSITION: &str = "_position.";

/// The answer to a value that was written.
pub(crate) struct Written {
    key: String,
    ack: PublishAckFuture,
}

/// Why a value was not written.
#[derive(Debug, thiserror::Error)]
pub enum NotWritten {
    /// Somebody else wrote it, or an earlier try of ours came through without an answer.
    #[error("{0}: it was written meanwhile")]
    Changed(String),
    /// The server did not do it.
    #[error(transparent)]
    Failed(#[from] CoreError),
}

// === impl NatsLink ===

impl NatsLink {
    /// Makes the bucket of a view's aggregates unless it is there.
    pub(crate) async fn ensure_aggregates_bucket(&self, view: &str) -> Result<(), CoreError> {
        if self.has_stream(&format!("KV_{}", self.config().aggregates_bucket(view))).await? {
            return Ok(());
        }
        self.create_aggregates_bucket(view, 1).await
    }

    /// Makes it, on so many servers.
    pub(super) async fn create_aggregates_bucket(&self, view: &str, replicas: usize) -> Result<(), CoreError> {
        let bucket = self.config().aggregates_bucket(view);
        let config = kv::Config {
            bucket: bucket.clone(),
            history: 1,
            num_replicas: replicas,
            ..described(&format!("selvedge: what events come to, view {view}"))
        };
        let created = self.jetstream().create_key_value(config).await;
        created.map(drop).map_err(|error| failed(format!("create bucket {bucket}"), &error))
    }

    /// The bucket of a view's aggregates as it is now; none when nothing was counted yet.
    pub(crate) async fn aggregates_bucket(&self, view: &str) -> Result<Option<BucketState>, CoreError> {
        let found = self.feature_bucket(&name_of(view)).await;
        found.map_err(|error| failed(format!("look at the aggregates of {view}"), &error))
    }

    /// Follows the bucket of a view's aggregates: the newest of each key, or, after a break, what came after `seq`.
    pub(crate) async fn follow_aggregates(&self, view: &str, seq: Option<u64>) -> Result<SlotFollowing, CoreError> {
        self.follow_slots(&self.config().aggregates_bucket(view), seq).await
    }

    /// The value of a key, and the number that the next write of it is to name; 0 when it never had one.
    pub(crate) async fn read_aggregate(&self, view: &str, key: &str) -> Result<(Option<Bytes>, u64), CoreError> {
        self.read_last(&self.config().aggregates_bucket(view), key).await
    }

    /// Sends a value, which is written if the last one of its key has the number `revision`.
    pub(crate) async fn write_aggregate(
        &self,
        view: &str,
        key: &str,
        json: Bytes,
        revision: u64,
    ) -> Result<Written, NotWritten> {
        self.write_next(&self.config().aggregates_bucket(view), key, json, revision).await
    }

    /// The value of a bucket's key, and the number that the next write of it is to name; 0 when it never had one. The leader is
    /// asked, not a replica that may be behind.
    pub(super) async fn read_last(&self, bucket: &str, key: &str) -> Result<(Option<Bytes>, u64), CoreError> {
        let what = || format!("read {key} of {bucket}");
        let stream = self.jetstream().get_stream_no_info(format!("KV_{bucket}")).await;
        let stream = stream.map_err(|error| failed(what(), &error))?;
        match stream.get_last_raw_message_by_subject(&format!("$KV.{bucket}.{key}")).await {
            Ok(message) => {
                let value = (!deletes(&message.headers)).then_some(message.payload);
                Ok((value, message.sequence))
            }
            Err(error) => match error.kind() {
                RawMessageErrorKind::NoMessageFound => Ok((None, 0)),
                _ => Err(failed(what(), &error)),
            },
        }
    }

    /// Sends a value of a bucket's key, which is written if the last one has the number `revision`.
    pub(super) async fn write_next(
        &self,
        bucket: &str,
        key: &str,
        json: Bytes,
        revision: u64,
    ) -> Result<Written, NotWritten> {
        let message = PublishMessage::build().payload(json).expected_last_subject_sequence(revision);
        let subject = self.config().of_domain(&format!("$KV.{bucket}.{key}"));
        let sent = self.jetstream().send_publish(subject, message).await;
        let sent = sent.map_err(|error| failed(format!("write {key} of {bucket}"), &error))?;
        Ok(Written { key: format!("{key} of {bucket}"), ack: sent })
    }

    /// The positions of all instances that count a view.
    pub(crate) async fn aggregate_positions(&self, view: &str) -> Result<Vec<(Part, Bytes)>, CoreError> {
        let bucket = self.config().aggregates_bucket(view);
        let what = || format!("look at the positions in {bucket}");
        let stream = self.jetstream().get_stream(format!("KV_{bucket}")).await;
        let stream = stream.map_err(|error| failed(what(), &error))?;
        let subjects = stream.info_with_subjects(format!("$KV.{bucket}.{POSITION}>")).await;
        let mut subjects = subjects.map_err(|error| failed(what(), &error))?;
        let mut all = Vec::new();
        while let Some(subject) = subjects.next().await {
            let (subject, _) = subject.map_err(|error| failed(what(), &error))?;
            let Some(key) = subject.splitn(3, '.').nth(2) else { continue };
            let Some(Key { of: KeyOf::Position(part) }) = Key::read(key) else { continue };
            if let (Some(json), _) = self.read_aggregate(view, key).await? {
                all.push((part, json));
            }
        }
        Ok(all)
    }
}

// === impl Written ===

impl Written {
    /// The number that the value has now.
    pub(crate) async fn stored(self) -> Result<u64, NotWritten> {
        match self.ack.into_future().await {
            Ok(ack) => Ok(ack.sequence),
            Err(error) if error.kind() == PublishErrorKind::WrongLastSequence => Err(NotWritten::Changed(self.key)),
            Err(error) => Err(failed(format!("write {}", self.key), &error).into()),
        }
    }
}

// === impl Key ===

impl Key {
    /// The key of a slot: `NODE.base64url(entity)`, the two of a pair joined by a dot.
    pub(crate) fn entity(node: &NodeId, entity: &str) -> String {
        format!("{}.{}", node.as_str(), key_of(entity))
    }

    /// The key of a position: `_position.I-of-N`.
    pub(crate) fn position(part: Part) -> String {
        format!("{POSITION}{}-of-{}", part.index, part.of)
    }

    pub(crate) fn read(text: &str) -> Option<Self> {
        if let Some(part) = text.strip_prefix(POSITION) {
            let (index, of) = part.split_once("-of-")?;
            let part = Part::new(index.parse().ok()?, of.parse().ok()?)?;
            return Some(Self { of: KeyOf::Position(part) });
        }
        let (node, entity) = text.split_once('.')?;
        let of = KeyOf::Entity { node: node.to_owned().try_into().ok()?, entity: entity_of(entity).ok()? };
        Some(Self { of })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;

    #[test]
    fn a_key_reads_back() {
        let node: NodeId = "edge-1".to_owned().try_into().unwrap();
        for entity in ["u-42", "u-42\0sku-1", "ü.* >"] {
            let of = KeyOf::Entity { node: node.clone(), entity: entity.into() };
            assert_eq!(Key::read(&Key::entity(&node, entity)), Some(Key { of }));
        }
        let part = Part::new(2, 4).unwrap();
        assert_eq!(Key::position(part), "_position.2-of-4");
        assert_eq!(Key::read("_position.2-of-4"), Some(Key { of: KeyOf::Position(part) }));
        for wrong in ["", "edge-1", "edge-1.", "Edge.YQ", "_position.5-of-4", "_position.0-of-4", "edge-1.YQ.YQ.YQ"] {
            assert_eq!(Key::read(wrong), None, "{wrong}");
        }
    }
}
