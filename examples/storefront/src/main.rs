//! Selvedge's demo shop: pages that change as people click, from two nodes behind a balancer. This file is the programme.
//!
//! It drives the product only from outside: the `selvedge` binary, its HTTP, and files in the shop's folder.

mod balancer;
mod catalogue;
mod http;
mod log;
mod page;
mod scoreboard;
mod shoppers;
mod site;
mod stage;
mod stock;
mod world;

use std::io::{BufWriter, Write};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::{Context, Result, ensure};
use clap::{Parser, Subcommand};
use selvedge_suite::harness::{Client, binary};
use serde_json::json;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;

use crate::balancer::Balancer;
use crate::catalogue::Catalogue;
use crate::scoreboard::Scoreboard;
use crate::shoppers::Shoppers;
use crate::site::{Core, Site};
use crate::stage::Stage;
use crate::stock::Stock;

/// Serves a small shop from two Selvedge nodes behind a balancer, until it is stopped.
#[derive(Debug, Parser)]
#[command(name = "./x demo storefront", args_conflicts_with_subcommands = true)]
struct Args {
    #[command(subcommand)]
    command: Option<Command>,
    /// Where the shop listens; port 0 takes a free one.
    #[arg(long, default_value = "127.0.0.1:7080", value_name = "ADDRESS")]
    listen: SocketAddr,
    /// The release's folder; a file saved in it is deployed. The example's own when not said.
    #[arg(long, value_name = "DIR")]
    shop: Option<PathBuf>,
    /// The folder of the browser SDK's modules; where `./x` builds it when not said.
    #[arg(long, value_name = "DIR")]
    sdk: Option<PathBuf>,
    /// Visits of simulated shoppers a second; 0 for none.
    #[arg(long, default_value_t = 6.0)]
    rate: f64,
    /// What the simulated shoppers are drawn from.
    #[arg(long, default_value_t = 7)]
    seed: u64,
    /// Print the addresses as one line of JSON.
    #[arg(long)]
    json: bool,
    /// It always stays; taken so that `./x demo --stay` may say it.
    #[arg(long, hide = true)]
    stay: bool,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Write the impressions that training/train.py learns from, as CSV.
    Log {
        /// Visits.
        #[arg(long, default_value_t = 2_000)]
        visits: u32,
        /// What they are drawn from.
        #[arg(long, default_value_t = 1)]
        seed: u64,
    },
}

fn main() -> ExitCode {
    let args = Args::parse();
    let outcome = match &args.command {
        Some(Command::Log { visits, seed }) => write_log(*visits, *seed),
        None => serve(&args),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("storefront: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn write_log(visits: u32, seed: u64) -> Result<()> {
    let catalogue = Catalogue::read(&binary::repository().join("examples/storefront/shop"))?;
    let mut out = BufWriter::new(std::io::stdout().lock());
    log::write(&catalogue, visits, seed, &mut out)?;
    Ok(out.flush()?)
}

fn serve(args: &Args) -> Result<()> {
    let runtime = tokio::runtime::Runtime::new()?;
    // Whatever ends it, dropping the stage stops the processes and removes their folder.
    runtime.block_on(async {
        tokio::select! {
            outcome = run(args) => outcome,
            stopped = stopped() => stopped,
        }
    })
}

/// The programme.
async fn run(args: &Args) -> Result<()> {
    ensure!(args.rate >= 0.0 && args.rate <= 1000.0, "--rate {}: from 0 to 1000 visits a second", args.rate);
    let example = binary::repository().join("examples/storefront");
    let shop = args.shop.clone().unwrap_or_else(|| example.join("shop"));
    let shop = shop.canonicalize().with_context(|| format!("the shop's folder {}", shop.display()))?;
    let built = || Ok(binary::sdk()?.map(|folder| folder.join("dist/esm")));
    let sdk = args.sdk.clone().map_or_else(built, |sdk| anyhow::Ok(Some(sdk)))?;
    let sdk = sdk.filter(|sdk| sdk.join("index.js").is_file());
    let sdk = sdk
        .context("there is no browser SDK: `./x demo storefront` builds it, `--sdk DIR` says where its modules are")?;
    let stock = Arc::new(Stock::new(Catalogue::read(&shop)?));

    eprintln!("starting nats-server and two nodes, deploying {}", shop.display());
    let stage = Stage::start(&shop, &stock).await?;
    let balancer = Balancer::start(stage.backends());
    let (deployer, cli, rows) = (stage.deployer(&shop), stage.cli(), stage.path("changed.jsonl"));
    let core = stage.core();
    let scoreboard = Arc::new(Scoreboard::new());
    let (orders, asked) = mpsc::channel(1);
    let site = Arc::new(Site {
        folder: example.join("site"),
        sdk,
        shop: shop.clone(),
        balancer: Arc::clone(&balancer),
        stock: Arc::clone(&stock),
        scoreboard: Arc::clone(&scoreboard),
        tags: stage.tags()?,
        core: Core { url: core.clone(), is_up: true.into(), stage: orders },
    });
    let address = http::serve(args.listen, site).await?;
    tokio::spawn(deployer.watch(Arc::clone(&stock)));
    tokio::spawn(Arc::clone(&stock).tell(cli, rows));
    if args.rate > 0.0 {
        Shoppers { address, stock, scoreboard, rate: args.rate, seed: args.seed }.start();
    }

    let mut consoles = Vec::new();
    for backend in balancer.backends() {
        let answer = Client::new(backend.admin).get("/console").await;
        if answer.is_ok_and(|answer| answer.status.is_success() || answer.status.is_redirection()) {
            consoles.push(format!("http://{}/console", backend.admin));
        }
    }
    if args.json {
        let nodes: Vec<_> = balancer
            .backends()
            .iter()
            .map(|backend| json!({"name": backend.name, "http": backend.http, "admin": backend.admin}))
            .collect();
        println!("{}", json!({"shop": address, "nodes": nodes, "consoles": consoles, "core": core}));
    } else {
        println!("The shop             http://{address}/");
        println!("Behind the counter   http://{address}/counter");
        for console in &consoles {
            println!("Console              {console}");
        }
        println!("Merchandiser's table {}", shop.join("modules/merchandising.csv").display());
        println!("Save a row of the table and look at an open page. Stop with Ctrl-C.");
    }
    // Everything else runs in the background.
    stage.stand(asked).await;
    Ok(())
}

/// Ctrl-C, SIGTERM, or the terminal is closed.
async fn stopped() -> Result<()> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut hangup = signal(SignalKind::hangup())?;
    tokio::select! {
        interrupt = tokio::signal::ctrl_c() => interrupt?,
        _ = terminate.recv() => {}
        _ = hangup.recv() => {}
    }
    Ok(())
}
