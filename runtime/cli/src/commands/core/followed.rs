//! A channel that a service at the core follows: the plans of the release that it points to and of its canary, whenever those are
//! others. Owns which of the two wins where both name the same.

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
    releases: Option<Releases>,
    /// What was told last, so that it is told once.
    told: String,
}

/// A channel's release and its canary.
type Releases = (Digest, Option<Digest>);

/// What a channel points to now.
pub(super) struct News {
    release: Digest,
    plan: Plan,
    canary: Option<(Digest, Plan)>,
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
        Followed { nats, channel: &self.channel, trust, clock, counter: 0, releases: None, told }
    }
}

// === impl Followed ===

impl Followed<'_> {
    /// The channel.
    pub(super) fn channel(&self) -> &str {
        self.channel
    }

    /// Waits until it points to another release or canary than before. What keeps it from that is told, once, and tried again.
    pub(super) async fn next(&mut self, output: &Output) -> News {
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

    async fn news(&mut self) -> anyhow::Result<Option<News>> {
        let value = self.nats.read_channel(self.channel).await?;
        let value = value.with_context(|| format!("channel {} has no pointer yet; deploy to it", self.channel))?;
        let pointer = match &self.trust {
            Some(trust) => Pointer::verify(self.channel, &value.bytes, trust, self.clock.now_us(), self.counter)?,
            None => Pointer::read(self.channel, &value.bytes)?,
        };
        let releases = (pointer.release, pointer.canary.map(|canary| canary.release));
        if self.releases == Some(releases) {
            return Ok(None);
        }
        let (release, canary) = releases;
        let plan = fetch_plan(self.nats, &release, self.trust.as_ref()).await?;
        let canary = match canary {
            Some(canary) => Some((canary, fetch_plan(self.nats, &canary, self.trust.as_ref()).await?)),
            None => None,
        };
        (self.counter, self.releases) = (pointer.counter, Some(releases));
        Ok(Some(News { release, plan, canary }))
    }
}

// === impl News ===

impl News {
    /// What `parts` has of the release, and of its canary what the release has none of by that `name`: one name has one value at the
    /// core, and that is the release's.
    pub(super) fn all<T>(&self, parts: impl Fn(&Plan) -> Vec<T>, name: impl Fn(&T) -> &str) -> Vec<T> {
        let mut all = parts(&self.plan);
        for part in self.canary.iter().flat_map(|(_, plan)| parts(plan)) {
            if !all.iter().any(|known| name(known) == name(&part)) {
                all.push(part);
            }
        }
        all
    }
}

impl std::fmt::Display for News {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", self.release)?;
        self.canary.as_ref().map_or(Ok(()), |(canary, _)| write!(f, " and its canary {canary}"))
    }
}
