//! The same trees here and in the libraries that made them: XGBoost's C API and onnxruntime, one thread each, in one run.

use std::fs;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use selvedge_build::import;
use selvedge_build::module;
use selvedge_build::pipeline::compile::{self, Options};
use selvedge_build::pipeline::{OutputKind, Step};
use selvedge_host::{Host, HostConfig, Module};
use serde::Deserialize;

use super::measure::{Round, median};
use super::{Effort, Line};
use crate::harness::{Random, binary, xgboost};

/// The interpreter that has the libraries; `./x bench` makes it and says where.
const PYTHON: &str = "SELVEDGE_PYTHON_MODELS";
const FEATURES: usize = 1_000;
/// Of the features, those of each candidate when several are ranked.
const OWN: usize = 100;
const CANDIDATES: usize = 200;
const BUDGET: Duration = Duration::from_secs(5);

/// What `tests/python/speed.py` prints: times are of one row and of all.
#[derive(Deserialize)]
struct Told {
    margins: Vec<f32>,
    /// What onnxruntime's trees add up to, without where the margin begins.
    sums: Vec<f32>,
    xgboost_us: [f64; 2],
    onnxruntime_us: [f64; 2],
}

pub(super) async fn run(effort: Effort) -> Result<Vec<Line>> {
    let python = std::env::var_os(PYTHON).with_context(|| {
        format!("{PYTHON} is not set: run this as `./x bench trainers`, which installs the libraries")
    })?;
    let folder = tempfile::tempdir()?;
    let names = |own: usize| -> Vec<String> {
        let scope = |at: usize| if at < FEATURES - own { "user" } else { "item" };
        (0..FEATURES).map(|at| format!("{}.f{at:03}", scope(at))).collect()
    };
    let [shared, mixed] = [names(0), names(OWN)];
    let texts: Vec<&str> = shared.iter().map(String::as_str).collect();
    let model = xgboost::model(&texts, 100, 6, 1);
    let mut random = Random::new(1);
    let user: Vec<f64> = (0..FEATURES - OWN).map(|_| f64::from((random.unit() * 100.0) as f32)).collect();
    let items: Vec<f64> = (0..CANDIDATES * OWN).map(|_| f64::from((random.unit() * 100.0) as f32)).collect();
    let rows: Vec<f64> = items.chunks(OWN).flat_map(|item| user.iter().chain(item).copied()).collect();
    fs::write(folder.path().join("model.json"), &model)?;
    fs::write(folder.path().join("rows.f64"), rows.iter().flat_map(|x| x.to_le_bytes()).collect::<Vec<_>>())?;

    let base = base(&model)?;
    let host = Host::new(HostConfig::default())?;
    let [one, all] = [load(&host, &model, &shared, 1)?, load(&host, &model, &mixed, CANDIDATES)?];
    let call_one = || one.evaluate(&rows[..FEATURES], &[], 1, BUDGET);
    let call_all = || all.evaluate(&user, &items, CANDIDATES as u32, BUDGET);
    let (mut ours_one, mut ours_all, mut told) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..effort.rounds {
        ours_one.push(Round::run(1, effort.scale(20_000), |_| || drop(call_one())));
        ours_all.push(Round::run(1, effort.scale(2_000), |_| || drop(call_all())));
        let script = binary::repository().join("tests/python/speed.py");
        let output = Command::new(&python).args(["-B", "-W", "ignore"]).arg(script).arg(folder.path()).output()?;
        ensure!(output.status.success(), "speed.py: {}", String::from_utf8_lossy(&output.stderr));
        let answer: Told = serde_json::from_slice(&output.stdout)?;
        let scores = call_all().map_err(|fault| anyhow::anyhow!("the module faulted with `{fault}`"))?;
        ensure!(
            answer.margins.len() == scores.len()
                && answer.margins.iter().zip(&scores).all(|(margin, score)| f64::from(*margin) == *score),
            "XGBoost's margins are others"
        );
        let near = |(sum, score): (&f32, &f64)| {
            let expected = score - base;
            (f64::from(*sum) - expected).abs() <= 1e-4 * expected.abs()
        };
        ensure!(
            answer.sums.len() == scores.len() && answer.sums.iter().zip(&scores).all(near),
            "onnxruntime's sums are those of other trees"
        );
        told.push(answer);
    }
    let [ours_one, ours_all] = [ours_one, ours_all].map(|rounds| Round::medians(&rounds));
    let theirs = |pick: fn(&Told) -> f64| median(told.iter().map(pick));
    let line = |name: &str, ours: Round, library: &str, theirs: f64| {
        Line::time(
            name,
            ours.quantiles(),
            ours.p50_us,
            theirs,
            format!("p50 of a fresh instance; the bar is {library}"),
        )
    };
    let what = "100 trees x depth 6 over 1,000";
    Ok(vec![
        line(&format!("{what}: against XGBoost"), ours_one, "its C API on one row", theirs(|told| told.xgboost_us[0])),
        line(
            &format!("{what}: against onnxruntime"),
            ours_one,
            "a run on one bound row",
            theirs(|told| told.onnxruntime_us[0]),
        ),
        line(
            "the same, 200 candidates: against XGBoost",
            ours_all,
            "its C API on all rows",
            theirs(|told| told.xgboost_us[1]),
        ),
        line(
            "the same, 200 candidates: against onnxruntime",
            ours_all,
            "a run on all rows",
            theirs(|told| told.onnxruntime_us[1]),
        ),
    ])
}

fn load(host: &Host, model: &str, names: &[String], rows: usize) -> Result<Module> {
    let pipeline = import::read("model.json", model.as_bytes(), Some(names))?;
    let options = Options { output: Some(OutputKind::Margin), rows: rows as u32, ..Options::new("bench") };
    let bytes = compile::module(&pipeline, &options)?;
    Ok(host.load(&bytes, &module::open(&bytes)?.manifest)?)
}

/// Where the margin of the model begins.
fn base(model: &str) -> Result<f64> {
    let pipeline = import::read("model.json", model.as_bytes(), None)?;
    let trees = pipeline.steps.iter().find_map(|step| if let Step::Trees(trees) = step { Some(trees) } else { None });
    trees.and_then(|trees| trees.base.first().copied()).context("the model has no trees")
}
