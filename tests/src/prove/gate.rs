//! `selvedge deploy --gate`: releases that are bad on purpose are stopped, the channel stays where it is, and harmless ones go out. What
//! is bad, and by how much, follows from the seed.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::json;

use super::{Findings, Scale};
use crate::harness::node::CHANNEL;
use crate::harness::shop::{FEATURES, Shop};
use crate::harness::stream::Stream;
use crate::harness::{Random, Rig, until};
use crate::modules;

const LIMIT: Duration = Duration::from_secs(60);
const DECISIONS: usize = 300;

const GATE: &str = r#"
[every]
min_decisions = 100
max_changed = 0.05
max_fallback_increase = 0.01
max_empty_increase = 0.01
max_cpu_ratio = 20.0
"#;

/// What a release of the shop is like.
#[derive(Debug, Clone)]
struct Wish {
    /// Of the score: price, category, the person's value.
    weights: [f64; 3],
    intercept: f64,
    ladder: String,
    /// More of the placement.
    placement: String,
    /// More of the model.
    model: String,
    features: String,
    rules: Option<&'static str>,
    hostile: Option<&'static str>,
    has_hero: bool,
    scorer: &'static str,
}

impl Default for Wish {
    fn default() -> Self {
        Self {
            weights: [-0.013, 0.7, 0.001],
            intercept: 0.3,
            ladder: "[\"rank\"]".to_owned(),
            placement: "deadline = \"20ms\"\nrecord = { inputs = 1.0 }".to_owned(),
            model: String::new(),
            features: String::new(),
            rules: None,
            hostile: None,
            has_hero: true,
            scorer: "rank",
        }
    }
}

pub(super) async fn run(scale: Scale) -> Result<Findings> {
    let each = scale.pick(20, 3);
    let mut random = Random::new(scale.seed);
    let mut findings = Findings::default();
    let rig = Rig::start().await?;
    traffic(&rig, &mut random).await?;
    let gate = rig.path("gate.toml");
    std::fs::write(&gate, GATE)?;
    for at in 0..each {
        let (what, wish) = bad(at, &mut random);
        let before = rig.counter().await?;
        let (passed, told) = deploy(&rig, &gate, &format!("bad-{at}"), &wish).await?;
        findings.check(!passed, || format!("bad {at}: {what}: {wish:?} was deployed: {told}"));
        findings.check(rig.counter().await? == before, || format!("bad {at}: {what}: the channel moved"));
        let why = told.lines().skip_while(|line| *line != "gate: stopped").nth(1).unwrap_or_default().trim();
        findings.note(format!("{what}: {}", why.chars().take(160).collect::<String>()));
        let (what, wish) = harmless(at, &mut random);
        let (passed, told) = deploy(&rig, &gate, &format!("harmless-{at}"), &wish).await?;
        findings.check(passed, || format!("harmless {at}: {what}: {wish:?} was stopped: {told}"));
    }
    Ok(findings)
}

/// A release that does harm, and what.
fn bad(at: usize, random: &mut Random) -> (&'static str, Wish) {
    let some = 1.0 + random.unit();
    let wish = Wish::default();
    match at % 8 {
        0 => ("the score turned round", Wish { weights: [0.013 * some, -0.7 * some, -0.001], ..wish }),
        1 => ("a scorer that traps", Wish { hostile: Some("trap"), ladder: "[\"trap\"]".into(), ..wish }),
        2 => ("a placement that is gone", Wish { has_hero: false, ..wish }),
        3 => {
            let model = format!(
                "[[input]]\nname = \"item.margin\"\nscope = \"candidate\"\ntype = \"number\"\nweight = {some}\n"
            );
            let features = "margin = { type = \"number\", default = 0.0 }\n".to_owned();
            ("a feature that no record has", Wish { model, features, ..wish })
        }
        4 => (
            "a scorer that never ends",
            Wish { hostile: Some("endless_loop"), ladder: "[\"endless_loop\"]".into(), ..wish },
        ),
        5 => (
            "rules that let nothing through",
            Wish { rules: Some("item.price: number,> eligible\n> 0,false\n,false\n"), ..wish },
        ),
        6 => {
            let share = 50 + 12 * random.below(3);
            let placement = format!(
                "{}\n[[experiment]]\nkey = \"half\"\nunit = \"session\"\narms = [{{ name = \"a\", weight = {} }}, \
                 {{ name = \"b\", weight = {}, ladder = [\"trap\"] }}]\n",
                wish.placement,
                100 - share,
                share
            );
            ("an arm that traps", Wish { placement, hostile: Some("trap"), ..wish })
        }
        _ => (
            "rules that push the dear",
            Wish {
                rules: Some("item.price: number,> boost: number\n> 100,50\n,1\n"),
                weights: [-0.001, 0.2, 0.0],
                intercept: 3.0,
                ..wish
            },
        ),
    }
}

