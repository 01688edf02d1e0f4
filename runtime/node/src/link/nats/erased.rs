//! Who was erased, on NATS: one KV bucket with a value for each subject, and how a person's keys are found in the other buckets and
//! go for good. Owns the bucket and its values; whoever counts or keeps something of a person reads them and lets go of it.

use std::collections::BTreeSet;

use async_nats::jetstream::kv;
use async_nats::jetstream::stream::{RawMessageErrorKind, Stream};
use bytes::Bytes;
use futures_util::{StreamExt as _, TryStreamExt as _};
use selvedge_decision::TimeUs;
use serde::{Deserialize, Serialize};

use super::NatsLink;
use super::features::follow::deletes;
use super::features::{MARKS_LIVE, chain};
use super::releases::{CoreError, described, failed};
use crate::events::rfc3339;
use crate::features::entity::{entity_of, key_of};

/// A person of whom nothing from before is to be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Erased {
    /// Who, as the core knows them.
    pub subject: String,
    /// What was received before this, by the clock of whoever received it, is passed by.
    pub at_us: TimeUs,
    /// The sessions that are known to have been theirs.
    pub sessions: Vec<String>,
}

/// A value of the bucket.
#[derive(Serialize, Deserialize)]
struct Value {
    at: String,
    #[serde(default)]
    sessions: Vec<String>,
}

// === impl NatsLink ===

impl NatsLink {
    /// Notes that a person was erased; a later note replaces the one before.
    pub async fn note_erased(&self, erased: &Erased) -> Result<(), CoreError> {
        let bucket = self.config().erased_bucket();
        let config = kv::Config { bucket: bucket.clone(), history: 1, ..described(ERASED) };
        let store = self.bucket_or_create(config).await?;
        let value = Value { at: rfc3339::format(erased.at_us), sessions: erased.sessions.clone() };
        let json = Bytes::from(serde_json::to_vec(&value).unwrap_or_default());
        let put = store.put(key_of(&erased.subject), json).await;
        put.map(drop).map_err(|error| failed(format!("write into bucket {bucket}"), &error))
    }

    /// Who was erased, as far as it was noted behind the number `after` of the bucket; and its last number. All of them when the
    /// bucket was made anew since.
    pub async fn erased(&self, after: u64) -> Result<(Vec<Erased>, u64), CoreError> {
        let (changes, last) = self.changes(&self.config().erased_bucket(), after).await?;
        let erased = changes.into_iter().filter_map(|(key, json)| {
            let value: Value = serde_json::from_slice(&json?).ok()?;
            let (subject, at_us) = (entity_of(&key).ok()?, rfc3339::parse(&value.at)?);
            Some(Erased { subject, at_us, sessions: value.sessions })
        });
        Ok((erased.collect(), last))
    }

    /// The buckets whose names begin as those of views do, without that beginning.
    pub async fn feature_buckets(&self) -> Result<Vec<String>, CoreError> {
        let begin = format!("KV_{}", self.config().features_bucket(""));
        let names = self.jetstream().stream_names().try_collect::<Vec<String>>().await;
        let names = names.map_err(|error| failed("list the buckets".to_owned(), &error))?;
        let mut found: Vec<String> =
            names.iter().filter_map(|name| name.strip_prefix(&begin)).map(str::to_owned).collect();
        found.sort();
        Ok(found)
    }

    /// The keys of a bucket that have a value and are like one of `patterns`, in which `*` stands for what is between two dots.
    pub async fn keys_like(&self, bucket: &str, patterns: &[String]) -> Result<BTreeSet<String>, CoreError> {
        let mut found = BTreeSet::new();
        let stream = self.stream_of_bucket(bucket).await?;
        for pattern in patterns {
            let what = || format!("look for keys in {bucket}");
            let subjects = stream.info_with_subjects(format!("$KV.{bucket}.{pattern}")).await;
            let mut subjects = subjects.map_err(|error| failed(what(), &error))?;
            while let Some(subject) = subjects.next().await {
                let (subject, _) = subject.map_err(|error| failed(what(), &error))?;
                match stream.get_last_raw_message_by_subject(&subject).await {
                    Ok(message) if !deletes(&message.headers) => {
                        found.extend(subject.splitn(3, '.').nth(2).map(str::to_owned));
                    }
                    Ok(_) => {}
                    Err(error) if error.kind() == RawMessageErrorKind::NoMessageFound => {}
                    Err(error) => return Err(failed(what(), &error)),
                }
            }
        }
        Ok(found)
    }

    /// Removes a key with all that it ever had. Its name stays where it stands as a mark, for those who follow the bucket: for a week
    /// where the bucket can say so. Whether it can.
    pub async fn purge_key(&self, bucket: &str, key: &str) -> Result<bool, CoreError> {
        let what = || format!("remove {key} of {bucket}");
        let store = self.jetstream().get_key_value(bucket).await.map_err(|error| failed(what(), &error))?;
        let ends = store.stream.cached_info().config.allow_message_ttl;
        let purged = if ends { store.purge_with_ttl(key, MARKS_LIVE).await } else { store.purge(key).await };
        purged.map(|()| ends).map_err(|error| CoreError::Failed { what: what(), why: chain(&error) })
    }

    async fn stream_of_bucket(&self, bucket: &str) -> Result<Stream, CoreError> {
        let stream = self.jetstream().get_stream(format!("KV_{bucket}")).await;
        stream.map_err(|error| failed(format!("open bucket {bucket}"), &error))
    }
}

/// What the bucket is for, as `core init` says it, too.
pub(super) const ERASED: &str = "Erased: people whose earlier events are passed by";
