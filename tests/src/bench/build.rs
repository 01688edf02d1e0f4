//! `selvedge build` of a large model: time, memory against the model file, and what compiling the module costs a node.

use std::fs;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use super::measure::Samples;
use super::{Effort, Line};
use crate::harness::{Cli, binary, wait, xgboost};

const TREES: usize = 500;
const DEPTH: u32 = 8;
const FEATURES: usize = 100;
/// How often the builder's memory is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(1);

pub(super) async fn run(effort: Effort) -> Result<Vec<Line>> {
    let folder = tempfile::tempdir()?;
    let (file, module) = (folder.path().join("large.json"), folder.path().join("large.wasm"));
    let names: Vec<String> = (0..FEATURES).map(|at| format!("user.f{at:02}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let model = xgboost::model(&names, TREES, DEPTH, 8);
    fs::write(&file, &model)?;

    let (mut time, mut peak, mut compile) = (Samples::default(), 0u64, Samples::default());
    for _ in 0..effort.rounds {
        let mut command = Command::new(binary::built("selvedge")?);
        command.arg("build").arg(&file).arg("-o").arg(&module).arg("--json");
        let (took, memory) = measured(&mut command).await?;
        time.add(took);
        peak = peak.max(memory);
        let told = Cli::offline().json(["bench".as_ref(), module.as_os_str()]).await?;
        compile.add(Duration::from_secs_f64(told["compile_ms"].as_f64().context("compile_ms")? / 1e3));
    }
    let what = format!("{TREES} trees of depth {DEPTH}, XGBoost JSON of {} MiB, checks included", model.len() >> 20);
    let (build, aot) = (time.quantiles(), compile.quantiles());
    Ok(vec![
        Line::time("selvedge build of a large model", build, build.0, 1e6, what),
        Line::other("selvedge build: memory over file", peak as f64 / model.len() as f64, Some(3.0), "peak resident"),
        Line::time("first compile of the large module", aot, aot.0, 2e5, "p50 in a host without a cache"),
    ])
}

/// Runs a command to its end: how long it took, and the most memory it was seen with.
async fn measured(command: &mut Command) -> Result<(Duration, u64)> {
    let start = Instant::now();
    let mut child = command.stdout(std::process::Stdio::null()).stderr(std::process::Stdio::null()).spawn()?;
    let status = format!("/proc/{}/status", child.id());
    let mut peak = 0;
    loop {
        // The high-water mark only rises, so the last look before the end counts; a process that ended has none.
        let text = fs::read_to_string(&status).unwrap_or_default();
        let mark = text.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let kib = mark.and_then(|mark| mark.split_whitespace().next()?.parse::<u64>().ok()).unwrap_or(0);
        peak = peak.max(kib * 1024);
        if let Some(status) = child.try_wait()? {
            ensure!(status.success(), "{command:?} failed: {status}");
            return Ok((start.elapsed(), peak));
        }
        wait::pass(LOOK_EVERY).await;
    }
}
