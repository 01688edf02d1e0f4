//! Decisions while 10,000 feature updates and 10,000 events a second come in, against decisions without, in turn.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Result, ensure};
use bytes::Bytes;
use hyper::Method;
use serde_json::json;

use super::load::{Ask, Load};
use super::measure::Quantiles;
use super::wide::{self, Rows};
use super::{Effort, Line};
use crate::harness::{Rig, wait};

const LIMIT: Duration = Duration::from_secs(120);
const ITEMS: usize = 20_000;
const DECISIONS: f64 = 500.0;
const UPDATES: f64 = 10_000.0;
const BATCH: usize = 100;
const BATCHES: f64 = 100.0;
/// The bar: so often the p99 without.
const TIMES: f64 = 1.5;

pub(super) async fn run(effort: Effort) -> Result<Vec<Line>> {
    let rig = Rig::start().await?;
    let link = rig.link().await?;
    link.create_features_bucket(wide::VIEW).await?;
    let release = rig.deploy(wide::shop(&rig.path("wide"))?.folder()).await?;
    let mut rows = Rows::new(1)?;
    rows.push(&link, 0..ITEMS).await?;
    let node = rig.node("pour").await?;
    node.runs(&release, LIMIT).await?;
    wide::complete(&node, ITEMS, LIMIT).await?;

    let candidates = |turn: usize| (0..20).map(|at| wide::id((turn * 31 + at * 7) % ITEMS)).collect::<Vec<_>>();
    let decide = |turn| Bytes::from(json!({"placement": "wide", "candidates": candidates(turn)}).to_string());
    let check = node.client().send(Method::POST, "/v1/decide", decide(1)).await?.ok()?;
    ensure!(check["reason"] == "SCORED", "not scored: {check}");
    let decide = Ask {
        address: node.http,
        method: Method::POST,
        path: "/v1/decide",
        bodies: Arc::new((0..64).map(decide).collect()),
    };
    let event = |turn: usize, at: usize| {
        json!({"event": "view_item", "subject": format!("u-{}", turn * 31 + at), "session": format!("s-{turn}"),
               "item": wide::id(at * 7), "messageId": format!("m-@@@@@@@@-{at}")})
    };
    let batch =
        |turn| Bytes::from(json!({"batch": (0..BATCH).map(|at| event(turn, at)).collect::<Vec<_>>()}).to_string());
    let events = Ask {
        address: node.http,
        method: Method::POST,
        path: "/v1/events",
        bodies: Arc::new((0..64).map(batch).collect()),
    };

    let span = Duration::from_millis(effort.scale(5_000) as u64);
    let (mut without, mut with) = (Quantiles::default(), Quantiles::default());
    let (mut updates, mut taken) = (0, 0);
    for _ in 0..effort.rounds {
        let load = Load::open(decide.clone(), 16, DECISIONS);
        wait::pass(span).await;
        without.push(load.stop().await?);
        let pouring = Load::open(events.clone(), 16, BATCHES);
        let load = Load::open(decide.clone(), 16, DECISIONS);
        updates += rows.pour(&link, ITEMS, UPDATES, span).await?;
        with.push(load.stop().await?);
        taken += pouring.stop().await?.len() * BATCH;
    }
    let (without, with) = (without.medians(), with.medians());
    let seconds = span.as_secs_f64() * effort.rounds as f64;
    let what = format!(
        "p99 against {TIMES} x without; {:.0} updates/s and {:.0} events/s came in",
        updates as f64 / seconds,
        taken as f64 / seconds
    );
    Ok(vec![
        Line::reported("under load: decisions without, open loop 500/s", without, "latency from when it was due"),
        Line::time("under load: decisions with", with, with.1, TIMES * without.1, what),
    ])
}
