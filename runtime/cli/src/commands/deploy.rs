//! `selvedge deploy`: puts a release into the core and points a channel to it.

mod gate;
mod wait;

use std::path::PathBuf;

use selvedge_build::channel::{self, Pointer, time_text};
use selvedge_build::keys::SigningKey;
use selvedge_build::release::{self, Limits};
use selvedge_decision::definition::Span;
use selvedge_decision::{Digest, TimeUs};
use selvedge_node::clock::Clock;
use selvedge_node::link::NatsLink;
use serde::Serialize;

use self::gate::GateArgs;
use self::wait::Before;
use super::release::{check_modules, pack_folder};
use crate::cli::span;
use crate::core::{CoreArgs, block_on};
use crate::files::read_file;
use crate::output::{Outcome, Output, Usage};

#[derive(Debug, clap::Args)]
#[command(
    after_help = "The nodes of the channel fetch the release, verify it and swap; those that refuse it say why in \
    `selvedge status`."
)]
pub(crate) struct Args {
    /// A release file, or a folder, which is packed first.
    source: PathBuf,
    #[command(flatten)]
    to: ChannelArgs,
    #[command(flatten)]
    gate: GateArgs,
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
    #[arg(long, default_value = "30d", value_name = "TIME", value_parser = span)]
    expires: Span,
    /// Wait until every node of the channel runs the release, or one refuses it.
    #[arg(long)]
    wait: bool,
    /// How long to wait at most.
    #[arg(long, default_value = "60s", value_name = "TIME", value_parser = span)]
    timeout: Span,
}

/// How far counters may be ahead of the time, in seconds: one year.
const FAR_AHEAD_S: u64 = 365 * 24 * 3600;

/// A pointer that was written.
#[derive(Debug, Serialize)]
struct Deployed {
    channel: String,
    release: String,
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
        let (digest, bytes) = if self.source.is_dir() {
            match pack_folder(&self.source, &key, None, output)? {
                Some(packed) => (packed.digest, packed.bytes),
                None => return Ok(Outcome::Findings),
            }
        } else {
            let limits = Limits::default();
            let bytes = read_file(&self.source, limits.max_total_bytes)?;
            let files = release::open(&bytes, &limits)?;
            release::definition(&files)?.compile()?;
            if let Some(finding) = check_modules(&files)?.into_iter().next() {
                anyhow::bail!("{finding}");
            }
            (files.digest, bytes)
        };
        block_on(0, async {
            let nats = self.core.connect().await?;
            if !self.gate.passes(&nats, (self.to.channel(), &self.core), &bytes, output).await? {
                return Ok(Outcome::Findings);
            }
            let new = nats.put_release(&digest, &bytes).await?;
            output.talk(format_args!("{digest} {}", if new { "put into the core" } else { "is in the core already" }));
            self.to.point(&nats, &key, digest, output).await
        })
    }
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

    /// Points the channel to `release`, and waits for its nodes when asked to.
    pub(super) async fn point(
        &self,
        nats: &NatsLink,
        key: &SigningKey,
        release: Digest,
        output: &Output,
    ) -> anyhow::Result<Outcome> {
        let clock = Clock::new();
        let before = Before::look(nats, &self.channel).await?;
        let current = nats.read_channel(&self.channel).await?;
        let last = match &current {
            // One that cannot be read is replaced: that is how a broken channel is mended.
            Some(value) => Pointer::read(&self.channel, &value.bytes).map_or(0, |pointer| pointer.counter),
            None => 0,
        };
        let now_us = clock.now_us();
        let counter = next_counter(last, before.highest_counter(), now_us);
        let expires_us = now_us.saturating_add(self.expires.us());
        let pointer = Pointer { release, canary: None, counter, expires_us };
        let revision = current.map_or(0, |value| value.revision);
        nats.write_channel(&self.channel, pointer.sign(&self.channel, key), revision).await?;

        let channel = self.channel.clone();
        let expires = time_text(expires_us);
        let mut deployed = Deployed { channel, release: release.to_string(), counter, expires, nodes: None };
        output
            .talk(format_args!("{} points to {release}, counter {counter}, until {}", self.channel, deployed.expires));
        if !self.wait {
            output.data(&deployed, release)?;
            return Ok(Outcome::Ok);
        }
        let waited = wait::wait(nats, &before, release, counter, self.timeout, output).await?;
        let all_run = waited.all_run;
        deployed.nodes = Some(waited.nodes);
        output.data(&deployed, release)?;
        Ok(Outcome::of(all_run))
    }
}

/// Above every counter known, and never below the time in seconds: when the bucket is lost and made anew, nodes that
/// remember higher counters still follow. A counter far above the time is nobody's but a forger's, who would have us sign
/// the last one there is.
fn next_counter(channel: u64, nodes: u64, now_us: TimeUs) -> u64 {
    let seconds = u64::try_from(now_us / 1_000_000).unwrap_or(0);
    let believed = [channel, nodes].into_iter().filter(|counter| *counter <= seconds.saturating_add(FAR_AHEAD_S));
    believed.max().unwrap_or(0).saturating_add(1).max(seconds)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_counter_is_above_all_that_nodes_may_remember() {
        let check = |channel, nodes, now_us, expected| assert_eq!(next_counter(channel, nodes, now_us), expected);
        check(0, 0, 1_700_000_000_500_000, 1_700_000_000);
        check(1_700_000_000, 0, 1_700_000_000_500_000, 1_700_000_001);
        check(5, 1_720_000_000, 1_700_000_000_500_000, 1_720_000_001);
        check(u64::MAX, 1_700_000_009, 1_700_000_000_500_000, 1_700_000_010);
        check(7, 2_000_000_000, 1_700_000_000_500_000, 1_700_000_000);
        check(0, 0, -1, 1);
    }
}
