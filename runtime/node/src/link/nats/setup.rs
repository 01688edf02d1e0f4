//! What a core should have before nodes use it: the stream, the buckets and the object store, with their settings. Owns what is
//! wanted of each; makes what is missing and tells what differs. Nodes make for themselves what they find missing, with the
//! defaults.

use std::time::Duration;

use async_nats::jetstream::context::GetStreamErrorKind;
use async_nats::jetstream::stream::{self, StorageType};
use async_nats::jetstream::{ErrorCode, kv, object_store};

use super::NatsLink;
use super::bandits::BANDITS;
use super::erased::ERASED;
use super::events::DUPLICATE_WINDOW;
use super::releases::{CHANNEL_HISTORY, CoreError, described, failed};

/// The settings of a core.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Setup {
    /// Servers that keep each message: 1, or 3 or 5 in a cluster.
    pub replicas: usize,
    /// Bytes of the stream of events; beyond, the oldest go. `None` for no bound.
    pub events_bytes: Option<u64>,
    /// How long events are kept; `None` for ever.
    pub events_age: Option<Duration>,
    /// How long a session is kept that nobody writes any more.
    pub sessions_keep: Duration,
    /// What buckets of rows are called behind their prefix.
    pub views: Vec<String>,
    /// Views that are counted at the core.
    pub counted: Vec<String>,
}

/// A part of a core, and how it was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Part {
    /// `stream`, `bucket` or `object store`.
    pub kind: &'static str,
    /// Its name.
    pub name: String,
    /// How it was found.
    pub found: Found,
}

/// How a part of a core was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Found {
    /// It was not there and was made.
    Made,
    /// It was there, as it should be.
    There,
    /// It was there, with settings that differ, each in words.
    Differs(Vec<String>),
    /// As before, and now they do not.
    Updated(Vec<String>),
}

/// What is wanted of the stream that lies behind a part.
struct Wanted {
    max_age: Option<Duration>,
    max_bytes: Option<i64>,
    duplicate_window: Option<Duration>,
}

// === impl NatsLink ===

impl NatsLink {
    /// Makes what is missing. What is there with other settings is told, and with `update` changed.
    ///
    /// # Errors
    ///
    /// When the server does not do it; what was made before stays.
    pub async fn set_up(&self, setup: &Setup, update: bool) -> Result<Vec<Part>, CoreError> {
        let names = self.config();
        let mut parts = Vec::new();
        let events = Wanted {
            max_age: Some(setup.events_age.unwrap_or_default()),
            max_bytes: Some(setup.events_bytes.map_or(-1, |bytes| i64::try_from(bytes).unwrap_or(i64::MAX))),
            duplicate_window: Some(DUPLICATE_WINDOW),
        };
        let name = names.events_stream();
        let made = self.make_events(setup, &name).await?;
        parts.push(self.part("stream", &name, &name, made, setup, &events, update).await?);

        let any = Wanted { max_age: None, max_bytes: None, duplicate_window: None };
        let kept = Wanted { max_age: Some(setup.sessions_keep), max_bytes: None, duplicate_window: None };
        for (bucket, description, history, wanted) in [
            (names.channels_bucket(), "Channels: signed pointers to releases", CHANNEL_HISTORY, &any),
            (names.nodes_bucket(), "Nodes: what each reports of itself", 1, &any),
            (names.sessions_bucket(), "Sessions: what each node knows of them", 1, &kept),
            (names.erased_bucket(), ERASED, 1, &any),
            (names.bandits_bucket(), BANDITS, 1, &any),
        ] {
            let config = kv::Config {
                bucket: bucket.clone(),
                history,
                max_age: wanted.max_age.unwrap_or_default(),
                num_replicas: setup.replicas,
                ..described(description)
            };
            let stream = format!("KV_{bucket}");
            let made = !self.has_stream(&stream).await?;
            if made {
                let created = self.jetstream().create_key_value(config).await;
                created.map_err(|error| failed(format!("create bucket {bucket}"), &error))?;
            }
            parts.push(self.part("bucket", &bucket, &stream, made, setup, wanted, update).await?);
        }

        let store = names.releases_store();
        let stream = format!("OBJ_{store}");
        let made = !self.has_stream(&stream).await?;
        if made {
            let config = object_store::Config {
                bucket: store.clone(),
                description: Some("Releases by digest".to_owned()),
                num_replicas: setup.replicas,
                ..object_store::Config::default()
            };
            let created = self.jetstream().create_object_store(config).await;
            created.map_err(|error| failed(format!("create object store {store}"), &error))?;
        }
        parts.push(self.part("object store", &store, &stream, made, setup, &any, update).await?);

        for view in &setup.views {
            let bucket = names.features_bucket(view);
            let stream = format!("KV_{bucket}");
            let made = !self.has_stream(&stream).await?;
            if made {
                let made = self.create_features_bucket_of(view, setup.replicas).await;
                made.map_err(|error| failed(format!("create bucket {bucket}"), &error))?;
            }
            parts.push(self.part("bucket", &bucket, &stream, made, setup, &any, update).await?);
        }
        for view in &setup.counted {
            let bucket = names.aggregates_bucket(view);
            let stream = format!("KV_{bucket}");
            let made = !self.has_stream(&stream).await?;
            if made {
                self.create_aggregates_bucket(view, setup.replicas).await?;
            }
            parts.push(self.part("bucket", &bucket, &stream, made, setup, &any, update).await?);
        }
        Ok(parts)
    }

