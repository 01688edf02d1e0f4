//! The host and its modules: what is made once per process and once per module. Owns the limits a module is held to.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use selvedge_decision::{Fault, Manifest};
use wasmtime::Engine;
use wasmtime::component::{Component, ComponentExportIndex, InstancePre, Linker};

use crate::cache::Cache;
use crate::call::{CallState, Callee, Live};
use crate::engine;
use crate::ticker::Ticker;

const INTERFACE: &str = "selvedge:decision/module@1.0.0";
const FUNCTION: &str = "evaluate";

/// The limits of a host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostConfig {
    /// Where compiled code is kept between runs; `None` compiles at every start. The node alone may write there.
    pub cache_dir: Option<PathBuf>,
    /// The most compiled code kept there, in bytes; the oldest goes first.
    pub max_cache_bytes: u64,
    /// The most memory of one instance, in bytes.
    pub max_memory_bytes: usize,
    /// The longest answer of one call, in bytes.
    pub max_output_bytes: usize,
    /// The most calls at the same time. Each reserves address space of 4 GiB, and keeps at most 512 KiB of memory.
    pub instances: u32,
}

/// The host of modules: one a process.
#[derive(Clone)]
pub struct Host {
    shared: Arc<Shared>,
}

/// A loaded module. Cheap to clone; the code is freed with the last clone.
#[derive(Clone)]
pub struct Module {
    shared: Arc<Shared>,
    loaded: Arc<Loaded>,
}

/// An instance that is kept between calls, as browsers do.
pub(crate) struct Kept<'a> {
    module: &'a Module,
    live: Live,
}

struct Shared {
    // Dropped before the engine, whose epoch it advances.
    ticker: Ticker,
    engine: Engine,
    cache: Cache,
    config: HostConfig,
}

struct Loaded {
    instance: InstancePre<CallState>,
    evaluate: ComponentExportIndex,
    /// Columns of the shared row and of a candidate's row.
    widths: [usize; 2],
    outputs: usize,
    max_rows: u32,
    memory_limit_bytes: usize,
}

/// What loading modules came to since the start.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counts {
    /// Modules compiled.
    pub compiled: u64,
    /// Modules whose code came from the cache.
    pub cache_hits: u64,
    /// Cache files that were torn or foreign, and therefore compiled anew.
    pub cache_refused: u64,
    /// Cache files removed to stay under `max_cache_bytes`.
    pub cache_evicted: u64,
}

/// Why a host does not start.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the module host does not start: {0}")]
pub struct StartError(pub(crate) String);

/// Why a module cannot be loaded.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LoadError {
    /// It does not compile.
    #[error("does not compile: {0}")]
    Compile(String),
    /// It has imports, or not the function.
    #[error("cannot be linked: {0}")]
    Link(String),
    /// It needs more memory than the host gives.
    #[error(
        "needs {needed} bytes of memory, the host gives {limit} (modules.max_memory); build it for fewer rows a call, or give more"
    )]
    Memory {
        /// What the manifest says.
        needed: u64,
        /// What the host gives.
        limit: usize,
    },
    /// Its longest answer is longer than the host takes.
    #[error("may answer with {needed} bytes, the host takes {limit} (modules.max_output)")]
    Output {
        /// Rows times outputs of the manifest.
        needed: usize,
        /// What the host takes.
        limit: usize,
    },
    /// It cannot even be instantiated.
    #[error("cannot be instantiated: it faults with `{0}`")]
    Instantiate(Fault),
}

// === impl HostConfig ===

impl Default for HostConfig {
    fn default() -> Self {
        Self {
            cache_dir: None,
            max_cache_bytes: 1 << 30,
            max_memory_bytes: 64 << 20,
            max_output_bytes: 8 << 20,
            instances: 64,
        }
    }
}

// === impl Host ===

impl Host {
    /// Starts the engine and its ticker thread.
    ///
    /// # Errors
    ///
    /// When the system does not give the address space, the thread or the cache folder.
    pub fn new(config: HostConfig) -> Result<Self, StartError> {
        let engine = engine::start(&config)?;
        let cache = Cache::open(config.cache_dir.as_deref(), config.max_cache_bytes)
            .map_err(|error| StartError(format!("cache folder: {error}")))?;
        let ticker = Ticker::start(&engine).map_err(|error| StartError(format!("ticker thread: {error}")))?;
        Ok(Self { shared: Arc::new(Shared { ticker, engine, cache, config }) })
    }

