//! What this node tells the core of itself: which release it runs and what it refused, in KV bucket `nodes`. Owns the
//! report's form, its writing and its reading by `selvedge status`.

use std::sync::Arc;
use std::time::Duration;

use selvedge_build::release::RUNTIME;
use selvedge_decision::{CORE_VERSION, Epoch, NodeId, TimeUs};
use serde::{Deserialize, Serialize};
use tokio::sync::watch;
use tokio::time::MissedTickBehavior;

use super::metrics::Metrics;
use super::status::Status;
use crate::clock::Clock;
use crate::link::NatsLink;

/// One node's report.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeReport {
    /// The node's name.
    pub node: NodeId,
    /// Its run, 16 hex digits.
    pub epoch: String,
    /// The channel it follows.
    pub channel: String,
    /// The highest counter it has seen of it.
    pub counter: u64,
    /// The release it runs, `sha256:…`.
    pub release: Option<String>,
    /// That release's name.
    pub name: Option<String>,
    /// The release kept for a rollback.
    pub previous: Option<String>,
    /// Why what the channel points to does not run.
    pub refused: Option<ReportedRefusal>,
    /// The release it took back by itself.
    pub quarantined: Option<String>,
    /// How it reaches the core.
    pub link: String,
    /// What it is made of.
    pub versions: Versions,
    /// When it wrote this.
    pub time_us: TimeUs,
}

/// A refusal as reported.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReportedRefusal {
    /// The kind of reason.
    pub code: String,
    /// The release, where it is known.
    pub release: Option<String>,
    /// The reason.
    pub why: String,
    /// Since when.
    pub since_us: TimeUs,
}

/// What a node is made of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Versions {
    /// The runtime.
    pub runtime: String,
    /// The decision core.
    pub core: u32,
}

// === impl NodeReport ===

impl NodeReport {
    fn new(node: NodeId, epoch: Epoch, status: &Status, time_us: TimeUs) -> Self {
        let refused = status.refusal.as_ref().map(|refusal| ReportedRefusal {
            code: refusal.code.as_str().to_owned(),
            release: refusal.release.clone(),
            why: refusal.why.clone(),
            since_us: refusal.since_us,
        });
        Self {
            node,
            epoch: epoch.to_string(),
            channel: status.channel.clone(),
            counter: status.counter,
            release: status.active.as_ref().map(|active| active.release.clone()),
            name: status.active.as_ref().map(|active| active.name.clone()),
            previous: status.previous.as_ref().map(|previous| previous.release.clone()),
            refused,
            quarantined: status.quarantined.as_ref().map(|quarantine| quarantine.release.to_string()),
            link: "nats".to_owned(),
            versions: Versions { runtime: RUNTIME.to_owned(), core: CORE_VERSION },
            time_us,
        }
    }
}

/// Reports for ever: every `every`, when the status changes, and when the core is back.
pub(super) async fn report(
    nats: &NatsLink,
    node: NodeId,
    epoch: Epoch,
    mut changes: watch::Receiver<Arc<Status>>,
    clock: Clock,
    every: Duration,
    metrics: Metrics,
) {
    let mut link = nats.state();
    let mut ticks = tokio::time::interval(every);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = ticks.tick() => {}
            Ok(()) = changes.changed() => {}
            Ok(()) = link.changed() => {}
        }
        if !link.borrow_and_update().is_connected() {
            continue;
        }
        let status = changes.borrow_and_update().clone();
        let report = NodeReport::new(node.clone(), epoch, &status, clock.now_us());
        // Text and numbers only: writing them cannot fail.
        let report = serde_json::to_vec(&report).unwrap_or_default();
        if let Err(error) = nats.write_report(&node, report).await {
            metrics.reports_failed.inc();
            tracing::debug!(%error, "this node's report did not reach the core");
        }
    }
}
