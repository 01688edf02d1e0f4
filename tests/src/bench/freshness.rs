//! From the publication of a feature (its put is sent) to the first decision that uses it, on loopback.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use serde_json::{Value, json};

use super::measure::{Quantiles, Samples};
use super::{Effort, Line};
use crate::harness::{Client, Rig};
use crate::prove::priced_shop;

const LIMIT: Duration = Duration::from_secs(30);

pub(super) async fn run(effort: Effort) -> Result<Vec<Line>> {
    let rig = Rig::start().await?;
    rig.push("item", [json!({"_key": "sku-0", "price": 1.0})]).await?;
    let release = rig.deploy(priced_shop(&rig, 1)?.folder()).await?;
    let node = rig.node("fresh").await?;
    node.runs(&release, LIMIT).await?;
    node.wait_for("ready", LIMIT).await?;
    let link = rig.link().await?;
    let mut client = node.client();
    let mut times = Quantiles::default();
    let mut price = 1.0;
    for _ in 0..effort.rounds {
        let mut samples = Samples::default();
        for _ in 0..effort.scale(1_000) {
            price += 1.0;
            let row = json!({ "price": price }).to_string();
            let start = Instant::now();
            let put = link.put_feature("item", "sku-0", row.into());
            let (put, used) = tokio::join!(put, used(&mut client, price, start));
            put?;
            samples.add(used?);
        }
        times.push(samples);
    }
    let quantiles = times.medians();
    Ok(vec![Line::time(
        "feature published -> used by a decision",
        quantiles,
        quantiles.1,
        10_000.0,
        "p99, from the put being sent",
    )])
}

/// Decides until a decision scores by `price`.
async fn used(client: &mut Client, price: f64, start: Instant) -> Result<Duration> {
    let request: Value = json!({"placement": "plp-rank", "candidates": ["sku-0"]});
    loop {
        let answer = client.post("/v1/decide", &request).await?.ok()?;
        if answer["choices"][0]["score"].as_f64() == Some(price) {
            return Ok(start.elapsed());
        }
        ensure!(start.elapsed() < LIMIT, "price {price} was never used: {answer}");
    }
}
