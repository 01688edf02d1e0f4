//! One row of a bucket as it is now, for who is seen for the first time. Owns what goes over the wire; who is asked for, and
//! what becomes of the answer, is the feed's.
//!
//! The stream's leader is asked and not any replica (a direct get): a replica may be behind the change feed, and a row that is
//! older than the feed's position would stay wrong until its next change.

use async_nats::jetstream::ErrorCode;
use async_nats::jetstream::stream::RawMessageErrorKind;
use selvedge_decision::TimeUs;

use super::follow::{FollowError, Operation, deletes};
use crate::features::entity::key_of;
use crate::link::NatsLink;

/// The last message about an entity.
#[derive(Debug)]
pub(crate) struct Fetched {
    /// What it did.
    pub(crate) operation: Operation,
    /// Its sequence in the stream.
    pub(crate) seq: u64,
    /// When the core stored it.
    pub(crate) stored_us: TimeUs,
}

// === impl NatsLink ===

impl NatsLink {
    /// The last message about an entity in the bucket of a view; none when there never was one, or no bucket.
    pub(crate) async fn fetch_feature(&self, view: &str, entity: &str) -> Result<Option<Fetched>, FollowError> {
        let bucket = self.bucket_of(view).map_err(|error| FollowError::View(error.to_string()))?;
        let fail = |error: &dyn std::error::Error| self.follow_error("fetch a row", error);
        let stream = self.jetstream().get_stream_no_info(format!("KV_{bucket}")).await.map_err(|error| fail(&error))?;
        let subject = format!("$KV.{bucket}.{}", key_of(entity));
        let message = match stream.get_last_raw_message_by_subject(&subject).await {
            Ok(message) => message,
            Err(error) => {
                return match error.kind() {
                    RawMessageErrorKind::NoMessageFound => Ok(None),
                    RawMessageErrorKind::JetStream(answer) if answer.error_code() == ErrorCode::STREAM_NOT_FOUND => {
                        Ok(None)
                    }
                    _ => Err(fail(&error)),
                };
            }
        };
        let operation = if deletes(&message.headers) { Operation::Delete } else { Operation::Put(message.payload) };
        let stored_us = (message.time.unix_timestamp_nanos() / 1_000) as TimeUs;
        Ok(Some(Fetched { operation, seq: message.sequence, stored_us }))
    }
}
