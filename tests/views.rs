//! Views that are on-demand, against a real core: whom nobody saw yet, whom nobody knows, who has to make room, and all of it
//! with the core away.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use selvedge_suite::harness::shop::{RANK, Shop, hero};
use selvedge_suite::harness::stream::Stream;
use selvedge_suite::harness::{Node, Rig, until};
use serde_json::{Value, json};

pub(crate) const LIMIT: Duration = Duration::from_secs(60);

/// Scores every action by the value of the person; one without a row has -1.
const VALUE: &str = r#"
link = "identity"
intercept = 0.0
[[input]]
name = "user.value"
scope = "shared"
type = "number"
weight = 1.0
"#;

/// A shop that decides by a person's value, of an on-demand view with these settings besides.
pub(crate) fn shop(rig: &Rig, name: &str, view: &str, features: &str) -> Result<Shop> {
    let shop = Shop::new(rig.path(name), name)?;
    shop.file(
        "features.toml",
        format!(
            "[view.user]\nby = \"subject\"\nsync = \"on-demand\"\n{view}\n\
             [view.user.features]\nvalue = {{ type = \"number\", default = -1.0 }}\n{features}\n"
        ),
    )?;
    shop.placement("home-hero", &hero(1, "[\"value\"]"))?;
    shop.model("value", VALUE)?;
    Ok(shop)
}

/// A node of a fresh core that runs such a shop.
pub(crate) async fn started(view: &str, features: &str) -> Result<(Rig, Node)> {
    let rig = Rig::start().await?;
    let release = rig.deploy(shop(&rig, "shop", view, features)?.folder()).await?;
    let node = rig.node("edge-1").await?;
    node.runs(&release, LIMIT).await?;
    node.wait_for("ready", LIMIT).await?;
    Ok((rig, node))
}

/// The explained decision for a person, and the value it used.
pub(crate) async fn decide(node: &Node, subject: &str) -> Result<(f64, Value)> {
    let request = json!({"placement": "home-hero", "subject": subject, "explain": true});
    let answer = node.client().post("/v1/decide", &request).await?.ok()?;
    let value = answer["choices"][0]["score"].as_f64().with_context(|| format!("no score in {answer}"))?;
    Ok((value, answer))
}

/// Decides until the value is as expected.
pub(crate) async fn until_value(node: &Node, subject: &str, expected: f64) -> Result<()> {
    let what = format!("{subject} to have the value {expected}");
    until(&what, LIMIT, async || decide(node, subject).await.ok().filter(|(value, _)| *value == expected)).await?;
    Ok(())
}

/// What an explanation says of the person's value.
pub(crate) fn used(answer: &Value) -> Result<&Value> {
    let features = answer["explanation"]["features"].as_array().context("no features")?;
    features.iter().find(|feature| feature["name"] == "user.value").context("no user.value")
}

pub(crate) async fn counted(node: &Node, name: &str, label: &str) -> Result<f64> {
    Ok(node.metrics().await?.sum(&format!("selvedge_features_{name}"), &["view=\"user\"", label]))
}

/// The feed follows the bucket's changes.
pub(crate) async fn live(node: &Node) -> Result<()> {
    let live = async || node.view("user").await.ok().filter(|view| view["condition"] == "live");
    until("the view to be live", LIMIT, live).await.map(|_| ())
}

#[test]
fn whom_nobody_saw_is_fetched_and_kept_fresh() -> Result<()> {
    crate::alone(async {
        let (rig, node) = started("", "").await?;
        rig.push("user", (0..200).map(|at| json!({"_key": format!("u-{at}"), "value": at}))).await?;
        live(&node).await?;

        let (value, answer) = decide(&node, "u-7").await?;
        ensure!(value == -1.0, "the first decision does not wait: {value}");
        ensure!(used(&answer)?["defaulted"] == true && used(&answer)?["why"] == "not_fetched", "{answer}");
        until_value(&node, "u-7", 7.0).await?;
        let (_, answer) = decide(&node, "u-7").await?;
        ensure!(used(&answer)?["defaulted"] == false && used(&answer)?["age_ms"].is_number(), "{answer}");
        ensure!(node.view("user").await?["entities"] == 1, "only who was seen is held");

        rig.put("user", "u-7", &json!({"value": 70.0})).await?;
        rig.put("user", "u-8", &json!({"value": 80.0})).await?;
        until_value(&node, "u-7", 70.0).await?;
        ensure!(node.view("user").await?["entities"] == 1, "a change of somebody else passes by");
        ensure!(counted(&node, "fetches_total", "outcome=\"row\"").await? == 1.0, "one fetch, then the change feed");

        let link = rig.link().await?;
        link.delete_feature("user", "u-7").await?;
        until_value(&node, "u-7", -1.0).await?;
        let (_, answer) = decide(&node, "u-7").await?;
        ensure!(used(&answer)?["why"] == "no_row", "{answer}");
        Ok(())
    })
}

