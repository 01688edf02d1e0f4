//! The guests of this repository as core modules for wasm32, compiled by this crate's build script. Owns the list of them;
//! sealing them into modules is `selvedge-build`'s.

/// The linear kernel, to which the builder appends weights.
pub const LINEAR: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/selvedge_linear.wasm"));

/// The pipeline kernel, to which the builder appends a program.
pub const PIPELINE: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/selvedge_pipeline.wasm"));

/// The demo's rules; carries its manifest.
#[cfg(feature = "tests")]
pub const HERO_RULES: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/selvedge_hero_rules.wasm"));

/// An example that runs smartcore itself; carries its manifest.
#[cfg(feature = "tests")]
pub const SMARTCORE: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/selvedge_smartcore_guest.wasm"));

#[cfg(feature = "tests")]
macro_rules! guests {
    ($($(#[$doc:meta])* $name:ident = $file:literal;)*) => {
        $($(#[$doc])* pub const $name: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/", $file, ".wasm"));)*
    };
}

/// What benchmarks call.
#[cfg(feature = "tests")]
pub mod bench {
    guests! {
        /// 100 trees of depth 6 over a shared row of 1,000 numbers; output `score`.
        TREES = "bench_trees";
        /// 100 trees of depth 6 over 100 numbers a candidate; output `score`.
        RANK = "bench_rank";
        /// 20 rules over a shared row of 40 numbers; outputs `eligible`, `boost`, `row`.
        RULES = "bench_rules";
    }
}

/// One guest per fault. All but the last two take one shared number and one a candidate and owe one `score` a candidate;
/// they misbehave when the shared number is not 0.
#[cfg(feature = "tests")]
pub mod hostile {
    guests! {
        /// Misbehaves never.
        WELL_BEHAVED = "well_behaved";
        /// Traps.
        TRAP = "trap";
        /// Never returns.
        ENDLESS_LOOP = "endless_loop";
        /// Allocates until it is refused.
        MEMORY_BOMB = "memory_bomb";
        /// Recurses without end.
        STACK_OVERFLOW = "stack_overflow";
        /// One value too many, or none.
        WRONG_LENGTH = "wrong_length";
        /// NaN scores.
        NAN = "nan";
        /// 48 KB times the shared number, instead of a score.
        HUGE_OUTPUT = "huge_output";
        /// Answers by how many calls its instance had, provoked or not.
        KEEPS_STATE = "keeps_state";
        /// An error of its own.
        REFUSES = "refuses";
        /// A component with an import.
        WANTS_IMPORT = "wants_import";
        /// A component of another world.
        WRONG_WORLD = "wrong_world";
    }
}
