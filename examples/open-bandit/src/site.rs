//! The stage: a core and one node, the features they start with, and the commands of the people who run them.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result};
use selvedge_suite::harness::{Node, Rig, until};

use crate::data::{Campaign, Impression};
use crate::rows::{self, Counts};

const LIMIT: Duration = Duration::from_secs(30);

/// A running core and node.
#[derive(Debug)]
pub(crate) struct Site {
    /// Before the rig, so that the node ends first.
    pub(crate) node: Node,
    pub(crate) rig: Rig,
}

// === impl Site ===

impl Site {
    /// Starts both; the node has no release yet.
    pub(crate) async fn start() -> Result<Self> {
        let rig = Rig::start().await?;
        let node = rig.node("edge-1").await?;
        Ok(Self { node, rig })
    }

    /// Where to look at it.
    pub(crate) fn urls(&self) -> String {
        format!(
            "decide at http://{}/v1/decide, look at http://{admin}/readyz and http://{admin}/metrics, core at {}",
            self.node.http,
            self.rig.nats.url(),
            admin = self.node.admin,
        )
    }

    /// Publishes what was known of visitors and items; how many rows.
    pub(crate) async fn publish(
        &self,
        campaign: &Campaign,
        past: &[Impression],
        future: &[Impression],
    ) -> Result<usize> {
        // A visitor of the second half has a profile too; only what was learned from clicks stays in the past.
        let everyone: Vec<Impression> = past.iter().chain(future).cloned().collect();
        let mut counts = Counts::new(campaign.items.len());
        past.iter().for_each(|seen| counts.add(seen.item, seen.clicked));
        let views = [
            ("user", rows::users(&everyone)),
            ("item", rows::items(&campaign.items, &counts)),
            ("affinity", rows::affinities(campaign, past)),
        ];
        let mut published = 0;
        for (view, rows) in views {
            published += rows.len();
            self.rig.push(view, rows).await.with_context(|| format!("publishing {view}"))?;
        }
        Ok(published)
    }

    /// Deploys a release and waits until the node runs it.
    pub(crate) async fn deploy(&self, release: &Path) -> Result<String> {
        let digest = self.rig.deploy(release).await?;
        self.node.runs(&digest, LIMIT).await?;
        Ok(digest)
    }

    /// Rolls back and waits until the node runs the release before.
    pub(crate) async fn rollback(&self) -> Result<String> {
        let digest = self.rig.rollback().await?;
        self.node.runs(&digest, LIMIT).await?;
        Ok(digest)
    }

    /// Waits until the node holds `published` entities and is ready; how many it holds.
    pub(crate) async fn wait_until_synced(&self, published: usize) -> Result<usize> {
        self.node.wait_for("ready", LIMIT).await?;
        let mut held = 0;
        let found = until("the node to hold every published entity", LIMIT, async || {
            held = self.entities().await.unwrap_or(0);
            (held >= published).then_some(())
        });
        found.await.with_context(|| format!("{held} of {published}"))?;
        Ok(held)
    }

    /// Entities the node holds in all views.
    async fn entities(&self) -> Result<usize> {
        let status = self.node.status().await?;
        let views = status["features"].as_array().context("no views")?;
        Ok(views.iter().filter_map(|view| view["entities"].as_u64()).sum::<u64>() as usize)
    }

    /// The time from a feature's arrival in the core's stream to its use, as the node measured it.
    pub(crate) async fn freshness_p99_ms(&self) -> Result<Option<f64>> {
        Ok(self.node.metrics().await?.quantile("selvedge_features_delivery_us", 0.99).map(|us| us.round() / 1e3))
    }

    /// A path in the folder of this run.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.rig.path(name)
    }
}
