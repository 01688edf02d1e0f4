//! A node with more to do than it can: it sheds what costs most, says so, and decides as before when it is over; and a scorer that
//! leaves worker threads to the others.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Result, ensure};
use selvedge_suite::harness::shop::Shop;
use selvedge_suite::harness::{Client, Node, Rig, until};
use selvedge_suite::modules;
use serde_json::{Value, json};
use tokio::task::JoinSet;

use crate::alone;

const LIMIT: Duration = Duration::from_secs(60);
const PRICE: f64 = 7.5;
/// Who ask at once; of a scorer that takes 10 ms each waits longer than any bound.
const CROWD: usize = 48;

/// A shop in which a context value makes the scorer loop for half of the deadline; what does not score is in the order of stock.
async fn shop(rig: &Rig) -> Result<String> {
    let items = (0..3).map(|at| json!({"_key": format!("sku-{at}"), "price": PRICE, "stock": at}));
    rig.push("item", items).await?;
    let shop = Shop::priced(rig.path("slow"), 1)?;
    shop.file("release.toml", "name = \"slow\"\n[guard]\nmax_fault_rate = 1.0\n")?;
    shop.module("loop", &modules::hostile("endless_loop")?)?.placement(
        "slow",
        "context = { provoke = \"number\" }\ncandidates = { view = \"item\", from = \"request\" }\nslots = 3\n\
         deadline = \"20ms\"\nladder = [\"loop\"]\nfallback = { by = \"item.stock\" }\n",
    )?;
    // As slow, with rules that allow one item alone.
    shop.file("modules/only.csv", "item.stock: number,> eligible: flag\n> 1,true\n,false\n")?;
    shop.placement(
        "ruled",
        "context = { provoke = \"number\" }\ncandidates = { view = \"item\", from = \"request\" }\nslots = 3\n\
         deadline = \"20ms\"\nrules = [\"only\"]\nladder = [\"loop\"]\nfallback = { by = \"item.stock\" }\n",
    )?;
    rig.deploy(shop.folder()).await
}

async fn ask(client: &mut Client, placement: &str, provoke: u32) -> Result<Value> {
    let candidates = ["sku-0", "sku-1", "sku-2"];
    let request = json!({"placement": placement, "candidates": candidates, "context": {"provoke": provoke}});
    client.post("/v1/decide", &request).await?.ok()
}

async fn start(rig: &Rig, settings: &[&str]) -> Result<Arc<Node>> {
    let release = shop(rig).await?;
    let spec = settings.iter().fold(rig.spec("edge-1"), |spec, setting| spec.set(*setting));
    let node = Node::start(spec).await?;
    node.runs(&release, LIMIT).await?;
    Ok(Arc::new(node))
}

/// Asks on as many connections as a crowd has, until one of them is told `fault`; nobody is refused meanwhile.
async fn until_told(node: &Arc<Node>, placement: &'static str, fault: &str) -> Result<Value> {
    let mut crowd = JoinSet::new();
    for _ in 0..CROWD {
        let (node, fault) = (Arc::clone(node), fault.to_owned());
        crowd.spawn(async move {
            let mut client = node.client();
            loop {
                let answer = ask(&mut client, placement, 1).await?;
                let choices = answer["choices"].as_array().map_or(0, Vec::len);
                let allowed = if placement == "ruled" { 1 } else { 3 };
                ensure!(choices == allowed, "the rules let through {allowed}: {answer}");
                if answer["fault"] == *fault {
                    return anyhow::Ok(answer);
                }
            }
        });
    }
    let told = tokio::time::timeout(LIMIT, crowd.join_next()).await?;
    told.ok_or_else(|| anyhow::anyhow!("nobody asked"))??
}

#[test]
fn overload_asks_no_scorer_and_answers_by_the_static_order() -> Result<()> {
    alone(async {
        let rig = Rig::start().await?;
        let settings = ["http.threads=1", "modules.breaker_after=0", "modules.shed_above=20ms"];
        let node = start(&rig, &settings).await?;
        let answer = until_told(&node, "ruled", "shed").await?;
        ensure!(answer["reason"] == "FALLBACK" && answer["choices"][0]["id"] == "sku-2", "{answer}");
        ensure!(answer["choices"][0]["score"].is_null(), "nobody scored: {answer}");
        // The crowd is gone: scorers are asked again, and what was shed is counted.
        let mut client = node.client();
        let scored = until("a scored decision", LIMIT, async || {
            ask(&mut client, "slow", 0).await.ok().filter(|answer| answer["reason"] == "SCORED")
        });
        let scored = scored.await?;
        ensure!(scored["fault"].is_null(), "{scored}");
        let metrics = node.metrics().await?;
        let shed = metrics.sum("selvedge_faults_total", &["fault=\"shed\""]);
        ensure!(shed >= 1.0 && metrics.sum("selvedge_load_sheds_total", &[]) >= 1.0, "{shed} shed");
        Ok(())
    })
}

#[test]
fn a_module_that_may_run_once_leaves_the_other_threads_free() -> Result<()> {
    alone(async {
        let rig = Rig::start().await?;
        let settings = ["http.threads=2", "modules.breaker_after=0", "modules.shed_above=0s", "modules.max_at_once=1"];
        let node = start(&rig, &settings).await?;
        let answer = until_told(&node, "ruled", "busy").await?;
        ensure!(answer["reason"] == "FALLBACK" && answer["choices"][0]["id"] == "sku-2", "{answer}");
        ensure!(node.metrics().await?.sum("selvedge_load_sheds_total", &[]) == 0.0, "0s sheds nothing");
        // Who found no place took none away: alone, the next one is scored.
        let mut client = node.client();
        let scored = until("a scored decision", LIMIT, async || {
            ask(&mut client, "ruled", 0).await.ok().filter(|answer| answer["reason"] == "SCORED")
        });
        scored.await?;
        Ok(())
    })
}
