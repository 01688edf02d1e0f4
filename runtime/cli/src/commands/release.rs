//! `selvedge release`: what happens to a release before it is deployed.

mod inspect;
mod keygen;
mod pack;

use crate::output::{Outcome, Output};

#[derive(Debug, clap::Subcommand)]
pub(crate) enum Command {
    /// Check a folder and make it one signed file, named by its digest.
    Pack(pack::Args),
    /// Show what a release file holds, and who signed it.
    Inspect(inspect::Args),
    /// Make a key: NAME.key for whoever signs, NAME.pub for those who trust it.
    Keygen(keygen::Args),
}

pub(super) use self::pack::{check_modules, pack_folder};

// === impl Command ===

impl Command {
    pub(crate) fn run(self, output: &Output) -> anyhow::Result<Outcome> {
        match self {
            Self::Pack(args) => args.run(output),
            Self::Inspect(args) => args.run(output),
            Self::Keygen(args) => args.run(output),
        }
    }
}