/// A release that does none, and what is new in it.
fn harmless(at: usize, random: &mut Random) -> (&'static str, Wish) {
    let some = 1.0 + random.unit();
    let wish = Wish::default();
    match at % 8 {
        0 => ("another intercept", Wish { intercept: some, ..wish }),
        1 => ("the same score on another scale", Wish { weights: wish.weights.map(|weight| weight * some), ..wish }),
        2 => (
            "a rung that is not reached",
            Wish { ladder: "[\"rank\", \"trap\"]".into(), hostile: Some("trap"), ..wish },
        ),
        3 => ("another name of the model", Wish { scorer: "rank-again", ladder: "[\"rank-again\"]".into(), ..wish }),
        4 => ("a feature that nobody reads", Wish { features: "margin = \"number\"\n".into(), ..wish }),
        5 => (
            "rules that let all through",
            Wish { rules: Some("item.price: number,> eligible\n> -1,true\n,true\n"), ..wish },
        ),
        6 => {
            let share = 50 + 12 * random.below(3);
            let placement = format!(
                "{}\n[[experiment]]\nkey = \"none\"\nunit = \"session\"\narms = [{{ name = \"a\", weight = {} }}, {{ name = \"b\", weight = {} }}]\n",
                wish.placement,
                100 - share,
                share
            );
            ("an experiment between the same", Wish { placement, ..wish })
        }
        _ => (
            "another deadline, fewer records",
            Wish { placement: "deadline = \"50ms\"\nrecord = { inputs = 0.5 }".into(), ..wish },
        ),
    }
}

/// Deploys through the gate: whether it went out, and what was said.
async fn deploy(rig: &Rig, gate: &Path, name: &str, wish: &Wish) -> Result<(bool, String)> {
    let shop = shop(rig.path(name), wish)?;
    let key = rig.key();
    let args = ["deploy".as_ref(), shop.folder().as_os_str(), "--to".as_ref(), CHANNEL.as_ref(), "--key".as_ref()];
    let args = args.into_iter().chain([
        key.as_os_str(),
        "--gate".as_ref(),
        gate.as_os_str(),
        "--replay".as_ref(),
        "nats".as_ref(),
    ]);
    let ran = rig.cli.run(args).await?;
    let told = format!("{}{}", ran.stdout, ran.stderr);
    ensure!(ran.code == Some(0) || told.contains("gate: stopped"), "{name}: exit {:?}: {told}", ran.code);
    Ok((ran.code == Some(0), told))
}

