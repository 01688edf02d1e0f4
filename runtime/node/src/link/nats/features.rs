//! Feature rows on NATS: one KV bucket a view, for those who write it. What nodes do with a bucket is `follow`'s.

use std::time::Duration;

use async_nats::jetstream::kv;
use async_nats::jetstream::stream::StorageType;
use bytes::Bytes;
use selvedge_decision::TimeUs;

use crate::features::entity::{BadEntity, key_of};
use crate::link::NatsLink;

pub(crate) mod fetch;
pub(crate) mod follow;
mod push;

pub use push::Pushing;

/// A row as it lies in its bucket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BucketRow {
    /// As it was sent: a flat JSON object by feature name, or the compact form of one.
    pub row: Bytes,
    /// The sequence in the bucket.
    pub revision: u64,
    /// When the core took it.
    pub stored_us: TimeUs,
}

/// A row could not be written or read.
#[derive(Debug, thiserror::Error)]
pub enum RowError {
    /// The entity cannot be a key.
    #[error(transparent)]
    Entity(#[from] BadEntity),
    /// The view's name cannot be a bucket's.
    #[error("view {view:?}: only a-z, A-Z, 0-9, - and _ can stand in a bucket's name")]
    View {
        /// What was said.
        view: String,
    },
    /// The server did not do it.
    #[error("{what} {bucket:?}: {why}{hint}")]
    Nats {
        /// What was tried.
        what: &'static str,
        /// The bucket.
        bucket: String,
        /// What the client says.
        why: String,
        /// What the server said besides, when it refused something just now.
        hint: String,
    },
}

/// How long the mark of an expired row stays, so that a node which was away for less finds it.
pub(super) const MARKS_LIVE: Duration = Duration::from_secs(7 * 24 * 3600);
/// The largest row, as in the node's default `features.max_row`.
const MAX_ROW_BYTES: i32 = 256 * 1024;

// === impl NatsLink ===

impl NatsLink {
    /// Makes the bucket of a view, unless it is there: one revision a key, on disk, marks for rows that expire where the
    /// server knows them (2.11 or newer). Says when it was made.
    pub async fn create_features_bucket(&self, view: &str) -> Result<TimeUs, RowError> {
        self.create_features_bucket_of(view, 1).await
    }

    /// As [`NatsLink::create_features_bucket`], on so many servers.
    pub(super) async fn create_features_bucket_of(&self, view: &str, replicas: usize) -> Result<TimeUs, RowError> {
        let bucket = self.bucket_of(view)?;
        let made_us = |store: &kv::Store| (store.stream.cached_info().created.unix_timestamp_nanos() / 1_000) as TimeUs;
        if let Ok(store) = self.jetstream().get_key_value(&bucket).await {
            return Ok(made_us(&store));
        }
        let marks = self.client().is_server_compatible(2, 11, 0).then_some(MARKS_LIVE);
        let config = kv::Config {
            bucket: bucket.clone(),
            description: format!("selvedge: rows of view {view}"),
            history: 1,
            storage: StorageType::File,
            max_value_size: MAX_ROW_BYTES,
            limit_markers: marks,
            num_replicas: replicas,
            ..kv::Config::default()
        };
        let created = self.jetstream().create_key_value(config).await;
        let store = created.map_err(|error| self.row_error("cannot make bucket", &bucket, &error))?;
        Ok(made_us(&store))
    }

    /// Puts one row and says its revision. The bucket must be there.
    pub async fn put_feature(&self, view: &str, entity: &str, json: Bytes) -> Result<u64, RowError> {
        let bucket = self.bucket_of(view)?;
        let fail = |error: &dyn std::error::Error| self.row_error("cannot put a row into bucket", &bucket, error);
        let subject = self.config().of_domain(&format!("$KV.{bucket}.{}", key_of(entity)));
        let ack = self.jetstream().publish(subject, json).await;
        ack.map_err(|error| fail(&error))?.await.map(|ack| ack.sequence).map_err(|error| fail(&error))
    }

    /// Deletes one row.
    pub async fn delete_feature(&self, view: &str, entity: &str) -> Result<(), RowError> {
        let bucket = self.bucket_of(view)?;
        let fail = |error: &dyn std::error::Error| self.row_error("cannot delete a row from bucket", &bucket, error);
        let store = self.jetstream().get_key_value(&bucket).await.map_err(|error| fail(&error))?;
        store.delete(key_of(entity)).await.map_err(|error| fail(&error))
    }

    /// The row of an entity, if there is one.
    pub async fn get_feature(&self, view: &str, entity: &str) -> Result<Option<BucketRow>, RowError> {
        let bucket = self.bucket_of(view)?;
        let fail = |error: &dyn std::error::Error| self.row_error("cannot read a row of bucket", &bucket, error);
        let store = self.jetstream().get_key_value(&bucket).await.map_err(|error| fail(&error))?;
        let entry = store.entry(key_of(entity)).await.map_err(|error| fail(&error))?;
        Ok(entry.filter(|entry| entry.operation == kv::Operation::Put).map(|entry| BucketRow {
            row: entry.value,
            revision: entry.revision,
            stored_us: (entry.created.unix_timestamp_nanos() / 1_000) as TimeUs,
        }))
    }

    pub(crate) fn bucket_of(&self, view: &str) -> Result<String, RowError> {
        let fits = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
        if view.is_empty() || !view.chars().all(fits) {
            return Err(RowError::View { view: view.to_owned() });
        }
        Ok(self.config().features_bucket(view))
    }

    fn row_error(&self, what: &'static str, bucket: &str, error: &dyn std::error::Error) -> RowError {
        RowError::Nats { what, bucket: bucket.to_owned(), why: chain(error), hint: self.hint() }
    }
}

/// An error with its sources, each told once.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        let next = error.to_string();
        if !text.contains(&next) {
            text.push_str(": ");
            text.push_str(&next);
        }
        source = error.source();
    }
    text
}
