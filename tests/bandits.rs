//! Experiments and policies that learn: what people are assigned, what is learned from their rewards, and the switch.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use selvedge_suite::harness::shop::Shop;
use selvedge_suite::harness::{Node, Random, Rig, until};
use serde_json::{Value, json};

const LIMIT: Duration = Duration::from_secs(60);

const HERO: &str = r#"
actions = [{ id = "a" }, { id = "b" }, { id = "c" }]
fallback = ["a"]
deadline = "1s"
choose = { policy = "thompson", reward = "click", floor = 0.05 }
record = { inputs = 1.0 }
"#;

const FLAG: &str = r#"
actions = [{ id = "off", payload = false }, { id = "on", payload = { colour = "red" } }]
fallback = ["off"]
deadline = "1s"
record = { inputs = 1.0 }
[[experiment]]
key = "flag"
unit = "subject"
overrides = { qa = "blue" }
arms = [
  { name = "control", weight = 50 },
  { name = "red", weight = 25, fallback = ["on"] },
  { name = "blue", weight = 25, fallback = ["on"], payloads = { on = { colour = "blue" } } },
]
"#;

async fn decide(node: &Node, placement: &str, subject: &str) -> Result<Value> {
    node.client().post("/v1/decide", &json!({"placement": placement, "subject": subject})).await?.ok()
}

async fn click(node: &Node, decision: &Value, id: &str) -> Result<()> {
    let event = json!({"name": "click", "message_id": id, "decision_id": decision["decision_id"]});
    node.client().post("/v1/events", &event).await?.ok()?;
    Ok(())
}

/// By action: how often it was chosen and rewarded, as the core has it.
async fn learned(rig: &Rig) -> Result<BTreeMap<String, (i64, i64)>> {
    let ran = rig.cli.run(["bandits", "show", "--json"]).await?;
    let report: Value = serde_json::from_str(&ran.stdout).with_context(|| format!("{ran:?}"))?;
    let bandits = report["bandits"].as_array().context("bandits")?;
    let Some(hero) = bandits.iter().find(|bandit| bandit["bandit"] == "hero") else { return Ok(BTreeMap::new()) };
    let of = |action: &Value| {
        let (trials, rewards) = (action["trials"].as_i64()?, action["rewards"].as_i64()?);
        Some((action["action"].as_str()?.to_owned(), (trials, rewards)))
    };
    hero["actions"].as_array().context("actions")?.iter().map(of).collect::<Option<_>>().context("an action")
}

/// Waits until the core has learned just this.
async fn learns(rig: &Rig, expected: &BTreeMap<String, (i64, i64)>) -> Result<()> {
    let mut last = None;
    let same = until("the core to have learned all", LIMIT, async || {
        last = Some(learned(rig).await);
        last.as_ref().is_some_and(|last| last.as_ref().is_ok_and(|last| last == expected)).then_some(())
    });
    same.await.with_context(|| format!("{last:?}, expected {expected:?}"))
}

