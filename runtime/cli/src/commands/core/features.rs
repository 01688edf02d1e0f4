//! `selvedge core features`: counts what a release says of people, items and pairs. Owns which views are counted: those of the
//! release that its channel points to now, and of its canary.

use std::sync::Arc;

use selvedge_node::aggregates::{Counted, Did, Part, count};
use selvedge_node::link::NatsLink;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::followed::ReleaseArgs;
use crate::core::{CoreArgs, block_on};
use crate::output::{Outcome, Output};

#[derive(Debug, clap::Args)]
#[command(
    after_help = "Reads the stream EVENTS and writes a bucket for each view with aggregates that is not by session. It may \
    end at any time, also by force: it goes on where it stood and counts no event twice. Run one for each part, I/N for I from \
    1 to N, each with the same N. Tells what it does on standard output; stops on SIGTERM."
)]
pub(crate) struct Args {
    #[command(flatten)]
    release: ReleaseArgs,
    /// Which entities: of N parts the I-th.
    #[arg(long, value_name = "I/N", default_value = "1/1")]
    part: Part,
    /// About so many entities of each view are kept in memory; others are read from the bucket when something happens to them.
    #[arg(long, value_name = "N", default_value_t = 1_000_000)]
    entities: usize,
    #[command(flatten)]
    core: CoreArgs,
}

/// The views that are counted.
struct Running {
    nats: Arc<NatsLink>,
    part: Part,
    entities: usize,
    output: Output,
    views: Vec<(Counted, watch::Sender<bool>, JoinHandle<()>)>,
}

// === impl Args ===

impl Args {
    pub(crate) fn run(self, output: &Output) -> anyhow::Result<Outcome> {
        let fixed = self.release.fixed()?;
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
                self.follow(&nats, &mut running, output).await
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
    async fn follow(&self, nats: &NatsLink, running: &mut Running, output: &Output) -> anyhow::Result<()> {
        let mut followed = self.release.follow(nats);
        loop {
            let news = followed.next(output).await;
            let views = news.all(Counted::of, |counted| &counted.view);
            let names: Vec<&str> = views.iter().map(|counted| counted.view.as_str()).collect();
            let names = if names.is_empty() { "nothing".to_owned() } else { names.join(", ") };
            output.talk(format_args!("{} points to {news}: counts {names}", followed.channel()));
            running.become_those(views).await;
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
