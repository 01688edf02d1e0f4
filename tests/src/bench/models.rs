//! Models through the builder: inside the module, in a fresh instance, and against the same kernel compiled for this machine.
//!
//! What a row costs inside the module is timed in one instance of its core module that is called again and again, without the
//! copying of arguments.

#![expect(unsafe_code, reason = "the kernel natively trusts what the builder wrote")]

use std::time::Duration;

use anyhow::{Context, Result, anyhow, ensure};
use selvedge_build::module;
use selvedge_build::pipeline::Pipeline;
use selvedge_build::pipeline::compile::{self, Options};
use selvedge_decision::manifest::Scope;
use selvedge_guest::Call;
use selvedge_host::{Host, HostConfig, Module};
use selvedge_pipeline::program::Program;

use super::measure::{Round, median};
use super::reused::Reused;
use super::{Effort, Line};
use crate::harness::Random;
use crate::models;

const BUDGET: Duration = Duration::from_secs(5);
/// The module against the same code natively.
const NATIVE_RATIO: f64 = 1.6;

/// The kernel's core module before data, in bytes.
const KERNEL_BAR: f64 = 40_960.0;

/// A model, loaded.
struct Subject {
    module: Module,
    /// Its core module, to be called in one instance.
    core: Vec<u8>,
    program: Vec<u8>,
    /// Columns of the shared row and of a candidate's.
    widths: [usize; 2],
    symbols: usize,
}

pub(super) async fn run(effort: Effort) -> Result<Vec<Line>> {
    let host = Host::new(HostConfig::default())?;
    let (shared, candidate) = (|n| named("user", n, Scope::Shared), |n| named("item", n, Scope::Candidate));
    let mut lines = Vec::new();

    let xgboost = Subject::load(&host, &models::perfect(shared(1_000), 100, 6, 1), 1)?;
    let (inside, native) = (xgboost.inside(effort)?, xgboost.native(effort)?);
    let what = "100 trees x depth 6 over 1,000 f64";
    let natively = |native: f64| format!("p50 in one instance; {native:.2} us natively");
    lines.push(Line::time(format!("{what}: inside the module"), (inside, inside), inside, 2.0, natively(native)));
    let alone = xgboost.call(effort, 1)?;
    lines.push(Line::time(format!("{what}: a fresh instance"), alone.quantiles(), alone.p50_us, 6.0, "p50"));

    let mixed = shared(900).into_iter().chain(candidate(100)).collect();
    let ranked = Subject::load(&host, &models::perfect(mixed, 100, 6, 2), 200)?.call(effort, 200)?;
    let name = "100 trees x depth 6 over 200 x (900 shared + 100 own): a fresh instance";
    lines.push(Line::time(name, ranked.quantiles(), ranked.p50_us, 230.0, "p50"));

    let lightgbm = Subject::load(&host, &models::leafwise(shared(100), 100, 255, 3), 1)?;
    let (inside, native) = (lightgbm.inside(effort)?, lightgbm.native(effort)?);
    let what = format!("{inside:.2} us inside the module, {native:.2} us natively");
    let name = "100 trees x 255 leaves over 100 f64: against the same walk natively";
    lines.push(Line::time(name, (inside, inside), inside, NATIVE_RATIO * native, what));

    let network = Subject::load(&host, &models::network(shared(1_000), 64, 4), 1)?;
    let (inside, native) = (network.inside(effort)?, network.native(effort)?);
    let name = "network 1000-64-1 in f32: inside the module";
    lines.push(Line::time(name, (inside, inside), inside, 8.0, natively(native)));

    let embedding = Subject::load(&host, &models::embedding(1_000, 64, 5), 1_000)?.call(effort, 1_000)?;
    let name = "1,000 dot products of 64 in f32: a fresh instance";
    lines.push(Line::time(name, embedding.quantiles(), embedding.p50_us, 12.0, "p50"));

    let smallest = models::module(&models::network(shared(1), 1, 6), "bench", 1)?;
    let kernel = module::lift(&smallest)?.len() as f64;
    lines.push(Line::other("core module of a network of one weight", kernel, Some(KERNEL_BAR), "bytes"));
    Ok(lines)
}

fn named(view: &str, count: usize, scope: Scope) -> Vec<selvedge_build::pipeline::PipelineInput> {
    models::numbers((0..count).map(|at| format!("{view}.f{at:03}")), scope)
}

// === impl Subject ===

impl Subject {
    fn load(host: &Host, pipeline: &Pipeline, rows: usize) -> Result<Self> {
        let bytes = models::module(pipeline, "bench", rows as u32)?;
        let file = module::open(&bytes)?;
        let module = host.load(&bytes, &file.manifest)?;
        module.check_vectors(&file.vectors)?;
        let core = module::lift(&bytes)?.to_vec();
        let program = compile::program(pipeline, &Options::new("bench"))?;
        let widths = [file.manifest.shared_width(), file.manifest.candidate_width()];
        let symbols = pipeline.inputs.iter().map(|input| input.symbols.len()).max().unwrap_or(0);
        Ok(Self { module, core, program, widths, symbols })
    }

    /// Calls of `count` candidates, each in a fresh instance.
    fn call(&self, effort: Effort, count: usize) -> Result<Round> {
        let (shared, candidates) = self.rows(count);
        let call = || self.module.evaluate(&shared, &candidates, count as u32, BUDGET);
        ensure!(call().is_ok_and(|scores| scores.len() == count), "the module does not answer");
        let calls = effort.scale(if count == 1 { 20_000 } else { 2_000 });
        Ok(Round::median(effort.rounds, || Round::run(1, calls, |_| || drop(call()))))
    }

    /// Microseconds that a row takes inside the module.
    fn inside(&self, effort: Effort) -> Result<f64> {
        let (shared, candidates) = self.rows(1);
        let mut reused = Reused::new(&self.core)?;
        let rounds: Result<Vec<f64>> =
            (0..effort.rounds).map(|_| reused.p50_us(&shared, &candidates, 1, effort.scale(20_000))).collect();
        Ok(median(rounds?))
    }

    /// Microseconds a row of the kernel compiled for this machine.
    fn native(&self, effort: Effort) -> Result<f64> {
        // SAFETY: the builder wrote it.
        let program = unsafe { Program::trust(&self.program) }.context("no program")?;
        let (shared, candidates) = self.rows(1);
        let call = || selvedge_pipeline::evaluate(&program, Call::new(&shared, &candidates, 1));
        call().map_err(|why| anyhow!(why))?;
        Ok(Round::median(effort.rounds, || Round::run(1, effort.scale(20_000), |_| || drop(call()))).p50_us)
    }

    /// Rows of values from -1 to 1, or of symbols.
    fn rows(&self, count: usize) -> (Vec<f64>, Vec<f64>) {
        let mut random = Random::new(count as u64);
        let shared = (0..self.widths[0]).map(|_| random.unit() * 2.0 - 1.0).collect();
        let own = (0..count * self.widths[1]).map(|_| match self.symbols {
            0 => random.unit() * 2.0 - 1.0,
            symbols => random.below(symbols as u64) as f64,
        });
        (shared, own.collect())
    }
}
