//! `selvedge core bandits`: merges what all nodes learned, for the policies of the release that its channel points to now, and of
//! its canary.

use std::sync::Arc;

use selvedge_decision::plan::Bandit;
use selvedge_node::bandits::{Beside, Did, Merger, learn};
use selvedge_node::link::NatsLink;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;

use super::followed::ReleaseArgs;
use super::permissions::LEARNS;
use crate::core::{CoreArgs, block_on};
use crate::output::{Outcome, Output};

#[derive(Debug, clap::Args)]
#[command(
    after_help = "Reads the stream EVENTS and writes the bucket `bandits`, a value for each policy that learns. One is enough: \
    of two one ends, mostly the one that was started later, with exit code 1. It may end at any time, also by force: it goes on \
    where it stood and counts no decision and no reward twice. Tells what it does on standard output; stops on SIGTERM."
)]
pub(crate) struct Args {
    #[command(flatten)]
    release: ReleaseArgs,
    /// So many decisions of each policy are remembered for their rewards, about 250 bytes each and one for each feature of a model; of
    /// more the oldest are let go of.
    #[arg(long, value_name = "N", default_value_t = 1_000_000)]
    decisions: usize,
    #[command(flatten)]
    core: CoreArgs,
}

/// Who learns, what at the moment, and where it is told that another does the same.
struct Learning {
    own: Merger,
    running: Option<Running>,
    beside: mpsc::Sender<Beside>,
}

struct Running {
    bandits: Vec<Bandit>,
    stop: watch::Sender<bool>,
    task: JoinHandle<()>,
}

// === impl Args ===

impl Args {
    pub(crate) fn run(self, output: &Output) -> anyhow::Result<Outcome> {
        let fixed = self.release.fixed()?;
        if let Some(plan) = &fixed
            && plan.bandits.is_empty()
        {
            anyhow::bail!("release {:?} has no policy that learns: nothing to merge", plan.name);
        }
        block_on(0, async {
            let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
            let nats = self.core.connect_as(LEARNS).await?;
            let (beside, mut another) = mpsc::channel(1);
            let mut learning = Learning { own: Merger::beginning(), running: None, beside };
            let work = async {
                if let Some(plan) = fixed {
                    self.become_those(&mut learning, &nats, plan.bandits, output).await;
                    return std::future::pending().await;
                }
                self.follow(&mut learning, &nats, output).await
            };
            tokio::select! {
                () = work => {}
                Some(beside) = another.recv() => return Err(anyhow::Error::from(beside)),
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
            self.become_those(&mut learning, &nats, Vec::new(), output).await;
            Ok(Outcome::Ok)
        })
    }

    /// Learns by what the channel points to, for ever.
    async fn follow(&self, learning: &mut Learning, nats: &Arc<NatsLink>, output: &Output) {
        let mut followed = self.release.follow(nats);
        loop {
            let news = followed.next(output).await;
            let bandits = news.all(|plan| plan.bandits.clone(), |spec| &spec.key);
            let names: Vec<&str> = bandits.iter().map(|spec| spec.key.as_str()).collect();
            let names = if names.is_empty() { "nothing".to_owned() } else { names.join(", ") };
            output.talk(format_args!("{} points to {news}: learns for {names}", followed.channel()));
            self.become_those(learning, nats, bandits, output).await;
        }
    }

    /// Learns for these and no others.
    async fn become_those(&self, learning: &mut Learning, nats: &Arc<NatsLink>, wanted: Vec<Bandit>, output: &Output) {
        if learning.running.as_ref().is_some_and(|running| running.bandits == wanted) {
            return;
        }
        if let Some(Running { stop, task, .. }) = learning.running.take() {
            stop.send_replace(true);
            if task.await.is_err() {
                output.talk("the learning broke off");
            }
        }
        if wanted.is_empty() {
            return;
        }
        let (stop, stops) = watch::channel(false);
        let output = *output;
        let tell = move |did: Did| {
            let text = did.to_string();
            // Whoever read this has gone: the learning goes on.
            drop(output.data(&did, &text));
        };
        let learns = learn(Arc::clone(nats), wanted.clone(), (learning.own, self.decisions), tell, stops);
        let beside = learning.beside.clone();
        let task = tokio::spawn(async move {
            if let Err(another) = learns.await {
                // Whoever would hear of it ends already.
                beside.send(another).await.ok();
            }
        });
        learning.running = Some(Running { bandits: wanted, stop, task });
    }
}
