//! What commands say of recorded decisions: why one came about, whether they replay, and what another release would change. That a gate
//! stops what it should is the proof `gate`.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};
use selvedge_decision::NodeId;
use selvedge_node::link::nats::events::BlockQuery;
use selvedge_node::outbox::Lane;
use selvedge_suite::harness::shop::{FEATURES, Shop, number};
use selvedge_suite::harness::stream::Stream;
use selvedge_suite::harness::{Rig, until};
use serde_json::{Value, json};

use crate::lake;
use crate::views::LIMIT;

const DECISIONS: usize = 150;

/// A release that ranks items by their price, times `price`, and by more.
async fn release(rig: &Rig, name: &str, price: f64, more: &str) -> Result<PathBuf> {
    let shop = Shop::new(rig.path(name), name)?;
    shop.file("features.toml", format!("{FEATURES}margin = {{ type = \"number\", default = 0.0 }}\n"))?;
    let placement = "context = { cart_value = \"number\" }\ncandidates = { view = \"item\", from = \"request\" }\nslots = 2\ndeadline = \"1s\"\n\
         rules = [\"guard\"]\nladder = [\"rank\"]\nfallback = { by = \"item.stock\" }\nrecord = { inputs = 1.0 }\n";
    shop.placement("plp-rank", placement)?;
    shop.file("modules/guard.csv", "# name: Guard\nitem.stock: number,> eligible\n0,false\n,true\n")?;
    let model = format!(
        "link = \"identity\"\nintercept = 0.0\n[[input]]\nname = \"item.price\"\nscope = \"candidate\"\ntype = \"number\"\nweight = {price:.1}\n\
         [[input]]\nname = \"item.category\"\nscope = \"candidate\"\ntype = \"symbol\"\nweights = {{ shoes = 0.5 }}\n{more}"
    );
    shop.model("rank", &model)?;
    rig.pack(&shop).await
}

/// Decides, and has every third decision bring something; the ids of the decisions.
async fn decide(rig: &Rig, file: &Path) -> Result<Vec<String>> {
    let rows = (0..6).map(|at| {
        let stock = if at == 5 { 0.0 } else { 3.0 };
        json!({"_key": format!("sku-{at}"), "price": f64::from(at) * 10.0, "category": "shoes", "stock": stock})
    });
    rig.push("item", rows.collect::<Vec<_>>()).await?;
    let node = rig.node("edge-1").await?;
    node.runs(&rig.deploy(file).await?, LIMIT).await?;
    node.wait_for("ready", LIMIT).await?;
    let mut client = node.client();
    let mut ids = Vec::new();
    for at in 0..DECISIONS {
        let candidates: Vec<String> = (0..6).map(|place| format!("sku-{}", (place + at) % 6)).collect();
        let request = json!({"placement": "plp-rank", "subject": format!("u-{}", at % 50), "session": format!("s-{at}"),
            "candidates": candidates, "context": {"cart_value": 1.0}});
        let answer = client.post("/v1/decide", &request).await?.ok()?;
        let id = answer["decision_id"].as_str().context("no id")?.to_owned();
        if at % 3 == 0 {
            let event = json!({"name": "purchase", "subject": format!("u-{}", at % 50), "item": answer["choices"][0]["id"],
                "decision_id": id, "properties": {"value": 2.5}});
            client.post("/v1/events", &event).await?.ok()?;
        }
        ids.push(id);
    }
    let mut stream = Stream::open(&rig.nats.url()).await?;
    until("all to arrive", LIMIT, async || {
        stream.read_on().await.ok()?;
        (stream.records.len() == DECISIONS && stream.events.len() == DECISIONS / 3).then_some(())
    })
    .await?;
    Ok(ids)
}

fn names<'v>(rows: &'v Value, key: &str) -> Vec<&'v str> {
    rows.as_array().into_iter().flatten().filter_map(|row| row[key].as_str()).collect()
}

