//! Nothing lost: in Chromium, with requests that fail, break or whose answers are lost, without a line, with tabs that are closed,
//! reloaded, left and crashed at random. Every event whose `track()` returned is counted once at the core; a crash may cost the last
//! second, as docs/browser-sdk.md says.

use std::time::Duration;

use anyhow::{Context, Result, bail};
use serde_json::Value;

use super::{Findings, Scale};
use crate::harness::Rig;
use crate::harness::page::{self, Pages};

const LIMIT: Duration = Duration::from_secs(1_800);

pub(super) async fn run(scale: Scale) -> Result<Findings> {
    let visits = scale.pick(200, 8);
    let mut findings = Findings::default();
    let Some(pages) = Pages::find()? else { return absent(scale) };
    let rig = Rig::start().await?;
    let node = page::node(&rig).await?;
    let more = [scale.seed.to_string(), visits.to_string()];
    let Some(told) = pages.run("lost.mjs", "chromium", node.http, &more, LIMIT).await? else { return absent(scale) };
    let numbers = |key: &str| -> Result<Vec<u64>> {
        let list = told[key].as_array().with_context(|| format!("no {key:?} in {told}"))?;
        Ok(list.iter().filter_map(Value::as_u64).collect())
    };
    let (must, may) = (numbers("must")?, numbers("may")?);
    findings.check(must.len() as u64 >= visits, || format!("only {} events were tracked", must.len()));
    let (_, times) = page::counted(&rig, &must).await?;
    let lost: Vec<_> = must.iter().filter(|n| !times.contains_key(n)).collect();
    let twice: Vec<_> = times.iter().filter(|(_, times)| **times > 1).collect();
    findings.note(format!(
        "{visits} visits, {} events, {} more before a crash; ends: {}",
        must.len(),
        may.len(),
        told["ends"]
    ));
    findings.count(must.len() as u64, lost.len() as u64, || format!("lost: {lost:?}"));
    findings.count(times.len() as u64, twice.len() as u64, || format!("counted twice: {twice:?}"));
    Ok(findings)
}

/// Without a browser nothing is proved: `./x` installs one, and a test that runs without it says so and passes.
fn absent(scale: Scale) -> Result<Findings> {
    if !scale.short {
        bail!("there is no browser here, or no SDK: `./x prove browser` installs both");
    }
    let mut findings = Findings::default();
    findings.check(true, String::new);
    Ok(findings)
}
