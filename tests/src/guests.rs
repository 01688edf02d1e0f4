//! The guests that tests, benchmarks and the demo load, as core modules: `selvedge-prebuilt` compiles them. Owns how the suite
//! names them; the manifests they are used with are `modules`'.

use anyhow::{Result, bail};
use selvedge_prebuilt::hostile as guests;

pub use selvedge_prebuilt::HERO_RULES;
pub use selvedge_prebuilt::bench::{RANK as BENCH_RANK, RULES as BENCH_RULES, TREES as BENCH_TREES};

/// The hostile guests by name, in order of what they do; every one but the last two is loaded and provoked.
pub const HOSTILE: [(&str, &[u8]); 12] = [
    ("well_behaved", guests::WELL_BEHAVED),
    ("trap", guests::TRAP),
    ("endless_loop", guests::ENDLESS_LOOP),
    ("memory_bomb", guests::MEMORY_BOMB),
    ("stack_overflow", guests::STACK_OVERFLOW),
    ("wrong_length", guests::WRONG_LENGTH),
    ("nan", guests::NAN),
    ("huge_output", guests::HUGE_OUTPUT),
    ("keeps_state", guests::KEEPS_STATE),
    ("refuses", guests::REFUSES),
    ("wants_import", guests::WANTS_IMPORT),
    ("wrong_world", guests::WRONG_WORLD),
];

/// The hostile guest `name`, as a core module.
pub fn hostile(name: &str) -> Result<&'static [u8]> {
    match HOSTILE.iter().find(|(known, _)| *known == name) {
        Some((_, guest)) => Ok(guest),
        None => bail!("no hostile guest is called {name:?}"),
    }
}
