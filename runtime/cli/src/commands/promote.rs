//! `selvedge promote`: a channel's canary becomes its release. The nodes that tried it have it ready.

use super::deploy::{ChannelArgs, Pointed};
use crate::core::{CoreArgs, block_on};
use crate::output::{Outcome, Output};

#[derive(Debug, clap::Args)]
#[command(
    after_help = "Nodes that the canary did not fit fetch it now. The guard of a new release watches it from here on, and `selvedge \
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
            let canary = now.pointer.as_ref().and_then(|pointer| pointer.canary.as_ref()).ok_or_else(|| {
                let channel = self.to.channel();
                anyhow::anyhow!(
                    "channel {channel} has no canary to promote: `selvedge deploy --share` begins one, `selvedge status` shows it"
                )
            })?;
            let pointed = Pointed { release: canary.release, canary: None };
            self.to.point(&nats, &key, now, pointed, output).await
        })
    }
}
