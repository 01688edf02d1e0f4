//! Sessions: what a shopper does changes the very next answer.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use selvedge_suite::harness::shop::{FEATURES, Shop, hero};
use selvedge_suite::harness::{Node, Rig, until};
use serde_json::{Value, json};

const LIMIT: Duration = Duration::from_secs(60);
const AGGREGATES: &str = r#"
[view.session]
by = "session"
[view.session.aggregates]
views = { count = "view_item", window = "30m" }
last = { last = "view_item", of = "item.category" }
spent = { sum = "purchase", of = "value" }
"#;

/// A release whose rules look at the session.
fn shop(rig: &Rig, name: &str, more: &str) -> Result<Shop> {
    let shop = Shop::new(rig.path(name), name)?;
    shop.file("features.toml", format!("{FEATURES}{AGGREGATES}{more}"))?;
    let placement = r#"
actions = [{ id = "default" }, { id = "sale" }]
deadline = "1s"
ladder = ["taste"]
fallback = ["default"]
"#;
    shop.placement("home-hero", placement)?;
    let model = r#"
link = "identity"
intercept = 0.0
[[input]]
name = "session.views"
scope = "shared"
type = "number"
weight = 1.0
[[input]]
name = "session.spent"
scope = "shared"
type = "number"
weight = 100.0
[[input]]
name = "session.last"
scope = "shared"
type = "symbol"
weights = { shoes = 10000.0 }
"#;
    shop.model("taste", model)?;
    Ok(shop)
}

/// The score that the session's next decision has: views, 100 times what was spent, 10,000 when shoes were seen last.
async fn score(node: &Node, session: &str) -> Result<f64> {
    let body = json!({"placement": "home-hero", "session": session});
    let answer = node.client().post("/v1/decide", &body).await?.ok()?;
    answer["choices"][0]["score"].as_f64().with_context(|| format!("no score: {answer}"))
}

/// Sends events and waits for their 202.
async fn send(node: &Node, events: &Value) -> Result<()> {
    node.client().post("/v1/events", events).await?.ok()?;
    Ok(())
}

fn event(session: &str, name: &str, item: &str, value: f64) -> Value {
    json!({"name": name, "session": session, "item": item, "properties": {"value": value}})
}

#[test]
fn an_event_that_was_accepted_changes_the_next_decision_of_its_session() -> Result<()> {
    crate::alone(async {
        let rig = Rig::start().await?;
        let items = [("sku-1", "shoes"), ("sku-2", "hats")];
        let rows = items.map(|(id, category)| json!({"_key": id, "category": category, "price": 1.0, "stock": 1.0}));
        rig.push("item", rows.to_vec()).await?;
        let first = shop(&rig, "one", "")?;
        let release = rig.deploy(first.folder()).await?;
        let node = rig.node("sessions").await?;
        node.runs(&release, LIMIT).await?;
        let full = until("the items", LIMIT, async || {
            (node.view("item").await.ok()?["entities"].as_u64()? >= 2).then_some(())
        });
        full.await?;

        ensure!(score(&node, "s-1").await? == 0.0, "nothing has happened");
        for (at, item) in ["sku-1", "sku-2", "sku-1"].into_iter().enumerate() {
            send(&node, &json!([event("s-1", "view_item", item, 0.0), event("s-2", "other", item, 0.0)])).await?;
            let shoes = if item == "sku-1" { 10_000.0 } else { 0.0 };
            let found = score(&node, "s-1").await?;
            ensure!(found == shoes + at as f64 + 1.0, "{found} after {at} and {item}");
        }
        send(&node, &json!([event("s-1", "purchase", "sku-1", 0.1), event("s-1", "purchase", "sku-1", 0.2)])).await?;
        ensure!(score(&node, "s-1").await? == 10_033.0, "{}", score(&node, "s-1").await?);
        ensure!(score(&node, "s-2").await? == 0.0, "another session is another's");

        // A release that counts more keeps what was counted.
        let second = shop(&rig, "two", "depth = { session = \"depth\" }\n")?;
        let release = rig.deploy(second.folder()).await?;
        node.runs(&release, LIMIT).await?;
        ensure!(score(&node, "s-1").await? == 10_033.0, "{}", score(&node, "s-1").await?);
        send(&node, &json!(event("s-1", "view_item", "sku-2", 0.0))).await?;
        ensure!(score(&node, "s-1").await? == 34.0, "{}", score(&node, "s-1").await?);
        Ok(())
    })
}