#[test]
fn a_decision_may_wait_for_whom_it_sees_first() -> Result<()> {
    crate::alone(async {
        let (rig, node) = started("on_miss = \"wait\"", "").await?;
        rig.push("user", (0..50).map(|at| json!({"_key": format!("u-{at}"), "value": at}))).await?;
        live(&node).await?;
        for at in 0..50 {
            let (value, answer) = decide(&node, &format!("u-{at}")).await?;
            ensure!(value == f64::from(at), "u-{at}: {value}, {answer}");
        }
        ensure!(counted(&node, "waits_total", "outcome=\"served\"").await? == 50.0, "each waited once");

        // A page waits once for all of it, and each part is decided by what came.
        rig.put("user", "u-50", &json!({"value": 50.0})).await?;
        let page = json!({"placements": [{"placement": "home-hero"}, {"placement": "home-hero"}], "subject": "u-50"});
        let answer = node.client().post("/v1/decide/batch", &page).await?.ok()?;
        for part in answer["decisions"].as_array().context("decisions")? {
            ensure!(part["choices"][0]["score"] == 50.0, "{answer}");
        }

        // Many decisions at once about one person cost one fetch.
        rig.put("user", "u-51", &json!({"value": 51.0})).await?;
        let before = counted(&node, "fetches_total", "").await?;
        let many: Vec<_> = (0..20).map(|_| decide(&node, "u-51")).collect();
        for (value, answer) in futures_util::future::try_join_all(many).await? {
            ensure!(value == 51.0, "{answer}");
        }
        ensure!(counted(&node, "fetches_total", "").await? == before + 1.0, "shared");

        // A core that is silent behind an open connection is waited for within the deadline, and then not again.
        rig.nats.freeze().await?;
        let (value, answer) = decide(&node, "u-52").await?;
        ensure!(value == -1.0 && used(&answer)?["why"] == "not_fetched", "{answer}");
        ensure!(counted(&node, "waits_total", "outcome=\"timed_out\"").await? == 1.0, "it waited in vain");
        until("the fetch to fail", LIMIT, async || {
            counted(&node, "fetches_total", "outcome=\"failed\"").await.ok().filter(|failed| *failed >= 1.0)
        })
        .await?;
        let (value, _) = decide(&node, "u-53").await?;
        ensure!(value == -1.0, "{value}");
        ensure!(counted(&node, "waits_total", "outcome=\"timed_out\"").await? == 1.0, "nobody waits for the silent");
        rig.nats.thaw()?;
        Ok(())
    })
}

/// How long an answer takes must tell a page nothing of a placement that is not for pages, and nobody else's fetches are made by it.
#[test]
fn a_page_makes_a_node_wait_for_no_placement_that_is_not_for_pages() -> Result<()> {
    crate::alone(async {
        let (rig, node) = started("on_miss = \"wait\"", "").await?;
        rig.put("user", "u-7", &json!({"value": 7.0})).await?;
        live(&node).await?;
        let page = json!({"subject": "u-7", "placements": [{"placement": "home-hero"}]});
        let answer = node.client().post("/v1/browser/decide?v=1", &page).await?.ok()?;
        ensure!(answer["decisions"][0]["error"]["code"] == "not_for_browsers", "{answer}");
        let fetched = counted(&node, "fetches_total", "").await?;
        ensure!(fetched == 0.0 && counted(&node, "waits_total", "").await? == 0.0, "{fetched} rows were fetched");
        let (value, _) = decide(&node, "u-7").await?;
        ensure!(value == 7.0 && counted(&node, "fetches_total", "").await? == 1.0, "a server's question is waited for");
        Ok(())
    })
}

