//! `selvedge deploy`: puts a release into the core and points a channel to it, for all or as a canary. Owns what is told of a pointer that
//! was written, here and by `promote` and `rollback`; how it is written is the node's `releases/point.rs`.

mod canary;
mod gate;
mod wait;

use std::path::PathBuf;

use selvedge_build::channel::{self, Canary, Pointer, time_text};
use selvedge_build::keys::SigningKey;
use selvedge_build::release::{self, Limits};
use selvedge_decision::definition::Span;
use selvedge_decision::{Digest, Plan};
use selvedge_node::clock::Clock;
use selvedge_node::link::NatsLink;
use selvedge_node::releases::point::{self, Now, Pointed};
use serde::Serialize;

use self::canary::CanaryArgs;
use self::gate::GateArgs;
use self::wait::{Before, Target};
use super::core::fetch_plan;
use super::release::{check_modules, pack_folder};
use crate::cli::span;
use crate::core::{CoreArgs, block_on};
use crate::files::read_file;
use crate::output::{Outcome, Output, Usage};

#[derive(Debug, clap::Args)]
#[command(
    after_help = "The nodes of the channel fetch the release, verify it and swap; those that refuse it say why in \
    `selvedge status`. With --share it decides for a share of the subjects beside what runs, as long as it is no worse: then \
    `selvedge promote` or `selvedge rollback`. A folder is packed after the channel's release: of its experiments that go on, no \
    more people change their arm than must."
)]
pub(crate) struct Args {
    /// A release file, or a folder, which is packed first.
    source: PathBuf,
    #[command(flatten)]
    to: ChannelArgs,
    #[command(flatten)]
    gate: GateArgs,
    #[command(flatten)]
    canary: CanaryArgs,
    #[command(flatten)]
    core: CoreArgs,
}

/// The channel, and how its pointer is written.
#[derive(Debug, clap::Args)]
pub(super) struct ChannelArgs {
    /// The channel.
    #[arg(long = "to", value_name = "CHANNEL")]
    channel: String,
    /// The secret key to sign with.
    #[arg(long, value_name = "FILE")]
    key: PathBuf,
    /// How long nodes may follow this pointer; what runs goes on after that.
    #[arg(long, default_value_t = point::VALID_FOR, value_name = "TIME", value_parser = span)]
    expires: Span,
    /// Wait until every node that it concerns runs the release, or one refuses it.
    #[arg(long)]
    wait: bool,
    /// How long to wait at most.
    #[arg(long, default_value = "60s", value_name = "TIME", value_parser = span)]
    timeout: Span,
}

/// A pointer that was written.
#[derive(Debug, Serialize)]
struct Deployed {
    channel: String,
    release: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    canary: Option<Canary>,
    counter: u64,
    expires: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    nodes: Option<Vec<wait::NodeState>>,
}

// === impl Args ===

impl Args {
    pub(crate) fn run(self, output: &Output) -> anyhow::Result<Outcome> {
        self.gate.check()?;
        let key = self.to.key()?;
        block_on(0, async {
            let nats = self.core.connect().await?;
            let now = self.to.now(&nats).await?;
            let is_compared = self.source.is_dir() || self.canary.share.is_some();
            let running = match &now.pointer {
                Some(pointer) if is_compared => self.running(&nats, pointer, output).await,
                Some(_) | None => None,
            };
            let Some((digest, bytes)) = self.packed(&key, running.as_ref(), output)? else {
                return Ok(Outcome::Findings);
            };
            if !self.gate.passes(&nats, (self.to.channel(), &self.core), &bytes, output).await? {
                return Ok(Outcome::Findings);
            }
            let pointed = match self.canary.share {
                None => Pointed { release: digest, canary: None },
                Some(share_bp) => {
                    let before = now.pointer.as_ref().ok_or_else(|| canary::nothing_beside(self.to.channel()))?;
                    if let Some(running) = &running {
                        canary::decides_all(running, &plan_of_bytes(&bytes)?)?;
                    }
                    let canary = self.canary.of(digest, share_bp, before)?;
                    self.to.somebody_fits(&nats, &canary).await?;
                    Pointed { release: before.release, canary: Some(canary) }
                }
            };
            let new = nats.put_release(&digest, &bytes).await?;
            output.talk(format_args!("{digest} {}", if new { "put into the core" } else { "is in the core already" }));
            self.to.point(&nats, &key, now, pointed, output).await
        })
    }

