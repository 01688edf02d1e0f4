//! What policies learn: rewards are joined to the decisions that earned them, on the node at once and at the core for all nodes.
//! Owns a node's share of it: what it learned itself since the core last told what all have learned together.
//!
//! **The core is the only one that merges.** It publishes for each bandit how often each action was chosen and rewarded, and which
//! items of which runs are in those numbers. A node decides by them and by its own items that are not: it never adds what other
//! nodes published, and never counts an item twice.
//!
//! **Whole numbers, whatever the order.** A trial or a reward belongs to the time bucket of its decision. So what comes out is
//! the same for one reader of everything and for many nodes that are cut off, started again and told everything twice.
//!
//! **Nobody waits for it.** What decisions ask is computed here when something was learned, off their way: the contest of Beta
//! distributions, the weights of a model. Until it is there decisions go by what was known before, all of it, and record that.

mod history;
mod kept;
mod learner;
mod ledger;
mod merge;
mod metrics;
mod seen;
mod snapshot;
mod tally;
#[cfg(test)]
mod tests;
mod told;

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use selvedge_decision::{Epoch, NodeId, Plan, Record};
use tokio::sync::{Notify, watch};

pub use self::history::{Features, History};
use self::kept::Kept;
pub use self::learner::Learner;
pub use self::ledger::{Counts, Gain, Ledger, Origin};
pub use self::merge::{Beside, Block, Did, Merging, learn};
pub use self::seen::Seen;
pub use self::snapshot::{Merger, Snapshot};
pub use self::tally::Tally;
pub use self::told::{Action, Told};
use crate::clock::Clock;
use crate::events::Event;
use crate::link::nats::bandits::OFF;
use crate::link::{Link, LinkState};
use crate::outbox::{Follower, Lane};
use crate::releases::write_durably;

/// How often a node asks what the core has learned.
const ASK_EVERY: Duration = Duration::from_secs(1);
/// How often what the core said is written down, at most.
const KEEP_EVERY: Duration = Duration::from_secs(5);
/// How often a node looks whether something is to be weighed.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// What a node has learned. Cheap to clone: all clones are one.
#[derive(Clone)]
pub struct Bandits {
    shared: Arc<Shared>,
}

struct Shared {
    node: NodeId,
    epoch: Epoch,
    clock: Clock,
    learners: Mutex<Vec<Arc<Learner>>>,
    /// Placements that may not explore, `*` for all.
    off: ArcSwap<BTreeSet<String>>,
    /// Something was gained.
    gained: Notify,
    kept: Mutex<Kept>,
    metrics: metrics::Metrics,
}

// === impl Bandits ===

impl Bandits {
    /// Of this run of a node, which keeps at `path` what the core said.
    pub fn new(node: NodeId, epoch: Epoch, clock: Clock, path: PathBuf) -> Self {
        let kept = Kept::read(path);
        let off: BTreeSet<String> =
            kept.value(OFF).and_then(|json| serde_json::from_slice(json).ok()).unwrap_or_default();
        let shared = Shared {
            node,
            epoch,
            clock,
            learners: Mutex::default(),
            off: ArcSwap::from_pointee(off),
            gained: Notify::new(),
            kept: Mutex::new(kept),
            metrics: metrics::Metrics::default(),
        };
        Self { shared: Arc::new(shared) }
    }

    /// Exports what it counts.
    pub fn register(&self, registry: &mut prometheus_client::registry::Registry) {
        self.shared.metrics.register(registry);
    }

    /// The bandits of a release, by the plan's index. One that means the same as before goes on with what it knows.
    pub fn bind(&self, plan: &Plan) -> Vec<Arc<Learner>> {
        let mut learners = lock(&self.shared.learners);
        // Who is held by no release any more.
        learners.retain(|learner| Arc::strong_count(learner) > 1);
        let bound = plan.bandits.iter().map(|spec| {
            if let Some(known) = learners.iter().find(|learner| learner.spec == *spec) {
                return Arc::clone(known);
            }
            let learner = Arc::new(Learner::new(spec.clone()));
            // Another list of actions, say, learns the same.
            if let Some(before) = learners.iter().rev().find(|before| before.learns(spec)) {
                learner.go_on_from(before);
            } else if let Some(said) = lock(&self.shared.kept).value(&spec.key).and_then(Snapshot::read)
                && said.is_of(spec)
            {
                learner.begin_with(said);
            }
            learner.weigh(self.shared.clock.now_us());
            learners.push(Arc::clone(&learner));
            learner
        });
        bound.collect()
    }

    /// Makes what is known now what decisions go by, without the pause that a node makes between two such.
    pub fn weigh(&self) {
        let now_us = self.shared.clock.now_us();
        lock(&self.shared.learners).iter().for_each(|learner| learner.weigh(now_us));
    }

    /// Whether a placement may choose another than the best.
    pub fn explores(&self, placement: &str) -> bool {
        let off = self.shared.off.load();
        off.is_empty() || !(off.contains("*") || off.contains(placement))
    }