/// Deploys the shop as it should be, and has it decide.
async fn traffic(rig: &Rig, random: &mut Random) -> Result<()> {
    let items: Vec<String> = (0..30).map(|at| format!("sku-{at}")).collect();
    let rows: Vec<_> = items
        .iter()
        .map(|item| {
            let category = *random.pick(&["shoes", "shirts"]);
            json!({"_key": item, "price": random.unit() * 200.0, "stock": random.below(9) as f64, "category": category})
        })
        .collect();
    rig.push("item", rows).await?;
    let users = (0..50).map(|at| json!({"_key": format!("u-{at}"), "segment": "vip", "value": f64::from(at) * 7.77}));
    rig.push("user", users.collect::<Vec<_>>()).await?;
    let release = rig.deploy(shop(rig.path("base"), &Wish::default())?.folder()).await?;
    let node = rig.node("edge-1").await?;
    node.runs(&release, LIMIT).await?;
    node.wait_for("ready", LIMIT).await?;
    let mut client = node.client();
    for at in 0..DECISIONS {
        let mut candidates = items.clone();
        candidates.rotate_left(random.below(30) as usize);
        candidates.truncate(5 + random.below(8) as usize);
        let (subject, session) = (format!("u-{}", random.below(60)), format!("s-{at}"));
        let rank = json!({"placement": "plp-rank", "subject": subject, "session": session, "candidates": candidates,
            "context": {"provoke": 1.0}});
        let hero = json!({"placement": "home-hero", "subject": subject, "session": session,
            "context": {"country": "DE", "cart_value": random.unit() * 100.0}});
        for request in [rank, hero] {
            client.post("/v1/decide", &request).await?.ok().context("a decision")?;
        }
    }
    let mut stream = Stream::open(&rig.nats.url()).await?;
    until("every record to arrive", LIMIT, async || {
        stream.read_on().await.ok()?;
        (stream.records.len() >= 2 * DECISIONS).then_some(())
    })
    .await
}

fn shop(folder: PathBuf, wish: &Wish) -> Result<Shop> {
    let shop = Shop::new(folder, "gated")?;
    shop.file("release.toml", "name = \"gated\"\n[guard]\nmax_fault_rate = 1.0\n")?;
    shop.file("features.toml", format!("{FEATURES}{}", wish.features))?;
    let rules = if wish.rules.is_some() { "rules = [\"push\"]\n" } else { "" };
    let Wish { ladder, placement, .. } = wish;
    shop.placement(
        "plp-rank",
        &format!(
            "context = {{ provoke = \"number\" }}\ncandidates = {{ view = \"item\", from = \"request\" }}\nslots = 3\n{rules}ladder = {ladder}\nfallback = {{ by = \"item.stock\" }}\n{placement}\n"
        ),
    )?;
    let [price, shoes, value] = wish.weights;
    let model = format!(
        "link = \"logistic\"\nintercept = {}\n[[input]]\nname = \"item.price\"\nscope = \"candidate\"\ntype = \"number\"\nweight = {price}\n\
         [[input]]\nname = \"item.category\"\nscope = \"candidate\"\ntype = \"symbol\"\nweights = {{ shoes = {shoes} }}\n\
         [[input]]\nname = \"user.value\"\nscope = \"shared\"\ntype = \"number\"\nweight = {value}\n\
         [[input]]\nname = \"context.provoke\"\nscope = \"shared\"\ntype = \"number\"\nweight = 0.0\n{}",
        wish.intercept, wish.model
    );
    shop.model(wish.scorer, &model)?;
    if let Some(rules) = wish.rules {
        shop.file("modules/push.csv", format!("# name: Push\n{rules}"))?;
    }
    if let Some(hostile) = wish.hostile {
        shop.module(hostile, &modules::hostile(hostile)?)?;
    }
    if wish.has_hero {
        let hero = "context = { country = \"symbol\", cart_value = \"number\" }\nactions = [{ id = \"ship\" }, { id = \"vip\" }, { id = \"plain\" }]\n\
             deadline = \"20ms\"\nladder = [\"hero\"]\nfallback = [\"plain\"]\nrecord = { inputs = 1.0 }\n";
        shop.placement("home-hero", hero)?;
        shop.model(
            "hero",
            "link = \"identity\"\nintercept = 0.0\n[[input]]\nname = \"candidate.id\"\nscope = \"candidate\"\ntype = \"symbol\"\n\
             weights = { ship = 1.0, vip = 0.5 }\n[[input]]\nname = \"context.cart_value\"\nscope = \"shared\"\ntype = \"number\"\nweight = 0.1\n",
        )?;
    }
    Ok(shop)
}
