//! What the console looks back on: the last decisions, a sample a second of what the node did, and what experiments and bandits came
//! to here. Owns the bounds of all of it. It follows the outbox, so nothing here is on the way of a decision.

pub mod bandits;
pub mod experiments;
pub mod recent;
pub mod samples;

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use selvedge_decision::{Record, TimeUs};

use self::experiments::Experiments;
use self::recent::Recent;
use self::samples::{Sample, Samples};
use crate::clock::Clock;
use crate::decide::Active;
use crate::events::Event;
use crate::outbox::{Follower, Lane};

/// What the console looks back on. Cheap to clone: all clones are one.
#[derive(Clone)]
pub struct Console {
    shared: Arc<Shared>,
}

struct Shared {
    clock: Clock,
    /// What ran a moment ago, by which arms and their shares are looked up.
    active: Mutex<Weak<Active>>,
    recent: Mutex<Recent>,
    samples: Mutex<Samples>,
    experiments: Mutex<Experiments>,
    bandits: Mutex<bandits::History>,
}

// === impl Console ===

impl Console {
    /// Nothing to look back on yet.
    pub fn new(clock: Clock) -> Self {
        let shared = Shared {
            clock,
            active: Mutex::default(),
            recent: Mutex::default(),
            samples: Mutex::default(),
            experiments: Mutex::default(),
            bandits: Mutex::default(),
        };
        Self { shared: Arc::new(shared) }
    }

    /// The last decisions and what they brought.
    pub fn recent(&self) -> MutexGuard<'_, Recent> {
        lock(&self.shared.recent)
    }

    /// What the node did lately.
    pub fn samples(&self) -> MutexGuard<'_, Samples> {
        lock(&self.shared.samples)
    }

    /// What experiments came to here.
    pub fn experiments(&self) -> MutexGuard<'_, Experiments> {
        lock(&self.shared.experiments)
    }

    /// How what bandits know went.
    pub fn bandits(&self) -> MutexGuard<'_, bandits::History> {
        lock(&self.shared.bandits)
    }

    /// Takes a sample of the last second, and lets go of experiments that are not those any more that run.
    pub fn sample(&self, sample: Sample, active: Option<&Arc<Active>>) {
        self.samples().add(sample);
        self.runs(active);
    }

    /// Takes what runs now.
    pub fn runs(&self, active: Option<&Arc<Active>>) {
        *lock(&self.shared.active) = active.map(Arc::downgrade).unwrap_or_default();
        if let Some(active) = active {
            self.experiments().keep_those_of(&active.plan);
        }
    }

    /// The node's time.
    pub fn now_us(&self) -> TimeUs {
        self.shared.clock.now_us()
    }

    fn active(&self) -> Option<Arc<Active>> {
        lock(&self.shared.active).upgrade()
    }
}

impl fmt::Debug for Console {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Console").finish_non_exhaustive()
    }
}

impl Follower for Console {
    fn stored(&self, _: Lane, _: u64, events: &[Event]) {
        for event in events.iter().filter(|event| event.decision_id.is_some()) {
            self.recent().brought(event);
            self.experiments().event(event);
        }
    }

    fn recorded(&self, _: u64, records: &[Record]) {
        self.recent().decided(records);
        if records.iter().any(|record| record.experiment.is_some()) {
            let Some(active) = self.active() else { return };
            let now_us = self.now_us();
            let mut experiments = self.experiments();
            records.iter().for_each(|record| experiments.decided(record, &active.plan, now_us));
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
