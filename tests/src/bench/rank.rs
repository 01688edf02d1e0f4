//! Rank 200 candidates by 100 features each with 100 trees: the module alone, and all of it over HTTP.

use std::fmt::Write;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Result, ensure};
use bytes::Bytes;
use hyper::Method;
use selvedge_build::module;
use selvedge_host::{Host, HostConfig};
use serde_json::{Map, Value, json};

use super::load::{Ask, Load};
use super::measure::{self, Quantiles, Round};
use super::{Effort, Line};
use crate::harness::shop::Shop;
use crate::harness::{Random, Rig, until};
use crate::modules;

const LIMIT: Duration = Duration::from_secs(60);
const CANDIDATES: usize = 200;
const FEATURES: usize = 100;
const ITEMS: usize = 2_000;

pub(super) async fn run(effort: Effort) -> Result<Vec<Line>> {
    Ok(vec![alone(effort)?, over_http(effort).await?])
}

fn alone(effort: Effort) -> Result<Line> {
    let bytes = modules::bench_rank()?;
    let module = Host::new(HostConfig::default())?.load(&bytes, &module::open(&bytes)?.manifest)?;
    let mut random = Random::new(1);
    let rows: Vec<f64> = (0..CANDIDATES * FEATURES).map(|_| random.unit() * 2.0 - 1.0).collect();
    let call = || module.evaluate(&[], &rows, CANDIDATES as u32, LIMIT);
    ensure!(call().is_ok_and(|scores| scores.len() == CANDIDATES), "the module does not answer");
    let round = Round::median(effort.rounds, || Round::run(1, effort.scale(3_000), |_| || drop(call())));
    let what = format!("p50; CPU {:.0} us", round.cpu_us);
    Ok(Line::time("rank 200 x 100, 100 trees: module alone", round.quantiles(), round.p50_us, 230.0, what))
}

async fn over_http(effort: Effort) -> Result<Line> {
    let rig = Rig::start().await?;
    let shop = Shop::new(rig.path("rank"), "rank")?;
    let mut features = String::from("[view.item]\nby = \"item\"\nsync = \"all\"\n[view.item.features]\n");
    for feature in 0..FEATURES {
        writeln!(features, "f{feature:03} = \"number\"")?;
    }
    shop.file("features.toml", features)?.placement("plp-rank", PLACEMENT)?.module("rank", &modules::bench_rank()?)?;
    let mut random = Random::new(2);
    let rows: Vec<Value> = (0..ITEMS)
        .map(|item| {
            let mut row: Map<String, Value> =
                (0..FEATURES).map(|feature| (format!("f{feature:03}"), json!(random.unit() * 2.0 - 1.0))).collect();
            row.insert("_key".into(), json!(format!("sku-{item}")));
            Value::Object(row)
        })
        .collect();
    rig.push("item", rows).await?;
    let release = rig.deploy(shop.folder()).await?;
    let node = rig.node("rank").await?;
    node.runs(&release, LIMIT).await?;
    let full = until("the node to hold every item", LIMIT, async || {
        (node.view("item").await.ok()?["entities"].as_u64()? >= ITEMS as u64).then_some(())
    });
    full.await?;
    let request = |_| {
        let first = random.below((ITEMS - CANDIDATES) as u64) as usize;
        let candidates: Vec<String> = (first..first + CANDIDATES).map(|item| format!("sku-{item}")).collect();
        Bytes::from(json!({"placement": "plp-rank", "candidates": candidates}).to_string())
    };
    let bodies: Vec<Bytes> = (0..100).map(request).collect();
    let ask = Ask { address: node.http, method: Method::POST, path: "/v1/decide", bodies: Arc::new(bodies) };
    let span = Duration::from_millis(effort.scale(2_000) as u64);
    let (mut cpu, mut times) = (Vec::new(), Quantiles::default());
    for _ in 0..effort.rounds {
        let load = Load::closed(ask.clone(), 8);
        load.cpu_us(&node.process, span / 5).await?;
        cpu.push(load.cpu_us(&node.process, span).await?);
        times.push(load.stop().await?);
    }
    let cpu_us = measure::median(cpu);
    let quantiles = times.medians();
    Ok(Line::time(
        "rank 200 x 100, 100 trees: over HTTP",
        quantiles,
        cpu_us,
        330.0,
        format!("CPU a request: {cpu_us:.0} us"),
    ))
}

const PLACEMENT: &str = r#"
candidates = { view = "item", from = "request" }
slots = 24
deadline = "50ms"
ladder = ["rank"]
fallback = { by = "item.f000" }
"#;
