//! `selvedge core features`: counts what a release says of people, items and pairs. Owns which views are counted: those of the
//! release that its channel points to now.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use selvedge_build::channel::{self, Pointer};
use selvedge_build::keys::TrustStore;
use selvedge_decision::Digest;
use selvedge_node::aggregates::{Counted, Did, Part, count};
use selvedge_node::clock::Clock;
use selvedge_node::link::NatsLink;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::{fetch_plan, plan_of};
use crate::core::{CoreArgs, block_on};
use crate::output::{Outcome, Output, Usage};

#[derive(Debug, clap::Args)]
#[command(
    after_help = "Reads the stream EVENTS and writes a bucket for each view with aggregates that is not by session. It may \
    end at any time, also by force: it goes on where it stood and counts no event twice. Run one for each part, I/N for I from \
    1 to N, each with the same N. Tells what it does on standard output; stops on SIGTERM."
)]
pub(crate) struct Args {
    /// Count by a release file or a folder, whatever any channel says.
    #[arg(long, value_name = "PATH", conflicts_with_all = ["channel", "trust"])]
    release: Option<PathBuf>,
    /// The channel whose release says what is counted.
    #[arg(long, value_name = "NAME", default_value = "prod")]
    channel: String,
    /// A file with public keys; with any, a channel or a release that none of them signed is not followed.
    #[arg(long, value_name = "FILE")]
    trust: Vec<PathBuf>,
    /// Which entities: of N parts the I-th.
    #[arg(long, value_name = "I/N", default_value = "1/1")]
    part: Part,
    /// About so many entities of each view are kept in memory; others are read from the bucket when something happens to them.
    #[arg(long, value_name = "N", default_value_t = 1_000_000)]
    entities: usize,
    #[command(flatten)]
    core: CoreArgs,
}

/// How often the channel is read.
const READ_EVERY: Duration = Duration::from_secs(1);

/// The views that are counted.
struct Running {
    nats: Arc<NatsLink>,
    part: Part,
    entities: usize,
    output: Output,
    views: Vec<(Counted, watch::Sender<bool>, JoinHandle<()>)>,
}

/// A channel and what was followed last.
struct Followed<'a> {
    nats: &'a NatsLink,
    channel: &'a str,
    trust: Option<TrustStore>,
    clock: Clock,
    counter: u64,
    release: Option<Digest>,
    /// What was told last, so that it is told once.
    told: String,
}

// === impl Args ===

impl Args {
    pub(crate) fn run(self, output: &Output) -> anyhow::Result<Outcome> {
        if !channel::is_name(&self.channel) {
            let why = format!("{:?} is no channel: a name has 1 to 64 characters of a-z, 0-9 and -", self.channel);
            return Err(Usage(why).into());
        }
        let fixed = self.release.as_deref().map(plan_of).transpose()?;
        if let Some(plan) = &fixed
            && Counted::of(plan).is_empty()
        {
            anyhow::bail!(
                "release {:?} has no view with aggregates that is not by session: nothing to count",
                plan.name
            );
        }
        block_on(0, async {
            let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
            let nats = self.core.connect_as(super::permissions::COUNTS).await?;
            let (part, entities, views) = (self.part, self.entities, Vec::new());
            let mut running = Running { nats: Arc::clone(&nats), part, entities, output: *output, views };
            let work = async {
                if let Some(plan) = &fixed {
                    running.become_those(Counted::of(plan)).await;
                    return std::future::pending().await;
                }
                let trust = (!self.trust.is_empty()).then(|| TrustStore::from_files(self.trust.clone()));
                self.follow(&nats, trust, &mut running, output).await
            };
            tokio::select! {
                done = work => done,
                _ = terminate.recv() => Ok(()),
                _ = interrupt.recv() => Ok(()),
            }?;
            running.become_those(Vec::new()).await;
            Ok(Outcome::Ok)
        })
    }

    /// Counts by what the channel points to, for ever.
    async fn follow(
        &self,
        nats: &NatsLink,
        trust: Option<TrustStore>,
        running: &mut Running,
        output: &Output,
    ) -> anyhow::Result<()> {
        let (channel, told, clock) = (self.channel.as_str(), String::new(), Clock::new());
        let mut followed = Followed { nats, channel, trust, clock, counter: 0, release: None, told };
        let mut ticks = tokio::time::interval(READ_EVERY);
        loop {
            ticks.tick().await;
            match followed.news().await {
                Ok(Some((release, views))) => {
                    let names: Vec<&str> = views.iter().map(|counted| counted.view.as_str()).collect();
                    let names = if names.is_empty() { "nothing".to_owned() } else { names.join(", ") };
                    output.talk(format_args!("{channel} points to {release}: counts {names}"));
                    running.become_those(views).await;
                    followed.told.clear();
                }
                Ok(None) => {}
                Err(error) => followed.tell(output, format!("{error:#}")),
            }
        }
    }
}

// === impl Followed ===

impl Followed<'_> {
    /// What the channel points to, when that is not what is followed.
    async fn news(&mut self) -> anyhow::Result<Option<(Digest, Vec<Counted>)>> {
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
        Ok(Some((pointer.release, Counted::of(&plan))))
    }

    fn tell(&mut self, output: &Output, why: String) {
        if self.told != why {
            output.talk(&why);
            self.told = why;
        }
    }
}

// === impl Running ===

impl Running {
    /// Counts these and no others. What is counted already goes on; what means something else ends first and begins again from
    /// its bucket, with what both have in common.
    async fn become_those(&mut self, wanted: Vec<Counted>) {
        let (keep, end): (Vec<_>, Vec<_>) =
            std::mem::take(&mut self.views).into_iter().partition(|(counted, ..)| wanted.contains(counted));
        self.views = keep;
        for (counted, stop, task) in end {
            stop.send_replace(true);
            if task.await.is_err() {
                self.output.talk(format_args!("{}: the counting broke off", counted.view));
            }
        }
        for counted in wanted {
            if self.views.iter().any(|(running, ..)| *running == counted) {
                continue;
            }
            let (stop, stops) = watch::channel(false);
            let (nats, output) = (Arc::clone(&self.nats), self.output);
            let tell = move |did: Did| {
                // Whoever read this has gone: the counting goes on.
                drop(output.data(&did, &did));
            };
            let task = tokio::spawn(count(nats, counted.clone(), self.part, self.entities, tell, stops));
            self.views.push((counted, stop, task));
        }
    }
}
