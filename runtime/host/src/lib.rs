//! Runs modules. The only crate that names wasmtime.
//!
//! | once per | what | where |
//! |---|---|---|
//! | process | engine, pool of memories, ticker thread | [`Host`], `engine`, `ticker` |
//! | module | compiling, or loading what an earlier run compiled; linking | [`Host::load`], `cache` |
//! | call | a fresh instance: nothing of one call can reach the next | [`Module::evaluate`], `call` |
//!
//! A fresh instance is cheap because a guest of the SDK never grows its memory: the pool keeps the memory's pages resident and
//! resets only those that a call wrote.

mod cache;
mod call;
mod engine;
mod golden;
mod host;
mod ticker;

pub use golden::VectorMismatch;
pub use host::{Counts, Host, HostConfig, LoadError, Module, StartError};
