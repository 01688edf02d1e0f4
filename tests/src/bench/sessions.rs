//! From an event's 202 to the first decision that counts it: in this process, over HTTP, and on another node. Beside them what
//! each cannot be faster than: a decision over HTTP without an event before, and a bare fdatasync.

use std::fs::File;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use selvedge_node::clock::Clock;
use selvedge_node::decide::Wire;
use selvedge_node::events::Event;
use selvedge_node::node::Node as InProcess;
use serde_json::{Value, json};

use super::measure::{Quantiles, Samples};
use super::{Effort, Line};
use crate::harness::shop::{FEATURES, Shop, hero};
use crate::harness::{Client, Rig, inprocess, until};

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
    let [mut at_once, mut travelled, mut bare] = std::array::from_fn(|_| Quantiles::default());
    let mut views = 0.0;
    for _ in 0..effort.rounds {
        let [mut same, mut other, mut alone] = [Samples::default(), Samples::default(), Samples::default()];
        for _ in 0..effort.scale(500) {
            views += 1.0;
            let event = json!({"event": "view_item", "session": "s-1"});
            events.post("/v1/events", &event).await?.ok()?;
            let start = Instant::now();
            same.add(seen(&mut here, views, start).await?);
            other.add(seen(&mut there, views, start).await?);
            let start = Instant::now();
            seen(&mut here, views, start).await?;
            alone.add(start.elapsed());
        }
        at_once.push(same);
        travelled.push(other);
        bare.push(alone);
    }
    let (same, other, bare) = (at_once.medians(), travelled.medians(), bare.medians());
    drop(nodes);
    let mut lines = in_process(&rig, &release, effort).await?;
    lines.extend([
        Line::reported("a decision over HTTP, no event before it", bare, "the floor of the next line"),
        Line::time("event's 202 -> seen by a decision, same node", same, same.1, 1_000.0, "p99, over HTTP"),
        Line::time("event's 202 -> seen by a decision, another node", other, other.1, 100_000.0, "p99, over the core"),
    ]);
    Ok(lines)
}

/// The same without HTTP, with the time until the event is accepted and its floor.
async fn in_process(rig: &Rig, release: &str, effort: Effort) -> Result<Vec<Line>> {
    let node = inprocess::start(&rig.spec("inside")).await?;
    let runs = || node.releases.active().as_ref().as_ref().is_some_and(|active| active.digest_text == release);
    until("the node to run the release", LIMIT, async || runs().then_some(())).await?;
    let [mut seen, mut accepted, mut synced] = std::array::from_fn(|_| Quantiles::default());
    let clock = Clock::new();
    let mut views = 0.0;
    for _ in 0..effort.rounds {
        let [mut decided, mut stored] = [Samples::default(), Samples::default()];
        for _ in 0..effort.scale(500) {
            views += 1.0;
            let event = view_item(clock.now_us());
            let start = Instant::now();
            node.outbox.append_events(vec![event]).await?;
            stored.add(start.elapsed());
            let start = Instant::now();
            let score = decide(&node)?;
            decided.add(start.elapsed());
            ensure!(score == views, "the next decision counted {score} views of {views}");
        }
        seen.push(decided);
        accepted.push(stored);
        synced.push(fdatasync(&rig.path("fdatasync"), effort.scale(500))?);
    }
    node.stop().await;
    let (seen, accepted, synced) = (seen.medians(), accepted.medians(), synced.medians());
    Ok(vec![
        Line::reported("a bare fdatasync after 200 bytes", synced, "the floor of the next line"),
        Line::reported("event sent -> accepted, in process", accepted, "one at a time, durable"),
        Line::time("event accepted -> seen by the next decision, in process", seen, seen.1, 1_000.0, "p99"),
    ])
}

fn view_item(now_us: i64) -> Event {
    Event {
        time_us: now_us,
        received_us: now_us,
        name: "view_item".into(),
        subject: None,
        session: Some("s-in".into()),
        item: None,
        decision_id: None,
        message_id: None,
        properties: "{}".into(),
        joined: None,
    }
}

fn decide(node: &InProcess) -> Result<f64> {
    let wire = Wire { placement: "home-hero".into(), session: Some("s-in".into()), ..Wire::default() };
    let answer: Value = serde_json::from_slice(&node.decider.decide(&wire)?.json)?;
    answer["choices"][0]["score"].as_f64().with_context(|| format!("no score: {answer}"))
}

/// Appends to a file and syncs it, again and again.
fn fdatasync(path: &Path, times: usize) -> Result<Samples> {
    use std::io::Write;

    let mut file = File::create(path)?;
    let mut samples = Samples::default();
    for _ in 0..times {
        let start = Instant::now();
        file.write_all(&[7; 200])?;
        file.sync_data()?;
        samples.add(start.elapsed());
    }
    Ok(samples)
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