#[test]
fn a_decision_is_explained_replayed_and_compared_from_the_stream_and_from_the_lake() -> Result<()> {
    crate::alone(async {
        let rig = Rig::start().await?;
        let a = release(&rig, "a", 1.0, "").await?;
        let ids = decide(&rig, &a).await?;
        let lake = rig.path("lake").display().to_string();
        rig.cli.json(["core", "lake", "--to", &lake, "--once"]).await?;
        let a_file = a.display().to_string();

        for source in ["nats", &lake] {
            // The release is fetched from the core.
            let why = rig.cli.json(["why", &ids[3], source]).await?;
            ensure!(why["how"]["same"] == true && why["how"]["scorer"] == "rank:score", "{source}: {why}");
            ensure!(why["choices"][0]["id"] == "sku-4" && why["choices"][0]["propensity"] == 1.0, "{why}");
            ensure!(names(&why["brought"], "event") == ["purchase"], "{why}");
            let price = json!({"name": "item.price", "candidate": "sku-4", "value": 40.0});
            ensure!(why["how"]["inputs"].as_array().context("inputs")?.contains(&price), "{why}");
            let sold_out = json!({"id": "sku-5", "eligible": false, "boost": 1.0, "score": 50.5});
            ensure!(why["how"]["considered"].as_array().context("candidates")?.contains(&sold_out), "{why}");
            let replayed = rig.cli.json(["replay", source]).await?;
            ensure!(replayed["replayed"] == DECISIONS && replayed["different"] == 0, "{source}: {replayed}");
        }
        let text = rig.cli.run(["why", &ids[3], &lake, "--release", &a_file]).await?;
        for part in ["decided again: the same bytes", "scored by rank:score", "brought: purchase item=sku-4"] {
            ensure!(text.ok()?.stdout.contains(part), "{}", text.stdout);
        }
        let nobody = rig.cli.run(["why", "019ac2e5-7c00-7abc-8def-0123456789ab"]).await?;
        ensure!(nobody.code == Some(1) && nobody.stderr.contains("there is no record of it"), "{nobody:?}");
        let tail = rig.cli.run(["tail", "--subject", "u-7", "--lane", "decisions", "--json"]).await?;
        let lines = tail.ok()?.stdout.lines().collect::<Vec<_>>();
        ensure!(lines.len() == 3 && lines.iter().all(|line| line.contains("\"subject\":\"u-7\"")), "{lines:?}");

        // The same release changes nothing, and what it earns is what was earned.
        let same = rig.cli.json(["diff", &a_file, &a_file, "--replay", &lake]).await?;
        let placed = &same["placements"]["plp-rank"];
        ensure!(placed["compared"] == DECISIONS && placed["changed"] == 0, "{same}");
        let value = &placed["value"]["purchase"];
        ensure!(value["insufficient"] == json!([]) && value["change"]["snips"]["value"] == 0.0, "{value}");
        ensure!((value["b"]["snips"]["value"].as_f64().context("a value")? - 2.5 / 3.0).abs() < 1e-12, "{value}");

        // Another order changes every decision, and a log that never tries anything cannot say what that is worth.
        let b = release(&rig, "b", -1.0, "").await?.display().to_string();
        let other = rig.cli.json(["diff", &a_file, &b, "--replay", "nats", "--reward", "purchase=1d"]).await?;
        let placed = &other["placements"]["plp-rank"];
        ensure!(placed["changed"] == DECISIONS && placed["after"]["fallback_rate"] == 0.0, "{other}");
        ensure!(placed["scorers"][0]["decisions"] == DECISIONS, "{other}");
        ensure!(placed["inputs"][0]["input"] == "item.price" && placed["inputs"][0]["agree"] == 50, "{other}");
        let insufficient = placed["value"]["purchase"]["insufficient"].to_string();
        ensure!(insufficient.contains("B: 100.0 % of its choices have a logging propensity of 0"), "{insufficient}");
        let digest = selvedge_build::release::open(&std::fs::read(&a)?, &Default::default())?.digest.to_string();
        let fetched = rig.cli.run(["diff", &digest, &b, "--replay", "nats"]).await?;
        ensure!(fetched.ok()?.stdout.contains("insufficient evidence"), "{}", fetched.stdout);

        // What no record has is named and counted.
        let margin = "[[input]]\nname = \"item.margin\"\nscope = \"candidate\"\ntype = \"number\"\nweight = 1.0\n";
        let c = release(&rig, "c", 1.0, margin).await?.display().to_string();
        let unsaid = rig.cli.run(["diff", &a_file, &c, "--replay", "nats", "--json"]).await?;
        let said: Value = serde_json::from_str(&unsaid.stdout)?;
        let why = "B asks for item.margin, which is not recorded";
        ensure!(unsaid.code == Some(1) && said["placements"]["plp-rank"]["not_compared"][why] == DECISIONS, "{said}");
        Ok(())
    })
}

