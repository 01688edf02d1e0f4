//! Background traffic for the proofs: decisions and events, each event with an id of its own that is sent once.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result};
use serde_json::{Value, json};
use tokio::sync::RwLock;
use tokio::task::JoinHandle;

use crate::harness::{Client, Random, wait};

const CONNECTIONS: u64 = 4;
const PAUSE: Duration = Duration::from_millis(1);

/// Running traffic.
pub(super) struct Traffic {
    shared: Arc<Shared>,
    workers: Vec<JoinHandle<()>>,
}

struct Shared {
    address: Mutex<SocketAddr>,
    /// How often the node was taken down and came back; odd while it is down.
    lives: AtomicU64,
    /// Held while a worker has requests under way.
    busy: RwLock<()>,
    pause: Duration,
    stop: AtomicBool,
    decisions: AtomicU64,
    sent: Mutex<Sent>,
}

/// What came back.
#[derive(Debug, Default)]
pub(super) struct Sent {
    /// The ids of events that were answered 202.
    pub(super) accepted: Vec<String>,
    /// The ids of decisions that were answered.
    pub(super) decisions: Vec<String>,
    /// Decide requests that got no 200 from a node that was up all the while.
    pub(super) failed_decisions: Vec<String>,
    /// Event requests that got no 202 from a node that was up all the while.
    pub(super) failed_events: Vec<String>,
    /// Events in requests that a node was taken down under: whether they were stored is not known.
    pub(super) unanswered_events: u64,
}

// === impl Traffic ===

impl Traffic {
    /// Starts sending to `address`. Needs a placement `home-hero`.
    pub(super) fn start(address: SocketAddr, seed: u64) -> Self {
        Self::with_pause(address, seed, PAUSE)
    }

    /// As [`Traffic::start`], with a pause of each connection after its two requests.
    pub(super) fn with_pause(address: SocketAddr, seed: u64, pause: Duration) -> Self {
        let shared = Arc::new(Shared {
            address: Mutex::new(address),
            lives: AtomicU64::new(0),
            busy: RwLock::default(),
            pause,
            stop: AtomicBool::new(false),
            decisions: AtomicU64::new(0),
            sent: Mutex::default(),
        });
        let workers = (0..CONNECTIONS).map(|at| tokio::spawn(Arc::clone(&shared).work(at, seed)));
        Self { workers: workers.collect(), shared }
    }

    /// The node is about to be taken down; what fails from here until [`Traffic::aim`] is not held against it.
    pub(super) fn down(&self) {
        self.shared.lives.fetch_or(1, Ordering::AcqRel);
    }

    /// Goes on with another address: the node was started again.
    pub(super) fn aim(&self, address: SocketAddr) {
        *self.shared.address.lock().unwrap_or_else(PoisonError::into_inner) = address;
        let lives = self.shared.lives.load(Ordering::Acquire);
        self.shared.lives.store(lives + lives % 2, Ordering::Release);
    }

    /// No request is under way, nor sent, while the guard lives.
    pub(super) async fn quiet(&self) -> impl Sized + use<'_> {
        self.shared.busy.write().await
    }

    /// What came back since the last time.
    pub(super) fn take(&self) -> Sent {
        std::mem::take(&mut *self.shared.sent.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Decisions answered so far.
    pub(super) fn decisions(&self) -> u64 {
        self.shared.decisions.load(Ordering::Relaxed)
    }

    /// Stops and tells what came back.
    pub(super) async fn stop(self) -> Result<Sent> {
        self.shared.stop.store(true, Ordering::Relaxed);
        for worker in self.workers {
            worker.await.context("a connection's task")?;
        }
        Ok(std::mem::take(&mut *self.shared.sent.lock().unwrap_or_else(PoisonError::into_inner)))
    }
}

// === impl Shared ===

impl Shared {
    async fn work(self: Arc<Self>, worker: u64, seed: u64) {
        let mut random = Random::new(seed ^ worker << 48);
        let mut address = self.address();
        let mut client = Client::new(address);
        let mut count = 0u64;
        while !self.stop.load(Ordering::Relaxed) {
            let busy = self.busy.read().await;
            let life = self.lives.load(Ordering::Acquire);
            if address != self.address() {
                address = self.address();
                client = Client::new(address);
            }
            let session = format!("s-{}", random.below(50));
            let outcome = client.post("/v1/decide", &json!({"placement": "home-hero", "session": session})).await;
            let decision = outcome.and_then(|answer| answer.ok());
            let decision_id = self.note_decision(life, decision);
            let names: Vec<String> =
                (0..=random.below(4)).map(|at| format!("{seed}-{worker}-{}", count + at)).collect();
            count += names.len() as u64;
            let event = |id: &String| {
                let name = if id.ends_with('7') { "$reward" } else { "view_item" };
                json!({"event": name, "session": session, "item": "sku-1", "messageId": id, "decision_id": decision_id})
            };
            let batch: Vec<Value> = names.iter().map(event).collect();
            let outcome = client.post("/v1/events", &json!({ "batch": batch })).await;
            self.note_events(
                life,
                names,
                outcome.and_then(|answer| if answer.status == 202 { answer.ok() } else { anyhow::bail!("{answer:?}") }),
            );
            drop(busy);
            wait::pass(self.pause).await;
        }
    }

    fn address(&self) -> SocketAddr {
        *self.address.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether the node was up since the time of `life`.
    fn was_up(&self, life: u64) -> bool {
        life.is_multiple_of(2) && self.lives.load(Ordering::Acquire) == life
    }

    fn note_decision(&self, life: u64, decision: Result<Value>) -> Option<String> {
        let mut sent = self.sent.lock().unwrap_or_else(PoisonError::into_inner);
        match decision {
            Ok(decision) => {
                self.decisions.fetch_add(1, Ordering::Relaxed);
                let id = decision["decision_id"].as_str().unwrap_or_default().to_owned();
                sent.decisions.push(id.clone());
                Some(id)
            }
            Err(error) => {
                if self.was_up(life) {
                    sent.failed_decisions.push(format!("{error:#}"));
                }
                None
            }
        }
    }

    fn note_events(&self, life: u64, ids: Vec<String>, answer: Result<Value>) {
        let mut sent = self.sent.lock().unwrap_or_else(PoisonError::into_inner);
        match answer {
            Ok(answer) if answer["accepted"] == ids.len() => sent.accepted.extend(ids),
            Ok(answer) => sent.failed_events.push(answer.to_string()),
            Err(_) if !self.was_up(life) => sent.unanswered_events += ids.len() as u64,
            Err(error) => sent.failed_events.push(format!("{error:#}")),
        }
    }
}
