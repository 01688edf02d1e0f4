//! Resident memory: an idle node, one more loaded release, 100,000 entities of 20 features.

use std::time::Duration;

use anyhow::Result;
use serde_json::json;

use super::wide::{self, FEATURES, MIB, Rows, settled};
use super::{Effort, Line};
use crate::harness::Rig;
use crate::harness::shop::Shop;

const LIMIT: Duration = Duration::from_secs(120);

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

    node.runs(&rig.deploy(wide::shop(&rig.path("wide"))?.folder()).await?, LIMIT).await?;
    before = settled(&node).await?;
    let link = rig.link().await?;
    link.create_features_bucket(wide::VIEW).await?;
    Rows::new(3)?.push(&link, 0..entities).await?;
    wide::complete(&node, entities, LIMIT).await?;
    wide::on_disk(&node, LIMIT).await?;
    let now = settled(&node).await?;
    let table = node.view(wide::VIEW).await?["bytes"].as_f64().unwrap_or(f64::NAN) / MIB;
    let what = format!("resident with the store's cache and what the sync left; the table itself has {table:.1}");
    lines.push(Line::other(
        format!("memory: {entities} entities x {FEATURES} features, MiB more"),
        now - before,
        None,
        what,
    ));
    Ok(lines)
}
