//! Visitors: each logged impression becomes a decide request in the log's order, then a view event and, where the visitor
//! clicked, a click event. Owns the timetable and the tally; judges nothing.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow};
use selvedge_suite::harness::{Client, wait};
use serde_json::{Value, json};

use crate::data::{Campaign, Impression, Item};
use crate::rows::{self, Counts};
use crate::site::Site;

/// Connections; requests start in the log's order, a slow answer holds up only its own.
const CONNECTIONS: usize = 8;

/// Traffic, ready to start.
#[derive(Debug)]
pub(crate) struct Traffic {
    address: SocketAddr,
    visits: Vec<Visit>,
    items: Vec<Item>,
    counts: Mutex<Counts>,
    rate: f64,
    next: AtomicUsize,
    done: AtomicUsize,
    tally: Mutex<Tally>,
}

/// One impression as the shop's front end sees it.
#[derive(Debug)]
struct Visit {
    subject: String,
    position: String,
    /// The item that the log shows, by its place in the campaign.
    place: usize,
    item: String,
    clicked: bool,
    propensity: f64,
}

/// What came back.
#[derive(Debug, Default, Clone)]
pub(crate) struct Tally {
    pub(crate) decisions: u64,
    pub(crate) failed: u64,
    pub(crate) fallbacks: u64,
    pub(crate) events_accepted: u64,
    /// Microseconds from sending a decide request to having read its answer.
    pub(crate) latencies_us: Vec<u64>,
    /// Decisions by release.
    pub(crate) releases: BTreeMap<String, u64>,
    pub(crate) snipw: crate::estimate::Snipw,
    /// The first failures, as text.
    pub(crate) errors: Vec<String>,
}

// === impl Traffic ===

impl Traffic {
    /// The impressions of `future` at `rate` a second; counts go on from those of `past`.
    pub(crate) fn new(
        site: &Site,
        campaign: &Campaign,
        past: &[Impression],
        future: &[Impression],
        rate: f64,
    ) -> Arc<Self> {
        let mut counts = Counts::new(campaign.items.len());
        past.iter().for_each(|seen| counts.add(seen.item, seen.clicked));
        let visit = |seen: &Impression| Visit {
            subject: seen.subject(),
            position: seen.position.clone(),
            place: seen.item,
            item: campaign.items[seen.item].id.clone(),
            clicked: seen.clicked,
            propensity: seen.propensity,
        };
        Arc::new(Self {
            address: site.node.http,
            visits: future.iter().map(visit).collect(),
            items: campaign.items.clone(),
            counts: Mutex::new(counts),
            rate,
            next: AtomicUsize::new(0),
            done: AtomicUsize::new(0),
            tally: Mutex::default(),
        })
    }

    /// The share of impressions that are done, from 0 to 1.
    pub(crate) fn progress(&self) -> f64 {
        self.done.load(Ordering::Relaxed) as f64 / self.visits.len().max(1) as f64
    }

    /// The items' rows with what was counted until now: what the shop's back end publishes while people shop.
    pub(crate) fn item_rows(&self) -> Vec<Value> {
        rows::items(&self.items, &self.counts.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Sends everything; the tally.
    pub(crate) async fn run(self: Arc<Self>) -> Result<Tally> {
        let start = Instant::now();
        let workers: Vec<_> = (0..CONNECTIONS).map(|_| tokio::spawn(Arc::clone(&self).work(start))).collect();
        for worker in workers {
            worker.await.context("a connection's task")?;
        }
        self.tally.lock().map(|tally| tally.clone()).map_err(|_| anyhow!("a connection's task panicked"))
    }

    async fn work(self: Arc<Self>, start: Instant) {
        let mut client = Client::new(self.address);
        loop {
            let at = self.next.fetch_add(1, Ordering::Relaxed);
            let Some(visit) = self.visits.get(at) else { return };
            let due = start + Duration::from_secs_f64(at as f64 / self.rate);
            wait::pass(due.saturating_duration_since(Instant::now())).await;
            let outcome = self.visit(&mut client, visit).await;
            if let (Err(error), Ok(mut tally)) = (outcome, self.tally.lock()) {
                tally.failed += 1;
                if tally.errors.len() < 5 {
                    tally.errors.push(format!("{error:#}"));
                }
            }
            self.done.fetch_add(1, Ordering::Relaxed);
        }
    }

    async fn visit(&self, client: &mut Client, visit: &Visit) -> Result<()> {
        let request = json!({
            "placement": "recommend", "subject": visit.subject, "session": visit.subject,
            "context": {"position": visit.position},
        });
        let sent = Instant::now();
        let decision = client.post("/v1/decide", &request).await?.ok()?;
        let latency_us = sent.elapsed().as_micros() as u64;
        let chosen = decision["choices"][0]["id"].as_str().context("no choice")?;
        let event = |name: &str| {
            json!({
                "event": name, "subject": visit.subject, "session": visit.subject, "item": visit.item,
                "decision_id": decision["decision_id"], "properties": {"position": visit.position},
            })
        };
        let mut events = vec![event("view_item")];
        if visit.clicked {
            events.push(event("click"));
        }
        self.counts.lock().unwrap_or_else(PoisonError::into_inner).add(visit.place, visit.clicked);
        let sent = events.len() as u64;
        let accepted = client.post("/v1/events", &json!({ "batch": events })).await?.ok()?;
        let accepted = accepted["accepted"].as_u64().with_context(|| format!("no \"accepted\" in {accepted}"))?;
        let mut tally = self.tally.lock().map_err(|_| anyhow!("a connection's task panicked"))?;
        tally.add(&decision, latency_us);
        tally.events_accepted += accepted;
        tally.snipw.add(f64::from(chosen == visit.item), visit.propensity, f64::from(visit.clicked));
        (accepted == sent).then_some(()).with_context(|| format!("{accepted} of {sent} events accepted"))
    }
}

// === impl Tally ===

impl Tally {
    fn add(&mut self, decision: &Value, latency_us: u64) {
        self.decisions += 1;
        self.latencies_us.push(latency_us);
        self.fallbacks += u64::from(decision["reason"] == "FALLBACK");
        *self.releases.entry(decision["release"].as_str().unwrap_or_default().to_owned()).or_default() += 1;
    }

    /// The latency that share `q` of the decisions did not exceed, in microseconds.
    pub(crate) fn latency_us(&self, q: f64) -> u64 {
        let mut sorted = self.latencies_us.clone();
        sorted.sort_unstable();
        let at = ((sorted.len() as f64 * q).ceil() as usize).clamp(1, sorted.len().max(1)) - 1;
        sorted.get(at).copied().unwrap_or(0)
    }
}
