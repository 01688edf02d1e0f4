//! The connection to NATS: made once, kept for ever, its state observable, and the names of everything the project keeps
//! there. Owns no flow; never makes a start wait for the server.

use std::fmt;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_nats::jetstream;
use async_nats::{ConnectOptions, Event, ServerAddr};
use selvedge_decision::{NodeId, TimeUs};
use tokio::sync::watch;

use crate::clock::Clock;
use crate::link::LinkState;

pub(crate) mod aggregates;
pub mod bandits;
mod changes;
pub mod erased;
pub mod events;
pub mod features;
pub mod releases;
pub(crate) mod sessions;
pub mod setup;
mod who;

/// Where the core is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NatsConfig {
    /// One address or several with commas between, such as `nats://10.0.0.1:4222`; `tls://` asks for TLS.
    pub url: String,
    /// A `.creds` file, as `nsc` writes it, or one with the seed of an nkey.
    pub credentials: Option<PathBuf>,
    /// Certificates (PEM) of whoever signed the server's, besides those that the system trusts.
    pub ca: Option<PathBuf>,
    /// Stands in front of every name on the server; `a-z A-Z 0-9 - _`, empty for none.
    pub prefix: String,
    /// The JetStream domain of the core, where the server is a leaf node of it; empty for the server's own.
    pub domain: String,
    /// Who listens: answers come to `_INBOX.NAME`, to which a user can be limited; empty for `_INBOX`, as everybody's.
    pub name: String,
    /// The longest wait for one answer.
    pub timeout: Duration,
}

/// The connection to NATS.
pub struct NatsLink {
    config: NatsConfig,
    client: async_nats::Client,
    jetstream: jetstream::Context,
    observed: Arc<Observed>,
}

/// What the server refused last. A publish or request that lacks the right gets no answer, only this.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerRefusal {
    /// When it said so.
    pub at_us: TimeUs,
    /// Its words.
    pub why: String,
}

/// Why a link cannot even be tried. A server that does not answer is no such reason.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// The address cannot be read.
    #[error("nats url {url:?}: {why}; expected nats://HOST:PORT, several with commas between")]
    Url {
        /// What was said, without a password.
        url: String,
        /// What is wrong.
        why: String,
    },
    /// The credentials cannot be read.
    #[error(
        "nats credentials {path:?}: {source}; expected a .creds file, or one with an nkey's seed, that this user may read"
    )]
    Credentials {
        /// The file.
        path: PathBuf,
        /// What went wrong.
        source: std::io::Error,
    },
    /// The certificates cannot be read.
    #[error("nats ca {path:?}: {source}; expected a file of certificates (PEM) that this user may read")]
    Ca {
        /// The file.
        path: PathBuf,
        /// What went wrong.
        source: std::io::Error,
    },
    /// The prefix holds a character that bucket names cannot.
    #[error("nats prefix {prefix:?}: only a-z, A-Z, 0-9, - and _ can stand in a bucket's name")]
    Prefix {
        /// What was said.
        prefix: String,
    },
    /// The domain holds a character that no domain has.
    #[error(
        "nats domain {domain:?}: only a-z, A-Z, 0-9, - and _ can stand there; it is `jetstream {{ domain: … }}` of the core"
    )]
    Domain {
        /// What was said.
        domain: String,
    },
}

struct Observed {
    state: watch::Sender<LinkState>,
    refused: Mutex<Option<ServerRefusal>>,
    clock: Clock,
    url: String,
}

/// How long a refusal may be the reason of an error.
const HINT_AGE_US: i64 = 10_000_000;

/// The longest pause between two attempts to connect.
const MAX_RECONNECT_DELAY: Duration = Duration::from_secs(1);

// === impl NatsConfig ===

impl Default for NatsConfig {
    fn default() -> Self {
        Self {
            url: "nats://127.0.0.1:4222".into(),
            credentials: None,
            ca: None,
            prefix: String::new(),
            domain: String::new(),
            name: String::new(),
            timeout: Duration::from_secs(2),
        }
    }
}

