//! A rig: one nats-server, one signing key, one temporary folder, and the commands that go with them.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use selvedge_build::channel::Pointer;
use selvedge_build::keys::SigningKey;
use selvedge_decision::Digest;
use selvedge_node::clock::Clock;
use selvedge_node::link::{NatsConfig, NatsLink};
use serde_json::Value;
use tempfile::TempDir;

use super::node::CHANNEL;
use super::shop::Shop;
use super::{Cli, NatsServer, Node, NodeSpec, Process, binary};

const HOUR_US: i64 = 3_600_000_000;
const START: Duration = Duration::from_secs(30);

/// What most proofs start from.
#[derive(Debug)]
pub struct Rig {
    /// The core.
    pub nats: NatsServer,
    /// Commands against it.
    pub cli: Cli,
    // Last, so that the processes above are gone when it is removed.
    folder: TempDir,
}

// === impl Rig ===

impl Rig {
    /// A fresh core without a release, and a key.
    pub async fn start() -> Result<Self> {
        let folder = tempfile::Builder::new().prefix("selvedge-").tempdir()?;
        let nats = NatsServer::start(&folder.path().join("nats")).await?;
        let cli = Cli::new(nats.url());
        let rig = Self { nats, cli, folder };
        rig.keygen("rig").await?;
        Ok(rig)
    }

    /// A path inside the rig's folder.
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Makes a key pair; the paths of the private and the public key.
    pub async fn keygen(&self, name: &str) -> Result<(PathBuf, PathBuf)> {
        let keys = self.path("keys");
        fs::create_dir_all(&keys)?;
        let args = ["release".as_ref(), "keygen".as_ref(), name.as_ref(), "--dir".as_ref(), keys.as_os_str()];
        self.cli.run(args).await?.ok()?;
        Ok((keys.join(format!("{name}.key")), keys.join(format!("{name}.pub"))))
    }

    /// The key that signs.
    pub fn key(&self) -> PathBuf {
        self.path("keys/rig.key")
    }

    /// What a node of this rig is started with.
    pub fn spec(&self, name: &str) -> NodeSpec {
        NodeSpec::new(name, &self.path(name), &self.nats.url(), &self.path("keys/rig.pub"))
    }

    /// Starts a node that follows the rig's channel; it need not be ready.
    pub async fn node(&self, name: &str) -> Result<Node> {
        Node::start(self.spec(name)).await
    }

    /// Starts `selvedge core features` on the rig's channel, and waits until it says something.
    pub async fn core_features(&self, name: &str, more: &[&str]) -> Result<Process> {
        let mut command = Command::new(binary::built("selvedge")?);
        command.args(["core", "features", "--json", "--nats", &self.nats.url(), "--channel", CHANNEL]);
        command.arg("--trust").arg(self.path("keys/rig.pub")).args(more);
        let mut process = Process::spawn(name, &mut command, &self.path(&format!("{name}.log")))?;
        process.line(START).await?;
        Ok(process)
    }

    /// Starts `selvedge core bandits` on the rig's channel, and waits until it says something.
    pub async fn core_bandits(&self, name: &str) -> Result<Process> {
        let mut command = Command::new(binary::built("selvedge")?);
        command.args(["core", "bandits", "--json", "--nats", &self.nats.url(), "--channel", CHANNEL]);
        command.arg("--trust").arg(self.path("keys/rig.pub"));
        let mut process = Process::spawn(name, &mut command, &self.path(&format!("{name}.log")))?;
        process.line(START).await?;
        Ok(process)
    }

    /// Packs a shop; the file.
    pub async fn pack(&self, shop: &Shop) -> Result<PathBuf> {
        let name = shop.folder().file_name().context("a shop's folder has a name")?.to_string_lossy().into_owned();
        let file = self.path(&format!("{name}.release"));
        let key = self.key();
        let args = ["release".as_ref(), "pack".as_ref(), shop.folder().as_os_str(), "--key".as_ref(), key.as_os_str()];
        self.cli.run(args.into_iter().chain(["-o".as_ref(), file.as_os_str()])).await?.ok()?;
        Ok(file)
    }

    /// Deploys a release file or folder and does not wait for nodes; its digest.
    pub async fn deploy(&self, what: &Path) -> Result<String> {
        let key = self.key();
        let args = ["deploy".as_ref(), what.as_os_str(), "--to".as_ref(), CHANNEL.as_ref(), "--key".as_ref()];
        digest(&self.cli.json(args.into_iter().chain([key.as_os_str()])).await?)
    }

    /// Points the channel at the release before; its digest.
    pub async fn rollback(&self) -> Result<String> {
        let key = self.key();
        let args = ["rollback".as_ref(), "--to".as_ref(), CHANNEL.as_ref(), "--key".as_ref(), key.as_os_str()];
        digest(&self.cli.json(args).await?)
    }

    /// The key that signs, to sign what no command would.
    pub fn signing_key(&self) -> Result<SigningKey> {
        Ok(SigningKey::read(&self.key())?)
    }

    /// A connection of our own to the core, to look at it and to tamper with it.
    pub async fn link(&self) -> Result<Arc<NatsLink>> {
        let config = NatsConfig { url: self.nats.url(), ..NatsConfig::default() };
        let link = NatsLink::connect(config, &Clock::new()).await?;
        ensure!(link.connected(Duration::from_secs(10)).await, "the core at {} does not answer", self.nats.url());
        Ok(link)
    }

    /// The counter of the channel's pointer.
    pub async fn counter(&self) -> Result<u64> {
        let value = self.link().await?.read_channel(CHANNEL).await?.context("the channel has no pointer")?;
        Ok(Pointer::read(CHANNEL, &value.bytes)?.counter)
    }

    /// Points the channel to `release` without a command, signed as it should be.
    pub async fn point(&self, link: &NatsLink, release: Digest, counter: u64) -> Result<()> {
        let pointer = Pointer { release, canary: None, counter, expires_us: Clock::new().now_us() + HOUR_US };
        self.write_pointer(link, &pointer.sign(CHANNEL, &self.signing_key()?)).await
    }

    /// Writes any bytes as the channel's value.
    pub async fn write_pointer(&self, link: &NatsLink, value: &[u8]) -> Result<()> {
        let revision = link.read_channel(CHANNEL).await?.map_or(0, |value| value.revision);
        link.write_channel(CHANNEL, value.to_vec(), revision).await?;
        Ok(())
    }

    /// Writes one row of features.
    pub async fn put(&self, view: &str, key: &str, row: &Value) -> Result<()> {
        self.cli.run(["features", "put", view, key, &row.to_string()]).await?.ok().map(|_| ())
    }

    /// Writes many rows of features, each an object with its `_key`.
    pub async fn push(&self, view: &str, rows: impl IntoIterator<Item = Value>) -> Result<()> {
        let file = self.path(&format!("{view}.jsonl"));
        let lines: String = rows.into_iter().map(|row| format!("{row}\n")).collect();
        fs::write(&file, lines)?;
        let args = ["features".as_ref(), "push".as_ref(), file.as_os_str(), "--view".as_ref(), view.as_ref()];
        self.cli.run(args).await?.ok().map(|_| ())
    }
}

fn digest(printed: &Value) -> Result<String> {
    printed["release"].as_str().map(str::to_owned).with_context(|| format!("no \"release\" in {printed}"))
}
