//! Turns rules and model files into modules, and folders into signed releases. Runs on an author's machine and, to open
//! and check what was built, in the node; runs no module itself.

mod assemble;
mod vectors;

pub mod build;
pub mod channel;
pub mod csv;
pub mod definitions;
pub mod derived;
pub mod import;
pub mod keys;
pub mod linear;
pub mod model;
pub mod module;
pub mod pipeline;
pub mod release;
pub mod rules;
pub mod sidecar;