impl NatsConfig {
    /// The KV bucket of a view's rows.
    pub fn features_bucket(&self, view: &str) -> String {
        format!("{}features_{view}", self.prefix)
    }

    /// The KV bucket of what events come to, for a view that is counted at the core.
    pub fn aggregates_bucket(&self, view: &str) -> String {
        self.features_bucket(&crate::aggregates::name_of(view))
    }

    /// The KV bucket of the channels.
    pub fn channels_bucket(&self) -> String {
        format!("{}channels", self.prefix)
    }

    /// The KV bucket of what nodes know of sessions.
    pub fn sessions_bucket(&self) -> String {
        format!("{}sessions", self.prefix)
    }

    /// The KV bucket of what policies learned.
    pub fn bandits_bucket(&self) -> String {
        format!("{}bandits", self.prefix)
    }

    /// The KV bucket of who was erased.
    pub fn erased_bucket(&self) -> String {
        format!("{}erased", self.prefix)
    }

    /// The KV bucket in which nodes tell how they are.
    pub fn nodes_bucket(&self) -> String {
        format!("{}nodes", self.prefix)
    }

    /// The subject on which the runs of `node` are asked who they are.
    pub fn who_subject(&self, node: &NodeId) -> String {
        format!("{}selvedge.who.{node}", self.prefix)
    }

    /// The object store of the releases.
    pub fn releases_store(&self) -> String {
        format!("{}releases", self.prefix)
    }

    /// The stream that holds what the nodes' outboxes send.
    pub fn events_stream(&self) -> String {
        format!("{}EVENTS", self.prefix)
    }

    /// The subject on which `node` publishes a lane; `lane` is `events`, `decisions` or `rewards`.
    pub fn events_subject(&self, node: &NodeId, lane: &str) -> String {
        format!("{}selvedge.events.{node}.{lane}", self.prefix)
    }

    /// All subjects of the events stream.
    pub fn events_subjects(&self) -> String {
        format!("{}selvedge.events.>", self.prefix)
    }

    /// What the subjects of answers to it begin with.
    pub fn inbox(&self) -> String {
        if self.name.is_empty() { "_INBOX".to_owned() } else { format!("_INBOX.{}", self.name) }
    }

    /// A subject of JetStream's API, or of a bucket's key to be written, as it is from here: a domain has its own.
    pub fn of_domain(&self, subject: &str) -> String {
        match (self.domain.as_str(), subject.strip_prefix("$JS.API.")) {
            ("", _) => subject.to_owned(),
            (domain, Some(api)) => format!("$JS.{domain}.API.{api}"),
            (domain, None) => format!("$JS.{domain}.API.{subject}"),
        }
    }

    /// The url without user and password.
    pub fn url_for_people(&self) -> String {
        let clean = |one: &str| match (one.split_once("://"), one.rsplit_once('@')) {
            (Some((scheme, _)), Some((_, host))) => format!("{scheme}://{host}"),
            (None, Some((_, host))) => host.to_owned(),
            (_, None) => one.to_owned(),
        };
        self.url.split(',').map(str::trim).map(clean).collect::<Vec<_>>().join(",")
    }
}

// === impl NatsLink ===

impl NatsLink {
    /// Starts to connect and returns at once; tries for ever in the background, also when the connection breaks.
    pub async fn connect(config: NatsConfig, clock: &Clock) -> Result<Arc<Self>, ConnectError> {
        let fits = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
        if !config.prefix.chars().all(fits) {
            return Err(ConnectError::Prefix { prefix: config.prefix });
        }
        if !config.domain.chars().all(fits) {
            return Err(ConnectError::Domain { domain: config.domain });
        }
        let servers = servers(&config)?;
        let observed = Arc::new(Observed::new(clock.clone(), config.url_for_people()));
        let options = options(&config, &servers, Arc::clone(&observed)).await?;
        let client = options.connect(servers).await.map_err(|error| url_error(&config, &error))?;
        let builder = jetstream::context::ContextBuilder::new();
        let jetstream = match config.domain.as_str() {
            "" => builder.timeout(config.timeout).build(client.clone()),
            domain => builder.domain(domain).timeout(config.timeout).build(client.clone()),
        };
        Ok(Arc::new(Self { config, client, jetstream, observed }))
    }

