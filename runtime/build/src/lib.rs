//! Turns rules and model files into modules, and folders into signed releases. Runs on an author's machine and, to open
//! and check what was built, in the node; runs no module itself. `off_policy` says what a release would have earned, for who judges
//! one before it goes live.

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
pub mod off_policy;
pub mod pipeline;
pub mod release;
pub mod rules;
pub mod sidecar;
