//! Canaries: the next release for a share of the subjects, on the nodes that a label names, until it is promoted, rolled back or
//! dropped by itself; and folders deployed after the release that runs.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use selvedge_decision::assign::bucket;
use selvedge_suite::harness::cli::Ran;
use selvedge_suite::harness::node::CHANNEL;
use selvedge_suite::harness::shop::{Shop, hero};
use selvedge_suite::harness::{Node, NodeSpec, Rig, until};
use selvedge_suite::modules;
use serde_json::{Value, json};

const LIMIT: Duration = Duration::from_secs(60);
const SUBJECTS: u32 = 2_000;
const SALT: &str = "next";

/// `selvedge COMMAND MORE --to prod --key …`.
async fn run(rig: &Rig, command: &str, more: &[&str]) -> Result<Ran> {
    let key = rig.key().display().to_string();
    rig.cli.run([&[command], more, &["--to", CHANNEL, "--key", &key, "--timeout", "50s", "--json"]].concat()).await
}

async fn ok(rig: &Rig, command: &str, more: &[&str]) -> Result<Value> {
    let ran = run(rig, command, more).await?;
    let printed = ran.ok().with_context(|| format!("selvedge {command} {more:?}"))?.stdout.trim();
    Ok(serde_json::from_str(printed)?)
}

/// Exit code and words of a command that must not do anything.
async fn refused(rig: &Rig, command: &str, more: &[&str], code: i32, why: &str) -> Result<()> {
    let before = rig.counter().await.ok();
    let ran = run(rig, command, more).await?;
    ensure!(ran.code == Some(code) && ran.stderr.contains(why), "{command} {more:?}, expected {why:?}: {ran:?}");
    ensure!(rig.counter().await.ok() == before, "{command} {more:?} wrote a pointer");
    Ok(())
}

/// Folders of a shop whose answers say `number`.
fn shop(rig: &Rig, number: u32) -> Result<String> {
    let shop = Shop::numbered(rig.path(&format!("shop-{number}")), number)?;
    Ok(shop.folder().display().to_string())
}

async fn start(spec: NodeSpec, region: &str, release: &str) -> Result<Node> {
    let node = Node::start(spec.set(format!("node.labels=region={region}"))).await?;
    node.runs(release, LIMIT).await?;
    Ok(node)
}

/// What each of many subjects is told, which release told them, and that it was a choice.
async fn numbers(node: &Node, context: &Value) -> Result<BTreeMap<String, u64>> {
    let (mut client, mut numbers) = (node.client(), BTreeMap::new());
    for subject in (0..SUBJECTS).map(|i| format!("u-{i}")) {
        let body = json!({"placement": "home-hero", "subject": subject, "context": context});
        let answer = client.post("/v1/decide", &body).await?.ok()?;
        let number = answer["choices"][0]["payload"]["number"].as_u64().with_context(|| format!("{answer}"))?;
        numbers.insert(subject, number);
    }
    Ok(numbers)
}

/// Each subject is told what their slot says, on a page too, and nobody has a part in a canary.
async fn is_split(node: &Node, share_bp: u16, canary: u64, running: u64) -> Result<()> {
    let told = numbers(node, &json!({})).await?;
    for (subject, number) in &told {
        let expected = if bucket(SALT, subject) < share_bp { canary } else { running };
        ensure!(*number == expected, "{subject} was told {number}, not {expected}");
    }
    let share = told.values().filter(|number| **number == canary).count() as f64 / f64::from(SUBJECTS);
    let wanted = f64::from(share_bp) / 10_000.0;
    // Four standard deviations.
    let tolerance = 4.0 * (wanted * (1.0 - wanted) / f64::from(SUBJECTS)).sqrt();
    ensure!((share - wanted).abs() <= tolerance, "{share} of the subjects, {wanted} wanted");
    let mut client = node.client();
    let number = |answer: &Value| answer["choices"][0]["payload"]["number"].as_u64();
    let nobody = client.post("/v1/decide", &json!({"placement": "home-hero"})).await?.ok()?;
    ensure!(number(&nobody) == Some(running), "{nobody}");
    for id in (0..50).map(|i| format!("u-{i}")) {
        let expected = Some(if bucket(SALT, &id) < share_bp { canary } else { running });
        let session = client.post("/v1/decide", &json!({"placement": "home-hero", "session": id})).await?.ok()?;
        ensure!(number(&session) == expected, "{session}");
        let page = json!({"placements": [{"placement": "home-hero"}, {"placement": "home-hero"}], "subject": id});
        let page = client.post("/v1/decide/batch", &page).await?.ok()?;
        let all = page["decisions"].as_array().context("decisions")?;
        ensure!(all.len() == 2 && all.iter().all(|one| number(one) == expected), "{page}");
        ensure!(all[0]["release"] == all[1]["release"], "{page}");
    }
    Ok(())
}

