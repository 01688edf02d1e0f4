//! Aggregates of people, items and pairs, counted at the core.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::TcpStream;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use selvedge_suite::harness::shop::{FEATURES, Shop, number};
use selvedge_suite::harness::{Node, Process, Rig, until};
use serde_json::{Value, json};

const LIMIT: Duration = Duration::from_secs(60);
const AGGREGATES: &str = r#"
[view.person]
by = "subject"
max_lag = "1h"
[view.person.aggregates]
views = { count = "view_item", window = "30d" }
spent = { sum = "purchase", of = "value" }
last = { last = "view_item", of = "item.category" }
[view.goods]
by = "item"
[view.goods.aggregates]
carts = { count = "add_to_cart" }
[view.both]
by = ["subject", "item"]
[view.both.aggregates]
views = { count = "view_item" }
"#;

/// Scores an item: views of the person, 100 times what was spent, 10,000 when shoes were seen last, 1e6 for each cart of the
/// item, 1e9 for each view of this item by this person.
fn shop(rig: &Rig, name: &str, more: &str) -> Result<Shop> {
    let shop = Shop::new(rig.path(name), name)?;
    shop.file("features.toml", format!("{FEATURES}{AGGREGATES}{more}"))?;
    let placement = r#"
candidates = { view = "item", from = "request" }
deadline = "1s"
ladder = ["taste"]
fallback = { by = "item.stock" }
"#;
    shop.placement("plp-rank", placement)?;
    let model = [
        "link = \"identity\"\nintercept = 0.0\n".to_owned(),
        number("person.views", "shared", 1.0),
        number("person.spent", "shared", 100.0),
        "[[input]]\nname = \"person.last\"\nscope = \"shared\"\ntype = \"symbol\"\nweights = { shoes = 10000.0 }\n"
            .to_owned(),
        number("goods.carts", "candidate", 1e6),
        number("both.views", "candidate", 1e9),
    ];
    shop.model("taste", &model.concat())?;
    Ok(shop)
}

async fn score(node: &Node, subject: &str, item: &str) -> Result<f64> {
    let body = json!({"placement": "plp-rank", "subject": subject, "candidates": [item]});
    let answer = node.client().post("/v1/decide", &body).await?.ok()?;
    answer["choices"][0]["score"].as_f64().with_context(|| format!("no score: {answer}"))
}

/// Waits until the next decision on `node` has this score.
async fn scores(node: &Node, (subject, item): (&str, &str), expected: f64) -> Result<()> {
    let mut last = None;
    let found = until("the score", LIMIT, async || {
        last = score(node, subject, item).await.ok();
        (last == Some(expected)).then_some(())
    });
    found.await.with_context(|| format!("{subject}, {item}: {last:?} on {}, expected {expected}", node.spec.name))
}

async fn send(node: &Node, events: &Value) -> Result<()> {
    node.client().post("/v1/events", events).await?.ok()?;
    Ok(())
}

fn event(subject: &str, name: &str, item: &str, value: f64) -> Value {
    json!({"name": name, "subject": subject, "item": item, "properties": {"value": value}})
}

async fn ready(rig: &Rig, name: &str, release: &str) -> Result<Node> {
    let node = rig.node(name).await?;
    node.runs(release, LIMIT).await?;
    until("the items", LIMIT, async || (node.view("item").await.ok()?["entities"].as_u64()? >= 2).then_some(()))
        .await?;
    Ok(node)
}

async fn two_items(rig: &Rig) -> Result<()> {
    let items = [("sku-1", "shoes"), ("sku-2", "hats")];
    let rows = items.map(|(id, category)| json!({"_key": id, "category": category, "price": 1.0, "stock": 1.0}));
    rig.push("item", rows.to_vec()).await
}

