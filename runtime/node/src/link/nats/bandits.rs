//! What was learned, on NATS: one KV bucket with a value for each bandit, which the core writes, and one that says where exploring
//! is switched off, which people write. Owns the keys; what a value holds is the bandits'.

use std::collections::BTreeSet;

use async_nats::jetstream::kv;
use bytes::Bytes;

use super::NatsLink;
use super::aggregates::NotWritten;
use super::releases::{CoreError, described};
use crate::features::entity::{entity_of, key_of};

/// The key that says where exploring is switched off; no bandit's key is written so.
pub const OFF: &str = "_off";

/// What the bucket is for, as `core init` says it, too.
pub(super) const BANDITS: &str = "Selvedge: what policies learned, and where they may not explore";

// === impl NatsLink ===

impl NatsLink {
    /// The values that were written behind the number `after` of the bucket, by bandit or [`OFF`], and its last number. All of
    /// them when the bucket was made anew since; none when it is not there.
    pub async fn bandits(&self, after: u64) -> Result<(Vec<(String, Option<Bytes>)>, u64), CoreError> {
        let (changes, last) = self.changes(&self.config().bandits_bucket(), after).await?;
        let name = |key: String| if key == OFF { Some(key) } else { entity_of(&key).ok() };
        Ok((changes.into_iter().filter_map(|(key, json)| Some((name(key)?, json))).collect(), last))
    }

    /// A bandit's value and the number that the next write of it is to name; the bucket is made when it is not there.
    pub(crate) async fn read_bandit(&self, bandit: &str) -> Result<(Option<Bytes>, u64), CoreError> {
        self.bandits_store().await?;
        self.read_last(&self.config().bandits_bucket(), &key_of(bandit)).await
    }

    /// Writes a bandit's value, if the last one has the number `revision`; the number it has.
    pub(crate) async fn write_bandit(&self, bandit: &str, json: Bytes, revision: u64) -> Result<u64, NotWritten> {
        let bucket = self.config().bandits_bucket();
        self.write_next(&bucket, &key_of(bandit), json, revision).await?.stored().await
    }

    /// Where exploring is switched off, and the number that the next write of it is to name.
    pub async fn exploring_off(&self) -> Result<(BTreeSet<String>, u64), CoreError> {
        self.bandits_store().await?;
        let (json, revision) = self.read_last(&self.config().bandits_bucket(), OFF).await?;
        Ok((json.and_then(|json| serde_json::from_slice(&json).ok()).unwrap_or_default(), revision))
    }

    /// Says where exploring is switched off, unless somebody else has said something since `revision`.
    pub async fn switch_exploring_off(&self, placements: &BTreeSet<String>, revision: u64) -> Result<(), NotWritten> {
        let json = Bytes::from(serde_json::to_vec(placements).unwrap_or_default());
        self.write_next(&self.config().bandits_bucket(), OFF, json, revision).await?.stored().await.map(drop)
    }

    async fn bandits_store(&self) -> Result<kv::Store, CoreError> {
        let bucket = self.config().bandits_bucket();
        self.bucket_or_create(kv::Config { bucket, history: 1, ..described(BANDITS) }).await
    }
}
