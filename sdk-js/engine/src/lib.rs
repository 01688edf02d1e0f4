//! The decision core for pages: what JavaScript calls, in bytes. Owns the border to JavaScript; everything behind it is `engine`'s,
//! which is the same code natively.
//!
//! No JSON, no text formatting of numbers, no error that is more than a text: the file is fetched by people who wait.

pub mod engine;

use std::collections::BTreeMap;

use selvedge_decision::Fault;
use selvedge_decision::page::fault_of;
use selvedge_decision::record::Rung;
use selvedge_decision::settle::Modules;
use wasm_bindgen::prelude::wasm_bindgen;

#[wasm_bindgen]
extern "C" {
    /// What runs modules: JavaScript's.
    pub type Runner;

    /// Runs a module, by its index in the release, on a shared row and `count` candidates' rows, and writes the answer into `out`.
    /// 0, or why it did not answer: see `fault_of`.
    #[wasm_bindgen(method)]
    fn run(this: &Runner, module: u32, shared: &[f64], candidates: &[f64], count: u32, out: &mut [f64]) -> u32;
}

/// A page's engine.
#[wasm_bindgen]
pub struct Engine {
    engine: engine::Engine,
    runner: Runner,
    outputs: BTreeMap<u32, u32>,
}

/// The page's modules during one decision.
struct Calls<'a> {
    runner: &'a Runner,
    outputs: &'a BTreeMap<u32, u32>,
}

#[wasm_bindgen]
impl Engine {
    /// Of a release as the node tells it; see `engine::Engine::new`.
    #[wasm_bindgen(constructor)]
    pub fn new(release: &[u8], runner: Runner, tag: u32, count: u32) -> Result<Engine, String> {
        let engine = engine::Engine::new(release, tag, count).map_err(|bad| bad.to_string())?;
        let outputs = engine.outputs().clone();
        Ok(Self { engine, runner, outputs })
    }

    /// Takes rows as the node answered them; the page's clock in microseconds.
    pub fn take(&mut self, rows: &[u8], now_us: f64) -> Result<(), String> {
        self.engine.take(rows, now_us as i64).map_err(|bad| bad.to_string())
    }

    /// Decides one placement; the record.
    pub fn decide(&mut self, ask: &[u8], now_us: f64) -> Result<Vec<u8>, String> {
        let mut calls = Calls { runner: &self.runner, outputs: &self.outputs };
        self.engine.decide(ask, now_us as i64, &mut calls).map_err(|refused| refused.to_string())
    }

    /// Decides a record again; the record that comes out.
    pub fn replay(&mut self, record: &[u8]) -> Result<Vec<u8>, String> {
        let mut calls = Calls { runner: &self.runner, outputs: &self.outputs };
        self.engine.replay(record, &mut calls).map_err(|refused| refused.to_string())
    }
}

impl Modules for Calls<'_> {
    fn evaluate(
        &mut self,
        _: Rung,
        module: usize,
        shared: &[f64],
        candidates: &[f64],
        count: u32,
    ) -> Result<Vec<f64>, Fault> {
        let module = module as u32;
        let width = self.outputs.get(&module).copied().ok_or(Fault::Refused)?;
        let mut out = vec![0.0; width as usize * count as usize];
        fault_of(self.runner.run(module, shared, candidates, count, &mut out))?;
        Ok(out)
    }
}
