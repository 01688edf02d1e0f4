//! Every recorded decision, decided again from its own record, gives the same bytes: with rules and a ladder, an experiment,
//! missing features, pins and faults. The demo does the same with real traffic.

use std::time::Duration;

use anyhow::{Context, Result};
use serde_json::json;

use super::{Findings, Scale};
use crate::harness::shop::Shop;
use crate::harness::stream::Stream;
use crate::harness::{Random, Rig, until};
use crate::modules;

const LIMIT: Duration = Duration::from_secs(60);

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
    let decisions = scale.pick(10_000, 400);
    let rig = Rig::start().await?;
    let mut random = Random::new(scale.seed);
    let items: Vec<String> = (0..50).map(|at| format!("sku-{at}")).collect();
    let categories = ["shoes", "shirts", "unheard of"];
    let rows = items.iter().skip(5).map(|item| {
        json!({"_key": item, "price": random.unit() * 200.0, "stock": random.below(9) as f64, "category": random.pick(&categories)})
    });
    rig.push("item", rows.collect::<Vec<_>>()).await?;
    let users = (0..100).map(|at| json!({"_key": format!("u-{at}"), "segment": "vip", "value": at as f64 * 7.77}));
    rig.push("user", users.collect::<Vec<_>>()).await?;
    let shop = Shop::numbered(rig.path("replayed"), 1)?;
    shop.file("release.toml", "name = \"replayed\"\n[guard]\nmax_fault_rate = 1.0\n")?;
    shop.placement("plp-rank", RANK)?.model("rank", MODEL)?.module("trap", &modules::hostile("trap")?)?;
    let file = rig.pack(&shop).await?;
    let node = rig.node("edge-1").await?;
    node.runs(&rig.deploy(&file).await?, LIMIT).await?;

    let mut client = node.client();
    for _ in 0..decisions {
        let mut candidates = items.clone();
        candidates.rotate_left(random.below(50) as usize);
        candidates.truncate(random.below(12) as usize);
        let request = json!({
            "placement": "plp-rank", "subject": format!("u-{}", random.below(120)), "session": format!("s-{}", random.below(500)),
            "candidates": candidates, "slots": 1 + random.below(5),
            "context": {
                "country": random.pick(&["DE", "FR"]), "cart_value": random.unit() * 300.0,
                "provoke": f64::from(u8::from(random.below(3) == 0)),
            },
        });
        client.post("/v1/decide", &request).await?.ok().context("a decision")?;
    }
    let mut stream = Stream::open(&rig.nats.url()).await?;
    let arrived = until("every record to arrive", LIMIT, async || {
        stream.read_on().await.ok()?;
        (stream.records.len() >= decisions).then_some(())
    });
    arrived.await?;
    let args = ["replay".as_ref(), "nats".as_ref(), "--release".as_ref(), file.as_os_str()];
    let said = rig.cli.json(args).await?;
    let number = |key: &str| said[key].as_u64().with_context(|| format!("no {key:?} in {said}"));
    let mut findings = Findings::default();
    findings.count(number("replayed")?, number("different")?, || format!("replay says {said}"));
    findings.check(number("replayed")? == decisions as u64, || format!("{decisions} decisions, replay says {said}"));
    // A release compared with itself: faults and arms are what they were.
    let args = ["diff".as_ref(), file.as_os_str(), file.as_os_str(), "--replay".as_ref(), "nats".as_ref()];
    let same = rig.cli.json(args).await?;
    let placed = &same["placements"]["plp-rank"];
    let is_same = placed["compared"] == decisions
        && placed["changed"] == 0
        && placed["before"]["faults"] == placed["after"]["faults"];
    findings.check(is_same, || format!("{decisions} decisions, diff says {same}"));
    Ok(findings)
}