#[test]
fn a_canary_decides_for_its_share_where_it_is_wanted_until_it_is_promoted() -> Result<()> {
    crate::alone(async {
        let rig = Rig::start().await?;
        let (one, two, three) = (shop(&rig, 1)?, shop(&rig, 2)?, shop(&rig, 3)?);
        refused(&rig, "deploy", &[&two, "--share", "5%"], 1, "deploy one without --share first").await?;
        let first = rig.deploy(Path::new(&one)).await?;
        let eu = start(rig.spec("edge-eu"), "eu", &first).await?;
        let us = start(rig.spec("edge-us"), "us", &first).await?;
        until("both nodes to have reported", LIMIT, async || {
            let status = rig.cli.json(["status"]).await.ok()?;
            (status["nodes"].as_array()?.len() == 2).then_some(())
        })
        .await?;
        refused(&rig, "deploy", &[&two, "--share", "0%"], 2, "above 0% and at most 100%").await?;
        refused(&rig, "deploy", &[&one, "--share", "5%"], 1, "there is nothing to try").await?;
        let nowhere = [two.as_str(), "--share", "5%", "--where", "region=mars"];
        refused(&rig, "deploy", &nowhere, 1, "edge-eu has region=eu, edge-us has region=us").await?;
        refused(&rig, "promote", &[], 1, "has no canary to promote").await?;
        let fewer = Shop::new(rig.path("fewer"), "fewer")?;
        fewer.placement("home-hero", "actions = [{ id = \"default\" }]\nfallback = [\"default\"]\n")?;
        let fewer = fewer.folder().display().to_string();
        refused(&rig, "deploy", &[&fewer, "--share", "5%"], 1, "has no placement \"plp-rank\"").await?;

        let told =
            ok(&rig, "deploy", &[&two, "--share", "20%", "--where", "region=eu", "--salt", SALT, "--wait"]).await?;
        ensure!(told["release"] == first.as_str() && told["canary"]["share_bp"] == 2_000, "{told}");
        let nodes = json!([{"node": "edge-eu", "state": "runs"}]);
        ensure!(told["nodes"] == nodes, "the node it concerns is waited for, and no other: {told}");
        is_split(&eu, 2_000, 2, 1).await?;
        ensure!(numbers(&us, &json!({})).await?.values().all(|number| *number == 1), "the other node takes no part");
        let status = rig.cli.run(["status"]).await?.ok()?.stdout.clone();
        ensure!(status.contains("20% where region=eu"), "{status}");

        // Killed in the middle: the same subjects, by what is on disk.
        let eu = Node::start(eu.kill()?).await?;
        until("the canary to decide again", LIMIT, async || {
            let status = eu.status().await.ok()?;
            (status["releases"]["canary"]["release"] == told["canary"]["release"]).then_some(())
        })
        .await?;
        is_split(&eu, 2_000, 2, 1).await?;

        // A larger share has those of the smaller; then all have it, the other node, too.
        ok(&rig, "deploy", &[&two, "--share", "50%", "--where", "region=eu", "--salt", SALT, "--wait"]).await?;
        is_split(&eu, 5_000, 2, 1).await?;
        let promoted = ok(&rig, "promote", &["--wait"]).await?;
        ensure!(promoted["release"] == told["canary"]["release"] && promoted["canary"].is_null(), "{promoted}");
        for node in [&eu, &us] {
            ensure!(numbers(node, &json!({})).await?.values().all(|number| *number == 2), "all have the promoted one");
        }

        // A rollback drops the canary first, the next one goes to the release before.
        ok(&rig, "deploy", &[&three, "--share", "30%", "--salt", SALT, "--wait"]).await?;
        is_split(&us, 3_000, 3, 2).await?;
        let back = ok(&rig, "rollback", &["--wait"]).await?;
        ensure!(back["release"] == promoted["release"], "{back}");
        ensure!(numbers(&us, &json!({})).await?.values().all(|number| *number == 2), "the canary is gone");
        let back = ok(&rig, "rollback", &["--wait"]).await?;
        ensure!(back["release"] == first.as_str(), "{back}");
        Ok(())
    })
}