const QUIET: &str = "actions = [{ id = \"a\" }, { id = \"b\" }]\nfallback = [\"b\"]\nrecord = { inputs = 0.0 }\n";

/// Nothing replayed was nothing different: a job that watched a folder that was not the right one was green for ever.
#[test]
fn a_source_without_a_decision_is_an_error_and_one_without_inputs_is_none() -> Result<()> {
    crate::alone(async {
        let rig = Rig::start().await?;
        rig.link().await?.ensure_events_stream().await?;
        let shop = Shop::new(rig.path("shop"), "shop")?;
        shop.placement("quiet", QUIET)?;
        let file = rig.pack(&shop).await?.display().to_string();
        let empty = rig.path("empty");
        std::fs::create_dir(&empty)?;
        let (empty, folder) = (empty.display().to_string(), shop.folder().display().to_string());
        let lake = rig.path("lake").display().to_string();
        let refuses = async |source: &str, days: &[&str], why: &str| -> Result<()> {
            for command in [&["replay", source, "--release", &file][..], &["diff", &file, &file, "--replay", source]] {
                let ran = rig.cli.run([command, days].concat()).await?;
                let told = ran.stderr.contains(source) && ran.stderr.contains(why);
                let told = told && ran.stderr.contains("a SOURCE is `nats`");
                ensure!(ran.code == Some(2) && told && ran.stdout.is_empty(), "{command:?} {days:?}: {ran:?}");
            }
            Ok(())
        };
        for source in ["nats", &empty, &folder] {
            refuses(source, &[], "there is no decision in it").await?;
        }
        let digest = rig.cli.run(["diff", &file, "sha256:00", "--replay", "nats"]).await?;
        ensure!(digest.code == Some(2) && digest.stderr.contains("expected sha256: and 64 hex digits"), "{digest:?}");

        let node = rig.node("edge-1").await?;
        node.runs(&rig.deploy(shop.folder()).await?, LIMIT).await?;
        node.client().post("/v1/decide", &json!({"placement": "quiet"})).await?.ok()?;
        let mut stream = Stream::open(&rig.nats.url()).await?;
        until("it to arrive", LIMIT, async || {
            stream.read_on().await.ok()?;
            (stream.records.len() == 1).then_some(())
        })
        .await?;
        rig.cli.json(["core", "lake", "--to", &lake, "--once"]).await?;
        for source in ["nats", &lake] {
            let replayed = rig.cli.json(["replay", source]).await?;
            ensure!(replayed["replayed"] == 0 && replayed["without_inputs"] == 1, "{source}: {replayed}");
            let compared = rig.cli.run(["diff", &file, &file, "--replay", source]).await?;
            let told = compared.stdout.contains("1 recorded without inputs");
            ensure!(compared.code == Some(1) && told, "nothing to compare, and why: {compared:?}");
            refuses(source, &["--until", "2020-01-01"], "no decision of the days that are asked for").await?;
        }
        Ok(())
    })
}