#[test]
fn whom_the_core_does_not_know_is_known_the_moment_it_does() -> Result<()> {
    crate::alone(async {
        let (rig, node) = started("on_miss = \"wait\"", "").await?;
        rig.put("user", "somebody", &json!({"value": 1.0})).await?;
        live(&node).await?;
        let (value, answer) = decide(&node, "nobody").await?;
        ensure!(value == -1.0 && used(&answer)?["why"] == "no_row", "{answer}");
        for _ in 0..20 {
            decide(&node, "nobody").await?;
        }
        ensure!(counted(&node, "fetches_total", "").await? == 1.0, "absence is remembered");
        ensure!(counted(&node, "reads_total", "outcome=\"negative\"").await? >= 20.0, "and counted");
        rig.put("user", "nobody", &json!({"value": 5.0})).await?;
        until_value(&node, "nobody", 5.0).await?;
        ensure!(counted(&node, "fetches_total", "").await? == 1.0, "the change feed brought it");
        Ok(())
    })
}

#[test]
fn a_view_never_takes_more_memory_than_it_may() -> Result<()> {
    crate::alone(async {
        // Rows of 8 KiB: about a hundred fit.
        let (rig, node) =
            started("on_miss = \"wait\"\nmax_bytes = \"1MiB\"", "taste = { type = \"vector\", len = 2048 }").await?;
        rig.push("user", (0..300).map(|at| json!({"_key": format!("u-{at}"), "value": at}))).await?;
        live(&node).await?;
        for round in 0..2 {
            for at in 0..300 {
                let (value, answer) = decide(&node, &format!("u-{at}")).await?;
                ensure!(value == f64::from(at), "round {round}, u-{at}: {value}, {answer}");
            }
            let view = node.view("user").await?;
            ensure!(view["bytes"].as_u64().is_some_and(|bytes| bytes <= 1 << 20), "{view}");
            ensure!(view["entities"].as_u64().is_some_and(|entities| (50..=127).contains(&entities)), "{view}");
        }
        let (evicted, held) =
            (counted(&node, "evictions_total", "").await?, node.view("user").await?["entities"].clone());
        ensure!(evicted >= 300.0, "{evicted} evicted, {held} held");

        // What was evicted is not on disk either: a restart holds what was held.
        let (spec, status) = node.terminate().await?;
        ensure!(status.success(), "{status}");
        let node = Node::start(spec).await?;
        node.wait_for("ready", LIMIT).await?;
        ensure!(node.view("user").await?["entities"] == held, "{held} before the restart");
        Ok(())
    })
}

#[test]
fn with_the_core_away_who_is_held_is_known_and_others_get_defaults_at_once() -> Result<()> {
    crate::alone(async {
        let (mut rig, node) = started("on_miss = \"wait\"", "").await?;
        rig.push("user", (0..20).map(|at| json!({"_key": format!("u-{at}"), "value": at}))).await?;
        live(&node).await?;
        for at in 0..10 {
            decide(&node, &format!("u-{at}")).await?;
        }
        rig.nats.kill()?;
        node.wait_for("degraded", LIMIT).await?;
        away(&node).await?;
        ensure!(counted(&node, "waits_total", "outcome=\"timed_out\"").await? == 0.0, "nobody waits on a dead link");

        let (spec, status) = node.terminate().await?;
        ensure!(status.success(), "{status}");
        let node = Node::start(spec).await?;
        node.wait_for("degraded", LIMIT).await?;
        away(&node).await?;

        rig.nats.restart().await?;
        node.wait_for("ready", LIMIT).await?;
        // What changed meanwhile comes by the feed, who was not held by a fetch.
        rig.put("user", "u-3", &json!({"value": 30.0})).await?;
        until_value(&node, "u-3", 30.0).await?;
        until_value(&node, "u-15", 15.0).await?;
        Ok(())
    })
}

/// Ten people are held, the core is away.
async fn away(node: &Node) -> Result<()> {
    for at in 0..10 {
        let (value, answer) = decide(node, &format!("u-{at}")).await?;
        ensure!(value == f64::from(at), "u-{at}: {value}, {answer}");
    }
    let (value, answer) = decide(node, "u-15").await?;
    ensure!(value == -1.0 && used(&answer)?["why"] == "unreachable", "{answer}");
    Ok(())
}

#[test]
fn a_bucket_made_anew_leaves_nobody_as_they_were() -> Result<()> {
    crate::alone(async {
        let (rig, node) = started("on_miss = \"wait\"", "").await?;
        rig.push("user", (0..20).map(|at| json!({"_key": format!("u-{at}"), "value": at}))).await?;
        live(&node).await?;
        for at in 0..20 {
            decide(&node, &format!("u-{at}")).await?;
        }
        let link = rig.link().await?;
        link.jetstream().delete_key_value("features_user").await?;
        until("the node to notice", LIMIT, async || {
            node.view("user").await.ok().filter(|view| view["condition"] == "waiting")
        })
        .await?;
        let (value, _) = decide(&node, "u-7").await?;
        ensure!(value == 7.0, "without a bucket, what is held stays: {value}");
        rig.push("user", (0..10).map(|at| json!({"_key": format!("u-{at}"), "value": at + 100}))).await?;
        until_value(&node, "u-7", 107.0).await?;
        until_value(&node, "u-17", -1.0).await?;
        ensure!(counted(&node, "resyncs_total", "cause=\"recreated\"").await? >= 1.0, "it was noticed as such");
        Ok(())
    })
}

