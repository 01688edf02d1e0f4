//! `selvedge node`: runs a node with the settings of flags, environment and file.

use anyhow::Context as _;

use crate::config::ConfigArgs;
use crate::core::block_on;
use crate::output::{Outcome, Output};

#[derive(Debug, clap::Args)]
#[command(
    after_help = "Prints one line of JSON on standard output when it listens: addresses, node and epoch. Stops on \
    SIGTERM."
)]
pub(crate) struct Args {
    #[command(flatten)]
    config: ConfigArgs,
}

// === impl Args ===

impl Args {
    pub(crate) fn run(self, _: &Output) -> anyhow::Result<Outcome> {
        let config = self.config.load()?;
        run(config)
    }
}

/// Runs a node to its end.
pub(super) fn run(config: selvedge_node::config::Config) -> anyhow::Result<Outcome> {
    block_on(config.http.threads, async {
        selvedge_node::node::run(config).await.context("the node cannot run")?;
        Ok(Outcome::Ok)
    })
}