#[test]
fn what_an_event_asks_of_its_item_is_known_when_an_on_demand_view_holds_it() -> Result<()> {
    crate::alone(async {
        let rig = Rig::start().await?;
        let rows = [("sku-1", "shoes", 7), ("sku-2", "hats", 9)].map(|(id, category, second)| {
            json!({"_key": id, "category": category, "since": format!("1970-01-01T00:00:0{second}Z")})
        });
        rig.push("item", rows.to_vec()).await?;
        let shop = Shop::new(rig.path("seen"), "seen")?;
        let features = r#"
[view.item]
by = "item"
sync = "on-demand"
[view.item.features]
category = "symbol"
since = { type = "time", ttl = "1s", default = 1.0 }
[view.session]
by = "session"
[view.session.aggregates]
last = { last = "view_item", of = "item.category" }
since = { last = "view_item", of = "item.since" }
"#;
        shop.file("features.toml", features)?;
        shop.placement("home-hero", &hero(1, "[\"taste\"]"))?;
        let model = r#"
link = "identity"
intercept = 0.0
[[input]]
name = "session.since"
scope = "shared"
type = "number"
weight = 1.0
[[input]]
name = "session.last"
scope = "shared"
type = "symbol"
weights = { shoes = 100.0 }
"#;
        shop.model("taste", model)?;
        let release = rig.deploy(shop.folder()).await?;
        let node = rig.node("sessions").await?;
        node.runs(&release, LIMIT).await?;
        for (item, expected) in [("sku-1", 107.0), ("sku-2", 9.0)] {
            // Whom the node sees first it fetches, and the next event of it knows.
            until("the item to be known", LIMIT, async || {
                send(&node, &json!(event("s-1", "view_item", item, 0.0))).await.ok()?;
                score(&node, "s-1").await.ok().filter(|found| *found == expected)
            })
            .await?;
        }
        ensure!(node.view("item").await?["entities"] == 2, "both are held now");
        Ok(())
    })
}

/// A node that runs `release` and knows the items.
async fn ready(rig: &Rig, name: &str, release: &str) -> Result<Node> {
    let node = rig.node(name).await?;
    is_ready(&node, release).await?;
    Ok(node)
}

async fn is_ready(node: &Node, release: &str) -> Result<()> {
    node.runs(release, LIMIT).await?;
    until("the items", LIMIT, async || (node.view("item").await.ok()?["entities"].as_u64()? >= 1).then_some(())).await
}

/// Waits until the session's next decision on `node` has this score.
async fn scores(node: &Node, session: &str, expected: f64) -> Result<()> {
    let mut last = None;
    let found = until("the session to have its score", LIMIT, async || {
        last = score(node, session).await.ok();
        (last == Some(expected)).then_some(())
    });
    found.await.with_context(|| format!("{session} scores {last:?} on {}, expected {expected}", node.spec.name))
}

async fn one_item(rig: &Rig) -> Result<()> {
    rig.push("item", vec![json!({"_key": "sku-1", "category": "shoes", "price": 1.0, "stock": 1.0})]).await
}

