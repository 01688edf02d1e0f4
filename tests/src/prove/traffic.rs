//! Background traffic for the proofs: decisions and events, each event with an id of its own that is sent once.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result};
use serde_json::{Value, json};
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
    /// Decide requests that got no 200.
    pub(super) failed_decisions: Vec<String>,
    /// Event requests that got no 202.
    pub(super) failed_events: Vec<String>,
}

// === impl Traffic ===

impl Traffic {
    /// Starts sending to `address`. Needs a placement `home-hero`.
    pub(super) fn start(address: SocketAddr, seed: u64) -> Self {
        let shared = Arc::new(Shared {
            address: Mutex::new(address),
            stop: AtomicBool::new(false),
            decisions: AtomicU64::new(0),
            sent: Mutex::default(),
        });
        let workers = (0..CONNECTIONS).map(|at| tokio::spawn(Arc::clone(&shared).work(at, seed)));
        Self { workers: workers.collect(), shared }
    }

    /// Goes on with another address: the node was started again.
    pub(super) fn aim(&self, address: SocketAddr) {
        *self.shared.address.lock().unwrap_or_else(PoisonError::into_inner) = address;
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
            if address != self.address() {
                address = self.address();
                client = Client::new(address);
            }
            let session = format!("s-{}", random.below(50));
            let outcome = client.post("/v1/decide", &json!({"placement": "home-hero", "session": session})).await;
            let decision = outcome.and_then(|answer| answer.ok());
            let decision_id = self.note_decision(decision);
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
                names,
                outcome.and_then(|answer| if answer.status == 202 { answer.ok() } else { anyhow::bail!("{answer:?}") }),
            );
            wait::pass(PAUSE).await;
        }
    }

    fn address(&self) -> SocketAddr {
        *self.address.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn note_decision(&self, decision: Result<Value>) -> Option<String> {
        let mut sent = self.sent.lock().unwrap_or_else(PoisonError::into_inner);
        match decision {
            Ok(decision) => {
                self.decisions.fetch_add(1, Ordering::Relaxed);
                let id = decision["decision_id"].as_str().unwrap_or_default().to_owned();
                sent.decisions.push(id.clone());
                Some(id)
            }
            Err(error) => {
                sent.failed_decisions.push(format!("{error:#}"));
                None
            }
        }
    }

    fn note_events(&self, ids: Vec<String>, answer: Result<Value>) {
        let mut sent = self.sent.lock().unwrap_or_else(PoisonError::into_inner);
        match answer {
            Ok(answer) if answer["accepted"] == ids.len() => sent.accepted.extend(ids),
            Ok(answer) => sent.failed_events.push(answer.to_string()),
            Err(error) => sent.failed_events.push(format!("{error:#}")),
        }
    }
}