#[test]
fn a_canary_that_faults_is_dropped_by_itself_and_no_decision_fails() -> Result<()> {
    crate::alone(async {
        let rig = Rig::start().await?;
        let good = Shop::numbered(rig.path("good"), 1)?;
        good.placement("home-hero", &hero(1, "[\"hero\"]").replace("cart_value", "provoke"))?;
        let first = rig.deploy(good.folder()).await?;
        let node = start(rig.spec("edge-eu"), "eu", &first).await?;
        let bad = Shop::numbered(rig.path("bad"), 2)?;
        bad.file("release.toml", "name = \"bad\"\n[guard]\nwindow = \"1m\"\nmin_decisions = 50\n")?;
        bad.placement("home-hero", &hero(2, "[\"trap\"]").replace("cart_value", "provoke"))?;
        bad.module("trap", &modules::hostile("trap")?)?;
        let bad = bad.folder().display().to_string();
        let deploy = [bad.as_str(), "--share", "20%", "--salt", SALT, "--wait"];
        let canary = ok(&rig, "deploy", &deploy).await?["canary"]["release"].clone();

        // It is fine, until it is provoked; all the while there are choices.
        ensure!(numbers(&node, &json!({})).await?.values().any(|number| *number == 2), "the canary decides");
        let dropped = until("the canary to be dropped", LIMIT, async || {
            if let Err(failed) = numbers(&node, &json!({"provoke": 1.0})).await {
                return Some(Err(failed));
            }
            let dropped = node.status().await.ok()?["releases"]["canary_dropped"].clone();
            (!dropped.is_null()).then_some(Ok(dropped))
        })
        .await??;
        let why = dropped["why"].as_str().unwrap_or_default();
        ensure!(
            dropped["release"] == canary && (why.contains("had a fault") || why.contains("fell back")),
            "{dropped}"
        );
        ensure!(numbers(&node, &json!({})).await?.values().all(|number| *number == 1), "what runs decides for all");

        // It is in the node's report, it survives a restart, and another deploy tries it again.
        let reported = async |rig: &Rig| {
            let ran = rig.cli.run(["status", "--json"]).await.ok()?;
            let status: Value = serde_json::from_str(ran.stdout.trim()).ok()?;
            let node = &status["nodes"][0];
            let refused = node["refused"]["code"] == "quarantined" && node["refused"]["release"] == canary;
            (node["canary_dropped"]["release"] == canary && refused && ran.code == Some(1)).then_some(())
        };
        until("the report to say so", LIMIT, async || reported(&rig).await).await?;
        let node = Node::start(node.kill()?).await?;
        node.runs(&first, LIMIT).await?;
        until("the report to say so again", LIMIT, async || reported(&rig).await).await?;
        refused(
            &rig,
            "promote",
            &[],
            1,
            &format!("node edge-eu dropped canary {} by itself", canary.as_str().unwrap_or("?")),
        )
        .await?;
        ensure!(numbers(&node, &json!({})).await?.values().all(|number| *number == 1), "it stays away");
        ok(&rig, "deploy", &deploy).await?;
        ensure!(numbers(&node, &json!({})).await?.values().any(|number| *number == 2), "the canary decides again");
        Ok(())
    })
}

