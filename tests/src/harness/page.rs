//! Scripts that drive real browsers (`tests/javascript/browser`): the tools they need, a shop whose placements pages may ask for, and
//! what the core has to hold afterwards.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

use super::shop::{Shop, number};
use super::stream::Stream;
use super::{Node, Rig, binary, process, until};

const LIMIT: Duration = Duration::from_secs(60);
/// Any will do: the nodes of these tests have no keys.
const KEY: &str = "pk_test";

/// What scripts of pages run with.
#[derive(Debug)]
pub struct Pages {
    /// Node.js.
    program: PathBuf,
    /// The folder of the scripts, with the packages they need.
    folder: PathBuf,
    /// The SDK, built.
    dist: PathBuf,
}

// === impl Pages ===

impl Pages {
    /// The tools, and the scripts beside their packages; none where `./x` never installed them, which is said.
    pub fn find() -> Result<Option<Self>> {
        let (Some((program, folder)), Some(sdk)) = (binary::javascript("browser")?, binary::sdk()?) else {
            println!("there is no Node.js with browsers' drivers or no built SDK here: `./x test` makes them");
            return Ok(None);
        };
        for file in std::fs::read_dir(binary::repository().join("tests/javascript/browser"))? {
            let path = file?.path();
            if path.extension().is_some_and(|extension| extension == "mjs") {
                std::fs::copy(&path, folder.join(path.file_name().context("no name")?))?;
            }
        }
        Ok(Some(Self { program, folder, dist: sdk.join("dist") }))
    }

    /// Runs a script in the browser called `browser`; its last line, as JSON. None where there is no such browser, which is said.
    pub async fn run(
        &self,
        script: &str,
        browser: &str,
        node: SocketAddr,
        more: &[String],
        limit: Duration,
    ) -> Result<Option<Value>> {
        let Some(executable) = binary::browser(browser)? else {
            println!("there is no {browser} here: `./x test` installs it");
            return Ok(None);
        };
        let mut command = Command::new(&self.program);
        command.arg(self.folder.join(script)).arg(browser).arg(executable).arg(&self.dist);
        command.arg(format!("http://{node}")).arg(KEY).args(more);
        let (status, stdout, stderr) = process::run(script, command, limit).await?;
        ensure!(status.success(), "{script} in {browser}: {status}\n{stdout}\n{stderr}");
        let last = stdout.lines().last().with_context(|| format!("{script} printed nothing"))?;
        serde_json::from_str(last).with_context(|| format!("{script} printed {last:?}")).map(Some)
    }
}

/// A node with a shop that pages may ask: `hero` by a model, `theme` by an order, `rank` of named items, `split` by an experiment, and
/// `inside`, which is not for pages.
pub async fn node(rig: &Rig) -> Result<Node> {
    rig.push("user", [json!({"_key": "u-1", "value": 7.0})]).await?;
    rig.push("item", (1..=3).map(|at| json!({"_key": format!("sku-{at}"), "price": f64::from((at * 2) % 5)}))).await?;
    let shop = Shop::new(rig.path("shop"), "pages")?;
    let hero = r#"
browser = true
context = { country = "symbol", cart_value = "number" }
actions = [{ id = "plain", payload = { banner = "plain.svg" } }, { id = "vip", payload = { banner = "vip.svg" } }]
deadline = "1s"
fallback = ["plain"]
"#;
    shop.placement("hero", &format!("{hero}ladder = [\"value\"]\n"))?;
    shop.placement("inside", &format!("{}ladder = [\"value\"]\n", hero.replace("browser = true", "")))?;
    let arms = "[{ name = \"a\", weight = 50 }, { name = \"b\", weight = 50, ladder = [\"value\"] }]";
    shop.placement("split", &format!("{hero}[[experiment]]\nkey = \"split\"\nunit = \"subject\"\narms = {arms}\n"))?;
    shop.placement(
        "theme",
        "browser = true\nactions = [{ id = \"dark\" }, { id = \"light\" }]\nfallback = [\"dark\"]\n",
    )?;
    let rank = "ladder = [\"price\"]\ndeadline = \"1s\"\nfallback = { by = \"item.stock\" }\n";
    shop.placement("rank", &format!("browser = true\ncandidates = {{ view = \"item\", from = \"request\" }}\n{rank}"))?;
    let vip = "[[input]]\nname = \"candidate.id\"\nscope = \"candidate\"\ntype = \"symbol\"\nweights = { vip = 0.5 }\n";
    let value = number("user.value", "shared", 1.0) + &number("context.cart_value", "shared", 0.0);
    shop.model("value", &format!("link = \"identity\"\n{vip}{value}"))?;
    shop.model("price", &format!("link = \"identity\"\nrows = 4096\n{}", number("item.price", "candidate", 1.0)))?;
    let release = rig.deploy(shop.folder()).await?;
    let node = rig.node("edge-1").await?;
    node.runs(&release, LIMIT).await?;
    let mut client = node.client();
    let ask = json!({"placement": "rank", "candidates": ["sku-1", "sku-2"], "slots": 1});
    let ready = until("every item to be held", LIMIT, async || {
        let answer = client.post("/v1/decide", &ask).await.ok()?.ok().ok()?;
        (answer["choices"][0]["id"] == "sku-2").then_some(())
    });
    ready.await?;
    Ok(node)
}

/// How often each number `n` is among the properties of the core's events, once those that must be there are, or after a while.
pub async fn counted(rig: &Rig, must: &[u64]) -> Result<(Stream, BTreeMap<u64, u32>)> {
    let mut stream = Stream::open(&rig.nats.url()).await?;
    let mut times = BTreeMap::new();
    let arrived = until("every event to arrive at the core", LIMIT, async || {
        stream.read_on().await.ok()?;
        times.clear();
        for event in &stream.events {
            let properties: Value = serde_json::from_str(&event.properties).unwrap_or_default();
            if let Some(n) = properties["n"].as_u64() {
                *times.entry(n).or_default() += 1;
            }
        }
        must.iter().all(|n| times.contains_key(n)).then_some(())
    });
    // What did not arrive is the caller's to name.
    drop(arrived.await);
    Ok((stream, times))
}
