//! The node's settings. Owns what a setting is called, what it means and which is stronger: flags over environment over
//! file over `default.toml`, which is compiled in, complete and the documentation. What was said is parsed here, once,
//! into what it means.

mod layers;
mod size;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use selvedge_build::channel::{self, Labels};
use selvedge_decision::NodeId;
use selvedge_decision::definition::Span;
use serde::Deserialize;

pub use layers::{BadConfig, Layers};
pub use size::Size;

/// The embedded default file.
pub const DEFAULT: &str = include_str!("config/default.toml");

/// Every setting of a node; the fields are documented in `default.toml`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "default.toml is the documentation, and a test holds the two together")]
pub struct Config {
    pub node: Node,
    pub http: Http,
    pub console: Console,
    pub link: Link,
    pub features: Features,
    pub sessions: Sessions,
    pub modules: Modules,
    pub releases: Releases,
    pub ids: Ids,
    pub tokens: Tokens,
    pub events: Events,
    pub outbox: Outbox,
    pub telemetry: Telemetry,
    pub log: Log,
}

/// `[node]`
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "see default.toml")]
pub struct Node {
    pub name: NodeId,
    pub data: PathBuf,
    pub channel: String,
    pub trust: Vec<PathBuf>,
    pub labels: Labels,
    pub stop_within: Span,
}

/// `[http]`
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "see default.toml")]
pub struct Http {
    pub listen: SocketAddr,
    pub admin: SocketAddr,
    pub keys: PathBuf,
    pub open: bool,
    pub tls: Tls,
    pub admin_tls: Tls,
    pub max_decide_body: Size,
    pub max_events_body: Size,
    pub max_batch: usize,
    pub max_bulk: usize,
    pub max_streams: usize,
    pub max_page_rows: Size,
    pub cors_origins: Vec<String>,
    pub max_connections: usize,
    pub client_timeout: Span,
    pub threads: usize,
}

/// `[http.tls]` and `[http.admin_tls]`
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "see default.toml")]
pub struct Tls {
    pub certificate: PathBuf,
    pub key: PathBuf,
}

/// `[console]`
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "see default.toml")]
pub struct Console {
    pub operator_key: PathBuf,
}

/// `[link]`
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "see default.toml")]
pub struct Link {
    pub kind: LinkKind,
    pub nats: Nats,
    pub local: Local,
}

/// How the node reaches the core.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LinkKind {
    /// A NATS server.
    Nats,
    /// A directory.
    Local,
}

/// `[link.nats]`
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "see default.toml")]
pub struct Nats {
    pub url: String,
    pub credentials: PathBuf,
    pub ca: PathBuf,
    pub prefix: String,
    pub domain: String,
    pub timeout: Span,
}

/// `[link.local]`
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "see default.toml")]
pub struct Local {
    pub directory: PathBuf,
    pub out: PathBuf,
}

/// `[features]`
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "see default.toml")]
pub struct Features {
    pub write_behind: Span,
    pub max_pending: usize,
    pub max_pending_bytes: Size,
    pub max_scratch: Size,
    pub disk_cache: Size,
    pub max_symbols: usize,
    pub max_row: Size,
    pub max_entities: u32,
    pub max_view: Size,
    pub on_demand: Size,
    pub max_fetches: usize,
    pub max_absent: usize,
    pub absent_for: Span,
    pub prove_every: Span,
    pub poll_every: Span,
}

/// `[sessions]`
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "see default.toml")]
pub struct Sessions {
    pub max: usize,
    pub keep: Span,
    pub share: bool,
}

/// `[modules]`
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "see default.toml")]
pub struct Modules {
    pub max_memory: Size,
    pub max_output: Size,
    pub instances: u32,
    pub code_cache: Size,
    pub breaker_after: u32,
    pub breaker_cool_down: Span,
    pub max_at_once: u32,
    pub shed_above: Span,
}

/// `[releases]`
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "see default.toml")]
pub struct Releases {
    pub max_size: Size,
    pub poll_every: Span,
    pub fetch_timeout: Span,
    pub keep: usize,
    pub report_every: Span,
}

/// `[ids]`
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "see default.toml")]
pub struct Ids {
    pub key: PathBuf,
}