#[test]
fn what_nodes_learn_is_merged_once_and_comes_back() -> Result<()> {
    crate::alone(async {
        let rig = Rig::start().await?;
        let shop = Shop::new(rig.path("shop"), "shop")?;
        shop.placement("hero", HERO)?.placement("flag", FLAG)?;
        let file = rig.pack(&shop).await?;
        let release = rig.deploy(&file).await?;
        let mut nodes = vec![rig.node("edge-1").await?, rig.node("edge-2").await?];
        for node in &nodes {
            node.runs(&release, LIMIT).await?;
        }
        let mut core = rig.core_bandits("bandits-0").await?;
        let mut random = Random::new(7);
        let mut expected: BTreeMap<String, (i64, i64)> = BTreeMap::new();
        for round in 0..240u32 {
            let at = (round % 2) as usize;
            let decision = decide(&nodes[at], "hero", "u-1").await?;
            let choice = &decision["choices"][0];
            let action = choice["id"].as_str().context("a choice")?.to_owned();
            ensure!(choice["propensity"].as_f64().is_some_and(|p| (0.05..=0.9).contains(&p)), "{decision}");
            let is_good = action == "b" && random.below(10) < 8;
            let known = expected.entry(action).or_default();
            known.0 += 1;
            known.1 += i64::from(is_good);
            if is_good {
                // On the node that decided, or on the other; and some are told twice.
                click(&nodes[random.below(2) as usize], &decision, &format!("click-{round}")).await?;
                if round % 5 == 0 {
                    click(&nodes[at], &decision, &format!("click-{round}-again")).await?;
                }
            }
            if round == 80 || round == 160 {
                // In the middle of it, without a word.
                core.kill()?;
                core = rig.core_bandits(&format!("bandits-{round}")).await?;
            }
            if round == 120 {
                // A record is on disk some milliseconds after its answer: what a kill may cost is no part of this.
                learns(&rig, &expected).await?;
                let spec = nodes.remove(0).kill()?;
                nodes.insert(0, Node::start(spec).await?);
                nodes[0].runs(&release, LIMIT).await?;
            }
        }
        learns(&rig, &expected).await?;

        // All nodes know it now: one is the best beyond doubt, the others have their floor.
        for node in &nodes {
            until("what was learned to be used", LIMIT, async || {
                let decision = decide(node, "hero", "u-2").await.ok()?;
                let choice = &decision["choices"][0];
                let p = choice["propensity"].as_f64()?;
                (choice["id"] == "b" && p > 0.89 && p <= 0.9 + 1e-9).then_some(())
            })
            .await?;
        }
        for switch in ["off", "on"] {
            let wrong = rig.cli.run(["bandits", switch, "heor"]).await?;
            ensure!(wrong.code == Some(2) && wrong.stderr.contains("did you mean \"hero\"?"), "{switch}: {wrong:?}");
        }
        let switched = rig.cli.run(["bandits", "off", "hero"]).await?;
        ensure!(switched.code == Some(0) && switched.stdout.contains("switched off in hero"), "{}", switched.stdout);
        for node in &nodes {
            until("the switch", LIMIT, async || {
                let decision = decide(node, "hero", "u-3").await.ok()?;
                (decision["choices"][0]["propensity"] == 1.0 && decision["choices"][0]["id"] == "b").then_some(())
            })
            .await?;
        }
        rig.cli.run(["bandits", "on"]).await?;
        until("the switch back", LIMIT, async || {
            let decision = decide(&nodes[0], "hero", "u-4").await.ok()?;
            (decision["choices"][0]["propensity"].as_f64()? < 0.95).then_some(())
        })
        .await?;

        // One that is started without the core knows what was learned, and keeps to the switch.
        rig.cli.run(["bandits", "off", "hero"]).await?;
        until("the switch on the other node", LIMIT, async || {
            let decision = decide(&nodes[1], "hero", "u-5").await.ok()?;
            (decision["choices"][0]["propensity"] == 1.0).then_some(())
        })
        .await?;
        let (mut spec, _) = nodes.remove(1).terminate().await?;
        let nats = std::mem::replace(&mut spec.nats, "nats://127.0.0.1:1".to_owned());
        let mut alone = Node::start(spec).await?;
        alone.runs(&release, LIMIT).await?;
        let decision = decide(&alone, "hero", "u-6").await?;
        let choice = &decision["choices"][0];
        // By the prior alone all are alike, and "a" is the first.
        ensure!(choice["id"] == "b" && choice["propensity"] == 1.0, "{decision}");
        let (mut spec, _) = alone.terminate().await?;
        spec.nats = nats;
        alone = Node::start(spec).await?;
        alone.runs(&release, LIMIT).await?;
        nodes.push(alone);
        rig.cli.run(["bandits", "on"]).await?;

        // Decided again from the records: the same, draws and assignments included.
        for at in 0..50 {
            decide(&nodes[at % 2], "flag", &format!("u-{at}")).await?;
        }
        let mut replayed = Value::Null;
        let again = until("the records to be replayed", LIMIT, async || {
            let file = file.display().to_string();
            let ran = rig.cli.run(["replay", "nats", "--release", &file, "--json"]).await.ok()?;
            replayed = serde_json::from_str(&ran.stdout).ok()?;
            (ran.code == Some(0) && replayed["replayed"].as_u64()? >= 290).then_some(())
        });
        again.await.with_context(|| replayed.to_string())?;
        ensure!(replayed["different"] == 0, "{replayed}");
        drop(core);
        Ok(())
    })
}

#[test]
fn a_person_has_one_arm_everywhere_and_gets_what_is_its() -> Result<()> {
    crate::alone(async {
        let rig = Rig::start().await?;
        let shop = Shop::new(rig.path("shop"), "shop")?;
        shop.placement("flag", FLAG)?;
        let release = rig.deploy(shop.folder()).await?;
        let nodes = [rig.node("edge-1").await?, rig.node("edge-2").await?];
        for node in &nodes {
            node.runs(&release, LIMIT).await?;
        }
        let mut arms: BTreeMap<String, u32> = BTreeMap::new();
        for at in 0..200 {
            let subject = format!("u-{at}");
            let (one, two) = (decide(&nodes[0], "flag", &subject).await?, decide(&nodes[1], "flag", &subject).await?);
            ensure!(one["arm"] == two["arm"] && one["experiment"] == "flag", "{one} {two}");
            let expected = match one["arm"].as_str() {
                Some("control") => json!(["off", false]),
                Some("red") => json!(["on", { "colour": "red" }]),
                _ => json!(["on", { "colour": "blue" }]),
            };
            let choice = &one["choices"][0];
            ensure!(json!([choice["id"], choice["payload"]]) == expected && one["reason"] == "ASSIGNED", "{one}");
            *arms.entry(one["arm"].as_str().unwrap_or_default().to_owned()).or_default() += 1;
        }
        ensure!(arms.len() == 3 && arms.values().all(|count| *count > 25), "{arms:?}");
        ensure!(decide(&nodes[0], "flag", "qa").await?["arm"] == "blue", "an override");
        Ok(())
    })
}