    /// The plain NATS client, for subscriptions and requests.
    pub fn client(&self) -> &async_nats::Client {
        &self.client
    }

    /// JetStream; a request takes at most the configured timeout.
    pub fn jetstream(&self) -> &jetstream::Context {
        &self.jetstream
    }

    /// The configuration, which also knows every name on the server.
    pub fn config(&self) -> &NatsConfig {
        &self.config
    }

    /// The state as it changes.
    pub fn state(&self) -> watch::Receiver<LinkState> {
        self.observed.state.subscribe()
    }

    /// What the server refused last, for whoever waits in vain.
    pub fn refused(&self) -> Option<ServerRefusal> {
        self.observed.refused.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// What the server refused a moment ago, as a hint beside an error: it may well be the reason.
    pub(crate) fn hint(&self) -> String {
        let now_us = self.observed.clock.now_us();
        let lately = self.refused().filter(|refusal| now_us - refusal.at_us < HINT_AGE_US);
        lately.map(|refusal| format!(" (the server said: {})", refusal.why)).unwrap_or_default()
    }

    /// Waits until there is a connection. `false` when `timeout` passed without one.
    pub async fn connected(&self, timeout: Duration) -> bool {
        let mut state = self.state();
        tokio::time::timeout(timeout, state.wait_for(LinkState::is_connected)).await.is_ok_and(|found| found.is_ok())
    }
}

impl fmt::Debug for NatsLink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NatsLink").field("url", &self.config.url_for_people()).finish_non_exhaustive()
    }
}

// === impl Observed ===

impl Observed {
    fn new(clock: Clock, url: String) -> Self {
        let since_us = clock.now_us();
        let state = LinkState::Down { since_us, why: format!("{url}: not connected yet") };
        Self { state: watch::Sender::new(state), refused: Mutex::new(None), clock, url }
    }

    fn tell(&self, event: Event) {
        match event {
            Event::Connected => {
                let since_us = self.clock.now_us();
                tracing::info!(url = self.url, "connected to nats");
                self.state.send_replace(LinkState::Connected { since_us });
            }
            Event::Disconnected => self.down("the connection broke"),
            Event::Closed | Event::Draining => self.down("the connection is closed"),
            Event::ClientError(error) => self.still_down(&error.to_string()),
            Event::ServerError(error) => {
                tracing::warn!(url = self.url, %error, "nats refused something");
                let refusal = ServerRefusal { at_us: self.clock.now_us(), why: error.to_string() };
                *self.refused.lock().unwrap_or_else(PoisonError::into_inner) = Some(refusal);
            }
            Event::SlowConsumer(subscription) => {
                tracing::error!(url = self.url, subscription, "nats messages were dropped, a subscriber was too slow");
            }
            Event::LameDuckMode => tracing::info!(url = self.url, "the nats server is about to stop"),
        }
    }

    fn down(&self, why: &str) {
        tracing::warn!(url = self.url, why, "nats is away");
        let since_us = self.clock.now_us();
        self.state.send_replace(LinkState::Down { since_us, why: format!("{}: {why}", self.url) });
    }

    /// A failed attempt: the reason is newer, the time since when is not.
    fn still_down(&self, error: &str) {
        self.state.send_if_modified(|state| match state {
            LinkState::Connected { .. } => false,
            LinkState::Down { why, .. } => {
                // The client does not say what the handshake failed of.
                let hint = if self.url.contains("tls://") && error.contains("IO error") {
                    "; perhaps no trusted certificate: link.nats.ca (--ca) names a private authority's"
                } else {
                    ""
                };
                let newer = format!("{}: {error}{hint}", self.url);
                let changed = *why != newer;
                *why = newer;
                changed
            }
        });
    }
}