#[test]
fn an_old_value_is_told_and_what_is_a_persons_own_is_not() -> Result<()> {
    crate::alone(async {
        let rig = Rig::start().await?;
        let shop = shop(&rig, "shop", "", "")?;
        shop.file(
            "features.toml",
            "[view.user]\nby = \"subject\"\nsync = \"all\"\n[view.user.features]\n\
             value = { type = \"number\", default = -1.0, ttl = \"1h\", pii = true }\n",
        )?;
        shop.placement("home-hero", &format!("{}record = {{ inputs = 1.0 }}\n", hero(1, "[\"value\"]")))?;
        let file = rig.pack(&shop).await?;
        let release = rig.deploy(&file).await?;
        rig.put("user", "fresh", &json!({"value": 7.0})).await?;
        rig.put("user", "old", &json!({"value": 7.0, "_time": "2020-01-01T00:00:00Z"})).await?;
        let node = rig.node("edge-1").await?;
        node.runs(&release, LIMIT).await?;
        until_value(&node, "fresh", 7.0).await?;
        let (value, answer) = decide(&node, "old").await?;
        ensure!(value == -1.0 && used(&answer)?["why"] == "old" && used(&answer)?["defaulted"] == true, "{answer}");
        ensure!(used(&answer)?["value"] == "(pii)" && used(&answer)?["age_ms"].as_i64() > Some(3_600_000), "{answer}");
        let metrics = node.metrics().await?;
        ensure!(metrics.sum("selvedge_decide_old_values_total", &[]) == 1.0, "it is counted");

        let mut stream = Stream::open(&rig.nats.url()).await?;
        until("the records", LIMIT, async || {
            stream.read_on().await.ok()?;
            (stream.records.len() >= 2).then_some(())
        })
        .await?;
        for record in &stream.records {
            let inputs = record.inputs.as_ref().context("inputs")?;
            ensure!(inputs.shared.iter().all(|value| value.is_nan()), "a person's own is recorded: {inputs:?}");
        }
        let args = ["replay".as_ref(), "nats".as_ref(), "--release".as_ref(), file.as_os_str()];
        let told = rig.cli.json(args).await?;
        ensure!(told["replayed"] == 0 && told["without_pii"].as_u64() >= Some(2) && told["broken"] == 0, "{told}");
        Ok(())
    })
}

#[test]
fn pairs_are_waited_for_each_by_its_own() -> Result<()> {
    crate::alone(async {
        let rig = Rig::start().await?;
        let shop = Shop::new(rig.path("pairs"), "pairs")?;
        shop.file(
            "features.toml",
            "[view.item]\nby = \"item\"\n[view.item.features]\nstock = \"number\"\n\
             [view.offer]\nby = [\"item\", \"context.market\"]\nsync = \"on-demand\"\non_miss = \"wait\"\nshards = 2\n\
             [view.offer.features]\nprice = { type = \"number\", default = -1.0 }\n",
        )?;
        shop.placement("plp-rank", &format!("context = {{ market = \"symbol\" }}\n{RANK}"))?;
        let price = "[[input]]\nname = \"offer.price\"\nscope = \"candidate\"\ntype = \"number\"\nweight = 1.0\n";
        shop.model("rank", &format!("link = \"identity\"\nintercept = 0.0\n{price}"))?;
        for (key, price) in [("[\"a\",\"DE\"]", 1), ("[\"a\",\"FR\"]", 2), ("[\"b\",\"DE\"]", 3)] {
            let row = json!({"price": price}).to_string();
            rig.cli.run(["features", "put", "offer", key, &row, "--shards", "2"]).await?.ok()?;
        }
        let release = rig.deploy(shop.folder()).await?;
        let node = rig.node("edge-1").await?;
        node.runs(&release, LIMIT).await?;
        node.wait_for("ready", LIMIT).await?;
        for (market, expected) in [("DE", [3.0, 1.0]), ("FR", [2.0, -1.0])] {
            let request = json!({"placement": "plp-rank", "candidates": ["a", "b"], "context": {"market": market}});
            let answer = node.client().post("/v1/decide", &request).await?.ok()?;
            let scores: Vec<_> = (0..2).map(|at| answer["choices"][at]["score"].as_f64()).collect();
            ensure!(scores == expected.map(Some), "{market}: {answer}");
        }
        Ok(())
    })
}

