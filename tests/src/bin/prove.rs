//! `./x prove`: how right. Runs the proofs at full size and prints a line for each.

use std::process::ExitCode;

use anyhow::{Result, bail};
use clap::Parser;
use selvedge_suite::harness::random;
use selvedge_suite::prove::{ALL, Proof, Scale};

/// Proves what the product promises, at full size.
#[derive(Debug, Parser)]
#[command(name = "./x prove")]
struct Args {
    /// The proofs to run; all when none is named.
    names: Vec<String>,
    /// Repeats a run.
    #[arg(long)]
    seed: Option<u64>,
    /// The short form, as the tests run it.
    #[arg(long)]
    short: bool,
    /// One JSON object a line.
    #[arg(long)]
    json: bool,
}

fn main() -> ExitCode {
    match run(&Args::parse()) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("prove: {error:#}");
            ExitCode::from(2)
        }
    }
}

fn run(args: &Args) -> Result<bool> {
    let mut proofs = Vec::new();
    for name in &args.names {
        let chosen = Proof::chosen(name);
        if chosen.is_empty() {
            bail!("there is no proof {name:?}; there are {}", ALL.map(|proof| proof.name).join(", "));
        }
        proofs.extend(chosen);
    }
    if proofs.is_empty() {
        proofs.extend(ALL);
    }
    let scale = Scale { short: args.short, seed: args.seed.unwrap_or_else(random::fresh_seed) };
    let runtime = tokio::runtime::Runtime::new()?;
    let mut all_ok = true;
    for proof in proofs {
        eprintln!("prove: {}: {} (seed {})", proof.name, proof.about, scale.seed);
        let (ok, text, why) = match runtime.block_on(proof.run(scale)) {
            Ok((line, why)) if args.json => (line.ok, serde_json::to_string(&line)?, why),
            Ok((line, why)) => (line.ok, format!("{line:?}"), why),
            Err(error) => (false, String::new(), vec![format!("it could not be run: {error:#}")]),
        };
        for why in why {
            eprintln!("  {why}");
        }
        if text.is_empty() {
            println!(r#"{{"proof":"{}","n":0,"failed":1,"bar":0,"ok":false,"seed":{}}}"#, proof.name, scale.seed);
        } else {
            println!("{text}");
        }
        all_ok &= ok;
    }
    Ok(all_ok)
}
