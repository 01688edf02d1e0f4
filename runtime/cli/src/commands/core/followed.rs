//! A channel that a service at the core follows: the plan of the release that it points to, whenever that is another.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context as _;
use selvedge_build::channel::{self, Pointer};
use selvedge_build::keys::TrustStore;
use selvedge_decision::{Digest, Plan};
use selvedge_node::clock::Clock;
use selvedge_node::link::NatsLink;

use super::{fetch_plan, plan_of};
use crate::output::{Output, Usage};

/// Where a service's release comes from.
#[derive(Debug, clap::Args)]
pub(super) struct ReleaseArgs {
    /// Go by a release file or a folder, whatever any channel says.
    #[arg(long, value_name = "PATH", conflicts_with_all = ["channel", "trust"])]
    release: Option<PathBuf>,
    /// The channel to whose release it goes.
    #[arg(long, value_name = "NAME", default_value = "prod")]
    channel: String,
    /// A file with public keys; with any, a channel or a release that none of them signed is not followed.
    #[arg(long, value_name = "FILE")]
    trust: Vec<PathBuf>,
}

/// A channel and what was followed last.
pub(super) struct Followed<'a> {
    nats: &'a NatsLink,
    channel: &'a str,
    trust: Option<TrustStore>,
    clock: Clock,
    counter: u64,
    release: Option<Digest>,
    /// What was told last, so that it is told once.
    told: String,
}

/// How often the channel is read.
const READ_EVERY: Duration = Duration::from_secs(1);

// === impl ReleaseArgs ===

impl ReleaseArgs {
    /// The plan of the release that is named, if one is.
    pub(super) fn fixed(&self) -> anyhow::Result<Option<Plan>> {
        if !channel::is_name(&self.channel) {
            let why = format!("{:?} is no channel: a name has 1 to 64 characters of a-z, 0-9 and -", self.channel);
            return Err(Usage(why).into());
        }
        self.release.as_deref().map(plan_of).transpose()
    }

    /// The channel, of which nothing was followed yet.
    pub(super) fn follow<'a>(&'a self, nats: &'a NatsLink) -> Followed<'a> {
        let trust = (!self.trust.is_empty()).then(|| TrustStore::from_files(self.trust.clone()));
        let (clock, told) = (Clock::new(), String::new());
        Followed { nats, channel: &self.channel, trust, clock, counter: 0, release: None, told }
    }
}

// === impl Followed ===

impl Followed<'_> {
    /// The channel.
    pub(super) fn channel(&self) -> &str {
        self.channel
    }

    /// Waits until it points to another release than before. What keeps it from that is told, once, and tried again.
    pub(super) async fn next(&mut self, output: &Output) -> (Digest, Plan) {
        let mut ticks = tokio::time::interval(READ_EVERY);
        loop {
            ticks.tick().await;
            match self.news().await {
                Ok(Some(news)) => {
                    self.told.clear();
                    return news;
                }
                Ok(None) => {}
                Err(error) => {
                    let why = format!("{error:#}");
                    if self.told != why {
                        output.talk(&why);
                        self.told = why;
                    }
                }
            }
        }
    }

    async fn news(&mut self) -> anyhow::Result<Option<(Digest, Plan)>> {
        let value = self.nats.read_channel(self.channel).await?;
        let value = value.with_context(|| format!("channel {} has no pointer yet; deploy to it", self.channel))?;
        let pointer = match &self.trust {
            Some(trust) => Pointer::verify(self.channel, &value.bytes, trust, self.clock.now_us(), self.counter)?,
            None => Pointer::read(self.channel, &value.bytes)?,
        };
        if self.release == Some(pointer.release) {
            return Ok(None);
        }
        let plan = fetch_plan(self.nats, &pointer.release, self.trust.as_ref()).await?;
        (self.counter, self.release) = (pointer.counter, Some(pointer.release));
        Ok(Some((pointer.release, plan)))
    }
}