#[test]
fn a_view_that_nobody_proves_grows_late_and_does_what_it_says() -> Result<()> {
    crate::alone(async {
        let mut rig = Rig::start().await?;
        let view = "[view.user]\nby = \"subject\"\nmax_lag = \"2s\"\nlate = \"default\"\n[view.user.features]\n\
                    value = { type = \"number\", default = -1.0 }\n";
        let shop = shop(&rig, "shop", "", "")?;
        shop.file("features.toml", view)?;
        let release = rig.deploy(shop.folder()).await?;
        rig.push("user", [json!({"_key": "u-7", "value": 7})]).await?;
        let node = rig.node("edge-1").await?;
        node.runs(&release, LIMIT).await?;
        until_value(&node, "u-7", 7.0).await?;
        rig.nats.kill()?;
        until_value(&node, "u-7", -1.0).await?;
        let (_, answer) = decide(&node, "u-7").await?;
        ensure!(used(&answer)?["why"] == "late" && answer["max_lag_ms"].as_u64() > Some(2_000), "{answer}");
        ensure!(node.metrics().await?.sum("selvedge_decide_late_views_total", &[]) >= 1.0, "it is counted");
        rig.nats.restart().await?;
        // Nothing changed meanwhile: proof alone makes it current again.
        until_value(&node, "u-7", 7.0).await
    })
}

#[test]
fn freshness_begins_with_the_event_and_delivery_with_the_core() -> Result<()> {
    crate::alone(async {
        let (rig, node) = started("on_miss = \"wait\"", "").await?;
        rig.put("user", "u-7", &json!({"value": 7.0})).await?;
        live(&node).await?;
        until_value(&node, "u-7", 7.0).await?;
        rig.put("user", "u-7", &json!({"value": 8.0, "_time": "2020-01-01T00:00:00Z"})).await?;
        until_value(&node, "u-7", 8.0).await?;
        let (_, answer) = decide(&node, "u-7").await?;
        let year_ms = 365 * 86_400_000;
        ensure!(used(&answer)?["age_ms"].as_i64() > Some(year_ms), "{answer}");
        let year_us = year_ms as f64 * 1e3;
        ensure!(counted(&node, "freshness_us_sum", "").await? > year_us, "by the event's time");
        ensure!(counted(&node, "delivery_us_count", "").await? >= 1.0, "both are told");
        ensure!(counted(&node, "delivery_us_sum", "").await? < year_us, "by the core's time");
        Ok(())
    })
}

#[test]
fn rows_that_are_on_disk_are_not_kept_in_memory_as_well() -> Result<()> {
    const ROWS: usize = 60_000;
    const MOST: u64 = 160 << 20;
    crate::alone(async {
        let rig = Rig::start().await?;
        let shop = Shop::new(rig.path("shop"), "shop")?;
        shop.file(
            "features.toml",
            "[view.user]\nby = \"subject\"\nsync = \"all\"\n[view.user.features]\nvalue = \"number\"\n",
        )?;
        shop.placement("home-hero", &hero(1, "[\"value\"]"))?.model("value", VALUE)?;
        let release = rig.deploy(shop.folder()).await?;
        rig.link().await?.create_features_bucket("user").await?;
        let node = Node::start(rig.spec("edge-1").set("features.max_pending_bytes=4MiB")).await?;
        node.runs(&release, LIMIT).await?;
        live(&node).await?;
        let before = node.process.resident_bytes()?;

        // What the release does not name is of no use in memory, but on disk for the next one.
        let more = "x".repeat(4_000);
        rig.push("user", (0..ROWS).map(|at| json!({"_key": format!("u-{at}"), "value": at, "more": more}))).await?;
        let on_disk = async || {
            let view = node.view("user").await.ok()?;
            (view["entities"] == ROWS && view["disk_waiting"] == 0).then_some(())
        };
        until("every row to be on disk", LIMIT, on_disk).await?;
        let grown = node.process.resident_bytes()?.saturating_sub(before);
        println!("{} MiB more for {ROWS} rows of 4 KB, of which one number is used", grown >> 20);
        ensure!(grown < MOST, "{} MiB more", grown >> 20);
        Ok(())
    })
}
