//! Durable events in, in batches of 100: CPU of the node for an event, fdatasync included. The drain to the core runs beside
//! it, so this is an upper bound.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use bytes::Bytes;
use hyper::Method;
use serde_json::{Value, json};

use super::load::{Ask, Load};
use super::measure::{self, Quantiles};
use super::{Effort, Line};
use crate::harness::Rig;

const BATCH: usize = 100;

pub(super) async fn run(effort: Effort) -> Result<Vec<Line>> {
    let rig = Rig::start().await?;
    let node = rig.node("events").await?;
    let batch = |turn: usize| {
        let event = |at: usize| {
            json!({
                "event": "view_item", "subject": format!("u-{}", turn * 31 + at), "session": format!("s-{turn}"),
                "item": format!("sku-{}", at * 7), "messageId": format!("m-@@@@@@@@-{at}"),
                "properties": {"list": "plp", "position": at},
            })
        };
        let events: Vec<Value> = (0..BATCH).map(event).collect();
        Bytes::from(json!({ "batch": events }).to_string())
    };
    let bodies: Vec<Bytes> = (0..64).map(batch).collect();
    let ask = Ask { address: node.http, method: Method::POST, path: "/v1/events", bodies: Arc::new(bodies) };
    let span = Duration::from_millis(effort.scale(2_000) as u64);
    let (mut cpu, mut times) = (Vec::new(), Quantiles::default());
    for _ in 0..effort.rounds {
        let load = Load::closed(ask.clone(), 16);
        load.cpu_us(&node.process, span / 5).await?;
        cpu.push(load.cpu_us(&node.process, span).await? / BATCH as f64);
        times.push(load.stop().await?);
    }
    let cpu_us = measure::median(cpu);
    let quantiles = times.medians();
    let what = format!("CPU an event: {cpu_us:.2} us, drain included; times are of whole batches until 202");
    Ok(vec![Line::time("durable events in, batches of 100", quantiles, cpu_us, 6.7, what)])
}
