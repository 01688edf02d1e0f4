//! The stage: a core, two nodes, and the service that merges what they learn; the shop's folder, deployed again when a file in it
//! is saved. Owns the processes.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use anyhow::{Context, Result};
use selvedge_decision::{Epoch, NodeId};
use selvedge_suite::harness::node::CHANNEL;
use selvedge_suite::harness::{Cli, Node, Process, Rig, wait};
use tokio::sync::{mpsc, oneshot};

use crate::balancer::Backend;
use crate::stock::Stock;

const NODES: [&str; 2] = ["edge-1", "edge-2"];
const LIMIT: Duration = Duration::from_secs(60);
/// How often the shop's folder is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// What runs.
#[derive(Debug)]
pub(crate) struct Stage {
    // Before the rig, so that they end first.
    nodes: Vec<Node>,
    bandits: Process,
    rig: Rig,
}

/// What may be asked of the stage while it stands.
#[derive(Debug)]
pub(crate) struct SetCore {
    /// Whether the core shall run.
    pub(crate) up: bool,
    pub(crate) done: oneshot::Sender<Result<()>>,
}

/// Deploys the shop's folder.
#[derive(Debug, Clone)]
pub(crate) struct Deployer {
    cli: Cli,
    key: PathBuf,
    shop: PathBuf,
}

// === impl Stage ===

impl Stage {
    /// Starts the core and both nodes, pushes the catalogue, deploys the shop, and waits until both serve it.
    pub(crate) async fn start(shop: &Path, stock: &Stock) -> Result<Self> {
        let rig = Rig::start().await?;
        // A page is answered by one node and tells what came of it to the other: both seal with one key.
        let tokens = rig.path("tokens.key");
        rig.cli.run(["ids".as_ref(), "keygen".as_ref(), tokens.as_os_str()]).await?.ok()?;
        let mut nodes = Vec::new();
        for name in NODES {
            nodes.push(Node::start(rig.spec(name).set(format!("tokens.key={}", tokens.display()))).await?);
        }
        rig.push("item", stock.rows()).await.context("pushing the catalogue")?;
        let deployer = Deployer { cli: rig.cli.clone(), key: rig.key(), shop: shop.to_owned() };
        let release = deployer.deploy().await?;
        for node in &nodes {
            node.runs(&release, LIMIT).await?;
            node.wait_for("ready", LIMIT).await?;
        }
        let bandits = rig.core_bandits("bandits").await?;
        Ok(Self { nodes, bandits, rig })
    }

    pub(crate) fn deployer(&self, shop: &Path) -> Deployer {
        Deployer { cli: self.rig.cli.clone(), key: self.rig.key(), shop: shop.to_owned() }
    }

    pub(crate) fn cli(&self) -> Cli {
        self.rig.cli.clone()
    }

    /// A path in the folder of this run.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.rig.path(name)
    }

    pub(crate) fn backends(&self) -> Vec<Backend> {
        let backend = |node: &Node| Backend { name: node.spec.name.clone(), http: node.http, admin: node.admin };
        self.nodes.iter().map(backend).collect()
    }

    /// By the tag in the ids of their decisions, the names of the nodes.
    pub(crate) fn tags(&self) -> Result<BTreeMap<u32, String>> {
        let tag = |node: &Node| {
            let epoch = Epoch(u64::from_str_radix(&node.epoch, 16).context("an epoch")?);
            Ok((NodeId::try_from(node.spec.name.clone())?.tag(epoch), node.spec.name.clone()))
        };
        self.nodes.iter().map(tag).collect()
    }

    /// Where the core is.
    pub(crate) fn core(&self) -> String {
        self.rig.nats.url()
    }

    /// Does what it is asked, for ever: it owns the processes, so it alone starts and stops them.
    pub(crate) async fn stand(mut self, mut asked: mpsc::Receiver<SetCore>) {
        let mut is_up = true;
        while let Some(SetCore { up, done }) = asked.recv().await {
            let result = if up == is_up { Ok(()) } else { self.set_core(up).await };
            if result.is_ok() {
                is_up = up;
            }
            // Who asked may have gone meanwhile.
            drop(done.send(result));
        }
    }

    /// Stops nats-server without a word, or starts it again where it was.
    async fn set_core(&mut self, is_up: bool) -> Result<()> {
        if !is_up {
            return self.rig.nats.kill();
        }
        self.rig.nats.restart().await?;
        // It ends when it loses the core, as a service does that something else starts again.
        if !self.bandits.running() {
            self.bandits = self.rig.core_bandits("bandits").await?;
        }
        Ok(())
    }
}

// === impl Deployer ===

impl Deployer {
    /// Packs and deploys; the release's digest.
    pub(crate) async fn deploy(&self) -> Result<String> {
        let words = ["deploy".as_ref(), self.shop.as_os_str(), "--to".as_ref(), CHANNEL.as_ref(), "--key".as_ref()];
        let said = self.cli.json(words.into_iter().chain([self.key.as_os_str()])).await?;
        said["release"].as_str().map(str::to_owned).with_context(|| format!("no release in {said}"))
    }

    /// Deploys whenever a file is saved, and pushes the catalogue when that is; says on stderr what it did. For ever.
    pub(crate) async fn watch(self, stock: Arc<Stock>) {
        let mut last = prints(&self.shop);
        loop {
            wait::pass(LOOK_EVERY).await;
            let now = prints(&self.shop);
            if now == last {
                continue;
            }
            let start = Instant::now();
            let is_catalogue = |prints: &Prints| prints.get(&self.shop.join("features/item.jsonl")).copied();
            let done = if is_catalogue(&now) == is_catalogue(&last) {
                self.deploy().await.map(|release| format!("deployed {}", release.get(..19).unwrap_or(&release)))
            } else {
                stock.read_again(&self.shop).map(|()| "pushed the catalogue".to_owned())
            };
            match done {
                Ok(done) => eprintln!("saved: {done} in {:.2} s", start.elapsed().as_secs_f64()),
                Err(error) => eprintln!("saved, but the shop stays as it was: {error:#}"),
            }
            last = now;
        }
    }
}

/// What tells that a file was saved.
type Prints = BTreeMap<PathBuf, (u64, Option<SystemTime>)>;

/// Of every file in a folder; editors' own files, which begin with a dot or end in `~`, are passed by.
fn prints(folder: &Path) -> Prints {
    let mut prints = Prints::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
            let name = entry.file_name();
            let name = name.to_string_lossy();
            let Ok(meta) = entry.metadata() else { continue };
            if name.starts_with('.') || name.ends_with('~') || name == "out" {
                continue;
            } else if meta.is_dir() {
                folders.push(entry.path());
            } else {
                prints.insert(entry.path(), (meta.len(), meta.modified().ok()));
            }
        }
    }
    prints
}
