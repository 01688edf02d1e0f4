//! Releases, channels and node reports on NATS: KV buckets `channels` and `nodes`, object store `releases`. Owns how they
//! are read and written there; what a value means, and whether to believe it, is the release flow's.

use std::time::Duration;

use async_nats::jetstream::context::GetStreamErrorKind;
use async_nats::jetstream::kv::{self, Operation, UpdateErrorKind};
use async_nats::jetstream::object_store::{self, GetErrorKind, InfoErrorKind, ObjectMetadata, ObjectStore};
use async_nats::jetstream::{ErrorCode, stream};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE;
use bytes::Bytes;
use futures_util::StreamExt as _;
use selvedge_decision::{Digest, NodeId};
use sha2::{Digest as _, Sha256};
use tokio::io::AsyncReadExt as _;

use super::NatsLink;
use super::features::chain;

/// How many values of a channel the bucket keeps: its history for people.
pub(super) const CHANNEL_HISTORY: i64 = 64;

/// A channel's value as the bucket holds it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChannelValue {
    /// The bytes, not yet believed.
    pub bytes: Bytes,
    /// What a compare-and-swap compares with.
    pub revision: u64,
}

/// A request to the core that did not work.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CoreError {
    /// The bucket or store is not there.
    #[error("{name}: there is no such {kind} yet; the first `selvedge deploy` creates it")]
    NoBucket {
        /// `bucket` or `object store`.
        kind: &'static str,
        /// Its name.
        name: String,
    },
    /// The object store does not hold the release.
    #[error("release {digest} is not in the object store {store}")]
    NoRelease {
        /// The release.
        digest: Digest,
        /// The store.
        store: String,
    },
    /// The release is larger than the limit.
    #[error("release {digest} has {size} bytes, at most {limit} (max_total_bytes)")]
    TooLarge {
        /// The release.
        digest: Digest,
        /// Its size in bytes.
        size: u64,
        /// The limit in bytes.
        limit: u64,
    },
    /// Somebody else wrote meanwhile.
    #[error("channel {channel} was changed by somebody else meanwhile; look at it and try again")]
    Changed {
        /// The channel.
        channel: String,
    },
    /// The server does not let this user.
    #[error("{what}: the nats-server does not let this user publish to {subject}: allow it there")]
    Denied {
        /// What was asked.
        what: String,
        /// The subject.
        subject: String,
    },
    /// The server did not do it: away, slow, or not allowed.
    #[error("{what}: {why}")]
    Failed {
        /// What was asked.
        what: String,
        /// What came back.
        why: String,
    },
}

/// A channel as it changes.
pub struct ChannelWatch {
    bucket: kv::Store,
    channel: String,
    news: kv::Watch,
}

// === impl NatsLink ===

impl NatsLink {
    /// Starts to watch `channel`. The watch survives reconnects; [`ChannelWatch::read`] finds out when it does not.
    pub async fn watch_channel(&self, channel: &str) -> Result<ChannelWatch, CoreError> {
        let bucket = self.bucket(&self.config().channels_bucket()).await?;
        let news = bucket.watch(channel).await.map_err(|error| failed(format!("watch channel {channel}"), &error))?;
        Ok(ChannelWatch { bucket, channel: channel.to_owned(), news })
    }

