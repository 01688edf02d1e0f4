//! Resident memory: an idle node, one more loaded release, 100,000 entities of 20 features.

use std::fmt::Write;
use std::time::Duration;

use anyhow::Result;
use serde_json::{Map, Value, json};

use super::{Effort, Line};
use crate::harness::shop::Shop;
use crate::harness::{Node, Random, Rig, until, wait};

const LIMIT: Duration = Duration::from_secs(120);
const FEATURES: usize = 20;
const MIB: f64 = 1024.0 * 1024.0;

pub(super) async fn run(effort: Effort) -> Result<Vec<Line>> {
    let entities = effort.scale(100_000);
    let rig = Rig::start().await?;
    let node = rig.node("memory").await?;
    let idle = settled(&node).await?;
    let mut lines = vec![Line::other("memory: node idle, MiB", idle, None, "resident, no release")];

    let mut before = idle;
    for number in 1..=2 {
        let shop = Shop::numbered(rig.path(&format!("number-{number}")), number)?;
        node.runs(&rig.deploy(shop.folder()).await?, LIMIT).await?;
        let client = &mut node.client();
        for _ in 0..effort.scale(2_000) {
            client.post("/v1/decide", &json!({"placement": "home-hero"})).await?.ok()?;
        }
        let now = settled(&node).await?;
        let what =
            if number == 1 { "the first, with the instances its calls use" } else { "the second, the first kept warm" };
        lines.push(Line::other(format!("memory: loaded release {number}, MiB more"), now - before, None, what));
        before = now;
    }

    let shop = Shop::numbered(rig.path("wide"), 3)?;
    let mut features = String::from(crate::harness::shop::FEATURES);
    features.push_str("[view.wide]\nby = \"item\"\nsync = \"all\"\n[view.wide.features]\n");
    for feature in 0..FEATURES {
        writeln!(features, "f{feature:02} = \"number\"")?;
    }
    shop.file("features.toml", features)?;
    shop.model(
        "rank",
        "link = \"identity\"\n[[input]]\nname = \"wide.f00\"\nscope = \"candidate\"\ntype = \"number\"\nweight = 1.0\n",
    )?;
    node.runs(&rig.deploy(shop.folder()).await?, LIMIT).await?;
    before = settled(&node).await?;
    let mut random = Random::new(3);
    let rows = (0..entities).map(|at| {
        let mut row: Map<String, Value> = (0..FEATURES)
            .map(|feature| (format!("f{feature:02}"), json!((random.unit() * 1e4).round() / 100.0)))
            .collect();
        row.insert("_key".into(), json!(format!("sku-{at:08}")));
        Value::Object(row)
    });
    rig.push("wide", rows).await?;
    let full = until("the node to hold every entity", LIMIT, async || {
        (node.view("wide").await.ok()?["entities"].as_u64()? >= entities as u64).then_some(())
    });
    full.await?;
    let now = settled(&node).await?;
    let table = node.view("wide").await?["bytes"].as_f64().unwrap_or(f64::NAN) / MIB;
    let what = format!("resident with the store's cache and what the sync left; the table itself has {table:.1}");
    lines.push(Line::other(
        format!("memory: {entities} entities x {FEATURES} features, MiB more"),
        now - before,
        None,
        what,
    ));
    Ok(lines)
}

/// Resident MiB when it does not change any more.
async fn settled(node: &Node) -> Result<f64> {
    let mut last = 0.0;
    for _ in 0..20 {
        wait::pass(Duration::from_millis(500)).await;
        let now = node.process.resident_bytes()? as f64 / MIB;
        if (now - last).abs() < 0.5 {
            return Ok(now);
        }
        last = now;
    }
    Ok(last)
}
