//! Started without the core: a node with a full store decides with what it had; one with an empty store is not ready, says
//! why, and becomes ready when the core comes.

use std::time::Duration;

use anyhow::Result;
use serde_json::json;

use super::{Findings, Scale, state};
use crate::harness::{Node, Rig, until};

const LIMIT: Duration = Duration::from_secs(60);

pub(super) async fn run(scale: Scale) -> Result<Findings> {
    let items: Vec<String> = (0..scale.pick(20_000, 1_000)).map(|at| format!("sku-{at}")).collect();
    let mut rig = Rig::start().await?;
    rig.push("item", items.iter().enumerate().map(|(at, item)| json!({"_key": item, "price": at as f64 + 1.0})))
        .await?;
    let release = rig.deploy(state::priced_shop(&rig, 1)?.folder()).await?;
    let node = rig.node("edge-1").await?;
    node.runs(&release, LIMIT).await?;
    let mut client = node.client();
    let full = async |client: &mut _| {
        state::prices(client, &items).await.ok().filter(|prices| prices.values().all(|price| *price > 0.0))
    };
    until("the node to hold every item", LIMIT, async || full(&mut client).await).await?;
    let (spec, status) = node.terminate().await?;
    let mut findings = Findings::default();
    findings.check(status.success(), || format!("a stop by SIGTERM ended with {status}"));
    rig.nats.kill()?;

    let node = Node::start(spec).await?;
    findings.works(node.wait_for("degraded", LIMIT).await);
    let mut client = node.client();
    let prices = state::prices(&mut client, &items).await?;
    for (at, item) in items.iter().enumerate() {
        let expected = at as f64 + 1.0;
        let found = prices.get(item).copied();
        findings
            .check(found == Some(expected), || format!("{item}: price {found:?} from the store, expected {expected}"));
    }
    let answer = client.post("/v1/decide", &json!({"placement": "home-hero"})).await?.ok()?;
    findings.check(answer["release"] == release.as_str(), || format!("decided with another release: {answer}"));
    drop(node);

    let empty = rig.node("edge-2").await?;
    let answer = empty.admin().get("/readyz").await?;
    let said = answer.json()?;
    let told = said["status"] == "not_ready" && said["reasons"].as_array().is_some_and(|reasons| !reasons.is_empty());
    findings
        .check(answer.status == 503 && told, || format!("with an empty store /readyz says {} {said}", answer.status));
    let refused = empty.client().post("/v1/decide", &json!({"placement": "home-hero"})).await?;
    let code = refused.json()?["error"]["code"].clone();
    findings.check(refused.status == 503 && code == "not_ready", || {
        format!("a decision without a release: {}", refused.text())
    });
    rig.nats.restart().await?;
    findings.works(empty.wait_for("ready", LIMIT).await);
    findings.works(
        empty.client().post("/v1/decide", &json!({"placement": "home-hero"})).await.and_then(|answer| answer.ok()),
    );
    Ok(findings)
}