/// What one placement's decisions brought was told of all others as well, and nobody found it among that.
#[test]
fn a_value_is_told_of_what_a_placement_brought_and_what_its_policy_learns_by() -> Result<()> {
    crate::alone(async {
        let rig = Rig::start().await?;
        let shop = Shop::new(rig.path("shop"), "shop")?;
        let inputs = QUIET.replace("inputs = 0.0", "inputs = 1.0");
        shop.placement("banner", &inputs)?.placement("other", &inputs)?;
        shop.placement("learns", &format!("{inputs}choose = {{ policy = \"thompson\", reward = \"click\" }}\n"))?;
        let file = rig.pack(&shop).await?.display().to_string();
        let node = rig.node("edge-1").await?;
        node.runs(&rig.deploy(Path::new(&file)).await?, LIMIT).await?;
        let mut client = node.client();
        for placement in ["banner", "other", "learns"] {
            let answer = client.post("/v1/decide", &json!({"placement": placement, "subject": "u-1"})).await?.ok()?;
            if placement == "banner" {
                for name in ["purchase", "share"] {
                    let event = json!({"name": name, "decision_id": answer["decision_id"]});
                    client.post("/v1/events", &event).await?.ok()?;
                }
            }
        }
        let mut stream = Stream::open(&rig.nats.url()).await?;
        until("all to arrive", LIMIT, async || {
            stream.read_on().await.ok()?;
            (stream.records.len() == 3 && stream.events.len() == 2).then_some(())
        })
        .await?;
        let kinds = async |more: &[&str]| -> Result<(Vec<String>, Value)> {
            let said = rig.cli.json([&["diff", &file, &file, "--replay", "nats"], more].concat()).await?;
            let placements = said["placements"].as_object().context("placements")?.iter();
            let of = placements.map(|(key, placed)| {
                let kinds = placed["value"].as_object().into_iter().flatten().map(|(kind, _)| kind.as_str());
                format!("{key}: {}", kinds.collect::<Vec<_>>().join(" "))
            });
            Ok((of.collect(), said["values_left_out"].clone()))
        };
        let (found, left_out) = kinds(&[]).await?;
        ensure!(
            found == ["banner: purchase share", "learns: click", "other: "] && left_out == 4,
            "{found:?} {left_out}"
        );
        let (found, left_out) = kinds(&["--reward", "purchase"]).await?;
        let asked = ["banner: purchase", "learns: purchase", "other: purchase"];
        ensure!(found == asked && left_out == 0, "what is asked for is told of all: {found:?} {left_out}");
        let text = rig.cli.run(["diff", &file, &file, "--replay", "nats"]).await?;
        let lines = text.ok()?.stdout.lines().filter(|line| line.contains("value by")).count();
        ensure!(lines == 3 && text.stdout.contains("\nleft out: 4 values by kinds of reward"), "{}", text.stdout);
        Ok(())
    })
}

