//! Keeping up: rows are written as fast as the core takes them, and a bare consumer follows, then a node. What a node applies
//! in memory may take a quarter longer; its disk is behind by what it says.

use std::time::{Duration, Instant};

use anyhow::Result;
use selvedge_node::link::NatsLink;

use super::measure::Samples;
use super::wide::{self, Bare, Rows};
use super::{Effort, Line};
use crate::harness::{Rig, until};

const LIMIT: Duration = Duration::from_secs(300);
/// Of the bare consumer's rate, what the node must reach.
const SHARE: f64 = 0.8;

pub(super) async fn run(effort: Effort) -> Result<Vec<Line>> {
    let entities = effort.scale(300_000);
    let rig = Rig::start().await?;
    let links = [rig.link().await?, rig.link().await?];
    links[0].create_features_bucket(wide::VIEW).await?;
    let release = rig.deploy(wide::shop(&rig.path("wide"))?.folder()).await?;
    let mut rows = [Rows::new(1)?, Rows::new(2)?];
    let mut seq = 0;
    seq += update(&mut rows, &links, entities).await?;
    let spec = rig.spec("node");
    let (mut bare, mut node_times, mut behind) = (Samples::default(), Samples::default(), Duration::ZERO);
    for round in 0..effort.rounds.min(3) {
        let mut floor = Bare::after(&rig.nats.url(), seq).await?;
        let start = Instant::now();
        let (sent, taken) = tokio::join!(update(&mut rows, &links, entities), floor.take(entities));
        bare.add(start.elapsed());
        seq += sent?;
        taken?;
        drop(floor);

        // Each round's node is a new one, which is only then beside the publisher.
        let node = crate::harness::Node::start(crate::harness::NodeSpec {
            name: format!("node-{round}"),
            folder: rig.path(&format!("node-{round}")),
            ..spec.clone()
        })
        .await?;
        node.runs(&release, LIMIT).await?;
        wide::complete(&node, entities, LIMIT).await?;
        wide::on_disk(&node, LIMIT).await?;
        let start = Instant::now();
        let end = seq + entities as u64;
        let applied = until("the node to apply all updates", LIMIT, async || {
            (wide::applied(&node).await.ok()? >= end).then(|| start.elapsed())
        });
        let (sent, applied) = tokio::join!(update(&mut rows, &links, entities), applied);
        node_times.add(applied?);
        seq += sent?;
        behind = behind.max(wide::on_disk(&node, LIMIT).await?);
        node.terminate().await?;
    }
    let (floor, node) = (bare.quantiles(), node_times.quantiles());
    let rate = |us: f64| entities as f64 / us * 1e6;
    let what = format!(
        "p50 until {entities} updates are applied: {:.0}/s, bare consumer {:.0}/s; the disk at most {:.1} s behind",
        rate(node.0),
        rate(floor.0),
        behind.as_secs_f64()
    );
    Ok(vec![
        Line::reported("keep up: a bare consumer", floor, "from the first update sent, two publishers"),
        Line::time("keep up: node, in memory", node, node.0, floor.0 / SHARE, what),
    ])
}

/// Updates every item once, by two publishers; how many messages that are.
async fn update(rows: &mut [Rows; 2], links: &[std::sync::Arc<NatsLink>; 2], entities: usize) -> Result<u64> {
    let [first, second] = rows;
    let half = entities / 2;
    let sent = tokio::join!(first.push(&links[0], 0..half), second.push(&links[1], half..entities));
    sent.0.and(sent.1)?;
    Ok(entities as u64)
}
