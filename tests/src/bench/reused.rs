//! A core module called in one instance again and again, as a browser may: what is spent inside it, without the instance that a
//! node makes for every call and without the copying of arguments.

use std::time::Instant;

use anyhow::{Context, Result, ensure};
use wasmtime::{Config, Engine, Instance, Memory, Module, Store, TypedFunc};

use super::measure::Samples;

const EVALUATE: &str = "selvedge:decision/module@1.0.0#evaluate";

/// An instance.
pub(super) struct Reused {
    store: Store<()>,
    memory: Memory,
    allocate: TypedFunc<(u32, u32, u32, u32), u32>,
    evaluate: TypedFunc<(u32, u32, u32, u32, u32), u32>,
    free: TypedFunc<u32, ()>,
}

// === impl Reused ===

impl Reused {
    /// With the settings that cost time in a node.
    pub(super) fn new(core: &[u8]) -> Result<Self> {
        let mut config = Config::new();
        config.epoch_interruption(true);
        let engine = Engine::new(&config)?;
        let mut store = Store::new(&engine, ());
        store.set_epoch_deadline(1);
        let instance = Instance::new(&mut store, &Module::new(&engine, core)?, &[])?;
        let memory = instance.get_memory(&mut store, "memory").context("no memory")?;
        Ok(Self {
            memory,
            allocate: instance.get_typed_func(&mut store, "cabi_realloc")?,
            evaluate: instance.get_typed_func(&mut store, EVALUATE)?,
            free: instance.get_typed_func(&mut store, &format!("cabi_post_{EVALUATE}"))?,
            store,
        })
    }

    /// The median of `calls` calls, in microseconds.
    pub(super) fn p50_us(&mut self, shared: &[f64], candidates: &[f64], count: usize, calls: usize) -> Result<f64> {
        let mut samples = Samples::default();
        for call in 0..calls + calls / 10 {
            let (a, b) = (self.lower(shared)?, self.lower(candidates)?);
            let start = Instant::now();
            let answer = self
                .evaluate
                .call(&mut self.store, (a, shared.len() as u32, b, candidates.len() as u32, count as u32))?;
            let took = start.elapsed();
            let tag = self.memory.data(&self.store).get(answer as usize);
            ensure!(tag == Some(&0), "the module does not answer");
            self.free.call(&mut self.store, answer)?;
            if call >= calls / 10 {
                samples.add(took);
            }
        }
        Ok(samples.quantile(0.5))
    }

    fn lower(&mut self, numbers: &[f64]) -> Result<u32> {
        let bytes: Vec<u8> = numbers.iter().flat_map(|number| number.to_le_bytes()).collect();
        let at = self.allocate.call(&mut self.store, (0, 0, 8, bytes.len() as u32))?;
        self.memory.write(&mut self.store, at as usize, &bytes)?;
        Ok(at)
    }
}
