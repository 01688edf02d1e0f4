//! The browser SDK: its own tests, and pages in real browsers against a real node.

use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use selvedge_suite::harness::page::{self, Pages};
use selvedge_suite::harness::{Rig, binary, process};
use serde_json::Value;

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

async fn script(name: &str) -> Result<()> {
    let Some(pages) = Pages::find()? else { return Ok(()) };
    let rig = Rig::start().await?;
    let node = page::node(&rig).await?;
    pages.run(name, "chromium", node.http, &[], LIMIT).await.map(|_| ())
}