/// The breaker of a module that always traps opens after five calls: those that it spares are no sign of health.
#[test]
fn a_release_that_always_faults_is_taken_back_however_fast_the_node_decides() -> Result<()> {
    crate::alone(async {
        let rig = Rig::start().await?;
        let first = rig.deploy(Path::new(&shop(&rig, 1)?)).await?;
        let node = start(rig.spec("edge-eu"), "eu", &first).await?;
        let bad = Shop::numbered(rig.path("bad"), 2)?;
        bad.placement("home-hero", &hero(2, "[\"trap\"]").replace("cart_value", "provoke"))?;
        bad.module("trap", &modules::hostile("trap")?)?;
        let second = rig.deploy(bad.folder()).await?;
        node.runs(&second, LIMIT).await?;
        let mut client = node.client();
        let back = tokio::time::timeout(LIMIT, async {
            loop {
                // Two hundred decisions between two looks: by the faults of calls alone, one of forty would be one.
                for _ in 0..200 {
                    let ask = json!({"placement": "home-hero", "context": {"provoke": 1.0}});
                    client.post("/v1/decide", &ask).await?.ok()?;
                }
                let status = node.status().await?;
                if status["releases"]["quarantined"]["release"] == second.as_str() {
                    return anyhow::Ok(status["releases"].clone());
                }
            }
        });
        let back = back.await.context("it was not taken back")??;
        let why = back["quarantined"]["why"].as_str().unwrap_or_default();
        ensure!(why.contains("had a fault") && back["active"]["release"] == first.as_str(), "{back}");
        Ok(())
    })
}

#[test]
fn a_canary_that_brings_less_is_dropped_by_itself() -> Result<()> {
    crate::alone(async {
        let rig = Rig::start().await?;
        let first = rig.deploy(Path::new(&shop(&rig, 1)?)).await?;
        let node = start(rig.spec("edge-eu"), "eu", &first).await?;
        let poor = Shop::numbered(rig.path("poor"), 2)?;
        poor.file("release.toml", "name = \"poor\"\n[guard]\nreward = \"add_to_cart\"\nmax_p99_ratio = 1000.0\n")?;
        let poor = poor.folder().display().to_string();
        let canary =
            ok(&rig, "deploy", &[&poor, "--share", "50%", "--salt", SALT, "--wait"]).await?["canary"]["release"]
                .clone();

        // Whatever is in the cart was chosen by the release that runs.
        let (mut client, mut carts, mut of_canary) = (node.client(), Vec::new(), 0);
        for subject in (0..2 * SUBJECTS).map(|i| format!("u-{i}")) {
            let answer =
                client.post("/v1/decide", &json!({"placement": "home-hero", "subject": subject})).await?.ok()?;
            let is_canary = answer["release"] == canary;
            of_canary += u32::from(is_canary);
            if !is_canary && carts.len() < 500 {
                let (id, item) = (&answer["decision_id"], &answer["choices"][0]["id"]);
                carts.push(json!({"event": "add_to_cart", "subject": subject, "decision_id": id, "item": item}));
            }
        }
        ensure!(of_canary > SUBJECTS / 2 && carts.len() == 500, "{of_canary} of the canary, {} carts", carts.len());
        client.post("/v1/events", &json!({"batch": carts})).await?.ok()?;
        let dropped = until("the canary to be dropped", LIMIT, async || {
            let dropped = node.status().await.ok()?["releases"]["canary_dropped"].clone();
            (!dropped.is_null()).then_some(dropped)
        })
        .await?;
        let why = dropped["why"].as_str().unwrap_or_default();
        ensure!(why.contains("a share of 0.0000 brought \"add_to_cart\""), "{dropped}");
        ensure!(numbers(&node, &json!({})).await?.values().all(|number| *number == 1), "what runs decides for all");
        Ok(())
    })
}

