//! Modules that must never run: `selvedge release pack` refuses them with the reason, and a node that is served one anyway,
//! in a release signed with a trusted key, refuses it with the same reason and goes on with what it had.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

use super::{Findings, Scale};
use crate::harness::shop::Shop;
use crate::harness::{Node, Rig, forge, until};
use crate::modules;

const LIMIT: Duration = Duration::from_secs(30);

pub(super) async fn run(_scale: Scale) -> Result<Findings> {
    let rig = Rig::start().await?;
    let good = Shop::numbered(rig.path("good"), 1)?;
    let packed = forge::opened(&std::fs::read(rig.pack(&good).await?)?)?;
    let running = rig.deploy(good.folder()).await?;
    let node = rig.node("edge-1").await?;
    node.runs(&running, LIMIT).await?;
    let mut findings = Findings::default();
    let counter = rig.counter().await?;
    for (at, bad) in modules::refused()?.into_iter().enumerate() {
        at_pack(&rig, at, &bad, &mut findings).await?;
        let mut files = packed.files.clone();
        files.insert("modules/hero.wasm".into(), bad.bytes);
        at_node(&rig, &node, counter + 1 + at as u64, (bad.what, bad.reason), files, &running, &mut findings).await?;
    }
    Ok(findings)
}

async fn at_pack(rig: &Rig, at: usize, bad: &modules::Refused, findings: &mut Findings) -> Result<()> {
    let shop = Shop::numbered(rig.path(&format!("bad-{at}")), 2)?;
    std::fs::remove_file(shop.folder().join("modules/hero.linear.toml"))?;
    shop.module("hero", &bad.bytes)?;
    let key = rig.key();
    let args = ["release".as_ref(), "pack".as_ref(), shop.folder().as_os_str(), "--key".as_ref(), key.as_os_str()];
    let out = rig.path(&format!("bad-{at}.release"));
    let ran = rig.cli.run(args.into_iter().chain(["-o".as_ref(), out.as_os_str()])).await?;
    let said = format!("{}{}", ran.stdout, ran.stderr);
    let right = ran.code == Some(1) && said.contains(bad.reason) && said.contains("hero");
    findings.check(right && !out.exists(), || format!("{}: `release pack` exits {:?}: {said}", bad.what, ran.code));
    Ok(())
}

async fn at_node(
    rig: &Rig,
    node: &Node,
    counter: u64,
    (what, reason): (&str, &str),
    files: BTreeMap<String, Vec<u8>>,
    running: &str,
    findings: &mut Findings,
) -> Result<()> {
    let key = rig.signing_key()?;
    let forged = forge::release("forged", &files, &key)?;
    let link = rig.link().await?;
    link.put_release(&forged.digest, &forged.bytes).await?;
    rig.point(&link, forged.digest, counter).await?;

    let (mut last, release) = (Value::Null, forged.digest.to_string());
    let waiting = format!("{what} to be refused");
    let refused = until(&waiting, LIMIT, async || {
        last = node.status().await.ok()?["releases"].take();
        let refusal = &last["refusal"];
        let told = refusal["why"].as_str().is_some_and(|why| why.contains(reason));
        (refusal["release"] == release.as_str() && told).then_some(())
    });
    findings.works(refused.await.with_context(|| format!("expected {reason:?}; /v1/status says {last}")));
    let answer = node.client().post("/v1/decide", &json!({"placement": "home-hero"})).await?.ok()?;
    ensure!(answer["release"] == running, "{what}: the running release did not stay: {answer}");
    Ok(())
}