#[test]
fn what_several_nodes_saw_of_a_person_is_counted_once_at_the_core() -> Result<()> {
    crate::alone(async {
        let rig = Rig::start().await?;
        two_items(&rig).await?;
        let release = rig.deploy(shop(&rig, "one", "")?.folder()).await?;
        let nodes = [ready(&rig, "edge-1", &release).await?, ready(&rig, "edge-2", &release).await?];
        ensure!(score(&nodes[0], "u-1", "sku-1").await? == 0.0, "nothing has happened");
        let mut core = rig.core_features("core", &[]).await?;
        let mut views = 0.0;
        for round in 0..4 {
            for at in 0..25 {
                send(&nodes[at % 2], &json!(event("u-1", "view_item", "sku-1", 0.0))).await?;
                views += 1.0;
                if at == 12 && round > 0 {
                    // In the middle of it, without a word.
                    core.kill()?;
                    core = rig.core_features("core", &[]).await?;
                }
            }
            for node in &nodes {
                scores(node, ("u-1", "sku-1"), 10_000.0 + views + 1e9 * views)
                    .await
                    .with_context(|| core.log_tail())?;
            }
        }
        send(&nodes[0], &json!([event("u-1", "purchase", "sku-2", 0.1), event("u-2", "add_to_cart", "sku-1", 0.0)]))
            .await?;
        send(&nodes[1], &json!([event("u-1", "purchase", "sku-2", 0.2), event("u-3", "add_to_cart", "sku-1", 0.0)]))
            .await?;
        for node in &nodes {
            scores(node, ("u-1", "sku-1"), 10_000.0 + views + 30.0 + 2e6 + 1e9 * views).await?;
            scores(node, ("u-1", "sku-2"), 10_000.0 + views + 30.0).await?;
            scores(node, ("u-9", "sku-1"), 2e6).await?;
        }
        let lag = until("the views to be proven current", LIMIT, async || {
            nodes[0].view("person").await.ok()?["lag_ms"].as_u64()
        });
        ensure!(lag.await? < 60_000, "{}", nodes[0].view("person").await?);

        // Two instances, each with its part, go on where the one of all stood.
        let (status, log) = (core.terminate(LIMIT).await?, core.log()?);
        ensure!(status.success(), "{status}: {log}");
        let halves = [
            rig.core_features("half-1", &["--part", "1/2"]).await?,
            rig.core_features("half-2", &["--part", "2/2"]).await?,
        ];
        for at in 0..20 {
            let events = json!([
                event(&format!("u-{at}"), "add_to_cart", "sku-2", 0.0),
                event("u-1", "view_item", "sku-2", 0.0)
            ]);
            send(&nodes[at % 2], &events).await?;
        }
        for node in &nodes {
            let of_halves = || halves.iter().map(Process::log_tail).collect::<Vec<_>>().join("\n");
            scores(node, ("u-1", "sku-2"), views + 20.0 + 30.0 + 20e6 + 20e9).await.with_context(of_halves)?;
        }

        // A node that is started again knows it without the core; one that is new has it from the bucket.
        let [first, second] = nodes;
        let spec = first.kill()?;
        let again = Node::start(spec).await?;
        again.runs(&release, LIMIT).await?;
        let third = ready(&rig, "edge-3", &release).await?;
        for node in [&again, &second, &third] {
            scores(node, ("u-1", "sku-2"), views + 20.0 + 30.0 + 20e6 + 20e9).await?;
        }

        // The stream says the same when it is counted again.
        let folder = rig.path("one");
        let args = [
            "features".as_ref(),
            "backfill".as_ref(),
            "--view".as_ref(),
            "person".as_ref(),
            "--release".as_ref(),
            folder.as_os_str(),
        ];
        let ran = rig.cli.run(args).await?;
        let row = ran.ok()?.stdout.lines().find(|line| line.contains("\"u-1\"")).context("no row of u-1")?;
        let row: Value = serde_json::from_str(row)?;
        ensure!(row == json!({"_key": "u-1", "views": views + 20.0, "spent": 0.3, "last": "hats"}), "{row}");

        // Without a position everything is read again, and the slots say what they count already.
        let [one, two] = halves;
        drop((one, two));
        let link = rig.link().await?;
        for view in ["person", "both"] {
            let bucket = link.jetstream().get_key_value(format!("features_{view}_agg")).await?;
            for part in ["1-of-1", "1-of-2", "2-of-2"] {
                bucket.purge(format!("_position.{part}")).await?;
            }
        }
        let halves = [
            rig.core_features("half-1", &["--part", "1/2"]).await?,
            rig.core_features("half-2", &["--part", "2/2"]).await?,
        ];
        send(&second, &json!(event("u-1", "view_item", "sku-2", 0.0))).await?;
        views += 1.0;
        for node in [&again, &second, &third] {
            scores(node, ("u-1", "sku-2"), views + 20.0 + 30.0 + 20e6 + 21e9).await?;
        }

        // What is counted stays when the events go, and nothing is waited for.
        purge(&rig)?;
        let [one, two] = halves;
        drop((one, two));
        let mut halves = [
            rig.core_features("half-1", &["--part", "1/2"]).await?,
            rig.core_features("half-2", &["--part", "2/2"]).await?,
        ];
        send(&second, &json!(event("u-1", "view_item", "sku-2", 0.0))).await?;
        for node in [&again, &second, &third] {
            scores(node, ("u-1", "sku-2"), views + 21.0 + 30.0 + 20e6 + 22e9).await?;
        }

        // Another release counts what it has in common on, and what is new from then on; it says so.
        let release = rig.deploy(shop(&rig, "two", "carts = { count = \"add_to_cart\" }\n")?.folder()).await?;
        for node in [&again, &second, &third] {
            node.runs(&release, LIMIT).await?;
        }
        send(&third, &json!(event("u-1", "view_item", "sku-2", 0.0))).await?;
        for node in [&again, &second, &third] {
            scores(node, ("u-1", "sku-2"), views + 22.0 + 30.0 + 20e6 + 23e9).await?;
        }
        for half in &mut halves {
            let told = says(half, "empty").await?;
            ensure!(told["view"] == "both" && told["aggregates"] == json!(["carts"]), "{told}");
        }
        Ok(())
    })
}