    /// The plan of the release that the channel points to. A deploy mends what is broken, so one that cannot be read is no reason
    /// against it.
    async fn running(&self, nats: &NatsLink, pointer: &Pointer, output: &Output) -> Option<Plan> {
        let plan = fetch_plan(nats, &pointer.release, None).await;
        plan.inspect_err(|why| {
            output.talk(format_args!(
                "{} cannot be read, so experiments that go on begin with new slots: {why:#}",
                pointer.release
            ));
        })
        .ok()
    }

    /// The release file and its digest; `None` when something in the folder is wrong, which was told then.
    fn packed(
        &self,
        key: &SigningKey,
        running: Option<&Plan>,
        output: &Output,
    ) -> anyhow::Result<Option<(Digest, Vec<u8>)>> {
        if self.source.is_dir() {
            let packed = pack_folder(&self.source, key, running, output)?;
            return Ok(packed.map(|packed| (packed.digest, packed.bytes)));
        }
        let limits = Limits::default();
        let bytes = read_file(&self.source, limits.max_total_bytes)?;
        let files = release::open(&bytes, &limits)?;
        release::definition(&files)?.compile()?;
        if let Some(finding) = check_modules(&files)?.into_iter().next() {
            anyhow::bail!("{finding}");
        }
        Ok(Some((files.digest, bytes)))
    }
}

fn plan_of_bytes(bytes: &[u8]) -> anyhow::Result<Plan> {
    let files = release::open(bytes, &Limits::default())?;
    Ok(release::definition(&files)?.compile()?)
}

// === impl ChannelArgs ===

impl ChannelArgs {
    pub(super) fn channel(&self) -> &str {
        &self.channel
    }

    pub(super) fn key(&self) -> anyhow::Result<SigningKey> {
        if !channel::is_name(&self.channel) {
            let why = format!("{:?} is no channel: a name has 1 to 64 characters of a-z, 0-9 and -", self.channel);
            return Err(Usage(why).into());
        }
        Ok(SigningKey::read(&self.key)?)
    }

    /// What the channel says now.
    pub(super) async fn now(&self, nats: &NatsLink) -> anyhow::Result<Now> {
        Ok(Now::read(nats, &self.channel).await?)
    }

    /// Whether a canary finds a node, where it asks for labels.
    async fn somebody_fits(&self, nats: &NatsLink, canary: &Canary) -> anyhow::Result<()> {
        Before::look(nats, &self.channel).await?.somebody_fits(canary)
    }

    /// Makes the channel say `pointed` instead of what it says `now`, and waits for its nodes when asked to.
    pub(super) async fn point(
        &self,
        nats: &NatsLink,
        key: &SigningKey,
        now: Now,
        pointed: Pointed,
        output: &Output,
    ) -> anyhow::Result<Outcome> {
        let before = Before::look(nats, &self.channel).await?;
        let pointer = now.followed_by(pointed, before.highest_counter(), self.expires, Clock::new().now_us());
        now.replace(nats, &pointer, key).await?;

        let Pointer { release, canary, counter, expires_us } = pointer;
        let channel = self.channel.clone();
        let expires = time_text(expires_us);
        let beside = canary.as_ref().map(canary::text).unwrap_or_default();
        output.talk(format_args!("{} points to {release}{beside}, counter {counter}, until {expires}", self.channel));
        // For people, what was asked for.
        let told = canary.as_ref().map_or(release, |canary| canary.release);
        let target = Target { release, canary: canary.clone(), counter };
        let release = release.to_string();
        let mut deployed = Deployed { channel, release, canary, counter, expires, nodes: None };
        if !self.wait {
            output.data(&deployed, told)?;
            return Ok(Outcome::Ok);
        }
        let waited = wait::wait(nats, &before, &target, self.timeout, output).await?;
        let all_run = waited.all_run;
        deployed.nodes = Some(waited.nodes);
        output.data(&deployed, told)?;
        Ok(Outcome::of(all_run))
    }
}
