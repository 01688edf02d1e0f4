//! Pipelines of every step: the reference, the kernel natively and the module in the host answer with the same bits.

#![expect(unsafe_code, reason = "the kernel natively trusts what the builder wrote")]

mod generate;

use std::time::Duration;

use proptest::prelude::*;
use selvedge_build::module;
use selvedge_build::pipeline::compile::{self, Options};
use selvedge_build::pipeline::{OutputKind, Pipeline, reference};
use selvedge_guest::Call;
use selvedge_host::{Host, HostConfig};
use selvedge_pipeline::program::Program;

use generate::{Draws, Recipe};

const BUDGET: Duration = Duration::from_secs(10);
const CALLS: usize = 12;

/// The place of the first value that differs; one NaN is as good as another.
fn differs(a: &[f64], b: &[f64]) -> Option<usize> {
    let same = |(a, b): (&f64, &f64)| a.to_bits() == b.to_bits() || a.is_nan() && b.is_nan();
    if a.len() != b.len() { Some(a.len().min(b.len())) } else { a.iter().zip(b).position(|pair| !same(pair)) }
}

fn check(host: &Host, pipeline: &Pipeline, draws: &mut Draws) -> Result<(), TestCaseError> {
    let fail = |error: &dyn std::fmt::Display| TestCaseError::fail(error.to_string());
    let options = Options { rows: 8, ..Options::new("generated") };
    let bytes = compile::program(pipeline, &options).map_err(|error| fail(&error))?;
    // SAFETY: the builder wrote it.
    let program = unsafe { Program::trust(&bytes) }.ok_or_else(|| TestCaseError::fail("no program"))?;
    let file = compile::module(pipeline, &options).map_err(|error| fail(&error))?;
    let opened = module::open(&file).map_err(|error| fail(&error))?;
    let module = host.load(&file, &opened.manifest).map_err(|error| fail(&error))?;
    module.check_keeps_no_state(&opened.vectors).map_err(|error| fail(&error))?;
    for _ in 0..CALLS {
        let count = draws.below(9);
        let shared = draws.values(opened.manifest.shared_width());
        let candidates = draws.values(count * opened.manifest.candidate_width());
        let expected = reference::evaluate(pipeline, OutputKind::Margin, &shared, &candidates, count)
            .map_err(TestCaseError::fail)?;
        let native = selvedge_pipeline::evaluate(&program, Call::new(&shared, &candidates, count))
            .map_err(TestCaseError::fail)?;
        prop_assert_eq!(differs(&expected, &native), None, "kernel: {:?} {:?}", expected, native);
        let hosted = module.evaluate(&shared, &candidates, count as u32, BUDGET);
        let hosted = hosted.map_err(|fault| TestCaseError::fail(fault.as_str()))?;
        prop_assert_eq!(differs(&expected, &hosted), None, "module: {:?} {:?}", expected, hosted);
    }
    Ok(())
}

#[test]
fn kernel_and_module_answer_as_the_reference_does() {
    let host = Host::new(HostConfig { instances: 2, ..HostConfig::default() }).unwrap();
    let recipes = prop::collection::vec(Recipe::any(), 1..9);
    let config =
        ProptestConfig { cases: 96, max_shrink_iters: 200, failure_persistence: None, ..ProptestConfig::default() };
    let mut runner = proptest::test_runner::TestRunner::new(config);
    let run = runner.run(&(recipes, any::<u64>()), |(recipes, seed)| {
        let pipeline = generate::pipeline(&recipes);
        pipeline.check().map_err(|error| TestCaseError::fail(format!("generated what is refused: {error}")))?;
        check(&host, &pipeline, &mut Draws(seed))
    });
    if let Err(error) = run {
        panic!("{error}");
    }
}

/// Every kind of step alone, whatever the draws above came to.
#[test]
fn every_step_answers_as_the_reference_does() {
    let host = Host::new(HostConfig { instances: 2, ..HostConfig::default() }).unwrap();
    for kind in 0..generate::KINDS {
        for seed in 0..2 {
            let pipeline = generate::pipeline(&[Recipe { kind, columns: vec![0, 1, 2, 3, 4], seed }]);
            pipeline.check().unwrap();
            if let Err(error) = check(&host, &pipeline, &mut Draws(seed)) {
                panic!("step {kind}, seed {seed}: {error}\n{pipeline:?}");
            }
        }
    }
}

/// The builder wrote the bases of several sums in f64; a sum in f32 that no tree went into was answered unrounded.
#[test]
fn a_sum_without_trees_is_rounded_too() {
    let host = Host::new(HostConfig { instances: 2, ..HostConfig::default() }).unwrap();
    let pipeline = generate::pipeline(&[Recipe { kind: 21, columns: vec![0], seed: 13_846_516_375_999_303_258 }]);
    if let Err(error) = check(&host, &pipeline, &mut Draws(0)) {
        panic!("{error}\n{pipeline:?}");
    }
}
