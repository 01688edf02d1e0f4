//! The commands, each in its own file: an `Args` with its flags and a `run` that does the work.

pub(crate) mod bandits;
pub(crate) mod bench;
pub(crate) mod build;
pub(crate) mod check;
pub(crate) mod completions;
pub(crate) mod core;
pub(crate) mod deploy;
pub(crate) mod dev;
pub(crate) mod diff;
pub(crate) mod doctor;
pub(crate) mod erase;
pub(crate) mod eval;
pub(crate) mod features;
pub(crate) mod ids;
pub(crate) mod keys;
pub(crate) mod node;
pub(crate) mod promote;
pub(crate) mod release;
pub(crate) mod replay;
pub(crate) mod rollback;
pub(crate) mod status;
pub(crate) mod tail;
pub(crate) mod test;
pub(crate) mod why;