    /// The value of `channel` now; `None` when it has none.
    pub async fn read_channel(&self, channel: &str) -> Result<Option<ChannelValue>, CoreError> {
        match self.bucket(&self.config().channels_bucket()).await {
            Ok(bucket) => read(&bucket, channel).await,
            Err(CoreError::NoBucket { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// The values `channel` had, the newest first, as far as the bucket remembers.
    pub async fn channel_history(&self, channel: &str) -> Result<Vec<ChannelValue>, CoreError> {
        let bucket = match self.bucket(&self.config().channels_bucket()).await {
            Ok(bucket) => bucket,
            Err(CoreError::NoBucket { .. }) => return Ok(Vec::new()),
            Err(error) => return Err(error),
        };
        let what = || format!("read the history of channel {channel}");
        let mut entries = bucket.history(channel).await.map_err(|error| failed(what(), &error))?;
        let mut values = Vec::new();
        while let Some(entry) = entries.next().await {
            let entry = entry.map_err(|error| failed(what(), &error))?;
            if entry.operation == Operation::Put {
                values.push(ChannelValue { bytes: entry.value, revision: entry.revision });
            }
        }
        values.sort_by_key(|value| std::cmp::Reverse(value.revision));
        Ok(values)
    }

    /// The channels that have a value, with it.
    pub async fn channels(&self) -> Result<Vec<(String, ChannelValue)>, CoreError> {
        self.all(&self.config().channels_bucket()).await
    }

    /// Writes `value` if the channel still has `revision` (0: still has none); creates the bucket when it is missing.
    pub async fn write_channel(&self, channel: &str, value: Vec<u8>, revision: u64) -> Result<u64, CoreError> {
        let bucket = self.config().channels_bucket();
        let subject = self.config().of_domain(&format!("$KV.{bucket}.{channel}"));
        let config =
            kv::Config { bucket, history: CHANNEL_HISTORY, ..described("Channels: signed pointers to releases") };
        let bucket = self.bucket_or_create(config).await?;
        let refused = self.refused();
        bucket.update(channel, value.into(), revision).await.map_err(|error| match error.kind() {
            UpdateErrorKind::WrongLastRevision => CoreError::Changed { channel: channel.to_owned() },
            UpdateErrorKind::InvalidKey | UpdateErrorKind::TimedOut | UpdateErrorKind::Other => {
                let what = format!("write channel {channel}");
                // What is not allowed is not answered: the server says so on its own.
                let now = self.refused().filter(|now| refused.as_ref() != Some(now));
                if now.is_some_and(|now| now.why.contains(&format!("{subject:?}"))) {
                    return CoreError::Denied { what, subject };
                }
                failed(what, &error)
            }
        })
    }

    /// Whether the object store has a release.
    pub async fn has_release(&self, digest: &Digest) -> Result<bool, CoreError> {
        let store = match self.releases().await {
            Ok(store) => store,
            Err(CoreError::NoBucket { .. }) => return Ok(false),
            Err(error) => return Err(error),
        };
        match store.info(digest.hex()).await {
            Ok(info) => Ok(!info.deleted),
            Err(error) if error.kind() == InfoErrorKind::NotFound => Ok(false),
            Err(error) => Err(failed(format!("look for release {digest}"), &error)),
        }
    }

    /// Fetches a release file of at most `limit` bytes within `timeout`. Its digest is not checked here.
    pub async fn fetch_release(&self, digest: &Digest, limit: u64, timeout: Duration) -> Result<Vec<u8>, CoreError> {
        let what = || format!("fetch release {digest}");
        let fetch = async {
            let store = self.releases().await?;
            let object = store.get(digest.hex()).await.map_err(|error| match error.kind() {
                GetErrorKind::NotFound => {
                    CoreError::NoRelease { digest: *digest, store: self.config().releases_store() }
                }
                _ => failed(what(), &error),
            })?;
            let size = object.info().size as u64;
            if size > limit {
                return Err(CoreError::TooLarge { digest: *digest, size, limit });
            }
            let mut bytes = Vec::with_capacity(size as usize);
            object.take(limit).read_to_end(&mut bytes).await.map_err(|error| failed(what(), &error))?;
            Ok(bytes)
        };
        let late = || CoreError::Failed { what: what(), why: format!("not done within {} s", timeout.as_secs()) };
        tokio::time::timeout(timeout, fetch).await.map_err(|_| late())?
    }

    /// Puts a release file under its digest; creates the store when it is missing. `false` when these very bytes were there
    /// already: an object of that name with others, damaged or signed by another key, is replaced.
    pub async fn put_release(&self, digest: &Digest, bytes: &[u8]) -> Result<bool, CoreError> {
        let name = self.config().releases_store();
        let what = || format!("put release {digest} into {name}");
        let store = match self.releases().await {
            Ok(store) => store,
            Err(CoreError::NoBucket { .. }) => {
                let description = Some("Releases by digest".to_owned());
                let config =
                    object_store::Config { bucket: name.clone(), description, ..object_store::Config::default() };
                let created = self.jetstream().create_object_store(config).await;
                created.map_err(|error| failed(format!("create object store {name}"), &error))?
            }
            Err(error) => return Err(error),
        };
        match store.info(digest.hex()).await {
            Ok(info) if !info.deleted && info.digest.as_deref() == Some(&stored_digest(bytes)) => {
                return Ok(false);
            }
            Ok(_) => {}
            Err(error) if error.kind() == InfoErrorKind::NotFound => {}
            Err(error) => return Err(failed(what(), &error)),
        }
        let metadata = ObjectMetadata { name: digest.hex(), ..ObjectMetadata::default() };
        let mut reader = bytes;
        store.put(metadata, &mut reader).await.map_err(|error| failed(what(), &error))?;
        Ok(true)
    }

    /// Writes what `node` reports of itself; creates the bucket when it is missing.
    pub async fn write_report(&self, node: &NodeId, report: Vec<u8>) -> Result<(), CoreError> {
        let bucket = self.config().nodes_bucket();
        let config = kv::Config { bucket, history: 1, ..described("Nodes: what each reports of itself") };
        let bucket = self.bucket_or_create(config).await?;
        let put = bucket.put(node.as_str(), report.into()).await;
        put.map(drop).map_err(|error| failed(format!("write the report of {node}"), &error))
    }

    /// What all nodes reported last, by node.
    pub async fn reports(&self) -> Result<Vec<(String, Bytes)>, CoreError> {
        let all = self.all(&self.config().nodes_bucket()).await?;
        Ok(all.into_iter().map(|(node, value)| (node, value.bytes)).collect())
    }

    /// Which of the project's buckets and stores exist, by their streams' names on the server.
    pub async fn has_stream(&self, name: &str) -> Result<bool, CoreError> {
        match self.jetstream().get_stream(name).await {
            Ok(_) => Ok(true),
            Err(error) => match error.kind() {
                GetStreamErrorKind::JetStream(inner) if inner.error_code() == ErrorCode::STREAM_NOT_FOUND => Ok(false),
                _ => Err(failed(format!("look at stream {name}"), &error)),
            },
        }
    }

    /// The server's version, as it says it.
    pub fn server_version(&self) -> String {
        self.client().server_info().version
    }

    /// Whether the server is at least of this version.
    pub fn server_is_at_least(&self, (major, minor, patch): (i64, i64, i64)) -> bool {
        self.client().is_server_compatible(major, minor, patch)
    }

    /// What JetStream grants this account, for people; an error when it is not on.
    pub async fn jetstream_account(&self) -> Result<String, CoreError> {
        let account =
            self.jetstream().query_account().await.map_err(|error| failed("ask for JetStream".into(), &error))?;
        let limit = match account.limits.max_storage.filter(|bytes| *bytes >= 0) {
            Some(bytes) => format!("at most {} MiB", bytes >> 20),
            None => "no limit".to_owned(),
        };
        Ok(format!("{} streams, {} MiB stored, {limit}", account.streams, account.storage >> 20))
    }

    async fn all(&self, name: &str) -> Result<Vec<(String, ChannelValue)>, CoreError> {
        let bucket = match self.bucket(name).await {
            Ok(bucket) => bucket,
            Err(CoreError::NoBucket { .. }) => return Ok(Vec::new()),
            Err(error) => return Err(error),
        };
        let what = || format!("list bucket {name}");
        let mut keys = bucket.keys().await.map_err(|error| failed(what(), &error))?;
        let mut all = Vec::new();
        while let Some(key) = keys.next().await {
            let key = key.map_err(|error| failed(what(), &error))?;
            if let Some(value) = read(&bucket, &key).await? {
                all.push((key, value));
            }
        }
        all.sort_by(|(a, _), (b, _)| a.cmp(b));
        Ok(all)
    }

    async fn bucket(&self, name: &str) -> Result<kv::Store, CoreError> {
        match self.jetstream().get_key_value(name).await {
            Ok(bucket) => Ok(bucket),
            Err(_) if !self.has_stream(&format!("KV_{name}")).await? => {
                Err(CoreError::NoBucket { kind: "bucket", name: name.to_owned() })
            }
            Err(error) => Err(failed(format!("open bucket {name}"), &error)),
        }
    }

    pub(super) async fn bucket_or_create(&self, config: kv::Config) -> Result<kv::Store, CoreError> {
        let name = config.bucket.clone();
        match self.bucket(&name).await {
            Err(CoreError::NoBucket { .. }) => {
                let created = self.jetstream().create_key_value(config).await;
                created.map_err(|error| failed(format!("create bucket {name}"), &error))
            }
            found => found,
        }
    }

    async fn releases(&self) -> Result<ObjectStore, CoreError> {
        let name = self.config().releases_store();
        match self.jetstream().get_object_store(&name).await {
            Ok(store) => Ok(store),
            Err(_) if !self.has_stream(&format!("OBJ_{name}")).await? => {
                Err(CoreError::NoBucket { kind: "object store", name })
            }
            Err(error) => Err(failed(format!("open object store {name}"), &error)),
        }
    }
}

// === impl ChannelWatch ===

impl ChannelWatch {
    /// The next value; `None` when the watch broke and a new one is needed. Safe to drop while it waits.
    pub async fn next(&mut self) -> Option<ChannelValue> {
        loop {
            let entry = self.news.next().await?.ok()?;
            if entry.operation == Operation::Put {
                return Some(ChannelValue { bytes: entry.value, revision: entry.revision });
            }
        }
    }

    /// The value now, asked for afresh.
    pub async fn read(&mut self) -> Result<Option<ChannelValue>, CoreError> {
        read(&self.bucket, &self.channel).await
    }
}

async fn read(bucket: &kv::Store, key: &str) -> Result<Option<ChannelValue>, CoreError> {
    let entry = bucket.entry(key).await.map_err(|error| failed(format!("read {key} of {}", bucket.name), &error))?;
    let entry = entry.filter(|entry| entry.operation == Operation::Put);
    Ok(entry.map(|entry| ChannelValue { bytes: entry.value, revision: entry.revision }))
}

/// What the object store notes as the digest of an object with these bytes.
fn stored_digest(bytes: &[u8]) -> String {
    format!("SHA-256={}", URL_SAFE.encode(Sha256::digest(bytes)))
}

pub(super) fn described(description: &str) -> kv::Config {
    kv::Config { description: description.to_owned(), storage: stream::StorageType::File, ..kv::Config::default() }
}

pub(super) fn failed(what: String, error: &dyn std::error::Error) -> CoreError {
    CoreError::Failed { what, why: chain(error) }
}

#[cfg(test)]
mod tests {
    use super::stored_digest;

    #[test]
    fn the_digest_is_written_as_the_object_store_writes_it() {
        let check = |bytes: &[u8], expected: &str| assert_eq!(stored_digest(bytes), expected);
        check(b"", "SHA-256=47DEQpj8HBSa-_TImW-5JCeuQeRkm5NMpJWZG3hSuFU=");
    }
}
