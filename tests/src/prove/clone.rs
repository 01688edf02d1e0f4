//! A cloned data directory: the original and its clone run side by side under one name: no id is used twice, and
//! the clone is not ready as long as the original is there.

use std::collections::BTreeSet;
use std::time::Duration;

use anyhow::{Context, Result};

use super::traffic::Traffic;
use super::{Findings, Scale, state};
use crate::harness::stream::Stream;
use crate::harness::{Node, NodeSpec, Rig, folder, until};

const LIMIT: Duration = Duration::from_secs(60);

pub(super) async fn run(scale: Scale) -> Result<Findings> {
    let decisions = scale.pick(2_000, 200);
    let rig = Rig::start().await?;
    let release = rig.deploy(state::priced_shop(&rig, 1)?.folder()).await?;
    let node = rig.node("edge-1").await?;
    node.runs(&release, LIMIT).await?;
    let first = Traffic::start(node.http, scale.seed);
    until("some traffic", LIMIT, async || (first.decisions() >= 50).then_some(())).await?;
    let before = first.stop().await?;
    let epoch = node.epoch.clone();
    let spec = node.kill()?;
    let clone = NodeSpec { folder: rig.path("clone"), ..spec.clone() };
    folder::copy(&spec.data(), &clone.data())?;

    let nodes = [Node::start(spec).await?, Node::start(clone).await?];
    let mut findings = Findings::default();
    let epochs = BTreeSet::from([epoch, nodes[0].epoch.clone(), nodes[1].epoch.clone()]);
    findings.check(epochs.len() == 3, || format!("an epoch was used twice: {epochs:?}"));
    let mut traffic = Vec::new();
    for (at, node) in nodes.iter().enumerate() {
        node.runs(&release, LIMIT).await?;
        traffic.push(Traffic::start(node.http, scale.seed + 1 + at as u64));
    }
    findings.works(nodes[1].not_ready("name_taken", LIMIT).await);
    let said = nodes[0].readiness().await?;
    findings.check(said["status"] == "ready", || format!("the original says {said}"));
    let (mut ids, mut accepted) = (BTreeSet::new(), before.accepted);
    let mut answered = before.decisions.len();
    ids.extend(before.decisions);
    for traffic in traffic {
        until("both to answer", LIMIT, async || (traffic.decisions() >= decisions).then_some(())).await?;
        let sent = traffic.stop().await?;
        answered += sent.decisions.len();
        ids.extend(sent.decisions);
        accepted.extend(sent.accepted);
    }
    let [original, clone] = nodes;
    drop(original.kill()?);
    findings.works(clone.wait_for("ready", LIMIT).await.context("the clone, with the original gone"));
    findings.count(answered as u64, (answered - ids.len()) as u64, || "a decision id was used twice".into());

    let mut missing = accepted.len();
    let mut stream = Stream::open(&rig.nats.url()).await?;
    let arrived = until("every accepted event to arrive", LIMIT, async || {
        stream.read_on().await.ok()?;
        let times = stream.times_by_message_id();
        missing = accepted.iter().filter(|id| times.get(id.as_str()) != Some(&1)).count();
        (missing == 0).then_some(())
    });
    drop(arrived.await);
    findings.count(accepted.len() as u64, missing as u64, || {
        format!("{missing} accepted events are not once in the stream")
    });
    Ok(findings)
}