    /// Asks the core until `stop`.
    pub async fn run(self, link: Link, mut stop: watch::Receiver<bool>) {
        let mut every = tokio::time::interval(ASK_EVERY);
        every.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut looks = tokio::time::interval(LOOK_EVERY);
        looks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let (mut known, mut told, mut kept_at) = (0, String::new(), Instant::now());
        loop {
            tokio::select! {
                _ = every.tick() => {}
                // What fades does so without any news.
                _ = looks.tick() => {
                    self.weigh_soon().await;
                    continue;
                }
                () = self.shared.gained.notified() => {
                    self.weigh_soon().await;
                    continue;
                }
                () = stopped(&mut stop) => {
                    self.keep().await;
                    return;
                }
            }
            if kept_at.elapsed() >= KEEP_EVERY {
                self.keep().await;
                kept_at = Instant::now();
            }
            let learners: Vec<Arc<Learner>> = lock(&self.shared.learners).clone();
            if let Link::Nats(nats) = &link
                && LinkState::is_connected(&nats.state().borrow())
            {
                // All of them when a release brought a bandit that was not asked for before.
                let after =
                    if learners.iter().all(|learner| learner.asked.load(Ordering::Relaxed)) { known } else { 0 };
                match nats.bandits(after).await {
                    Ok((values, last)) => {
                        known = last;
                        learners.iter().for_each(|learner| learner.asked.store(true, Ordering::Relaxed));
                        self.hear(&values);
                        self.weigh_soon().await;
                        lock(&self.shared.kept).note(&values);
                        told.clear();
                    }
                    Err(error) => {
                        let why = error.to_string();
                        if why != told {
                            tracing::warn!(%error, "what the core has learned cannot be read");
                            told = why;
                        }
                    }
                }
            }
        }
    }

    /// As [`Bandits::weigh`], with that pause and on a thread where nobody waits.
    async fn weigh_soon(&self) {
        let now_us = self.shared.clock.now_us();
        let mut learners = lock(&self.shared.learners).clone();
        learners.retain(|learner| learner.is_to_be_weighed(now_us));
        if learners.is_empty() {
            return;
        }
        let work = move || learners.iter().for_each(|learner| learner.weigh(now_us));
        if let Err(error) = tokio::task::spawn_blocking(work).await {
            tracing::warn!(%error, "what was learned could not be computed: decisions go by what was known before");
        }
    }

    /// Takes what the core published, keys of its bucket and their values; [`Bandits::weigh`] makes it what decisions go by.
    pub fn hear(&self, values: &[(String, Option<bytes::Bytes>)]) {
        let learners: Vec<Arc<Learner>> = lock(&self.shared.learners).clone();
        for (key, json) in values {
            if key == OFF {
                let read = json.as_ref().map_or(Some(BTreeSet::new()), |json| serde_json::from_slice(json).ok());
                let Some(off) = read else {
                    tracing::warn!("where exploring is switched off cannot be read: it stays as it was");
                    continue;
                };
                if **self.shared.off.load() != off {
                    tracing::info!(placements = ?off, "exploring is switched off there and nowhere else");
                    self.shared.off.store(Arc::new(off));
                }
                continue;
            }
            let Some(snapshot) = json.as_ref().and_then(|json| Snapshot::read(json)) else { continue };
            for learner in learners.iter().filter(|learner| snapshot.is_of(&learner.spec)) {
                learner.hear(snapshot.clone(), &self.shared.node, self.shared.epoch);
            }
        }
    }

    /// Writes down what the core said, if it was something new.
    async fn keep(&self) {
        let Some((path, bytes)) = lock(&self.shared.kept).changed() else { return };
        let written = tokio::task::spawn_blocking(move || write_durably(&path, &bytes)).await;
        let error = match written {
            Ok(Ok(())) => return,
            Ok(Err(error)) => error.to_string(),
            Err(error) => error.to_string(),
        };
        tracing::warn!(error, "what the core learned is not on disk: after a start without the core it is not known");
    }

    fn each(&self, mut take: impl FnMut(&mut Ledger) -> Vec<Gain>) {
        for learner in lock(&self.shared.learners).iter() {
            let before = learner.counts();
            learner.take(&mut take);
            self.shared.metrics.count(before, learner.counts());
        }
        self.shared.gained.notify_one();
    }
}

impl std::fmt::Debug for Bandits {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Bandits").finish_non_exhaustive()
    }
}

impl Follower for Bandits {
    fn stored(&self, lane: Lane, first_seq: u64, events: &[Event]) {
        if events.iter().all(|event| event.decision_id.is_none()) {
            return;
        }
        let now_us = self.shared.clock.now_us();
        self.each(|ledger| {
            let place = |at: usize| Origin { lane, seq: first_seq + at as u64, is_old: false };
            events.iter().enumerate().filter_map(|(at, event)| ledger.event(event, place(at), now_us)).collect()
        });
    }

    fn recorded(&self, first_seq: u64, records: &[Record]) {
        let now_us = self.shared.clock.now_us();
        self.each(|ledger| {
            let place = |at: usize| Origin { lane: Lane::Decisions, seq: first_seq + at as u64, is_old: false };
            records.iter().enumerate().flat_map(|(at, record)| ledger.decision(record, place(at), now_us)).collect()
        });
    }
}

/// Waits for the word to stop; who would give it may be gone, which is the same.
async fn stopped(stop: &mut watch::Receiver<bool>) {
    stop.wait_for(|stop| *stop).await.ok();
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
