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
