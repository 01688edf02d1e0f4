//! Hostile modules at run time: the answer comes from the next rung within the deadline, the fault is counted by its kind,
//! the next request is unharmed, and no state survives a call.

use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use serde_json::{Value, json};

use super::{Findings, Scale, state};
use crate::harness::{Client, Node, Rig};
use crate::modules;

const LIMIT: Duration = Duration::from_secs(30);
const DEADLINE: Duration = Duration::from_millis(100);
/// For the way over HTTP and a busy machine.
const SLACK: Duration = Duration::from_millis(150);
const PRICE: f64 = 7.5;

/// Each guest by its name, and the fault it is.
const GUESTS: [(&str, &str); 8] = [
    ("trap", "trap"),
    ("endless_loop", "deadline"),
    ("memory_bomb", "memory"),
    ("stack_overflow", "trap"),
    ("wrong_length", "bad_output"),
    ("nan", "bad_output"),
    ("huge_output", "bad_output"),
    ("refuses", "refused"),
];

pub(super) async fn run(scale: Scale) -> Result<Findings> {
    let turns = scale.pick(100, 5);
    let rig = Rig::start().await?;
    rig.push("item", [json!({"_key": "sku-1", "price": PRICE})]).await?;
    let shop = state::priced_shop(&rig, 1)?;
    // Half of these decisions have a fault, on purpose: the node shall not take the release back.
    shop.file("release.toml", "name = \"hostile\"\n[guard]\nmax_fault_rate = 1.0\n")?;
    for (guest, _) in GUESTS {
        shop.module(guest, &modules::hostile(guest)?)?
            .placement(guest, &placement(&format!("ladder = [\"{guest}\", \"rank\"]")))?;
    }
    shop.module("keeps_state", &modules::hostile("keeps_state")?)?;
    shop.placement("keeps_state", &placement("ladder = [\"keeps_state\"]"))?;
    shop.module("rules", &modules::hostile_rules()?)?;
    shop.placement("rules", &placement("rules = [\"rules\"]"))?;
    let release = rig.deploy(shop.folder()).await?;
    // No breaker at first: every call shall reach its module.
    let node = Node::start(rig.spec("edge-1").set("modules.breaker_after=0")).await?;
    node.runs(&release, LIMIT).await?;
    let mut client = node.client();
    let mut findings = Findings::default();
    for _ in 0..turns {
        for (guest, fault) in GUESTS {
            provoked(&node, &mut client, guest, fault, &mut findings).await?;
            unharmed(&mut client, guest, &mut findings).await?;
        }
        // Right once, in a fresh instance.
        unharmed(&mut client, "keeps_state", &mut findings).await?;
        rules(&mut client, &mut findings).await?;
    }
    let spec = node.terminate().await?.0;
    breaker(Node::start(crate::harness::NodeSpec { settings: Vec::new(), ..spec }).await?, &release, &mut findings)
        .await?;
    Ok(findings)
}

fn placement(calls: &str) -> String {
    format!(
        "context = {{ provoke = \"number\" }}\ncandidates = {{ view = \"item\", from = \"request\" }}\nslots = 1\n\
         deadline = \"{}ms\"\n{calls}\nfallback = {{ by = \"item.stock\" }}\n",
        DEADLINE.as_millis()
    )
}

async fn ask(client: &mut Client, placement: &str, provoke: f64) -> Result<Value> {
    let request = json!({"placement": placement, "candidates": ["sku-1"], "context": {"provoke": provoke}});
    client.post("/v1/decide", &request).await?.ok().with_context(|| format!("a decision of {placement}"))
}

/// The next rung answers, in time, and one fault of the kind is counted.
async fn provoked(node: &Node, client: &mut Client, guest: &str, fault: &str, findings: &mut Findings) -> Result<()> {
    let label = format!("fault=\"{fault}\"");
    let before = node.metrics().await?.sum("selvedge_faults_total", &[&label]);
    let start = Instant::now();
    let Some(answer) = findings.works(ask(client, guest, 1.0).await) else { return Ok(()) };
    let took = start.elapsed();
    let right = answer["fault"] == fault && answer["reason"] == "SCORED" && answer["choices"][0]["score"] == PRICE;
    findings.check(right, || format!("{guest}: expected fault {fault} and the next rung's {PRICE}: {answer}"));
    findings
        .check(took <= DEADLINE + SLACK, || format!("{guest}: answered after {took:?}, the deadline is {DEADLINE:?}"));
    let counted = node.metrics().await?.sum("selvedge_faults_total", &[&label]) - before;
    findings.check(counted == 1.0, || format!("{guest}: {counted} faults of kind {fault} were counted"));
    Ok(())
}

/// The same module answers the next request as if nothing had been.
async fn unharmed(client: &mut Client, guest: &str, findings: &mut Findings) -> Result<()> {
    let answer = ask(client, guest, 0.0).await?;
    let right = answer["fault"].is_null() && answer["choices"][0]["score"] == PRICE + 1.0;
    findings.check(right, || format!("{guest}, not provoked: expected {} and no fault: {answer}", PRICE + 1.0));
    Ok(())
}

/// Rules that fault: the static order, since nobody knows what may be shown.
async fn rules(client: &mut Client, findings: &mut Findings) -> Result<()> {
    let answer = ask(client, "rules", 1.0).await?;
    let right = answer["reason"] == "FALLBACK" && answer["fault"] == "trap" && answer["choices"][0]["id"] == "sku-1";
    findings.check(right, || format!("rules that trap: {answer}"));
    let answer = ask(client, "rules", 0.0).await?;
    let right = answer["reason"] == "RULED" && answer["choices"][0]["score"] == PRICE + 1.0;
    findings.check(right, || format!("rules that boost by {}: {answer}", PRICE + 1.0));
    Ok(())
}

/// A module that keeps failing is not asked for a while, and asked again afterwards.
async fn breaker(node: Node, release: &str, findings: &mut Findings) -> Result<()> {
    node.runs(release, LIMIT).await?;
    let mut client = node.client();
    let opened = crate::harness::until("the breaker to open", LIMIT, async || {
        let answer = ask(&mut client, "trap", 1.0).await.ok()?;
        (answer["fault"] == "open" && answer["choices"][0]["score"] == PRICE).then_some(())
    });
    findings.works(opened.await);
    let closed = crate::harness::until("the module to be asked again", LIMIT, async || {
        ask(&mut client, "trap", 0.0).await.ok()?["fault"].is_null().then_some(())
    });
    findings.works(closed.await);
    Ok(())
}
