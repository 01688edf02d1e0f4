//! The browser SDK: its own tests, and pages in real browsers against a real node.

use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use selvedge_suite::harness::page::{self, Pages};
use selvedge_suite::harness::shop::{Shop, number};
use selvedge_suite::harness::{Rig, binary, process, until};
use serde_json::{Value, json};

const LIMIT: Duration = Duration::from_secs(180);

/// The SDK's own tests: what needs neither page nor node, and that the documentation says what the types say.
#[test]
fn unit_tests() -> Result<()> {
    crate::alone(async {
        let (Some((program, _)), Some(folder)) = (binary::javascript("sdk")?, binary::sdk()?) else {
            println!("there is no built SDK here: `./x test` builds it");
            return Ok(());
        };
        let mut command = Command::new(program);
        command.arg("--test").arg("test/").current_dir(&folder).env("SELVEDGE_REPOSITORY", binary::repository());
        let (status, stdout, stderr) = process::run("node --test", command, LIMIT).await?;
        ensure!(status.success(), "{stdout}\n{stderr}");
        Ok(())
    })
}

/// A page decides, is told of as seen once, tracks, goes offline and comes back, and starts from what was kept; the core counts it once.
#[test]
fn pages_in_chromium() -> Result<()> {
    crate::alone(page_in("chromium"))
}

/// The same page in Firefox.
#[test]
fn pages_in_firefox() -> Result<()> {
    crate::alone(page_in("firefox"))
}

async fn page_in(browser: &str) -> Result<()> {
    let Some(pages) = Pages::find()? else { return Ok(()) };
    let rig = Rig::start().await?;
    let node = page::node(&rig).await?;
    let Some(told) = pages.run("page.mjs", browser, node.http, &[], LIMIT).await? else { return Ok(()) };
    let tracked: Vec<u64> =
        told["tracked"].as_array().context("nothing tracked")?.iter().filter_map(Value::as_u64).collect();
    let (stream, times) = page::counted(&rig, &tracked).await?;
    for n in &tracked {
        ensure!(times.get(n) == Some(&1), "event {n} was counted {:?} times: {times:?}", times.get(n));
    }
    let hero = told["hero"].as_str().context("no decision")?;
    let of = |name: &str| stream.events.iter().filter(|event| event.name == name).collect::<Vec<_>>();
    let is_hero = |id: &selvedge_decision::DecisionId| id.to_string() == hero;
    let exposures = of("$exposure").into_iter().filter(|event| event.decision_id.as_ref().is_some_and(is_hero)).count();
    ensure!(exposures == 1, "{exposures} exposures of {hero}");
    let follows = of("select_promotion");
    let right = follows.len() == 1 && follows[0].decision_id.as_ref().is_some_and(is_hero);
    ensure!(right && follows[0].item.as_deref() == Some("vip"), "{follows:?}");
    ensure!(follows[0].subject.as_deref() == told["subject"].as_str(), "{follows:?}");
    Ok(())
}

/// A page that the server rendered starts from what it decided: no request, no flicker, what was shown told once.
#[test]
fn server_rendering() -> Result<()> {
    crate::alone(script("rendered.mjs"))
}

/// OpenFeature's own SDK for pages over the provider: values, events, another context, tracking.
#[test]
fn openfeature_provider() -> Result<()> {
    crate::alone(script("openfeature.mjs"))
}

/// Whatever is wrong, a page has its defaults, one warning, and no exception.
#[test]
fn what_is_wrong_is_a_warning() -> Result<()> {
    crate::alone(script("wrong.mjs"))
}

/// A page that comes back out of the browser's cache of pages goes on, and tells everything once.
#[test]
fn a_page_that_comes_back() -> Result<()> {
    crate::alone(script("restored.mjs"))
}

/// Two pages and two tabs of one visitor: who they are in each, and what the core is told of them.
#[test]
fn one_visitor_over_pages_and_tabs() -> Result<()> {
    crate::alone(async {
        let Some(pages) = Pages::find()? else { return Ok(()) };
        let rig = Rig::start().await?;
        let node = page::node(&rig).await?;
        let Some(told) = pages.run("visitors.mjs", "chromium", node.http, &[], LIMIT).await? else { return Ok(()) };
        let (stream, times) = page::counted(&rig, &[1, 2, 3, 4, 5, 6]).await?;
        ensure!(!times.contains_key(&7), "told after it was taken back: {times:?}");
        for n in 1..=6 {
            let found = stream.events.iter().find(|event| {
                let properties: Value = serde_json::from_str(&event.properties).unwrap_or_default();
                properties["n"] == n
            });
            let event = found.with_context(|| format!("event {n} is not at the core: {times:?}"))?;
            ensure!(event.subject.as_deref() == told["told"][n.to_string()].as_str(), "{n}: {event:?}, not {told}");
            let (decision, item) = (event.decision_id.as_ref().map(ToString::to_string), event.item.as_deref());
            match n {
                5 => ensure!(decision.as_deref() == told["decision"].as_str() && item == Some("dark"), "{event:?}"),
                6 => ensure!(decision.is_none() && item == Some("sku-7"), "{event:?}"),
                _ => ensure!(decision.is_none(), "{event:?}"),
            }
        }
        Ok(())
    })
}

