//! One call: a fresh instance, its limits, and the fault when it does not answer. Owns the mapping from everything that can go
//! wrong in a guest to `Fault`.

use std::time::Instant;

use selvedge_decision::Fault;
use wasmtime::component::{ComponentExportIndex, Instance, InstancePre};
use wasmtime::{Engine, PoolConcurrencyLimitError, ResourceLimiter, Store, Trap, UpdateDeadline};

/// What an answer may take beside its numbers: the text of an error.
const ERROR_TEXT_BYTES: usize = 4096;

/// What a store knows of its call.
#[derive(Debug)]
pub(crate) struct CallState {
    deadline: Instant,
    memory_limit_bytes: usize,
    /// Whether the guest asked for more memory than its limit.
    memory_refused: bool,
}

/// What a call goes to.
pub(crate) struct Callee<'a> {
    pub(crate) engine: &'a Engine,
    pub(crate) instance: &'a InstancePre<CallState>,
    pub(crate) evaluate: &'a ComponentExportIndex,
    pub(crate) memory_limit_bytes: usize,
    /// Outputs of a row.
    pub(crate) outputs: usize,
}

/// An instance and its store.
pub(crate) struct Live {
    store: Store<CallState>,
    instance: Instance,
}

// === impl Callee ===

impl Callee<'_> {
    /// Makes an instance that runs until `deadline`.
    pub(crate) fn instantiate(&self, deadline: Instant) -> Result<Live, Fault> {
        let state = CallState { deadline, memory_limit_bytes: self.memory_limit_bytes, memory_refused: false };
        let mut store = Store::new(self.engine, state);
        store.limiter(|state| state);
        store.set_epoch_deadline(1);
        store.epoch_deadline_callback(|context| {
            let expired = Instant::now() >= context.data().deadline;
            Ok(if expired { UpdateDeadline::Interrupt } else { UpdateDeadline::Continue(1) })
        });
        match self.instance.instantiate(&mut store) {
            Ok(instance) => Ok(Live { store, instance }),
            Err(error) if error.is::<PoolConcurrencyLimitError>() => {
                tracing::error!(%error, "no memory is free for a module call: raise modules.instances");
                Err(Fault::Memory)
            }
            Err(error) => Err(store.data().fault(&error, Fault::Trap)),
        }
    }

    /// Calls an instance. After a fault it must not be called again.
    pub(crate) fn call(
        &self,
        live: &mut Live,
        shared: &[f64],
        candidates: &[f64],
        count: u32,
    ) -> Result<Vec<f64>, Fault> {
        let expected = count as usize * self.outputs;
        let store = &mut live.store;
        // An answer that is longer than it should be is not even copied.
        store.set_hostcall_fuel(expected.saturating_mul(size_of::<f64>()).saturating_add(ERROR_TEXT_BYTES));
        let evaluate = live
            .instance
            .get_typed_func::<(&[f64], &[f64], u32), (Result<Vec<f64>, String>,)>(&mut *store, self.evaluate)
            .map_err(|error| store.data().fault(&error, Fault::Trap))?;
        let (answer,) = evaluate
            .call(&mut *store, (shared, candidates, count))
            .map_err(|error| store.data().fault(&error, Fault::BadOutput))?;
        match answer {
            Ok(outputs) if outputs.len() == expected => Ok(outputs),
            Ok(outputs) => {
                tracing::debug!(values = outputs.len(), expected, "a module answered with a wrong number of values");
                Err(Fault::BadOutput)
            }
            Err(text) => {
                tracing::debug!(text, "a module refused a call");
                Err(Fault::Refused)
            }
        }
    }
}

// === impl CallState ===

impl CallState {
    /// Why the guest did not answer; `otherwise` for what is no trap: an answer that cannot be read.
    fn fault(&self, error: &wasmtime::Error, otherwise: Fault) -> Fault {
        if self.memory_refused {
            // The guest's own way out of a refused growth is a trap like any other.
            return Fault::Memory;
        }
        let fault = match error.downcast_ref::<Trap>() {
            Some(Trap::Interrupt) => Fault::Deadline,
            Some(_) => Fault::Trap,
            None => otherwise,
        };
        tracing::debug!(fault = fault.as_str(), error = format!("{error:#}"), "a module faulted");
        fault
    }
}

impl ResourceLimiter for CallState {
    fn memory_growing(
        &mut self,
        _current: usize,
        desired: usize,
        maximum: Option<usize>,
    ) -> Result<bool, wasmtime::Error> {
        let fits = desired <= self.memory_limit_bytes && maximum.is_none_or(|maximum| desired <= maximum);
        self.memory_refused |= !fits;
        Ok(fits)
    }

    fn table_growing(
        &mut self,
        _current: usize,
        desired: usize,
        maximum: Option<usize>,
    ) -> Result<bool, wasmtime::Error> {
        let fits = maximum.is_none_or(|maximum| desired <= maximum);
        self.memory_refused |= !fits;
        Ok(fits)
    }
}