    async fn make_events(&self, setup: &Setup, name: &str) -> Result<bool, CoreError> {
        match self.jetstream().get_stream(name).await {
            Ok(_) => Ok(false),
            Err(error) => match error.kind() {
                GetStreamErrorKind::JetStream(inner) if inner.error_code() == ErrorCode::STREAM_NOT_FOUND => {
                    let config = stream::Config {
                        max_age: setup.events_age.unwrap_or_default(),
                        max_bytes: setup.events_bytes.map_or(-1, |bytes| i64::try_from(bytes).unwrap_or(i64::MAX)),
                        num_replicas: setup.replicas,
                        ..self.events_config()
                    };
                    let created = self.jetstream().create_stream(config).await;
                    created.map(|_| true).map_err(|error| failed(format!("create stream {name}"), &error))
                }
                _ => Err(failed(format!("look at stream {name}"), &error)),
            },
        }
    }

    /// How a part was found, by the settings of its stream.
    #[expect(clippy::too_many_arguments, reason = "one caller, and each is another thing")]
    async fn part(
        &self,
        kind: &'static str,
        name: &str,
        stream: &str,
        made: bool,
        setup: &Setup,
        wanted: &Wanted,
        update: bool,
    ) -> Result<Part, CoreError> {
        let part = |found| Part { kind, name: name.to_owned(), found };
        if made {
            return Ok(part(Found::Made));
        }
        let info = self.jetstream().get_stream(stream).await;
        let info = info.map_err(|error| failed(format!("look at stream {stream}"), &error))?;
        let mut config = info.cached_info().config.clone();
        let differs = wanted.put_into(&mut config, setup.replicas);
        if differs.is_empty() {
            return Ok(part(Found::There));
        }
        if !update {
            return Ok(part(Found::Differs(differs)));
        }
        let updated = self.jetstream().update_stream(config).await;
        updated.map_err(|error| failed(format!("change stream {stream}"), &error))?;
        Ok(part(Found::Updated(differs)))
    }
}

// === impl Wanted ===

impl Wanted {
    /// Changes a stream's settings to what is wanted, and says what differed.
    fn put_into(&self, config: &mut stream::Config, replicas: usize) -> Vec<String> {
        let mut differs = Vec::new();
        let age = |age: Duration| if age.is_zero() { "no limit".to_owned() } else { format!("{} s", age.as_secs()) };
        let bytes = |bytes: i64| if bytes < 0 { "no limit".to_owned() } else { format!("{bytes} bytes") };
        if config.storage != StorageType::File {
            differs.push(
                "storage is memory, file is wanted; it cannot be changed: delete it and run this again".to_owned(),
            );
        }
        if config.num_replicas != replicas {
            differs.push(format!("replicas is {}, {replicas} wanted", config.num_replicas));
            config.num_replicas = replicas;
        }
        if let Some(max_age) = self.max_age.filter(|wanted| *wanted != config.max_age) {
            differs.push(format!("max_age is {}, {} wanted", age(config.max_age), age(max_age)));
            config.max_age = max_age;
        }
        if let Some(max_bytes) = self.max_bytes.filter(|wanted| *wanted != config.max_bytes) {
            differs.push(format!("max_bytes is {}, {} wanted", bytes(config.max_bytes), bytes(max_bytes)));
            config.max_bytes = max_bytes;
        }
        if let Some(window) = self.duplicate_window.filter(|wanted| *wanted != config.duplicate_window) {
            differs.push(format!("duplicate_window is {}, {} wanted", age(config.duplicate_window), age(window)));
            config.duplicate_window = window;
        }
        differs
    }
}