/// Once a limit that refused somebody of a low score was not told, a command told none, and nothing told of whom the page had already.
/// A text that only a limit compares was told as a number of the node.
#[test]
fn what_kept_somebody_from_a_place_is_told_at_once_and_from_the_record() -> Result<()> {
    crate::alone(async {
        let rig = Rig::start().await?;
        let shop = Shop::new(rig.path("shop"), "shop")?;
        shop.file("release.toml", "name = \"shop\"\n[holdout]\nsalt = \"out\"\nshare = 0.5\n")?;
        let placement = "candidates = { view = \"item\", from = \"request\" }\nslots = 2\ndeadline = \"1s\"\nladder = [\"rank\"]\n\
             fallback = { by = \"item.stock\" }\nrecord = { inputs = 1.0 }\n\
             [limits]\nabove = { \"item.stock\" = 0 }\nmax_per = { \"item.category\" = 1 }\n\
             [[experiment]]\nkey = \"ranks\"\nunit = \"subject\"\narms = [{ name = \"one\", weight = 50 }, { name = \"two\", weight = 50 }]\n";
        shop.placement("plp-rank", placement)?;
        shop.model("rank", &format!("link = \"identity\"\n{}", number("item.price", "candidate", 1.0)))?;
        let row = |id: &str, category: &str, price: f64, stock: f64| json!({"_key": id, "category": category, "price": price, "stock": stock});
        let rows = [
            row("sku-0", "shoes", 50.0, 3.0),
            row("sku-1", "shoes", 40.0, 3.0),
            row("sku-2", "hats", 30.0, 3.0),
            row("sku-3", "hats", 60.0, 0.0),
        ];
        rig.push("item", rows).await?;
        let release = rig.pack(&shop).await?;
        let node = rig.node("edge-1").await?;
        node.runs(&rig.deploy(&release).await?, LIMIT).await?;
        node.wait_for("ready", LIMIT).await?;
        let mut client = node.client();
        let all = json!(["sku-0", "sku-1", "sku-2", "sku-3"]);
        let limits = json!([
            {"limit": "above item.stock", "candidates": ["sku-3"]},
            {"limit": "max_per item.category", "candidates": ["sku-1"]},
        ]);
        let category = |value: &str| json!({"name": "item.category", "candidate": "sku-0", "value": value});

        let mut asked = Vec::new();
        for at in 0..12 {
            let request =
                json!({"placement": "plp-rank", "subject": format!("u-{at}"), "candidates": all, "explain": true});
            let answer = client.post("/v1/decide", &request).await?.ok()?;
            ensure!(names(&answer["choices"], "id") == ["sku-0", "sku-2"], "{answer}");
            let how = &answer["explanation"];
            ensure!(how["limits"] == limits, "{how}");
            let is_told =
                |used: &Value| ["name", "candidate", "value"].iter().all(|key| used[key] == category("shoes")[key]);
            ensure!(how["features"].as_array().context("features")?.iter().any(is_told), "{how}");
            asked.push((answer["decision_id"].as_str().context("no id")?.to_owned(), answer["experiment"] == "ranks"));
        }
        let part = json!({"placement": "plp-rank", "candidates": ["sku-2", "sku-0"]});
        let page = json!({"subject": "u-0", "distinct": true, "explain": true, "placements": [part, part]});
        let answer = client.post("/v1/decide/batch", &page).await?.ok()?;
        let [first, second] = &answer["decisions"].as_array().context("decisions")?[..] else { bail!("{answer}") };
        ensure!(first["explanation"]["limits"].is_null() && second["reason"] == "EMPTY", "{answer}");
        let distinct = json!([{"limit": "distinct", "candidates": ["sku-2", "sku-0"]}]);
        ensure!(second["explanation"]["limits"] == distinct, "{answer}");

        lake::land(&rig, asked.len() + 2, 0).await?;
        let told = node.admin().get(&format!("/console/api/decisions/{}", asked[0].0)).await?.ok()?;
        ensure!(
            told["how"]["limits"] == limits && told["how"]["features"].to_string().contains("(not recorded)"),
            "{told}"
        );
        let mut assigned = [false; 2];
        for (id, is_assigned) in &asked {
            let why = rig.cli.json(["why", id]).await?;
            ensure!(why["how"]["same"] == true && why["how"]["limits"] == limits, "{why}");
            ensure!(why["how"]["inputs"].as_array().context("inputs")?.contains(&category("<not recorded>")), "{why}");
            let experiment = if *is_assigned { json!("ranks") } else { Value::Null };
            ensure!(why["experiment"] == experiment && why["held_out"] == !is_assigned, "{why}");
            let text = rig.cli.run(["why", id]).await?;
            let part = if *is_assigned {
                "ASSIGNED, experiment ranks, arm "
            } else {
                "SCORED, held out of experiments subject="
            };
            for part in [part, "limit: above item.stock kept from a place: sku-3"] {
                ensure!(text.ok()?.stdout.contains(part), "{}", text.stdout);
            }
            assigned[usize::from(*is_assigned)] = true;
        }
        ensure!(assigned == [true; 2], "all of 12 are held out, or none: {asked:?}");
        let nobody = rig.cli.run(["why", second["decision_id"].as_str().context("no id")?]).await?;
        ensure!(
            nobody.ok()?.stdout.contains("of 0 candidates, for 2 slots: there were none, or a page"),
            "{}",
            nobody.stdout
        );

        let (ran, rows) = lake::dataset(&rig, &release, "rows.jsonl", &[]).await?;
        ensure!(
            ran.code == Some(0) && rows.contains("\"item.stock\":3.0") && !rows.contains("item.category"),
            "{ran:?} {rows}"
        );
        Ok(())
    })
}

/// Once a reader asked for 256 blocks whatever they weighed. The server ended the connection of one that had more than 64 MiB on the way to
/// it, what was on the way was lost, and the reader waited for it for ever.
#[test]
fn a_stream_of_large_blocks_is_read_to_its_end() -> Result<()> {
    const LARGE: usize = 480 << 10;
    crate::alone(async {
        let rig = Rig::start().await?;
        let link = rig.link().await?;
        link.ensure_events_stream().await?;
        let publisher = link.block_publisher(LIMIT, 16);
        let node: NodeId = "edge-1".parse()?;
        // After small ones it asks for many.
        let sizes: Vec<usize> = [10; 40].into_iter().chain([LARGE; 300]).collect();
        for (at, size) in sizes.iter().enumerate() {
            let block = vec![at as u8; *size];
            publisher.publish(&node, Lane::Decisions, &format!("m-{at}"), block).await?.await?;
        }
        let mut blocks = link.blocks(BlockQuery::default()).await?;
        let mut read = Vec::new();
        while let Some(block) = tokio::time::timeout(LIMIT, blocks.next()).await?? {
            ensure!(block.bytes.last() == Some(&(read.len() as u8)), "block {} is another", read.len());
            read.push(block.bytes.len());
        }
        ensure!(read == sizes, "{} of {} blocks came", read.len(), sizes.len());
        Ok(())
    })
}
