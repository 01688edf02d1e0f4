//! The same decision in a page, to the bit: cases and generated decisions, decided by the core with everything a release says, by the
//! engine of a page with no more than a page gets, natively and as WebAssembly in Node.js, Chromium and Firefox, and replayed there.
//! Every record must be the same bytes.

mod cases;
mod generated;
mod javascript;

use std::collections::BTreeMap;

use anyhow::{Context, Result};
use selvedge_decision::page::PageRows;
use selvedge_decision::record::Rung;
use selvedge_decision::settle::Modules;
use selvedge_decision::{Digest, Fault, Plan, Record};
use selvedge_engine::engine::{Ask, Engine};
use serde_json::Value;

use super::{Findings, Scale};
use javascript::Written;

/// A release in a page, and what is asked of it.
#[derive(Default)]
struct World {
    /// What it is called in findings.
    name: String,
    /// What a page gets of the release.
    release: Vec<u8>,
    /// How JavaScript finds the modules: {index, wasm} or {index, formula}.
    modules: Vec<Value>,
    /// The core modules by the name that `modules` has for them.
    files: BTreeMap<String, Vec<u8>>,
    ops: Vec<Op>,
}

/// What is done to an engine.
enum Op {
    /// It takes rows.
    Rows(Vec<u8>),
    /// It decides, and this must come out: a record, or why there is none.
    Decide(Vec<u8>, Outcome),
    /// It decides a record again: the same.
    Replay(Vec<u8>),
}

/// A record, or a refusal.
type Outcome = Result<Vec<u8>, String>;

/// The release that all of it is of, as records name it.
fn digest() -> Digest {
    Digest::of(b"parity")
}

pub(super) async fn run(scale: Scale) -> Result<Findings> {
    let mut findings = Findings::default();
    let mut worlds = cases::worlds(&mut findings)?;
    worlds.extend(generated::worlds(scale, &mut findings)?);
    let decisions: usize = worlds.iter().map(|world| world.ops.iter().filter(|op| op.has_answer()).count()).sum();
    let written = Written::new(&worlds)?;
    compare("Node.js", &worlds, &written.in_node().await?, decisions, &mut findings);
    for browser in ["chromium", "firefox"] {
        match written.in_page(browser).await? {
            Some(answers) => compare(browser, &worlds, &answers, decisions, &mut findings),
            None => {
                let what = format!("not in {browser}: it, its driver or the SDK is not here");
                findings.check(scale.short, || what.clone());
                findings.note(what);
            }
        }
    }
    Ok(findings)
}

/// Whether what came out somewhere is what came out natively.
fn compare(place: &str, worlds: &[World], answers: &[Vec<Outcome>], decisions: usize, findings: &mut Findings) {
    let mut came = 0;
    for (world, answers) in worlds.iter().zip(answers) {
        let expected = world.ops.iter().filter_map(Op::expected);
        for (at, (expected, answer)) in expected.zip(answers).enumerate() {
            findings.check(expected == *answer, || {
                format!("{}, answer {at}: natively {}, in {place} {}", world.name, told(&expected), told(answer))
            });
            came += 1;
        }
    }
    findings.check(came == decisions, || format!("{came} of {decisions} answers came back from {place}"));
    findings.note(format!("{decisions} decisions and replays in {place}, of {} releases", worlds.len()));
}

/// An outcome for people.
fn told(outcome: &Outcome) -> String {
    match outcome {
        Ok(bytes) => match Record::from_bytes(bytes) {
            Ok(record) => format!("{record:?}"),
            Err(error) => error.to_string(),
        },
        Err(why) => why.clone(),
    }
}

// === impl World ===

impl World {
    /// A world of a plan, each module of which a page may have.
    fn new(name: String, plan: &Plan) -> Self {
        let (page, _) = plan.page(digest(), |_| true, |_| true);
        Self { name, release: page.to_bytes(), ..Self::default() }
    }

    /// Asks natively, after the rows that belong to whom it is for, and notes what JavaScript is to be asked. `direct` is what the core
    /// makes of the same with the whole release at hand.
    fn ask(
        &mut self,
        engine: &mut Engine,
        modules: &mut impl Modules,
        rows: &PageRows<'_>,
        ask: &Ask<'_>,
        direct: impl FnOnce(u32) -> Option<Outcome>,
        findings: &mut Findings,
    ) -> Result<()> {
        let rows = rows.to_bytes();
        engine.take(&rows, 0).map_err(|bad| anyhow::anyhow!("{}: {bad}", self.name))?;
        self.ops.push(Op::Rows(rows));
        let bytes = ask.to_bytes();
        let count = engine.next_count();
        let outcome = engine.decide(&bytes, 0, modules).map_err(|refused| refused.to_string());
        if let Some(direct) = direct(count) {
            findings.check(direct == outcome, || {
                format!("{}: with the whole release {}, in a page {}", self.name, told(&direct), told(&outcome))
            });
        }
        if let Ok(record) = &outcome
            && Record::from_bytes(record).is_ok_and(|record| record.inputs.is_some())
        {
            let again = engine.replay(record, modules).map_err(|refused| refused.to_string());
            findings.check(again.as_ref() == Ok(record), || format!("{}: replayed {}", self.name, told(&again)));
            self.ops.push(Op::Decide(bytes, outcome.clone()));
            self.ops.push(Op::Replay(record.clone()));
        } else {
            self.ops.push(Op::Decide(bytes, outcome));
        }
        Ok(())
    }

    /// The engine of a page that has this release, as JavaScript's has it.
    fn engine(&self) -> Result<Engine> {
        Engine::new(&self.release, 7, 0).with_context(|| self.name.clone())
    }
}

// === impl Op ===

impl Op {
    fn has_answer(&self) -> bool {
        self.expected().is_some()
    }

    fn expected(&self) -> Option<Outcome> {
        match self {
            Self::Rows(_) => None,
            Self::Decide(_, outcome) => Some(outcome.clone()),
            Self::Replay(record) => Some(Ok(record.clone())),
        }
    }
}

/// Modules by a function.
struct Called<F>(F);

impl<F: FnMut(usize, &[f64], &[f64], u32) -> Result<Vec<f64>, Fault>> Modules for Called<F> {
    fn evaluate(
        &mut self,
        _: Rung,
        module: usize,
        shared: &[f64],
        candidates: &[f64],
        count: u32,
    ) -> Result<Vec<f64>, Fault> {
        (self.0)(module, shared, candidates, count)
    }
}