// A load balancer that gives every request to the next node: half of what a shopper did is known to each.
#[test]
fn a_session_goes_on_where_it_moves() -> Result<()> {
    crate::alone(async {
        let rig = Rig::start().await?;
        one_item(&rig).await?;
        let release = rig.deploy(shop(&rig, "one", "")?.folder()).await?;
        let nodes = [ready(&rig, "edge-1", &release).await?, ready(&rig, "edge-2", &release).await?];
        for at in 0..10 {
            send(&nodes[at % 2], &json!(event("s-1", "view_item", "sku-1", 0.0))).await?;
            // What came to this node is there at once, what came to the other one soon.
            ensure!(score(&nodes[at % 2], "s-1").await? >= 10_000.0 + (at / 2) as f64 + 1.0);
        }
        for node in &nodes {
            scores(node, "s-1", 10_010.0).await?;
        }
        // A node that comes later knows it, too.
        let third = ready(&rig, "edge-3", &release).await?;
        scores(&third, "s-1", 10_010.0).await?;
        let came = third.metrics().await?.sum("selvedge_session_slots_came_total", &[]);
        ensure!(came == 2.0, "a slot of each node, and {came} came");

        // Another release on the same nodes counts on.
        let release = rig.deploy(shop(&rig, "two", "depth = { session = \"depth\" }\n")?.folder()).await?;
        for node in nodes.iter().chain([&third]) {
            node.runs(&release, LIMIT).await?;
        }
        send(&third, &json!(event("s-1", "purchase", "sku-1", 1.0))).await?;
        for node in nodes.iter().chain([&third]) {
            scores(node, "s-1", 10_110.0).await?;
        }
        Ok(())
    })
}

// Events that the core has are deleted here; what they came to must not be lost with the process.
#[test]
fn a_session_survives_the_end_of_its_node() -> Result<()> {
    crate::alone(async {
        let mut rig = Rig::start().await?;
        one_item(&rig).await?;
        let release = rig.deploy(shop(&rig, "one", "")?.folder()).await?;
        let mut node = ready(&rig, "edge-1", &release).await?;
        let mut views = 0.0;
        for round in 0..6 {
            let alone = round >= 3;
            if round == 3 {
                // From here on without a core: what is known is known from disk alone.
                rig.nats.kill()?;
            }
            for _ in 0..3 {
                send(&node, &json!(event("s-1", "view_item", "sku-1", 0.0))).await?;
                views += 1.0;
            }
            if !alone {
                until("the core to have all", LIMIT, async || {
                    let status = node.status().await.ok()?;
                    let lanes = status["outbox"]["lanes"].as_array()?;
                    lanes.iter().all(|lane| lane["backlog_bytes"] == 0).then_some(())
                })
                .await?;
            }
            let spec = if round % 2 == 0 { node.kill()? } else { node.terminate().await?.0 };
            node = Node::start(spec).await?;
            is_ready(&node, &release).await?;
            let found = score(&node, "s-1").await?;
            ensure!(found == 10_000.0 + views, "{found} after {views}\n{}", node.process.log()?);
        }
        // What was counted while nobody could be told is told when the core is back.
        rig.nats.restart().await?;
        let other = ready(&rig, "edge-2", &release).await?;
        scores(&other, "s-1", 10_000.0 + views).await
    })
}

#[test]
fn aggregates_that_cannot_be_are_refused_at_the_author() -> Result<()> {
    crate::alone(async {
        let rig = Rig::start().await?;
        for (line, expected) in [
            ("x = { count = \"a\", windw = \"30m\" }\n", "did you mean \"window\"?"),
            ("x = { sum = \"a\" }\n", "view.session.aggregates.x: `sum` needs `of`"),
            ("x = { last = \"a\", of = \"item.brand\" }\n", "no feature of view \"item\" \"brand\""),
        ] {
            let shop = shop(&rig, "wrong", line)?;
            let out = rig.path("wrong.release");
            let key = rig.path("keys/rig.key");
            let args = [
                "release".as_ref(),
                "pack".as_ref(),
                shop.folder().as_os_str(),
                "--key".as_ref(),
                key.as_os_str(),
                "-o".as_ref(),
                out.as_os_str(),
            ];
            let ran = rig.cli.run(args).await?;
            let told = format!("{}{}", ran.stdout, ran.stderr);
            ensure!(ran.code == Some(1) && told.contains(expected), "{told:?} does not say {expected:?}");
        }
        Ok(())
    })
}
