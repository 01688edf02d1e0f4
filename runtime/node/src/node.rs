//! The node, wired: the one file that knows every flow. It reads like a boot log; a stop runs it backwards.

mod settings;

use std::future::Future;
use std::net::SocketAddr;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use prometheus_client::registry::Registry;
use selvedge_decision::NodeId;
use selvedge_host::Host;
use serde::Serialize;
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;

use crate::api::{self, Admin, AtCore, ConsoleApi, Cors, Listening, Public, Streams, health::Health};
use crate::bandits::Bandits;
use crate::clock::Clock;
use crate::config::{Config, duration};
use crate::console::Console;
use crate::console::samples::{Part, Sample};
use crate::decide::{self, Active, Decider, Forms, Load, ModuleConfig, Shelf, Stager};
use crate::features::Features;
use crate::ids::{Ids, IdsKey};
use crate::keys::Access;
use crate::link::Link;
use crate::outbox::{Follower, Outbox};
use crate::releases::{self, Counts, Earned, Releases};
use crate::secret::{BadSecret, Secret};
use crate::sessions::Sessions;
use crate::telemetry::otlp::{BadEndpoint, Otlp};
use crate::tokens::Tokens;
use crate::twin::Twin;
use crate::{events, telemetry};

/// Why a node does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The log's level is none.
    #[error(transparent)]
    Log(#[from] telemetry::BadFilter),
    /// The data directory cannot be made.
    #[error("cannot use the data directory {path}: {why}")]
    Data {
        /// The directory.
        path: String,
        /// The system's reason.
        why: std::io::Error,
    },
    /// An address cannot be listened on.
    #[error("cannot listen on {address} ({setting}): {why}")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// The setting it comes from.
        setting: &'static str,
        /// The system's reason.
        why: std::io::Error,
    },
    /// The link's settings are wrong.
    #[error("link: {0}")]
    Link(String),
    /// Keys or a certificate cannot be used.
    #[error("{0}")]
    Doors(String),
    /// A secret cannot be used.
    #[error(transparent)]
    Secret(#[from] BadSecret),
    /// The outbox cannot be used.
    #[error("outbox: {0}")]
    Outbox(#[from] crate::outbox::OpenError),
    /// The feature store cannot be used.
    #[error("features: {0}")]
    Features(#[from] crate::features::OpenError),
    /// Releases cannot be followed.
    #[error("releases: {0}")]
    Releases(#[from] releases::OpenError),
    /// The operator's key cannot be used.
    #[error(transparent)]
    Operator(#[from] releases::BadOperatorKey),
    /// Spans have nowhere to go.
    #[error(transparent)]
    Otlp(#[from] BadEndpoint),
    /// A page's origin is none.
    #[error(transparent)]
    Cors(#[from] api::BadOrigin),
    /// The engine does not start.
    #[error(transparent)]
    Host(#[from] selvedge_host::StartError),
}

/// A running node. Dropped without [`Node::stop`], it ends as a crash would.
pub struct Node {
    /// What it listens on, and who it is.
    pub listening: Announcement,
    /// Decides, without HTTP.
    pub decider: Arc<Decider>,
    /// Holds what it has to tell.
    pub outbox: Outbox,
    /// Its active release.
    pub releases: Releases<Active>,
    /// What it knows.
    pub features: Features,
    link: Link,
    otlp: Otlp,
    stop_serving: watch::Sender<bool>,
    stop_flows: watch::Sender<bool>,
    serving: JoinSet<()>,
    flows: JoinSet<()>,
    stop_within: Duration,
}

/// What a node says when it listens: one line of JSON on standard output.
#[derive(Debug, Clone, Serialize)]
pub struct Announcement {
    /// The public listener.
    pub http: SocketAddr,
    /// The admin listener.
    pub admin: SocketAddr,
    /// Its name.
    pub node: NodeId,
    /// This run of it, 16 hex digits.
    pub epoch: String,
}

/// Runs a node until it is told to stop by SIGTERM or SIGINT.
pub async fn run(config: Config) -> Result<(), StartError> {
    telemetry::start(&config.log)?;
    let told = told_to_stop();
    let node = Node::start(config).await?;
    println_line(&node.listening);
    told.await;
    node.stop().await;
    Ok(())
}

// === impl Node ===

impl Node {
    /// Starts all flows. It does not wait for the core: what is on disk decides until the core is there.
    pub async fn start(config: Config) -> Result<Self, StartError> {
        let clock = Clock::new();
        let started_us = clock.now_us();
        let data = config.node.data.clone();
        std::fs::create_dir_all(&data).map_err(|why| StartError::Data { path: data.display().to_string(), why })?;
        let ids = settings::said(&config.ids.key).map(|path| IdsKey::read(&path)).transpose()?;
        let ids = ids.map_or_else(Ids::default, Ids::keyed);
        let cors = Cors::new(&config.http.cors_origins)?;
        let access =
            Access::open(settings::said(&config.http.keys).as_deref(), clock.clone()).map_err(StartError::Doors)?;
        let tls = settings::tls("http.tls", &config.http.tls)?;
        let admin_tls = settings::tls("http.admin_tls", &config.http.admin_tls)?;
        let operator = settings::operator(&config, &clock)?;
        // Listeners first: a second node on the same ports must not touch the data of the first.
        let http = bind(config.http.listen, "http.listen").await?;
        let admin = bind(config.http.admin, "http.admin").await?;
        let secret = match settings::said(&config.tokens.key) {
            Some(path) => Secret::read("tokens.key", &path)?,
            None => Secret::read_or_make("the node's own key of tokens", &data.join("tokens.key"))?,
        };
        let tokens = Tokens::new(secret, config.tokens.valid_for.us());
        let (stop_serving, serving_stops) = watch::channel(false);
        let (stop_flows, flows_stop) = watch::channel(false);
        let (mut serving, mut flows) = (JoinSet::new(), JoinSet::new());
        let mut registry = Registry::default();
        access.metrics().register(&mut registry);
        if let Some(keys) = access.watched() {
            flows.spawn(keys.clone().run(clock.clone(), flows_stop.clone()));
        }
        for tls in tls.iter().chain(&admin_tls) {
            flows.spawn(tls.clone().run(clock.clone(), flows_stop.clone()));
        }

        let outbox = Outbox::open(settings::outbox_config(&config), config.node.name.clone(), clock.clone())?;
        let epoch = outbox.epoch();
        outbox.metrics().register(&mut registry);

        let link = settings::link(&config, &clock).await?;
        let link_place = match &link {
            Link::Nats(nats) => nats.config().url_for_people(),
            Link::Local(local) => local.dir().display().to_string(),
        };
        let features =
            Features::open(settings::features_config(&config), link.clone(), clock.clone(), flows_stop.clone()).await?;
        features.register(&mut registry);

        let sessions = Sessions::new(
            settings::sessions_config(&config),
            config.node.name.clone(),
            features.symbols().clone(),
            clock.clone(),
            outbox.clone(),
            features.slots(),
        );
        sessions.register(&mut registry);
        let bandits = Bandits::new(config.node.name.clone(), epoch, clock.clone(), data.join("bandits.json"));
        bandits.register(&mut registry);
        let earned = Earned::default();
        let console = Console::new(clock.clone());
        let followers: Vec<Arc<dyn Follower>> = vec![
            Arc::new(sessions.clone()),
            Arc::new(bandits.clone()),
            Arc::new(earned.clone()),
            Arc::new(console.clone()),
        ];
        if !outbox.follow(followers) {
            tracing::error!("the outbox is followed twice");
        }

        let host = Arc::new(Host::new(settings::host_config(&config))?);
        decide::register_host(&host, &mut registry);
        let module_config = ModuleConfig {
            breaker_after: config.modules.breaker_after,
            breaker_cool_down: duration(config.modules.breaker_cool_down),
            max_at_once: config.modules.max_at_once,
        };
        let (running, shelf, forms) = (Arc::new(OnceLock::new()), Shelf::default(), Forms::default());
        let stager = Stager {
            host,
            features: features.clone(),
            sessions: sessions.clone(),
            bandits: bandits.clone(),
            symbols: features.symbols().clone(),
            config: module_config,
            shelf: shelf.clone(),
            forms: forms.clone(),
            // Rows of people, by which pages decide, would tell them the hash of any id.
            pages_decide: !ids.is_keyed(),
            running: running.clone(),
        };
        let (releases, follow) =
            releases::open(settings::releases_config(&config, epoch), link.clone(), clock.clone(), stager, earned)?;
        if running.set(releases.clone()).is_err() {
            tracing::error!("releases are opened twice");
        }
        releases.metrics().register(&mut registry);

        flows.spawn(follow.run(flows_stop.clone()));
        flows.spawn(outbox.clone().drain(link.clone(), flows_stop.clone()));
        flows.spawn(sessions.clone().travel(link.clone(), flows_stop.clone()));
        flows.spawn(bandits.clone().run(link.clone(), flows_stop.clone()));
        let twin = Twin::default();
        let name = config.node.name.clone();
        flows.spawn(twin.clone().run(link.clone(), name, epoch, started_us, clock.clone(), flows_stop.clone()));

        let decide_metrics = decide::Metrics::default();
        decide_metrics.register(&mut registry);
        let load = Load::default();
        load.register(&mut registry);
        let shed_above = Some(duration(config.modules.shed_above)).filter(|above| !above.is_zero());
        flows.spawn(load.clone().watch(shed_above, clock.clone(), flows_stop.clone()));
        let watched = Watched {
            releases: releases.clone(),
            console: console.clone(),
            metrics: decide_metrics.clone(),
            outbox: outbox.clone(),
            bandits: bandits.clone(),
            features: features.clone(),
            link: link.clone(),
        };
        flows.spawn(watched.watch(flows_stop.clone()));
        let tag = config.node.name.tag(epoch);
        let decider =
            Decider::new(releases.clone(), clock.clone(), outbox.clone(), tag, load.clone(), decide_metrics, forms);
        let decider = Arc::new(decider);
        let otlp = Otlp::start(&settings::otlp_config(&config), clock.clone(), &mut registry)?;
        let api_metrics = api::Metrics::default();
        api_metrics.register(&mut registry);
        let unknown_events = events::Unknown::default();
        unknown_events.register(&mut registry);
        let public = Public {
            decider: decider.clone(),
            outbox: outbox.clone(),
            releases: releases.clone(),
            unknown_events: unknown_events.clone(),
            sessions: sessions.clone(),
            ids: ids.clone(),
            tokens,
            clock: clock.clone(),
            limits: settings::limits(&config),
            bulk: Semaphore::new(config.http.max_bulk),
            // Half of the connections at most: decisions need some, too.
            streams: Arc::new(Streams::new(config.http.max_streams.min(config.http.max_connections / 2))),
            cors,
            otlp: otlp.clone(),
            access: access.clone(),
            lifted: shelf,
            stop: serving_stops.clone(),
            metrics: api_metrics,
        };
        let health = Health {
            node: config.node.name.clone(),
            epoch,
            clock: clock.clone(),
            started_us,
            link: link.clone(),
            twin,
            releases: releases.clone(),
            features: features.clone(),
            sessions,
            outbox: outbox.clone(),
            unknown_events,
            load,
            keys: access.watched().cloned(),
            certificates: tls.iter().chain(&admin_tls).cloned().collect(),
        };
        let console = ConsoleApi {
            console,
            decider: decider.clone(),
            releases: releases.clone(),
            bandits,
            outbox: outbox.clone(),
            ids,
            link: link.clone(),
            operator,
            limits: settings::limits(&config),
            stop: serving_stops.clone(),
            live: Arc::new(Semaphore::new(api::MOST_LIVE)),
            core: AtCore::default(),
        };
        let listening = Announcement {
            http: http.address,
            admin: admin.address,
            node: config.node.name.clone(),
            epoch: epoch.to_string(),
        };
        let serve = settings::serve_config(&config);
        let admin_api = Admin { health, access, registry, console };
        let (public, private) = (api::public(Arc::new(public)), api::admin(Arc::new(admin_api)));
        warn_of_clear_text(&config);
        serving.spawn(api::serve(http, tls, public, serve, serving_stops.clone()));
        serving.spawn(api::serve(admin, admin_tls, private, serve, serving_stops));
        tracing::info!(
            http = %listening.http, admin = %listening.admin, node = %listening.node, %epoch,
            link = %link_place, "listening"
        );
        let stop_within = duration(config.node.stop_within);
        Ok(Self {
            link,
            listening,
            decider,
            outbox,
            releases,
            features,
            otlp,
            stop_serving,
            stop_flows,
            serving,
            flows,
            stop_within,
        })
    }

    /// Stops: no new connection, running requests finish, what is in memory goes to disk, what can reach the core does.
    pub async fn stop(mut self) {
        tracing::info!("stopping");
        self.stop_serving.send_replace(true);
        let now = Instant::now();
        let end = now + self.stop_within;
        // They have half of the time at most: what was answered has yet to come to disk and to the core.
        let requests = now + self.stop_within / 2;
        until(requests, "requests", async { while self.serving.join_next().await.is_some() {} }).await;
        until(end, "the outbox", self.outbox.flush()).await;
        if self.link.state().borrow().is_connected() {
            // Nothing waits for the next start that the core can have now; but a slow core must not eat all the time.
            let half = Instant::now() + end.saturating_duration_since(Instant::now()) / 2;
            until(half, "sending to the core", self.outbox.drained()).await;
        }
        self.stop_flows.send_replace(true);
        until(end, "the flows", async { while self.flows.join_next().await.is_some() {} }).await;
        until(end, "features", self.features.ended()).await;
        let outbox = self.outbox.clone();
        let closed = tokio::task::spawn_blocking(move || outbox.close());
        let otlp = self.otlp.clone();
        let sent = tokio::task::spawn_blocking(move || otlp.stop());
        until(end, "sending spans", async { drop(sent.await) }).await;
        until(end, "closing the outbox", async { drop(closed.await) }).await;
        tracing::info!("stopped");
    }
}

async fn until(end: Instant, what: &str, step: impl Future<Output = ()>) {
    if tokio::time::timeout(end.saturating_duration_since(Instant::now()), step).await.is_err() {
        tracing::warn!(what, "not finished in the time a stop may take");
    }
}

/// Who is looked at once a second.
struct Watched {
    releases: Releases<Active>,
    console: Console,
    metrics: decide::Metrics,
    outbox: Outbox,
    bandits: Bandits,
    features: Features,
    link: Link,
}

impl Watched {
    /// Tells the guards once a second what the running release did, then what the canary did; and the console both.
    async fn watch(self, mut stop: watch::Receiver<bool>) {
        let mut every = tokio::time::interval(Duration::from_secs(1));
        let mut changes = self.releases.changes();
        loop {
            let is_time = tokio::select! {
                _ = every.tick() => true,
                Ok(()) = changes.changed() => false,
                _ = stop.wait_for(|stop| *stop) => return,
            };
            let running = Option::as_ref(&self.releases.active()).map(Arc::clone);
            if !is_time {
                self.console.runs(running.as_ref());
                continue;
            }
            let canary = self.releases.canary();
            let take = |active: &Arc<Active>| {
                let counts = active.counters.take();
                self.releases.observe(active.digest, &counts);
                counts
            };
            let (ran, beside) = (running.as_ref().map(take).unwrap_or_default(), canary.as_ref().map(take));
            self.console.sample(self.sample(&ran, beside.as_ref()), running.as_ref());
            let now_us = self.console.now_us();
            if self.console.bandits().is_due(now_us) {
                let told = self.bandits.told();
                self.console.bandits().add(&told, now_us);
            }
        }
    }

    fn sample(&self, running: &Counts, canary: Option<&Counts>) -> Sample {
        let mut all = running.clone();
        canary.iter().for_each(|canary| all.add(canary));
        let views = self.features.status();
        let sample = Sample {
            time_ms: self.console.now_us() / 1_000,
            all: Part::from(&all),
            running: Part::from(running),
            canary: canary.map(Part::from),
            reasons: self.metrics.by_reason(),
            connected: self.link.state().borrow().is_connected(),
            events: 0,
            refused: 0,
            backlog: [0; 3],
            lag_ms: views
                .iter()
                .map(|view| view.lag_ms)
                .collect::<Option<Vec<_>>>()
                .and_then(|lags| lags.into_iter().max()),
        };
        sample.with_outbox(&self.outbox.status())
    }
}

/// Ready at once, so that a signal that comes while the node starts is not lost.
fn told_to_stop() -> impl Future<Output = ()> {
    use tokio::signal::unix::{SignalKind, signal};
    let (terminate, interrupt) = (signal(SignalKind::terminate()), signal(SignalKind::interrupt()));
    async move {
        match (terminate, interrupt) {
            (Ok(mut terminate), Ok(mut interrupt)) => {
                tokio::select! { _ = terminate.recv() => {}, _ = interrupt.recv() => {} }
            }
            (Err(error), _) | (_, Err(error)) => {
                tracing::error!(%error, "cannot listen for signals: end this process by force");
                std::future::pending::<()>().await;
            }
        }
    }
}

fn println_line(line: &impl Serialize) {
    use std::io::Write;
    let mut text = serde_json::to_vec(line).unwrap_or_default();
    text.push(b'\n');
    let mut out = std::io::stdout().lock();
    if out.write_all(&text).and_then(|()| out.flush()).is_err() {
        tracing::debug!("nobody reads standard output");
    }
}

async fn bind(address: SocketAddr, setting: &'static str) -> Result<Listening, StartError> {
    Listening::bind(address).await.map_err(|why| StartError::Listen { address, setting, why })
}

/// Keys that go through a network in the clear are soon others' keys.
fn warn_of_clear_text(config: &Config) {
    let http = &config.http;
    let doors = [("http.listen", http.listen, &http.tls), ("http.admin", http.admin, &http.admin_tls)];
    for (setting, address, tls) in doors {
        let is_local = address.ip().to_canonical().is_loopback();
        if !is_local && settings::said(&http.keys).is_some() && settings::said(&tls.certificate).is_none() {
            tracing::warn!(setting, %address, "keys come here without TLS: let something in front of the node speak it, or set a certificate");
        }
    }
}