const BY_DEVICE: &str = r#"
actions = [{ id = "a" }, { id = "b" }, { id = "c" }]
fallback = ["a"]
deadline = "1s"
context = { mobile = "flag", hour = "number", country = "symbol" }
choose = { policy = "thompson", model = "logistic", reward = "click", floor = 0.02, features = [
  "context.mobile",
  { of = "context.hour", center = 12.0, scale = 6.0 },   # says nothing here
  { of = "context.country", is = ["DE", "FR"] },
] }
record = { inputs = 0.5 }
"#;

async fn decide_by_device(node: &Node, mobile: bool, hour: u32) -> Result<Value> {
    let context = json!({"mobile": mobile, "hour": hour, "country": "DE"});
    let body = json!({"placement": "hero", "subject": "u-1", "context": context});
    node.client().post("/v1/decide", &body).await?.ok()
}

/// Which action is best depends on the device, and a node that decided nothing knows it, too.
#[test]
fn what_is_best_for_whom_is_learned_by_a_model() -> Result<()> {
    crate::alone(async {
        let rig = Rig::start().await?;
        let shop = Shop::new(rig.path("shop"), "shop")?;
        shop.placement("hero", BY_DEVICE)?;
        let file = rig.pack(&shop).await?;
        let release = rig.deploy(&file).await?;
        let nodes = [rig.node("edge-1").await?, rig.node("edge-2").await?];
        for node in &nodes {
            node.runs(&release, LIMIT).await?;
        }
        let mut core = rig.core_bandits("bandits-0").await?;
        let mut random = Random::new(11);
        let mut expected: BTreeMap<String, (i64, i64)> = BTreeMap::new();
        for round in 0..240u32 {
            let mobile = random.below(2) == 1;
            let decision = decide_by_device(&nodes[0], mobile, random.below(24) as u32).await?;
            let action = decision["choices"][0]["id"].as_str().context("a choice")?.to_owned();
            let is_good = action == if mobile { "b" } else { "c" } && random.below(10) < 8;
            let known = expected.entry(action).or_default();
            known.0 += 1;
            known.1 += i64::from(is_good);
            if is_good {
                click(&nodes[random.below(2) as usize], &decision, &format!("click-{round}")).await?;
            }
            if round == 120 {
                core.kill()?;
                core = rig.core_bandits("bandits-1").await?;
            }
        }
        learns(&rig, &expected).await?;
        for node in &nodes {
            for (mobile, best) in [(true, "b"), (false, "c")] {
                let mut last = Value::Null;
                let found = until("what was learned to be used", LIMIT, async || {
                    last = decide_by_device(node, mobile, 12).await.ok()?;
                    let choice = &last["choices"][0];
                    (choice["id"] == best && choice["propensity"].as_f64()? > 0.9).then_some(())
                });
                found.await.with_context(|| format!("{mobile}: {last}"))?;
            }
        }
        let mut replayed = Value::Null;
        let again = until("the records to be replayed", LIMIT, async || {
            let file = file.display().to_string();
            let ran = rig.cli.run(["replay", "nats", "--release", &file, "--json"]).await.ok()?;
            replayed = serde_json::from_str(&ran.stdout).ok()?;
            (ran.code == Some(0) && replayed["replayed"].as_u64()? >= 100).then_some(())
        });
        again.await.with_context(|| replayed.to_string())?;
        ensure!(replayed["different"] == 0, "{replayed}");
        drop(core);
        Ok(())
    })
}

/// Both used to go on, each writing over what the other had read, and nobody was told but whoever read the log.
#[test]
fn of_two_that_merge_one_ends_and_the_other_goes_on() -> Result<()> {
    crate::alone(async {
        let rig = Rig::start().await?;
        let shop = Shop::new(rig.path("shop"), "shop")?;
        shop.placement("hero", HERO)?;
        let release = rig.deploy(shop.folder()).await?;
        let node = rig.node("edge-1").await?;
        node.runs(&release, LIMIT).await?;
        let mut expected: BTreeMap<String, (i64, i64)> = BTreeMap::new();
        let mut decided = async || -> Result<()> {
            let decision = decide(&node, "hero", "u-1").await?;
            let action = decision["choices"][0]["id"].as_str().context("a choice")?.to_owned();
            expected.entry(action).or_default().0 += 1;
            Ok(())
        };
        let first = rig.core_bandits("first").await?;
        decided().await?;
        let mut both = [first, rig.core_bandits("second").await?];
        let ended = until("one of them to end", LIMIT, async || {
            if let Err(failed) = decided().await {
                return Some(Err(failed));
            }
            both.iter_mut().position(|one| !one.running()).map(Ok)
        });
        let ended = ended.await??;
        let told = both[ended].log()?;
        let other = &mut both[1 - ended];
        let name = format!("another `core bandits`, process {} since 2", other.pid());
        ensure!(told.contains(&name) && told.contains("so this one ends"), "{told}");
        for _ in 0..20 {
            decided().await?;
        }
        ensure!(other.running(), "the other goes on: {}", other.log_tail());

        // Killed without a word, whoever is started in its place goes on at once.
        other.kill()?;
        let mut third = rig.core_bandits("third").await?;
        decided().await?;
        learns(&rig, &expected).await?;
        ensure!(third.running(), "{}", third.log_tail());
        Ok(())
    })
}
