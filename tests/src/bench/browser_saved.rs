//! A row of the storefront's table is saved: how long until open pages show it, with the shop, its nodes and its simulated shoppers as
//! in the demo. From before the file is written to the change in the page, which tells its own time.

use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;

use super::{Effort, Line};
use crate::harness::page::Pages;
use crate::harness::{Process, binary, folder};

const LIMIT: Duration = Duration::from_secs(300);
/// Saves of a full run, one after the other; the slowest counts.
const SAVES: usize = 20;
/// What an open page may be behind what was saved, in microseconds.
const BEHIND_US: f64 = 2_000_000.0;

pub(super) async fn run(effort: Effort) -> Result<Vec<Line>> {
    let installs = "`./x bench browser_saved` installs what is missing";
    let pages = Pages::find()?.with_context(|| format!("no SDK and no browser's driver here: {installs}"))?;
    let temporary = tempfile::tempdir()?;
    let shop = temporary.path().join("shop");
    folder::copy(&binary::repository().join("examples/storefront/shop"), &shop)?;
    let mut command = Command::new(binary::built("storefront")?);
    command.args(["--listen", "127.0.0.1:0", "--json", "--shop"]).arg(&shop);
    let mut storefront = Process::spawn("storefront", &mut command, &temporary.path().join("log"))?.with_grace(LIMIT);
    let line: Value = serde_json::from_str(&storefront.line(LIMIT).await?)?;
    let address = line["shop"].as_str().context("the shop's address")?.parse()?;

    let more = [shop.display().to_string(), effort.scale(SAVES).to_string()];
    let told = pages.run("saved.mjs", "chromium", address, &more, LIMIT).await;
    let told = told.with_context(|| storefront.log_tail())?.with_context(|| format!("no Chromium here: {installs}"))?;
    ensure!(storefront.terminate(LIMIT).await?.success(), "a stop by SIGTERM exits 0");
    let mut behind_us: Vec<f64> =
        told["behind_us"].as_array().into_iter().flatten().filter_map(Value::as_f64).collect();
    behind_us.sort_by(f64::total_cmp);
    let (Some(half), Some(slowest)) = (behind_us.get(behind_us.len() / 2), behind_us.last()) else {
        bail!("nothing was measured: {told}");
    };
    let what =
        format!("the slowest of {} saves, until all of {} open pages had changed", behind_us.len(), told["pages"]);
    Ok(vec![Line::time("a saved row, on open pages", (*half, *slowest), *slowest, BEHIND_US, what)])
}
