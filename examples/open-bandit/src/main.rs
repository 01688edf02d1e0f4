//! Selvedge's demo: real impressions of a fashion shop through a real node. This file is the programme; each act has a file.
//!
//! It drives the product only from outside: the `selvedge` binary, its HTTP, and what arrives in the core's stream.

mod acts;
mod count;
mod data;
mod estimate;
mod model;
mod releases;
mod report;
mod rows;
mod site;
mod traffic;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result};
use clap::Parser;

use crate::data::Campaign;
use crate::report::{Progress, Report};
use crate::site::Site;
use crate::traffic::Traffic;

/// Replays a real shop's impressions through a Selvedge node.
#[derive(Debug, Parser)]
#[command(name = "./x demo")]
struct Args {
    /// Folder of the Open Bandit Dataset, with random/ and bts/ in it.
    #[arg(long)]
    data: PathBuf,
    /// Campaign of the log: all, men or women.
    #[arg(long, default_value = "men")]
    campaign: String,
    /// Policy that wrote the log: random, or bts (Bernoulli Thompson sampling), which has more clicks to learn from.
    #[arg(long, default_value = "bts")]
    log: String,
    /// Impressions a second.
    #[arg(long, default_value_t = 200.0)]
    rate: f64,
    /// Impressions to replay at most; all of the log's second half when not said.
    #[arg(long)]
    limit: Option<usize>,
    /// Seconds for which the core is gone.
    #[arg(long, default_value_t = 5.0)]
    outage_s: f64,
    /// Keep everything up afterwards and print the URLs.
    #[arg(long)]
    stay: bool,
    /// Print the result as one last line of JSON.
    #[arg(long)]
    json: bool,
}

fn main() -> ExitCode {
    let args = Args::parse();
    let runtime = match tokio::runtime::Runtime::new() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("demo: {error}");
            return ExitCode::FAILURE;
        }
    };
    // Whatever ends the programme, dropping it stops the processes and removes the folder.
    let outcome = runtime.block_on(async {
        tokio::select! {
            outcome = run(&args) => Some(outcome),
            _ = stopped() => None,
        }
    });
    match outcome {
        Some(Ok(true)) => ExitCode::SUCCESS,
        Some(Ok(false)) => ExitCode::FAILURE,
        Some(Err(error)) => {
            eprintln!("demo: {error:#}");
            ExitCode::FAILURE
        }
        None => {
            eprintln!("demo: stopped, everything is cleaned up");
            ExitCode::from(130)
        }
    }
}

/// The programme; whether everything was as it must be.
async fn run(args: &Args) -> Result<bool> {
    let progress = Progress::new();

    progress.act("reading the log");
    let campaign = Campaign::read(&args.data, &args.log, &args.campaign).context("reading the Open Bandit Dataset")?;
    let (past, future) = campaign.halves();
    let future = &future[..args.limit.unwrap_or(future.len()).min(future.len())];
    progress.note(&format!(
        "{} items, {} impressions to learn from, {} to replay",
        campaign.items.len(),
        past.len(),
        future.len()
    ));

    progress.act("starting nats-server and a node");
    let site = Site::start().await?;
    progress.note(&site.urls());

    progress.act("fitting click models and packing releases");
    let releases = releases::pack(&site, &campaign, past).await?;
    progress.note(&releases.about);

    progress.act("publishing features, deploying the first release");
    let published = site.publish(&campaign, past, future).await?;
    site.deploy(&releases.first).await?;
    let synced = site.wait_until_synced(published).await?;
    progress.note(&format!("{synced} entities on the node"));

    progress.act("replaying impressions; meanwhile a swap, a rollback and an outage");
    let traffic = Traffic::new(&site, &campaign, past, future, args.rate);
    let (tally, swaps, site) =
        acts::play(&traffic, site, &releases, Duration::from_secs_f64(args.outage_s), &progress).await?;

    progress.act("counting what arrived in the core");
    let counted = count::drain(&site, &tally).await?;

    progress.act("replaying every decision record");
    let replayed = count::replay(&site, &releases).await?;

    let freshness_p99_ms = site.freshness_p99_ms().await?;
    let report = Report::new(&tally, swaps, &counted, &replayed, (published, synced), freshness_p99_ms, future);
    report.print(args.json)?;
    if args.stay {
        progress.note(&format!("everything stays up; {}; stop with Ctrl-C", site.urls()));
        stopped().await?;
    }
    Ok(report.problems().is_empty())
}

/// Ctrl-C or SIGTERM.
async fn stopped() -> Result<()> {
    let mut terminate = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())?;
    tokio::select! {
        interrupt = tokio::signal::ctrl_c() => interrupt?,
        _ = terminate.recv() => {}
    }
    Ok(())
}
