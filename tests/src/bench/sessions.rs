//! From an event's 202 to the first decision that counts it: on the node that took it, and on another one.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use serde_json::json;

use super::measure::{Quantiles, Samples};
use super::{Effort, Line};
use crate::harness::shop::{FEATURES, Shop, hero};
use crate::harness::{Client, Rig};

const LIMIT: Duration = Duration::from_secs(30);
const AGGREGATES: &str = r#"
[view.session]
by = "session"
[view.session.aggregates]
views = { count = "view_item", window = "24h" }
"#;
const MODEL: &str = r#"
link = "identity"
intercept = 0.0
[[input]]
name = "session.views"
scope = "shared"
type = "number"
weight = 1.0
"#;

pub(super) async fn run(effort: Effort) -> Result<Vec<Line>> {
    let rig = Rig::start().await?;
    let shop = Shop::new(rig.path("shop"), "shop")?;
    shop.file("features.toml", format!("{FEATURES}{AGGREGATES}"))?;
    shop.placement("home-hero", &hero(1, "[\"count\"]"))?;
    shop.model("count", MODEL)?;
    let release = rig.deploy(shop.folder()).await?;
    let nodes = [rig.node("here").await?, rig.node("there").await?];
    for node in &nodes {
        node.runs(&release, LIMIT).await?;
    }
    let [mut events, mut here, mut there] = [nodes[0].client(), nodes[0].client(), nodes[1].client()];
    let [mut at_once, mut travelled] = [Quantiles::default(), Quantiles::default()];
    let mut views = 0.0;
    for _ in 0..effort.rounds {
        let [mut same, mut other] = [Samples::default(), Samples::default()];
        for _ in 0..effort.scale(500) {
            views += 1.0;
            let event = json!({"event": "view_item", "session": "s-1"});
            events.post("/v1/events", &event).await?.ok()?;
            let start = Instant::now();
            same.add(seen(&mut here, views, start).await?);
            other.add(seen(&mut there, views, start).await?);
        }
        at_once.push(same);
        travelled.push(other);
    }
    let (same, other) = (at_once.medians(), travelled.medians());
    Ok(vec![
        Line::time("event's 202 -> seen by a decision, same node", same, same.1, 1_000.0, "p99, over HTTP"),
        Line::time("event's 202 -> seen by a decision, another node", other, other.1, 100_000.0, "p99, over the core"),
    ])
}

/// Decides until a decision counts so many views.
async fn seen(client: &mut Client, views: f64, start: Instant) -> Result<Duration> {
    let request = json!({"placement": "home-hero", "session": "s-1"});
    loop {
        let answer = client.post("/v1/decide", &request).await?.ok()?;
        let score = answer["choices"][0]["score"].as_f64().with_context(|| format!("no score: {answer}"))?;
        if score == views {
            return Ok(start.elapsed());
        }
        ensure!(start.elapsed() < LIMIT, "{views} views were never counted: {answer}");
    }
}
