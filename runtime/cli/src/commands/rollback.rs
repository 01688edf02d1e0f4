//! `selvedge rollback`: drops a channel's canary, or points the channel back. The nodes hold the release before the one they run, so
//! they swap at once.

use selvedge_decision::Digest;
use selvedge_node::releases::point::Pointed;

use super::deploy::ChannelArgs;
use crate::core::{CoreArgs, block_on};
use crate::output::{Outcome, Output};

#[derive(Debug, clap::Args)]
#[command(
    after_help = "Where there is a canary, it is dropped and the release stays. Else, without --release, it goes to the newest release in the channel's history that is not the one it \
    points to now; twice in a row therefore goes back and forth."
)]
pub(crate) struct Args {
    #[command(flatten)]
    to: ChannelArgs,
    /// The release to go back to; a canary ends.
    #[arg(long, value_name = "DIGEST")]
    release: Option<Digest>,
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
            let pointed = match self.release {
                Some(release) => Pointed { release, canary: None },
                None => now.rolled_back(&nats.channel_history(self.to.channel()).await?)?,
            };
            self.to.point(&nats, &key, now, pointed, output).await
        })
    }
}
