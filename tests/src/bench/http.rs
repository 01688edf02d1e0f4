//! Decide over HTTP against a bare axum hello, each in a process of its own and measured in turn: server CPU a request in a
//! closed loop of 64 connections, latency in an open loop of 2,000 a second.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Result, ensure};
use hyper::Method;

use super::hello::Hello;
use super::inprocess::Stage;
use super::load::{Ask, Load};
use super::measure::Quantiles;
use super::{Effort, Line, measure, world};
use crate::harness::{Node, Process, Rig, until, wait};

const LIMIT: Duration = Duration::from_secs(60);
const CONNECTIONS: usize = 64;
const RATE: f64 = 2_000.0;
/// The bar: decide in process, and so often the CPU of a hello.
const HELLOS: f64 = 2.5;

/// One server under both loads, over the rounds.
#[derive(Debug, Default)]
struct Measured {
    cpu_us: Vec<f64>,
    closed: Quantiles,
    open: Quantiles,
}

pub(super) async fn run(effort: Effort) -> Result<Vec<Line>> {
    let stage = Stage::start().await?;
    let (in_process, _) = stage.decisions(effort)?;
    stage.node.stop().await;

    let (rig, node) = start().await?;
    let bodies = world::requests();
    let hello = Hello::start(bodies.clone()).await?;
    let ask = Ask { address: node.http, method: Method::POST, path: "/v1/decide", bodies: Arc::new(bodies) };
    let (mut decide, mut floor) = (Measured::default(), Measured::default());
    for _ in 0..effort.rounds {
        floor.round(effort, &hello.ask, &hello.process).await?;
        decide.round(effort, &ask, &node.process).await?;
    }
    drop((node, hello, rig));

    let (cpu_us, hello_us) = (decide.cpu_us(), floor.cpu_us());
    let bar = in_process.process_us + HELLOS * hello_us;
    let what = format!(
        "CPU a request: {cpu_us:.1} us; bar: in process {:.1} (writing and sending the record included) + {HELLOS} x hello \
         {hello_us:.1}",
        in_process.process_us
    );
    Ok(vec![
        Line::time("http decide, 64 connections", decide.closed.medians(), cpu_us, bar, what),
        Line::reported("http decide, open loop 2,000/s", decide.open.medians(), "latency from when it was due"),
        Line::reported(
            "http hello, 64 connections",
            floor.closed.medians(),
            format!("CPU a request: {hello_us:.1} us"),
        ),
        Line::reported("http hello, open loop 2,000/s", floor.open.medians(), "latency from when it was due"),
    ])
}

// === impl Measured ===

impl Measured {
    async fn round(&mut self, effort: Effort, ask: &Ask, server: &Process) -> Result<()> {
        let span = Duration::from_millis(effort.scale(2_000) as u64);
        let load = Load::closed(ask.clone(), CONNECTIONS);
        // The first moments open connections and fill caches.
        load.cpu_us(server, span / 5).await?;
        self.cpu_us.push(load.cpu_us(server, span).await?);
        self.closed.push(load.stop().await?);
        let load = Load::open(ask.clone(), CONNECTIONS, RATE);
        wait::pass(span).await;
        self.open.push(load.stop().await?);
        Ok(())
    }

    fn cpu_us(&self) -> f64 {
        measure::median(self.cpu_us.iter().copied())
    }
}

/// A core and a node process that runs the bench's release with all its rows.
async fn start() -> Result<(Rig, Node)> {
    let rig = Rig::start().await?;
    for view in 0..world::VIEWS {
        rig.push(&format!("v{view}"), world::rows(view)).await?;
    }
    let release = rig.deploy(world::shop(&rig.path("bench"))?.folder()).await?;
    let node = rig.node("bench").await?;
    node.runs(&release, LIMIT).await?;
    for view in 0..world::VIEWS {
        let name = format!("v{view}");
        let full = until("the node to hold every row", LIMIT, async || {
            (node.view(&name).await.ok()?["entities"].as_u64()? >= world::SUBJECTS as u64).then_some(())
        });
        full.await?;
    }
    let answer = node.client().send(Method::POST, "/v1/decide", world::requests()[0].clone()).await?.ok()?;
    ensure!(answer["reason"] == "SCORED", "not scored: {answer}");
    Ok((rig, node))
}
