//! The core killed and restarted, stopped for a minute, and silent behind an open connection: decisions go on, the node says
//! that it is degraded and since when, and everything arrives afterwards, complete.

use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use serde_json::{Value, json};

use super::traffic::Traffic;
use super::{Findings, Scale, state};
use crate::harness::stream::Stream;
use crate::harness::{Node, Rig, until, wait};

const LIMIT: Duration = Duration::from_secs(60);

pub(super) async fn run(scale: Scale) -> Result<Findings> {
    let mut rig = Rig::start().await?;
    let release = rig.deploy(state::priced_shop(&rig, 1)?.folder()).await?;
    let node = rig.node("edge-1").await?;
    node.runs(&release, LIMIT).await?;
    node.wait_for("ready", LIMIT).await?;
    let traffic = Traffic::start(node.http, scale.seed);
    let mut findings = Findings::default();

    wait::pass(Duration::from_millis(500)).await;
    rig.nats.restart().await?;
    back(&rig, &node, &traffic, 1.0, &mut findings).await;

    rig.nats.kill()?;
    degraded(&node, &traffic, &mut findings).await;
    wait::pass(scale.pick(Duration::from_secs(60), Duration::from_secs(3))).await;
    findings.check(node.readiness().await?["status"] == "degraded", || {
        "not degraded any more, with the core still gone".into()
    });
    rig.nats.restart().await?;
    back(&rig, &node, &traffic, 2.0, &mut findings).await;

    if !scale.short {
        rig.nats.freeze().await?;
        degraded(&node, &traffic, &mut findings).await;
        rig.nats.thaw()?;
        back(&rig, &node, &traffic, 3.0, &mut findings).await;
    }

    let sent = traffic.stop().await?;
    let failed = sent.failed_decisions.len() as u64;
    findings.count(sent.decisions.len() as u64 + failed, failed, || {
        format!("decisions failed: {:?}", sent.failed_decisions.first())
    });
    let failed = sent.failed_events.len() as u64;
    findings.count(sent.accepted.len() as u64 + failed, failed, || {
        format!("events failed: {:?}", sent.failed_events.first())
    });
    let (mut events, mut records) = (0, 0);
    let mut stream = Stream::open(&rig.nats.url()).await?;
    let arrived = until("everything to arrive", LIMIT, async || {
        stream.read_on().await.ok()?;
        let times = stream.times_by_message_id();
        events = sent.accepted.iter().filter(|id| times.get(id.as_str()) == Some(&1)).count();
        // Looking at prices is a decision too.
        records = stream.records.iter().filter(|record| &*record.placement == "home-hero").count();
        (events == sent.accepted.len() && records == sent.decisions.len()).then_some(())
    });
    drop(arrived.await);
    findings.check(events == sent.accepted.len(), || {
        format!("{events} of {} events are once in the stream", sent.accepted.len())
    });
    findings
        .check(records == sent.decisions.len(), || format!("{records} records of {} decisions", sent.decisions.len()));
    Ok(findings)
}

/// The node says that it is degraded and since when, and goes on deciding.
async fn degraded(node: &Node, traffic: &Traffic, findings: &mut Findings) {
    let start = Instant::now();
    let Some(said) = findings.works(node.wait_for("degraded", LIMIT).await) else { return };
    let reasons = said["reasons"].as_array().map_or(0, Vec::len);
    let told = said["reasons"].as_array().into_iter().flatten().all(|reason| {
        reason["code"].is_string() && !matches!(reason["since"], Value::Null) && reason["detail"].is_string()
    });
    findings.check(reasons > 0 && told, || {
        format!("degraded without code, since or detail after {:?}: {said}", start.elapsed())
    });
    let so_far = traffic.decisions();
    let on = until("decisions to go on without the core", LIMIT, async || {
        (traffic.decisions() > so_far + 100).then_some(())
    });
    findings.works(on.await);
}

/// The node is ready again, and features published now arrive.
async fn back(rig: &Rig, node: &Node, traffic: &Traffic, price: f64, findings: &mut Findings) {
    findings.works(node.wait_for("ready", LIMIT).await.context("after the core came back"));
    let put = rig.push("item", [json!({"_key": "sku-0", "price": price, "stock": 1.0})]).await;
    findings.works(put.context("publishing a feature after the core came back"));
    let mut client = node.client();
    let items = ["sku-0".to_owned()];
    let fresh = until("a feature published after the outage", LIMIT, async || {
        let prices = state::prices(&mut client, &items).await.ok()?;
        (prices.get("sku-0") == Some(&price)).then_some(())
    });
    findings.works(fresh.await);
    let so_far = traffic.decisions();
    findings
        .works(until("decisions to go on", LIMIT, async || (traffic.decisions() > so_far + 50).then_some(())).await);
}