#[test]
fn a_folder_is_deployed_after_the_release_that_runs() -> Result<()> {
    crate::alone(async {
        let rig = Rig::start().await?;
        let shop = Shop::new(rig.path("shop"), "shop")?;
        let arms = |arms: &[(&str, u32)]| {
            let arms: String =
                arms.iter().map(|(arm, weight)| format!("{{ name = {arm:?}, weight = {weight} }}, ")).collect();
            format!(
                "actions = [{{ id = \"a\" }}]\nfallback = [\"a\"]\n[[experiment]]\nkey = \"e\"\nunit = \"subject\"\narms = [{arms}]\n"
            )
        };
        shop.placement("home", &arms(&[("a", 50), ("b", 50)]))?;
        let first = rig.deploy(shop.folder()).await?;
        let node = start(rig.spec("edge-1"), "eu", &first).await?;
        let all = async || {
            let (mut client, mut arms) = (node.client(), Vec::new());
            for subject in (0..500).map(|i| format!("u-{i}")) {
                let answer =
                    client.post("/v1/decide", &json!({"placement": "home", "subject": subject})).await?.ok()?;
                arms.push(answer["arm"].as_str().context("an arm")?.to_owned());
            }
            anyhow::Ok(arms)
        };
        let before = all().await?;
        // By the weights alone, a tenth of all would go from one arm to the other.
        shop.placement("home", &arms(&[("a", 40), ("b", 40), ("c", 20)]))?;
        let next = rig.deploy(shop.folder()).await?;
        node.runs(&next, LIMIT).await?;
        let after = all().await?;
        let moved = before.iter().zip(&after).filter(|(before, after)| before != after);
        let (new, others): (Vec<_>, Vec<_>) = moved.partition(|(_, after)| *after == "c");
        ensure!(others.is_empty() && !new.is_empty(), "{} went to the new arm, {others:?} elsewhere", new.len());
        ensure!(rig.deploy(shop.folder()).await? == next, "the same folder is the same release again");
        Ok(())
    })
}

#[test]
fn what_a_canary_alone_learns_is_merged_at_the_core() -> Result<()> {
    crate::alone(async {
        let rig = Rig::start().await?;
        let first = rig.deploy(Path::new(&shop(&rig, 1)?)).await?;
        let node = start(rig.spec("edge-eu"), "eu", &first).await?;
        let next = Shop::numbered(rig.path("next"), 2)?;
        next.placement(
            "banner",
            "actions = [{ id = \"a\" }, { id = \"b\" }]\nfallback = [\"a\"]\ndeadline = \"1s\"\n\
             choose = { policy = \"thompson\", reward = \"click\" }\n",
        )?;
        let next = next.folder().display().to_string();
        ok(&rig, "deploy", &[&next, "--share", "50%", "--salt", SALT, "--wait"]).await?;
        let _core = rig.core_bandits("bandits").await?;
        let (mut client, mut decided) = (node.client(), 0);
        for subject in (0..60).map(|i| format!("u-{i}")).filter(|subject| bucket(SALT, subject) < 5_000) {
            let decision =
                client.post("/v1/decide", &json!({"placement": "banner", "subject": subject})).await?.ok()?;
            let id = &decision["decision_id"];
            client
                .post("/v1/events", &json!({"name": "click", "message_id": subject, "decision_id": id}))
                .await?
                .ok()?;
            decided += 1;
        }
        ensure!(decided > 10, "{decided} of 60 are in a canary of half");
        let mut last = Value::Null;
        let learned = until("the core to have learned from the canary", LIMIT, async || {
            let ran = rig.cli.run(["bandits", "show", "--json"]).await.ok()?;
            last = serde_json::from_str(ran.stdout.trim()).ok()?;
            let banner = last["bandits"].as_array()?.iter().find(|bandit| bandit["bandit"] == "banner")?;
            let sum =
                |of: &str| banner["actions"].as_array().map(|all| all.iter().filter_map(|one| one[of].as_i64()).sum());
            (sum("trials") == Some(decided) && sum("rewards") == Some(decided)).then_some(())
        });
        learned.await.with_context(|| format!("{last}, expected {decided}"))
    })
}