/// A page that decides by itself, through the client: what it asks, that its records come once, other visitors, another release.
#[test]
fn a_page_decides_by_itself() -> Result<()> {
    crate::alone(async {
        let Some(pages) = Pages::find()? else { return Ok(()) };
        let engine = binary::sdk()?.map(|folder| folder.join("dist/engine.wasm"));
        if engine.is_none_or(|file| !file.is_file()) || binary::browser("chromium")?.is_none() {
            println!("no engine of pages in the SDK, or no Chromium: `./x test` makes them");
            return Ok(());
        }
        let rig = Rig::start().await?;
        let users = [("u-1", 7.0), ("u-2", 2.0), ("u-3", 3.0)].map(|(key, value)| json!({"_key": key, "value": value}));
        rig.push("user", users).await?;
        rig.push("item", (1..=3).map(|at| json!({"_key": format!("sku-{at}"), "price": at}))).await?;
        let node = rig.node("edge-1").await?;
        node.runs(&rig.deploy(&local_shop(&rig, "first")?).await?, LIMIT).await?;
        until("the items", LIMIT, async || (node.view("item").await.ok()?["entities"].as_u64()? >= 3).then_some(()))
            .await?;
        let swap = async {
            page::counted(&rig, &[1]).await?;
            rig.deploy(&local_shop(&rig, "second")?).await
        };
        let (told, swapped) = tokio::join!(pages.run("local.mjs", "chromium", node.http, &[], LIMIT), swap);
        let told = told?.context("the script told nothing")?;
        swapped?;
        let tracked: Vec<u64> =
            told["tracked"].as_array().context("tracked")?.iter().filter_map(Value::as_u64).collect();
        let made: Vec<&str> = told["made"].as_array().context("made")?.iter().filter_map(Value::as_str).collect();
        ensure!(made.len() == 7, "{told}");
        let (mut stream, times) = page::counted(&rig, &tracked).await?;
        ensure!(tracked.iter().all(|n| times.get(n) == Some(&1)), "{times:?}");
        let arrived = until("every record to arrive", LIMIT, async || {
            stream.read_on().await.ok()?;
            let is_there = |id: &&str| stream.records.iter().any(|record| record.id.to_string() == **id);
            made.iter().all(is_there).then_some(())
        });
        arrived.await.with_context(|| format!("{made:?}"))?;
        for id in made {
            let of: Vec<_> = stream.records.iter().filter(|record| record.id.to_string() == id).collect();
            ensure!(of.len() == 1 && of[0].id.is_of_a_page(), "{id}: {of:?}");
        }
        // What followed from a page's own decision names it, though a node has no token for it.
        let follows = stream.events.iter().find(|event| event.name == "select_promotion").context("what followed")?;
        ensure!(follows.decision_id.is_some_and(|id| id.is_of_a_page()), "{follows:?}");
        Ok(())
    })
}

/// A shop whose placements pages decide: `hero` by a value of the visitor's, saying `text`; `plain` by an order; `list` of named items.
fn local_shop(rig: &Rig, text: &str) -> Result<PathBuf> {
    let shop = Shop::new(rig.path(text), text)?;
    let views = r#"
[view.user]
by = "subject"
browser = true
[view.user.features]
value = { type = "number", default = 0.0 }
[view.item]
by = "item"
browser = true
[view.item.features]
price = "number"
"#;
    shop.file("features.toml", views)?;
    let actions = format!("actions = [{{ id = \"one\", payload = {{ text = {text:?} }} }}]\nfallback = [\"one\"]\n");
    let deadline = "browser = true\ndeadline = \"1s\"\n";
    shop.placement(
        "hero",
        &format!("{deadline}context = {{ country = \"symbol\" }}\nladder = [\"value\"]\n{actions}"),
    )?;
    shop.placement("plain", &format!("browser = true\n{actions}"))?;
    let named = "candidates = { view = \"item\", from = \"request\" }\nfallback = { by = \"item.price\" }\n";
    shop.placement("list", &format!("{deadline}{named}slots = 2\nladder = [\"price\"]\n"))?;
    shop.model("value", &format!("link = \"identity\"\n{}", number("user.value", "shared", 1.0)))?;
    shop.model("price", &format!("link = \"identity\"\nrows = 4096\n{}", number("item.price", "candidate", 1.0)))?;
    Ok(shop.folder().to_owned())
}

async fn script(name: &str) -> Result<()> {
    let Some(pages) = Pages::find()? else { return Ok(()) };
    let rig = Rig::start().await?;
    let node = page::node(&rig).await?;
    pages.run(name, "chromium", node.http, &[], LIMIT).await.map(|_| ())
}
