//! The end-to-end suite as a library: the harness that runs real processes, the proofs (how right) and the benchmarks
//! (how fast). The demo uses the harness too. It drives the product from outside and must not reach into its private parts.

pub mod bench;
pub mod fuzz;
pub mod guests;
pub mod harness;
pub mod models;
pub mod modules;
pub mod prove;