    /// Compiles a module, or loads what an earlier run compiled, and makes one instance to see that it can be made.
    /// `bytes` and `manifest` are what `selvedge_build::module::open` found in order. Takes up to seconds: not for a thread
    /// that serves requests.
    ///
    /// # Errors
    ///
    /// When it needs more than the host gives, or is no module after all.
    pub fn load(&self, bytes: &[u8], manifest: &Manifest) -> Result<Module, LoadError> {
        let config = &self.shared.config;
        let memory_limit_bytes = usize::try_from(manifest.limits.memory_bytes)
            .ok()
            .filter(|needed| *needed <= config.max_memory_bytes)
            .ok_or(LoadError::Memory { needed: manifest.limits.memory_bytes, limit: config.max_memory_bytes })?;
        let longest = (manifest.limits.rows as usize).saturating_mul(manifest.outputs.len()).saturating_mul(8);
        if longest > config.max_output_bytes {
            return Err(LoadError::Output { needed: longest, limit: config.max_output_bytes });
        }
        let component = self.shared.cache.component(&self.shared.engine, bytes)?;
        let evaluate =
            find_evaluate(&component).ok_or_else(|| LoadError::Link(format!("no `{INTERFACE}#{FUNCTION}`")))?;
        let instance = Linker::new(&self.shared.engine)
            .instantiate_pre(&component)
            .map_err(|error| LoadError::Link(format!("{error:#}")))?;
        let module = Module {
            shared: Arc::clone(&self.shared),
            loaded: Arc::new(Loaded {
                instance,
                evaluate,
                widths: [manifest.shared_width(), manifest.candidate_width()],
                outputs: manifest.outputs.len(),
                max_rows: manifest.limits.rows,
                memory_limit_bytes,
            }),
        };
        let running = self.shared.ticker.begin();
        module.callee().instantiate(Instant::now() + Duration::from_secs(1)).map_err(LoadError::Instantiate)?;
        drop(running);
        Ok(module)
    }

    /// What loading modules came to since the start.
    pub fn counts(&self) -> Counts {
        let counts = self.shared.cache.counts();
        Counts {
            compiled: counts.compiled.load(Ordering::Relaxed),
            cache_hits: counts.hits.load(Ordering::Relaxed),
            cache_refused: counts.refused.load(Ordering::Relaxed),
            cache_evicted: counts.evicted.load(Ordering::Relaxed),
        }
    }
}

fn find_evaluate(component: &Component) -> Option<ComponentExportIndex> {
    let interface = component.get_export_index(None, INTERFACE)?;
    component.get_export_index(Some(&interface), FUNCTION)
}

// === impl Module ===

impl Module {
    /// Calls the module in a fresh instance, for at most `budget`: it is stopped within a tick (0.25 ms) after that, as far as
    /// the system wakes the ticker in time. The answer is row-major, `count` rows of the manifest's outputs; NaN in it is the
    /// caller's to judge.
    ///
    /// # Errors
    ///
    /// With the fault, when it does not answer. Rows that are not as the manifest says are [`Fault::Input`], more of them
    /// than it was sized for [`Fault::Memory`].
    pub fn evaluate(
        &self,
        shared: &[f64],
        candidates: &[f64],
        count: u32,
        budget: Duration,
    ) -> Result<Vec<f64>, Fault> {
        let [shared_width, candidate_width] = self.loaded.widths;
        if shared.len() != shared_width || candidates.len() != count as usize * candidate_width {
            tracing::error!(
                shared = shared.len(),
                candidates = candidates.len(),
                count,
                "rows not as the manifest says"
            );
            return Err(Fault::Input);
        }
        if count > self.loaded.max_rows {
            return Err(Fault::Memory);
        }
        if budget.is_zero() {
            return Err(Fault::Deadline);
        }
        let deadline = Instant::now() + budget;
        let _running = self.shared.ticker.begin();
        let callee = self.callee();
        callee.call(&mut callee.instantiate(deadline)?, shared, candidates, count)
    }

    /// The most rows of one call.
    pub fn max_rows(&self) -> u32 {
        self.loaded.max_rows
    }

    /// One instance for many calls, all of them before `deadline`.
    pub(crate) fn keep(&self, deadline: Instant) -> Result<Kept<'_>, Fault> {
        Ok(Kept { module: self, live: self.callee().instantiate(deadline)? })
    }

    fn callee(&self) -> Callee<'_> {
        Callee {
            engine: &self.shared.engine,
            instance: &self.loaded.instance,
            evaluate: &self.loaded.evaluate,
            memory_limit_bytes: self.loaded.memory_limit_bytes,
            outputs: self.loaded.outputs,
        }
    }
}

// === impl Kept ===

impl Kept<'_> {
    /// Calls it; after a fault it must not be called again.
    pub(crate) fn evaluate(&mut self, shared: &[f64], candidates: &[f64], count: u32) -> Result<Vec<f64>, Fault> {
        let _running = self.module.shared.ticker.begin();
        self.module.callee().call(&mut self.live, shared, candidates, count)
    }
}

impl fmt::Debug for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Host").field("config", &self.shared.config).finish_non_exhaustive()
    }
}

impl fmt::Debug for Module {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Loaded { widths, outputs, max_rows, memory_limit_bytes, .. } = &*self.loaded;
        f.debug_struct("Module")
            .field("widths", widths)
            .field("outputs", outputs)
            .field("max_rows", max_rows)
            .field("memory_limit_bytes", memory_limit_bytes)
            .finish_non_exhaustive()
    }
}
