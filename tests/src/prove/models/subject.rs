//! The model as a module: in the host, natively, in V8. Owns how a case becomes calls, and the counting of what differs.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use selvedge_build::module;
use selvedge_build::pipeline::compile::{self, Options};
use selvedge_build::pipeline::{OutputKind, Pipeline};
use selvedge_decision::manifest::Scope;
use selvedge_host::{Host, HostConfig, Module};

use super::case::{Case, Quality};
use super::elsewhere::{Calls, V8};
use super::near::{Parity, auc, log_loss};
use crate::prove::Findings;

/// Enough for every call, also on a busy machine.
const AMPLE: Duration = Duration::from_secs(20);

/// Where the modules run.
pub(super) struct Subject {
    host: Host,
    v8: Option<V8>,
}

// === impl Subject ===

impl Subject {
    pub(super) fn new(v8: Option<V8>) -> Result<Self> {
        Ok(Self { host: Host::new(HostConfig { instances: 4, ..HostConfig::default() })?, v8 })
    }

    /// Compares what V8 answers, when there is one.
    pub(super) fn finish(self, findings: &mut Findings) -> Result<()> {
        self.v8.map_or(Ok(()), |v8| v8.check(findings))
    }

    /// Counts every answer, and every golden vector, of every notation the model is written in.
    pub(super) fn compare(&mut self, case: &Case, parity: [Parity; 2], findings: &mut Findings) -> Result<()> {
        let [margin, prediction] = parity;
        for pipeline in &case.pipelines {
            if let Some(expected) = &case.margin {
                self.answers(case, pipeline, OutputKind::Margin, expected, margin, findings)?;
            }
            if let Some(expected) = &case.prediction {
                let found = self.answers(case, pipeline, OutputKind::Probability, expected, prediction, findings)?;
                if let Some((quality, labels)) = &case.quality {
                    check_quality(&case.name, *quality, &found, labels, findings);
                }
            }
        }
        Ok(())
    }

    fn answers(
        &mut self,
        case: &Case,
        pipeline: &Pipeline,
        output: OutputKind,
        expected: &[f64],
        parity: Parity,
        findings: &mut Findings,
    ) -> Result<Vec<f64>> {
        let what = || format!("{} ({}), {output:?}", case.name, pipeline.kind);
        let options = Options { output: Some(output), rows: 16, ..Options::new(&case.name) };
        let bytes = compile::module(pipeline, &options).with_context(what)?;
        let file = module::open(&bytes)?;
        let module = self.host.load(&bytes, &file.manifest)?;
        let vectors = module.check_vectors(&file.vectors);
        findings.check(vectors.is_ok(), || format!("{}: {vectors:?}", what()));
        let width = pipeline.input_width();
        let outputs = file.manifest.outputs.len();
        let rows = case.rows.len().checked_div(width).unwrap_or(0);
        ensure!(
            rows * outputs == expected.len() && rows * width == case.rows.len(),
            "{}: {} answers for {rows} rows of {width} and {outputs} outputs",
            what(),
            expected.len()
        );
        let mut calls = Calls {
            name: what(),
            widths: [Scope::Shared, Scope::Candidate].map(|scope| pipeline.width_of(scope)),
            outputs,
            rows: Vec::with_capacity(case.rows.len()),
            answers: Vec::with_capacity(expected.len()),
        };
        for (row, expected) in case.rows.chunks(width).zip(expected.chunks(outputs)) {
            let [shared, candidate] = split(pipeline, row);
            let found = call(&module, &shared, &candidate).with_context(|| format!("{}: {row:?}", what()))?;
            for (found, expected) in found.iter().zip(expected) {
                findings.check(parity.holds(*found, *expected), || {
                    format!("{}: {found:?} is not {expected:?} for {row:?}", what())
                });
            }
            for part in [&shared, &candidate] {
                calls.rows.extend_from_slice(part);
            }
            calls.answers.extend(found);
        }
        calls.check_natively(&compile::program(pipeline, &options)?, findings)?;
        let answers = calls.answers.clone();
        if let Some(v8) = &mut self.v8 {
            v8.add(module::lift(&bytes)?, calls)?;
        }
        Ok(answers)
    }
}

/// The shared columns of a row, and the candidate's.
fn split(pipeline: &Pipeline, row: &[f64]) -> [Vec<f64>; 2] {
    let (mut shared, mut candidate, mut at) = (Vec::new(), Vec::new(), 0);
    for input in &pipeline.inputs {
        let side = if input.scope() == Scope::Shared { &mut shared } else { &mut candidate };
        side.extend_from_slice(&row[at..][..input.width()]);
        at += input.width();
    }
    [shared, candidate]
}

fn call(module: &Module, shared: &[f64], candidate: &[f64]) -> Result<Vec<f64>> {
    module.evaluate(shared, candidate, 1, AMPLE).map_err(|fault| anyhow::anyhow!("it faulted with `{fault}`"))
}

fn check_quality(name: &str, known: Quality, scores: &[f64], labels: &[f64], findings: &mut Findings) {
    for (what, known, found) in
        [("AUC", known.auc, auc(scores, labels)), ("logloss", known.logloss, log_loss(scores, labels))]
    {
        let digits = |value: f64| format!("{value:.4}");
        findings.check(digits(found) == digits(known), || format!("{name}: {what} {found}, documented {known}"));
    }
}
