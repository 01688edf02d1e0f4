//! What happens while the traffic runs: a swap, a rollback, an outage of the core, each at its share of the traffic.

use std::fs;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use selvedge_suite::harness::{Cli, until, wait};

use crate::releases::Releases;
use crate::report::Progress;
use crate::site::Site;
use crate::traffic::{Tally, Traffic};

const SWAP_AT: f64 = 0.2;
const ROLLBACK_AT: f64 = 0.4;
const OUTAGE_AT: f64 = 0.55;
const LIMIT: Duration = Duration::from_secs(90);

/// Runs the traffic to its end with the acts beside it: the tally, the swaps made, and the site.
pub(crate) async fn play(
    traffic: &Arc<Traffic>,
    mut site: Site,
    releases: &Releases,
    outage: Duration,
    progress: &Progress,
) -> Result<(Tally, u32, Site)> {
    let back_end = tokio::spawn(publish(Arc::clone(traffic), site.rig.cli.clone(), site.path("item-counts.jsonl")));
    let running = tokio::spawn(Arc::clone(traffic).run());
    let played = async {
        let swaps = acts(traffic, &mut site, releases, outage, progress).await?;
        let tally = running.await.context("the traffic's task")??;
        anyhow::Ok((tally, swaps))
    };
    let watch = async {
        loop {
            progress.bar(traffic.progress());
            wait::pass(Duration::from_millis(200)).await;
        }
    };
    let (tally, swaps) = tokio::select! {
        played = played => played?,
        never = watch => never,
    };
    progress.bar(1.0);
    back_end.await.context("the back end's task")??;
    Ok((tally, swaps, site))
}

/// The shop's back end: publishes the items' counts again and again while people shop.
async fn publish(traffic: Arc<Traffic>, cli: Cli, file: PathBuf) -> Result<()> {
    while traffic.progress() < 1.0 {
        wait::pass(Duration::from_millis(250)).await;
        let lines: String = traffic.item_rows().iter().map(|row| format!("{row}\n")).collect();
        fs::write(&file, lines)?;
        let args = ["features".as_ref(), "push".as_ref(), file.as_os_str(), "--view".as_ref(), "item".as_ref()];
        // While the core is gone there is nobody to publish to; the next round has the newer counts anyway.
        drop(cli.run(args).await?);
    }
    Ok(())
}

async fn acts(
    traffic: &Traffic,
    site: &mut Site,
    releases: &Releases,
    outage: Duration,
    progress: &Progress,
) -> Result<u32> {
    reached(traffic, SWAP_AT).await?;
    let start = Instant::now();
    let second = site.deploy(&releases.second).await.context("deploying the second release under load")?;
    progress.note(&format!("deployed {} under load in {:.1?}", short(&second), start.elapsed()));

    reached(traffic, ROLLBACK_AT).await?;
    let start = Instant::now();
    let first = site.rollback().await.context("rolling back under load")?;
    progress.note(&format!("rolled back to {} in {:.1?}", short(&first), start.elapsed()));

    reached(traffic, OUTAGE_AT).await?;
    site.rig.nats.kill()?;
    let start = Instant::now();
    progress.note("nats-server is gone");
    let degraded =
        site.node.wait_for("degraded", outage.max(Duration::from_secs(5))).await.context("while the core is gone")?;
    progress.note(&format!("/readyz says degraded: {}", degraded["reasons"]));
    wait::pass(outage.saturating_sub(start.elapsed())).await;
    site.rig.nats.restart().await?;
    site.node.wait_for("ready", LIMIT).await.context("after the core came back")?;
    progress.note(&format!("nats-server is back, the node ready again after {:.1?} in all", start.elapsed()));
    Ok(2)
}

async fn reached(traffic: &Traffic, share: f64) -> Result<()> {
    until("the traffic to go on", LIMIT, async || (traffic.progress() >= share).then_some(())).await
}

fn short(digest: &str) -> &str {
    digest.get(..19).unwrap_or(digest)
}
