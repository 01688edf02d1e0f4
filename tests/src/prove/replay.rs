//! Every recorded decision, decided again from its own record, gives the same bytes: with a ladder that faults, an experiment, features
//! that are missing or late, and policies that explore and learn meanwhile. The demo does the same with real traffic.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::{Context, Result};
use serde_json::json;

use super::{Findings, Scale};
use crate::harness::shop::{FEATURES, Shop, number};
use crate::harness::{Client, Random, Rig, until};
use crate::modules;

const LIMIT: Duration = Duration::from_secs(60);
/// How long the core may take for the last records, and a command for all of them.
const ARRIVE: Duration = Duration::from_secs(900);

/// A placement with a scorer first that faults for a third of the requests, an experiment, and items some of which have no features.
const RANK: &str = r#"
context = { country = "symbol", cart_value = "number", provoke = "number" }
candidates = { view = "item", from = "request" }
slots = 3
deadline = "50ms"
ladder = ["trap", "rank"]
fallback = { by = "item.stock" }
record = { inputs = 1.0 }
[[experiment]]
key = "order"
unit = "session"
arms = [{ name = "both", weight = 50 }, { name = "rank", weight = 25, ladder = ["rank"] }, { name = "none", weight = 25, ladder = ["trap"] }]
"#;

/// A placement whose choices are learned from rewards: what was known at each decision is in its record.
const LEARNS: &str = r#"
actions = [{ id = "a" }, { id = "b" }, { id = "c" }, { id = "d" }]
slots = 2
choose = { policy = "thompson", reward = "select_item", floor = 0.01 }
fallback = ["a"]
record = { inputs = 1.0 }
"#;

/// One that explores among scores, of which one feature is mostly late: its view is proven once a second and counts for ten milliseconds.
const EXPLORES: &str = r#"
context = { country = "symbol", cart_value = "number" }
candidates = { view = "item", from = "request" }
slots = 3
deadline = "50ms"
ladder = ["late", "rank"]
choose = { policy = "softmax", temperature = 0.5, floor = 0.01 }
fallback = { by = "item.stock" }
record = { inputs = 1.0 }
"#;

/// What is only for a moment known to be current.
const LATE: &str = r#"
[view.mood]
by = "subject"
sync = "all"
max_lag = "10ms"
late = "refuse"
[view.mood.features]
value = "number"
"#;

/// Connections that ask.
const CONNECTIONS: u64 = 4;
/// One decision of a hundred is told what came of it.
const REWARDED: u64 = 100;

const MODEL: &str = r#"
link = "logistic"
intercept = -0.3
[[input]]
name = "item.price"
scope = "candidate"
type = "number"
weight = -0.013
[[input]]
name = "item.category"
scope = "candidate"
type = "symbol"
weights = { shoes = 0.7, shirts = -0.2 }
[[input]]
name = "user.value"
scope = "shared"
type = "number"
weight = 0.001
[[input]]
name = "context.cart_value"
scope = "shared"
type = "number"
weight = 0.01
"#;

