//! Start with a million entities on disk: from starting the process to the first decision, and until all of them are in
//! memory. The core is away, so nothing comes from elsewhere.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use serde_json::json;

use super::measure::Samples;
use super::{Effort, Line};
use crate::harness::{Node, Rig, until};
use crate::prove::priced_shop;

const LIMIT: Duration = Duration::from_secs(300);

pub(super) async fn run(effort: Effort) -> Result<Vec<Line>> {
    let entities = effort.scale(1_000_000);
    let mut rig = Rig::start().await?;
    let row = |at: usize| json!({"_key": format!("sku-{at}"), "category": format!("c-{}", at % 100), "price": at as f64, "stock": 1.0});
    rig.push("item", (0..entities).map(row)).await?;
    let release = rig.deploy(priced_shop(&rig, 1)?.folder()).await?;
    let node = rig.node("start").await?;
    node.runs(&release, LIMIT).await?;
    held(&node, entities).await?;
    let on_disk = async || (node.view("item").await.ok()?["disk_waiting"] == 0).then_some(());
    until("the disk to have every entity", LIMIT, on_disk).await?;
    let (mut spec, _) = node.terminate().await?;
    rig.nats.kill()?;

    let (mut first, mut all) = (Samples::default(), Samples::default());
    for _ in 0..effort.rounds.min(3) {
        let start = Instant::now();
        let node = Node::start(spec).await?;
        let mut client = node.client();
        let last = format!("sku-{}", entities - 1);
        let request = json!({"placement": "plp-rank", "candidates": [last]});
        let answer =
            until("the first decision", LIMIT, async || client.post("/v1/decide", &request).await.ok()?.ok().ok());
        let answer = answer.await?;
        first.add(start.elapsed());
        held(&node, entities).await?;
        all.add(start.elapsed());
        ensure!(answer["release"] == release.as_str(), "decided with another release: {answer}");
        (spec, _) = node.terminate().await.context("stopping the node")?;
    }
    let quantiles = first.quantiles();
    let what = format!("p50, with {entities} entities on disk and no core");
    Ok(vec![
        Line::time("start to first decision", quantiles, quantiles.0, 4e6, what),
        Line::reported("start to all entities in memory", all.quantiles(), "p50"),
    ])
}

async fn held(node: &Node, entities: usize) -> Result<()> {
    until("the node to hold every entity", LIMIT, async || {
        (node.view("item").await.ok()?["entities"].as_u64()? >= entities as u64).then_some(())
    })
    .await
}