fn servers(config: &NatsConfig) -> Result<Vec<ServerAddr>, ConnectError> {
    config.url.split(',').map(|one| one.trim().parse::<ServerAddr>().map_err(|e| url_error(config, &e))).collect()
}

fn url_error(config: &NatsConfig, error: &dyn std::error::Error) -> ConnectError {
    ConnectError::Url { url: config.url_for_people(), why: error.to_string() }
}

async fn options(
    config: &NatsConfig,
    servers: &[ServerAddr],
    observed: Arc<Observed>,
) -> Result<ConnectOptions, ConnectError> {
    let mut options = ConnectOptions::new()
        .name("selvedge")
        .connection_timeout(config.timeout)
        .request_timeout(Some(config.timeout))
        .ping_interval(Duration::from_secs(5))
        .retry_on_initial_connect()
        .max_reconnects(None)
        .reconnect_delay_callback(|attempt| {
            let doubled = Duration::from_millis(1u64 << attempt.min(10));
            if attempt <= 1 { Duration::ZERO } else { doubled.min(MAX_RECONNECT_DELAY) }
        })
        .event_callback(move |event| {
            observed.tell(event);
            std::future::ready(())
        });
    if !config.name.is_empty() {
        options = options.custom_inbox_prefix(config.inbox());
    }
    if let Some((user, password)) = servers.iter().find_map(|server| Some((server.username()?, server.password()))) {
        options = match password {
            Some(password) => options.user_and_password(user.to_owned(), password.to_owned()),
            None => options.token(user.to_owned()),
        };
    }
    if let Some(path) = &config.ca {
        // Here, and not at each attempt to connect, which would look like a server that is away.
        let ca = |source| ConnectError::Ca { path: path.clone(), source };
        let text = tokio::fs::read_to_string(path).await.map_err(ca)?;
        if !text.contains("-----BEGIN CERTIFICATE-----") {
            return Err(ca(std::io::Error::other("it holds no certificate")));
        }
        options = options.add_root_certificates(path.clone());
    }
    let Some(path) = &config.credentials else { return Ok(options) };
    let credentials = |source| ConnectError::Credentials { path: path.clone(), source };
    let text = tokio::fs::read_to_string(path).await.map_err(credentials)?;
    if let Some(seed) = text.lines().map(str::trim).find(|line| !line.is_empty()).filter(|line| is_seed(line)) {
        return Ok(options.nkey(seed.to_owned()));
    }
    options.credentials(&text).map_err(credentials)
}

/// Whether a line is the seed of a user's nkey: `SU` and base32.
fn is_seed(line: &str) -> bool {
    line.starts_with("SU") && line.bytes().all(|byte| byte.is_ascii_uppercase() || (b'2'..=b'7').contains(&byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_password_is_shown() {
        let check = |url: &str, expected: &str| {
            let config = NatsConfig { url: url.into(), ..NatsConfig::default() };
            assert_eq!(config.url_for_people(), expected);
        };
        check("nats://10.0.0.1:4222", "nats://10.0.0.1:4222");
        check("nats://ann:s3@cr:et@core:4222, tls://tok@b:1", "nats://core:4222,tls://b:1");
        check("ann:secret@core", "core");
    }

    #[test]
    fn the_prefix_stands_in_front_of_every_name() {
        let config = NatsConfig { prefix: "shop-".into(), ..NatsConfig::default() };
        assert_eq!(config.features_bucket("user"), "shop-features_user");
        assert_eq!(config.events_stream(), "shop-EVENTS");
        assert_eq!(config.events_subjects(), "shop-selvedge.events.>");
    }
}
