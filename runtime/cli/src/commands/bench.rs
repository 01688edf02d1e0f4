//! `selvedge bench`: what a module costs: a call, a row more, the first compile, a load from the cache. Owns what is called
//! how often; times of a shared machine say little alone, so two modules are compared in one sitting.

mod measure;

use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use selvedge_build::module::ModuleFile;
use selvedge_host::Module;
use selvedge_node::clock::Clock;
use serde::Serialize;

use self::measure::{Quantiles, Samples};
use super::eval::now_us;
use super::eval::rows::{Row, Rows};
use crate::files::read_file;
use crate::modules::{self, Built, MAX_FILE_BYTES, read_or_build};
use crate::output::{Outcome, Output, Usage};

/// How long one kind of call is measured after how long a warm-up, and how many calls are enough.
const WARM_UP: Duration = Duration::from_millis(100);
const MEASURE: Duration = Duration::from_secs(1);
const MAX_CALLS: usize = 20_000;
/// How long one call may take.
const BUDGET: Duration = Duration::from_secs(10);
/// The rows by whose calls the cost of one more row is told.
const MANY_ROWS: u32 = 256;

#[derive(Debug, clap::Args)]
#[command(
    after_help = "Every call runs in a fresh instance, as in a node. Without --rows the module's golden vectors are \
    called: they touch every input, but are not your traffic."
)]
pub(crate) struct Args {
    /// The module, or a source that `release pack` would build.
    module: PathBuf,
    /// Rows to call it with, one JSON object a line as `selvedge eval` reads them.
    #[arg(long, value_name = "FILE")]
    rows: Option<PathBuf>,
    /// The time of the decisions, such as 2026-11-25T08:00:00Z; the current time when it is not said.
    #[arg(long, value_name = "TIME", value_parser = now_us)]
    now: Option<i64>,
    /// Candidates of each call; those of the rows, over and over.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    candidates: Option<u32>,
}

#[derive(Debug, Serialize)]
struct Report<'a> {
    module: &'a str,
    digest: String,
    bytes: usize,
    memory_bytes: u64,
    /// From bytes to a module that can be called, nothing cached.
    compile_ms: f64,
    /// The same with the code in the cache, as when a node starts again.
    cached_ms: f64,
    /// Where the rows came from.
    rows: &'static str,
    calls: usize,
    /// Candidates of all calls over calls.
    candidates_per_call: f64,
    call_us: Quantiles,
    /// What one more candidate costs; `null` when a call takes one only.
    row_us: Option<f64>,
}

// === impl Args ===

impl Args {
    pub(crate) fn run(self, output: &Output) -> anyhow::Result<Outcome> {
        let Built { bytes, file, .. } = read_or_build(&self.module)?;
        let max_rows = file.manifest.limits.rows;
        if let Some(candidates) = self.candidates.filter(|candidates| *candidates > max_rows) {
            let why = format!("--candidates {candidates}: the module takes at most {max_rows} rows (limits.rows)");
            return Err(Usage(why).into());
        }
        let cache = tempfile::tempdir().context("cannot make a folder for compiled code")?;
        let host = modules::host(Some(cache.path()))?;
        let load = || {
            let start = Instant::now();
            let module = host.load(&bytes, &file.manifest)?;
            anyhow::Ok((module, start.elapsed().as_secs_f64() * 1e3))
        };
        let (_, compile_ms) = load()?;
        let (module, cached_ms) = load()?;
        // A module that answers wrongly is not worth measuring.
        modules::checked(&host, &bytes, &file).map_err(anyhow::Error::msg)?;

        let (rows, calls) = self.calls(&file)?;
        let call = time(&module, &calls)?;
        let report = Report {
            module: &file.manifest.name,
            digest: file.digest.to_string(),
            bytes: bytes.len(),
            memory_bytes: file.manifest.limits.memory_bytes,
            compile_ms,
            cached_ms,
            rows,
            calls: call.calls,
            candidates_per_call: calls.iter().map(|row| f64::from(row.count)).sum::<f64>() / calls.len() as f64,
            call_us: call.quantiles(),
            row_us: row_us(&module, &calls, MANY_ROWS.min(max_rows))?,
        };
        output.data(&report, report.text())?;
        Ok(Outcome::Ok)
    }

