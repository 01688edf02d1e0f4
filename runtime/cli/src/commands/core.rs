//! `selvedge core`: what the core of many nodes needs, and the services that stand beside NATS there.

mod bandits;
#[cfg(feature = "lake")]
mod dataset;
mod features;
mod followed;
mod init;
#[cfg(feature = "lake")]
mod lake;
mod permissions;

use std::path::Path;
use std::time::Duration;

use anyhow::Context as _;
use selvedge_build::channel::Pointer;
use selvedge_build::definitions;
use selvedge_build::keys::{SigningKey, TrustStore};
use selvedge_build::release::{self, Limits, ReleaseFiles};
use selvedge_decision::definition::FeaturesDef;
use selvedge_decision::{Digest, Plan};
use selvedge_node::link::NatsLink;

use crate::files::read_file;
use crate::output::{Outcome, Output};

const MAX_FILE_BYTES: u64 = 1 << 20;
/// How long fetching a release may take.
const FETCH_WITHIN: Duration = Duration::from_secs(60);

#[derive(Debug, clap::Subcommand)]
pub(crate) enum Command {
    /// Make the stream and the buckets that nodes use, with their settings; tell what differs.
    Init(init::Args),
    /// Land events, rewards and decisions as files of Parquet, each once.
    #[cfg(feature = "lake")]
    Lake(lake::Args),
    /// Make rows to train with: decisions, the inputs they used and what they brought.
    #[cfg(feature = "lake")]
    Dataset(dataset::Args),
    /// Print the rights that the user of a node, of `core features` or of `core bandits` needs on the NATS server, and no more.
    Permissions(permissions::Args),
    /// Count what events come to for people, items and pairs, and give it to all nodes; runs until it is told to stop.
    Features(features::Args),
    /// Merge what nodes learned for policies that explore, and give it to all nodes; runs until it is told to stop.
    Bandits(bandits::Args),
}

// === impl Command ===

impl Command {
    pub(crate) fn run(self, output: &Output) -> anyhow::Result<Outcome> {
        match self {
            Self::Init(args) => args.run(output),
            #[cfg(feature = "lake")]
            Self::Lake(args) => args.run(output),
            #[cfg(feature = "lake")]
            Self::Dataset(args) => args.run(output),
            Self::Permissions(args) => args.run(output),
            Self::Features(args) => args.run(output),
            Self::Bandits(args) => args.run(output),
        }
    }
}

/// The plan of a release file, or of a folder.
pub(crate) fn plan_of(source: &Path) -> anyhow::Result<Plan> {
    let limits = Limits::default();
    let bytes = if source.is_dir() {
        // Packed to be read alone; the key signs nothing that is kept.
        release::pack(source, &SigningKey::generate()?)?.bytes
    } else {
        read_file(source, limits.max_total_bytes)?
    };
    compile(&release::open(&bytes, &limits)?).with_context(|| source.display().to_string())
}

/// The plan of the release that a channel points to; `None` when it points to none.
pub(crate) async fn plan_of_channel(nats: &NatsLink, name: &str) -> anyhow::Result<Option<Plan>> {
    let Some(value) = nats.read_channel(name).await? else { return Ok(None) };
    Ok(Some(fetch_plan(nats, &Pointer::read(name, &value.bytes)?.release, None).await?))
}

/// The plan of a release at the core; with `trust` one of its keys has to have signed it.
pub(crate) async fn fetch_plan(nats: &NatsLink, wanted: &Digest, trust: Option<&TrustStore>) -> anyhow::Result<Plan> {
    let limits = Limits::default();
    let bytes = nats.fetch_release(wanted, limits.max_total_bytes, FETCH_WITHIN).await?;
    let files = release::open(&bytes, &limits)?;
    anyhow::ensure!(files.digest == *wanted, "asked for {wanted}, got {}", files.digest);
    if let Some(trust) = trust {
        files.verify(trust)?;
    }
    tokio::task::spawn_blocking(move || compile(&files)).await?
}

fn compile(files: &ReleaseFiles) -> anyhow::Result<Plan> {
    Ok(release::definition(files)?.compile()?)
}

/// What a release folder says of views.
fn features_of(folder: &Path) -> anyhow::Result<FeaturesDef> {
    let path = folder.join("features.toml");
    let bytes = read_file(&path, MAX_FILE_BYTES)?;
    let name = path.display().to_string();
    let text = String::from_utf8(bytes).with_context(|| format!("{name} is not UTF-8"))?;
    definitions::features(&text).with_context(|| name)
}

/// The views that `core features` counts.
fn counted(features: &FeaturesDef) -> Vec<String> {
    let views = features.view.iter().filter(|(_, def)| def.is_counted_at_the_core());
    views.map(|(name, _)| name.clone()).collect()
}
