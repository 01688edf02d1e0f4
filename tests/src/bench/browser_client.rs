//! The browser SDK in Chromium: what 10,000 `track()` take from the main thread, and what a decision costs beside its bare request.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use super::{Effort, Line};
use crate::harness::Rig;
use crate::harness::page::{self, Pages};

const LIMIT: Duration = Duration::from_secs(900);
/// What 10,000 calls may take in all, in microseconds.
const TRACK_US: f64 = 50_000.0;
/// What the SDK may add to a request, in microseconds.
const OWN_US: f64 = 1_000.0;

pub(super) async fn run(effort: Effort) -> Result<Vec<Line>> {
    let pages =
        Pages::find()?.context("no SDK and no browser's driver here: `./x bench browser_client` installs them")?;
    let rig = Rig::start().await?;
    let node = page::node(&rig).await?;
    let rounds = if effort.quick { 1 } else { effort.rounds };
    let told = pages.run("speed.mjs", "chromium", node.http, &[rounds.to_string()], LIMIT).await?;
    let told = told.context("no Chromium here: `./x bench browser_client` installs it")?;
    let sorted = |key: &str| -> Result<Vec<f64>> {
        let list = told[key].as_array().with_context(|| format!("no {key:?} in {told}"))?;
        let mut list: Vec<f64> = list.iter().filter_map(Value::as_f64).collect();
        list.sort_by(f64::total_cmp);
        Ok(list)
    };
    let quantiles = |list: &[f64]| -> (f64, f64) {
        let at = |q: f64| list.get(((list.len() as f64 * q) as usize).min(list.len() - 1)).copied().unwrap_or_default();
        (at(0.5), at(0.99))
    };
    let lists = [sorted("track")?, sorted("sending")?, sorted("own")?, sorted("bare")?];
    ensure!(lists.iter().all(|list| !list.is_empty()), "nothing was measured: {told}");
    let [of_track, of_sending, of_own, of_bare] = lists.map(|list| quantiles(&list));
    let long: f64 = sorted("long")?.iter().sum();
    let what_follows = format!("main thread, until all are answered; {long} tasks of 50 ms or more in {rounds} rounds");
    let added = of_own.0 - of_bare.0;
    let what = format!("added to the bare request of {:.0} us; bar: {OWN_US} us", of_bare.0);
    Ok(vec![
        Line::time(
            "browser, 10,000 track()",
            of_track,
            of_track.0,
            TRACK_US,
            "the calls in one go, by the page's clock",
        ),
        Line::reported("browser, writing them down and sending them", of_sending, what_follows),
        Line::time("browser, remote decide", of_own, added, OWN_US, what),
    ])
}