/// `[tokens]`
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "see default.toml")]
pub struct Tokens {
    pub key: PathBuf,
    pub valid_for: Span,
}

/// `[events]`
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "see default.toml")]
pub struct Events {
    pub dedupe_ids: usize,
    pub max_age: Span,
}

/// `[outbox]`
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "see default.toml")]
pub struct Outbox {
    pub max_events: Size,
    pub max_decisions: Size,
    pub max_rewards: Size,
    pub segment: Size,
    pub group: Span,
    pub max_resting: usize,
    pub max_resting_bytes: Size,
    pub block: Size,
    pub window: usize,
    pub window_bytes: Size,
    pub ack_timeout: Span,
    pub retry_after: Span,
    pub max_event: Size,
    pub max_batch: usize,
    pub compression: i32,
}

/// `[log]`
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "see default.toml")]
pub struct Log {
    pub format: LogFormat,
    pub level: String,
}

/// `[telemetry]`
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "see default.toml")]
pub struct Telemetry {
    pub otlp: Otlp,
}

/// `[telemetry.otlp]`
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "see default.toml")]
pub struct Otlp {
    pub endpoint: String,
    pub share: f64,
    pub max_queue: usize,
}

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// For people.
    Pretty,
    /// For machines.
    Json,
}

/// A span as the standard library's duration.
pub fn duration(span: Span) -> Duration {
    Duration::from_micros(span.us().max(0) as u64)
}

// === impl Config ===

