//! The core as commands reach it: the flags that say where it is, and a connection that is there or an error that says why
//! not.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use selvedge_node::clock::Clock;
use selvedge_node::link::{LinkState, NatsConfig, NatsLink};

/// Where the core is.
#[derive(Debug, Clone, clap::Args)]
#[command(next_help_heading = "Core")]
pub(crate) struct CoreArgs {
    /// The NATS server, or several with commas between.
    #[arg(long = "nats", env = "SELVEDGE_NATS", default_value = "nats://127.0.0.1:4222", value_name = "URL")]
    pub(crate) url: String,
    /// A NATS credentials file, or one with an nkey's seed.
    #[arg(long = "creds", env = "SELVEDGE_CREDS", value_name = "FILE")]
    pub(crate) credentials: Option<PathBuf>,
    /// Certificates (PEM) of whoever signed the server's, besides those that the system trusts.
    #[arg(long = "ca", env = "SELVEDGE_CA", value_name = "FILE")]
    pub(crate) ca: Option<PathBuf>,
    /// What stands in front of every name on the server.
    #[arg(long, env = "SELVEDGE_PREFIX", default_value = "", value_name = "TEXT")]
    pub(crate) prefix: String,
    /// Where the server is a leaf node: the JetStream domain of the core.
    #[arg(long, env = "SELVEDGE_DOMAIN", default_value = "", value_name = "NAME")]
    pub(crate) domain: String,
}

/// How long a command waits for the connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// How long a command waits for one answer.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);

// === impl CoreArgs ===

impl CoreArgs {
    pub(crate) fn config(&self) -> NatsConfig {
        NatsConfig {
            url: self.url.clone(),
            credentials: self.credentials.clone(),
            ca: self.ca.clone(),
            prefix: self.prefix.clone(),
            domain: self.domain.clone(),
            name: String::new(),
            timeout: REQUEST_TIMEOUT,
        }
    }

    /// Connects, or says why there is no connection.
    pub(crate) async fn connect(&self) -> anyhow::Result<Arc<NatsLink>> {
        self.connect_as("").await
    }

    /// As [`CoreArgs::connect`], for a service of this name, whose user may listen to answers to itself alone.
    pub(crate) async fn connect_as(&self, name: &str) -> anyhow::Result<Arc<NatsLink>> {
        let config = NatsConfig { name: name.to_owned(), ..self.config() };
        let connected = connect(config, CONNECT_TIMEOUT).await;
        connected.map_err(|error| anyhow::anyhow!("{error:#}; is a nats-server there? --nats names another"))
    }
}

/// Connects within `timeout`, or says why there is no connection.
pub(crate) async fn connect(config: NatsConfig, timeout: Duration) -> anyhow::Result<Arc<NatsLink>> {
    let nats = NatsLink::connect(config, &Clock::new()).await?;
    if !nats.connected(timeout).await {
        let state = nats.state().borrow().clone();
        match state {
            LinkState::Down { why, .. } => anyhow::bail!("no connection within {} s: {why}", timeout.as_secs()),
            LinkState::Connected { .. } => {}
        }
    }
    Ok(nats)
}

/// Runs a command's asynchronous work to its end, on `threads` threads (0 is one a core).
pub(crate) fn block_on<T>(threads: usize, work: impl Future<Output = anyhow::Result<T>>) -> anyhow::Result<T> {
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    if threads > 0 {
        builder.worker_threads(threads);
    }
    let runtime = builder.enable_all().build().context("cannot start threads")?;
    let done = runtime.block_on(work);
    // A connection that is still trying must not hold up the end.
    runtime.shutdown_timeout(Duration::from_millis(200));
    done
}
