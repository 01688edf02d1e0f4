//! OpenFeature: the CPU that one flag costs and the CPU that all of them cost, over HTTP, on one node in turn. Flags without a module:
//! those that are the same for everybody, and those that an experiment splits.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Result, ensure};
use hyper::Method;
use serde_json::json;

use super::load::{Ask, Load};
use super::measure::Quantiles;
use super::{Effort, Line, measure};
use crate::harness::shop::Shop;
use crate::harness::{Node, Rig};

const LIMIT: Duration = Duration::from_secs(60);
const CONNECTIONS: usize = 16;
const FLAGS: usize = 100;
/// The bar: all flags cost at most so often what one costs.
const TIMES: f64 = 4.0;

/// One kind of request under load, over the rounds.
#[derive(Debug, Default)]
struct Measured {
    cpu_us: Vec<f64>,
    closed: Quantiles,
}

pub(super) async fn run(effort: Effort) -> Result<Vec<Line>> {
    let (one, all) = kind(effort, "").await?;
    let split = "[[experiment]]\nkey = \"KEY\"\nunit = \"subject\"\narms = [{ name = \"a\", weight = 50 }, { name = \"b\", weight = 50 }]\n";
    let (split_one, split_all) = kind(effort, split).await?;
    let (one_us, all_us) = (one.cpu_us(), all.cpu_us());
    let what = format!("CPU a request: {all_us:.1} us; bar: {TIMES} x that of one flag {one_us:.1} us");
    let of_one = format!("CPU a request: {one_us:.1} us, its record included");
    let of_split = format!(
        "CPU a request: {:.1} us; bar: {TIMES} x that of one such flag {:.1} us, its record included",
        split_all.cpu_us(),
        split_one.cpu_us()
    );
    let split_bar = TIMES * split_one.cpu_us();
    Ok(vec![
        Line::time(format!("flags, all {FLAGS}"), all.closed.medians(), all_us, TIMES * one_us, what),
        Line::reported("flags, one", one.closed.medians(), of_one),
        Line::time(
            format!("flags, all {FLAGS} of experiments"),
            split_all.closed.medians(),
            split_all.cpu_us(),
            split_bar,
            of_split,
        ),
    ])
}

/// One flag and all of them, on a node of its own whose flags each have `more` in their placement.
async fn kind(effort: Effort, more: &str) -> Result<(Measured, Measured)> {
    let rig = Rig::start().await?;
    let shop = Shop::new(rig.path("flags"), "flags")?;
    for flag in 0..FLAGS {
        let key = format!("flag-{flag:02}");
        let actions =
            "actions = [{ id = \"on\", payload = true }, { id = \"off\", payload = false }]\nfallback = [\"on\"]\n";
        shop.placement(&key, &format!("{actions}{}", more.replace("KEY", &key)))?;
    }
    let release = rig.deploy(shop.folder()).await?;
    let node = rig.node("flags").await?;
    node.runs(&release, LIMIT).await?;
    let bodies: Vec<bytes::Bytes> = (0..1_000)
        .map(|subject| json!({"context": {"targetingKey": format!("u-{subject}"), "country": "DE"}}).to_string().into())
        .collect();
    let bodies = Arc::new(bodies);
    let ask = |path| Ask { address: node.http, method: Method::POST, path, bodies: Arc::clone(&bodies) };
    let (one, all) = (ask("/ofrep/v1/evaluate/flags/flag-42"), ask("/ofrep/v1/evaluate/flags"));
    let answer = node.client().send(Method::POST, all.path, bodies[0].clone()).await?.ok()?;
    ensure!(answer["flags"].as_array().is_some_and(|flags| flags.len() == FLAGS), "not all flags: {answer}");
    let (mut of_one, mut of_all) = (Measured::default(), Measured::default());
    for _ in 0..effort.rounds {
        of_one.round(effort, &one, &node).await?;
        of_all.round(effort, &all, &node).await?;
    }
    Ok((of_one, of_all))
}

// === impl Measured ===

impl Measured {
    async fn round(&mut self, effort: Effort, ask: &Ask, node: &Node) -> Result<()> {
        let span = Duration::from_millis(effort.scale(2_000) as u64);
        let load = Load::closed(ask.clone(), CONNECTIONS);
        // The first moments open connections and fill caches.
        load.cpu_us(&node.process, span / 5).await?;
        self.cpu_us.push(load.cpu_us(&node.process, span).await?);
        self.closed.push(load.stop().await?);
        Ok(())
    }

    fn cpu_us(&self) -> f64 {
        measure::median(self.cpu_us.iter().copied())
    }
}
