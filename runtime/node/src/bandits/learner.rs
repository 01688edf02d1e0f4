//! What one bandit of a node knows: what the core said and what the node gained itself since, as decisions ask it. Owns when it is
//! computed: off the way of those who ask.

use std::collections::VecDeque;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex};
use std::time::Instant;

use arc_swap::ArcSwap;
use selvedge_decision::contest::Beta;
use selvedge_decision::logistic::{Posterior, Prior};
use selvedge_decision::plan::Bandit;
use selvedge_decision::policy::{Contests, Ready};
use selvedge_decision::{Epoch, NodeId};

use super::history::Weighed;
use super::ledger::{self, Counts, Gain, Ledger};
use super::{History, Snapshot, Tally, lock};
use crate::outbox::Lane;

/// Decisions of one bandit that a node remembers for their rewards.
const MOST_DECISIONS: usize = 100_000;
/// Gains of one bandit that wait for the core to have them; of more the oldest go, and come back with what the core learned.
const MOST_OWN: usize = 500_000;
/// The same of a bandit with a model, which looks at each of them again whenever something is learned.
const MOST_OWN_SEEN: usize = 20_000;
/// Between two computations passes so many times what the last one took: learning takes a twentieth of a core at most.
const REST: i64 = 19;
/// How often what is known changes for decisions, in microseconds.
const WEIGH_EVERY_US: i64 = 50_000;

/// One bandit of a release, as decisions read it.
pub struct Learner {
    pub(super) spec: Bandit,
    known: ArcSwap<Known>,
    /// The core was asked for it.
    pub(super) asked: AtomicBool,
    state: Mutex<State>,
    /// Held while it is computed what is known.
    fitted: Mutex<Vec<(Weighed, Posterior)>>,
}

/// What decisions go by, in the order of the bandit's actions.
struct Known {
    /// Rewards and misses.
    counts: Vec<[f64; 2]>,
    /// The contest between them, of a bandit without a model.
    ready: Option<Arc<Ready>>,
    /// Weights, of one with a model.
    weights: Vec<Posterior>,
}

struct State {
    ledger: Ledger,
    snapshot: Snapshot,
    /// This run's gains that are not in the snapshot, in the order they came, and their sum.
    own: VecDeque<Gain>,
    tally: Tally,
    history: History,
    changed: bool,
    /// The time bucket for which it was computed last.
    bucket: i64,
    /// It is not computed again before this.
    rests_until_us: i64,
}

// === impl Learner ===

impl Learner {
    pub(super) fn new(spec: Bandit) -> Self {
        let state = State {
            ledger: Ledger::new(spec.clone(), MOST_DECISIONS),
            snapshot: Snapshot::new(&spec),
            own: VecDeque::new(),
            tally: Tally::default(),
            history: History::default(),
            changed: false,
            bucket: 0,
            rests_until_us: i64::MIN,
        };
        let known = Known { counts: Vec::new(), ready: None, weights: Vec::new() };
        let learner = Self {
            spec,
            known: ArcSwap::from_pointee(known),
            asked: AtomicBool::new(false),
            state: Mutex::new(state),
            fitted: Mutex::default(),
        };
        let counts = vec![[0.0; 2]; learner.spec.actions.len()];
        let prior = learner.spec.model.as_ref().map(|shape| {
            let prior = Prior { counts: learner.spec.prior, precision: shape.precision };
            Posterior::unlearned(prior, shape.features())
        });
        let weights = counts.iter().filter_map(|_| prior.clone()).collect();
        learner.publish(counts, weights);
        learner
    }

    /// Whether it learns what `spec` does.
    pub(super) fn learns(&self, spec: &Bandit) -> bool {
        lock(&self.state).snapshot.is_of(spec)
    }

    /// Takes over what another knows that learned the same.
    pub(super) fn go_on_from(&self, before: &Self) {
        let before = lock(&before.state);
        let mut state = lock(&self.state);
        state.snapshot = before.snapshot.clone();
        state.own.clone_from(&before.own);
        state.tally = before.tally.clone();
        state.history = before.history.clone();
        state.changed = true;
    }

    /// Begins with what the core once said.
    pub(super) fn begin_with(&self, said: Snapshot) {
        let mut state = lock(&self.state);
        (state.snapshot, state.changed) = (said, true);
    }

    /// What became of rewards.
    pub(super) fn counts(&self) -> Counts {
        lock(&self.state).ledger.counts()
    }

    /// What is known of each candidate, as decisions ask it (`selvedge_decision::settle::Learned`).
    pub fn learned(&self, ids: &[Arc<str>], x: &[i8]) -> Vec<[f64; 2]> {
        self.known.load().learned(&self.spec, ids, x)
    }

    /// The contest that was computed for what is known, of a bandit without a model.
    pub fn ready(&self) -> Option<Arc<Ready>> {
        self.known.load().ready.clone()
    }

    /// What is known of each candidate, and the contest that was computed for just that.
    pub fn tell(&self, ids: &[Arc<str>], x: &[i8], contests: &mut Contests) -> Vec<[f64; 2]> {
        let known = self.known.load();
        known.ready.iter().for_each(|ready| contests.offer(ready));
        known.learned(&self.spec, ids, x)
    }

    pub(super) fn take(&self, take: impl FnOnce(&mut Ledger) -> Vec<Gain>) {
        let mut state = lock(&self.state);
        for gain in take(&mut state.ledger) {
            state.count(&gain, 1);
            state.own.push_back(gain);
            state.changed = true;
        }
        let most = if self.spec.model.is_some() { MOST_OWN_SEEN } else { MOST_OWN };
        while state.own.len() > most {
            if let Some(gain) = state.own.pop_front() {
                state.count(&gain, -1);
            }
        }
    }