    /// The calls, at least one, and where they come from.
    fn calls(&self, file: &ModuleFile) -> anyhow::Result<(&'static str, Vec<Row>)> {
        let width = file.manifest.candidate_width();
        let (from, calls) = match &self.rows {
            Some(path) => ("file", read_rows(path, file, self.now.unwrap_or_else(|| Clock::new().now_us()))?),
            None => {
                let vectors = file.vectors.iter().filter(|vector| vector.count > 0).map(|vector| Row {
                    shared: vector.shared.clone(),
                    candidates: vector.candidates.clone(),
                    count: vector.count,
                });
                ("golden vectors", vectors.collect())
            }
        };
        if calls.is_empty() {
            let what = if self.rows.is_some() { "the file has no rows" } else { "the module has no golden vectors" };
            return Err(Usage(format!("nothing to call it with: {what}; give --rows FILE")).into());
        }
        let sized = |row: Row| match self.candidates {
            Some(count) => resized(&row, width, count),
            None => row,
        };
        Ok((from, calls.into_iter().map(sized).collect()))
    }
}

fn read_rows(path: &std::path::Path, file: &ModuleFile, now_us: i64) -> anyhow::Result<Vec<Row>> {
    let text = read_file(path, MAX_FILE_BYTES)?;
    let mut rows = Rows::new(&file.manifest, now_us);
    let lines = text.split(|byte| *byte == b'\n').enumerate().filter(|(_, line)| !line.trim_ascii().is_empty());
    let mut read = |(i, line): (usize, &[u8])| {
        rows.read(line).map_err(|why| anyhow::anyhow!("{}:{}: {why}", path.display(), i + 1))
    };
    lines.map(&mut read).filter(|row| row.as_ref().map_or(true, |row| row.count > 0)).collect()
}

/// The call with `count` candidates: its own, over and over.
fn resized(row: &Row, width: usize, count: u32) -> Row {
    let candidates = row.candidates.iter().copied().cycle().take(width * count as usize).collect();
    Row { shared: row.shared.clone(), candidates, count }
}

/// Times calls of the rows in turn.
fn time(module: &Module, rows: &[Row]) -> anyhow::Result<Samples> {
    measured(|at| {
        let at = at % rows.len();
        let Row { shared, candidates, count } = &rows[at];
        let answer = module.evaluate(shared, candidates, *count, BUDGET);
        answer.map(drop).map_err(|fault| anyhow::anyhow!("row {}: the module faulted with `{fault}`", at + 1))
    })
}

/// Times calls by their number, after a while of calls that are not: caches and predictors are not what is asked for.
fn measured(mut call: impl FnMut(usize) -> anyhow::Result<()>) -> anyhow::Result<Samples> {
    let begun = Instant::now();
    for at in 0.. {
        call(at)?;
        if begun.elapsed() > WARM_UP {
            break;
        }
    }
    let mut samples = Samples::default();
    let begun = Instant::now();
    for at in 0..MAX_CALLS {
        let start = Instant::now();
        call(at)?;
        samples.add(start.elapsed());
        if begun.elapsed() > MEASURE {
            break;
        }
    }
    Ok(samples)
}

/// What one candidate more costs: calls with `many` against calls with one.
fn row_us(module: &Module, calls: &[Row], many: u32) -> anyhow::Result<Option<f64>> {
    if many < 2 {
        return Ok(None);
    }
    let p50 = |count: u32| {
        let width = |row: &Row| row.candidates.len() / row.count.max(1) as usize;
        let calls: Vec<Row> = calls.iter().map(|row| resized(row, width(row), count)).collect();
        anyhow::Ok(time(module, &calls)?.quantiles().p50)
    };
    Ok(Some((p50(many)? - p50(1)?) / f64::from(many - 1)))
}

// === impl Report ===

impl Report<'_> {
    fn text(&self) -> String {
        let row = self.row_us.map_or("-".to_owned(), |us| format!("{us:.3} us"));
        format!(
            "module   {}, {} KiB, memory {} KiB\n\
             call     p50 {:.1} us, p99 {:.1} us ({} calls of {:.1} candidates in fresh instances; rows: {})\n\
             row      {row} for one candidate more\n\
             compile  {:.1} ms the first time, {:.2} ms from the cache",
            self.module,
            self.bytes.div_ceil(1 << 10),
            self.memory_bytes >> 10,
            self.call_us.p50,
            self.call_us.p99,
            self.calls,
            self.candidates_per_call,
            self.rows,
            self.compile_ms,
            self.cached_ms,
        )
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;

    #[test]
    fn calls_that_are_over_at_once_are_measured() {
        // Many more of them than are measured fit into the warm-up.
        let mut calls = 0;
        let counted = |_| {
            calls += 1;
            Ok(())
        };
        let samples = measured(counted).unwrap();
        assert!(samples.calls > 0 && samples.calls <= MAX_CALLS && calls > samples.calls);
        assert!(samples.quantiles().p50.is_finite());
    }

    #[test]
    fn a_call_that_fails_ends_it() {
        let failed = measured(|at| if at == 3 { anyhow::bail!("row {at}") } else { Ok(()) });
        assert_eq!(failed.unwrap_err().to_string(), "row 3");
    }
}
