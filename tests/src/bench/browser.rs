//! Deciding in the page. The engine, its JavaScript and the modules as a page has them, in Chromium and in Node.js: from the question as an
//! object to the answer as an object, with the record that goes back. And by the SDK in Chromium: a whole setContext, and the time until a
//! page's first decision.

use std::fmt::Write;
use std::net::SocketAddr;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::{Map, Value, json};

use super::measure::median;
use super::{Effort, Line};
use crate::harness::page::Pages;
use crate::harness::shop::Shop;
use crate::harness::{Random, Rig, binary, process, until, xgboost};

const LIMIT: Duration = Duration::from_secs(60);
const FEATURES: usize = 100;
const RULES: usize = 20;
/// Decisions of a round.
const DECISIONS: usize = 20_000;
/// And between two looks at a page's clock, which is coarse.
const TOGETHER: usize = 50;
const BY_THE_SDK: usize = 2_000;
/// What a decision may take, and the first one of a page, in microseconds.
const DECIDE_US: f64 = 60.0;
const FIRST_US: f64 = 50_000.0;
const NO_PAGES: &str = "no SDK, no browser or no driver of one here: `./x bench browser` installs them";

const HERO: &str = r#"
browser = true
actions = [{ id = "a" }, { id = "b" }, { id = "c" }]
deadline = "50ms"
rules = ["rules"]
ladder = ["trees"]
fallback = ["a"]
"#;

pub(super) async fn run(effort: Effort) -> Result<Vec<Line>> {
    let (program, engine) =
        binary::engine()?.context("no engine of pages: run `./x bench browser`, which builds it")?;
    let rig = Rig::start().await?;
    let mut random = Random::new(3);
    let row: Map<String, Value> =
        (0..FEATURES).map(|at| (format!("f{at:03}"), json!(random.unit() * 2.0 - 1.0))).collect();
    let mut row = Value::Object(row);
    row["_key"] = json!("u-1");
    rig.push("user", vec![row]).await?;
    let release = rig.deploy(shop(&rig)?.folder()).await?;
    let node = rig.node("page").await?;
    node.runs(&release, LIMIT).await?;
    until("the row", LIMIT, async || (node.view("user").await.ok()?["entities"].as_u64()? >= 1).then_some(())).await?;

    let task = |together: usize, times: usize| {
        json!({
            "base": format!("http://{}", node.http), "subject": "u-1", "steps": ["decide"],
            "request": {"subject": "u-1", "context": {}, "placements": [{"placement": "hero"}]},
            "repeat": effort.scale(times), "together": together,
        })
    };
    let (mut in_node, mut in_page) = (Quantiles::default(), Quantiles::default());
    let pages = Pages::find()?.context(NO_PAGES)?;
    for _ in 0..effort.rounds {
        let mut command = Command::new(&program);
        command.arg(engine.join("in_node.mjs")).arg(engine.join("engine_bg.wasm")).arg("local");
        command.arg(task(1, DECISIONS).to_string());
        let (status, stdout, stderr) = process::run("in_node.mjs", command, LIMIT).await?;
        ensure!(status.success(), "{stderr}");
        in_node.add(&serde_json::from_str(&stdout)?)?;

        let engine = engine.to_str().context("a path that is no text")?.to_owned();
        let more = [engine, "local".to_owned(), task(TOGETHER, DECISIONS).to_string()];
        let told = pages.run("engine.mjs", "chromium", node.http, &more, LIMIT).await?;
        in_page.add(&told.context(NO_PAGES)?)?;
    }
    let ((node_p50, node_p99), (p50, p99)) = (in_node.median(), in_page.median());
    let what = format!("in Chromium, means of {TOGETHER} in turn; record included");
    let mut lines = vec![
        Line::time("decide in a page: 20 rules, 100 trees over 100 features", (p50, p99), p50, DECIDE_US, what),
        Line::reported("the same in Node.js", (node_p50, node_p99), "p50, record included"),
    ];
    lines.extend(by_the_sdk(&pages, node.http, effort).await?);
    Ok(lines)
}

/// What runs of the engine told of their decisions' times.
#[derive(Default)]
struct Quantiles {
    p50: Vec<f64>,
    p99: Vec<f64>,
}

impl Quantiles {
    fn add(&mut self, told: &Value) -> Result<()> {
        ensure!(told["told"][0]["answer"]["decisions"][0]["reason"] == "SCORED", "not scored: {told}");
        let number = |key: &str| told["time"][key].as_f64().context("a time");
        self.p50.push(number("p50_us")?);
        self.p99.push(number("p99_us")?);
        Ok(())
    }

    fn median(self) -> (f64, f64) {
        (median(self.p50), median(self.p99))
    }
}

async fn by_the_sdk(pages: &Pages, node: SocketAddr, effort: Effort) -> Result<Vec<Line>> {
    let counts = [effort.rounds.to_string(), effort.scale(BY_THE_SDK).to_string()];
    let told = pages.run("local_speed.mjs", "chromium", node, &counts, 5 * LIMIT).await?;
    let told = told.context(NO_PAGES)?;
    let quantiles = |key: &str| -> Result<(f64, f64)> {
        let list = told[key].as_array().with_context(|| format!("no {key:?} in {told}"))?;
        let mut list: Vec<f64> = list.iter().filter_map(Value::as_f64).collect();
        list.sort_by(f64::total_cmp);
        let at = |q: f64| list.get((list.len() as f64 * q) as usize).or(list.last()).copied();
        at(0.5).zip(at(0.99)).with_context(|| format!("nothing was measured: {told}"))
    };
    let (each, first, bare) = (quantiles("each")?, quantiles("first")?, quantiles("bare")?);
    let what = format!(
        "p50, from createClient on; release and rows fetched, SDK, engine and modules in the browser's cache; the files alone {:.0} us",
        bare.0
    );
    Ok(vec![
        Line::reported(
            "setContext in a page that decides by itself",
            each,
            "p50, 50 in turn: decided anew, recorded, kept for the next page",
        ),
        Line::time("first decision of a page in Chromium", first, first.0, FIRST_US, what),
    ])
}

fn shop(rig: &Rig) -> Result<Shop> {
    let shop = Shop::new(rig.path("page"), "page")?;
    let mut features = String::from("[view.user]\nby = \"subject\"\nbrowser = true\n[view.user.features]\n");
    for at in 0..FEATURES {
        writeln!(features, "f{at:03} = \"number\"")?;
    }
    let mut rules = String::from("user.f000: number,user.f001: number,candidate.id: symbol,> boost: number\n");
    for at in 0..RULES {
        let from = at as f64 / 10.0 - 1.0;
        writeln!(
            rules,
            "[{from:.1}..{:.1}),> {:.2},{},{:.2}",
            from + 0.1,
            -0.9,
            ["a", "b", "c"][at % 3],
            1.0 + from / 2.0
        )?;
    }
    let names: Vec<String> = (0..FEATURES).map(|at| format!("user.f{at:03}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    shop.file("features.toml", features)?.file("modules/rules.csv", rules)?.placement("hero", HERO)?;
    shop.file("modules/trees.json", xgboost::model(&names, 100, 6, 1))?;
    Ok(shop)
}
