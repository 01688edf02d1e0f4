//! The decision core for pages: what JavaScript calls, in bytes. Owns the border to JavaScript; everything behind it is `engine`'s,
//! which is the same code natively.
//!
//! No JSON, no text formatting of numbers, no error that is more than a text: the file is fetched by people who wait.

#![no_std]

extern crate alloc;

pub mod engine;

use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;

use selvedge_decision::Fault;
use selvedge_decision::page::{BadPage, fault_of};
use selvedge_decision::record::Rung;
use selvedge_decision::settle::Modules;
use selvedge_decision::sorted::Sorted;
use wasm_bindgen::prelude::wasm_bindgen;

use crate::engine::Refused;

/// A page lives long, and what it is told of may be large: what is freed is used again, in one piece with what lies beside it. An
/// eighth of the code of the allocator that the standard library has here.
#[cfg(target_arch = "wasm32")]
#[global_allocator]
static ALLOCATOR: rlsf::GlobalTlsf<Memory> = rlsf::GlobalTlsf::new();

#[cfg(target_arch = "wasm32")]
struct Memory;

#[cfg(target_arch = "wasm32")]
impl rlsf::GlobalTlsfOptions for Memory {
    const ENABLE_REALLOCATION: bool = false;
    const COALESCE_POOLS: bool = true;
}

/// A page gets no words of what cannot happen: words are code that it would fetch.
#[cfg(target_arch = "wasm32")]
#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    core::arch::wasm32::unreachable()
}

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
    outputs: Sorted<u32, u32>,
}

/// The page's modules during one decision.
struct Calls<'a> {
    runner: &'a Runner,
    outputs: &'a Sorted<u32, u32>,
}

#[wasm_bindgen]
impl Engine {
    /// Of a release as the node tells it; see `engine::Engine::new`.
    #[wasm_bindgen(constructor)]
    pub fn new(release: &[u8], runner: Runner, tag: u32, count: u32) -> Result<Engine, String> {
        let engine = engine::Engine::new(release, tag, count).map_err(text)?;
        let outputs = engine.outputs().clone();
        Ok(Self { engine, runner, outputs })
    }

    /// Takes rows as the node answered them; the page's clock in microseconds.
    pub fn take(&mut self, rows: &[u8], now_us: f64) -> Result<(), String> {
        self.engine.take(rows, now_us as i64).map_err(text)
    }

    /// Decides one placement; the record.
    pub fn decide(&mut self, ask: &[u8], now_us: f64) -> Result<Vec<u8>, String> {
        let mut calls = Calls { runner: &self.runner, outputs: &self.outputs };
        self.engine.decide(ask, now_us as i64, &mut calls).map_err(Refused::into_text)
    }

    /// Decides a record again; the record that comes out.
    pub fn replay(&mut self, record: &[u8]) -> Result<Vec<u8>, String> {
        let mut calls = Calls { runner: &self.runner, outputs: &self.outputs };
        self.engine.replay(record, &mut calls).map_err(Refused::into_text)
    }
}

/// In few words, as JavaScript gets it.
fn text(bad: BadPage) -> String {
    String::from(match bad {
        BadPage::Form => "not what a page decides by: cut off, or something else",
        BadPage::Version { .. } => "the node and this engine are of versions that do not go together",
        BadPage::OtherRelease => "rows of another release: fetch the release again",
    })
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