/// Scores an item by what the person did with its category.
fn by_category(rig: &Rig) -> Result<Shop> {
    let shop = Shop::new(rig.path("kinds"), "kinds")?;
    let views = r#"
[view.kinds]
by = ["subject", "item.category"]
[view.kinds.aggregates]
views = { count = "view_item" }
"#;
    shop.file("features.toml", format!("{FEATURES}{views}"))?;
    let placement = "candidates = { view = \"item\", from = \"request\" }\ndeadline = \"1s\"\nladder = [\"taste\"]\n\
                     fallback = { by = \"item.stock\" }\n";
    shop.placement("plp-rank", placement)?;
    let model = ["link = \"identity\"\nintercept = 0.0\n".to_owned(), number("kinds.views", "candidate", 1.0)];
    shop.model("taste", &model.concat())?;
    Ok(shop)
}

#[test]
fn what_a_person_did_with_a_category_counts_for_all_of_it() -> Result<()> {
    crate::alone(async {
        let rig = Rig::start().await?;
        let items = [("sku-1", "shoes"), ("sku-2", "hats"), ("sku-3", "shoes")];
        let row = |(id, category): &(&str, &str)| json!({"_key": id, "category": category, "price": 1.0, "stock": 1.0});
        rig.push("item", items.iter().map(row).collect::<Vec<_>>()).await?;
        let release = rig.deploy(by_category(&rig)?.folder()).await?;
        let nodes = [ready(&rig, "edge-1", &release).await?, ready(&rig, "edge-2", &release).await?];
        for node in &nodes {
            until("the items", LIMIT, async || {
                (node.view("item").await.ok()?["entities"].as_u64()? == 3).then_some(())
            })
            .await?;
        }
        let _core = rig.core_features("core", &[]).await?;
        for at in 0..5 {
            let event = event("u-1", "view_item", ["sku-1", "sku-1", "sku-3"][at % 3], 0.0);
            send(&nodes[at % 2], &json!([event])).await?;
        }
        // What nobody knows a category of counts for none.
        send(&nodes[0], &json!([event("u-1", "view_item", "sku-2", 0.0), event("u-1", "view_item", "sku-9", 0.0)]))
            .await?;
        for node in &nodes {
            for (subject, item, expected) in
                [("u-1", "sku-1", 5.0), ("u-1", "sku-3", 5.0), ("u-1", "sku-2", 1.0), ("u-2", "sku-1", 0.0)]
            {
                scores(node, (subject, item), expected).await?;
            }
        }
        // An item that changes its category takes nothing with it.
        let moved = json!({"_key": "sku-3", "category": "hats", "price": 1.0, "stock": 1.0});
        rig.push("item", [moved]).await?;
        scores(&nodes[0], ("u-1", "sku-3"), 1.0).await?;
        scores(&nodes[0], ("u-1", "sku-1"), 5.0).await?;

        let folder = rig.path("kinds").display().to_string();
        let ran = rig.cli.run(["features", "backfill", "--view", "kinds", "--release", &folder]).await?;
        let rows: Vec<Value> = ran.ok()?.stdout.lines().map(serde_json::from_str).collect::<Result<_, _>>()?;
        let expected =
            [json!({"_key": ["u-1", "hats"], "views": 1.0}), json!({"_key": ["u-1", "shoes"], "views": 5.0})];
        ensure!(rows == expected, "{rows:?}");
        Ok(())
    })
}

