//! `selvedge promote`: a channel's canary becomes its release. The nodes that tried it have it ready.

use selvedge_node::releases::NodeReport;

use super::deploy::ChannelArgs;
use crate::core::{CoreArgs, block_on};
use crate::output::{Outcome, Output};

#[derive(Debug, clap::Args)]
#[command(
    after_help = "A canary that a node dropped by itself is not promoted. Nodes that it did not fit fetch it now. The guard of a new release watches it from here on, and `selvedge \
    rollback` goes back to the release before."
)]
pub(crate) struct Args {
    #[command(flatten)]
    to: ChannelArgs,
    #[command(flatten)]
    core: CoreArgs,
}

// === impl Args ===

impl Args {
    pub(crate) fn run(self, output: &Output) -> anyhow::Result<Outcome> {
        let key = self.to.key()?;
        block_on(0, async {
            let nats = self.core.connect().await?;
            let now = self.to.now(&nats).await?;
            let pointed = now.promoted(&NodeReport::read_all(&nats).await?)?;
            self.to.point(&nats, &key, now, pointed, output).await
        })
    }
}
