//! The engine's settings: every one that decides what a module may do and what a call costs. Owns the list; the ones a user
//! can change come in through `HostConfig`.

use wasmtime::{Config, Enabled, Engine, InstanceAllocationStrategy, PoolingAllocationConfig};

use crate::host::{HostConfig, StartError};

/// How much of a memory stays resident between calls and is reset page by page. A guest of the SDK fits; what lies beyond
/// is given back to the system at every call, which takes the process's memory lock.
const KEEP_RESIDENT_BYTES: usize = 512 << 10;
const KEEP_RESIDENT_TABLE_BYTES: usize = 64 << 10;

/// Core instances, memories and tables of one module: the builder makes one of each.
const CORE_INSTANCES: u32 = 4;
const TABLES: u32 = 2;
const TABLE_ELEMENTS: usize = 10_000;

pub(crate) fn start(config: &HostConfig) -> Result<Engine, StartError> {
    Engine::new(&settings(config)).map_err(|error| StartError(format!("{error:#}")))
}

fn settings(host: &HostConfig) -> Config {
    let mut config = Config::new();
    config.wasm_component_model(true);
    config.concurrency_support(false);
    config.epoch_interruption(true);
    // What `selvedge_build::module::open` refuses, so that nothing else decides it; threads are not even compiled in.
    config.wasm_relaxed_simd(false);
    config.wasm_memory64(false);
    config.wasm_multi_memory(false);
    config.wasm_tail_call(false);
    config.wasm_extended_const(false);
    // NaN bits are not promised: canonical ones cost 2.4 to 4.2 times; NaN where a number must stand is a fault instead.
    config.cranelift_nan_canonicalization(false);
    // A trap is told by its kind. What would explain it further costs memory in every module.
    config.wasm_backtrace_max_frames(None);
    config.generate_address_map(false);
    config.native_unwind_info(cfg!(windows));
    config.memory_init_cow(true);
    config.allocation_strategy(InstanceAllocationStrategy::Pooling(pool(host)));
    config
}

fn pool(host: &HostConfig) -> PoolingAllocationConfig {
    let mut pool = PoolingAllocationConfig::new();
    pool.total_component_instances(host.instances)
        .total_core_instances(host.instances.saturating_mul(CORE_INSTANCES))
        .total_memories(host.instances)
        .total_tables(host.instances.saturating_mul(TABLES))
        .max_core_instances_per_component(CORE_INSTANCES)
        .max_memories_per_component(1)
        .max_memories_per_module(1)
        .max_tables_per_component(TABLES)
        .max_tables_per_module(TABLES)
        .table_elements(TABLE_ELEMENTS)
        .max_memory_size(host.max_memory_bytes)
        .max_unused_warm_slots(host.instances)
        .linear_memory_keep_resident(KEEP_RESIDENT_BYTES)
        .table_keep_resident(KEEP_RESIDENT_TABLE_BYTES)
        .pagemap_scan(Enabled::Auto);
    pool
}
