//! Views from one release to the next, against a real core: another schema, other types, another budget, while decisions run.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use anyhow::{Context, Result, ensure};
use selvedge_suite::harness::shop::hero;
use selvedge_suite::harness::{Node, Rig, until};
use serde_json::json;

use crate::views::{LIMIT, counted, decide, live, shop, started, until_value};

const PEOPLE: usize = 40;

/// Decisions about everybody, one after another, until told to stop.
struct Deciding {
    stop: Arc<AtomicBool>,
    made: Arc<AtomicU64>,
    task: tokio::task::JoinHandle<Result<()>>,
}

// === impl Deciding ===

impl Deciding {
    /// Each must find the value that is the person's number.
    fn start(node: &Node) -> Self {
        let (stop, made) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let (stopped, count, mut client) = (Arc::clone(&stop), Arc::clone(&made), node.client());
        let task = tokio::spawn(async move {
            for at in (0..PEOPLE).cycle() {
                if stopped.load(Ordering::Relaxed) {
                    return Ok(());
                }
                let request = json!({"placement": "home-hero", "subject": format!("u-{at}"), "explain": true});
                let answer = client.post("/v1/decide", &request).await?.ok()?;
                ensure!(answer["choices"][0]["score"].as_f64() == Some(at as f64), "a gap for u-{at}: {answer}");
                count.fetch_add(1, Ordering::Relaxed);
            }
            Ok(())
        });
        Self { stop, made, task }
    }

    /// So many more were made.
    async fn go_on(&self, more: u64) -> Result<()> {
        let wanted = self.made.load(Ordering::Relaxed) + more;
        let made = async || (self.made.load(Ordering::Relaxed) >= wanted || self.task.is_finished()).then_some(());
        until("decisions to go on", LIMIT, made).await
    }

    async fn stop(self) -> Result<u64> {
        self.stop.store(true, Ordering::Relaxed);
        self.task.await??;
        Ok(self.made.load(Ordering::Relaxed))
    }
}

/// A release after the other, each with another schema of the view, while decisions run: none of them has a gap.
async fn changes(sync: &str) -> Result<()> {
    let rig = Rig::start().await?;
    let view = |features: &str| {
        format!(
            "[view.user]\nby = \"subject\"\nsync = {sync:?}\n[view.user.features]\n{features}\n\
             [view.item]\nby = \"item\"\nsync = \"all\"\n[view.item.features]\nprice = \"number\"\n"
        )
    };
    let schemas = [
        "value = { type = \"number\", default = -1.0 }\nsegment = \"symbol\"",
        // Another width, a feature that rows name already, one that no row names, a text.
        "value = { type = \"f32\", default = -1.0 }\nsegment = \"text\"\nstock = \"number\"\nnew = { type = \"flag\", default = true }",
        // Fewer features, and one of a type that its values do not have.
        "value = { type = \"number\", default = -1.0 }\nsegment = \"number\"",
        "value = { type = \"number\", default = -1.0 }\nsegment = \"symbol\"",
    ];
    rig.push(
        "user",
        (0..PEOPLE).map(|at| json!({"_key": format!("u-{at}"), "value": at, "segment": "vip", "stock": 7})),
    )
    .await?;
    let mut node = None;
    let mut deciding: Option<Deciding> = None;
    for (number, features) in schemas.iter().enumerate() {
        let shop = shop(&rig, &format!("shop-{number}"), "", "")?;
        shop.file("features.toml", view(features))?;
        shop.placement("home-hero", &hero(number as u32, "[\"value\"]"))?;
        let release = rig.deploy(shop.folder()).await?;
        let node = match &node {
            Some(node) => node,
            None => node.insert(rig.node("edge-1").await?),
        };
        node.runs(&release, LIMIT).await?;
        match &deciding {
            Some(deciding) => deciding.go_on(3 * PEOPLE as u64).await?,
            None => {
                live(node).await?;
                for at in 0..PEOPLE {
                    until_value(node, &format!("u-{at}"), at as f64).await?;
                }
                deciding = Some(Deciding::start(node));
            }
        }
        // What changes now reaches the new schema.
        rig.put("user", "another", &json!({"value": number as f64, "segment": "x"})).await?;
        until_value(node, "another", number as f64).await?;
    }
    let made = deciding.context("no decisions")?.stop().await?;
    ensure!(made > 3 * PEOPLE as u64, "{made} decisions");
    let node = node.context("no node")?;
    let wrong = counted(&node, "values_refused_total", "cause=\"type\"").await?;
    ensure!(wrong >= 1.0, "a text where a number is expected is counted: {wrong}");
    Ok(())
}

#[test]
fn another_schema_leaves_no_gap_in_a_view_held_in_full() -> Result<()> {
    crate::alone(changes("all"))
}

#[test]
fn another_schema_leaves_no_gap_for_whom_an_on_demand_view_holds() -> Result<()> {
    crate::alone(changes("on-demand"))
}