#[test]
fn a_node_that_sees_all_there_is_counts_people_itself() -> Result<()> {
    crate::alone(async {
        let rig = Rig::start().await?;
        let shop = shop(&rig, "local", "")?;
        let rows = [("sku-1", "shoes"), ("sku-2", "hats")].map(|(id, category)| {
            format!("{}\n", json!({"_key": id, "category": category, "price": 1.0, "stock": 1.0}))
        });
        shop.file("features/item.jsonl", rows.concat())?;
        let folder = shop.folder().display().to_string();
        let spec = rig.spec("local").set("link.kind=local").set(format!("link.local.directory={folder}"));
        let node = Node::start(spec).await?;
        node.wait_for("ready", LIMIT).await?;
        for views in 1..=3 {
            send(&node, &json!(event("u-1", "view_item", "sku-1", 0.0))).await?;
            let found = score(&node, "u-1", "sku-1").await?;
            ensure!(found == 10_000.0 + f64::from(views) * (1.0 + 1e9), "{found} after {views}");
        }
        Ok(())
    })
}

/// Deletes every message of the stream EVENTS, as an operator may.
fn purge(rig: &Rig) -> Result<()> {
    let address = rig.nats.url().trim_start_matches("nats://").to_owned();
    let mut server = TcpStream::connect(address)?;
    server.set_read_timeout(Some(LIMIT))?;
    server.write_all(b"CONNECT {\"verbose\":false}\r\nSUB _INBOX.purge 1\r\n")?;
    server.write_all(b"PUB $JS.API.STREAM.PURGE.EVENTS _INBOX.purge 0\r\n\r\n")?;
    let answer = BufReader::new(server).lines().find(|line| line.as_ref().is_ok_and(|line| line.contains("success")));
    let answer = answer.context("the server went away")??;
    ensure!(answer.contains("\"success\":true"), "{answer}");
    Ok(())
}

/// Waits until an instance says this; what it said.
async fn says(core: &mut Process, did: &str) -> Result<Value> {
    loop {
        let line: Value = serde_json::from_str(&core.line(LIMIT).await?)?;
        if line["did"] == did {
            return Ok(line);
        }
    }
}