pub(super) async fn run(scale: Scale) -> Result<Findings> {
    let decisions: u64 = scale.pick(1_000_000, 600);
    let rig = Rig::start().await?;
    let mut random = Random::new(scale.seed);
    let items: Arc<Vec<String>> = Arc::new((0..50).map(|at| format!("sku-{at}")).collect());
    let categories = ["shoes", "shirts", "unheard of"];
    let rows = items.iter().skip(5).map(|item| {
        json!({"_key": item, "price": random.unit() * 200.0, "stock": random.below(9) as f64, "category": random.pick(&categories)})
    });
    rig.push("item", rows.collect::<Vec<_>>()).await?;
    let users = (0..100).map(|at| json!({"_key": format!("u-{at}"), "segment": "vip", "value": at as f64 * 7.77}));
    rig.push("user", users.collect::<Vec<_>>()).await?;
    rig.push("mood", (0..100).map(|at| json!({"_key": format!("u-{at}"), "value": at as f64}))).await?;
    let shop = Shop::numbered(rig.path("replayed"), 1)?;
    shop.file("release.toml", "name = \"replayed\"\n[guard]\nmax_fault_rate = 1.0\n")?;
    shop.file("features.toml", format!("{FEATURES}{LATE}"))?;
    shop.placement("plp-rank", RANK)?.model("rank", MODEL)?.module("trap", &modules::hostile("trap")?)?;
    let late = number("mood.value", "shared", 0.5) + &number("item.price", "candidate", -0.1);
    shop.placement("explores", EXPLORES)?.placement("learns", LEARNS)?;
    shop.model("late", &format!("link = \"identity\"\nrows = 4096\n{late}"))?;
    let file = rig.pack(&shop).await?;
    let node = rig.node("edge-1").await?;
    node.runs(&rig.deploy(&file).await?, LIMIT).await?;

    let asked = Arc::new(AtomicU64::new(0));
    let connections: Vec<_> = (0..CONNECTIONS)
        .map(|at| {
            let random = Random::new(scale.seed ^ (at + 1) << 32);
            tokio::spawn(ask(node.http, random, Arc::clone(&items), Arc::clone(&asked), decisions))
        })
        .collect();
    for connection in connections {
        connection.await??;
    }
    until("every record to be at the core", ARRIVE, async || {
        let status = node.status().await.ok()?;
        let lanes = status["outbox"]["lanes"].as_array()?;
        lanes.iter().all(|lane| lane["backlog_bytes"] == 0).then_some(())
    })
    .await?;
    let faults = node.metrics().await?.sum("selvedge_faults_total", &[]);
    let late = node.metrics().await?.sum("selvedge_decide_late_views_total", &[]);

    let args = ["replay".as_ref(), "nats".as_ref(), "--release".as_ref(), file.as_os_str()];
    let cli = rig.cli.clone().within(ARRIVE);
    let said = cli.json(args).await?;
    let counted = |key: &str| said[key].as_u64().with_context(|| format!("no {key:?} in {said}"));
    let mut findings = Findings::default();
    findings.count(counted("replayed")?, counted("different")?, || format!("replay says {said}"));
    findings.check(counted("replayed")? == decisions, || format!("{decisions} decisions, replay says {said}"));
    findings.note(format!("{faults} faults, {late} views were late when they were read"));
    findings.check(faults > 0.0 && late > 0.0, || format!("{faults} faults and {late} late views prove little"));
    // A release compared with itself: faults and arms are what they were.
    let args = ["diff".as_ref(), file.as_os_str(), file.as_os_str(), "--replay".as_ref(), "nats".as_ref()];
    let same = cli.json(args).await?;
    for key in ["plp-rank", "explores", "learns"] {
        let placed = &same["placements"][key];
        let is_same = placed["compared"].as_u64().is_some_and(|compared| compared > decisions / 4)
            && placed["changed"] == 0
            && placed["before"]["faults"] == placed["after"]["faults"];
        findings.check(is_same, || format!("{decisions} decisions, diff of {key} says {placed}"));
    }
    Ok(findings)
}

/// Decides until all connections together have asked `wanted` times, and tells what came of some.
async fn ask(
    address: SocketAddr,
    mut random: Random,
    items: Arc<Vec<String>>,
    asked: Arc<AtomicU64>,
    wanted: u64,
) -> Result<()> {
    let mut client = Client::new(address);
    loop {
        let turn = asked.fetch_add(1, Ordering::Relaxed);
        if turn >= wanted {
            return Ok(());
        }
        let placement = ["plp-rank", "explores", "learns"][(turn % 3) as usize];
        let mut request = json!({
            "placement": placement,
            "subject": format!("u-{}", random.below(120)), "session": format!("s-{}", random.below(500)),
            "context": {
                "country": random.pick(&["DE", "FR"]), "cart_value": random.unit() * 300.0,
                "provoke": f64::from(u8::from(random.below(3) == 0)),
            },
        });
        if turn % 3 != 2 {
            let mut candidates = items.to_vec();
            candidates.rotate_left(random.below(50) as usize);
            candidates.truncate(random.below(12) as usize);
            request["candidates"] = candidates.into();
            request["slots"] = (1 + random.below(5)).into();
        }
        let answer = client.post("/v1/decide", &request).await?.ok().context("a decision")?;
        if turn % 3 == 2 && random.below(REWARDED) == 0 {
            let event = json!({"event": "select_item", "decision_id": answer["decision_id"], "item": answer["choices"][0]["id"]});
            client.post("/v1/events", &event).await?.ok().context("a reward")?;
        }
    }
}
