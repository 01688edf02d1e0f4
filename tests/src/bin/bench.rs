//! `./x bench`: how fast. Measures every row and prints a line for each.

use std::process::ExitCode;

use anyhow::{Result, bail};
use clap::Parser;
use selvedge_suite::bench::{self, ALL, Effort, Line, Row};

/// Measures every bar of the speed table, beside its floor.
#[derive(Debug, Parser)]
#[command(name = "./x bench")]
struct Args {
    /// The rows to measure; all when none is named.
    names: Vec<String>,
    /// Rounds of which the median counts.
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// A tenth of the work: to see that it runs, not for its numbers.
    #[arg(long)]
    quick: bool,
    /// One JSON object a line.
    #[arg(long)]
    json: bool,
    /// Serves the floor of the HTTP rows.
    #[arg(long, hide = true)]
    serve_hello: bool,
}

fn main() -> ExitCode {
    match run(&Args::parse()) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("bench: {error:#}");
            ExitCode::from(2)
        }
    }
}

fn run(args: &Args) -> Result<bool> {
    let runtime = tokio::runtime::Runtime::new()?;
    if args.serve_hello {
        return runtime.block_on(bench::serve_hello()).map(|()| true);
    }
    let mut rows = Vec::new();
    for name in &args.names {
        match Row::named(name) {
            Some(row) => rows.push(row),
            None => bail!("there is no row {name:?}; there are {}", ALL.map(|row| row.name).join(", ")),
        }
    }
    if rows.is_empty() {
        rows.extend(ALL);
    }
    let effort = Effort { rounds: args.rounds.max(1), quick: args.quick };
    let mut all_ok = true;
    if !args.json {
        println!("{:<58} {:>10} {:>10} {:>10} {:>7}", "what", "p50 us", "p99 us", "bar", "ratio");
    }
    for row in rows {
        eprintln!("bench: {}: {}", row.name, row.about);
        match runtime.block_on(row.run(effort)) {
            Ok(lines) => {
                for line in lines {
                    all_ok &= line.ok;
                    println!("{}", if args.json { serde_json::to_string(&line)? } else { text(&line) });
                }
            }
            Err(error) => {
                all_ok = false;
                eprintln!("bench: {}: {error:#}", row.name);
            }
        }
    }
    Ok(all_ok)
}

fn text(line: &Line) -> String {
    let number =
        |value: Option<f64>, digits: usize| value.map_or_else(String::new, |value| format!("{value:.digits$}"));
    format!(
        "{:<58} {:>10} {:>10} {:>10} {:>7} {} {}",
        line.name,
        number(line.p50_us.or(line.value), 2),
        number(line.p99_us, 2),
        number(line.bar, 2),
        number(line.ratio, 2),
        if line.ok { "  " } else { "!!" },
        line.what,
    )
}
