//! `selvedge completions`: what a shell needs to complete our commands and flags.

use clap::CommandFactory as _;
use clap_complete::{Shell, generate};

use crate::cli::Cli;
use crate::output::{Outcome, Output};

#[derive(Debug, clap::Args)]
#[command(after_help = "For example: selvedge completions bash > ~/.local/share/bash-completion/completions/selvedge")]
pub(crate) struct Args {
    /// The shell.
    shell: Shell,
}

// === impl Args ===

impl Args {
    pub(crate) fn run(self, output: &Output) -> anyhow::Result<Outcome> {
        let mut script = Vec::new();
        generate(self.shell, &mut Cli::command(), "selvedge", &mut script);
        output.bytes(&script)?;
        Ok(Outcome::Ok)
    }
}
