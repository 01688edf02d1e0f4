//! Whether another run has this node's name, such as that of a cloned disk. No id is ever used twice, because epochs differ;
//! but two nodes that believe to be one would take each other's place in reports and sessions. Owns the question, the answer,
//! and who yields: the run that started later is not ready while the other one answers. Without a core nobody can be asked.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use selvedge_decision::{Epoch, NodeId, TimeUs};
use serde::{Deserialize, Serialize};
use tokio::sync::watch;
use tokio::time::MissedTickBehavior;

use crate::clock::Clock;
use crate::link::{Link, NatsLink};

/// How often it is asked, and how long answers may take.
const EVERY: Duration = Duration::from_secs(5);
const WAIT: Duration = Duration::from_millis(300);

/// What is known of another run. Cheap to clone: all clones know the same.
#[derive(Debug, Clone, Default)]
pub struct Twin(Arc<watch::Sender<Option<Taken>>>);

/// The name is another run's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Taken {
    /// That run's epoch, 16 hex digits.
    pub epoch: String,
    /// When that run started.
    pub started_us: TimeUs,
    /// Since when this is known.
    pub since_us: TimeUs,
}

/// What a run answers.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
struct Run {
    // First: the later start yields.
    started_us: TimeUs,
    epoch: String,
}

// === impl Twin ===

impl Twin {
    /// The run that this one yields to, while there is one.
    pub fn taken(&self) -> Option<Taken> {
        self.0.borrow().clone()
    }

    /// Answers and asks until `stop`.
    pub async fn run(
        self,
        link: Link,
        node: NodeId,
        epoch: Epoch,
        started_us: TimeUs,
        clock: Clock,
        mut stop: watch::Receiver<bool>,
    ) {
        let Link::Nats(nats) = link else { return };
        let own = Run { started_us, epoch: epoch.to_string() };
        tokio::select! {
            () = answer(&nats, &node, &own) => {}
            () = self.ask(&nats, &node, &own, &clock) => {}
            _ = stop.wait_for(|stop| *stop) => {}
        }
    }

    async fn ask(&self, nats: &NatsLink, node: &NodeId, own: &Run, clock: &Clock) {
        let mut state = nats.state();
        let mut ticks = tokio::time::interval(EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                _ = ticks.tick() => {}
                Ok(()) = state.changed() => {}
            }
            let connected = state.borrow_and_update().is_connected();
            let others = if connected { others(nats, node, own).await } else { Vec::new() };
            self.know(node, own, others, clock.now_us());
        }
    }

    fn know(&self, node: &NodeId, own: &Run, others: Vec<Run>, now_us: TimeUs) {
        let elder = others.into_iter().min().filter(|other| other < own);
        self.0.send_if_modified(|taken| {
            let before = taken.take();
            *taken = elder.map(|run| {
                let known = before.as_ref().filter(|taken| taken.epoch == run.epoch);
                let since_us = known.map_or(now_us, |taken| taken.since_us);
                Taken { epoch: run.epoch, started_us: run.started_us, since_us }
            });
            match (&before, &*taken) {
                (None, Some(taken)) => {
                    tracing::error!(%node, epoch = taken.epoch, "another run has this node's name and is older: not ready");
                }
                (Some(_), None) => tracing::info!(%node, "the other run of this name is gone"),
                _ => {}
            }
            before != *taken
        });
    }
}

/// The other runs that answer; none when they cannot be asked.
async fn others(nats: &NatsLink, node: &NodeId, own: &Run) -> Vec<Run> {
    let answers = match nats.ask_who(node, WAIT).await {
        Ok(answers) => answers,
        Err(error) => {
            tracing::debug!(%error, "nobody could be asked for this node's name");
            return Vec::new();
        }
    };
    let runs = answers.iter().filter_map(|answer| serde_json::from_slice::<Run>(answer).ok());
    runs.filter(|run| run.epoch != own.epoch).collect()
}

async fn answer(nats: &NatsLink, node: &NodeId, own: &Run) {
    // Text and a number: writing them cannot fail.
    let own = Bytes::from(serde_json::to_vec(own).unwrap_or_default());
    match nats.hear_who(node).await {
        Ok(mut questions) => while questions.answer(&own).await {},
        Err(error) => tracing::warn!(%error, "who this node is will not be answered"),
    }
    // The asking goes on.
    std::future::pending::<()>().await;
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a name that is one")]
mod tests {
    use super::*;

    fn run(started_us: TimeUs, epoch: &str) -> Run {
        Run { started_us, epoch: epoch.to_owned() }
    }

    #[test]
    fn the_run_that_started_later_yields_as_long_as_the_other_answers() {
        let node: NodeId = "edge-1".parse().unwrap();
        let (elder, younger) = (run(1, "b"), run(2, "a"));
        let [of_elder, of_younger] = [Twin::default(), Twin::default()];
        of_elder.know(&node, &elder, vec![younger.clone()], 10);
        assert_eq!(of_elder.taken(), None);
        of_younger.know(&node, &younger, vec![elder.clone()], 10);
        of_younger.know(&node, &younger, vec![elder], 20);
        assert_eq!(of_younger.taken(), Some(Taken { epoch: "b".into(), started_us: 1, since_us: 10 }));
        of_younger.know(&node, &younger, Vec::new(), 30);
        assert_eq!(of_younger.taken(), None);
        // Started in the same microsecond: one of the two yields, not both.
        let (one, other) = (run(1, "a"), run(1, "b"));
        of_elder.know(&node, &one, vec![other.clone()], 40);
        of_younger.know(&node, &other, vec![one], 40);
        assert_eq!((of_elder.taken().is_some(), of_younger.taken().is_some()), (false, true));
    }
}
