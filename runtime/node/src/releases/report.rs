//! What this node tells the core of itself: which release it runs and what it refused, in KV bucket `nodes`. Owns the
//! report's form, its writing and its reading.

use std::sync::Arc;
use std::time::Duration;

use selvedge_build::channel::Labels;
use selvedge_build::release::RUNTIME;
use selvedge_decision::{CORE_VERSION, Epoch, NodeId, TimeUs};
use serde::{Deserialize, Serialize};
use tokio::sync::watch;
use tokio::time::MissedTickBehavior;

use super::metrics::Metrics;
use super::status::Status;
use crate::clock::Clock;
use crate::link::NatsLink;
use crate::link::nats::releases::CoreError;

/// One node's report.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeReport {
    /// The node's name.
    pub node: NodeId,
    /// Its run, 16 hex digits.
    pub epoch: String,
    /// What is said of it, by which a canary finds it.
    #[serde(default)]
    pub labels: Labels,
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
    /// The release that decides for a share of the subjects.
    #[serde(default)]
    pub canary: Option<String>,
    /// The canary it dropped by itself, and why.
    #[serde(default)]
    pub canary_dropped: Option<ReportedDrop>,
    /// How it reaches the core.
    pub link: String,
    /// What it is made of.
    pub versions: Versions,
    /// When it wrote this.
    pub time_us: TimeUs,
}

/// A canary that was dropped, as reported.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReportedDrop {
    /// The release.
    pub release: String,
    /// The reason.
    pub why: String,
    /// Since when.
    pub since_us: TimeUs,
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
    /// What all nodes reported last; a report that cannot be read is left out.
    pub async fn read_all(nats: &NatsLink) -> Result<Vec<Self>, CoreError> {
        let reports = nats.reports().await?;
        Ok(reports.iter().filter_map(|(_, report)| serde_json::from_slice(report).ok()).collect())
    }

    fn new(who: &Who, status: &Status, time_us: TimeUs) -> Self {
        let refused = status.refusal.as_ref().map(|refusal| ReportedRefusal {
            code: refusal.code.as_str().to_owned(),
            release: refusal.release.clone(),
            why: refusal.why.clone(),
            since_us: refusal.since_us,
        });
        Self {
            node: who.node.clone(),
            epoch: who.epoch.to_string(),
            labels: who.labels.clone(),
            channel: status.channel.clone(),
            counter: status.counter,
            release: status.active.as_ref().map(|active| active.release.clone()),
            name: status.active.as_ref().map(|active| active.name.clone()),
            previous: status.previous.as_ref().map(|previous| previous.release.clone()),
            refused,
            quarantined: status.quarantined.as_ref().map(|quarantine| quarantine.release.to_string()),
            canary: status.canary.as_ref().map(|canary| canary.running.release.clone()),
            canary_dropped: status.canary_dropped.as_ref().map(|dropped| ReportedDrop {
                release: dropped.release.to_string(),
                why: dropped.why.clone(),
                since_us: dropped.since_us,
            }),
            link: "nats".to_owned(),
            versions: Versions { runtime: RUNTIME.to_owned(), core: CORE_VERSION },
            time_us,
        }
    }
}

/// Who reports.
#[derive(Debug, Clone)]
pub(super) struct Who {
    pub(super) node: NodeId,
    pub(super) labels: Labels,
    pub(super) epoch: Epoch,
}

/// Reports for ever: every `every`, when the status changes, and when the core is back.
pub(super) async fn report(
    nats: &NatsLink,
    who: Who,
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
        let report = NodeReport::new(&who, &status, clock.now_us());
        // Text and numbers only: writing them cannot fail.
        let report = serde_json::to_vec(&report).unwrap_or_default();
        if let Err(error) = nats.write_report(&who.node, report).await {
            metrics.reports_failed.inc();
            tracing::debug!(%error, "this node's report did not reach the core");
        }
    }
}