#[test]
fn rows_beyond_a_budget_are_refused_and_come_when_it_is_raised() -> Result<()> {
    crate::alone(async {
        let rig = Rig::start().await?;
        let (people, budget) = (2_000, |size: &str| {
            format!(
                "[view.user]\nby = \"subject\"\nsync = \"all\"\nmax_bytes = {size:?}\n[view.user.features]\n\
                 value = {{ type = \"number\", default = -1.0 }}\ntaste = {{ type = \"vector\", len = 256 }}\n"
            )
        });
        rig.push("user", (0..people).map(|at| json!({"_key": format!("u-{at}"), "value": at}))).await?;
        let small = shop(&rig, "small", "", "")?;
        small.file("features.toml", budget("1MiB"))?;
        let release = rig.deploy(small.folder()).await?;
        let node = rig.node("edge-1").await?;
        node.runs(&release, LIMIT).await?;
        node.wait_for("ready", LIMIT).await?;
        live(&node).await?;
        let view = node.view("user").await?;
        let (held, bytes) = (view["entities"].as_u64().context("entities")?, view["bytes"].as_u64().context("bytes")?);
        ensure!(bytes <= 1 << 20 && (500..people).contains(&held), "{view}");
        let refused = counted(&node, "rows_refused_total", "cause=\"full\"").await?;
        ensure!(refused as u64 == people - held, "{refused} refused, {held} held");
        ensure!(node.process.log_tail().contains("raise max_bytes"), "{}", node.process.log_tail());
        decide(&node, "u-1").await?;

        let large = shop(&rig, "large", "", "")?;
        large.file("features.toml", budget("64MiB"))?;
        let release = rig.deploy(large.folder()).await?;
        node.runs(&release, LIMIT).await?;
        until("all rows to be held", LIMIT, async || {
            node.view("user").await.ok().filter(|view| view["entities"] == people)
        })
        .await?;
        until_value(&node, "u-1999", 1_999.0).await
    })
}

/// Everybody's row, pushed into four buckets, is found where its key says it is.
async fn shards(sync: &str) -> Result<()> {
    let rig = Rig::start().await?;
    let file = rig.path("user.jsonl");
    let rows: String = (0..200).map(|at| format!("{}\n", json!({"_key": format!("u-{at}"), "value": at}))).collect();
    std::fs::write(&file, rows)?;
    let args = ["features".as_ref(), "push".as_ref(), file.as_os_str(), "--view".as_ref(), "user".as_ref()];
    let told = rig.cli.json(args.into_iter().chain(["--shards".as_ref(), "4".as_ref()])).await?;
    ensure!(told["rows"] == 200, "{told}");
    let shop = shop(&rig, "shop", "", "")?;
    shop.file(
        "features.toml",
        format!(
            "[view.user]\nby = \"subject\"\nsync = {sync:?}\nshards = 4\n[view.user.features]\n\
             value = {{ type = \"number\", default = -1.0 }}\n"
        ),
    )?;
    let release = rig.deploy(shop.folder()).await?;
    let node = rig.node("edge-1").await?;
    node.runs(&release, LIMIT).await?;
    node.wait_for("ready", LIMIT).await?;
    for at in 0..200 {
        until_value(&node, &format!("u-{at}"), f64::from(at)).await?;
    }
    let mut held = Vec::new();
    for shard in 0..4 {
        held.push(node.view(&format!("user_{shard}")).await?["entities"].as_u64().context("entities")?);
    }
    ensure!(held.iter().sum::<u64>() == 200 && held.iter().all(|held| *held > 20), "{held:?}");

    rig.cli.run(["features", "put", "user", "u-7", "{\"value\":70}", "--shards", "4"]).await?.ok()?;
    until_value(&node, "u-7", 70.0).await?;
    let got = rig.cli.json(["features", "get", "user", "u-7", "--shards", "4"]).await?;
    ensure!(got["row"]["value"] == 70, "{got}");

    let (spec, status) = node.terminate().await?;
    ensure!(status.success(), "{status}");
    let node = Node::start(spec).await?;
    node.wait_for("ready", LIMIT).await?;
    until_value(&node, "u-7", 70.0).await
}

#[test]
fn a_view_in_shards_is_found_shard_by_shard() -> Result<()> {
    crate::alone(shards("all"))
}

#[test]
fn an_on_demand_view_in_shards_is_fetched_from_the_right_one() -> Result<()> {
    crate::alone(shards("on-demand"))
}

#[test]
fn a_view_that_becomes_on_demand_is_another_view() -> Result<()> {
    crate::alone(async {
        let (rig, node) = started("on_miss = \"wait\"", "").await?;
        rig.push("user", (0..10).map(|at| json!({"_key": format!("u-{at}"), "value": at}))).await?;
        live(&node).await?;
        until_value(&node, "u-3", 3.0).await?;
        let all = shop(&rig, "all", "", "")?;
        all.file(
            "features.toml",
            "[view.user]\nby = \"subject\"\nsync = \"all\"\n[view.user.features]\n\
             value = { type = \"number\", default = -1.0 }\n",
        )?;
        let release = rig.deploy(all.folder()).await?;
        node.runs(&release, LIMIT).await?;
        let (value, answer) = decide(&node, "u-9").await?;
        ensure!(value == 9.0, "held in full before the swap: {answer}");
        let metrics = node.metrics().await?;
        let held =
            |sync: &str| metrics.sum("selvedge_features_entities", &["view=\"user\"", &format!("sync={sync:?}")]);
        ensure!((held("all"), held("on-demand")) == (10.0, 1.0), "both are there while the old release is warm");
        let release = rig.rollback().await?;
        node.runs(&release, LIMIT).await?;
        until_value(&node, "u-5", 5.0).await?;
        ensure!(held("all") == 10.0, "nobody is lost");
        Ok(())
    })
}
