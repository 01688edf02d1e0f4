//! A swap every second under load, between two releases that are compiled already, against the same load without.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use bytes::Bytes;
use hyper::Method;
use selvedge_decision::Digest;
use selvedge_node::link::NatsLink;
use serde_json::json;

use super::load::{Ask, Load};
use super::measure::Quantiles;
use super::{Effort, Line};
use crate::harness::shop::Shop;
use crate::harness::{Node, Rig, wait};

const LIMIT: Duration = Duration::from_secs(30);
const RATE: f64 = 1_000.0;
const EVERY: Duration = Duration::from_secs(1);

/// A node and two compiled releases.
struct Stage {
    link: Arc<NatsLink>,
    counter: u64,
    node: Node,
    rig: Rig,
    releases: Vec<Digest>,
}

pub(super) async fn run(effort: Effort) -> Result<Vec<Line>> {
    let rig = Rig::start().await?;
    let node = rig.node("swap").await?;
    let mut releases = Vec::new();
    for number in 1..=2 {
        let shop = Shop::numbered(rig.path(&format!("number-{number}")), number)?;
        // Once each, so that both are compiled.
        let digest = rig.deploy(shop.folder()).await?;
        node.runs(&digest, LIMIT).await?;
        releases.push(digest.parse()?);
    }
    let stage = Stage { link: rig.link().await?, counter: rig.counter().await?, node, rig, releases };
    measure(stage, effort).await
}

async fn measure(mut stage: Stage, effort: Effort) -> Result<Vec<Line>> {
    let body = Bytes::from(json!({"placement": "home-hero"}).to_string());
    let ask = Ask { address: stage.node.http, method: Method::POST, path: "/v1/decide", bodies: Arc::new(vec![body]) };
    let span = EVERY * effort.scale(10) as u32;
    let (mut without, mut with) = (Quantiles::default(), Quantiles::default());
    let before = stage.swaps().await?;
    for _ in 0..effort.rounds {
        let load = Load::open(ask.clone(), 32, RATE);
        wait::pass(span).await;
        without.push(load.stop().await?);

        let load = Load::open(ask.clone(), 32, RATE);
        stage.swap_for(span).await?;
        with.push(load.stop().await?);
    }
    let swaps = stage.swaps().await? - before;
    // The very first may point to what runs already.
    let asked = (span.as_secs() * effort.rounds as u64 - 1) as f64;
    ensure!(swaps >= asked, "{swaps} swaps of {asked}");
    let (without, with) = (without.medians(), with.medians());
    let what = format!("p99 against 1.2 x {:.0} us without; {swaps} swaps, 0 failed", without.1);
    Ok(vec![
        Line::reported("decide at 1,000/s without swaps", without, "latency from when it was due"),
        Line::time("decide at 1,000/s, a swap every second", with, with.1, 1.2 * without.1, what),
    ])
}

// === impl Stage ===

impl Stage {
    /// Points the channel to the other release once a second for `span`.
    async fn swap_for(&mut self, span: Duration) -> Result<()> {
        let start = Instant::now();
        for turn in 0u32.. {
            wait::pass((EVERY * turn).saturating_sub(start.elapsed())).await;
            if start.elapsed() >= span {
                break;
            }
            self.counter += 1;
            // The other one than what runs: no command and no question, so that only the swap itself adds to the load.
            let release = self.releases[self.counter as usize % self.releases.len()];
            self.rig.point(&self.link, release, self.counter).await?;
        }
        Ok(())
    }

    /// How often the node swapped.
    async fn swaps(&self) -> Result<f64> {
        Ok(self.node.metrics().await?.sum("selvedge_release_swaps_total", &[]))
    }
}
