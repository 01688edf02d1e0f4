//! `selvedge core`: what the core of many nodes needs.

mod init;
mod permissions;

use crate::output::{Outcome, Output};

#[derive(Debug, clap::Subcommand)]
pub(crate) enum Command {
    /// Make the stream and the buckets that nodes use, with their settings; tell what differs.
    Init(init::Args),
    /// Print the rights that a node's user needs on the NATS server, and no more.
    Permissions(permissions::Args),
}

// === impl Command ===

impl Command {
    pub(crate) fn run(self, output: &Output) -> anyhow::Result<Outcome> {
        match self {
            Self::Init(args) => args.run(output),
            Self::Permissions(args) => args.run(output),
        }
    }
}
