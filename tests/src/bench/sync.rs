//! First sync: from the start of a node with an empty store until its view is complete, against a bare pull consumer that reads
//! the same bucket in the same run. What it takes in memory, and a restart with nothing changed.

use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use super::measure::Samples;
use super::wide::{self, Bare, MIB, Rows};
use super::{Effort, Line};
use crate::harness::{Node, Rig};

const LIMIT: Duration = Duration::from_secs(300);
/// The bars: so often the bare consumer's time, and so often the packed rows.
const TIMES: f64 = 2.0;

pub(super) async fn run(effort: Effort) -> Result<Vec<Line>> {
    let entities = effort.scale(1_000_000);
    let rig = Rig::start().await?;
    let link = rig.link().await?;
    link.create_features_bucket(wide::VIEW).await?;
    let release = rig.deploy(wide::shop(&rig.path("wide"))?.folder()).await?;
    let node = rig.node("idle").await?;
    node.runs(&release, LIMIT).await?;
    let idle = wide::settled(&node).await?;
    node.terminate().await?;

    let mut rows = Rows::new(1)?;
    rows.push(&link, 0..entities).await?;
    let (mut bare, mut synced, mut resumed) = (Samples::default(), Samples::default(), Samples::default());
    let (mut after, mut peak, mut behind) = (f64::NAN, f64::NAN, Duration::ZERO);
    for round in 0..effort.rounds.min(3) {
        let start = Instant::now();
        Bare::after(&rig.nats.url(), 0).await?.take(entities).await?;
        bare.add(start.elapsed());

        let start = Instant::now();
        let node = rig.node(&format!("node-{round}")).await?;
        wide::complete(&node, entities, LIMIT).await?;
        synced.add(start.elapsed());
        behind = wide::on_disk(&node, LIMIT).await?;
        after = wide::settled(&node).await? - idle;
        peak = node.process.peak_bytes()? as f64 / MIB - idle;
        let (spec, _) = node.terminate().await.context("stopping the node")?;

        let start = Instant::now();
        let node = Node::start(spec).await?;
        wide::complete(&node, entities, LIMIT).await?;
        resumed.add(start.elapsed());
        node.terminate().await.context("stopping the node")?;
    }
    let (floor, sync, resume) = (bare.quantiles(), synced.quantiles(), resumed.quantiles());
    let packed = (entities * rows.packed_bytes()) as f64 / MIB;
    let what = format!("p50, from the start of the process; bare consumer {:.0} us", floor.0);
    let disk = format!("{entities} x {} features; all on disk {:.1} s later", wide::FEATURES, behind.as_secs_f64());
    let memory =
        format!("resident beyond a node without rows; packed rows {packed:.0} MiB, at most {peak:.0} on the way");
    Ok(vec![
        Line::reported("first sync: a bare pull consumer", floor, disk),
        Line::time("first sync: node complete", sync, sync.0, TIMES * floor.0, what),
        Line::other("first sync: memory, MiB", after, Some(TIMES * packed), memory),
        Line::time(
            "first sync: restart with nothing changed",
            resume,
            resume.0,
            4e6,
            "p50, until complete and following",
        ),
    ])
}