impl Config {
    /// What no type can say: bounds that must hold between or within settings.
    fn check(&self) -> Result<(), BadConfig> {
        let positive = [
            ("http.max_decide_body", self.http.max_decide_body.bytes()),
            ("http.max_events_body", self.http.max_events_body.bytes()),
            ("http.max_batch", self.http.max_batch),
            ("http.max_bulk", self.http.max_bulk),
            ("telemetry.otlp.max_queue", self.telemetry.otlp.max_queue),
            ("http.max_connections", self.http.max_connections),
            ("features.max_pending", self.features.max_pending),
            ("features.max_symbols", self.features.max_symbols),
            ("sessions.max", self.sessions.max),
            ("modules.instances", self.modules.instances as usize),
            ("outbox.window_bytes", self.outbox.window_bytes.bytes()),
            ("outbox.max_resting_bytes", self.outbox.max_resting_bytes.bytes()),
            ("features.max_pending_bytes", self.features.max_pending_bytes.bytes()),
            ("features.max_entities", self.features.max_entities as usize),
            ("features.max_fetches", self.features.max_fetches),
            ("features.max_absent", self.features.max_absent),
            ("outbox.window", self.outbox.window),
            ("outbox.max_batch", self.outbox.max_batch),
            ("outbox.max_resting", self.outbox.max_resting),
        ];
        if let Some((key, _)) = positive.iter().find(|(_, value)| *value == 0) {
            return Err(BadConfig::value(key, "must be above 0"));
        }
        self.check_doors()?;
        self.check_operator()?;
        if let Some(why) = channel::labels_problem(&self.node.labels) {
            return Err(BadConfig::value("node.labels", why));
        }
        if self.releases.keep < 2 {
            return Err(BadConfig::value(
                "releases.keep",
                "must be at least 2: the running release and the one before it",
            ));
        }
        if self.events.dedupe_ids > 100_000_000 {
            return Err(BadConfig::value(
                "events.dedupe_ids",
                "must be at most 100000000: those take 2.8 GB of memory",
            ));
        }
        for (key, size) in
            [("features.max_view", self.features.max_view), ("features.on_demand", self.features.on_demand)]
        {
            if size.bytes() < 1 << 20 {
                return Err(BadConfig::value(key, "must be at least 1MiB"));
            }
        }
        if self.features.max_fetches > 1 << 16 {
            return Err(BadConfig::value("features.max_fetches", "must be at most 65536"));
        }
        if self.http.max_bulk > 1 << 16 {
            return Err(BadConfig::value("http.max_bulk", "must be at most 65536"));
        }
        if !(0.0..=1.0).contains(&self.telemetry.otlp.share) {
            return Err(BadConfig::value("telemetry.otlp.share", "must be from 0 to 1"));
        }
        if self.telemetry.otlp.max_queue > 1 << 16 {
            return Err(BadConfig::value("telemetry.otlp.max_queue", "must be at most 65536"));
        }
        if self.http.max_connections > 1_000_000 {
            return Err(BadConfig::value("http.max_connections", "must be at most 1000000"));
        }
        if self.outbox.block.bytes() < 2 * self.outbox.max_event.bytes() + (64 << 10) {
            let why = "must be at least twice outbox.max_event and 64KiB more, or an event might not fit";
            return Err(BadConfig::value("outbox.block", why));
        }
        if self.outbox.segment.bytes() < 64 << 10 {
            return Err(BadConfig::value("outbox.segment", "must be at least 64KiB"));
        }
        if !(1..=19).contains(&self.outbox.compression) {
            return Err(BadConfig::value("outbox.compression", "must be a zstd level from 1 to 19"));
        }
        let spans = [
            ("features.write_behind", self.features.write_behind),
            ("features.absent_for", self.features.absent_for),
            ("features.prove_every", self.features.prove_every),
            ("features.poll_every", self.features.poll_every),
            ("sessions.keep", self.sessions.keep),
            ("releases.poll_every", self.releases.poll_every),
            ("releases.fetch_timeout", self.releases.fetch_timeout),
            ("releases.report_every", self.releases.report_every),
            ("events.max_age", self.events.max_age),
            ("outbox.group", self.outbox.group),
            ("outbox.ack_timeout", self.outbox.ack_timeout),
            ("link.nats.timeout", self.link.nats.timeout),
            ("node.stop_within", self.node.stop_within),
            ("http.client_timeout", self.http.client_timeout),
        ];
        match spans.iter().find(|(_, span)| span.us() < 1_000) {
            Some((key, _)) => Err(BadConfig::value(key, "must be at least 1ms")),
            None => Ok(()),
        }
    }
    /// What others can reach has a key to its door, or somebody in front of it.
    fn check_doors(&self) -> Result<(), BadConfig> {
        let http = &self.http;
        let has_keys = !http.keys.as_os_str().is_empty();
        if http.open && has_keys {
            return Err(BadConfig::value(
                "http.open",
                "says that nobody need bring a key, and http.keys who has one: leave one of them out",
            ));
        }
        for (setting, address) in [("http.listen", http.listen), ("http.admin", http.admin)] {
            if !address.ip().to_canonical().is_loopback() && !has_keys && !http.open {
                return Err(BadConfig::value(setting, open_door(setting, address)));
            }
        }
        for (setting, tls) in [("http.tls", &http.tls), ("http.admin_tls", &http.admin_tls)] {
            if tls.certificate.as_os_str().is_empty() != tls.key.as_os_str().is_empty() {
                return Err(BadConfig::value(setting, "has one of certificate and key: it needs both, or neither"));
            }
        }
        Ok(())
    }

    /// Where the operator's key is, there is a channel to move, and not everybody may.
    fn check_operator(&self) -> Result<(), BadConfig> {
        const SETTING: &str = "console.operator_key";
        if self.console.operator_key.as_os_str().is_empty() {
            return Ok(());
        }
        if self.link.kind == LinkKind::Local {
            let why =
                "a node on a folder (`selvedge dev`, link.kind = \"local\") follows no channel: leave the key out";
            return Err(BadConfig::value(SETTING, why));
        }
        let (admin, has_keys) = (self.http.admin, !self.http.keys.as_os_str().is_empty());
        if !admin.ip().to_canonical().is_loopback() && !has_keys {
            let why = format!("others can reach {admin} without a key, and could move the channel: set http.keys");
            return Err(BadConfig::value(SETTING, why));
        }
        Ok(())
    }
}

/// How to get a key.
fn open_door(setting: &str, address: SocketAddr) -> String {
    let scopes = if setting == "http.admin" { "--scope admin" } else { "--scope decide --scope events" };
    format!(
        "others can reach {address}, and nothing says who may: make a key with `selvedge keys create NAME {scopes} --file keys.jsonl` \
         and set http.keys = \"keys.jsonl\", or set http.open = true where something in front of the node checks who comes"
    )
}