    /// Takes what the core has learned, and lets go of own gains that are in it.
    pub(super) fn hear(&self, snapshot: Snapshot, node: &NodeId, epoch: Epoch) {
        let mut state = lock(&self.state);
        // One that is older than what is known would take back what was let go of.
        if snapshot.stream_us == state.snapshot.stream_us && snapshot.at < state.snapshot.at {
            return;
        }
        let runs = Lane::ALL.map(|lane| snapshot.run(node, epoch, lane).map(|run| run.seen.clone()));
        let has = |lane: Lane, seq: u64| runs[lane as usize].as_ref().is_some_and(|seen| seen.has(seq));
        let is_in =
            |gain: &Gain| has(Lane::Decisions, gain.decision) && gain.reward.is_none_or(|(lane, seq)| has(lane, seq));
        let (gone, own): (VecDeque<Gain>, VecDeque<Gain>) = std::mem::take(&mut state.own).into_iter().partition(is_in);
        state.own = own;
        gone.iter().for_each(|gain| state.count(gain, -1));
        state.snapshot = snapshot;
        state.changed = true;
    }

    /// Whether something changed or faded and it has rested: other numbers are other distributions, to be computed anew.
    pub(super) fn is_to_be_weighed(&self, now_us: i64) -> bool {
        let state = lock(&self.state);
        now_us >= state.rests_until_us && (state.changed || state.bucket != self.bucket(now_us))
    }

    /// The time bucket of `now_us`; there is one when nothing fades.
    fn bucket(&self, now_us: i64) -> i64 {
        match ledger::bucket_us(&self.spec) {
            0 => 0,
            length => now_us.div_euclid(length),
        }
    }

    /// Publishes what is known now, when something changed or faded. The state is not held meanwhile: it goes on learning.
    pub(super) fn weigh(&self, now_us: i64) {
        let started = Instant::now();
        self.compute(now_us);
        let took_us = i64::try_from(started.elapsed().as_micros()).unwrap_or(i64::MAX);
        lock(&self.state).rests_until_us = now_us.saturating_add(took_us.saturating_mul(REST).max(WEIGH_EVERY_US));
    }

    fn compute(&self, now_us: i64) {
        let (bucket_us, now) = (ledger::bucket_us(&self.spec), self.bucket(now_us));
        let mut fitted = lock(&self.fitted);
        let (counts, weighed) = {
            let mut state = lock(&self.state);
            if !std::mem::take(&mut state.changed) && state.bucket == now {
                return;
            }
            state.bucket = now;
            let actions = || self.spec.actions.iter();
            let counts = actions().map(|action| state.snapshot.tally.weighed(&state.tally, action, bucket_us, now_us));
            let counts: Vec<[f64; 2]> = counts.collect();
            let weighed = actions().filter(|_| self.spec.model.is_some());
            let weighed = weighed.map(|action| state.snapshot.history.weighed(&state.history, action, now));
            (counts, weighed.collect::<Vec<_>>())
        };
        // The same numbers stay the same distributions, which are not computed again.
        let is_new = |(at, weighed): (usize, &Weighed)| fitted.get(at).is_none_or(|(before, _)| before != weighed);
        if self.known.load().counts == counts && !weighed.iter().enumerate().any(is_new) {
            return;
        }
        if let Some(shape) = &self.spec.model {
            let mut before = std::mem::take(&mut *fitted).into_iter();
            *fitted = weighed
                .into_iter()
                .map(|weighed| match before.next() {
                    Some((same, weights)) if same == weighed => (same, weights),
                    _ => {
                        let weights = weighed.fit(self.spec.prior, shape);
                        (weighed, weights)
                    }
                })
                .collect();
        }
        let weights = fitted.iter().map(|(_, weights)| weights.clone()).collect();
        self.publish(counts, weights);
    }

    fn publish(&self, counts: Vec<[f64; 2]>, weights: Vec<Posterior>) {
        let ready = self.spec.model.is_none().then(|| {
            let [rewards, misses] = self.spec.prior;
            // As a decision between all actions has it that no rule prefers.
            let value = |known: &[f64; 2]| Beta { a: rewards + known[0], b: misses + known[1], scale: 1.0 };
            Arc::new(Ready::new(counts.iter().map(value).collect(), self.spec.contenders))
        });
        self.known.store(Arc::new(Known { counts, ready, weights }));
    }
}

// === impl State ===

impl State {
    fn count(&mut self, gain: &Gain, sign: i64) {
        self.tally.add(gain, sign);
        self.history.add(gain, sign);
    }
}

// === impl Known ===

impl Known {
    fn learned(&self, spec: &Bandit, ids: &[Arc<str>], x: &[i8]) -> Vec<[f64; 2]> {
        let of = |at: usize, id: &Arc<str>| {
            // Most often all of them, in their order.
            let actions = &spec.actions;
            if actions.get(at) == Some(id) { Some(at) } else { actions.iter().position(|action| action == id) }
        };
        let places = ids.iter().enumerate().map(|(at, id)| of(at, id));
        match &spec.model {
            None => places.map(|at| at.and_then(|at| self.counts.get(at)).copied().unwrap_or_default()).collect(),
            Some(shape) => {
                let weights = places.map(|at| at.and_then(|at| self.weights.get(at)));
                let rows = x.chunks_exact(shape.features().max(1));
                weights.zip(rows).map(|(weights, x)| weights.map_or([0.0, 1.0], |weights| weights.logit(x))).collect()
            }
        }
    }
}
